//! One connection that is fed any segments at any times, most of them near what it expects, with calls of its
//! application in between.

use super::caller::Call;
use super::heard::{Heard, tcp_frame};
use super::rig::{End, Ending, OURS, PEER, PEER_MAC, Rig, config};
use arbitrary::{Result, Unstructured};
use handfast::stack::TcpConfig;
use handfast::time::{Duration, Instant};
use handfast::wire::tcp::{Flags, Header, Options, SackBlocks, Timestamps};
use handfast::wire::{FourTuple, SeqNum};

const PORT: u16 = 40_000;
const STEPS: usize = 300;
const FLAGS: [Flags; 16] = [
    Flags::ACK,
    Flags(0x18),
    Flags(0x11),
    Flags::SYN,
    Flags(0x12),
    Flags::RST,
    Flags(0x14),
    Flags::FIN,
    Flags(0),
    Flags(0x30),
    Flags(0x03),
    Flags(0x50),
    Flags(0x90),
    Flags(0xc2),
    Flags(0x52),
    Flags(0xff),
];
const TEXT: [usize; 8] = [0, 1, 2, 100, 535, 536, 1448, 1460];
const WAITS_MS: [u64; 8] = [1, 10, 40, 200, 1_000, 10_000, 61_000, 400_000];

/// Runs one input.
pub fn run(input: &[u8]) -> Option<End> {
    play(&mut Unstructured::new(input)).ok()
}

fn play(u: &mut Unstructured<'_>) -> Result<End> {
    let (mode, how): (u8, u8) = (u.arbitrary()?, u.arbitrary()?);
    let irs = SeqNum(if mode & 1 != 0 { 0xffff_fc00 } else { u.arbitrary::<u16>()?.into() });
    // The second one: the millisecond clock wraps 5 s later.
    let start = Instant::from_millis(if mode & 2 != 0 { (1 << 32) - 5_000 } else { 1_000_000 });
    let mut stack = config(tcp_config(how));
    stack.neighbours = vec![(PEER, PEER_MAC)];
    let tuple = FourTuple { local_addr: OURS, remote_addr: PEER, local_port: 7, remote_port: PORT };
    let mut fed = Fed { rig: Rig::new(stack, start), heard: Heard::nothing(tuple, irs), irs, room: usize::MAX };
    fed.open(mode);
    for _ in 0..STEPS {
        // Where an input ends in the middle of a step, so does the run.
        if u.is_empty() || fed.step(u).is_err() {
            break;
        }
    }
    Ok(fed.rig.wind_down(Ending::Drain))
}

/// How TCP behaves, by the bits of one octet.
pub fn tcp_config(how: u8) -> TcpConfig {
    let congestion = if how & 1 != 0 { "reno" } else { "cubic" };
    TcpConfig {
        congestion: congestion.parse().expect("a name"),
        nagle: how & 2 == 0,
        keep_alive: (how & 4 != 0).then_some(Duration::from_secs(5)),
        ecn_request: how & 8 != 0,
        recv_buffer: if how & 16 != 0 { 4096 } else { 256 * 1024 },
        send_buffer: if how & 32 != 0 { 4096 } else { 256 * 1024 },
        delayed_ack: Duration::from_millis(if how & 64 != 0 { 0 } else { 40 }),
        ..TcpConfig::default()
    }
}

struct Fed {
    rig: Rig,
    heard: Heard,
    irs: SeqNum,
    room: usize,
}

impl Fed {
    /// Opens by the book, so that few octets of an input lead into the midst of a life; or, by two bits of `mode`, not.
    fn open(&mut self, mode: u8) {
        if mode & 4 != 0 {
            self.heard.tuple.local_port = 0;
            self.rig.call(Call::Connect(format!("10.77.0.1:{PORT}").parse().expect("an address")));
            self.turn(None);
        }
        if mode & 8 != 0 {
            return;
        }
        let timestamps = |tsecr| (mode & 16 == 0).then_some(Timestamps { tsval: 1, tsecr });
        let options = Options {
            mss: Some(if mode & 32 != 0 { 100 } else { 1460 }),
            window_scale: (mode & 64 == 0).then_some(7),
            sack_permitted: mode & 128 == 0,
            timestamps: timestamps(self.heard.tsval),
            ..Options::default()
        };
        let active = mode & 4 != 0;
        let flags = if active { Flags::SYN | Flags::ACK } else { Flags::SYN };
        let header = Header { seq: self.irs, ack: self.heard.nxt, flags, wnd: 65_535, options, ..Header::default() };
        self.send(0, &header, 0);
        let options = Options { timestamps: timestamps(self.heard.tsval), ..Options::default() };
        let (seq, ack) = (self.irs + 1, self.heard.nxt);
        self.send(0, &Header { seq, ack, flags: Flags::ACK, wnd: 512, options, ..Header::default() }, 0);
    }

