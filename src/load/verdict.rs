//! What bounded a run: the generator says its own limit before it judges the target. Pure.

use super::failure::why_none;
use super::report::{Limits, Setting, grouped};
use super::results::Results;
use super::search::Search;
use crate::stats::Snapshot;
use serde::Serialize;

/// What bounded a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "kebab-case")]
pub enum Bound {
    /// Nothing: the rate that was asked for was reached.
    #[strum(serialize = "rate reached")]
    RateReached,
    /// The generator: a core at its limit, its table full, or frames lost on our side.
    ClientBound,
    /// Too few local addresses and ports.
    PortBound,
    /// The target, or the way to it.
    TargetBound,
    /// What was seen is not enough to say: a search that was ended early, a run that was before anything was over, or no
    /// connection whose time came.
    Undecided,
}

/// A verdict and its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What bounded the run.
    pub bound: Bound,
    /// Why we say so.
    pub because: String,
}

/// A rate counts as reached when so large a part of the connections went well.
const REACHED: f64 = 0.99;
/// A run is port-bound when connections waited for ports in so large a part of its time.
const PORT_SHARE: f64 = 0.05;
/// The generator's table is its limit when connections waited for it in so large a part of its time.
const TABLE_SHARE: f64 = 0.05;
/// A worker is at its limit when it is busy in so large a part of its time.
const BUSY_SHARE: f64 = 0.95;
/// Frames lost on our side in such a number are no accident.
const LOST_SHARE: f64 = 0.001;

/// So large a part of the connections started late is worth a word.
const LATE_SHARE: f64 = 0.01;

/// What is said of that table.
const TABLE_FULL: &str = "the table of connections was full; more `--max-connections`, or `--table-memory`";

/// What is said where connections waited for others to end. A bound that nobody asked for may be that of the table.
const MORE_ROOM: &str = "more `--concurrency`, or `--max-connections` where that is the bound, may get more";

/// What the verdict rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// In an open loop: connections whose time came.
    pub intended: Option<u64>,
    /// Connections that were started.
    pub opened: u64,
    /// Connections that went well.
    pub closed: u64,
    /// Connections that failed.
    pub failed: u64,
    /// Connections that were under way when the run ended.
    pub unfinished: u64,
    /// Seconds measured.
    pub seconds: f64,
    /// Seconds in which connections waited for ports, for each worker.
    pub port_wait: f64,
    /// Seconds in which connections waited because as many as allowed were under way, for each worker.
    pub room_wait: f64,
    /// Seconds in which connections waited because the table of connections was full, for each worker.
    pub table_wait: f64,
    /// Whether a signal ended the run.
    pub interrupted: bool,
    /// The busiest worker.
    pub busy_share: f64,
    /// Frames that the kernel lost before they came to us.
    pub lost: u64,
    /// Frames received.
    pub received: u64,
    /// Connections that were started more than a millisecond late.
    pub late: u64,
    /// Where not one connection went well: why, if that can be named.
    pub why_none: Option<&'static str>,
    /// Part of the frames that the link and the driver can carry, where that is known.
    pub ceiling_share: Option<f64>,
}

