//! The tables of one shard and what they have in common: entries come, change phase and go here and nowhere else.

mod connections;
mod half_open;
mod time_wait;

use super::active_open::Foresight;
use super::app::ConnId;
use super::budget::Budgets;
use super::config::{Ownership, StackConfig};
use super::defence::Defence;
use super::filter_walk::Walk;
use super::flow_index::{Flow, FlowIndex, Phase};
use super::half_open_slot::HalfOpenSlot;
use super::idle::IdleWatch;
use super::input::INDEXED;
use super::locals::Locals;
use super::neighbours::{Neighbours, Station};
use super::path_mtu::PathMtus;
use super::ports::Ports;
use super::rate::{AnswerLimit, ReplyLimits};
use super::routes::Routes;
use super::senders::Senders;
use super::slab::Slab;
use super::steering::{Search, Share};
use super::strays::Strays;
use super::time_wait_table::{PackedV4, PackedV6, TimeWaitTable};
use super::timer_queue::TimerQueue;
use super::wheel::{Timed, Wheel};
use crate::outpost::Outpost;
use crate::tcp::cookie::Cookies;
use crate::tcp::isn::IsnGenerator;
use crate::tcp::state::{Event, State, StateGauges};
use crate::tcp::timer::Link;
use crate::tcp::transfer::Pools;
use crate::tcp::{Env, Tcb};
use crate::time::Instant;
use crate::wire::frame::{self, TxChecksum, VerifyChecksum};
use crate::wire::icmp::ErrorKind;
use crate::wire::{Addr, FourTuple};
use std::collections::VecDeque;

