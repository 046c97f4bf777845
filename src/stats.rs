//! What a running stack shows: a snapshot of counters and gauges, summed over its workers.
#![forbid(unsafe_code)]

use crate::ledger::{ChunkCensus, DropReason, Handled, KernelLosses};
use crate::tcp::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use strum::IntoEnumIterator;

/// Counters and gauges of one worker, or the sum over several.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Snapshot {
    /// What serves, and since when; entered by whoever does so, as no worker knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Serving>,
    /// Connections and entries in each state of RFC 9293 §3.3.2, by [`State::key`](crate::tcp::State::key).
    pub states: BTreeMap<String, u64>,
    /// How many connections were opened, and how they ended.
    pub connections: Connections,
    /// What became of the frames.
    pub frames: Frames,
    /// Octets that one entry takes, all in.
    pub bytes_per_entry: BytesPerEntry,
    /// Half-open entries: made, and how they ended.
    pub half_open: BTreeMap<String, u64>,
    /// TIME-WAIT entries: made, and how they ended.
    pub time_wait: BTreeMap<String, u64>,
    /// Each bounded pool: how full, how large.
    pub pools: BTreeMap<String, Pool>,
    /// What was refused because a pool was full.
    pub refused: BTreeMap<String, u64>,
    /// Where the chunks of the UMEM are.
    pub chunks: ChunkCensus,
    /// What the kernel lost between the NIC and us.
    #[serde(default)]
    pub kernel: KernelLosses,
    /// One line for each worker: queue, core, what its driver got.
    pub workers: Vec<WorkerInfo>,
    /// What crossed from worker to worker; told when all of several workers have ended, as only then it adds up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_over: Option<HandedOver>,
    /// The defence against SYN floods.
    #[serde(default)]
    pub defence: Defence,
    /// Verdicts of the XDP program, if there is one.
    pub xdp: BTreeMap<String, u64>,
    /// Whether each law of the ledger holds; a text for each that does not.
    pub ledger: LedgerCheck,
}

/// What serves, and since when.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Serving {
    /// The interface's name, as it was at start.
    pub interface: String,
    /// When it began: UTC, as RFC 3339 writes it.
    pub since: String,
    /// How long it has run: by a clock that nobody sets.
    pub uptime_seconds: f64,
}

/// How many connections were opened, and how they ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Connections {
    /// Passive ones that reached ESTABLISHED, and active ones that were asked for.
    pub opened: u64,
    /// Of those, passive.
    pub passive: u64,
    /// Of those, active.
    pub active: u64,
    /// Both FINs exchanged.
    pub closed: u64,
    /// Reset by the peer.
    pub reset: u64,
    /// Reset by us.
    pub aborted: u64,
    /// Refused by the peer.
    pub refused: u64,
    /// Given up without an answer.
    pub timed_out: u64,
    /// Of those, reset by us as too little got on within the idle limit.
    #[serde(default)]
    pub idle: u64,
    /// Segments sent again.
    pub retransmitted: u64,
    /// Flights in which a loss was found by what the peer acknowledged, before a time-out.
    #[serde(default)]
    pub fast_retransmits: u64,
    /// Reductions of a congestion window taken back, as nothing had been lost.
    #[serde(default)]
    pub taken_back: u64,
}

/// What became of the frames.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Frames {
    /// From the rx rings, and from other workers.
    pub received: u64,
    /// Of those, from other workers, which handed them over as we own their flows.
    #[serde(default)]
    pub taken: u64,
    /// To the tx rings.
    pub sent: u64,
    /// Octets received.
    pub bytes_received: u64,
    /// Octets sent.
    pub bytes_sent: u64,
    /// Of use, by outcome.
    pub handled: BTreeMap<String, u64>,
    /// Dropped, by reason; only reasons that occurred.
    pub dropped: BTreeMap<String, u64>,
}

/// The defence against SYN floods. What the XDP program does for it is among the verdicts.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Defence {
    /// Workers at each step.
    pub workers_at: BTreeMap<String, u64>,
    /// Why they are there: reason and workers.
    pub why: BTreeMap<String, u64>,
    /// Milliseconds at each step, summed over the workers.
    pub ms_at: BTreeMap<String, u64>,
    /// Changes of step.
    pub switches: u64,
    /// Cookies sent and accepted; acknowledgements refused, by reason.
    pub cookies: BTreeMap<String, u64>,
    /// SYNs beyond the budget of their source's prefix: answered with a cookie, or dropped, by budget; and prefixes whose
    /// rate was forgotten for want of a place.
    #[serde(default)]
    pub budgets: BTreeMap<String, u64>,
}

