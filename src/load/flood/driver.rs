//! A driver that floods: what the stack sends goes first, and the flood takes what room is left.

use super::super::gauge::Gauge;
use super::{Flood, Frames};
use crate::clock;
use crate::driver::{ChunkCensus, Driver, Frame, KernelLosses, Wake};
use crate::outpost::SharedMemory;
use crate::time::{Duration, Instant};
use crate::wire::frame::{self, Incoming, TxChecksum, VerifyChecksum};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Frames of the flood in one turn: honest segments wait no longer than for these.
const BURST: u64 = 32;
/// Frames that may be made up for later; what is due beyond them is given up, and counted.
const BACKLOG: u64 = 4 * BURST;
/// The shortest sleep while the flood goes on.
const SHORTEST_SLEEP: Duration = Duration::from_micros(20);

/// What a flood shows of itself.
#[derive(Debug, Default)]
pub struct FloodGauge {
    began: AtomicBool,
    due: AtomicU64,
    sent: AtomicU64,
    held_back: AtomicU64,
    ns: AtomicU64,
}

impl FloodGauge {
    /// Whether an honest frame has shown the way to the target.
    pub fn began(&self) -> bool {
        self.began.load(Ordering::Relaxed)
    }

    /// Frames whose time came.
    pub fn due(&self) -> u64 {
        self.due.load(Ordering::Relaxed)
    }

    /// Frames sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Frames whose time came while there was no room for them, or the worker was late.
    pub fn held_back(&self) -> u64 {
        self.held_back.load(Ordering::Relaxed)
    }

    /// How long it goes on.
    pub fn seconds(&self) -> f64 {
        self.ns.load(Ordering::Relaxed) as f64 / 1e9
    }
}

/// A driver around another one, with a flood beside what its worker sends. It begins when the worker's own frames have
/// shown the way to the target, and ends with the measured time of the run.
pub struct Flooding<D> {
    inner: D,
    flood: Flood,
    seed: u64,
    frames: Option<Frames>,
    began: Option<Instant>,
    sent: u64,
    held_back: u64,
    gauge: Arc<FloodGauge>,
    run: Arc<Gauge>,
}

impl<D: Driver> Flooding<D> {
    /// `flood` behind `driver`, until `run` has been measured.
    pub fn new(driver: D, flood: Flood, seed: u64, gauge: Arc<FloodGauge>, run: Arc<Gauge>) -> Self {
        Flooding { inner: driver, flood, seed, frames: None, began: None, sent: 0, held_back: 0, gauge, run }
    }

    /// Looks whether a frame of the worker goes to the target; then the way is known.
    fn learn_the_way(&mut self, frame: &[u8]) {
        // Read as if it had come in: there the target would be local.
        let Ok(Incoming::Tcp { link, tuple, .. }) = frame::parse(frame, VerifyChecksum::No) else { return };
        if tuple.local_addr.v4() == Some(self.flood.target.ip().octets()) {
            self.frames = Some(Frames::new(&self.flood, link, self.inner.tx_checksum(), self.seed));
        }
    }

    /// Sends what is due, as far as there is room.
    fn emit(&mut self) {
        let Some(frames) = &mut self.frames else { return };
        if self.run.is_measured() {
            return;
        }
        let now = clock::now();
        let elapsed = now.since(*self.began.get_or_insert(now));
        let due = (self.flood.rate * elapsed.as_secs_f64()) as u64;
        let owed = due - (self.sent + self.held_back);
        let given_up = owed.saturating_sub(BACKLOG);
        for _ in 0..owed.min(BURST).min(room(&self.inner.census())) {
            let Some(mut frame) = self.inner.alloc() else { break };
            let len = frames.write(frame.buffer());
            frame.set_len(len);
            if let Err(frame) = self.inner.send(frame) {
                self.inner.release(frame);
                break;
            }
            self.sent += 1;
        }
        self.held_back += given_up;
        self.gauge.began.store(true, Ordering::Relaxed);
        self.gauge.due.store(due, Ordering::Relaxed);
        self.gauge.sent.store(self.sent, Ordering::Relaxed);
        self.gauge.held_back.store(self.held_back, Ordering::Relaxed);
        self.gauge.ns.store(elapsed.as_nanos() as u64, Ordering::Relaxed);
    }

    /// How long until frames are due, while the flood goes on.
    fn next(&self) -> Option<Duration> {
        let goes_on = self.frames.is_some() && !self.run.is_measured();
        goes_on.then(|| Duration::from_secs_f64(1.0 / self.flood.rate).max(SHORTEST_SLEEP))
    }
}

/// How many chunks the flood may take: three quarters of the free ones, and no more under way than an eighth of all, are
/// the worker's.
fn room(census: &ChunkCensus) -> u64 {
    let under_way = (census.total / 8).saturating_sub(census.sending);
    under_way.min(census.free / 4)
}

impl<D: Driver> Driver for Flooding<D> {
    type Frame = D::Frame;

    fn receive(&mut self, burst: &mut Vec<D::Frame>, max: usize) -> usize {
        self.inner.receive(burst, max)
    }

    fn alloc(&mut self) -> Option<D::Frame> {
        self.inner.alloc()
    }

    fn send(&mut self, frame: D::Frame) -> Result<(), D::Frame> {
        if self.frames.is_none() {
            self.learn_the_way(frame.bytes());
        }
        self.inner.send(frame)
    }

    fn release(&mut self, frame: D::Frame) {
        self.inner.release(frame);
    }

    fn flush(&mut self) -> io::Result<()> {
        self.emit();
        self.inner.flush()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.wait(self.next().into_iter().chain(timeout).min())
    }

    fn tend(&mut self, now: Instant) -> io::Result<()> {
        self.inner.tend(now)
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.inner.waker()
    }

    fn census(&self) -> ChunkCensus {
        self.inner.census()
    }

    fn kernel_losses(&self) -> KernelLosses {
        self.inner.kernel_losses()
    }

    fn tx_checksum(&self) -> TxChecksum {
        self.inner.tx_checksum()
    }

    fn outpost(&self) -> Option<SharedMemory> {
        self.inner.outpost()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn memory(&self) -> String {
        self.inner.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_the_room_stays_with_the_worker() {
        let census = |free, sending| ChunkCensus { total: 4_096, free, sending, ..ChunkCensus::default() };
        assert_eq!(room(&census(2_000, 0)), 500);
        assert_eq!(room(&census(2_000, 500)), 12);
        assert_eq!(room(&census(2_000, 600)), 0);
        assert_eq!(room(&census(3, 0)), 0);
    }
}
