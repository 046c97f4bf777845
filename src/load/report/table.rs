//! The report as a table for people.

use super::super::progress::people_time;
use super::{Micros, RateReport, Report, SearchReport};
use crate::load::Span;
use crate::load::flood::FloodReport;
use crate::load::statuses::Statuses;
use crate::stats::{LedgerCheck, Pool};
use comfy_table::presets::{NOTHING, UTF8_FULL_CONDENSED};
use comfy_table::{CellAlignment, ContentArrangement, Table, TableStyle};
use std::fmt;
use strum::IntoEnumIterator;

/// No line is longer, so that a terminal of 80 columns shows each whole.
const WIDTH: u16 = 80;

/// What is told of a latency's distribution.
pub(super) const PERCENTILES: [&str; 5] = ["p50", "p90", "p99", "p99.9", "max"];

impl Report {
    /// The rows of the table, name and value. The verdict stands above it, the latencies below.
    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let mut rows: Vec<(String, String)> = vec![("target".into(), self.target.clone())];
        rows.extend(self.rate.iter().flat_map(rate_rows));
        rows.extend(self.search.iter().flat_map(search_rows));
        rows.extend(self.flood.iter().flat_map(flood_rows));
        rows.extend([
            ("opened".into(), grouped(self.opened)),
            ("established".into(), grouped(self.established)),
            ("closed".into(), grouped(self.closed)),
        ]);
        rows.extend(self.failure_rows());
        rows.extend([
            ("seconds".into(), format!("{:.3}", self.seconds)),
            ("connections per second".into(), grouped(self.connections_per_second.round() as u64)),
        ]);
        rows.extend(self.talk_rows());
        rows.extend(self.http.iter().flat_map(http_rows));
        rows.extend(self.limit_rows());
        rows.extend(self.drivers.iter().map(|driver| ("driver".into(), driver.clone())));
        let (exact, broken) = (self.ledger_exact, self.ledger_broken.clone());
        rows.push(("ledger".into(), LedgerCheck { exact, broken }.to_string()));
        if self.interrupted {
            rows.push(("ended by".into(), "a signal".into()));
        }
        rows.extend(self.stopped_by.iter().map(|reason| ("ended by".into(), reason.clone())));
        rows
    }

    /// Nothing where a life says nothing.
    fn talk_rows(&self) -> Vec<(String, String)> {
        let talk = &self.talk;
        if !talk.is_any() {
            return Vec::new();
        }
        let (sent, received) = (octets(talk.octets_sent_per_second), octets(talk.octets_received_per_second));
        vec![
            ("answers per second".into(), grouped(talk.answers_per_second.round() as u64)),
            ("text sent / received per second".into(), format!("{sent} / {received}")),
        ]
    }

    fn failure_rows(&self) -> Vec<(String, String)> {
        let f = &self.failed;
        let three = format!("{} / {} / {}", grouped(f.refused), grouped(f.timeout), grouped(f.reset));
        let mut rows = vec![("refused / timeout / reset".into(), three)];
        if f.cut_short + f.bad_answer > 0 {
            let why = self.bad_answer.map_or(String::new(), |why| format!(" ({why})"));
            let two = format!("{} / {}{why}", grouped(f.cut_short), grouped(f.bad_answer));
            rows.push(("cut short / bad answer".into(), two));
        }
        rows.push(("unfinished".into(), grouped(self.unfinished)));
        rows
    }

    /// Each span that was measured, and its [`PERCENTILES`].
    pub(super) fn latency_rows(&self) -> impl Iterator<Item = (&'static str, [String; 5])> {
        // Without times at which connections are to start, they start when they do.
        let closed_loop = self.rate.is_none() && self.search.is_none();
        let spans =
            Span::iter().filter(move |span| !closed_loop || !matches!(span, Span::Start | Span::HandshakeFromSyn));
        let measured = spans.filter_map(|span| Some((span, self.latency_us.get(span.key())?)));
        measured.map(|(span, m)| (span.title(), percentiles(m)))
    }

    fn limit_rows(&self) -> Vec<(String, String)> {
        let l = &self.limits;
        let mut rows = vec![
            (
                "frames sent / received".into(),
                format!("{} / {}", grouped(self.frames.sent), grouped(self.frames.received)),
            ),
            ("frames per connection".into(), format!("{:.2}", self.frames_per_connection)),
            ("retransmitted".into(), grouped(self.retransmitted)),
            ("losses found by ACKs".into(), grouped(self.fast_retransmits)),
        ];
        if let (Some(ceiling), Some(share)) = (l.frame_ceiling, l.frame_ceiling_share) {
            let text = format!("{:.1} % of {}/s", share * 100.0, grouped(ceiling as u64));
            rows.push(("share of the frame ceiling".into(), text));
        }
        rows.push(("ports left".into(), left(&l.ports)));
        rows.push(("TIME-WAIT entries left".into(), left(&l.time_wait)));
        let busy: Vec<String> = l.busy.iter().map(|share| format!("{:.0} %", share * 100.0)).collect();
        rows.push(("workers busy".into(), busy.join(", ")));
        let waits = [
            ("waited for local ports", &self.port_waits, "--address"),
            ("waited for the table of connections", &self.table_waits, "--max-connections"),
        ];
        for (what, waits, flag) in waits.into_iter().filter(|(_, waits, _)| waits.count > 0) {
            let text = format!("{} times, {:.3} s: more {flag} would help", grouped(waits.count), waits.seconds);
            rows.push((what.into(), text));
        }
        rows
    }
}

