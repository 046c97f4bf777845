//! `http`: HTTP/1.1 with keep-alive and pipelining (RFC 9110, RFC 9112); one fixed page at `/`.
//!
//! A request's head is read where it lies in the receive buffer; only one that came in several blocks is gathered, up to
//! [`MAX_HEAD`] octets. Bodies of requests are skipped by their Content-Length; none is read in chunks (501).

use super::sessions::{Session, Sessions};
use super::{Calendar, close, discard};
use crate::stack::{ConnId, Cx, SendError};
use crate::tcp::State;
use crate::time::Duration;
use std::io::Write;

/// The longest request head in octets.
pub const MAX_HEAD: usize = 8 * 1024;
/// The most header lines of a request.
const MAX_HEADERS: usize = 64;
/// The longest response head, with the body of an error.
const MAX_RESPONSE: usize = 384;
/// How long we go on reading after our FIN, so that no reset overtakes the response (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);

const SMALL_PAGE: &str =
    "<!doctype html>\n<title>Handfast</title>\n<p>Served by Handfast, a TCP stack in user space.\n";
const LINE: &str = "Handfast serves this page from user space, over AF_XDP rings..\n";

/// What is served at `/`.
pub struct Page {
    block: Vec<u8>,
    octets: u64,
    content_type: &'static str,
}

impl Page {
    /// A page of that many octets, or a small one.
    pub fn new(octets: Option<u64>) -> Self {
        match octets {
            None => Page {
                block: SMALL_PAGE.into(),
                octets: SMALL_PAGE.len() as u64,
                content_type: "text/html; charset=utf-8",
            },
            Some(octets) => Page {
                block: LINE.repeat(16 * 1024 / LINE.len()).into_bytes(),
                octets,
                content_type: "text/plain; charset=utf-8",
            },
        }
    }

    /// The longest stretch at hand of the last `left` octets.
    fn stretch(&self, left: u64) -> &[u8] {
        let start = ((self.octets - left) % self.block.len() as u64) as usize;
        let end = self.block.len().min(start.saturating_add(usize::try_from(left).unwrap_or(usize::MAX)));
        &self.block[start..end]
    }
}

/// A response's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum Status {
    Ok = 200,
    BadRequest = 400,
    NotFound = 404,
    MethodNotAllowed = 405,
    HeadTooLarge = 431,
    NotImplemented = 501,
    VersionNotSupported = 505,
}

impl Status {
    const fn reason(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::BadRequest => "Bad Request",
            Status::NotFound => "Not Found",
            Status::MethodNotAllowed => "Method Not Allowed",
            Status::HeadTooLarge => "Request Header Fields Too Large",
            Status::NotImplemented => "Not Implemented",
            Status::VersionNotSupported => "HTTP Version Not Supported",
        }
    }
}

/// What matters of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    status: Status,
    /// HEAD: the response has no body.
    head_only: bool,
    keep_alive: bool,
    /// HTTP/1.0: keep-alive must be said (RFC 9112 §C.2.2).
    old: bool,
    /// Octets of its body.
    body: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Partial,
    Complete(usize, Request),
    Bad(Status),
}

/// Reads a request head (RFC 9112 §2 to §6) at the start of `octets`.
fn parse(octets: &[u8]) -> Parsed {
    let whole = octets.len() >= MAX_HEAD;
    let octets = &octets[..octets.len().min(MAX_HEAD)];
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(octets) {
        Ok(httparse::Status::Complete(length)) => match judge(&request) {
            Ok(judged) => Parsed::Complete(length, judged),
            Err(status) => Parsed::Bad(status),
        },
        Ok(httparse::Status::Partial) if whole => Parsed::Bad(Status::HeadTooLarge),
        Ok(httparse::Status::Partial) => Parsed::Partial,
        Err(httparse::Error::TooManyHeaders) => Parsed::Bad(Status::HeadTooLarge),
        Err(httparse::Error::Version) => Parsed::Bad(Status::VersionNotSupported),
        Err(_) => Parsed::Bad(Status::BadRequest),
    }
}

