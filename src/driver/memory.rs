//! The in-memory link: two drivers whose frames cross without a copy and without the kernel.
//!
//! A wire is two bounded queues for each direction: `full` carries frames to the receiver, `empty` holds the chunks that
//! the receiver lends for them, as a fill ring does. Sending swaps the sender's chunk against an empty one, so both ends
//! keep their number of chunks, and nothing is allocated after the start.
//!
//! The ends may live on two threads, or both on one for a simulation: nothing here looks at a clock except
//! [`Driver::wait`], which a simulation does not call. A frame is visible to the peer as soon as [`Driver::send`] took it;
//! [`Driver::flush`] wakes a peer that sleeps and lends it chunks again.

pub use super::CHUNK;
use super::asleep::Asleep;
use super::event::Event;
use super::{ChunkCensus, Driver, Frame, Wake};
use crate::time::Duration;
use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::sync::Arc;

/// Makes a link and returns its two ends, each with `chunks` chunks of [`CHUNK`] octets, of which up to `ring` are lent
/// for receiving.
///
/// # Panics
/// If `ring` is zero or not less than `chunks`, or the process may open no more file descriptors (two eventfds).
pub fn link(chunks: usize, ring: usize) -> (MemoryDriver, MemoryDriver) {
    assert!(0 < ring && ring < chunks, "a ring of {ring} frames needs more than {ring} chunks, not {chunks}");
    let (left, right) = (Arc::new(Inlet::new(ring)), Arc::new(Inlet::new(ring)));
    (MemoryDriver::new(chunks, left.clone(), right.clone()), MemoryDriver::new(chunks, right, left))
}

/// A chunk of the in-memory link.
pub struct MemoryFrame {
    chunk: Box<[u8; CHUNK]>,
    len: usize,
}

impl std::fmt::Debug for MemoryFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MemoryFrame({} octets)", self.len)
    }
}

impl MemoryFrame {
    fn new() -> Self {
        MemoryFrame { chunk: Box::new([0; CHUNK]), len: 0 }
    }
}

impl Frame for MemoryFrame {
    fn bytes(&self) -> &[u8] {
        &self.chunk[..self.len]
    }

    fn buffer(&mut self) -> &mut [u8] {
        &mut self.chunk[..]
    }

    fn set_len(&mut self, len: usize) {
        assert!(len <= CHUNK, "a frame of {len} octets does not fit a chunk of {CHUNK}");
        self.len = len;
    }
}

/// What one end receives through, shared with the peer that sends into it.
struct Inlet {
    /// Frames on their way. As large as `empty`, so a frame swapped against an empty chunk always has room.
    full: ArrayQueue<MemoryFrame>,
    /// Chunks lent for frames to come.
    empty: ArrayQueue<MemoryFrame>,
    /// The receiver sleeps, or is about to: a frame must raise `event`.
    asleep: CachePadded<Asleep>,
    event: Arc<Event>,
}

impl Inlet {
    fn new(ring: usize) -> Self {
        Inlet {
            full: ArrayQueue::new(ring),
            empty: ArrayQueue::new(ring),
            asleep: CachePadded::new(Asleep::new()),
            event: Arc::new(Event::new().expect("an eventfd for the in-memory link")),
        }
    }

    /// Wakes the receiver if it sleeps.
    fn rouse(&self) {
        if self.asleep.must_wake() {
            self.event.wake();
        }
    }
}

/// One end of an in-memory link.
pub struct MemoryDriver {
    rx: Arc<Inlet>,
    tx: Arc<Inlet>,
    free: Vec<MemoryFrame>,
    census: ChunkCensus,
    /// Frames were sent since the last flush.
    unflushed: bool,
}

impl MemoryDriver {
    fn new(chunks: usize, rx: Arc<Inlet>, tx: Arc<Inlet>) -> Self {
        let free: Vec<_> = (0..chunks).map(|_| MemoryFrame::new()).collect();
        let census = ChunkCensus { total: chunks as u64, free: chunks as u64, ..Default::default() };
        let mut driver = MemoryDriver { rx, tx, free, census, unflushed: false };
        driver.lend();
        driver
    }

    /// Lends free chunks for receiving, as many as the ring takes.
    fn lend(&mut self) {
        let room = self.rx.empty.capacity() - self.census.receiving as usize;
        for _ in 0..room {
            let Some(mut frame) = self.free.pop() else { return };
            frame.len = 0;
            // Empty and full chunks together never exceed the ring, which `room` has just counted.
            self.rx.empty.push(frame).expect("room for a chunk in the ring");
            self.census.free -= 1;
            self.census.receiving += 1;
        }
    }
}

impl Driver for MemoryDriver {
    type Frame = MemoryFrame;

    fn receive(&mut self, burst: &mut Vec<MemoryFrame>, max: usize) -> usize {
        let mut received = 0;
        while received < max
            && let Some(frame) = self.rx.full.pop()
        {
            burst.push(frame);
            received += 1;
        }
        self.census.receiving -= received as u64;
        self.census.held += received as u64;
        received
    }

    fn alloc(&mut self) -> Option<MemoryFrame> {
        let mut frame = self.free.pop()?;
        frame.len = 0;
        self.census.free -= 1;
        self.census.held += 1;
        Some(frame)
    }

    fn send(&mut self, frame: MemoryFrame) -> Result<(), MemoryFrame> {
        let Some(empty) = self.tx.empty.pop() else { return Err(frame) };
        self.tx.full.push(frame).expect("room for a frame whose empty chunk was taken");
        self.free.push(empty);
        self.census.held -= 1;
        self.census.free += 1;
        self.unflushed = true;
        Ok(())
    }

