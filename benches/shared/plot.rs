//! The benchmarks' pictures: an SVG with one panel under the other, to be opened in any browser.

// Each benchmark draws what it needs.
#![allow(dead_code)]

use plotters::coord::Shift;
pub use plotters::prelude::SeriesLabelPosition;
use plotters::prelude::*;
use std::path::Path;

pub type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A measured value: median, least and most.
pub type Measured = (f64, f64, f64);

/// A curve's name, and its points in the order of x.
pub type Curve = (String, Vec<(f64, Measured)>);

/// Bars that lie, each with its name before it; the spread is a line over the bar's end.
pub struct Bars {
    pub title: String,
    pub bars: Vec<(String, Measured)>,
}

/// Curves over a common x.
pub struct Curves {
    pub title: String,
    pub x: &'static str,
    pub y: &'static str,
    /// Whether x and y grow by factors rather than by sums.
    pub log_x: bool,
    pub log_y: bool,
    /// Where no curve is.
    pub legend: SeriesLabelPosition,
    pub curves: Vec<Curve>,
}

pub enum Panel {
    Bars(Bars),
    Curves(Curves),
}

const WIDTH: u32 = 900;
const COLOURS: [RGBColor; 5] = [
    RGBColor(107, 114, 128),
    RGBColor(217, 119, 6),
    RGBColor(37, 99, 235),
    RGBColor(147, 51, 234),
    RGBColor(5, 150, 105),
];
const INK: RGBColor = RGBColor(31, 41, 55);
const GRID: RGBColor = RGBColor(225, 228, 232);
const FONT: &str = "sans-serif";

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the panels, and what is to be known of them below.
pub fn write(path: &Path, panels: &[Panel], note: &str) -> Outcome {
    let heights: Vec<u32> = panels.iter().map(Panel::height).collect();
    let notes = lines(note);
    let size = (WIDTH, heights.iter().sum::<u32>() + 24 + 16 * notes.len() as u32);
    let mut svg = String::new();
    {
        let mut rest = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        rest.fill(&WHITE)?;
        for (panel, height) in panels.iter().zip(heights) {
            let (area, below) = rest.split_vertically(height);
            match panel {
                Panel::Bars(bars) => bars.draw(&area)?,
                Panel::Curves(curves) => curves.draw(&area)?,
            }
            rest = below;
        }
        for (i, line) in notes.into_iter().enumerate() {
            rest.draw(&Text::new(line, (16, 12 + 16 * i as i32), (FONT, 11).into_font().color(&INK)))?;
        }
        rest.present()?;
    }
    std::fs::write(path, svg)?;
    eprintln!("plot: {}", path.display());
    Ok(())
}

/// A text in lines that fit, broken where it says `; `.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in text.split_inclusive("; ") {
        match lines.last_mut() {
            Some(line) if line.len() + part.len() < 150 => line.push_str(part),
            _ => lines.push(part.into()),
        }
    }
    lines
}

impl Panel {
    fn height(&self) -> u32 {
        match self {
            Panel::Bars(bars) => 60 + 26 * bars.bars.len() as u32,
            Panel::Curves(_) => 320,
        }
    }
}

impl Bars {
    fn draw(&self, area: &Area<'_>) -> Outcome {
        const NAMES: i32 = 300;
        const VALUES: i32 = 70;
        let title = (FONT, 15).into_font().style(FontStyle::Bold).color(&INK);
        area.draw(&Text::new(self.title.clone(), (16, 14), title))?;
        let most = self.bars.iter().map(|(_, (_, _, most))| *most).fold(f64::MIN_POSITIVE, f64::max);
        let x = |value: f64| NAMES + (value / most * f64::from(WIDTH as i32 - NAMES - VALUES)) as i32;
        let text = (FONT, 13).into_font().color(&INK);
        for (i, (name, (median, least, highest))) in self.bars.iter().enumerate() {
            let (top, middle) = (44 + 26 * i as i32, 53 + 26 * i as i32);
            let colour = match name.as_str() {
                kernel if kernel.starts_with("kernel client, kernel server") => COLOURS[0],
                ceiling if ceiling.starts_with("ceiling") => GRID,
                _ => COLOURS[2],
            };
            area.draw(&Text::new(name.clone(), (16, top + 3), text.clone()))?;
            area.draw(&Rectangle::new([(NAMES, top), (x(*median), top + 18)], colour.mix(0.8).filled()))?;
            area.draw(&PathElement::new(vec![(x(*least), middle), (x(*highest), middle)], INK.stroke_width(2)))?;
            area.draw(&Text::new(short(*median), (x(*highest) + 6, top + 3), text.clone()))?;
        }
        Ok(())
    }
}

impl Curves {
    fn draw(&self, area: &Area<'_>) -> Outcome {
        // Axes that grow by factors are drawn by the logarithm, as 0 has a place on none.
        let scale = |log: bool, value: f64| if log { value.max(1e-9).log10() } else { value };
        let points = |of: fn(&(f64, Measured)) -> [f64; 2]| {
            self.curves.iter().flat_map(move |(_, points)| points.iter().flat_map(of)).collect::<Vec<f64>>()
        };
        let (xs, ys) = (points(|(x, _)| [*x, *x]), points(|(_, (_, least, most))| [*least, *most]));
        let range = |log: bool, values: &[f64]| {
            let most = scale(log, values.iter().copied().fold(f64::MIN_POSITIVE, f64::max));
            let least = scale(log, values.iter().copied().fold(f64::INFINITY, f64::min));
            if log { least - 0.1..most + 0.1 } else { 0.0..most * 1.05 }
        };
        let title = (FONT, 15).into_font().style(FontStyle::Bold).color(&INK);
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, title)
            .margin(12)
            .x_label_area_size(38)
            .y_label_area_size(64)
            .build_cartesian_2d(range(self.log_x, &xs), range(self.log_y, &ys))?;
        let label = |log: bool, value: f64| short(if log { 10f64.powf(value) } else { value });
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_desc(self.x)
            .y_desc(self.y)
            .label_style((FONT, 12).into_font().color(&INK))
            .x_label_formatter(&|x| label(self.log_x, *x))
            .y_label_formatter(&|y| label(self.log_y, *y))
            .draw()?;
        for (i, (name, points)) in self.curves.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            let at = |x: f64, y: f64| (scale(self.log_x, x), scale(self.log_y, y));
            let line = points.iter().map(|(x, (median, ..))| at(*x, *median));
            chart
                .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(3)));
            chart.draw_series(points.iter().map(|(x, (_, least, most))| {
                PathElement::new(vec![at(*x, *least), at(*x, *most)], colour.stroke_width(1))
            }))?;
            chart
                .draw_series(points.iter().map(|(x, (median, ..))| Circle::new(at(*x, *median), 3, colour.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(self.legend.clone())
            .background_style(WHITE.mix(0.85))
            .border_style(GRID)
            .label_font((FONT, 12).into_font().color(&INK))
            .draw()?;
        Ok(())
    }
}

/// A number in a few signs.
fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        1e6.. => (value / 1e6, "M"),
        1e3.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = usize::from(value.abs() < 10.0 && value.fract().abs() > 0.05);
    format!("{value:.digits$}{unit}")
}
