//! An application that does what it is told, and checks what it reads.

use handfast::ledger::Ending;
use handfast::stack::{App, ConnId, Connect, Cx};
use handfast::time::Duration;
use std::net::SocketAddr;

/// What the application is told to do with one of its connections.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    Connect(SocketAddr),
    Write(usize),
    Read(usize),
    Forward,
    Shutdown,
    Close,
    Abort,
    NoDelay(bool),
    KeepAlive(bool),
    UserTimeout(Duration),
    Timer(Duration),
    /// Goes on to the next connection: from now on the calls are about that one.
    Turn,
}

/// A connection as its application knows it.
struct Held {
    conn: ConnId,
    /// Octets written: the octet at place `n` of the stream is `n` modulo 256.
    written: usize,
    /// The octet that must be read next: a peer's octet is its sequence number modulo 256.
    next: Option<u8>,
    /// It writes what it reads, which breaks the rule for `written`.
    forwards: bool,
}

/// An application that does what it is told.
#[derive(Default)]
pub struct Caller {
    held: Vec<Held>,
    /// Somebody forwarded: what is sent no longer follows the rule.
    pub forwarded: bool,
}

impl Caller {
    fn hold(&mut self, conn: ConnId) {
        self.held.push(Held { conn, written: 0, next: None, forwards: false });
    }

    fn read(held: &mut Held, cx: &mut Cx<'_>, octets: usize) {
        let mut into = vec![0; octets];
        let before = cx.readable(held.conn);
        let taken = cx.read(held.conn, &mut into);
        assert_eq!(taken, octets.min(before));
        for &octet in &into[..taken] {
            assert_eq!(octet, held.next.unwrap_or(octet), "the stream has a gap, or repeats itself");
            held.next = Some(octet.wrapping_add(1));
        }
    }

    fn write(held: &mut Held, cx: &mut Cx<'_>, octets: usize) {
        let stream: Vec<u8> = (held.written..held.written + octets).map(|place| place as u8).collect();
        let taken = cx.write(held.conn, &stream).unwrap_or(0);
        assert!(taken <= octets);
        held.written += taken;
    }
}

impl App for Caller {
    type Message = Call;

    fn on_accept(&mut self, _cx: &mut Cx<'_>, conn: ConnId) {
        self.hold(conn);
    }
    fn on_readable(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
    fn on_half_close(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
    fn on_closed(&mut self, cx: &mut Cx<'_>, conn: ConnId, _ending: Ending) {
        let at = self.held.iter().position(|held| held.conn == conn).expect("told once of each end");
        let mut held = self.held.remove(at);
        // What came before the end may still be read, now or never.
        let left = cx.readable(held.conn);
        if !held.forwards {
            Self::read(&mut held, cx, left);
        }
    }
    fn on_message(&mut self, cx: &mut Cx<'_>, call: Call) {
        if let Call::Connect(remote) = call {
            if let Ok(conn) = cx.connect(Connect::to(remote)) {
                self.hold(conn);
            }
            return;
        }
        let Some(held) = self.held.first_mut() else { return };
        let conn = held.conn;
        match call {
            Call::Connect(_) => {}
            Call::Write(octets) => Self::write(held, cx, octets),
            Call::Read(octets) if !held.forwards => Self::read(held, cx, octets),
            Call::Read(_) | Call::Forward => {
                held.forwards = true;
                self.forwarded = true;
                let _ = cx.forward(conn, conn);
            }
            Call::Shutdown => cx.shutdown(conn),
            Call::Close => cx.close(conn),
            Call::Abort => cx.abort(conn),
            Call::NoDelay(on) => cx.set_no_delay(conn, on),
            Call::KeepAlive(on) => cx.set_keep_alive(conn, on),
            Call::UserTimeout(patience) => cx.set_user_timeout(conn, patience),
            Call::Timer(after) => _ = cx.set_timer(after, 1),
            Call::Turn => self.held.rotate_left(1),
        }
    }
    fn on_drain(&mut self, cx: &mut Cx<'_>) {
        // Closed for good, so that a peer who is silent from now on keeps nothing.
        for held in &self.held {
            cx.close(held.conn);
        }
    }
}
