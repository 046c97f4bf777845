//! Which part of a growing table a hash belongs to: spiral storage (G. N. N. Martin, 1979), a linear hashing whose parts
//! are unequal on purpose.
//!
//! With equal parts all of them grow full at the same time, and a table that has just doubled is half empty. Here the
//! share of a part falls smoothly from the first to the last, which has half as much: at any time some parts are full,
//! some have just been split, and the average is always the same.

/// Parts in use are numbered from `first` to below `2 * first`; growing takes the first away and adds two at the end.
#[derive(Clone, Copy, Debug)]
pub struct Spiral {
    first: u64,
    /// By how much a significand is shifted to be compared with `first`.
    shift: u32,
}

impl Spiral {
    /// One part.
    pub fn new() -> Self {
        Spiral { first: 1, shift: u64::BITS - 1 }
    }

    /// How many parts there are; also the number of the first.
    pub fn parts(&self) -> u64 {
        self.first
    }

    /// The number of the part that a hash belongs to.
    #[inline]
    pub fn locate(&self, hash: u64) -> u64 {
        let significand = significand(hash);
        let coarse = significand >> self.shift;
        // What is below `first` was split by one bit more.
        if coarse >= self.first { coarse } else { significand >> (self.shift - 1) }
    }

    /// Takes the first part away and gives its number `n`: what was in it belongs to the new parts `2n` and `2n + 1`.
    pub fn grow(&mut self) -> u64 {
        self.first += 1;
        self.shift = self.first.leading_zeros();
        self.first - 1
    }
}

/// A number in [1, 2) of 63 bits after the point, close to 2^x for a hash x in [0, 1): ((1 + x)² + 2) / 3, whose density
/// falls by half from 1 to 2 as that of 2^x does. The highest 8 bits of the hash are left to hashbrown, which tells the
/// entries of one part apart by them.
#[inline]
fn significand(hash: u64) -> u64 {
    const THIRD: u64 = u64::MAX / 3;
    let x = hash << 8;
    let slope = 2 * THIRD + high(x, THIRD);
    1 << 63 | high(x, slope) >> 1
}

/// The upper half of a product: of two fractions.
#[inline]
fn high(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn growing_moves_nothing_but_what_was_in_the_part_split(hash in any::<u64>(), steps in 1u32..5_000) {
            let mut spiral = Spiral::new();
            for _ in 0..steps {
                let before = spiral.locate(hash);
                let split = spiral.grow();
                let after = spiral.locate(hash);
                if before == split {
                    prop_assert!(after == 2 * split || after == 2 * split + 1, "{before} went to {after}");
                } else {
                    prop_assert_eq!(before, after);
                }
                prop_assert!((spiral.parts()..2 * spiral.parts()).contains(&after));
            }
        }
    }

    #[test]
    fn the_share_of_a_part_falls_smoothly_to_half() {
        let mut spiral = Spiral::new();
        while spiral.parts() < 100 {
            spiral.grow();
        }
        let mut shares = [0u32; 200];
        let step = u64::MAX / 1_000_000;
        (0..1_000_000u64).for_each(|i| shares[spiral.locate((i * step) >> 8) as usize] += 1);
        for (number, share) in shares.iter().enumerate().skip(100) {
            // log2(1 + 1 / n) of all, to within a twentieth.
            let ideal = 1e6 * (1.0 + 1.0 / number as f64).log2();
            assert!((f64::from(*share) / ideal - 1.0).abs() < 0.05, "part {number}: {share}, ideally {ideal}");
        }
    }
}