impl Timed for Tcb {
    fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

/// Flows from which on a processor's caches do not hold the index.
pub(super) const CROWD: usize = 1 << 15;
/// Octets of a cache line, of most processors.
const CACHE_LINE: usize = 64;
/// Frames of a burst that are expected.
pub const EXPECTED: usize = super::flow_index::TOGETHER;

/// Everything of a shard but its application.
pub(crate) struct Shard {
    pub config: StackConfig,
    /// The surroundings of its connections, with the time of this turn; how TCP behaves is read here.
    pub env: Env,
    pub isns: IsnGenerator,
    pub cookies: Cookies,
    pub defence: Defence,
    pub budgets: Budgets,
    /// Where there is an XDP program that can answer SYNs.
    pub outpost: Option<Outpost>,
    pub(super) outpost_walk: Walk,
    pub routes: Routes,
    pub neighbours: Neighbours,
    pub ports: Ports,
    pub(super) foresight: Foresight,
    /// Which flows are ours.
    pub share: Share,
    /// The search in which others have handed us the frame that is being processed.
    pub search: Option<Search>,
    /// Neighbours' addresses that came in here and the other workers have not been told.
    pub heard: VecDeque<(Addr, Station)>,
    /// Soft errors that the application has yet to be told.
    pub soft_errors: VecDeque<(ConnId, ErrorKind)>,
    pub listening: Box<[u64; 1024]>,
    pub index: FlowIndex,
    pub half_open: Slab<HalfOpenSlot>,
    /// Our addresses by number.
    pub locals: Locals,
    /// Where the SYNs of half-open entries came from.
    pub senders: Senders,
    pub half_open_wheel: Wheel,
    /// Where the search for an entry that gives way goes on.
    pub half_open_cursor: u32,
    pub connections: Slab<Tcb>,
    pub wheel: Wheel,
    /// Connections that live though the application has closed them for good.
    pub orphans: u32,
    pub idle_watch: IdleWatch,
    pub path_mtus: PathMtus,
    pub time_wait_v4: TimeWaitTable<PackedV4>,
    pub time_wait_v6: TimeWaitTable<PackedV6>,
    /// TIME-WAIT entries that had been made when entries last expired.
    time_wait_seen: u64,
    /// Connections with something to send.
    pub ready: VecDeque<u32>,
    /// Half-open entries whose SYN-ACK is to be sent again, which waits until the connections have had their turn.
    pub ready_again: VecDeque<u32>,
    /// Connections with something to tell the application.
    pub telling: Vec<u32>,
    pub app_timers: TimerQueue,
    /// Connections whose writes were cut short because the pool of buffers was empty.
    pub starved: VecDeque<ConnId>,
    /// Where the search for what came out of order goes on.
    pub early_cursor: u32,
    /// Who finishes the checksums of what we send.
    pub tx_checksum: TxChecksum,
    pub replies: ReplyLimits,
    pub answers: AnswerLimit,
    pub(super) strays: Strays,
    pub draining: bool,
    pub stopping: bool,
}

impl Shard {
    pub fn new(config: StackConfig, share: Share, now: Instant) -> Self {
        let limits = config.limits;
        let tick = now.as_millis() as u32;
        let locals = Locals::new(&config.addresses);
        let key = &config.secrets.flow_hash;
        let mut gauges = StateGauges::tracing(config.traced_connections as usize);
        let mut neighbours = Neighbours::new(key, limits.neighbours, config.ownership == Ownership::Exclusive);
        let routes = Routes::new(&config.addresses, &config.routes, &config.gateways);
        for gateway in routes.gateways() {
            neighbours.pin(gateway, None, tick);
        }
        for (addr, mac) in &config.neighbours {
            neighbours.pin(*addr, Some(*mac), tick);
        }
        let mut listening = Box::new([0; 1024]);
        for port in &config.listen {
            listening[usize::from(*port) / 64] |= 1u64 << (port % 64);
            let anyone = FourTuple::wildcard(*port);
            gauges.transition(&mut { State::Closed }, Event::PassiveOpen, &anyone, now);
        }
        Shard {
            env: Env::new(config.tcp, Pools::new(limits.buffer_bytes), gauges, now),
            isns: IsnGenerator::new(&config.secrets.isn),
            cookies: Cookies::new(&config.secrets.cookie),
            budgets: Budgets::new(key, &config.defence, &limits),
            defence: Defence::new(config.defence, limits.half_open as usize, &config.tcp, now),
            outpost: None,
            outpost_walk: Walk::default(),
            routes,
            neighbours,
            ports: Ports::new(config.ephemeral_ports, share.clone()),
            foresight: Foresight::default(),
            share,
            search: None,
            heard: VecDeque::new(),
            soft_errors: VecDeque::new(),
            listening,
            index: FlowIndex::new(key),
            half_open: Slab::new(limits.half_open.min(Flow::MAX_PLACE)),
            half_open_wheel: Wheel::new(tick),
            half_open_cursor: 0,
            connections: Slab::with_generations(limits.connections.min(Flow::MAX_PLACE)),
            wheel: Wheel::new(tick),
            time_wait_v4: TimeWaitTable::new(config.tcp.time_wait, limits.time_wait, locals.clone()),
            time_wait_v6: TimeWaitTable::new(config.tcp.time_wait, limits.time_wait, locals.clone()),
            locals,
            senders: Senders::new(),
            time_wait_seen: 0,
            orphans: 0,
            idle_watch: IdleWatch::default(),
            path_mtus: PathMtus::new(limits.path_mtus),
            ready: VecDeque::new(),
            ready_again: VecDeque::new(),
            telling: Vec::new(),
            app_timers: TimerQueue::new(limits.app_timers),
            starved: VecDeque::new(),
            early_cursor: 0,
            tx_checksum: TxChecksum::Full,
            answers: AnswerLimit::new(),
            strays: Strays::new(),
            replies: ReplyLimits::new(limits.replies_per_second),
            draining: false,
            stopping: false,
            config,
        }
    }

    /// Whether received checksums are checked.
    pub fn verify(&self) -> VerifyChecksum {
        match self.config.rx_checksum {
            super::RxChecksum::Verify => VerifyChecksum::Yes,
            super::RxChecksum::Trust => VerifyChecksum::No,
        }
    }

    /// Whether a listener is open on `port`.
    pub fn listens(&self, port: u16) -> bool {
        self.listening[usize::from(port) / 64] >> (port % 64) & 1 == 1
    }

    /// The flow of a tuple.
    #[inline(always)]
    pub fn find(&self, tuple: &FourTuple) -> (u64, Option<Flow>) {
        let hash = self.index.hash(tuple);
        let flow = match self.index.guess(hash) {
            Some(flow) if !self.tuple_is(flow, tuple) => self.find_beyond(hash, tuple),
            guess => guess,
        };
        (hash, flow)
    }

