//! The search for the highest rate that the target bears: which rate to try next. Pure.

use super::step::StepOutcome;
use crate::time::Duration;
use serde::Serialize;

/// What a rate must come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// The least part of the connections that must go well.
    pub success: f64,
    /// What the 99th percentile must stay under.
    pub slo: Duration,
}

/// A rate that was tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// Connections a second that were asked for.
    pub rate: f64,
    /// Connections a second that were started.
    pub started_per_second: f64,
    /// The part of those asked for that went well.
    pub success: f64,
    /// 99th percentile from the intended start, in microseconds.
    pub p99_us: f64,
    /// Whether that is more than the goal.
    pub slo_missed: bool,
    /// 99th percentile of how late connections started, in microseconds.
    pub start_p99_us: f64,
    /// The busiest worker's part of its time.
    pub busy: f64,
    /// Whether connections waited because as many as allowed were under way.
    pub room_ran_out: bool,
    /// Whether connections waited because the generator's own table was full.
    pub table_was_full: bool,
    /// Whether the goal was met.
    pub met: bool,
}

impl Tried {
    /// Whether most of the latency that missed the goal was there before a SYN was sent, and the target had no part in that.
    pub fn is_late_by_itself(&self) -> bool {
        self.slo_missed && !self.room_ran_out && self.start_p99_us > self.p99_us / 2.0
    }
}

/// The goal is found when it lies between two rates that differ by no more than this.
const NEAR_ENOUGH: f64 = 1.02;
/// However noisy the target is, the search ends.
const MOST_STEPS: usize = 60;

/// A search: doubles the rate until the goal is missed, then halves the distance. A rate that missed it is tried once
/// more before that is believed.
#[derive(Clone, Debug)]
pub struct Search {
    goal: Goal,
    least: f64,
    most: f64,
    next: Option<f64>,
    /// The highest rate that met the goal.
    best: Option<f64>,
    /// The lowest one that missed it twice.
    missed: Option<f64>,
    doubted: bool,
    tried: Vec<Tried>,
    ports_ran_out: bool,
}

impl Search {
    /// Between these rates, both above zero, beginning at the lower one.
    pub fn new(least: f64, most: f64, goal: Goal) -> Self {
        Search {
            goal,
            least,
            most: most.max(least),
            next: Some(least),
            best: None,
            missed: None,
            doubted: false,
            tried: Vec::new(),
            ports_ran_out: false,
        }
    }

    /// The rate to try next; `None` when the search is over.
    pub fn next(&self) -> Option<f64> {
        self.next
    }

    /// What came of that rate within `length`, and how busy the busiest worker was.
    pub fn tell(&mut self, outcome: &StepOutcome, length: Duration, busy: f64) {
        let Some(rate) = self.next else { return };
        let success = if outcome.intended == 0 { 1.0 } else { outcome.closed as f64 / outcome.intended as f64 };
        let p99_ns = outcome.latency.value_at_quantile(0.99);
        let slo_missed = u128::from(p99_ns) > self.goal.slo.as_nanos();
        let met = success >= self.goal.success && !slo_missed;
        self.tried.push(Tried {
            rate,
            started_per_second: outcome.started as f64 / length.as_secs_f64().max(1e-9),
            success,
            p99_us: p99_ns as f64 / 1e3,
            slo_missed,
            start_p99_us: outcome.lateness.value_at_quantile(0.99) as f64 / 1e3,
            busy,
            room_ran_out: outcome.room_ran_out,
            table_was_full: outcome.table_was_full,
            met,
        });
        self.ports_ran_out |= outcome.ports_ran_out;
        self.next = if self.ports_ran_out || self.tried.len() >= MOST_STEPS { None } else { self.after(rate, met) };
    }

    fn after(&mut self, rate: f64, met: bool) -> Option<f64> {
        if !met && !self.doubted {
            self.doubted = true;
            return Some(rate);
        }
        self.doubted = false;
        if met {
            self.best = Some(rate);
        } else {
            self.missed = Some(rate);
        }
        match (self.best, self.missed) {
            (Some(best), None) => (best < self.most).then(|| (best * 2.0).min(self.most)),
            (Some(best), Some(missed)) => (missed / best > NEAR_ENOUGH).then(|| (best * missed).sqrt()),
            // Below the rate that was to be the least there is nothing to look for.
            (None, Some(missed)) => (missed > self.least).then(|| (missed / 2.0).max(self.least)),
            (None, None) => None,
        }
    }

