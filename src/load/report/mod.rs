//! What a run says at its end: one JSON object, a table for people, or a page.

mod origin;
mod page;
mod plots;
mod table;

use super::flood::FloodReport;
use super::latency::Span;
use super::results::Results;
use super::search::{Goal, Search, Tried};
use super::statuses::Statuses;
use super::verdict::{Evidence, Verdict};
use crate::stats::{Frames, Pool, Snapshot};
use crate::time::Duration;
use hdrhistogram::Histogram;
pub use origin::Origin;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use strum::IntoEnumIterator;
pub(crate) use table::grouped;

/// A run's report. Counts are of connections unless they say otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What it comes from, where that was said: only whoever started the run knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The peer.
    pub target: String,
    /// What bounded the run.
    pub verdict: Verdict,
    /// In an open loop: the rate that was asked for, and what became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateReport>,
    /// What the search for the highest rate found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchReport>,
    /// What flooded the target meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flood: Option<FloodReport>,
    /// Asked for; the sum of `closed`, `unfinished` and all of `failed`.
    pub opened: u64,
    /// Of those, how many reached ESTABLISHED.
    pub established: u64,
    /// Went well to their end.
    pub closed: u64,
    /// Failed, by kind.
    pub failed: Failed,
    /// Still under way when the run ended, aborted by us.
    pub unfinished: u64,
    /// The measured time: until no more were started (a run by duration), or until the last one was over.
    pub seconds: f64,
    /// Connections closed within the measured time, divided by it.
    pub connections_per_second: f64,
    /// What was said on connections, all zero where a life says nothing.
    pub talk: TalkReport,
    /// HTTP responses by the class of their status, where there were any. A status of 400 or more is a bad answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Statuses>,
    /// From the intended start to ESTABLISHED.
    pub handshake_us: Micros,
    /// Every span that was measured, by [`Span::key`].
    pub latency_us: BTreeMap<&'static str, Micros>,
    /// Why the first bad answer was bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bad_answer: Option<&'static str>,
    /// Frames of all kinds, ARP among them.
    pub frames: FrameCounts,
    /// Frames sent and received, divided by the connections that are over.
    pub frames_per_connection: f64,
    /// Segments sent again.
    pub retransmitted: u64,
    /// Flights in which a loss was found by what the target acknowledged, before a time-out.
    pub fast_retransmits: u64,
    /// When no local port was free: give it more addresses.
    pub port_waits: OwnWaits,
    /// When the table of connections was full: give it more `--max-connections`.
    pub table_waits: OwnWaits,
    /// What the generator had left.
    pub limits: Limits,
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

/// The rate that was asked for, and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RateReport {
    /// Connections a second at the start.
    pub asked_from: f64,
    /// At the end of the ramp; the same where there is none.
    pub asked_to: f64,
    /// Of the arrivals.
    pub seed: u64,
    /// Connections whose time came within the measured time.
    pub intended: u64,
    /// Connections started a second.
    pub started_per_second: f64,
    /// Started more than a millisecond late.
    pub late: u64,
    /// Never started: their time came, and the run ended before there was room.
    pub not_started: u64,
    /// How often as many as allowed were under way when one was to start.
    pub room_waits: u64,
    /// Whether it was reached: at least 99 % of the connections asked for went well.
    pub reached: bool,
}

/// What the search for the highest rate found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SearchReport {
    /// The goal: the least part of the connections that must go well.
    pub success: f64,
    /// The goal: what the 99th percentile must stay under, in microseconds.
    pub slo_us: f64,
    /// The highest rate that met the goal, a second.
    pub best: Option<f64>,
    /// Every rate that was tried, in order.
    pub tried: Vec<Tried>,
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
    /// Closed by the peer before they had done all.
    pub cut_short: u64,
    /// The answer was not what was asked for.
    pub bad_answer: u64,
}

impl Failed {
    /// All kinds together.
    pub fn all(&self) -> u64 {
        self.refused + self.timeout + self.reset + self.cut_short + self.bad_answer
    }
}

/// Answers and text: over the whole run, and a second of the measured time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TalkReport {
    /// Answers that came whole, and as they were to be.
    pub answers: u64,
    /// Octets of text sent, without headers and what was sent again.
    pub octets_sent: u64,
    /// Octets of text received.
    pub octets_received: u64,
    /// Answers a second.
    pub answers_per_second: f64,
    /// Octets of text sent a second.
    pub octets_sent_per_second: f64,
    /// Octets of text received a second.
    pub octets_received_per_second: f64,
}

