//! The load generator against real stacks, over the in-memory link: what it reports is what happened.

use handfast::driver::memory::{self, MemoryDriver};
use handfast::engine::{Ended, Engine, EngineConfig, Link};
use handfast::load::flood::{Answers, Flood, FloodGauge, Flooding, Kind};
use handfast::load::{Gauge, LoadApp, Order, Plan, Results, Span, Until};
use handfast::services::{Listener, Service, Services};
use handfast::stack::{Limits, LocalAddr};
use handfast::time::Duration;
use handfast::wire::{Addr, MacAddr};
use handfast::worker::Command;
use std::sync::{Arc, Mutex};

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [10, 0, 0, 2];
const DISCARD: u16 = 9;
const CLOSE: u16 = 10;
const NOBODY: u16 = 11;

fn link(last: u8) -> Link {
    Link { mac: MacAddr([2, 0, 0, 0, 0, last]), mtu: 1500 }
}

fn config(octets: [u8; 4]) -> EngineConfig {
    let mut config = EngineConfig::new(vec![LocalAddr { addr: Addr::from_v4(octets), prefix_len: 24 }]);
    config.pin = false;
    config.limits = Limits { half_open: 1_024, connections: 4_096, time_wait: 100_000, ..Limits::default() };
    config.ephemeral_ports = (1024, 65_535);
    config
}

fn server(driver: MemoryDriver) -> Engine<Services> {
    let services = || {
        let listener = |service, port| Listener { service, port };
        Services::new(vec![listener(Service::Discard, DISCARD), listener(Service::Close, CLOSE)], None, 16)
    };
    let mut config = config(SERVER);
    config.listen = services().ports();
    Engine::over(config, link(2), vec![driver], move |_| services()).unwrap()
}

fn plan(port: u16) -> Plan {
    Plan { grace: Duration::from_secs(2), ..Plan::closed_loop((SERVER, port).into(), 16) }
}

fn client(driver: MemoryDriver, config: EngineConfig, plan: Plan) -> Engine<LoadApp> {
    let app = Mutex::new(Some(LoadApp::new(plan, Arc::new(Gauge::default()))));
    Engine::over(config, link(1), vec![driver], move |_| app.lock().unwrap().take().unwrap()).unwrap()
}

fn results(ended: &Ended<LoadApp>) -> Results {
    let results = ended.workers[0].app.results();
    let counts = results.counts;
    assert_eq!(counts.opened, counts.over(), "every connection opened has exactly one ending: {counts:?}");
    assert_eq!(results.latencies.of(Span::Handshake).len(), counts.established);
    assert!(ended.snapshot.ledger.exact, "{:?}", ended.snapshot.ledger);
    results
}

/// A run against the real server; also gives the server's end.
fn run(plan: Plan) -> (Results, Ended<Services>) {
    let (a, b) = memory::link(4_096, 1_024);
    let server = server(b);
    let ended = client(a, config(CLIENT), plan).join().unwrap();
    server.drain(Duration::from_secs(1));
    (results(&ended), server.join().unwrap())
}

#[test]
fn a_run_by_number_closes_every_connection_it_opened() {
    let (results, served) = run(Plan { until: Until { connections: Some(5_000), duration: None }, ..plan(DISCARD) });
    assert_eq!((results.counts.opened, results.counts.established, results.counts.closed), (5_000, 5_000, 5_000));
    assert_eq!(results.closed_measured, 5_000);
    assert!(results.latencies.of(Span::Handshake).value_at_quantile(0.5) > 0);
    let passive = &served.snapshot.connections;
    assert_eq!((passive.passive, passive.closed), (5_000, 5_000), "{passive:?}");
    assert!(served.snapshot.ledger.exact, "{:?}", served.snapshot.ledger);
}

#[test]
fn a_run_by_time_ends_in_time_with_nothing_left_open() {
    let duration = Duration::from_millis(300);
    let (results, _) = run(Plan { until: Until { connections: None, duration: Some(duration) }, ..plan(DISCARD) });
    assert!(results.counts.closed > 100 && results.counts.closed == results.counts.opened, "{:?}", results.counts);
    let measured = results.measured();
    assert!(measured >= duration && measured < duration * 3, "{measured:?}");
}

#[test]
fn a_server_that_closes_at_the_same_time_is_no_failure() {
    let (results, _) = run(Plan { until: Until { connections: Some(2_000), duration: None }, ..plan(CLOSE) });
    assert_eq!((results.counts.closed, results.counts.failed()), (2_000, 0), "{:?}", results.counts);
}

#[test]
fn a_port_where_nobody_listens_is_refused() {
    let (results, _) = run(Plan { until: Until { connections: Some(100), duration: None }, ..plan(NOBODY) });
    assert_eq!((results.counts.refused, results.counts.established), (100, 0), "{:?}", results.counts);
}