fn rate_rows(rate: &RateReport) -> Vec<(String, String)> {
    let asked = if rate.asked_from == rate.asked_to {
        format!("{}/s", grouped(rate.asked_to as u64))
    } else {
        format!("{} to {}/s", grouped(rate.asked_from as u64), grouped(rate.asked_to as u64))
    };
    let verdict = if rate.reached { "reached" } else { "NOT REACHED" };
    let mut rows = vec![
        ("rate asked for".into(), format!("{asked}, {verdict}")),
        ("started per second".into(), grouped(rate.started_per_second.round() as u64)),
    ];
    if rate.late + rate.not_started > 0 {
        let text = format!("{} / {}", grouped(rate.late), grouped(rate.not_started));
        rows.push(("started late / never started".into(), text));
    }
    rows
}

fn search_rows(search: &SearchReport) -> Vec<(String, String)> {
    let best = search.best.map_or("none of those tried".into(), |rate| format!("{}/s", grouped(rate as u64)));
    let tried = search.tried.iter().map(|tried| {
        let met = if tried.met { "met" } else { "missed" };
        let p99 = people_time((tried.p99_us * 1e3) as u64);
        let text =
            format!("{met}: {:.2} % went well, p99 {p99}, busy {:.0} %", tried.success * 100.0, tried.busy * 100.0);
        (format!("  tried {}/s", grouped(tried.rate as u64)), text)
    });
    let (well, slo) = (search.success * 100.0, people_time((search.slo_us * 1e3) as u64));
    let goal = format!("{well:.1} % well, p99 at most {slo}");
    [("goal of the search".into(), goal), ("highest rate".into(), best)].into_iter().chain(tried).collect()
}

/// The second row says what wrk(1) says in these words.
fn http_rows(http: &Statuses) -> Vec<(String, String)> {
    let classes = [http.successful, http.redirections, http.client_errors, http.server_errors];
    let mut rows = vec![("HTTP 2xx / 3xx / 4xx / 5xx".into(), classes.map(grouped).join(" / "))];
    if let Some(first) = http.first_error.get() {
        let text = format!("{}, the first of them {first}: bad answers", grouped(http.errors()));
        rows.push(("Non-2xx or 3xx responses".into(), text));
    }
    rows
}

