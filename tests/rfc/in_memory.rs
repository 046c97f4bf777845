//! Handfast in memory: the stack itself, in virtual time.

use super::target::*;
use handfast::ledger::Ending;
use handfast::stack::{
    App, ConnId, Connect, Cx, Limits, LocalAddr, Ownership, RxChecksum, Secrets, Stack, StackConfig, TcpConfig,
    Transmit,
};
use handfast::tcp::isn::IsnGenerator;
use handfast::time::Instant;
use handfast::wire::{Addr, FourTuple, MacAddr};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

const SECRET: [u8; 16] = *b"a scripted peer.";

/// What the application is asked to do.
pub enum Command {
    Connect(SocketAddr),
    Write(ConnId, Vec<u8>),
    Read(ConnId, usize),
    Shutdown(ConnId),
    Close(ConnId),
    Abort(ConnId),
}

#[derive(Default)]
struct Outcome {
    connected: bool,
    ending: Option<Ending>,
}

/// An application that does nothing by itself.
#[derive(Default)]
pub struct Puppet {
    accepted: VecDeque<ConnId>,
    outcomes: HashMap<ConnId, Outcome>,
    connect: Option<Result<ConnId, handfast::stack::ConnectError>>,
    written: usize,
    read: Vec<u8>,
    at_end: bool,
}

