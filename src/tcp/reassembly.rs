//! Which stretches beyond RCV.NXT have come: RFC 9293 §3.10.7.4 (seventh), reported as SACK blocks (RFC 2018 §4).

use crate::wire::SeqNum;

/// The most stretches kept: bounds the work of one segment, whatever a peer sends.
pub const MAX_RANGES: usize = 64;

/// Stretches `[left, right)` that came out of order, disjoint, the most recently touched first.
#[derive(Debug, Default)]
pub struct Reassembly {
    ranges: Vec<(SeqNum, SeqNum)>,
}

impl Reassembly {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The stretches, the most recently touched first: the order of SACK blocks.
    pub fn ranges(&self) -> &[(SeqNum, SeqNum)] {
        &self.ranges
    }

    /// The first part of `[left, right)` that has come before, in one piece.
    pub fn first_held(&self, left: SeqNum, right: SeqNum) -> Option<(SeqNum, SeqNum)> {
        let parts = self.ranges.iter().map(|&(l, r)| (l.max(left), r.min(right))).filter(|(l, r)| l.before(*r));
        parts.min_by_key(|(l, _)| l.distance_from(left))
    }

    /// Enters `[left, right)`, joined with what it touches. `false`: there are too many stretches already, nothing was
    /// entered.
    pub fn insert(&mut self, left: SeqNum, right: SeqNum) -> bool {
        let touches = |&(l, r): &(SeqNum, SeqNum)| l.at_or_before(right) && left.at_or_before(r);
        if self.ranges.len() == MAX_RANGES && !self.ranges.iter().any(touches) {
            return false;
        }
        let mut joined = (left, right);
        self.ranges.retain(|range| {
            let join = touches(range);
            if join {
                joined = (joined.0.min(range.0), joined.1.max(range.1));
            }
            !join
        });
        self.ranges.insert(0, joined);
        true
    }

    /// In-order data now reaches `rcv_nxt`: takes out what that covers and says where the data really ends.
    pub fn advance(&mut self, rcv_nxt: SeqNum) -> SeqNum {
        let mut end = rcv_nxt;
        // Stretches are disjoint and not adjacent, so at most one begins at or before `rcv_nxt` and ends beyond it.
        self.ranges.retain(|&(left, right)| {
            let reached = left.at_or_before(rcv_nxt);
            if reached {
                end = end.max(right);
            }
            !reached
        });
        end
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// At 0, mid-range and across the wrap.
        #[test]
        fn it_agrees_with_a_set_of_octets(
            base in prop_oneof![Just(0u32), Just(1 << 31), Just(u32::MAX - 100), any::<u32>()],
            segments in proptest::collection::vec((1u32..200, 1u32..30), 1..60),
        ) {
            let mut reassembly = Reassembly::default();
            let mut octets = std::collections::BTreeSet::new();
            let base = SeqNum(base);
            for (at, len) in segments {
                let held = reassembly.first_held(base + at, base + at + len);
                let first = (at..at + len).find(|octet| octets.contains(octet));
                let part = first.map(|l| (l, (l..at + len).find(|octet| !octets.contains(octet)).unwrap_or(at + len)));
                prop_assert_eq!(held, part.map(|(l, r)| (base + l, base + r)));
                if reassembly.insert(base + at, base + at + len) {
                    octets.extend(at..at + len);
                }
                let mut covered: Vec<u32> = reassembly.ranges().iter()
                    .flat_map(|(l, r)| l.distance_from(base)..r.distance_from(base)).collect();
                covered.sort_unstable();
                prop_assert!(covered.iter().eq(octets.iter()), "disjoint, and exactly what came");
            }
            let end = reassembly.advance(base + 50).distance_from(base);
            let mut expected = 50;
            while octets.contains(&expected) { expected += 1; }
            prop_assert_eq!(end, expected);
            prop_assert!(reassembly.ranges().iter().all(|(l, _)| l.distance_from(base) > end));
        }
    }

    #[test]
    fn the_number_of_stretches_is_bounded() {
        let mut reassembly = Reassembly::default();
        for i in 0..MAX_RANGES as u32 {
            assert!(reassembly.insert(SeqNum(i * 10 + 1), SeqNum(i * 10 + 2)));
        }
        assert!(!reassembly.insert(SeqNum(5000), SeqNum(5001)));
        assert!(reassembly.insert(SeqNum(2), SeqNum(11)), "what joins two stretches is always welcome");
        assert_eq!(reassembly.ranges().len(), MAX_RANGES - 1);
    }
}
