//! The driver over rings that the kernel leaves alone: a test does to their memory what a kernel would, in any order.
//!
//! The socket is bound in copy mode to a loopback interface without an XDP program, so that nothing arrives by itself, and
//! the rings' flags say that nobody wants to be called, so that nothing is sent. Needs root, and skips aloud without it.

use super::frame::CHUNK;
use super::offload::Offer;
use super::socket::QueueRequest;
use super::umem::ChunkSize;
use super::{AfXdp, ZeroCopy, sockopt};
use crate::driver::{Driver, Frame};
use crate::lab::Namespace;
use crate::time::{Duration, Instant};
use crate::wire::frame::{self, Envelope, Link, TxChecksum};
use crate::wire::tcp::Header;
use crate::wire::{Addr, FourTuple, MacAddr};
use proptest::prelude::*;
use std::collections::{BTreeSet, VecDeque};
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};

const RING: u32 = 8;
/// Three times the ring, as the least that a port allows, and an odd few.
const CHUNKS: u32 = 27;
/// The first octet of a received frame in its chunk: the kernel keeps those before it.
const HEADROOM: u64 = 256;

/// The kernel's end of one ring; `T` is what it holds.
struct Ring<T> {
    page: *mut u8,
    offsets: libc::xdp_ring_offset,
    size: u32,
    kind: std::marker::PhantomData<T>,
}

impl<T: Copy> Ring<T> {
    fn map(socket: BorrowedFd<'_>, offsets: libc::xdp_ring_offset, size: u32, at: libc::off_t) -> Ring<T> {
        let len = offsets.desc as usize + size as usize * size_of::<T>();
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that is in use; it is never unmapped.
        let page = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), len, access, libc::MAP_SHARED, socket.as_raw_fd(), at)
        };
        assert_ne!(page, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        let ring = Ring { page: page.cast(), offsets, size, kind: std::marker::PhantomData };
        ring.word(offsets.flags).store(0, Ordering::Relaxed);
        ring
    }

    fn word(&self, at: u64) -> &AtomicU32 {
        // SAFETY: the kernel has laid the word out within the mapping, aligned; all access is atomic.
        unsafe { AtomicU32::from_ptr(self.page.add(at as usize).cast()) }
    }

    fn slot(&self, index: u32) -> *mut T {
        // SAFETY: the masked index lies within the ring, which lies within the mapping.
        unsafe { self.page.add(self.offsets.desc as usize).cast::<T>().add((index & (self.size - 1)) as usize) }
    }

    fn len(&self) -> u32 {
        let (produced, consumed) = (self.word(self.offsets.producer), self.word(self.offsets.consumer));
        let len = produced.load(Ordering::Acquire).wrapping_sub(consumed.load(Ordering::Acquire));
        assert!(len <= self.size, "{len} entries in a ring of {}", self.size);
        len
    }

    /// Takes the oldest entry, as the consumer of a ring that user space fills.
    fn pop(&self) -> Option<T> {
        let consumer = self.word(self.offsets.consumer);
        (self.len() > 0).then(|| {
            // SAFETY: the entry was produced, and stays as it is until the consumer's word has moved on.
            let entry = unsafe { self.slot(consumer.load(Ordering::Relaxed)).read() };
            consumer.fetch_add(1, Ordering::Release);
            entry
        })
    }

    /// Adds an entry, as the producer of a ring that user space empties.
    fn push(&self, entry: T) {
        assert!(self.len() < self.size, "the kernel has nowhere to put this");
        let producer = self.word(self.offsets.producer);
        // SAFETY: the entry is free until the producer's word has moved on.
        unsafe { self.slot(producer.load(Ordering::Relaxed)).write(entry) };
        producer.fetch_add(1, Ordering::Release);
    }
}

/// What the kernel has in its hands, and the rings as it sees them.
struct Kernel {
    fill: Ring<u64>,
    rx: Ring<libc::xdp_desc>,
    tx: Ring<libc::xdp_desc>,
    completion: Ring<u64>,
    umem: *mut u8,
    /// Chunks taken from the fill ring, to be received into.
    to_fill: VecDeque<u64>,
    /// Addresses taken from the tx ring and not yet reported as sent.
    sending: VecDeque<u64>,
}

