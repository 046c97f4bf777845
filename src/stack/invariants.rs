//! What must hold after every step, checked from within by the simulation and by fuzzing; a running stack never calls it.

use super::shard::Shard;
use super::shedding::TIME_WAIT_BYTES_V6;
use super::{App, Stack};
use crate::stack::flow_index::Phase;
use crate::tcp::buffer::{BLOCK, Share};
use crate::tcp::{Facts, State, Tcb};
use crate::wire::tcp::{Flags, Header};
use crate::wire::{FourTuple, SeqNum};
use std::collections::BTreeSet;
use strum::IntoEnumIterator;

type Checked = Result<(), String>;

fn law(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

impl<A: App> Stack<A> {
    /// Checks the ledger, every connection, and that gauges, index, pools and lists agree with the tables. Takes time in
    /// proportion to the connections.
    ///
    /// # Errors
    /// The first law that does not hold.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.shard.check_invariants()
    }

    /// Checks the connection of one tuple, if there is one.
    ///
    /// # Errors
    /// The first law that does not hold.
    pub fn check_connection(&self, tuple: &FourTuple) -> Result<(), String> {
        match self.shard.find(tuple).1.filter(|flow| flow.phase() == Phase::Connection) {
            Some(flow) => self.shard.connections.get(flow.place()).map_or(Ok(()), |tcb| self.shard.check_tcb(tcb)),
            None => Ok(()),
        }
    }
}

/// Where a flow stands, as far as RFC 9293 §3.10.7 asks before it sends a RST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    state: State,
    snd_una: SeqNum,
    snd_nxt: SeqNum,
}

impl Standing {
    /// Whether a segment may be answered by a RST: never one with RST; without a connection any that is not a SYN which
    /// a listener takes; else only, while the handshake lasts, an ACK of what is not outstanding.
    pub fn justifies_reset(&self, header: &Header) -> bool {
        if header.flags.has(Flags::RST) {
            return false;
        }
        let acks = header.flags.has(Flags::ACK);
        let acceptable = header.ack.after(self.snd_una) && header.ack.at_or_before(self.snd_nxt);
        match self.state {
            State::Closed => true,
            State::Listen => acks,
            State::SynSent | State::SynReceived => acks && !acceptable,
            _ => false,
        }
    }
}

impl<A: App> Stack<A> {
    /// Where the flow of a tuple stands before a segment is processed.
    pub fn standing(&self, tuple: &FourTuple) -> Standing {
        self.shard.standing(tuple)
    }
}

impl Shard {
    fn standing(&self, tuple: &FourTuple) -> Standing {
        let none = if self.listens(tuple.local_port) { State::Listen } else { State::Closed };
        let mut standing = Standing { state: none, snd_una: SeqNum(0), snd_nxt: SeqNum(0) };
        match self.find(tuple).1.map(|flow| (flow.phase(), flow.place())) {
            Some((Phase::Connection, place)) => {
                if let Some(tcb) = self.connections.get(place) {
                    standing = Standing { state: tcb.state, snd_una: tcb.snd_una, snd_nxt: tcb.snd_nxt };
                }
            }
            Some((Phase::HalfOpen, place)) => {
                if let Some(entry) = self.half_open.get(place) {
                    standing = Standing { state: State::SynReceived, snd_una: entry.iss, snd_nxt: entry.iss + 1 };
                }
            }
            Some(_) => standing.state = State::TimeWait,
            None => {}
        }
        standing
    }

    fn check_invariants(&self) -> Checked {
        self.check_ledger()?;
        let connections = || self.connections.indices().filter_map(|i| self.connections.get(i).map(|tcb| (i, tcb)));
        for (index, tcb) in connections() {
            self.check_tcb(tcb)?;
            let alive = tcb.ending.is_none();
            let found = self.find(&tcb.tuple).1.is_some_and(|f| f.phase() == Phase::Connection && f.place() == index);
            law(found == alive, || format!("index: a connection is found: {found}, lives: {alive}: {tcb:?}"))?;
        }
        self.check_gauges()?;
        self.check_lists()?;
        self.check_pools()
    }