/// Octets that one entry takes, all in: its place in the table and its share of the index, rounded up; a connection
/// without buffers, which it has only while data is under way.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct BytesPerEntry {
    /// A half-open entry.
    pub half_open: u64,
    /// A connection.
    pub established: u64,
    /// A TIME-WAIT entry for IPv4.
    pub time_wait: u64,
    /// A TIME-WAIT entry for IPv6.
    #[serde(default)]
    pub time_wait_v6: u64,
}

/// A bounded pool.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Pool {
    /// In use now.
    pub used: u64,
    /// At most.
    pub limit: u64,
}

/// One worker.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct WorkerInfo {
    /// Interface queue.
    pub queue: u32,
    /// Core that it is pinned to, if it is.
    pub core: Option<usize>,
    /// [`Driver::describe`](crate::driver::Driver::describe).
    pub driver: String,
    /// [`Driver::memory`](crate::driver::Driver::memory).
    #[serde(default)]
    pub memory: String,
    /// Connections open now.
    #[serde(default)]
    pub connections: u64,
    /// Frames that came in on its queue.
    #[serde(default)]
    pub received: u64,
    /// Frames that it handed to other workers, of those and of what others handed to it.
    #[serde(default)]
    pub handed_over: u64,
    /// Frames that others handed to it.
    #[serde(default)]
    pub taken: u64,
    /// Frames that it could not hand over, for the other's mailbox was full.
    #[serde(default)]
    pub refused: u64,
    /// How long its turns had something to do, in nanoseconds; the rest it looked at empty rings, or slept.
    #[serde(default)]
    pub busy_ns: u64,
    /// How long it has run, in nanoseconds.
    #[serde(default)]
    pub alive_ns: u64,
}

impl WorkerInfo {
    /// The part of its time in which it had something to do.
    pub fn busy_share(&self) -> f64 {
        if self.alive_ns == 0 { 0.0 } else { self.busy_ns as f64 / self.alive_ns as f64 }
    }

    /// With the numbers of its own snapshot.
    pub fn with(self, own: &Snapshot) -> Self {
        WorkerInfo {
            connections: own.pools.get("connections").map_or(0, |pool| pool.used),
            received: own.frames.received - own.frames.taken,
            handed_over: own.frames.handed_over(),
            taken: own.frames.taken,
            refused: own.frames.dropped.get(DropReason::HandOverFull.into()).copied().unwrap_or(0),
            ..self
        }
    }
}

/// Frames that crossed from worker to worker in a whole run.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct HandedOver {
    /// By those who did not know their flows.
    pub given: u64,
    /// By those whom they were handed to.
    pub taken: u64,
    /// Still on their way when the owner ended.
    pub left: u64,
}

/// Whether the ledger's laws hold, as [`Snapshot::audit`] found; in a sum, for each worker.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct LedgerCheck {
    /// All of them.
    pub exact: bool,
    /// A sentence for each that does not hold.
    pub broken: Vec<String>,
}

impl std::fmt::Display for LedgerCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.exact { f.write_str("exact") } else { write!(f, "NOT EXACT: {}", self.broken.join("; ")) }
    }
}