    /// The flow of a tuple whose guess is another's.
    #[inline(never)]
    fn find_beyond(&self, hash: u64, tuple: &FourTuple) -> Option<Flow> {
        self.index.find(hash, |flow| self.tuple_is(*flow, tuple))
    }

    /// Loads the headers of a burst, and where there are many flows what these will be looked for in, and their entries. Loads
    /// that nothing waits for go on side by side, so each step is made for all before the next.
    #[inline]
    pub fn expect<'a>(&self, frames: impl Iterator<Item = &'a [u8]> + Clone) {
        // Both of their cache lines: another core, or the NIC, has written them.
        for frame in frames.clone() {
            std::hint::black_box((frame.first().copied(), frame.get(CACHE_LINE).copied()));
        }
        if self.index.len() < CROWD {
            return;
        }
        let (mut hashes, mut flows, mut count) = ([0; EXPECTED], [None; EXPECTED], 0);
        for (hash, tuple) in hashes.iter_mut().zip(frames.filter_map(frame::glance)) {
            *hash = self.index.hash(&tuple);
            count += 1;
        }
        let hashes = &hashes[..count];
        self.index.load_marks(hashes);
        flows.iter_mut().zip(hashes).for_each(|(flow, hash)| *flow = self.index.guess(*hash));
        for (_, hash) in flows.iter().zip(hashes).filter(|(flow, _)| flow.is_none()) {
            self.index.load_vacancy(*hash);
        }
        for flow in flows[..count].iter().flatten() {
            std::hint::black_box(match flow.phase() {
                // Both of its cache lines.
                Phase::Connection => self.connections.get(flow.place()).map(|tcb| (tcb.state, tcb.transfer.is_some())),
                Phase::HalfOpen => self.half_open.get(flow.place()).map(|_| (State::SynReceived, false)),
                // Mostly one that a newcomer is taken for, as seven bits of their hashes agree.
                Phase::TimeWaitV4 | Phase::TimeWaitV6 => {
                    Some((State::TimeWait, self.time_wait_is(*flow, &FourTuple::wildcard(0))))
                }
            });
        }
    }

    #[inline(always)]
    fn tuple_is(&self, flow: Flow, tuple: &FourTuple) -> bool {
        match flow.phase() {
            Phase::Connection => self.connections.get(flow.place()).is_some_and(|tcb| tcb.tuple == *tuple),
            Phase::HalfOpen => {
                self.half_open.get(flow.place()).is_some_and(|entry| entry.tuple(&self.locals) == *tuple)
            }
            Phase::TimeWaitV4 | Phase::TimeWaitV6 => self.time_wait_is(flow, tuple),
        }
    }

    #[inline(never)]
    fn time_wait_is(&self, flow: Flow, tuple: &FourTuple) -> bool {
        match flow.phase() {
            Phase::TimeWaitV4 => self.time_wait_v4.is_of(flow.place(), tuple),
            _ => self.time_wait_v6.is_of(flow.place(), tuple),
        }
    }

    fn enter(&mut self, hash: u64, flow: Flow) {
        let Shard { index, half_open, locals, connections, time_wait_v4, time_wait_v6, .. } = self;
        let keyed = index.keyed();
        index.insert(hash, flow, |flow| {
            let place = flow.place();
            let tuple = match flow.phase() {
                Phase::Connection => connections.get(place).map(|tcb| tcb.tuple),
                Phase::HalfOpen => half_open.get(place).map(|entry| entry.tuple(locals)),
                Phase::TimeWaitV4 => Some(time_wait_v4.get(place).tuple),
                Phase::TimeWaitV6 => Some(time_wait_v6.get(place).tuple),
            };
            keyed.hash(&tuple.expect(INDEXED))
        });
    }

    /// Closes every listener.
    pub fn stop_listening(&mut self) {
        self.draining = true;
        for (word, ports) in self.listening.iter_mut().enumerate() {
            while *ports != 0 {
                let port = (word * 64) as u16 + ports.trailing_zeros() as u16;
                *ports &= *ports - 1;
                self.env.gauges.transition(
                    &mut { State::Listen },
                    Event::Close,
                    &FourTuple::wildcard(port),
                    self.env.now(),
                );
            }
        }
    }
}
