//! Frames to and from octets.
//!
//! Written apart from `handfast::wire` on purpose, so that both would have to be wrong in the same way.

use super::segment::{Options, Seg, read_options};
use std::net::IpAddr;

pub type Mac = [u8; 6];
pub type Ipv4 = [u8; 4];

pub const ETHERTYPE_IPV4: u16 = 0x0800;
pub const ETHERTYPE_ARP: u16 = 0x0806;
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
pub const TCP: u8 = 6;
pub const ICMP: u8 = 1;
pub const ICMPV6: u8 = 58;

/// What is broken on purpose below TCP, or chosen there.
#[derive(Clone, Debug)]
pub struct Tweak {
    pub src: Option<IpAddr>,
    pub dst: Option<IpAddr>,
    pub eth_dst: Option<Mac>,
    pub eth_src: Option<Mac>,
    pub bad_tcp_checksum: bool,
    pub bad_ip_checksum: bool,
    pub version: Option<u8>,
    pub ihl: Option<u8>,
    pub ip_options: Vec<u8>,
    /// Extension headers of IPv6: the type of each, and its octets behind the next header's type.
    pub extensions: Vec<(u8, Vec<u8>)>,
    pub total_len_off_by: i32,
    pub fragment: u16,
    /// TTL, or hop limit.
    pub ttl: u8,
    pub ecn: u8,
    /// The rest of the TOS octet, or of the traffic class.
    pub dscp: u8,
    pub data_offset: Option<u8>,
    pub reserved: u8,
    pub vlan: Option<u16>,
    /// Octets behind the packet.
    pub padding: usize,
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
            version: None,
            ihl: None,
            ip_options: vec![],
            extensions: vec![],
            total_len_off_by: 0,
            fragment: 0,
            ttl: 64,
            ecn: 0,
            dscp: 0,
            data_offset: None,
            reserved: 0,
            vlan: None,
            padding: 0,
        }
    }
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
    pub src: IpAddr,
    pub dst: IpAddr,
    pub ttl: u8,
    pub dscp: u8,
    pub ecn: u8,
    pub dont_fragment: bool,
    pub protocol: u8,
}

impl FrameIn {
    /// What the IP packet carries.
    pub fn payload(&self) -> &[u8] {
        let at = if self.ethertype == ETHERTYPE_IPV6 { 40 } else { usize::from(self.octets[14] & 0xf) * 4 };
        &self.octets[14 + at..]
    }
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

/// The sum of the pseudo header.
pub fn pseudo(src: IpAddr, dst: IpAddr, protocol: u8, len: usize) -> u32 {
    let header = [octets(src), octets(dst), vec![0, protocol], (len as u16).to_be_bytes().to_vec()].concat();
    sum(&header, 0)
}

pub fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    }
}

fn addr(octets: &[u8]) -> IpAddr {
    match <[u8; 4]>::try_from(octets) {
        Ok(v4) => v4.into(),
        Err(_) => <[u8; 16]>::try_from(octets).expect("four octets or sixteen").into(),
    }
}

/// Takes a frame of the host under test apart.
///
/// # Panics
/// When a checksum or a length is wrong: whatever the scenario, the host must never send that (RFC 9293 MUST-2).
pub fn read_frame(octets: &[u8]) -> FrameIn {
    let eth_dst = octets[..6].try_into().unwrap();
    let ethertype = u16::from_be_bytes([octets[12], octets[13]]);
    let mut frame = FrameIn { eth_dst, ethertype, ip: None, tcp: None, octets: octets.to_vec() };
    let packet = &octets[14..];
    let (ip, payload) = match ethertype {
        ETHERTYPE_IPV4 => read_ipv4(packet),
        ETHERTYPE_IPV6 => read_ipv6(packet),
        _ => return frame,
    };
    frame.ip = Some(ip);
    if ip.protocol == TCP {
        assert_eq!(sum(payload, pseudo(ip.src, ip.dst, TCP, payload.len())), 0xffff, "the TCP checksum is wrong");
        frame.tcp = Some(read_tcp(payload));
    }
    frame
}

fn read_ipv4(packet: &[u8]) -> (IpIn, &[u8]) {
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let header_len = usize::from(packet[0] & 0xf) * 4;
    assert_eq!(packet[0] >> 4, 4, "version");
    assert!(total <= packet.len() && header_len >= 20, "lengths of the IP header");
    assert_eq!(sum(&packet[..header_len], 0), 0xffff, "the IP header's checksum is wrong");
    let ip = IpIn {
        src: addr(&packet[12..16]),
        dst: addr(&packet[16..20]),
        ttl: packet[8],
        dscp: packet[1] >> 2,
        ecn: packet[1] & 3,
        dont_fragment: packet[6] & 0x40 != 0,
        protocol: packet[9],
    };
    (ip, &packet[header_len..total])
}

