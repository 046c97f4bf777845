//! The live line of a run.

use super::results::Counts;
use crate::time::Duration;
use crossbeam::utils::CachePadded;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// How often the line is drawn anew.
const REDRAW: Duration = Duration::from_millis(100);
/// The rate shown is that of so many redraws: one second.
const RATE_OVER: usize = 10;

/// What one worker publishes ten times a second: never touched for a packet or a connection.
///
/// The sums are stored one by one, so that a reader may see some of this turn and some of the last one: good for a
/// line on a terminal, not for accounts.
#[derive(Debug, Default)]
pub struct Gauge(CachePadded<Cells>);

#[derive(Debug, Default)]
struct Cells {
    opened: AtomicU64,
    closed: AtomicU64,
    failed: AtomicU64,
    over: AtomicU64,
    p99_ns: AtomicU64,
    waiting_for_port: AtomicBool,
}

impl Gauge {
    /// Stores the sums.
    pub fn publish(&self, counts: &Counts, p99_ns: u64, waiting_for_port: bool) {
        self.0.opened.store(counts.opened, Ordering::Relaxed);
        self.0.closed.store(counts.closed, Ordering::Relaxed);
        self.0.failed.store(counts.failed(), Ordering::Relaxed);
        self.0.over.store(counts.over(), Ordering::Relaxed);
        self.0.p99_ns.store(p99_ns, Ordering::Relaxed);
        self.0.waiting_for_port.store(waiting_for_port, Ordering::Relaxed);
    }
}

/// The sums of all workers at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    opened: u64,
    closed: u64,
    failed: u64,
    over: u64,
    /// The worst worker's.
    p99_ns: u64,
    waiting_for_port: bool,
}

impl Sums {
    fn of(gauges: &[Arc<Gauge>]) -> Sums {
        gauges.iter().fold(Sums::default(), |sum, gauge| Sums {
            opened: sum.opened + gauge.0.opened.load(Ordering::Relaxed),
            closed: sum.closed + gauge.0.closed.load(Ordering::Relaxed),
            failed: sum.failed + gauge.0.failed.load(Ordering::Relaxed),
            over: sum.over + gauge.0.over.load(Ordering::Relaxed),
            p99_ns: sum.p99_ns.max(gauge.0.p99_ns.load(Ordering::Relaxed)),
            waiting_for_port: sum.waiting_for_port || gauge.0.waiting_for_port.load(Ordering::Relaxed),
        })
    }

    /// The words of the line; `rate` is closed connections a second.
    fn line(&self, rate: f64) -> String {
        let mut line = format!(
            "{}/s  in flight {}  failed {}  handshake p99 {}",
            HumanCount(rate.round() as u64),
            HumanCount(self.opened.saturating_sub(self.over)),
            HumanCount(self.failed),
            micros(self.p99_ns),
        );
        if self.waiting_for_port {
            line.push_str("  waiting for a local port");
        }
        line
    }
}

/// Nanoseconds as people read them.
fn micros(ns: u64) -> String {
    match ns {
        0 => "-".into(),
        1..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.1} s", ns as f64 / 1e9),
    }
}

/// A line on stderr that shows how a run goes, drawn by a thread of its own; nothing when stderr is no terminal.
/// Dropping it wipes the line.
pub struct ProgressLine {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ProgressLine {
    /// Starts to show the sum of `gauges`, with a bar when the number of connections is known, else with the time.
    pub fn start(gauges: Vec<Arc<Gauge>>, connections: Option<u64>, duration: Option<Duration>) -> Self {
        let bar = bar(connections, duration);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let by_time = connections.is_none();
        let thread = std::thread::Builder::new()
            .name("progress".into())
            .spawn(move || {
                let began = std::time::Instant::now();
                let mut last = VecDeque::from([(began, 0)]);
                while !stopped.load(Ordering::Relaxed) {
                    std::thread::park_timeout(REDRAW);
                    let (now, sums) = (std::time::Instant::now(), Sums::of(&gauges));
                    let (then, closed) = last[0];
                    let rate = sums.closed.saturating_sub(closed) as f64 / (now - then).as_secs_f64().max(1e-3);
                    last.push_back((now, sums.closed));
                    if last.len() > RATE_OVER {
                        last.pop_front();
                    }
                    bar.set_position(if by_time { began.elapsed().as_millis() as u64 } else { sums.over });
                    bar.set_message(sums.line(rate));
                }
                bar.finish_and_clear();
            })
            .ok();
        ProgressLine { stop, thread }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn bar(connections: Option<u64>, duration: Option<Duration>) -> ProgressBar {
    let length = connections.or(duration.map(|d| d.as_millis() as u64));
    let target = ProgressDrawTarget::stderr_with_hz(10);
    let bar = ProgressBar::with_draw_target(length, target);
    let template = if length.is_some() { "{elapsed:>4} {bar:20} {msg}" } else { "{elapsed:>4} {msg}" };
    bar.set_style(ProgressStyle::with_template(template).expect("constant template").progress_chars("━╸ "));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_sums_all_workers_and_names_the_worst_p99() {
        let gauges = [Arc::new(Gauge::default()), Arc::new(Gauge::default())];
        let counts = Counts { opened: 1_000, closed: 900, reset: 36, ..Counts::default() };
        gauges[0].publish(&counts, 12_000, false);
        gauges[1].publish(&counts, 45_600, true);
        let line = Sums::of(&gauges).line(1_234.4);
        assert_eq!(line, "1,234/s  in flight 128  failed 72  handshake p99 45.6 µs  waiting for a local port");
    }

    #[test]
    fn dropping_the_line_ends_its_thread() {
        let gauge = Arc::new(Gauge::default());
        drop(ProgressLine::start(vec![gauge.clone()], None, Some(Duration::from_secs(5))));
        assert_eq!(Arc::strong_count(&gauge), 1);
    }
}
