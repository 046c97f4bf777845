//! The scripted peer: sends and expects segments by hand, in numbers relative to both initial ones.

use super::segment::*;
pub use super::stage::*;
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
    pub family: Family,
    pub flow: Flow,
    /// The application's socket on the host, once there is one.
    pub sock: Option<Sock>,
    /// Answers questions for the peer's Ethernet address.
    pub answers_neighbour: bool,
    /// Segments that came while another flow was looked at.
    waiting: VecDeque<Got>,
    /// Frames that are no TCP segments.
    pub others: VecDeque<FrameIn>,
    pub transcript: Vec<String>,
}

/// Long enough for any answer that needs no timer but the delayed ACK's; shorter than any retransmission.
pub const SOON: Duration = Duration::from_millis(150);

pub fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

pub fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Peer {
    pub fn new(target: Box<dyn Target>, family: Family, isn: u32) -> Self {
        let flow = Flow::new(PEER_PORT, isn);
        let (waiting, others) = (VecDeque::new(), VecDeque::new());
        Peer { target, family, flow, sock: None, answers_neighbour: true, waiting, others, transcript: vec![] }
    }

    /// Whether the host is Linux, which here does otherwise for the reason given.
    pub fn on_linux(&self, _why: &str) -> bool {
        self.target.is_linux()
    }

    /// How long what leaves "at once" may take.
    pub fn at_once(&self) -> Duration {
        if self.target.is_real_time() { millis(30) } else { Duration::ZERO }
    }

    // --- the wire ---

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

    /// Full segments of the host that leave at once, as numbers of their first octets.
    pub fn flight(&mut self) -> Vec<u32> {
        let wait = self.at_once();
        self.pass(wait).iter().filter(|got| !got.text.is_empty()).map(|got| got.seq).collect()
    }

    pub fn log(&mut self, way: char, what: &str) {
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
            if self.answers_neighbour {
                self.answer_neighbour(&frame);
            }
            self.others.push_back(frame);
        }
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

    /// Nothing of this flow may leave for so long; where time is real, for a third of a second at most.
    pub fn expect_silence(&mut self, wait: Duration) {
        let wait = if self.target.is_real_time() { wait.min(millis(300)) } else { wait };
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
            let is_old = nxt.wrapping_sub(got.seq.wrapping_add(len)) < 1 << 31;
            let again = len > 0 && got.flags & (S | R) == 0 && is_old;
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
}

/// Our TSval at the start.
pub const TS_BASE: u32 = 1_000_000;

/// The states after both SYNs.
pub const SYNCHRONIZED: [&str; 6] = ["ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK"];
