//! The services as a client sees them, stack against stack over the in-memory link.

use handfast::driver::memory;
use handfast::engine::{Ended, Engine, EngineConfig, Link};
use handfast::ledger::Ending;
use handfast::services::{Listener, Services};
use handfast::stack::{App, ConnId, Connect, Cx, LocalAddr};
use handfast::time::Duration;
use handfast::wire::{Addr, MacAddr};
use std::net::SocketAddr;

const SERVER: [u8; 4] = [10, 9, 0, 2];
const CLIENT: [u8; 4] = [10, 9, 0, 3];

/// Sends a script, reads until the end or until enough has come, and keeps what came.
struct Client {
    remote: SocketAddr,
    unsent: Vec<u8>,
    /// Sends its FIN after the script.
    half_closes: bool,
    /// Closes when this many octets have come.
    enough: usize,
    received: Vec<u8>,
    ending: Option<Ending>,
    server_closed_first: bool,
}

impl Client {
    fn push(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        if self.unsent.is_empty() {
            return;
        }
        let written = cx.write(conn, &self.unsent).unwrap_or(0);
        self.unsent.drain(..written);
        if self.unsent.is_empty() && self.half_closes {
            cx.shutdown(conn);
        }
    }
}

impl App for Client {
    type Message = ();

    fn on_start(&mut self, cx: &mut Cx<'_>) {
        cx.connect(Connect::to(self.remote)).expect("a route and a port");
        assert!(cx.set_timer(Duration::from_secs(20), 0));
    }

    fn on_connect(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        self.push(cx, conn);
    }

    fn on_readable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        let mut part = [0; 4096];
        loop {
            let octets = cx.read(conn, &mut part);
            if octets == 0 {
                break;
            }
            self.received.extend_from_slice(&part[..octets]);
        }
        if self.received.len() >= self.enough {
            cx.close(conn);
        }
    }

    fn on_writable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        self.push(cx, conn);
    }

    fn on_half_close(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        self.server_closed_first = !self.half_closes;
        self.on_readable(cx, conn);
        cx.close(conn);
    }

    fn on_closed(&mut self, cx: &mut Cx<'_>, _conn: ConnId, ending: Ending) {
        self.ending = Some(ending);
        cx.stop();
    }

    fn on_timer(&mut self, cx: &mut Cx<'_>, _token: u64) {
        // Too long: what is missing shows in the assertions.
        cx.stop();
    }
}

fn config(addr: [u8; 4]) -> EngineConfig {
    let mut config = EngineConfig::new(vec![LocalAddr { addr: Addr::from_v4(addr), prefix_len: 24 }]);
    config.pin = false;
    config.tcp.time_wait = Duration::from_millis(50);
    config.limits.connections = 1024;
    config.limits.half_open = 1024;
    config.limits.time_wait = 1024;
    config
}

fn link(last: u8) -> Link {
    Link { mac: MacAddr([2, 0, 0, 0, 0, last]), mtu: 1500 }
}

/// How a conversation went.
struct Talk {
    client: Client,
    server: Ended<Services>,
}

fn talk(service: &str, body: Option<u64>, script: &[u8], half_closes: bool, enough: usize) -> Talk {
    let listener: Listener = format!("{service}@1000").parse().unwrap();
    let (here, there) = memory::link(1024, 256);
    let mut serving = config(SERVER);
    serving.listen = vec![listener.port];
    let server =
        Engine::over(serving, link(2), vec![here], move |_| Services::new(vec![listener], body, 1024)).unwrap();
    let remote = SocketAddr::from((SERVER, listener.port));
    let script = script.to_vec();
    let client = Engine::over(config(CLIENT), link(3), vec![there], move |_| Client {
        remote,
        unsent: script.clone(),
        half_closes,
        enough,
        received: Vec::new(),
        ending: None,
        server_closed_first: false,
    });
    let mut client = client.unwrap().join().unwrap();
    server.drain(Duration::from_secs(1));
    let server = server.join().unwrap();
    assert!(server.snapshot.ledger.exact, "{:?}", server.snapshot.ledger.broken);
    assert_eq!(server.workers[0].app.sessions_open(), 0, "every session ends with its connection");
    assert!(server.snapshot.laws().iter().all(|law| law.holds()), "{:?}", server.snapshot.laws());
    Talk { client: client.workers.remove(0).app, server }
}

/// Octets that repeat nowhere near.
fn noise(octets: usize) -> Vec<u8> {
    (0..octets as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8).collect()
}

#[test]
fn echo_returns_every_octet_and_closes_after_the_client() {
    let sent = noise(1 << 20);
    let talk = talk("echo", None, &sent, true, usize::MAX);
    assert!(talk.client.received == sent, "{} of {} octets", talk.client.received.len(), sent.len());
    assert_eq!(talk.client.ending, Some(Ending::Closed));
    assert_eq!(talk.server.snapshot.connections.closed, 1);
}

