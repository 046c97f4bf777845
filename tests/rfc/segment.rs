//! Segments by hand: a description that can be sent or expected.

pub use super::frame::*;
use std::fmt;

pub const F: u8 = 0x01;
pub const S: u8 = 0x02;
pub const R: u8 = 0x04;
pub const P: u8 = 0x08;
pub const A: u8 = 0x10;
pub const U: u8 = 0x20;
pub const E: u8 = 0x40;
pub const C: u8 = 0x80;

/// A sequence number: relative to the initial one of its sender, or as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Num {
    Rel(u32),
    Abs(u32),
}

/// A segment to send or to expect. What is not set is filled in when sent and not compared when expected.
#[derive(Clone, Default)]
pub struct Seg {
    pub flags: u8,
    pub seq: Option<Num>,
    pub ack: Option<Num>,
    pub wnd: Option<u16>,
    pub urgent: u16,
    pub text: Option<Vec<u8>>,
    pub text_len: Option<usize>,
    pub options: Vec<u8>,
    /// Leave out the timestamps that the connection agreed on.
    pub bare: bool,
    pub tweak: Tweak,
}

/// A segment with these control bits: `seg(S | A)`.
pub fn seg(flags: u8) -> Seg {
    Seg { flags, ..Seg::default() }
}

/// A SYN as a modest peer sends it: MSS and nothing else.
pub fn syn() -> Seg {
    seg(S).seq(0).mss(1460)
}

pub fn syn_ack() -> Seg {
    seg(S | A).seq(0)
}

/// A bare acknowledgement.
pub fn ack(n: u32) -> Seg {
    seg(A).ack(n)
}

pub fn data(seq: u32, text: &[u8]) -> Seg {
    seg(A | P).seq(seq).text(text)
}

pub fn fin(seq: u32) -> Seg {
    seg(F | A).seq(seq)
}

pub fn rst(seq: u32) -> Seg {
    seg(R).seq(seq)
}

impl Seg {
    pub fn seq(mut self, n: u32) -> Self {
        self.seq = Some(Num::Rel(n));
        self
    }
    pub fn abs_seq(mut self, n: u32) -> Self {
        self.seq = Some(Num::Abs(n));
        self
    }
    pub fn ack(mut self, n: u32) -> Self {
        self.ack = Some(Num::Rel(n));
        self
    }
    pub fn abs_ack(mut self, n: u32) -> Self {
        self.ack = Some(Num::Abs(n));
        self
    }
    pub fn wnd(mut self, wnd: u16) -> Self {
        self.wnd = Some(wnd);
        self
    }
    pub fn urgent(mut self, pointer: u16) -> Self {
        self.urgent = pointer;
        self
    }
    pub fn text(mut self, text: &[u8]) -> Self {
        self.text = Some(text.to_vec());
        self
    }
    pub fn text_len(mut self, len: usize) -> Self {
        self.text_len = Some(len);
        self
    }
    /// No timestamps although they were agreed on.
    pub fn bare(mut self) -> Self {
        self.bare = true;
        self
    }
    /// Options as octets; padded to whole words by zeros when sent.
    pub fn options(mut self, octets: &[u8]) -> Self {
        self.options.extend_from_slice(octets);
        self
    }
    pub fn mss(self, mss: u16) -> Self {
        let [a, b] = mss.to_be_bytes();
        self.options(&[2, 4, a, b])
    }
    pub fn wscale(self, shift: u8) -> Self {
        self.options(&[3, 3, shift])
    }
    pub fn sack_ok(self) -> Self {
        self.options(&[4, 2])
    }
    pub fn ts(self, tsval: u32, tsecr: u32) -> Self {
        let [a, b, c, d] = tsval.to_be_bytes();
        let [e, f, g, h] = tsecr.to_be_bytes();
        self.options(&[8, 10, a, b, c, d, e, f, g, h])
    }
    /// The options as a receiver reads them.
    pub fn read_options(&self) -> Options {
        read_options(&self.options)
    }
    pub fn tweak(mut self, change: impl FnOnce(&mut Tweak)) -> Self {
        change(&mut self.tweak);
        self
    }
}

/// Names of control bits as tcpdump writes them, ACK last.
pub fn flag_names(flags: u8) -> String {
    let names = [(S, "S"), (F, "F"), (R, "R"), (P, "P"), (U, "U"), (E, "E"), (C, "C"), (A, ".")];
    let set: String = names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    if set.is_empty() { "none".into() } else { set }
}

impl fmt::Display for Seg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", flag_names(self.flags))?;
        for (name, number) in [("seq", self.seq), ("ack", self.ack)] {
            match number {
                Some(Num::Rel(n)) => write!(f, " {name} {n}")?,
                Some(Num::Abs(n)) => write!(f, " {name} ={n}")?,
                None => {}
            }
        }
        if let Some(wnd) = self.wnd {
            write!(f, " wnd {wnd}")?;
        }
        let len = self.text.as_ref().map(Vec::len).or(self.text_len);
        len.map_or(Ok(()), |len| write!(f, " len {len}"))
    }
}

/// Options as they were read from a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub mss: Option<u16>,
    pub wscale: Option<u8>,
    pub sack_ok: bool,
    pub ts: Option<(u32, u32)>,
    /// As on the wire.
    pub sack: Vec<(u32, u32)>,
    pub unknown: Vec<u8>,
}

pub fn read_options(mut octets: &[u8]) -> Options {
    let mut options = Options::default();
    let be32 = |o: &[u8]| u32::from_be_bytes(o[..4].try_into().unwrap());
    while let [kind, rest @ ..] = octets {
        let len = match kind {
            0 => break,
            1 => 1,
            _ => usize::from(rest.first().copied().unwrap_or(0)),
        };
        if len == 0 || len > octets.len() {
            break;
        }
        let value = octets.get(2..len).unwrap_or(&[]);
        match kind {
            1 => {}
            2 if len == 4 => options.mss = Some(u16::from_be_bytes([value[0], value[1]])),
            3 if len == 3 => options.wscale = Some(value[0]),
            4 => options.sack_ok = true,
            5 => options.sack = value.chunks_exact(8).map(|b| (be32(b), be32(&b[4..]))).collect(),
            8 if len == 10 => options.ts = Some((be32(value), be32(&value[4..]))),
            other => options.unknown.push(*other),
        }
        octets = &octets[len..];
    }
    options
}
