//! The application on a Handfast stack: does what it is asked, and nothing by itself.

use super::in_memory::Setup;
use super::target::*;
use handfast::ledger::Ending;
use handfast::stack::{App, ConnId, Connect, Cx, LocalAddr};
use handfast::wire::icmp::ErrorKind;
use handfast::wire::{Addr, MacAddr};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::Sender;

/// A call, and where its answer goes.
pub struct Ask(pub Call, pub Sender<Answer>);

#[derive(Default)]
struct Outcome {
    connected: bool,
    ending: Option<Ending>,
    soft_errors: Vec<String>,
}

#[derive(Default)]
pub struct Puppet {
    socks: Vec<ConnId>,
    accepted: VecDeque<ConnId>,
    outcomes: HashMap<ConnId, Outcome>,
}

impl Puppet {
    fn sock(&mut self, conn: ConnId) -> Sock {
        self.socks.push(conn);
        Sock(self.socks.len() - 1)
    }

    fn read(&self, cx: &mut Cx<'_>, conn: ConnId, max: usize) -> Read {
        let mut octets = vec![0; max];
        let n = cx.read(conn, &mut octets);
        if n > 0 {
            octets.truncate(n);
            return Read::Data(octets);
        }
        match self.outcomes.get(&conn).and_then(|outcome| outcome.ending) {
            Some(Ending::Closed) => Read::End,
            Some(Ending::Reset) => Read::Fault(Fault::Reset),
            Some(Ending::Refused) => Read::Fault(Fault::Refused),
            Some(Ending::TimedOut) => Read::Fault(Fault::TimedOut),
            Some(_) => Read::Fault(Fault::Aborted),
            None if cx.at_end(conn) => Read::End,
            None => Read::Nothing,
        }
    }

    fn call(&mut self, cx: &mut Cx<'_>, call: Call) -> Answer {
        let socks = &self.socks;
        let conn = |sock: Sock| socks[sock.0];
        match call {
            Call::Connect(remote) => {
                let local = match remote.ip() {
                    IpAddr::V4(_) => Family::V4.host(),
                    IpAddr::V6(_) => Family::V6.host(),
                };
                let local = Some(SocketAddr::from((local, HOST_PORT)));
                return match cx.connect(Connect { local, ..Connect::to(remote) }) {
                    Ok(conn) => Answer::Sock(Some(self.sock(conn))),
                    Err(_) => Answer::Refused(Fault::Other),
                };
            }
            Call::Accept => {
                let conn = self.accepted.pop_front();
                return Answer::Sock(conn.map(|conn| self.sock(conn)));
            }
            Call::IsConnected(sock) => {
                return Answer::Yes(self.outcomes.get(&conn(sock)).is_some_and(|o| o.connected));
            }
            Call::Write(sock, octets) => return Answer::Written(cx.write(conn(sock), &octets).unwrap_or(0)),
            Call::Read(sock, max) => return Answer::Read(self.read(cx, conn(sock), max)),
            Call::SoftErrors(sock) => {
                let told = self.outcomes.get(&conn(sock)).map(|outcome| outcome.soft_errors.clone());
                return Answer::SoftErrors(told.unwrap_or_default());
            }
            Call::Shutdown(sock) => cx.shutdown(conn(sock)),
            Call::Close(sock) => cx.close(conn(sock)),
            Call::Abort(sock) => cx.abort(conn(sock)),
        }
        Answer::Done
    }
}

impl App for Puppet {
    type Message = Ask;
    fn on_accept(&mut self, _cx: &mut Cx<'_>, conn: ConnId) {
        self.accepted.push_back(conn);
    }
    fn on_connect(&mut self, _cx: &mut Cx<'_>, conn: ConnId) {
        self.outcomes.entry(conn).or_default().connected = true;
    }
    fn on_readable(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
    fn on_half_close(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
    fn on_soft_error(&mut self, _cx: &mut Cx<'_>, conn: ConnId, error: ErrorKind) {
        self.outcomes.entry(conn).or_default().soft_errors.push(format!("{error:?}"));
    }
    fn on_closed(&mut self, _cx: &mut Cx<'_>, conn: ConnId, ending: Ending) {
        let outcome = self.outcomes.entry(conn).or_default();
        assert_eq!(outcome.ending.replace(ending), None, "a connection ends once");
    }
    fn on_message(&mut self, cx: &mut Cx<'_>, Ask(call, answer): Ask) {
        // Whoever asked may have given up.
        let _ = answer.send(self.call(cx, call));
    }
}

pub fn addr(addr: IpAddr) -> Addr {
    match addr {
        IpAddr::V4(addr) => Addr::from_v4(addr.octets()),
        IpAddr::V6(addr) => Addr::from_v6(addr.octets()),
    }
}

/// The stack's address.
pub fn local(family: Family) -> Vec<LocalAddr> {
    vec![LocalAddr { addr: addr(family.host()), prefix_len: family.prefix_len() }]
}

/// The peer, if it is to be known from the start.
pub fn neighbours(setup: &Setup) -> Vec<(Addr, MacAddr)> {
    setup.knows_peer.then_some((addr(setup.family.peer()), MacAddr(PEER_MAC))).into_iter().collect()
}
