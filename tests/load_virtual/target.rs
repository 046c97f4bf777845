//! Targets that behave in one way each.

use handfast::stack::{App, ConnId, Cx};
use handfast::time::Duration;

/// What a target does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// Reads, and closes when its peer has.
    Discard,
    /// Sends back what comes, and closes when its peer has.
    Echo,
    /// Resets every connection as soon as it stands.
    Reset,
    /// Takes connections, reads nothing and says nothing.
    Nothing,
    /// Answers whatever comes with so many octets, after a while.
    Answer(usize, Duration),
    /// Answers with so many octets, and closes.
    AnswerAndClose(usize),
    /// Greets as soon as a connection stands, and closes when its peer has.
    Greet,
    /// Closes as soon as a connection stands.
    Close,
}

/// A target.
pub struct Target {
    does: Does,
    /// Connections that wait for their answers; a timer's token is a place here.
    waiting: Vec<ConnId>,
}

impl Target {
    pub fn that(does: Does) -> Option<Self> {
        Some(Target { does, waiting: Vec::new() })
    }
}

impl App for Target {
    type Message = ();

    fn on_accept(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        match self.does {
            Does::Reset => cx.abort(conn),
            Does::Close => cx.close(conn),
            Does::Greet => assert_eq!(cx.write(conn, b"hello"), Ok(5)),
            _ => {}
        }
    }

    fn on_readable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        match self.does {
            Does::Nothing => return,
            Does::Echo => {
                // What finds no room is sent from `on_writable`.
                let _ = cx.forward(conn, conn);
                return;
            }
            _ => {}
        }
        let octets = cx.readable(conn);
        cx.consume(conn, octets);
        match self.does {
            Does::Answer(_, after) => {
                assert!(cx.set_timer(after, self.waiting.len() as u64));
                self.waiting.push(conn);
            }
            Does::AnswerAndClose(octets) => {
                assert_eq!(cx.write(conn, &vec![b'y'; octets]), Ok(octets));
                cx.close(conn);
            }
            _ => {}
        }
    }

    fn on_writable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        self.on_readable(cx, conn);
    }

    fn on_half_close(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        if self.does != Does::Nothing {
            cx.close(conn);
        }
    }

    fn on_timer(&mut self, cx: &mut Cx<'_>, token: u64) {
        if let Does::Answer(octets, _) = self.does {
            // The peer may have gone meanwhile.
            let _ = cx.write(self.waiting[token as usize], &vec![b'y'; octets]);
        }
    }
}