impl Snapshot {
    /// The sum over several workers; every state has its key, also when nothing is in it.
    pub fn sum<'a>(parts: impl IntoIterator<Item = &'a Snapshot>) -> Snapshot {
        let states = State::iter().map(|state| (state.key().to_string(), 0)).collect();
        let ledger = LedgerCheck { exact: true, broken: Vec::new() };
        let mut sum = Snapshot { states, ledger, ..Snapshot::default() };
        for part in parts {
            sum.merge(part);
        }
        sum
    }

    /// Adds another worker's snapshot to this one. Counters and gauges are summed, sizes of entries are the larger,
    /// workers are listed one after another, and the ledger is exact when both are.
    pub fn merge(&mut self, other: &Snapshot) {
        add_map(&mut self.states, &other.states);
        self.connections.merge(&other.connections);
        self.frames.merge(&other.frames);
        self.bytes_per_entry.merge(&other.bytes_per_entry);
        add_map(&mut self.half_open, &other.half_open);
        add_map(&mut self.time_wait, &other.time_wait);
        for (name, pool) in &other.pools {
            let sum = self.pools.entry(name.clone()).or_default();
            sum.used += pool.used;
            sum.limit += pool.limit;
        }
        add_map(&mut self.refused, &other.refused);
        merge_census(&mut self.chunks, &other.chunks);
        merge_losses(&mut self.kernel, &other.kernel);
        self.workers.extend(other.workers.iter().cloned());
        self.defence.merge(&other.defence);
        add_map(&mut self.xdp, &other.xdp);
        self.ledger.exact &= other.ledger.exact;
        self.ledger.broken.extend(other.ledger.broken.iter().cloned());
    }

    /// The snapshot's own time in nanoseconds: that of the worker that has run longest.
    pub fn alive_ns(&self) -> u64 {
        self.workers.iter().map(|worker| worker.alive_ns).max().unwrap_or(0)
    }

    /// Enters what the XDP program did: every verdict in [`Snapshot::xdp`]; and each frame that it dropped counts as
    /// received and as dropped for the reason `xdp_NAME`, each that it answered as received, of use and sent, so that the sum
    /// over all frames holds.
    pub fn add_verdicts(&mut self, verdicts: &BTreeMap<String, u64>) {
        add_map(&mut self.xdp, verdicts);
        for (verdict, frames) in verdicts {
            if let Some(reason) = verdict.strip_prefix("drop_").filter(|_| *frames > 0) {
                *self.frames.dropped.entry(format!("xdp_{reason}")).or_default() += frames;
                self.frames.received += frames;
            }
            if verdict.starts_with("answer_") && *frames > 0 {
                *self.frames.handled.entry(format!("xdp_{verdict}")).or_default() += frames;
                self.frames.received += frames;
                self.frames.sent += frames;
            }
        }
        self.audit();
    }

    /// Enters into the sum over all workers, which have ended, how many frames were handed over and lie about.
    pub fn close_exchange(&mut self, left: u64) {
        self.handed_over = Some(HandedOver { given: self.frames.handed_over(), taken: self.frames.taken, left });
        self.audit();
    }

    /// Enters into [`Snapshot::ledger`] which of the laws do not hold; what was found broken before stays so.
    pub fn audit(&mut self) {
        for law in self.laws().into_iter().filter(|law| !law.holds()) {
            let sentence = law.to_string();
            if !self.ledger.broken.contains(&sentence) {
                self.ledger.broken.push(sentence);
            }
        }
        self.ledger.exact = self.ledger.broken.is_empty();
    }

    /// The laws of the ledger with their sums. Every other word about exactness derives from them.
    pub fn laws(&self) -> Vec<Law> {
        let c = &self.connections;
        let living =
            |states: &[State]| -> u64 { states.iter().map(|s| self.states.get(s.key()).copied().unwrap_or(0)).sum() };
        let open = living(&[
            State::SynSent,
            State::Established,
            State::FinWait1,
            State::FinWait2,
            State::CloseWait,
            State::Closing,
            State::LastAck,
        ]);
        // In SYN-RECEIVED are half-open entries, and connections that both ends opened at once.
        let half_open = self.pools.get("half_open").map_or(0, |pool| pool.used);
        let crossing = living(&[State::SynReceived]).saturating_sub(half_open);
        let ended = c.closed + c.reset + c.aborted + c.refused + c.timed_out;
        let k = &self.chunks;
        let entries = |name, kind: &'static str, map: &BTreeMap<String, u64>| {
            let created = map.get("created").copied().unwrap_or(0);
            let ended = map.iter().filter(|(key, _)| *key != "created").map(|(_, count)| count).sum();
            Law::new(name, created, &[ended, self.pools.get(kind).map_or(0, |pool| pool.used)])
        };
        let crossed =
            self.handed_over.map(|h| Law::new("frames handed over = taken + left", h.given, &[h.taken, h.left]));
        let mut laws = vec![
            Law::new(
                "frames received = of use + dropped",
                self.frames.received,
                &[self.frames.handled.values().sum(), self.frames.dropped.values().sum()],
            ),
            Law::new("connections opened = ended + open", c.opened, &[ended, open + crossing]),
            entries("half-open entries made = ended + there", "half_open", &self.half_open),
            entries("TIME-WAIT entries made = ended + there", "time_wait", &self.time_wait),
            Law::new(
                "connections in TIME-WAIT = entries there",
                self.states.get(State::TimeWait.key()).copied().unwrap_or(0),
                &[self.pools.get("time_wait").map_or(0, |pool| pool.used)],
            ),
            Law::new("chunks = free + receiving + sending + held", k.total, &[k.free, k.receiving, k.sending, k.held]),
        ];
        laws.extend(crossed);
        laws
    }
}

/// A law of the ledger and its sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Law {
    /// What is said to be equal.
    pub name: &'static str,
    /// The left side.
    pub total: u64,
    /// The terms of the right side.
    pub parts: Vec<u64>,
}

