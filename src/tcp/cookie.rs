//! SYN cookies: an initial sequence number that holds all that a listener must remember of a SYN, so that it need keep
//! nothing (RFC 4987 §3.6).
//!
//! ```text
//!  31  30 29  27 26                          0        TSval, when the peer has timestamps:
//! | epoch |  MSS |            MAC             |       | clock, to 64 ms | ECN | SACK ... | window scale |
//! ```
//!
//! The MAC is SipHash-2-4 over 4-tuple, peer's ISN, epoch, MSS and the options in TSval. An epoch lasts a minute; a
//! cookie of this one, of the last one, and (as another host's clock may be ahead) of the next one is taken, so it is good
//! for one minute at least and two at most. Of the 2^32 numbers that one may guess, 3 epochs times 8 sizes are good: one
//! guess in 2^27.4 finds one, or in 2^26.4 while a second key is taken.
//!
//! Deviation: RFC 9293 §3.4.1, ISN of clock and hash. There is no room for a clock beside the MAC, so later is not larger; where
//! it must be, as for a SYN that takes a TIME-WAIT tuple, no cookie is made.
//!
//! `xdp/cookie.h` computes the same octets.

use super::negotiation::Negotiated;
use super::tuple_hash::write_tuple;
use crate::ledger::CookieRefusal;
use crate::time::{Duration, Instant};
use crate::wire::tcp::Header;
use crate::wire::{FourTuple, SeqNum};
use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// How long an epoch lasts; a cookie is taken in the epoch of its making and in the next.
pub const EPOCH: Duration = Duration::from_secs(60);

/// The sizes that a cookie can name: the largest that is not above what was offered is meant. The first is the least that
/// is believed (see [`LEAST_SMSS`](super::negotiation::LEAST_SMSS)); the others are what common links carry.
pub const MSS_V4: [u16; 8] = [48, 536, 1220, 1360, 1400, 1440, 1452, 1460];
/// The same for IPv6.
pub const MSS_V6: [u16; 8] = [48, 536, 1220, 1280, 1360, 1400, 1420, 1440];

const MAC: u32 = (1 << 27) - 1;

/// Bits of TSval that hold options: no window scale is 15; the shifts end at 14 (RFC 7323 §2.3).
const OPTION_BITS: u32 = 0x3f;
const UNSCALED: u8 = 0xf;
const SACK: u8 = 1 << 4;
const ECN: u8 = 1 << 5;
/// Not in TSval: that there is one says it. In the MAC.
const TIMESTAMPS: u8 = 1 << 6;

/// The keys of cookies, and the clock that counts their epochs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CookieKeys {
    /// Makes cookies, and opens them.
    pub making: [u8; 16],
    /// Opens cookies as well: the key before, or the one that comes.
    pub accepting: Option<[u8; 16]>,
    /// How far the clock that counts epochs is ahead of the stack's. Hosts that open each other's cookies count by the
    /// time of day.
    pub clock_ahead: Duration,
}

impl CookieKeys {
    /// A key for one host alone.
    pub fn alone(key: [u8; 16]) -> Self {
        CookieKeys { making: key, accepting: None, clock_ahead: Duration::ZERO }
    }
}

/// Keys are never shown.
impl std::fmt::Debug for CookieKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CookieKeys").field("clock_ahead", &self.clock_ahead).finish_non_exhaustive()
    }
}

/// Makes and opens cookies.
#[derive(Clone, Copy)]
pub struct Cookies {
    making: SipHasher24,
    accepting: Option<SipHasher24>,
    clock_ahead: Duration,
}

impl Cookies {
    /// With these keys.
    pub fn new(keys: &CookieKeys) -> Self {
        Cookies {
            making: SipHasher24::new_with_key(&keys.making),
            accepting: keys.accepting.as_ref().map(SipHasher24::new_with_key),
            clock_ahead: keys.clock_ahead,
        }
    }

    /// The ISS that answers a SYN of number `irs` whose options come to `carried`.
    pub fn make(&self, tuple: &FourTuple, irs: SeqNum, carried: &Negotiated, now: Instant) -> SeqNum {
        let epoch = self.epoch(now);
        let size = size_index(carried.smss, tuple.local_addr.is_v4());
        let offered = option_bits(carried) | if carried.ts_recent.is_some() { TIMESTAMPS } else { 0 };
        SeqNum(epoch << 30 | size << 27 | mac(self.making, tuple, irs, epoch, size, offered))
    }

