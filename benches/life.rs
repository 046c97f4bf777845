//! What a connection's life costs: opened, closed, nothing sent.
//!
//! * `server side`: the server's stack alone, the client being a script outside of the measured time ([`lives`]); 64
//!   lives at a time, as a burst would bring them, beside a thousand that stay. In three shapes: the textbook's, with FIN and
//!   ACK merged, and one in which the server closes first and keeps the TIME-WAIT.
//! * `beside 1 M live and 10 M in TIME-WAIT`: the same beside so many others.
//! * `SYN to SYN-ACK`: the first frame alone, parsed to answered.
//! * `both ends, in-memory link`: two workers with their drivers, turn by turn on one core.

mod lives;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, measurement::WallTime};
use handfast::driver::memory;
use handfast::ledger::Ending;
use handfast::stack::{App, ConnId, Connect, Cx, Stack};
use handfast::stats::WorkerInfo;
use handfast::time::Duration;
use handfast::worker::{Idle, Turn, Worker};
use lives::{BURST, Closer, Lives, Shape, config};
use std::time::Instant as Clock;

/// Connections that live beside those that are measured, and entries in TIME-WAIT.
const BESIDE: (u64, u64) = (1_000_000, 10_000_000);

/// Connections that live beside the others where nothing is said of a crowd, in whole bursts.
const FEW: u64 = 1_024;

/// Opens and closes until so many lives are over.
struct Client {
    left: u64,
    under_way: u64,
}

impl Client {
    fn open(&mut self, cx: &mut Cx<'_>) {
        while self.left > 0 && self.under_way < BURST as u64 {
            cx.connect(Connect::to("10.0.0.2:7".parse().expect("an address"))).expect("a port is free");
            self.left -= 1;
            self.under_way += 1;
        }
    }
}

impl App for Client {
    type Message = u64;
    fn on_message(&mut self, cx: &mut Cx<'_>, lives: u64) {
        self.left = lives;
        self.open(cx);
    }
    fn on_connect(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        cx.close(conn);
    }
    fn on_readable(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
    fn on_half_close(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
    fn on_closed(&mut self, cx: &mut Cx<'_>, _conn: ConnId, ending: Ending) {
        assert_eq!(ending, Ending::Closed);
        self.under_way -= 1;
        self.open(cx);
    }
}

fn both_ends(lives: u64) -> std::time::Duration {
    let (left, right) = memory::link(4096, 1024);
    let now = handfast::clock::now();
    // The lives of one run stay in TIME-WAIT for all of it: ports must suffice.
    let mut addresses = config(1);
    addresses.ephemeral_ports = (1024, 65535);
    let client = Stack::new(addresses, Client { left: 0, under_way: 0 }, now);
    let server = Stack::new(config(2), Closer { closes_first: false }, now);
    let (mut client, mailbox) = Worker::new(left, client, Idle::Spin, WorkerInfo::default(), None);
    let (mut server, _) = Worker::new(right, server, Idle::Spin, WorkerInfo::default(), None);
    assert!(mailbox.send(handfast::worker::Command::App(lives)).is_ok());
    let start = Clock::now();
    let mut quiet = 0;
    while quiet < 3 {
        let now = handfast::clock::now();
        let turns = [client.turn(now), server.turn(now)].map(|turn| turn.expect("memory never fails"));
        quiet = if turns == [Turn::Empty; 2] { quiet + 1 } else { 0 };
    }
    let elapsed = start.elapsed();
    let snapshot = client.snapshot();
    assert_eq!(snapshot.connections.closed, lives, "{snapshot:?} {:?}", server.snapshot());
    elapsed
}

/// Lives of a shape beside so many connections that stay.
fn beside(live: u64, shape: Shape) -> Lives {
    let mut lives = Lives::new(shape);
    lives.change_shape(Shape::Textbook);
    (0..live / BURST as u64).for_each(|_| lives.open());
    lives.change_shape(shape);
    lives
}

/// A server with so many connections and TIME-WAIT entries, the latter as old as they are when as many come as go: a life
/// that leaves one has three steps, so in 240 s there are ten million.
fn crowded() -> Lives {
    let (live, time_wait) = BESIDE;
    let mut lives = beside(live, Shape::Textbook);
    lives.step = Duration::from_micros(512);
    lives.change_shape(Shape::ServerFirst);
    (0..time_wait / BURST as u64).for_each(|_| lives.live());
    let snapshot = lives.server.snapshot();
    assert!(snapshot.states["established"] >= live - BURST as u64, "{:?}", snapshot.states);
    lives
}

fn server_side(group: &mut BenchmarkGroup<'_, WallTime>, beside: &str, lives: &mut Lives, shape: Shape) {
    let name = format!("server side{beside}, {shape:?}");
    group.bench_function(name, |b| b.iter_custom(|n| lives.measure(n, Lives::live)));
}

fn benchmark(c: &mut Criterion) {
    let mut group = c.benchmark_group("life");
    group.throughput(Throughput::Elements(1));
    for shape in [Shape::Textbook, Shape::Merged, Shape::ServerFirst] {
        let mut lives = beside(FEW, shape);
        server_side(&mut group, "", &mut lives, shape);
        let snapshot = lives.server.snapshot();
        assert!(snapshot.states["established"] == FEW && snapshot.ledger.exact, "{:?}", snapshot.states);
    }
    let mut lives = Lives::new(Shape::Textbook);
    group.bench_function("SYN to SYN-ACK", |b| b.iter_custom(|n| lives.measure(n, Lives::syns_and_resets)));
    group.bench_function("both ends, in-memory link", |b| b.iter_custom(|lives| both_ends(lives.min(900_000))));
    let mut lives = crowded();
    for (shape, step_us) in [(Shape::ServerFirst, 512), (Shape::Textbook, 20)] {
        lives.change_shape(shape);
        lives.step = Duration::from_micros(step_us);
        server_side(&mut group, " beside 1 M live and 10 M in TIME-WAIT", &mut lives, shape);
    }
    group.finish();
}

criterion_group!(benches, benchmark);

fn main() {
    // As `serve` does: where HANDFAST_HUGE_PAGES=1 asks for it.
    handfast::host::huge_pages::ask();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
