//! Frames that go out.

use super::{Ip, Link};
use crate::wire::addr::{Addr, FourTuple, MacAddr};
use crate::wire::checksum::{self, Sum};
use crate::wire::ip::Packet;
use crate::wire::{arp, ethernet, icmp, icmpv6, ip, ipv4, ipv6, ndp, tcp};

/// Who finishes the TCP checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TxChecksum {
    /// We do.
    #[default]
    Full,
    /// Whoever the frame is given to: the field holds the sum of the pseudo header, not complemented.
    PseudoHeaderOnly,
}

/// Everything of a TCP frame that stays the same from segment to segment of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// Stations: `src` is ours.
    pub link: Link,
    /// From our view: local becomes the source.
    pub tuple: FourTuple,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// DS field and ECN bits.
    pub traffic_class: u8,
    /// Who finishes the checksum.
    pub checksum: TxChecksum,
}

/// Writes a frame with Ethernet, IP and TCP headers; `fill` writes the text to its place, `text_len` octets. Says the
/// length of the frame.
///
/// # Panics
/// If `buf` is too short; 14 + 4 + 40 + 60 + `text_len` octets always do. If the IP packet would be longer than 65,535
/// octets.
#[inline]
pub fn emit_tcp(
    buf: &mut [u8],
    envelope: &Envelope,
    header: &tcp::Header,
    text_len: usize,
    fill: impl FnOnce(&mut [u8]),
) -> usize {
    let Envelope { link, tuple, hop_limit, traffic_class, checksum } = envelope;
    let ip = Ip { src: tuple.local_addr, dst: tuple.remote_addr, hop_limit: *hop_limit, traffic_class: *traffic_class };
    let header_len = tcp::HEADER_LEN + header.options.encoded_len();
    let tcp_len = header_len + text_len;
    let (start, pseudo_sum) = emit_ip(buf, link, &ip, ip::TCP, tcp_len);
    let (head, text) = buf[start..start + tcp_len].split_at_mut(header_len);
    if text_len > 0 {
        fill(text);
    }
    let field = |header_sum| match checksum {
        TxChecksum::Full => pseudo_sum.plus(header_sum).octets(text).checksum(),
        TxChecksum::PseudoHeaderOnly => pseudo_sum.folded(),
    };
    tcp::emit(head, tuple.local_port, tuple.remote_port, header, field);
    start + tcp_len
}

