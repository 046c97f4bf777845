//! `handfast stats --every TIME`: a line a look, as vmstat(8) prints them: what there is now, and rates since the look before.

use crate::SetupError;
use crate::admin;
use crate::cli::interrupt::Interrupts;
use crate::cli::{Outcome, as_json, say_or_gone};
use crate::stats::Snapshot;
use crate::time::Duration;
use crossbeam::channel::{select, tick};
use serde::Serialize;
use std::fmt;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

/// On a terminal the headings come again after so many lines: before they have left one of 24.
const LINES_A_HEADING: u32 = 20;

const HEADINGS: &str = "\
---------- now ---------- --- connections/s ---- -------- frames/s -------- busy
\x20  open    half TIME-WAIT  opened  closed failed       in      out  dropped    %
";

/// Looks until a signal comes, nobody reads any more, or the stack ends. A look that fails is left out as long as the stack is
/// there.
///
/// # Errors
/// Nothing serves at `socket` at first, or the output was lost.
pub(super) fn run(socket: &Path, every: Duration, json: bool) -> Outcome {
    // A second signal does not wait for an answer.
    let interrupts = Interrupts::listen(1)?;
    let looks = tick(every);
    let mut printed = Printed { json, heads_again: std::io::stdout().is_terminal(), lines: 0 };
    let mut before = admin::ask(socket)?;
    let mut read = printed.first(&before)?;
    while read {
        select! {
            recv(interrupts.receiver()) -> _ => break,
            recv(looks) -> _ => {}
        }
        let now = match admin::ask(socket) {
            Ok(now) => now,
            Err(_) if admin::nobody_serves(socket) => {
                tracing::warn!("the stack at {} has ended", socket.display());
                break;
            }
            // An overloaded worker, which is what one looks for.
            Err(e) => {
                tracing::warn!("no line for this look: {e}");
                continue;
            }
        };
        match Rates::between(&before, &now) {
            Some(rates) => read = printed.next(&now, rates)?,
            None => tracing::warn!("the stack began anew, and its counters with it"),
        }
        before = now;
    }
    Ok(ExitCode::SUCCESS)
}

/// How lines are printed; each method says whether somebody still reads.
struct Printed {
    json: bool,
    heads_again: bool,
    lines: u32,
}

/// What is printed as JSON, an object a line.
#[derive(Serialize)]
struct Look<'a> {
    #[serde(flatten)]
    snapshot: &'a Snapshot,
    /// `None` at the first look.
    per_second: Option<Rates>,
}

impl Printed {
    /// There are no rates yet: a table has its headings, so that one sees at once that it works.
    fn first(&mut self, snapshot: &Snapshot) -> Result<bool, SetupError> {
        if self.json { json_line(snapshot, None) } else { say_or_gone(HEADINGS) }
    }

    fn next(&mut self, snapshot: &Snapshot, rates: Rates) -> Result<bool, SetupError> {
        if self.json {
            return json_line(snapshot, Some(rates));
        }
        let again = self.heads_again && self.lines > 0 && self.lines.is_multiple_of(LINES_A_HEADING);
        self.lines += 1;
        let headings = if again { HEADINGS } else { "" };
        say_or_gone(&format!("{headings}{}\n", Line { snapshot, rates }))
    }
}

fn json_line(snapshot: &Snapshot, per_second: Option<Rates>) -> Result<bool, SetupError> {
    let line = as_json(&Look { snapshot, per_second }, serde_json::to_string)?;
    say_or_gone(&format!("{line}\n"))
}

/// What went on between two looks, a second; `busy` is the part of it in which the busiest worker had something to do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Rates {
    opened: f64,
    closed: f64,
    failed: f64,
    frames_received: f64,
    frames_sent: f64,
    frames_dropped: f64,
    busy: f64,
}

impl Rates {
    /// `None` where the counters are not those of one run: another stack answers at the same socket.
    fn between(before: &Snapshot, now: &Snapshot) -> Option<Rates> {
        let since_start = now.serving.as_ref().map(|serving| &serving.since);
        if since_start != before.serving.as_ref().map(|serving| &serving.since) {
            return None;
        }
        let ns = now.alive_ns().checked_sub(before.alive_ns()).filter(|ns| *ns > 0)?;
        let rate = |of: fn(&Snapshot) -> u64| {
            // Kernel counters may be read a moment before others: a difference below nothing is none.
            let per_second = of(now).saturating_sub(of(before)) as f64 * 1e9 / ns as f64;
            (per_second * 10.0).round() / 10.0
        };
        let busy = now.workers.iter().zip(&before.workers).map(|(now, before)| {
            let (busy, alive) =
                (now.busy_ns.saturating_sub(before.busy_ns), now.alive_ns.saturating_sub(before.alive_ns));
            if alive == 0 { 0.0 } else { (busy as f64 / alive as f64).min(1.0) }
        });
        let busy = (busy.fold(0.0, f64::max) * 1e3).round() / 1e3;
        Some(Rates {
            opened: rate(|s| s.connections.opened),
            closed: rate(|s| s.connections.closed),
            failed: rate(|s| {
                let c = &s.connections;
                c.reset + c.aborted + c.refused + c.timed_out
            }),
            // Those that were handed over count where they came in.
            frames_received: rate(|s| s.frames.received.saturating_sub(s.frames.taken)),
            frames_sent: rate(|s| s.frames.sent),
            frames_dropped: rate(|s| {
                s.frames.dropped.values().sum::<u64>() + s.kernel.rx_dropped + s.kernel.rx_ring_full
            }),
            busy,
        })
    }
}

