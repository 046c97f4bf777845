//! Whether a worker may have as many connections as a run wants under way, seen to before it starts.

use crate::SetupError;
use crate::load::{Plan, grouped};

/// Makes a run fit into tables of `most` connections each. A bound that nobody asked for is lowered to what they hold.
///
/// # Errors
/// More was asked for: the run would wait for its own table.
pub(super) fn fit(plan: Plan, asked: bool, workers: u32, most: u32) -> Result<Plan, SetupError> {
    let wanted = wanted(&plan, workers);
    if wanted <= u64::from(most) {
        return Ok(plan);
    }
    if !asked {
        // As many workers as before get a share: a table holds one connection at least.
        let busy = plan.split(workers).iter().filter(|share| share.schedule.room() > 0).count() as u32;
        let room = plan.schedule.room().min(most.saturating_mul(busy));
        return Ok(Plan { schedule: plan.schedule.with_room(room), ..plan });
    }
    let cause = format!(
        "up to {} are to be under way on a worker, and `--max-connections` allows {}",
        grouped(wanted),
        grouped(most.into())
    );
    Err(SetupError::new("--concurrency", cause, "give less of the one or more of the other"))
}

/// At most so many are under way on a worker at one time.
fn wanted(plan: &Plan, workers: u32) -> u64 {
    let shares = plan.split(workers);
    let most = shares.iter().map(|share| {
        let room = u64::from(share.schedule.room());
        share.until.connections.map_or(room, |connections| connections.min(room))
    });
    most.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Rate, Schedule, Spacing, Until};

    fn plan(schedule: Schedule, connections: Option<u64>) -> Plan {
        let until = Until { connections, duration: None };
        Plan { schedule, until, ..Plan::closed_loop(([10, 0, 0, 2], 80).into(), 1) }
    }

    /// The concurrency that is left of what was asked for, or what is said.
    fn asked(concurrency: u32, connections: Option<u64>, workers: u32, most: u32) -> Result<u32, String> {
        let plan = plan(Schedule::Closed { concurrency }, connections);
        fit(plan, true, workers, most).map(|plan| plan.schedule.room()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_run_that_would_wait_for_its_own_table_is_refused() {
        for (concurrency, connections, workers, most) in [
            (64, None, 1, 64),
            (65, None, 2, 33),
            (1 << 20, None, 1, 1 << 20),
            // There never are more.
            (65_536, Some(10), 1, 10),
        ] {
            assert_eq!(asked(concurrency, connections, workers, most), Ok(concurrency));
        }
        let line = asked(65, None, 2, 32).unwrap_err();
        assert!(line.contains("up to 33 are to be under way on a worker, and `--max-connections` allows 32"), "{line}");
    }

    #[test]
    fn a_bound_that_nobody_asked_for_is_lowered_to_what_the_tables_hold() {
        let open = |in_flight| Schedule::Open {
            rate: Rate::constant(100.0),
            spacing: Spacing::Even,
            offset: 0.0,
            in_flight,
            seed: 1,
        };
        let steps = |in_flight| Schedule::Steps { spacing: Spacing::Even, in_flight, seed: 1 };
        let closed = |concurrency| Schedule::Closed { concurrency };
        for (before, connections, workers, most, after) in [
            (open(65_536), None, 1, 10_000, open(10_000)),
            (steps(65_536), None, 2, 10_000, steps(20_000)),
            (closed(64), None, 4, 10, closed(40)),
            (closed(64), None, 8, 10, closed(64)),
            // Two workers have something to do.
            (closed(64), Some(2), 8, 10, closed(64)),
            (closed(64), Some(40), 2, 10, closed(20)),
        ] {
            let fitted = fit(plan(before, connections), false, workers, most).unwrap();
            assert_eq!(fitted.schedule, after, "of {before:?}");
            assert!(wanted(&fitted, workers) <= u64::from(most), "{before:?}");
        }
    }
}
