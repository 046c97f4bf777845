//! How fast each prefix makes new connections: a token bucket for each of the fastest ones, in a set-associative table.
//!
//! A bucket is one number (the generic cell rate algorithm, ITU-T I.371): the time at which it will be full again. Buckets
//! carry their prefix, so nobody ever pays for another. A prefix without a place has a full bucket; one that needs a place
//! takes that of the fullest bucket of its set. So what a flood from more prefixes than there are places gets is that the
//! slowest ones are forgotten, and such a flood is the cookies' to meet.

const SETS: usize = 1 << SET_BITS;
const SET_BITS: usize = 10;
/// Places of a set: two cache lines.
const WAYS: usize = 8;
const SECOND_NS: u64 = 1_000_000_000;

/// A prefix and its bucket.
#[derive(Clone, Copy, Default)]
struct Bucket {
    prefix: u64,
    /// When it is full again, in nanoseconds of the clock.
    full_at_ns: u64,
}

pub(super) struct Rates {
    sets: Box<[[Bucket; WAYS]]>,
    /// From one new connection to the next at the limit.
    interval_ns: u64,
    /// The last time seen.
    now_ns: u64,
    forgotten: u64,
}

impl Rates {
    /// `a_second` new connections a second, and as many at once.
    pub fn new(a_second: u32) -> Self {
        Rates {
            sets: vec![[Bucket::default(); WAYS]; SETS].into(),
            interval_ns: (SECOND_NS / u64::from(a_second.max(1))).max(1),
            now_ns: 0,
            forgotten: 0,
        }
    }

    /// Whether the prefix, which has this hash, may make one more; it counts if so.
    pub fn admits(&mut self, prefix: u64, hash: u64, now_ns: u64) -> bool {
        self.now_ns = now_ns;
        let set = &mut self.sets[hash as usize % SETS];
        // A place that was never used has a full bucket, whoever's it is.
        let at = set.iter().position(|bucket| bucket.prefix == prefix).unwrap_or_else(|| {
            let fullest = (0..WAYS).min_by_key(|at| set[*at].full_at_ns).unwrap_or(0);
            self.forgotten += u64::from(set[fullest].full_at_ns > now_ns);
            set[fullest] = Bucket { prefix, full_at_ns: 0 };
            fullest
        });
        let full_at_ns = set[at].full_at_ns.max(now_ns) + self.interval_ns;
        let admitted = full_at_ns - now_ns <= SECOND_NS;
        if admitted {
            set[at].full_at_ns = full_at_ns;
        }
        admitted
    }

    /// Prefixes whose bucket was not full when the last connection came.
    pub fn in_use(&self) -> u64 {
        self.sets.iter().flatten().filter(|bucket| bucket.full_at_ns > self.now_ns).count() as u64
    }

    pub fn places(&self) -> u64 {
        (SETS * WAYS) as u64
    }

    /// Buckets that were not full and gave their place to another prefix.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::flow_hash::FlowHash;
    use proptest::prelude::*;

    fn hash(prefix: u64) -> u64 {
        FlowHash::new(&[9; 16]).number(prefix)
    }

    #[test]
    fn a_prefix_has_a_second_s_worth_at_once_and_its_rate_from_then_on() {
        let mut rates = Rates::new(100);
        let mut admitted = |from_ms: u64, to_ms: u64| {
            (from_ms..to_ms).filter(|ms| rates.admits(7, hash(7), 5_000_000_000 + ms * 1_000_000)).count()
        };
        assert_eq!(admitted(0, 100), 100, "all of the first hundred, as 10 came back meanwhile");
        assert_eq!(admitted(100, 1_100), 109, "what came back meanwhile, and the rate");
        assert_eq!(admitted(1_100, 2_100), 100);
        assert_eq!((rates.in_use(), rates.forgotten()), (1, 0));
        assert!(rates.admits(8, hash(8), 60_000_000_000));
        assert_eq!(rates.in_use(), 1, "the first has rested");
    }

    #[test]
    fn the_fastest_keep_their_place_among_many_slow_ones() {
        let mut rates = Rates::new(10);
        let (mut admitted, mut stranger) = (0, 1 << 40);
        for ms in 0..2_000u64 {
            admitted += u64::from(rates.admits(7, hash(7), ms * 1_000_000));
            // Within a tenth of a second more than there are places.
            for _ in 0..200 {
                stranger += 1;
                assert!(rates.admits(stranger, hash(stranger), ms * 1_000_000), "a clean prefix");
            }
        }
        assert!((28..=31).contains(&admitted), "{admitted} of 2,000 in 2 s at 10 a second, and a burst");
        assert!(rates.forgotten() > 0);
    }

    proptest! {
        /// Whatever others do, a prefix that keeps to its rate is never refused.
        #[test]
        fn no_clean_prefix_pays_for_others(others in prop::collection::vec((0u64..20_000, 0u64..500_000), 1..5_000)) {
            let (mut rates, mut now_ns) = (Rates::new(1_000), 0);
            let mut next_ns = 0;
            for (other, after_ns) in others {
                now_ns += after_ns;
                rates.admits(other + 1, hash(other + 1), now_ns);
                if now_ns >= next_ns {
                    next_ns = now_ns + 1_000_000;
                    prop_assert!(rates.admits(1 << 50, hash(1 << 50), now_ns));
                }
            }
        }
    }
}
