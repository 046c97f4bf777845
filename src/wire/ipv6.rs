//! The IPv6 header and the extension headers that a host may skip, RFC 8200.

use super::addr::Addr;
use super::ip::{Ip, Packet};
use crate::ledger::DropReason;
use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Octets of the header.
pub const HEADER_LEN: usize = 40;

/// Extension headers followed in one packet, and options read in one of them (RFC 8504 §5.3 allows such limits).
const MAX_EXTENSION_HEADERS: usize = 4;
const MAX_OPTIONS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Layout {
    version_class_flow: U32,
    payload_len: U16,
    next_header: u8,
    hop_limit: u8,
    src: [u8; 16],
    dst: [u8; 16],
}

const _: () = assert!(size_of::<Layout>() == HEADER_LEN);

impl Layout {
    /// The fields for the stack. None when an address is IPv4-mapped: such must not be on a wire, and would be taken
    /// for IPv4 by everything above.
    #[inline]
    fn ip(&self) -> Option<Ip> {
        let (src, dst) = (Addr::from_v6(self.src), Addr::from_v6(self.dst));
        let traffic_class = (self.version_class_flow.get() >> 20) as u8;
        (!src.is_v4() && !dst.is_v4()).then_some(Ip { src, dst, hop_limit: self.hop_limit, traffic_class })
    }
}

/// Reads a header, skips extension headers, and cuts off what lies behind the payload length.
///
/// # Errors
/// [`DropReason::Truncated`], [`DropReason::Ipv6Header`], [`DropReason::Fragment`], and [`DropReason::Martian`] for
/// IPv4-mapped addresses.
#[inline(always)]
pub fn parse(packet: &[u8]) -> Result<Packet<'_>, DropReason> {
    let (h, rest) = Layout::ref_from_prefix(packet).map_err(|_| DropReason::Truncated)?;
    if h.version_class_flow.get() >> 28 != 6 {
        return Err(DropReason::Ipv6Header);
    }
    let rest = rest.get(..usize::from(h.payload_len.get())).ok_or(DropReason::Truncated)?;
    let ip = h.ip().ok_or(DropReason::Martian)?;
    let (protocol, payload) = match h.next_header {
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS => skip_extensions(h.next_header, rest)?,
        protocol => (protocol, rest),
    };
    Ok(Packet { ip, protocol, payload })
}

/// As [`parse`], for a packet that an ICMP error quotes: cut short, and never with extension headers, as we send none.
pub(super) fn parse_quoted(quote: &[u8]) -> Option<Packet<'_>> {
    let (h, payload) = Layout::ref_from_prefix(quote).ok()?;
    if h.version_class_flow.get() >> 28 != 6 {
        return None;
    }
    Some(Packet { ip: h.ip()?, protocol: h.next_header, payload })
}

/// Writes a header for `payload_len` octets; says its length. The flow label is zero (RFC 6437 §3 allows it).
///
/// # Panics
/// If `buf` is shorter than [`HEADER_LEN`], or the payload longer than 65,535 octets.
#[inline]
pub fn emit(buf: &mut [u8], ip: &Ip, protocol: u8, payload_len: usize) -> usize {
    let header = Layout {
        version_class_flow: (6 << 28 | u32::from(ip.traffic_class) << 20).into(),
        payload_len: u16::try_from(payload_len).expect("an IPv6 payload is at most 65,535 octets").into(),
        next_header: protocol,
        hop_limit: ip.hop_limit,
        src: *ip.src.octets(),
        dst: *ip.dst.octets(),
    };
    buf[..HEADER_LEN].copy_from_slice(header.as_bytes());
    HEADER_LEN
}

/// Walks the extension headers; says the protocol that they lead to, and its octets.
fn skip_extensions(first: u8, packet: &[u8]) -> Result<(u8, &[u8]), DropReason> {
    let (mut next, mut rest) = (first, packet);
    for position in 0..MAX_EXTENSION_HEADERS {
        match next {
            FRAGMENT => {
                (next, rest) = unwrap_atomic(rest)?;
                continue;
            }
            // Only directly behind the IPv6 header, RFC 8200 §4.1.
            HOP_BY_HOP if position > 0 => return Err(DropReason::Ipv6Header),
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {}
            protocol => return Ok((protocol, rest)),
        }
        let &[following, len, ..] = rest else {
            return Err(DropReason::Ipv6Header);
        };
        let (header, behind) = rest.split_at_checked((usize::from(len) + 1) * 8).ok_or(DropReason::Ipv6Header)?;
        let acceptable = match next {
            // With segments left we would have to forward it, RFC 8200 §4.4.
            ROUTING => header[3] == 0,
            _ => options_can_be_skipped(&header[2..]),
        };
        if !acceptable {
            return Err(DropReason::Ipv6Header);
        }
        (next, rest) = (following, behind);
    }
    match next {
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS => Err(DropReason::Ipv6Header),
        protocol => Ok((protocol, rest)),
    }
}

/// Takes the fragment header off a packet that is its own only fragment: it is a whole one (RFC 6946 §4, RFC 8200 §4.5).
/// All others are dropped.
fn unwrap_atomic(packet: &[u8]) -> Result<(u8, &[u8]), DropReason> {
    let Some((&[following, _, offset, flags, ..], behind)) = packet.split_first_chunk::<8>() else {
        return Err(DropReason::Ipv6Header);
    };
    // Between the offset and "more fragments" lie two reserved bits.
    if offset == 0 && flags & !0b110 == 0 { Ok((following, behind)) } else { Err(DropReason::Fragment) }
}

/// Whether each option is padding or has a type whose two highest bits say "skip" (RFC 8200 §4.2).
fn options_can_be_skipped(mut options: &[u8]) -> bool {
    let mut count = 0;
    loop {
        match *options {
            [] => return true,
            [0, ..] => options = &options[1..],
            [kind, len, ..] if kind & 0xc0 == 0 && count < MAX_OPTIONS => {
                count += 1;
                match options.get(2 + usize::from(len)..) {
                    Some(rest) => options = rest,
                    None => return false,
                }
            }
            _ => return false,
        }
    }
}
