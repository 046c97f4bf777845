//! What an application may do.

use super::app::{ConnId, Connect, ConnectError, SendError};
use super::shard::Shard;
use crate::stats::Pool;
use crate::tcp::buffer::BLOCK;
use crate::tcp::isn::{isn, timestamp_offset};
use crate::tcp::{Env, State, Tcb};
use crate::time::{Duration, Instant};
use crate::wire::Addr;
use crate::wire::ip::{can_be_source, is_group};
use std::net::{IpAddr, SocketAddr};

/// The stack as an application sees it during a callback: any connection of this shard can be used.
///
/// Calls on a connection that is over do nothing and say so by their result.
pub struct Cx<'a> {
    pub(super) shard: &'a mut Shard,
}

/// The tuples of a shard: what an active open needs, and what it leaves behind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TupleRoom {
    /// Pairs of a local address and an ephemeral port, towards one peer.
    pub ports: Pool,
    /// TIME-WAIT entries.
    pub time_wait: Pool,
}

impl Cx<'_> {
    /// The time of this turn.
    pub fn now(&self) -> Instant {
        self.shard.env.now()
    }

    /// Opens a connection (RFC 9293 §3.10.1, active OPEN); the outcome is told by `on_connect` or `on_closed`.
    ///
    /// # Errors
    /// When nothing was opened, and nothing will be told.
    pub fn connect(&mut self, what: Connect) -> Result<ConnId, ConnectError> {
        let remote_addr = Addr::from(what.remote.ip());
        let shard = &mut *self.shard;
        if shard.draining {
            return Err(ConnectError::Draining);
        }
        if is_group(&remote_addr) || shard.routes.is_subnet_broadcast(&remote_addr) {
            return Err(ConnectError::GroupAddress);
        }
        if !can_be_source(&remote_addr) || shard.locals.hold(&remote_addr) || what.remote.port() == 0 {
            return Err(ConnectError::NoSuchPeer);
        }
        if shard.routes.next_hop(&remote_addr).is_none() {
            return Err(ConnectError::NoRoute);
        }
        if !shard.has_room_for_connection(None) {
            shard.env.ledger.refused.connections += 1;
            return Err(ConnectError::TableFull);
        }
        let tuple = shard.choose_tuple(&what, remote_addr).inspect_err(|why| {
            shard.env.ledger.refused.ports += u64::from(*why == ConnectError::PortsExhausted);
        })?;
        let word = shard.isns.word(&tuple);
        let (iss, ts_offset) = (isn(word, shard.env.now()), timestamp_offset(word));
        let our_mss = shard.config.our_mss(tuple.local_addr.is_v4());
        let index = shard.open_connection(&tuple, iss, ts_offset, our_mss);
        shard.settle(index);
        Ok(shard.id(index))
    }

    /// A hint, once before each [`Cx::connect`], for who opens one connection after another and says from where: the next to
    /// `remote` will likely come from these addresses, in turn. What they will need of large tables is then asked of memory for
    /// many at a time. Without such a hint nothing is different but the time it takes.
    pub fn expect_opens(&mut self, remote: SocketAddr, sources: impl Iterator<Item = IpAddr>) {
        let remote = (Addr::from(remote.ip()), remote.port());
        if self.shard.opens_are_due(remote) {
            self.shard.expect_opens(remote, sources.map(Addr::from));
        }
    }

    /// Whether the application wants to hear of this connection: it has not closed it.
    pub(super) fn hears(&self, conn: ConnId) -> bool {
        self.shard.tcb(conn).is_some_and(Tcb::has_reader)
    }

    /// Runs `change` on the connection of that name, and sees to what follows from it.
    fn with<R>(&mut self, conn: ConnId, change: impl FnOnce(&mut Tcb, &mut Env) -> R) -> Option<R> {
        let shard = &mut *self.shard;
        let tcb = shard.connections.tenant_mut(conn.index, conn.generation)?;
        let result = change(tcb, &mut shard.env);
        shard.settle(conn.index);
        Some(result)
    }

    /// Copies what has come into `into` and takes it away; says how many octets.
    pub fn read(&mut self, conn: ConnId, into: &mut [u8]) -> usize {
        self.with(conn, |tcb, env| tcb.read(into, env)).unwrap_or(0)
    }

    /// The first contiguous stretch of what has come, without taking it; empty when nothing is there.
    pub fn peek(&self, conn: ConnId) -> &[u8] {
        self.shard.tcb(conn).map_or(&[], |tcb| tcb.peek())
    }

    /// Takes away the first `octets` of what has come.
    pub fn consume(&mut self, conn: ConnId, octets: usize) {
        self.with(conn, |tcb, env| tcb.consume(octets, env));
    }

    /// Octets that can be read.
    pub fn readable(&self, conn: ConnId) -> usize {
        self.shard.tcb(conn).map_or(0, Tcb::readable)
    }

    /// Whether the peer has sent its FIN and everything before it was read.
    pub fn at_end(&self, conn: ConnId) -> bool {
        self.shard.tcb(conn).is_none_or(Tcb::at_end)
    }

    /// Queues octets to be sent; says how many were taken (fewer than given when the send buffer is full: wait for
    /// `on_writable`).
    ///
    /// # Errors
    /// When nothing can be sent on this connection any more.
    pub fn write(&mut self, conn: ConnId, octets: &[u8]) -> Result<usize, SendError> {
        match self.with(conn, |tcb, env| (tcb.ending.is_some(), tcb.write(octets, env))) {
            Some((_, Some(taken))) => Ok(taken),
            Some((false, None)) => Err(SendError::Closing),
            _ => Err(SendError::NotConnected),
        }
    }

    /// Queues what has come on `from` to be sent on `to`, which may be the same; says how many octets. What finds no room
    /// stays unread on `from`: wait for `to`'s `on_writable`.
    ///
    /// # Errors
    /// When nothing can be sent on `to` any more.
    pub fn forward(&mut self, from: ConnId, to: ConnId) -> Result<usize, SendError> {
        let mut octets = [0; BLOCK];
        let mut moved = 0;
        loop {
            let come = self.peek(from);
            let offered = come.len().min(BLOCK);
            octets[..offered].copy_from_slice(&come[..offered]);
            if offered == 0 {
                return Ok(moved);
            }
            // Written before it is taken away: a write cut short leaves the rest where it is.
            let taken = self.write(to, &octets[..offered])?;
            self.consume(from, taken);
            moved += taken;
            if taken < offered {
                return Ok(moved);
            }
        }
    }

    /// Octets that [`Cx::write`] would take now.
    pub fn writable(&mut self, conn: ConnId) -> usize {
        self.with(conn, |tcb, env| tcb.writable(env)).unwrap_or(0)
    }

    /// Closes our sending side after what is queued (FIN); receiving goes on.
    pub fn shutdown(&mut self, conn: ConnId) {
        self.with(conn, |tcb, env| tcb.shutdown(env));
    }

    /// Closes for good: FIN after what is queued; what comes from now on is not read. Unread data turns it into a
    /// reset (RFC 9293 §3.6.1, SHLD-3).
    pub fn close(&mut self, conn: ConnId) {
        self.with(conn, |tcb, env| tcb.close(env));
    }

    /// ABORT, RFC 9293 §3.10.5: RST, and everything queued is gone.
    pub fn abort(&mut self, conn: ConnId) {
        self.with(conn, |tcb, env| tcb.abort(crate::ledger::Ending::Aborted, env));
    }

    /// Whether small segments leave at once instead of waiting for an acknowledgement (Nagle's algorithm off).
    pub fn set_no_delay(&mut self, conn: ConnId, on: bool) {
        self.with(conn, |tcb, _| tcb.set_no_delay(on));
    }

    /// Whether the peer is asked for a sign of life while the connection is idle, with the times of
    /// [`TcpConfig`](super::TcpConfig); does nothing while `keep_alive` there is `None`.
    pub fn set_keep_alive(&mut self, conn: ConnId, on: bool) {
        self.with(conn, |tcb, _| tcb.set_keep_alive(on));
    }

    /// How long data may go unacknowledged before the connection is given up (R2, RFC 9293 §3.8.3): rounded up to 2 s,
    /// at most 510 s.
    pub fn set_user_timeout(&mut self, conn: ConnId, patience: Duration) {
        self.with(conn, |tcb, _| tcb.set_user_timeout(patience));
    }

    /// Its state; CLOSED once it is over.
    pub fn state(&self, conn: ConnId) -> State {
        self.shard.tcb(conn).map_or(State::Closed, |tcb| tcb.state)
    }

    /// Our end.
    pub fn local(&self, conn: ConnId) -> Option<SocketAddr> {
        self.shard.tcb(conn).map(|tcb| tcb.tuple.local())
    }

    /// The peer's end.
    pub fn remote(&self, conn: ConnId) -> Option<SocketAddr> {
        self.shard.tcb(conn).map(|tcb| tcb.tuple.remote())
    }

    /// The word that the application keeps with the connection; 0 at first.
    pub fn token(&self, conn: ConnId) -> u32 {
        self.shard.tcb(conn).map_or(0, |tcb| tcb.token)
    }

    /// Sets that word.
    pub fn set_token(&mut self, conn: ConnId, token: u32) {
        self.with(conn, |tcb, _| tcb.token = token);
    }

    /// Has `on_timer(token)` called once, `after` from now. `false`: as many timers as allowed are set already.
    pub fn set_timer(&mut self, after: Duration, token: u64) -> bool {
        let set = self.shard.app_timers.set(self.now() + after, token);
        self.shard.env.ledger.refused.app_timers += u64::from(!set);
        set
    }

    /// How many tuples towards this peer are in use and left.
    pub fn tuples(&self, remote: IpAddr) -> TupleRoom {
        let shard = &*self.shard;
        let sources = shard.config.addresses.iter().filter(|local| local.addr.is_v4() == remote.is_ipv4()).count();
        let time_wait = (shard.time_wait_v4.len() + shard.time_wait_v6.len()) as u64;
        TupleRoom {
            ports: Pool {
                used: shard.ports.most_in_use(Some(&Addr::from(remote))),
                limit: shard.ports.limit() * sources as u64,
            },
            time_wait: Pool { used: time_wait, limit: u64::from(shard.config.limits.time_wait) },
        }
    }

    /// Ends this worker's run when the current turn is over (a client that has done its work). Of several workers each goes
    /// on serving its queue until all have ended theirs.
    pub fn stop(&mut self) {
        self.shard.stopping = true;
    }
}
