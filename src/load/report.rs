//! What a run says at its end: one JSON object, or a table for people.

use super::results::Results;
use crate::stats::{LedgerCheck, Snapshot};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt;

/// A run's report. Counts are of connections unless they say otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The peer.
    pub target: String,
    /// Asked for; the sum of `closed`, `unfinished` and all of `failed`.
    pub opened: u64,
    /// Of those, how many reached ESTABLISHED.
    pub established: u64,
    /// Both FINs sent and acknowledged.
    pub closed: u64,
    /// Failed, by kind.
    pub failed: Failed,
    /// Still under way when the run ended, aborted by us.
    pub unfinished: u64,
    /// The measured time: until no more were started (a run by duration), or until the last one was over.
    pub seconds: f64,
    /// Connections closed within the measured time, divided by it.
    pub connections_per_second: f64,
    /// From the connect call to ESTABLISHED.
    pub handshake_us: HandshakeMicros,
    /// Frames of all kinds, ARP among them.
    pub frames: FrameCounts,
    /// Frames sent and received, divided by the connections that are over.
    pub frames_per_connection: f64,
    /// Segments sent again.
    pub retransmitted: u64,
    /// When no local port was free.
    pub port_waits: PortWaits,
    /// What each worker's driver got.
    pub drivers: Vec<String>,
    /// Whether the run was ended by a signal.
    pub interrupted: bool,
    /// Why the run could not go on, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
    /// Whether every frame, connection and chunk is accounted for.
    pub ledger_exact: bool,
    /// A sentence for each law of the ledger that does not hold.
    pub ledger_broken: Vec<String>,
}

/// Failed connections, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// The peer answered the SYN with a RST.
    pub refused: u64,
    /// No answer, to the SYN or later.
    pub timeout: u64,
    /// Reset by the peer after the handshake.
    pub reset: u64,
}

/// Handshake latency in microseconds; all zero when no handshake was completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct HandshakeMicros {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// Frames of all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FrameCounts {
    /// To the tx rings.
    pub sent: u64,
    /// From the rx rings.
    pub received: u64,
}

/// When no local port was free. A run that waits much measures its own ports: give it more addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PortWaits {
    /// How often.
    pub count: u64,
    /// How long connections were held back, summed over workers.
    pub seconds: f64,
}

impl HandshakeMicros {
    fn of(ns: &Histogram<u64>) -> Self {
        let at = |quantile| ns.value_at_quantile(quantile);
        HandshakeMicros {
            p50: micros(at(0.5)),
            p90: micros(at(0.9)),
            p99: micros(at(0.99)),
            p999: micros(at(0.999)),
            max: micros(ns.max()),
        }
    }
}

impl Report {
    /// The report of a run against `target` from its merged results and the merged last snapshot of its workers.
    pub fn new(target: impl fmt::Display, results: &Results, snapshot: &Snapshot, interrupted: bool) -> Self {
        let counts = &results.counts;
        let seconds = results.measured().as_secs_f64();
        let frames = FrameCounts { sent: snapshot.frames.sent, received: snapshot.frames.received };
        Report {
            target: target.to_string(),
            opened: counts.opened,
            established: counts.established,
            closed: counts.closed,
            failed: Failed { refused: counts.refused, timeout: counts.timeout, reset: counts.reset },
            unfinished: counts.unfinished,
            seconds: rounded(seconds, 6),
            connections_per_second: rounded(ratio(results.closed_measured as f64, seconds), 1),
            handshake_us: HandshakeMicros::of(&results.handshake_ns),
            frames,
            frames_per_connection: rounded(ratio((frames.sent + frames.received) as f64, counts.over() as f64), 3),
            retransmitted: snapshot.connections.retransmitted,
            port_waits: PortWaits {
                count: results.port_waits,
                seconds: rounded(results.port_wait_time.as_secs_f64(), 3),
            },
            drivers: snapshot.workers.iter().map(|w| format!("queue {}: {}", w.queue, w.driver)).collect(),
            interrupted,
            stopped_by: results.stopped_by.clone(),
            ledger_exact: snapshot.ledger.exact,
            ledger_broken: snapshot.ledger.broken.clone(),
        }
    }

    /// Whether at least one connection stood, the run could go on, and the ledger is exact.
    pub fn went_well(&self) -> bool {
        self.established > 0 && self.stopped_by.is_none() && self.ledger_exact
    }

