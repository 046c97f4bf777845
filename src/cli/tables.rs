//! Tables for people.

use crate::stats::{Serving, Snapshot};
use crate::tcp::State;
use crate::time::Duration;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::collections::BTreeMap;
use std::fmt::Write;
use strum::IntoEnumIterator;

/// A snapshot as a page of tables; empty counters are left out, states are not. Sentences are broken to so many columns.
pub(super) fn snapshot(snapshot: &Snapshot, columns: Option<u16>) -> String {
    let mut page = snapshot.serving.as_ref().map(serving).unwrap_or_default();
    let states: Vec<_> = State::iter().filter(|state| *state != State::Closed).collect();
    let states = states.iter().map(|s| (s.rfc_name(), snapshot.states.get(s.key()).copied().unwrap_or(0)));
    section(&mut page, "State", states);
    let c = &snapshot.connections;
    section(
        &mut page,
        "Connections",
        [
            ("opened", c.opened),
            ("passive", c.passive),
            ("active", c.active),
            ("closed", c.closed),
            ("reset by the peer", c.reset),
            ("aborted by us", c.aborted),
            ("refused", c.refused),
            ("timed out", c.timed_out),
            ("of those idle", c.idle),
            ("retransmitted", c.retransmitted),
            ("losses found by ACKs", c.fast_retransmits),
            ("reductions taken back", c.taken_back),
        ],
    );
    let f = &snapshot.frames;
    section(
        &mut page,
        "Frames",
        [
            ("received", f.received),
            ("sent", f.sent),
            ("octets received", f.bytes_received),
            ("octets sent", f.bytes_sent),
        ],
    );
    for (title, map) in [
        ("Of use", &f.handled),
        ("Dropped", &f.dropped),
        ("XDP verdicts", &snapshot.xdp),
        ("Half-open entries", &snapshot.half_open),
        ("TIME-WAIT entries", &snapshot.time_wait),
        ("Refused: pool full, or limit reached", &snapshot.refused),
    ] {
        section(&mut page, title, counted(map));
    }
    defence(&mut page, snapshot, columns);
    let k = &snapshot.kernel;
    let lost = [
        ("dropped", k.rx_dropped),
        ("dropped: rx ring full", k.rx_ring_full),
        ("fill ring found empty", k.rx_fill_ring_empty),
        ("chunks refused", k.rx_invalid_descs),
        ("sent frames refused", k.tx_invalid_descs),
        ("sending stood still", k.tx_stalls),
    ];
    section(&mut page, "Lost by the kernel", lost.into_iter().filter(|(_, count)| *count > 0));
    pools(&mut page, snapshot);
    workers(&mut page, snapshot);
    let b = &snapshot.bytes_per_entry;
    let _ = writeln!(
        page,
        "octets each, all in: half-open {}, connection {}, TIME-WAIT {} (IPv6: {})",
        b.half_open, b.established, b.time_wait, b.time_wait_v6
    );
    page.push_str(&ledger(snapshot, columns));
    page
}

/// One line: what serves, and since when.
fn serving(Serving { interface, since, uptime_seconds }: &Serving) -> String {
    let uptime = humantime::format_duration(Duration::from_secs(*uptime_seconds as u64));
    format!("serving on {interface} for {uptime}, since {since}\n\n")
}

/// The sums of the ledger, a sentence each, and the verdict.
pub(super) fn ledger(snapshot: &Snapshot, columns: Option<u16>) -> String {
    let plea = if snapshot.ledger.exact { "" } else { "; please report this as a bug" };
    let verdict = format!("{}{plea}", snapshot.ledger);
    let said = snapshot.laws().into_iter().map(|law| law.to_string()).chain([verdict]);
    sentences(columns, said.map(|said| ("ledger:", said)))
}

/// Sentences behind a word.
fn sentences(columns: Option<u16>, rows: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if let Some(columns) = columns {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
    }
    for (word, sentence) in rows {
        table.add_row([word.to_string(), sentence]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    if table.is_empty() { String::new() } else { format!("{}\n", table.trim_fmt()) }
}

fn counted(map: &BTreeMap<String, u64>) -> impl Iterator<Item = (&str, u64)> {
    map.iter().filter(|(_, count)| **count > 0).map(|(name, count)| (name.as_str(), *count))
}

fn section<'a>(page: &mut String, title: &str, rows: impl IntoIterator<Item = (&'a str, u64)>) {
    let mut table = new_table([title, ""]);
    for (name, count) in rows {
        table.add_row([name.to_string(), count.to_string()]);
    }
    finish(page, table, 1);
}