#[test]
fn a_dead_target_is_a_timeout() {
    let (a, _nobody) = memory::link(4_096, 1_024);
    let mut config = config(CLIENT);
    config.tcp.connect_timeout = Duration::from_millis(300);
    let plan = Plan { until: Until { connections: Some(16), duration: None }, ..plan(DISCARD) };
    let ended = client(a, config, plan).join().unwrap();
    let counts = results(&ended).counts;
    assert_eq!((counts.timeout, counts.established), (16, 0), "{counts:?}");
}

#[test]
fn what_is_under_way_when_the_grace_is_over_is_unfinished() {
    let (a, _nobody) = memory::link(4_096, 1_024);
    let until = Until { connections: None, duration: Some(Duration::from_millis(100)) };
    let plan = Plan { until, grace: Duration::from_millis(100), ..plan(DISCARD) };
    let ended = client(a, config(CLIENT), plan).join().unwrap();
    let counts = results(&ended).counts;
    assert_eq!((counts.opened, counts.unfinished), (16, 16), "as many as may be under way: {counts:?}");
}

#[test]
fn exhausted_ports_are_waited_for_and_said_not_failed() {
    let (a, b) = memory::link(4_096, 1_024);
    let server = server(b);
    let mut config = config(CLIENT);
    config.ephemeral_ports = (2_000, 2_019);
    config.tcp.time_wait = Duration::from_millis(50);
    let plan = Plan { until: Until { connections: Some(60), duration: None }, ..plan(DISCARD) };
    let ended = client(a, config, plan).join().unwrap();
    let results = results(&ended);
    assert_eq!((results.counts.closed, results.counts.failed()), (60, 0), "{:?}", results.counts);
    assert!(results.waits.ports > 0 && results.waits.port_time >= Duration::from_millis(40), "{results:?}");
    server.drain(Duration::from_secs(1));
    server.join().unwrap();
}

/// A run that would last a minute, ended early.
fn end_early(how: impl FnOnce(&Engine<LoadApp>)) -> Results {
    let (a, b) = memory::link(4_096, 1_024);
    let server = server(b);
    let plan = Plan { until: Until { connections: None, duration: Some(Duration::from_secs(60)) }, ..plan(DISCARD) };
    let client = client(a, config(CLIENT), plan);
    std::thread::sleep(Duration::from_millis(200));
    how(&client);
    let ended = client.join().unwrap();
    server.drain(Duration::from_secs(1));
    server.join().unwrap();
    results(&ended)
}

#[test]
fn a_drained_run_reports_what_ran() {
    let counts = end_early(|client| client.drain(Duration::from_secs(1))).counts;
    assert!(counts.closed > 100 && counts.failed() == 0, "{counts:?}");
}

#[test]
fn a_run_that_is_asked_to_finish_leaves_nothing_unfinished() {
    let counts =
        end_early(|client| assert!(client.handle().mailboxes()[0].send(Command::App(Order::Finish)).is_ok())).counts;
    assert!(counts.closed > 100 && counts.closed == counts.opened, "{counts:?}");
}

/// The flood leaves the honest connections their room, ends with the measured time, and the target gets what was counted.
#[test]
fn a_flood_takes_what_room_is_left() {
    let (a, b) = memory::link(4_096, 1_024);
    let server = server(b);
    let (gauge, run) = (Arc::new(FloodGauge::default()), Arc::new(Gauge::default()));
    let sources = "198.18.0.0/15".parse().unwrap();
    let flood = Flood::new(Kind::Rst, 50_000.0, sources, (SERVER, DISCARD).into(), true).unwrap();
    let driver = Flooding::new(a, flood, 1, gauge.clone(), run.clone());
    let until = Until { connections: None, duration: Some(Duration::from_millis(300)) };
    let app = Mutex::new(Some(LoadApp::new(Plan { until, ..plan(DISCARD) }, run.clone())));
    let app = move |_| app.lock().unwrap().take().unwrap();
    let ended = Engine::over(config(CLIENT), link(1), vec![driver], app).unwrap().join().unwrap();
    let counts = results(&ended).counts;
    assert!(counts.closed > 50 && counts.closed == counts.opened, "{counts:?}");
    let report = flood.report(std::slice::from_ref(&gauge), Answers { counted: Some(0), way_back: None });
    assert!(report.sent > 100 && run.is_measured(), "{report:?}");
    server.drain(Duration::from_secs(1));
    let served = server.join().unwrap().snapshot;
    // RSTs for nothing are dropped, each of them counted.
    assert!(served.frames.received > report.sent, "{} of {report:?}", served.frames.received);
    assert!(served.ledger.exact, "{:?}", served.ledger);
}
