//! The IPv4 header, RFC 791 §3.1.

use super::addr::Addr;
use super::checksum::Sum;
use super::ip::{Ip, Packet};
use crate::ledger::DropReason;
use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Octets of a header without options.
pub const HEADER_LEN: usize = 20;

const DONT_FRAGMENT: u16 = 0x4000;
/// More fragments, or an offset: this is not a whole packet.
const FRAGMENT: u16 = 0x3fff;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Layout {
    version_ihl: u8,
    tos: u8,
    total_len: U16,
    id: U16,
    flags_offset: U16,
    ttl: u8,
    protocol: u8,
    checksum: U16,
    src: [u8; 4],
    dst: [u8; 4],
}

const _: () = assert!(size_of::<Layout>() == HEADER_LEN);

impl Layout {
    /// Octets of the header with its options, when version and IHL are legal.
    #[inline]
    fn header_len(&self) -> Option<usize> {
        (0x45..=0x4f).contains(&self.version_ihl).then(|| usize::from(self.version_ihl & 0xf) * 4)
    }
}

/// Reads a header, skips its options, and cuts off what lies behind the total length (Ethernet's padding).
///
/// Deviation: RFC 9293 §3.9.2.1 (MUST-51 to MUST-53), source routes. They are skipped with the others: they lead around filters,
/// and networks drop them (RFC 7126 §4.3, §4.4).
///
/// # Errors
/// [`DropReason::Truncated`], [`DropReason::Ipv4Header`], [`DropReason::Ipv4Checksum`], [`DropReason::Fragment`].
#[inline(always)]
pub fn parse(packet: &[u8]) -> Result<Packet<'_>, DropReason> {
    let (h, _) = Layout::ref_from_prefix(packet).map_err(|_| DropReason::Truncated)?;
    let header_len = h.header_len().ok_or(DropReason::Ipv4Header)?;
    let total_len = usize::from(h.total_len.get());
    if total_len < header_len {
        return Err(DropReason::Ipv4Header);
    }
    let packet = packet.get(..total_len).ok_or(DropReason::Truncated)?;
    let (header, payload) = packet.split_at(header_len);
    if !Sum::ZERO.octets(header).is_intact() {
        return Err(DropReason::Ipv4Checksum);
    }
    if h.flags_offset.get() & FRAGMENT != 0 {
        return Err(DropReason::Fragment);
    }
    let ip = Ip { src: Addr::from_v4(h.src), dst: Addr::from_v4(h.dst), hop_limit: h.ttl, traffic_class: h.tos };
    Ok(Packet { ip, protocol: h.protocol, payload })
}

/// What can be read of a packet that an ICMP error quotes: source, destination, protocol, and what is there of the
/// payload. Its lengths and checksum are not checked: the quote is cut short, and routers changed it.
pub(super) fn parse_quoted(quote: &[u8]) -> Option<Packet<'_>> {
    let (h, _) = Layout::ref_from_prefix(quote).ok()?;
    let payload = quote.get(h.header_len()?..)?;
    if h.flags_offset.get() & 0x1fff != 0 {
        return None; // not the first fragment: no TCP header in it
    }
    let ip = Ip { src: Addr::from_v4(h.src), dst: Addr::from_v4(h.dst), hop_limit: h.ttl, traffic_class: h.tos };
    Some(Packet { ip, protocol: h.protocol, payload })
}

/// Writes a header without options for `payload_len` octets; says its length.
///
/// DF is set: we rely on path MTU discovery. Such a packet is atomic, so its identification may be any value, and is
/// zero (RFC 6864 §4.1).
///
/// # Panics
/// If `buf` is shorter than [`HEADER_LEN`], or the packet longer than 65,535 octets.
#[inline(always)]
pub fn emit(buf: &mut [u8], ip: &Ip, protocol: u8, payload_len: usize) -> usize {
    let (src, dst) = (ip.src.last_word(), ip.dst.last_word());
    let total_len = u16::try_from(HEADER_LEN + payload_len).expect("an IPv4 packet is at most 65,535 octets");
    let words = [
        0x4500_0000 | u32::from(ip.traffic_class) << 16 | u32::from(total_len),
        u32::from(DONT_FRAGMENT),
        u32::from(ip.hop_limit) << 24 | u32::from(protocol) << 16,
        src,
        dst,
    ];
    let sum = words.into_iter().fold(Sum::ZERO, Sum::word);
    let head = buf.as_chunks_mut::<4>().0.first_chunk_mut::<5>().expect("room for a header");
    *head = words.map(u32::to_be_bytes);
    let [.., a, b] = &mut head[2];
    [*a, *b] = sum.checksum().to_be_bytes();
    HEADER_LEN
}
