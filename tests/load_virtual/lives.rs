//! What a connection does once it stands.

use crate::net::{Left, Net, ONE_WAY, target};
use crate::target::{Does, Target};
use handfast::load::{Answer, CloseWith, Closer, Counts, Life, Plan, Span, Talk, Until};
use handfast::services::{Listener, Service, Services};
use handfast::time::Duration;

const CONNECTIONS: u64 = 200;

fn plan(life: Life) -> Plan {
    let until = Until { connections: Some(CONNECTIONS), duration: None };
    Plan { life, until, ..Plan::closed_loop(target(), 20) }
}

fn live(life: Life, does: Does) -> Left {
    Net::new(plan(life), Target::that(does)).run()
}

fn asking(request: &[u8], answer: Answer) -> Life {
    Life { request: request.into(), answer, ..Life::default() }
}

fn all_closed(left: &Left) -> bool {
    left.results.counts
        == Counts { opened: CONNECTIONS, established: CONNECTIONS, closed: CONNECTIONS, ..Counts::default() }
}

fn median_ms(left: &Left, span: Span) -> u64 {
    left.results.latencies.of(span).value_at_quantile(0.5) / 1_000_000
}

const RTT_MS: u64 = 2 * ONE_WAY.as_millis() as u64;

#[test]
fn a_request_and_its_answer_however_long() {
    let request = vec![b'?'; 300_000];
    let left = live(asking(&request, Answer::Octets(300_000)), Does::Echo);
    assert!(all_closed(&left), "{:?}", left.results.counts);
    assert_eq!(left.results.latencies.of(Span::Answer).len(), CONNECTIONS);
    let left = live(asking(b"?", Answer::Octets(9)), Does::Answer(9, Duration::from_millis(30)));
    assert!(all_closed(&left));
    let took = [Span::Handshake, Span::FirstByte, Span::Answer, Span::Close, Span::Life];
    let took = took.map(|span| median_ms(&left, span));
    assert_eq!(took, [RTT_MS, 2 * RTT_MS + 30, RTT_MS + 30, RTT_MS, 3 * RTT_MS + 30]);
}

#[test]
fn several_exchanges_one_after_another() {
    let life = Life { exchanges: 3, ..asking(b"?", Answer::Octets(9)) };
    let left = live(life, Does::Answer(9, Duration::ZERO));
    assert!(all_closed(&left), "{:?}", left.results.counts);
    assert_eq!(left.results.latencies.of(Span::Answer).len(), 3 * CONNECTIONS);
    let (asked, heard) = (3 * CONNECTIONS, 27 * CONNECTIONS);
    assert_eq!(left.results.talk, Talk { answers: asked, octets_sent: asked, octets_received: heard });
    assert_eq!(median_ms(&left, Span::Life), 5 * RTT_MS);
}

#[test]
fn a_text_and_all_that_comes_until_the_peers_end() {
    // Our FIN follows the text: an echo ends.
    let left = live(asking(b"hello", Answer::ToTheEnd), Does::Echo);
    let each = 5 * CONNECTIONS;
    assert!(all_closed(&left), "{:?}", left.results.counts);
    assert_eq!(left.results.talk, Talk { answers: CONNECTIONS, octets_sent: each, octets_received: each });
    // The server closes first, and TIME-WAIT is its.
    let life = Life { closer: Closer::Server, ..asking(b"hello", Answer::ToTheEnd) };
    let left = live(life, Does::AnswerAndClose(5_000));
    assert!(all_closed(&left), "{:?}", left.results.counts);
    assert_eq!(left.snapshot.time_wait["created"], 0);
}

/// The answer ends with the peer's FIN, which waits for ours: so ours waits as long as the connection is to be held.
#[test]
fn a_text_holds_its_connection_open_before_our_fin() {
    let hold = Duration::from_millis(300);
    let left = live(Life { hold, ..asking(b"hello", Answer::ToTheEnd) }, Does::Echo);
    assert!(all_closed(&left), "{:?}", left.results.counts);
    let took = [Span::FirstByte, Span::Answer, Span::Close, Span::Life].map(|span| median_ms(&left, span));
    assert_eq!(took, [2 * RTT_MS, 300 + RTT_MS, RTT_MS, 300 + 2 * RTT_MS]);
    // A peer that closes first is not waited for any longer.
    let left = live(Life { hold, ..asking(b"hello", Answer::ToTheEnd) }, Does::AnswerAndClose(5));
    assert!(all_closed(&left) && median_ms(&left, Span::Life) < 100, "{:?}", left.results.counts);
    // Nor is anybody beyond the run.
    let until = Until { connections: None, duration: Some(Duration::from_secs(1)) };
    let life =
        Life { hold: Duration::from_secs(60), timeout: Duration::from_secs(90), ..asking(b"?", Answer::ToTheEnd) };
    let counts = Net::new(Plan { until, ..plan(life) }, Target::that(Does::Echo)).run().results.counts;
    assert_eq!((counts.opened, counts.closed), (20, 20), "{counts:?}");
}

