//! A whole stack that is fed any frames among valid ones: handshakes, text, ARP, neighbour discovery, pings, ICMP errors,
//! fragments, tags; with pools so small that they fill.

use super::connection::call;
use super::rig::{Heard, MTU, OUR_MAC, OURS, OURS_V6, PEER, PEER_MAC, PEER_V6, Rig, config, tcp_frame};
use arbitrary::{Result, Unstructured};
use handfast::stack::TcpConfig;
use handfast::time::{Duration, Instant};
use handfast::wire::arp::{Arp, Operation};
use handfast::wire::checksum::Sum;
use handfast::wire::frame::{self, Ip, Link};
use handfast::wire::ndp::Advertisement;
use handfast::wire::tcp::{Flags, Header, Options, Timestamps};
use handfast::wire::{Addr, FourTuple, MacAddr, SeqNum, ethernet, ip, ipv4, ipv6};

const STEPS: usize = 400;
const FLAGS: [Flags; 8] =
    [Flags::SYN, Flags::ACK, Flags(0x18), Flags(0x11), Flags(0x12), Flags::RST, Flags(0x14), Flags(0xc2)];

/// Runs one input.
pub fn run(input: &[u8]) {
    let _ = play(&mut Unstructured::new(input));
}

fn play(u: &mut Unstructured<'_>) -> Result<()> {
    let start = Instant::from_millis((1 << 32) - 2_000);
    let mut fed = Fed { rig: Rig::new(config(TcpConfig::default()), start), flows: Vec::new(), last: Vec::new() };
    for _ in 0..STEPS {
        if u.is_empty() {
            break;
        }
        fed.step(u)?;
    }
    fed.rig.wind_down();
    Ok(())
}

struct Fed {
    rig: Rig,
    flows: Vec<Heard>,
    /// The frame that the stack sent last.
    last: Vec<u8>,
}

impl Fed {
    fn turn(&mut self, frame: Option<&[u8]>) {
        for sent in self.rig.turn(frame, usize::MAX) {
            for flow in &mut self.flows {
                flow.note(&sent);
            }
            self.last = sent;
        }
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let what: u8 = u.arbitrary()?;
        let frame = match what & 15 {
            0 => {
                let len = u.int_in_range(0..=200usize)?;
                u.bytes(len.min(u.len()))?.to_vec()
            }
            1..=4 => self.segment(what >> 4, u)?,
            5 => damaged(self.segment(what >> 4, u)?, u)?,
            6 => fragment(self.segment(what >> 4, u)?, u)?,
            7 => tagged(self.segment(what >> 4, u)?, u)?,
            8 => arp(u)?,
            9 => neighbour_discovery(u)?,
            10 => ping(u)?,
            11 => self.icmp_error(u)?,
            12 => {
                let steps = 1u64 << (what >> 4);
                self.rig.now = self.rig.now + Duration::from_millis(steps * steps);
                self.turn(None);
                return Ok(());
            }
            13 => {
                let (mac, addr) = (MacAddr(u.arbitrary()?), peer(u.arbitrary()?));
                self.rig.stack.on_neighbour(self.rig.now, addr, mac);
                self.turn(None);
                return Ok(());
            }
            _ => {
                self.rig.call(call(what >> 4, u.arbitrary()?));
                self.turn(None);
                return Ok(());
            }
        };
        self.turn(Some(&frame));
        Ok(())
    }

    /// A segment of one of a few flows, with the numbers that the stack expects there.
    fn segment(&mut self, kind: u8, u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        let (which, text): (u8, u8) = (u.arbitrary()?, u.arbitrary()?);
        let flags = FLAGS[usize::from(kind & 7)];
        let heard = *self.flow(which);
        let isn = SeqNum(0xffff_ff00).0.wrapping_add(u32::from(which) << 4);
        let seq = if flags.has(Flags::SYN) { SeqNum(isn) } else { heard.ack };
        let tsval = self.rig.now.as_millis() as u32;
        let options = Options {
            mss: flags.has(Flags::SYN).then_some(1460),
            sack_permitted: flags.has(Flags::SYN),
            timestamps: (which & 128 == 0).then_some(Timestamps { tsval, tsecr: heard.tsval }),
            ..Options::default()
        };
        let header = Header { seq, ack: heard.nxt, flags, wnd: 8_000, urgent: 0, options };
        Ok(tcp_frame(&heard.tuple, 0, &header, usize::from(text)))
    }

