//! What a run counted, and how it failed.

use super::app::{End, Outcome};
use serde::Serialize;
use std::collections::BTreeMap;

/// What was counted, over one world or many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Worlds played to their end.
    pub worlds: u64,
    /// Connections asked for by them.
    pub connections: u64,
    /// How their ends ended: names of the ledger's endings, and those that only a simulation has.
    pub endings: BTreeMap<&'static str, u64>,
    /// Octets that arrived, each compared with what was sent.
    pub octets: u64,
    /// Frames emitted.
    pub frames: u64,
    /// Of those, lost, by corruption as well.
    pub lost: u64,
    /// Reordered.
    pub reordered: u64,
    /// Duplicated.
    pub duplicated: u64,
    /// Corrupted.
    pub corrupted: u64,
    /// Times that a host stood still.
    pub skips: u64,
    /// Hosts killed.
    pub kills: u64,
    /// Connections that hosts made of a cookie, in lives that they were not killed in.
    pub by_cookie: u64,
    /// Of the connections, over IPv6.
    pub ipv6: u64,
    /// Frames that crossed with a VLAN tag.
    pub tagged: u64,
    /// Times that a router told what the path carries.
    pub told_mtu: u64,
    /// Times that received data found the pool of buffers empty, or a connection gave up data that came out of order for
    /// others.
    pub starved: u64,
    /// Connections reset because others waited for the blocks of what their peers did not take.
    pub silent: u64,
    /// Turns: each hands what has arrived to one stack, runs its timers and lets it send.
    pub turns: u64,
    /// How often all of a stack's invariants were checked, beside those that are checked with each frame.
    pub checks: u64,
    /// Simulated time.
    pub virtual_seconds: u64,
}

impl Tally {
    /// Counts one end.
    pub fn end(&mut self, end: &End) {
        let name: &'static str = match end.outcome {
            Some(Outcome::Ended(ending)) => ending.into(),
            Some(Outcome::Killed) => "killed",
            Some(Outcome::NotOpened(_)) => "not_opened",
            Some(Outcome::Lonely) => "lonely",
            None => "living",
        };
        *self.endings.entry(name).or_default() += 1;
        self.octets += end.received;
    }

    /// Adds what another world counted.
    pub fn add(&mut self, other: &Tally) {
        for (name, count) in &other.endings {
            *self.endings.entry(name).or_default() += count;
        }
        let pairs = [
            (&mut self.worlds, other.worlds),
            (&mut self.connections, other.connections),
            (&mut self.octets, other.octets),
            (&mut self.frames, other.frames),
            (&mut self.lost, other.lost),
            (&mut self.reordered, other.reordered),
            (&mut self.duplicated, other.duplicated),
            (&mut self.corrupted, other.corrupted),
            (&mut self.skips, other.skips),
            (&mut self.kills, other.kills),
            (&mut self.by_cookie, other.by_cookie),
            (&mut self.ipv6, other.ipv6),
            (&mut self.tagged, other.tagged),
            (&mut self.told_mtu, other.told_mtu),
            (&mut self.starved, other.starved),
            (&mut self.silent, other.silent),
            (&mut self.turns, other.turns),
            (&mut self.checks, other.checks),
            (&mut self.virtual_seconds, other.virtual_seconds),
        ];
        pairs.into_iter().for_each(|(sum, count)| *sum += count);
    }
}

/// A world in which something was not as it must be.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// Its number in the run.
    pub world: u64,
    /// Its seed: with as many connections as it had and the same faults, a run of this seed is this world.
    pub seed: u64,
    /// Connections that it had.
    pub connections: u32,
    /// What was not as it must be.
    pub what: String,
    /// The simulated time, in nanoseconds after the world's beginning.
    pub at_ns: u64,
    /// The turn.
    pub turn: u64,
}

/// The outcome of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Of the run: with the same flags it is the same run.
    pub seed: u64,
    /// What was counted in worlds without a failure.
    pub tally: Tally,
    /// The first failure, by number of world, of those that were found before the run stopped.
    pub failure: Option<Failure>,
    /// Wall-clock seconds.
    pub seconds: f64,
}
