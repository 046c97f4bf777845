//! The generator and a target in virtual time, with a link of a fixed delay between them.

use handfast::load::{Counts, Gauge, LoadApp, Order, Plan, Report, Results, Setting};
use handfast::stack::{App, CookieKeys, Limits, LocalAddr, Secrets, Stack, StackConfig, TcpConfig, Transmit};
use handfast::stats::Snapshot;
use handfast::time::{Duration, Instant};
use handfast::wire::{Addr, MacAddr};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

pub const CLIENT: [u8; 4] = [10, 0, 0, 1];
pub const SERVER: [u8; 4] = [10, 0, 0, 2];
pub const PORT: u16 = 80;
/// A port where nobody listens.
pub const NOBODY: u16 = 81;
/// From one end to the other.
pub const ONE_WAY: Duration = Duration::from_millis(5);

pub fn target() -> SocketAddr {
    (SERVER, PORT).into()
}

fn config(octets: [u8; 4], listen: Vec<u16>) -> StackConfig {
    let neighbour = |octets: [u8; 4]| (Addr::from_v4(octets), MacAddr([2, 0, 0, 0, 0, octets[3]]));
    StackConfig {
        neighbours: vec![neighbour(CLIENT), neighbour(SERVER)],
        listen,
        ephemeral_ports: (1024, 65_535),
        tcp: TcpConfig { connect_timeout: Duration::from_secs(3), ..TcpConfig::default() },
        limits: Limits { half_open: 4_096, connections: 1 << 16, ..Limits::default() },
        ..StackConfig::new(
            neighbour(octets).1,
            vec![LocalAddr { addr: Addr::from_v4(octets), prefix_len: 24 }],
            Secrets { isn: [octets[3]; 16], flow_hash: [7; 16], cookie: CookieKeys::alone([octets[3]; 16]) },
        )
    }
}

/// Frames that a stack emits, with the time of their arrival.
struct Wire<'a> {
    frames: &'a mut VecDeque<(Instant, Vec<u8>)>,
    at: Instant,
}

impl Transmit for Wire<'_> {
    fn transmit(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let mut frame = vec![0; 2048];
        let len = write(&mut frame);
        frame.truncate(len);
        self.frames.push_back((self.at, frame));
        true
    }
}

/// A generator and its target.
pub struct Net<S: App> {
    client: Stack<LoadApp>,
    server: Option<Stack<S>>,
    pub now: Instant,
    to_client: VecDeque<(Instant, Vec<u8>)>,
    to_server: VecDeque<(Instant, Vec<u8>)>,
    /// The target stands still from the first of these until the second.
    pub still: Option<(Instant, Instant)>,
}

/// What a run left.
pub struct Left {
    pub results: Results,
    pub snapshot: Snapshot,
    pub report: Report,
}

impl<S: App> Net<S> {
    /// Both ends; without a server nobody answers.
    pub fn new(plan: Plan, server: Option<S>) -> Self {
        Self::tuned(plan, server, |_| {})
    }

    /// As [`Net::new`], with the client's configuration changed.
    pub fn tuned(plan: Plan, server: Option<S>, tune: impl FnOnce(&mut StackConfig)) -> Self {
        let mut client = config(CLIENT, vec![]);
        tune(&mut client);
        Self::of(plan, client, server, config(SERVER, vec![PORT]))
    }

    /// As [`Net::new`], with the target's configuration changed.
    pub fn with_target(plan: Plan, server: Option<S>, tune: impl FnOnce(&mut StackConfig)) -> Self {
        let mut target = config(SERVER, vec![PORT]);
        tune(&mut target);
        Self::of(plan, config(CLIENT, vec![]), server, target)
    }

    fn of(plan: Plan, client: StackConfig, server: Option<S>, target: StackConfig) -> Self {
        let now = Instant::from_millis(1_000);
        let app = LoadApp::new(plan, Arc::new(Gauge::default()));
        Net {
            client: Stack::new(client, app, now),
            server: server.map(|app| Stack::new(target, app, now)),
            now,
            to_client: VecDeque::new(),
            to_server: VecDeque::new(),
            still: None,
        }
    }

    /// Gives the generator an order.
    pub fn order(&mut self, order: Order) {
        self.client.on_message(self.now, order);
    }

    /// When the target next has something to do.
    fn server_at(&self) -> Option<Instant> {
        let arrival = self.to_server.front().map(|(at, _)| *at);
        let timeout = self.server.as_ref().and_then(|server| server.next_timeout(self.now));
        let at = arrival.into_iter().chain(timeout).min()?;
        Some(match self.still {
            Some((from, until)) if at >= from && at < until => until,
            _ => at,
        })
    }

    /// Runs until the generator has ended, or until `until`.
    pub fn run_until(&mut self, until: Option<Instant>) {
        for _ in 0..20_000_000u64 {
            turn(&mut self.client, self.now, &mut self.to_client, &mut self.to_server);
            let standing_still = self.still.is_some_and(|(from, until)| self.now >= from && self.now < until);
            match &mut self.server {
                _ if standing_still => {}
                Some(server) => turn(server, self.now, &mut self.to_server, &mut self.to_client),
                None => self.to_server.clear(),
            }
            if self.client.is_stopping() {
                return;
            }
            let client = self.to_client.front().map(|(at, _)| *at);
            let next = [client, self.client.next_timeout(self.now), self.server_at()].into_iter().flatten().min();
            let next = next.expect("a generator that has not ended has something to do").max(self.now);
            if until.is_some_and(|until| next > until) {
                return;
            }
            self.now = next;
        }
        panic!("it does not end");
    }

    /// What has become of the connections so far.
    pub fn counts(&self) -> Counts {
        self.client.app().results().counts
    }

    /// Runs to the end; what it left.
    pub fn run(self) -> Left {
        self.run_with(Setting::default())
    }

    /// As [`Net::run`], with what its report needs.
    pub fn run_with(mut self, setting: Setting<'_>) -> Left {
        self.run_until(None);
        let results = self.client.app().results();
        let counts = results.counts;
        assert_eq!(counts.opened, counts.over(), "every connection has exactly one ending: {counts:?}");
        let snapshot = self.client.snapshot();
        assert!(snapshot.ledger.exact, "{:?}", snapshot.ledger);
        let report = Report::new(target(), &results, &snapshot, setting);
        Left { results, snapshot, report }
    }
}

fn turn<A: App>(
    stack: &mut Stack<A>,
    now: Instant,
    inbox: &mut VecDeque<(Instant, Vec<u8>)>,
    outbox: &mut VecDeque<(Instant, Vec<u8>)>,
) {
    while inbox.front().is_some_and(|(at, _)| *at <= now) {
        let (_, mut frame) = inbox.pop_front().unwrap();
        let len = frame.len();
        frame.resize(2048, 0);
        if let Some(len) = stack.on_frame(now, &mut frame, len).reply() {
            frame.truncate(len);
            outbox.push_back((now + ONE_WAY, frame));
            stack.on_sent(Some(len));
        }
    }
    stack.on_timers(now);
    stack.poll_transmit(now, &mut Wire { frames: outbox, at: now + ONE_WAY });
}