fn read_ipv6(packet: &[u8]) -> (IpIn, &[u8]) {
    let total = 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    assert_eq!(packet[0] >> 4, 6, "version");
    assert!(total <= packet.len(), "the payload's length");
    let ip = IpIn {
        src: addr(&packet[8..24]),
        dst: addr(&packet[24..40]),
        ttl: packet[7],
        dscp: (packet[0] & 0xf) << 2 | packet[1] >> 6,
        ecn: packet[1] >> 4 & 3,
        dont_fragment: true,
        protocol: packet[6],
    };
    (ip, &packet[40..total])
}

fn read_tcp(tcp: &[u8]) -> TcpIn {
    let be32 = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().unwrap());
    let be16 = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
    let header_len = usize::from(tcp[12] >> 4) * 4;
    assert_eq!((tcp[12] & 0xf, be16(18)), (0, 0), "reserved bits and the urgent pointer, which nobody asks for");
    TcpIn {
        src_port: be16(0),
        dst_port: be16(2),
        seq: be32(4),
        ack: be32(8),
        flags: tcp[13],
        wnd: be16(14),
        options: read_options(&tcp[20..header_len]),
        header_len,
        text: tcp[header_len..].to_vec(),
    }
}

/// Where a frame goes from and to.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub src_mac: Mac,
    pub dst_mac: Mac,
    pub src: IpAddr,
    pub dst: IpAddr,
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
    tcp.extend([words << 4 | s.tweak.reserved, s.flags]);
    tcp.extend(s.wnd.unwrap_or(65_535).to_be_bytes());
    tcp.extend([0, 0]);
    tcp.extend(s.urgent.to_be_bytes());
    tcp.extend(options);
    tcp.extend(s.text.as_deref().unwrap_or(&[]));
    let mut checksum = !(sum(&tcp, pseudo(src, dst, TCP, tcp.len())) as u16);
    if s.tweak.bad_tcp_checksum {
        checksum = checksum.wrapping_add(1);
    }
    tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
    write_ip(ends, &s.tweak, TCP, &tcp)
}

/// An IP packet as a frame.
pub fn write_ip(ends: &Ends, tweak: &Tweak, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let (src, dst) = (tweak.src.unwrap_or(ends.src), tweak.dst.unwrap_or(ends.dst));
    let (ethertype, header) = match src {
        IpAddr::V4(_) => (ETHERTYPE_IPV4, ipv4_header(src, dst, tweak, protocol, payload.len())),
        IpAddr::V6(_) => (ETHERTYPE_IPV6, ipv6_header(src, dst, tweak, protocol, payload.len())),
    };
    let mut frame = Vec::new();
    frame.extend(tweak.eth_dst.unwrap_or(ends.dst_mac));
    frame.extend(tweak.eth_src.unwrap_or(ends.src_mac));
    if let Some(tag) = tweak.vlan {
        frame.extend([0x81, 0x00]);
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(header);
    frame.extend(payload);
    frame.resize(frame.len() + tweak.padding, 0);
    frame
}

fn ipv4_header(src: IpAddr, dst: IpAddr, tweak: &Tweak, protocol: u8, payload_len: usize) -> Vec<u8> {
    let header_len = 20 + tweak.ip_options.len();
    let total = (header_len + payload_len) as i32 + tweak.total_len_off_by;
    let version = tweak.version.unwrap_or(4);
    let mut ip = vec![version << 4 | tweak.ihl.unwrap_or((header_len / 4) as u8), tweak.dscp << 2 | tweak.ecn];
    ip.extend((total as u16).to_be_bytes());
    ip.extend([0x12, 0x34]);
    ip.extend(tweak.fragment.to_be_bytes());
    ip.extend([tweak.ttl, protocol, 0, 0]);
    ip.extend([octets(src), octets(dst), tweak.ip_options.clone()].concat());
    let mut checksum = !(sum(&ip, 0) as u16);
    if tweak.bad_ip_checksum {
        checksum = checksum.wrapping_add(1);
    }
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    ip
}

fn ipv6_header(src: IpAddr, dst: IpAddr, tweak: &Tweak, protocol: u8, payload_len: usize) -> Vec<u8> {
    let extensions: usize = tweak.extensions.iter().map(|(_, body)| body.len() + 1).sum();
    let total = (extensions + payload_len) as i32 + tweak.total_len_off_by;
    let class = tweak.dscp << 2 | tweak.ecn;
    let mut ip = vec![tweak.version.unwrap_or(6) << 4 | class >> 4, class << 4, 0, 0];
    ip.extend((total as u16).to_be_bytes());
    let mut next: Vec<u8> = tweak.extensions.iter().map(|(kind, _)| *kind).collect();
    next.push(protocol);
    ip.extend([next[0], tweak.ttl]);
    ip.extend([octets(src), octets(dst)].concat());
    for ((_, body), following) in tweak.extensions.iter().zip(&next[1..]) {
        ip.push(*following);
        ip.extend(body);
    }
    ip
}
