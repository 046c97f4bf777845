//! What a connection's life costs: opened, closed by the client, TIME-WAIT there; nothing sent.
//!
//! * `server side`: the server's stack alone (4 frames in, 2 out: its FIN carries the ACK of the client's), the client being a script outside
//!   of the measured time; 64 lives at a time, as a burst would bring them.
//! * `both ends, in-memory link`: two workers with their drivers, turn by turn on one core.
//!
//! Timestamps, window scale and SACK on, checksums made and verified, real TIME-WAIT of 240 s.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use handfast::driver::memory;
use handfast::ledger::Ending;
use handfast::stack::{App, ConnId, Connect, CookieKeys, Cx, LocalAddr, Secrets, Stack, StackConfig, Transmit};
use handfast::stats::WorkerInfo;
use handfast::time::{Duration, Instant};
use handfast::wire::frame::{self, Envelope, Incoming, Link, TxChecksum, VerifyChecksum};
use handfast::wire::tcp::{Flags, Header, Options, Timestamps};
use handfast::wire::{Addr, FourTuple, MacAddr, SeqNum};
use handfast::worker::{Idle, Worker};
use std::hint::black_box;
use std::time::Instant as Clock;

const BURST: usize = 64;

fn config(host: u8) -> StackConfig {
    StackConfig {
        listen: vec![7],
        ephemeral_ports: (1024, 65535),
        ..StackConfig::new(
            MacAddr([2, 0, 0, 0, 0, host]),
            (0..16).map(|i| LocalAddr { addr: Addr::from_v4([10, 0, i, host]), prefix_len: 16 }).collect(),
            Secrets { isn: [host; 16], flow_hash: [host; 16], cookie: CookieKeys::alone([host; 16]) },
        )
    }
}

/// A server that closes when its peer has.
struct Closer;

impl App for Closer {
    type Message = ();
    fn on_readable(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
    fn on_half_close(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        cx.close(conn);
    }
}

/// Frames as a driver's ring would hold them.
struct Ring {
    // Boxes, as frames are moved about.
    #[allow(clippy::vec_box)]
    frames: Vec<Box<[u8; 2048]>>,
    lens: Vec<usize>,
    used: usize,
}

impl Ring {
    fn new(size: usize) -> Self {
        Ring { frames: (0..size).map(|_| Box::new([0; 2048])).collect(), lens: vec![0; size], used: 0 }
    }
}

impl Transmit for Ring {
    fn transmit(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        self.lens[self.used] = write(&mut self.frames[self.used][..]);
        self.used += 1;
        true
    }
}

/// A scripted client: it only knows the next segment of each of its lives.
struct Script {
    tuples: Vec<FourTuple>,
    next: u32,
}

impl Script {
    fn new() -> Self {
        Script { tuples: Vec::new(), next: 0 }
    }

    fn begin(&mut self) {
        self.tuples.clear();
        for _ in 0..BURST {
            let n = self.next;
            self.next += 1;
            self.tuples.push(FourTuple {
                local_addr: Addr::from_v4([10, 0, 200 + (n / 60_000 % 50) as u8, (n / 3_000_000) as u8 + 1]),
                remote_addr: Addr::from_v4([10, 0, 0, 2]),
                local_port: 1024 + (n % 60_000) as u16,
                remote_port: 7,
            });
        }
    }

