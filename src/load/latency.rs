//! How long things took, each in a histogram of its own.

use crate::time::Duration;
use hdrhistogram::Histogram;
use std::fmt;
use strum::{EnumCount, IntoEnumIterator};

/// The longest time that the histograms tell apart, in nanoseconds: 10 minutes.
const LONGEST_NS: u64 = 600_000_000_000;

/// What is measured of each connection. From the *intended* start where nothing else is said: what had to wait for its turn
/// has waited (no coordinated omission).
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumIter, strum::EnumCount, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Span {
    /// Until the SYN was asked for: how late the generator is.
    Start,
    /// Until ESTABLISHED.
    Handshake,
    /// From the SYN to ESTABLISHED: what the wire and the target take.
    HandshakeFromSyn,
    /// Until the first octet of the peer.
    FirstByte,
    /// From a request to the end of its answer.
    Answer,
    /// From the first FIN (or our RST) to the end.
    Close,
    /// Until all is over, of those that went well.
    Life,
}

impl Span {
    /// Its name in JSON.
    pub fn key(self) -> &'static str {
        self.into()
    }

    /// Its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Span::Start => "start",
            Span::Handshake => "handshake",
            Span::HandshakeFromSyn => "handshake from SYN",
            Span::FirstByte => "first byte",
            Span::Answer => "answer",
            Span::Close => "close",
            Span::Life => "whole life",
        }
    }
}

/// A histogram for each span, in nanoseconds, three digits.
#[derive(Clone)]
pub struct Latencies([Histogram<u64>; Span::COUNT]);

/// How many of each, and their medians: not each of the buckets.
impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = Span::iter().map(|span| (span, self.of(span)));
        f.debug_map().entries(each.map(|(span, h)| (span, (h.len(), h.value_at_quantile(0.5))))).finish()
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Latencies(std::array::from_fn(|_| histogram()))
    }
}

/// An empty histogram of latencies.
pub(super) fn histogram() -> Histogram<u64> {
    // The bounds are constants that the histogram accepts.
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("constant bounds")
}

/// A latency as the histograms take it.
pub(super) fn nanos(latency: Duration) -> u64 {
    (latency.as_nanos() as u64).max(1)
}

impl Latencies {
    /// Enters one.
    #[inline]
    pub fn record(&mut self, span: Span, latency: Duration) {
        self.0[span as usize].saturating_record(nanos(latency));
    }

    /// Those of one span.
    pub fn of(&self, span: Span) -> &Histogram<u64> {
        &self.0[span as usize]
    }

    /// Adds those of another worker.
    pub fn merge(&mut self, other: &Latencies) {
        for span in Span::iter() {
            self.0[span as usize].add(other.of(span)).expect("all of one range");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_span_has_its_own_and_merging_sums_them() {
        let (mut a, mut b) = (Latencies::default(), Latencies::default());
        a.record(Span::Handshake, Duration::from_micros(10));
        b.record(Span::Handshake, Duration::from_micros(30));
        b.record(Span::Life, Duration::from_secs(100_000));
        a.merge(&b);
        assert_eq!(Span::iter().map(|span| a.of(span).len()).collect::<Vec<_>>(), [0, 2, 0, 0, 0, 0, 1]);
        assert!(a.of(Span::Handshake).max() >= 30_000 && a.of(Span::Handshake).min() <= 10_000);
        assert!(a.of(Span::Life).max() >= LONGEST_NS, "longer than the longest counts as the longest");
    }
}
