//! Whole frames: what came in, and what goes out.

mod emit;
#[cfg(test)]
mod tests;

pub use super::ethernet::Link;
pub use super::ip::Ip;
pub use emit::{
    Envelope, TxChecksum, answer_echo, emit_arp, emit_neighbour_advertisement, emit_neighbour_solicitation, emit_tcp,
    find_tcp,
};

use super::addr::{Addr, FourTuple, MacAddr};
use super::checksum::Sum;
use super::ip::Packet;
use super::{arp, ethernet, icmp, icmpv6, ip, ipv4, ipv6, ndp, tcp};
use crate::ledger::DropReason;

/// A frame that is of use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Incoming<'a> {
    /// A TCP segment.
    Tcp {
        /// Stations.
        link: Link,
        /// Addresses.
        ip: Ip,
        /// From our view: local is the destination.
        tuple: FourTuple,
        /// Header and text.
        segment: tcp::Segment<'a>,
    },
    /// No TCP.
    Other(Other),
}

/// A frame that is of use and no TCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Other {
    /// An ARP packet.
    Arp {
        /// Stations.
        link: Link,
        /// The packet.
        arp: arp::Arp,
    },
    /// An echo request of either family, to be answered by [`answer_echo`].
    EchoRequest {
        /// Stations.
        link: Link,
        /// Addresses.
        ip: Ip,
    },
    /// An ICMP error of either family about a TCP segment.
    IcmpError {
        /// Stations.
        link: Link,
        /// Addresses: the source is whoever noticed the error.
        ip: Ip,
        /// What it says.
        error: icmp::Error,
    },
    /// A neighbour solicitation or advertisement.
    Ndp {
        /// Stations.
        link: Link,
        /// Addresses; the source may be unspecified, the destination a group.
        ip: Ip,
        /// What it says.
        message: ndp::Message,
    },
}

/// Whether the checksums of TCP, ICMP and ICMPv6 are checked. The one of the IPv4 header always is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VerifyChecksum {
    /// Check each.
    Yes,
    /// Something below is trusted to have done so.
    No,
}

/// A TCP segment with what carried it: [`Incoming::Tcp`] on its own, its addresses not judged yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Carried<'a> {
    /// Stations.
    pub link: Link,
    /// From our view: local is the destination.
    pub tuple: FourTuple,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// DS field and ECN bits (RFC 3168 §5).
    pub traffic_class: u8,
    /// Header and text.
    pub segment: tcp::Segment<'a>,
}

impl<'a> Carried<'a> {
    /// None yet.
    // No constant: so large a one is copied, which takes as long as reading the headers.
    #[inline(always)]
    pub fn none() -> Carried<'static> {
        let link = Link { src: MacAddr([0; 6]), dst: MacAddr([0; 6]), vlan: None };
        let nobody = Addr::from_v6([0; 16]);
        let tuple = FourTuple { local_addr: nobody, remote_addr: nobody, local_port: 0, remote_port: 0 };
        Carried { link, tuple, hop_limit: 0, traffic_class: 0, segment: tcp::Segment::empty() }
    }

    /// Its addresses, and what else is known of its packet.
    pub fn ip(&self) -> Ip {
        let FourTuple { local_addr: dst, remote_addr: src, .. } = self.tuple;
        Ip { src, dst, hop_limit: self.hop_limit, traffic_class: self.traffic_class }
    }

    /// Judges its addresses, as [`parse`] does.
    ///
    /// # Errors
    /// [`DropReason::Martian`], [`DropReason::GroupAddress`].
    pub fn judge(&self) -> Result<(), DropReason> {
        check_one_to_one(&self.link, &self.ip())
    }
}

/// Takes a frame apart.
///
/// What it says of addresses holds without knowing ours: a source that can be none is refused, and so is a destination
/// that is a group or broadcast, at the link as well, except for ARP and neighbour discovery. Whether the destination is
/// ours, and the broadcast addresses of our subnets, are the stack's to check.
///
/// # Errors
/// The reason to drop the frame.
pub fn parse(frame: &[u8], verify: VerifyChecksum) -> Result<Incoming<'_>, DropReason> {
    let mut carried = Carried::none();
    if read_tcp(frame, verify, &mut carried)? == Content::Other {
        return parse_other(frame, verify).map(Incoming::Other);
    }
    carried.judge()?;
    Ok(Incoming::Tcp { link: carried.link, ip: carried.ip(), tuple: carried.tuple, segment: carried.segment })
}

/// What is in a frame.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// A TCP segment.
    Tcp,
    /// Something else.
    Other,
}

/// The first half of [`parse`]: a TCP segment, which nearly every frame is, without a judgement of its addresses, which
/// need none when the flow is known. What is [`Content::Other`] is for [`parse_other`].
///
/// It is read to where it is to stand, into what was [`Carried::none`]: moving it costs more than reading it, as a wide
/// load of what was just stored in pieces waits until all of them have left for the cache.
///
/// # Errors
/// As [`parse`].
#[inline(always)]
pub fn read_tcp<'a>(frame: &'a [u8], verify: VerifyChecksum, carried: &mut Carried<'a>) -> Result<Content, DropReason> {
    let (ether_type, packet) = ethernet::parse(frame, &mut carried.link)?;
    match ether_type {
        ethernet::IPV4 => read_segment(&ipv4::parse(packet)?, verify, carried),
        ethernet::IPV6 => read_segment_v6(packet, verify, carried),
        _ => Ok(Content::Other),
    }
}

