//! Linux's own TCP: a namespace with a TAP device, whose other end is the scripted peer. Time is real.

use super::target::*;
use super::veth::readable;
use handfast::lab::{Namespace, enter};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

const TAP: &str = "hf-tap";

/// How much of Linux's ways of limiting itself a scenario can do without.
const SYSCTLS: [(&str, &str); 12] = [
    // Challenge ACKs otherwise come at most twice a second, and a table of edges takes longer than that.
    ("net/ipv4/tcp_invalid_ratelimit", "0"),
    // What one scenario measures must not change the next handshake.
    ("net/ipv4/tcp_no_metrics_save", "1"),
    // Addresses are used at once, and nobody asks for routers.
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    ("net/ipv6/conf/default/addr_gen_mode", "1"),
    ("net/ipv6/icmp/ratelimit", "0"),
    // Probes for the tail would come between: round trips are of microseconds here.
    ("net/ipv4/tcp_early_retrans", "0"),
    ("net/ipv4/tcp_slow_start_after_idle", "1"),
    // Classic ECN for those who ask.
    ("net/ipv4/tcp_ecn", "2"),
    // The one that every kernel has.
    ("net/ipv4/tcp_congestion_control", "reno"),
    // As distributions set it; it also refuses the subnet's broadcast address as a source.
    ("net/ipv4/conf/all/rp_filter", "1"),
    ("net/ipv4/icmp_ratelimit", "0"),
];

pub struct Kernel {
    family: Family,
    tap: SyncDevice,
    listener: Option<Socket>,
    socks: Vec<Option<Socket>>,
    started: Instant,
    // Last: what is in it goes first.
    _namespace: Namespace,
}

impl Kernel {
    /// Moves the calling thread into a new namespace for good.
    pub fn new(family: Family, listen: bool) -> Self {
        let namespace = Namespace::create().expect("a namespace");
        enter(&namespace).expect("its thread in it");
        for (name, value) in SYSCTLS {
            std::fs::write(format!("/proc/sys/{name}"), value).unwrap_or_else(|e| eprintln!("{name}: {e}"));
        }
        let tap = DeviceBuilder::new().name(TAP).layer(Layer::L2).mac_addr(HOST_MAC).mtu(family.mtu());
        let tap = match family {
            Family::V4 => tap.ipv4(std::net::Ipv4Addr::from(HOST), PREFIX_V4, None),
            Family::V6 => tap.ipv6(std::net::Ipv6Addr::from(HOST_V6), PREFIX_V6),
        };
        let tap = tap.build_sync().expect("a TAP device");
        tap.set_nonblocking(true).expect("its mode");
        let mac = PEER_MAC.map(|octet| format!("{octet:02x}")).join(":");
        let peer = family.peer().to_string();
        let neighbour = ["neigh", "replace", &peer, "lladdr", &mac, "dev", TAP, "nud", "permanent"];
        let output = std::process::Command::new("ip").args(neighbour).output().expect("ip");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let started = Instant::now();
        let mut kernel = Kernel { family, tap, listener: None, socks: vec![], started, _namespace: namespace };
        if listen {
            let listener = new_socket(family.host());
            listener.listen(128).expect("listen");
            kernel.listener = Some(listener);
        }
        // What the kernel says by itself when a device comes up.
        while kernel.next_frame(Duration::from_millis(5)).is_some() {}
        kernel
    }

    fn sock(&mut self, socket: Socket) -> Sock {
        self.socks.push(Some(socket));
        Sock(self.socks.len() - 1)
    }

    fn socket(&self, sock: Sock) -> &Socket {
        self.socks[sock.0].as_ref().expect("not closed yet")
    }

    fn open(&mut self, remote: SocketAddr) -> Answer {
        let socket = new_socket(self.family.host());
        match socket.connect(&remote.into()) {
            Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Answer::Refused(fault(&e)),
            _ => Answer::Sock(Some(self.sock(socket))),
        }
    }