impl Verdict {
    /// What bounded a search: what kept the lowest rate that was too high from its goal.
    pub fn of_search(search: &Search) -> Verdict {
        let (bound, because) = if search.ports_ran_out() {
            (Bound::PortBound, "no local port was free; give more or larger `--address`".into())
        } else {
            match search.missed() {
                Some(tried) if tried.busy >= BUSY_SHARE => {
                    let because = format!(
                        "a worker was busy {} of its time at {}/s",
                        percent(tried.busy),
                        grouped(tried.rate as u64)
                    );
                    (Bound::ClientBound, because)
                }
                Some(tried) if tried.table_was_full => {
                    (Bound::ClientBound, format!("at {}/s {TABLE_FULL}", grouped(tried.rate as u64)))
                }
                Some(tried) if tried.is_late_by_itself() => {
                    let (late, p99) = (tried.start_p99_us / 1e3, tried.p99_us / 1e3);
                    let because = format!(
                        "at {}/s connections started late, of a p99 of {p99:.3} ms {late:.3} ms before their SYN; give the \
                         generator a core of its own, or `--idle spin`",
                        grouped(tried.rate as u64)
                    );
                    (Bound::ClientBound, because)
                }
                Some(tried) if tried.success == 0.0 => {
                    (Bound::TargetBound, format!("at {}/s not one connection went well", grouped(tried.rate as u64)))
                }
                Some(tried) => {
                    let (well, p99) = (percent(tried.success), tried.p99_us / 1e3);
                    let more = match tried.room_ran_out {
                        true => format!("; as many as allowed were under way; {MORE_ROOM}"),
                        false => String::new(),
                    };
                    let because = format!(
                        "at {}/s {well} went well, with a p99 of {p99:.3} ms{more}",
                        grouped(tried.rate as u64)
                    );
                    (Bound::TargetBound, because)
                }
                None if search.next().is_some() => (Bound::Undecided, "the search was ended before it was over".into()),
                None => (Bound::RateReached, "every rate that was tried met the goal".into()),
            }
        };
        Verdict { bound, because }
    }
}

impl Evidence {
    /// What is known of a run that is over.
    pub fn of(results: &Results, snapshot: &Snapshot, setting: Setting<'_>, limits: &Limits) -> Self {
        let (open_loop, interrupted) = (setting.rate.is_some(), setting.interrupted);
        let workers = snapshot.workers.len().max(1) as f64;
        let counts = &results.counts;
        Evidence {
            intended: open_loop.then_some(counts.opened + results.waits.not_started),
            opened: counts.opened,
            closed: counts.closed,
            failed: counts.failed(),
            unfinished: counts.unfinished,
            seconds: results.measured().as_secs_f64(),
            port_wait: results.waits.port_time.as_secs_f64() / workers,
            room_wait: results.waits.room_time.as_secs_f64() / workers,
            table_wait: results.waits.table_time.as_secs_f64() / workers,
            interrupted,
            busy_share: limits.busy.iter().copied().fold(0.0, f64::max),
            lost: snapshot.kernel.rx_ring_full + snapshot.kernel.rx_dropped,
            received: snapshot.frames.received,
            late: results.waits.late,
            why_none: why_none(results, snapshot),
            ceiling_share: limits.frame_ceiling_share,
        }
    }

    /// The verdict.
    pub fn judge(&self) -> Verdict {
        let (bound, because) = self
            .nothing()
            .or_else(|| self.none())
            .or_else(|| self.reached())
            .or_else(|| self.ports())
            .or_else(|| self.client())
            .or_else(|| self.too_early())
            .unwrap_or_else(|| self.target());
        Verdict { bound, because }
    }

    fn nothing(&self) -> Option<(Bound, String)> {
        (self.intended == Some(0))
            .then(|| (Bound::Undecided, "the run ended before the first connection's time".into()))
    }

    fn none(&self) -> Option<(Bound, String)> {
        self.why_none.map(|why| (Bound::TargetBound, why.into()))
    }

    fn reached(&self) -> Option<(Bound, String)> {
        let intended = self.intended?;
        let share = self.closed as f64 / intended as f64;
        (share >= REACHED).then(|| {
            let because = format!("{} of the connections asked for went well", percent(share));
            (Bound::RateReached, because + &self.lateness())
        })
    }

    /// What must be known of a rate that was reached late.
    fn lateness(&self) -> String {
        let share = self.late as f64 / self.opened.max(1) as f64;
        if share < LATE_SHARE {
            return String::new();
        }
        format!("; {} started more than 1 ms late, and their latencies count from their time", percent(share))
    }

    fn ports(&self) -> Option<(Bound, String)> {
        let share = self.port_wait / self.seconds.max(1e-9);
        (share >= PORT_SHARE).then(|| {
            let share = percent(share.min(1.0));
            (Bound::PortBound, format!("{share} of the time no local port was free; give more or larger `--address`"))
        })
    }