impl Kernel {
    fn of(driver: &mut AfXdp) -> Kernel {
        let first = driver.alloc().expect("a free chunk");
        let umem = (first.bytes().as_ptr() as usize & !(CHUNK - 1)) as *mut u8;
        // The free list is handed out from the lowest chunk on, after those that `open` has lent.
        let umem = umem.wrapping_sub(driver.receiving * CHUNK);
        driver.release(first);
        let fd = driver.fd();
        let offsets = sockopt::mmap_offsets(fd).unwrap();
        Kernel {
            fill: Ring::map(fd, offsets.fr, 2 * RING, libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t),
            rx: Ring::map(fd, offsets.rx, RING, libc::XDP_PGOFF_RX_RING),
            tx: Ring::map(fd, offsets.tx, RING, libc::XDP_PGOFF_TX_RING),
            completion: Ring::map(fd, offsets.cr, RING, libc::XDP_UMEM_PGOFF_COMPLETION_RING as libc::off_t),
            umem,
            to_fill: VecDeque::new(),
            sending: VecDeque::new(),
        }
    }

    /// The octets of a frame in the UMEM.
    fn octets(&mut self, addr: u64, len: usize) -> &mut [u8] {
        assert!(addr + len as u64 <= u64::from(CHUNKS) * CHUNK as u64, "address {addr} outside the UMEM");
        // SAFETY: within the UMEM (just checked), which stays mapped; the test is one thread, and the chunk is the kernel's.
        unsafe { std::slice::from_raw_parts_mut(self.umem.add(addr as usize), len) }
    }

    fn take_to_fill(&mut self) {
        self.to_fill.extend(self.fill.pop());
    }

    /// A frame of four octets arrives, if there is a chunk for it and room in the ring.
    fn receive(&mut self, number: u32) -> bool {
        if self.rx.len() == RING {
            return false;
        }
        let Some(chunk) = self.to_fill.pop_front() else { return false };
        let addr = chunk + HEADROOM;
        self.octets(addr, 4).copy_from_slice(&number.to_ne_bytes());
        self.rx.push(libc::xdp_desc { addr, len: 4, options: 0 });
        true
    }

    /// Sends the oldest frame; what it said.
    fn send(&mut self) -> Option<u32> {
        let desc = self.tx.pop()?;
        assert_eq!((desc.len, desc.options), (4, 0));
        self.sending.push_back(desc.addr);
        Some(u32::from_ne_bytes((&*self.octets(desc.addr, 4)).try_into().unwrap()))
    }

    /// Takes the newest frame for good, and unseen by the kernel itself: nobody else will send it.
    fn steal(&mut self) {
        let newest = self.tx.word(self.tx.offsets.producer).fetch_sub(1, Ordering::Relaxed) - 1;
        // SAFETY: the entry was produced, and nobody writes to it before the next one is.
        self.sending.push_back(unsafe { self.tx.slot(newest).read() }.addr);
    }

    /// Reports a frame as sent, the oldest or the newest: a NIC need not keep the order.
    fn complete(&mut self, oldest: bool) {
        let addr = if oldest { self.sending.pop_front() } else { self.sending.pop_back() };
        addr.into_iter().for_each(|addr| self.completion.push(addr));
    }

    /// Every chunk that the kernel holds, or that waits in a ring, is there once.
    fn check(&self, driver: &AfXdp, held: &[super::XskFrame]) {
        let census = driver.census();
        let [fill, rx, tx, completion] = [self.fill.len(), self.rx.len(), self.tx.len(), self.completion.len()];
        assert_eq!(census.total, census.free + census.receiving + census.sending + census.held, "{census:?}");
        assert_eq!(census.receiving, u64::from(fill + rx) + self.to_fill.len() as u64, "{census:?}");
        let pending = driver.pending.len() as u64;
        assert_eq!(census.sending, pending + u64::from(tx + completion) + self.sending.len() as u64, "{census:?}");
        assert_eq!(census.held as usize, held.len());
        let at = |frame: &super::XskFrame| (frame.bytes().as_ptr() as u64 - self.umem as u64) / CHUNK as u64;
        let chunks = self.to_fill.iter().chain(&self.sending).map(|addr| addr / CHUNK as u64);
        let seen: Vec<u64> = chunks.chain(held.iter().chain(&driver.pending).map(at)).collect();
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "a chunk in two places: {seen:?}");
    }
}

/// A driver on a loopback interface of its own, and the kernel's side of it.
fn open() -> Option<(AfXdp, Kernel, Namespace)> {
    open_with(Offer::default())
}

