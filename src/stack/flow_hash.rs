//! The hash of the tables: as cheap as can be, as it is made for every frame.
//!
//! Two multiplications of 64 by 64 bits for IPv4, six for IPv6, the halves of each product folded together, over words
//! that a secret has changed. This is no cryptographic function, and need not be: nothing that is made of it is ever
//! sent. It has only to spread whatever tuples come, and not to let anybody who does not know the secret choose
//! such as fall together. What strangers do see a part of (initial numbers, timestamps, cookies) is SipHash's.

use crate::tcp::tuple_hash::TupleHash;
use crate::wire::{Addr, FourTuple};

/// A hash with a secret of its own.
#[derive(Clone, Copy)]
pub struct FlowHash {
    secret: [u64; 6],
}

impl FlowHash {
    /// With a secret that nobody outside knows.
    pub fn new(key: &[u8; 16]) -> Self {
        Self::another(key, 0)
    }

    /// The one of this number that a key makes: none tells of another.
    pub fn another(key: &[u8; 16], number: u16) -> Self {
        let words = TupleHash::new(key);
        FlowHash { secret: std::array::from_fn(|at| words.hash(&FourTuple::wildcard(6 * number + at as u16))) }
    }

    /// Of a tuple.
    #[inline(always)]
    pub fn hash(&self, tuple: &FourTuple) -> u64 {
        let [a, b, c, ..] = self.secret;
        let ports = u64::from(tuple.local_port) << 16 | u64::from(tuple.remote_port);
        let (local, remote) = (&tuple.local_addr, &tuple.remote_addr);
        // Both are of one family.
        if local.is_v4() {
            let addresses = u64::from(local.last_word()) << 32 | u64::from(remote.last_word());
            return folded(folded(addresses ^ a, ports ^ b), c);
        }
        folded(self.addr(local) ^ folded(self.addr(remote) ^ a, ports ^ b), c)
    }

    /// Of a number.
    #[inline(always)]
    pub fn number(&self, number: u64) -> u64 {
        let [.., c, d, e, _] = self.secret;
        folded(folded(number ^ d, e), c)
    }

    /// Of an address.
    #[inline(always)]
    pub fn addr(&self, addr: &Addr) -> u64 {
        let [.., c, d, e, f] = self.secret;
        let whole = u128::from_ne_bytes(*addr.octets());
        folded(folded(whole as u64 ^ d, (whole >> 64) as u64 ^ e) ^ f, c)
    }
}

/// The halves of a product, together.
#[inline(always)]
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(bits: u128, v4: bool) -> FourTuple {
        let remote = match v4 {
            true => Addr::from_v4(((bits >> 32) as u32).to_be_bytes()),
            false => Addr::from_v6((bits >> 32 | 0xfd << 120).to_be_bytes()),
        };
        let local_addr = if v4 { Addr::from_v4([10, 0, 0, 1]) } else { Addr::from_v6([0xfd; 16]) };
        FourTuple { local_addr, remote_addr: remote, local_port: (bits >> 16) as u16, remote_port: bits as u16 }
    }

    /// Whichever bit of a tuple changes, each bit of its hash changes for about half of the tuples.
    #[test]
    fn every_bit_of_a_tuple_counts_for_every_bit_of_its_hash() {
        for (v4, bits) in [(true, 64), (false, 128)] {
            for key in 1..4 {
                let hash = FlowHash::new(&[key; 16]);
                for bit in 0..bits {
                    let mut changed = [0u32; 64];
                    for n in 0..1_000u128 {
                        let seed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_0c8e_5ab1_8c1d) >> (128 - bits);
                        let difference = hash.hash(&tuple(seed, v4)) ^ hash.hash(&tuple(seed ^ 1 << bit, v4));
                        (0..64).for_each(|at| changed[at] += (difference >> at & 1) as u32);
                    }
                    let (least, most) = (changed.iter().min().unwrap(), changed.iter().max().unwrap());
                    assert!(*least > 380 && *most < 620, "bit {bit}, key {key}: {least} to {most} of 1,000");
                }
            }
        }
    }

    /// Neighbouring addresses, as those of a network are.
    #[test]
    fn addresses_in_a_row_spread() {
        let hash = FlowHash::new(&[7; 16]);
        let mut slots = [0u32; 256];
        (0..65_536u32).for_each(|n| slots[(hash.addr(&Addr::from_v4(n.to_be_bytes())) >> 56) as usize] += 1);
        assert!(slots.iter().all(|count| (150..380).contains(count)), "{slots:?}");
    }
}
