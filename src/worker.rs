//! The worker: one queue, one core, one stack. Start reading here.
//!
//! ```text
//! NIC queue ─▶ rx ring ─▶ parse ─▶ lookup ─▶ state machine ─▶ emit ─▶ tx ring ─▶ NIC queue
//!             driver     wire     stack     tcp              stack   driver
//! ```
//!
//! One turn ([`Worker::turn`]) is that picture from left to right: a whole burst is processed before any connection sends,
//! so that queued segments are answered by one acknowledgement (RFC 9293 §3.10.7.4). What needs no connection (SYN-ACK,
//! RST, ARP, ping) is answered in the frame that asked.
//!
//! With several workers one more station stands beside the line: a frame of a flow that another worker owns, or may own, is
//! handed to it ([`Exchange`]), and what others have handed to us is processed after our own burst.
#![forbid(unsafe_code)]

mod exchange;
mod mailbox;

pub use exchange::{Desk, Exchange};
pub use mailbox::{Command, Mailbox};

use crate::clock;
use crate::driver::{Driver, Frame};
use crate::stack::{App, Disposition, Stack, Switch, Transition, Transmit};
use crate::stats::{Pool, Snapshot, WorkerInfo};
use crate::time::{Duration, Instant};
use mailbox::Inbox;
use std::io;

/// What a worker does when nothing comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, strum::Display, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Idle {
    /// Looks at the rings without pause: lowest latency, a whole core.
    Spin,
    /// After a short spin, sleeps in `poll` until something comes. Others of its core get to run before a look that finds
    /// nothing and after each whole burst.
    #[default]
    Adaptive,
}

/// Frames taken from the rx ring in one turn, and again from the other workers: as many as the stack expects at once.
const BURST: usize = crate::stack::EXPECTED;
/// Commands read from the mailbox in one turn.
const COMMANDS: usize = 16;
/// How long an adaptive worker looks at the rings before it sleeps.
const SPIN: Duration = Duration::from_micros(50);
/// The longest sleep: a lost wake-up costs no more than this.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);

/// How often it is looked whether sending goes on.
const TEND_EVERY: Duration = Duration::from_millis(100);

/// How long the last segments may take to find room when a worker ends.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What a turn found to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    Empty,
    /// Something.
    Some,
    /// A whole burst, and maybe more behind it.
    Full,
}

/// One queue, one core, one stack.
pub struct Worker<D: Driver, A: App> {
    driver: D,
    stack: Stack<A>,
    idle: Idle,
    info: WorkerInfo,
    inbox: Inbox<A::Message>,
    /// Where frames are handed over; `None` when there are no other workers.
    desk: Option<Desk>,
    burst: Vec<D::Frame>,
    /// When something last happened.
    busy_at: Instant,
    /// Draining, and when what is still open is reset.
    drain_until: Option<Instant>,
    /// Segments that found no room in the last turn, or whose turn it was not yet.
    unsent: bool,
    /// Somebody was told that the link leaves checksums undone.
    warned: bool,
    /// When it is next looked whether sending goes on.
    tend_at: Instant,
    /// When it began to run.
    began: Instant,
    /// How long its turns had something to do, summed up.
    busy: Duration,
}

/// What is left when a worker has ended.
pub struct Finished<A> {
    /// The last snapshot, taken after everything was closed; its ledger check is final.
    pub snapshot: Snapshot,
    /// The traced connections' changes of state, in order.
    pub transitions: Vec<Transition>,
    /// The application, with what it has gathered.
    pub app: A,
    /// What the driver could not mend, if it ended for that.
    pub failure: Option<io::Error>,
}

impl<D: Driver, A: App> Worker<D, A> {
    /// A worker and the mailbox that reaches it. It hands over to others at its `desk`, if there are any.
    pub fn new(
        driver: D,
        mut stack: Stack<A>,
        idle: Idle,
        info: WorkerInfo,
        desk: Option<Desk>,
    ) -> (Self, Mailbox<A::Message>) {
        if let Some(memory) = driver.outpost() {
            stack.set_outpost(memory);
        }
        stack.set_tx_checksum(driver.tx_checksum());
        let (mailbox, inbox) = mailbox::open(driver.waker());
        let burst = Vec::with_capacity(BURST);
        let busy_at = clock::now();
        let worker = Worker {
            driver,
            stack,
            idle,
            info,
            inbox,
            desk,
            burst,
            busy_at,
            drain_until: None,
            unsent: false,
            warned: false,
            tend_at: busy_at,
            began: busy_at,
            busy: Duration::ZERO,
        };
        (worker, mailbox)
    }

    /// Runs on the calling thread until drained, until the application stops it, or until [`Driver::flush`] or
    /// [`Driver::wait`] fails, which is told beside the ledger up to then.
    pub fn run(mut self) -> Finished<A> {
        let failure = self.live().err();
        self.finish(failure)
    }

