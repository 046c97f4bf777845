//! Sequence numbers and their arithmetic modulo 2^32, RFC 9293 §3.4.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// A TCP sequence number.
///
/// Not `Ord`: "before" has a meaning only for two numbers less than 2^31 apart, so ask with the methods.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// `self < other` in sequence space.
    #[inline]
    pub const fn before(self, other: SeqNum) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// `self > other` in sequence space.
    #[inline]
    pub const fn after(self, other: SeqNum) -> bool {
        other.before(self)
    }

    /// `self <= other` in sequence space.
    #[inline]
    pub const fn at_or_before(self, other: SeqNum) -> bool {
        !other.before(self)
    }

    /// `self >= other` in sequence space.
    #[inline]
    pub const fn at_or_after(self, other: SeqNum) -> bool {
        !self.before(other)
    }

    /// Octets from `earlier` up to `self`, modulo 2^32.
    #[inline]
    pub const fn distance_from(self, earlier: SeqNum) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// The later of the two.
    #[inline]
    pub const fn max(self, other: SeqNum) -> SeqNum {
        if self.before(other) { other } else { self }
    }

    /// The earlier of the two.
    #[inline]
    pub const fn min(self, other: SeqNum) -> SeqNum {
        if self.before(other) { self } else { other }
    }
}

impl Add<u32> for SeqNum {
    type Output = SeqNum;
    #[inline]
    fn add(self, octets: u32) -> SeqNum {
        SeqNum(self.0.wrapping_add(octets))
    }
}

impl Sub<u32> for SeqNum {
    type Output = SeqNum;
    #[inline]
    fn sub(self, octets: u32) -> SeqNum {
        SeqNum(self.0.wrapping_sub(octets))
    }
}

impl AddAssign<u32> for SeqNum {
    #[inline]
    fn add_assign(&mut self, octets: u32) {
        *self = *self + octets;
    }
}

impl fmt::Debug for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Where the laws are tried: at 0, in the middle, where the sign changes, and across the wrap.
    const BASES: [u32; 7] = [0, 1, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX];
    const STEPS: [u32; 5] = [1, 2, 65_535, 1 << 30, (1 << 31) - 1];

    #[test]
    fn later_is_after_wherever_it_starts() {
        for base in BASES.map(SeqNum) {
            assert!(base.at_or_before(base) && base.at_or_after(base) && !base.before(base) && !base.after(base));
            for step in STEPS {
                let later = base + step;
                assert!(base.before(later) && !later.before(base), "{base} + {step}");
                assert!(later.after(base) && !base.after(later), "{base} + {step}");
                assert!(base.at_or_before(later) && later.at_or_after(base), "{base} + {step}");
                assert!(!later.at_or_before(base) && !base.at_or_after(later), "{base} + {step}");
                assert_eq!((later.distance_from(base), later - step), (step, base));
                assert_eq!((base.max(later), later.max(base)), (later, later));
                assert_eq!((base.min(later), later.min(base)), (base, base));
            }
        }
    }

    proptest! {
        #[test]
        fn order_does_not_depend_on_where_zero_is(a: u32, step in 0u32..1 << 31, shift: u32) {
            let (a, b) = (SeqNum(a), SeqNum(a) + step);
            prop_assert_eq!(a.before(b), (a + shift).before(b + shift));
            prop_assert_eq!(a.before(b), step != 0);
            let mut c = a;
            c += step;
            prop_assert_eq!(c, b);
        }
    }
}
