//! When connections are to be started: a rate over time, and the arrivals drawn from it. Pure: no clock, and randomness
//! only from a seed.

use crate::time::Duration;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// Connections a second as a function of time: from one rate to another along a straight line, then constant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// At the start, a second.
    pub from: f64,
    /// At the end of the ramp and after it, a second.
    pub to: f64,
    /// How long the ramp takes; zero: the second rate holds from the start.
    pub over: Duration,
}

impl Rate {
    /// The same all the time.
    pub const fn constant(per_second: f64) -> Self {
        Rate { from: per_second, to: per_second, over: Duration::ZERO }
    }

    /// The rate after this time.
    pub fn at(&self, t: Duration) -> f64 {
        if t >= self.over {
            return self.to;
        }
        self.from + (self.to - self.from) * t.as_secs_f64() / self.over.as_secs_f64()
    }

    /// How many arrivals are expected in this time: the integral of the rate.
    pub fn expected(&self, t: Duration) -> f64 {
        let ramp = t.min(self.over);
        (self.from + self.at_within(ramp)) / 2.0 * ramp.as_secs_f64() + self.to * (t - ramp).as_secs_f64()
    }

    /// When so many arrivals are expected; `None`: never, as the rate has come down to zero.
    pub fn when(&self, count: f64) -> Option<Duration> {
        let ramp = self.over.as_secs_f64();
        let in_ramp = self.expected(self.over);
        let seconds = if count < in_ramp {
            // from·t + (to − from)/(2·over)·t² = count, in the form that does not cancel.
            let quadratic = (self.to - self.from) / (2.0 * ramp);
            2.0 * count / (self.from + (self.from * self.from + 4.0 * quadratic * count).max(0.0).sqrt())
        } else if self.to > 0.0 {
            ramp + (count - in_ramp) / self.to
        } else {
            return None;
        };
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// This part of it.
    pub fn scaled(&self, by: f64) -> Rate {
        Rate { from: self.from * by, to: self.to * by, over: self.over }
    }

    /// As [`Rate::at`], on the ramp up to its very end.
    fn at_within(&self, t: Duration) -> f64 {
        if self.over.is_zero() {
            self.to
        } else {
            self.from + (self.to - self.from) * (t.as_secs_f64() / self.over.as_secs_f64())
        }
    }
}

/// How arrivals lie within their rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, strum::Display, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Spacing {
    /// Independent of each other, as those of many clients are: a Poisson process.
    #[default]
    Poisson,
    /// The same distance from each to the next.
    Even,
}

/// The arrivals of one worker, one after another. Those of several workers with shares of one rate make up the arrivals of
/// the whole rate, for either spacing.
#[derive(Clone, Debug)]
pub struct Arrivals {
    rate: Rate,
    spacing: Spacing,
    random: Xoshiro256PlusPlus,
    /// The next one, counted in arrivals expected since the start.
    place: f64,
    /// Those that were taken.
    taken: u64,
    /// Where the first of evenly spaced ones lies, below 1.
    offset: f64,
}

impl Arrivals {
    /// Arrivals of this rate; those evenly spaced begin after this part of a space.
    pub fn new(rate: Rate, spacing: Spacing, seed: u64, offset: f64) -> Self {
        let random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut arrivals = Arrivals { rate, spacing, random, place: 0.0, taken: 0, offset };
        arrivals.place = match spacing {
            Spacing::Even => offset,
            Spacing::Poisson => arrivals.exponential(),
        };
        arrivals
    }

    /// When the next one is due, counted from the start; `None`: never.
    pub fn next(&self) -> Option<Duration> {
        self.rate.when(self.place)
    }

    /// Takes it.
    pub fn advance(&mut self) {
        self.taken += 1;
        match self.spacing {
            // Not summed up, so that no error is.
            Spacing::Even => self.place = self.offset + self.taken as f64,
            Spacing::Poisson => self.place += self.exponential(),
        }
    }

    /// How many were taken.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// How many more are due before then: exactly for even spacing, else as many as are expected.
    pub fn owed(&self, by: Duration) -> u64 {
        (self.rate.expected(by) - self.place).ceil().max(0.0) as u64
    }