impl TalkReport {
    fn of(results: &Results, seconds: f64) -> Self {
        let (all, measured) = (&results.talk, &results.talk_measured);
        let per_second = |count: u64| rounded(ratio(count as f64, seconds), 1);
        TalkReport {
            answers: all.answers,
            octets_sent: all.octets_sent,
            octets_received: all.octets_received,
            answers_per_second: per_second(measured.answers),
            octets_sent_per_second: per_second(measured.octets_sent),
            octets_received_per_second: per_second(measured.octets_received),
        }
    }

    /// Whether anything was said.
    pub fn is_any(&self) -> bool {
        self.octets_sent + self.octets_received > 0
    }
}

/// A latency in microseconds; all zero when nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Micros {
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
    /// From the rx rings, and from other workers.
    pub received: u64,
    /// Of those that came through the rings, handed to another worker, as it had asked for them; 0 where the NIC's RSS was
    /// foretold.
    pub handed_over: u64,
}

/// When connections could not be started for want of something of our own. A run that waits much measures that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct OwnWaits {
    /// How often.
    pub count: u64,
    /// How long connections were held back, summed over workers.
    pub seconds: f64,
}

impl OwnWaits {
    fn of(count: u64, time: Duration) -> Self {
        OwnWaits { count, seconds: rounded(time.as_secs_f64(), 3) }
    }
}

/// How near the generator was to its own limits within the measured time, and at its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Limits {
    /// Pairs of an address and a port towards the target.
    pub ports: Pool,
    /// TIME-WAIT entries.
    pub time_wait: Pool,
    /// The part of its time in which each worker had something to do.
    pub busy: Vec<f64>,
    /// Frames sent a second, on the average.
    pub frames_sent_per_second: f64,
    /// Frames received a second.
    pub frames_received_per_second: f64,
    /// Frames a second each way that the link and driver can carry, if that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_ceiling: Option<f64>,
    /// The busier way's part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_ceiling_share: Option<f64>,
}

impl Micros {
    fn of(ns: &Histogram<u64>) -> Self {
        let at = |quantile| ns.value_at_quantile(quantile);
        Micros {
            p50: micros(at(0.5)),
            p90: micros(at(0.9)),
            p99: micros(at(0.99)),
            p999: micros(at(0.999)),
            max: micros(ns.max()),
        }
    }
}

/// The rate that was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateAsked {
    /// Connections a second at the start.
    pub from: f64,
    /// At the end of the ramp.
    pub to: f64,
    /// Of the arrivals.
    pub seed: u64,
}

/// What a report is made of besides results and snapshot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setting<'a> {
    /// In an open loop.
    pub rate: Option<RateAsked>,
    /// Frames a second each way that the link and driver can carry.
    pub frame_ceiling: Option<f64>,
    /// Whether a signal ended the run.
    pub interrupted: bool,
    /// The last snapshot within the measured time; `None` where it was too short for one, or nothing came after it.
    pub measured: Option<&'a Snapshot>,
}

impl Limits {
    fn of(results: &Results, snapshot: &Snapshot, setting: Setting<'_>) -> Self {
        let Setting { frame_ceiling, measured, .. } = setting;
        let whole = results.measured().as_secs_f64();
        let busiest = measured.unwrap_or(snapshot);
        let seconds = measured.map_or(whole, |measured| measured.alive_ns() as f64 / 1e9);
        let per_second = |frames: u64| rounded(ratio(frames as f64, seconds), 1);
        let (sent, received) = (per_second(busiest.frames.sent), per_second(busiest.frames.received));
        Limits {
            ports: results.tuples.ports,
            time_wait: results.tuples.time_wait,
            busy: busiest.workers.iter().map(|worker| rounded(worker.busy_share(), 3)).collect(),
            frames_sent_per_second: sent,
            frames_received_per_second: received,
            frame_ceiling,
            frame_ceiling_share: frame_ceiling.map(|ceiling| rounded(ratio(sent.max(received), ceiling), 3)),
        }
    }
}

