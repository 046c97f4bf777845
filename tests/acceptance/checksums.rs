//! A veth whose peer leaves checksums to an offload that never happens: what is wrong on the wire is refused and named.

use crate::site::{HANDFAST, SERVER, Site, number};
use handfast::lab::{LabConfig, RIGHT};
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
