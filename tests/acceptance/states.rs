//! Both orders of closing, with the states that `handfast stats` shows on the way.

use crate::frames::{self, Wire};
use crate::site::{Server, Site, number, read_all};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Instant;

/// Whether exactly these states are in use.
fn only(stats: &Value, states: &[(&str, u64)]) -> bool {
    states.iter().all(|(state, count)| stats["states"][state] == *count)
        && Server::alive(stats) == states.iter().map(|(_, count)| count).sum::<u64>()
}

#[test]
fn client_closes_first() {
    let Some(site) = Site::start("client first", "--service http@80 --http-body 8M --time-wait 2s") else { return };
    let mut streams = [(); 3].map(|()| site.connect(80));
    site.server.wait_for("established", |stats| only(stats, &[("established", 3)]));
    // The client asks, closes its half and reads nothing: the server still has to send, so it cannot close yet.
    for stream in &mut streams {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    }
    site.server.wait_for("in CLOSE-WAIT", |stats| only(stats, &[("close_wait", 3)]));
    for stream in &mut streams {
        assert!(read_all(stream).len() > 8 << 20);
    }
    let stats = site.server.wait_for("closed", |stats| only(stats, &[]));
    assert_eq!((number(&stats, "/connections/closed"), number(&stats, "/time_wait/created")), (3, 0), "{stats}");
    site.server.end();
}

#[test]
fn server_closes_first() {
    let Some(site) = Site::start("server first", "--service close@9 --time-wait 2s") else { return };
    let mut streams = [(); 3].map(|()| site.connect(9));
    for stream in &mut streams {
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    }
    site.server.wait_for("in FIN-WAIT-2", |stats| only(stats, &[("fin_wait_2", 3)]));
    drop(streams);
    let start = Instant::now();
    let stats = site.server.wait_for("in TIME-WAIT", |stats| only(stats, &[("time_wait", 3)]));
    assert_eq!(number(&stats, "/connections/closed"), 3, "the control blocks are gone: {stats}");
    let stats = site.server.wait_for("closed", |stats| only(stats, &[]));
    let took = start.elapsed().as_secs_f64();
    assert!((1.5..4.0).contains(&took), "TIME-WAIT of 2 s took {took:.2} s");
    assert_eq!(number(&stats, "/time_wait/expired"), 3, "{stats}");
    site.server.end();
}

#[test]
fn what_the_client_cannot_acknowledge_stays_in_fin_wait_1_until_it_can() {
    let Some(mut site) = Site::start("FIN-WAIT-1", "--service echo@7 --time-wait 1s --drain 20s") else { return };
    let mut stream = site.connect(7);
    stream.write_all(b"here").unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    site.run("ip", &["route", "add", "blackhole", "10.77.0.2/32"]);
    site.server.signal(rustix::process::Signal::TERM);
    site.server.wait_for("in FIN-WAIT-1", |stats| only(stats, &[("fin_wait_1", 1)]));
    site.run("ip", &["route", "del", "blackhole", "10.77.0.2/32"]);
    // The FIN is sent again, and acknowledged.
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    drop(stream);
    let (code, ledger) = site.server.wait();
    assert!(code == Some(0) && ledger.ends_with("ledger: exact\n"), "{code:?} {ledger}");
    assert!(ledger.contains("connections opened = ended + open: 1 = 1 + 0 holds"), "{ledger}");
}

#[test]
fn both_halves_close_by_themselves_with_data_in_the_other_direction() {
    let Some(site) = Site::start("half-close", "--service echo@7 --service http@80 --http-body 2M") else { return };
    // Data goes on towards a client that has closed its half.
    let mut http = site.connect(80);
    http.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    http.shutdown(Shutdown::Write).unwrap();
    let answer = read_all(&mut http);
    assert!(answer.len() > 2 << 20 && answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", answer.len());
    let mut echo = site.connect(7);
    let sent = vec![b'e'; 3 << 20];
    std::thread::scope(|scope| {
        let mut writer = echo.try_clone().unwrap();
        let sent = &sent;
        scope.spawn(move || {
            writer.write_all(sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        assert!(read_all(&mut echo) == *sent);
    });
    site.server.wait_for("closed", |stats| only(stats, &[]));
    site.server.end();
}

#[test]
fn a_syn_alone_is_in_syn_received() {
    let Some(site) = Site::start("SYN-RECEIVED", "--service echo@7") else { return };
    let wire = Wire::open(&site);
    wire.send(&frames::tcp(wire.macs, 7, frames::SYN, &[2, 4, 5, 180], b""));
    let stats = site.server.wait_for("half open", |stats| only(stats, &[("syn_received", 1)]));
    assert_eq!((number(&stats, "/pools/half_open/used"), number(&stats, "/connections/opened")), (1, 0), "{stats}");
    site.server.end();
}
