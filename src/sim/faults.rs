//! What goes wrong, how often: asked for, or drawn from a world's seed.

use super::random::Random;
use crate::time::Duration;

/// What was asked for on the command line; what is `None` each world draws for itself, often as "not at all", so that
/// rare combinations meet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Asked {
    /// Share of frames lost.
    pub loss: Option<f64>,
    /// Share of frames held back until later ones have passed.
    pub reorder: Option<f64>,
    /// Share of frames that come twice; some of the copies come late.
    pub duplicate: Option<f64>,
    /// Share of frames in which up to 15 neighbouring bits are flipped: what the checksum is sure to see.
    pub corrupt: Option<f64>,
    /// One-way delay.
    pub delay: Option<Duration>,
    /// Added to it, at most, without reordering.
    pub jitter: Option<Duration>,
    /// Share of turns before which a host stands still for up to 3 seconds.
    pub skips: Option<f64>,
    /// Share of ends whose application stops reading or writing for a while.
    pub stalls: Option<f64>,
    /// Share of turns in which the driver has room for a few frames only.
    pub tx_full: Option<f64>,
    /// Seconds, as a share of all, in which the path carries small frames only.
    pub mtu_dips: Option<f64>,
    /// How often a host is killed, and starts again with new secrets.
    pub kills: Option<u32>,
    /// Share of connections over IPv6.
    pub ipv6: Option<f64>,
    /// Share of worlds whose link tags frames with a VLAN.
    pub vlans: Option<f64>,
    /// Share of hosts whose pool of buffers is so small that it runs out.
    pub tiny_pools: Option<f64>,
    /// Share of worlds in which a router tells what the path carries.
    pub told_mtu: Option<f64>,
}

/// What kind of world it is, drawn apart from the faults, so that the worlds of kept seeds stay what they were where none
/// of it is asked for.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Scene {
    pub ipv6: f64,
    pub vlan: Option<u16>,
    pub tiny_pools: f64,
    pub told_mtu: bool,
}

impl Scene {
    /// Draws what was not asked for.
    pub fn draw(asked: &Asked, random: &mut Random) -> Self {
        let ipv6 = random.pick(&[0.0, 0.5, 0.5, 1.0]);
        let (tagged, tag) = (random.chance(asked.vlans.unwrap_or(0.25)), 1 + random.below(4_094) as u16);
        let told_mtu = random.chance(asked.told_mtu.unwrap_or(0.5));
        let tiny_pools = random.pick(&[0.0, 0.0, 0.0, 0.5]);
        Scene {
            ipv6: asked.ipv6.unwrap_or(ipv6),
            vlan: tagged.then_some(tag),
            tiny_pools: asked.tiny_pools.unwrap_or(tiny_pools),
            told_mtu,
        }
    }
}

/// The faults of one world.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Faults {
    pub loss: f64,
    pub reorder: f64,
    pub duplicate: f64,
    pub corrupt: f64,
    pub delay: Duration,
    pub jitter: Duration,
    pub skips: f64,
    pub stalls: f64,
    pub tx_full: f64,
    pub mtu_dips: f64,
    pub kills: u32,
}

impl Faults {
    /// Draws what was not asked for. Draws the same numbers whatever was asked for.
    pub fn draw(asked: &Asked, random: &mut Random) -> Self {
        let mut share = |most: f64| {
            let (on, size) = (random.below(2) == 1, random.below(1_000) as f64 / 1_000.0);
            if on { size * size * most } else { 0.0 }
        };
        let drawn = Faults {
            loss: share(0.25),
            reorder: share(0.4),
            duplicate: share(0.3),
            corrupt: share(0.1),
            skips: share(0.01),
            stalls: share(0.5),
            tx_full: share(0.5),
            mtu_dips: share(0.1),
            delay: Duration::from_nanos(10_000 + random.magnitude(200_000_000)),
            jitter: Duration::from_nanos(random.magnitude(50_000_000)),
            kills: [0, 0, 0, 0, 0, 1, 2, 4][random.below(8) as usize],
        };
        Faults {
            loss: asked.loss.unwrap_or(drawn.loss),
            reorder: asked.reorder.unwrap_or(drawn.reorder),
            duplicate: asked.duplicate.unwrap_or(drawn.duplicate),
            corrupt: asked.corrupt.unwrap_or(drawn.corrupt),
            delay: asked.delay.unwrap_or(drawn.delay),
            jitter: asked.jitter.unwrap_or(drawn.jitter),
            skips: asked.skips.unwrap_or(drawn.skips),
            stalls: asked.stalls.unwrap_or(drawn.stalls),
            tx_full: asked.tx_full.unwrap_or(drawn.tx_full),
            mtu_dips: asked.mtu_dips.unwrap_or(drawn.mtu_dips),
            kills: asked.kills.unwrap_or(drawn.kills),
        }
    }

    /// The network healed: only time still passes.
    pub fn healed(&self) -> Self {
        let (delay, jitter) = (self.delay, self.jitter);
        let none = 0.0;
        Faults {
            loss: none,
            reorder: none,
            duplicate: none,
            corrupt: none,
            delay,
            jitter,
            skips: none,
            stalls: none,
            tx_full: none,
            mtu_dips: none,
            kills: 0,
        }
    }
}

/// Flips 1 to 15 neighbouring bits behind the Ethernet header. Every such change is seen by the Internet checksum: two
/// words that are changed at the seam of a burst this short cannot make up for each other. (The Ethernet header and ARP
/// have the frame check sequence of the link for that, so there a flip counts as a loss.)
pub fn corrupt(frame: &mut [u8], random: &mut Random) {
    let bits = random.between(1, 15);
    let header = if frame[12..14] == super::router::TAGGED { 18 } else { 14 };
    let first = random.between(header * 8, frame.len() as u64 * 8 - bits);
    let pattern = random.bits() | 1 | 1 << (bits - 1);
    for bit in 0..bits {
        if pattern >> bit & 1 == 1 {
            let at = first + bit;
            frame[(at / 8) as usize] ^= 0x80 >> (at % 8);
        }
    }
}