    fn flow(&mut self, which: u8) -> &Heard {
        let remote_addr = peer(which & 7);
        let local_addr = if remote_addr.is_v4() { OURS } else { OURS_V6 };
        let local_port =
            if which & 0x40 != 0 { 50_000 + u16::from(which >> 4 & 3) } else { 7 + u16::from(which >> 5 & 1) };
        let remote_port = 40_000 - u16::from(which >> 3 & 1);
        let tuple = FourTuple { local_addr, remote_addr, local_port, remote_port };
        let at = self.flows.iter().position(|flow| flow.tuple == tuple).unwrap_or_else(|| {
            self.flows.push(Heard::nothing(tuple, SeqNum(1)));
            self.flows.len() - 1
        });
        &self.flows[at]
    }

    /// An error about what the stack sent last, from any host.
    fn icmp_error(&self, u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        let (from, kind, code, rest): (u8, u8, u8, u32) =
            (u.arbitrary()?, u.arbitrary()?, u.arbitrary()?, u.arbitrary()?);
        let quote = self.last.get(ethernet::HEADER_LEN..).unwrap_or(&[]);
        let quote = &quote[..quote.len().min(usize::from(u.arbitrary::<u8>()?))];
        let mut message = vec![kind % 13, code, 0, 0];
        message.extend(rest.to_be_bytes());
        message.extend(quote);
        Ok(datagram(peer(from), message))
    }
}

/// One of the hosts that write to us, two of them on IPv6, one of them behind the gateway.
fn peer(which: u8) -> Addr {
    match which & 7 {
        0 | 1 => PEER,
        2 => Addr::from_v4([10, 77, 0, 3]),
        3 => Addr::from_v4([192, 0, 2, 9]),
        4 | 5 => PEER_V6,
        6 => Addr::from_v4([10, 77, 0, which]),
        _ => Addr::from_v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, which | 8]),
    }
}

/// An ICMP message with its checksum put right, from there to us.
fn datagram(src: Addr, mut message: Vec<u8>) -> Vec<u8> {
    let link = Link { src: PEER_MAC, dst: OUR_MAC, vlan: None };
    let mut frame = vec![0; 2048];
    message.truncate(usize::from(MTU) - 40);
    let (start, sum) = if src.is_v4() {
        let start = ethernet::emit(&mut frame, &link, ethernet::IPV4);
        let ip = Ip { src, dst: OURS, hop_limit: 64, ecn: 0 };
        (start + ipv4::emit(&mut frame[start..], &ip, ip::ICMP, message.len()), Sum::ZERO)
    } else {
        let start = ethernet::emit(&mut frame, &link, ethernet::IPV6);
        let ip = Ip { src, dst: OURS_V6, hop_limit: 255, ecn: 0 };
        let sum = Sum::ZERO.pseudo_header(&src, &OURS_V6, ip::ICMPV6, message.len());
        (start + ipv6::emit(&mut frame[start..], &ip, ip::ICMPV6, message.len()), sum)
    };
    message[2..4].fill(0);
    let checksum = sum.octets(&message).checksum();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    frame[start..start + message.len()].copy_from_slice(&message);
    frame.truncate(start + message.len());
    frame
}

fn ping(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let (from, len): (u8, u8) = (u.arbitrary()?, u.arbitrary()?);
    let src = peer(from);
    let mut message = vec![if src.is_v4() { 8 } else { 128 }, 0, 0, 0, 0, 1, 0, 2];
    message.extend((0..len).map(|octet| octet ^ from));
    Ok(datagram(src, message))
}

