//! What an application may do.

use super::app::{ConnId, Connect, ConnectError, SendError};
use crate::tcp::State;
use crate::time::{Duration, Instant};
use std::net::SocketAddr;

/// The stack as an application sees it during a callback: any connection of this shard can be used.
///
/// Calls on a connection that is over do nothing and say so by their result.
pub struct Cx<'a> {
    now: Instant,
    _p: std::marker::PhantomData<&'a mut ()>,
}

impl Cx<'_> {
    /// The time of this turn.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Opens a connection (RFC 9293 §3.10.1, active OPEN); the outcome is told by `on_connect` or `on_closed`.
    pub fn connect(&mut self, _what: Connect) -> Result<ConnId, ConnectError> {
        todo!()
    }

    /// Copies what has come into `into` and takes it away; says how many octets.
    pub fn read(&mut self, _conn: ConnId, _into: &mut [u8]) -> usize {
        todo!()
    }

    /// The first contiguous stretch of what has come, without taking it; empty when nothing is there.
    pub fn peek(&self, _conn: ConnId) -> &[u8] {
        todo!()
    }

    /// Takes away the first `octets` of what has come.
    pub fn consume(&mut self, _conn: ConnId, _octets: usize) {
        todo!()
    }

    /// Octets that can be read.
    pub fn readable(&self, _conn: ConnId) -> usize {
        todo!()
    }

    /// Whether the peer has sent its FIN and everything before it was read.
    pub fn at_end(&self, _conn: ConnId) -> bool {
        todo!()
    }

    /// Queues octets to be sent; says how many were taken (fewer than given when the send buffer is full: wait for
    /// `on_writable`).
    pub fn write(&mut self, _conn: ConnId, _octets: &[u8]) -> Result<usize, SendError> {
        todo!()
    }

    /// Octets that [`Cx::write`] would take now.
    pub fn writable(&self, _conn: ConnId) -> usize {
        todo!()
    }

    /// Closes our sending side after what is queued (FIN); receiving goes on.
    pub fn shutdown(&mut self, _conn: ConnId) {
        todo!()
    }

    /// Closes for good: FIN after what is queued; what comes from now on is not read. Unread data turns it into a
    /// reset (RFC 9293 §3.6.1, SHLD-3).
    pub fn close(&mut self, _conn: ConnId) {
        todo!()
    }

    /// ABORT, RFC 9293 §3.10.5: RST, and everything queued is gone.
    pub fn abort(&mut self, _conn: ConnId) {
        todo!()
    }

    /// Its state; CLOSED once it is over.
    pub fn state(&self, _conn: ConnId) -> State {
        todo!()
    }

    /// Our end.
    pub fn local(&self, _conn: ConnId) -> Option<SocketAddr> {
        todo!()
    }

    /// The peer's end.
    pub fn remote(&self, _conn: ConnId) -> Option<SocketAddr> {
        todo!()
    }

    /// The word that the application keeps with the connection; 0 at first.
    pub fn token(&self, _conn: ConnId) -> u32 {
        todo!()
    }

    /// Sets that word.
    pub fn set_token(&mut self, _conn: ConnId, _token: u32) {
        todo!()
    }

    /// Has `on_timer(token)` called once, `after` from now. `false`: as many timers as allowed are set already.
    pub fn set_timer(&mut self, _after: Duration, _token: u64) -> bool {
        todo!()
    }

    /// Ends this worker's run when the current turn is over (a client that has done its work).
    pub fn stop(&mut self) {
        todo!()
    }
}