    fn write(&self, life: usize, flags: Flags, seq: u32, ack: SeqNum, ring: &mut Ring) {
        let timestamps = Some(Timestamps { tsval: 1, tsecr: 0 });
        let mut options = Options { timestamps, ..Options::default() };
        if flags.has(Flags::SYN) {
            options.mss = Some(1460);
            options.window_scale = Some(7);
            options.sack_permitted = true;
        }
        let header = Header { seq: SeqNum(seq), ack, flags, wnd: 64_000, urgent: 0, options };
        let link = Link { src: MacAddr([2, 0, 0, 0, 0, 9]), dst: MacAddr([2, 0, 0, 0, 0, 2]), vlan: None };
        let tuple = self.tuples[life];
        let envelope = Envelope { link, tuple, hop_limit: 64, ecn: 0, checksum: TxChecksum::Full };
        ring.transmit(|buffer| frame::emit_tcp(buffer, &envelope, &header, 0, |_| {}));
    }
}

/// Lets the server process a ring of frames; replies and segments due go to `out`. Only this is measured.
fn serve(server: &mut Stack<Closer>, now: Instant, input: &mut Ring, out: &mut Ring) {
    for i in 0..input.used {
        if let Some(reply) = server.on_frame(now, &mut input.frames[i][..], input.lens[i]).reply() {
            input.lens[i] = reply;
            std::mem::swap(&mut input.frames[i], &mut out.frames[out.used]);
            out.lens[out.used] = reply;
            out.used += 1;
            server.on_sent(Some(reply));
        }
    }
    server.on_timers(now);
    server.poll_transmit(now, out);
    input.used = 0;
}

fn server_lives(lives: u64) -> std::time::Duration {
    let mut now = Instant::from_millis(1_000);
    let mut server = Stack::new(config(2), Closer, now);
    let (mut input, mut out) = (Ring::new(256), Ring::new(256));
    let mut script = Script::new();
    let mut measured = std::time::Duration::ZERO;
    let mut done = 0;
    while done < lives {
        script.begin();
        let mut step = |input: &mut Ring, out: &mut Ring| {
            now = now + Duration::from_micros(20);
            out.used = 0;
            let start = Clock::now();
            serve(&mut server, now, black_box(input), out);
            measured += start.elapsed();
        };
        (0..BURST).for_each(|life| script.write(life, Flags::SYN, 100, SeqNum(0), &mut input));
        step(&mut input, &mut out);
        assert_eq!(out.used, BURST, "a SYN-ACK for each SYN");
        let iss: Vec<SeqNum> = (0..BURST).map(|i| seq_of(&out.frames[i][..out.lens[i]])).collect();
        (0..BURST).for_each(|life| script.write(life, Flags::ACK, 101, iss[life] + 1, &mut input));
        step(&mut input, &mut out);
        assert_eq!(out.used, 0, "nothing to say to the third segment");
        let fin = Flags::FIN | Flags::ACK;
        (0..BURST).for_each(|life| script.write(life, fin, 101, iss[life] + 1, &mut input));
        step(&mut input, &mut out);
        assert_eq!(out.used, BURST, "FIN and ACK in one");
        (0..BURST).for_each(|life| script.write(life, Flags::ACK, 102, iss[life] + 2, &mut input));
        step(&mut input, &mut out);
        done += BURST as u64;
    }
    assert!(server.is_idle() && server.snapshot().ledger.exact);
    measured.mul_f64(lives as f64 / done as f64)
}

fn seq_of(octets: &[u8]) -> SeqNum {
    match frame::parse(octets, VerifyChecksum::Yes) {
        Ok(Incoming::Tcp { segment, .. }) => segment.header.seq,
        other => panic!("not a segment: {other:?}"),
    }
}

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
    let server = Stack::new(config(2), Closer, now);
    let (mut client, mailbox) = Worker::new(left, client, Idle::Spin, WorkerInfo::default(), None);
    let (mut server, _) = Worker::new(right, server, Idle::Spin, WorkerInfo::default(), None);
    assert!(mailbox.send(handfast::worker::Command::App(lives)).is_ok());
    let start = Clock::now();
    let mut quiet = 0;
    while quiet < 3 {
        let now = handfast::clock::now();
        let busy = client.turn(now).expect("memory never fails") | server.turn(now).expect("memory never fails");
        quiet = if busy { 0 } else { quiet + 1 };
    }
    let elapsed = start.elapsed();
    let snapshot = client.snapshot();
    assert_eq!(snapshot.connections.closed, lives, "{snapshot:?} {:?}", server.snapshot());
    elapsed
}

fn benchmark(c: &mut Criterion) {
    let mut group = c.benchmark_group("life");
    group.throughput(Throughput::Elements(1));
    group.bench_function("server side", |b| b.iter_custom(server_lives));
    group.bench_function("both ends, in-memory link", |b| b.iter_custom(|lives| both_ends(lives.min(900_000))));
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