    fn live(&mut self) -> io::Result<()> {
        let mut last: Option<Instant> = None;
        loop {
            let now = clock::now();
            self.busy += last.map_or(Duration::ZERO, |began| now.since(began));
            let turn = self.turn(now)?;
            last = (turn != Turn::Empty).then_some(now);
            if self.is_finished(now) {
                return Ok(());
            }
            self.tell_of_switch();
            if turn != Turn::Empty {
                self.busy_at = now;
                self.warn_of_checksums();
            }
            match turn {
                Turn::Some => {}
                Turn::Empty if self.idle == Idle::Adaptive && now.since(self.busy_at) > SPIN => {
                    self.sleep(self.sleep_for(now))?;
                }
                Turn::Empty | Turn::Full => self.give_way(),
            }
        }
    }

    /// Lets others of this core run: with threaded NAPI the kernel fills our rx ring in a thread, which may share our core.
    fn give_way(&self) {
        match self.idle {
            Idle::Spin => std::hint::spin_loop(),
            Idle::Adaptive => std::thread::yield_now(),
        }
    }

    /// A veth whose peer leaves checksums to an offload that never comes looks like a server that is not there: once, say
    /// what it is.
    fn warn_of_checksums(&mut self) {
        if !self.warned && self.stack.sees_only_bad_checksums() {
            self.warned = true;
            tracing::warn!(
                queue = self.info.queue,
                "every TCP checksum so far is wrong: does the peer of a veth leave them to an offload? \
                 `ethtool -K PEER tx off` there, or `--rx-checksum trust` here"
            );
        }
    }

    /// A line for each switch of the defence, which are seconds apart.
    fn tell_of_switch(&mut self) {
        if let Some(Switch { from, to, why }) = self.stack.take_switch() {
            tracing::warn!(queue = self.info.queue, "SYN defence: {from} to {to}: {why}");
        }
    }

    fn sleep(&mut self, longest: Duration) -> io::Result<()> {
        let driver = &mut self.driver;
        match &self.desk {
            None => driver.wait(Some(longest)),
            Some(desk) => desk.sleep(|| driver.wait(Some(longest))).unwrap_or(Ok(())),
        }
    }

    fn sleep_for(&self, now: Instant) -> Duration {
        // Room in the tx ring or at the peer may come without a wake-up.
        let longest = if self.unsent { Duration::from_millis(1) } else { LONGEST_SLEEP };
        self.stack
            .next_timeout(now)
            .into_iter()
            .chain(self.drain_until)
            .map(|at| at.since(now))
            .fold(longest, Duration::min)
    }

    /// One turn: receive a burst, hand each frame to the stack, run the timers, emit, flush.
    ///
    /// # Errors
    /// As [`Driver::flush`].
    pub fn turn(&mut self, now: Instant) -> io::Result<Turn> {
        let commands = self.read_mailbox(now);
        let received = self.receive(now);
        let taken = self.take_over(now);
        self.stack.on_timers(now);
        let sent = self.emit(now);
        self.driver.flush()?;
        if now >= self.tend_at {
            self.tend_at = now + TEND_EVERY;
            self.driver.tend(now)?;
        }
        Ok(match received.max(taken) {
            BURST.. => Turn::Full,
            0 if !(commands || sent) => Turn::Empty,
            _ => Turn::Some,
        })
    }

    /// Hands a burst to the stack; says how many frames it had.
    fn receive(&mut self, now: Instant) -> usize {
        let mut burst = std::mem::take(&mut self.burst);
        let received = self.driver.receive(&mut burst, BURST);
        self.stack.expect(burst.iter().map(D::Frame::bytes));
        for mut frame in burst.drain(..) {
            let len = frame.bytes().len();
            match self.stack.on_frame(now, frame.buffer(), len) {
                Disposition::Consumed => self.driver.release(frame),
                Disposition::Reply(reply) => self.reply(frame, reply),
                Disposition::HandOver(search) => {
                    let given = self.desk.as_mut().is_some_and(|desk| desk.give(search, frame.bytes()));
                    self.stack.on_handed_over(given);
                    self.driver.release(frame);
                }
            }
        }
        self.burst = burst;
        if let Some(desk) = &mut self.desk {
            while let Some((addr, station)) = self.stack.take_heard() {
                self.stack.on_untold(desk.tell(addr, station));
            }
            desk.wake_others();
        }
        received
    }

