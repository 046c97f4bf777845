//! The Internet checksum: RFC 1071 (sum), RFC 1624 (incremental update), and the pseudo headers of TCP and ICMPv6.

use super::addr::Addr;

/// A one's complement sum under way, not folded yet.
///
/// Pieces may be added in any order as long as each begins at an even offset of the packet; so only the last piece of a
/// packet may have an odd length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Sum = Sum(0);

    /// Adds a 32-bit value in host order. As 2^16 is 1 modulo 2^16 - 1, it counts as its two halves.
    #[inline]
    pub const fn word(self, value: u32) -> Sum {
        Sum(self.0 + value as u64)
    }

    /// Adds another sum.
    #[inline]
    pub const fn plus(self, other: Sum) -> Sum {
        Sum(self.0 + other.0)
    }

    /// Adds octets of the packet; an odd one at the end is padded by a zero (RFC 1071 §1).
    #[inline]
    pub fn octets(self, octets: &[u8]) -> Sum {
        // Summed in memory order, turned round once at the end (RFC 1071 §2 (B)).
        Sum(self.0 + u64::from(u16::from_be(fold(sum_in_memory_order(octets)))))
    }

    /// Adds an address: four words of it. The `ffff` of the IPv4-mapped form is zero in one's complement, so both
    /// families take the same path.
    #[inline]
    pub fn addr(self, addr: &Addr) -> Sum {
        let a = u128::from_be_bytes(*addr.octets());
        self.word((a >> 96) as u32).word((a >> 64) as u32).word((a >> 32) as u32).word(a as u32)
    }

    /// Adds a pseudo header: RFC 9293 §3.1 for IPv4, RFC 8200 §8.1 for IPv6; both have the same sum.
    #[inline]
    pub fn pseudo_header(self, src: &Addr, dst: &Addr, protocol: u8, len: usize) -> Sum {
        self.addr(src).addr(dst).word(u32::from(protocol)).word(len as u32)
    }

    /// The sum in 16 bits, not complemented: what a NIC wants to find in the field when it does the rest.
    #[inline]
    pub const fn folded(self) -> u16 {
        fold(self.0)
    }

    /// The checksum: the complement of the sum.
    #[inline]
    pub const fn checksum(self) -> u16 {
        !fold(self.0)
    }

    /// Whether a packet whose checksum field was summed with the rest is intact.
    #[inline]
    pub const fn is_intact(self) -> bool {
        fold(self.0) == 0xffff
    }
}

/// The checksum after one 16-bit word of the packet changed from `old` to `new` (RFC 1624 §3, equation 3).
#[inline]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(!checksum as u64 + !old as u64 + new as u64)
}

#[inline]
const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// Sums 32-bit words in four lanes, which compilers turn into vector adds. A lane overflows after 2^32 words.
#[inline]
fn sum_in_memory_order(octets: &[u8]) -> u64 {
    #[inline(always)]
    fn word(octets: [u8; 4]) -> u64 {
        u64::from(u32::from_ne_bytes(octets))
    }
    let mut lanes = [0u64; 4];
    let (blocks, rest) = octets.as_chunks::<16>();
    for block in blocks {
        for (lane, octets) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
            *lane += word(*octets);
        }
    }
    let mut sum = lanes[0] + lanes[1] + lanes[2] + lanes[3];
    let (words, rest) = rest.as_chunks::<4>();
    for octets in words {
        sum += word(*octets);
    }
    sum + match *rest {
        [] => 0,
        [a] => word([a, 0, 0, 0]),
        [a, b] => word([a, b, 0, 0]),
        [a, b, c, ..] => word([a, b, c, 0]),
    }
}
