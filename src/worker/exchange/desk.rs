//! The inboxes and the desks at them, over the atomics and queues of `super::shared`.
#![forbid(unsafe_code)]

use super::shared::{ArrayQueue, Asleep, AtomicUsize, LARGEST, NEWS, Ordering, PARCELS};
use crate::driver::Wake;
use crate::stack::neighbours::Station;
use crate::stack::steering::Search;
use crate::wire::Addr;
use crossbeam::utils::CachePadded;
use std::sync::Arc;

/// A frame on its way from a worker that does not know its flow to one that owns it, or may.
pub struct Parcel {
    octets: Box<[u8; LARGEST]>,
    len: usize,
    search: Search,
}

impl Parcel {
    fn empty() -> Self {
        Parcel { octets: Box::new([0; LARGEST]), len: 0, search: Search::default() }
    }

    /// The frame's length.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The search in which it came to us.
    pub fn search(&self) -> Search {
        self.search
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
        while empty.push(Parcel::empty()).is_ok() {}
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
    pub fn give(&mut self, search: Search, frame: &[u8]) -> bool {
        let to = search.to();
        let Some(inbox) = self.exchange.inboxes.get(to).filter(|_| frame.len() <= LARGEST) else { return false };
        let Some(mut parcel) = inbox.empty.pop() else { return false };
        parcel.octets[..frame.len()].copy_from_slice(frame);
        (parcel.len, parcel.search) = (frame.len(), search);
        let given = inbox.full.push(parcel).is_ok();
        debug_assert!(given, "there are as many parcels as places");
        self.written_to[to] = true;
        self.any = true;
        given
    }

    /// Tells all other workers where a neighbour is; says how many have a full box. These do not hear of it, and ask by
    /// themselves.
    pub fn tell(&mut self, addr: Addr, station: Station) -> u64 {
        let mut untold = 0;
        for (number, inbox) in self.exchange.inboxes.iter().enumerate().filter(|(number, _)| *number != self.worker) {
            let told = inbox.news.push((addr, station)).is_ok();
            self.written_to[number] |= told;
            untold += u64::from(!told);
        }
        self.any = true;
        untold
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
