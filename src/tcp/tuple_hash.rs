//! SipHash (Aumasson and Bernstein, 2012) of 4-tuples with a secret key: what nobody outside may predict is made of it.
//!
//! An IPv4 tuple is two words of 64 bits, an IPv6 tuple five: over so little a hasher of streams takes twice as long, so
//! the rounds are written out for whole words. The results are those of any SipHash over [`write_tuple`]'s octets.

use crate::wire::FourTuple;
use std::hash::Hasher;

/// SipHash-2-4, keyed: two rounds a word and four at the end.
#[derive(Clone, Copy)]
pub struct TupleHash {
    start: [u64; 4],
}

impl TupleHash {
    /// With this key.
    pub fn new(key: &[u8; 16]) -> Self {
        let key = u128::from_le_bytes(*key);
        let (k0, k1) = (key as u64, (key >> 64) as u64);
        let start = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        TupleHash { start }
    }

    /// A tuple's hash.
    #[inline]
    pub fn hash(&self, tuple: &FourTuple) -> u64 {
        let ports = u64::from(ports(tuple));
        match addresses_v4(tuple) {
            Some(addresses) => self.words([addresses, 12 << 56 | ports]),
            None => {
                let [l0, l1] = halves(tuple.local_addr.octets());
                let [r0, r1] = halves(tuple.remote_addr.octets());
                self.words([l0, l1, r0, r1, 36 << 56 | ports])
            }
        }
    }

    /// The hash of words, the last of which holds the length and what is left of the octets.
    #[inline]
    fn words<const N: usize>(&self, words: [u64; N]) -> u64 {
        let mut v = self.start;
        for word in words {
            v[3] ^= word;
            (0..2).for_each(|_| round(&mut v));
            v[0] ^= word;
        }
        v[2] ^= 0xff;
        (0..4).for_each(|_| round(&mut v));
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

#[inline(always)]
fn round([v0, v1, v2, v3]: &mut [u64; 4]) {
    *v0 = v0.wrapping_add(*v1);
    *v2 = v2.wrapping_add(*v3);
    *v1 = v1.rotate_left(13) ^ *v0;
    *v3 = v3.rotate_left(16) ^ *v2;
    *v0 = v0.rotate_left(32);
    *v2 = v2.wrapping_add(*v1);
    *v0 = v0.wrapping_add(*v3);
    *v1 = v1.rotate_left(17) ^ *v2;
    *v3 = v3.rotate_left(21) ^ *v0;
    *v2 = v2.rotate_left(32);
}

#[inline]
fn ports(tuple: &FourTuple) -> u32 {
    u32::from(tuple.local_port) << 16 | u32::from(tuple.remote_port)
}

#[inline]
fn addresses_v4(tuple: &FourTuple) -> Option<u64> {
    let (local, remote) = (tuple.local_addr.v4()?, tuple.remote_addr.v4()?);
    Some(u64::from(u32::from_be_bytes(local)) << 32 | u64::from(u32::from_be_bytes(remote)))
}

fn halves(octets: &[u8; 16]) -> [u64; 2] {
    let whole = u128::from_le_bytes(*octets);
    [whole as u64, (whole >> 64) as u64]
}

/// Feeds a tuple to a hasher of streams: 12 octets for IPv4, 36 for IPv6.
pub fn write_tuple(hasher: &mut impl Hasher, tuple: &FourTuple) {
    match addresses_v4(tuple) {
        Some(addresses) => hasher.write_u64(addresses),
        None => {
            hasher.write(tuple.local_addr.octets());
            hasher.write(tuple.remote_addr.octets());
        }
    }
    hasher.write_u32(ports(tuple));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Addr;
    use proptest::prelude::*;
    use siphasher::sip::SipHasher24;

    proptest! {
        #[test]
        fn it_is_siphash(key: [u8; 16], local: [u8; 16], remote: [u8; 16], v4: bool, local_port: u16, remote_port: u16) {
            let addr = |octets: [u8; 16]| match octets {
                [a, b, c, d, ..] if v4 => Addr::from_v4([a, b, c, d]),
                octets => Addr::from_v6(octets),
            };
            let (local_addr, remote_addr) = (addr(local), addr(remote));
            let tuple = FourTuple { local_addr, remote_addr, local_port, remote_port };
            let mut sip = SipHasher24::new_with_key(&key);
            write_tuple(&mut sip, &tuple);
            prop_assert_eq!(TupleHash::new(&key).hash(&tuple), sip.finish());
        }
    }
}