impl Law {
    fn new(name: &'static str, total: u64, parts: &[u64]) -> Law {
        Law { name, total, parts: parts.to_vec() }
    }

    /// Whether both sides are equal.
    pub fn holds(&self) -> bool {
        self.total == self.parts.iter().sum::<u64>()
    }
}

impl std::fmt::Display for Law {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<_> = self.parts.iter().map(u64::to_string).collect();
        let verdict = if self.holds() { "holds" } else { "DOES NOT HOLD" };
        write!(f, "{}: {} = {} {verdict}", self.name, self.total, parts.join(" + "))
    }
}

impl Defence {
    fn merge(&mut self, other: &Defence) {
        add_map(&mut self.workers_at, &other.workers_at);
        add_map(&mut self.why, &other.why);
        add_map(&mut self.ms_at, &other.ms_at);
        self.switches += other.switches;
        add_map(&mut self.cookies, &other.cookies);
        add_map(&mut self.budgets, &other.budgets);
    }
}

impl Connections {
    fn merge(&mut self, other: &Connections) {
        self.opened += other.opened;
        self.passive += other.passive;
        self.active += other.active;
        self.closed += other.closed;
        self.reset += other.reset;
        self.aborted += other.aborted;
        self.refused += other.refused;
        self.timed_out += other.timed_out;
        self.idle += other.idle;
        self.retransmitted += other.retransmitted;
        self.fast_retransmits += other.fast_retransmits;
        self.taken_back += other.taken_back;
    }
}

impl Frames {
    /// Of those received, frames that were handed to the owners of their flows.
    pub fn handed_over(&self) -> u64 {
        self.handled.get(Handled::HandedOver.into()).copied().unwrap_or(0)
    }

    fn merge(&mut self, other: &Frames) {
        self.received += other.received;
        self.taken += other.taken;
        self.sent += other.sent;
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
        add_map(&mut self.handled, &other.handled);
        add_map(&mut self.dropped, &other.dropped);
    }
}

impl BytesPerEntry {
    fn merge(&mut self, other: &BytesPerEntry) {
        self.half_open = self.half_open.max(other.half_open);
        self.established = self.established.max(other.established);
        self.time_wait = self.time_wait.max(other.time_wait);
        self.time_wait_v6 = self.time_wait_v6.max(other.time_wait_v6);
    }
}

fn merge_census(sum: &mut ChunkCensus, other: &ChunkCensus) {
    sum.total += other.total;
    sum.free += other.free;
    sum.receiving += other.receiving;
    sum.sending += other.sending;
    sum.held += other.held;
}

fn merge_losses(sum: &mut KernelLosses, other: &KernelLosses) {
    sum.rx_dropped += other.rx_dropped;
    sum.rx_ring_full += other.rx_ring_full;
    sum.rx_fill_ring_empty += other.rx_fill_ring_empty;
    sum.rx_invalid_descs += other.rx_invalid_descs;
    sum.tx_invalid_descs += other.tx_invalid_descs;
    sum.tx_stalls += other.tx_stalls;
}

