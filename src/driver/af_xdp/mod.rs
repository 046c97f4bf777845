//! The AF_XDP driver: one queue of an interface, its UMEM and its four rings.
//!
//! A chunk goes round: free list → fill ring → (kernel) → rx ring → a frame held by the worker → tx ring → (kernel) →
//! completion ring → free list. A received frame may be sent as it is, a written one needs no reception; each step counts,
//! so [`Driver::census`] says where every chunk is. The rings themselves are those of the crate `xdp`; what it does not
//! show (need_wakeup, zero-copy got or not) is read here.

mod error;
mod flags;
mod frame;
#[cfg(test)]
mod kernel_by_hand;
mod offload;
mod port;
mod socket;
mod sockopt;
mod stall;
mod umem;

pub use frame::{CHUNK, XskFrame};
pub use offload::ChecksumOffload;
pub(crate) use offload::SINCE as CHECKSUMS_SINCE;
pub(crate) use port::{MAX_MTU, RING, kernel_version, mtu_cure, umem_octets};
pub use port::{Port, PortConfig, ZeroCopy, open};
pub(crate) use umem::HUGE_PAGE;

use super::event::Event;
use super::{ChunkCensus, Driver, KernelLosses, Wake};
use crate::SetupError;
use crate::host;
use crate::outpost::SharedMemory;
use crate::time::{Duration, Instant};
use crate::wire::frame::TxChecksum;
use ::xdp::socket::XdpSocket;
use ::xdp::{CompletionRing, RxRing, Umem, WakableFillRing, WakableTxRing};
use flags::RingWords;
use frame::{Pending, Received};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use stall::{Sending, StallWatch};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use umem::Pages;

/// Frames that one `sendto` hands on in copy mode before it answers EAGAIN.
const COPY_BATCH: usize = 32;

/// How long to wait before trying again what the kernel could not send (ENETDOWN, ENOBUFS, EBUSY).
const STALL: Duration = Duration::from_millis(10);

/// The longest uninterrupted sleep: the end of an interface wakes nobody, so it is looked for this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// One queue of an interface, bound by an AF_XDP socket.
///
/// When it is dropped the socket closes and the queue is free again; its UMEM stays mapped.
pub struct AfXdp {
    fill: WakableFillRing,
    rx: RxRing,
    completion: CompletionRing,
    tx: WakableTxRing,
    fill_words: RingWords,
    tx_words: RingWords,
    // After the rings, so that none outlives its socket.
    socket: XdpSocket,
    /// To be submitted by the next flush.
    pending: VecDeque<XskFrame>,
    umem: &'static mut Umem,
    pages: Pages,
    umem_id: u32,
    total: u64,
    receiving: usize,
    /// Submitted and not yet completed.
    in_flight: usize,
    /// Ever since the start.
    completed: u64,
    stall: StallWatch,
    held: usize,
    /// The kernel could not send when it was last asked to.
    stalled: bool,
    ring: usize,
    /// How many chunks are lent for receiving.
    lend: usize,
    event: Arc<Event>,
    interface: String,
    if_index: u32,
    queue: u32,
    zero_copy: bool,
    tx_checksum: TxChecksum,
    description: String,
    outpost: Option<SharedMemory>,
}

impl AfXdp {
    /// Whether frames cross without a copy between NIC and UMEM.
    pub fn is_zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Through this memory the program can be told to answer SYNs.
    fn share_with_program(&mut self, memory: Option<SharedMemory>) {
        self.outpost = memory;
    }

    /// What the kernel lost: getsockopt(2).
    ///
    /// # Errors
    /// When the kernel is too old to say.
    fn statistics(&self) -> io::Result<KernelLosses> {
        let s = self.socket.statistics().map_err(io::Error::other)?;
        Ok(KernelLosses {
            rx_dropped: s.rx_dropped,
            rx_ring_full: s.rx_ring_full,
            rx_fill_ring_empty: s.rx_fill_ring_empty_descs,
            rx_invalid_descs: s.rx_invalid_descs,
            tx_invalid_descs: s.tx_invalid_descs,
            ..KernelLosses::default()
        })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open as long as `self`, from which the result borrows.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }

    /// Takes back what the kernel has sent.
    fn reap(&mut self) {
        let count = self.completion.dequeue(self.umem, self.in_flight);
        self.in_flight -= count;
        self.completed += count as u64;
    }

    /// Offers free chunks for receiving, and tells a kernel that ran out of them.
    fn refill(&mut self) -> io::Result<()> {
        let missing = self.lend - self.receiving;
        if missing > 0 {
            // SAFETY: the UMEM is the one this ring was set up with, and is mapped for the life of the process.
            self.receiving += unsafe { self.fill.enqueue(self.umem, missing, false) }?;
        }
        if self.fill_words.needs_wakeup() && self.fill_words.waiting() > 0 {
            later(rustix::net::recv(self.fd(), &mut [0u8; 0], RecvFlags::DONTWAIT).map(drop))?;
        }
        Ok(())
    }

    /// Moves what is pending into the tx ring.
    fn submit(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        // `send` keeps pending and in-flight frames together within the ring's size, so there is room for all.
        // SAFETY: the frames are of this UMEM (`send` checks it), and it is mapped for the life of the process.
        self.in_flight += unsafe { self.tx.send(&mut Pending(&mut self.pending), false) }?;
        Ok(())
    }

