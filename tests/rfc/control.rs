//! What the peer sends besides TCP: ICMP, ARP, neighbour discovery.

use super::peer::*;
use super::segment::*;
use super::target::*;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

pub const SOLICITATION: u8 = 135;
pub const ADVERTISEMENT: u8 = 136;

impl Peer {
    pub fn ends(&self) -> Ends {
        Ends {
            src_mac: PEER_MAC,
            dst_mac: HOST_MAC,
            src: self.family.peer(),
            dst: self.family.host(),
            src_port: self.flow.port,
            dst_port: HOST_PORT,
        }
    }

    /// Sends a frame as it is.
    pub fn send_frame(&mut self, frame: &[u8]) {
        self.log('<', &format!("a frame of {} octets", frame.len()));
        self.target.inject(frame);
    }

    /// Sends a packet of another protocol.
    pub fn send_ip(&mut self, tweak: Tweak, protocol: u8, payload: &[u8]) {
        self.log('<', &format!("IP protocol {protocol}, {} octets", payload.len()));
        let frame = write_ip(&self.ends(), &tweak, protocol, payload);
        self.target.inject(&frame);
    }

    /// Sends an ICMP message of the family, without its checksum, which is filled in.
    pub fn send_icmp_message(&mut self, tweak: Tweak, mut message: Vec<u8>) {
        let (src, dst) = (tweak.src.unwrap_or(self.family.peer()), tweak.dst.unwrap_or(self.family.host()));
        let (protocol, start) = match self.family {
            Family::V4 => (ICMP, 0),
            Family::V6 => (ICMPV6, pseudo(src, dst, ICMPV6, message.len())),
        };
        let mut checksum = !(sum(&message, start) as u16);
        if tweak.bad_tcp_checksum {
            checksum = checksum.wrapping_add(1);
        }
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        self.send_ip(tweak, protocol, &message);
    }

    /// Sends an ICMP error about a segment of this flow whose number was `quoted`, relative.
    pub fn send_icmp(&mut self, kind: u8, code: u8, mtu: u32, quoted: u32) {
        let mut segment = [HOST_PORT.to_be_bytes(), self.flow.port.to_be_bytes()].concat();
        segment.extend(self.flow.irs.unwrap_or(0).wrapping_add(quoted).to_be_bytes());
        self.note(&format!("ICMP {kind}/{code} about {quoted}"));
        self.send_icmp_about(kind, code, mtu, &segment);
    }

    /// The same about the first octets of any segment of the host.
    pub fn send_icmp_about(&mut self, kind: u8, code: u8, mtu: u32, segment: &[u8]) {
        let Ends { src, dst, .. } = self.ends();
        let quoted = Ends { src: dst, dst: src, ..self.ends() };
        let frame = write_ip(&quoted, &Tweak::default(), TCP, segment);
        let message = [&[kind, code, 0, 0][..], &mtu.to_be_bytes(), &frame[14..]].concat();
        self.send_icmp_message(Tweak::default(), message);
    }

    /// Two segments are under way when such a packet too big tells what the path carries: the first comes again, with so
    /// much text.
    pub fn sends_again_smaller(&mut self, kind: u8, code: u8, mtu: u32, text: usize) {
        self.accept();
        self.app_write(&[b'x'; 2_920]);
        assert_eq!(self.flight(), [1, 1_461]);
        self.send_icmp(kind, code, mtu, 1);
        let got = self.next(millis(100)).expect("again, at once");
        assert_eq!((got.seq, got.text.len()), (1, text));
    }

    /// Sends an ARP packet: operation, sender's and target's addresses.
    pub fn send_arp(&mut self, operation: u8, sender: (Mac, Ipv4), target: (Mac, Ipv4)) {
        let mut frame = [&[0xff; 6][..], &sender.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation]].concat();
        frame.extend([&sender.0[..], &sender.1, &target.0, &target.1].concat());
        self.send_frame(&frame);
    }

    /// ARP packets of the host that came so far; takes them away.
    pub fn take_arps(&mut self, wait: Duration) -> Vec<FrameIn> {
        self.pass(wait);
        self.others.drain(..).filter(|frame| frame.ethertype == ETHERTYPE_ARP).collect()
    }

    /// ICMP messages of this type that came so far from the host; takes everything away that is no segment.
    pub fn take_icmp(&mut self, kind: u8, wait: Duration) -> Vec<FrameIn> {
        self.pass(wait);
        let is_it = |frame: &FrameIn| {
            frame.ip.is_some_and(|ip| [ICMP, ICMPV6].contains(&ip.protocol)) && frame.payload()[0] == kind
        };
        self.others.drain(..).filter(is_it).collect()
    }

    pub(super) fn answer_neighbour(&mut self, question: &FrameIn) {
        match question.ethertype {
            ETHERTYPE_ARP => self.answer_arp(&question.octets),
            ETHERTYPE_IPV6 => self.answer_solicitation(question),
            _ => {}
        }
    }

    fn answer_arp(&mut self, request: &[u8]) {
        let body = &request[14..42];
        if body[7] != 1 || body[24..28] != PEER {
            return;
        }
        let mut reply = [&HOST_MAC[..], &PEER_MAC[..], &[8, 6], &body[..7], &[2]].concat();
        reply.extend(PEER_MAC);
        reply.extend(PEER);
        reply.extend(&body[8..18]);
        self.target.inject(&reply);
    }

    fn answer_solicitation(&mut self, question: &FrameIn) {
        let message = question.payload();
        if question.ip.is_none_or(|ip| ip.protocol != ICMPV6) || message[0] != SOLICITATION {
            return;
        }
        if message[8..24] == PEER_V6 {
            self.send_advertisement(Tweak { ttl: 255, ..Tweak::default() }, 0x60);
        }
    }

    /// Tells the host the peer's Ethernet address; `flags` are router, solicited, override from the left.
    pub fn send_advertisement(&mut self, tweak: Tweak, flags: u8) {
        let head = [ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
        self.send_icmp_message(tweak, [&head[..], &PEER_V6, &[2, 1], &PEER_MAC].concat());
    }
}

/// The group on which a host with this address is asked for (RFC 4291 §2.7.1), and its Ethernet address.
pub fn solicited_node(addr: [u8; 16]) -> (IpAddr, Mac) {
    let [.., a, b, c] = addr;
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c];
    (Ipv6Addr::from(group).into(), [0x33, 0x33, 0xff, a, b, c])
}