fn add_map(sum: &mut BTreeMap<String, u64>, other: &BTreeMap<String, u64>) {
    for (name, count) in other {
        *sum.entry(name.clone()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A snapshot in which every number is drawn, made through JSON so that a new field cannot be forgotten.
    fn any_snapshot() -> impl Strategy<Value = Snapshot> {
        prop::collection::vec(0..1u64 << 40, 64).prop_map(|numbers| {
            let mut full = Snapshot::sum([]);
            let d = &mut full.defence;
            for map in [&mut d.workers_at, &mut d.why, &mut d.ms_at, &mut d.cookies, &mut d.budgets] {
                map.insert("one".into(), 0);
            }
            for map in [&mut full.half_open, &mut full.time_wait, &mut full.refused, &mut full.xdp] {
                map.insert("one".into(), 0);
            }
            full.frames.handled.insert("segment".into(), 0);
            full.frames.dropped.insert("truncated".into(), 0);
            full.pools.insert("connections".into(), Pool::default());
            let mut json = serde_json::to_value(&full).unwrap();
            let mut next = numbers.into_iter().cycle();
            fill(&mut json, &mut || next.next().unwrap());
            serde_json::from_value(json).unwrap()
        })
    }

    fn fill(value: &mut serde_json::Value, next: &mut impl FnMut() -> u64) {
        match value {
            serde_json::Value::Number(n) => *n = next().into(),
            serde_json::Value::Object(map) => map.values_mut().for_each(|v| fill(v, next)),
            _ => {}
        }
    }

    /// Every number of the JSON form, by its path.
    fn numbers(value: &serde_json::Value, path: String, into: &mut BTreeMap<String, u64>) {
        match value {
            serde_json::Value::Number(n) => drop(into.insert(path, n.as_u64().unwrap())),
            serde_json::Value::Object(map) => map.iter().for_each(|(k, v)| numbers(v, format!("{path}.{k}"), into)),
            _ => {}
        }
    }

    fn by_path(snapshot: &Snapshot) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        numbers(&serde_json::to_value(snapshot).unwrap(), String::new(), &mut all);
        all
    }

    proptest! {
        #[test]
        fn merging_equals_the_sum_of_every_number(a in any_snapshot(), b in any_snapshot()) {
            let (left, right) = (by_path(&a), by_path(&b));
            let merged = by_path(&Snapshot::sum([&a, &b]));
            prop_assert_eq!(merged.len(), left.len());
            for (path, value) in merged {
                let (l, r) = (left[&path], right[&path]);
                let expected = if path.starts_with(".bytes_per_entry") { l.max(r) } else { l + r };
                prop_assert_eq!(value, expected, "{}", path);
            }
        }
    }

    #[test]
    fn every_state_has_its_key_even_when_empty() {
        let json = serde_json::to_value(Snapshot::sum([])).unwrap();
        for state in State::iter() {
            assert_eq!(json["states"][state.key()], 0, "{state:?}");
        }
    }

    #[test]
    fn one_inexact_worker_makes_the_sum_inexact() {
        let good = Snapshot::sum([]);
        let mut bad = good.clone();
        bad.ledger = LedgerCheck { exact: false, broken: vec!["frames".into()] };
        let sum = Snapshot::sum([&good, &bad]);
        assert!(!sum.ledger.exact);
        assert_eq!(sum.ledger.broken, ["frames"]);
    }

    #[test]
    fn frames_dropped_in_xdp_keep_the_sum_law() {
        let mut snapshot = Snapshot::sum([]);
        snapshot.frames.received = 5;
        snapshot.frames.handled.insert("segment".into(), 5);
        snapshot.add_verdicts(&[("pass_not_ip".into(), 9), ("drop_truncated".into(), 2)].into());
        assert_eq!((snapshot.frames.received, snapshot.frames.dropped["xdp_truncated"]), (7, 2));
        assert_eq!((snapshot.xdp["pass_not_ip"], snapshot.xdp["drop_truncated"]), (9, 2));
        assert!(snapshot.laws()[0].holds());
        assert!(snapshot.ledger.exact);
        snapshot.frames.received += 1;
        assert!(!snapshot.laws()[0].holds());
    }

    #[test]
    fn a_connection_that_both_ends_opened_is_open_in_syn_received() {
        let mut snapshot = Snapshot::sum([]);
        snapshot.half_open.insert("created".into(), 2);
        snapshot.pools.insert("half_open".into(), Pool { used: 2, limit: 9 });
        snapshot.states.insert("syn_received".into(), 3);
        (snapshot.connections.opened, snapshot.connections.active) = (1, 1);
        snapshot.audit();
        assert_eq!(snapshot.ledger.to_string(), "exact");
    }

    #[test]
    fn each_law_makes_the_ledger_inexact_when_it_is_broken() {
        type Break = fn(&mut Snapshot);
        let broken: [(&str, Break); 7] = [
            ("frames received", |s| s.frames.received = 1),
            ("connections opened", |s| s.connections.opened = 1),
            ("half-open entries made", |s| _ = s.half_open.insert("created".into(), 1)),
            ("TIME-WAIT entries made", |s| _ = s.time_wait.insert("created".into(), 1)),
            ("connections in TIME-WAIT", |s| _ = s.states.insert("time_wait".into(), 1)),
            ("chunks", |s| s.chunks.total = 1),
            ("frames handed over", |s| s.handed_over = Some(HandedOver { left: 1, ..Default::default() })),
        ];
        for (name, break_it) in broken {
            let mut snapshot = Snapshot::sum([]);
            snapshot.audit();
            assert_eq!(snapshot.ledger.to_string(), "exact");
            break_it(&mut snapshot);
            snapshot.audit();
            snapshot.audit();
            let said = snapshot.ledger.to_string();
            assert!(!snapshot.ledger.exact && snapshot.ledger.broken.len() == 1, "{said}");
            assert!(said.starts_with(&format!("NOT EXACT: {name}")), "{said}");
        }
    }
}
