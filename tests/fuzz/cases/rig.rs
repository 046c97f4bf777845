//! A stack on a bench: frames, calls and time go in, and after each turn everything that can be checked is.

use handfast::ledger::{DropReason, Ending};
use handfast::stack::{
    App, ConnId, Connect, CookieKeys, Cx, DefenceConfig, Limits, LocalAddr, Ownership, RxChecksum, Secrets, Stack,
    StackConfig, TcpConfig, Transmit,
};
use handfast::time::{Duration, Instant};
use handfast::wire::frame::{self, Envelope, Incoming, Link, TxChecksum, VerifyChecksum};
use handfast::wire::tcp::{Flags, Header};
use handfast::wire::{Addr, FourTuple, MacAddr, SeqNum};
use std::net::SocketAddr;

pub const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
pub const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub const OURS: Addr = Addr::from_v4([10, 77, 0, 2]);
pub const OURS_V6: Addr = Addr::from_v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
pub const PEER: Addr = Addr::from_v4([10, 77, 0, 1]);
pub const PEER_V6: Addr = Addr::from_v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
pub const MTU: u16 = 1500;
const CHUNK: usize = 2048;

/// A host with one listener and pools so small that a few frames fill them.
pub fn config(tcp: TcpConfig) -> StackConfig {
    let local = |addr, prefix_len| LocalAddr { addr, prefix_len };
    StackConfig {
        mac: OUR_MAC,
        mtu: MTU,
        addresses: vec![local(OURS, 24), local(OURS_V6, 64)],
        gateways: vec![Addr::from_v4([10, 77, 0, 254])],
        neighbours: vec![],
        ownership: Ownership::Exclusive,
        rx_checksum: RxChecksum::Verify,
        listen: vec![7],
        ephemeral_ports: (50_000, 50_003),
        tcp,
        limits: Limits {
            half_open: 4,
            connections: 4,
            time_wait: 4,
            buffer_bytes: 64 * 1024,
            neighbours: 4,
            app_timers: 4,
            replies_per_second: 50,
        },
        defence: DefenceConfig::default(),
        secrets: Secrets { isn: [1; 16], flow_hash: [2; 16], cookie: CookieKeys::alone([3; 16]) },
        traced_connections: 1,
    }
}

/// What the application is told to do, with the connection that it has had longest.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    Connect(SocketAddr),
    Write(usize),
    Read(usize),
    Forward,
    Shutdown,
    Close,
    Abort,
    NoDelay(bool),
    KeepAlive(bool),
    UserTimeout(Duration),
    Timer(Duration),
    /// Goes on to the next connection.
    Turn,
}

/// A connection as its application knows it.
struct Held {
    conn: ConnId,
    /// Octets written: the octet at place `n` of the stream is `n` modulo 256.
    written: usize,
    /// The octet that must be read next: a peer's octet is its sequence number modulo 256.
    next: Option<u8>,
    /// It writes what it reads, which breaks the rule for `written`.
    forwards: bool,
}

/// An application that does what it is told.
#[derive(Default)]
pub struct Caller {
    held: Vec<Held>,
    /// Somebody forwarded: what is sent no longer follows the rule.
    pub forwarded: bool,
}

impl Caller {
    fn hold(&mut self, conn: ConnId) {
        self.held.push(Held { conn, written: 0, next: None, forwards: false });
    }

    fn read(held: &mut Held, cx: &mut Cx<'_>, octets: usize) {
        let mut into = vec![0; octets];
        let before = cx.readable(held.conn);
        let taken = cx.read(held.conn, &mut into);
        assert_eq!(taken, octets.min(before));
        for &octet in &into[..taken] {
            assert_eq!(octet, held.next.unwrap_or(octet), "the stream has a gap, or repeats itself");
            held.next = Some(octet.wrapping_add(1));
        }
    }

    fn write(held: &mut Held, cx: &mut Cx<'_>, octets: usize) {
        let stream: Vec<u8> = (held.written..held.written + octets).map(|place| place as u8).collect();
        let taken = cx.write(held.conn, &stream).unwrap_or(0);
        assert!(taken <= octets);
        held.written += taken;
    }
}

impl App for Caller {
    type Message = Call;

