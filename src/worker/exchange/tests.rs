//! Frames, parcels and news go where they are to, and who sleeps is woken.

use super::desk::{Desk, Exchange};
use super::shared::{LARGEST, NEWS, PARCELS};
use crate::driver::{Driver, memory};
use crate::stack::neighbours::Station;
use crate::stack::steering::Search;
use crate::time::Duration;
use crate::wire::{Addr, MacAddr};
use std::sync::Arc;

fn exchange(workers: usize) -> (Vec<memory::MemoryDriver>, Vec<Desk>) {
    let (drivers, exchange) = without_desks(workers);
    let desks = (0..workers).map(|worker| exchange.desk(worker)).collect();
    (drivers, desks)
}

fn without_desks(workers: usize) -> (Vec<memory::MemoryDriver>, Arc<Exchange>) {
    let drivers: Vec<_> = (0..workers).map(|_| memory::link(4, 2).0).collect();
    let exchange = Exchange::new(drivers.iter().map(Driver::waker));
    (drivers, exchange)
}

#[test]
fn frames_come_to_their_owner_in_order_and_parcels_go_round() {
    let (_drivers, mut desks) = exchange(3);
    for round in 0..5 * PARCELS as u32 {
        assert!(desks[0].give(Search::begin(0, 2), &round.to_ne_bytes()));
        assert!(desks[0].take().is_none() && desks[1].take().is_none());
        let mut parcel = desks[2].take().unwrap();
        assert_eq!((parcel.len(), &parcel.buffer()[..4]), (4, &round.to_ne_bytes()[..]));
        desks[2].put_back(parcel);
    }
}

#[test]
fn a_full_box_refuses_until_its_owner_reads() {
    let (_drivers, exchange) = without_desks(2);
    let mut desks = [exchange.desk(0), exchange.desk(1)];
    let given = (0..2 * PARCELS).filter(|_| desks[0].give(Search::begin(0, 1), &[1; 60])).count();
    assert_eq!((given, desks[1].waiting()), (PARCELS, (PARCELS as u64, PARCELS as u64)));
    let parcel = desks[1].take().unwrap();
    assert!(!desks[0].give(Search::begin(0, 1), &[1; 60]), "the parcel is still in use");
    desks[1].put_back(parcel);
    assert!(desks[0].give(Search::begin(0, 1), &[1; 60]));
    assert!(!desks[0].give(Search::begin(0, 7), &[1; 60]), "there is no such worker");
    assert!(!desks[1].give(Search::begin(1, 0), &[1; LARGEST + 1]));
    assert_eq!(exchange.waiting(), PARCELS as u64);
}

#[test]
fn news_reaches_all_others() {
    let (_drivers, mut desks) = exchange(3);
    let news = (Addr::from_v4([10, 0, 0, 1]), Station { mac: MacAddr([2; 6]), vlan: Some(3) });
    assert_eq!(desks[1].tell(news.0, news.1), 0);
    assert_eq!(desks.iter_mut().map(Desk::take_news).collect::<Vec<_>>(), [Some(news), None, Some(news)]);
    (0..NEWS).for_each(|_| assert_eq!(desks[0].tell(news.0, news.1), 0));
    assert!(desks[1].take_news().is_some());
    assert_eq!([desks[0].tell(news.0, news.1), desks[0].tell(news.0, news.1)], [1, 2], "one box is full, then both");
}

#[test]
fn a_sleeper_is_woken_for_what_it_is_given() {
    const ROUNDS: u32 = 2_000;
    let (mut drivers, mut desks) = exchange(2);
    let (mut driver, mut sleeper, mut giver) = (drivers.remove(0), desks.remove(0), desks.remove(0));
    let reader = std::thread::spawn(move || {
        let (mut seen, mut longest) = (0, std::time::Duration::ZERO);
        while seen < ROUNDS {
            let start = std::time::Instant::now();
            if let Some(slept) = sleeper.sleep(|| driver.wait(Some(Duration::from_secs(20)))) {
                slept.unwrap();
            }
            longest = longest.max(start.elapsed());
            while let Some(parcel) = sleeper.take() {
                sleeper.put_back(parcel);
                seen += 1;
            }
        }
        longest
    });
    let mut given = 0;
    while given < ROUNDS {
        given += u32::from(giver.give(Search::begin(1, 0), &[1]));
        giver.wake_others();
        std::thread::yield_now();
    }
    // A wake-up that is lost costs twenty seconds.
    assert!(reader.join().unwrap() < std::time::Duration::from_secs(20));
}

#[test]
fn the_last_who_is_done_wakes_all() {
    let (mut drivers, mut desks) = exchange(3);
    desks[0].set_done();
    desks[0].set_done();
    drop(desks.remove(2));
    assert!(!desks[0].are_all_done());
    drop(desks.remove(1));
    assert!(desks[0].are_all_done());
    drivers[0].wait(None).unwrap();
}
