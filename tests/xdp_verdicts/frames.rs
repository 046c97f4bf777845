//! Frames by hand, octet by octet.

use super::{OTHER6, PORT};

pub const ARP: u16 = 0x0806;
pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86dd;
pub const VLAN: u16 = 0x8100;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMP: u8 = 1;
pub const ICMPV6: u8 = 58;
pub const HOP_BY_HOP: u8 = 0;
pub const ROUTING: u8 = 43;
pub const DESTINATION_OPTIONS: u8 = 60;
pub const FRAGMENT: u8 = 44;

/// An Ethernet frame.
pub fn eth(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &ether_type.to_be_bytes(), payload].concat()
}

/// One VLAN tag before `inner_type`.
pub fn tag(inner_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[0, 5][..], &inner_type.to_be_bytes(), payload].concat()
}

pub fn ipv4(to: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = 20 + payload.len() as u16;
    let mut ip = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0, 10, 77, 0, 1];
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    [&ip[..], &to, payload].concat()
}

pub fn ipv6(to: [u8; 16], next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut ip = [0x60, 0, 0, 0, 0, 0, next_header, 255];
    ip[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    [&ip[..], &OTHER6, &to, payload].concat()
}

/// A SYN with data behind it.
pub fn tcp(port: u16, data_offset: u8, data: &[u8]) -> Vec<u8> {
    let mut header = vec![0x9c, 0x40, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, data_offset << 4, 2, 0xff, 0xff, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&port.to_be_bytes());
    [&header[..], data].concat()
}

pub fn arp(operation: u8, target: [u8; 4]) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    [&head[..], &[2, 0, 0, 0, 0, 2, 10, 77, 0, 1], &[0; 6], &target].concat()
}

/// Neighbour solicitation (135) or advertisement (136).
pub fn ndp(kind: u8, target: [u8; 16]) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &target].concat()
}

/// An options header of `octets` length that is followed by `next_header`.
pub fn options(next_header: u8, octets: usize) -> Vec<u8> {
    let mut header = vec![0; octets];
    header[0] = next_header;
    header[1] = (octets / 8 - 1) as u8;
    header
}

/// The fragment header of IPv6; `offset` with its flag.
pub fn fragment(next_header: u8, offset: u16) -> [u8; 8] {
    let [high, low] = offset.to_be_bytes();
    [next_header, 0, high, low, 0, 0, 0, 1]
}

/// A segment of ours from this port.
pub fn from(port: u16) -> Vec<u8> {
    with(tcp(PORT, 5, &[]), 0, &[port.to_be_bytes(), [0x9c, 0x40]].concat())
}

/// An ICMP or ICMPv6 message that quotes this.
pub fn icmp(kind: u8, quote: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 0, 0, 0][..], quote].concat()
}

/// `octets` with `value` written at `at`.
pub fn with(mut octets: Vec<u8>, at: usize, value: &[u8]) -> Vec<u8> {
    octets[at..at + value.len()].copy_from_slice(value);
    octets
}
