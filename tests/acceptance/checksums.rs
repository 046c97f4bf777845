//! Checksums that are left to an offload: a veth's peer that does so and none happens, which is refused and named; and ours,
//! which the kernel finishes.

use crate::common::lab;
use crate::site::{HANDFAST, SERVER, Server, Site, number};
use handfast::lab::{LEFT, LabConfig, RIGHT};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

fn offloaded() -> LabConfig {
    LabConfig { left_checksum_offload: true, ..LabConfig::default() }
}

#[test]
fn verifying_drops_every_segment_and_says_why() {
    let Some(site) = Site::start_in("verify", &offloaded(), "--service echo@7 --rx-checksum verify") else { return };
    let to = SocketAddr::from((SERVER, 7));
    let error = site.client(|| TcpStream::connect_timeout(&to, Duration::from_millis(1500)).unwrap_err());
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    let stats = site.server.stats();
    // The SYN, and what the kernel sent again after a second.
    assert!(number(&stats, "/frames/dropped/tcp_checksum") >= 2, "{stats}");
    assert_eq!((number(&stats, "/connections/opened"), number(&stats, "/half_open/created")), (0, 0), "{stats}");

    let doctor = Command::new("ip")
        .args(["netns", "exec", site.lab.right.name(), HANDFAST, "doctor", "--interface", RIGHT])
        .output()
        .unwrap();
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert!(said.contains("checksums on veth") && said.contains("ethtool -K PEER tx off"), "{said}");
    site.server.end();
}

#[test]
fn trusting_serves_the_same_peer() {
    let Some(site) = Site::start_in("trust", &offloaded(), "--service echo@7 --rx-checksum trust") else { return };
    let mut stream = site.connect(7);
    stream.write_all(&[b't'; 100_000]).unwrap();
    let mut back = vec![0; 100_000];
    stream.read_exact(&mut back).unwrap();
    assert!(back == [b't'; 100_000]);
    drop(stream);
    site.server.end();
}

/// On a veth that says it finishes checksums they stay undone, which the kernel at the other end takes; where `ethtool` has
/// switched that off our kernel finishes them, and theirs checks each.
#[test]
fn a_kernel_takes_what_is_left_to_an_offload() {
    for finishes in ["on", "off"] {
        let flags = "--service echo@7 --tx-checksum offload";
        let Some(site) = Site::start_in("left to an offload", &LabConfig::default(), flags) else { return };
        site.lab.right.run("ethtool", &["-K", RIGHT, "tx", finishes]).unwrap();
        let mut stream = site.connect(7);
        stream.write_all(&[b'o'; 100_000]).unwrap();
        let mut back = vec![0; 100_000];
        stream.read_exact(&mut back).unwrap();
        assert!(back == [b'o'; 100_000], "tx {finishes}");
        drop(stream);
        let closed = site.client(|| TcpStream::connect(SocketAddr::from((SERVER, 8))).unwrap_err());
        assert_eq!(closed.kind(), std::io::ErrorKind::ConnectionRefused, "a RST, tx {finishes}");
        let stats = site.server.stats();
        assert_eq!(stats["workers"][0]["driver"], "af_xdp native copy, checksum offload", "{stats}");
        site.server.end();
    }
}

/// Both ends leave checksums to the kernel, and both check what comes: segments of all kinds, a flood's among them.
#[test]
fn handfast_checks_what_the_kernel_has_finished() {
    const CONNECTIONS: u64 = 2_000;
    let config = LabConfig { left_addresses: Vec::new(), ..LabConfig::default() };
    let Some(lab) = lab("both ends leave it to the kernel", &config) else { return };
    lab.right.run("ethtool", &["-K", RIGHT, "tx", "off"]).unwrap();
    let server =
        Server::start(&lab, "--address fd77::2/64 --service echo@7 --rx-checksum verify --tx-checksum offload");
    let load = |more: &str| -> Value {
        let flags = format!(
            "load --interface {LEFT} --json --no-pin --connections {CONNECTIONS} --request 1K --response 1K \
             --tx-checksum offload {more}"
        );
        let flags: Vec<&str> = flags.split_whitespace().collect();
        serde_json::from_str(&lab.left.run(HANDFAST, &flags).unwrap()).expect("exactly one JSON object")
    };
    for report in [
        load("--address 10.77.0.1/24 --target 10.77.0.2:7 --flood data --flood-rate 5000"),
        load("--address fd77::1/64 --target [fd77::2]:7"),
    ] {
        assert_eq!(number(&report, "/closed"), CONNECTIONS, "{report}");
        assert_eq!(report["ledger_exact"], true, "{report}");
    }
    let stats = server.stats();
    assert_eq!(number(&stats, "/connections/passive"), 2 * CONNECTIONS, "{stats}");
    assert_eq!(stats["frames"]["dropped"].get("tcp_checksum"), None, "{stats}");
    server.end();
}
