//! The seam to the world: a driver moves frames between one queue and one worker.
//!
//! A frame is move-only: exactly one handle exists for each UMEM chunk, so a chunk is in exactly one place. A driver is
//! owned by one worker and never shared.

pub mod af_xdp;
pub(crate) mod asleep;
mod bpf_link;
pub(crate) mod errno;
mod event;
pub mod memory;
pub mod tap;
mod xdp_defence;
mod xdp_error;
mod xdp_program;
mod xdp_verdict;

/// The atomics that [`asleep`] is built on.
mod atomic {
    pub use std::sync::atomic::{AtomicBool, Ordering, fence};
}

pub use crate::ledger::{ChunkCensus, KernelLosses};
pub use xdp_defence::{MAX_WORKERS, XdpDefence};
pub(crate) use xdp_error::native_cure;
pub use xdp_program::{AttachMode, Attached, OwnFlood, ProgramConfig, TestRunVerdict, XdpProgram};
pub(crate) use xdp_program::{OUR_PROGRAM, program_name};
pub use xdp_verdict::Verdict;

use crate::outpost::SharedMemory;
use crate::time::{Duration, Instant};
use crate::wire::frame::TxChecksum;
use std::io;
use std::sync::Arc;

/// One frame's memory. Dropping it leaks the chunk: give it back with [`Driver::send`] or [`Driver::release`].
pub trait Frame {
    /// The frame's octets, from the Ethernet header on.
    fn bytes(&self) -> &[u8];

    /// All the room there is from the frame's first octet on, at least as long as `bytes`.
    fn buffer(&mut self) -> &mut [u8];

    /// Sets the frame's length after writing to [`Frame::buffer`].
    ///
    /// # Panics
    /// If `len` is longer than the buffer.
    fn set_len(&mut self, len: usize);
}

/// Octets of a chunk that are used, of every driver: all, or the first half where a NIC needs larger ones. Of a UMEM's the
/// kernel keeps the first 256 to itself, so a frame has at most 1,792 there.
pub const CHUNK: usize = 2048;

/// Wakes a worker that sleeps in [`Driver::wait`], from any thread.
pub trait Wake: Send + Sync {
    /// Makes the running or next call of [`Driver::wait`] return at once.
    fn wake(&self);
}

/// One queue of an interface.
pub trait Driver {
    /// A frame of this driver.
    type Frame: Frame;

    /// Appends up to `max` received frames to `burst`; says how many.
    fn receive(&mut self, burst: &mut Vec<Self::Frame>, max: usize) -> usize;

    /// An empty frame to write to, or `None` when no chunk is free.
    fn alloc(&mut self) -> Option<Self::Frame>;

    /// Queues a frame to be sent by the next [`Driver::flush`].
    ///
    /// # Errors
    /// Gives the frame back when there is no room for it.
    fn send(&mut self, frame: Self::Frame) -> Result<(), Self::Frame>;

    /// Gives a frame's chunk back unsent.
    fn release(&mut self, frame: Self::Frame);

    /// Hands what was queued to the kernel or the peer, takes back what was sent, and offers free chunks for receiving.
    /// Called once a turn.
    ///
    /// # Errors
    /// Only for what will not mend by itself (the interface is gone); "later" is not an error.
    fn flush(&mut self) -> io::Result<()>;

    /// Sleeps until a frame is there, [`Wake::wake`] was called, or `timeout` is over (`None`: for as long as it takes).
    ///
    /// # Errors
    /// As [`Driver::flush`].
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// Looks whether sending goes on, and mends what can be mended if it does not. Called now and then, between turns.
    ///
    /// # Errors
    /// As [`Driver::flush`].
    fn tend(&mut self, _now: Instant) -> io::Result<()> {
        Ok(())
    }

    /// A handle that wakes this driver's [`Driver::wait`].
    fn waker(&self) -> Arc<dyn Wake>;

    /// Where the chunks are.
    fn census(&self) -> ChunkCensus;

    /// What the kernel lost between the NIC and us, where there is a kernel between.
    fn kernel_losses(&self) -> KernelLosses {
        KernelLosses::default()
    }

    /// Who finishes the TCP checksums of the frames that are sent: with [`TxChecksum::PseudoHeaderOnly`] the driver has it
    /// done for every TCP segment, and none may come to it finished.
    fn tx_checksum(&self) -> TxChecksum {
        TxChecksum::Full
    }

    /// Memory shared with an XDP program that can answer SYNs on this queue, where there is one.
    fn outpost(&self) -> Option<SharedMemory> {
        None
    }

    /// What it really got, in a few words for people and reports: `af_xdp native zero-copy`, `memory`.
    fn describe(&self) -> String;

    /// What memory its chunks lie in, in a few words; empty where that means nothing.
    fn memory(&self) -> String {
        String::new()
    }
}