/// Apart: what the families have in common would go by way of memory if they met before the end.
#[inline(never)]
fn read_segment_v6<'a>(
    packet: &'a [u8],
    verify: VerifyChecksum,
    carried: &mut Carried<'a>,
) -> Result<Content, DropReason> {
    read_segment(&ipv6::parse(packet)?, verify, carried)
}

#[inline(always)]
fn read_segment<'a>(
    packet: &Packet<'a>,
    verify: VerifyChecksum,
    carried: &mut Carried<'a>,
) -> Result<Content, DropReason> {
    if packet.protocol != ip::TCP {
        return Ok(Content::Other);
    }
    let &Packet { ip: Ip { src, dst, hop_limit, traffic_class }, payload, .. } = packet;
    if payload.len() < tcp::HEADER_LEN {
        return Err(DropReason::TcpHeader);
    }
    if verify == VerifyChecksum::Yes {
        let sum = Sum::ZERO.pseudo_header(&src, &dst, ip::TCP, payload.len());
        if !sum.octets(payload).is_intact() {
            return Err(DropReason::TcpChecksum);
        }
    }
    (carried.hop_limit, carried.traffic_class) = (hop_limit, traffic_class);
    (carried.tuple.local_addr, carried.tuple.remote_addr) = (dst, src);
    (carried.tuple.remote_port, carried.tuple.local_port) = tcp::read(payload, &mut carried.segment)?;
    Ok(Content::Tcp)
}

/// The tuple of a frame as nearly all are (no VLAN tag, IPv4 without options, TCP), unchecked: whose it seems to be.
#[inline]
pub fn glance(frame: &[u8]) -> Option<FourTuple> {
    let (ethernet, packet) = frame.split_first_chunk::<{ ethernet::HEADER_LEN }>()?;
    let (ip, ports) = packet.split_first_chunk::<{ ipv4::HEADER_LEN }>()?;
    if ethernet[12..] != ethernet::IPV4.to_be_bytes() || (ip[0], ip[9]) != (0x45, ip::TCP) {
        return None;
    }
    let &[p0, p1, p2, p3] = ports.first_chunk()?;
    let &[.., s0, s1, s2, s3, d0, d1, d2, d3] = ip;
    Some(FourTuple {
        local_addr: Addr::from_v4([d0, d1, d2, d3]),
        remote_addr: Addr::from_v4([s0, s1, s2, s3]),
        local_port: u16::from_be_bytes([p2, p3]),
        remote_port: u16::from_be_bytes([p0, p1]),
    })
}

/// The second half of [`parse`]: what is no TCP.
///
/// # Errors
/// As [`parse`]; [`DropReason::Protocol`] for TCP.
#[inline(never)]
pub fn parse_other(frame: &[u8], verify: VerifyChecksum) -> Result<Other, DropReason> {
    let mut link = Link::default();
    let (ether_type, packet) = ethernet::parse(frame, &mut link)?;
    if link.src.is_group() {
        return Err(DropReason::Martian);
    }
    match ether_type {
        ethernet::IPV4 => from_ip(link, &ipv4::parse(packet)?, verify),
        ethernet::IPV6 => from_ip(link, &ipv6::parse(packet)?, verify),
        ethernet::ARP => Ok(Other::Arp { link, arp: arp::parse(packet)? }),
        _ => Err(DropReason::EtherType),
    }
}

fn from_ip(link: Link, packet: &Packet<'_>, verify: VerifyChecksum) -> Result<Other, DropReason> {
    match (packet.protocol, packet.ip.src.is_v4()) {
        (ip::ICMP, true) | (ip::ICMPV6, false) => from_icmp(link, packet, verify),
        _ => Err(DropReason::Protocol),
    }
}

#[inline(never)]
fn from_icmp(link: Link, packet: &Packet<'_>, verify: VerifyChecksum) -> Result<Other, DropReason> {
    let (ip, verify) = (packet.ip, verify == VerifyChecksum::Yes);
    let message = if packet.protocol == ip::ICMPV6 {
        icmpv6::parse(packet, verify)?
    } else {
        match icmp::parse(packet, verify)? {
            icmp::Message::EchoRequest => icmpv6::Message::EchoRequest,
            icmp::Message::Error(error) => icmpv6::Message::Error(error),
        }
    };
    // Neighbour discovery lives on groups, and has checked its addresses by rules of its own.
    if let icmpv6::Message::Ndp(message) = message {
        return Ok(Other::Ndp { link, ip, message });
    }
    check_one_to_one(&link, &ip)?;
    Ok(match message {
        icmpv6::Message::Error(error) => Other::IcmpError { link, ip, error },
        _ => Other::EchoRequest { link, ip },
    })
}

/// From one station to one station, at both layers (RFC 1122 §3.3.6 for a broadcast at the link alone).
#[inline]
fn check_one_to_one(link: &Link, ip: &Ip) -> Result<(), DropReason> {
    if link.src.is_group() {
        return Err(DropReason::Martian);
    }
    ip::check_addresses(ip)?;
    if link.dst.is_group() { Err(DropReason::GroupAddress) } else { Ok(()) }
}