    /// Processes what other workers have handed to us; says how much that was. Replies leave by our own queue.
    fn take_over(&mut self, now: Instant) -> usize {
        let Some(desk) = &mut self.desk else { return 0 };
        let mut out = Output { driver: &mut self.driver, any: false };
        let mut taken = 0;
        for _ in 0..BURST {
            let Some((addr, station)) = desk.take_news() else { break };
            taken += 1;
            self.stack.on_heard(now, addr, station);
        }
        for _ in 0..BURST {
            let Some(mut parcel) = desk.take() else { break };
            taken += 1;
            let (len, search) = (parcel.len(), parcel.search());
            match self.stack.on_taken_frame(now, parcel.buffer(), len, search) {
                Disposition::Consumed => {}
                Disposition::Reply(len) => {
                    let reply = &parcel.buffer()[..len];
                    let sent = out.transmit(|buffer| {
                        buffer[..len].copy_from_slice(reply);
                        len
                    });
                    self.stack.on_sent(sent.then_some(len));
                }
                // Its flow is not ours: maybe the next one's.
                Disposition::HandOver(search) => {
                    let given = desk.give(search, &parcel.buffer()[..len]);
                    self.stack.on_handed_over(given);
                }
            }
            desk.put_back(parcel);
        }
        desk.wake_others();
        taken
    }

    /// A reply stands where the question was: the chunk goes from the rx to the tx ring.
    fn reply(&mut self, mut frame: D::Frame, len: usize) {
        frame.set_len(len);
        match self.driver.send(frame) {
            Ok(()) => self.stack.on_sent(Some(len)),
            Err(frame) => {
                self.driver.release(frame);
                self.stack.on_sent(None);
            }
        }
    }

    fn emit(&mut self, now: Instant) -> bool {
        let mut out = Output { driver: &mut self.driver, any: false };
        self.unsent = self.stack.poll_transmit(now, &mut out);
        out.any
    }

    fn read_mailbox(&mut self, now: Instant) -> bool {
        let mut any = false;
        for _ in 0..COMMANDS {
            let Some(command) = self.inbox.take() else { break };
            any = true;
            match command {
                // Whoever asked may have gone away.
                Command::Snapshot(to) => drop(to.try_send(self.snapshot())),
                Command::Drain(patience) => {
                    self.stack.drain(now);
                    self.drain_until = Some(now + patience);
                }
                Command::CookieKeys(keys) => self.stack.rekey_cookies(&keys),
                Command::Link { mac, mtu, announces } => self.stack.on_link(now, mac, mtu, announces),
                Command::Neighbour(addr, mac) => self.stack.on_neighbour(now, addr, mac),
                Command::App(message) => self.stack.on_message(now, message),
            }
        }
        any
    }

    /// Counters and gauges of the stack, with what the driver knows.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.stack.snapshot();
        snapshot.chunks = self.driver.census();
        snapshot.kernel = self.driver.kernel_losses();
        snapshot.audit();
        if let Some(desk) = &self.desk {
            let (used, limit) = desk.waiting();
            snapshot.pools.insert("hand_over".into(), Pool { used, limit });
        }
        let (busy_ns, alive_ns) = (self.busy.as_nanos() as u64, clock::now().since(self.began).as_nanos() as u64);
        let info = WorkerInfo { driver: self.driver.describe(), busy_ns, alive_ns, ..self.info.clone() };
        snapshot.workers = vec![info.with(&snapshot)];
        snapshot
    }

    /// Whether the run is over: our own work is done, and that of the others, whose frames may come in here, as well.
    fn is_finished(&mut self, now: Instant) -> bool {
        if !self.is_done(now) {
            return false;
        }
        let Some(desk) = &mut self.desk else { return true };
        desk.set_done();
        desk.are_all_done() || self.drain_until.is_some_and(|until| now >= until)
    }

    /// Whether we have been asked to stop, or are drained, or out of patience (then what is open is reset first).
    fn is_done(&mut self, now: Instant) -> bool {
        if self.stack.is_stopping() && self.drain_until.is_none() {
            return true;
        }
        let Some(until) = self.drain_until else { return false };
        if !self.stack.is_idle() && now >= until {
            self.stack.abort_all(now);
        }
        self.stack.is_idle() || now >= until
    }

    /// Resets what is left, and lets the RSTs leave as far as there is room within a short time, and somewhere to go.
    fn finish(mut self, mut failure: Option<io::Error>) -> Finished<A> {
        let until = clock::now() + LAST_WORDS;
        self.stack.abort_all(clock::now());
        while failure.is_none() {
            let now = clock::now();
            self.emit(now);
            failure = self.driver.flush().err();
            if !self.unsent || now >= until {
                break;
            }
            std::thread::yield_now();
        }
        self.stack.finish(clock::now());
        let snapshot = self.snapshot();
        let (app, transitions) = self.stack.into_parts();
        Finished { snapshot, transitions, app, failure }
    }
}

/// The driver as the stack writes to it.
struct Output<'a, D: Driver> {
    driver: &'a mut D,
    any: bool,
}

impl<D: Driver> Transmit for Output<'_, D> {
    fn transmit(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let Some(mut frame) = self.driver.alloc() else { return false };
        let len = write(frame.buffer());
        frame.set_len(len);
        match self.driver.send(frame) {
            Ok(()) => {
                self.any = true;
                true
            }
            Err(frame) => {
                self.driver.release(frame);
                false
            }
        }
    }
}
