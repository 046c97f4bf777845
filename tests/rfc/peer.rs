//! The scripted peer: sends and expects segments by hand, in numbers relative to both initial ones.

use super::in_memory::{InMemory, Setup};
use super::kernel::Kernel;
use super::segment::*;
use super::target::*;
use std::collections::VecDeque;
use std::time::Duration;

/// One connection as the peer sees it.
#[derive(Clone, Debug)]
pub struct Flow {
    pub port: u16,
    /// Our initial sequence number.
    pub isn: u32,
    /// The host's, once seen.
    pub irs: Option<u32>,
    /// Relative: what we send next, and what we have had of the host in order.
    pub snd_nxt: u32,
    pub rcv_nxt: u32,
    /// Our TSval at the start and the last TSval seen, when timestamps are in use.
    pub ts: Option<(u32, u32)>,
    /// Our timestamp clock stands still.
    pub ts_frozen: bool,
}

impl Flow {
    pub fn new(port: u16, isn: u32) -> Self {
        Flow { port, isn, irs: None, snd_nxt: 0, rcv_nxt: 0, ts: None, ts_frozen: false }
    }
}

/// A segment of the host, in relative numbers.
#[derive(Clone, Debug)]
pub struct Got {
    pub at: Duration,
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub wnd: u16,
    pub options: Options,
    /// SACK blocks, relative to our own initial number.
    pub sack: Vec<(u32, u32)>,
    pub text: Vec<u8>,
    pub ip: IpIn,
    pub wire: TcpIn,
}

pub struct Peer {
    pub target: Box<dyn Target>,
    pub flow: Flow,
    /// The application's socket on the host, once there is one.
    pub sock: Option<Sock>,
    /// Answers ARP requests for the peer's address.
    pub answers_arp: bool,
    /// Segments that came while another flow was looked at.
    waiting: VecDeque<Got>,
    /// Frames that are no TCP segments.
    pub others: VecDeque<FrameIn>,
    transcript: Vec<String>,
}

/// Long enough for any answer that needs no timer but the delayed ACK's; shorter than any retransmission.
pub const SOON: Duration = Duration::from_millis(150);

pub fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

pub fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

// --- how scenarios are played ---

/// Where both ends start counting: at zero, before the sign changes, and before the wrap.
const ISNS: [(u32, u32); 3] = [(0, 0), (0x7fff_fffd, 0xffff_fffd), (0xffff_fffd, 0x7fff_fffd)];

/// Plays a scenario against every target, the host listening.
pub fn everywhere(scenario: impl Fn(&mut Peer) + Sync) {
    play_handfast(&Setup::default(), &scenario);
    play_linux(true, &scenario);
}

/// The same for a host that does not listen on [`HOST_PORT`], but may connect from there.
pub fn everywhere_without_listener(scenario: impl Fn(&mut Peer) + Sync) {
    play_handfast(&Setup { listen: false, ..Setup::default() }, &scenario);
    play_linux(false, &scenario);
}

/// Plays a scenario against Handfast in virtual time alone; `_why` says why not against Linux.
pub fn handfast_only(_why: &str, scenario: impl Fn(&mut Peer) + Sync) {
    play_handfast(&Setup::default(), &scenario);
}

/// The same for a stack that is set up otherwise.
pub fn handfast_with(_why: &str, change: impl Fn(&mut Setup), scenario: impl Fn(&mut Peer) + Sync) {
    let mut setup = Setup::default();
    change(&mut setup);
    play_handfast(&setup, &scenario);
}

fn is_wanted(target: &str) -> bool {
    std::env::var("HANDFAST_RFC_TARGET").map_or(true, |wanted| wanted == target)
}

fn play_handfast(setup: &Setup, scenario: &(impl Fn(&mut Peer) + Sync)) {
    if !is_wanted("handfast") {
        return;
    }
    for (host_isn, isn) in ISNS {
        let target = InMemory::new(&Setup { host_isn, ..setup.clone() });
        play(Peer::new(Box::new(target), isn), scenario);
    }
}

fn play_linux(listen: bool, scenario: &(impl Fn(&mut Peer) + Sync)) {
    if !is_wanted("linux") {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: against Linux it needs root (a namespace and a TAP device)");
        return;
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        eprintln!("SKIPPED: against Linux it needs TAP devices (/dev/net/tun)");
        return;
    }
    // A thread of its own, as it never comes back from the namespace.
    let played = std::thread::scope(|scope| {
        let thread = scope.spawn(|| play(Peer::new(Box::new(Kernel::new(listen)), 0xffff_fffd), scenario));
        thread.join()
    });
    if let Err(panic) = played {
        std::panic::resume_unwind(panic);
    }
}

