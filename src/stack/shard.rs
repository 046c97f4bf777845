//! The tables of one shard and what they have in common: entries come, change phase and go here and nowhere else.

use super::app::ConnId;
use super::budget::Budgets;
use super::config::{Ownership, StackConfig};
use super::cookies::Walk;
use super::defence::Defence;
use super::flow_index::{Flow, FlowIndex, Phase};
use super::half_open_slot::HalfOpenSlot;
use super::idle::IdleWatch;
use super::input::Arrival;
use super::locals::Locals;
use super::neighbours::{Neighbours, Station};
use super::path_mtu::PathMtus;
use super::ports::Ports;
use super::rate::{AnswerLimit, ReplyLimits};
use super::routes::Routes;
use super::shedding::Newcomer;
use super::slab::Slab;
use super::steering::Share;
use super::time_wait_table::{PackedV4, PackedV6, TimeWaitTable};
use super::timer_queue::TimerQueue;
use super::wheel::{Timed, Wheel};
use crate::ledger::{DropReason, Ending, HalfOpenEnding, Ledger, TimeWaitEnding};
use crate::outpost::Outpost;
use crate::tcp::cookie::Cookies;
use crate::tcp::half_open::HalfOpen;
use crate::tcp::isn::IsnGenerator;
use crate::tcp::state::{Event, State, StateGauges};
use crate::tcp::time_wait::TimeWait;
use crate::tcp::timer::Link;
use crate::tcp::transfer::Pools;
use crate::tcp::{Env, Facts, Tcb};
use crate::time::Instant;
use crate::wire::frame::{self, VerifyChecksum};
use crate::wire::{Addr, FourTuple};
use std::collections::VecDeque;

impl Timed for Tcb {
    fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

/// TIME-WAIT entries that may expire in a turn besides twice as many as came with it.
const EXPIRED_PER_TURN: u64 = 64;

/// Of them, how many are taken out at a time.
const EXPIRED_AT_ONCE: usize = 16;

/// Flows from which on a processor's caches do not hold the index.
const CROWD: usize = 1 << 15;

/// Everything of a shard but its application.
pub(crate) struct Shard {
    pub config: StackConfig,
    pub ledger: Ledger,
    pub gauges: StateGauges,
    pub pools: Pools,
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
    /// Which flows are ours.
    pub share: Share,
    /// Neighbours' addresses that came in here and the other workers have not been told.
    pub heard: Vec<(Addr, Station)>,
    pub listening: Box<[u64; 1024]>,
    pub index: FlowIndex,
    pub half_open: Slab<HalfOpenSlot>,
    /// Our addresses by number.
    pub locals: Locals,
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
    pub telling: VecDeque<u32>,
    pub app_timers: TimerQueue,
    /// Connections whose writes were cut short because the pool of buffers was empty.
    pub starved: VecDeque<ConnId>,
    /// Where the search for what came out of order goes on.
    pub early_cursor: u32,
    pub replies: ReplyLimits,
    pub answers: AnswerLimit,
    pub draining: bool,
    pub stopping: bool,
}

/// The surroundings of a connection, borrowed from the shard field by field.
macro_rules! env {
    ($shard:expr, $now:expr) => {
        Env {
            now: $now,
            marked: false,
            config: &$shard.config.tcp,
            pools: &mut $shard.pools,
            gauges: &mut $shard.gauges,
            ledger: &mut $shard.ledger,
        }
    };
}
pub(crate) use env;

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
            ledger: Ledger::default(),
            gauges,
            pools: Pools::new(limits.buffer_bytes),
            isns: IsnGenerator::new(&config.secrets.isn),
            cookies: Cookies::new(&config.secrets.cookie),
            budgets: Budgets::new(key, &config.defence, &limits),
            defence: Defence::new(config.defence, limits.half_open as usize, now),
            outpost: None,
            outpost_walk: Walk::default(),
            routes,
            neighbours,
            ports: Ports::new(config.ephemeral_ports, share.clone()),
            share,
            heard: Vec::new(),
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
            time_wait_seen: 0,
            orphans: 0,
            idle_watch: IdleWatch::default(),
            path_mtus: PathMtus::new(limits.path_mtus),
            ready: VecDeque::new(),
            ready_again: VecDeque::new(),
            telling: VecDeque::new(),
            app_timers: TimerQueue::new(limits.app_timers),
            starved: VecDeque::new(),
            early_cursor: 0,
            answers: AnswerLimit::new(),
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
    #[inline]
    pub fn find(&self, tuple: &FourTuple) -> (u64, Option<Flow>) {
        let hash = self.index.hash(tuple);
        (hash, self.index.find(hash, |flow| self.tuple_is(*flow, tuple)))
    }

