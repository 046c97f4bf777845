//! What crosses from worker to worker: frames of flows that another worker owns, and neighbours' addresses.
//!
//! Each worker has an inbox: a bounded queue of parcels, and the empty parcels that fit into it. A giver takes an empty
//! parcel, copies the frame (its chunk stays with its driver) and puts the parcel into the queue; the owner reads it in
//! its next turn and gives the parcel back. Nothing is allocated after the start, nobody waits for anybody, and where
//! nothing is handed over a turn costs a look at an empty queue.
#![forbid(unsafe_code)]

use crate::driver::Wake;
use crate::driver::asleep::Asleep;
use crate::stack::neighbours::Station;
use crate::wire::Addr;
use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Octets of the largest frame that can be handed over: a chunk of the drivers.
const LARGEST: usize = 2048;
/// Frames that wait for one worker at most.
const PARCELS: usize = 1024;
/// Neighbours' addresses that wait for one worker at most.
const NEWS: usize = 256;

/// A frame on its way from the worker that received it to the one that owns its flow.
pub struct Parcel {
    octets: Box<[u8; LARGEST]>,
    len: usize,
}

impl Parcel {
    /// The frame's length.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The frame, and all the room behind it.
    pub fn buffer(&mut self) -> &mut [u8] {
        &mut self.octets[..]
    }
}

/// What one worker gets from the others.
struct Inbox {
    full: ArrayQueue<Parcel>,
    /// As many as `full` has places, so that a parcel that was taken here always finds room there, and back.
    empty: ArrayQueue<Parcel>,
    news: ArrayQueue<(Addr, Station)>,
    /// The worker sleeps, or is about to: it must be woken for what is put here.
    asleep: CachePadded<Asleep>,
    waker: Arc<dyn Wake>,
}

impl Inbox {
    fn new(waker: Arc<dyn Wake>) -> Self {
        let (full, empty) = (ArrayQueue::new(PARCELS), ArrayQueue::new(PARCELS));
        while empty.push(Parcel { octets: Box::new([0; LARGEST]), len: 0 }).is_ok() {}
        Inbox { full, empty, news: ArrayQueue::new(NEWS), asleep: CachePadded::new(Asleep::new()), waker }
    }

    fn is_empty(&self) -> bool {
        self.full.is_empty() && self.news.is_empty()
    }
}

/// The inboxes of all workers of an engine.
pub struct Exchange {
    inboxes: Vec<Inbox>,
    /// Workers that have not done their work yet.
    working: AtomicUsize,
}

impl Exchange {
    /// For one worker for each of `wakers`, which wakes it when it sleeps.
    pub fn new(wakers: impl IntoIterator<Item = Arc<dyn Wake>>) -> Arc<Self> {
        let inboxes: Vec<_> = wakers.into_iter().map(Inbox::new).collect();
        let working = AtomicUsize::new(inboxes.len());
        Arc::new(Exchange { inboxes, working })
    }

    /// The desk of the worker of that number, which has no other.
    pub fn desk(self: &Arc<Self>, worker: usize) -> Desk {
        let written_to = vec![false; self.inboxes.len()];
        Desk { exchange: self.clone(), worker, written_to, any: false, done: false }
    }

    /// Frames that were given and not taken.
    pub fn waiting(&self) -> u64 {
        self.inboxes.iter().map(|inbox| inbox.full.len() as u64).sum()
    }
}

/// A worker's end of the exchange.
pub struct Desk {
    exchange: Arc<Exchange>,
    worker: usize,
    /// Who was given something since they were last woken for it.
    written_to: Vec<bool>,
    any: bool,
    done: bool,
}

impl Desk {
    /// Hands a copy of a frame to another worker; `false` when there is no room, or none of that number.
    pub fn give(&mut self, to: usize, frame: &[u8]) -> bool {
        let Some(inbox) = self.exchange.inboxes.get(to).filter(|_| frame.len() <= LARGEST) else { return false };
        let Some(mut parcel) = inbox.empty.pop() else { return false };
        parcel.octets[..frame.len()].copy_from_slice(frame);
        parcel.len = frame.len();
        let given = inbox.full.push(parcel).is_ok();
        debug_assert!(given, "there are as many parcels as places");
        self.written_to[to] = true;
        self.any = true;
        given
    }

    /// Tells all other workers where a neighbour is. Whose box is full does not hear of it, and asks by itself.
    pub fn tell(&mut self, addr: Addr, station: Station) {
        for (number, inbox) in self.exchange.inboxes.iter().enumerate().filter(|(number, _)| *number != self.worker) {
            self.written_to[number] |= inbox.news.push((addr, station)).is_ok();
        }
        self.any = true;
    }

