//! What IPv4 and IPv6 have in common: the fields that the stack looks at, and which addresses may stand where.

use super::addr::Addr;
use crate::ledger::DropReason;

/// Protocol number of ICMP for IPv4.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;

/// The part of an IP header that the stack looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ip {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// DS field and ECN bits: IPv4's second octet, IPv6's traffic class (RFC 2474 §3, RFC 3168 §5).
    pub traffic_class: u8,
}

/// A differentiated services code point: six bits (RFC 2474 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dscp(u8);

impl Dscp {
    /// `None` above 63.
    pub const fn new(code_point: u8) -> Option<Dscp> {
        if code_point < 64 { Some(Dscp(code_point)) } else { None }
    }

    /// Where it stands in the traffic class; the ECN bits are zero.
    #[inline]
    pub const fn traffic_class(self) -> u8 {
        self.0 << 2
    }
}

/// A whole IP packet: no fragment, padding cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// Addresses and such.
    pub ip: Ip,
    /// What the payload is: [`TCP`], [`ICMP`], [`ICMPV6`] or something else.
    pub protocol: u8,
    /// What follows the header, options and extension headers.
    pub payload: &'a [u8],
}

/// Whether a packet on a wire may come from this address: not unspecified, loopback, multicast or broadcast
/// (RFC 1122 §3.2.1.3, RFC 4291 §2.5.2, §2.5.3, §2.7). Broadcast addresses of subnets are not known here.
#[inline(always)]
pub fn can_be_source(addr: &Addr) -> bool {
    match addr.is_v4() {
        true => !matches!(addr.octets()[12], 0 | 127) && !is_group_v4(addr),
        false => !is_low_v6(addr) && !is_group_v6(addr),
    }
}

/// Whether the address is multicast or the limited broadcast.
#[inline(always)]
pub fn is_group(addr: &Addr) -> bool {
    if addr.is_v4() { is_group_v4(addr) } else { is_group_v6(addr) }
}

/// Whether the address is loopback, which must not be seen on a wire.
#[inline(always)]
pub fn is_loopback(addr: &Addr) -> bool {
    if addr.is_v4() { addr.octets()[12] == 127 } else { u128::from_be_bytes(*addr.octets()) == 1 }
}

/// Checks both addresses of a packet that is for one host and from one host: everything but neighbour discovery.
///
/// # Errors
/// [`DropReason::Martian`] for a source that is none, for loopback, and when source and destination are the same (the
/// LAND attack); [`DropReason::GroupAddress`] for a destination that is multicast or the limited broadcast.
#[inline(always)]
pub fn check_addresses(ip: &Ip) -> Result<(), DropReason> {
    if !can_be_source(&ip.src) || is_loopback(&ip.dst) || ip.src == ip.dst {
        return Err(DropReason::Martian);
    }
    if is_group(&ip.dst) {
        return Err(DropReason::GroupAddress);
    }
    Ok(())
}

#[inline(always)]
fn is_group_v4(addr: &Addr) -> bool {
    addr.octets()[12] & 0xf0 == 0xe0 || addr.last_word() == u32::MAX
}

#[inline(always)]
fn is_group_v6(addr: &Addr) -> bool {
    addr.octets()[0] == 0xff
}

/// `::` or `::1`.
#[inline(always)]
fn is_low_v6(addr: &Addr) -> bool {
    u128::from_be_bytes(*addr.octets()) <= 1
}
