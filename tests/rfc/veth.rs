//! Handfast as it runs: an engine on AF_XDP at one end of a veth pair, the scripted peer at the other. Time is real.

use super::in_memory::Setup;
use super::puppet::{Ask, Puppet, local, neighbours};
use super::target::*;
use handfast::driver::af_xdp::PortConfig;
use handfast::engine::{Engine, EngineConfig};
use handfast::lab::{LEFT, Lab, LabConfig, RIGHT};
use handfast::worker::Command;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, Protocol, RawProtocol, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, recv, send,
    socket_with,
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How long a worker on a busy machine may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Veth {
    engine: Option<Engine<Puppet>>,
    wire: OwnedFd,
    started: Instant,
    // Last: what is in it goes first.
    _lab: Lab,
}

impl Veth {
    pub fn new(setup: &Setup) -> Self {
        let lab = Lab::create(&LabConfig { left_addresses: vec![], ..LabConfig::default() }).expect("a lab");
        let mtu = setup.family.mtu().to_string();
        let mac = HOST_MAC.map(|octet| format!("{octet:02x}")).join(":");
        lab.left.run("ip", &["link", "set", LEFT, "mtu", &mtu]).expect("the peer's MTU");
        lab.right.run("ip", &["link", "set", RIGHT, "mtu", &mtu, "address", &mac]).expect("the host's MTU and address");
        let config = EngineConfig {
            neighbours: neighbours(setup),
            listen: setup.listen.then_some(HOST_PORT).into_iter().collect(),
            ephemeral_ports: (1024, 65535),
            opens: true,
            tcp: setup.tcp,
            limits: setup.limits,
            defence: setup.defence,
            pin: false,
            // Scenarios tell what answers them from what does not.
            announces: false,
            ..EngineConfig::new(local(setup.family))
        };
        // A scripted peer never has more than a few thousand frames on the way.
        let port = PortConfig { chunks: 2_048, ring: 512, ..PortConfig::new(RIGHT) };
        let start = || Engine::start(config, port, |_| Puppet::default());
        let engine = lab.right.inside(start).expect("the namespace").expect("an engine");
        let wire = lab.left.inside(packet_socket).expect("the namespace");
        Veth { engine: Some(engine), wire, started: Instant::now(), _lab: lab }
    }

    fn engine(&self) -> &Engine<Puppet> {
        self.engine.as_ref().expect("there until dropped")
    }

    fn call(&self, call: Call) -> Answer {
        let (answer, answered) = channel();
        let handle = self.engine().handle();
        let sent = handle.mailboxes()[0].send(Command::App(Ask(call, answer)));
        assert!(sent.is_ok(), "the mailbox takes one call at a time");
        answered.recv_timeout(PATIENCE).expect("an answer of the worker")
    }
}

/// Everything on [`LEFT`], but for what we send ourselves.
fn packet_socket() -> OwnedFd {
    let all = (libc::ETH_P_ALL as u16).to_be();
    let protocol = RawProtocol::new(u32::from(all)).map(Protocol::from_raw);
    let fd = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, protocol).expect("a socket");
    // SAFETY: the structure holds integers only, for which zero is a value.
    let mut addr = unsafe { std::mem::zeroed::<libc::sockaddr_ll>() };
    addr.sll_family = libc::AF_PACKET as u16;
    addr.sll_protocol = all;
    addr.sll_ifindex = netdevice::name_to_index(&fd, LEFT).expect("the peer's end") as i32;
    // SAFETY: the address and its length belong together.
    let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const addr).cast(), size_of_val(&addr) as libc::socklen_t) };
    assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
    let on: libc::c_int = 1;
    let (option, len) = ((&raw const on).cast(), size_of_val(&on) as libc::socklen_t);
    // SAFETY: the option is an integer that lives during the call.
    let set = unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, option, len) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    fd
}

/// Waits until there is something to read; says whether there is.
pub fn readable(fd: BorrowedFd<'_>, until: Instant) -> bool {
    let left = until.saturating_duration_since(Instant::now());
    let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut fds, Some(&timeout)).expect("poll") > 0
}

impl Target for Veth {
    fn name(&self) -> &'static str {
        "Handfast over veth"
    }

    fn is_real_time(&self) -> bool {
        true
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn inject(&mut self, frame: &[u8]) {
        let sent = send(&self.wire, frame, SendFlags::empty());
        assert_eq!(sent, Ok(frame.len()), "a frame to the engine");
    }

    fn next_frame(&mut self, wait: Duration) -> Option<(Duration, Vec<u8>)> {
        if !readable(self.wire.as_fd(), Instant::now() + wait) {
            return None;
        }
        let mut buffer = vec![0; 2048];
        let (len, _) = recv(&self.wire, &mut buffer[..], RecvFlags::empty()).expect("a frame of the engine");
        buffer.truncate(len);
        Some((self.started.elapsed(), buffer))
    }

    fn ask(&mut self, call: Call) -> Answer {
        // The segment that completes a handshake may be on its way yet.
        let until = Instant::now() + Duration::from_millis(250);
        loop {
            let answer = self.call(call.clone());
            let again = matches!((&call, &answer), (Call::Accept, Answer::Sock(None))) && Instant::now() < until;
            if !again {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn count(&self, state: &str) -> u64 {
        let key = state.to_lowercase().replace('-', "_");
        self.engine().snapshot().expect("a snapshot").states.get(&key).copied().unwrap_or(0)
    }

    fn snapshot(&self) -> Option<handfast::stats::Snapshot> {
        Some(self.engine().snapshot().expect("a snapshot"))
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        let Some(engine) = self.engine.take() else { return };
        engine.drain(Duration::ZERO);
        let ended = engine.join();
        if !std::thread::panicking() {
            let ledger = ended.expect("the worker's end").snapshot.ledger;
            assert!(ledger.exact, "the ledger: {:?}", ledger.broken);
        }
    }
}
