//! The host under test: a wire to it, and the application on it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Where the host under test is.
pub const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const HOST: [u8; 4] = [10, 9, 0, 1];
pub const HOST_V6: [u8; 16] = [0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// Where the scripted peer is.
pub const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub const PEER: [u8; 4] = [10, 9, 0, 2];
pub const PEER_V6: [u8; 16] = [0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
/// The on-link prefixes of both: 24 bits, and 64.
pub const PREFIX_V4: u8 = 24;
pub const PREFIX_V6: u8 = 64;
pub const SUBNET_BROADCAST: [u8; 4] = [10, 9, 0, 255];
/// The host's port: it listens there, or connects from there.
pub const HOST_PORT: u16 = 7777;
/// The peer's port of the main connection.
pub const PEER_PORT: u16 = 40_000;

/// Over which IP a scenario is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn host(self) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::from(HOST).into(),
            Family::V6 => Ipv6Addr::from(HOST_V6).into(),
        }
    }

    pub fn peer(self) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::from(PEER).into(),
            Family::V6 => Ipv6Addr::from(PEER_V6).into(),
        }
    }

    pub fn prefix_len(self) -> u8 {
        match self {
            Family::V4 => PREFIX_V4,
            Family::V6 => PREFIX_V6,
        }
    }

    /// The link's MTU: such that a segment carries 1,460 octets over either, and scenarios need not know the family.
    pub fn mtu(self) -> u16 {
        match self {
            Family::V4 => 1_500,
            Family::V6 => 1_520,
        }
    }
}

/// A socket of the application on the host under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sock(pub usize);

/// What a read gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    Data(Vec<u8>),
    /// Nothing yet.
    Nothing,
    /// The peer closed, and all was read.
    End,
    Fault(Fault),
}

/// How a connection failed, as its application learns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Reset,
    Refused,
    TimedOut,
    /// Ended by the host itself.
    Aborted,
    /// Something else (an unreachable destination, …).
    Other,
}

/// What the application on the host is asked to do.
#[derive(Clone, Debug)]
pub enum Call {
    /// From [`HOST_PORT`].
    Connect(SocketAddr),
    Accept,
    IsConnected(Sock),
    Write(Sock, Vec<u8>),
    /// At most so many octets.
    Read(Sock, usize),
    Shutdown(Sock),
    Close(Sock),
    Abort(Sock),
    /// What ICMP has said of a connection that went on, in order.
    SoftErrors(Sock),
}

/// What it says.
#[derive(Clone, Debug)]
pub enum Answer {
    Sock(Option<Sock>),
    Refused(Fault),
    Yes(bool),
    Written(usize),
    Read(Read),
    SoftErrors(Vec<String>),
    Done,
}

/// A host that a scenario is played against.
pub trait Target {
    fn name(&self) -> &'static str;
    /// Whether it is Linux's TCP.
    fn is_linux(&self) -> bool {
        false
    }
    /// Whether waiting takes as long as it says.
    fn is_real_time(&self) -> bool;
    /// Time since the target began.
    fn now(&self) -> Duration;
    /// A frame arrives at the host.
    fn inject(&mut self, frame: &[u8]);
    /// The next frame that leaves the host within `wait`, and when it left.
    fn next_frame(&mut self, wait: Duration) -> Option<(Duration, Vec<u8>)>;
    /// Asks the application.
    fn ask(&mut self, call: Call) -> Answer;
    /// Connections and entries in a state, by its name in RFC 9293.
    fn count(&self, state: &str) -> u64;
    /// The counters of a Handfast stack.
    fn snapshot(&self) -> Option<handfast::stats::Snapshot> {
        None
    }

    /// Opens a connection from [`HOST_PORT`] to a port of the peer; an error when it is refused at once.
    fn connect(&mut self, remote: IpAddr, port: u16) -> Result<Sock, Fault> {
        match self.ask(Call::Connect((remote, port).into())) {
            Answer::Sock(Some(sock)) => Ok(sock),
            Answer::Refused(fault) => Err(fault),
            other => panic!("no answer to that: {other:?}"),
        }
    }

    /// The next accepted connection.
    fn accept(&mut self) -> Option<Sock> {
        match self.ask(Call::Accept) {
            Answer::Sock(sock) => sock,
            other => panic!("no answer to that: {other:?}"),
        }
    }

    /// Whether a connection stands that was asked for by [`Target::connect`].
    fn is_connected(&mut self, sock: Sock) -> bool {
        matches!(self.ask(Call::IsConnected(sock)), Answer::Yes(true))
    }

    /// Says how many octets were taken.
    fn write(&mut self, sock: Sock, octets: &[u8]) -> usize {
        match self.ask(Call::Write(sock, octets.to_vec())) {
            Answer::Written(count) => count,
            other => panic!("no answer to that: {other:?}"),
        }
    }

    fn read(&mut self, sock: Sock, max: usize) -> Read {
        match self.ask(Call::Read(sock, max)) {
            Answer::Read(read) => read,
            other => panic!("no answer to that: {other:?}"),
        }
    }
}
