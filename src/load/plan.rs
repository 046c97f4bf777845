//! What a run is to do.

use crate::time::Duration;
use std::net::SocketAddr;

/// When the next connection is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Closed loop: a connection that is over is replaced at once, so that this many are under way.
    Closed {
        /// Connections under way, at least 1.
        concurrency: u32,
    },
}

/// What a connection does once it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Life {
    /// Closes at once, before the peer does: set-up and teardown alone.
    #[default]
    OpenClose,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The peer.
    pub target: SocketAddr,
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
    /// The shares of `workers` workers: connections and concurrency are divided, times are not.
    ///
    /// With fewer connections, or less concurrency, than workers, some get a share of no connections.
    pub fn split(&self, workers: u32) -> Vec<Plan> {
        let Schedule::Closed { concurrency } = self.schedule;
        let most = self.until.connections.map_or(u64::from(concurrency), |n| n.min(u64::from(concurrency)));
        let busy = most.clamp(1, u64::from(workers.max(1)));
        let busy_shares = (0..busy).map(|i| Plan {
            schedule: Schedule::Closed { concurrency: share(u64::from(concurrency), busy, i) as u32 },
            until: Until { connections: self.until.connections.map(|n| share(n, busy, i)), ..self.until },
            ..*self
        });
        let idle = Plan {
            schedule: Schedule::Closed { concurrency: 0 },
            until: Until { connections: Some(0), ..self.until },
            ..*self
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

    proptest! {
        #[test]
        fn shares_sum_up_to_the_plan(
            connections in proptest::option::of(0u64..1000),
            concurrency in 1u32..300,
            workers in 0u32..9,
        ) {
            let plan = Plan {
                target: "10.0.0.2:80".parse().unwrap(),
                schedule: Schedule::Closed { concurrency },
                life: Life::OpenClose,
                hold_first: Duration::ZERO,
                until: Until { connections, duration: None },
                grace: Duration::from_secs(1),
            };
            let shares = plan.split(workers);
            prop_assert_eq!(shares.len(), workers.max(1) as usize);
            let of = |p: &Plan| { let Schedule::Closed { concurrency } = p.schedule; concurrency };
            prop_assert_eq!(shares.iter().map(of).sum::<u32>(), concurrency);
            // A worker without connections that are asked for is idle; one without concurrency must be.
            let sum: u64 = shares.iter().filter_map(|p| p.until.connections).sum();
            prop_assert_eq!(sum, connections.unwrap_or(0));
            for share in &shares {
                prop_assert!(of(share) > 0 || share.until.connections == Some(0));
            }
        }
    }
}
