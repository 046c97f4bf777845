//! Whose turn it is: a schedule as a worker follows it.

use super::plan::Schedule;
use super::schedule::{Arrivals, Rate};
use crate::time::Instant;

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
    /// By arrivals, since this instant.
    Open(Arrivals, Instant),
    /// Nothing is to be started.
    Idle,
}

impl Pace {
    /// From the start of a run on.
    pub fn new(schedule: &Schedule, now: Instant) -> Self {
        match *schedule {
            Schedule::Closed { .. } => Pace::Closed,
            Schedule::Open { rate, spacing, offset, seed, .. } => {
                Pace::Open(Arrivals::new(rate, spacing, seed, offset), now)
            }
            Schedule::Steps { .. } => Pace::Idle,
        }
    }

    /// One step of a search: this rate from now on.
    pub fn step(schedule: &Schedule, rate: f64, number: u32, now: Instant) -> Self {
        let Schedule::Steps { spacing, seed, .. } = *schedule else { return Pace::Idle };
        let seed = seed.wrapping_add(u64::from(number) << 32);
        Pace::Open(Arrivals::new(Rate::constant(rate), spacing, seed, 0.0), now)
    }

    /// When the next connection is to be started.
    pub fn next(&self, now: Instant) -> Next {
        match self {
            Pace::Closed => Next::Now(now),
            Pace::Idle => Next::Never,
            Pace::Open(arrivals, began) => match arrivals.next() {
                None => Next::Never,
                Some(after) if *began + after <= now => Next::Now(*began + after),
                Some(after) => Next::At(*began + after),
            },
        }
    }

    /// It was started.
    pub fn started(&mut self) {
        if let Pace::Open(arrivals, _) = self {
            arrivals.advance();
        }
    }

    /// How many should have been started by now and were not.
    pub fn owed(&self, now: Instant) -> u64 {
        match self {
            Pace::Open(arrivals, began) => arrivals.owed(now.since(*began)),
            Pace::Closed | Pace::Idle => 0,
        }
    }

    /// Whether connections have times of their own, at which they are to be started.
    pub fn is_open(&self) -> bool {
        matches!(self, Pace::Open(..))
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
        let mut pace = Pace::new(&schedule, start);
        assert_eq!(pace.next(start), Next::Now(start));
        pace.started();
        assert_eq!(pace.next(start), Next::At(Instant::from_millis(501)));
        let late = Instant::from_millis(510);
        assert_eq!((pace.next(late), pace.owed(late)), (Next::Now(Instant::from_millis(501)), 9));
    }

    #[test]
    fn a_search_does_nothing_until_it_is_told_a_rate() {
        let schedule = Schedule::Steps { spacing: Spacing::Even, in_flight: 1, seed: 0 };
        assert_eq!(Pace::new(&schedule, Instant::ZERO).next(Instant::from_millis(9)), Next::Never);
        assert!(matches!(Pace::step(&schedule, 5.0, 1, Instant::ZERO).next(Instant::ZERO), Next::Now(_)));
    }
}