    fn on_accept(&mut self, _cx: &mut Cx<'_>, conn: ConnId) {
        self.hold(conn);
    }
    fn on_readable(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
    fn on_half_close(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
    fn on_closed(&mut self, cx: &mut Cx<'_>, conn: ConnId, _ending: Ending) {
        let at = self.held.iter().position(|held| held.conn == conn).expect("told once of each end");
        let mut held = self.held.remove(at);
        // What came before the end may still be read, now or never.
        let left = cx.readable(held.conn);
        if !held.forwards {
            Self::read(&mut held, cx, left);
        }
    }
    fn on_message(&mut self, cx: &mut Cx<'_>, call: Call) {
        if let Call::Connect(remote) = call {
            if let Ok(conn) = cx.connect(Connect::to(remote)) {
                self.hold(conn);
            }
            return;
        }
        let Some(held) = self.held.first_mut() else { return };
        let conn = held.conn;
        match call {
            Call::Connect(_) => {}
            Call::Write(octets) => Self::write(held, cx, octets),
            Call::Read(octets) if !held.forwards => Self::read(held, cx, octets),
            Call::Read(_) | Call::Forward => {
                held.forwards = true;
                self.forwarded = true;
                let _ = cx.forward(conn, conn);
            }
            Call::Shutdown => cx.shutdown(conn),
            Call::Close => cx.close(conn),
            Call::Abort => cx.abort(conn),
            Call::NoDelay(on) => cx.set_no_delay(conn, on),
            Call::KeepAlive(on) => cx.set_keep_alive(conn, on),
            Call::UserTimeout(patience) => cx.set_user_timeout(conn, patience),
            Call::Timer(after) => _ = cx.set_timer(after, 1),
            Call::Turn => self.held.rotate_left(1),
        }
    }
    fn on_drain(&mut self, cx: &mut Cx<'_>) {
        // Closed for good, so that a peer who is silent from now on keeps nothing.
        for held in &self.held {
            cx.close(held.conn);
        }
    }
}

/// A queue of bounded length.
struct Wire {
    frames: Vec<Vec<u8>>,
    room: usize,
}

impl Transmit for Wire {
    fn transmit(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        let mut frame = vec![0xa5; CHUNK];
        let len = write(&mut frame);
        frame.truncate(len);
        self.frames.push(frame);
        true
    }
}

/// A stack on the bench.
pub struct Rig {
    pub stack: Stack<Caller>,
    pub now: Instant,
}

impl Rig {
    pub fn new(config: StackConfig, now: Instant) -> Rig {
        Rig { stack: Stack::new(config, Caller::default(), now), now }
    }

    /// One turn: the frame, if there is one, the timers, and as many frames out as there is room for. Says what was sent.
    pub fn turn(&mut self, frame: Option<&[u8]>, room: usize) -> Vec<Vec<u8>> {
        let mut wire = Wire { frames: Vec::new(), room };
        if let Some(frame) = frame.filter(|frame| frame.len() <= CHUNK) {
            let mut buffer = vec![0x5a; CHUNK];
            buffer[..frame.len()].copy_from_slice(frame);
            if let Some(reply) = self.stack.on_frame(self.now, &mut buffer, frame.len()).reply() {
                self.stack.on_sent(Some(reply));
                wire.frames.push(buffer[..reply].to_vec());
            }
        }
        self.stack.on_timers(self.now);
        self.stack.poll_transmit(self.now, &mut wire);
        self.check(&wire.frames);
        wire.frames
    }

    /// The application does as it is told.
    pub fn call(&mut self, call: Call) {
        self.stack.on_message(self.now, call);
    }

    fn check(&self, sent: &[Vec<u8>]) {
        if let Err(law) = self.stack.check_invariants() {
            panic!("{law}");
        }
        for frame in sent {
            assert!(frame.len() <= usize::from(MTU) + 18, "a frame of {} octets", frame.len());
            match frame::parse(frame, VerifyChecksum::Yes) {
                Ok(Incoming::Tcp { link, segment, .. }) => {
                    assert_eq!(link.src, OUR_MAC);
                    let (flags, text) = (segment.header.flags, segment.text);
                    assert!(!(flags.has(Flags::SYN) && flags.has(Flags::FIN)), "SYN and FIN");
                    assert!(!flags.has(Flags::RST) || text.is_empty(), "a RST with text");
                }
                Ok(_) => {}
                // An echo reply answers no question of ours.
                Err(reason) => assert_eq!(reason, DropReason::IcmpIgnored, "{frame:02x?}"),
            }
        }
    }

    /// Nobody answers any more, and the application closes all it has: then everything ends by itself, in bounded time.
    pub fn wind_down(mut self) {
        self.stack.drain(self.now);
        for _ in 0..2_000 {
            let mut wire = Wire { frames: Vec::new(), room: usize::MAX };
            self.stack.on_timers(self.now);
            self.stack.poll_transmit(self.now, &mut wire);
            if !wire.frames.is_empty() {
                self.check(&wire.frames);
            }
            match self.stack.next_timeout(self.now) {
                // Late is good enough, and saves most of the turns.
                Some(next) => self.now = next.max(self.now + Duration::from_secs(1)),
                None => break,
            }
        }
        self.check(&[]);
        assert!(self.stack.is_idle(), "still alive: {:?}", self.stack.snapshot().states);
        if let Err(left) = self.stack.check_empty() {
            panic!("{left}");
        }
    }
}

/// A frame with this segment, from the tuple's remote to us.
pub fn tcp_frame(tuple: &FourTuple, ecn: u8, header: &Header, text_len: usize) -> Vec<u8> {
    // The frame is emitted by whom we call the remote.
    let tuple = FourTuple {
        local_addr: tuple.remote_addr,
        remote_addr: tuple.local_addr,
        local_port: tuple.remote_port,
        remote_port: tuple.local_port,
    };
    let link = Link { src: PEER_MAC, dst: OUR_MAC, vlan: None };
    let envelope = Envelope { link, tuple, hop_limit: 64, ecn, checksum: TxChecksum::Full };
    let mut frame = vec![0; CHUNK];
    let first = header.seq + u32::from(header.flags.has(Flags::SYN));
    let len = frame::emit_tcp(&mut frame, &envelope, header, text_len, |text| {
        for (octet, seq) in text.iter_mut().zip(first.0..=u32::MAX) {
            *octet = seq as u8;
        }
        let to_wrap = (u32::MAX - first.0) as usize + 1;
        for (octet, seq) in text.iter_mut().skip(to_wrap).zip(0u32..) {
            *octet = seq as u8;
        }
    });
    frame.truncate(len);
    frame
}

/// What can be known of the stack's end of a connection by whoever hears what it sends.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    pub tuple: FourTuple,
    /// Its initial sequence number.
    pub iss: Option<SeqNum>,
    /// Behind the last octet that it sent.
    pub nxt: SeqNum,
    /// What it acknowledges.
    pub ack: SeqNum,
    /// Its window field.
    pub wnd: u16,
    /// Its timestamp.
    pub tsval: u32,
}

impl Heard {
    pub fn nothing(tuple: FourTuple, irs: SeqNum) -> Heard {
        Heard { tuple, iss: None, nxt: SeqNum(0), ack: irs, wnd: 65_535, tsval: 0 }
    }