fn play(mut peer: Peer, scenario: &(impl Fn(&mut Peer) + Sync)) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scenario(&mut peer)));
    if let Err(panic) = outcome {
        let host = if peer.target.is_linux() { "Linux" } else { "Handfast" };
        eprintln!("--- against {host}, our initial number {}:", peer.flow.isn);
        peer.transcript.iter().for_each(|line| eprintln!("{line}"));
        std::panic::resume_unwind(panic);
    }
}

impl Peer {
    fn new(target: Box<dyn Target>, isn: u32) -> Self {
        let flow = Flow::new(PEER_PORT, isn);
        let (waiting, others) = (VecDeque::new(), VecDeque::new());
        Peer { target, flow, sock: None, answers_arp: true, waiting, others, transcript: vec![] }
    }

    /// Whether the host is Linux, which here does otherwise for the reason given.
    pub fn on_linux(&self, _why: &str) -> bool {
        self.target.is_linux()
    }

    // --- the wire ---

    fn ends(&self) -> Ends {
        Ends {
            src_mac: PEER_MAC,
            dst_mac: HOST_MAC,
            src: PEER,
            dst: HOST,
            src_port: self.flow.port,
            dst_port: HOST_PORT,
        }
    }

    /// Sends a segment. What it leaves open: the number is our next one, the acknowledgement what we have had, the window
    /// 65,535, timestamps when they were agreed on.
    pub fn send(&mut self, segment: Seg) {
        self.send_from(self.ends(), segment);
    }

    /// Sends a segment to another port of the host.
    pub fn send_to_port(&mut self, port: u16, segment: Seg) {
        self.send_from(Ends { dst_port: port, ..self.ends() }, segment);
    }

    fn send_from(&mut self, ends: Ends, mut segment: Seg) {
        let len = segment.text.as_ref().map_or(0, |t| t.len() as u32)
            + u32::from(segment.flags & S != 0)
            + u32::from(segment.flags & F != 0);
        let seq_rel = segment.seq.unwrap_or(Num::Rel(self.flow.snd_nxt));
        segment.seq = Some(seq_rel);
        let seq = match seq_rel {
            Num::Rel(n) => {
                if segment.flags & R == 0 && (n + len).wrapping_sub(self.flow.snd_nxt) < 1 << 30 {
                    self.flow.snd_nxt = n + len;
                }
                self.flow.isn.wrapping_add(n)
            }
            Num::Abs(n) => n,
        };
        if segment.flags & A != 0 && segment.ack.is_none() {
            segment.ack = Some(Num::Rel(self.flow.rcv_nxt));
        }
        let ack = match segment.ack {
            Some(Num::Rel(n)) => self.flow.irs.unwrap_or(0).wrapping_add(n),
            Some(Num::Abs(n)) => n,
            None => 0,
        };
        if let Some((tsval, tsecr)) = self.flow.ts
            && segment.flags & (S | R) == 0
            && !segment.bare
            && segment.options.is_empty()
        {
            let passed = if self.flow.ts_frozen { 0 } else { self.target.now().as_millis() as u32 };
            segment = segment.ts(tsval.wrapping_add(passed), tsecr);
        }
        self.log('<', &segment.to_string());
        let frame = write_tcp(&ends, &segment, seq, ack);
        self.target.inject(&frame);
    }

    /// Sends a packet of another protocol.
    pub fn send_ip(&mut self, protocol: u8, payload: &[u8]) {
        self.log('<', &format!("IP protocol {protocol}, {} octets", payload.len()));
        let frame = write_ipv4(&self.ends(), &Tweak::default(), protocol, payload);
        self.target.inject(&frame);
    }

    /// Sends an ICMP error about a segment of this flow whose number was `quoted`, relative.
    pub fn send_icmp(&mut self, kind: u8, code: u8, mtu: u16, quoted: u32) {
        let mut quote = vec![0x45, 0, 0, 60, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0];
        quote.extend([HOST, PEER].concat());
        let checksum = !(sum(&quote, 0) as u16);
        quote[10..12].copy_from_slice(&checksum.to_be_bytes());
        quote.extend(HOST_PORT.to_be_bytes());
        quote.extend(self.flow.port.to_be_bytes());
        quote.extend(self.flow.irs.unwrap_or(0).wrapping_add(quoted).to_be_bytes());
        let mut message = vec![kind, code, 0, 0, 0, 0];
        message.extend(mtu.to_be_bytes());
        message.extend(quote);
        let checksum = !(sum(&message, 0) as u16);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        self.note(&format!("ICMP {kind}/{code} about {quoted}"));
        self.send_ip(1, &message);
    }