#[test]
fn discard_answers_nothing_and_closes_after_the_client() {
    let talk = talk("discard", None, &noise(1 << 20), true, usize::MAX);
    assert!(talk.client.received.is_empty());
    assert_eq!(talk.client.ending, Some(Ending::Closed));
}

#[test]
fn chargen_sends_its_pattern_without_a_gap() {
    let talk = talk("chargen", None, b"", false, 100_000);
    let text = talk.client.received;
    assert!(text.len() >= 100_000);
    for (line, next) in text.chunks_exact(74).zip(text[74..].chunks_exact(74)) {
        assert_eq!((&line[1..72], &line[72..]), (&next[..71], b"\r\n".as_slice()));
    }
}

#[test]
fn daytime_sends_one_line_and_closes_first() {
    let talk = talk("daytime", None, b"", false, usize::MAX);
    let line = String::from_utf8(talk.client.received).unwrap();
    assert!(line.ends_with("-UTC\r\n") && line.lines().count() == 1, "{line:?}");
    assert!(talk.client.server_closed_first);
    assert_eq!(talk.client.ending, Some(Ending::Closed));
}

#[test]
fn close_closes_first_and_sends_nothing() {
    let talk = talk("close", None, b"", false, usize::MAX);
    assert!(talk.client.received.is_empty() && talk.client.server_closed_first);
    assert_eq!(talk.client.ending, Some(Ending::Closed));
}

/// Splits what came into statuses and bodies; `heads` answers have no body.
fn responses(mut octets: &[u8], heads: bool) -> Vec<(u16, Vec<u8>)> {
    let mut all = Vec::new();
    while !octets.is_empty() {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut headers);
        let head = response.parse(octets).unwrap().unwrap();
        let length = response.headers.iter().find(|header| header.name == "Content-Length").unwrap().value;
        let length = if heads { 0 } else { std::str::from_utf8(length).unwrap().parse().unwrap() };
        all.push((response.code.unwrap(), octets[head..head + length].to_vec()));
        octets = &octets[head + length..];
    }
    all
}

fn codes(script: &str) -> Vec<u16> {
    let talk = talk("http", None, script.as_bytes(), false, usize::MAX);
    assert_eq!(talk.client.ending, Some(Ending::Closed), "{script}");
    responses(&talk.client.received, false).into_iter().map(|(code, _)| code).collect()
}

#[test]
fn http_answers_pipelined_requests_in_order_and_closes_when_asked() {
    let script = "GET / HTTP/1.1\r\nHost: a\r\n\r\n\
                  GET /none HTTP/1.1\r\nHost: a\r\n\r\n\
                  POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
                  GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(codes(script), [200, 404, 405, 200]);
}

#[test]
fn http_refuses_what_it_cannot_read_and_the_refusal_arrives() {
    assert_eq!(codes("GET / HTTP/1.1\r\n\r\n"), [400]);
    assert_eq!(codes(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(20_000))), [431]);
    assert_eq!(codes("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), [501]);
    assert_eq!(codes("GET / HTTP/1.0\r\n\r\n"), [200]);
}

#[test]
fn http_reads_a_head_that_lies_in_several_blocks() {
    let filler = "a".repeat(7000);
    let one = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {filler}\r\n\r\n");
    let script = format!("{one}{one}GET / HTTP/1.1\r\nHost: a\r\nX: {filler}\r\nConnection: close\r\n\r\n");
    assert_eq!(codes(&script), [200, 200, 200]);
}

#[test]
fn http_sends_a_page_larger_than_every_buffer_and_none_for_head() {
    let close = "/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let octets = 3_000_000;
    let whole = talk("http", Some(octets), format!("GET {close}").as_bytes(), false, usize::MAX);
    let answers = responses(&whole.client.received, false);
    assert_eq!((answers.len(), answers[0].1.len() as u64), (1, octets));
    let head = talk("http", Some(octets), format!("HEAD {close}").as_bytes(), false, usize::MAX);
    assert_eq!(responses(&head.client.received, true), [(200, Vec::new())]);
}

#[test]
fn http_gives_up_half_a_request_when_the_client_has_finished() {
    let talk = talk("http", None, b"GET / HTT", true, usize::MAX);
    assert!(talk.client.received.is_empty());
    assert_eq!(talk.client.ending, Some(Ending::Closed));
}

#[test]
fn http_forgets_a_client_that_leaves_in_the_middle_of_the_page() {
    // `talk` asserts that no session is left.
    let script = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let talk = talk("http", Some(3_000_000), script, false, 1000);
    assert!(talk.client.received.len() < 3_000_000);
}
