//! Segments by hand: a description that can be sent or expected, and frames to and from octets.
//!
//! Written apart from `handfast::wire` on purpose, so that both would have to be wrong in the same way.

use std::fmt;

pub const F: u8 = 0x01;
pub const S: u8 = 0x02;
pub const R: u8 = 0x04;
pub const P: u8 = 0x08;
pub const A: u8 = 0x10;
pub const U: u8 = 0x20;
pub const E: u8 = 0x40;
pub const C: u8 = 0x80;

pub type Mac = [u8; 6];
pub type Ipv4 = [u8; 4];

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

/// What is broken on purpose below TCP.
#[derive(Clone, Debug)]
pub struct Tweak {
    pub src: Option<Ipv4>,
    pub dst: Option<Ipv4>,
    pub eth_dst: Option<Mac>,
    pub eth_src: Option<Mac>,
    pub bad_tcp_checksum: bool,
    pub bad_ip_checksum: bool,
    pub version: u8,
    pub ihl: Option<u8>,
    pub ip_options: Vec<u8>,
    pub total_len_off_by: i32,
    pub fragment: u16,
    pub ttl: u8,
    pub ecn: u8,
    pub data_offset: Option<u8>,
    pub vlan: Option<u16>,
}

impl Default for Tweak {
    fn default() -> Self {
        Tweak {
            src: None,
            dst: None,
            eth_dst: None,
            eth_src: None,
            bad_tcp_checksum: false,
            bad_ip_checksum: false,
            version: 4,
            ihl: None,
            ip_options: vec![],
            total_len_off_by: 0,
            fragment: 0,
            ttl: 64,
            ecn: 0,
            data_offset: None,
            vlan: None,
        }
    }
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

/// A TCP segment from the host under test.
#[derive(Clone, Debug)]
pub struct TcpIn {
    pub src_port: u16,
    pub dst_port: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub wnd: u16,
    pub options: Options,
    pub header_len: usize,
    pub text: Vec<u8>,
}

/// A frame from the host under test.
#[derive(Clone, Debug)]
pub struct FrameIn {
    pub eth_dst: Mac,
    pub ethertype: u16,
    pub ip: Option<IpIn>,
    pub tcp: Option<TcpIn>,
    pub octets: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
pub struct IpIn {
    pub src: Ipv4,
    pub dst: Ipv4,
    pub ttl: u8,
    pub ecn: u8,
    pub dont_fragment: bool,
    pub protocol: u8,
}

/// One's complement sum of 16-bit words, folded.
pub fn sum(octets: &[u8], start: u32) -> u32 {
    let mut total = start;
    for pair in octets.chunks(2) {
        total += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        total = (total & 0xffff) + (total >> 16);
    }
    total
}

fn pseudo(src: Ipv4, dst: Ipv4, protocol: u8, len: usize) -> u32 {
    let header = [&src[..], &dst[..], &[0, protocol], &(len as u16).to_be_bytes()].concat();
    sum(&header, 0)
}

/// Takes a frame of the host under test apart.
///
/// # Panics
/// When a checksum or a length is wrong: whatever the scenario, the host must never send that (RFC 9293 MUST-2).
pub fn read_frame(octets: &[u8]) -> FrameIn {
    let eth_dst = octets[..6].try_into().unwrap();
    let ethertype = u16::from_be_bytes([octets[12], octets[13]]);
    let mut frame = FrameIn { eth_dst, ethertype, ip: None, tcp: None, octets: octets.to_vec() };
    if ethertype != 0x0800 {
        return frame;
    }
    let ip = &octets[14..];
    let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let header_len = usize::from(ip[0] & 0xf) * 4;
    assert_eq!(ip[0] >> 4, 4, "version");
    assert!(total <= ip.len() && header_len >= 20, "lengths of the IP header");
    assert_eq!(sum(&ip[..header_len], 0), 0xffff, "the IP header's checksum is wrong");
    let (src, dst) = (ip[12..16].try_into().unwrap(), ip[16..20].try_into().unwrap());
    let (ttl, protocol) = (ip[8], ip[9]);
    frame.ip = Some(IpIn { src, dst, ttl, ecn: ip[1] & 3, dont_fragment: ip[6] & 0x40 != 0, protocol });
    if protocol != 6 {
        return frame;
    }
    let tcp = &ip[header_len..total];
    assert_eq!(sum(tcp, pseudo(src, dst, 6, tcp.len())), 0xffff, "the TCP checksum is wrong");
    let be32 = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().unwrap());
    let be16 = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
    let header_len = usize::from(tcp[12] >> 4) * 4;
    frame.tcp = Some(TcpIn {
        src_port: be16(0),
        dst_port: be16(2),
        seq: be32(4),
        ack: be32(8),
        flags: tcp[13],
        wnd: be16(14),
        options: read_options(&tcp[20..header_len]),
        header_len,
        text: tcp[header_len..].to_vec(),
    });
    frame
}

fn read_options(mut octets: &[u8]) -> Options {
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

/// Where a frame goes from and to.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub src_mac: Mac,
    pub dst_mac: Mac,
    pub src: Ipv4,
    pub dst: Ipv4,
    pub src_port: u16,
    pub dst_port: u16,
}

/// A segment as a frame; `seq` and `ack` as on the wire.
pub fn write_tcp(ends: &Ends, s: &Seg, seq: u32, ack: u32) -> Vec<u8> {
    let mut options = s.options.clone();
    options.resize(options.len().next_multiple_of(4), 0);
    assert!(options.len() <= 40, "too many options");
    let src = s.tweak.src.unwrap_or(ends.src);
    let dst = s.tweak.dst.unwrap_or(ends.dst);
    let mut tcp = Vec::new();
    tcp.extend(ends.src_port.to_be_bytes());
    tcp.extend(ends.dst_port.to_be_bytes());
    tcp.extend(seq.to_be_bytes());
    tcp.extend(ack.to_be_bytes());
    let words = s.tweak.data_offset.unwrap_or((5 + options.len() / 4) as u8);
    tcp.extend([words << 4, s.flags]);
    tcp.extend(s.wnd.unwrap_or(65_535).to_be_bytes());
    tcp.extend([0, 0]);
    tcp.extend(s.urgent.to_be_bytes());
    tcp.extend(options);
    tcp.extend(s.text.as_deref().unwrap_or(&[]));
    let mut checksum = !(sum(&tcp, pseudo(src, dst, 6, tcp.len())) as u16);
    if s.tweak.bad_tcp_checksum {
        checksum = checksum.wrapping_add(1);
    }
    tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
    write_ipv4(ends, &s.tweak, 6, &tcp)
}

/// An IPv4 packet as a frame.
pub fn write_ipv4(ends: &Ends, tweak: &Tweak, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + tweak.ip_options.len();
    let total = (header_len + payload.len()) as i32 + tweak.total_len_off_by;
    let mut ip = vec![tweak.version << 4 | tweak.ihl.unwrap_or((header_len / 4) as u8), tweak.ecn];
    ip.extend((total as u16).to_be_bytes());
    ip.extend([0x12, 0x34]);
    ip.extend(tweak.fragment.to_be_bytes());
    ip.extend([tweak.ttl, protocol, 0, 0]);
    ip.extend(tweak.src.unwrap_or(ends.src));
    ip.extend(tweak.dst.unwrap_or(ends.dst));
    ip.extend(&tweak.ip_options);
    let mut checksum = !(sum(&ip, 0) as u16);
    if tweak.bad_ip_checksum {
        checksum = checksum.wrapping_add(1);
    }
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = Vec::new();
    frame.extend(tweak.eth_dst.unwrap_or(ends.dst_mac));
    frame.extend(tweak.eth_src.unwrap_or(ends.src_mac));
    if let Some(tag) = tweak.vlan {
        frame.extend([0x81, 0x00]);
        frame.extend(tag.to_be_bytes());
    }
    frame.extend([0x08, 0x00]);
    frame.extend(ip);
    frame.extend(payload);
    frame
}
