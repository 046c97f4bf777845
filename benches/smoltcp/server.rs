//! smoltcp as a server: 64 listening sockets, and idle connections beside them.

use crate::lives::BURST;
use handfast::wire::arp::{Arp, Operation};
use handfast::wire::frame::{self, Envelope, Incoming, Link, TxChecksum, VerifyChecksum};
use handfast::wire::tcp::{Flags, Header, Options};
use handfast::wire::{Addr, FourTuple, MacAddr, SeqNum};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};
use std::hint::black_box;
use std::time::{Duration, Instant as Clock};

const SERVER: [u8; 4] = [10, 0, 0, 2];
/// Ports of one client.
const PORTS: u32 = 60_000;
const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const CLIENT_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const PORT: u16 = 7;
/// The client of a number: 0 is the one whose lives are measured, those of the idle connections follow.
fn client(number: u32) -> Addr {
    Addr::from_v4([10, 0, 1, number as u8])
}

/// What a socket can buffer, each way, in octets: nothing is sent in these lives.
const BUFFER: usize = 256;

/// Where the sockets that are used stand among the idle ones, which all are walked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    First,
    Middle,
    Last,
}

/// Frames of one direction, in memory that is there already.
struct Frames {
    octets: Vec<[u8; 2048]>,
    lens: Vec<usize>,
}

impl Frames {
    fn new() -> Self {
        Frames { octets: vec![[0; 2048]; 4 * BURST], lens: Vec::with_capacity(4 * BURST) }
    }

    fn push(&mut self, write: impl FnOnce(&mut [u8]) -> usize) {
        let len = write(&mut self.octets[self.lens.len()]);
        self.lens.push(len);
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.octets.iter().zip(&self.lens).map(|(octets, len)| &octets[..*len])
    }
}

/// The device.
struct Wire {
    input: Frames,
    taken: usize,
    output: Frames,
}

struct Received<'a>(&'a [u8]);
struct ToSend<'a>(&'a mut Frames);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

impl TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let at = self.0.lens.len();
        self.0.lens.push(len);
        write(&mut self.0.octets[at][..len])
    }
}

impl Device for Wire {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = ToSend<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, ToSend<'_>)> {
        let len = *self.input.lens.get(self.taken)?;
        let octets = &self.input.octets[self.taken][..len];
        self.taken += 1;
        Some((Received(octets), ToSend(&mut self.output)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<ToSend<'_>> {
        Some(ToSend(&mut self.output))
    }

    /// Checksums are verified and made, as by default.
    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

/// The server, and the script of its clients.
pub struct Lives {
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    /// All sockets in their order; those from `used` on are used, as many as lives go on at a time.
    slots: Vec<SocketHandle>,
    used: usize,
    now: Instant,
    begun: u32,
    peers: [(Addr, u16); BURST],
    iss: [SeqNum; BURST],
    measured: Duration,
    /// Whether sockets whose connection is over listen again.
    serving: bool,
}

fn taken(sockets: &mut SocketSet<'static>, handle: SocketHandle) -> Socket<'static> {
    let smoltcp::socket::Socket::Tcp(socket) = sockets.remove(handle);
    socket
}

fn listening() -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; BUFFER]);
    let mut socket = Socket::new(buffer(), buffer());
    socket.listen(PORT).expect("a port");
    socket
}

