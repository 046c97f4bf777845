//! All randomness of a run: one seed, one generator, and streams of octets that are functions of their place.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// A seeded generator. Ranges are reduced here and not by a library, so that nothing but the generator must stay stable.
pub struct Random(Xoshiro256PlusPlus);

impl Random {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        Random(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    /// A number from `first` to `last`, both included.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// True with this probability; a probability of 0 draws nothing.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && ((self.bits() >> 11) as f64) < probability * (1u64 << 53) as f64
    }

    /// A number up to `most` whose magnitude, rather than whose value, is evenly spread.
    pub fn magnitude(&mut self, most: u64) -> u64 {
        let bits = self.below(u64::from(u64::BITS - most.leading_zeros()) + 1);
        self.below((1u64 << bits).min(most) + 1).min(most)
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// A seed made of two others.
pub fn mix(seed: u64, with: u64) -> u64 {
    let mut z = seed ^ with.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x632b_e59b_d9b4_e019);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The octets of one direction of one connection, so that a receiver needs no copy to compare with.
#[derive(Clone, Copy)]
pub struct Stream(u64);

impl Stream {
    /// The stream of `connection` that its end `side` sends.
    pub fn new(seed: u64, connection: u32, side: u8) -> Self {
        Stream(mix(seed, u64::from(connection) << 1 | u64::from(side)))
    }

    /// Fills `into` with the octets from `offset` on.
    pub fn fill(self, offset: u64, into: &mut [u8]) {
        let mut at = offset;
        let mut rest = into;
        while !rest.is_empty() {
            let word = mix(self.0, at / 8).to_le_bytes();
            let word = &word[(at % 8) as usize..];
            let n = word.len().min(rest.len());
            rest[..n].copy_from_slice(&word[..n]);
            at += n as u64;
            rest = &mut rest[n..];
        }
    }

    /// Where `octets`, which should be those from `offset` on, first differ.
    pub fn differs(self, offset: u64, octets: &[u8]) -> Option<u64> {
        let mut expected = [0; 512];
        let mut at = offset;
        for part in octets.chunks(expected.len()) {
            let expected = &mut expected[..part.len()];
            self.fill(at, expected);
            if let Some(wrong) = part.iter().zip(expected).position(|(is, should)| is != should) {
                return Some(at + wrong as u64);
            }
            at += part.len() as u64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_a_function_of_place_alone() {
        let stream = Stream::new(7, 3, 1);
        let mut whole = [0; 100];
        stream.fill(0, &mut whole);
        for at in 0..90 {
            let mut part = [0; 10];
            stream.fill(at as u64, &mut part);
            assert_eq!(part, whole[at..at + 10]);
        }
        whole[60] ^= 1;
        assert_eq!(stream.differs(50, &whole[50..]), Some(60));
        assert_eq!(stream.differs(0, &whole[..60]), None);
    }

    /// The first numbers of seed 1: if they change, every kept seed means another run.
    #[test]
    fn the_generator_is_the_one_that_seeds_were_kept_for() {
        let mut random = Random::new(1);
        assert_eq!([random.bits(), random.bits()], [14_971_601_782_005_023_387, 13_781_649_495_232_077_965]);
    }
}
