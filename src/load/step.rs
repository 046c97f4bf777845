//! One step of a search for the highest rate, as a worker lives it.

use super::latency::{histogram, nanos};
use super::results::Ended;
use crate::time::{Duration, Instant};
use crossbeam::channel::Sender;
use hdrhistogram::Histogram;
use std::fmt;

/// Asks a worker to open connections at this rate for this long, and to tell what came of it.
#[derive(Clone, Debug)]
pub struct StepOrder {
    /// Counted from 1.
    pub number: u32,
    /// Connections a second.
    pub rate: f64,
    /// How long they are started.
    pub length: Duration,
    /// How long those under way at the end may still take.
    pub settle: Duration,
    /// Who is told.
    pub outcome: Sender<StepOutcome>,
}

/// What came of a step.
#[derive(Clone)]
pub struct StepOutcome {
    /// Connections whose time came.
    pub intended: u64,
    /// Of those, how many went well.
    pub closed: u64,
    /// How many were started.
    pub started: u64,
    /// From the intended start to the first octet where an answer is awaited, else to the handshake; in nanoseconds.
    pub latency: Histogram<u64>,
    /// How late connections started; in nanoseconds.
    pub lateness: Histogram<u64>,
    /// Whether local ports ran out.
    pub ports_ran_out: bool,
    /// Whether connections waited because as many as allowed were under way.
    pub room_ran_out: bool,
    /// Whether connections waited because the stack's table was full.
    pub table_was_full: bool,
}

/// Without each of the histogram's buckets.
impl fmt::Debug for StepOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StepOutcome { intended, closed, started, ports_ran_out, room_ran_out, table_was_full, .. } = self;
        let [p99_ns, late_ns] = [&self.latency, &self.lateness].map(|ns| ns.value_at_quantile(0.99));
        write!(f, "{started} of {intended} started, {closed} closed, p99 {p99_ns} ns, started {late_ns} ns late, ")?;
        write!(f, "no ports: {ports_ran_out}, no room: {room_ran_out}, table full: {table_was_full}")
    }
}

impl Default for StepOutcome {
    fn default() -> Self {
        StepOutcome {
            intended: 0,
            closed: 0,
            started: 0,
            latency: histogram(),
            lateness: histogram(),
            ports_ran_out: false,
            room_ran_out: false,
            table_was_full: false,
        }
    }
}

impl StepOutcome {
    /// Adds another worker's.
    pub fn merge(&mut self, other: &StepOutcome) {
        self.intended += other.intended;
        self.closed += other.closed;
        self.started += other.started;
        self.latency.add(&other.latency).expect("all of one range");
        self.lateness.add(&other.lateness).expect("all of one range");
        self.ports_ran_out |= other.ports_ran_out;
        self.room_ran_out |= other.room_ran_out;
        self.table_was_full |= other.table_was_full;
    }
}

/// A step under way.
#[derive(Debug)]
pub(super) struct Step {
    pub order: StepOrder,
    outcome: StepOutcome,
    in_flight: u64,
    /// Its time is over, what is under way may end.
    settling: bool,
}

impl Step {
    pub fn new(order: StepOrder) -> Self {
        Step { order, outcome: StepOutcome::default(), in_flight: 0, settling: false }
    }

    pub fn started(&mut self, late: Duration) {
        self.outcome.started += 1;
        self.outcome.lateness.saturating_record(nanos(late));
        self.in_flight += 1;
    }

    pub fn ports_ran_out(&mut self) {
        self.outcome.ports_ran_out = true;
    }

    pub fn room_ran_out(&mut self) {
        self.outcome.room_ran_out = true;
    }

    pub fn table_was_full(&mut self) {
        self.outcome.table_was_full = true;
    }

    pub fn took(&mut self, intended: Instant, now: Instant) {
        self.outcome.latency.saturating_record(nanos(now.since(intended)));
    }

    pub fn ended(&mut self, ended: Ended) {
        self.in_flight -= 1;
        self.outcome.closed += u64::from(ended == Ended::Closed);
    }

    /// Its time is over; so many were never started.
    pub fn settle(&mut self, owed: u64) {
        self.settling = true;
        self.outcome.intended = self.outcome.started + owed;
    }

    /// Whether nothing of it is under way any more.
    pub fn is_settled(&self) -> bool {
        self.settling && self.in_flight == 0
    }

    /// Tells what came of it; whoever asked may be gone.
    pub fn tell(self) {
        let _ = self.order.outcome.try_send(self.outcome);
    }
}
