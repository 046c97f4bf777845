//! A whole stack whose peers do what a TCP would, until an input has them do otherwise: handshakes, text, closes, TIME-WAIT
//! over IPv4 and IPv6, ARP, neighbour discovery, pings, ICMP errors, fragments, tags; with pools so small that they fill.

use super::caller::Call;
use super::connection::{call, tcp_config};
use super::flow::{FIRST_ACTIVE, FLOWS, Flow};
use super::packets::{arp, damaged, fragment, icmp_error, misdirected, neighbour_discovery, ping, tagged};
use super::rig::{End, Ending, MTU, PEER_MAC, Rig, config};
use arbitrary::{Result, Unstructured};
use handfast::stack::{DefenceConfig, Limits, Ownership, RxChecksum, StackConfig, SynDefence, TcpConfig};
use handfast::time::{Duration, Instant};
use handfast::wire::Addr;
use handfast::wire::frame::{self, Incoming, Other, VerifyChecksum};
use handfast::wire::ndp::Message;
use handfast::wire::tcp::{Flags, Header};

const STEPS: usize = 300;
const WAITS_MS: [u64; 8] = [1, 40, 210, 600, 1_000, 5_000, 61_000, 500_000];

/// Runs one input.
pub fn run(input: &[u8]) -> Option<End> {
    play(&mut Unstructured::new(input)).ok()
}

fn play(u: &mut Unstructured<'_>) -> Result<End> {
    let (mode, how): (u8, u8) = (u.arbitrary()?, u.arbitrary()?);
    // The millisecond clock wraps 2 s later.
    let start = Instant::from_millis((1 << 32) - 2_000);
    let rig = Rig::new(stack_config(mode, how), start);
    let mut fed = Fed { rig, flows: Flow::all(), last: Vec::new(), asked: None, room: usize::MAX };
    for _ in 0..STEPS {
        // Where an input ends in the middle of a step, so does the run.
        if u.is_empty() || fed.step(u).is_err() {
            break;
        }
    }
    Ok(fed.rig.wind_down(if mode & 1 != 0 { Ending::Abort } else { Ending::Drain }))
}

fn stack_config(mode: u8, how: u8) -> StackConfig {
    let short = Duration::from_secs(2);
    let tcp = tcp_config(how);
    let tcp = if mode & 2 != 0 { TcpConfig { time_wait: short, orphan_timeout: short, ..tcp } } else { tcp };
    let mut config = config(tcp);
    config.defence.mode = match mode >> 2 & 3 {
        0 => SynDefence::Table,
        1 => SynDefence::Cookie,
        2 => SynDefence::Auto,
        _ => SynDefence::Xdp,
    };
    config.ownership = if mode & 16 != 0 { Ownership::Shared } else { Ownership::Exclusive };
    config.rx_checksum = if mode & 32 != 0 { RxChecksum::Trust } else { RxChecksum::Verify };
    if mode & 64 != 0 {
        let scarce = Limits { buffer_bytes: 8 * 1024, neighbours: 2, replies_per_second: 3, ..config.limits };
        config.limits = scarce;
    }
    if mode & 128 != 0 {
        let tight = DefenceConfig { prefix_share: 25, prefix_connections: 25, prefix_rate: Some(2), ..config.defence };
        config.defence = tight;
        config.tcp.idle_limit = Some(Duration::from_secs(90));
    }
    config
}

struct Fed {
    rig: Rig,
    flows: [Flow; FLOWS],
    /// The frame that the stack sent last.
    last: Vec<u8>,
    /// The neighbour that the stack asked for last.
    asked: Option<Addr>,
    /// Frames that the wire takes in a turn.
    room: usize,
}

impl Fed {
    fn turn(&mut self, frame: Option<&[u8]>) {
        for sent in self.rig.turn(frame, self.room) {
            let forwarded = self.rig.stack.app().forwarded;
            self.flows.iter_mut().for_each(|flow| flow.heard.check(&sent, forwarded));
            match frame::parse(&sent, VerifyChecksum::Yes) {
                Ok(Incoming::Other(Other::Arp { arp, .. })) => self.asked = Some(arp.target_addr),
                Ok(Incoming::Other(Other::Ndp { message: Message::Solicitation(asked), .. })) => {
                    self.asked = Some(asked.target)
                }
                _ => {}
            }
            self.last = sent;
        }
    }

