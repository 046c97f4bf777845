//! Handfast in memory: the stack itself, in virtual time.

use super::puppet::{Ask, Puppet, addr, local, neighbours};
use super::target::*;
use handfast::Ownership;
use handfast::stack::{CookieKeys, DefenceConfig, Limits, Secrets, Stack, StackConfig, TcpConfig, Transmit};
use handfast::tcp::isn::IsnGenerator;
use handfast::time::Instant;
use handfast::wire::{FourTuple, MacAddr};
use std::collections::VecDeque;
use std::sync::mpsc::channel;
use std::time::Duration;

const SECRET: [u8; 16] = *b"a scripted peer.";

#[derive(Default)]
struct Wire(Vec<Vec<u8>>);

impl Transmit for Wire {
    fn transmit(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let mut frame = vec![0; 2048];
        let len = write(&mut frame);
        frame.truncate(len);
        self.0.push(frame);
        true
    }
}

/// How the stack is set up.
#[derive(Clone)]
pub struct Setup {
    pub family: Family,
    /// The first ISN of the host for the main connection; in memory only.
    pub host_isn: u32,
    pub listen: bool,
    /// Whether the peer's Ethernet address is known from the start.
    pub knows_peer: bool,
    /// Whose the address is; in memory only.
    pub ownership: Ownership,
    pub tcp: TcpConfig,
    pub limits: Limits,
    pub defence: DefenceConfig,
}

impl Default for Setup {
    fn default() -> Self {
        let (tcp, limits) = (TcpConfig::default(), Limits::default());
        Setup {
            family: Family::V4,
            host_isn: 0,
            listen: true,
            knows_peer: true,
            ownership: Ownership::Exclusive,
            tcp,
            limits,
            defence: DefenceConfig::default(),
        }
    }
}

pub struct InMemory {
    stack: Stack<Puppet>,
    started: Instant,
    now: Instant,
    out: VecDeque<(Instant, Vec<u8>)>,
}

impl InMemory {
    pub fn new(setup: &Setup) -> Self {
        let started = start_for(setup.family, setup.host_isn);
        let config = StackConfig {
            mtu: setup.family.mtu(),
            neighbours: neighbours(setup),
            listen: setup.listen.then_some(HOST_PORT).into_iter().collect(),
            ephemeral_ports: (1024, 65535),
            tcp: setup.tcp,
            limits: setup.limits,
            defence: setup.defence,
            traced_connections: 1,
            ownership: setup.ownership,
            ..StackConfig::new(
                MacAddr(HOST_MAC),
                local(setup.family),
                Secrets { isn: SECRET, flow_hash: SECRET, cookie: CookieKeys::alone(SECRET) },
            )
        };
        let stack = Stack::new(config, Puppet::default(), started);
        InMemory { stack, started, now: started, out: VecDeque::new() }
    }

    fn turn(&mut self) {
        self.stack.on_timers(self.now);
        let mut wire = Wire::default();
        for _ in 0..10_000 {
            if !self.stack.poll_transmit(self.now, &mut wire) {
                break;
            }
        }
        self.out.extend(wire.0.into_iter().map(|frame| (self.now, frame)));
    }
}

/// When the stack must start so that its ISN for the main connection is `isn`: the number is a clock plus a secret.
fn start_for(family: Family, isn: u32) -> Instant {
    let tuple = FourTuple {
        local_addr: addr(family.host()),
        remote_addr: addr(family.peer()),
        local_port: HOST_PORT,
        remote_port: PEER_PORT,
    };
    let at_zero = IsnGenerator::new(&SECRET).isn(&tuple, Instant::ZERO).0;
    Instant::from_nanos((1 << 32 | u64::from(isn.wrapping_sub(at_zero))) << 6)
}

impl Target for InMemory {
    fn name(&self) -> &'static str {
        "Handfast in memory"
    }

    fn is_real_time(&self) -> bool {
        false
    }

    fn now(&self) -> Duration {
        self.now.since(self.started)
    }

    fn inject(&mut self, frame: &[u8]) {
        let mut buffer = frame.to_vec();
        buffer.resize(2048, 0);
        if let Some(len) = self.stack.on_frame(self.now, &mut buffer, frame.len()).reply() {
            buffer.truncate(len);
            self.out.push_back((self.now, buffer));
            self.stack.on_sent(Some(len));
        }
        self.turn();
        let snapshot = self.stack.snapshot();
        assert!(snapshot.ledger.exact, "the ledger: {:?}", snapshot.ledger.broken);
    }

    fn next_frame(&mut self, wait: Duration) -> Option<(Duration, Vec<u8>)> {
        let until = self.now + wait;
        loop {
            if let Some((at, frame)) = self.out.pop_front() {
                return Some((at.since(self.started), frame));
            }
            match self.stack.next_timeout(self.now) {
                // Timers tick in milliseconds: what is due "now" is due with the next of them.
                Some(next) if next.max(self.now + Duration::from_micros(100)) <= until => {
                    self.now = next.max(self.now + Duration::from_micros(100));
                }
                _ => {
                    self.now = until;
                    self.turn();
                    return self.out.pop_front().map(|(at, frame)| (at.since(self.started), frame));
                }
            }
            self.turn();
        }
    }

    fn ask(&mut self, call: Call) -> Answer {
        let (answer, answered) = channel();
        self.stack.on_message(self.now, Ask(call, answer));
        self.turn();
        answered.try_recv().expect("the application answers at once")
    }

    fn count(&self, state: &str) -> u64 {
        let key = state.to_lowercase().replace('-', "_");
        self.stack.snapshot().states.get(&key).copied().unwrap_or(0)
    }

    fn snapshot(&self) -> Option<handfast::stats::Snapshot> {
        Some(self.stack.snapshot())
    }
}
