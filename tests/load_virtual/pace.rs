//! When connections are started, and what is said when they cannot be.

use crate::net::{CLIENT, NOBODY, Net, ONE_WAY, SERVER, target};
use crate::target::{Does, Target};
use crossbeam::channel::{TryRecvError, bounded};
use handfast::load::{
    Answer, Bound, Life, Order, Plan, Rate, RateAsked, Schedule, Setting, Spacing, Span, StepOrder, Until,
};
use handfast::stack::LocalAddr;
use handfast::time::{Duration, Instant};
use handfast::wire::Addr;
use std::net::IpAddr;

const RTT_NS: u64 = 2 * ONE_WAY.as_nanos() as u64;

fn open_loop(rate: Rate, spacing: Spacing, in_flight: u32) -> Plan {
    Plan {
        schedule: Schedule::Open { rate, spacing, offset: 0.0, in_flight, seed: 3 },
        until: Until { connections: None, duration: Some(Duration::from_secs(2)) },
        ..Plan::closed_loop(target(), 1)
    }
}

fn asked(rate: Rate) -> Setting<'static> {
    Setting { rate: Some(RateAsked { from: rate.from, to: rate.to, seed: 3 }), ..Setting::default() }
}

/// Whether they differ by no more than so many percent.
fn near(a: u64, b: u64, percent: u64) -> bool {
    a.abs_diff(b) * 100 <= b * percent
}

#[test]
fn an_even_rate_starts_each_connection_at_its_time() {
    let rate = Rate::constant(1_000.0);
    let left = Net::new(open_loop(rate, Spacing::Even, 100), Target::that(Does::Discard)).run_with(asked(rate));
    let counts = left.results.counts;
    // 0 ms, 1 ms, … 1,999 ms.
    assert_eq!((counts.opened, counts.closed, left.results.waits.not_started), (2_000, 2_000, 0), "{counts:?}");
    let start = left.results.latencies.of(Span::Start);
    assert!(start.max() <= 1_000, "each at its time: {} ns", start.max());
    for span in [Span::Handshake, Span::HandshakeFromSyn, Span::Close] {
        assert!(near(left.results.latencies.of(span).value_at_quantile(0.5), RTT_NS, 1), "{span:?}");
    }
    assert!(near(left.results.latencies.of(Span::Life).value_at_quantile(0.5), 2 * RTT_NS, 1));
    assert_eq!((left.report.verdict.bound, left.report.rate.unwrap().reached), (Bound::RateReached, true));
}

#[test]
fn a_ramp_and_a_poisson_process_come_to_their_number() {
    let rate = Rate { from: 100.0, to: 1_900.0, over: Duration::from_secs(2) };
    for (spacing, percent) in [(Spacing::Even, 1), (Spacing::Poisson, 10)] {
        let left = Net::new(open_loop(rate, spacing, 1_000), Target::that(Does::Discard)).run();
        assert!(near(left.results.counts.opened, 2_000, percent), "{spacing}: {:?}", left.results.counts);
    }
}

/// Coordinated omission: a target that stands still holds up those behind as well, and they are measured from when they
/// were meant to start.
#[test]
fn who_waited_behind_a_stalled_target_is_measured_from_the_intended_start() {
    let rate = Rate::constant(1_000.0);
    let mut net = Net::new(open_loop(rate, Spacing::Even, 100), Target::that(Does::Discard));
    net.still = Some((net.now + Duration::from_millis(500), net.now + Duration::from_millis(900)));
    let left = net.run_with(asked(rate));
    let (latencies, waits) = (&left.results.latencies, left.results.waits);
    assert!(left.results.counts.closed >= 1_990, "nothing was left out: {:?}", left.results.counts);
    assert!(waits.late > 250 && waits.room > 0 && waits.room_time >= Duration::from_millis(250), "{waits:?}");
    let (p95, from_syn) = (
        latencies.of(Span::Handshake).value_at_quantile(0.95),
        latencies.of(Span::HandshakeFromSyn).value_at_quantile(0.95),
    );
    assert!(p95 > 250_000_000, "{p95} ns from the intended start");
    assert!(from_syn < 20_000_000, "{from_syn} ns from the SYN: few SYNs met the stall");
}