/// A line below the headings, 80 columns wide.
struct Line<'a> {
    snapshot: &'a Snapshot,
    rates: Rates,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = |pool: &str| self.snapshot.pools.get(pool).map_or(0, |pool| pool.used);
        let (open, half_open, time_wait) = (used("connections"), used("half_open"), used("time_wait"));
        write!(f, "{open:>7} {half_open:>7} {time_wait:>9} ")?;
        let Rates { opened, closed, failed, frames_received, frames_sent, frames_dropped, busy } = self.rates;
        write!(f, "{opened:>7.0} {closed:>7.0} {failed:>6.0} ")?;
        write!(f, "{frames_received:>8.0} {frames_sent:>8.0} {frames_dropped:>8.0} {:>4.0}", busy * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Pool, Serving, WorkerInfo};

    /// After so many seconds, with the worker busy for half of them, and a thousand of each counter a second.
    fn after(seconds: u64) -> Snapshot {
        let mut s = Snapshot::sum([]);
        let count = seconds * 1_000;
        (s.connections.opened, s.connections.closed, s.connections.timed_out) = (count, count * 2, count * 3);
        (s.frames.received, s.frames.sent, s.kernel.rx_ring_full) = (count * 4, count * 5, count * 6);
        s.frames.dropped.insert("truncated".into(), count);
        s.pools.insert("half_open".into(), Pool { used: seconds, limit: 9 });
        let (busy_ns, alive_ns) = (seconds * 500_000_000, seconds * 1_000_000_000);
        s.workers = vec![WorkerInfo { busy_ns, alive_ns, ..WorkerInfo::default() }];
        s.serving = Some(Serving { interface: "eth1".into(), since: "then".into(), uptime_seconds: seconds as f64 });
        s
    }

    #[test]
    fn rates_are_those_between_two_looks() {
        let now = after(14);
        let rates = Rates::between(&after(10), &now).unwrap();
        let line = Line { snapshot: &now, rates }.to_string();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words, ["0", "14", "0", "1000", "2000", "3000", "4000", "5000", "7000", "50"]);
    }

    #[test]
    fn another_run_is_no_rate() {
        let mut other = after(20);
        other.serving.as_mut().unwrap().since = "later".into();
        assert_eq!(Rates::between(&after(10), &other), None);
        assert_eq!(Rates::between(&after(10), &after(5)), None);
        assert_eq!(Rates::between(&after(10), &after(10)), None, "no time has passed");
    }

    #[test]
    fn numbers_stand_under_their_headings_in_80_columns() {
        let mut now = after(1);
        for (pool, used) in [("connections", 9_999_999), ("half_open", 9_999_999), ("time_wait", 999_999_999)] {
            now.pools.insert(pool.into(), Pool { used, limit: used });
        }
        let rates = Rates {
            opened: 9_999_999.0,
            closed: 9_999_999.0,
            failed: 999_999.0,
            frames_received: 99_999_999.0,
            frames_sent: 99_999_999.0,
            frames_dropped: 99_999_999.0,
            busy: 1.0,
        };
        let widest = Line { snapshot: &now, rates }.to_string();
        let rates = Rates::between(&after(0), &after(1)).unwrap();
        let narrow = Line { snapshot: &after(1), rates }.to_string();
        let headings: Vec<_> = HEADINGS.lines().collect();
        assert!(headings.iter().chain([&widest.as_str()]).all(|line| line.len() <= 80), "{HEADINGS}{widest}");
        // Each column of the lower heading ends where its number does.
        let ends = |text: &str| -> Vec<usize> {
            let octets = text.as_bytes();
            (1..=octets.len()).filter(|&i| octets[i - 1] != b' ' && octets.get(i).is_none_or(|o| *o == b' ')).collect()
        };
        assert_eq!(ends(headings[1]), ends(&widest), "{HEADINGS}{widest}");
        assert_eq!(ends(headings[1]), ends(&narrow), "{HEADINGS}{narrow}");
    }
}
