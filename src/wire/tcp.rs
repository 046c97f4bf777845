//! The TCP header and its options, RFC 9293 §3.1, §3.2; RFC 7323 (window scale, timestamps); RFC 2018 (SACK).

mod codec;

pub use codec::{CHECKSUM_AT, HEADER_LEN, MAX_OPTIONS, emit, read};

use super::seq::SeqNum;
use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// The control bits of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Flags = Flags(0x01);
    /// Synchronize sequence numbers.
    pub const SYN: Flags = Flags(0x02);
    /// Reset the connection.
    pub const RST: Flags = Flags(0x04);
    /// Push.
    pub const PSH: Flags = Flags(0x08);
    /// The acknowledgement field is significant.
    pub const ACK: Flags = Flags(0x10);
    /// The urgent pointer is significant.
    pub const URG: Flags = Flags(0x20);
    /// ECN-Echo (RFC 3168).
    pub const ECE: Flags = Flags(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Flags = Flags(0x80);

    /// Whether all of `bits` are set.
    #[inline]
    pub const fn has(self, bits: Flags) -> bool {
        self.0 & bits.0 == bits.0
    }
}

impl BitOr for Flags {
    type Output = Flags;
    #[inline]
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    #[inline]
    fn bitor_assign(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(Flags, &str); 8] = [
            (Flags::SYN, "SYN"),
            (Flags::FIN, "FIN"),
            (Flags::RST, "RST"),
            (Flags::PSH, "PSH"),
            (Flags::ACK, "ACK"),
            (Flags::URG, "URG"),
            (Flags::ECE, "ECE"),
            (Flags::CWR, "CWR"),
        ];
        let mut first = true;
        for (_, name) in NAMES.iter().filter(|(bit, _)| self.has(*bit)) {
            if !first {
                f.write_str(",")?;
            }
            f.write_str(name)?;
            first = false;
        }
        if first { f.write_str("none") } else { Ok(()) }
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The timestamps option, RFC 7323 §3.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timestamps {
    /// The sender's clock.
    pub tsval: u32,
    /// The receiver's clock as last seen by the sender.
    pub tsecr: u32,
}

/// Up to four SACK blocks, each `[left, right)`, in the order of the wire (RFC 2018 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SackBlocks {
    blocks: [(SeqNum, SeqNum); 4],
    len: u8,
}

impl SackBlocks {
    /// Appends a block; says `false` and ignores it when four are there already.
    pub fn push(&mut self, left: SeqNum, right: SeqNum) -> bool {
        let Some(slot) = self.blocks.get_mut(usize::from(self.len)) else {
            return false;
        };
        *slot = (left, right);
        self.len += 1;
        true
    }

    /// The blocks.
    #[inline]
    pub fn as_slice(&self) -> &[(SeqNum, SeqNum)] {
        &self.blocks[..usize::from(self.len)]
    }
}

/// The options that we understand; others are skipped (RFC 9293 §3.1, MUST-6).
///
/// A new one is read and written in `codec.rs` (`parse_each`, `Words::of`, [`Options::encoded_len`]). What its presence on
/// a SYN agrees on is a field of [`Negotiated`](crate::tcp::negotiation::Negotiated); that must be kept until the handshake
/// is over: in `HalfOpen::offered`, and where a cookie answers, in `tcp/cookie.rs`, and in the same octets in `xdp/syn.h`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Maximum segment size, only meaningful on a SYN.
    pub mss: Option<u16>,
    /// Window scale as it stands on the wire (values above 14 mean 14, RFC 7323 §2.3), only on a SYN.
    pub window_scale: Option<u8>,
    /// SACK permitted, only on a SYN.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
    /// SACK blocks.
    pub sack: SackBlocks,
}

/// A TCP header without its ports (they are in the [`FourTuple`](super::FourTuple)), as plain values in host order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// SEG.SEQ.
    pub seq: SeqNum,
    /// SEG.ACK; zero when ACK is not set.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: Flags,
    /// SEG.WND as it stands on the wire: not scaled.
    pub wnd: u16,
    /// SEG.UP; zero when URG is not set.
    pub urgent: u16,
    /// Options.
    pub options: Options,
}

/// A received segment: its header, and its text still in the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// The header.
    pub header: Header,
    /// The text.
    pub text: &'a [u8],
}

impl Segment<'_> {
    /// None yet.
    #[inline(always)]
    pub fn empty() -> Segment<'static> {
        Segment { header: Header::default(), text: &[] }
    }

    /// SEG.LEN: the octets of sequence space that it occupies, SYN and FIN among them (RFC 9293 §3.4).
    #[inline]
    pub fn len(&self) -> u32 {
        self.text.len() as u32
            + u32::from(self.header.flags.has(Flags::SYN))
            + u32::from(self.header.flags.has(Flags::FIN))
    }

    /// Whether it occupies no sequence space.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.header.flags.0 & (Flags::SYN.0 | Flags::FIN.0) == 0
    }
}
