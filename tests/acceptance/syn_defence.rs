//! The kernel's TCP as the client of each step of the defence: whatever options it offers, it connects and is served.

use crate::site::{PATIENCE, Random, Server, Site, number};
use handfast::driver::{AttachMode, XdpProgram};
use handfast::host;
use handfast::lab::{LEFT, LabConfig, RIGHT};
use handfast::wire::frame::{self, Envelope, Link, TxChecksum};
use handfast::wire::tcp::{Flags, Header, Options};
use handfast::wire::{Addr, FourTuple, SeqNum};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const OCTETS: usize = 60_000;

fn site(test: &str, queues: u32, flags: &str) -> Option<(Site, XdpProgram)> {
    let left_addresses = vec!["10.77.0.1/24".into(), "fd77::1/64".into()];
    let config = LabConfig { queues, left_addresses, ..LabConfig::default() };
    let flags = format!("--address fd77::2/64 --service echo@7 --time-wait 1s {flags}");
    let site = Site::start_in(test, &config, &flags)?;
    let start = Instant::now();
    while site.run("ip", &["-6", "addr", "show", "dev", LEFT, "tentative"]).contains("fd77::1") {
        assert!(start.elapsed() < PATIENCE, "the kernel's address is still in doubt");
        std::thread::sleep(Duration::from_millis(20));
    }
    // What is sent by XDP_TX is taken from a veth only where its other end has an XDP program as well; this passes all.
    let passes = site.client(|| XdpProgram::attach(LEFT, AttachMode::Native)).unwrap();
    Some((site, passes))
}

