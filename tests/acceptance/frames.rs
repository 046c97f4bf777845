//! Frames made by hand, sent past the peer's own stack.

use crate::site::{SERVER, Site, inside};
use handfast::host;
use handfast::lab::{LEFT, RIGHT};
use rustix::net::{
    AddressFamily, Protocol, RawProtocol, SendFlags, SocketFlags, SocketType, netdevice, send, socket_with,
};
use std::os::fd::{AsRawFd, OwnedFd};

/// Where the frames claim to come from; no host has this address.
pub const STRANGER: [u8; 4] = [10, 77, 0, 9];
/// Flags of TCP.
pub const SYN: u8 = 0x02;
pub const ACK: u8 = 0x10;
/// Octets of the Ethernet and IPv4 headers.
pub const ETHERNET: usize = 14;
pub const IP: usize = ETHERNET + 20;

/// Destination and source, as a frame from the left begins.
pub type Macs = [u8; 12];

/// A packet socket on the peer's end.
pub struct Wire {
    fd: OwnedFd,
    pub macs: Macs,
}

impl Wire {
    pub fn open(site: &Site) -> Wire {
        let left = inside(&site.lab.left, || host::interface(LEFT).unwrap().mac.0);
        let right = inside(&site.lab.right, || host::interface(RIGHT).unwrap().mac.0);
        let macs: Macs = [right, left].concat().try_into().unwrap();
        Wire { fd: site.client(packet_socket), macs }
    }

    /// Sends a frame as it is. The kernel refuses those that are shorter than a header or longer than the MTU.
    pub fn send(&self, frame: &[u8]) {
        let sent = send(&self.fd, frame, SendFlags::empty());
        assert_eq!(sent, Ok(frame.len()), "{} octets", frame.len());
    }
}

/// Sends on [`LEFT`], and receives nothing.
fn packet_socket() -> OwnedFd {
    let none = RawProtocol::new(0).map(Protocol::from_raw);
    let fd = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, none).unwrap();
    // SAFETY: the structure holds integers only, for which zero is a value.
    let mut addr = unsafe { std::mem::zeroed::<libc::sockaddr_ll>() };
    addr.sll_family = libc::AF_PACKET as u16;
    addr.sll_ifindex = netdevice::name_to_index(&fd, LEFT).unwrap() as i32;
    // SAFETY: the address and its length belong together.
    let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const addr).cast(), size_of_val(&addr) as libc::socklen_t) };
    assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
    fd
}

/// A segment to [`SERVER`] from port 1234 of [`STRANGER`] and sequence number 1000, right in every sum.
pub fn tcp(macs: Macs, port: u16, flags: u8, options: &[u8], text: &[u8]) -> Vec<u8> {
    let offset = 5 + options.len().div_ceil(4);
    let mut segment = [&1234u16.to_be_bytes()[..], &port.to_be_bytes(), &1000u32.to_be_bytes(), &[0; 4]].concat();
    segment.extend([(offset << 4) as u8, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(options);
    segment.resize(offset * 4, 0);
    segment.extend(text);
    ipv4(macs, 6, &segment)
}

/// An IPv4 packet to [`SERVER`] in its frame; sums are right, also that of TCP.
pub fn ipv4(macs: Macs, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = (20 + payload.len()) as u16;
    let mut frame = [&macs[..], &[8, 0, 0x45, 0], &total.to_be_bytes(), &[0, 0, 0x40, 0, 64, protocol, 0, 0]].concat();
    frame.extend([STRANGER, SERVER].concat());
    frame.extend(payload);
    mend(&mut frame);
    frame
}

/// A question by ARP for [`SERVER`].
pub fn arp(macs: Macs) -> Vec<u8> {
    let mut frame = [&[0xff; 6], &macs[6..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &macs[6..], &STRANGER].concat();
    frame.extend([0; 6]);
    frame.extend(SERVER);
    frame
}

/// An echo request.
pub fn ping(macs: Macs) -> Vec<u8> {
    let mut message = [8, 0, 0, 0, 0, 1, 0, 1, b'p', b'i', b'n', b'g'];
    let sum = checksum(0, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv4(macs, 1, &message)
}

/// Makes the sums of an IPv4 header without options, and of the TCP segment behind it, right again; leaves what is
/// too short for them as it is.
pub fn mend(frame: &mut [u8]) {
    if frame.len() < IP {
        return;
    }
    frame[ETHERNET + 10..ETHERNET + 12].fill(0);
    let sum = checksum(0, &frame[ETHERNET..IP]);
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
    if frame[ETHERNET + 9] == 6 && frame.len() >= IP + 20 {
        frame[IP + 16..IP + 18].fill(0);
        // The pseudo-header: both addresses, protocol and length.
        let addresses = u32::from(!checksum(0, &frame[ETHERNET + 12..IP]));
        let sum = checksum(addresses + 6 + (frame.len() - IP) as u32, &frame[IP..]);
        frame[IP + 16..IP + 18].copy_from_slice(&sum.to_be_bytes());
    }
}

/// The Internet checksum (RFC 1071), by the book.
fn checksum(start: u32, octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum = words.sum::<u32>() + start;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
