//! A driver that remembers the first frames that cross another one, or those of the first connection.

use super::{ChunkCensus, Driver, Frame, KernelLosses, Wake};
use crate::clock;
use crate::outpost::SharedMemory;
use crate::time::{Duration, Instant};
use crate::wire::FourTuple;
use crate::wire::frame::{self, Incoming, TxChecksum, VerifyChecksum};
use std::io;
use std::sync::Arc;

/// Octets kept of each frame: all headers and options fit.
pub const KEPT: usize = 128;

/// Which way a frame went, seen from the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the driver to the worker.
    Received,
    /// From the worker to the driver.
    Sent,
}

/// A frame that crossed.
#[derive(Clone, PartialEq, Eq)]
pub struct Crossed {
    /// When the worker got it or gave it away, on `CLOCK_MONOTONIC`.
    pub at: Instant,
    /// Which way.
    pub direction: Direction,
    /// Its length in octets.
    pub len: u32,
    kept: [u8; KEPT],
}

impl Crossed {
    /// A record of this frame.
    pub fn new(at: Instant, direction: Direction, frame: &[u8]) -> Self {
        let mut kept = [0; KEPT];
        let n = frame.len().min(KEPT);
        kept[..n].copy_from_slice(&frame[..n]);
        Crossed { at, direction, len: frame.len() as u32, kept }
    }

    /// Its first octets, at most [`KEPT`].
    pub fn bytes(&self) -> &[u8] {
        &self.kept[..(self.len as usize).min(KEPT)]
    }
}

impl std::fmt::Debug for Crossed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crossed")
            .field("at", &self.at)
            .field("direction", &self.direction)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// Takes a tap's record when its worker is gone.
pub type Record = crossbeam::channel::Receiver<Vec<Crossed>>;

/// A driver around another one that keeps the first octets of the first frames, with the time. When its quota is used
/// up it does nothing more than compare two numbers.
pub struct Tap<D> {
    inner: D,
    crossed: Vec<Crossed>,
    quota: usize,
    /// Whether only the first connection is followed, and which one that is.
    follows: bool,
    followed: Option<FourTuple>,
    deliver: crossbeam::channel::Sender<Vec<Crossed>>,
}

/// Between whom a TCP frame goes, as if it had come in.
fn tuple(frame: &[u8]) -> Option<FourTuple> {
    match frame::parse(frame, VerifyChecksum::No) {
        Ok(Incoming::Tcp { tuple, .. }) => Some(tuple),
        _ => None,
    }
}

impl<D: Driver> Tap<D> {
    /// Keeps the first `quota` frames that cross `inner`, whichever way; the record arrives when the tap is dropped.
    pub fn new(inner: D, quota: usize) -> (Self, Record) {
        let (deliver, record) = crossbeam::channel::bounded(1);
        let crossed = Vec::with_capacity(quota);
        (Tap { inner, crossed, quota, follows: false, followed: None, deliver }, record)
    }

    /// Keeps the first `quota` frames of the first TCP connection that crosses `inner`, and no others.
    pub fn of_first_connection(inner: D, quota: usize) -> (Self, Record) {
        let (mut tap, record) = Tap::new(inner, quota);
        tap.follows = true;
        (tap, record)
    }

    /// Keeps a frame if it is one to keep; says whether.
    fn note(&mut self, direction: Direction, frame: &[u8]) -> bool {
        if self.follows {
            let Some(tuple) = tuple(frame) else { return false };
            let followed = *self.followed.get_or_insert(tuple);
            if followed != tuple && followed != tuple.reversed() {
                return false;
            }
        }
        self.crossed.push(Crossed::new(clock::now(), direction, frame));
        true
    }

    fn has_room(&self) -> bool {
        self.crossed.len() < self.quota
    }
}

impl<D> Drop for Tap<D> {
    fn drop(&mut self) {
        // Nobody may want it any more.
        let _ = self.deliver.try_send(std::mem::take(&mut self.crossed));
    }
}

impl<D: Driver> Driver for Tap<D> {
    type Frame = D::Frame;

    fn receive(&mut self, burst: &mut Vec<D::Frame>, max: usize) -> usize {
        let before = burst.len();
        let received = self.inner.receive(burst, max);
        if self.has_room() {
            for frame in &burst[before..] {
                if !self.has_room() {
                    break;
                }
                self.note(Direction::Received, frame.bytes());
            }
        }
        received
    }

    fn alloc(&mut self) -> Option<D::Frame> {
        self.inner.alloc()
    }

    fn send(&mut self, frame: D::Frame) -> Result<(), D::Frame> {
        if !self.has_room() {
            return self.inner.send(frame);
        }
        // The frame is gone once it is sent: note it before, and strike it out again if it was refused.
        let noted = self.note(Direction::Sent, frame.bytes());
        self.inner.send(frame).inspect_err(|_| self.crossed.truncate(self.crossed.len() - usize::from(noted)))
    }

