//! `http`: HTTP/1.1 with keep-alive and pipelining (RFC 9110, RFC 9112); one fixed page at `/`.
//!
//! A request's head is read where it lies in the receive buffer; only one that came in several blocks is gathered, up to
//! [`MAX_HEAD`] octets. Bodies of requests are skipped by their Content-Length; none is read in chunks (501).

mod request;
mod response;

pub use request::MAX_HEAD;
pub use response::Page;

use super::sessions::{Session, Sessions};
use super::{Calendar, close, discard};
use crate::stack::{ConnId, Cx, SendError};
use crate::tcp::State;
use crate::time::Duration;
use request::{Parsed, Request, parse};
use response::{MAX_RESPONSE, Status, response};

/// How long we go on reading after our FIN, so that no reset overtakes the response (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);

/// What becomes of the connection now.
enum Next {
    Wait,
    Close,
    /// FIN, but go on reading for a while.
    Linger,
}

/// The service at work on one connection.
pub(super) struct Http<'a> {
    pub page: &'a Page,
    pub calendar: &'a mut Calendar,
    pub sessions: &'a mut Sessions,
}

impl Http<'_> {
    pub fn on_readable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        match self.sessions.get(cx.token(conn), conn) {
            Some(session) if session.lingering => discard::drop_all(cx, conn),
            // What cannot be answered yet stays unread.
            Some(session) if session.is_sending() => {}
            _ => self.advance(cx, conn),
        }
    }

    pub fn on_writable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        if self.sessions.get(cx.token(conn), conn).is_some_and(|session| session.is_sending()) {
            self.advance(cx, conn);
        }
    }

    pub fn on_half_close(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        match self.sessions.get(cx.token(conn), conn) {
            Some(session) if session.lingering => close::close(cx, conn),
            Some(session) if session.is_sending() => {}
            _ => self.advance(cx, conn),
        }
    }

    /// Answers what can be answered; keeps a session only for what is pending then.
    fn advance(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        let mut session = self.sessions.leave(cx.token(conn), conn).unwrap_or_default();
        cx.set_token(conn, 0);
        match self.answer_all(cx, conn, &mut session).unwrap_or(Next::Close) {
            Next::Wait if session.is_idle() => {}
            Next::Wait => self.keep(cx, conn, session),
            Next::Close => close::close(cx, conn),
            Next::Linger => {
                discard::drop_all(cx, conn);
                if !cx.set_timer(LINGER, timer_of_conn(conn)) {
                    return cx.close(conn);
                }
                cx.shutdown(conn);
                self.keep(cx, conn, Session { lingering: true, ..Session::default() });
            }
        }
    }

    fn keep(&mut self, cx: &mut Cx<'_>, conn: ConnId, session: Session) {
        match self.sessions.enter(conn, session) {
            Some(token) => cx.set_token(conn, token),
            None => cx.abort(conn),
        }
    }

    fn answer_all(&mut self, cx: &mut Cx<'_>, conn: ConnId, session: &mut Session) -> Result<Next, SendError> {
        loop {
            if !self.send(cx, conn, session)? {
                return Ok(Next::Wait);
            }
            if session.last {
                let more = session.skip > 0 || cx.readable(conn) > 0;
                return Ok(if more { Next::Linger } else { Next::Close });
            }
            skip_body(cx, conn, session);
            let request = if session.skip > 0 { None } else { next_request(cx, conn, &mut session.head) };
            let Some(request) = request else {
                // Half a request is all that will ever come.
                let finished = !matches!(cx.state(conn), State::Established | State::FinWait1 | State::FinWait2);
                return Ok(if finished { Next::Close } else { Next::Wait });
            };
            self.answer(cx, conn, session, request)?;
        }
    }

    fn answer(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnId,
        session: &mut Session,
        request: Result<Request, Status>,
    ) -> Result<(), SendError> {
        let lost = request.is_err();
        let request = request.unwrap_or_else(Request::refused);
        let mut buffer = [0; MAX_RESPONSE];
        let octets = response(&mut buffer, &request, self.page, self.calendar.http_date(cx.now()));
        let written = cx.write(conn, &buffer[..octets])?;
        session.unsent.extend_from_slice(&buffer[written..octets]);
        session.page_left = if request.status == Status::Ok && !request.head_only { self.page.octets } else { 0 };
        session.last = !request.keep_alive;
        // After an error nobody knows how much is still to come.
        session.skip = if lost { u64::MAX } else { request.body };
        Ok(())
    }

    /// Sends what is pending; whether all of it went.
    fn send(&self, cx: &mut Cx<'_>, conn: ConnId, session: &mut Session) -> Result<bool, SendError> {
        if !session.unsent.is_empty() {
            let written = cx.write(conn, &session.unsent)?;
            session.unsent.drain(..written);
            if !session.unsent.is_empty() {
                return Ok(false);
            }
        }
        while session.page_left > 0 {
            let stretch = self.page.stretch(session.page_left);
            let written = cx.write(conn, stretch)?;
            session.page_left -= written as u64;
            if written < stretch.len() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Session {
    fn is_sending(&self) -> bool {
        !self.unsent.is_empty() || self.page_left > 0
    }

    fn is_idle(&self) -> bool {
        !self.is_sending() && self.head.is_empty() && self.skip == 0 && !self.last && !self.lingering
    }
}

fn skip_body(cx: &mut Cx<'_>, conn: ConnId, session: &mut Session) {
    let octets = session.skip.min(cx.readable(conn) as u64);
    if octets > 0 {
        cx.consume(conn, octets as usize);
        session.skip -= octets;
    }
}

/// Takes the next request head away; `None` when it is not all there. `head` gathers one that lies in several blocks.
fn next_request(cx: &mut Cx<'_>, conn: ConnId, head: &mut Vec<u8>) -> Option<Result<Request, Status>> {
    if head.is_empty() {
        let come = cx.peek(conn);
        match parse(come) {
            Parsed::Complete(octets, request) => {
                cx.consume(conn, octets);
                return Some(Ok(request));
            }
            Parsed::Bad(status) => return Some(Err(status)),
            Parsed::Partial if come.len() == cx.readable(conn) => return None,
            Parsed::Partial => {}
        }
    }
    loop {
        let come = cx.peek(conn);
        if come.is_empty() {
            return None;
        }
        let before = head.len();
        let taken = come.len().min(MAX_HEAD - before);
        head.extend_from_slice(&come[..taken]);
        match parse(head) {
            Parsed::Partial => cx.consume(conn, taken),
            Parsed::Complete(octets, request) => {
                cx.consume(conn, octets - before);
                *head = Vec::new();
                return Some(Ok(request));
            }
            Parsed::Bad(status) => {
                cx.consume(conn, taken);
                *head = Vec::new();
                return Some(Err(status));
            }
        }
    }
}

/// The timer's token that names a connection.
fn timer_of_conn(conn: ConnId) -> u64 {
    u64::from(conn.generation) << 32 | u64::from(conn.index)
}

/// The connection that a timer's token names.
pub(super) fn conn_of_timer(token: u64) -> ConnId {
    ConnId { index: token as u32, generation: (token >> 32) as u32 }
}
