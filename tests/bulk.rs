//! Bulk data both ways at once over a link that loses, reorders and duplicates: every octet arrives, once and in order.
//!
//! `HANDFAST_BULK_MIB=1024 cargo test --release --test bulk -- --nocapture` is the long form.

use handfast::ledger::Ending;
use handfast::stack::{
    App, ConnId, Connect, CookieKeys, Cx, LocalAddr, Secrets, Stack, StackConfig, TcpConfig, Transmit,
};
use handfast::tcp::congestion::Algorithm;
use handfast::time::{Duration, Instant};
use handfast::wire::{Addr, MacAddr};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;

fn config(host: u8, congestion: Algorithm) -> StackConfig {
    StackConfig {
        listen: vec![7],
        ephemeral_ports: (1024, 65535),
        tcp: TcpConfig { congestion, ..TcpConfig::default() },
        ..StackConfig::new(
            MacAddr([2, 0, 0, 0, 0, host]),
            vec![LocalAddr { addr: Addr::from_v4([10, 0, 0, host]), prefix_len: 24 }],
            Secrets { isn: [host; 16], flow_hash: [host; 16], cookie: CookieKeys::alone([host; 16]) },
        )
    }
}

/// The octet at an offset: no two stretches of a stream are alike for long.
fn octet(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// Sends a stream, closes, and compares each octet that comes.
struct End {
    connects: bool,
    octets: u64,
    sent: u64,
    received: u64,
    ending: Option<Ending>,
}

impl End {
    fn new(connects: bool, octets: u64) -> Self {
        End { connects, octets, sent: 0, received: 0, ending: None }
    }

    fn send(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        while self.sent < self.octets {
            let most = (self.octets - self.sent).min(16_384);
            let stretch: Vec<u8> = (self.sent..self.sent + most).map(octet).collect();
            let taken = cx.write(conn, &stretch).expect("open until everything is sent");
            self.sent += taken as u64;
            if taken < stretch.len() {
                return;
            }
        }
        cx.shutdown(conn);
    }
}

impl App for End {
    type Message = ();
    fn on_start(&mut self, cx: &mut Cx<'_>) {
        if self.connects {
            cx.connect(Connect::to("10.0.0.2:7".parse().expect("an address"))).expect("a way there");
        }
    }
    fn on_connect(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        self.send(cx, conn);
    }
    fn on_accept(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        self.send(cx, conn);
    }
    fn on_readable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        while !cx.peek(conn).is_empty() {
            let come = cx.peek(conn);
            for (at, came) in (self.received..).zip(come) {
                assert_eq!(*came, octet(at), "octet {at}");
            }
            let n = come.len();
            self.received += n as u64;
            cx.consume(conn, n);
        }
    }
    fn on_writable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        self.send(cx, conn);
    }
    fn on_half_close(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        self.on_readable(cx, conn);
    }
    fn on_closed(&mut self, _cx: &mut Cx<'_>, _conn: ConnId, ending: Ending) {
        self.ending = Some(ending);
    }
}

/// A link whose every frame may be lost, sent twice, or held back so that others overtake it.
struct Link {
    random: Xoshiro256PlusPlus,
    now: Instant,
    under_way: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    frames: u64,
    to: usize,
}

const LOSS: u64 = 5;
const REORDER: u64 = 5;
const DUPLICATE: u64 = 2;

impl Link {
    fn percent(&mut self, share: u64) -> bool {
        self.random.next_u64() % 100 < share
    }

    fn put(&mut self, frame: Vec<u8>) {
        if self.percent(LOSS) {
            return;
        }
        let copies = 1 + u64::from(self.percent(DUPLICATE));
        for _ in 0..copies {
            let late = if self.percent(REORDER) { self.random.next_u64() % 3_000 } else { 0 };
            self.frames += 1;
            let at = self.now + Duration::from_micros(500 + late);
            self.under_way.insert((at, self.frames), (self.to, frame.clone()));
        }
    }
}

impl Transmit for Link {
    fn transmit(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let mut frame = vec![0; 2048];
        let len = write(&mut frame);
        frame.truncate(len);
        self.put(frame);
        true
    }
}

fn play(seed: u64, octets: u64, congestion: Algorithm) {
    let start = Instant::from_millis(10_000);
    let mut stacks = [
        Stack::new(config(1, congestion), End::new(true, octets), start),
        Stack::new(config(2, congestion), End::new(false, octets), start),
    ];
    let random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut link = Link { random, now: start, under_way: BTreeMap::new(), frames: 0, to: 0 };
    let mut transferred = None;
    loop {
        for (side, stack) in stacks.iter_mut().enumerate() {
            link.to = 1 - side;
            stack.on_timers(link.now);
            stack.poll_transmit(link.now, &mut link);
        }
        if transferred.is_none() && stacks.iter().all(|stack| stack.app().received == octets) {
            transferred = Some(link.now.since(start));
        }
        let timers = stacks.iter().filter_map(|stack| stack.next_timeout(link.now)).min();
        let frame = link.under_way.keys().next().map(|(at, _)| *at);
        let Some(next) = timers.into_iter().chain(frame).min() else { break };
        link.now = link.now.max(next).max(link.now + Duration::from_micros(1));
        while let Some(entry) = link.under_way.first_entry() {
            if entry.key().0 > link.now {
                break;
            }
            let (to, mut frame) = entry.remove();
            let len = frame.len();
            frame.resize(2048, 0);
            if let Some(reply) = stacks[to].on_frame(link.now, &mut frame, len).reply() {
                frame.truncate(reply);
                link.to = 1 - to;
                link.put(frame);
                stacks[to].on_sent(Some(reply));
            }
        }
    }
    for stack in &stacks {
        assert_eq!((stack.app().received, stack.app().ending), (octets, Some(Ending::Closed)), "seed {seed}");
        let snapshot = stack.snapshot();
        assert!(snapshot.ledger.exact, "seed {seed}: {:?}", snapshot.ledger.broken);
        assert!(snapshot.connections.fast_retransmits > 0, "seed {seed}: SACK tells of losses");
    }
    let seconds = transferred.unwrap_or_default().as_secs_f64();
    let retransmitted: u64 = stacks.iter().map(|stack| stack.snapshot().connections.retransmitted).sum();
    println!(
        "{congestion}: {} MiB each way in {seconds:.1} simulated s ({:.1} Mbit/s each way), {} frames, {retransmitted} sent again",
        octets >> 20,
        octets as f64 * 8e-6 / seconds,
        link.frames
    );
}

#[test]
fn every_octet_arrives_through_loss_reordering_and_duplication() {
    let mib = std::env::var("HANDFAST_BULK_MIB").ok().and_then(|mib| mib.parse().ok()).unwrap_or(8);
    for (seed, congestion) in [(1, Algorithm::Cubic), (2, Algorithm::Reno)] {
        play(seed, mib << 20, congestion);
    }
}