#[test]
fn a_rate_that_a_slow_target_does_not_bear_is_said_and_not_lowered() {
    let rate = Rate::constant(1_000.0);
    let life = Life { request: b"?".as_slice().into(), answer: Answer::Octets(9), ..Life::default() };
    let plan = Plan { life, ..open_loop(rate, Spacing::Even, 10) };
    // 10 at once, each of them 130 ms or more: some 75 a second.
    let left = Net::new(plan, Target::that(Does::Answer(9, Duration::from_millis(100)))).run_with(asked(rate));
    let (report, rate) = (&left.report, left.report.rate.unwrap());
    assert_eq!(rate.intended, 2_000, "{rate:?}");
    assert!(!rate.reached && rate.not_started > 1_800 && rate.started_per_second < 90.0, "{rate:?}");
    assert_eq!((report.verdict.bound, report.failed.all()), (Bound::TargetBound, 0), "{:?}", report.verdict);
    assert!(report.verdict.because.contains("--concurrency"), "{:?}", report.verdict);
    assert!(report.to_string().contains("NOT REACHED"), "{report}");
    assert!(left.results.latencies.of(Span::Answer).value_at_quantile(0.5) > 100_000_000);
}

#[test]
fn a_dead_a_refusing_and_a_resetting_target_are_told_apart() {
    let rate = Rate::constant(50.0);
    let run = |port: u16, does: Option<Does>| {
        let plan = Plan { target: (SERVER, port).into(), ..open_loop(rate, Spacing::Even, 1_000) };
        let left = Net::new(plan, does.and_then(Target::that)).run_with(asked(rate));
        assert_eq!(left.report.verdict.bound, Bound::TargetBound, "{:?}", left.report.verdict);
        assert!(!left.report.rate.unwrap().reached);
        let c = left.results.counts;
        assert_eq!(c.opened, 100, "{c:?}");
        (c.opened, c.established, c.refused, c.timeout, c.reset)
    };
    let (opened, established, refused, timeout, reset) = run(80, None);
    assert_eq!((established, refused, timeout, reset), (0, 0, opened, 0), "dead");
    let (opened, established, refused, timeout, reset) = run(NOBODY, Some(Does::Discard));
    assert_eq!((established, refused, timeout, reset), (0, opened, 0, 0), "refusing");
    let plan = Life { hold: Duration::from_millis(100), ..Life::default() };
    let plan = Plan { life: plan, ..open_loop(rate, Spacing::Even, 1_000) };
    let c = Net::new(plan, Target::that(Does::Reset)).run().results.counts;
    assert_eq!((c.established, c.reset), (c.opened, c.opened), "resetting: {c:?}");
}

/// The stack would give up at a retransmission, after 3 s; and the run's end does not make those unfinished whom the target
/// never answered.
#[test]
fn a_handshake_takes_as_long_as_allowed_and_is_timed_out_then() {
    let life = Life { connect_timeout: Duration::from_millis(1_500), ..Life::default() };
    let until = Until { connections: Some(20), duration: None };
    let plan = Plan { life: life.clone(), until, ..Plan::closed_loop(target(), 10) };
    let left = Net::<Target>::new(plan, None).run();
    assert_eq!((left.results.counts.timeout, left.results.counts.opened), (20, 20), "{:?}", left.results.counts);
    assert_eq!(left.results.measured().as_millis(), 3_000, "two after each other");
    let plan =
        Plan { life, grace: Duration::from_millis(1_500), ..open_loop(Rate::constant(50.0), Spacing::Even, 1_000) };
    let counts = Net::<Target>::new(plan, None).run().results.counts;
    assert_eq!((counts.opened, counts.timeout, counts.unfinished), (100, 100, 0), "{counts:?}");
}

#[test]
fn without_ports_the_run_is_port_bound() {
    let rate = Rate::constant(200.0);
    let plan = open_loop(rate, Spacing::Even, 1_000);
    let net = Net::tuned(plan, Target::that(Does::Discard), |config| config.ephemeral_ports = (2_000, 2_099));
    let left = net.run_with(asked(rate));
    assert_eq!((left.results.counts.closed, left.results.counts.failed()), (100, 0), "{:?}", left.results.counts);
    assert_eq!(left.report.verdict.bound, Bound::PortBound, "{:?}", left.report.verdict);
    let ports = left.report.limits.ports;
    assert_eq!((ports.used, ports.limit, left.report.limits.time_wait.used), (100, 100, 100));
    assert!(left.report.rate.unwrap().not_started >= 299, "{:?}", left.report.rate);
}

