//! The report as one page that needs nothing else: no script, no font, no picture from anywhere.

use super::super::progress::people_time;
use super::plots::{Error, Plot, Series, Style, Unit, count};
use super::table::{PERCENTILES, octets};
use super::{Origin, Report, grouped};
use crate::load::{Bound, Latencies, Sample, Span, Timeline};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Sizes of the plots where there is room, and where there is little.
const WIDE: (u32, u32) = (1000, 270);
const NARROW: (u32, u32) = (420, 260);

const STYLE: &str = include_str!("page.css");

impl Report {
    /// The page, with plots of how the run went.
    ///
    /// # Errors
    /// None is known: plots are drawn into strings.
    pub fn page(&self, latencies: &Latencies, timeline: &Timeline) -> Result<String, Error> {
        let mut figures = Vec::new();
        for plot in plots(self, latencies, timeline.samples()).iter().filter(|plot| !plot.is_empty()) {
            figures.push(figure(plot)?);
        }
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { "Load on " (self.target) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    main {
                        (self.head())
                        (self.tiles())
                        @for figure in &figures { (figure) }
                        (self.latencies())
                        (self.all_numbers())
                        @if let Some(origin) = &self.origin { (run_of(origin)) }
                    }
                }
            }
        };
        Ok(page.into_string())
    }

    fn head(&self) -> Markup {
        let good = self.verdict.bound == Bound::RateReached;
        html! {
            header {
                h1 { "Load on " (self.target) }
                p.soft {
                    "Handfast " (env!("CARGO_PKG_VERSION")) ", " (format!("{:.1}", self.seconds)) " s measured"
                    @if let Some(origin) = &self.origin { ", begun " (origin.began) }
                    @if self.interrupted { ", ended by a signal" }
                }
                p.verdict.good[good] { b { (self.verdict.bound) } ": " (with_code(&self.verdict.because)) }
            }
        }
    }

    fn tiles(&self) -> Markup {
        let failed = self.failed.all() + self.unfinished;
        let well = if self.opened == 0 { 0.0 } else { self.closed as f64 / self.opened as f64 * 100.0 };
        // Nothing short of all is shown as all.
        let well = format!("{:.2} %", (well * 100.0).floor() / 100.0);
        let tile = |name: &str, value: String, bad: bool| {
            html! { div.tile.bad[bad] { p.soft { (name) } p.value { (value) } } }
        };
        let rate = self.rate.map(|rate| {
            let ramp = rate.asked_from != rate.asked_to;
            let ends = || format!("{} – {}", count(rate.asked_from), count(rate.asked_to));
            (if ramp { ends() } else { grouped(rate.asked_to as u64) }, !rate.reached)
        });
        html! {
            div.tiles {
                @if let Some((asked, missed)) = rate { (tile("asked for / s", asked, missed)) }
                (tile("connections / s", grouped(self.connections_per_second.round() as u64), false))
                @if self.talk.is_any() {
                    (tile("answers / s", grouped(self.talk.answers_per_second.round() as u64), false))
                    (tile("text sent / s", octets(self.talk.octets_sent_per_second), false))
                    (tile("text received / s", octets(self.talk.octets_received_per_second), false))
                }
                (tile("went well", well, failed > 0))
                (tile("failed", grouped(failed), failed > 0))
                (tile("handshake p50", people_time((self.handshake_us.p50 * 1e3) as u64), false))
                (tile("handshake p99", people_time((self.handshake_us.p99 * 1e3) as u64), false))
            }
        }
    }

    fn latencies(&self) -> Markup {
        html! {
            section.card {
                h2 { "Latencies" }
                table.columns {
                    thead { tr { th {} @for name in PERCENTILES { th { (name) } } } }
                    tbody {
                        @for (span, percentiles) in self.latency_rows() {
                            tr { td { (span) } @for percentile in percentiles { td { (percentile) } } }
                        }
                    }
                }
            }
        }
    }

    fn all_numbers(&self) -> Markup {
        html! {
            section.card {
                h2 { "All numbers" }
                table { tbody { @for (name, value) in self.rows() { tr { td { (name.trim()) } td { (with_code(&value)) } } } } }
            }
        }
    }
}

/// What somebody needs to do it again.
fn run_of(origin: &Origin) -> Markup {
    html! {
        section.card {
            h2 { "The run" }
            table.texts { tbody { @for (name, value) in origin.rows() { tr { td { (name) } td { (value) } } } } }
        }
    }
}

/// What stands between backticks is a flag or a command.
fn with_code(text: &str) -> Markup {
    html! {
        @for (i, piece) in text.split('`').enumerate() {
            @if i % 2 == 1 { code { (piece) } } @else { (piece) }
        }
    }
}