impl App for Puppet {
    type Message = Command;
    fn on_accept(&mut self, _cx: &mut Cx<'_>, conn: ConnId) {
        self.accepted.push_back(conn);
    }
    fn on_connect(&mut self, _cx: &mut Cx<'_>, conn: ConnId) {
        self.outcomes.entry(conn).or_default().connected = true;
    }
    fn on_readable(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
    fn on_half_close(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
    fn on_closed(&mut self, _cx: &mut Cx<'_>, conn: ConnId, ending: Ending) {
        let outcome = self.outcomes.entry(conn).or_default();
        assert_eq!(outcome.ending.replace(ending), None, "a connection ends once");
    }
    fn on_message(&mut self, cx: &mut Cx<'_>, command: Command) {
        match command {
            Command::Connect(remote) => {
                let local = SocketAddr::from((HOST, HOST_PORT));
                self.connect = Some(cx.connect(Connect { local: Some(local), ..Connect::to(remote) }));
            }
            Command::Write(conn, octets) => self.written = cx.write(conn, &octets).unwrap_or(0),
            Command::Read(conn, max) => {
                self.read.resize(max, 0);
                let n = cx.read(conn, &mut self.read);
                self.read.truncate(n);
                self.at_end = cx.at_end(conn);
            }
            Command::Shutdown(conn) => cx.shutdown(conn),
            Command::Close(conn) => cx.close(conn),
            Command::Abort(conn) => cx.abort(conn),
        }
    }
}

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
    /// The first ISN of the host for the main connection.
    pub host_isn: u32,
    pub listen: bool,
    /// Whether the peer's Ethernet address is known from the start.
    pub knows_peer: bool,
    pub tcp: TcpConfig,
    pub limits: Limits,
}

impl Default for Setup {
    fn default() -> Self {
        let (tcp, limits) = (TcpConfig::default(), Limits::default());
        Setup { host_isn: 0, listen: true, knows_peer: true, tcp, limits }
    }
}

pub struct InMemory {
    stack: Stack<Puppet>,
    started: Instant,
    now: Instant,
    out: VecDeque<(Instant, Vec<u8>)>,
    socks: Vec<ConnId>,
}

impl InMemory {
    pub fn new(setup: &Setup) -> Self {
        let started = start_for(setup.host_isn);
        let config = StackConfig {
            mac: MacAddr(HOST_MAC),
            mtu: 1500,
            addresses: vec![LocalAddr { addr: Addr::from_v4(HOST), prefix_len: 24 }],
            gateways: vec![],
            neighbours: setup.knows_peer.then_some((Addr::from_v4(PEER), MacAddr(PEER_MAC))).into_iter().collect(),
            ownership: Ownership::Exclusive,
            rx_checksum: RxChecksum::Verify,
            listen: setup.listen.then_some(HOST_PORT).into_iter().collect(),
            ephemeral_ports: (1024, 65535),
            tcp: setup.tcp,
            limits: setup.limits,
            secrets: Secrets { isn: SECRET, flow_hash: SECRET },
            traced_connections: 1,
        };
        let stack = Stack::new(config, Puppet::default(), started);
        InMemory { stack, started, now: started, out: VecDeque::new(), socks: vec![] }
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

    fn ask(&mut self, command: Command) {
        self.stack.on_message(self.now, command);
        self.turn();
    }

    fn sock(&mut self, conn: ConnId) -> Sock {
        self.socks.push(conn);
        Sock(self.socks.len() - 1)
    }
}

/// When the stack must start so that its ISN for the main connection is `isn`: the number is a clock plus a secret.
fn start_for(isn: u32) -> Instant {
    let tuple = FourTuple {
        local_addr: Addr::from_v4(HOST),
        remote_addr: Addr::from_v4(PEER),
        local_port: HOST_PORT,
        remote_port: PEER_PORT,
    };
    let at_zero = IsnGenerator::new(&SECRET).isn(&tuple, Instant::ZERO).0;
    Instant::from_nanos((1 << 32 | u64::from(isn.wrapping_sub(at_zero))) << 6)
}

impl Target for InMemory {
    fn is_linux(&self) -> bool {
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

    fn connect(&mut self, remote: [u8; 4], port: u16) -> Result<Sock, Fault> {
        self.ask(Command::Connect(SocketAddr::from((remote, port))));
        match self.stack.app_mut().connect.take().expect("an answer") {
            Ok(conn) => Ok(self.sock(conn)),
            Err(_) => Err(Fault::Other),
        }
    }

    fn accept(&mut self) -> Option<Sock> {
        let conn = self.stack.app_mut().accepted.pop_front()?;
        Some(self.sock(conn))
    }

    fn is_connected(&mut self, sock: Sock) -> bool {
        self.stack.app().outcomes.get(&self.socks[sock.0]).is_some_and(|o| o.connected)
    }

    fn write(&mut self, sock: Sock, octets: &[u8]) -> usize {
        self.ask(Command::Write(self.socks[sock.0], octets.to_vec()));
        self.stack.app().written
    }

    fn read(&mut self, sock: Sock, max: usize) -> Read {
        let conn = self.socks[sock.0];
        self.ask(Command::Read(conn, max));
        let app = self.stack.app();
        if !app.read.is_empty() {
            return Read::Data(app.read.clone());
        }
        match app.outcomes.get(&conn).and_then(|o| o.ending) {
            Some(Ending::Closed) => Read::End,
            Some(Ending::Reset) => Read::Fault(Fault::Reset),
            Some(Ending::Refused) => Read::Fault(Fault::Refused),
            Some(Ending::TimedOut) => Read::Fault(Fault::TimedOut),
            Some(_) => Read::Fault(Fault::Aborted),
            None if app.at_end => Read::End,
            None => Read::Nothing,
        }
    }

    fn shutdown(&mut self, sock: Sock) {
        self.ask(Command::Shutdown(self.socks[sock.0]));
    }

    fn close(&mut self, sock: Sock) {
        self.ask(Command::Close(self.socks[sock.0]));
    }

    fn abort(&mut self, sock: Sock) {
        self.ask(Command::Abort(self.socks[sock.0]));
    }

    fn count(&self, state: &str) -> u64 {
        let key = state.to_lowercase().replace('-', "_");
        self.stack.snapshot().states.get(&key).copied().unwrap_or(0)
    }

    fn snapshot(&self) -> Option<handfast::stats::Snapshot> {
        Some(self.stack.snapshot())
    }
}