fn flood_rows(flood: &FloodReport) -> Vec<(String, String)> {
    let rates = format!(
        "{} asked {}/s, sent {}/s",
        flood.kind,
        grouped(flood.asked_per_second as u64),
        grouped(flood.per_second as u64)
    );
    let frames = format!("{} / {}", grouped(flood.sent), grouped(flood.held_back));
    let answers: Vec<_> = flood.answers.map(grouped).into_iter().chain(flood.why_none.clone()).collect();
    vec![
        ("flood".into(), rates),
        ("flood frames sent / held back".into(), frames),
        ("flood frames answered".into(), answers.join(": ")),
    ]
}

fn percentiles(m: &Micros) -> [String; 5] {
    [m.p50, m.p90, m.p99, m.p999, m.max].map(|us| people_time((us * 1e3) as u64))
}

fn left(pool: &Pool) -> String {
    format!("{} of {}", grouped(pool.limit.saturating_sub(pool.used)), grouped(pool.limit))
}

/// For people: the verdict, the numbers, and how long things took.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut verdict = within_width(NOTHING);
        verdict.add_row([format!("{}: {}", self.verdict.bound, self.verdict.because)]);
        if let Some(column) = verdict.column_mut(0) {
            column.set_padding((0, 0));
        }
        writeln!(f, "{}\n", verdict.trim_fmt())?;
        let mut numbers = within_width(UTF8_FULL_CONDENSED);
        self.rows().into_iter().for_each(|(name, value)| {
            numbers.add_row([name, value]);
        });
        write!(f, "{numbers}")?;
        let mut latencies = within_width(UTF8_FULL_CONDENSED);
        latencies.set_header(std::iter::once("latency").chain(PERCENTILES));
        self.latency_rows().for_each(|(span, percentiles)| {
            latencies.add_row(std::iter::once(span.to_string()).chain(percentiles));
        });
        latencies.column_iter_mut().skip(1).for_each(|column| {
            column.set_cell_alignment(CellAlignment::Right);
        });
        if latencies.is_empty() { Ok(()) } else { write!(f, "\n{latencies}") }
    }
}

/// An empty table that breaks what is too long for it.
fn within_width(style: TableStyle) -> Table {
    let mut table = Table::new();
    table.load_style(style).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table
}

