//! The applications at both ends: a client that says something on each connection, hears it again, and closes; an echo.

use handfast::ledger::Ending;
use handfast::stack::{App, ConnId, Connect, ConnectError, Cx};
use handfast::time::Duration;
use std::collections::HashMap;
use std::net::SocketAddr;

/// Sends back what comes, and closes after its peer.
pub struct Echo;

impl App for Echo {
    type Message = ();
    fn on_readable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        match cx.forward(conn, conn) {
            Ok(_) if cx.at_end(conn) => cx.close(conn),
            Ok(_) => {}
            Err(_) => cx.abort(conn),
        }
    }
    fn on_writable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        self.on_readable(cx, conn);
    }
    fn on_half_close(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        self.on_readable(cx, conn);
    }
}

/// Octets that each connection sends and hears again.
const TALK: usize = 3_000;
/// Connections under way at once.
const AT_ONCE: usize = 32;
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The timer that says so.
const OUT_OF_PATIENCE: u64 = 1;

/// Opens so many connections to a target.
pub struct Caller {
    target: SocketAddr,
    to_open: u32,
    under_way: HashMap<ConnId, Vec<u8>>,
    /// Connections on which everything was heard again, and that closed in order.
    pub good: u32,
    /// What went wrong with the others.
    pub bad: Vec<String>,
}

impl Caller {
    pub fn new(target: SocketAddr, connections: u32) -> Self {
        Caller { target, to_open: connections, under_way: HashMap::new(), good: 0, bad: Vec::new() }
    }

    fn open(&mut self, cx: &mut Cx<'_>) {
        while self.to_open > 0 && self.under_way.len() < AT_ONCE {
            match cx.connect(Connect::to(self.target)) {
                Ok(conn) => drop(self.under_way.insert(conn, Vec::new())),
                Err(ConnectError::PortsExhausted) => {
                    cx.set_timer(Duration::from_millis(10), 0);
                    return;
                }
                Err(e) => self.bad.push(e.to_string()),
            }
            self.to_open -= 1;
        }
        if self.to_open == 0 && self.under_way.is_empty() {
            cx.stop();
        }
    }
}

fn talk(conn: ConnId) -> Vec<u8> {
    format!("{conn:?} ").into_bytes().into_iter().cycle().take(TALK).collect()
}

impl App for Caller {
    type Message = ();
    fn on_start(&mut self, cx: &mut Cx<'_>) {
        cx.set_timer(PATIENCE, OUT_OF_PATIENCE);
        self.open(cx);
    }
    fn on_timer(&mut self, cx: &mut Cx<'_>, token: u64) {
        if token == OUT_OF_PATIENCE {
            self.bad.push(format!("{} under way and {} not begun in time", self.under_way.len(), self.to_open));
            return cx.stop();
        }
        self.open(cx);
    }
    fn on_connect(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        if cx.write(conn, &talk(conn)) != Ok(TALK) {
            self.bad.push("a short write".into());
        }
    }
    fn on_readable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        let mut octets = vec![0; cx.readable(conn)];
        cx.read(conn, &mut octets);
        let Some(heard) = self.under_way.get_mut(&conn) else { return };
        heard.extend(octets);
        if heard.len() >= TALK {
            cx.close(conn);
        }
    }
    fn on_half_close(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
    fn on_closed(&mut self, cx: &mut Cx<'_>, conn: ConnId, ending: Ending) {
        match (self.under_way.remove(&conn), ending) {
            (Some(heard), Ending::Closed) if heard == talk(conn) => self.good += 1,
            (heard, ending) => self.bad.push(format!("{ending} after {:?} octets", heard.map(|heard| heard.len()))),
        }
        self.open(cx);
    }
}
