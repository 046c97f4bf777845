//! ICMP for IPv4: RFC 792, next-hop MTU of RFC 1191; and the error type that both ICMPs share.

use super::addr::FourTuple;
use super::checksum::Sum;
use super::ip::{self, Packet};
use super::seq::SeqNum;
use super::{ipv4, ipv6};
use crate::ledger::DropReason;

/// Octets of the header of an echo or an error.
pub const HEADER_LEN: usize = 8;

pub(super) const ECHO_REPLY: u8 = 0;
pub(super) const ECHO_REQUEST: u8 = 8;
const UNREACHABLE: u8 = 3;
const SOURCE_QUENCH: u8 = 4;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;
const FRAGMENTATION_NEEDED: u8 = 4;

/// What an ICMP or ICMPv6 error says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// Destination unreachable; the code is the one of the wire, so its meaning depends on the family. IPv4's code 4
    /// is [`ErrorKind::PacketTooBig`] instead.
    Unreachable {
        /// RFC 792 and RFC 1122 §3.2.2.1, or RFC 4443 §3.1.
        code: u8,
    },
    /// Fragmentation needed (IPv4), packet too big (IPv6).
    PacketTooBig {
        /// Largest packet of the next hop, in octets, as it stands on the wire; 0 from a router older than RFC 1191.
        mtu: u32,
    },
    /// Hop limit or reassembly time exceeded.
    TimeExceeded,
    /// A router or the peer did not understand our header.
    ParameterProblem {
        /// RFC 792, or RFC 4443 §3.4.
        code: u8,
    },
    /// Source quench; TCP discards it silently (RFC 9293 §3.9.2.2, MUST-55).
    SourceQuench,
}

/// An ICMP error about a segment that seems to be ours. Nothing proves that we sent it: compare `tuple` and `seq`
/// with a connection first (RFC 5927 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// The connection, from our view: local is the quoted source.
    pub tuple: FourTuple,
    /// The quoted SEG.SEQ.
    pub seq: SeqNum,
}

impl Error {
    /// Whether it is a hard error: one that would abort a connection by RFC 9293 §3.9.2.2 (SHLD-26). For IPv4 these
    /// are the codes "protocol" and "port unreachable"; for IPv6 "prohibited" and "port unreachable" (RFC 5461 §2).
    pub fn is_hard(&self) -> bool {
        match self.kind {
            ErrorKind::Unreachable { code } if self.tuple.local_addr.is_v4() => matches!(code, 2 | 3),
            ErrorKind::Unreachable { code } => matches!(code, 1 | 4),
            _ => false,
        }
    }
}

/// An ICMP message that is of use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// To be answered by [`answer_echo`](super::frame::answer_echo).
    EchoRequest,
    /// An error about a TCP segment.
    Error(Error),
}

/// Reads a message; `verify` says whether its checksum is checked.
///
/// # Errors
/// [`DropReason::IcmpMalformed`], [`DropReason::IcmpIgnored`] for other types and for errors about other protocols,
/// [`DropReason::IcmpUnproven`] for an error about a packet that its addressee did not send.
pub fn parse(packet: &Packet<'_>, verify: bool) -> Result<Message, DropReason> {
    let Some((&[kind, code, _, _, _, _, mtu_high, mtu_low], quote)) = packet.payload.split_first_chunk::<HEADER_LEN>()
    else {
        return Err(DropReason::IcmpMalformed);
    };
    if verify && !Sum::ZERO.octets(packet.payload).is_intact() {
        return Err(DropReason::IcmpMalformed);
    }
    let kind = match (kind, code) {
        (ECHO_REQUEST, 0) => return Ok(Message::EchoRequest),
        (UNREACHABLE, FRAGMENTATION_NEEDED) => {
            ErrorKind::PacketTooBig { mtu: u32::from(u16::from_be_bytes([mtu_high, mtu_low])) }
        }
        (UNREACHABLE, code) => ErrorKind::Unreachable { code },
        (SOURCE_QUENCH, _) => ErrorKind::SourceQuench,
        (TIME_EXCEEDED, _) => ErrorKind::TimeExceeded,
        (PARAMETER_PROBLEM, code) => ErrorKind::ParameterProblem { code },
        _ => return Err(DropReason::IcmpIgnored),
    };
    let quoted = ipv4::parse_quoted(quote).ok_or(DropReason::IcmpMalformed)?;
    quoted_segment(packet, &quoted, kind).map(Message::Error)
}

/// The end of reading an ICMPv6 error: the same as here but for the quoted header.
pub(super) fn error_v6(packet: &Packet<'_>, quote: &[u8], kind: ErrorKind) -> Result<Error, DropReason> {
    let quoted = ipv6::parse_quoted(quote).ok_or(DropReason::IcmpMalformed)?;
    quoted_segment(packet, &quoted, kind)
}

/// Ports and sequence number of the quoted segment: its first 8 octets are always there (RFC 792).
fn quoted_segment(packet: &Packet<'_>, quoted: &Packet<'_>, kind: ErrorKind) -> Result<Error, DropReason> {
    if quoted.protocol != ip::TCP {
        return Err(DropReason::IcmpIgnored);
    }
    let Some(&[sp0, sp1, dp0, dp1, s0, s1, s2, s3]) = quoted.payload.first_chunk::<8>() else {
        return Err(DropReason::IcmpMalformed);
    };
    if quoted.ip.src != packet.ip.dst {
        return Err(DropReason::IcmpUnproven);
    }
    let tuple = FourTuple {
        local_addr: quoted.ip.src,
        remote_addr: quoted.ip.dst,
        local_port: u16::from_be_bytes([sp0, sp1]),
        remote_port: u16::from_be_bytes([dp0, dp1]),
    };
    Ok(Error { kind, tuple, seq: SeqNum(u32::from_be_bytes([s0, s1, s2, s3])) })
}
