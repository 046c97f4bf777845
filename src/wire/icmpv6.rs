//! ICMPv6: RFC 4443 (echo and errors); neighbour discovery is handed on to [`ndp`].

use super::checksum::Sum;
use super::icmp::{self, ErrorKind};
use super::ip::{self, Packet};
use super::ndp;
use crate::ledger::DropReason;

/// Octets of the header of an echo or an error.
pub const HEADER_LEN: usize = 8;

pub(super) const ECHO_REQUEST: u8 = 128;
pub(super) const ECHO_REPLY: u8 = 129;
const UNREACHABLE: u8 = 1;
const PACKET_TOO_BIG: u8 = 2;
const TIME_EXCEEDED: u8 = 3;
const PARAMETER_PROBLEM: u8 = 4;

/// An ICMPv6 message that is of use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// To be answered by [`answer_echo`](super::frame::answer_echo).
    EchoRequest,
    /// An error about a TCP segment.
    Error(icmp::Error),
    /// A neighbour solicitation or advertisement, valid by RFC 4861 §7.1.
    Ndp(ndp::Message),
}

/// Reads a message; `verify` says whether its checksum is checked.
///
/// # Errors
/// As [`icmp::parse`]; for neighbour discovery as [`ndp::parse`].
pub fn parse(packet: &Packet<'_>, verify: bool) -> Result<Message, DropReason> {
    let Some((&[kind, code, _, _, m0, m1, m2, m3], quote)) = packet.payload.split_first_chunk::<HEADER_LEN>() else {
        return Err(DropReason::IcmpMalformed);
    };
    if verify && !sum(packet).is_intact() {
        return Err(DropReason::IcmpMalformed);
    }
    let kind = match (kind, code) {
        (ECHO_REQUEST, 0) => return Ok(Message::EchoRequest),
        (ndp::SOLICITATION | ndp::ADVERTISEMENT, _) => return ndp::parse(packet).map(Message::Ndp),
        (UNREACHABLE, code) => ErrorKind::Unreachable { code },
        (PACKET_TOO_BIG, _) => ErrorKind::PacketTooBig { mtu: u32::from_be_bytes([m0, m1, m2, m3]) },
        (TIME_EXCEEDED, _) => ErrorKind::TimeExceeded,
        (PARAMETER_PROBLEM, code) => ErrorKind::ParameterProblem { code },
        _ => return Err(DropReason::IcmpIgnored),
    };
    icmp::error_v6(packet, quote, kind).map(Message::Error)
}

/// The sum of a message with its pseudo header (RFC 4443 §2.3).
#[inline]
pub(super) fn sum(packet: &Packet<'_>) -> Sum {
    Sum::ZERO.pseudo_header(&packet.ip.src, &packet.ip.dst, ip::ICMPV6, packet.payload.len()).octets(packet.payload)
}
