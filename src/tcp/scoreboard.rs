//! What was sent and not yet acknowledged, segment by segment: which of it the peer holds (RFC 2018), which is lost
//! (RFC 8985, RFC 5681), and how much is in the network (RFC 6675 §4).

use super::rack::Rack;
use super::send_order::SendOrder;
use crate::wire::SeqNum;
use std::collections::VecDeque;

/// A segment in flight.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// First octet.
    pub seq: SeqNum,
    /// Octets of sequence space, FIN among them.
    pub len: u32,
    /// When it was last sent, in microseconds of the shard's clock, modulo 2^32.
    pub sent_us: u32,
    /// Whether its last octet of sequence space is our FIN.
    pub fin: bool,
    /// Whether it was sent more than once, so that it gives no RTT sample (Karn).
    pub retransmitted: bool,
    /// Whether the peer reported it by SACK.
    pub sacked: bool,
    /// Whether it is taken for lost and waits to be sent again.
    pub lost: bool,
    /// While it is reported: from here on so many segments are for certain.
    pub(super) stretch: u16,
}

impl Sent {
    /// A segment that leaves for the first time.
    pub fn new(seq: SeqNum, len: u32, sent_us: u32, fin: bool) -> Self {
        Sent { seq, len, sent_us, fin, retransmitted: false, sacked: false, lost: false, stretch: 1 }
    }

    /// Whether it is believed to be in the network: neither reported nor taken for lost.
    #[inline]
    pub fn is_under_way(&self) -> bool {
        !self.sacked && !self.lost
    }

    /// One past its last octet.
    pub fn end(&self) -> SeqNum {
        self.seq + self.len
    }
}

/// Segments reported above one that is missing before it is plainly lost (RFC 5681 §3.2, RFC 8985 §6.2).
pub const DUP_THRESH: u32 = 3;

/// All segments in flight, in sequence order, without gaps; and what is asked of them with each frame, kept as segments
/// change: a peer with a tiny MSS makes many of them, and no frame of its may cost a walk over all (CVE-2019-11478).
#[derive(Debug, Default)]
pub struct Scoreboard {
    sent: VecDeque<Sent>,
    sums: Sums,
    /// Place of the first segment that is taken for lost; says nothing while there is none.
    first_lost: usize,
    order: SendOrder,
    /// Segments that were looked at one by one.
    #[cfg(test)]
    pub looked_at: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    /// Octets neither reported nor taken for lost.
    pipe: u32,
    /// Octets and segments reported by SACK.
    sacked: u32,
    sacked_segments: u32,
    /// Segments taken for lost.
    lost: u32,
}

impl Sums {
    fn add(&mut self, segment: &Sent) {
        match (segment.sacked, segment.lost) {
            (true, _) => {
                self.sacked += segment.len;
                self.sacked_segments += 1;
            }
            (false, true) => self.lost += 1,
            (false, false) => self.pipe += segment.len,
        }
    }

    fn subtract(&mut self, segment: &Sent) {
        match (segment.sacked, segment.lost) {
            (true, _) => {
                self.sacked -= segment.len;
                self.sacked_segments -= 1;
            }
            (false, true) => self.lost -= 1,
            (false, false) => self.pipe -= segment.len,
        }
    }
}

/// What [`Scoreboard::mark_lost_by_time`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Whether a segment is newly taken for lost.
    pub any: bool,
    /// When the next of what was overtaken will be, if it is not heard of until then.
    pub ask_again_us: Option<u32>,
}

