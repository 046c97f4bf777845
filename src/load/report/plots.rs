//! The report's plots, as SVG whose colours are the page's.

use plotters::coord::ranged1d::{BoldPoints, DefaultFormatting, KeyPointHint};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use std::ops::Range;

/// What an axis shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Plain numbers.
    Count,
    /// Seconds since the start.
    Seconds,
    /// Microseconds, as the logarithm to the base of 10.
    LogMicros,
    /// A percentile, as the number of nines.
    Nines,
}

/// A line, or the edge of an area.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name in the legend.
    pub name: &'static str,
    /// Which of the page's colours, from 0.
    pub colour: usize,
    /// In the order of x.
    pub points: Vec<(f64, f64)>,
}

/// How series are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Lines.
    Lines,
    /// Areas, one upon the other.
    Stacked,
}

/// A plot.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What it shows.
    pub title: &'static str,
    /// What is to be known of it.
    pub note: &'static str,
    /// What x is.
    pub x: Unit,
    /// What y is.
    pub y: Unit,
    /// How it is drawn.
    pub style: Style,
    /// What is drawn.
    pub series: Vec<Series>,
    /// How far x goes at least, so that plots over the same time lie on each other.
    pub x_end: f64,
}

/// Colours that stand for those of the page, which knows light and dark.
const SERIES: [RGBColor; 5] =
    [RGBColor(1, 1, 161), RGBColor(1, 1, 162), RGBColor(1, 1, 163), RGBColor(1, 1, 164), RGBColor(1, 1, 165)];
/// Labels of the axis of y.
const MOST_TICKS: usize = 5;
const TEXT: RGBColor = RGBColor(1, 1, 171);
const GRID: RGBColor = RGBColor(1, 1, 172);

/// An error of the library, which drawing into a string does not have.
pub type Error = Box<dyn std::error::Error>;

impl Plot {
    /// Whether there is anything to draw.
    pub fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.points.is_empty())
    }

    /// The plot as an SVG element of this size.
    ///
    /// # Errors
    /// None is known: it is drawn into a string.
    pub fn svg(&self, size: (u32, u32)) -> Result<String, Error> {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            self.draw(&area, size.0 < 600)?;
            area.present()?;
        }
        Ok(themed(&svg, size))
    }

    fn draw(&self, area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>, narrow: bool) -> Result<(), Error> {
        let layers = self.layers();
        let (x, y) = self.ranges(&layers);
        let mut chart = ChartBuilder::on(area)
            .margin_top(10)
            .margin_right(28)
            .x_label_area_size(26)
            .y_label_area_size(if narrow { 54 } else { 64 })
            .build_cartesian_2d(x.clone(), Ticked::new(self.y, &y))?;
        let (x_unit, y_unit) = (self.x, self.y);
        let (x_span, y_span) = (x.end - x.start, y.end - y.start);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .x_labels(if x_unit == Unit::Nines {
                6
            } else if narrow {
                4
            } else {
                9
            })
            .label_style(("sans-serif", 12).into_font().color(&TEXT))
            .x_label_formatter(&move |x| label(x_unit, *x, x_span))
            .y_label_formatter(&move |y| label(y_unit, *y, y_span))
            .draw()?;
        // The highest of stacked areas first, so that the others lie upon it.
        for series in layers.iter().rev() {
            let colour = SERIES[series.colour % SERIES.len()];
            let points = series.points.iter().copied();
            let line = ShapeStyle::from(&colour).stroke_width(2);
            if self.style == Style::Lines {
                chart.draw_series(LineSeries::new(points, line))?;
            } else {
                chart.draw_series(AreaSeries::new(points, y.start, colour).border_style(line))?;
            }
        }
        Ok(())
    }

    /// What is drawn: where areas are stacked, each on the sum of those before.
    fn layers(&self) -> Vec<Series> {
        let mut layers = self.series.clone();
        if self.style == Style::Stacked {
            for at in 1..layers.len() {
                let (below, above) = layers.split_at_mut(at);
                for (point, under) in above[0].points.iter_mut().zip(&below[at - 1].points) {
                    point.1 += under.1;
                }
            }
        }
        layers
    }

    fn ranges(&self, layers: &[Series]) -> (Range<f64>, Range<f64>) {
        let points = || layers.iter().flat_map(|series| &series.points);
        let least = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::INFINITY, f64::min);
        let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(0.0, f64::max);
        let x = 0.0..most(|p| p.0).max(self.x_end).max(1e-3);
        let highest = most(|p| p.1);
        let y = match self.y {
            Unit::LogMicros => (least(|p| p.1) - 0.1).min(highest - 0.5)..highest + 0.1,
            _ => 0.0..(highest * 1.08).max(1.0),
        };
        (x, y)
    }
}