/// Who ended leaves its place at the turn's end: no wait is made of it. Half of them are opened, and end, a turn later than
/// the others.
#[test]
fn as_many_under_way_as_the_table_holds_wait_for_no_port() {
    let until = Until { connections: Some(5_120), duration: None };
    let plan = Plan { until, ..Plan::closed_loop(target(), 512) };
    let left = Net::tuned(plan, Target::that(Does::Discard), |config| config.limits.connections = 512).run();
    let waits = left.results.waits;
    assert_eq!((left.results.counts.closed, waits.ports, waits.table), (5_120, 0, 0), "{waits:?}");
    assert_eq!(left.report.verdict.bound, Bound::TargetBound, "{:?}", left.report.verdict);
    // 10 lives of 20 ms after each other.
    assert!(near(left.results.measured().as_millis() as u64, 200, 1), "{:?}", left.results.measured());
}

#[test]
fn a_table_that_is_too_small_is_called_that_and_no_lack_of_ports() {
    let rate = Rate::constant(2_000.0);
    let plan = open_loop(rate, Spacing::Even, 1_000);
    let net = Net::tuned(plan, Target::that(Does::Discard), |config| config.limits.connections = 16);
    let left = net.run_with(asked(rate));
    let (counts, waits) = (left.results.counts, left.results.waits);
    // 16 at once, 20 ms each: no more than 800 a second.
    assert!(
        near(counts.closed, 1_600, 2) && counts.failed() == 0,
        "a place is taken as soon as it is free: {counts:?}"
    );
    assert!(waits.ports == 0 && waits.table_time >= Duration::from_millis(1_900), "{waits:?}");
    let verdict = &left.report.verdict;
    assert!(verdict.bound == Bound::ClientBound && verdict.because.contains("table"), "{verdict:?}");
}

/// Many come due in the very turn in which the time is up, before the first answer has come.
#[test]
fn all_whose_time_came_are_started_however_many_came_due_in_the_last_turn() {
    let until = |duration| Until { connections: None, duration };
    let (length, late) = (Duration::from_millis(8), Duration::from_millis(2));
    let plan = open_loop(Rate::constant(200_000.0), Spacing::Even, 10_000);
    let mut net = Net::new(Plan { until: until(Some(length)), ..plan.clone() }, Target::that(Does::Discard));
    let began = net.now;
    net.run_until(Some(began + late));
    net.now = began + length;
    let left = net.run();
    assert_eq!((left.results.counts.opened, left.results.waits.not_started), (1_600, 0));

    let schedule = Schedule::Steps { spacing: Spacing::Even, in_flight: 10_000, seed: 1 };
    let mut net = Net::new(Plan { schedule, until: until(None), ..plan }, Target::that(Does::Discard));
    let (outcome, told) = bounded(1);
    net.order(Order::Step(StepOrder { number: 1, rate: 200_000.0, length, settle: 5 * length, outcome }));
    net.run_until(Some(began + late));
    net.now = began + length;
    net.run_until(Some(began + 5 * length));
    let step = told.try_recv().expect("all are over within 20 ms");
    assert_eq!((step.intended, step.started), (1_600, 1_600), "{step:?}");
    net.order(Order::Finish);
    net.run_until(None);
}

#[test]
fn the_next_source_is_used_when_one_has_no_port_left() {
    let second = LocalAddr { addr: Addr::from_v4([10, 0, 0, 3]), prefix_len: 24 };
    let until = Until { connections: None, duration: Some(Duration::from_secs(2)) };
    let sources = [CLIENT, [10, 0, 0, 3]].map(IpAddr::from).into();
    let plan = Plan { sources, until, ..Plan::closed_loop(target(), 10) };
    let net = Net::tuned(plan, Target::that(Does::Discard), |config| {
        config.ephemeral_ports = (2_000, 2_049);
        config.addresses.push(second);
    });
    let left = net.run();
    assert_eq!((left.results.counts.closed, left.results.counts.failed()), (100, 0), "{:?}", left.results.counts);
    let limits = &left.report.limits;
    assert_eq!((limits.ports.used, limits.ports.limit, left.report.verdict.bound), (100, 100, Bound::PortBound));
}