impl Scoreboard {
    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Segments in flight.
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// The segments in flight, in sequence order.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Sent> {
        self.sent.iter()
    }

    /// Enters a segment that was sent for the first time.
    pub fn push(&mut self, segment: Sent) {
        debug_assert!(self.sent.back().is_none_or(|last| last.end() == segment.seq), "a gap in what was sent");
        self.sums.add(&segment);
        self.sent.push_back(segment);
    }

    /// Changes the segment at `place`, and the sums with it.
    fn change(&mut self, place: usize, change: impl FnOnce(&mut Sent)) {
        let segment = &mut self.sent[place];
        let was_lost = segment.lost;
        self.sums.subtract(segment);
        change(segment);
        self.sums.add(segment);
        match (was_lost, segment.lost) {
            (false, true) if self.sums.lost == 1 => self.first_lost = place,
            (false, true) => self.first_lost = self.first_lost.min(place),
            (true, false) if place == self.first_lost => self.seek_lost(place + 1),
            _ => {}
        }
    }

    /// The first segment that is taken for lost stands at `place` or behind it.
    fn seek_lost(&mut self, mut place: usize) {
        while self.sums.lost > 0 && !self.sent[place].lost {
            self.count_look();
            place += 1;
        }
        self.first_lost = place;
    }

    #[inline]
    fn count_look(&mut self) {
        #[cfg(test)]
        {
            self.looked_at += 1;
        }
    }

    /// Takes out what lies before `una`; gives the round trip, in microseconds, of the newest segment that was acknowledged
    /// for the first time and sent once.
    pub fn acknowledge(&mut self, una: SeqNum, now_us: u32, rack: &mut Rack) -> Option<u32> {
        let mut rtt_us = None;
        while let Some(first) = self.sent.front().filter(|first| first.seq.before(una)) {
            if first.end().after(una) {
                self.change(0, |first| {
                    first.len -= una.distance_from(first.seq);
                    first.seq = una;
                });
                break;
            }
            if !first.sacked {
                rack.on_arrival(first, now_us);
            }
            if !first.retransmitted && !first.sacked {
                rtt_us = Some(now_us.wrapping_sub(first.sent_us));
            }
            self.pop_first();
        }
        rtt_us
    }

    fn pop_first(&mut self) {
        let Some(first) = self.sent.pop_front() else { return };
        self.sums.subtract(&first);
        self.order.on_first_gone();
        if first.lost {
            self.seek_lost(0);
        } else {
            self.first_lost = self.first_lost.saturating_sub(1);
        }
    }

    /// Marks what the peer's SACK blocks report; blocks outside of what is in flight are ignored. A peer may report the same
    /// in every frame: stretches that were reported are stepped over.
    pub fn sack(&mut self, blocks: &[(SeqNum, SeqNum)], now_us: u32, rack: &mut Rack) {
        for &(left, right) in blocks.iter().filter(|(left, right)| left.before(*right)) {
            // In sequence order: those before the block are stepped over at once.
            let mut place = self.sent.partition_point(|s| s.seq.before(left));
            let end = self.sent.partition_point(|s| s.end().at_or_before(right));
            while place < end {
                self.count_look();
                if !self.sent[place].sacked {
                    rack.on_arrival(&self.sent[place], now_us);
                    self.change(place, |s| {
                        s.sacked = true;
                        s.lost = false;
                        s.stretch = 1;
                    });
                }
                // The block reports all from here to its end.
                let known = self.sent[place].stretch;
                self.sent[place].stretch = known.max((end - place).min(usize::from(u16::MAX)) as u16);
                place += usize::from(known);
            }
        }
    }

    /// Takes for lost what RACK says is (RFC 8985 §6.2, step 5); says when to ask again, for what may only be late.
    pub fn mark_lost_by_time(&mut self, rack: &Rack, window_us: u32, now_us: u32) -> Lost {
        self.mark_lost_as_sent(|segment| rack.wait_us(segment, window_us, now_us))
    }

    /// Takes for lost what left at least `age_us` ago.
    pub fn mark_old_lost(&mut self, age_us: u32, now_us: u32) {
        self.mark_lost_as_sent(|segment| Some(age_us.saturating_sub(now_us.wrapping_sub(segment.sent_us))));
    }

    /// Takes for lost what need not be waited for. Segments are looked at as they left: of one that left after one that is
    /// to be waited for nothing is known sooner.
    fn mark_lost_as_sent(&mut self, wait_us: impl Fn(&Sent) -> Option<u32>) -> Lost {
        let mut lost = Lost::default();
        for next in [SendOrder::next_sent_once, SendOrder::next_sent_again] {
            while let Some(place) = next(&mut self.order, &self.sent) {
                self.count_look();
                let wait_us = wait_us(&self.sent[place]);
                if wait_us != Some(0) {
                    lost.ask_again_us = [lost.ask_again_us, wait_us].into_iter().flatten().min();
                    break;
                }
                self.change(place, |s| s.lost = true);
                lost.any = true;
            }
        }
        lost
    }

    /// Takes the first segment for lost (third duplicate acknowledgement, or a partial one in recovery).
    pub fn mark_first_lost(&mut self) {
        if let Some(place) = self.sent.iter().position(|s| !s.sacked) {
            self.change(place, |s| s.lost = true);
        }
    }

    /// Takes everything for lost (retransmission timeout), also what the peer did report: it may have dropped it
    /// (RFC 2018 §8).
    pub fn mark_all_lost(&mut self) {
        for place in 0..self.sent.len() {
            self.change(place, |s| {
                s.sacked = false;
                s.lost = true;
            });
        }
        self.order.on_all_lost(self.sent.len());
    }

    /// Nothing is lost after all: what was not sent again is still under way.
    pub fn mark_none_lost(&mut self, now_us: u32) {
        if self.sums.lost == 0 {
            return;
        }
        self.order.on_none_lost(self.first_lost);
        while self.sums.lost > 0 {
            self.change(self.first_lost, |s| s.lost = false);
        }
        self.order.gather(&self.sent, now_us);
    }

    /// The segment at `place`.
    pub fn segment(&self, place: usize) -> &Sent {
        &self.sent[place]
    }

    /// Takes for lost what is longer than `len` octets: it does not fit the path. Says whether there was any.
    pub fn mark_long_lost(&mut self, len: u32) -> bool {
        let mut any = false;
        for place in 0..self.sent.len() {
            let segment = self.sent[place];
            if !segment.sacked && segment.len - u32::from(segment.fin) > len {
                self.change(place, |s| s.lost = true);
                any = true;
            }
        }
        any
    }

    /// The first segment that waits to be sent again, and its place.
    pub fn next_lost(&self) -> Option<(usize, &Sent)> {
        (self.sums.lost > 0).then(|| (self.first_lost, &self.sent[self.first_lost]))
    }

    /// The last segment, if the peer has not reported it, and its place.
    pub fn tail(&self) -> Option<(usize, &Sent)> {
        let place = self.sent.len().checked_sub(1)?;
        self.sent.back().filter(|s| !s.sacked).map(|s| (place, s))
    }

    /// The segment at `place` was sent again.
    pub fn resent(&mut self, place: usize, now_us: u32) {
        self.change(place, |segment| {
            segment.lost = false;
            segment.retransmitted = true;
            segment.sent_us = now_us;
        });
        self.order.on_resent(place, &self.sent, now_us);
    }

    /// Splits the segment at `place` after `len` octets (the peer's MSS or the path's became smaller).
    pub fn split(&mut self, place: usize, len: u32) {
        let segment = self.sent[place];
        debug_assert!(len > 0 && len < segment.len);
        let rest = Sent { seq: segment.seq + len, len: segment.len - len, ..segment };
        self.change(place, |s| {
            s.len = len;
            s.fin = false;
        });
        self.sums.add(&rest);
        self.sent.insert(place + 1, rest);
        self.order.on_split(place);
        self.first_lost += usize::from(place < self.first_lost);
    }

    /// Octets believed to be in the network (RFC 6675 §4, pipe).
    pub fn pipe(&self) -> u32 {
        self.sums.pipe
    }

    /// Octets reported by SACK.
    pub fn sacked(&self) -> u32 {
        self.sums.sacked
    }

    /// Segments reported by SACK.
    pub fn sacked_segments(&self) -> u32 {
        self.sums.sacked_segments
    }

    /// Whether what is kept beside the segments agrees with them.
    pub(crate) fn adds_up(&self) -> bool {
        let mut sums = Sums::default();
        self.sent.iter().for_each(|s| sums.add(s));
        let first_lost = self.sent.iter().position(|s| s.lost);
        sums == self.sums && first_lost.is_none_or(|place| place == self.first_lost)
    }

    /// Octets of memory for segments.
    #[cfg(test)]
    pub fn own_bytes(&self) -> usize {
        self.sent.capacity() * size_of::<Sent>() + self.order.own_bytes()
    }

    /// Keeps memory for about so many segments at most, beside those in flight.
    pub fn shrink_to(&mut self, segments: usize) {
        self.sent.shrink_to(segments);
        self.order.shrink_to(segments);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.sent.clear();
        self.sums = Sums::default();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn board(base: u32, segments: u32) -> Scoreboard {
        let mut board = Scoreboard::default();
        for i in 0..segments {
            let seq = SeqNum(base) + i * 100;
            board.push(Sent::new(seq, 100, i, false));
        }
        board
    }

    /// At 0, mid-range and across the wrap.
    const BASES: [u32; 4] = [0, 1 << 31, u32::MAX - 150, u32::MAX];

    #[test]
    fn an_acknowledgement_takes_out_what_it_covers() {
        for base in BASES {
            let mut board = board(base, 4);
            let rtt_us = board.acknowledge(SeqNum(base) + 250, 1_000, &mut Rack::default());
            assert_eq!(rtt_us, Some(999), "the newest of the two segments");
            assert_eq!(board.pipe(), 150);
        }
    }

    #[test]
    fn a_retransmitted_segment_gives_no_sample() {
        let mut board = board(0, 1);
        board.mark_all_lost();
        board.resent(0, 50);
        assert_eq!(board.acknowledge(SeqNum(100), 60, &mut Rack::default()), None);
    }

    #[test]
    fn a_hole_is_lost_once_later_segments_have_arrived() {
        for base in BASES {
            let mut board = board(base, 5);
            let mut rack = Rack::default();
            let at = |i: u32| SeqNum(base) + i * 100;
            board.sack(&[(at(1), at(4))], 1_000, &mut rack);
            assert_eq!(board.sacked_segments(), 3);
            let later = board.mark_lost_by_time(&rack, 250, 1_000);
            assert_eq!(later, Lost { any: false, ask_again_us: Some(247) }, "it may only be late");
            assert!(board.mark_lost_by_time(&rack, 0, 1_000).any);
            assert_eq!(board.next_lost().map(|(place, s)| (place, s.seq)), Some((0, at(0))));
            assert_eq!(board.pipe(), 100, "only the last one is in the network");
        }
    }

    #[test]
    fn a_split_keeps_the_fin_at_the_end() {
        let mut board = board(0, 1);
        board.sent[0].fin = true;
        board.split(0, 40);
        assert_eq!(
            board.sent.iter().map(|s| (s.seq.0, s.len, s.fin)).collect::<Vec<_>>(),
            [(0, 40, false), (40, 60, true)]
        );
    }

    proptest! {
        /// At 0, mid-range and across the wrap: whatever is sent, acknowledged, reported, lost and sent again, the segments
        /// cover what is in flight without a gap, and the sums are those of the octets.
        #[test]
        fn it_agrees_with_a_set_of_octets(
            base in prop_oneof![Just(0u32), Just(1 << 31), Just(u32::MAX - 1_000), any::<u32>()],
            steps in proptest::collection::vec((0u8..10, 0u32..2_000, 1u32..300), 1..80),
        ) {
            let (base, mut board, mut rack) = (SeqNum(base), Scoreboard::default(), Rack::default());
            let (mut una, mut nxt, mut reported) = (0u32, 0u32, BTreeSet::new());
            for (now_us, (what, at, len)) in (1_000..).zip(steps) {
                match what {
                    0 | 1 => {
                        let (seq, sent_us) = (base + nxt, now_us);
                        board.push(Sent::new(seq, len, sent_us, false));
                        nxt += len;
                    }
                    2 => {
                        una += at % (nxt - una + 1);
                        board.acknowledge(base + una, now_us, &mut rack);
                        reported = reported.split_off(&una);
                    }
                    3 => {
                        let (left, right) = (una + at, una + at + 3 * len);
                        let whole = board.segments().map(|s| (s.seq.distance_from(base), s.end().distance_from(base)));
                        reported.extend(whole.filter(|(l, r)| left <= *l && *r <= right).flat_map(|(l, r)| l..r));
                        board.sack(&[(base + left, base + right)], now_us, &mut rack);
                    }
                    4 => {
                        board.mark_all_lost();
                        reported.clear();
                        prop_assert_eq!(board.pipe(), 0);
                    }
                    5 => {
                        let lost = board.next_lost().map(|(place, sent)| (place, sent.len));
                        if let Some((place, whole)) = lost {
                            if whole > len { board.split(place, len) }
                            board.resent(place, now_us);
                        }
                    }
                    6 => board.mark_none_lost(now_us),
                    8 => {
                        board.mark_old_lost(at, now_us);
                        prop_assert!(board.segments().all(|s| !s.is_under_way() || now_us - s.sent_us < at));
                    }
                    7 => {
                        // RACK may look at a few; what it finds is what a walk over all would.
                        let waits = board.segments().filter(|s| s.is_under_way()).map(|s| rack.wait_us(s, at, now_us));
                        let (due, later): (Vec<u32>, Vec<u32>) = waits.flatten().partition(|wait_us| *wait_us == 0);
                        let (under_way, found) = (board.pipe(), board.mark_lost_by_time(&rack, at, now_us));
                        let expected = Lost { any: !due.is_empty(), ask_again_us: later.into_iter().min() };
                        prop_assert_eq!(found, expected);
                        prop_assert_eq!(found.any, board.pipe() < under_way);
                    }
                    _ => board.mark_first_lost(),
                }
                let mut end = base + una;
                for sent in board.segments() {
                    prop_assert_eq!(sent.seq, end);
                    prop_assert!(!(sent.sacked && sent.lost), "what has come is not lost");
                    end = sent.end();
                }
                prop_assert_eq!(end, base + nxt);
                let octets = |of: fn(&Sent) -> bool| -> u32 { board.segments().filter(|s| of(s)).map(|s| s.len).sum() };
                prop_assert_eq!(board.sacked() as usize, reported.len());
                prop_assert_eq!(octets(|s| s.sacked) as usize, reported.len());
                prop_assert_eq!(board.pipe(), octets(|s| !s.sacked && !s.lost));
                prop_assert!(board.adds_up());
            }
        }
    }
}