impl Lives {
    /// A server behind whose sockets there are so many idle connections. smoltcp looks for an empty slot through all that
    /// are taken, so this takes minutes for 100,000.
    pub fn new(idle: usize) -> Lives {
        let mut wire = Wire { input: Frames::new(), taken: 0, output: Frames::new() };
        let now = Instant::from_millis(1_000);
        let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(SERVER_MAC.0)));
        let mut interface = Interface::new(config, &mut wire, now);
        interface.update_ip_addrs(|addresses| {
            let [a, b, c, d] = SERVER;
            addresses.push(IpCidr::new(IpAddress::v4(a, b, c, d), 8)).expect("room for an address");
        });
        let mut lives = Lives {
            wire,
            interface,
            sockets: SocketSet::new(Vec::new()),
            slots: Vec::new(),
            used: 0,
            now,
            begun: 0,
            peers: [(client(0), 0); BURST],
            iss: [SeqNum(0); BURST],
            measured: Duration::ZERO,
            serving: false,
        };
        (0..=1 + idle as u32 / PORTS).for_each(|number| lives.introduce(client(number)));
        let idlers = lives.idlers(idle);
        lives.sockets = SocketSet::new(Vec::with_capacity(idle + BURST));
        let used = (0..BURST).map(|_| listening());
        lives.slots = used.chain(idlers).map(|socket| lives.sockets.add(socket)).collect();
        lives.serving = true;
        lives
    }

    /// Moves the sockets that are used; others take their slots.
    pub fn put(&mut self, place: Place) {
        let to = match place {
            Place::First => 0,
            Place::Middle => (self.slots.len() - BURST) / 2,
            Place::Last => self.slots.len() - BURST,
        };
        let mut take = |from: usize| -> Vec<Socket<'static>> {
            let handles = &self.slots[from..from + BURST];
            handles.iter().map(|handle| taken(&mut self.sockets, *handle)).collect()
        };
        if to.abs_diff(self.used) >= BURST {
            let (used, others) = (take(self.used), take(to));
            // Each goes into the first slot that is empty.
            let (first, second) = if self.used < to { (others, used) } else { (used, others) };
            first.into_iter().chain(second).for_each(|socket| _ = self.sockets.add(socket));
            self.used = to;
        }
    }

    /// Tells the server a client's Ethernet address.
    fn introduce(&mut self, client: Addr) {
        let link = Link { src: CLIENT_MAC, dst: SERVER_MAC, vlan: None };
        let arp = Arp {
            operation: Operation::Request,
            sender_mac: CLIENT_MAC,
            sender_addr: client,
            target_mac: MacAddr([0; 6]),
            target_addr: Addr::from_v4(SERVER),
        };
        self.wire.input.push(|buffer| frame::emit_arp(buffer, &link, &arp));
        self.step();
    }

    /// Opens connections that stay, a burst at a time in a set of its own: among those that are there already each would be
    /// looked for.
    fn idlers(&mut self, count: usize) -> Vec<Socket<'static>> {
        let mut idlers = Vec::with_capacity(count);
        while idlers.len() < count {
            let some = BURST.min(count - idlers.len());
            self.sockets = SocketSet::new(Vec::new());
            let handles: Vec<SocketHandle> = (0..some).map(|_| self.sockets.add(listening())).collect();
            self.open(some);
            for handle in handles {
                let socket = taken(&mut self.sockets, handle);
                assert_eq!(socket.state(), State::Established, "an idle connection");
                idlers.push(socket);
            }
        }
        idlers
    }

    /// At least so many lives; says how long one took, in ns.
    pub fn measure(&mut self, lives: u64) -> f64 {
        self.measured = Duration::ZERO;
        let bursts = lives.div_ceil(BURST as u64);
        for _ in 0..bursts {
            self.open(BURST);
            self.close();
        }
        self.measured.as_nanos() as f64 / (bursts * BURST as u64) as f64
    }

    /// So many handshakes.
    fn open(&mut self, count: usize) {
        for peer in &mut self.peers[..count] {
            let number = if self.serving { 0 } else { 1 + self.begun / PORTS };
            *peer = (client(number), 1024 + (self.begun % PORTS) as u16);
            self.begun += 1;
        }
        let (_, first) = self.peers[0];
        self.send(count, Flags::SYN, 100, |_| SeqNum(0));
        self.step();
        let mut answered = 0;
        for octets in self.wire.output.iter() {
            let Ok(Incoming::Tcp { tuple, segment, .. }) = frame::parse(octets, VerifyChecksum::Yes) else { continue };
            assert!(segment.header.flags.has(Flags::SYN), "{:?}", segment.header);
            let life = (u32::from(tuple.local_port) + PORTS - u32::from(first)) % PORTS;
            self.iss[life as usize] = segment.header.seq;
            answered += 1;
        }
        assert_eq!(answered, count, "a SYN-ACK for each SYN");
        self.send(count, Flags::ACK, 101, |iss| iss + 1);
        self.step();
    }

    /// The client closes, then the server.
    fn close(&mut self) {
        self.send(BURST, Flags::FIN | Flags::ACK, 101, |iss| iss + 1);
        self.step();
        let fins = self.wire.output.iter().filter(|octets| has_fin(octets)).count();
        assert_eq!(fins, BURST, "a FIN for each FIN");
        self.send(BURST, Flags::ACK, 102, |iss| iss + 2);
        self.step();
    }

    fn send(&mut self, count: usize, flags: Flags, seq: u32, ack: impl Fn(SeqNum) -> SeqNum) {
        // No timestamps, which smoltcp by default has not either.
        let syn = flags.has(Flags::SYN);
        let (mss, window_scale) = (syn.then_some(1460), syn.then_some(7));
        let options = Options { mss, window_scale, sack_permitted: syn, ..Options::default() };
        let link = Link { src: CLIENT_MAC, dst: SERVER_MAC, vlan: None };
        let remote_addr = Addr::from_v4(SERVER);
        for ((local_addr, local_port), iss) in self.peers[..count].iter().copied().zip(&self.iss) {
            let header = Header { seq: SeqNum(seq), ack: ack(*iss), flags, wnd: 64_000, urgent: 0, options };
            let tuple = FourTuple { local_addr, remote_addr, local_port, remote_port: PORT };
            let envelope = Envelope { link, tuple, hop_limit: 64, traffic_class: 0, checksum: TxChecksum::Full };
            self.wire.input.push(|buffer| frame::emit_tcp(buffer, &envelope, &header, 0, |_| {}));
        }
    }

    /// A turn of a server: frames in, sockets that the peer has closed are closed and those that are over listen again,
    /// frames out. Only this is measured.
    fn step(&mut self) {
        self.now += smoltcp::time::Duration::from_micros(20);
        self.wire.output.lens.clear();
        self.wire.taken = 0;
        let start = Clock::now();
        self.interface.poll(self.now, black_box(&mut self.wire), &mut self.sockets);
        let mut closed = false;
        for handle in self.slots.iter().skip(self.used).take(BURST) {
            let socket = self.sockets.get_mut::<Socket<'_>>(*handle);
            match socket.state() {
                State::CloseWait => {
                    socket.close();
                    closed = true;
                }
                State::Closed if self.serving => drop(socket.listen(PORT)),
                _ => {}
            }
        }
        if closed {
            self.interface.poll(self.now, &mut self.wire, &mut self.sockets);
        }
        self.measured += start.elapsed();
        self.wire.input.lens.clear();
    }
}

fn has_fin(octets: &[u8]) -> bool {
    matches!(frame::parse(octets, VerifyChecksum::Yes), Ok(Incoming::Tcp { segment, .. }) if segment.header.flags.has(Flags::FIN))
}
