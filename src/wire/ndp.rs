//! Neighbour discovery, RFC 4861: the two messages by which hosts find each other's Ethernet address.

use super::addr::{Addr, MacAddr};
use super::ip::{self, Packet};
use crate::ledger::DropReason;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Octets of a message with the one option that we send.
pub const LEN: usize = 32;
/// Hop limit of every message: one that was forwarded has less (RFC 4861 §7.1).
pub const HOP_LIMIT: u8 = 255;
/// `ff02::1`.
pub const ALL_NODES: Addr = Addr::from_v6([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

pub(super) const SOLICITATION: u8 = 135;
pub(super) const ADVERTISEMENT: u8 = 136;

const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;

/// A message that is of use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// Who has this address?
    Solicitation(Solicitation),
    /// This station has it.
    Advertisement(Advertisement),
}

/// A neighbour solicitation, RFC 4861 §4.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Solicitation {
    /// The address asked for.
    pub target: Addr,
    /// The asker's Ethernet address; never there when the asker has no IP address yet (duplicate address detection).
    pub source_mac: Option<MacAddr>,
}

/// A neighbour advertisement, RFC 4861 §4.4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Advertisement {
    /// The address that is told about.
    pub target: Addr,
    /// Its Ethernet address.
    pub target_mac: Option<MacAddr>,
    /// The sender is a router.
    pub router: bool,
    /// It answers a solicitation.
    pub solicited: bool,
    /// It replaces what was known before.
    pub override_known: bool,
}

impl Solicitation {
    /// The answer for the target being at `our_mac`, and the IP address that it goes to: the asker's, or all nodes
    /// when the asker has none (RFC 4861 §7.2.4).
    pub fn answer(&self, ip: &ip::Ip, our_mac: MacAddr) -> (Addr, Advertisement) {
        let asker_has_address = ip::can_be_source(&ip.src);
        let advertisement = Advertisement {
            target: self.target,
            target_mac: Some(our_mac),
            router: false,
            solicited: asker_has_address,
            override_known: true,
        };
        (if asker_has_address { ip.src } else { ALL_NODES }, advertisement)
    }
}

/// The solicited-node multicast address of `addr` (RFC 4291 §2.7.1).
pub fn solicited_node(addr: &Addr) -> Addr {
    let o = addr.octets();
    Addr::from_v6([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, o[13], o[14], o[15]])
}

/// The Ethernet group of an IPv6 multicast address (RFC 2464 §7).
pub fn group_mac(addr: &Addr) -> MacAddr {
    let o = addr.octets();
    MacAddr([0x33, 0x33, o[12], o[13], o[14], o[15]])
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Layout {
    kind: u8,
    code: u8,
    checksum: [u8; 2],
    flags: u8,
    reserved: [u8; 3],
    target: [u8; 16],
}

/// Reads a solicitation or advertisement whose checksum was seen to before.
///
/// # Errors
/// [`DropReason::NdpMalformed`] for what RFC 4861 §7.1.1 and §7.1.2 call invalid; [`DropReason::Martian`] for a source
/// that is none.
pub fn parse(packet: &Packet<'_>) -> Result<Message, DropReason> {
    let (m, options) = Layout::ref_from_prefix(packet.payload).map_err(|_| DropReason::NdpMalformed)?;
    let target = Addr::from_v6(m.target);
    if packet.ip.hop_limit != HOP_LIMIT || m.code != 0 || target.is_v4() || !ip::can_be_source(&target) {
        return Err(DropReason::NdpMalformed);
    }
    let unspecified = *packet.ip.src.octets() == [0; 16];
    if !unspecified && !ip::can_be_source(&packet.ip.src) || packet.ip.src == packet.ip.dst {
        return Err(DropReason::Martian);
    }
    match m.kind {
        SOLICITATION => {
            let source_mac = link_address(options, SOURCE_LINK_ADDRESS)?;
            if unspecified && (source_mac.is_some() || packet.ip.dst != solicited_node(&target)) {
                return Err(DropReason::NdpMalformed);
            }
            Ok(Message::Solicitation(Solicitation { target, source_mac }))
        }
        ADVERTISEMENT => {
            let target_mac = link_address(options, TARGET_LINK_ADDRESS)?;
            let solicited = m.flags & SOLICITED != 0;
            if unspecified || (solicited && ip::is_group(&packet.ip.dst)) {
                return Err(DropReason::NdpMalformed);
            }
            Ok(Message::Advertisement(Advertisement {
                target,
                target_mac,
                router: m.flags & ROUTER != 0,
                solicited,
                override_known: m.flags & OVERRIDE != 0,
            }))
        }
        _ => Err(DropReason::IcmpIgnored),
    }
}

/// Writes a message with checksum zero; says its length: 24 octets, or [`LEN`] with an Ethernet address.
///
/// # Panics
/// If `buf` is shorter than that.
pub(super) fn emit(buf: &mut [u8], message: &Message) -> usize {
    let (kind, flags, target, option, mac) = match message {
        Message::Solicitation(s) => (SOLICITATION, 0, s.target, SOURCE_LINK_ADDRESS, s.source_mac),
        Message::Advertisement(a) => {
            let flag = |set: bool, bit: u8| if set { bit } else { 0 };
            let flags = flag(a.router, ROUTER) | flag(a.solicited, SOLICITED) | flag(a.override_known, OVERRIDE);
            (ADVERTISEMENT, flags, a.target, TARGET_LINK_ADDRESS, a.target_mac)
        }
    };
    let layout = Layout { kind, code: 0, checksum: [0; 2], flags, reserved: [0; 3], target: *target.octets() };
    let (head, rest) = buf.split_at_mut(size_of::<Layout>());
    head.copy_from_slice(layout.as_bytes());
    let Some(MacAddr([a, b, c, d, e, f])) = mac else {
        return size_of::<Layout>();
    };
    rest[..8].copy_from_slice(&[option, 1, a, b, c, d, e, f]);
    LEN
}

/// The Ethernet address in the last option of type `wanted`; other options are skipped, but none may have length zero
/// or reach beyond the message.
fn link_address(mut options: &[u8], wanted: u8) -> Result<Option<MacAddr>, DropReason> {
    let mut found = None;
    while !options.is_empty() {
        let &[kind, units, ..] = options else {
            return Err(DropReason::NdpMalformed);
        };
        let len = usize::from(units) * 8;
        if len == 0 || len > options.len() {
            return Err(DropReason::NdpMalformed);
        }
        if kind == wanted {
            let &[_, 1, a, b, c, d, e, f] = &options[..len] else {
                return Err(DropReason::NdpMalformed);
            };
            let mac = MacAddr([a, b, c, d, e, f]);
            if mac.is_group() {
                return Err(DropReason::NdpMalformed);
            }
            found = Some(mac);
        }
        options = &options[len..];
    }
    Ok(found)
}