/// An axis with its labels.
struct Ticked {
    axis: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Ticked {
    fn new(unit: Unit, range: &Range<f64>) -> Self {
        let axis = RangedCoordf64::from(range.clone());
        let ticks = match unit {
            Unit::LogMicros => log_ticks(range),
            _ => axis.key_points(BoldPoints(MOST_TICKS)),
        };
        Ticked { axis, ticks }
    }
}

impl Ranged for Ticked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.axis.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.axis.range()
    }
}

/// Round numbers on a logarithmic axis, as close as there is room for.
fn log_ticks(range: &Range<f64>) -> Vec<f64> {
    let decades = range.start.floor() as i32..=range.end.ceil() as i32;
    let of = |digits: &'static [f64]| {
        let all = decades.clone().flat_map(move |decade| digits.iter().map(move |d| f64::from(decade) + d.log10()));
        all.filter(|tick| range.contains(tick)).collect::<Vec<_>>()
    };
    let finest_first = [&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0][..], &[1.0, 2.0, 5.0], &[1.0]];
    finest_first.map(of).into_iter().find(|ticks| ticks.len() <= MOST_TICKS).unwrap_or_else(|| of(&[1.0]))
}

/// A number at an axis that is so long.
fn label(unit: Unit, value: f64, span: f64) -> String {
    match unit {
        Unit::Count => count(value),
        Unit::Seconds => format!("{value:.*} s", digits(span)),
        Unit::LogMicros => micros(10f64.powf(value)),
        Unit::Nines if (value - value.round()).abs() > 1e-6 => String::new(),
        Unit::Nines => match value.round() as i32 {
            0 => "least".into(),
            1 => "90 %".into(),
            2 => "99 %".into(),
            nines => format!("99.{} %", "9".repeat((nines - 2) as usize)),
        },
    }
}

/// Digits behind the point that tell the labels of an axis of so many seconds apart: it has ten labels or so.
fn digits(span: f64) -> usize {
    match span {
        10.0.. => 0,
        1.0.. => 1,
        0.1.. => 2,
        _ => 4,
    }
}

/// A number in a few signs: `12.5k`.
pub fn count(value: f64) -> String {
    let short = |value: f64| format!("{value:.1}").trim_end_matches(".0").to_string();
    match value.abs() {
        1e6.. => format!("{}M", short(value / 1e6)),
        1e3.. => format!("{}k", short(value / 1e3)),
        _ => short(value),
    }
}