/// Octets as people read them: `1.50 MiB`.
pub(super) fn octets(octets: f64) -> String {
    indicatif::BinaryBytes(octets.round() as u64).to_string()
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(n: u64) -> String {
    indicatif::HumanCount(n).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::tests::results;
    use super::super::{RateAsked, Report, Setting};
    use crate::load::{Goal, Search, Span, Talk, Timeline};
    use crate::stats::Snapshot;
    use crate::time::{Duration, Instant};
    use strum::IntoEnumIterator;

    #[test]
    fn a_search_is_reported_with_its_goal() {
        let mut report = Report::new("t", &results(), &Snapshot::default(), Setting::default());
        let goal = Goal { success: 0.999, slo: Duration::from_millis(5) };
        report.searched(&Search::new(1e3, 1e4, goal));
        let row = report.rows().into_iter().find(|(name, _)| name == "goal of the search").unwrap();
        assert_eq!(row.1, "99.9 % well, p99 at most 5.0 ms");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["search"]["success"], &json["search"]["slo_us"]), (&0.999.into(), &5_000.0.into()));
    }

    #[test]
    fn no_line_is_wider_than_a_terminal_of_80_columns() {
        let mut r = results();
        for span in Span::iter() {
            [1, 123_456, 59_999_999].into_iter().for_each(|us| r.latencies.record(span, Duration::from_micros(us)));
        }
        let rate = Some(RateAsked { from: 1e6, to: 9e6, seed: u64::MAX });
        let setting = Setting { rate, frame_ceiling: Some(14_880_952.0), ..Setting::default() };
        let mut report =
            Report::new("[2001:db8:1111:2222:3333:4444:5555:6666]:65535", &r, &Snapshot::default(), setting);
        report.drivers = vec!["queue 0: a driver that has very much to say of what it got from the kernel".into()];
        report.stopped_by = Some("something that takes more than one line to be told at all, with its cause".into());
        report.verdict.because = "because of a reason that is longer than what a terminal of 80 columns holds".into();
        let table = report.to_string();
        let widest = table.lines().map(|line| line.chars().count()).max();
        assert_eq!(widest, Some(80), "{table}");
        assert!(table.starts_with(&report.verdict.bound.to_string()), "the verdict is first: {table}");
        for span in Span::iter() {
            assert!(table.lines().any(|l| l.contains(span.title()) && l.trim_end().ends_with("60.0 s │")), "{table}");
        }
    }

    #[test]
    fn answers_and_text_are_told_where_there_are_any() {
        let mut r = results();
        let report = |r: &_| Report::new("t", r, &Snapshot::default(), Setting::default());
        let rows =
            |r: &_| report(r).rows().into_iter().filter(|(name, _)| name.contains("text") || name.contains("answers"));
        assert_eq!(rows(&r).count(), 0);
        r.talk = Talk { answers: 600, octets_sent: 1 << 20, octets_received: 3 << 20 };
        r.talk_measured = Talk { answers: 500, octets_sent: 512 << 10, octets_received: 2 << 20 };
        let told: Vec<String> = rows(&r).map(|(_, value)| value).collect();
        assert_eq!(told, ["1,000", "1.00 MiB / 4.00 MiB"], "in half a second");
        let json = serde_json::to_value(report(&r)).unwrap();
        let expected = serde_json::json!({
            "answers": 600, "octets_sent": 1 << 20, "octets_received": 3 << 20, "answers_per_second": 1000.0,
            "octets_sent_per_second": (1 << 20) as f64, "octets_received_per_second": (4 << 20) as f64,
        });
        assert_eq!(json["talk"], expected);
        let page = report(&r).page(&r.latencies, &Timeline::new(Duration::from_millis(100))).unwrap();
        assert!(page.contains("answers / s") && page.contains("4.00 MiB"), "{page}");
    }

    #[test]
    fn statuses_are_told_where_there_were_responses_and_errors_apart() {
        let mut r = results();
        let report = |r: &_| Report::new("t", r, &Snapshot::default(), Setting::default());
        assert!(report(&r).http.is_none() && !report(&r).to_string().contains("HTTP"));
        r.statuses.enter(200, Instant::ZERO);
        let table = report(&r).to_string();
        assert!(table.contains("1 / 0 / 0 / 0") && !table.contains("Non-2xx"), "{table}");
        for error in [404, 404, 503] {
            r.statuses.enter(error, Instant::ZERO);
        }
        let table = report(&r).to_string();
        assert!(table.contains("1 / 0 / 2 / 1"), "{table}");
        assert!(table.contains("Non-2xx or 3xx responses") && table.contains("3, the first of them 404"), "{table}");
        let json = serde_json::to_value(report(&r)).unwrap();
        assert_eq!(json["http"], serde_json::json!({"2xx": 1, "3xx": 0, "4xx": 2, "5xx": 1, "first_error": 404}));
    }

    #[test]
    fn the_table_says_when_ports_ran_out_and_why_an_answer_was_bad() {
        let mut r = results();
        let report = |r: &_| Report::new("t", r, &Snapshot::default(), Setting::default());
        let table =
            |r: &_| report(r).rows().into_iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>();
        assert!(!table(&r).contains("local ports") && !table(&r).contains("bad answer"), "{}", table(&r));
        (r.waits.ports, r.waits.port_time) = (1_234, Duration::from_millis(1_500));
        assert!(table(&r).contains("1,234 times, 1.500 s"), "{}", table(&r));
        (r.waits.table, r.waits.table_time) = (7, Duration::from_millis(250));
        assert!(table(&r).contains("7 times, 0.250 s: more --max-connections"), "{}", table(&r));
        r.counts.bad_answer = 3;
        r.bad_answer.note(Instant::ZERO, "no HTTP response");
        assert!(table(&r).contains("0 / 3 (no HTTP response)"), "{}", table(&r));
    }
}
