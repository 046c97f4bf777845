//! What a running stack shows: a snapshot of counters and gauges, summed over its workers.

use crate::driver::ChunkCensus;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Counters and gauges of one worker, or the sum over several.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Snapshot {
    /// Connections and entries in each state of RFC 9293 §3.3.2, by [`State::key`](crate::tcp::State::key).
    pub states: BTreeMap<String, u64>,
    /// How many connections were opened, and how they ended.
    pub connections: Connections,
    /// What became of the frames.
    pub frames: Frames,
    /// Octets that one entry takes, without buffers.
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
    /// One line for each worker: queue, core, what its driver got.
    pub workers: Vec<WorkerInfo>,
    /// Verdicts of the XDP program, if there is one.
    pub xdp: BTreeMap<String, u64>,
    /// Whether each law of the ledger holds; a text for each that does not.
    pub ledger: LedgerCheck,
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
    /// Segments sent again.
    pub retransmitted: u64,
}

/// What became of the frames.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Frames {
    /// From the rx rings.
    pub received: u64,
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

/// Octets that one entry takes, without buffers.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct BytesPerEntry {
    /// A half-open entry.
    pub half_open: u64,
    /// A connection.
    pub established: u64,
    /// A TIME-WAIT entry.
    pub time_wait: u64,
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
}

/// Whether the ledger's laws hold.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct LedgerCheck {
    /// All of them.
    pub exact: bool,
    /// A sentence for each that does not hold.
    pub broken: Vec<String>,
}

impl Snapshot {
    /// Adds another worker's snapshot to this one.
    pub fn merge(&mut self, _other: &Snapshot) {
        todo!()
    }
}
