//! The seam to applications.
//!
//! An [`App`] lives on the worker's own core and is called back there: no locks, no `Send`, no dynamic dispatch.

use super::Cx;
use crate::ledger::Ending;
use crate::wire::icmp::ErrorKind;
use std::net::SocketAddr;

/// Names a connection for as long as it lives; never names another one afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Services and clients: what happens on a connection is told by these callbacks, in order.
///
/// A connection's life: `on_accept` or `on_connect` once; then any number of `on_readable`, `on_writable`; `on_half_close`
/// at most once; at last `on_closed`, exactly once, after which its [`ConnId`] is dead. An active open that fails gets
/// `on_closed` alone. Callbacks are never nested: what a callback does through [`Cx`] is told after it returns.
pub trait App {
    /// What other threads may send to this application (through [`Mailbox`](crate::worker::Mailbox)).
    type Message: Send;

    /// The stack is up: time to connect or set timers.
    fn on_start(&mut self, _cx: &mut Cx<'_>) {}

    /// A listener's connection stands. [`Cx::local`] tells the port.
    fn on_accept(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}

    /// A connection asked for by [`Cx::connect`] stands.
    fn on_connect(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}

    /// There are new octets to [`Cx::read`]. What is left unread stays, and closes the window by and by.
    fn on_readable(&mut self, cx: &mut Cx<'_>, conn: ConnId);

    /// There is room again for [`Cx::write`] after a write that was cut short.
    fn on_writable(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}

    /// The peer will send nothing more (its FIN came, in order); what it sent before can still be read.
    fn on_half_close(&mut self, cx: &mut Cx<'_>, conn: ConnId);

    /// ICMP says that something is wrong on the way, and the connection goes on all the same: it may mend itself, or end by a
    /// time-out, of which this is then the likely cause (RFC 9293 §3.9.1.8, MUST-47). Anybody on the way may have said so.
    fn on_soft_error(&mut self, _cx: &mut Cx<'_>, _conn: ConnId, _error: ErrorKind) {}

    /// The connection is over; this is the last call for it.
    fn on_closed(&mut self, _cx: &mut Cx<'_>, _conn: ConnId, _ending: Ending) {}

    /// A timer set by [`Cx::set_timer`] is due.
    fn on_timer(&mut self, _cx: &mut Cx<'_>, _token: u64) {}

    /// A message from another thread.
    fn on_message(&mut self, _cx: &mut Cx<'_>, _message: Self::Message) {}

    /// The worker is asked to end: open nothing more. The stack closes what is open by itself.
    fn on_drain(&mut self, _cx: &mut Cx<'_>) {}
}

/// What an application asks for when it connects.
#[derive(Clone, Copy, Debug)]
pub struct Connect {
    /// The peer.
    pub remote: SocketAddr,
    /// Our end: an address of ours and a port; port 0 lets the stack choose. `None` lets it choose both.
    pub local: Option<SocketAddr>,
}

impl Connect {
    /// To `remote`, with address and port of the stack's choice.
    pub fn to(remote: SocketAddr) -> Self {
        Connect { remote, local: None }
    }
}

/// Why a connect was refused at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// RFC 9293 §3.9.1.1 (MUST-46).
    #[error("the destination is a broadcast or multicast address")]
    GroupAddress,
    /// An address that no other host has (unspecified, loopback, our own), or port 0.
    #[error("the destination is no address and port of another host")]
    NoSuchPeer,
    /// No address of ours of that family, or not the one asked for.
    #[error("no local address fits the destination")]
    NoLocalAddress,
    /// Neither on-link nor behind a gateway.
    #[error("no route to the destination")]
    NoRoute,
    /// That 4-tuple is in use, or every port to that destination is (EADDRNOTAVAIL).
    #[error("no local port is free for that destination")]
    PortsExhausted,
    /// With the port that was asked for, the flow is another worker's: its replies would not come here.
    #[error("another worker owns that 4-tuple; port 0 lets the stack choose one of this worker's")]
    OwnedElsewhere,
    /// The connection table is full.
    #[error("the connection table is full")]
    TableFull,
    /// The worker is draining.
    #[error("the stack is shutting down")]
    Draining,
}

/// Why nothing could be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The connection is over.
    #[error("no such connection")]
    NotConnected,
    /// Our side was closed before.
    #[error("the sending side is closed")]
    Closing,
}