    /// What the SYN allowed us whose cookie the segment of `header` acknowledges.
    ///
    /// # Errors
    /// It acknowledges no cookie that is good now.
    #[inline]
    pub fn open(&self, tuple: &FourTuple, header: &Header, now: Instant) -> Result<Negotiated, CookieRefusal> {
        let (irs, cookie) = (header.seq - 1, (header.ack - 1).0);
        let now = self.epoch(now);
        let epoch = match (now.wrapping_sub(cookie >> 30)) & 3 {
            0 => now,
            1 => now.wrapping_sub(1),
            3 => now.wrapping_add(1),
            _ => return Err(CookieRefusal::Expired),
        };
        let size = cookie >> 27 & 7;
        let timestamps = header.options.timestamps;
        let offered = timestamps.map_or(UNSCALED, |t| TIMESTAMPS | (t.tsecr & OPTION_BITS) as u8);
        let is_of = |key| mac(key, tuple, irs, epoch, size, offered) == cookie & MAC;
        if !is_of(self.making) && !self.accepting.is_some_and(is_of) {
            return Err(CookieRefusal::Forged);
        }
        Ok(Negotiated {
            smss: sizes(tuple.local_addr.is_v4())[size as usize],
            window_scale: Some(offered & 0xf).filter(|shift| *shift != UNSCALED),
            sack_permitted: offered & SACK != 0,
            ecn: offered & ECN != 0,
            ts_recent: timestamps.map(|t| t.tsval),
        })
    }

    fn epoch(&self, now: Instant) -> u32 {
        ((now + self.clock_ahead).as_nanos() / EPOCH.as_nanos() as u64) as u32
    }
}

/// What of `agreed` a cookie can carry: a size of the table, and the other options only beside timestamps.
pub fn carried(agreed: &Negotiated, v4: bool) -> Negotiated {
    let smss = sizes(v4)[size_index(agreed.smss, v4) as usize];
    match agreed.ts_recent {
        Some(_) => Negotiated { smss, ..*agreed },
        None => Negotiated { smss, window_scale: None, sack_permitted: false, ts_recent: None, ecn: false },
    }
}

/// The TSval of a SYN-ACK with a cookie: not after `clock`, at most 63 ms before, with the options in its low bits. What
/// the connection sends later is not before it (RFC 7323 §5.2).
pub fn tsval(clock: u32, carried: &Negotiated) -> u32 {
    let with_options = clock & !OPTION_BITS | u32::from(option_bits(carried));
    with_options.wrapping_sub(if with_options & OPTION_BITS > clock & OPTION_BITS { OPTION_BITS + 1 } else { 0 })
}

fn option_bits(carried: &Negotiated) -> u8 {
    carried.window_scale.unwrap_or(UNSCALED)
        | if carried.sack_permitted { SACK } else { 0 }
        | if carried.ecn { ECN } else { 0 }
}

fn sizes(v4: bool) -> &'static [u16; 8] {
    if v4 { &MSS_V4 } else { &MSS_V6 }
}

fn size_index(smss: u16, v4: bool) -> u32 {
    sizes(v4).iter().rposition(|size| *size <= smss).unwrap_or(0) as u32
}