#[test]
fn http_with_and_without_keeping_the_connection() {
    let services =
        || Services::new(vec![Listener { service: Service::Http, port: crate::net::PORT }], Some(20_000), 1_000);
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n").into_bytes();
    for (more, closer, exchanges) in [("", Closer::Client, 3), ("Connection: close\r\n", Closer::Server, 1)] {
        let life = Life { closer, exchanges, ..asking(&get("/", more), Answer::Http) };
        let left = Net::new(plan(life), Some(services())).run();
        assert!(all_closed(&left), "{closer}: {:?} {:?}", left.results.counts, left.results.bad_answer);
        assert_eq!(left.results.latencies.of(Span::Answer).len(), CONNECTIONS * u64::from(exchanges));
    }
    let left = Net::new(plan(asking(&get("/nowhere", ""), Answer::Http)), Some(services())).run();
    assert_eq!(left.results.counts.bad_answer, CONNECTIONS, "{:?}", left.results.counts);
    assert_eq!(left.report.bad_answer, Some("an HTTP status of 400 or more"));
}

#[test]
fn a_connection_is_held_open_as_long_as_asked_and_not_beyond_the_run() {
    let hold = Duration::from_millis(300);
    let left = live(Life { hold, ..Life::default() }, Does::Discard);
    assert!(all_closed(&left), "{:?}", left.results.counts);
    assert_eq!(median_ms(&left, Span::Life), 2 * RTT_MS + 300);
    // 20 are held for a minute; the run ends after a second, or before they stand.
    for after in [Duration::from_secs(1), ONE_WAY] {
        let until = Until { connections: None, duration: Some(after) };
        let life = Life { hold: Duration::from_secs(60), timeout: Duration::from_secs(90), ..Life::default() };
        let counts = Net::new(Plan { until, ..plan(life) }, Target::that(Does::Discard)).run().results.counts;
        assert_eq!((counts.opened, counts.closed), (20, 20), "{after:?}: {counts:?}");
    }
}

#[test]
fn who_closes_first_and_how() {
    let left = live(Life { closer: Closer::Server, ..Life::default() }, Does::Close);
    assert!(all_closed(&left), "{:?}", left.results.counts);
    assert_eq!(left.snapshot.time_wait["created"], 0, "the server closed first");
    let left = live(Life::default(), Does::Discard);
    assert!(all_closed(&left) && left.snapshot.time_wait["created"] == CONNECTIONS);
    let left = live(Life { close_with: CloseWith::Rst, ..Life::default() }, Does::Discard);
    assert!(all_closed(&left), "{:?}", left.results.counts);
    assert_eq!((left.snapshot.time_wait["created"], left.snapshot.connections.aborted), (0, CONNECTIONS));
}

#[test]
fn a_life_that_takes_too_long_is_a_timeout() {
    let life = Life { timeout: Duration::from_secs(2), ..asking(b"?", Answer::Octets(1)) };
    let left = live(life, Does::Nothing);
    let counts = left.results.counts;
    assert_eq!((counts.established, counts.timeout, counts.closed), (CONNECTIONS, CONNECTIONS, 0), "{counts:?}");
}

#[test]
fn an_answer_that_ends_too_early_or_too_late_is_no_success() {
    let counts = live(asking(b"?", Answer::Octets(9)), Does::AnswerAndClose(5)).results.counts;
    assert_eq!((counts.cut_short, counts.closed), (CONNECTIONS, 0), "{counts:?}");
    let left = live(asking(b"?", Answer::Octets(9)), Does::Answer(10, Duration::ZERO));
    assert_eq!((left.results.counts.bad_answer, left.results.counts.closed), (CONNECTIONS, 0));
    assert_eq!(left.report.bad_answer, Some("more octets than were asked for"));
    // Nobody is left to read the greeting.
    let left = live(Life::default(), Does::Greet);
    assert_eq!((left.results.counts.bad_answer, left.results.counts.closed), (CONNECTIONS, 0));
    assert_eq!(left.report.bad_answer, Some("octets that nobody was left to read"));
    // A peer that closes while the connection is to be held open.
    let life = Life { hold: Duration::from_secs(1), ..Life::default() };
    assert_eq!(live(life, Does::Close).results.counts.cut_short, CONNECTIONS);
}

/// What our own limit cost is not said to be the answer's fault.
#[test]
fn a_connection_that_the_limit_of_orphans_cost_is_not_said_to_have_got_text() {
    let net = Net::tuned(plan(Life::default()), Target::that(Does::Discard), |config| config.limits.orphans = 4);
    let left = net.run();
    assert!(left.results.counts.bad_answer > 0, "20 are closed at once: {:?}", left.results.counts);
    let why = left.report.bad_answer.expect("a reason");
    assert!(why.contains("`--max-orphans`"), "{why}");
}