    /// A step: the upper five bits of its first octet say what, the lower three to whom.
    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let what: u8 = u.arbitrary()?;
        let which = usize::from(what & 7);
        match what >> 3 {
            step @ 0..=13 => self.segment(step, which, u),
            step @ 14..=21 => {
                let frame = self.packet(step, which, u)?;
                self.turn(Some(&frame));
                Ok(())
            }
            step @ 22..=24 => self.surroundings(step, which, u),
            step => self.application(step, which, u),
        }
    }

    /// The peer of a flow sends something.
    fn segment(&mut self, step: u8, which: usize, u: &mut Unstructured<'_>) -> Result<()> {
        let now = self.rig.now;
        let flow = &mut self.flows[which];
        let (header, text_len) = match step {
            0 | 1 => (flow.natural(now), 0),
            2 => (flow.header(Flags::ACK | Flags::PSH, now), usize::from(u.arbitrary::<u8>()?)),
            3 => (flow.further(now), 1_400),
            4 => (flow.header(Flags::ACK | Flags::FIN, now), usize::from(u.arbitrary::<u8>()? & 1)),
            5 => {
                let again = flow.last();
                self.turn(Some(&again));
                return Ok(());
            }
            6 => (flow.reset(now), 0),
            7 => {
                let header = flow.header(Flags::RST, now);
                (Header { seq: header.seq + u32::from(u.arbitrary::<u16>()?), ..header }, 0)
            }
            8 => (flow.renewed(u, now)?, 0),
            9 => (flow.header(Flags::SYN | if u.arbitrary()? { Flags::ACK } else { Flags(0xc0) }, now), 0),
            10 => (flow.selective(u, now)?, 0),
            11 => (flow.stray(u, now)?, usize::from(u.arbitrary::<u8>()?)),
            12 => {
                let (ahead, len): (u8, u8) = (u.arbitrary()?, u.arbitrary()?);
                let header = flow.header(Flags::ACK, now);
                let fin = if len & 128 != 0 { Flags::FIN } else { Flags(0) };
                let header = Header { seq: header.seq + u32::from(ahead) * 64, flags: header.flags | fin, ..header };
                (header, usize::from(len & 127))
            }
            _ => {
                flow.wnd = [0, 1, 500, 0xffff][usize::from(u.arbitrary::<u8>()? & 3)];
                (flow.natural(now), 0)
            }
        };
        let marked = if header.flags.has(Flags::PSH) && text_len & 1 != 0 { 3 } else { 0 };
        let frame = flow.frame(&header, marked, text_len);
        self.turn(Some(&frame));
        // The acknowledgement of the SYN-ACK that the first of them has drawn.
        if step == 1 {
            let header = self.flows[which].natural(now);
            let frame = self.flows[which].frame(&header, 0, 0);
            self.turn(Some(&frame));
        }
        Ok(())
    }

    /// A frame that is no segment, or one that something befell.
    fn packet(&mut self, step: u8, which: usize, u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        let header = self.flows[which].natural(self.rig.now);
        let natural = super::heard::tcp_frame(&self.flows[which].heard.tuple, 0, &header, 0);
        match step {
            14 => damaged(natural, u),
            15 => fragment(natural, u),
            16 => tagged(natural, u),
            17 => {
                let len = u.int_in_range(0..=MTU.min(200))?;
                Ok(u.bytes(usize::from(len).min(u.len()))?.to_vec())
            }
            18 => arp(u),
            19 => neighbour_discovery(u),
            20 if which & 1 != 0 => misdirected(natural, &self.flows[which].heard.tuple, &header, u),
            20 => ping(u),
            _ => icmp_error(&self.last, u),
        }
    }

    /// A neighbour answers, or the host tells of it; the link changes; time passes.
    fn surroundings(&mut self, step: u8, which: usize, u: &mut Unstructured<'_>) -> Result<()> {
        match step {
            22 => {
                let addr = self.asked.take().unwrap_or(self.flows[which].heard.tuple.remote_addr);
                if which == 7 {
                    self.rig.change_mtu(MTU - 4 * u16::from(u.arbitrary::<u8>()?));
                } else if which & 1 != 0 {
                    self.rig.stack.on_neighbour(self.rig.now, addr, PEER_MAC);
                } else {
                    let frame = super::packets::answer(addr);
                    self.turn(Some(&frame));
                }
            }
            23 => self.rig.now = self.rig.now + Duration::from_millis(WAITS_MS[which]),
            _ => {
                let next = self.rig.stack.next_timeout(self.rig.now);
                self.rig.now = next.unwrap_or(self.rig.now).max(self.rig.now);
                self.room = if which & 1 != 0 { u.arbitrary::<u8>()?.into() } else { usize::MAX };
            }
        }
        self.turn(None);
        Ok(())
    }

    /// The application does something with one of its connections.
    fn application(&mut self, step: u8, which: usize, u: &mut Unstructured<'_>) -> Result<()> {
        let told = match step {
            25 | 26 => {
                let flow = &mut self.flows[FIRST_ACTIVE + which % (FLOWS - FIRST_ACTIVE)];
                flow.expect_connection();
                Call::Connect(flow.heard.tuple.remote())
            }
            27 => Call::Write(usize::from(u.arbitrary::<u8>()?) << which),
            28 => Call::Read(usize::from(u.arbitrary::<u8>()?) << which),
            29 if which & 1 != 0 => Call::Shutdown,
            29 => Call::Close,
            30 => Call::Turn,
            _ => {
                let (what, amount) = u.arbitrary::<(u8, u8)>()?;
                call(what, amount)
            }
        };
        self.rig.call(told);
        self.turn(None);
        Ok(())
    }
}
