//! A server in virtual time, and the frames by which peers anywhere talk to it.

use handfast::services::{Listener, Services};
use handfast::stack::{CookieKeys, LocalAddr, Secrets, Stack, StackConfig, Transmit};
use handfast::stats::Snapshot;
use handfast::time::{Duration, Instant};
use handfast::wire::checksum::Sum;
use handfast::wire::frame::{self, Envelope, Incoming, Link, TxChecksum, VerifyChecksum};
use handfast::wire::tcp::{Flags, Header, Options};
use handfast::wire::{Addr, FourTuple, MacAddr, SeqNum};

pub const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
pub const ROUTER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const SERVER: Addr = Addr::from_v4([10, 77, 0, 2]);
const SERVER_V6: Addr = Addr::from_v6([0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
const ROUTER: Addr = Addr::from_v4([10, 77, 0, 1]);
const ROUTER_V6: Addr = Addr::from_v6([0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const CHUNK: usize = 2_048;

pub const ECHO: u16 = 7;
pub const DISCARD: u16 = 9;
pub const CHARGEN: u16 = 19;
pub const HTTP: u16 = 80;

/// A host of the benchmark range, RFC 2544.
pub fn host(prefix: u16, host: u8) -> Addr {
    let [b, c] = prefix.to_be_bytes();
    Addr::from_v4([198, 18 + (b & 1), c, host])
}

/// A host of one of the /56 prefixes of a network.
pub fn host_v6(prefix: u16, host: u8) -> Addr {
    let [b, c] = prefix.to_be_bytes();
    Addr::from_v6([0x20, 1, 0xd, 0xb8, 0, b, c, host, 0, 0, 0, 0, 0, 0, 0, host])
}

/// What the server sent.
pub struct Sent {
    /// To whom, and its header; `None`: it is no TCP segment.
    pub segment: Option<(Addr, u16, Header)>,
    pub text: Vec<u8>,
    /// Octets from the IP header on.
    pub octets: usize,
}

impl Sent {
    pub fn header(&self) -> &Header {
        &self.segment.as_ref().expect("a TCP segment").2
    }

    pub fn has(&self, flags: Flags) -> bool {
        self.header().flags.has(flags)
    }
}

struct Wire {
    frames: Vec<Vec<u8>>,
    room: usize,
}

impl Transmit for Wire {
    fn transmit(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        if self.frames.len() == self.room {
            return false;
        }
        let mut frame = vec![0; CHUNK];
        let len = write(&mut frame);
        frame.truncate(len);
        self.frames.push(frame);
        true
    }
}

/// The server.
pub struct Site {
    pub stack: Stack<Services>,
    pub now: Instant,
    /// Frames besides replies that find room in a turn.
    pub room: usize,
}

impl Site {
    /// Set up as `serve` has it, but for what `change` says.
    pub fn new(change: impl FnOnce(&mut StackConfig)) -> Self {
        let listeners = [ECHO, DISCARD, CHARGEN, HTTP].iter().zip(["echo", "discard", "chargen", "http"]);
        let listeners: Vec<Listener> =
            listeners.map(|(port, name)| format!("{name}@{port}").parse().unwrap()).collect();
        let addresses = [(SERVER, 24), (SERVER_V6, 64)].map(|(addr, prefix_len)| LocalAddr { addr, prefix_len });
        let secrets = Secrets { isn: [1; 16], flow_hash: [2; 16], cookie: CookieKeys::alone([3; 16]) };
        let mut config = StackConfig {
            gateways: vec![ROUTER, ROUTER_V6],
            neighbours: vec![(ROUTER, ROUTER_MAC), (ROUTER_V6, ROUTER_MAC)],
            listen: vec![ECHO, DISCARD, CHARGEN, HTTP],
            ..StackConfig::new(SERVER_MAC, addresses.to_vec(), secrets)
        };
        change(&mut config);
        let services = Services::new(listeners, None, config.limits.connections);
        let now = Instant::from_millis(1_000_000);
        Site { stack: Stack::new(config, services, now), now, room: usize::MAX }
    }

    /// A frame comes; says what leaves with this turn.
    pub fn frame(&mut self, frame: &[u8]) -> Vec<Sent> {
        let mut buffer = frame.to_vec();
        buffer.resize(CHUNK, 0);
        let mut sent = Vec::new();
        if let Some(len) = self.stack.on_frame(self.now, &mut buffer, frame.len()).reply() {
            self.stack.on_sent(Some(len));
            sent.push(read(&buffer[..len]));
        }
        sent.extend(self.turn());
        sent
    }

    fn turn(&mut self) -> Vec<Sent> {
        self.stack.on_timers(self.now);
        let mut wire = Wire { frames: Vec::new(), room: self.room };
        while self.stack.poll_transmit(self.now, &mut wire) && wire.frames.len() < self.room {}
        let sent: Vec<Sent> = wire.frames.iter().map(|frame| read(frame)).collect();
        if sent.iter().any(|sent| sent.segment.is_none()) {
            // It asks where the router is.
            self.stack.on_neighbour(self.now, ROUTER, ROUTER_MAC);
            self.stack.on_neighbour(self.now, ROUTER_V6, ROUTER_MAC);
        }
        sent
    }

    /// What leaves with one turn, after which a worker receives again; and whether more is to leave.
    pub fn one_turn(&mut self) -> (Vec<Sent>, bool) {
        self.stack.on_timers(self.now);
        let mut wire = Wire { frames: Vec::new(), room: self.room };
        let more = self.stack.poll_transmit(self.now, &mut wire);
        (wire.frames.iter().map(|frame| read(frame)).collect(), more)
    }

    /// A segment comes from a peer.
    pub fn segment(&mut self, from: (Addr, u16), to_port: u16, header: &Header, text: &[u8]) -> Vec<Sent> {
        let server = if from.0.is_v4() { SERVER } else { SERVER_V6 };
        let tuple = FourTuple { local_addr: from.0, remote_addr: server, local_port: from.1, remote_port: to_port };
        let link = Link { src: ROUTER_MAC, dst: SERVER_MAC, vlan: None };
        let envelope = Envelope { link, tuple, hop_limit: 60, traffic_class: 0, checksum: TxChecksum::Full };
        let mut buffer = [0; CHUNK];
        let len = frame::emit_tcp(&mut buffer, &envelope, header, text.len(), |place| place.copy_from_slice(text));
        self.frame(&buffer[..len])
    }

    /// A packet of another protocol comes.
    pub fn packet(&mut self, from: Addr, protocol: u8, payload: &[u8]) -> Vec<Sent> {
        let tuple = FourTuple {
            local_addr: from,
            remote_addr: if from.is_v4() { SERVER } else { SERVER_V6 },
            local_port: 0,
            remote_port: 0,
        };
        let link = Link { src: ROUTER_MAC, dst: SERVER_MAC, vlan: None };
        let envelope = Envelope { link, tuple, hop_limit: 60, traffic_class: 0, checksum: TxChecksum::Full };
        let mut buffer = [0; CHUNK];
        // A segment of the same length lends its IP header.
        let text = payload.len().saturating_sub(20);
        let len = frame::emit_tcp(&mut buffer, &envelope, &Header::default(), text, |_| {});
        let mut frame = buffer[..len - 20 - text + payload.len()].to_vec();
        let ip = &mut frame[14..];
        let start = if from.is_v4() { 20 } else { 40 };
        ip[start..].copy_from_slice(payload);
        let mut sum = Sum::ZERO;
        if from.is_v4() {
            let total = (start + payload.len()) as u16;
            ip[2..4].copy_from_slice(&total.to_be_bytes());
            ip[9] = protocol;
            ip[10..12].fill(0);
            let header_sum = Sum::ZERO.octets(&ip[..20]).checksum();
            ip[10..12].copy_from_slice(&header_sum.to_be_bytes());
        } else {
            ip[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
            ip[6] = protocol;
            sum = sum.pseudo_header(&tuple.local_addr, &tuple.remote_addr, protocol, payload.len());
        }
        let payload_sum = sum.octets(&ip[start..]).checksum();
        // Where ICMP has it.
        ip[start + 2..start + 4].copy_from_slice(&payload_sum.to_be_bytes());
        self.frame(&frame)
    }

    /// Time passes; says what left meanwhile.
    pub fn pass(&mut self, time: Duration) -> Vec<Sent> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while let Some(next) = self.stack.next_timeout(self.now).filter(|next| *next <= end) {
            // Timers tick in milliseconds: what is due "now" is due with the next of them.
            self.now = next.max(self.now + Duration::from_millis(1)).min(end);
            sent.extend(self.turn());
            if self.now == end {
                break;
            }
        }
        self.now = end;
        sent.extend(self.turn());
        sent
    }

    pub fn stats(&self) -> Snapshot {
        let snapshot = self.stack.snapshot();
        assert!(snapshot.ledger.exact, "{}", snapshot.ledger);
        self.stack.check_invariants().expect("what must hold after every step");
        snapshot
    }

    pub fn dropped(&self, reason: &str) -> u64 {
        self.stack.snapshot().frames.dropped.get(reason).copied().unwrap_or(0)
    }

    pub fn used(&self, pool: &str) -> u64 {
        self.stack.snapshot().pools[pool].used
    }

    /// A SYN comes, as the least of clients sends it.
    pub fn syn(&mut self, from: (Addr, u16), to_port: u16) -> Vec<Sent> {
        self.segment(from, to_port, &syn(), b"")
    }

    /// A client does a whole handshake; `None` when its SYN has no answer.
    pub fn connect(&mut self, from: (Addr, u16), to_port: u16) -> Option<Peer> {
        self.connect_from(from, to_port, syn().seq)
    }

    /// The same, with this initial sequence number.
    pub fn connect_from(&mut self, from: (Addr, u16), to_port: u16, seq: SeqNum) -> Option<Peer> {
        let answers = self.segment(from, to_port, &Header { seq, ..syn() }, b"");
        let syn_ack = answers.iter().find(|sent| sent.has(Flags::SYN | Flags::ACK))?.header();
        let peer = Peer { from, to_port, seq: syn_ack.ack, ack: syn_ack.seq + 1, wnd: 65_535 };
        peer.acknowledge(self);
        Some(peer)
    }

    /// An honest client of the echo service is served, from SYN to the last ACK.
    pub fn serves(&mut self, from: (Addr, u16)) -> bool {
        let Some(mut peer) = self.connect(from, ECHO) else { return false };
        let back = peer.say(self, b"all is well");
        let end = Header { flags: Flags::FIN | Flags::ACK, ..peer.header() };
        let fin = self.segment(from, ECHO, &end, b"");
        peer.seq += 1;
        peer.hear(&fin);
        peer.acknowledge(self);
        back == b"all is well" && fin.iter().any(|sent| sent.has(Flags::FIN))
    }
}

pub fn syn() -> Header {
    let options = Options { mss: Some(1_460), ..Options::default() };
    Header { seq: SeqNum(7_000), flags: Flags::SYN, wnd: 65_535, options, ..Header::default() }
}

/// A client that has connected.
#[derive(Clone, Copy)]
pub struct Peer {
    pub from: (Addr, u16),
    pub to_port: u16,
    pub seq: SeqNum,
    pub ack: SeqNum,
    pub wnd: u16,
}

impl Peer {
    pub fn header(&self) -> Header {
        Header { seq: self.seq, ack: self.ack, flags: Flags::ACK, wnd: self.wnd, ..Header::default() }
    }

    pub fn acknowledge(&self, site: &mut Site) -> Vec<Sent> {
        site.segment(self.from, self.to_port, &self.header(), b"")
    }

    /// Whether a segment is for this client.
    pub fn is_mine(&self, sent: &Sent) -> bool {
        sent.segment.as_ref().is_some_and(|(to, port, _)| (*to, *port) == self.from)
    }

    /// Takes what comes in order; gives its text.
    pub fn hear(&mut self, sent: &[Sent]) -> Vec<u8> {
        let mut heard = Vec::new();
        for sent in sent {
            if self.is_mine(sent) && sent.header().seq == self.ack && !sent.has(Flags::RST) {
                self.ack += sent.text.len() as u32 + u32::from(sent.has(Flags::FIN));
                heard.extend(&sent.text);
            }
        }
        heard
    }

    /// Sends text; gives what comes back at once, which is acknowledged.
    pub fn say(&mut self, site: &mut Site, text: &[u8]) -> Vec<u8> {
        let header = Header { flags: Flags::ACK | Flags::PSH, ..self.header() };
        let sent = site.segment(self.from, self.to_port, &header, text);
        self.seq += text.len() as u32;
        let heard = self.hear(&sent);
        self.acknowledge(site);
        heard
    }
}

fn read(frame: &[u8]) -> Sent {
    // Nothing of ours is padded.
    let octets = frame.len() - 14;
    match frame::parse(frame, VerifyChecksum::Yes) {
        Ok(Incoming::Tcp { tuple, segment, .. }) => Sent {
            segment: Some((tuple.local_addr, tuple.local_port, segment.header)),
            text: segment.text.to_vec(),
            octets,
        },
        _ => Sent { segment: None, text: Vec::new(), octets },
    }
}