fn figure(plot: &Plot) -> Result<Markup, Error> {
    let (wide, narrow) = (plot.svg(WIDE)?, plot.svg(NARROW)?);
    let filled = plot.style == Style::Stacked;
    Ok(html! {
        figure.card {
            h2 { (plot.title) }
            @if !plot.note.is_empty() { p.soft { (plot.note) } }
            ul.legend {
                @for series in &plot.series {
                    li.filled[filled] { i style=(format!("background: var(--s{})", series.colour + 1)) {} (series.name) }
                }
            }
            div.wide { (PreEscaped(wide)) }
            div.narrow { (PreEscaped(narrow)) }
        }
    })
}

fn plots(report: &Report, latencies: &Latencies, samples: &[Sample]) -> Vec<Plot> {
    let mut plots = vec![
        rates(report, samples),
        percentiles(latencies),
        p99_over_time(samples),
        states(samples),
        time_wait(samples),
    ];
    // Without any, the tile above says it all.
    if report.failed.all() > 0 {
        plots.insert(1, failures(samples));
    }
    let end = samples.last().map_or(0.0, |sample| sample.at);
    plots.iter_mut().filter(|plot| plot.x == Unit::Seconds).for_each(|plot| plot.x_end = end);
    plots
}

fn over_time(title: &'static str, note: &'static str, y: Unit, style: Style, series: Vec<Series>) -> Plot {
    Plot { title, note, x: Unit::Seconds, y, style, series, x_end: 0.0 }
}

/// How much a sum grew a second, between each sample and the one before.
fn growth(samples: &[Sample], of: fn(&Sample) -> u64) -> Vec<(f64, f64)> {
    let pairs = samples.windows(2).map(|pair| {
        let (before, after) = (&pair[0], &pair[1]);
        (after.at, of(after).saturating_sub(of(before)) as f64 / (after.at - before.at).max(1e-9))
    });
    pairs.collect()
}

fn gauge(samples: &[Sample], of: fn(&Sample) -> u64) -> Vec<(f64, f64)> {
    samples.iter().map(|sample| (sample.at, of(sample) as f64)).collect()
}

fn rates(report: &Report, samples: &[Sample]) -> Plot {
    let mut series = vec![
        Series { name: "closed", colour: 0, points: growth(samples, |s| s.closed) },
        Series { name: "started", colour: 1, points: growth(samples, |s| s.opened) },
    ];
    if let (Some(rate), Some(last)) = (report.rate, samples.last()) {
        let points = vec![(0.0, rate.asked_from), (report.seconds.min(last.at), rate.asked_to)];
        series.push(Series { name: "asked for", colour: 3, points });
    }
    over_time("Connections a second", "", Unit::Count, Style::Lines, series)
}

/// Spans that are drawn, each in its colour.
const DRAWN: [Span; 5] = [Span::Handshake, Span::FirstByte, Span::Close, Span::Answer, Span::Life];

fn percentiles(latencies: &Latencies) -> Plot {
    let series = DRAWN.into_iter().enumerate().filter_map(|(colour, span)| {
        let histogram = latencies.of(span);
        // Beyond as many nines as there are connections, all is the longest one.
        let nines = (histogram.len() as f64).log10().min(5.0);
        let points = (0..=(nines * 20.0) as u32).map(|i| f64::from(i) / 20.0).map(|x| {
            let ns = histogram.value_at_quantile(1.0 - 10f64.powf(-x)).max(1);
            (x, (ns as f64 / 1e3).log10())
        });
        (!histogram.is_empty()).then(|| Series { name: span.title(), colour, points: points.collect() })
    });
    Plot {
        title: "Latency by percentile",
        note: "Handshake, first byte and whole life count from the intended start, so that what had to wait for its turn \
               has waited; an answer from its request, a close from the first FIN.",
        x: Unit::Nines,
        y: Unit::LogMicros,
        style: Style::Lines,
        series: series.collect(),
        x_end: 0.0,
    }
}

fn p99_over_time(samples: &[Sample]) -> Plot {
    let measured = samples.iter().filter(|sample| sample.p99_us > 0.0);
    let points: Vec<_> = measured.map(|sample| (sample.at, sample.p99_us.log10())).collect();
    let series = vec![Series { name: "p99 of the last second", colour: 0, points }];
    over_time("Latency over time", "", Unit::LogMicros, Style::Lines, series)
}

fn states(samples: &[Sample]) -> Plot {
    let series = vec![
        Series { name: "SYN-SENT", colour: 1, points: gauge(samples, |s| s.syn_sent) },
        Series { name: "ESTABLISHED", colour: 2, points: gauge(samples, |s| s.standing) },
        Series { name: "closing", colour: 0, points: gauge(samples, |s| s.closing) },
    ];
    over_time("Connections under way, by state", "", Unit::Count, Style::Stacked, series)
}

