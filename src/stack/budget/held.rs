//! How many entries (half-open ones, or connections) each prefix holds, at most: a count-min sketch (Cormode and
//! Muthukrishnan, 2005) from which entries that go are taken out again.

const ROWS: usize = 4;
/// Counters in a row.
const COLUMNS: usize = 1 << COLUMN_BITS;
const COLUMN_BITS: usize = 10;

/// A counter for each prefix in each row, shared with whichever prefixes fall on the same.
///
/// What it says is never too little. It is too much for a prefix only where others fall on its counter in every row. In
/// a table of n entries of which each prefix may hold s, at most n / s counters of a row can stand at s, however the flood
/// is made: so a clean prefix is taken for one over its share with a probability of (n / s / 1024)^4 at most, which is 2^-32
/// for a quarter.
pub(super) struct Held {
    rows: Box<[[u32; COLUMNS]; ROWS]>,
}

/// The counter of a row.
fn column(row: usize, hash: u64) -> usize {
    (hash >> (COLUMN_BITS * row)) as usize % COLUMNS
}

impl Held {
    pub fn new() -> Self {
        Held { rows: Box::new([[0; COLUMNS]; ROWS]) }
    }

    /// The prefix of this hash holds so many, or less.
    pub fn at_most(&self, hash: u64) -> u32 {
        self.rows.iter().enumerate().map(|(row, counters)| counters[column(row, hash)]).min().unwrap_or(0)
    }

    pub fn add(&mut self, hash: u64) {
        for (row, counters) in self.rows.iter_mut().enumerate() {
            counters[column(row, hash)] += 1;
        }
    }

    /// Takes out what was added.
    pub fn remove(&mut self, hash: u64) {
        for (row, counters) in self.rows.iter_mut().enumerate() {
            counters[column(row, hash)] -= 1;
        }
    }

    /// All prefixes together hold so many.
    pub fn sum(&self) -> u64 {
        self.rows[0].iter().map(|count| u64::from(*count)).sum()
    }

    /// No prefix holds more.
    pub fn most(&self) -> u32 {
        self.rows.iter().map(|counters| counters.iter().copied().max().unwrap_or(0)).min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::flow_hash::FlowHash;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// Whatever comes and goes: never too little, and nothing is left behind.
        #[test]
        fn it_never_says_too_little(
            key: [u8; 16],
            steps in prop::collection::vec((0u64..300, any::<bool>()), 0..3_000),
        ) {
            let hash = |prefix| FlowHash::new(&key).number(prefix);
            let (mut held, mut truth) = (Held::new(), HashMap::<u64, u32>::new());
            for (prefix, comes) in steps {
                let count = truth.entry(prefix).or_default();
                if comes {
                    *count += 1;
                    held.add(hash(prefix));
                } else if *count > 0 {
                    *count -= 1;
                    held.remove(hash(prefix));
                }
            }
            for (&prefix, &count) in &truth {
                prop_assert!(held.at_most(hash(prefix)) >= count);
                prop_assert!(held.most() >= count);
            }
            for (prefix, count) in truth {
                (0..count).for_each(|_| held.remove(hash(prefix)));
            }
            prop_assert_eq!(held.most(), 0);
        }

        /// A flood that holds a whole table, by few prefixes or by many, makes no other one look as if it were over a
        /// share of a quarter.
        #[test]
        fn no_clean_prefix_pays_for_a_flood(key: [u8; 16], flooders in 1u64..=8) {
            const ENTRIES: u64 = 65_536;
            let hash = |prefix| FlowHash::new(&key).number(prefix);
            let mut held = Held::new();
            (0..ENTRIES).for_each(|n| held.add(hash(n % flooders)));
            let share = (ENTRIES / 4) as u32;
            let accused = (1 << 40..(1 << 40) + 1_000).filter(|prefix| held.at_most(hash(*prefix)) >= share).count();
            prop_assert_eq!(accused, 0);
        }
    }
}