impl Report {
    /// The report of a run against `target` from its merged results and the merged last snapshot of its workers.
    pub fn new(target: impl fmt::Display, results: &Results, snapshot: &Snapshot, setting: Setting<'_>) -> Self {
        let (counts, waits) = (&results.counts, &results.waits);
        let seconds = results.measured().as_secs_f64();
        let Frames { sent, received, .. } = snapshot.frames;
        let frames = FrameCounts { sent, received, handed_over: snapshot.frames.handed_over() };
        let limits = Limits::of(results, snapshot, setting);
        let evidence = Evidence::of(results, snapshot, setting, &limits);
        let verdict = evidence.judge();
        let spans = Span::iter().filter(|span| !results.latencies.of(*span).is_empty());
        Report {
            origin: None,
            target: target.to_string(),
            rate: setting.rate.map(|asked| RateReport {
                asked_from: asked.from,
                asked_to: asked.to,
                seed: asked.seed,
                intended: counts.opened + waits.not_started,
                started_per_second: rounded(ratio(results.opened_measured as f64, seconds), 1),
                late: waits.late,
                not_started: waits.not_started,
                room_waits: waits.room,
                reached: verdict.bound == super::Bound::RateReached,
            }),
            verdict,
            search: None,
            flood: None,
            opened: counts.opened,
            established: counts.established,
            closed: counts.closed,
            failed: Failed {
                refused: counts.refused,
                timeout: counts.timeout,
                reset: counts.reset,
                cut_short: counts.cut_short,
                bad_answer: counts.bad_answer,
            },
            unfinished: counts.unfinished,
            seconds: rounded(seconds, 6),
            connections_per_second: rounded(ratio(results.closed_measured as f64, seconds), 1),
            talk: TalkReport::of(results, seconds),
            http: Some(results.statuses).filter(|statuses| statuses.all() > 0),
            handshake_us: Micros::of(results.latencies.of(Span::Handshake)),
            latency_us: spans.map(|span| (span.key(), Micros::of(results.latencies.of(span)))).collect(),
            bad_answer: results.bad_answer.get(),
            frames,
            frames_per_connection: rounded(ratio((frames.sent + frames.received) as f64, counts.over() as f64), 3),
            retransmitted: snapshot.connections.retransmitted,
            fast_retransmits: snapshot.connections.fast_retransmits,
            port_waits: OwnWaits::of(waits.ports, waits.port_time),
            table_waits: OwnWaits::of(waits.table, waits.table_time),
            limits,
            drivers: snapshot.workers.iter().map(|w| format!("queue {}: {}", w.queue, w.driver)).collect(),
            interrupted: setting.interrupted,
            stopped_by: results.stopped_by.clone(),
            ledger_exact: snapshot.ledger.exact,
            ledger_broken: snapshot.ledger.broken.clone(),
        }
    }

    /// Enters what a search found; the verdict is then that of the lowest rate that was too high.
    pub fn searched(&mut self, search: &Search) {
        let Goal { success, slo } = search.goal();
        let (best, tried) = (search.best(), search.tried().to_vec());
        self.search = Some(SearchReport { success, slo_us: micros(slo.as_nanos() as u64), best, tried });
        self.verdict = Verdict::of_search(search);
    }

    /// Whether at least one connection went well, or, where a signal ended the run, stood while none failed; the run could go
    /// on, a search found a rate, and the ledger is exact.
    pub fn went_well(&self) -> bool {
        let found = self.search.as_ref().is_none_or(|search| search.best.is_some());
        let cut_short = self.interrupted && self.established > 0 && self.failed.all() == 0;
        let well = self.closed > 0 || cut_short;
        well && self.stopped_by.is_none() && found && self.ledger_exact
    }
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
    use super::super::results::Ended;
    use super::super::verdict::Bound;
    use super::*;
    use crate::stats::WorkerInfo;
    use crate::time::Instant;

    pub(super) fn results() -> Results {
        let mut r = Results { started: Some(Instant::ZERO), ..Results::default() };
        r.counts.opened = 1_000;
        for i in 1..=990 {
            r.counts.established += 1;
            r.latencies.record(Span::Handshake, Duration::from_micros(i));
            r.counts.end(Ended::Closed);
        }
        (0..7).for_each(|_| r.counts.end(Ended::Refused));
        (0..2).for_each(|_| r.counts.end(Ended::Timeout));
        r.counts.end(Ended::Reset);
        r.end_measurement(Instant::from_millis(500));
        r
    }