    /// Wakes those who sleep although they were given something.
    pub fn wake_others(&mut self) {
        if !std::mem::take(&mut self.any) {
            return;
        }
        for (written, inbox) in self.written_to.iter_mut().zip(&self.exchange.inboxes) {
            if std::mem::take(written) && inbox.asleep.must_wake() {
                inbox.waker.wake();
            }
        }
    }

    fn inbox(&self) -> &Inbox {
        &self.exchange.inboxes[self.worker]
    }

    /// The oldest frame that was handed to us; it is to be given back by [`Desk::put_back`].
    pub fn take(&mut self) -> Option<Parcel> {
        // To look costs less than to try.
        if self.inbox().full.is_empty() { None } else { self.inbox().full.pop() }
    }

    /// Gives a parcel back that [`Desk::take`] gave.
    pub fn put_back(&mut self, parcel: Parcel) {
        let back = self.inbox().empty.push(parcel).is_ok();
        debug_assert!(back, "there are as many places as parcels");
    }

    /// What another worker has heard of a neighbour.
    pub fn take_news(&mut self) -> Option<(Addr, Station)> {
        if self.inbox().news.is_empty() { None } else { self.inbox().news.pop() }
    }

    /// Frames that wait for us, and how many may.
    pub fn waiting(&self) -> (u64, u64) {
        (self.inbox().full.len() as u64, PARCELS as u64)
    }

    /// Runs `sleep` unless something is there; whoever gives us something meanwhile wakes us.
    pub fn sleep<T>(&self, sleep: impl FnOnce() -> T) -> Option<T> {
        self.inbox().asleep.announce();
        let slept = self.inbox().is_empty().then(sleep);
        self.inbox().asleep.withdraw();
        slept
    }

    /// This worker has done its work. It goes on handing over what its queue receives until all have: see
    /// [`Desk::are_all_done`].
    pub fn set_done(&mut self) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        if self.exchange.working.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.exchange.inboxes.iter().for_each(|inbox| inbox.waker.wake());
        }
    }

    /// Whether all workers have done their work, or are gone.
    pub fn are_all_done(&self) -> bool {
        self.exchange.working.load(Ordering::Acquire) == 0
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.set_done();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{Driver, memory};
    use crate::time::Duration;
    use crate::wire::MacAddr;

    fn exchange(workers: usize) -> (Vec<memory::MemoryDriver>, Vec<Desk>) {
        let drivers: Vec<_> = (0..workers).map(|_| memory::link(4, 2).0).collect();
        let exchange = Exchange::new(drivers.iter().map(Driver::waker));
        let desks = (0..workers).map(|worker| exchange.desk(worker)).collect();
        (drivers, desks)
    }

    #[test]
    fn frames_come_to_their_owner_in_order_and_parcels_go_round() {
        let (_drivers, mut desks) = exchange(3);
        for round in 0..5 * PARCELS as u32 {
            assert!(desks[0].give(2, &round.to_ne_bytes()));
            assert!(desks[0].take().is_none() && desks[1].take().is_none());
            let mut parcel = desks[2].take().unwrap();
            assert_eq!((parcel.len(), &parcel.buffer()[..4]), (4, &round.to_ne_bytes()[..]));
            desks[2].put_back(parcel);
        }
    }

    #[test]
    fn a_full_box_refuses_until_its_owner_reads() {
        let (_drivers, mut desks) = exchange(2);
        let given = (0..2 * PARCELS).filter(|_| desks[0].give(1, &[1; 60])).count();
        assert_eq!((given, desks[1].waiting()), (PARCELS, (PARCELS as u64, PARCELS as u64)));
        let parcel = desks[1].take().unwrap();
        assert!(!desks[0].give(1, &[1; 60]), "the parcel is still in use");
        desks[1].put_back(parcel);
        assert!(desks[0].give(1, &[1; 60]));
        assert!(!desks[0].give(7, &[1; 60]), "there is no such worker");
        assert!(!desks[1].give(0, &[1; LARGEST + 1]));
        assert_eq!(desks[0].exchange.waiting(), PARCELS as u64);
    }

    #[test]
    fn news_reaches_all_others() {
        let (_drivers, mut desks) = exchange(3);
        let news = (Addr::from_v4([10, 0, 0, 1]), Station { mac: MacAddr([2; 6]), vlan: Some(3) });
        desks[1].tell(news.0, news.1);
        assert_eq!(desks.iter_mut().map(Desk::take_news).collect::<Vec<_>>(), [Some(news), None, Some(news)]);
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
            given += u32::from(giver.give(0, &[1]));
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
}
