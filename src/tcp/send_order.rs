//! The order in which the segments of a scoreboard left, for RACK (RFC 8985 §6.2, step 5): it asks for those that have been
//! under way for longest, and stops at the first whose time has not come. So what it costs is what it finds.

use super::scoreboard::Sent;
use crate::wire::SeqNum;
use std::collections::VecDeque;

/// Segments sent once left in sequence order. Those sent again are noted when they leave, and left out when it is their turn
/// and they are not under way any more.
#[derive(Debug, Default)]
pub struct SendOrder {
    /// No segment before this place was sent once only and is under way.
    sent_once_from: usize,
    /// End of a segment that was sent again, and when, in microseconds modulo 2^32.
    sent_again: VecDeque<(SeqNum, u32)>,
}

impl SendOrder {
    /// Of the segments that were sent once, the place of the one that has been under way for longest.
    pub fn next_sent_once(&mut self, sent: &VecDeque<Sent>) -> Option<usize> {
        while let Some(segment) = sent.get(self.sent_once_from) {
            if segment.is_under_way() && !segment.retransmitted {
                return Some(self.sent_once_from);
            }
            self.sent_once_from += 1;
        }
        None
    }

    /// The same of those that were sent more than once.
    pub fn next_sent_again(&mut self, sent: &VecDeque<Sent>) -> Option<usize> {
        while let Some(&(end, sent_us)) = self.sent_again.front() {
            let place = sent.partition_point(|s| s.end().before(end));
            let is_it = |s: &Sent| s.end() == end && s.sent_us == sent_us && s.is_under_way() && s.retransmitted;
            if sent.get(place).is_some_and(is_it) {
                return Some(place);
            }
            self.sent_again.pop_front();
        }
        None
    }

    /// The segment at `place` was sent again.
    pub fn on_resent(&mut self, place: usize, sent: &VecDeque<Sent>, now_us: u32) {
        // Entries of what is not under way any more may stand behind one that is.
        if self.sent_again.len() > 2 * sent.len() {
            return self.gather(sent, now_us);
        }
        // Of two that left at once the earlier in sequence counts as sent before the other (RFC 8985 §6.2, RACK_sent_after).
        let end = sent[place].end();
        let before = self.sent_again.iter().rposition(|(other, at)| *at != now_us || other.before(end));
        self.sent_again.insert(before.map_or(0, |last| last + 1), (end, now_us));
    }

    /// Notes anew what was sent again and is under way.
    pub fn gather(&mut self, sent: &VecDeque<Sent>, now_us: u32) {
        let under_way = sent.iter().filter(|s| s.is_under_way() && s.retransmitted);
        self.sent_again.clear();
        self.sent_again.extend(under_way.map(|s| (s.end(), s.sent_us)));
        self.sent_again.make_contiguous().sort_by_key(|(_, at)| std::cmp::Reverse(now_us.wrapping_sub(*at)));
    }

    /// The first segment of the scoreboard is gone.
    #[inline]
    pub fn on_first_gone(&mut self) {
        self.sent_once_from = self.sent_once_from.saturating_sub(1);
    }

    /// The segment at `place` is two now.
    pub fn on_split(&mut self, place: usize) {
        self.sent_once_from += usize::from(place < self.sent_once_from);
    }

    /// None of the `segments` is under way any more.
    pub fn on_all_lost(&mut self, segments: usize) {
        self.sent_once_from = segments;
        self.sent_again.clear();
    }

    /// What was lost, from `first_lost` on, is under way again; [`SendOrder::gather`] follows.
    pub fn on_none_lost(&mut self, first_lost: usize) {
        self.sent_once_from = self.sent_once_from.min(first_lost);
    }

    /// Octets of memory for what is noted.
    #[cfg(test)]
    pub fn own_bytes(&self) -> usize {
        self.sent_again.capacity() * size_of::<(SeqNum, u32)>()
    }

    /// Keeps memory for about so many segments at most, beside those that are noted.
    pub fn shrink_to(&mut self, segments: usize) {
        self.sent_again.shrink_to(segments);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.sent_once_from = 0;
        self.sent_again.clear();
    }
}