    /// Takes note of a frame, if it belongs to this connection; then says the place in the stream, and the text.
    pub fn note<'a>(&mut self, frame: &'a [u8]) -> Option<(u32, &'a [u8])> {
        let Ok(Incoming::Tcp { tuple, segment, .. }) = frame::parse(frame, VerifyChecksum::Yes) else { return None };
        let ours = &self.tuple;
        let same = tuple.local_addr == ours.remote_addr && tuple.remote_addr == ours.local_addr;
        let same = same && tuple.local_port == ours.remote_port;
        if !same || (ours.local_port != 0 && tuple.remote_port != ours.local_port) {
            return None;
        }
        let header = segment.header;
        if header.flags.has(Flags::RST) {
            return None;
        }
        self.tuple.local_port = tuple.remote_port;
        if header.flags.has(Flags::SYN) {
            self.iss = Some(header.seq);
            self.nxt = header.seq;
        }
        self.nxt = self.nxt.max(header.seq + segment.len());
        self.tsval = header.options.timestamps.map_or(self.tsval, |timestamps| timestamps.tsval);
        if header.flags.has(Flags::ACK) {
            (self.ack, self.wnd) = (header.ack, header.wnd);
        }
        Some((header.seq.0.wrapping_sub(self.iss?.0).wrapping_sub(1), segment.text))
    }
}
