//! How a run went over time: samples of sums, in bounded memory however long it takes.

use super::gauge::Sums;
use crate::stats::Snapshot;
use crate::tcp::State;
use crate::time::Duration;
use serde::Serialize;

/// Samples kept at the most; then every second one goes, and they are taken half as often.
const MOST: usize = 600;

/// The sums at one time, and what the stack held then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds since the start.
    pub at: f64,
    /// Connections asked for until then.
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
    /// Started late.
    pub late: u64,
    /// 99th percentile of the last second, in microseconds.
    pub p99_us: f64,
    /// Connections in SYN-SENT then.
    pub syn_sent: u64,
    /// In ESTABLISHED.
    pub standing: u64,
    /// Between the first FIN and the end.
    pub closing: u64,
    /// TIME-WAIT entries.
    pub time_wait: u64,
    /// Frames sent until then.
    pub frames_sent: u64,
    /// Frames received until then.
    pub frames_received: u64,
}

impl Sample {
    /// What was published, and a snapshot if there is one.
    pub fn new(at: Duration, sums: &Sums, snapshot: Option<&Snapshot>) -> Self {
        let of = |states: &[State]| -> u64 {
            snapshot.map_or(0, |s| states.iter().filter_map(|state| s.states.get(state.key())).sum())
        };
        Sample {
            at: at.as_secs_f64(),
            opened: sums.opened,
            established: sums.established,
            closed: sums.closed,
            refused: sums.refused,
            timeout: sums.timeout,
            reset: sums.reset,
            other_failures: sums.other_failures,
            late: sums.late,
            p99_us: sums.p99_ns as f64 / 1e3,
            syn_sent: of(&[State::SynSent, State::SynReceived]),
            standing: of(&[State::Established]),
            closing: of(&[State::FinWait1, State::FinWait2, State::Closing, State::CloseWait, State::LastAck]),
            time_wait: of(&[State::TimeWait]),
            frames_sent: snapshot.map_or(0, |s| s.frames.sent),
            frames_received: snapshot.map_or(0, |s| s.frames.received),
        }
    }
}

/// Samples in the order of time.
#[derive(Clone, Debug)]
pub struct Timeline {
    samples: Vec<Sample>,
    every: Duration,
}

impl Timeline {
    /// An empty one, to be filled about this often at first.
    pub fn new(every: Duration) -> Self {
        Timeline { samples: Vec::new(), every }
    }

    /// Whether a sample at this time is wanted.
    pub fn wants(&self, at: Duration) -> bool {
        let last = self.samples.last().map_or(0.0, |sample| sample.at);
        // Redraws are not exact: half an interval's leeway.
        at.as_secs_f64() >= last + self.every.as_secs_f64() * 0.95
    }

    /// Appends a sample. As the sums go on growing, leaving samples out loses no connection.
    pub fn push(&mut self, sample: Sample) {
        self.samples.push(sample);
        if self.samples.len() < MOST {
            return;
        }
        let pairs = self.samples.chunks(2).map(|pair| {
            let last = pair[pair.len() - 1];
            Sample { p99_us: pair.iter().map(|s| s.p99_us).fold(0.0, f64::max), ..last }
        });
        self.samples = pairs.collect();
        self.every *= 2;
    }

    /// The samples.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_takes_no_more_memory_and_loses_no_connection() {
        let mut timeline = Timeline::new(Duration::from_millis(100));
        let mut worst = 0.0f64;
        for i in 1..=100_000u64 {
            let at = Duration::from_millis(100 * i);
            if timeline.wants(at) {
                let p99_ns = i * 7_919 % 1_000_003;
                worst = worst.max(p99_ns as f64 / 1e3);
                let sums = Sums { opened: i, closed: i, p99_ns, ..Sums::default() };
                timeline.push(Sample::new(at, &sums, None));
            }
        }
        let samples = timeline.samples();
        assert!((MOST / 2..MOST).contains(&samples.len()), "{}", samples.len());
        assert!(samples.is_sorted_by(|a, b| a.at < b.at && a.closed < b.closed));
        assert!(samples.last().unwrap().closed > 99_000);
        assert_eq!(samples.iter().map(|s| s.p99_us).fold(0.0, f64::max), worst, "a peak stays");
    }
}
