//! The kernel's TCP as the client: curl, nc, ping and plain sockets.

use crate::site::{PATIENCE, Random, SERVER, Server, Site, connect, has, number, read_all};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Instant;

#[test]
fn curl_gets_the_page_twice_over_one_connection() {
    if !has("curl", "curl of the http service") {
        return;
    }
    let Some(site) = Site::start("curl", "--service http@80 --http-body 300K") else { return };
    let format = "%{http_code} %{size_download} %{num_connects}\\n";
    let url = "http://10.77.0.2/";
    let said = site.run("curl", &["-sS", "-m", "10", "-o", "/dev/null", "-o", "/dev/null", "-w", format, url, url]);
    // The second transfer makes no connection.
    assert_eq!(said, "200 307200 1\n200 307200 0\n");
    let head = site.run("curl", &["-sS", "-m", "10", "-I", url]);
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.to_ascii_lowercase().contains("content-length: 307200"),
        "{head}"
    );
    let stats = site.server.wait_for("closed", |stats| Server::alive(stats) == 0);
    assert_eq!((number(&stats, "/connections/opened"), number(&stats, "/connections/closed")), (2, 2), "{stats}");
    site.server.end();
}

#[test]
fn ping_is_answered() {
    if !has("ping", "ping of the stack's address") {
        return;
    }
    let Some(site) = Site::start("ping", "--service echo@7") else { return };
    let said = site.run("ping", &["-q", "-c", "20", "-i", "0.01", "-W", "2", "-s", "1400", "10.77.0.2"]);
    assert!(said.contains("20 received"), "{said}");
    site.server.end();
}

#[test]
fn sixty_four_mebibytes_come_back_through_echo_unchanged() {
    const OCTETS: usize = 64 << 20;
    let Some(site) = Site::start("echo", "--service echo@7") else { return };
    let stream = site.connect(7);
    let sent = Random(1).octets(OCTETS);
    let start = Instant::now();
    let back = std::thread::scope(|scope| {
        let mut reader = stream.try_clone().unwrap();
        let back = scope.spawn(move || read_all(&mut reader));
        (&stream).write_all(&sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        back.join().unwrap()
    });
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("64 MiB there and back in {seconds:.2} s, {:.0} Mbit/s each way", OCTETS as f64 * 8e-6 / seconds);
    assert_eq!((back.len(), sha256(&back)), (OCTETS, sha256(&sent)));
    let ledger = site.server.end();
    assert!(ledger.contains("connections opened = ended + open: 1 = 1 + 0 holds"), "{ledger}");
}

/// By coreutils, which every machine has.
fn sha256(octets: &[u8]) -> String {
    let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(octets).unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(said.len(), 64 + "  -\n".len(), "{said}");
    said
}

#[test]
fn twenty_thousand_connects_and_closes_in_sequence_succeed() {
    const EACH: u64 = 5_000;
    // Four destinations, so that the client's own TIME-WAIT leaves ports enough. At two of them the server closes first.
    let flags = "--address 10.77.0.3/24 --service echo@7 --service close@9 --time-wait 2s";
    let Some(site) = Site::start("sequence", flags) else { return };
    let start = Instant::now();
    site.client(|| {
        for _ in 0..EACH {
            for host in [2, 3] {
                drop(connect(([10, 77, 0, host], 7).into()));
                let mut closed = connect(([10, 77, 0, host], 9).into());
                assert_eq!(closed.read(&mut [0; 1]).unwrap(), 0);
            }
        }
    });
    let took = start.elapsed();
    eprintln!("{} connects and closes in sequence in {took:.2?}", 4 * EACH);
    let stats = site.server.wait_for("closed", |stats| Server::alive(stats) == 0);
    let counts = ["opened", "closed", "reset", "timed_out"].map(|key| number(&stats, &format!("/connections/{key}")));
    assert_eq!(counts, [4 * EACH, 4 * EACH, 0, 0], "{stats}");
    assert_eq!(number(&stats, "/time_wait/created"), 2 * EACH, "{stats}");
    site.server.end();
}

#[test]
fn two_thousand_connections_are_held_at_once() {
    const HELD: u64 = 2_000;
    let Some(site) = Site::start("held", "--service echo@7 --time-wait 1s") else { return };
    let mut held: Vec<TcpStream> = site.client(|| (0..HELD).map(|_| connect((SERVER, 7).into())).collect());
    let stats = site.server.wait_for("all open", |stats| stats["states"]["established"] == HELD);
    assert_eq!((number(&stats, "/pools/connections/used"), number(&stats, "/connections/opened")), (HELD, HELD));
    // Each is alive, with data of its own.
    for (index, stream) in held.iter_mut().enumerate() {
        stream.write_all(&(index as u64).to_le_bytes()).unwrap();
    }
    for (index, stream) in held.iter_mut().enumerate() {
        let mut back = [0; 8];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(u64::from_le_bytes(back), index as u64);
    }
    drop(held);
    let stats = site.server.wait_for("closed", |stats| Server::alive(stats) == 0);
    assert_eq!(number(&stats, "/connections/closed"), HELD, "{stats}");
    assert_eq!(number(&stats, "/pools/buffer_bytes/used"), 0, "buffers are given back: {stats}");
    site.server.end();
}

#[test]
fn each_service_does_what_its_name_says() {
    let flags = "--service discard@9 --service chargen@19 --service daytime@13 --service close@10 --time-wait 1s";
    let Some(site) = Site::start("services", flags) else { return };

    let mut discard = site.connect(9);
    discard.write_all(&vec![b'd'; 4 << 20]).unwrap();
    discard.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut discard), b"");

    let mut chargen = site.connect(19);
    let mut lines = vec![0; 74 * 1000];
    chargen.read_exact(&mut lines).unwrap();
    assert!(lines.chunks(74).all(|line| line.ends_with(b"\r\n")), "lines of 72 characters (RFC 864)");
    chargen.shutdown(Shutdown::Write).unwrap();
    assert!(!read_all(&mut chargen).is_empty(), "it ends what it has begun, then closes");

    assert!(read_all(&mut site.connect(13)).ends_with(b"-UTC\r\n"));
    assert_eq!(read_all(&mut site.connect(10)), b"");

    let stats = site.server.wait_for("closed", |stats| Server::alive(stats) == 0);
    assert_eq!((number(&stats, "/connections/opened"), number(&stats, "/connections/closed")), (4, 4), "{stats}");
    site.server.end();
}

#[test]
fn netcat_reads_the_time() {
    if !has("nc", "nc to the daytime service") {
        return;
    }
    let Some(site) = Site::start("nc", "--service daytime@13") else { return };
    let line = site.run("nc", &["-w", "5", "10.77.0.2", "13"]);
    assert!(line.ends_with("-UTC\r\n") && line.lines().count() == 1, "{line:?}");
    site.server.end();
}

#[test]
fn a_port_without_a_service_refuses_at_once() {
    let Some(site) = Site::start("refuse", "--service echo@7") else { return };
    let start = Instant::now();
    let refused = site.client(|| TcpStream::connect_timeout(&SocketAddr::from((SERVER, 8)), PATIENCE).unwrap_err());
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(start.elapsed().as_secs() < 2);
    assert_eq!(number(&site.server.stats(), "/frames/handled/answered_by_reset"), 1);
    site.server.end();
}
