//! What a connection needs of its surroundings: the time of the turn, how TCP behaves, and what all connections of a shard
//! have in common.

use super::TcpConfig;
use super::connection::{syn_window, window_shift};
use super::rto::first_rto_ms;
use super::state::StateGauges;
use super::transfer::Pools;
use crate::ledger::Ledger;
use crate::time::Instant;

/// The surroundings of the connections of one shard.
pub struct Env {
    now: Instant,
    tick: u32,
    /// Whether the segment being processed was marked by a router (RFC 3168 §5, CE); set before each.
    pub marked: bool,
    /// How TCP behaves.
    pub config: TcpConfig,
    /// The window of a SYN, the shift of those after it, and the first RTO in milliseconds, as the configuration has them.
    pub(crate) syn_window: u16,
    pub(crate) window_shift: u8,
    pub(crate) first_rto_ms: u16,
    /// Buffers and transfers.
    pub pools: Pools,
    /// States of all connections of the shard.
    pub gauges: StateGauges,
    /// Counters of the shard.
    pub ledger: Ledger,
}

impl Env {
    /// Surroundings in which nothing has happened yet.
    pub fn new(config: TcpConfig, pools: Pools, gauges: StateGauges, now: Instant) -> Env {
        Env {
            now,
            tick: now.as_millis() as u32,
            marked: false,
            config,
            syn_window: syn_window(&config),
            window_shift: window_shift(&config),
            first_rto_ms: first_rto_ms(&config),
            pools,
            gauges,
            ledger: Ledger::default(),
        }
    }

    /// Time has gone on: told by whoever calls the shard, before anything is processed.
    #[inline]
    pub fn set_now(&mut self, now: Instant) {
        // The frames of a burst come at one time: the division is for the first.
        if self.now != now {
            self.now = now;
            self.tick = now.as_millis() as u32;
        }
    }

    /// The time of this turn.
    #[inline]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Now in milliseconds.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.now.as_millis()
    }

    /// Now in ticks of a millisecond, modulo 2^32: the unit of timers and timestamps.
    #[inline]
    pub fn tick(&self) -> u32 {
        self.tick
    }

    /// Now in microseconds, modulo 2^32: the unit of round-trip times.
    #[inline]
    pub fn now_us(&self) -> u32 {
        self.now.as_micros() as u32
    }
}