    fn client(&self) -> Option<(Bound, String)> {
        let table_share = self.table_wait / self.seconds.max(1e-9);
        let because = if self.busy_share >= BUSY_SHARE {
            format!("a worker was busy {} of its time; more queues and cores would help", percent(self.busy_share))
        } else if self.ceiling_share.is_some_and(|share| share >= BUSY_SHARE) {
            "the link carried as many frames as it can".into()
        } else if table_share >= TABLE_SHARE {
            let share = percent(table_share.min(1.0));
            format!("{share} of the time {TABLE_FULL}")
        } else if self.lost as f64 > LOST_SHARE * self.received as f64 {
            format!("the kernel lost {} frames before they came to us; a larger `--ring` may help", grouped(self.lost))
        } else {
            return None;
        };
        Some((Bound::ClientBound, because))
    }

    fn too_early(&self) -> Option<(Bound, String)> {
        (self.interrupted && self.closed + self.failed == 0)
            .then(|| (Bound::Undecided, "the run was ended by a signal before a connection was over".into()))
    }

    fn target(&self) -> (Bound, String) {
        let opened = self.opened.max(1) as f64;
        let too_many = |n: u64| n as f64 > (1.0 - REACHED) * opened;
        let because = if self.closed == 0 && self.failed + self.unfinished > 0 {
            "not one connection went well".into()
        } else if too_many(self.failed) {
            format!("{} of the connections failed", percent(self.failed as f64 / opened))
        } else if too_many(self.unfinished) {
            let share = percent(self.unfinished as f64 / opened);
            format!("{share} of the connections were still under way when the run ended")
        } else if self.room_wait > PORT_SHARE * self.seconds {
            format!("as many as allowed were under way; {MORE_ROOM}")
        } else if self.intended.is_none() {
            format!("all that were allowed under way waited for it; {MORE_ROOM}")
        } else {
            "it took too long".into()
        };
        (Bound::TargetBound, because)
    }
}