    /// Sends an ARP packet: operation, sender's and target's addresses.
    pub fn send_arp(&mut self, operation: u8, sender: (Mac, Ipv4), target: (Mac, Ipv4)) {
        let mut frame = [&[0xff; 6][..], &sender.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation]].concat();
        frame.extend([&sender.0[..], &sender.1, &target.0, &target.1].concat());
        self.send_frame(&frame);
    }

    /// ARP packets of the host that came so far; takes them away.
    pub fn take_arps(&mut self, wait: Duration) -> Vec<FrameIn> {
        self.pass(wait);
        self.others.drain(..).filter(|frame| frame.ethertype == 0x0806).collect()
    }

    /// Full segments of the host that leave at once, as numbers of their first octets.
    pub fn flight(&mut self) -> Vec<u32> {
        let wait = if self.target.is_linux() { millis(20) } else { Duration::ZERO };
        self.pass(wait).iter().filter(|got| !got.text.is_empty()).map(|got| got.seq).collect()
    }

    /// Sends a frame as it is.
    pub fn send_frame(&mut self, frame: &[u8]) {
        self.log('<', &format!("a frame of {} octets", frame.len()));
        self.target.inject(frame);
    }

    fn log(&mut self, way: char, what: &str) {
        let at = self.target.now().as_secs_f64();
        self.transcript.push(format!("{at:12.6} {:5} {way} {what}", self.flow.port));
    }

    /// A remark in the transcript.
    pub fn note(&mut self, what: &str) {
        self.log(' ', what);
    }

    /// The next segment of this flow that leaves the host within `wait`.
    pub fn next(&mut self, wait: Duration) -> Option<Got> {
        if let Some(at) = self.waiting.iter().position(|got| got.wire.dst_port == self.flow.port) {
            let got = self.waiting.remove(at)?;
            return Some(self.relative(got));
        }
        let until = self.target.now() + wait;
        loop {
            let left = until.saturating_sub(self.target.now());
            let (at, octets) = self.target.next_frame(left)?;
            let frame = read_frame(&octets);
            if let (Some(ip), Some(tcp)) = (frame.ip, frame.tcp.clone()) {
                let got = Got {
                    at,
                    flags: tcp.flags,
                    seq: tcp.seq,
                    ack: tcp.ack,
                    wnd: tcp.wnd,
                    options: tcp.options.clone(),
                    sack: vec![],
                    text: tcp.text.clone(),
                    ip,
                    wire: tcp,
                };
                if got.wire.dst_port == self.flow.port {
                    return Some(self.relative(got));
                }
                self.waiting.push_back(got);
                continue;
            }
            if self.answers_arp && frame.ethertype == 0x0806 {
                self.answer_arp(&octets);
            }
            self.others.push_back(frame);
        }
    }

    fn answer_arp(&mut self, request: &[u8]) {
        let body = &request[14..42];
        if body[7] != 1 || body[24..28] != PEER {
            return;
        }
        let mut reply = [&HOST_MAC[..], &PEER_MAC[..], &[8, 6], &body[..7], &[2]].concat();
        reply.extend(PEER_MAC);
        reply.extend(PEER);
        reply.extend(&body[8..18]);
        self.target.inject(&reply);
    }

    /// Turns a segment's numbers into relative ones and takes note of what it tells.
    fn relative(&mut self, mut got: Got) -> Got {
        if got.flags & S != 0 {
            self.flow.irs = Some(got.wire.seq);
        }
        let irs = self.flow.irs.unwrap_or(0);
        got.seq = got.wire.seq.wrapping_sub(irs);
        got.ack = if got.flags & A != 0 { got.wire.ack.wrapping_sub(self.flow.isn) } else { 0 };
        let isn = self.flow.isn;
        let ours = |(l, r): &(u32, u32)| (l.wrapping_sub(isn), r.wrapping_sub(isn));
        got.sack = got.options.sack.iter().map(ours).collect();
        let len = got.text.len() as u32 + u32::from(got.flags & S != 0) + u32::from(got.flags & F != 0);
        if got.flags & R == 0 && got.seq == self.flow.rcv_nxt {
            self.flow.rcv_nxt += len;
        }
        if let (Some((_, last)), Some((tsval, _))) = (&mut self.flow.ts, got.options.ts) {
            *last = tsval;
        }
        let mut line = format!("{} seq {} ack {}", flag_names(got.flags), got.seq, got.ack);
        line += &format!(" wnd {} len {}", got.wnd, got.text.len());
        if !got.sack.is_empty() {
            line += &format!(" sack {:?}", got.sack);
        }
        let at = got.at.as_secs_f64();
        self.transcript.push(format!("{at:12.6} {:5} > {line}", self.flow.port));
        got
    }

    /// The next segment, which must be as described; within a second.
    pub fn expect(&mut self, wanted: Seg) -> Got {
        self.expect_within(secs(1), wanted)
    }

    pub fn expect_within(&mut self, wait: Duration, wanted: Seg) -> Got {
        let Some(got) = self.next(wait) else { panic!("expected {wanted}, got nothing for {wait:?}") };
        if let Err(difference) = self.compare(&wanted, &got) {
            panic!("expected {wanted}, got {} seq {} ack {}: {difference}", flag_names(got.flags), got.seq, got.ack);
        }
        got
    }

    fn compare(&self, wanted: &Seg, got: &Got) -> Result<(), String> {
        let number = |n: Num, base: u32| match n {
            Num::Rel(n) => base.wrapping_add(n),
            Num::Abs(n) => n,
        };
        if (wanted.flags ^ got.flags) & !P != 0 {
            return Err(format!("flags {} are not {}", flag_names(got.flags), flag_names(wanted.flags)));
        }
        if wanted.seq.is_some_and(|n| number(n, self.flow.irs.unwrap_or(0)) != got.wire.seq) {
            return Err("the sequence number".into());
        }
        if wanted.ack.is_some_and(|n| number(n, self.flow.isn) != got.wire.ack) {
            return Err("the acknowledgement".into());
        }
        if wanted.wnd.is_some_and(|wnd| wnd != got.wnd) {
            return Err(format!("the window is {}", got.wnd));
        }
        let len = wanted.text.as_ref().map(Vec::len).or(wanted.text_len);
        if len.is_some_and(|len| len != got.text.len()) || wanted.text.as_ref().is_some_and(|t| *t != got.text) {
            return Err(format!("the text is {:?}", String::from_utf8_lossy(&got.text)));
        }
        Ok(())
    }

    /// Nothing of this flow may leave for so long; on Linux, where time is real, for a third of a second at most.
    pub fn expect_silence(&mut self, wait: Duration) {
        let wait = if self.target.is_linux() { wait.min(millis(300)) } else { wait };
        if let Some(got) = self.next(wait) {
            panic!("expected silence, got {} seq {} ack {}", flag_names(got.flags), got.seq, got.ack);
        }
    }

    /// Nothing answers what was sent last; that what is outstanding is sent again is no answer.
    pub fn expect_no_answer(&mut self) {
        let nxt = self.flow.rcv_nxt;
        let until = self.target.now() + SOON;
        while let Some(got) = self.next(until.saturating_sub(self.target.now())) {
            let len = got.text.len() as u32 + u32::from(got.flags & F != 0);
            let again = len > 0 && got.flags & (S | R) == 0 && got.seq.wrapping_add(len) == nxt;
            if !again {
                panic!("expected no answer, got {} seq {} ack {}", flag_names(got.flags), got.seq, got.ack);
            }
        }
    }

    /// Lets time pass; says what came in it.
    pub fn pass(&mut self, wait: Duration) -> Vec<Got> {
        let until = self.target.now() + wait;
        std::iter::from_fn(|| self.next(until.saturating_sub(self.target.now()))).collect()
    }

    /// Plays on another port, as a connection of its own; gives back what was before, with what the play said.
    pub fn on_port<T>(&mut self, port: u16, play: impl FnOnce(&mut Peer) -> T) -> T {
        let flow = std::mem::replace(&mut self.flow, Flow::new(port, 0x1234_5678));
        let sock = self.sock.take();
        let result = play(self);
        (self.flow, self.sock) = (flow, sock);
        result
    }

    // --- the application ---

    pub fn sock(&self) -> Sock {
        self.sock.expect("a socket")
    }
    pub fn app_write(&mut self, octets: &[u8]) -> usize {
        self.log('*', &format!("the application writes {} octets", octets.len()));
        let sock = self.sock();
        self.target.write(sock, octets)
    }
    pub fn app_read(&mut self) -> Read {
        let sock = self.sock();
        self.target.read(sock, 65_536)
    }
    pub fn app_shutdown(&mut self) {
        self.log('*', "the application shuts down its sending side");
        let sock = self.sock();
        self.target.shutdown(sock);
    }
    pub fn app_close(&mut self) {
        self.log('*', "the application closes");
        let sock = self.sock();
        self.target.close(sock);
    }
    pub fn app_abort(&mut self) {
        self.log('*', "the application aborts");
        let sock = self.sock();
        self.target.abort(sock);
    }
    /// Connections and entries in a state.
    pub fn count(&self, state: &str) -> u64 {
        self.target.count(state)
    }
    /// The one connection must be in this state.
    pub fn expect_state(&self, state: &str) {
        assert_eq!(self.count(state), 1, "in {state}");
    }
    /// How often Handfast counted a dropped frame for this reason; on Linux, nothing.
    pub fn dropped(&self, reason: &str) -> Option<u64> {
        Some(self.target.snapshot()?.frames.dropped.get(reason).copied().unwrap_or(0))
    }

    // --- the usual beginnings ---

    /// The host's application accepts a connection after this SYN.
    pub fn accept_with(&mut self, syn: Seg) -> Got {
        self.accept_with_window(syn, 65_535)
    }

    /// The same; this window stands on the handshake's last ACK.
    pub fn accept_with_window(&mut self, syn: Seg, wnd: u16) -> Got {
        let offered = syn.read_options().ts.map_or(TS_BASE, |(tsval, _)| tsval);
        self.send(syn);
        let syn_ack = self.expect(syn_ack().ack(1));
        if let Some((tsval, _)) = syn_ack.options.ts {
            self.flow.ts = Some((offered, tsval));
        }
        self.send(ack(1).wnd(wnd));
        self.sock = self.target.accept();
        assert!(self.sock.is_some(), "the application is told");
        syn_ack
    }

    /// The host accepts a connection without options but MSS.
    pub fn accept(&mut self) {
        self.accept_with(syn());
    }

    /// The host accepts a connection with timestamps and SACK.
    pub fn accept_with_timestamps(&mut self) {
        self.accept_with(syn().sack_ok().ts(TS_BASE, 0));
    }

    /// The host's application asks for a connection; its SYN is seen.
    pub fn connect(&mut self) -> Got {
        let port = self.flow.port;
        self.sock = Some(self.target.connect(PEER, port).expect("a connection under way"));
        let syn = self.expect(seg(S));
        assert_eq!(syn.seq, 0);
        syn
    }

    /// Brings a fresh passive connection into a state of RFC 9293 §3.3.2. Relative numbers in it: we have sent
    /// `flow.snd_nxt`, the host has sent `flow.rcv_nxt`.
    pub fn enter(&mut self, state: &str) {
        if state == "SYN-RECEIVED" {
            self.send(syn());
            self.expect(syn_ack().ack(1));
            self.expect_state(state);
            return;
        }
        self.accept();
        match state {
            "ESTABLISHED" => {}
            "CLOSE-WAIT" => self.peer_closes(),
            "LAST-ACK" => {
                self.peer_closes();
                self.app_shutdown();
                self.expect(fin(1).ack(2));
            }
            _ => {
                self.app_shutdown();
                self.expect(fin(1).ack(1));
                match state {
                    "FIN-WAIT-1" => {}
                    "CLOSING" => {
                        self.send(fin(1).ack(1));
                        self.expect(ack(2).seq(2));
                    }
                    "FIN-WAIT-2" => self.send(ack(2)),
                    "TIME-WAIT" => {
                        self.send(ack(2));
                        self.peer_closes();
                    }
                    _ => panic!("no way into {state}"),
                }
            }
        }
        self.expect_state(state);
    }

    fn peer_closes(&mut self) {
        self.send(fin(1));
        let nxt = self.flow.rcv_nxt;
        self.expect(ack(2).seq(nxt));
    }
}

/// Our TSval at the start.
pub const TS_BASE: u32 = 1_000_000;

/// The states after both SYNs.
pub const SYNCHRONIZED: [&str; 6] = ["ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK"];