    fn release(&mut self, frame: D::Frame) {
        self.inner.release(frame);
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.wait(timeout)
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
    use crate::wire::frame::{Envelope, Link};
    use crate::wire::tcp::Header;
    use crate::wire::{Addr, MacAddr};

    /// A driver that sends back to itself and has room for two frames.
    #[derive(Default)]
    struct Loopback(Vec<Bytes>);
    struct Bytes(Vec<u8>);
    struct Nobody;

    impl Frame for Bytes {
        fn bytes(&self) -> &[u8] {
            &self.0
        }
        fn buffer(&mut self) -> &mut [u8] {
            &mut self.0
        }
        fn set_len(&mut self, len: usize) {
            self.0.truncate(len);
        }
    }

    impl Wake for Nobody {
        fn wake(&self) {}
    }

    impl Driver for Loopback {
        type Frame = Bytes;
        fn receive(&mut self, burst: &mut Vec<Bytes>, max: usize) -> usize {
            let n = self.0.len().min(max);
            burst.extend(self.0.drain(..n));
            n
        }
        fn alloc(&mut self) -> Option<Bytes> {
            Some(Bytes(vec![0; 2048]))
        }
        fn send(&mut self, frame: Bytes) -> Result<(), Bytes> {
            if self.0.len() == 2 {
                return Err(frame);
            }
            self.0.push(frame);
            Ok(())
        }
        fn release(&mut self, _: Bytes) {}
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
        fn wait(&mut self, _: Option<Duration>) -> io::Result<()> {
            Ok(())
        }
        fn waker(&self) -> Arc<dyn Wake> {
            Arc::new(Nobody)
        }
        fn census(&self) -> ChunkCensus {
            ChunkCensus::default()
        }
        fn kernel_losses(&self) -> KernelLosses {
            KernelLosses { rx_dropped: 3, ..KernelLosses::default() }
        }
        fn describe(&self) -> String {
            "loopback".into()
        }
    }

    #[test]
    fn what_the_kernel_lost_is_told_by_the_driver_beneath() {
        assert_eq!(Tap::new(Loopback::default(), 1).0.kernel_losses().rx_dropped, 3);
    }

    #[test]
    fn it_records_what_crossed_and_not_what_was_refused() {
        let (mut tap, record) = Tap::new(Loopback::default(), 10);
        assert!(tap.send(Bytes(vec![1; 60])).is_ok());
        assert!(tap.send(Bytes(vec![2; 1500])).is_ok());
        assert!(tap.send(Bytes(vec![3; 60])).is_err(), "the ring is full");
        let mut burst = vec![Bytes(vec![9; 9])];
        assert_eq!(tap.receive(&mut burst, 1), 1, "what was in the burst before did not cross now");
        drop(tap);
        let seen: Vec<_> =
            record.recv().unwrap().iter().map(|c| (c.direction, c.len, c.bytes().len(), c.bytes()[0])).collect();
        let expected =
            [(Direction::Sent, 60, 60, 1), (Direction::Sent, 1500, KEPT, 2), (Direction::Received, 60, 60, 1)];
        assert_eq!(seen, expected);
    }

    #[test]
    fn it_follows_the_first_connection_both_ways() {
        let segment = |src: u8, dst: u8, ports: (u16, u16), vlan: Option<u16>| {
            let link = Link { src: MacAddr([2; 6]), dst: MacAddr([4; 6]), vlan };
            let [local_addr, remote_addr] = [src, dst].map(|host| Addr::from_v4([10, 0, 0, host]));
            let tuple = FourTuple { local_addr, remote_addr, local_port: ports.0, remote_port: ports.1 };
            let envelope = Envelope { link, tuple, hop_limit: 64, traffic_class: 0, checksum: TxChecksum::Full };
            let mut frame = vec![0; 128];
            let len = frame::emit_tcp(&mut frame, &envelope, &Header::default(), 0, |_| {});
            frame.truncate(len);
            Bytes(frame)
        };
        for vlan in [None, Some(7)] {
            let (mut tap, record) = Tap::of_first_connection(Loopback::default(), 10);
            let mut burst = Vec::new();
            for (src, dst, ports) in [(1, 2, (9, 7)), (1, 2, (8, 7)), (2, 1, (7, 9)), (3, 2, (9, 7))] {
                assert!(tap.send(segment(src, dst, ports, vlan)).is_ok());
                tap.receive(&mut burst, 64);
            }
            assert!(tap.send(Bytes(vec![0; 42])).is_ok(), "what is not TCP crosses unrecorded");
            drop(tap);
            assert_eq!(record.recv().unwrap().len(), 4, "the segment and its answer, each sent and received");
        }
    }

    #[test]
    fn it_records_no_more_than_its_quota_and_the_frames_cross_all_the_same() {
        let (mut tap, record) = Tap::new(Loopback::default(), 3);
        let mut burst = Vec::new();
        for i in 0..10u8 {
            assert!(tap.send(Bytes(vec![i; 60])).is_ok() && tap.send(Bytes(vec![i; 60])).is_ok());
            assert_eq!(tap.receive(&mut burst, 64), 2);
        }
        assert_eq!(burst.len(), 20);
        drop(tap);
        assert_eq!(record.recv().unwrap().len(), 3);
    }
}
