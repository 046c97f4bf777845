//! Whose turn it is: a schedule as a worker follows it.

use super::plan::Schedule;
use super::schedule::{Arrivals, Rate};
use super::step::StepOrder;
use crate::time::{Duration, Instant};

/// When the next connection is to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Now; its time was this.
    Now(Instant),
    /// At this time.
    At(Instant),
    /// Not until something changes.
    Never,
}

/// A schedule that is being followed.
#[derive(Debug)]
pub(super) enum Pace {
    /// As soon as there is room.
    Closed,
    /// By arrivals.
    Open {
        /// When each is due, counted from `began`.
        arrivals: Arrivals,
        /// The start.
        began: Instant,
        /// What is due by then or later is no part of it any more: whoever ends it is always a little late.
        ends: Option<Instant>,
    },
    /// Nothing is to be started.
    Idle,
}

impl Pace {
    /// From the start of a run on, for so long if it is known.
    pub fn new(schedule: &Schedule, now: Instant, length: Option<Duration>) -> Self {
        match *schedule {
            Schedule::Closed { .. } => Pace::Closed,
            Schedule::Open { rate, spacing, offset, seed, .. } => {
                Pace::open(Arrivals::new(rate, spacing, seed, offset), now, length)
            }
            Schedule::Steps { .. } => Pace::Idle,
        }
    }

    /// One step of a search, from now on.
    pub fn step(schedule: &Schedule, step: &StepOrder, now: Instant) -> Self {
        let Schedule::Steps { spacing, seed, .. } = *schedule else { return Pace::Idle };
        let seed = seed.wrapping_add(u64::from(step.number) << 32);
        Pace::open(Arrivals::new(Rate::constant(step.rate), spacing, seed, 0.0), now, Some(step.length))
    }

    fn open(arrivals: Arrivals, began: Instant, length: Option<Duration>) -> Self {
        Pace::Open { arrivals, began, ends: length.map(|length| began + length) }
    }

    /// When the next connection is to be started.
    pub fn next(&self, now: Instant) -> Next {
        match self {
            Pace::Closed => Next::Now(now),
            Pace::Idle => Next::Never,
            Pace::Open { arrivals, began, ends } => match arrivals.next().map(|after| *began + after) {
                None => Next::Never,
                Some(due) if ends.is_some_and(|ends| due >= ends) => Next::Never,
                Some(due) if due <= now => Next::Now(due),
                Some(due) => Next::At(due),
            },
        }
    }

    /// It was started.
    pub fn started(&mut self) {
        if let Pace::Open { arrivals, .. } = self {
            arrivals.advance();
        }
    }

    /// How many should have been started by now and were not; none where none is to be started now.
    pub fn owed(&self, now: Instant) -> u64 {
        match self {
            // How many are expected is rounded, and may come to one that never comes.
            Pace::Open { arrivals, began, ends } if matches!(self.next(now), Next::Now(_)) => {
                arrivals.owed(ends.map_or(now, |ends| ends.min(now)).since(*began))
            }
            _ => 0,
        }
    }

    /// Whether connections have times of their own, at which they are to be started.
    pub fn is_open(&self) -> bool {
        matches!(self, Pace::Open { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::super::schedule::Spacing;
    use super::*;

    #[test]
    fn an_open_loop_is_late_when_it_must_be_and_knows_it() {
        let schedule = Schedule::Open {
            rate: Rate::constant(1_000.0),
            spacing: Spacing::Even,
            offset: 0.0,
            in_flight: 1,
            seed: 0,
        };
        let start = Instant::from_millis(500);
        let mut pace = Pace::new(&schedule, start, None);
        assert_eq!(pace.next(start), Next::Now(start));
        pace.started();
        assert_eq!(pace.next(start), Next::At(Instant::from_millis(501)));
        let late = Instant::from_millis(510);
        assert_eq!((pace.next(late), pace.owed(late)), (Next::Now(Instant::from_millis(501)), 9));
    }

    #[test]
    fn what_is_due_when_it_ends_or_later_is_not_owed() {
        let (rate, spacing) = (Rate::constant(1_000.0), Spacing::Even);
        let schedule = Schedule::Open { rate, spacing, offset: 0.0, in_flight: 1, seed: 0 };
        let mut pace = Pace::new(&schedule, Instant::ZERO, Some(Duration::from_millis(10)));
        let late = Instant::from_millis(12);
        assert_eq!(pace.owed(late), 10, "0 ms to 9 ms");
        (0..10).for_each(|_| pace.started());
        assert_eq!((pace.next(late), pace.owed(late)), (Next::Never, 0));
    }

    /// Where the arrivals of seven workers lie is rounded.
    #[test]
    fn whoever_is_not_to_start_anything_owes_nothing() {
        let length = Duration::from_secs(30);
        let end = Instant::ZERO + length;
        for worker in 0..7 {
            let (rate, spacing) = (Rate::constant(1_000.0).scaled(1.0 / 7.0), Spacing::Even);
            let schedule = Schedule::Open { rate, spacing, offset: f64::from(worker) / 7.0, in_flight: 1, seed: 0 };
            let mut pace = Pace::new(&schedule, Instant::ZERO, Some(length));
            while let Next::Now(_) = pace.next(end) {
                pace.started();
            }
            assert_eq!((pace.next(end), pace.owed(end)), (Next::Never, 0), "worker {worker}");
        }
    }

    #[test]
    fn a_search_does_nothing_until_it_is_told_a_rate() {
        let schedule = Schedule::Steps { spacing: Spacing::Even, in_flight: 1, seed: 0 };
        assert_eq!(Pace::new(&schedule, Instant::ZERO, None).next(Instant::from_millis(9)), Next::Never);
        let (outcome, _told) = crossbeam::channel::bounded(1);
        let (length, settle) = (Duration::from_secs(1), Duration::ZERO);
        let step = StepOrder { number: 1, rate: 5.0, length, settle, outcome };
        assert!(matches!(Pace::step(&schedule, &step, Instant::ZERO).next(Instant::ZERO), Next::Now(_)));
    }
}
