//! `handfast load` against a kernel listener and against `handfast serve`.

use crate::common;
use crate::site::{HANDFAST, Server, inside, number};
use handfast::lab::{LEFT, Lab, LabConfig, RIGHT};
use serde_json::Value;
use std::io::Read;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const CONNECTIONS: u64 = 20_000;

/// Runs it to its end; gives its report.
fn load(namespace: &handfast::lab::Namespace, interface: &str, address: &str, target: &str) -> Value {
    let connections = CONNECTIONS.to_string();
    let args = ["load", "--interface", interface, "--address", address, "--target", target, "--json", "--no-pin"];
    let args = [&args[..], &["--connections", &connections, "--concurrency", "32"]].concat();
    serde_json::from_str(&namespace.run(HANDFAST, &args).unwrap()).expect("exactly one JSON object")
}

fn assert_all_closed(report: &Value) {
    let counts = ["/opened", "/established", "/closed", "/failed/refused", "/failed/timeout", "/failed/reset"];
    let counts = counts.map(|path| number(report, path));
    assert_eq!(counts, [CONNECTIONS, CONNECTIONS, CONNECTIONS, 0, 0, 0], "{report}");
    assert_eq!(report["ledger_exact"], true, "{report}");
    assert!(report["handshake_us"]["p50"].as_f64().unwrap() > 0.0, "{report}");
}

#[test]
fn a_kernel_listener_gets_twenty_thousand_connections_and_no_failure() {
    let Some(lab) = common::lab("load against the kernel", &LabConfig::default()) else { return };
    let listener = inside(&lab.left, || TcpListener::bind("10.77.0.1:8080").unwrap());
    let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let mut stream = stream.unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                if stream.read(&mut [0; 16]).is_ok_and(|octets| octets == 0) {
                    served.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let report = std::panic::catch_unwind(|| load(&lab.right, RIGHT, "10.77.0.2/24", "10.77.0.1:8080"));
        // One more connection wakes the listener.
        stop.store(true, Ordering::Relaxed);
        inside(&lab.left, || drop(std::net::TcpStream::connect("10.77.0.1:8080")));
        report.unwrap()
    });
    assert_all_closed(&report);
    assert_eq!(served.load(Ordering::Relaxed), CONNECTIONS, "the kernel's count");
}

#[test]
fn handfast_against_handfast_in_two_processes() {
    let config = LabConfig { left_addresses: Vec::new(), ..LabConfig::default() };
    let Some(lab) = common::lab("handfast against handfast", &config) else { return };
    let server = Server::start(&lab, "--service echo@7");
    let report = load(&lab.left, LEFT, "10.77.0.1/24", "10.77.0.2:7");
    assert_all_closed(&report);
    let stats = server.wait_for("closed", |stats| Server::alive(stats) == 0);
    assert_eq!(number(&stats, "/connections/closed"), CONNECTIONS, "{stats}");
    let ledger = server.end();
    assert!(ledger.contains("20000 = 20000 + 0 holds"), "{ledger}");
    link_is_plain(&lab);
}

fn link_is_plain(lab: &Lab) {
    for (namespace, link) in [(&lab.left, LEFT), (&lab.right, RIGHT)] {
        let said = namespace.run("ip", &["link", "show", link]).unwrap();
        assert!(!said.contains("xdp"), "{said}");
    }
}