    /// The rows of the table, name and value.
    fn rows(&self) -> Vec<(&'static str, String)> {
        let (h, f) = (&self.handshake_us, &self.failed);
        let mut rows = vec![
            ("target", self.target.clone()),
            ("opened", grouped(self.opened)),
            ("established", grouped(self.established)),
            ("closed", grouped(self.closed)),
            (
                "refused / timeout / reset",
                format!("{} / {} / {}", grouped(f.refused), grouped(f.timeout), grouped(f.reset)),
            ),
            ("unfinished", grouped(self.unfinished)),
            ("seconds", format!("{:.3}", self.seconds)),
            ("connections per second", grouped(self.connections_per_second.round() as u64)),
            ("handshake p50 / p90 / p99 µs", format!("{:.1} / {:.1} / {:.1}", h.p50, h.p90, h.p99)),
            ("handshake p99.9 / max µs", format!("{:.1} / {:.1}", h.p999, h.max)),
            ("frames sent / received", format!("{} / {}", grouped(self.frames.sent), grouped(self.frames.received))),
            ("frames per connection", format!("{:.2}", self.frames_per_connection)),
            ("retransmitted", grouped(self.retransmitted)),
        ];
        if self.port_waits.count > 0 {
            let waits = &self.port_waits;
            let text = format!("{} times, {:.3} s: more --address would help", grouped(waits.count), waits.seconds);
            rows.push(("waited for local ports", text));
        }
        rows.extend(self.drivers.iter().map(|driver| ("driver", driver.clone())));
        let (exact, broken) = (self.ledger_exact, self.ledger_broken.clone());
        rows.push(("ledger", LedgerCheck { exact, broken }.to_string()));
        if self.interrupted {
            rows.push(("ended by", "a signal".into()));
        }
        if let Some(reason) = &self.stopped_by {
            rows.push(("ended by", reason.clone()));
        }
        rows
    }
}

/// The table for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        for (name, value) in self.rows() {
            table.add_row([name.to_string(), value]);
        }
        if let Some(values) = table.column_mut(1) {
            values.set_cell_alignment(CellAlignment::Right);
        }
        table.fmt(f)
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(n: u64) -> String {
    indicatif::HumanCount(n).to_string()
}

fn micros(ns: u64) -> f64 {
    rounded(ns as f64 / 1e3, 3)
}

/// Zero when there is nothing to divide by.
fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

fn rounded(x: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (x * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ending;
    use crate::time::{Duration, Instant};

    fn results() -> Results {
        let mut r = Results { started: Some(Instant::ZERO), ..Results::default() };
        r.counts.opened = 1_000;
        for i in 1..=990 {
            r.established(Duration::from_micros(i));
            r.counts.end(Ending::Closed);
        }
        (0..7).for_each(|_| r.counts.end(Ending::Refused));
        (0..2).for_each(|_| r.counts.end(Ending::TimedOut));
        r.counts.end(Ending::Reset);
        r.end_measurement(Instant::from_millis(500));
        r
    }

    #[test]
    fn json_has_the_promised_keys_and_sums() {
        let mut snapshot = Snapshot::default();
        (snapshot.frames.sent, snapshot.frames.received) = (4_000, 3_000);
        let json = serde_json::to_value(Report::new("10.0.0.2:80", &results(), &snapshot, false)).unwrap();
        for key in ["opened", "established", "closed", "seconds", "connections_per_second"] {
            assert!(json[key].is_number(), "{key} in {json}");
        }
        for key in ["p50", "p90", "p99", "p999", "max"] {
            assert!(json["handshake_us"][key].is_number(), "{key} in {json}");
        }
        assert_eq!(json["failed"], serde_json::json!({"refused": 7, "timeout": 2, "reset": 1}));
        assert_eq!(json["frames"], serde_json::json!({"sent": 4000, "received": 3000}));
        assert_eq!((&json["connections_per_second"], &json["frames_per_connection"]), (&1980.0.into(), &7.0.into()));
        assert!((json["handshake_us"]["p50"].as_f64().unwrap() - 495.0).abs() < 1.0, "{json}");
        assert!((json["handshake_us"]["max"].as_f64().unwrap() - 990.0).abs() < 1.0, "{json}");
    }

    #[test]
    fn a_run_that_did_nothing_reports_zeros_not_nan() {
        let report = Report::new("10.0.0.2:80", &Results::default(), &Snapshot::default(), true);
        let json = serde_json::to_string(&report).unwrap();
        assert!(!json.contains("null"), "{json}");
        assert_eq!((report.connections_per_second, report.handshake_us.p99), (0.0, 0.0));
    }

    #[test]
    fn the_table_says_when_ports_ran_out() {
        let mut r = results();
        assert!(!Report::new("t", &r, &Snapshot::default(), false).to_string().contains("local ports"));
        (r.port_waits, r.port_wait_time) = (1_234, Duration::from_millis(1_500));
        let table = Report::new("t", &r, &Snapshot::default(), false).to_string();
        assert!(table.contains("1,234 times, 1.500 s"), "{table}");
    }
}
