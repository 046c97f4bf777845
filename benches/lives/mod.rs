//! Lives of a server's connections for the benchmarks and the tests that count: the server's stack alone, its client being
//! a script that knows the next segment of each life.
//!
//! Frames lie in memory as a driver's rings would hold them, 64 at a time as a burst would bring them. Timestamps, window
//! scale and SACK on, checksums made and verified, TIME-WAIT of 240 s, defence auto: nothing is left out but the driver.

// Each that includes this takes what it needs.
#![allow(dead_code)]

use handfast::stack::{App, ConnId, CookieKeys, Cx, LocalAddr, Secrets, Stack, StackConfig, Transmit};
use handfast::time::{Duration, Instant};
use handfast::wire::frame::{self, Envelope, Incoming, Link, TxChecksum, VerifyChecksum};
use handfast::wire::tcp::{Flags, Header, Options, Timestamps};
use handfast::wire::{Addr, FourTuple, MacAddr, SeqNum};
use std::hint::black_box;

/// Lives under way at a time.
pub const BURST: usize = 64;

/// How a life goes; in every one the three segments of the handshake come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The client closes first, the server's FIN carries its acknowledgement: 4 frames in, 2 out.
    Merged,
    /// The client closes first, the server acknowledges that and then sends its FIN (RFC 9293, figure 12): 4 in, 3 out.
    Textbook,
    /// The server closes first, and keeps the TIME-WAIT: 3 in, 3 out.
    ServerFirst,
}

/// A server's configuration: host number `host` of 10.0.0.0/8, listening on port 7.
pub fn config(host: u8) -> StackConfig {
    StackConfig {
        listen: vec![7],
        ephemeral_ports: (1024, 65535),
        ..StackConfig::new(
            MacAddr([2, 0, 0, 0, 0, host]),
            (0..16).map(|i| LocalAddr { addr: Addr::from_v4([10, 0, i, host]), prefix_len: 8 }).collect(),
            Secrets { isn: [host; 16], flow_hash: [host; 16], cookie: CookieKeys::alone([host; 16]) },
        )
    }
}

/// A server that closes when its peer has, or as soon as the connection stands.
pub struct Closer {
    pub closes_first: bool,
}

impl App for Closer {
    type Message = ();
    fn on_accept(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        if self.closes_first {
            cx.close(conn);
        }
    }
    fn on_readable(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
    fn on_half_close(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        cx.close(conn);
    }
}

/// Frames as a driver's ring would hold them.
pub struct Ring {
    // Boxes, as frames are moved about.
    #[allow(clippy::vec_box)]
    frames: Vec<Box<[u8; 2048]>>,
    lens: Vec<usize>,
    used: usize,
}

impl Ring {
    /// Room for so many.
    pub fn new(size: usize) -> Self {
        Ring { frames: (0..size).map(|_| Box::new([0; 2048])).collect(), lens: vec![0; size], used: 0 }
    }

    /// How many it holds.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// The sequence number of each segment that it holds.
    pub fn seqs(&self) -> impl Iterator<Item = SeqNum> + '_ {
        self.frames.iter().zip(&self.lens).take(self.used).map(|(frame, len)| seq_of(&frame[..*len]))
    }
}

impl Transmit for Ring {
    fn transmit(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        if self.used == self.lens.len() {
            return false;
        }
        self.lens[self.used] = write(&mut self.frames[self.used][..]);
        self.used += 1;
        true
    }
}

/// Lets the server process a ring of frames; replies and segments due go to `out`. Only this is measured, by its name in
/// `benches/instructions.rs`.
#[inline(never)]
pub fn serve(server: &mut Stack<Closer>, now: Instant, input: &mut Ring, out: &mut Ring) {
    server.expect(input.frames.iter().zip(&input.lens).take(input.used).map(|(frame, len)| &frame[..*len]));
    for i in 0..input.used {
        if let Some(reply) = server.on_frame(now, &mut input.frames[i][..], input.lens[i]).reply() {
            input.lens[i] = reply;
            std::mem::swap(&mut input.frames[i], &mut out.frames[out.used]);
            out.lens[out.used] = reply;
            out.used += 1;
            server.on_sent(Some(reply));
        }
    }
    server.on_timers(now);
    server.poll_transmit(now, out);
    input.used = 0;
}

/// A server and the script of its clients.
pub struct Lives {
    pub server: Stack<Closer>,
    shape: Shape,
    now: Instant,
    /// How far the clock goes on with each step.
    pub step: Duration,
    input: Ring,
    out: Ring,
    /// Of the lives under way: who, and the server's initial number.
    tuples: [FourTuple; BURST],
    iss: [SeqNum; BURST],
    /// Lives ever begun.
    begun: u32,
    /// Time spent in [`serve`].
    pub measured: std::time::Duration,
}

impl Lives {
    pub fn new(shape: Shape) -> Self {
        let now = Instant::from_millis(1_000);
        let mut config = config(2);
        config.tcp.fin_carries_ack = shape == Shape::Merged;
        Lives {
            server: Stack::new(config, Closer { closes_first: shape == Shape::ServerFirst }, now),
            shape,
            now,
            step: Duration::from_micros(20),
            input: Ring::new(2 * BURST),
            out: Ring::new(4 * BURST),
            tuples: [FourTuple::wildcard(7); BURST],
            iss: [SeqNum(0); BURST],
            begun: 0,
            measured: std::time::Duration::ZERO,
        }
    }

