//! The Internet checksum: RFC 1071 (sum), RFC 1624 (incremental update), and the pseudo headers of TCP and ICMPv6.

use super::addr::Addr;

/// A one's complement sum under way, not folded yet: of words of 64 bits in memory order, each carry added at the other
/// end. As 2^16 is 1 modulo 2^16 - 1, and so is 2^64, what is left at the end is the sum of words of 16 bits; turned round
/// once it is in host order (RFC 1071 §2 (B)).
///
/// Pieces may be added in any order as long as each begins at an even offset of the packet; so only the last piece of a
/// packet may have an odd length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Sum = Sum(0);

    /// Adds eight octets as they lie in memory.
    #[inline(always)]
    const fn eight(self, octets: [u8; 8]) -> Sum {
        self.plus(Sum(u64::from_ne_bytes(octets)))
    }

    /// Adds a 32-bit value in host order.
    #[inline(always)]
    pub const fn word(self, value: u32) -> Sum {
        self.plus(Sum(value.to_be() as u64))
    }

    /// Adds another sum.
    #[inline(always)]
    pub const fn plus(self, other: Sum) -> Sum {
        let (sum, carry) = self.0.overflowing_add(other.0);
        Sum(sum + carry as u64)
    }

    /// Adds octets of the packet; an odd one at the end is padded by a zero (RFC 1071 §1).
    #[inline(always)]
    pub fn octets(self, octets: &[u8]) -> Sum {
        // A segment without text is nearly always one of these, a SYN the last; the loop would take three times as long.
        if let Some(header) = octets.as_array::<20>() {
            self.array(header)
        } else if let Some(header) = octets.as_array::<32>() {
            self.array(header)
        } else if let Some(header) = octets.as_array::<40>() {
            self.array(header)
        } else if octets.is_empty() {
            self
        } else {
            self.any_octets(octets)
        }
    }

    /// Adds octets whose number is known at compile time.
    #[inline(always)]
    pub fn array<const N: usize>(self, octets: &[u8; N]) -> Sum {
        self.in_words(octets)
    }

    #[inline(never)]
    fn any_octets(self, octets: &[u8]) -> Sum {
        self.in_words(octets)
    }

    #[inline(always)]
    fn in_words(self, octets: &[u8]) -> Sum {
        let (words, rest) = octets.as_chunks::<8>();
        words.iter().fold(self, |sum, word| sum.eight(*word)).plus(last(rest))
    }

    /// Adds an address. The `ffff` of the IPv4-mapped form is zero in one's complement, so both families take the same
    /// path.
    #[inline(always)]
    pub fn addr(self, addr: &Addr) -> Sum {
        self.array(addr.octets())
    }

    /// Adds a pseudo header: RFC 9293 §3.1 for IPv4, RFC 8200 §8.1 for IPv6; both have the same sum.
    #[inline(always)]
    pub fn pseudo_header(self, src: &Addr, dst: &Addr, protocol: u8, len: usize) -> Sum {
        let addresses = match src.is_v4() {
            true => self.word(src.last_word()).word(dst.last_word()),
            false => self.addr(src).addr(dst),
        };
        addresses.word(u32::from(protocol) + len as u32)
    }

    /// The sum in 16 bits, not complemented: what a NIC wants to find in the field when it does the rest.
    #[inline(always)]
    pub const fn folded(self) -> u16 {
        u16::from_be(fold(self.0))
    }

    /// The checksum: the complement of the sum.
    #[inline(always)]
    pub const fn checksum(self) -> u16 {
        !self.folded()
    }

    /// Whether a packet whose checksum field was summed with the rest is intact.
    #[inline(always)]
    pub const fn is_intact(self) -> bool {
        fold(self.0) == 0xffff
    }
}

/// The checksum after one 16-bit word of the packet changed from `old` to `new` (RFC 1624 §3, equation 3).
#[inline]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(!checksum as u64 + !old as u64 + new as u64)
}

/// Adds the halves until 16 bits are left; each time the carry goes to the other end.
#[inline(always)]
const fn fold(sum: u64) -> u16 {
    let (sum, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
    let sum = sum + carry as u32;
    let (sum, carry) = (sum as u16).overflowing_add((sum >> 16) as u16);
    sum + carry as u16
}

/// Up to seven octets at the end of a packet.
#[inline(always)]
fn last(octets: &[u8]) -> Sum {
    let (words, rest) = octets.as_chunks::<4>();
    let sum = words.iter().fold(0, |sum, word| sum + u64::from(u32::from_ne_bytes(*word)));
    let rest = match *rest {
        [] => [0, 0, 0, 0],
        [a] => [a, 0, 0, 0],
        [a, b] => [a, b, 0, 0],
        [a, b, c, ..] => [a, b, c, 0],
    };
    Sum(sum + u64::from(u32::from_ne_bytes(rest)))
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