/// Where the defence stands and why, and what it has done.
fn defence(page: &mut String, snapshot: &Snapshot, columns: Option<u16>) {
    let d = &snapshot.defence;
    section(page, "SYN cookies", counted(&d.cookies));
    section(page, "SYN budgets of prefixes", counted(&d.budgets));
    let mut table = new_table(["SYN defence at", "workers", "seconds"]);
    for (step, workers) in &d.workers_at {
        let ms = d.ms_at.get(step).copied().unwrap_or(0);
        table.add_row([step.clone(), workers.to_string(), format!("{:.1}", ms as f64 / 1e3)]);
    }
    finish(page, table, 1);
    let why = |(why, workers): (&String, &u64)| format!("{why} ({workers} workers, {} switches in all)", d.switches);
    page.push_str(&sentences(columns, d.why.iter().map(|reason| ("SYN defence:", why(reason)))));
}

fn pools(page: &mut String, snapshot: &Snapshot) {
    let mut table = new_table(["Pool", "used", "limit"]);
    for (name, pool) in &snapshot.pools {
        table.add_row([name.clone(), pool.used.to_string(), pool.limit.to_string()]);
    }
    finish(page, table, 1);
    let k = &snapshot.chunks;
    let places =
        [("free", k.free), ("receiving", k.receiving), ("sending", k.sending), ("held", k.held), ("all", k.total)];
    section(page, "Chunks", places);
}

/// What each worker runs on, and below, what it has done: together they are wider than a terminal.
fn workers(page: &mut String, snapshot: &Snapshot) {
    let mut places = new_table(["Queue", "core", "driver", "memory"]);
    let mut numbers = new_table(["Queue", "connections", "received", "handed over", "taken", "refused"]);
    for worker in &snapshot.workers {
        let core = worker.core.map_or("any".to_string(), |core| core.to_string());
        places.add_row([worker.queue.to_string(), core, worker.driver.clone(), worker.memory.clone()]);
        let counts = [worker.connections, worker.received, worker.handed_over, worker.taken, worker.refused];
        numbers.add_row(std::iter::once(worker.queue.to_string()).chain(counts.map(|n| n.to_string())));
    }
    finish(page, places, 4);
    finish(page, numbers, 1);
}

fn new_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

/// Appends a table that has rows; numbers, from column `right` on, stand to the right.
fn finish(page: &mut String, mut table: Table, right: usize) {
    if table.is_empty() {
        return;
    }
    for column in table.column_iter_mut().skip(right) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let _ = writeln!(page, "{}\n", table.trim_fmt());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::WorkerInfo;

    #[test]
    fn no_line_is_wider_than_a_terminal_of_80_columns() {
        let mut s = Snapshot::sum([]);
        s.chunks.free = 4_194_304;
        s.workers = vec![WorkerInfo {
            driver: "af_xdp native zero-copy, checksum offload".into(),
            memory: "transparent huge pages".into(),
            connections: 1 << 40,
            received: 1 << 40,
            handed_over: 1 << 40,
            taken: 1 << 40,
            ..WorkerInfo::default()
        }];
        (s.chunks.total, s.chunks.receiving, s.chunks.sending) = (4_194_304 * 3, 4_194_304, 4_194_304);
        (s.frames.received, s.connections.opened) = (u64::MAX / 2, u64::MAX / 2);
        s.frames.handled.insert("segment".into(), u64::MAX / 4);
        s.frames.dropped.insert("truncated".into(), u64::MAX / 4 + 1);
        s.defence.why.insert("cookie: more SYNs in a second than `--xdp-above` bears, without a handshake".into(), 1);
        s.audit();
        let page = snapshot(&s, Some(80));
        assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
        assert!(page.contains("handed over") && page.contains("4194304"), "{page}");
        let words: Vec<_> = page.split_whitespace().collect();
        let whole =
            "ledger: chunks = free + receiving + sending + held: 12582912 = 4194304 + 4194304 + 4194304 + 0 holds";
        assert!(words.join(" ").contains(whole), "{page}");
        assert!(page.contains("\n        "), "what goes on stands below what it goes on from: {page}");
        assert!(snapshot(&s, None).contains(whole), "in a pipe it keeps its line");
    }

    #[test]
    fn every_state_is_shown_and_a_broken_law_cries() {
        let mut s = Snapshot::sum([]);
        s.frames.received = 3;
        s.audit();
        let page = snapshot(&s, None);
        for state in State::iter().filter(|state| *state != State::Closed) {
            assert!(page.contains(state.rfc_name()), "{page}");
        }
        assert!(page.contains("frames received = of use + dropped: 3 = 0 + 0 DOES NOT HOLD"), "{page}");
        assert!(page.contains("NOT EXACT"));
        let s = Snapshot::sum([]);
        assert!(ledger(&s, None).ends_with("ledger: exact\n"));
    }
}