fn mac(keyed: SipHasher24, tuple: &FourTuple, irs: SeqNum, epoch: u32, size: u32, offered: u8) -> u32 {
    let mut hasher = keyed;
    write_tuple(&mut hasher, tuple);
    hasher.write_u32(irs.0);
    hasher.write_u32(epoch);
    hasher.write_u8(size as u8);
    hasher.write_u8(offered);
    hasher.finish() as u32 & MAC
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::negotiation::default_mss;
    use crate::wire::Addr;
    use crate::wire::tcp::{Flags, Options, Timestamps};
    use proptest::prelude::*;

    fn cookies() -> Cookies {
        Cookies::new(&CookieKeys::alone([7; 16]))
    }

    fn tuple(v4: bool, port: u16) -> FourTuple {
        let addr = |last| match v4 {
            true => Addr::from_v4([10, 0, 0, last]),
            false => Addr::from_v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]),
        };
        FourTuple { local_addr: addr(1), remote_addr: addr(2), local_port: 80, remote_port: port }
    }

    /// The ACK that answers a SYN-ACK with this cookie and TSval.
    fn ack(irs: SeqNum, iss: SeqNum, echo: Option<u32>) -> Header {
        let timestamps = echo.map(|tsecr| Timestamps { tsval: 99, tsecr });
        let options = Options { timestamps, ..Options::default() };
        Header { seq: irs + 1, ack: iss + 1, flags: Flags::ACK, options, ..Header::default() }
    }

    fn any_offer() -> impl Strategy<Value = (bool, Options)> {
        let scale = prop::option::of(0u8..20);
        let mss = prop::option::of(prop::sample::select(vec![1, 48, 500, 536, 1219, 1360, 1452, 1460, 1461, 9000]));
        (any::<bool>(), mss, scale, any::<bool>(), prop::option::of(any::<u32>())).prop_map(
            |(v4, mss, scale, sack, ts)| {
                let timestamps = ts.map(|tsval| Timestamps { tsval, tsecr: 0 });
                (v4, Options { mss, window_scale: scale, sack_permitted: sack, timestamps, ..Options::default() })
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_carried_comes_back((v4, offer) in any_offer(), irs: u32, at in 0u64..1 << 50, clock: u32, ecn: bool) {
            let (irs, now) = (SeqNum(irs), Instant::from_nanos(at));
            let agreed = Negotiated { ecn, ..Negotiated::from_syn(&offer, 1460, v4) };
            let carried = carried(&agreed, v4);
            // Never more than was offered.
            prop_assert!(carried.smss <= agreed.smss.max(48));
            prop_assert!(carried.smss <= offer.mss.unwrap_or(default_mss(v4)).max(48));
            prop_assert!(carried.window_scale.is_none() || carried.window_scale == agreed.window_scale);
            prop_assert!(offer.timestamps.is_some() || (!carried.sack_permitted && !carried.ecn));
            let iss = cookies().make(&tuple(v4, 9), irs, &carried, now);
            let echo = carried.ts_recent.map(|_| tsval(clock, &carried));
            let opened = cookies().open(&tuple(v4, 9), &ack(irs, iss, echo), now);
            prop_assert_eq!(opened, Ok(Negotiated { ts_recent: echo.map(|_| 99), ..carried }));
        }

        #[test]
        fn the_clock_in_tsval_is_never_ahead(clock: u32, (v4, offer) in any_offer()) {
            let carried = carried(&Negotiated::from_syn(&offer, 1460, v4), v4);
            prop_assert!(clock.wrapping_sub(tsval(clock, &carried)) <= 63);
        }

        #[test]
        fn any_change_is_refused(bit in 0u32..32, port in 1u16.., v4: bool, at in 0u64..1 << 50) {
            let now = Instant::from_nanos(at);
            let carried = carried(&Negotiated::from_syn(&Options::default(), 1460, v4), v4);
            let (irs, here) = (SeqNum(5), tuple(v4, port));
            let iss = cookies().make(&here, irs, &carried, now);
            let open = |tuple: &FourTuple, irs: SeqNum, iss: SeqNum, echo| cookies().open(tuple, &ack(irs, iss, echo), now);
            prop_assert!(open(&here, irs, iss, None).is_ok());
            prop_assert!(open(&here, irs, SeqNum(iss.0 ^ 1 << bit), None).is_err());
            prop_assert!(open(&here, SeqNum(irs.0 ^ 1 << bit), iss, None).is_err());
            prop_assert!(open(&tuple(v4, port ^ 1), irs, iss, None).is_err());
            prop_assert!(open(&tuple(!v4, port), irs, iss, None).is_err());
            let flipped = |addr: Addr| {
                let octets = (u128::from_be_bytes(*addr.octets()) ^ 1 << bit).to_be_bytes();
                Addr::from_v6(octets)
            };
            let others = [
                FourTuple { local_addr: flipped(here.local_addr), ..here },
                FourTuple { remote_addr: flipped(here.remote_addr), ..here },
                FourTuple { local_port: here.local_port ^ 1 << (bit % 16), ..here },
            ];
            prop_assert!(others.iter().all(|other| open(other, irs, iss, None).is_err()));
            prop_assert!(open(&here, irs, iss, Some(0xf)).is_err(), "timestamps that were not offered");
        }
    }

    #[test]
    fn a_cookie_lives_for_one_minute_at_least_and_two_at_most() {
        let carried = carried(&Negotiated::from_syn(&Options::default(), 1460, true), true);
        let (irs, here) = (SeqNum(77), tuple(true, 9));
        for made in [0u64, 1, 59, 60, 61, 119, 1_000_000_007] {
            let at = |seconds| Instant::from_nanos((made + seconds) * 1_000_000_000);
            let iss = cookies().make(&here, irs, &carried, at(0));
            let opened = |seconds| cookies().open(&here, &ack(irs, iss, None), at(seconds));
            assert!((0..=60).all(|age| opened(age).is_ok()), "made at {made}");
            assert!((120..=1_000).all(|age| opened(age).is_err()), "made at {made}");
            assert_eq!(opened(130 - made % 60), Err(CookieRefusal::Expired));
        }
    }

    #[test]
    fn a_host_whose_clock_is_behind_takes_a_cookie_of_the_next_minute() {
        let carried = carried(&Negotiated::from_syn(&Options::default(), 1460, true), true);
        let (irs, here) = (SeqNum(77), tuple(true, 9));
        let day = Duration::from_secs(1_700_000_040);
        let keys = CookieKeys { clock_ahead: day, ..CookieKeys::alone([7; 16]) };
        let (ahead, behind) = (Cookies::new(&keys), cookies());
        let iss = ahead.make(&here, irs, &carried, Instant::ZERO);
        let by_time_of_day = |before| Instant::ZERO + (day - Duration::from_millis(before));
        let opened = |before| behind.open(&here, &ack(irs, iss, None), by_time_of_day(before));
        assert!(opened(1).is_ok() && opened(59_999).is_ok() && opened(60_001).is_err());
    }

    #[test]
    fn both_keys_open_and_only_the_first_makes() {
        let carried = carried(&Negotiated::from_syn(&Options::default(), 1460, true), true);
        let (irs, here, now) = (SeqNum(77), tuple(true, 9), Instant::ZERO);
        let keys = |making, accepting| Cookies::new(&CookieKeys { accepting, ..CookieKeys::alone([making; 16]) });
        let old = keys(1, None).make(&here, irs, &carried, now);
        let new = keys(2, Some([1; 16])).make(&here, irs, &carried, now);
        for (accepting, iss, good) in
            [(Some([1; 16]), old, true), (Some([1; 16]), new, true), (None, old, false), (Some([3; 16]), old, false)]
        {
            assert_eq!(keys(2, accepting).open(&here, &ack(irs, iss, None), now).is_ok(), good, "{accepting:?}");
        }
    }

    /// The very number that `xdp/cookie.h` must find as well: siphash of octets laid out by hand.
    #[test]
    fn the_message_is_tuple_isn_epoch_size_and_options() {
        let (irs, epoch, size, offered) = (SeqNum(0x0102_0304), 0x0a0b_0c0d_u32, 5u32, 0x5a_u8);
        for v4 in [true, false] {
            let here = tuple(v4, 0x1234);
            let mut octets = match v4 {
                // As one little-endian word of both addresses, ours above.
                true => (u64::from(u32::from_be_bytes([10, 0, 0, 1])) << 32
                    | u64::from(u32::from_be_bytes([10, 0, 0, 2])))
                .to_le_bytes()
                .to_vec(),
                false => [here.local_addr.octets().as_slice(), here.remote_addr.octets()].concat(),
            };
            octets.extend((80u32 << 16 | 0x1234).to_le_bytes());
            octets.extend([irs.0, epoch].iter().flat_map(|word| word.to_le_bytes()));
            octets.extend([size as u8, offered]);
            let hash = SipHasher24::new_with_key(&[7; 16]).hash(&octets);
            let keyed = SipHasher24::new_with_key(&[7; 16]);
            assert_eq!(mac(keyed, &here, irs, epoch, size, offered), hash as u32 & MAC);
        }
    }
}
