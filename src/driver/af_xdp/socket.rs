//! Opening one queue: UMEM, rings, bind, and what was really got.

use super::flags::{ProducerRing, RingWords};
use super::offload::Offer;
use super::stall::StallWatch;
use super::umem::{self, ChunkSize, Mapped};
use super::{AfXdp, ZeroCopy, error, sockopt};
use crate::SetupError;
use crate::driver::event::Event;
use crate::wire::frame::TxChecksum;
use ::xdp::error::SocketError;
use ::xdp::nic::NicIndex;
use ::xdp::socket::{XdpSocket, XdpSocketBuilder};
use ::xdp::{RingConfig, RingConfigBuilder, Umem, WakableRings};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a queue that is taken is tried again: the kernel needs a while to let go of a former owner's rings.
const BUSY_FOR: Duration = Duration::from_secs(2);

/// Which queue is wanted, and how.
pub(super) struct QueueRequest<'a> {
    pub(super) interface: &'a str,
    pub(super) if_index: u32,
    pub(super) queue: u32,
    pub(super) chunks: u32,
    pub(super) chunk_size: ChunkSize,
    pub(super) ring: u32,
    pub(super) zero_copy: ZeroCopy,
    pub(super) checksums: Offer,
    /// Where the XDP program runs: `native` or `generic`.
    pub(super) attached: String,
}

/// A socket bound to a queue, with its rings.
struct Bound {
    socket: XdpSocket,
    rings: WakableRings,
    zero_copy: bool,
}

impl QueueRequest<'_> {
    /// Opens the queue: socket(2), setsockopt(2), mmap(2) and bind(2), which need CAP_NET_RAW, CAP_NET_ADMIN, and
    /// CAP_IPC_LOCK or a limit of locked memory above the UMEM's size.
    ///
    /// # Errors
    /// When the queue is taken, a privilege or memory is missing, or zero-copy is forced and not to be had.
    pub(super) fn open(&self) -> Result<AfXdp, SetupError> {
        let what = || format!("setting up AF_XDP for {} queue {}", self.interface, self.queue);
        let config = RingConfigBuilder {
            rx_count: self.ring,
            tx_count: self.ring,
            completion_count: self.ring,
            // A zero-copy driver takes chunks into a ring of its own besides.
            fill_count: self.ring * 2,
        };
        let config = config
            .build()
            .map_err(|e| SetupError::new(what(), e.to_string(), "use a power of two for the ring, as 2048"))?;
        let mapped = umem::map(self.chunks, self.chunk_size, self.checksums.needs_room())
            .map_err(|e| SetupError::new(what(), e.to_string(), "use fewer chunks"))?;
        let bound = self.bind(mapped.umem, config)?;
        let tx_checksum = self.checksums.accept(self.interface, self.queue, bound.zero_copy)?;
        self.assemble(mapped, bound, tx_checksum).map_err(|e| {
            SetupError::of_system(what(), &e, "use a newer kernel; `handfast doctor` shows what this one can do")
        })
    }

    /// Binds as wanted, and falls back to copy where that is allowed.
    fn bind(&self, umem: &Umem, config: RingConfig) -> Result<Bound, SetupError> {
        if self.zero_copy != ZeroCopy::Off {
            match self.bind_patiently(umem, config, true) {
                Ok(bound) => return Ok(bound),
                Err(e) if self.zero_copy == ZeroCopy::Auto && error::is_no_zero_copy(&e) => {
                    let (interface, queue) = (self.interface, self.queue);
                    tracing::info!(interface, queue, "no zero-copy ({}): copying", error::io_error(&e));
                }
                Err(e) if error::is_no_zero_copy(&e) => {
                    return Err(SetupError::new(
                        format!("binding AF_XDP with zero-copy to {} queue {}", self.interface, self.queue),
                        format!("its driver has none ({})", error::io_error(&e)),
                        "allow copying with `--zero-copy auto`",
                    ));
                }
                Err(e) => return Err(error::queue_error(self.interface, self.queue, &e)),
            }
        }
        self.bind_patiently(umem, config, false).map_err(|e| error::queue_error(self.interface, self.queue, &e))
    }

    /// Binds, waiting a while for a former owner to let go.
    fn bind_patiently(&self, umem: &Umem, config: RingConfig, zero_copy: bool) -> Result<Bound, SocketError> {
        let start = Instant::now();
        loop {
            match self.bind_once(umem, config, zero_copy) {
                Err(e) if error::is_busy(&e) && start.elapsed() < BUSY_FOR => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                outcome => return outcome,
            }
        }
    }

    fn bind_once(&self, umem: &Umem, config: RingConfig, zero_copy: bool) -> Result<Bound, SocketError> {
        let mut builder = XdpSocketBuilder::new()?;
        let (rings, mut flags) = builder.build_wakable_rings(umem, config)?;
        if zero_copy {
            flags.force_zerocopy();
        } else {
            flags.force_copy();
        }
        let socket = builder.bind(NicIndex::new(self.if_index), self.queue, flags)?;
        Ok(Bound { socket, rings, zero_copy })
    }

    fn assemble(&self, mapped: Mapped, bound: Bound, tx_checksum: TxChecksum) -> io::Result<AfXdp> {
        static UMEMS: AtomicU32 = AtomicU32::new(0);
        // SAFETY: `bound` owns the socket and outlives this borrow.
        let fd = unsafe { BorrowedFd::borrow_raw(bound.socket.as_raw_fd()) };
        let zero_copy = sockopt::is_zero_copy(fd)?;
        debug_assert_eq!(zero_copy, bound.zero_copy);
        if !zero_copy {
            // An older kernel sends 32 frames a call; `kick` calls again.
            let _ = sockopt::set_tx_budget(fd, self.ring);
        }
        let copying = if zero_copy { "zero-copy" } else { "copy" };
        let checksums = if tx_checksum == TxChecksum::Full { "" } else { ", checksum offload" };
        let description = format!("af_xdp {} {copying}{checksums}", self.attached);
        let pages = mapped.pages();
        tracing::info!(interface = self.interface, queue = self.queue, "{description}, UMEM on {pages}");
        let WakableRings { fill_ring, rx_ring, completion_ring, tx_ring } = bound.rings;
        let mut driver = AfXdp {
            fill_words: RingWords::map(fd, ProducerRing::Fill)?,
            tx_words: RingWords::map(fd, ProducerRing::Tx)?,
            fill: fill_ring,
            rx: rx_ring.expect("a ring of the size that was asked for"),
            completion: completion_ring,
            tx: tx_ring.expect("a ring of the size that was asked for"),
            socket: bound.socket,
            pending: std::collections::VecDeque::with_capacity(self.ring as usize),
            umem: mapped.umem,
            pages,
            umem_id: UMEMS.fetch_add(1, Ordering::Relaxed),
            total: u64::from(self.chunks),
            receiving: 0,
            in_flight: 0,
            completed: 0,
            stall: StallWatch::default(),
            held: 0,
            stalled: false,
            ring: self.ring as usize,
            lend: if zero_copy { self.ring as usize * 2 } else { self.ring as usize },
            event: Arc::new(Event::new()?),
            interface: self.interface.to_string(),
            if_index: self.if_index,
            queue: self.queue,
            zero_copy,
            tx_checksum,
            description,
            outpost: None,
        };
        driver.refill()?;
        Ok(driver)
    }
}
