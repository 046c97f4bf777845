//! Frames around TCP: ARP, neighbour discovery, pings, ICMP errors; and what may befall a frame on its way.

use super::heard::tcp_frame;
use super::rig::{MTU, OUR_MAC, OURS, OURS_V6, PEER, PEER_MAC, PEER_V6};
use arbitrary::{Result, Unstructured};
use handfast::wire::arp::{Arp, Operation};
use handfast::wire::checksum::Sum;
use handfast::wire::frame::{self, Ip, Link};
use handfast::wire::ndp::Advertisement;
use handfast::wire::tcp::Header;
use handfast::wire::{Addr, FourTuple, MacAddr, ethernet, ip, ipv4, ipv6};

/// One of the hosts that write to us, two of them on IPv6, one of them behind the gateway.
pub fn peer(which: u8) -> Addr {
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
pub fn datagram(src: Addr, mut message: Vec<u8>) -> Vec<u8> {
    let link = Link { src: PEER_MAC, dst: OUR_MAC, vlan: None };
    let mut frame = vec![0; 2048];
    message.truncate(usize::from(MTU) - 40);
    let (start, sum) = if src.is_v4() {
        let start = ethernet::emit(&mut frame, &link, ethernet::IPV4);
        let ip = Ip { src, dst: OURS, hop_limit: 64, traffic_class: 0 };
        (start + ipv4::emit(&mut frame[start..], &ip, ip::ICMP, message.len()), Sum::ZERO)
    } else {
        let start = ethernet::emit(&mut frame, &link, ethernet::IPV6);
        let ip = Ip { src, dst: OURS_V6, hop_limit: 255, traffic_class: 0 };
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

pub fn ping(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let (from, len): (u8, u8) = (u.arbitrary()?, u.arbitrary()?);
    let src = peer(from);
    let mut message = vec![if src.is_v4() { 8 } else { 128 }, 0, 0, 0, 0, 1, 0, 2];
    message.extend((0..len).map(|octet| octet ^ from));
    Ok(datagram(src, message))
}

pub fn arp(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
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

pub fn neighbour_discovery(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
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
pub fn damaged(mut frame: Vec<u8>, u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
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
pub fn fragment(mut frame: Vec<u8>, u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
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
pub fn tagged(mut frame: Vec<u8>, u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let [high, low] = u.arbitrary::<u16>()?.to_be_bytes();
    for _ in 0..u.int_in_range(1..=2u8)? {
        frame.splice(12..12, [0x81, 0, high, low]);
    }
    Ok(frame)
}

/// An error about the frame that the stack has sent last, from any host.
pub fn icmp_error(about: &[u8], u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let (from, kind, code, rest): (u8, u8, u8, u32) = (u.arbitrary()?, u.arbitrary()?, u.arbitrary()?, u.arbitrary()?);
    let quote = about.get(ethernet::HEADER_LEN..).unwrap_or(&[]);
    // All of it, unless it is to be cut off.
    let cut = usize::from(u.arbitrary::<u8>()? & 0x7f);
    let quote = &quote[..quote.len().saturating_sub(cut)];
    let v6 = quote.first().is_some_and(|first| first >> 4 == 6);
    let mut message = vec![if v6 { kind % 5 } else { kind % 13 }, code % 16, 0, 0];
    message.extend(rest.to_be_bytes());
    message.extend(quote);
    // From a host of the same family, so that the error can be believed.
    Ok(datagram(peer(if v6 { from | 4 } else { from & 3 }), message))
}

/// The answer to a question for `addr`: an ARP reply or a neighbour advertisement.
pub fn answer(addr: Addr) -> Vec<u8> {
    let link = Link { src: PEER_MAC, dst: OUR_MAC, vlan: None };
    let mut frame = vec![0; 128];
    let len = if addr.is_v4() {
        let (sender, target) = ((PEER_MAC, addr), (OUR_MAC, OURS));
        let arp = Arp {
            operation: Operation::Reply,
            sender_mac: sender.0,
            sender_addr: sender.1,
            target_mac: target.0,
            target_addr: target.1,
        };
        frame::emit_arp(&mut frame, &link, &arp)
    } else {
        let target_mac = Some(PEER_MAC);
        let told = Advertisement { target: addr, target_mac, router: false, solicited: true, override_known: true };
        frame::emit_neighbour_advertisement(&mut frame, &link, OURS_V6, &told)
    };
    frame.truncate(len);
    frame
}

/// The segment for another station, to another address, or from one that cannot be a source.
pub fn misdirected(
    mut frame: Vec<u8>,
    tuple: &FourTuple,
    header: &Header,
    u: &mut Unstructured<'_>,
) -> Result<Vec<u8>> {
    let v4 = tuple.local_addr.is_v4();
    let broadcast = if v4 { Addr::from_v4([10, 77, 0, 255]) } else { Addr::from_v6([0xff; 16]) };
    let stranger = if v4 { Addr::from_v4([10, 77, 0, 200]) } else { PEER_V6 };
    let astray = match u.arbitrary::<u8>()? & 7 {
        0 => FourTuple { local_addr: broadcast, ..*tuple },
        1 => FourTuple { local_addr: stranger, ..*tuple },
        2 => FourTuple { remote_addr: tuple.local_addr, ..*tuple },
        3 => FourTuple { remote_addr: broadcast, ..*tuple },
        4 => FourTuple { local_port: 9, ..*tuple },
        5 => FourTuple { remote_addr: if v4 { tuple.remote_addr } else { FAR_V6 }, ..*tuple },
        6 => {
            // Another protocol, or another EtherType.
            let at = if u.arbitrary()? {
                12
            } else if v4 {
                23
            } else {
                20
            };
            frame[at] = u.arbitrary()?;
            return Ok(frame);
        }
        _ => {
            frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
            return Ok(frame);
        }
    };
    Ok(tcp_frame(&astray, 0, header, 0))
}

/// A host that we have no way to: there is no gateway for IPv6.
const FAR_V6: Addr = Addr::from_v6([0x20, 1, 0xd, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