fn time_wait(samples: &[Sample]) -> Plot {
    let series = vec![Series { name: "TIME-WAIT", colour: 3, points: gauge(samples, |s| s.time_wait) }];
    over_time("TIME-WAIT", "Each entry holds a local port towards the target.", Unit::Count, Style::Lines, series)
}

fn failures(samples: &[Sample]) -> Plot {
    let series = vec![
        Series { name: "refused", colour: 1, points: growth(samples, |s| s.refused) },
        Series { name: "timed out", colour: 3, points: growth(samples, |s| s.timeout) },
        Series { name: "reset", colour: 4, points: growth(samples, |s| s.reset) },
        Series { name: "cut short or bad answer", colour: 0, points: growth(samples, |s| s.other_failures) },
    ];
    over_time("Failures a second", "", Unit::Count, Style::Lines, series)
}

#[cfg(test)]
mod tests {
    use super::super::tests::results;
    use super::super::{RateAsked, Setting};
    use super::*;
    use crate::host::Machine;
    use crate::load::Sums;
    use crate::stats::Snapshot;
    use crate::time::Duration;

    fn page() -> String {
        let mut timeline = Timeline::new(Duration::from_millis(100));
        for i in 1..50u64 {
            let sums = Sums { opened: i * 20, closed: i * 19, refused: i, p99_ns: 1_000 * i, ..Sums::default() };
            timeline.push(Sample::new(Duration::from_millis(i * 100), &sums, Some(&Snapshot::sum([]))));
        }
        let setting = Setting { rate: Some(RateAsked { from: 10.0, to: 2e3, seed: 1 }), ..Setting::default() };
        let mut report = Report::new("<10.0.0.2:80>", &results(), &Snapshot::default(), setting);
        report.origin = Some(Origin {
            version: "1.2.3",
            began: "2026-11-28T01:02:03Z".into(),
            command: "handfast load --send '<ping>\\n'".into(),
            concurrency: 64,
            interface: "eth2".into(),
            interface_driver: "veth".into(),
            mtu: 1_500,
            machine: Machine { cpu: "Some CPU".into(), cores: 2, kernel: "6.18".into() },
        });
        report.page(&results().latencies, &timeline).unwrap()
    }

    #[test]
    fn the_page_stands_alone() {
        let page = page();
        for foreign in ["http:", "https:", "src=", "href=", "url(", "@import", "<script"] {
            let allowed = page.replace("http://www.w3.org/2000/svg", "");
            assert!(!allowed.contains(foreign), "{foreign}");
        }
        assert!(page.contains("&lt;10.0.0.2:80&gt;") && !page.contains("<10.0.0.2"), "escaped");
        assert_eq!(page.matches("<svg").count(), 2 * 6, "each plot in two sizes");
        assert!(!page.contains("NaN") && !page.contains("inf\""));
    }

    #[test]
    fn the_page_says_how_to_do_it_again() {
        let page = page();
        let command = "handfast load --send '&lt;ping&gt;\\n'";
        for part in [command, "2026-11-28T01:02:03Z", "eth2: veth, MTU 1500", "Some CPU, 2 cores, Linux 6.18"] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[test]
    fn flags_stand_out_and_no_backtick_is_left() {
        let setting = Setting::default();
        let mut report = Report::new("t", &results(), &Snapshot::default(), setting);
        report.verdict.because = "more `--concurrency` may <get> more".into();
        report.stopped_by = Some("give `--address`".into());
        let page = report.page(&results().latencies, &Timeline::new(Duration::from_millis(100))).unwrap();
        assert!(page.contains("more <code>--concurrency</code> may &lt;get&gt; more") && !page.contains('`'), "{page}");
    }

    #[test]
    fn plots_over_time_share_their_axis() {
        let at = |at, p99_us| Sample { at, p99_us, opened: at as u64, ..Sample::default() };
        let report = Report::new("t", &results(), &Snapshot::default(), Setting::default());
        // The last second had no latency to show.
        let plots = plots(&report, &results().latencies, &[at(1.0, 5.0), at(2.0, 7.0), at(3.0, 0.0)]);
        let ends: Vec<f64> = plots.iter().filter(|plot| plot.x == Unit::Seconds).map(|plot| plot.x_end).collect();
        assert_eq!(ends, [3.0; 5]);
    }

    #[test]
    fn rates_are_the_growth_of_the_sums() {
        let at = |at, closed| Sample { at, closed, ..Sample::default() };
        let samples = [at(0.5, 100), at(1.0, 200), at(3.0, 200)];
        assert_eq!(growth(&samples, |s| s.closed), [(1.0, 200.0), (3.0, 0.0)]);
    }
}