fn open_with(checksums: Offer) -> Option<(AfXdp, Kernel, Namespace)> {
    if !rustix::process::geteuid().is_root() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: the rings over memory that a test fills: needs root");
        return None;
    }
    let namespace = Namespace::create().unwrap();
    let request = || QueueRequest {
        interface: "lo",
        if_index: 1,
        queue: 0,
        chunks: CHUNKS,
        chunk_size: ChunkSize::Usual,
        ring: RING,
        zero_copy: ZeroCopy::Off,
        checksums,
        attached: "nowhere".into(),
    };
    let mut driver = namespace.inside(|| request().open()).unwrap().unwrap();
    let kernel = Kernel::of(&mut driver);
    Some((driver, kernel, namespace))
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Alloc,
    Send,
    Release,
    Flush,
    Receive(usize),
    /// The kernel's.
    TakeToFill,
    Arrive,
    Transmit,
    Complete(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Alloc),
        2 => Just(Step::Send),
        1 => Just(Step::Release),
        2 => Just(Step::Flush),
        1 => (0usize..12).prop_map(Step::Receive),
        2 => Just(Step::TakeToFill),
        2 => Just(Step::Arrive),
        2 => Just(Step::Transmit),
        2 => any::<bool>().prop_map(Step::Complete),
    ]
}

/// What each side has put on its way and the other is to see, in order.
#[derive(Default)]
struct Expected {
    next: u32,
    arriving: VecDeque<u32>,
    leaving: VecDeque<u32>,
}

fn play(driver: &mut AfXdp, kernel: &mut Kernel, step: Step, held: &mut Vec<super::XskFrame>, expected: &mut Expected) {
    match step {
        Step::Alloc => held.extend(driver.alloc()),
        Step::Release => held.pop().into_iter().for_each(|frame| driver.release(frame)),
        Step::Flush => driver.flush().unwrap(),
        Step::TakeToFill => kernel.take_to_fill(),
        Step::Complete(oldest) => kernel.complete(oldest),
        Step::Transmit => assert!(kernel.send().is_none_or(|said| expected.leaving.pop_front() == Some(said))),
        Step::Arrive => {
            if kernel.receive(expected.next) {
                expected.arriving.push_back(expected.next);
                expected.next += 1;
            }
        }
        Step::Receive(max) => {
            let (before, waiting) = (held.len(), kernel.rx.len() as usize);
            let count = driver.receive(held, max);
            // The ring looks for more only when what it saw last is used up.
            assert!(count <= waiting.min(max) && (count > 0 || waiting.min(max) == 0), "{count} of {waiting}");
            for frame in &held[before..] {
                assert_eq!(
                    Some(frame.bytes()),
                    expected.arriving.pop_front().map(u32::to_ne_bytes).as_ref().map(|o| &o[..])
                );
            }
        }
        Step::Send => {
            let Some(mut frame) = held.pop() else { return };
            frame.buffer()[..4].copy_from_slice(&expected.next.to_ne_bytes());
            frame.set_len(4);
            let room = kernel.tx.len() as usize + kernel.sending.len() + driver.pending.len() < RING as usize;
            match driver.send(frame) {
                Ok(()) => {
                    assert!(room, "more on its way than the completion ring holds");
                    expected.leaving.push_back(expected.next);
                    expected.next += 1;
                }
                Err(frame) => {
                    assert!(!room, "what was sent makes room");
                    held.push(frame);
                }
            }
        }
    }
}