    /// The laws of [`Ledger`](crate::ledger::Ledger), straight from its counters and the tables: a snapshot has the same
    /// ones, but makes maps of names for them.
    fn check_ledger(&self) -> Checked {
        let ledger = &self.env.ledger;
        let connections = self.connections.indices().filter_map(|i| self.connections.get(i));
        let living = connections.filter(|tcb| tcb.ending.is_none()).count();
        let (half_open, time_wait) = (self.half_open.len(), self.time_wait_v4.len() + self.time_wait_v6.len());
        let laws = [
            ("frames", ledger.frames_received, ledger.handled.sum() + ledger.dropped.sum()),
            ("connections", ledger.opened(), ledger.endings.sum() + living as u64),
            ("half-open entries", ledger.half_open_created, ledger.half_open_endings.sum() + half_open as u64),
            ("TIME-WAIT entries", ledger.time_wait_created, ledger.time_wait_endings.sum() + time_wait as u64),
        ];
        for (what, came, gone_or_there) in laws {
            law(came == gone_or_there, || format!("ledger of {what}: {came} came, {gone_or_there} are accounted for"))?;
        }
        let counted = self.budgets.entries();
        law(counted == half_open as u64, || {
            format!("budgets: {counted} half-open entries, but {half_open} are there")
        })?;
        let passive = self.connections.indices().filter_map(|i| self.connections.get(i));
        let passive = passive.filter(|tcb| !tcb.facts.has(Facts::ACTIVE)).count() as u64;
        let counted = self.budgets.passive_connections().unwrap_or(passive);
        law(counted == passive, || format!("budgets: {counted} connections of peers, but {passive} are there"))?;
        let (taken, most) = (self.table_bytes(), self.config.limits.table_bytes);
        // A TIME-WAIT entry comes before its connection has gone.
        let slack = TIME_WAIT_BYTES_V6 * (self.connections.len() - living) as u64;
        law(taken <= most.saturating_add(slack), || format!("tables: {taken} octets of {most}"))?;
        let indexed = living + half_open + time_wait;
        law(self.index.len() == indexed, || format!("index: {} flows, but {indexed} are there", self.index.len()))
    }

    fn check_gauges(&self) -> Checked {
        let mut counts = [0u64; 16];
        let living = self.connections.indices().filter_map(|i| self.connections.get(i)).filter(|t| t.ending.is_none());
        living.for_each(|tcb| counts[tcb.state as usize] += 1);
        counts[State::SynReceived as usize] += self.half_open.len() as u64;
        counts[State::TimeWait as usize] += (self.time_wait_v4.len() + self.time_wait_v6.len()) as u64;
        let orphans =
            self.connections.indices().filter_map(|i| self.connections.get(i)).filter(|t| t.is_orphan()).count();
        law(self.orphans as usize == orphans, || format!("orphans: {} counted, {orphans} there", self.orphans))?;
        for state in State::iter().filter(|state| !matches!(state, State::Listen | State::Closed)) {
            let (gauge, there) = (self.env.gauges.of(state), counts[state as usize]);
            law(gauge == there, || format!("gauge of {}: {gauge}, but {there} are there", state.rfc_name()))?;
        }
        Ok(())
    }

    fn check_lists(&self) -> Checked {
        let ready: BTreeSet<u32> = self.ready.iter().copied().collect();
        let telling: BTreeSet<u32> = self.telling.iter().copied().collect();
        law(telling.len() == self.telling.len(), || "a connection waits twice to be told".into())?;
        for index in self.connections.indices() {
            let Some(tcb) = self.connections.get(index) else { continue };
            law(!tcb.facts.has(Facts::READY) || ready.contains(&index), || format!("READY, but in no list: {tcb:?}"))?;
            law(!tcb.facts.has(Facts::TELLING) || telling.contains(&index), || format!("TELLING, but not: {tcb:?}"))?;
        }
        self.check_hunger()
    }

    /// Who waits for blocks is in the list, once, and counted.
    fn check_hunger(&self) -> Checked {
        let waits = |index: &u32| self.connections.get(*index).is_some_and(|tcb| tcb.facts.has(Facts::HUNGRY));
        let hungry: Vec<u32> = self.connections.indices().filter(waits).collect();
        let counted = self.env.pools.hungry as usize;
        law(counted == hungry.len(), || format!("hungry: {counted} counted, {} there", hungry.len()))?;
        hungry.into_iter().try_for_each(|index| {
            let times = self.starved.iter().filter(|conn| **conn == self.id(index)).count();
            law(times == 1, || format!("hungry: connection {index} waits {times} times"))
        })
    }

    fn check_pools(&self) -> Checked {
        let transfers = self.connections.indices().filter_map(|i| self.connections.get(i)?.transfer.as_ref());
        let (count, blocks) =
            transfers.fold((0, [0; 2]), |(n, [s, r]), t| (n + 1, [s + t.send.blocks(), r + t.recv.blocks()]));
        let (taken, used) = (self.env.pools.transfers(), self.env.pools.blocks.used_bytes());
        law(taken == count, || format!("transfers: {taken} taken, {count} there"))?;
        for (share, blocks) in [Share::Send, Share::Receive].into_iter().zip(blocks) {
            let (used, held) = (self.env.pools.blocks.share_bytes(share), (blocks * BLOCK) as u64);
            law(used == held, || format!("buffers to {share:?}: {used} octets taken, {held} there"))?;
        }
        law(used <= self.env.pools.blocks.limit_bytes(), || format!("buffers: {used} octets, beyond the limit"))?;
        law(self.app_timers.len() <= self.config.limits.app_timers as usize, || "too many timers".into())
    }