    /// Loads what the flow of a frame will be looked for in, and its entry. Loads that nothing waits for go on side by side.
    #[inline]
    pub fn expect(&self, frame: &[u8]) {
        if self.index.len() < CROWD {
            return;
        }
        if let Some(flow) = frame::glance(frame).and_then(|tuple| self.index.guess(self.index.hash(&tuple))) {
            std::hint::black_box(match flow.phase() {
                Phase::Connection => self.connections.get(flow.place()).map(|tcb| tcb.state),
                Phase::HalfOpen => self.half_open.get(flow.place()).map(|_| State::SynReceived),
                Phase::TimeWaitV4 | Phase::TimeWaitV6 => None,
            });
        }
    }

    #[inline]
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
        self.time_wait(flow).tuple == *tuple
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
            tuple.map_or(0, |tuple| keyed.hash(&tuple))
        });
    }

    // --- half-open entries ---

    /// Enters a half-open entry and starts its timer.
    /// `from` is LISTEN, or TIME-WAIT when its SYN took an old connection's tuple.
    pub fn add_half_open(
        &mut self,
        arrival: &Arrival<'_>,
        entry: HalfOpen,
        from: State,
        now: Instant,
    ) -> Result<u32, DropReason> {
        let tuple = arrival.tuple;
        if !self.make_room_for(Newcomer::HalfOpen, now) {
            return Err(DropReason::HalfOpenFull);
        }
        let slot = HalfOpenSlot::new(tuple, entry, &self.locals);
        let Ok(place) = self.half_open.insert(slot) else { return Err(DropReason::HalfOpenFull) };
        self.budgets.hold(&tuple.remote_addr);
        self.ledger.half_open_created += 1;
        self.gauges.transition(&mut { from }, Event::RecvSyn, tuple, now);
        self.note_flow(tuple);
        self.enter(arrival.hash, Flow::new(Phase::HalfOpen, place));
        self.arm_half_open(place, now);
        Ok(place)
    }

    /// Starts the timer of a half-open entry for its next SYN-ACK.
    pub fn arm_half_open(&mut self, place: u32, now: Instant) {
        let Some(entry) = self.half_open.get(place) else { return };
        let config = &self.config.tcp;
        let initial = crate::tcp::rto::clamp_rto(config.initial_rto.as_millis() as u64, config);
        let wait = crate::tcp::rto::backed_off_ms(initial, entry.resent(), config);
        self.half_open_wheel.arm(&mut self.half_open, place, (now.as_millis() as u32).wrapping_add(wait));
    }

    /// Takes a half-open entry out that did not become a connection.
    pub fn end_half_open(&mut self, place: u32, ending: HalfOpenEnding, now: Instant) {
        self.half_open_wheel.disarm(&mut self.half_open, place);
        let Some(entry) = self.half_open.remove(place) else { return };
        let tuple = entry.tuple(&self.locals);
        self.budgets.give_back(&tuple.remote_addr);
        let event = match ending {
            HalfOpenEnding::Reset => Event::RecvRst,
            HalfOpenEnding::TimedOut => Event::TimedOut,
            _ => Event::Abort,
        };
        self.gauges.transition(&mut { State::SynReceived }, event, &tuple, now);
        self.ledger.half_open_endings.count(ending);
        self.index.remove(self.index.hash(&tuple), Flow::new(Phase::HalfOpen, place));
        self.ports.release(&tuple);
    }

    /// Makes a connection of a half-open entry; the segment that completes the handshake is still to be processed.
    pub fn promote(&mut self, hash: u64, place: u32, now: Instant) -> Result<u32, DropReason> {
        if !self.has_room_for_connection(Some(place), now) {
            return Err(DropReason::ConnectionsFull);
        }
        self.half_open_wheel.disarm(&mut self.half_open, place);
        let Some(entry) = self.half_open.remove(place) else { return Err(DropReason::ConnectionsFull) };
        let tuple = entry.tuple(&self.locals);
        self.budgets.give_back(&tuple.remote_addr);
        let ts_offset = self.isns.timestamp_offset(&tuple);
        let tcb = Tcb::from_half_open(tuple, &entry, ts_offset, &env!(self, now));
        let Ok(index) = self.connections.insert(tcb) else { unreachable!("the table was not full") };
        self.budgets.connect(&tuple.remote_addr);
        self.note_flow(&tuple);
        self.index.replace(hash, Flow::new(Phase::HalfOpen, place), Flow::new(Phase::Connection, index));
        self.defence.on_handshake();
        self.ledger.half_open_endings.count(HalfOpenEnding::Established);
        self.ledger.opened_passive += 1;
        Ok(index)
    }

    // --- connections ---

    /// Whether one more connection finds room, for which others may have to give way; `from` is the half-open entry that it
    /// comes from.
    pub fn has_room_for_connection(&mut self, from: Option<u32>, now: Instant) -> bool {
        !self.connections.is_full() && self.make_room_for(Newcomer::Connection { from }, now)
    }

    /// Enters a connection of our own making.
    pub fn add_connection(&mut self, tcb: Tcb) -> u32 {
        self.ledger.opened_active += 1;
        self.enter_connection(self.index.hash(&tcb.tuple), tcb)
    }

    /// Enters a connection that comes from no other table.
    pub fn enter_connection(&mut self, hash: u64, tcb: Tcb) -> u32 {
        let tuple = tcb.tuple;
        let Ok(index) = self.connections.insert(tcb) else { unreachable!("the caller has looked") };
        self.note_flow(&tuple);
        self.enter(hash, Flow::new(Phase::Connection, index));
        index
    }

    /// The name of a connection.
    pub fn id(&self, index: u32) -> ConnId {
        ConnId { index, generation: self.connections.generation(index) }
    }

    /// The connection of that name, if it lives.
    pub fn tcb(&self, conn: ConnId) -> Option<&Tcb> {
        (self.connections.generation(conn.index) == conn.generation).then(|| self.connections.get(conn.index))?
    }

    /// Sees to all that follows from a change of a connection: tables, timers, lists. Called after every change.
    pub fn settle(&mut self, index: u32, now: Instant) {
        let Some(mut tcb) = self.connections.get_mut(index) else { return };
        if tcb.retires() || tcb.is_orphan() != tcb.facts.has(Facts::ORPHAN) {
            self.tend_leaving(index, now);
            let Some(changed) = self.connections.get_mut(index) else { return };
            tcb = changed;
        }
        if tcb.has_news() && !tcb.facts.has(Facts::TELLING | Facts::TOLD) {
            tcb.facts.set(Facts::TELLING);
            self.telling.push_back(index);
        }
        if tcb.may_transmit() && !tcb.facts.has(Facts::READY) {
            tcb.facts.set(Facts::READY);
            self.ready.push_back(index);
        }
        let starves = tcb.facts.take(Facts::STARVED) && !tcb.facts.has(Facts::HUNGRY);
        if tcb.ending.is_some() {
            self.leave_index(index);
        } else {
            self.schedule(index, now);
        }
        if starves {
            self.wait_for_blocks(index);
        }
    }

    /// A connection that the application has closed, or that has come to TIME-WAIT.
    #[inline(never)]
    fn tend_leaving(&mut self, index: u32, now: Instant) {
        if self.connections.get(index).is_some_and(Tcb::retires) {
            self.retire_into_time_wait(index, now);
        }
        self.tend_orphan(index, now);
    }

    /// Counts orphans. One too many is reset, the newest: those before it are nearer to their end. While draining all are
    /// orphans, and nothing new comes.
    fn tend_orphan(&mut self, index: u32, now: Instant) {
        let Some(tcb) = self.connections.get_mut(index) else { return };
        match (tcb.is_orphan(), tcb.facts.has(Facts::ORPHAN)) {
            (true, false) => {
                if self.orphans >= self.config.limits.orphans && !self.draining {
                    tcb.abort(Ending::Aborted, &mut env!(self, now));
                    self.ledger.refused.orphans += 1;
                    return;
                }
                tcb.facts.set(Facts::ORPHAN);
                self.orphans += 1;
            }
            (false, true) => {
                tcb.facts.clear(Facts::ORPHAN);
                self.orphans -= 1;
            }
            _ => {}
        }
    }

    /// Puts a connection to where its next timer is in the wheel.
    #[inline]
    pub fn schedule(&mut self, index: u32, now: Instant) {
        let Some(tcb) = self.connections.get_mut(index) else { return };
        if tcb.ending.is_some() {
            return;
        }
        let env = env!(self, now);
        tcb.arm_persist(&env);
        tcb.arm_keep_alive(&env);
        let due = tcb.next_due();
        if due == tcb.link.armed_for() {
            return;
        }
        match due {
            Some(due) => self.wheel.arm(&mut self.connections, index, due),
            None => self.wheel.disarm(&mut self.connections, index),
        }
    }

    /// An ended connection is no longer found; its port is free again unless TIME-WAIT keeps it.
    fn leave_index(&mut self, index: u32) {
        self.wheel.disarm(&mut self.connections, index);
        let Some(tcb) = self.connections.get_mut(index) else { return };
        if tcb.facts.has(Facts::UNINDEXED) {
            return;
        }
        tcb.facts.set(Facts::UNINDEXED);
        let tuple = tcb.tuple;
        self.index.remove(self.index.hash(&tuple), Flow::new(Phase::Connection, index));
        self.ports.release(&tuple);
    }

    /// Both FINs are exchanged and ours was first: an entry of 22 octets takes the connection's place in the index.
    fn retire_into_time_wait(&mut self, index: u32, now: Instant) {
        let Some(tcb) = self.connections.get_mut(index) else { return };
        let entry = TimeWait::of(tcb);
        // From here on the entry is what is in TIME-WAIT, also for the gauge.
        tcb.state = StateGauges::handed_over();
        tcb.facts.set(Facts::UNINDEXED);
        let owes_ack = tcb.facts.has(Facts::ACK_NOW);
        tcb.over(Ending::Closed, &mut env!(self, now));
        // The last ACK still leaves from the control block; out of CLOSING there is none to send.
        tcb.facts.put(Facts::LAST_ACK_DUE, owes_ack);
        self.make_room_in_time_wait(&entry, now);
        let flow = self.store_time_wait(&entry, now);
        let hash = self.index.hash(&entry.tuple);
        self.index.replace(hash, Flow::new(Phase::Connection, index), flow);
        self.ledger.time_wait_created += 1;
    }

    /// Takes a connection out of its table, after the application was told and the last segment has left.
    pub fn free_if_done(&mut self, index: u32) {
        let done = self
            .connections
            .get(index)
            .is_some_and(|tcb| tcb.facts.has(Facts::TOLD) && !tcb.facts.has(Facts::RST_DUE | Facts::LAST_ACK_DUE));
        if done && let Some(mut tcb) = self.connections.remove(index) {
            tcb.drop_transfer(&mut self.pools);
            if !tcb.facts.has(Facts::ACTIVE) {
                self.budgets.disconnect(&tcb.tuple.remote_addr);
            }
        }
    }

    // --- TIME-WAIT entries ---

    /// The oldest entry goes when the limit, which both families share, is reached.
    fn make_room_in_time_wait(&mut self, entry: &TimeWait, now: Instant) {
        let v4 = entry.tuple.local_addr.is_v4();
        while self.time_wait_is_full(v4) {
            let oldest = match v4 {
                true => self.time_wait_v4.pop_oldest().or_else(|| self.time_wait_v6.pop_oldest()),
                false => self.time_wait_v6.pop_oldest().or_else(|| self.time_wait_v4.pop_oldest()),
            };
            let Some((flow, entry)) = oldest else { return };
            self.time_wait_gone(flow, &entry, TimeWaitEnding::Evicted, now);
        }
    }

    fn time_wait_is_full(&self, v4: bool) -> bool {
        let table_is_full = match v4 {
            true => self.time_wait_v4.is_full(),
            false => self.time_wait_v6.is_full(),
        };
        table_is_full || self.time_wait_v4.len() + self.time_wait_v6.len() >= self.config.limits.time_wait as usize
    }

    fn store_time_wait(&mut self, entry: &TimeWait, now: Instant) -> Flow {
        self.note_flow(&entry.tuple);
        if entry.tuple.local_addr.is_v4() {
            self.time_wait_v4.insert(entry, now.as_millis())
        } else {
            self.time_wait_v6.insert(entry, now.as_millis())
        }
    }

    /// The entry of a TIME-WAIT flow.
    pub fn time_wait(&self, flow: Flow) -> TimeWait {
        match flow.phase() {
            Phase::TimeWaitV4 => self.time_wait_v4.get(flow.place()),
            _ => self.time_wait_v6.get(flow.place()),
        }
    }

    /// Has the entry wait anew (RFC 9293 §3.10.7.4, eighth: restart the 2 MSL timeout).
    pub fn restart_time_wait(&mut self, hash: u64, flow: Flow, now: Instant) {
        let now_ms = now.as_millis();
        let place = flow.place();
        let worth = match flow.phase() {
            Phase::TimeWaitV4 => self.time_wait_v4.is_worth_restarting(place, now_ms),
            _ => self.time_wait_v6.is_worth_restarting(place, now_ms),
        };
        let entry = self.time_wait(flow);
        let full = match flow.phase() {
            Phase::TimeWaitV4 => self.time_wait_v4.is_full(),
            _ => self.time_wait_v6.is_full(),
        };
        if !worth || full {
            return;
        }
        self.remove_time_wait(flow);
        let anew = self.store_time_wait(&entry, now);
        self.index.replace(hash, flow, anew);
    }

    fn remove_time_wait(&mut self, flow: Flow) {
        match flow.phase() {
            Phase::TimeWaitV4 => self.time_wait_v4.remove(flow.place()),
            _ => self.time_wait_v6.remove(flow.place()),
        }
    }

    /// Ends an entry before its time, because a new SYN takes its tuple.
    pub fn reuse_time_wait(&mut self, flow: Flow, now: Instant) {
        let entry = self.time_wait(flow);
        self.remove_time_wait(flow);
        self.time_wait_gone(flow, &entry, TimeWaitEnding::Reused, now);
    }

    /// Ends entries whose time is over: at most twice as many as came since the last turn, and some more. So a turn is
    /// never held up by a crowd that came in a rush and leaves in one, and yet none ever builds up.
    pub fn expire_time_wait(&mut self, now: Instant) {
        let now_ms = now.as_millis();
        let came = self.ledger.time_wait_created - self.time_wait_seen;
        self.time_wait_seen = self.ledger.time_wait_created;
        for _ in 0..(EXPIRED_PER_TURN + 2 * came).div_ceil(EXPIRED_AT_ONCE as u64) {
            let Shard { time_wait_v4, time_wait_v6, index, .. } = self;
            let mut expired = [const { None }; EXPIRED_AT_ONCE];
            for place in &mut expired {
                *place = time_wait_v4.pop_expired(now_ms).or_else(|| time_wait_v6.pop_expired(now_ms));
                // Asked of memory before the first is taken out: the index is large then.
                std::hint::black_box(place.and_then(|(_, entry)| index.guess(index.hash(&entry.tuple))));
            }
            for expired in expired {
                let Some((flow, entry)) = expired else { return };
                self.time_wait_gone(flow, &entry, TimeWaitEnding::Expired, now);
            }
        }
    }

    /// Ends every entry; at shutdown.
    pub fn evict_time_wait(&mut self, now: Instant) {
        while let Some((flow, entry)) = self.time_wait_v4.pop_oldest().or_else(|| self.time_wait_v6.pop_oldest()) {
            self.time_wait_gone(flow, &entry, TimeWaitEnding::Evicted, now);
        }
    }

    pub(super) fn time_wait_gone(&mut self, flow: Flow, entry: &TimeWait, ending: TimeWaitEnding, now: Instant) {
        match ending {
            TimeWaitEnding::Expired => self.leave_time_wait(Event::TimeWaitOver, entry, now),
            TimeWaitEnding::Evicted => self.leave_time_wait(Event::Abort, entry, now),
            // The half-open entry that takes its place makes the move.
            TimeWaitEnding::Reused => {}
        }
        self.ledger.time_wait_endings.count(ending);
        self.index.remove(self.index.hash(&entry.tuple), flow);
        self.ports.release(&entry.tuple);
    }

    fn leave_time_wait(&mut self, event: Event, entry: &TimeWait, now: Instant) {
        self.gauges.transition(&mut { State::TimeWait }, event, &entry.tuple, now);
    }

    /// Closes every listener.
    pub fn stop_listening(&mut self, now: Instant) {
        self.draining = true;
        for (word, ports) in self.listening.iter_mut().enumerate() {
            while *ports != 0 {
                let port = (word * 64) as u16 + ports.trailing_zeros() as u16;
                *ports &= *ports - 1;
                self.gauges.transition(&mut { State::Listen }, Event::Close, &FourTuple::wildcard(port), now);
            }
        }
    }
}
