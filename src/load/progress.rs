//! Watching a run: the live line on a terminal, and the samples for the report.

use super::gauge::{Gauge, Sums};
use super::timeline::{Sample, Timeline};
use crate::stats::Snapshot;
use crate::time::Duration;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// How often the line is drawn anew, and a sample taken at first.
const REDRAW: Duration = Duration::from_millis(100);
/// The rate shown is that of so many redraws: one second.
const RATE_OVER: usize = 10;

impl Sums {
    /// The words of the line; `rate` is closed connections a second, `ending` whether a signal has asked for the end.
    fn line(&self, rate: f64, ending: bool) -> String {
        // First, as a narrow terminal cuts off the rest.
        let ending = if ending { "ending; once more does not wait  " } else { "" };
        let mut line = format!(
            "{ending}{}/s  in flight {}  failed {}  p99 {}",
            HumanCount(rate.round() as u64),
            HumanCount(self.in_flight()),
            HumanCount(self.failed()),
            people_time(self.p99_ns),
        );
        if self.late > 0 {
            line.push_str(&format!("  late {}", HumanCount(self.late)));
        }
        if self.waiting_for_port {
            line.push_str("  waiting for a local port");
        }
        line
    }
}

/// Nanoseconds as people read them.
pub(crate) fn people_time(ns: u64) -> String {
    match ns {
        0 => "-".into(),
        1..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.1} s", ns as f64 / 1e9),
    }
}

/// Watches a run on a thread of its own: draws a line on stderr, where that is a terminal, and takes samples. Stopping
/// it wipes the line.
pub struct Watch {
    asked: Arc<Asked>,
    thread: Option<JoinHandle<Watched>>,
}

/// What its thread was asked.
#[derive(Debug, Default)]
struct Asked {
    stop: AtomicBool,
    /// A signal has asked for the end of the run.
    ending: AtomicBool,
}

/// What was seen of a run.
#[derive(Debug)]
pub struct Watched {
    /// The samples.
    pub timeline: Timeline,
    /// The last snapshot within the measured time, if it was long enough for one: what comes after it is the end of
    /// what was under way, in which nobody is busy.
    pub measured: Option<Snapshot>,
}

impl Watch {
    /// Starts to watch the sum of `gauges`, with a bar when the number of connections is known, else with the time. With
    /// each sample `look` takes a snapshot of the stack, if it answers.
    pub fn start(
        gauges: Vec<Arc<Gauge>>,
        connections: Option<u64>,
        duration: Option<Duration>,
        look: impl FnMut() -> Option<Snapshot> + Send + 'static,
    ) -> Self {
        let bar = bar(connections, duration);
        let asked = Arc::<Asked>::default();
        let heard = asked.clone();
        let by_time = connections.is_none();
        let thread = std::thread::Builder::new()
            .name("progress".into())
            .spawn(move || watch(&gauges, &bar, by_time, &heard, look))
            .ok();
        Watch { asked, thread }
    }

    /// A signal has asked for the end: the line says so from now on.
    pub fn ending(&self) {
        self.asked.ending.store(true, Ordering::Relaxed);
    }

    /// Stops; gives what was seen.
    pub fn stop(mut self) -> Watched {
        self.end().unwrap_or_else(Watched::nothing)
    }

    fn end(&mut self) -> Option<Watched> {
        self.asked.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take()?;
        thread.thread().unpark();
        thread.join().ok()
    }
}

