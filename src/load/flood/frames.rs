//! The flood's frames: made once, and changed in a few words for each one.

use super::{Flood, Kind};
use crate::wire::checksum::Sum;
use crate::wire::frame::{self, Envelope, Link, TxChecksum};
use crate::wire::tcp::{self, Flags, Header, Options, Timestamps};
use crate::wire::{Addr, FourTuple, ipv4};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// Octets of text in a segment that has some.
const TEXT: usize = 64;
/// The longest template: Ethernet with a VLAN tag, IPv4, TCP with all options, text.
const LONGEST: usize = 18 + 20 + 60 + TEXT;

/// Segments towards one target, each from another source.
pub struct Frames {
    /// A frame whose source, ports and numbers are all zero, so that a sum need only be added to.
    template: [u8; LONGEST],
    len: usize,
    /// Where the IPv4 header begins in it, and where the TCP header does.
    ip_at: usize,
    tcp_at: usize,
    ip_checksum: u16,
    tcp_checksum: u16,
    checksum: TxChecksum,
    acknowledges: bool,
    network: u32,
    hosts: u32,
    random: Xoshiro256PlusPlus,
}

impl Frames {
    /// Frames of this flood between these stations, whose checksums are finished by `checksum`.
    pub fn new(flood: &Flood, link: Link, checksum: TxChecksum, seed: u64) -> Self {
        let target = flood.target;
        let tuple = FourTuple {
            local_addr: Addr::UNSPECIFIED_V4,
            remote_addr: Addr::from(*target.ip()),
            local_port: 0,
            remote_port: target.port(),
        };
        let envelope = Envelope { link, tuple, hop_limit: 64, traffic_class: 0, checksum };
        let (header, text_len) = segment(flood.kind);
        let mut template = [0; LONGEST];
        let len = frame::emit_tcp(&mut template, &envelope, &header, text_len, |text| text.fill(b'x'));
        let ip_at = link.header_len();
        let tcp_at = ip_at + ipv4::HEADER_LEN;
        let word = |at: usize| u16::from_be_bytes([template[at], template[at + 1]]);
        Frames {
            template,
            len,
            ip_at,
            tcp_at,
            ip_checksum: word(ip_at + 10),
            tcp_checksum: word(tcp_at + tcp::CHECKSUM_AT),
            checksum,
            acknowledges: header.flags.has(Flags::ACK),
            network: u32::from(flood.sources.network()),
            hosts: u32::from(flood.sources.hostmask()),
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
        }
    }

    /// Writes the next frame; says its length.
    ///
    /// # Panics
    /// If `buffer` is shorter than the frame, at most 162 octets.
    pub fn write(&mut self, buffer: &mut [u8]) -> usize {
        let (who, what) = (self.random.next_u64(), self.random.next_u64());
        let source = self.network | (who as u32 & self.hosts);
        // Ports below 1024 are no client's.
        let port = 1024 + ((who >> 32) as u16 % (u16::MAX - 1023));
        let (seq, ack) = (what as u32, if self.acknowledges { (what >> 32) as u32 } else { 0 });
        let (ip_at, tcp_at) = (self.ip_at, self.tcp_at);
        let frame = &mut buffer[..self.len];
        frame.copy_from_slice(&self.template[..self.len]);
        frame[ip_at + 12..ip_at + 16].copy_from_slice(&source.to_be_bytes());
        frame[tcp_at..tcp_at + 2].copy_from_slice(&port.to_be_bytes());
        frame[tcp_at + 4..tcp_at + 8].copy_from_slice(&seq.to_be_bytes());
        frame[tcp_at + 8..tcp_at + 12].copy_from_slice(&ack.to_be_bytes());
        // RFC 1624 §3, equation 3; the old words are all zero.
        let ip = Sum::ZERO.word(u32::from(!self.ip_checksum)).word(source);
        let tcp = match self.checksum {
            TxChecksum::Full => {
                let old = Sum::ZERO.word(u32::from(!self.tcp_checksum));
                old.word(source).word(u32::from(port)).word(seq).word(ack).checksum()
            }
            TxChecksum::PseudoHeaderOnly => Sum::ZERO.word(u32::from(self.tcp_checksum)).word(source).folded(),
        };
        frame[ip_at + 10..ip_at + 12].copy_from_slice(&ip.checksum().to_be_bytes());
        frame[tcp_at + tcp::CHECKSUM_AT..][..2].copy_from_slice(&tcp.to_be_bytes());
        self.len
    }
}

/// The header and the octets of text of such a segment, its numbers zero.
fn segment(kind: Kind) -> (Header, usize) {
    let timestamps = Some(Timestamps { tsval: 1, tsecr: 0 });
    let later = Options { timestamps, ..Options::default() };
    let first = Options { mss: Some(1460), window_scale: Some(7), sack_permitted: true, ..later };
    let (flags, options, text_len) = match kind {
        Kind::Syn => (Flags::SYN, first, 0),
        Kind::Ack => (Flags::ACK, later, 0),
        Kind::Rst => (Flags::RST, Options::default(), 0),
        Kind::Fin => (Flags::FIN | Flags::ACK, later, 0),
        Kind::Data => (Flags::PSH | Flags::ACK, later, TEXT),
    };
    (Header { flags, wnd: 0xffff, options, ..Header::default() }, text_len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MacAddr;
    use crate::wire::frame::{Incoming, VerifyChecksum};
    use strum::IntoEnumIterator;

    #[test]
    fn every_frame_is_intact_and_from_where_it_may_be() {
        let untagged = Link { src: MacAddr([2, 0, 0, 0, 0, 1]), dst: MacAddr([2, 0, 0, 0, 0, 2]), vlan: None };
        let tagged = Link { vlan: Some(7), ..untagged };
        for (kind, way) in Kind::iter().flat_map(|kind| [(kind, untagged), (kind, tagged)]) {
            let sources: ipnet::IpNet = "198.19.128.0/17".parse().unwrap();
            let flood = Flood::new(kind, 1.0, sources, "10.0.0.2:80".parse().unwrap(), true).unwrap();
            let mut frames = Frames::new(&flood, way, TxChecksum::Full, 42);
            let mut unfinished = Frames::new(&flood, way, TxChecksum::PseudoHeaderOnly, 42);
            let mut seen = std::collections::HashSet::new();
            for _ in 0..20_000 {
                let mut buffer = [0; 2048];
                let len = frames.write(&mut buffer);
                let parsed = frame::parse(&buffer[..len], VerifyChecksum::Yes);
                let Ok(Incoming::Tcp { link, tuple, segment: received, .. }) = parsed else {
                    panic!("{kind:?}: {parsed:?}")
                };
                let source = std::net::IpAddr::from(tuple.remote_addr);
                assert!(sources.contains(&source) && tuple.remote_port >= 1024, "{tuple}");
                assert_eq!(tuple.local(), "10.0.0.2:80".parse().unwrap());
                assert_eq!((received.header.flags, received.text.len()), (segment(kind).0.flags, segment(kind).1));
                assert_eq!(link, way);
                let mut finished = [0; 2048];
                assert_eq!(unfinished.write(&mut finished), len);
                let tcp_at = frame::find_tcp(&finished).expect("a segment");
                let checksum = Sum::ZERO.octets(&finished[tcp_at..len]).checksum();
                finished[tcp_at + 16..tcp_at + 18].copy_from_slice(&checksum.to_be_bytes());
                assert!(finished[..len] == buffer[..len], "{kind:?}: the rest of the sum makes the same checksum");
                seen.insert(tuple);
            }
            assert!(seen.len() > 19_900, "sources differ: {}", seen.len());
        }
    }
}