fn arp(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let (how, last): (u8, u8) = (u.arbitrary()?, u.arbitrary()?);
    let operation = if how & 1 != 0 { Operation::Reply } else { Operation::Request };
    let sender_addr = if how & 2 != 0 { Addr::from_v4([10, 77, 0, last]) } else { PEER };
    let target_addr = if how & 4 != 0 { Addr::from_v4([10, 77, 0, last ^ 1]) } else { OURS };
    let sender_mac = if how & 8 != 0 { MacAddr([2, 0, 0, 0, 1, last]) } else { PEER_MAC };
    let dst = if how & 16 != 0 { MacAddr::BROADCAST } else { OUR_MAC };
    let link = Link { src: sender_mac, dst, vlan: (how & 32 != 0).then_some(100) };
    let mut frame = vec![0; 64];
    let arp = Arp { operation, sender_mac, sender_addr, target_mac: OUR_MAC, target_addr };
    let len = frame::emit_arp(&mut frame, &link, &arp);
    frame.truncate(len);
    Ok(frame)
}

fn neighbour_discovery(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let how: u8 = u.arbitrary()?;
    let mut frame = vec![0; 128];
    let len = if how & 1 != 0 {
        let link = Link { src: PEER_MAC, dst: OUR_MAC, vlan: None };
        let (target, target_mac) = (peer(4 | how >> 5), Some(PEER_MAC).filter(|_| how & 2 != 0));
        let (router, solicited) = (how & 4 != 0, how & 8 != 0);
        let advertisement = Advertisement { target, target_mac, router, solicited, override_known: how & 16 != 0 };
        frame::emit_neighbour_advertisement(&mut frame, &link, OURS_V6, &advertisement)
    } else {
        let source = if how & 2 != 0 { Addr::from_v6([0; 16]) } else { peer(4 | how >> 5) };
        let target = if how & 4 != 0 { PEER_V6 } else { OURS_V6 };
        frame::emit_neighbour_solicitation(&mut frame, PEER_MAC, source, target)
    };
    frame.truncate(len);
    Ok(frame)
}

/// The frame with some octets changed, and perhaps cut off.
fn damaged(mut frame: Vec<u8>, u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    for _ in 0..u.int_in_range(1..=4u8)? {
        let at = usize::from(u.arbitrary::<u8>()?) % frame.len();
        frame[at] ^= u.arbitrary::<u8>()?;
    }
    let cut = usize::from(u.arbitrary::<u8>()?);
    if cut > 128 {
        frame.truncate(frame.len().saturating_sub(cut - 128));
    }
    Ok(frame)
}

/// The frame as a fragment: by flags and offset on IPv4, with a header of its own on IPv6.
fn fragment(mut frame: Vec<u8>, u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let field: u16 = u.arbitrary()?;
    if frame[12..14] == ethernet::IPV4.to_be_bytes() {
        frame[20..22].copy_from_slice(&field.to_be_bytes());
        frame[24..26].fill(0);
        let checksum = Sum::ZERO.octets(&frame[14..34]).checksum();
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    } else {
        let [high, low] = field.to_be_bytes();
        let header = [frame[20], 0, high, low, 0, 0, 0, 1];
        frame[20] = 44;
        let len = u16::from_be_bytes([frame[18], frame[19]]) + 8;
        frame[18..20].copy_from_slice(&len.to_be_bytes());
        frame.splice(54..54, header);
    }
    Ok(frame)
}

/// The frame with a VLAN tag, or two.
fn tagged(mut frame: Vec<u8>, u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let [high, low] = u.arbitrary::<u16>()?.to_be_bytes();
    for _ in 0..u.int_in_range(1..=2u8)? {
        frame.splice(12..12, [0x81, 0, high, low]);
    }
    Ok(frame)
}