impl Watched {
    fn nothing() -> Self {
        Watched { timeline: Timeline::new(REDRAW), measured: None }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

fn watch(
    gauges: &[Arc<Gauge>],
    bar: &ProgressBar,
    by_time: bool,
    asked: &Asked,
    mut look: impl FnMut() -> Option<Snapshot>,
) -> Watched {
    let began = std::time::Instant::now();
    let mut watched = Watched::nothing();
    let mut last = VecDeque::from([(began, 0)]);
    while !asked.stop.load(Ordering::Relaxed) {
        std::thread::park_timeout(REDRAW);
        let (now, sums) = (std::time::Instant::now(), Sums::of(gauges));
        let (then, closed) = last[0];
        let rate = sums.closed.saturating_sub(closed) as f64 / (now - then).as_secs_f64().max(1e-3);
        last.push_back((now, sums.closed));
        if last.len() > RATE_OVER {
            last.pop_front();
        }
        let elapsed = began.elapsed();
        bar.set_position(if by_time { elapsed.as_millis() as u64 } else { sums.over });
        bar.set_message(sums.line(rate, asked.ending.load(Ordering::Relaxed)));
        // Workers that have ended answer no more.
        if watched.timeline.wants(elapsed)
            && !asked.stop.load(Ordering::Relaxed)
            && let Some(snapshot) = look()
        {
            watched.timeline.push(Sample::new(elapsed, &sums, Some(&snapshot)));
            if gauges.iter().any(|gauge| !gauge.is_measured()) {
                watched.measured = Some(snapshot);
            }
        }
    }
    bar.finish_and_clear();
    watched
}

fn bar(connections: Option<u64>, duration: Option<Duration>) -> ProgressBar {
    let length = connections.or(duration.map(|d| d.as_millis() as u64));
    let target = ProgressDrawTarget::stderr_with_hz(10);
    let bar = ProgressBar::with_draw_target(length, target);
    let template = if length.is_some() { "{elapsed:>4} {bar:20} {wide_msg}" } else { "{elapsed:>4} {wide_msg}" };
    bar.set_style(ProgressStyle::with_template(template).expect("constant template").progress_chars("━╸ "));
    bar
}

#[cfg(test)]
mod tests {
    use super::super::results::{Counts, Waits};
    use super::*;

    #[test]
    fn the_line_sums_all_workers_and_names_the_worst_p99() {
        let gauges = [Arc::new(Gauge::default()), Arc::new(Gauge::default())];
        let counts = Counts { opened: 1_000, closed: 900, reset: 30, cut_short: 6, ..Counts::default() };
        gauges[0].publish(&counts, &Waits::default(), 12_000, false);
        gauges[1].publish(&counts, &Waits { late: 7, ..Waits::default() }, 45_600, true);
        let line = Sums::of(&gauges).line(1_234.4, false);
        assert_eq!(line, "1,234/s  in flight 128  failed 72  p99 45.6 µs  late 7  waiting for a local port");
        assert_eq!(
            Sums::default().line(0.0, true),
            "ending; once more does not wait  0/s  in flight 0  failed 0  p99 -"
        );
    }

    #[test]
    fn stopping_the_watch_ends_its_thread() {
        let gauge = Arc::new(Gauge::default());
        let watch = Watch::start(vec![gauge.clone()], None, Some(Duration::from_secs(5)), || None);
        assert!(watch.stop().timeline.samples().is_empty());
        assert_eq!(Arc::strong_count(&gauge), 1);
    }

    #[test]
    fn the_measured_time_is_that_in_which_a_worker_still_starts_connections() {
        let gauges = vec![Arc::new(Gauge::default()), Arc::new(Gauge::default())];
        let (tell, told) = crossbeam::channel::bounded(0);
        let mut looks = 0;
        let watched = gauges.clone();
        let watch = Watch::start(gauges, None, None, move || {
            looks += 1;
            // Its order is that of the looks: the first worker ends in the second, the other one in the third.
            if let 2 | 3 = looks {
                watched[looks - 2].measured();
            }
            let mut snapshot = Snapshot::default();
            snapshot.frames.sent = looks as u64;
            let _ = tell.send(looks);
            Some(snapshot)
        });
        while told.recv().unwrap() < 5 {}
        drop(told);
        assert_eq!(watch.stop().measured.unwrap().frames.sent, 2);
    }
}