    fn send(&mut self, ecn: u8, header: &Header, text_len: usize) {
        let frame = tcp_frame(&self.heard.tuple, ecn, header, text_len);
        self.turn(Some(&frame));
    }

    /// A turn, and a look at what leaves: the text at a place of the stream is what was written there.
    fn turn(&mut self, frame: Option<&[u8]>) {
        for frame in self.rig.turn(frame, self.room) {
            self.heard.check(&frame, self.rig.stack.app().forwarded);
        }
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let what: u8 = u.arbitrary()?;
        match what >> 5 {
            0..=3 => self.segment(what, u)?,
            4 => {
                let wait = Duration::from_millis(WAITS_MS[usize::from(what & 7)]);
                self.rig.now = self.rig.now + wait;
                self.turn(None);
            }
            5 => {
                let next = self.rig.stack.next_timeout(self.rig.now);
                self.rig.now = next.unwrap_or(self.rig.now).max(self.rig.now);
                self.room = if what & 1 != 0 { usize::from(what >> 1 & 15) } else { usize::MAX };
                self.turn(None);
            }
            _ => {
                let amount = u.arbitrary::<u8>()?;
                self.rig.call(call(what, amount));
                self.turn(None);
            }
        }
        Ok(())
    }

    /// A segment. By its first octet alone it is what the connection expects; the octets that follow say in what it
    /// differs.
    fn segment(&mut self, what: u8, u: &mut Unstructured<'_>) -> Result<()> {
        let flags = FLAGS[usize::from(what & 15)];
        let differs: u8 = if what & 64 != 0 { u.arbitrary()? } else { 0 };
        let text_len = if what & 16 != 0 { TEXT[usize::from(u.arbitrary::<u8>()? & 7)] } else { 0 };
        let near = |base: SeqNum, u: &mut Unstructured<'_>| -> Result<SeqNum> {
            let off: i16 = u.arbitrary()?;
            Ok(SeqNum(base.0.wrapping_add_signed(off.into())))
        };
        let heard = self.heard;
        let window_end = heard.ack + u32::from(heard.wnd);
        let seq = match differs & 3 {
            0 => heard.ack,
            1 => near(heard.ack, u)?,
            2 => near(window_end, u)?,
            _ => SeqNum(u.arbitrary()?),
        };
        let ack = match differs >> 2 & 3 {
            0 => heard.nxt,
            1 => near(heard.nxt, u)?,
            2 => heard.iss.unwrap_or_default() + 1 + u.arbitrary::<u16>()?.into(),
            _ => SeqNum(u.arbitrary()?),
        };
        let wnd = if differs & 16 != 0 { u.arbitrary()? } else { 0xffff };
        let tsval = (self.rig.now.as_millis() as u32).wrapping_add(7);
        let timestamps = match differs >> 5 & 3 {
            0 => Some(Timestamps { tsval, tsecr: heard.tsval }),
            1 => None,
            2 => {
                Some(Timestamps { tsval: tsval.wrapping_add_signed(u.arbitrary::<i16>()?.into()), tsecr: heard.tsval })
            }
            _ => Some(Timestamps { tsval: u.arbitrary()?, tsecr: u.arbitrary()? }),
        };
        let mut sack = SackBlocks::default();
        if differs & 128 != 0 {
            for _ in 0..u.int_in_range(1..=4u8)? {
                let left = near(heard.nxt, u)?;
                sack.push(left, near(left, u)?);
            }
        }
        let syn = flags.has(Flags::SYN);
        let options = Options {
            mss: if syn { Some(u.arbitrary()?) } else { None },
            window_scale: if syn { Some(u.arbitrary()?) } else { None },
            sack_permitted: syn,
            timestamps,
            sack,
        };
        let urgent = if flags.has(Flags::URG) { u.arbitrary()? } else { 0 };
        self.send(what & 3, &Header { seq, ack, flags, wnd, urgent, options }, text_len);
        Ok(())
    }
}

/// What the application does.
pub fn call(what: u8, amount: u8) -> Call {
    let many = usize::from(amount) * 97;
    match what & 15 {
        0..=2 => Call::Write(many),
        3..=5 => Call::Read(many),
        6 => Call::Forward,
        7 => Call::Shutdown,
        8 => Call::Close,
        9 if amount & 1 != 0 => Call::Abort,
        9 => Call::Read(usize::from(u16::MAX)),
        10 => Call::NoDelay(amount & 1 != 0),
        11 => Call::KeepAlive(amount & 1 != 0),
        12 => Call::UserTimeout(Duration::from_secs(amount.into())),
        13 => Call::Timer(Duration::from_millis(amount.into())),
        14 => Call::Connect(([10, 77, 0, 1], PORT - u16::from(amount & 1)).into()),
        _ => Call::Turn,
    }
}
