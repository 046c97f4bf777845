//! The report as a table for people.

use super::super::progress::people_time;
use super::{Micros, RateReport, Report, SearchReport};
use crate::load::Span;
use crate::load::flood::FloodReport;
use crate::stats::{LedgerCheck, Pool};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use std::fmt;
use strum::IntoEnumIterator;

impl Report {
    /// The rows of the table, name and value.
    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let mut rows: Vec<(String, String)> = vec![
            ("target".into(), self.target.clone()),
            ("verdict".into(), format!("{}: {}", self.verdict.bound, self.verdict.because)),
        ];
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
        rows.extend(self.latency_rows());
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

    fn latency_rows(&self) -> impl Iterator<Item = (String, String)> {
        // Without times at which connections are to start, they start when they do.
        let closed_loop = self.rate.is_none() && self.search.is_none();
        let spans =
            Span::iter().filter(move |span| !closed_loop || !matches!(span, Span::Start | Span::HandshakeFromSyn));
        let measured = spans.filter_map(|span| Some((span, self.latency_us.get(span.key())?)));
        measured.map(|(span, m)| (format!("{}  p50 / p90 / p99 / p99.9 / max", span.title()), percentiles(m)))
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

fn flood_rows(flood: &FloodReport) -> Vec<(String, String)> {
    let rates = format!(
        "{} asked {}/s, sent {}/s",
        flood.kind,
        grouped(flood.asked_per_second as u64),
        grouped(flood.per_second as u64)
    );
    let frames = format!("{} / {}", grouped(flood.sent), grouped(flood.held_back));
    vec![
        ("flood".into(), rates),
        ("flood frames sent / held back".into(), frames),
        ("flood frames answered".into(), grouped(flood.answers)),
    ]
}

fn percentiles(m: &Micros) -> String {
    [m.p50, m.p90, m.p99, m.p999, m.max].map(|us| people_time((us * 1e3) as u64)).join(" / ")
}

fn left(pool: &Pool) -> String {
    format!("{} of {}", grouped(pool.limit.saturating_sub(pool.used)), grouped(pool.limit))
}

/// The table for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        for (name, value) in self.rows() {
            table.add_row([name, value]);
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

#[cfg(test)]
mod tests {
    use super::super::tests::results;
    use super::super::{Report, Setting};
    use crate::load::{Goal, Search};
    use crate::stats::Snapshot;
    use crate::time::Duration;

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
    fn the_table_says_when_ports_ran_out_and_why_an_answer_was_bad() {
        let mut r = results();
        let table = |r: &_| Report::new("t", r, &Snapshot::default(), Setting::default()).to_string();
        assert!(!table(&r).contains("local ports") && !table(&r).contains("bad answer"), "{}", table(&r));
        (r.waits.ports, r.waits.port_time) = (1_234, Duration::from_millis(1_500));
        assert!(table(&r).contains("1,234 times, 1.500 s"), "{}", table(&r));
        (r.waits.table, r.waits.table_time) = (7, Duration::from_millis(250));
        assert!(table(&r).contains("7 times, 0.250 s: more --max-connections"), "{}", table(&r));
        (r.counts.bad_answer, r.bad_answer) = (3, Some("no HTTP response"));
        assert!(table(&r).contains("0 / 3 (no HTTP response)"), "{}", table(&r));
    }
}