/// No chunk is lost or doubled, no frame goes astray or overtakes another, whatever the order of steps; at the end all
/// chunks are back.
#[test]
fn chunks_go_round_in_every_order_of_both_sides_steps() {
    let Some((mut driver, mut kernel, _namespace)) = open() else { return };
    let (mut held, mut expected) = (Vec::new(), Expected::default());
    // One driver for all cases: its indices go round the rings hundreds of times.
    let strategy = proptest::collection::vec(step(), 1..400);
    // The state goes on from case to case, so a shorter case would not mean the same.
    let config = ProptestConfig { failure_persistence: None, cases: 64, max_shrink_iters: 0, ..Default::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let state = std::cell::RefCell::new((&mut driver, &mut kernel, &mut held, &mut expected));
    runner
        .run(&strategy, |steps| {
            let (driver, kernel, held, expected) = &mut *state.borrow_mut();
            for step in steps {
                play(driver, kernel, step, held, expected);
                kernel.check(driver, held);
            }
            Ok(())
        })
        .unwrap();
    assert!(expected.next > 20 * RING, "{} frames crossed", expected.next);
    held.drain(..).for_each(|frame| driver.release(frame));
    for _ in 0..CHUNKS {
        kernel.take_to_fill();
        kernel.receive(0);
        driver.receive(&mut held, 1);
        held.drain(..).for_each(|frame| driver.release(frame));
        driver.flush().unwrap();
        kernel.send();
        kernel.complete(true);
    }
    driver.flush().unwrap();
    let census = driver.census();
    assert_eq!((census.sending, census.held), (0, 0));
    assert_eq!(census.free + census.receiving, u64::from(CHUNKS));
}

#[test]
fn no_more_is_lent_than_a_ring_and_what_came_is_lent_anew() {
    let Some((mut driver, mut kernel, _namespace)) = open() else { return };
    assert_eq!(kernel.fill.len(), RING);
    driver.flush().unwrap();
    assert_eq!(kernel.fill.len(), RING, "all that is to be lent is");
    for number in 0..3 {
        kernel.take_to_fill();
        assert!(kernel.receive(number));
    }
    let mut burst = Vec::new();
    assert_eq!(driver.receive(&mut burst, 2), 2);
    driver.flush().unwrap();
    assert_eq!((kernel.fill.len(), kernel.rx.len()), (RING - 1, 1), "one is still in the rx ring");
    burst.drain(..).for_each(|frame| driver.release(frame));
}

/// As a driver does that has missed a wake-up: the flag asks for no call, and nothing is sent.
#[test]
fn frames_that_do_not_leave_are_counted_after_a_second_and_sent_by_a_call_that_no_flag_asks_for() {
    let Some((mut driver, _kernel, namespace)) = open() else { return };
    let namespace = |state| namespace.run("ip", &["link", "set", "lo", state]).unwrap();
    let mut frame = driver.alloc().unwrap();
    frame.buffer()[..60].fill(0);
    frame.set_len(60);
    driver.send(frame).unwrap();
    driver.flush().unwrap();
    namespace("down");
    let (mut now, mut stalls) = (Instant::from_millis(1), Vec::new());
    for _ in 0..30 {
        driver.tend(now).unwrap();
        stalls.push(driver.kernel_losses().tx_stalls);
        now = now + Duration::from_millis(100);
    }
    assert_eq!(stalls, [vec![0; 10], vec![1; 20]].concat(), "once, and after a second");
    assert_eq!(driver.census().sending, 1);
    namespace("up");
    driver.flush().unwrap();
    assert_eq!(driver.census().sending, 1, "nobody has been called");
    driver.tend(now).unwrap();
    driver.tend(now + Duration::from_millis(100)).unwrap();
    assert_eq!((driver.census().sending, driver.kernel_losses().tx_stalls), (0, 1));
}

/// As a driver does that takes a frame and never says that it was sent.
#[test]
fn a_driver_that_stands_still_is_borne_while_the_link_is_down_and_ends_us_ten_seconds_after() {
    let Some((mut driver, mut kernel, namespace)) = open() else { return };
    let mut frame = driver.alloc().unwrap();
    frame.set_len(4);
    driver.send(frame).unwrap();
    driver.flush().unwrap();
    kernel.steal();
    let mut now = Instant::from_millis(1);
    // For so many looks; what the first error says, and how many looks it took.
    let mut look = |driver: &mut AfXdp, looks: usize| {
        namespace.inside(|| {
            let mut outcomes = (0..looks).map(|_| {
                now = now + Duration::from_millis(100);
                driver.tend(now)
            });
            outcomes.position(|outcome| outcome.is_err())
        })
    };
    namespace.run("ip", &["link", "set", "lo", "down"]).unwrap();
    assert_eq!(look(&mut driver, 301).unwrap(), None, "half a minute without a link");
    namespace.run("ip", &["link", "set", "lo", "up"]).unwrap();
    assert_eq!(look(&mut driver, 200).unwrap(), Some(99));
    let told = namespace.inside(|| driver.on_standstill(10)).unwrap().unwrap_err().to_string();
    assert!(
        told.contains("sending on lo queue 0: none of 1 frames has left for 10 s although the link is up"),
        "{told}"
    );
    kernel.complete(true);
    assert_eq!(look(&mut driver, 200).unwrap(), None, "it goes on");
}

#[test]
fn a_received_frame_is_sent_from_where_it_stands() {
    let Some((mut driver, mut kernel, _namespace)) = open() else { return };
    kernel.take_to_fill();
    assert!(kernel.receive(7));
    let mut burst = Vec::new();
    driver.receive(&mut burst, 1);
    let frame = burst.pop().unwrap();
    assert_eq!(frame.bytes().as_ptr() as usize % CHUNK, HEADROOM as usize);
    driver.send(frame).unwrap();
    driver.flush().unwrap();
    assert_eq!(kernel.send(), Some(7), "not a copy: the same chunk, the same octets");
}

/// The request before a frame as the kernel reads it: flags (2 is XDP_TXMD_FLAGS_CHECKSUM), csum_start, csum_offset.
type Request = (u64, u16, u16);

impl Kernel {
    /// Takes the oldest frame and says that it was sent; what it asks for.
    fn read_request(&mut self) -> Option<Request> {
        const XDP_TX_METADATA: u32 = 1 << 1;
        let desc = self.tx.pop().expect("a frame in the tx ring");
        self.completion.push(desc.addr);
        assert_eq!(desc.options & !XDP_TX_METADATA, 0, "options that the kernel does not know");
        (desc.options != 0).then(|| {
            let octets = &*self.octets(desc.addr - 16, 16);
            let half = |at: usize| u16::from_ne_bytes([octets[at], octets[at + 1]]);
            (u64::from_ne_bytes(*octets.first_chunk().unwrap()), half(8), half(10))
        })
    }
}

/// What each frame asks for when it is sent by `driver`, after a round in which all of them were.
fn requests(driver: &mut AfXdp, kernel: &mut Kernel, frames: &[Vec<u8>]) -> Vec<Option<Request>> {
    let mut send = |octets: &[u8]| {
        let mut frame = driver.alloc().unwrap();
        frame.buffer()[..octets.len()].copy_from_slice(octets);
        frame.set_len(octets.len());
        driver.send(frame).unwrap();
        driver.flush().unwrap();
        let request = kernel.read_request();
        driver.flush().unwrap();
        request
    };
    frames.iter().map(|octets| send(octets)).collect()
}

#[test]
fn only_tcp_asks_for_its_checksum_and_only_where_it_is_to() {
    let segment = |host: fn(u8) -> Addr, vlan| {
        let tuple = FourTuple { local_addr: host(1), remote_addr: host(2), local_port: 7, remote_port: 8 };
        let link = Link { src: MacAddr([2; 6]), dst: MacAddr([4; 6]), vlan };
        let envelope =
            Envelope { link, tuple, hop_limit: 64, traffic_class: 0, checksum: TxChecksum::PseudoHeaderOnly };
        let mut octets = vec![0; 200];
        let len = frame::emit_tcp(&mut octets, &envelope, &Header::default(), 3, |text| text.fill(1));
        octets.truncate(len);
        octets
    };
    let v4 = |last| Addr::from_v4([10, 0, 0, last]);
    let v6 = |last| Addr::from_v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    let mut ping = segment(v4, None);
    ping[23] = 1;
    let mut solicitation = vec![0; 86];
    frame::emit_neighbour_solicitation(&mut solicitation, MacAddr([2; 6]), v6(1), v6(2));
    let arp = [&[0; 12][..], &[8, 6], &[0; 28]].concat();
    let frames = [segment(v4, None), ping, segment(v6, None), solicitation, segment(v4, Some(5)), arp, vec![0; 4]];
    let expected = [Some((2, 34, 16)), None, Some((2, 54, 16)), None, Some((2, 38, 16)), None, None];
    let Some((mut driver, mut kernel, _namespace)) = open_with(Offer::of_kernel()) else { return };
    assert_eq!(driver.tx_checksum(), TxChecksum::PseudoHeaderOnly);
    // The free list hands out last what came back first, so the second time chunks are used that had a request.
    for _ in 0..2 {
        assert_eq!(requests(&mut driver, &mut kernel, &frames), expected);
    }
    // A reply stands where the question was, before which the kernel may have left anything.
    kernel.take_to_fill();
    let chunk = *kernel.to_fill.front().unwrap();
    kernel.octets(chunk, HEADROOM as usize).fill(0xff);
    assert!(kernel.receive(1));
    let mut burst = Vec::new();
    driver.receive(&mut burst, 1);
    let (mut frame, reply) = (burst.pop().unwrap(), segment(v4, None));
    frame.buffer()[..reply.len()].copy_from_slice(&reply);
    frame.set_len(reply.len());
    driver.send(frame).unwrap();
    driver.flush().unwrap();
    assert_eq!(kernel.read_request(), Some((2, 34, 16)));

    let Some((mut driver, mut kernel, _namespace)) = open() else { return };
    assert_eq!(driver.tx_checksum(), TxChecksum::Full);
    assert_eq!(requests(&mut driver, &mut kernel, &frames), [None; 7], "nobody is asked");
}
