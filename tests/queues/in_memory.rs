//! Four workers at each end of a switch that may do with frames what it wants.

use crate::party::{Caller, Echo};
use crate::switch::{QUEUES, Rule, Switch, at_random, by_rss};
use handfast::engine::{Ended, Engine, EngineConfig, Link};
use handfast::stack::steering::{Rss, Sharding};
use handfast::stack::{Limits, LocalAddr};
use handfast::time::Duration;
use handfast::wire::{Addr, MacAddr};

const CALLER: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [10, 0, 0, 2];
/// Connections of each of the caller's workers.
const EACH: u32 = 300;

fn config(octets: [u8; 4], rss: Option<Rss>) -> EngineConfig {
    let mut config = EngineConfig::new(vec![LocalAddr { addr: Addr::from_v4(octets), prefix_len: 24 }]);
    config.pin = false;
    config.listen = vec![7];
    config.rss = rss;
    config.limits = Limits { half_open: 1_024, connections: 4_096, time_wait: 100_000, ..Limits::default() };
    config
}

fn link(last: u8) -> Link {
    Link { mac: MacAddr([2, 0, 0, 0, 0, last]), mtu: 1500 }
}

/// Plays it through; gives what both ends left.
fn play(rules: [Rule; 2], rss: Option<Rss>) -> (Ended<Caller>, Ended<Echo>) {
    play_between(config(CALLER, rss.clone()), config(SERVER, rss), rules)
}

fn play_between(calling: EngineConfig, serving: EngineConfig, rules: [Rule; 2]) -> (Ended<Caller>, Ended<Echo>) {
    let (switch, [left, right]) = Switch::start(rules);
    let server = Engine::over(serving, link(2), right, |_| Echo).unwrap();
    let caller = |_| Caller::new((SERVER, 7).into(), EACH);
    let called = Engine::over(calling, link(1), left, caller).unwrap().join().unwrap();
    server.drain(Duration::from_secs(5));
    let served = server.join().unwrap();
    drop(switch);
    (called, served)
}

/// Every connection is good at both ends, and both ledgers are exact.
fn check(called: &Ended<Caller>, served: &Ended<Echo>) {
    for worker in &called.workers {
        assert_eq!((worker.app.good, &worker.app.bad), (EACH, &Vec::new()));
    }
    let passive = &served.snapshot.connections;
    let all = u64::from(EACH) * QUEUES as u64;
    assert_eq!((passive.passive, passive.closed), (all, all), "{passive:?}");
    for ledger in [&called.snapshot.ledger, &served.snapshot.ledger] {
        assert!(ledger.exact, "{ledger}");
    }
}

/// Frames that were handed over, of all that came in.
fn handed<A>(ended: &Ended<A>) -> (u64, u64) {
    let h = ended.snapshot.handed_over.expect("told at the end");
    assert_eq!(h.given, h.taken + h.left);
    let arrived = ended.snapshot.workers.iter().map(|worker| worker.received).sum();
    (h.given, arrived)
}

#[test]
fn whatever_queue_a_frame_comes_in_on_its_connection_is_served() {
    let (called, served) = play([at_random(11), at_random(12)], None);
    check(&called, &served);
    for (given, arrived) in [handed(&called), handed(&served)] {
        assert!(given * 2 > arrived && given < arrived, "about three of four: {given} of {arrived}");
    }
}

fn rss(rotation: u32) -> Rss {
    let key = (0..40u32).map(|i| (i * i * 31 + i * 17 + 0x6d) as u8).collect();
    Rss { key, table: (0..128).map(|entry| (entry + rotation) % QUEUES as u32).collect() }
}

#[test]
fn where_the_nic_steers_as_foretold_nothing_is_handed_over() {
    let (called, served) = play([by_rss(&rss(0)), by_rss(&rss(0))], Some(rss(0)));
    check(&called, &served);
    assert_eq!((handed(&called).0, handed(&served).0), (0, 0), "replies to active opens come to their workers as well");
}

/// Flows that peers open belong to the worker where they come in.
fn by_arrival(octets: [u8; 4]) -> EngineConfig {
    EngineConfig { sharding: Sharding::Arrival, ..config(octets, None) }
}

/// A NIC that keeps each flow on a queue, by a function that nobody knows.
#[test]
fn by_arrival_a_flow_is_its_queues_and_nothing_is_handed_over() {
    let (called, served) = play_between(config(CALLER, None), by_arrival(SERVER), [by_rss(&rss(1)), by_rss(&rss(0))]);
    check(&called, &served);
    assert_eq!(handed(&served).0, 0);
    for worker in &served.workers {
        assert!(worker.snapshot.connections.passive > u64::from(EACH) / 4, "{:?}", worker.snapshot.connections);
    }
}

#[test]
fn by_arrival_a_frame_that_comes_in_elsewhere_is_handed_on_until_its_flow_is_found() {
    let (called, served) = play_between(by_arrival(CALLER), by_arrival(SERVER), [at_random(14), at_random(15)]);
    check(&called, &served);
    let (given, arrived) = handed(&served);
    assert!(given > arrived, "three of four frames, half of them more than once: {given} of {arrived}");
    // Those of connections that we opened are asked after where they belong first.
    let (given, arrived) = handed(&called);
    assert!(given * 2 > arrived && given < arrived, "{given} of {arrived}");
}

/// As `ethtool -X` under load: first one table, then another, and so on.
#[test]
fn no_connection_is_lost_when_the_table_changes_under_load() {
    let changing = || -> Rule {
        let mut rules: Vec<Rule> = (0..QUEUES as u32).map(|rotation| by_rss(&rss(rotation))).collect();
        let mut frames = 0usize;
        Box::new(move |frame| {
            frames += 1;
            rules[frames / 200 % QUEUES](frame)
        })
    };
    let (called, served) = play([changing(), changing()], Some(rss(0)));
    check(&called, &served);
    for (given, arrived) in [handed(&called), handed(&served)] {
        assert!(given > 0 && given < arrived, "{given} of {arrived}");
    }
}

/// All frames in one queue, as from a NIC without a hash: the other workers have their share of the work all the same.
#[test]
fn one_queue_feeds_all_workers() {
    let (called, served) = play([Box::new(|_| 2), Box::new(|_| 1)], None);
    check(&called, &served);
    for worker in &served.workers {
        assert!(worker.snapshot.connections.passive > u64::from(EACH) / 4, "{:?}", worker.snapshot.connections);
    }
}
