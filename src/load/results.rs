//! What a run has gathered.

use crate::ledger::Ending;
use crate::time::{Duration, Instant};
use hdrhistogram::Histogram;

/// Longest handshake that the histogram tells apart, in nanoseconds: 10 minutes.
const LONGEST_NS: u64 = 600_000_000_000;

/// How many connections got how far. Once a run is over, `opened` is the sum of all the endings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Asked for.
    pub opened: u64,
    /// Of those, how many reached ESTABLISHED.
    pub established: u64,
    /// Ending: both FINs sent and acknowledged.
    pub closed: u64,
    /// Ending: the peer answered the SYN with a RST.
    pub refused: u64,
    /// Ending: no answer, to the SYN or later.
    pub timeout: u64,
    /// Ending: reset by the peer after the handshake.
    pub reset: u64,
    /// Ending: still under way when the run ended, aborted by us.
    pub unfinished: u64,
}

impl Counts {
    /// Connections that are over.
    pub fn over(&self) -> u64 {
        self.closed + self.failed() + self.unfinished
    }

    /// Connections that failed.
    pub fn failed(&self) -> u64 {
        self.refused + self.timeout + self.reset
    }

    /// Enters a connection's one ending.
    pub fn end(&mut self, ending: Ending) {
        match ending {
            Ending::Closed => self.closed += 1,
            Ending::Refused => self.refused += 1,
            Ending::Reset => self.reset += 1,
            Ending::TimedOut => self.timeout += 1,
            Ending::Aborted => self.unfinished += 1,
        }
    }

    fn merge(&mut self, other: &Counts) {
        self.opened += other.opened;
        self.established += other.established;
        self.closed += other.closed;
        self.refused += other.refused;
        self.timeout += other.timeout;
        self.reset += other.reset;
        self.unfinished += other.unfinished;
    }
}

/// What one worker has gathered, or the sum over several.
#[derive(Clone, Debug)]
pub struct Results {
    /// How many connections got how far.
    pub counts: Counts,
    /// From the connect call to ESTABLISHED, in nanoseconds.
    pub handshake_ns: Histogram<u64>,
    /// When the first connection was asked for.
    pub started: Option<Instant>,
    /// The end of the measured time: when no more were started (a run by duration), or the last one was over.
    pub measured_until: Option<Instant>,
    /// Connections closed by then.
    pub closed_measured: u64,
    /// How often no local port was free.
    pub port_waits: u64,
    /// How long connections were held back by that, summed over workers.
    pub port_wait_time: Duration,
    /// Why the run could not go on, if so.
    pub stopped_by: Option<String>,
}

impl Default for Results {
    fn default() -> Self {
        // Three digits; the bounds are constants that the histogram accepts.
        let handshake_ns = Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("constant bounds");
        Results {
            counts: Counts::default(),
            handshake_ns,
            started: None,
            measured_until: None,
            closed_measured: 0,
            port_waits: 0,
            port_wait_time: Duration::ZERO,
            stopped_by: None,
        }
    }
}

impl Results {
    /// Enters a handshake that took this long.
    #[inline]
    pub fn established(&mut self, after: Duration) {
        self.counts.established += 1;
        self.handshake_ns.saturating_record((after.as_nanos() as u64).max(1));
    }

    /// Ends the measured time, once.
    pub fn end_measurement(&mut self, now: Instant) {
        if self.measured_until.is_none() {
            self.measured_until = Some(now);
            self.closed_measured = self.counts.closed;
        }
    }

    /// The measured time.
    pub fn measured(&self) -> Duration {
        match (self.started, self.measured_until) {
            (Some(from), Some(to)) => to.since(from),
            _ => Duration::ZERO,
        }
    }

    /// Adds another worker's results: counts are summed, the measured time becomes the span of both.
    pub fn merge(&mut self, other: Results) {
        self.counts.merge(&other.counts);
        self.handshake_ns.add(&other.handshake_ns).expect("all of one range");
        self.started = [self.started, other.started].into_iter().flatten().min();
        self.measured_until = self.measured_until.max(other.measured_until);
        self.closed_measured += other.closed_measured;
        self.port_waits += other.port_waits;
        self.port_wait_time += other.port_wait_time;
        self.stopped_by = self.stopped_by.take().or(other.stopped_by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    #[test]
    fn every_ending_is_entered_exactly_once() {
        for ending in Ending::iter() {
            let mut counts = Counts { opened: 1, ..Counts::default() };
            counts.end(ending);
            assert_eq!(counts.over(), counts.opened, "{ending}");
        }
    }

    #[test]
    fn merged_results_are_the_sum_over_the_span_of_both() {
        let part = |from, to, latency| {
            let mut r = Results { started: Some(Instant::from_millis(from)), ..Results::default() };
            r.counts.opened = 1;
            r.established(Duration::from_micros(latency));
            r.counts.end(Ending::Closed);
            r.end_measurement(Instant::from_millis(to));
            r
        };
        let mut sum = part(100, 900, 10);
        sum.merge(part(50, 800, 30));
        assert_eq!(sum.measured(), Duration::from_millis(850));
        assert_eq!((sum.counts.opened, sum.counts.over(), sum.closed_measured), (2, 2, 2));
        assert_eq!(sum.handshake_ns.len(), 2);
        assert!(sum.handshake_ns.max() >= 30_000 && sum.handshake_ns.min() <= 10_000);
    }

    #[test]
    fn what_closes_after_the_measured_time_is_counted_but_not_measured() {
        let mut r = Results { started: Some(Instant::ZERO), ..Results::default() };
        r.counts.end(Ending::Closed);
        r.end_measurement(Instant::from_millis(10));
        r.counts.end(Ending::Closed);
        r.end_measurement(Instant::from_millis(500));
        assert_eq!((r.counts.closed, r.closed_measured, r.measured()), (2, 1, Duration::from_millis(10)));
    }
}
