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
    #[inline(always)]
    pub fn addr(self, addr: &Addr) -> Sum {
        let a = u128::from_be_bytes(*addr.octets());
        self.word((a >> 96) as u32).word((a >> 64) as u32).word((a >> 32) as u32).word(a as u32)
    }

    /// Adds a pseudo header: RFC 9293 §3.1 for IPv4, RFC 8200 §8.1 for IPv6; both have the same sum.
    #[inline(always)]
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

/// Sums words of 64 bits with their carries (an addition and one with carry each), and what is left of the last one. The
/// upper half of the sum is a count of carries: as 2^64 is 1 modulo 2^16 - 1, it counts as it stands.
#[inline]
fn sum_in_memory_order(octets: &[u8]) -> u64 {
    let (words, rest) = octets.as_chunks::<8>();
    let mut sum = words.iter().fold(0u128, |sum, word| sum + u128::from(u64::from_ne_bytes(*word)));
    let (words, rest) = rest.as_chunks::<4>();
    for word in words {
        sum += u128::from(u32::from_ne_bytes(*word));
    }
    let last = match *rest {
        [] => [0, 0, 0, 0],
        [a] => [a, 0, 0, 0],
        [a, b] => [a, b, 0, 0],
        [a, b, c, ..] => [a, b, c, 0],
    };
    let sum = sum + u128::from(u32::from_ne_bytes(last));
    // The halves of the lower half apart, so that nothing overflows.
    let (low, carries) = (sum as u64, (sum >> 64) as u64);
    (low & 0xffff_ffff) + (low >> 32) + carries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden::{hex, slow_checksum};
    use proptest::prelude::*;

    #[test]
    fn known_sums() {
        // The example of RFC 1071 §3, and an IPv4 header from a textbook.
        assert_eq!(Sum::ZERO.octets(&hex("0001 f203 f4f5 f6f7")).folded(), 0xddf2);
        let header = hex("4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7");
        assert!(Sum::ZERO.octets(&header).is_intact());
        assert_eq!(Sum::ZERO.octets(&header[..10]).octets(&header[12..]).checksum(), 0xb861);
    }

    #[test]
    fn all_ones_of_every_length_do_not_overflow() {
        let octets = vec![0xff; 65_535];
        for len in (0..200).chain([1_499, 1_500, 9_000, 65_534, 65_535]) {
            assert_eq!(Sum::ZERO.octets(&octets[..len]).checksum(), slow_checksum(&octets[..len]), "{len} octets");
        }
    }

    proptest! {
        #[test]
        fn fast_is_slow(octets in prop::collection::vec(any::<u8>(), 0..200), offset in 0usize..8) {
            let octets = &octets[offset.min(octets.len())..];
            prop_assert_eq!(Sum::ZERO.octets(octets).checksum(), slow_checksum(octets));
        }

        #[test]
        fn pieces_at_even_offsets_add_up(octets in prop::collection::vec(any::<u8>(), 0..100), at in 0usize..50) {
            let (a, b) = octets.split_at((at * 2).min(octets.len() & !1));
            let whole = Sum::ZERO.octets(&octets).folded();
            prop_assert_eq!(Sum::ZERO.octets(b).plus(Sum::ZERO.octets(a)).folded(), whole);
        }

        #[test]
        fn update_is_a_new_sum(mut octets in prop::collection::vec(any::<u8>(), 4..100), at in 0usize..50, new: u16) {
            let at = at * 2 % (octets.len() & !1);
            let before = Sum::ZERO.octets(&octets).checksum();
            let old = u16::from_be_bytes([octets[at], octets[at + 1]]);
            octets[at..at + 2].copy_from_slice(&new.to_be_bytes());
            let updated = update(before, old, new);
            // 0 and 0xffff are one value.
            prop_assert_eq!(updated % 0xffff, Sum::ZERO.octets(&octets).checksum() % 0xffff);
        }

        #[test]
        fn mapped_form_adds_nothing_to_a_pseudo_header(src: [u8; 4], dst: [u8; 4], len: u16) {
            let mut pseudo = [&src[..], &dst[..], &[0, 6]].concat();
            pseudo.extend_from_slice(&len.to_be_bytes());
            let sum = Sum::ZERO.pseudo_header(&Addr::from_v4(src), &Addr::from_v4(dst), 6, usize::from(len));
            prop_assert_eq!(sum.checksum(), slow_checksum(&pseudo));
        }
    }
}