fn percent(share: f64) -> String {
    // Nothing short of all is shown as all.
    format!("{:.1} %", (share * 1e3).floor() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::super::search::Goal;
    use super::super::step::StepOutcome;
    use super::*;
    use crate::time::Duration;

    fn run() -> Evidence {
        Evidence {
            opened: 1_000,
            closed: 1_000,
            seconds: 10.0,
            busy_share: 0.5,
            received: 5_000,
            ..Evidence::default()
        }
    }

    #[test]
    fn each_verdict_has_its_reason() {
        let open = Evidence { intended: Some(1_000), ..run() };
        for (evidence, bound, because) in [
            (open, Bound::RateReached, "100.0 % of the connections"),
            (Evidence { closed: 989, failed: 11, ..open }, Bound::TargetBound, "1.1 % of the connections failed"),
            (Evidence { intended: Some(2_000), busy_share: 0.97, ..open }, Bound::ClientBound, "busy 97.0 %"),
            (Evidence { intended: Some(2_000), room_wait: 4.0, ..open }, Bound::TargetBound, MORE_ROOM),
            (Evidence { intended: Some(2_000), ..open }, Bound::TargetBound, "too long"),
            (
                Evidence { closed: 980, unfinished: 20, ..open },
                Bound::TargetBound,
                "2.0 % of the connections were still",
            ),
            (Evidence { closed: 0, unfinished: 1_000, ..open }, Bound::TargetBound, "not one"),
            (Evidence { intended: Some(0), opened: 0, closed: 0, ..run() }, Bound::Undecided, "before the first"),
            (
                Evidence { interrupted: true, closed: 0, unfinished: 1_000, ..run() },
                Bound::Undecided,
                "before a connection was over",
            ),
            (Evidence { interrupted: true, closed: 0, failed: 1, ..run() }, Bound::TargetBound, "not one"),
            (Evidence { interrupted: true, closed: 1, ..run() }, Bound::TargetBound, "waited for it"),
            (Evidence { table_wait: 4.0, ..run() }, Bound::ClientBound, "40.0 % of the time the table of connections"),
            (Evidence { port_wait: 2.0, busy_share: 1.0, ..run() }, Bound::PortBound, "20.0 % of the time"),
            (Evidence { lost: 50, ..run() }, Bound::ClientBound, "lost 50 frames"),
            (Evidence { ceiling_share: Some(0.96), ..run() }, Bound::ClientBound, "as many frames as it can"),
            (Evidence { closed: 0, failed: 1_000, ..run() }, Bound::TargetBound, "not one"),
            (
                Evidence { closed: 0, failed: 1_000, busy_share: 1.0, why_none: Some("refused"), ..open },
                Bound::TargetBound,
                "refused",
            ),
            (Evidence { late: 10, ..open }, Bound::RateReached, "; 1.0 % started more than 1 ms late"),
            (run(), Bound::TargetBound, MORE_ROOM),
        ] {
            let verdict = evidence.judge();
            assert_eq!(verdict.bound, bound, "{evidence:?}");
            assert!(verdict.because.contains(because), "{verdict:?}");
        }
    }

    /// A search that was told of these outcomes, as parts that went well, its table full or not.
    fn search(outcomes: &[f64], table_was_full: bool) -> Verdict {
        let goal = Goal { success: 0.999, slo: Duration::from_millis(5) };
        let mut search = Search::new(1_000.0, 4_000.0, goal);
        for closed in outcomes {
            let closed = (1_000.0 * closed) as u64;
            let mut outcome = StepOutcome { intended: 1_000, closed, table_was_full, ..StepOutcome::default() };
            // As ever: a little, which is more than nothing where not one has got as far as its latency.
            outcome.lateness.record(90_000).expect("within its range");
            search.tell(&outcome, Duration::from_secs(1), 0.5);
        }
        Verdict::of_search(&search)
    }

    #[test]
    fn a_search_that_was_ended_early_found_nothing_out() {
        for (outcomes, bound, because) in [
            (&[][..], Bound::Undecided, "ended before it was over"),
            (&[1.0, 1.0], Bound::Undecided, "ended before it was over"),
            (&[1.0, 1.0, 1.0], Bound::RateReached, "every rate that was tried"),
            (&[0.0, 0.0], Bound::TargetBound, "at 1,000/s not one connection went well"),
            (&[0.5, 0.5], Bound::TargetBound, "50.0 % went well"),
        ] {
            let verdict = search(outcomes, false);
            assert!(verdict.bound == bound && verdict.because.contains(because), "{outcomes:?}: {verdict:?}");
        }
        let verdict = search(&[0.5, 0.5], true);
        assert!(verdict.bound == Bound::ClientBound && verdict.because.contains("`--max-connections`"), "{verdict:?}");
        assert_eq!(
            search(&[1.0, 1.0, 1.0], true).bound,
            Bound::RateReached,
            "it waited, and came in time all the same"
        );
    }

    #[test]
    fn a_search_blames_the_generator_for_what_was_late_before_its_syn() {
        let ms = |histogram: &mut hdrhistogram::Histogram<u64>, ms: u64| histogram.record(ms * 1_000_000).unwrap();
        for (late, p99, room_ran_out, closed, bound) in [
            (14, 15, false, 1, Bound::ClientBound),
            (7, 15, false, 1, Bound::TargetBound),
            (14, 15, true, 1, Bound::TargetBound),
            (3, 4, false, 0, Bound::TargetBound),
        ] {
            let mut search = Search::new(1_000.0, 4_000.0, Goal { success: 0.999, slo: Duration::from_millis(5) });
            for _ in 0..2 {
                let mut step = StepOutcome { intended: 1, started: 1, closed, room_ran_out, ..StepOutcome::default() };
                ms(&mut step.latency, p99);
                ms(&mut step.lateness, late);
                search.tell(&step, Duration::from_secs(1), 0.02);
            }
            let verdict = Verdict::of_search(&search);
            assert_eq!(verdict.bound, bound, "{verdict:?}");
            assert_eq!(verdict.because.contains(MORE_ROOM), room_ran_out, "{verdict:?}");
        }
    }

    #[test]
    fn a_rate_that_was_almost_reached_is_not_called_whole() {
        assert_eq!(percent(0.99996), "99.9 %");
        let almost = Evidence { intended: Some(1_000), closed: 989, ..run() };
        assert_ne!(almost.judge().bound, Bound::RateReached);
    }
}