    fn accepted(&mut self) -> Option<Sock> {
        let until = Instant::now() + Duration::from_millis(20);
        loop {
            if let Ok((socket, _)) = self.listener.as_ref()?.accept() {
                socket.set_nonblocking(true).expect("its mode");
                return Some(self.sock(socket));
            }
            if Instant::now() >= until {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn receive(&self, sock: Sock, max: usize) -> Read {
        let mut octets = vec![0; max];
        match self.socket(sock).read(&mut octets) {
            Ok(0) => Read::End,
            Ok(n) => {
                octets.truncate(n);
                Read::Data(octets)
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Read::Nothing,
            Err(e) => Read::Fault(fault(&e)),
        }
    }
}

/// A socket on [`HOST_PORT`].
fn new_socket(host: IpAddr) -> Socket {
    let domain = if host.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
    socket.set_nonblocking(true).expect("its mode");
    socket.set_reuse_address(true).expect("its option");
    let address = SocketAddr::from((host, HOST_PORT)).into();
    // An address of IPv6 is there a moment after its device is up.
    let until = Instant::now() + Duration::from_secs(2);
    while let Err(e) = socket.bind(&address) {
        assert!(e.kind() == ErrorKind::AddrNotAvailable && Instant::now() < until, "bind: {e}");
        std::thread::sleep(Duration::from_millis(1));
    }
    socket
}

fn fault(e: &std::io::Error) -> Fault {
    match e.kind() {
        ErrorKind::ConnectionReset => Fault::Reset,
        ErrorKind::ConnectionRefused => Fault::Refused,
        ErrorKind::TimedOut => Fault::TimedOut,
        ErrorKind::ConnectionAborted => Fault::Aborted,
        _ => Fault::Other,
    }
}

impl Target for Kernel {
    fn name(&self) -> &'static str {
        "Linux"
    }

    fn is_linux(&self) -> bool {
        true
    }

    fn is_real_time(&self) -> bool {
        true
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn inject(&mut self, frame: &[u8]) {
        self.tap.send(frame).expect("a frame to the kernel");
    }

    fn next_frame(&mut self, wait: Duration) -> Option<(Duration, Vec<u8>)> {
        let until = Instant::now() + wait;
        let mut buffer = vec![0; 65_536];
        loop {
            match self.tap.recv(&mut buffer) {
                Ok(len) => {
                    buffer.truncate(len);
                    return Some((self.started.elapsed(), buffer));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => panic!("reading from the TAP device: {e}"),
            }
            if !readable(self.tap.as_fd(), until) {
                return None;
            }
        }
    }

    fn ask(&mut self, call: Call) -> Answer {
        match call {
            Call::Connect(remote) => return self.open(remote),
            Call::Accept => return Answer::Sock(self.accepted()),
            Call::IsConnected(sock) => return Answer::Yes(self.socket(sock).peer_addr().is_ok()),
            Call::Write(sock, octets) => return Answer::Written(self.socket(sock).write(&octets).unwrap_or(0)),
            Call::Read(sock, max) => return Answer::Read(self.receive(sock, max)),
            Call::Shutdown(sock) => self.socket(sock).shutdown(Shutdown::Write).expect("shutdown"),
            Call::Close(sock) => self.socks[sock.0] = None,
            Call::SoftErrors(_) => unreachable!("a socket keeps the last one only"),
            Call::Abort(sock) => {
                self.socket(sock).set_linger(Some(Duration::ZERO)).expect("its option");
                self.socks[sock.0] = None;
            }
        }
        Answer::Done
    }

    fn count(&self, state: &str) -> u64 {
        const STATES: [&str; 11] = [
            "ESTABLISHED",
            "SYN-SENT",
            "SYN-RECEIVED",
            "FIN-WAIT-1",
            "FIN-WAIT-2",
            "TIME-WAIT",
            "CLOSED",
            "CLOSE-WAIT",
            "LAST-ACK",
            "LISTEN",
            "CLOSING",
        ];
        let table = match self.family {
            Family::V4 => "/proc/thread-self/net/tcp",
            Family::V6 => "/proc/thread-self/net/tcp6",
        };
        let table = std::fs::read_to_string(table).expect("the kernel's connections");
        let states =
            table.lines().skip(1).filter_map(|line| u8::from_str_radix(line.split_whitespace().nth(3)?, 16).ok());
        states.filter(|number| STATES.get(usize::from(*number) - 1) == Some(&state)).count() as u64
    }
}