fn micros(us: f64) -> String {
    let (value, unit) = match us {
        1e6.. => (us / 1e6, "s"),
        1e3.. => (us / 1e3, "ms"),
        _ => (us, "µs"),
    };
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// Gives the element the page's colours, and has it scale.
fn themed(svg: &str, (width, height): (u32, u32)) -> String {
    let hex = |colour: &RGBColor| format!("\"#{:02X}{:02X}{:02X}\"", colour.0, colour.1, colour.2);
    let mut themed = svg.replace(&hex(&TEXT), "\"var(--soft)\"").replace(&hex(&GRID), "\"var(--line)\"");
    for (i, colour) in SERIES.iter().enumerate() {
        themed = themed.replace(&hex(colour), &format!("\"var(--s{})\"", i + 1));
    }
    // `viewBox` is there; a size of its own would keep it from scaling.
    themed.replacen(&format!("width=\"{width}\" height=\"{height}\" "), "", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(style: Style) -> Plot {
        let series = |name, colour, y: f64| Series { name, colour, points: vec![(0.0, y), (1.0, 2.0 * y)] };
        Plot {
            title: "t",
            note: "",
            x: Unit::Seconds,
            y: Unit::Count,
            style,
            series: vec![series("a", 0, 10.0), series("b", 1, 100.0)],
            x_end: 0.0,
        }
    }

    #[test]
    fn a_plot_has_the_pages_colours_and_no_size_of_its_own() {
        let svg = plot(Style::Lines).svg((900, 280)).unwrap();
        assert!(svg.contains("viewBox=\"0 0 900 280\"") && !svg.contains("width=\"900\""), "{svg}");
        assert!(svg.contains("var(--s1)") && svg.contains("var(--s2)") && svg.contains("var(--soft)"), "{svg}");
        let colours = svg.match_indices("\"#").count();
        assert_eq!(colours, 0, "no colour but the page's: {svg}");
    }

    #[test]
    fn stacked_areas_stand_on_each_other() {
        let layers = plot(Style::Stacked).layers();
        assert_eq!(layers[1].points, [(0.0, 110.0), (1.0, 220.0)]);
        assert_eq!(plot(Style::Lines).layers()[1].points, [(0.0, 100.0), (1.0, 200.0)]);
    }

    #[test]
    fn the_time_goes_on_where_nothing_is_drawn_any_more() {
        let end = |x_end| Plot { x_end, ..plot(Style::Lines) }.ranges(&plot(Style::Lines).series).0.end;
        assert_eq!([end(0.0), end(4.5)], [1.0, 4.5]);
    }

    #[test]
    fn nothing_at_all_can_be_drawn() {
        for (y, points) in [(Unit::Count, vec![]), (Unit::LogMicros, vec![]), (Unit::LogMicros, vec![(0.0, 2.0)])] {
            let series = vec![Series { name: "a", colour: 9, points }];
            assert!(Plot { y, series, ..plot(Style::Lines) }.svg((420, 240)).is_ok());
        }
    }

    #[test]
    fn a_logarithmic_axis_is_labelled_by_round_numbers() {
        let labels = |least: f64, most: f64| -> Vec<String> {
            let ticks = log_ticks(&(least.log10()..most.log10()));
            ticks.iter().map(|tick| label(Unit::LogMicros, *tick, 1.0)).collect()
        };
        assert_eq!(labels(1.1e5, 4.2e5), ["200 ms", "300 ms", "400 ms"]);
        assert_eq!(labels(150.0, 1_100.0), ["200 µs", "500 µs", "1.0 ms"]);
        assert_eq!(labels(4.0, 12_000.0), ["10 µs", "100 µs", "1.0 ms", "10 ms"]);
        assert_eq!(labels(0.001, 6e8).len(), 12, "the longest there can be");
    }

    #[test]
    fn an_axis_of_time_says_nothing_twice_however_short_it_is() {
        for span in (0..600).map(|i| 0.001 * 1.02f64.powi(i)) {
            for most in [4, 9] {
                let ticks = RangedCoordf64::from(0.0..span).key_points(BoldPoints(most));
                let labels: Vec<_> = ticks.iter().map(|tick| label(Unit::Seconds, *tick, span)).collect();
                let mut told = labels.clone();
                told.dedup();
                assert_eq!(told, labels, "{span} s");
            }
        }
        assert_eq!(label(Unit::Seconds, 0.05, 0.5), "0.05 s");
    }

    #[test]
    fn labels_are_short() {
        assert_eq!(["12.5k", "3M", "0", "250"], [12_500.0, 3e6, 0.0, 250.0].map(count));
        assert_eq!(["1.5 µs", "320 µs", "1.2 ms", "2.0 s"], [1.5, 320.0, 1_200.0, 2e6].map(micros));
        assert_eq!(["least", "", "90 %", "99.9 %"], [0.0, 0.5, 1.0, 3.0].map(|x| label(Unit::Nines, x, 4.0)));
    }
}
