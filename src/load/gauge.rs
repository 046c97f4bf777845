//! What a worker shows of itself while it runs.

use super::results::{Counts, Waits};
use crossbeam::utils::CachePadded;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What one worker publishes ten times a second: never touched for a packet or a connection.
///
/// The sums are stored one by one, so that a reader may see some of this turn and some of the last one: good for a
/// line on a terminal and for curves, not for accounts.
#[derive(Debug, Default)]
pub struct Gauge(CachePadded<Cells>);

#[derive(Debug, Default)]
struct Cells {
    opened: AtomicU64,
    established: AtomicU64,
    closed: AtomicU64,
    refused: AtomicU64,
    timeout: AtomicU64,
    reset: AtomicU64,
    other_failures: AtomicU64,
    over: AtomicU64,
    late: AtomicU64,
    p99_ns: AtomicU64,
    waiting_for_port: AtomicBool,
    measured: AtomicBool,
}

impl Gauge {
    /// Stores the sums.
    pub fn publish(&self, counts: &Counts, waits: &Waits, p99_ns: u64, waiting_for_port: bool) {
        for (cell, value) in [
            (&self.0.opened, counts.opened),
            (&self.0.established, counts.established),
            (&self.0.closed, counts.closed),
            (&self.0.refused, counts.refused),
            (&self.0.timeout, counts.timeout),
            (&self.0.reset, counts.reset),
            (&self.0.other_failures, counts.cut_short + counts.bad_answer),
            (&self.0.over, counts.over()),
            (&self.0.late, waits.late),
            (&self.0.p99_ns, p99_ns),
        ] {
            cell.store(value, Ordering::Relaxed);
        }
        self.0.waiting_for_port.store(waiting_for_port, Ordering::Relaxed);
    }

    /// The measured time is over.
    pub fn measured(&self) {
        self.0.measured.store(true, Ordering::Relaxed);
    }

    /// Whether the measured time is over.
    pub fn is_measured(&self) -> bool {
        self.0.measured.load(Ordering::Relaxed)
    }
}

/// The sums of all workers at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Connections asked for.
    pub opened: u64,
    /// Of those, how many reached ESTABLISHED.
    pub established: u64,
    /// Of those, how many went well to their end.
    pub closed: u64,
    /// Refused by the peer.
    pub refused: u64,
    /// Given up without an answer.
    pub timeout: u64,
    /// Reset by the peer.
    pub reset: u64,
    /// Cut short, or with a bad answer.
    pub other_failures: u64,
    /// Ended in any way.
    pub over: u64,
    /// Started late.
    pub late: u64,
    /// The worst worker's, of the last second.
    pub p99_ns: u64,
    /// One of them waits for a local port.
    pub waiting_for_port: bool,
}

impl Sums {
    /// What the workers have published.
    pub fn of(gauges: &[Arc<Gauge>]) -> Sums {
        let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        gauges.iter().map(|gauge| &gauge.0).fold(Sums::default(), |sum, cells| Sums {
            opened: sum.opened + load(&cells.opened),
            established: sum.established + load(&cells.established),
            closed: sum.closed + load(&cells.closed),
            refused: sum.refused + load(&cells.refused),
            timeout: sum.timeout + load(&cells.timeout),
            reset: sum.reset + load(&cells.reset),
            other_failures: sum.other_failures + load(&cells.other_failures),
            over: sum.over + load(&cells.over),
            late: sum.late + load(&cells.late),
            p99_ns: sum.p99_ns.max(load(&cells.p99_ns)),
            waiting_for_port: sum.waiting_for_port || cells.waiting_for_port.load(Ordering::Relaxed),
        })
    }

    /// Connections that failed.
    pub fn failed(&self) -> u64 {
        self.refused + self.timeout + self.reset + self.other_failures
    }

    /// Connections under way.
    pub fn in_flight(&self) -> u64 {
        self.opened.saturating_sub(self.over)
    }
}
