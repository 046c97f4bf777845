//! Handing over in every order of its steps that the memory model allows: the very code of [`super::desk`].

/// Boxes for two at most, over loom's atomics.
mod shared {
    use loom::sync::Mutex;
    pub use loom::sync::atomic::{AtomicUsize, Ordering};
    use std::collections::VecDeque;

    pub(super) use super::asleep::Asleep;

    pub const LARGEST: usize = 4;
    pub const PARCELS: usize = 2;
    pub const NEWS: usize = 1;

    /// A bounded queue that promises as much as crossbeam's, which loom cannot look into, and no more: what was pushed is
    /// seen whole. Whether it is empty is asked without the lock, which would order what the real one does not.
    pub struct ArrayQueue<T> {
        len: AtomicUsize,
        items: Mutex<VecDeque<T>>,
        room: usize,
    }

    impl<T> ArrayQueue<T> {
        pub fn new(room: usize) -> Self {
            ArrayQueue { len: AtomicUsize::new(0), items: Mutex::new(VecDeque::new()), room }
        }

        pub fn push(&self, item: T) -> Result<(), T> {
            let mut items = self.items.lock().unwrap();
            if items.len() == self.room {
                return Err(item);
            }
            items.push_back(item);
            self.len.store(items.len(), Ordering::Release);
            Ok(())
        }

        pub fn pop(&self) -> Option<T> {
            let mut items = self.items.lock().unwrap();
            let item = items.pop_front();
            self.len.store(items.len(), Ordering::Release);
            item
        }

        pub fn len(&self) -> usize {
            self.len.load(Ordering::Acquire)
        }

        pub fn is_empty(&self) -> bool {
            self.len() == 0
        }
    }
}

mod atomic {
    pub use loom::sync::atomic::{AtomicBool, Ordering, fence};
}
#[allow(clippy::duplicate_mod, reason = "the very same code, over loom's atomics")]
#[path = "../../driver/asleep.rs"]
mod asleep;
#[allow(dead_code, clippy::duplicate_mod, reason = "the very same code, of which not all is tried")]
#[path = "desk.rs"]
mod desk;

use crate::driver::Wake;
use crate::stack::neighbours::Station;
use crate::stack::steering::Search;
use crate::wire::{Addr, MacAddr};
use desk::{Desk, Exchange};
use loom::sync::Notify;
use std::sync::Arc;

/// Keeps its signal until it is waited for, as an eventfd does; a lost wake-up is a deadlock, which loom reports.
struct Event(Notify);

impl Wake for Event {
    fn wake(&self) {
        self.0.notify();
    }
}

fn desks(workers: usize) -> (Vec<Arc<Event>>, Vec<Desk>) {
    let events: Vec<_> = (0..workers).map(|_| Arc::new(Event(Notify::new()))).collect();
    let exchange = Exchange::new(events.iter().map(|event| event.clone() as Arc<dyn Wake>));
    (events, (0..workers).map(|worker| exchange.desk(worker)).collect())
}

/// Every order in which threads are interrupted so many times at most.
fn model(interruptions: usize, f: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(interruptions);
    model.check(f);
}

/// What the first octets of the frames are that wait, in order; the parcels go back.
fn take_all(desk: &mut Desk) -> Vec<u8> {
    let mut taken = vec![];
    while let Some(mut parcel) = desk.take() {
        assert_eq!(parcel.len(), 2);
        let octets = parcel.buffer();
        assert_eq!(octets[0], octets[1], "a frame is seen whole");
        taken.push(octets[0]);
        desk.put_back(parcel);
    }
    taken
}

#[test]
fn a_frame_wakes_its_owner() {
    model(3, || {
        let (mut events, mut desks) = desks(2);
        let (event, mut owner, mut giver) = (events.remove(0), desks.remove(0), desks.remove(0));
        let giving = loom::thread::spawn(move || {
            assert!(giver.give(Search::begin(1, 0), &[7, 7]));
            giver.wake_others();
            giver
        });
        let mut taken = vec![];
        while taken.is_empty() {
            owner.sleep(|| event.0.wait());
            taken = take_all(&mut owner);
        }
        assert_eq!(taken, [7]);
        drop(giving.join().unwrap());
    });
}

#[test]
fn news_wakes_as_frames_do() {
    model(3, || {
        let (mut events, mut desks) = desks(2);
        let (event, mut reader, mut teller) = (events.remove(0), desks.remove(0), desks.remove(0));
        let telling = loom::thread::spawn(move || {
            assert_eq!(teller.tell(Addr::from_v4([10, 0, 0, 1]), Station { mac: MacAddr([2; 6]), vlan: None }), 0);
            teller.wake_others();
            teller
        });
        while reader.take_news().is_none() {
            reader.sleep(|| event.0.wait());
        }
        drop(telling.join().unwrap());
    });
}

#[test]
fn two_who_give_at_once_are_both_heard() {
    model(2, || {
        let (mut events, mut desks) = desks(3);
        let (event, mut owner) = (events.remove(0), desks.remove(0));
        let giving: Vec<_> = (1..3)
            .zip(desks)
            .map(|(octet, mut giver)| {
                loom::thread::spawn(move || {
                    assert!(giver.give(Search::begin(1, 0), &[octet; 2]));
                    giver.wake_others();
                    giver
                })
            })
            .collect();
        let mut taken = vec![];
        while taken.len() < 2 {
            owner.sleep(|| event.0.wait());
            taken.extend(take_all(&mut owner));
        }
        taken.sort_unstable();
        assert_eq!(taken, [1, 2], "each frame once");
        giving.into_iter().for_each(|giver| drop(giver.join().unwrap()));
    });
}

#[test]
fn who_waits_for_the_others_learns_that_all_are_done_and_misses_no_frame() {
    model(3, || {
        let (mut events, mut desks) = desks(2);
        let (event, mut owner, mut giver) = (events.remove(0), desks.remove(0), desks.remove(0));
        let giving = loom::thread::spawn(move || {
            assert!(giver.give(Search::begin(1, 0), &[9, 9]));
            giver.set_done();
            giver
        });
        owner.set_done();
        let mut taken = vec![];
        while !owner.are_all_done() {
            taken.extend(take_all(&mut owner));
            owner.sleep(|| event.0.wait());
        }
        taken.extend(take_all(&mut owner));
        assert_eq!(taken, [9], "what was handed over before is there");
        drop(giving.join().unwrap());
    });
}