    fn release(&mut self, frame: MemoryFrame) {
        self.free.push(frame);
        self.census.held -= 1;
        self.census.free += 1;
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lend();
        if std::mem::take(&mut self.unflushed) {
            self.tx.rouse();
        }
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.rx.asleep.announce();
        if self.rx.full.is_empty() {
            let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
            match poll(&mut [PollFd::new(&*self.rx.event, PollFlags::IN)], timeout.as_ref()) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => self.rx.event.clear(),
                Err(e) => return Err(e.into()),
            }
        }
        self.rx.asleep.withdraw();
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.rx.event.clone()
    }

    fn census(&self) -> ChunkCensus {
        self.census
    }

    fn describe(&self) -> String {
        "memory".into()
    }
}

#[cfg(test)]
mod under_loom;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Instant;

    fn frame_of(driver: &mut MemoryDriver, octets: &[u8]) -> MemoryFrame {
        let mut frame = driver.alloc().expect("a free chunk");
        frame.buffer()[..octets.len()].copy_from_slice(octets);
        frame.set_len(octets.len());
        frame
    }

    /// What each end counts is what is really there.
    fn check(end: &MemoryDriver, held: usize) {
        let census = end.census();
        assert_eq!(census.total, census.free + census.receiving + census.sending + census.held);
        assert_eq!(census.free as usize, end.free.len());
        assert_eq!(census.receiving as usize, end.rx.full.len() + end.rx.empty.len());
        assert_eq!(census.held as usize, held);
    }

    proptest! {
        #[test]
        fn every_chunk_is_in_one_place(ops in proptest::collection::vec((0usize..2, 0u8..6, 1usize..9), 1..400)) {
            let (a, b) = link(24, 8);
            let mut ends = [a, b];
            let mut held: [Vec<MemoryFrame>; 2] = [Vec::new(), Vec::new()];
            let (mut sent, mut expected) = (0u32, [std::collections::VecDeque::new(), std::collections::VecDeque::new()]);
            for (me, op, count) in ops {
                for _ in 0..count {
                    match op {
                        0 => held[me].extend(ends[me].alloc()),
                        1 => if let Some(mut frame) = held[me].pop() {
                            frame.buffer()[..4].copy_from_slice(&sent.to_ne_bytes());
                            frame.set_len(4);
                            match ends[me].send(frame) {
                                Ok(()) => { expected[1 - me].push_back(sent); sent += 1 }
                                Err(frame) => { prop_assert_eq!(frame.bytes(), sent.to_ne_bytes()); held[me].push(frame) }
                            }
                        }
                        2 => if let Some(frame) = held[me].pop() { ends[me].release(frame) },
                        3 => ends[me].flush().unwrap(),
                        _ => {
                            let mut burst = Vec::new();
                            let n = ends[me].receive(&mut burst, count);
                            prop_assert_eq!(n, burst.len());
                            prop_assert!(n <= count);
                            for frame in burst {
                                prop_assert_eq!(frame.bytes(), expected[me].pop_front().unwrap().to_ne_bytes());
                                held[me].push(frame);
                            }
                        }
                    }
                    check(&ends[0], held[0].len());
                    check(&ends[1], held[1].len());
                }
            }
        }
    }

    #[test]
    fn a_full_peer_gives_the_frame_back() {
        let (mut a, mut b) = link(8, 2);
        for octet in 0..2 {
            let frame = frame_of(&mut a, &[octet]);
            assert!(a.send(frame).is_ok());
        }
        let frame = frame_of(&mut a, &[2]);
        let back = a.send(frame).expect_err("the ring holds two");
        assert_eq!(back.bytes(), [2]);
        // Taking frames is not enough: the peer lends chunks again when it flushes.
        let mut burst = Vec::new();
        assert_eq!(b.receive(&mut burst, 8), 2);
        b.flush().unwrap();
        assert!(a.send(back).is_ok());
    }

    #[test]
    fn a_sleeping_peer_is_woken_by_each_flush_and_by_its_waker() {
        const ROUNDS: u32 = 2_000;
        let (mut a, mut b) = link(64, 16);
        let echo = std::thread::spawn(move || {
            let (mut burst, mut seen) = (Vec::new(), 0);
            while seen < ROUNDS {
                b.wait(Some(Duration::from_secs(10))).unwrap();
                seen += b.receive(&mut burst, 16) as u32;
                for frame in burst.drain(..) {
                    assert!(b.send(frame).is_ok());
                }
                b.flush().unwrap();
            }
        });
        let (mut burst, start) = (Vec::new(), Instant::now());
        for round in 0..ROUNDS {
            let frame = frame_of(&mut a, &round.to_ne_bytes());
            assert!(a.send(frame).is_ok());
            a.flush().unwrap();
            while a.receive(&mut burst, 1) == 0 {
                a.wait(Some(Duration::from_secs(10))).unwrap();
            }
            let frame = burst.pop().unwrap();
            assert_eq!(frame.bytes(), round.to_ne_bytes());
            a.release(frame);
        }
        echo.join().unwrap();
        // One lost wake costs ten seconds.
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());

        let waker = a.waker();
        waker.wake();
        let start = Instant::now();
        a.wait(None).unwrap();
        a.wait(Some(Duration::from_millis(20))).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(20), "one wake ends one wait");
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_frame_is_no_longer_than_its_chunk() {
        MemoryFrame::new().set_len(CHUNK + 1);
    }
}