/// Where the TCP header begins in a frame as [`emit_tcp`] writes them; `None` in others. Whoever finishes a checksum sums
/// from there on.
pub fn find_tcp(frame: &[u8]) -> Option<usize> {
    let ether_type = |at: usize| frame.get(at..at + 2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    let (ip, ether_type) = match ether_type(ethernet::HEADER_LEN - 2)? {
        ethernet::VLAN => {
            let ip = ethernet::HEADER_LEN + ethernet::VLAN_TAG_LEN;
            (ip, ether_type(ip - 2)?)
        }
        untagged => (ethernet::HEADER_LEN, untagged),
    };
    let (protocol, start) = match ether_type {
        ethernet::IPV4 => (frame.get(ip + 9)?, ip + ipv4::HEADER_LEN),
        ethernet::IPV6 => (frame.get(ip + 6)?, ip + ipv6::HEADER_LEN),
        _ => return None,
    };
    (*protocol == ip::TCP).then_some(start)
}

/// Writes an ARP frame; says its length (42, or 46 with a VLAN tag; padding to Ethernet's minimum is the NIC's).
///
/// # Panics
/// If `buf` is shorter than that.
pub fn emit_arp(buf: &mut [u8], link: &Link, arp: &arp::Arp) -> usize {
    let start = ethernet::emit(buf, link, ethernet::ARP);
    start + arp::emit(&mut buf[start..], arp)
}

/// Writes a neighbour solicitation for `target` to its solicited-node group; says its length, at most 86. With an
/// unspecified `source` it is one for duplicate address detection, which names no Ethernet address (RFC 4862 §5.4.2).
///
/// # Panics
/// If `buf` is shorter than that.
pub fn emit_neighbour_solicitation(buf: &mut [u8], link_src: MacAddr, source: Addr, target: Addr) -> usize {
    let dst = ndp::solicited_node(&target);
    let link = Link { src: link_src, dst: ndp::group_mac(&dst), vlan: None };
    let source_mac = (*source.octets() != [0; 16]).then_some(link_src);
    let message = ndp::Message::Solicitation(ndp::Solicitation { target, source_mac });
    emit_ndp(buf, &link, source, dst, &message)
}

/// Writes a neighbour advertisement, from the address that it tells about to `destination`; says its length, at most
/// 90. [`ndp::Solicitation::answer`] makes one from a question; with [`ndp::ALL_NODES`] as the destination, the link's
/// destination has to be [`ndp::group_mac`] of it.
///
/// # Panics
/// If `buf` is shorter than that.
pub fn emit_neighbour_advertisement(
    buf: &mut [u8],
    link: &Link,
    destination: Addr,
    advertisement: &ndp::Advertisement,
) -> usize {
    let message = ndp::Message::Advertisement(*advertisement);
    emit_ndp(buf, link, advertisement.target, destination, &message)
}

/// Turns a frame for which [`parse`](super::parse) said `EchoRequest` into its reply, in place: addresses are swapped,
/// type, hop limit and checksum changed (RFC 1122 §3.2.1.7 leaves the TTL to us); options and extension headers are left out. Says the reply's length; 0 when
/// the frame is no echo request, which leaves it as it was.
pub fn answer_echo(frame: &mut [u8], our_mac: MacAddr, hop_limit: u8) -> usize {
    let Some((link, ip, protocol, range)) = find_echo(frame) else {
        return 0;
    };
    let reply_link = link.reply(our_mac);
    let reply_ip = Ip { src: ip.dst, dst: ip.src, hop_limit, traffic_class: 0 };
    // Behind the shortest header; a no-op unless there were options.
    let start = link.header_len() + if protocol == ip::ICMP { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN };
    let len = range.len();
    frame.copy_within(range, start);
    emit_ip(frame, &reply_link, &reply_ip, protocol, len);
    let reply = if protocol == ip::ICMP { icmp::ECHO_REPLY } else { icmpv6::ECHO_REPLY };
    let [kind, code, c0, c1, ..] = &mut frame[start..] else {
        return 0;
    };
    // Swapping the addresses leaves the pseudo header's sum alone.
    let old = u16::from_be_bytes([*kind, *code]);
    let new = u16::from_be_bytes([reply, *code]);
    // Where all the rest is zero, zero is no right checksum; its other form in one's complement always is (RFC 1624 §3).
    let checksum = match checksum::update(u16::from_be_bytes([*c0, *c1]), old, new) {
        0 => u16::MAX,
        checksum => checksum,
    };
    [*c0, *c1] = checksum.to_be_bytes();
    *kind = reply;
    start + len
}

/// Where in the frame an echo request's ICMP message lies.
fn find_echo(frame: &[u8]) -> Option<(Link, Ip, u8, std::ops::Range<usize>)> {
    let mut link = Link::default();
    let (ether_type, packet) = ethernet::parse(frame, &mut link).ok()?;
    let Packet { ip, protocol, payload } = match ether_type {
        ethernet::IPV4 => ipv4::parse(packet).ok()?,
        ethernet::IPV6 => ipv6::parse(packet).ok()?,
        _ => return None,
    };
    match (protocol, payload.first()?) {
        (ip::ICMP, &icmp::ECHO_REQUEST) if ip.src.is_v4() => {}
        (ip::ICMPV6, &icmpv6::ECHO_REQUEST) if !ip.src.is_v4() => {}
        _ => return None,
    }
    if payload.len() < icmp::HEADER_LEN {
        return None;
    }
    let start = payload.as_ptr() as usize - frame.as_ptr() as usize;
    Some((link, ip, protocol, start..start + payload.len()))
}

fn emit_ndp(buf: &mut [u8], link: &Link, src: Addr, dst: Addr, message: &ndp::Message) -> usize {
    let ip = Ip { src, dst, hop_limit: ndp::HOP_LIMIT, traffic_class: 0 };
    let start = link.header_len() + ipv6::HEADER_LEN;
    let len = ndp::emit(&mut buf[start..], message);
    emit_ip(buf, link, &ip, ip::ICMPV6, len);
    let payload = &buf[start..start + len];
    let checksum = icmpv6::sum(&Packet { ip, protocol: ip::ICMPV6, payload }).checksum();
    buf[start + 2..start + 4].copy_from_slice(&checksum.to_be_bytes());
    start + len
}

/// Writes Ethernet and IP headers, of the family that the source has; says where the payload begins, and the sum of its
/// pseudo header.
#[inline(always)]
fn emit_ip(buf: &mut [u8], link: &Link, ip: &Ip, protocol: u8, payload_len: usize) -> (usize, Sum) {
    let sum = || Sum::ZERO.pseudo_header(&ip.src, &ip.dst, protocol, payload_len);
    if ip.src.is_v4() {
        let start = ethernet::emit(buf, link, ethernet::IPV4);
        (start + ipv4::emit(&mut buf[start..], ip, protocol, payload_len), sum())
    } else {
        let start = ethernet::emit(buf, link, ethernet::IPV6);
        (start + ipv6::emit(&mut buf[start..], ip, protocol, payload_len), sum())
    }
}