    /// Nothing has left for so many seconds, however often the kernel was asked.
    ///
    /// # Errors
    /// The link is up all the while: only setting the queue up anew can help, and with it everything that hangs on it.
    fn on_standstill(&mut self, seconds: u32) -> io::Result<()> {
        let (queue, frames) = (self.queue, self.in_flight);
        if seconds == 1 {
            tracing::warn!(queue, "none of {frames} frames has left for a second, however often the kernel was asked");
        }
        // Where the kernel does not answer, nothing is known that would be worth ending for.
        let is_up = host::carries(self.if_index).unwrap_or(false);
        if !self.stall.is_hopeless(is_up) {
            return Ok(());
        }
        Err(io::Error::other(SetupError::new(
            format!("sending on {} queue {queue}", self.interface),
            format!(
                "none of {frames} frames has left for {seconds} s although the link is up: its driver stands still"
            ),
            "start again, which sets the queue up anew; if that does not last, `--zero-copy off` goes another way",
        )))
    }

    /// Makes the kernel send what is in the tx ring. What it cannot take now stays for the next turn.
    fn kick(&mut self) -> io::Result<()> {
        self.stalled = false;
        // Each call in copy mode sends at least one batch, unless the link holds it up.
        for _ in 0..self.ring / COPY_BATCH + 1 {
            if self.tx_words.waiting() == 0 || !self.tx_words.needs_wakeup() {
                return Ok(());
            }
            match rustix::net::send(self.fd(), &[], SendFlags::DONTWAIT) {
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                outcome => {
                    self.stalled = true;
                    return later(outcome.map(drop));
                }
            }
        }
        Ok(())
    }
}

/// Turns the errors that mend by themselves into success: the next turn tries again.
fn later(outcome: rustix::io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::NETDOWN | Errno::INTR) => Ok(()),
        outcome => Ok(outcome?),
    }
}

impl Driver for AfXdp {
    type Frame = XskFrame;

    fn receive(&mut self, burst: &mut Vec<XskFrame>, max: usize) -> usize {
        let mut received = Received { burst, room: max, umem: self.umem_id };
        // SAFETY: the UMEM is the one this ring was set up with, and is mapped for the life of the process.
        let count = unsafe { self.rx.recv(self.umem, &mut received) };
        self.receiving -= count;
        self.held += count;
        count
    }

    fn alloc(&mut self) -> Option<XskFrame> {
        // SAFETY: the UMEM is mapped for the life of the process.
        let packet = unsafe { self.umem.alloc() }?;
        self.held += 1;
        Some(XskFrame::new(packet, self.umem_id))
    }

    fn send(&mut self, mut frame: XskFrame) -> Result<(), XskFrame> {
        assert_eq!(frame.umem(), self.umem_id, "a frame belongs to the queue that handed it out");
        if self.pending.len() + self.in_flight >= self.ring {
            self.reap();
            if self.pending.len() + self.in_flight >= self.ring {
                return Err(frame);
            }
        }
        if self.tx_checksum == TxChecksum::PseudoHeaderOnly {
            frame.ask_for_checksum();
        }
        self.held -= 1;
        self.pending.push_back(frame);
        Ok(())
    }

    fn release(&mut self, frame: XskFrame) {
        assert_eq!(frame.umem(), self.umem_id, "a frame belongs to the queue that handed it out");
        self.held -= 1;
        self.umem.free_packet(frame.into_packet());
    }

    fn flush(&mut self) -> io::Result<()> {
        self.submit()?;
        self.kick()?;
        self.reap();
        self.refill()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let longest = if self.stalled { STALL } else { LONGEST_SLEEP };
        let timeout = Timespec::try_from(timeout.unwrap_or(longest).min(longest)).ok();
        // Only then: an idle tx ring is always writable, and a stalled one may be without going on.
        let unsent = self.tx_words.waiting() > 0 || !self.pending.is_empty();
        let interest = if unsent && !self.stalled { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let (socket, event) = (self.fd(), self.event.clone());
        let mut fds = [PollFd::from_borrowed_fd(socket, interest), PollFd::new(&*event, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            // The end of the interface is left as an error on the socket.
            Ok(0) => Ok(rustix::net::sockopt::socket_error(socket)??),
            Err(Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
            Ok(_) => {
                if !fds[1].revents().is_empty() {
                    event.clear();
                }
                Ok(())
            }
        }
    }

    fn tend(&mut self, now: Instant) -> io::Result<()> {
        self.reap();
        let sending = self.stall.look(now, self.in_flight, self.completed);
        if sending == Sending::GoesOn {
            return Ok(());
        }
        if let Sending::StandsStill(seconds) = sending {
            self.on_standstill(seconds)?;
        }
        // Whatever the flag says: that it does not ask for a call may be what is wrong.
        later(rustix::net::send(self.fd(), &[], SendFlags::DONTWAIT).map(drop))
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.event.clone()
    }

    fn census(&self) -> ChunkCensus {
        ChunkCensus {
            total: self.total,
            free: self.umem.allocatable() as u64,
            receiving: self.receiving as u64,
            sending: (self.pending.len() + self.in_flight) as u64,
            held: self.held as u64,
        }
    }

    fn kernel_losses(&self) -> KernelLosses {
        // An older kernel does not say.
        KernelLosses { tx_stalls: self.stall.stalls(), ..self.statistics().unwrap_or_default() }
    }

    fn tx_checksum(&self) -> TxChecksum {
        self.tx_checksum
    }

    fn outpost(&self) -> Option<SharedMemory> {
        self.outpost
    }

    fn describe(&self) -> String {
        self.description.clone()
    }

    fn memory(&self) -> String {
        self.pages.to_string()
    }
}

impl AsRawFd for AfXdp {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<AfXdp>();
};
