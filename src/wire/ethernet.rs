//! Ethernet II headers with at most one VLAN tag (IEEE 802.3, 802.1Q).

use super::addr::MacAddr;
use crate::ledger::DropReason;
use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Octets of a header without a tag.
pub const HEADER_LEN: usize = 14;
/// Octets that a VLAN tag adds.
pub const VLAN_TAG_LEN: usize = 4;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of a VLAN tag (IEEE 802.1Q).
pub const VLAN: u16 = 0x8100;

/// PCP and VID of a tag; the drop-eligible bit is neither kept nor sent.
const PCP_AND_VID: u16 = 0xefff;

/// The two stations of a frame, and its VLAN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// Who sent it.
    pub src: MacAddr,
    /// Who is to have it.
    pub dst: MacAddr,
    /// Priority (bits 13–15) and VLAN identifier (bits 0–11) when the frame has a tag.
    pub vlan: Option<u16>,
}

impl Link {
    /// The way back: from `our_mac` to the sender, in the same VLAN.
    #[inline]
    pub fn reply(&self, our_mac: MacAddr) -> Link {
        Link { src: our_mac, dst: self.src, vlan: self.vlan }
    }

    /// Octets of this link's Ethernet header.
    #[inline]
    pub fn header_len(&self) -> usize {
        if self.vlan.is_some() { HEADER_LEN + VLAN_TAG_LEN } else { HEADER_LEN }
    }
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Layout {
    dst: [u8; 6],
    src: [u8; 6],
    ether_type: U16,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct TagLayout {
    tci: U16,
    ether_type: U16,
}

/// Takes the header off, its stations and tag to `link`: the EtherType, and what follows (trailing padding included).
///
/// # Errors
/// [`DropReason::Truncated`]. A second tag is left to the caller as an EtherType that nobody speaks.
#[inline(always)]
pub fn parse<'a>(frame: &'a [u8], link: &mut Link) -> Result<(u16, &'a [u8]), DropReason> {
    let (h, rest) = Layout::ref_from_prefix(frame).map_err(|_| DropReason::Truncated)?;
    (link.src, link.dst, link.vlan) = (MacAddr(h.src), MacAddr(h.dst), None);
    if h.ether_type.get() != VLAN {
        return Ok((h.ether_type.get(), rest));
    }
    let (tag, rest) = TagLayout::ref_from_prefix(rest).map_err(|_| DropReason::Truncated)?;
    link.vlan = Some(tag.tci.get() & PCP_AND_VID);
    Ok((tag.ether_type.get(), rest))
}

/// Writes the header; says its length.
///
/// # Panics
/// If `buf` is shorter than [`Link::header_len`].
#[inline(always)]
pub fn emit(buf: &mut [u8], link: &Link, ether_type: u16) -> usize {
    let outer = if link.vlan.is_some() { VLAN } else { ether_type };
    let (head, rest) = buf.split_at_mut(HEADER_LEN);
    // Piece by piece: put together first, they would have to be read back in one.
    head[..6].copy_from_slice(&link.dst.0);
    head[6..12].copy_from_slice(&link.src.0);
    head[12..].copy_from_slice(&outer.to_be_bytes());
    if let Some(vlan) = link.vlan {
        let tag = TagLayout { tci: (vlan & PCP_AND_VID).into(), ether_type: ether_type.into() };
        rest[..VLAN_TAG_LEN].copy_from_slice(tag.as_bytes());
    }
    link.header_len()
}
