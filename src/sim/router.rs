//! What lies between two hosts and is neither: a link that tags frames with a VLAN, and a router that tells what the path
//! carries.

use crate::wire::checksum::Sum;
use crate::wire::ip::{self, Ip};
use crate::wire::{Addr, ipv4, ipv6};

/// Octets of an Ethernet header.
const ETHERNET: usize = 14;
/// Octets of a VLAN tag.
const TAG: usize = 4;
/// The EtherType that announces it (IEEE 802.1Q).
pub const TAGGED: [u8; 2] = [0x81, 0x00];
/// Octets of the header of an ICMP error, in both families.
const ICMP: usize = 8;

/// Puts a tag into the first `len` octets of a frame's buffer; says how long the frame is then.
pub fn tag(buffer: &mut [u8], len: usize, vlan: u16) -> usize {
    buffer.copy_within(12..len, 12 + TAG);
    buffer[12..14].copy_from_slice(&TAGGED);
    buffer[14..16].copy_from_slice(&vlan.to_be_bytes());
    len + TAG
}

/// Takes the tag out again, if there is one; says how long the frame is then, and what the tag was.
pub fn untag(buffer: &mut [u8], len: usize) -> (usize, Option<u16>) {
    if buffer[12..14] != TAGGED {
        return (len, None);
    }
    let vlan = u16::from_be_bytes([buffer[14], buffer[15]]);
    buffer.copy_within(12 + TAG..len, 12);
    (len - TAG, Some(vlan))
}

/// A router's answer to a frame of `from` to `to` that the path does not carry: "fragmentation needed" (RFC 1191 §4) or
/// "packet too big" (RFC 4443 §3.2). Written to `buffer`; says its length.
pub fn too_big(buffer: &mut [u8], frame: &[u8], (from, to): (Addr, Addr), mtu: u16) -> usize {
    let quoted = &frame[ETHERNET..];
    // It has the peer's address: which one does not matter, and that one is known to be no address of the sender's.
    let ip = Ip { src: to, dst: from, hop_limit: 60, traffic_class: 0 };
    let (ether_type, header, protocol) = match from.is_v4() {
        true => ([0x08, 0x00], ipv4::HEADER_LEN, ip::ICMP),
        false => ([0x86, 0xdd], ipv6::HEADER_LEN, ip::ICMPV6),
    };
    let quote = &quoted[..quoted.len().min(header + 28)];
    buffer[..6].copy_from_slice(&frame[6..12]);
    buffer[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 0xfe]);
    buffer[12..14].copy_from_slice(&ether_type);
    let start = ETHERNET + header;
    let message = &mut buffer[start..start + ICMP + quote.len()];
    message[..ICMP].fill(0);
    (message[0], message[1]) = if from.is_v4() { (3, 4) } else { (2, 0) };
    message[6..8].copy_from_slice(&mtu.to_be_bytes());
    message[ICMP..].copy_from_slice(quote);
    let pseudo = match from.is_v4() {
        true => Sum::ZERO,
        false => Sum::ZERO.pseudo_header(&ip.src, &ip.dst, protocol, message.len()),
    };
    let checksum = pseudo.octets(message).checksum();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let packet = &mut buffer[ETHERNET..];
    match from.is_v4() {
        true => ipv4::emit(packet, &ip, protocol, ICMP + quote.len()),
        false => ipv6::emit(packet, &ip, protocol, ICMP + quote.len()),
    };
    start + ICMP + quote.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::{self, Envelope, Incoming, Link, Other, TxChecksum, VerifyChecksum};
    use crate::wire::icmp::ErrorKind;
    use crate::wire::tcp::Header;
    use crate::wire::{FourTuple, MacAddr, SeqNum};

    #[test]
    fn a_router_is_understood_in_both_families_through_a_tag_and_without() {
        let v6 = |host: u8| Addr::from_v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
        let v4 = |host: u8| Addr::from_v4([10, 0, 0, host]);
        for (a, b) in [(v4(1), v4(2)), (v6(1), v6(2))] {
            let tuple = FourTuple { local_addr: a, remote_addr: b, local_port: 5, remote_port: 6 };
            let link = Link { src: MacAddr([2, 0, 0, 0, 0, 1]), dst: MacAddr([2, 0, 0, 0, 0, 2]), vlan: None };
            let envelope = Envelope { link, tuple, hop_limit: 64, traffic_class: 0, checksum: TxChecksum::Full };
            let (mut large, mut answer) = ([0; 2_048], [0; 2_048]);
            let header = Header { seq: SeqNum(77), ..Header::default() };
            let len = frame::emit_tcp(&mut large, &envelope, &header, 1_400, |text| text.fill(1));
            let len = too_big(&mut answer, &large[..len], (a, b), 1_300);
            let tagged = tag(&mut answer, len, 9);
            assert!(frame::parse(&answer[..tagged], VerifyChecksum::Yes).is_ok());
            assert_eq!(untag(&mut answer, tagged), (len, Some(9)));
            let Ok(Incoming::Other(Other::IcmpError { error, link, .. })) =
                frame::parse(&answer[..len], VerifyChecksum::Yes)
            else {
                panic!("{:?}", frame::parse(&answer[..len], VerifyChecksum::Yes));
            };
            assert_eq!((error.kind, error.seq), (ErrorKind::PacketTooBig { mtu: 1_300 }, SeqNum(77)));
            assert_eq!((error.tuple, link.dst), (tuple, MacAddr([2, 0, 0, 0, 0, 1])));
        }
    }
}