    /// A step of mean 1 to the next event of a Poisson process.
    fn exponential(&mut self) -> f64 {
        // From 2^-53 to 1, never 0.
        let uniform = ((self.random.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        -uniform.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_rate() -> impl Strategy<Value = Rate> {
        (0.0..1e6, 0.5..1e6, 0u64..100_000).prop_map(|(from, to, ms)| Rate {
            from,
            to,
            over: Duration::from_millis(ms),
        })
    }

    proptest! {
        #[test]
        fn when_is_the_inverse_of_expected(rate in any_rate(), seconds in 0.001f64..500.0) {
            let t = Duration::from_secs_f64(seconds);
            let count = rate.expected(t);
            // Where almost nothing arrives, a long time is as good as another.
            prop_assume!(rate.at(t) > 0.01);
            let back = rate.when(count).unwrap();
            prop_assert!((rate.expected(back) - count).abs() <= 1e-6 * count.max(1.0), "{:?} {} {:?}", rate, count, back);
        }

        #[test]
        fn arrivals_never_go_back_and_keep_to_their_rate(rate in any_rate(), seed: u64, even: bool, offset in 0.0f64..1.0) {
            let spacing = if even { Spacing::Even } else { Spacing::Poisson };
            let mut arrivals = Arrivals::new(rate, spacing, seed, offset);
            let mut last = Duration::ZERO;
            for _ in 0..2_000 {
                let at = arrivals.next().unwrap();
                prop_assert!(at >= last);
                last = at;
                arrivals.advance();
            }
            // 2,000 of a Poisson process lie within 6 standard deviations.
            let expected = rate.expected(last);
            let allowed = if even { 1.1 } else { 6.0 * 2_000f64.sqrt() };
            prop_assert!((expected - 2_000.0).abs() <= allowed, "{} arrivals expected, 2000 came", expected);
        }

        #[test]
        fn even_shares_interleave_to_the_whole(rate in 1.0f64..1e5, workers in 1u64..6) {
            let part = Rate::constant(rate / workers as f64);
            let mut all: Vec<f64> = (0..workers)
                .flat_map(|i| {
                    let mut arrivals = Arrivals::new(part, Spacing::Even, 0, i as f64 / workers as f64);
                    (0..50).map(move |_| { let at = arrivals.next().unwrap(); arrivals.advance(); at.as_secs_f64() })
                })
                .collect();
            all.sort_by(f64::total_cmp);
            for (i, at) in all.iter().enumerate() {
                prop_assert!((at * rate - i as f64).abs() < 1e-3 * rate.max(1.0) / 1e3 + 1e-3, "{} at {}", i, at);
            }
        }

        #[test]
        fn what_is_owed_is_what_is_still_to_come(seconds in 0.0f64..20.0, taken in 0u64..500, rate in 1.0f64..1e3) {
            let by = Duration::from_secs_f64(seconds);
            let mut arrivals = Arrivals::new(Rate::constant(rate), Spacing::Even, 1, 0.5);
            (0..taken).for_each(|_| arrivals.advance());
            let owed = arrivals.owed(by);
            let mut count = 0;
            while arrivals.next().unwrap() < by { arrivals.advance(); count += 1; }
            prop_assert!(owed.abs_diff(count) <= 1, "{} owed, {} came", owed, count);
        }
    }

    #[test]
    fn the_gaps_of_a_poisson_process_are_exponential() {
        let mut arrivals = Arrivals::new(Rate::constant(1_000.0), Spacing::Poisson, 7, 0.0);
        let (mut last, mut longer) = (Duration::ZERO, 0);
        for _ in 0..100_000 {
            let at = arrivals.next().unwrap();
            longer += u32::from(at - last > Duration::from_millis(1));
            last = at;
            arrivals.advance();
        }
        // P(gap > mean) = 1/e.
        assert!((36_000..37_600).contains(&longer), "{longer}");
    }

    #[test]
    fn a_rate_that_comes_down_to_nothing_ends() {
        let rate = Rate { from: 10.0, to: 0.0, over: Duration::from_secs(2) };
        assert_eq!(rate.expected(Duration::from_secs(100)), 10.0);
        assert!(rate.when(9.9).is_some() && rate.when(10.1).is_none());
        assert_eq!((rate.at(Duration::from_secs(1)), rate.at(Duration::from_secs(3))), (5.0, 0.0));
    }
}
