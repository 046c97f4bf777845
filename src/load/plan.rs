//! What a run is to do.

use super::life::Life;
use super::schedule::{Rate, Spacing};
use crate::time::Duration;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// When the next connection is started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// Closed loop: a connection that is over is replaced at once, so that this many are under way.
    Closed {
        /// Connections under way, at least 1.
        concurrency: u32,
    },
    /// Open loop: connections are started at their times, whatever became of those before. One that finds no room is
    /// started late, and its times count from when it was meant to start.
    Open {
        /// Connections a second.
        rate: Rate,
        /// How they lie within the rate.
        spacing: Spacing,
        /// Where the first of evenly spaced ones lies within its space.
        offset: f64,
        /// At most so many are under way, at least 1.
        in_flight: u32,
        /// Of the arrivals.
        seed: u64,
    },
    /// Open loop whose rates are told one after another, by [`Order::Step`](super::Order::Step).
    Steps {
        /// How arrivals lie within a rate.
        spacing: Spacing,
        /// At most so many are under way, at least 1.
        in_flight: u32,
        /// Of the arrivals.
        seed: u64,
    },
}

impl Schedule {
    /// How many connections may be under way.
    pub fn room(&self) -> u32 {
        match *self {
            Schedule::Closed { concurrency } => concurrency,
            Schedule::Open { in_flight, .. } | Schedule::Steps { in_flight, .. } => in_flight,
        }
    }

    /// The same with room for `room` connections, at least 1.
    pub(crate) fn with_room(self, room: u32) -> Schedule {
        match self {
            Schedule::Closed { .. } => Schedule::Closed { concurrency: room },
            Schedule::Open { rate, spacing, offset, seed, .. } => {
                Schedule::Open { rate, spacing, offset, in_flight: room, seed }
            }
            Schedule::Steps { spacing, seed, .. } => Schedule::Steps { spacing, in_flight: room, seed },
        }
    }

    /// The share of worker `index` of `shares`, with room for `room` connections.
    fn share(&self, shares: u64, index: u64, room: u32) -> Schedule {
        let part = 1.0 / shares as f64;
        match *self {
            Schedule::Closed { .. } => Schedule::Closed { concurrency: room },
            Schedule::Open { rate, spacing, seed, .. } => Schedule::Open {
                rate: rate.scaled(part),
                spacing,
                offset: index as f64 * part,
                in_flight: room,
                seed: seed.wrapping_add(index),
            },
            Schedule::Steps { spacing, seed, .. } => {
                Schedule::Steps { spacing, in_flight: room, seed: seed.wrapping_add(index) }
            }
        }
    }
}

/// When a run starts no more connections; whichever comes first, and at the latest when it is drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Until {
    /// After this many were started.
    pub connections: Option<u64>,
    /// After this long.
    pub duration: Option<Duration>,
}

/// What a run is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The peer.
    pub target: SocketAddr,
    /// Our addresses that connections come from: a few of them, until these have no port left. None leaves the choice to
    /// the stack.
    pub sources: Arc<[IpAddr]>,
    /// When the next connection is started.
    pub schedule: Schedule,
    /// What it does once it stands.
    pub life: Life,
    /// How long each worker holds its first connection open before that one goes on, so that its handshake stands for
    /// itself on the wire; else the ACK that ends it may carry the FIN.
    pub hold_first: Duration,
    /// When no more are started.
    pub until: Until,
    /// How long connections that are under way at that time may still take; those left over are aborted and reported
    /// as unfinished.
    pub grace: Duration,
}

impl Plan {
    /// A run against `target` that keeps so many connections under way and has no end; each closes at once.
    pub fn closed_loop(target: SocketAddr, concurrency: u32) -> Self {
        Plan {
            target,
            sources: Arc::new([]),
            schedule: Schedule::Closed { concurrency },
            life: Life::default(),
            hold_first: Duration::ZERO,
            until: Until::default(),
            grace: Duration::from_secs(5),
        }
    }

    /// The shares of `workers` workers: connections, rate and concurrency are divided, times are not.
    ///
    /// With fewer connections, or less concurrency, than workers, some get a share of no connections.
    pub fn split(&self, workers: u32) -> Vec<Plan> {
        let room = u64::from(self.schedule.room());
        let most = self.until.connections.map_or(room, |n| n.min(room));
        let busy = most.clamp(1, u64::from(workers.max(1)));
        let busy_shares = (0..busy).map(|i| Plan {
            schedule: self.schedule.share(busy, i, share(room, busy, i) as u32),
            until: Until { connections: self.until.connections.map(|n| share(n, busy, i)), ..self.until },
            ..self.clone()
        });
        let idle = Plan {
            schedule: Schedule::Closed { concurrency: 0 },
            until: Until { connections: Some(0), ..self.until },
            ..self.clone()
        };
        busy_shares.chain(std::iter::repeat_n(idle, workers as usize)).take(workers.max(1) as usize).collect()
    }
}

/// The `index`-th of `shares` nearly equal shares of `total`.
fn share(total: u64, shares: u64, index: u64) -> u64 {
    total / shares + u64::from(index < total % shares)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target() -> SocketAddr {
        "10.0.0.2:80".parse().unwrap()
    }

    proptest! {
        #[test]
        fn shares_sum_up_to_the_plan(
            connections in proptest::option::of(0u64..1000),
            concurrency in 1u32..300,
            workers in 0u32..9,
        ) {
            let plan = Plan {
                until: Until { connections, duration: None },
                ..Plan::closed_loop(target(), concurrency)
            };
            let shares = plan.split(workers);
            prop_assert_eq!(shares.len(), workers.max(1) as usize);
            prop_assert_eq!(shares.iter().map(|p| p.schedule.room()).sum::<u32>(), concurrency);
            // A worker without connections that are asked for is idle; one without concurrency must be.
            let sum: u64 = shares.iter().filter_map(|p| p.until.connections).sum();
            prop_assert_eq!(sum, connections.unwrap_or(0));
            for share in &shares {
                prop_assert!(share.schedule.room() > 0 || share.until.connections == Some(0));
            }
        }
    }

    #[test]
    fn the_shares_of_a_rate_are_the_rate_with_seeds_of_their_own() {
        let rate = Rate { from: 9.0, to: 90.0, over: Duration::from_secs(1) };
        let schedule = Schedule::Open { rate, spacing: Spacing::Even, offset: 0.0, in_flight: 10, seed: 5 };
        let plan = Plan { schedule, ..Plan::closed_loop(target(), 1) };
        let mut seeds = std::collections::BTreeSet::new();
        let (mut from, mut room) = (0.0, 0);
        for (i, share) in plan.split(3).iter().enumerate() {
            let Schedule::Open { rate, offset, in_flight, seed, .. } = share.schedule else { panic!("{share:?}") };
            assert_eq!(offset, i as f64 / 3.0);
            (from, room) = (from + rate.from, room + in_flight);
            seeds.insert(seed);
        }
        assert_eq!((from, room, seeds.len()), (9.0, 10, 3));
    }
}