    /// The next lives go otherwise; between [`Shape::Textbook`] and [`Shape::ServerFirst`].
    pub fn change_shape(&mut self, shape: Shape) {
        self.shape = shape;
        self.server.app_mut().closes_first = shape == Shape::ServerFirst;
    }

    /// As many lives, or up to a burst more; says how long the server took for as many.
    pub fn measure(&mut self, lives: u64, mut burst: impl FnMut(&mut Lives)) -> std::time::Duration {
        self.measured = std::time::Duration::ZERO;
        let bursts = lives.div_ceil(BURST as u64);
        (0..bursts).for_each(|_| burst(self));
        self.measured.mul_f64(lives as f64 / (bursts * BURST as u64) as f64)
    }

    /// [`BURST`] lives from the SYN to the last segment.
    pub fn live(&mut self) {
        self.open();
        match self.shape {
            Shape::Merged => self.client_closes(1),
            Shape::Textbook => self.client_closes(2),
            Shape::ServerFirst => self.server_closed(),
        }
    }

    /// The handshakes alone.
    pub fn open(&mut self) {
        self.syns();
        self.send(Flags::ACK, 101, 1);
        let fins = if self.shape == Shape::ServerFirst { BURST } else { 0 };
        self.step(fins, "nothing is said to the third segment but what the server wants to say");
    }

    /// SYNs that are answered, and reset.
    pub fn syns_and_resets(&mut self) {
        self.syns();
        let measured = self.measured;
        self.send(Flags::RST, 101, 0);
        self.step(0, "a RST is never answered");
        self.measured = measured;
    }

    /// A SYN of each of [`BURST`] new clients, and its answer.
    fn syns(&mut self) {
        for tuple in &mut self.tuples {
            *tuple = client(self.begun);
            self.begun += 1;
        }
        self.iss = [SeqNum(0); BURST];
        self.send(Flags::SYN, 100, 0);
        self.step(BURST, "a SYN-ACK for each SYN");
        self.iss.iter_mut().zip(self.out.seqs()).for_each(|(iss, seq)| *iss = seq);
    }

    /// From FIN-WAIT-1 on at the client's; the server answers its FIN by so many segments.
    fn client_closes(&mut self, answers: usize) {
        self.send(Flags::FIN | Flags::ACK, 101, 1);
        self.step(answers * BURST, "the client's FIN is acknowledged, and the server closes");
        self.send(Flags::ACK, 102, 2);
        self.step(0, "nothing is said to the last ACK");
    }

    /// The server's FIN came with the third segment: the client's carries the acknowledgement.
    fn server_closed(&mut self) {
        self.send(Flags::FIN | Flags::ACK, 101, 2);
        self.step(BURST, "the last ACK");
    }

    /// A segment of each life: its number, and what it acknowledges beyond the server's initial number.
    fn send(&mut self, flags: Flags, seq: u32, ack: u32) {
        let mut options = Options { timestamps: Some(Timestamps { tsval: 1, tsecr: 0 }), ..Options::default() };
        if flags.has(Flags::SYN) {
            options = Options { mss: Some(1460), window_scale: Some(7), sack_permitted: true, ..options };
        }
        let link = Link { src: MacAddr([2, 0, 0, 0, 0, 9]), dst: MacAddr([2, 0, 0, 0, 0, 2]), vlan: None };
        for (tuple, iss) in self.tuples.iter().zip(&self.iss) {
            let header = Header { seq: SeqNum(seq), ack: *iss + ack, flags, wnd: 64_000, urgent: 0, options };
            let envelope =
                Envelope { link, tuple: *tuple, hop_limit: 64, traffic_class: 0, checksum: TxChecksum::Full };
            self.input.transmit(|buffer| frame::emit_tcp(buffer, &envelope, &header, 0, |_| {}));
        }
    }

    fn step(&mut self, answers: usize, why: &str) {
        self.now = self.now + self.step;
        self.out.used = 0;
        let start = std::time::Instant::now();
        serve(&mut self.server, self.now, black_box(&mut self.input), &mut self.out);
        self.measured += start.elapsed();
        assert_eq!(self.out.used, answers, "{why}");
    }
}

/// The client of a life: the way its segments go.
fn client(number: u32) -> FourTuple {
    let [_, b, c, d] = (number / 60_000).to_be_bytes();
    FourTuple {
        local_addr: Addr::from_v4([10, 1 + b, c, d]),
        remote_addr: Addr::from_v4([10, 0, 0, 2]),
        local_port: 1024 + (number % 60_000) as u16,
        remote_port: 7,
    }
}

fn seq_of(octets: &[u8]) -> SeqNum {
    match frame::parse(octets, VerifyChecksum::Yes) {
        Ok(Incoming::Tcp { segment, .. }) => segment.header.seq,
        other => panic!("not a segment: {other:?}"),
    }
}