    /// What a rate must come to.
    pub fn goal(&self) -> Goal {
        self.goal
    }

    /// The highest rate that met the goal.
    pub fn best(&self) -> Option<f64> {
        self.best
    }

    /// The lowest rate that missed it twice, if the search came to one.
    pub fn missed(&self) -> Option<&Tried> {
        let missed = self.missed?;
        self.tried.iter().rev().find(|tried| tried.rate == missed)
    }

    /// Whether it had to end because no local port was free.
    pub fn ports_ran_out(&self) -> bool {
        self.ports_ran_out
    }

    /// What was tried, in order.
    pub fn tried(&self) -> &[Tried] {
        &self.tried
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOAL: Goal = Goal { success: 0.999, slo: Duration::from_millis(5) };
    const SECOND: Duration = Duration::from_secs(1);

    fn outcome(rate: f64, closed: f64, p99: Duration) -> StepOutcome {
        let mut outcome = StepOutcome { intended: rate as u64, started: rate as u64, ..StepOutcome::default() };
        outcome.closed = (rate * closed) as u64;
        outcome.latency.record(p99.as_nanos() as u64).unwrap();
        outcome
    }

    /// Searches for a target that bears `capacity`; steps of these numbers fail whatever the rate.
    fn search(least: f64, most: f64, capacity: f64, hiccups: &[usize]) -> Search {
        let mut search = Search::new(least, most, GOAL);
        let mut steps = 0;
        while let Some(rate) = search.next() {
            let bears = rate <= capacity && !hiccups.contains(&steps);
            let p99 = Duration::from_millis(if bears { 1 } else { 50 });
            search.tell(&outcome(rate, 1.0, p99), SECOND, 0.5);
            steps += 1;
            assert!(steps <= MOST_STEPS);
        }
        search
    }

    proptest! {
        #[test]
        fn the_highest_rate_is_found_to_two_percent(least in 1.0f64..5_000.0, up in 1.0f64..1e4, at in 0.0f64..1.2) {
            let most = least * up;
            let capacity = least + (most - least) * at;
            let best = search(least, most, capacity, &[]).best().unwrap();
            prop_assert!(best <= capacity && (best >= capacity / 1.021 || best == most), "{} of {}", best, capacity);
        }

        #[test]
        fn a_single_hiccup_changes_nothing(capacity in 1_000.0f64..1e6, hiccup in 0usize..12) {
            let search = search(1_000.0, 1e7, capacity, &[hiccup]);
            let (best, missed) = (search.best().unwrap(), search.missed().unwrap().rate);
            prop_assert!(best <= capacity && best >= capacity / 1.021, "{} of {}", best, capacity);
            prop_assert!(missed > capacity, "the hiccup at {} is not what bounds it", missed);
        }
    }

    #[test]
    fn a_target_that_does_not_bear_the_least_has_no_best() {
        let search = search(1_000.0, 1e6, 10.0, &[]);
        assert_eq!((search.best(), search.tried().len()), (None, 2), "tried twice, and no more");
    }

    #[test]
    fn success_and_the_percentile_must_both_be_met() {
        for (closed, p99, met) in [(1.0, 4, true), (0.998, 4, false), (1.0, 6, false)] {
            let mut search = Search::new(10_000.0, 1e6, GOAL);
            search.tell(&outcome(10_000.0, closed, Duration::from_millis(p99)), SECOND, 0.0);
            assert_eq!(search.tried()[0].met, met, "{closed} {p99}");
        }
    }

    #[test]
    fn without_ports_the_search_ends_and_says_so() {
        let mut search = Search::new(10.0, 1e6, GOAL);
        let out = StepOutcome { ports_ran_out: true, ..outcome(10.0, 1.0, SECOND) };
        search.tell(&out, SECOND, 0.0);
        assert!(search.next().is_none() && search.ports_ran_out());
    }
}
