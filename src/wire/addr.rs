//! Addresses and the 4-tuple, for IPv4 and IPv6 alike.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An IP address of either family in 16 octets; IPv4 in its mapped form `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2).
///
/// One size for both families keeps one table and one code path; [`Addr::v4`] tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Addr([u8; 16]);

impl Addr {
    /// `0.0.0.0`.
    pub const UNSPECIFIED_V4: Addr = Addr::from_v4([0; 4]);

    /// The IPv4 address of these four octets, in network order.
    #[inline]
    pub const fn from_v4(o: [u8; 4]) -> Self {
        // By way of an integer, here and below: octets stored one by one and read back as a whole stall the pipeline.
        Addr((0xffff_0000_0000 | u32::from_be_bytes(o) as u128).to_be_bytes())
    }

    /// The IPv6 address of these sixteen octets, in network order.
    #[inline]
    pub const fn from_v6(octets: [u8; 16]) -> Self {
        Addr(octets)
    }

    /// The four octets when this is an IPv4 address.
    #[inline]
    pub fn v4(&self) -> Option<[u8; 4]> {
        self.is_v4().then(|| self.last_word().to_be_bytes())
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    pub fn is_v4(&self) -> bool {
        const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
        self.0.first_chunk() == Some(&MAPPED)
    }

    /// The last four octets, as a number: all of an IPv4 address.
    #[inline(always)]
    pub fn last_word(&self) -> u32 {
        let [.., a, b, c, d] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }

    /// All sixteen octets, in network order.
    #[inline]
    pub const fn octets(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether `self` and `other` are of one family and share their first `prefix_len` bits
    /// (counted within the family: 0–32 for IPv4, 0–128 for IPv6).
    pub fn shares_prefix(&self, other: &Addr, prefix_len: u8) -> bool {
        if self.is_v4() != other.is_v4() {
            return false;
        }
        let bits = if self.is_v4() { 96 + u32::from(prefix_len.min(32)) } else { u32::from(prefix_len.min(128)) };
        let difference = u128::from_be_bytes(self.0) ^ u128::from_be_bytes(other.0);
        difference.leading_zeros() >= bits
    }
}

/// As numbers: the order of their octets.
impl Ord for Addr {
    #[inline]
    fn cmp(&self, other: &Addr) -> Ordering {
        u128::from_be_bytes(self.0).cmp(&u128::from_be_bytes(other.0))
    }
}

impl PartialOrd for Addr {
    #[inline]
    fn partial_cmp(&self, other: &Addr) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<Ipv4Addr> for Addr {
    fn from(a: Ipv4Addr) -> Self {
        Addr::from_v4(a.octets())
    }
}

impl From<Ipv6Addr> for Addr {
    fn from(a: Ipv6Addr) -> Self {
        Addr(a.octets())
    }
}

impl From<IpAddr> for Addr {
    fn from(a: IpAddr) -> Self {
        match a {
            IpAddr::V4(a) => a.into(),
            IpAddr::V6(a) => a.into(),
        }
    }
}

impl From<Addr> for IpAddr {
    fn from(a: Addr) -> Self {
        match a.v4() {
            Some(octets) => IpAddr::V4(octets.into()),
            None => IpAddr::V6(a.0.into()),
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The pair of sockets that names a connection, seen from our side (RFC 9293 §3.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FourTuple {
    /// Our address.
    pub local_addr: Addr,
    /// The peer's address.
    pub remote_addr: Addr,
    /// Our port, host order.
    pub local_port: u16,
    /// The peer's port, host order.
    pub remote_port: u16,
}

const _: () = assert!(size_of::<FourTuple>() == 36);

impl FourTuple {
    /// A listener on `port`: any of our addresses, any peer.
    pub const fn wildcard(port: u16) -> Self {
        let any = Addr::UNSPECIFIED_V4;
        FourTuple { local_addr: any, remote_addr: any, local_port: port, remote_port: 0 }
    }

    /// Our end.
    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(self.local_addr.into(), self.local_port)
    }

    /// As the other end sees it.
    pub fn reversed(&self) -> FourTuple {
        let FourTuple { local_addr, remote_addr, local_port, remote_port } = *self;
        FourTuple { local_addr: remote_addr, remote_addr: local_addr, local_port: remote_port, remote_port: local_port }
    }

    /// The peer's end.
    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.remote_addr.into(), self.remote_port)
    }
}

impl fmt::Display for FourTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <-> {}", self.local(), self.remote())
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);

    /// Whether the group bit is set: multicast or broadcast.
    #[inline]
    pub const fn is_group(&self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
