//! The median of several rounds, and how far they lie apart.

use serde::Serialize;
use std::fmt;

/// What several rounds of one measurement gave.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// Of these values; all zero when there are none.
    pub fn of(values: &[f64]) -> Spread {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else { return Spread::default() };
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Spread { median, min: *min, max: *max }
    }
}

impl Spread {
    /// As a plot takes it, in other units.
    pub fn times(&self, factor: f64) -> (f64, f64, f64) {
        (self.median * factor, self.min * factor, self.max * factor)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}–{})", thousands(self.median), thousands(self.min), thousands(self.max))
    }
}

/// A count in thousands, as people compare rates.
pub fn thousands(value: f64) -> String {
    match value {
        v if v >= 100_000.0 => format!("{:.0} k", v / 1e3),
        v if v >= 1_000.0 => format!("{:.1} k", v / 1e3),
        v => format!("{v:.0}"),
    }
}