    /// The laws of one connection that lives.
    fn check_tcb(&self, tcb: &Tcb) -> Checked {
        if tcb.ending.is_some() {
            return Ok(());
        }
        let law = |holds: bool, what: &str| law(holds, || format!("{what}: {tcb:?}"));
        law(tcb.snd_una.at_or_before(tcb.snd_nxt), "SND.UNA is after SND.NXT")?;
        law(tcb.rcv_nxt.at_or_before(tcb.rcv_adv), "the window ends before RCV.NXT")?;
        law(tcb.smss > 0, "no segment can be sent")?;
        let config = &self.env.config;
        let due = tcb.next_due();
        law(!tcb.stands_right(config) || due == tcb.link.armed_for(), "it is not in the wheel where it must be")?;
        let slack = 1u32 << tcb.our_shift();
        let window = tcb.rcv_adv.distance_from(tcb.rcv_nxt);
        law(window <= config.recv_buffer.max(65_535) + slack, "more is offered than can be stored")?;
        if tcb.state.is_synchronized() && tcb.outstanding() {
            law(tcb.facts.has(Facts::TIMER | Facts::READY), "something is outstanding, and no timer runs")?;
        }
        let Some(transfer) = &tcb.transfer else {
            return law(tcb.snd_nxt.distance_from(tcb.snd_una) <= 1, "octets in flight that nobody keeps");
        };
        law(tcb.data_in_flight() <= transfer.send.len() as u32, "octets in flight that nobody keeps")?;
        law(transfer.send.len() <= config.send_buffer as usize, "more is queued than the buffer holds")?;
        let most = config.recv_buffer.max(65_535) + slack;
        law(transfer.recv.len() as u32 + window <= most + 65_535, "more is offered than the buffer holds")?;
        let mut at = tcb.snd_una;
        for sent in transfer.scoreboard.segments() {
            law(sent.seq == at, "a gap in the scoreboard")?;
            at = sent.end();
        }
        let fin_apart = tcb.facts.has(Facts::FIN_SENT) && at + 1 == tcb.snd_nxt;
        let in_handshake = !tcb.state.is_synchronized();
        law(transfer.scoreboard.adds_up(), "the scoreboard's sums are not those of its segments")?;
        law(at == tcb.snd_nxt || fin_apart || in_handshake, "the scoreboard ends before SND.NXT")?;
        let mut ranges = transfer.reassembly.ranges().to_vec();
        ranges.sort_by_key(|(left, _)| left.distance_from(tcb.rcv_nxt));
        let mut at = tcb.rcv_nxt;
        for (left, right) in ranges {
            law(left.after(at) && left.before(right), "stretches that touch each other")?;
            law(right.at_or_before(tcb.rcv_adv), "a stretch beyond the window")?;
            at = right;
        }
        Ok(())
    }
}

impl<A: App> Stack<A> {
    /// Checks that nothing is left: no entry in any table, no buffer, no port.
    ///
    /// # Errors
    /// What is left.
    pub fn check_empty(&self) -> Result<(), String> {
        let shard = &self.shard;
        let left = [
            ("connections", shard.connections.len() as u64),
            ("half-open entries", shard.half_open.len() as u64),
            ("TIME-WAIT entries", (shard.time_wait_v4.len() + shard.time_wait_v6.len()) as u64),
            ("flows in the index", shard.index.len() as u64),
            ("transfers", shard.env.pools.transfers() as u64),
            ("octets of buffers", shard.env.pools.blocks.used_bytes()),
            ("ports", shard.ports.most_in_use(None)),
            ("connections with something to send", shard.ready.len() as u64),
            ("SYN-ACKs to be sent again", shard.ready_again.len() as u64),
            ("connections with something to tell", shard.telling.len() as u64),
            ("application timers", shard.app_timers.len() as u64),
        ];
        left.into_iter().try_for_each(|(what, count)| law(count == 0, || format!("{count} {what} are left")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_answers_only_what_rfc_9293_says() {
        let at = |state| Standing { state, snd_una: SeqNum(100), snd_nxt: SeqNum(101) };
        let segment = |flags: Flags, ack| Header { flags, ack: SeqNum(ack), ..Header::default() };
        let (syn, ack) = (segment(Flags::SYN, 0), |number| segment(Flags::ACK, number));
        let rows = [
            (State::Closed, syn, true, "nobody is there"),
            (State::Closed, segment(Flags::RST, 0), false, "never for a RST"),
            (State::Listen, syn, false, "a listener takes it"),
            (State::Listen, ack(5), true, "nothing was sent that it could acknowledge"),
            (State::SynSent, ack(101), false, "the ACK of our SYN"),
            (State::SynSent, ack(100), true, "not of our SYN"),
            (State::SynReceived, ack(102), true, "of what was never sent"),
            (State::SynReceived, syn, false, "once more the same SYN"),
            (State::Established, ack(102), false, "an ACK answers it"),
            (State::TimeWait, ack(102), false, "and here"),
        ];
        for (state, header, justified, why) in rows {
            assert_eq!(at(state).justifies_reset(&header), justified, "{}: {why}", state.rfc_name());
        }
    }
}