    #[test]
    fn json_has_the_promised_keys_and_sums() {
        let mut snapshot = Snapshot::default();
        (snapshot.frames.sent, snapshot.frames.received) = (4_000, 3_000);
        snapshot.frames.handled.insert("handed_over".into(), 5);
        let json = serde_json::to_value(Report::new("10.0.0.2:80", &results(), &snapshot, Setting::default())).unwrap();
        for key in ["opened", "established", "closed", "seconds", "connections_per_second"] {
            assert!(json[key].is_number(), "{key} in {json}");
        }
        for key in ["p50", "p90", "p99", "p999", "max"] {
            assert!(json["handshake_us"][key].is_number(), "{key} in {json}");
        }
        let failed = serde_json::json!({"refused": 7, "timeout": 2, "reset": 1, "cut_short": 0, "bad_answer": 0});
        assert_eq!(json["failed"], failed);
        assert_eq!(json["frames"], serde_json::json!({"sent": 4000, "received": 3000, "handed_over": 5}));
        assert_eq!((&json["connections_per_second"], &json["frames_per_connection"]), (&1980.0.into(), &7.0.into()));
        assert!((json["handshake_us"]["p50"].as_f64().unwrap() - 495.0).abs() < 1.0, "{json}");
        assert!((json["handshake_us"]["max"].as_f64().unwrap() - 990.0).abs() < 1.0, "{json}");
        assert_eq!(json["latency_us"]["handshake"], json["handshake_us"]);
        assert!(json["rate"].is_null(), "a closed loop has no rate: {json}");
    }

    #[test]
    fn a_run_that_did_nothing_reports_zeros_not_nan() {
        let setting = Setting {
            rate: Some(RateAsked { from: 1e3, to: 1e3, seed: 1 }),
            frame_ceiling: Some(1e6),
            interrupted: true,
            measured: None,
        };
        let report = Report::new("10.0.0.2:80", &Results::default(), &Snapshot::default(), setting);
        let json = serde_json::to_string(&report).unwrap();
        assert!(!json.contains("null"), "{json}");
        assert_eq!((report.connections_per_second, report.handshake_us.p99), (0.0, 0.0));
    }

    /// What was under way at the end may take seconds in which nobody is busy.
    #[test]
    fn the_generators_limits_are_those_of_the_measured_time() {
        let snapshot = |frames, busy_ns, alive_ns| {
            let mut snapshot = Snapshot::default();
            (snapshot.frames.sent, snapshot.frames.received) = (frames, frames);
            snapshot.workers.push(WorkerInfo { busy_ns, alive_ns, ..WorkerInfo::default() });
            snapshot
        };
        let (measured, last) = (snapshot(4_800, 480_000_000, 480_000_000), snapshot(5_500, 500_000_000, 5_500_000_000));
        let rate = Some(RateAsked { from: 4e3, to: 4e3, seed: 1 });
        let setting = Setting { rate, frame_ceiling: Some(20_000.0), ..Setting::default() };
        let mut results = results();
        results.waits.not_started = 1_000;
        let report = Report::new("t", &results, &last, Setting { measured: Some(&measured), ..setting });
        let limits = report.limits;
        assert_eq!((limits.busy, limits.frames_sent_per_second), (vec![1.0], 10_000.0));
        assert_eq!((limits.frame_ceiling_share, report.verdict.bound), (Some(0.5), Bound::ClientBound));
        let short = Report::new("t", &results, &last, setting).limits;
        assert_eq!((short.busy, short.frames_sent_per_second), (vec![0.091], 11_000.0), "all there is");
    }

    #[test]
    fn a_run_of_which_all_stood_and_none_went_well_is_bad_unless_a_signal_ended_it() {
        let of = |closed, refused, interrupted| {
            let mut r = Results::default();
            (r.counts.opened, r.counts.established, r.counts.unfinished) = (10, 9, 9 - closed);
            (r.counts.closed, r.counts.refused) = (closed, refused);
            let snapshot = Snapshot::sum([]);
            Report::new("t", &r, &snapshot, Setting { interrupted, ..Setting::default() }).went_well()
        };
        for (closed, refused, interrupted, well) in
            [(0, 0, false, false), (1, 0, false, true), (0, 0, true, true), (0, 1, true, false), (1, 1, false, true)]
        {
            assert_eq!(of(closed, refused, interrupted), well, "{closed} closed, {refused} refused, {interrupted}");
        }
    }

    #[test]
    fn a_rate_that_was_not_reached_is_said() {
        let mut r = results();
        let setting = Setting { rate: Some(RateAsked { from: 2e3, to: 2e3, seed: 1 }), ..Setting::default() };
        let reached = Report::new("t", &r, &Snapshot::default(), setting).rate.unwrap();
        assert!(reached.reached && reached.started_per_second == 2_000.0 && reached.intended == 1_000);
        r.waits.not_started = 100;
        let short = Report::new("t", &r, &Snapshot::default(), setting);
        assert_eq!((short.rate.unwrap().reached, short.rate.unwrap().intended), (false, 1_100));
        assert!(short.to_string().contains("NOT REACHED"), "{short}");
    }
}