/// One step of a search, and another one after it that must not hear of the first one's timers.
#[test]
fn steps_of_a_search_are_told_apart() {
    let schedule = Schedule::Steps { spacing: Spacing::Even, in_flight: 5, seed: 1 };
    let life = Life { request: b"?".as_slice().into(), answer: Answer::Octets(1), ..Life::default() };
    let plan = Plan { schedule, life, ..Plan::closed_loop(target(), 1) };
    let mut net = Net::new(plan, Target::that(Does::Answer(1, Duration::from_millis(80))));
    let mut step = |number, rate| {
        let (outcome, told) = bounded(1);
        // The first step's patience would be over within the second one.
        let (length, settle) = (Duration::from_secs(1), Duration::from_millis(1_200));
        net.order(Order::Step(StepOrder { number, rate, length, settle, outcome }));
        let until = net.now + Duration::from_millis(1_300);
        net.run_until(Some(until));
        net.now = until;
        told.try_recv().expect("settled as soon as the last one is over, not when its patience is")
    };
    // 5 at once, 100 ms to the answer, 10 ms to close: at most 45 a second.
    let light = step(1, 20.0);
    assert_eq!((light.intended, light.closed), (20, 20), "{light:?}");
    assert!(near(light.latency.value_at_quantile(0.99), RTT_NS * 2 + 80_000_000, 5), "to the first octet");
    let heavy = step(2, 200.0);
    assert!(heavy.intended == 200 && heavy.closed < 60, "{heavy:?}");
    assert!(heavy.latency.value_at_quantile(0.99) > 500_000_000, "from the intended start");
    net.order(Order::Finish);
    net.run_until(None);
}

#[test]
fn who_waits_for_a_step_hears_at_once_that_the_run_has_ended() {
    let schedule = Schedule::Steps { spacing: Spacing::Even, in_flight: 5, seed: 1 };
    let no_way = "203.0.113.1:7".parse().expect("an address");
    let mut net = Net::new(Plan { schedule, ..Plan::closed_loop(no_way, 1) }, None::<Target>);
    let (outcome, told) = bounded(1);
    let (length, settle) = (Duration::from_secs(10), Duration::from_secs(10));
    net.order(Order::Step(StepOrder { number: 1, rate: 10.0, length, settle, outcome }));
    net.run_until(Some(net.now + Duration::from_millis(200)));
    assert_eq!(told.try_recv().err(), Some(TryRecvError::Disconnected));
}

#[test]
fn a_step_says_whether_the_table_was_full() {
    let schedule = Schedule::Steps { spacing: Spacing::Even, in_flight: 100, seed: 1 };
    let plan = Plan { schedule, ..Plan::closed_loop(target(), 1) };
    let mut net = Net::tuned(plan, Target::that(Does::Discard), |config| config.limits.connections = 16);
    // 16 at once, 20 ms each: no more than 800 a second.
    for (number, rate, full) in [(1, 400.0, false), (2, 1_600.0, true), (3, 400.0, false)] {
        let (outcome, told) = bounded(1);
        let (length, settle) = (Duration::from_secs(1), Duration::from_millis(500));
        net.order(Order::Step(StepOrder { number, rate, length, settle, outcome }));
        net.run_until(Some(net.now + length + settle));
        let outcome = told.try_recv().expect("the step is over");
        assert_eq!(outcome.table_was_full, full, "{outcome:?}");
    }
    net.order(Order::Finish);
    net.run_until(None);
}

#[test]
fn an_even_closed_loop_is_not_called_an_open_one() {
    let until = Until { connections: Some(500), duration: None };
    let left = Net::new(Plan { until, ..Plan::closed_loop(target(), 10) }, Target::that(Does::Discard)).run();
    assert_eq!((left.results.counts.closed, left.report.rate), (500, None));
    assert_eq!(left.report.verdict.bound, Bound::TargetBound, "it waits for the wire: {:?}", left.report.verdict);
    // 10 at once, 20 ms each.
    assert!(near(left.report.connections_per_second as u64, 500, 3), "{}", left.report.connections_per_second);
    assert!(left.results.measured() < Instant::from_millis(1_100).since(Instant::ZERO));
}
