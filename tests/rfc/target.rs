//! The host under test: a wire to it, and the application on it.

use std::time::Duration;

/// Where the host under test is.
pub const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const HOST: [u8; 4] = [10, 9, 0, 1];
/// Where the scripted peer is.
pub const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub const PEER: [u8; 4] = [10, 9, 0, 2];
/// The on-link prefix of both: 24 bits.
pub const SUBNET_BROADCAST: [u8; 4] = [10, 9, 0, 255];
/// The host's port: it listens there, or connects from there.
pub const HOST_PORT: u16 = 7777;
/// The peer's port of the main connection.
pub const PEER_PORT: u16 = 40_000;

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

/// A host that a scenario is played against.
pub trait Target {
    /// Whether it is Linux's TCP.
    fn is_linux(&self) -> bool;
    /// Time since the target began.
    fn now(&self) -> Duration;
    /// A frame arrives at the host.
    fn inject(&mut self, frame: &[u8]);
    /// The next frame that leaves the host within `wait`, and when it left.
    fn next_frame(&mut self, wait: Duration) -> Option<(Duration, Vec<u8>)>;

    /// Opens a connection from [`HOST_PORT`] to a port of the peer; an error when it is refused at once.
    fn connect(&mut self, remote: [u8; 4], port: u16) -> Result<Sock, Fault>;
    /// The next accepted connection.
    fn accept(&mut self) -> Option<Sock>;
    /// Whether a connection stands that was asked for by [`Target::connect`].
    fn is_connected(&mut self, sock: Sock) -> bool;
    /// Says how many octets were taken.
    fn write(&mut self, sock: Sock, octets: &[u8]) -> usize;
    /// Reads at most `max` octets.
    fn read(&mut self, sock: Sock, max: usize) -> Read;
    fn shutdown(&mut self, sock: Sock);
    fn close(&mut self, sock: Sock);
    fn abort(&mut self, sock: Sock);
    /// Connections and entries in a state, by its name in RFC 9293.
    fn count(&self, state: &str) -> u64;
    /// The counters of a Handfast stack.
    fn snapshot(&self) -> Option<handfast::stats::Snapshot>;
}