/// Decides on a complete head. An error is one after which the next request cannot be found.
fn judge(request: &httparse::Request<'_, '_>) -> Result<Request, Status> {
    let old = request.version == Some(0);
    let mut keep_alive = !old;
    let mut body = None;
    let (mut hosts, mut expects) = (0, false);
    for header in request.headers.iter() {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = content_length(value).ok_or(Status::BadRequest)?;
            // Two that differ are an attempt to smuggle, RFC 9112 §6.3.
            if body.replace(length).is_some_and(|before| before != length) {
                return Err(Status::BadRequest);
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Status::NotImplemented);
        } else if header.name.eq_ignore_ascii_case("connection") {
            for option in value.split(|octet| *octet == b',').map(<[u8]>::trim_ascii) {
                keep_alive &= !option.eq_ignore_ascii_case(b"close");
                keep_alive |= old && option.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if header.name.eq_ignore_ascii_case("host") {
            hosts += 1;
        } else if header.name.eq_ignore_ascii_case("expect") {
            expects = true;
        }
    }
    // RFC 9112 §3.2.
    if hosts > 1 || (hosts == 0 && !old) {
        return Err(Status::BadRequest);
    }
    let body = body.unwrap_or(0);
    // Without a 100 the client may send the body or not: what follows cannot be read (RFC 9110 §10.1.1).
    keep_alive &= !(expects && body > 0);
    let method = request.method.unwrap_or_default();
    let status = match method {
        "GET" | "HEAD" if is_root(request.path.unwrap_or_default()) => Status::Ok,
        "GET" | "HEAD" => Status::NotFound,
        _ => Status::MethodNotAllowed,
    };
    Ok(Request { status, head_only: method == "HEAD", keep_alive, old, body })
}

/// Digits only: no sign, no blank (RFC 9110 §8.6).
fn content_length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

/// Whether a target in origin or absolute form (RFC 9112 §3.2) names the one page.
fn is_root(target: &str) -> bool {
    let path = match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    path.split('?').next() == Some("/")
}

/// Writes a response's head, and after it the body of an error, to `into`; says how many octets.
fn response(into: &mut [u8; MAX_RESPONSE], request: &Request, page: &Page, date: &str) -> usize {
    let Request { status, keep_alive, .. } = *request;
    let (content_type, length) = match status {
        Status::Ok => (page.content_type, page.octets),
        _ => ("text/plain; charset=utf-8", status.reason().len() as u64 + 1),
    };
    let allow = if status == Status::MethodNotAllowed { "Allow: GET, HEAD\r\n" } else { "" };
    let connection = match (keep_alive, request.old) {
        (false, _) => "Connection: close\r\n",
        (true, true) => "Connection: keep-alive\r\n",
        (true, false) => "",
    };
    let room = into.len();
    let mut rest = &mut into[..];
    let head = write!(
        rest,
        "HTTP/1.1 {} {}\r\nServer: handfast\r\nDate: {date}\r\n{allow}{connection}Content-Type: {content_type}\r\n\
         Content-Length: {length}\r\n\r\n",
        status as u16,
        status.reason(),
    );
    let body = if status == Status::Ok || request.head_only { Ok(()) } else { writeln!(rest, "{}", status.reason()) };
    head.and(body).expect("MAX_RESPONSE holds the longest head");
    room - rest.len()
}

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

impl Request {
    /// Stands for one that could not be read: answered, and the last of its connection.
    fn refused(status: Status) -> Request {
        Request { status, head_only: false, keep_alive: false, old: false, body: 0 }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(head: &str) -> Parsed {
        parse(head.as_bytes())
    }

    fn request(head: &str) -> Request {
        match judged(head) {
            Parsed::Complete(octets, request) if octets == head.len() => request,
            other => panic!("{head:?}: {other:?}"),
        }
    }

    #[test]
    fn each_head_has_its_status() {
        for (head, status) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Status::Ok),
            ("GET /?q=1 HTTP/1.1\r\nHost: a\r\n\r\n", Status::Ok),
            ("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Status::Ok),
            ("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", Status::Ok),
            ("HEAD / HTTP/1.0\r\n\r\n", Status::Ok),
            ("GET /other HTTP/1.1\r\nHost: a\r\n\r\n", Status::NotFound),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", Status::MethodNotAllowed),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Status::MethodNotAllowed),
        ] {
            assert_eq!(request(head).status, status, "{head:?}");
        }
    }

    #[test]
    fn heads_that_lose_the_thread_are_refused() {
        for (head, status) in [
            ("GET / HTTP/1.1\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", Status::BadRequest),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Status::NotImplemented),
            ("GET / HTTP/2.0\r\n\r\n", Status::VersionNotSupported),
            ("GET /\r\n\r\n", Status::BadRequest),
            ("\x16\x03\x01\x02\x00\x01", Status::BadRequest),
        ] {
            assert_eq!(judged(head), Parsed::Bad(status), "{head:?}");
        }
    }

    #[test]
    fn keep_alive_follows_version_and_connection_header() {
        for (head, keep_alive) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: te, close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
            ("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", false),
        ] {
            assert_eq!(request(head).keep_alive, keep_alive, "{head:?}");
        }
    }

    #[test]
    fn every_cut_of_a_head_is_partial_and_the_size_is_bounded() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(parse(&head[..cut]), Parsed::Partial, "{cut}");
        }
        let endless = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; MAX_HEAD]].concat();
        assert_eq!(parse(&endless[..MAX_HEAD - 1]), Parsed::Partial);
        assert_eq!(parse(&endless), Parsed::Bad(Status::HeadTooLarge));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(judged(&many), Parsed::Bad(Status::HeadTooLarge));
    }

    #[test]
    fn the_longest_response_head_fits_and_reads_back() {
        let page = Page::new(Some(u64::MAX));
        let date = super::super::calendar::Moment(784_111_777).http_date();
        for status in [Status::Ok, Status::MethodNotAllowed, Status::HeadTooLarge, Status::VersionNotSupported] {
            for (keep_alive, old, head_only) in [(true, true, false), (false, false, true), (true, false, false)] {
                let request = Request { status, head_only, keep_alive, old, body: 0 };
                let mut buffer = [0; MAX_RESPONSE];
                let octets = response(&mut buffer, &request, &page, &date);
                let mut headers = [httparse::EMPTY_HEADER; 8];
                let mut read = httparse::Response::new(&mut headers);
                let httparse::Status::Complete(head) = read.parse(&buffer[..octets]).unwrap() else { panic!() };
                assert_eq!(read.code, Some(status as u16));
                let length = read.headers.iter().find(|h| h.name == "Content-Length").unwrap().value;
                let body = (octets - head) as u64;
                let announced = std::str::from_utf8(length).unwrap().parse::<u64>().unwrap();
                let expected = if head_only || status == Status::Ok { 0 } else { announced };
                assert_eq!(body, expected, "{status:?} {head_only}");
            }
        }
    }

    #[test]
    fn a_page_is_as_long_as_it_says_however_it_is_cut() {
        for octets in [0, 1, 4096, 16 * 1024 + 1, 100_000] {
            let page = Page::new(Some(octets));
            let (mut left, mut seen) = (octets, 0);
            while left > 0 {
                let part = (page.stretch(left).len() as u64).min(7001);
                left -= part;
                seen += part;
            }
            assert_eq!(seen, octets);
        }
    }
}
