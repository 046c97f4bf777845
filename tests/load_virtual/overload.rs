//! Ten times the rated load: a target serves as many connections as when it is offered no more than it bears.

use crate::net::{Net, target};
use crate::target::{Does, Target};
use handfast::load::{Answer, Counts, Life, Plan, Rate, Schedule, Spacing, Until};
use handfast::stack::{DefenceConfig, SynDefence};
use handfast::time::Duration;

/// Connections that the target's table holds.
const TABLE: u32 = 100;
const SECONDS: u64 = 3;

/// A question, and its answer after a while.
fn life() -> Life {
    Life { request: b"a question"[..].into(), answer: Answer::Octets(200), ..Life::default() }
}

/// What had become of the connections after [`SECONDS`].
fn run(schedule: Schedule, mode: SynDefence) -> Counts {
    let until = Until { connections: None, duration: Some(Duration::from_secs(2 * SECONDS)) };
    let plan = Plan { life: life(), schedule, until, ..Plan::closed_loop(target(), 1) };
    let mut net = Net::with_target(plan, Target::that(Does::Answer(200, Duration::from_millis(80))), |target| {
        target.limits.connections = TABLE;
        target.limits.half_open = 16 * TABLE;
        // All clients are one host.
        target.defence = DefenceConfig { mode, prefix_share: 100, ..target.defence };
    });
    net.run_until(Some(net.now + Duration::from_secs(SECONDS)));
    net.counts()
}

#[test]
fn at_ten_times_the_rated_load_it_still_serves_the_rated_load() {
    // What it bears: the table is full all the time, and nobody is refused.
    let rated = run(Schedule::Closed { concurrency: TABLE - 10 }, SynDefence::Auto);
    assert_eq!((rated.timeout, rated.reset), (0, 0), "{rated:?}");
    let ten_times = 10.0 * rated.closed as f64 / SECONDS as f64;
    // Without cookies handshakes that wait for room fill the table, and it is idle now and then.
    let modes = [(SynDefence::Auto, 100), (SynDefence::Cookie, 100), (SynDefence::Table, 80)];
    for (mode, percent) in modes {
        let schedule = Schedule::Open {
            rate: Rate::constant(ten_times),
            spacing: Spacing::Poisson,
            offset: 0.0,
            in_flight: 1 << 16,
            seed: 3,
        };
        let counts = run(schedule, mode);
        assert!(counts.opened > 9 * rated.opened, "{mode}: {counts:?}");
        assert!(100 * counts.closed >= percent * rated.closed, "{mode}: rated {rated:?}, at ten times {counts:?}");
    }
}
