//! What one source prefix may take of what all share: /24 for IPv4, /56 for IPv6, about what one owner has.
//!
//! Budgets in memory that never grows and is addressed by a keyed hash: half-open entries held at a time, and, where asked
//! for, connections held at a time (both [`held`]) and new connections a second ([`rates`]). All are of one worker, like the
//! tables that they protect.
//!
//! The hash has a secret of its own: whom we answer is seen from outside, and what a patient stranger might learn of it must
//! not tell where flows fall in the tables.

mod held;
mod rates;

use super::config::Limits;
use super::defence::DefenceConfig;
use super::flow_hash::FlowHash;
use crate::time::Instant;
use crate::wire::Addr;
use held::Held;
use rates::Rates;

/// The budgets of one shard.
pub struct Budgets {
    keyed: FlowHash,
    held: Held,
    /// Half-open entries that one prefix may hold.
    share: u32,
    /// Connections that peers opened, and how many one prefix may hold; where there is a limit.
    connections: Option<(Held, u32)>,
    rates: Option<Rates>,
    /// SYNs beyond the share that a cookie answered.
    pub cookies: u64,
}

impl Budgets {
    /// For tables of these limits; `key` is secret.
    pub fn new(key: &[u8; 16], config: &DefenceConfig, limits: &Limits) -> Self {
        let part = |of: u32, percent: u8| (u64::from(of) * u64::from(percent)).div_ceil(100).max(1) as u32;
        let connections = part(limits.connections, config.prefix_connections);
        Budgets {
            keyed: FlowHash::another(key, 1),
            held: Held::new(),
            share: part(limits.half_open, config.prefix_share),
            connections: (config.prefix_connections < 100).then(|| (Held::new(), connections)),
            rates: config.prefix_rate.map(Rates::new),
            cookies: 0,
        }
    }

    /// Whether a new connection of this source is within its prefix's rate; it counts if so.
    pub fn admits(&mut self, source: &Addr, now: Instant) -> bool {
        let Some(rates) = &mut self.rates else { return true };
        let prefix = prefix_of(source);
        rates.admits(prefix, self.keyed.number(prefix), now.as_nanos())
    }

    /// Whether this source's prefix may hold one more half-open entry, of a table that has `entries` of them.
    pub fn may_hold(&self, source: &Addr, entries: usize) -> bool {
        entries < self.share as usize || self.held.at_most(self.hash(source)) < self.share
    }

    /// Whether this source's prefix may hold one more connection.
    pub fn may_connect(&self, source: &Addr) -> bool {
        self.connections.as_ref().is_none_or(|(held, share)| held.at_most(self.hash(source)) < *share)
    }

    /// A connection that this source opened stands.
    pub fn connect(&mut self, source: &Addr) {
        if let Some((held, _)) = &mut self.connections {
            held.add(self.keyed.number(prefix_of(source)));
        }
    }

    /// It has gone.
    pub fn disconnect(&mut self, source: &Addr) {
        if let Some((held, _)) = &mut self.connections {
            held.remove(self.keyed.number(prefix_of(source)));
        }
    }

    /// The most connections that any prefix may hold now, and that one may; where there is a limit.
    pub fn connected(&self) -> Option<(u64, u64)> {
        self.connections.as_ref().map(|(held, share)| (held.most().into(), (*share).into()))
    }

    /// An entry of this source has come.
    pub fn hold(&mut self, source: &Addr) {
        self.held.add(self.hash(source));
    }

    /// It has gone.
    pub fn give_back(&mut self, source: &Addr) {
        self.held.remove(self.hash(source));
    }

    #[inline]
    fn hash(&self, source: &Addr) -> u64 {
        self.keyed.number(prefix_of(source))
    }

    /// The most half-open entries that any prefix may hold now, and that one may.
    pub fn held(&self) -> (u64, u64) {
        (self.held.most().into(), self.share.into())
    }

    /// Half-open entries that were counted, of all prefixes together.
    pub fn entries(&self) -> u64 {
        self.held.sum()
    }

    /// Connections that were counted; where there is a limit.
    pub fn passive_connections(&self) -> Option<u64> {
        self.connections.as_ref().map(|(held, _)| held.sum())
    }

    /// Prefixes below their full rate, places for them, and how many were forgotten for want of a place; if there is a rate.
    pub fn rates(&self) -> Option<(u64, u64, u64)> {
        self.rates.as_ref().map(|rates| (rates.in_use(), rates.places(), rates.forgotten()))
    }
}

/// The prefix of an address as a number; no IPv6 prefix has one that an IPv4 prefix has.
fn prefix_of(addr: &Addr) -> u64 {
    match addr.v4() {
        Some(octets) => u64::from(u32::from_be_bytes(octets) & !0xff) | 4,
        None => (u128::from_be_bytes(*addr.octets()) >> 64) as u64 & !0xff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budgets(prefix_share: u8, prefix_rate: Option<u32>, half_open: u32) -> Budgets {
        let config = DefenceConfig { prefix_share, prefix_rate, ..DefenceConfig::default() };
        Budgets::new(&[5; 16], &config, &Limits { half_open, ..Limits::default() })
    }

    #[test]
    fn a_prefix_is_24_bits_of_ipv4_and_56_of_ipv6() {
        let v4 = |c, d| prefix_of(&Addr::from_v4([10, 1, c, d]));
        assert_eq!(v4(2, 3), v4(2, 250));
        assert_ne!(v4(2, 3), v4(3, 3));
        let v6 = |g, h, last| prefix_of(&Addr::from_v6([0x20, 1, 0xd, 0xb8, 0, 0, g, h, 0, 0, 0, 0, 0, 0, 0, last]));
        assert_eq!(v6(1, 2, 3), v6(1, 250, 9));
        assert_ne!(v6(1, 2, 3), v6(2, 2, 3));
        let alike = Addr::from_v6([0, 0, 0, 0, 10, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_ne!(v4(2, 3), prefix_of(&alike));
    }

    #[test]
    fn a_prefix_has_its_share_and_gets_it_back() {
        let (hog, other) = (Addr::from_v4([10, 1, 2, 3]), Addr::from_v4([10, 1, 3, 3]));
        let mut budgets = budgets(25, None, 16);
        for entries in 0..4 {
            assert!(budgets.may_hold(&hog, entries));
            budgets.hold(&hog);
        }
        assert!(!budgets.may_hold(&hog, 4) && budgets.may_hold(&other, 4));
        assert_eq!(budgets.held(), (4, 4));
        budgets.give_back(&hog);
        assert!(budgets.may_hold(&hog, 4));
        assert!(budgets.admits(&hog, Instant::ZERO), "no rate, no limit");
        assert_eq!(super::tests::budgets(1, None, 16).held(), (0, 1), "one at least");
    }
}