/// Connects with an MSS of one's own, if it is given.
fn connect(to: SocketAddr, mss: Option<u32>) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    if let Some(mss) = mss {
        socket.set_tcp_mss(mss).unwrap();
    }
    socket.connect_timeout(&to.into(), PATIENCE).unwrap_or_else(|e| panic!("connecting to {to}, MSS {mss:?}: {e}"));
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn echo(mut stream: TcpStream, octets: &[u8]) {
    let mut back = Vec::new();
    std::thread::scope(|scope| {
        let mut writer = stream.try_clone().unwrap();
        scope.spawn(move || {
            writer.write_all(octets).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        stream.read_to_end(&mut back).unwrap();
    });
    assert!(back == octets, "{} octets came back of {}", back.len(), octets.len());
}

/// Every mix of what the kernel can offer, in both families; says how many connections that were.
fn every_mix(site: &Site) -> u64 {
    let octets = Random(7).octets(OCTETS);
    let mut connections = 0;
    for mix in 0..16 {
        let on = |bit: u32| if mix >> bit & 1 == 1 { "1" } else { "0" };
        for (bit, name) in ["tcp_timestamps", "tcp_sack", "tcp_window_scaling", "tcp_ecn"].iter().enumerate() {
            site.run("sysctl", &["-qw", &format!("net.ipv4.{name}={}", on(bit as u32))]);
        }
        site.client(|| {
            for to in ["10.77.0.2:7", "[fd77::2]:7"] {
                for mss in [None, Some(536), Some(1_000), Some(1_300), Some(1_452)] {
                    echo(connect(to.parse().unwrap(), mss), &octets);
                    connections += 1;
                }
            }
        });
    }
    connections
}

fn ended(site: &Site, connections: u64) -> serde_json::Value {
    let stats = site.server.wait_for("closed", |stats| Server::alive(stats) == 0);
    let counts = ["opened", "closed", "reset", "timed_out"].map(|key| number(&stats, &format!("/connections/{key}")));
    assert_eq!(counts, [connections, connections, 0, 0], "{stats}");
    stats
}

#[test]
fn the_table_serves_every_kernel_client() {
    let Some((site, _passes)) = site("table", 1, "--syn-defence table") else { return };
    let connections = every_mix(&site);
    let stats = ended(&site, connections);
    assert_eq!(number(&stats, "/half_open/established"), connections, "{stats}");
    assert_eq!(number(&stats, "/defence/cookies/sent"), 0, "{stats}");
    site.server.end();
}

#[test]
fn cookies_serve_every_kernel_client() {
    let Some((site, _passes)) = site("cookie", 1, "--syn-defence cookie") else { return };
    let connections = every_mix(&site);
    let stats = ended(&site, connections);
    assert_eq!(number(&stats, "/defence/cookies/accepted"), connections, "{stats}");
    assert_eq!(number(&stats, "/half_open/created"), 0, "{stats}");
    site.server.end();
}

#[test]
fn cookies_from_the_xdp_program_serve_every_kernel_client() {
    from_the_xdp_program(1);
}

/// The kernel's sockets choose a queue by themselves, so a flow's frames come in where its owner is not.
#[test]
fn cookies_from_the_xdp_program_serve_them_on_any_queue() {
    from_the_xdp_program(2);
}

/// By the program, but for the few whose tuple has a bit in common with a flow that lives.
fn each_syn_once(stats: &serde_json::Value, connections: u64) {
    let by_stack = number(stats, "/defence/cookies/sent");
    assert_eq!(number(stats, "/xdp/answer_syn") + by_stack, connections, "{stats}");
    assert!(by_stack < 2 + connections / 100, "{stats}");
}

fn from_the_xdp_program(queues: u32) {
    let Some((site, _passes)) = site("xdp", queues, "--syn-defence xdp") else { return };
    let workers = u64::from(queues);
    site.server.wait_for("at the third step", |stats| number(stats, "/defence/workers_at/xdp") == workers);
    let connections = every_mix(&site);
    let stats = ended(&site, connections);
    assert_eq!(number(&stats, "/defence/cookies/accepted"), connections, "{stats}");
    assert_eq!(number(&stats, "/half_open/created"), 0, "{stats}");
    each_syn_once(&stats, connections);
    assert_eq!(number(&stats, "/xdp/drop_no_cookie"), 0, "no honest segment ended there: {stats}");
    site.server.end();
}

#[test]
fn a_change_of_the_secret_loses_no_connection() {
    let path = std::env::temp_dir().join(format!("hf-accept-secret-{}", std::process::id()));
    let write = |digits: &str| {
        let beside = path.with_extension("new");
        std::fs::write(&beside, digits.repeat(16)).unwrap();
        std::fs::set_permissions(&beside, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::rename(&beside, &path).unwrap();
    };
    write("1a");
    let flags = format!("--syn-defence xdp --secret-file {}", path.display());
    let Some((site, _passes)) = site("rotation", 1, &flags) else { return };
    site.server.wait_for("at the third step", |stats| number(stats, "/defence/workers_at/xdp") == 1);
    write("2b");
    let start = Instant::now();
    let connections = site.client(|| {
        let mut connections = 0;
        // Over the moment at which the server looks at the file.
        while start.elapsed() < Duration::from_secs(7) {
            echo(connect("10.77.0.2:7".parse().unwrap(), None), b"still there");
            connections += 1;
        }
        connections
    });
    let stats = ended(&site, connections);
    assert_eq!(number(&stats, "/defence/cookies/accepted"), connections, "{stats}");
    each_syn_once(&stats, connections);
    assert_eq!(number(&stats, "/xdp/drop_no_cookie"), 0, "{stats}");
    site.server.end();
    std::fs::remove_file(&path).unwrap();
}

/// SYNs from addresses on the link that nobody has, as fast as a raw socket sends them.
fn flood(site: &Site, stop: &AtomicBool) -> u64 {
    let theirs = site.client(|| host::interface(LEFT)).unwrap();
    let ours = site.lab.right.inside(|| host::interface(RIGHT)).unwrap().unwrap();
    site.client(|| {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None).unwrap();
        let to = packet_address(theirs.index);
        let (mut buffer, mut sent) = ([0; 128], 0u64);
        while !stop.load(Ordering::Relaxed) {
            let remote = Addr::from_v4([10, 77, 0, 3 + (sent % 250) as u8]);
            let tuple = FourTuple {
                local_addr: remote,
                remote_addr: Addr::from_v4([10, 77, 0, 2]),
                local_port: 1_024 + (sent.wrapping_mul(2_654_435_761) % 60_000) as u16,
                remote_port: 7,
            };
            let link = Link { src: theirs.mac, dst: ours.mac, vlan: None };
            let envelope = Envelope { link, tuple, hop_limit: 64, traffic_class: 0, checksum: TxChecksum::Full };
            let options = Options { mss: Some(1460), ..Options::default() };
            let syn = Header { seq: SeqNum(sent as u32), flags: Flags::SYN, wnd: 1_000, options, ..Header::default() };
            let len = frame::emit_tcp(&mut buffer, &envelope, &syn, 0, |_| {});
            sent += u64::from(socket.send_to(&buffer[..len], &to).is_ok());
        }
        sent
    })
}

/// `sockaddr_ll` of an interface.
fn packet_address(if_index: u32) -> SockAddr {
    let family = (libc::AF_PACKET as u16).to_ne_bytes();
    let octets = [&family[..], &[0; 2], &if_index.to_ne_bytes(), &[0; 12]].concat();
    let mut storage = socket2::SockAddrStorage::zeroed();
    // SAFETY: the storage is larger than any address, and every octet of a `sockaddr_ll` may have any value.
    unsafe {
        std::ptr::copy_nonoverlapping(octets.as_ptr(), (&raw mut storage).cast(), octets.len());
        SockAddr::new(storage, octets.len() as u32)
    }
}

#[test]
fn honest_clients_do_not_notice_a_flood_that_takes_all_steps_up_and_down() {
    let flags = "--max-half-open 64 --xdp-above 500 --calm 2s";
    let Some((site, _passes)) = site("flood", 1, flags) else { return };
    let stop = AtomicBool::new(false);
    let (sent, connections) = std::thread::scope(|scope| {
        let flooder = scope.spawn(|| flood(&site, &stop));
        let start = Instant::now();
        let connections = site.client(|| {
            let mut connections = 0;
            while start.elapsed() < Duration::from_secs(4) {
                echo(connect("10.77.0.2:7".parse().unwrap(), None), b"all is well");
                connections += 1;
            }
            connections
        });
        stop.store(true, Ordering::Relaxed);
        (flooder.join().unwrap(), connections)
    });
    let stats = site.server.stats();
    assert_eq!(number(&stats, "/defence/workers_at/xdp"), 1, "{stats}");
    eprintln!("{sent} SYNs, of which {} answered in XDP; {connections} connections", number(&stats, "/xdp/answer_syn"));
    assert!(number(&stats, "/xdp/answer_syn") > sent / 2 && sent > 10_000, "{sent} SYNs: {stats}");
    // No more of the flood than the table held when cookies began; honest clients may have connected before it came.
    let unfinished = number(&stats, "/half_open/created") - number(&stats, "/half_open/established");
    assert!(unfinished <= 64, "{stats}");
    site.server.wait_for("calm", |stats| number(stats, "/defence/workers_at/table") == 1);
    let counts = ["opened", "closed"].map(|key| number(&site.server.stats(), &format!("/connections/{key}")));
    assert_eq!(counts, [connections; 2], "every honest connection, and no other");
    site.server.end();
}
