//! ARP for IPv4 over Ethernet, RFC 826.

use super::addr::{Addr, MacAddr};
use super::{ethernet, ip};
use crate::ledger::DropReason;
use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Octets of a packet.
pub const LEN: usize = 28;

const HARDWARE_ETHERNET: u16 = 1;

/// What the sender wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
}

/// An ARP packet. `sender_addr` is `0.0.0.0` in a probe (RFC 5227 §2.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// Request or reply.
    pub operation: Operation,
    /// The sender's Ethernet address.
    pub sender_mac: MacAddr,
    /// The sender's IPv4 address.
    pub sender_addr: Addr,
    /// The target's Ethernet address; means nothing in a request.
    pub target_mac: MacAddr,
    /// The target's IPv4 address.
    pub target_addr: Addr,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Layout {
    hardware: U16,
    protocol: U16,
    hardware_len: u8,
    protocol_len: u8,
    operation: U16,
    sender_mac: [u8; 6],
    sender_addr: [u8; 4],
    target_mac: [u8; 6],
    target_addr: [u8; 4],
}

const _: () = assert!(size_of::<Layout>() == LEN);

/// Reads a packet; octets behind it are padding.
///
/// # Errors
/// [`DropReason::Truncated`]; [`DropReason::ArpMalformed`] for other types, lengths or operations;
/// [`DropReason::Martian`] when a sender is named that must not be entered into a neighbour table.
pub fn parse(packet: &[u8]) -> Result<Arp, DropReason> {
    let (p, _) = Layout::ref_from_prefix(packet).map_err(|_| DropReason::Truncated)?;
    let types = (p.hardware.get(), p.protocol.get(), p.hardware_len, p.protocol_len);
    if types != (HARDWARE_ETHERNET, ethernet::IPV4, 6, 4) {
        return Err(DropReason::ArpMalformed);
    }
    let operation = match p.operation.get() {
        1 => Operation::Request,
        2 => Operation::Reply,
        _ => return Err(DropReason::ArpMalformed),
    };
    let arp = Arp {
        operation,
        sender_mac: MacAddr(p.sender_mac),
        sender_addr: Addr::from_v4(p.sender_addr),
        target_mac: MacAddr(p.target_mac),
        target_addr: Addr::from_v4(p.target_addr),
    };
    let probe = operation == Operation::Request && arp.sender_addr == Addr::UNSPECIFIED_V4;
    if arp.sender_mac.is_group() || !(probe || ip::can_be_source(&arp.sender_addr)) {
        return Err(DropReason::Martian);
    }
    Ok(arp)
}

/// Writes a packet; says its length. IPv6 addresses become `0.0.0.0`: ARP has no room for them.
///
/// # Panics
/// If `buf` is shorter than [`LEN`].
pub fn emit(buf: &mut [u8], arp: &Arp) -> usize {
    let layout = Layout {
        hardware: HARDWARE_ETHERNET.into(),
        protocol: ethernet::IPV4.into(),
        hardware_len: 6,
        protocol_len: 4,
        operation: match arp.operation {
            Operation::Request => 1.into(),
            Operation::Reply => 2.into(),
        },
        sender_mac: arp.sender_mac.0,
        sender_addr: arp.sender_addr.v4().unwrap_or_default(),
        target_mac: arp.target_mac.0,
        target_addr: arp.target_addr.v4().unwrap_or_default(),
    };
    buf[..LEN].copy_from_slice(layout.as_bytes());
    LEN
}
