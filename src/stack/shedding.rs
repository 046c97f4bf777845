//! What goes first when the memory of the tables runs short.
//!
//! Each table has a limit of its own; `table_bytes` bounds them together. Whoever comes when that is reached takes the place
//! of the oldest TIME-WAIT entries; then, if it is a connection, of half-open entries; else it is refused. A connection never
//! gives way.

use super::flow_index::BYTES_PER_FLOW;
use super::half_open_slot::HalfOpenSlot;
use super::shard::Shard;
use super::slab::Slab;
use super::time_wait_table::{ENTRY_BYTES_V4, ENTRY_BYTES_V6};
use crate::ledger::{HalfOpenEnding, TimeWaitEnding};
use crate::tcp::Tcb;

/// Octets that a half-open entry takes, all in.
pub const HALF_OPEN_BYTES: u64 = all_in(Slab::<HalfOpenSlot>::ENTRY_BYTES as f64);
/// Octets that a connection takes without buffers, all in.
pub const CONNECTION_BYTES: u64 = all_in(Slab::<Tcb>::ENTRY_BYTES_WITH_GENERATION as f64);
/// Octets that a TIME-WAIT entry takes for IPv4, all in.
pub const TIME_WAIT_BYTES: u64 = all_in(ENTRY_BYTES_V4);
/// The same for IPv6.
pub const TIME_WAIT_BYTES_V6: u64 = all_in(ENTRY_BYTES_V6);

// A control block is no larger for being in a table: two cache lines.
const _: () = assert!(Slab::<Tcb>::ENTRY_BYTES == 128);

/// With the entry's share of the index, in whole octets.
const fn all_in(entry: f64) -> u64 {
    (entry + BYTES_PER_FLOW).ceil() as u64
}

/// Places of the half-open table that are searched for one entry that gives way.
const SEARCHED: u32 = 256;
/// Entries among which the one that was answered most often in vain gives way.
const COMPARED: usize = 8;

/// Whom room is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newcomer {
    /// A half-open entry. Others of its kind do not give way: a flood of them would put out the honest ones.
    HalfOpen,
    /// A connection; `from` is the half-open entry that it comes from.
    Connection { from: Option<u32> },
}

impl Shard {
    /// Octets that the entries of all tables take; in TIME-WAIT those that a new connection took the tuple of as well, until
    /// their place can be used anew.
    #[inline]
    pub fn table_bytes(&self) -> u64 {
        self.half_open.len() as u64 * HALF_OPEN_BYTES
            + self.connections.len() as u64 * CONNECTION_BYTES
            + self.time_wait_v4.places() as u64 * TIME_WAIT_BYTES
            + self.time_wait_v6.places() as u64 * TIME_WAIT_BYTES_V6
    }

    /// The most that they may take; no more than their limits come to.
    pub fn most_table_bytes(&self) -> u64 {
        let limits = &self.config.limits;
        let all = self.half_open.limit() as u64 * HALF_OPEN_BYTES
            + self.connections.limit() as u64 * CONNECTION_BYTES
            + u64::from(limits.time_wait) * TIME_WAIT_BYTES_V6;
        limits.table_bytes.min(all)
    }

    /// Has others give way until there is room for the newcomer; says whether there is.
    #[inline]
    pub fn make_room_for(&mut self, newcomer: Newcomer) -> bool {
        let needed = match newcomer {
            Newcomer::HalfOpen => HALF_OPEN_BYTES,
            Newcomer::Connection { from: None } => CONNECTION_BYTES,
            Newcomer::Connection { from: Some(_) } => CONNECTION_BYTES - HALF_OPEN_BYTES,
        };
        self.has_bytes(needed) || self.shed_for(newcomer, needed)
    }

    #[inline]
    fn has_bytes(&self, needed: u64) -> bool {
        self.table_bytes() + needed <= self.config.limits.table_bytes
    }

    #[cold]
    fn shed_for(&mut self, newcomer: Newcomer, needed: u64) -> bool {
        while !self.has_bytes(needed) {
            let found =
                self.shed_time_wait() || matches!(newcomer, Newcomer::Connection { from } if self.shed_half_open(from));
            if !found {
                return false;
            }
        }
        true
    }

    fn shed_time_wait(&mut self) -> bool {
        let due = |at: Option<u64>| at.unwrap_or(u64::MAX);
        let v4_is_older = due(self.time_wait_v4.next_due_ms()) <= due(self.time_wait_v6.next_due_ms());
        let Some((flow, entry)) = self.pop_oldest_time_wait(v4_is_older) else { return false };
        self.time_wait_gone(flow, &entry, TimeWaitEnding::Evicted);
        self.env.ledger.refused.time_wait_shed += 1;
        true
    }

    /// Of the next few entries the one whose SYN-ACK was sent most often goes: it is the least likely to be completed.
    fn shed_half_open(&mut self, except: Option<u32>) -> bool {
        let end = self.half_open.end();
        let mut chosen: Option<(u8, u32)> = None;
        let mut seen = 0;
        for _ in 0..SEARCHED.min(end) {
            let place = self.half_open_cursor % end;
            self.half_open_cursor = place + 1;
            let Some(entry) = self.half_open.get(place).filter(|_| Some(place) != except) else { continue };
            seen += 1;
            if chosen.is_none_or(|(resent, _)| entry.resent() > resent) {
                chosen = Some((entry.resent(), place));
            }
            if seen == COMPARED {
                break;
            }
        }
        let Some((_, place)) = chosen else { return false };
        self.end_half_open(place, HalfOpenEnding::Evicted);
        self.env.ledger.refused.half_open_shed += 1;
        true
    }
}
