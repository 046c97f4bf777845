//! The Toeplitz hash, by which NICs spread flows over their queues (receive-side scaling).
//!
//! Each bit of the input that is set adds (by exclusive or) the 32 bits of the key that begin at its place. As the hash is
//! linear, what four bits add is looked up at once, and changing one field changes the hash by that field alone.

use crate::wire::{Addr, FourTuple};

/// Octets hashed of an IPv6 tuple: two addresses and two ports. IPv4 has 12.
const LONGEST_INPUT: usize = 36;

/// Octets of the shortest key that serves both families.
pub const LEAST_KEY: usize = LONGEST_INPUT + 4;

/// The hash with one key.
pub struct Toeplitz {
    /// What the value of each half octet adds, for each of their places.
    adds: Box<[[u32; 16]; 2 * LONGEST_INPUT]>,
}

impl Toeplitz {
    /// With this key; `None` if it is shorter than [`LEAST_KEY`]. What is beyond is not used.
    pub fn new(key: &[u8]) -> Option<Self> {
        let key = key.get(..LEAST_KEY)?;
        let window = |bit: usize| {
            let octets: [u8; 8] = std::array::from_fn(|i| key.get(bit / 8 + i).copied().unwrap_or(0));
            (u64::from_be_bytes(octets) << (bit % 8) >> 32) as u32
        };
        let adds = std::array::from_fn(|half| {
            std::array::from_fn(|value| {
                let bits = (0..4).filter(|bit| value >> (3 - bit) & 1 == 1);
                bits.fold(0, |sum, bit| sum ^ window(half * 4 + bit))
            })
        });
        Some(Toeplitz { adds: Box::new(adds) })
    }

    /// The hash of a tuple as the NIC sees it: the peer is the source.
    pub fn hash(&self, tuple: &FourTuple) -> u32 {
        let FourTuple { local_addr, remote_addr, local_port, remote_port } = tuple;
        self.hash_but_local_port(local_addr, remote_addr, *remote_port)
            ^ self.local_port(*local_port, local_addr.is_v4())
    }

    /// The hash without what our own port adds.
    pub fn hash_but_local_port(&self, local: &Addr, remote: &Addr, remote_port: u16) -> u32 {
        let port = remote_port.to_be_bytes();
        match (remote.v4(), local.v4()) {
            (Some(remote), Some(local)) => {
                self.octets(0, &remote) ^ self.octets(4, &local) ^ self.octets(port_at(true), &port)
            }
            _ => self.octets(0, remote.octets()) ^ self.octets(16, local.octets()) ^ self.octets(port_at(false), &port),
        }
    }

    /// What our own port adds.
    pub fn local_port(&self, port: u16, v4: bool) -> u32 {
        self.octets(port_at(v4) + 2, &port.to_be_bytes())
    }

    /// What these octets add at that place of the input.
    fn octets(&self, at: usize, octets: &[u8]) -> u32 {
        octets
            .iter()
            .zip(self.adds[2 * at..].chunks_exact(2))
            .fold(0, |sum, (octet, adds)| sum ^ adds[0][usize::from(octet >> 4)] ^ adds[1][usize::from(octet & 0xf)])
    }
}

/// Where the ports begin.
fn port_at(v4: bool) -> usize {
    if v4 { 8 } else { 32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    /// Key and results that Microsoft publishes for drivers to check themselves by ("Verifying the RSS Hash Calculation").
    const KEY: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca,
        0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b,
        0xbe, 0xac, 0x01, 0xfa,
    ];
    /// Destination, source, hash over addresses and ports.
    const VERIFIED: [(&str, &str, u32); 8] = [
        ("161.142.100.80:1766", "66.9.149.187:2794", 0x51cc_c178),
        ("65.69.140.83:4739", "199.92.111.2:14230", 0xc626_b0ea),
        ("12.22.207.184:38024", "24.19.198.95:12898", 0x5c2b_394a),
        ("209.142.163.6:2217", "38.27.205.30:48228", 0xafc7_327f),
        ("202.188.127.2:1303", "153.39.163.191:44251", 0x10e8_28a2),
        ("[3ffe:2501:200:3::1]:1766", "[3ffe:2501:200:1fff::7]:2794", 0x4020_7d3d),
        ("[ff02::1]:4739", "[3ffe:501:8::260:97ff:fe40:efab]:14230", 0xdde5_1bbf),
        ("[fe80::200:f8ff:fe21:67cf]:38024", "[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251", 0x02d1_feef),
    ];

    #[test]
    fn the_published_results_are_met() {
        let toeplitz = Toeplitz::new(&KEY).unwrap();
        for (destination, source, hash) in VERIFIED {
            let (local, remote): (SocketAddr, SocketAddr) = (destination.parse().unwrap(), source.parse().unwrap());
            let tuple = FourTuple {
                local_addr: local.ip().into(),
                remote_addr: remote.ip().into(),
                local_port: local.port(),
                remote_port: remote.port(),
            };
            assert_eq!(toeplitz.hash(&tuple), hash, "{source} to {destination}: {:#x}", toeplitz.hash(&tuple));
        }
    }

    #[test]
    fn a_longer_key_is_cut_and_a_shorter_one_refused() {
        let long: Vec<u8> = KEY.iter().copied().chain([0xff; 12]).collect();
        let tuple = FourTuple {
            local_addr: Addr::from_v6([1; 16]),
            remote_addr: Addr::from_v6([2; 16]),
            local_port: 0xffff,
            remote_port: 0xffff,
        };
        let hash = |key: &[u8]| Toeplitz::new(key).map(|toeplitz| toeplitz.hash(&tuple));
        assert_eq!(hash(&long), hash(&KEY));
        assert_eq!(hash(&KEY[..39]), None);
    }
}
