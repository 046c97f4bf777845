//! What was sent and not yet acknowledged, segment by segment: which of it the peer holds (RFC 2018), which is lost
//! (RFC 8985, RFC 5681), and how much is in the network (RFC 6675 §4).

use super::rack::Rack;
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
}

impl Sent {
    /// One past its last octet.
    pub fn end(&self) -> SeqNum {
        self.seq + self.len
    }
}

/// Segments reported above one that is missing before it is plainly lost (RFC 5681 §3.2, RFC 8985 §6.2).
pub const DUP_THRESH: u32 = 3;

/// All segments in flight, in sequence order, without gaps.
#[derive(Debug, Default)]
pub struct Scoreboard {
    sent: VecDeque<Sent>,
}

/// What an acknowledgement changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acked {
    /// Round trip of the newest segment that was acknowledged for the first time and sent once, in microseconds.
    pub rtt_us: Option<u32>,
    /// Octets newly reported by SACK.
    pub sacked: u32,
}

/// What [`Scoreboard::mark_lost_by_time`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Whether a segment is newly taken for lost.
    pub any: bool,
    /// When the rest of what was overtaken is to be looked at again.
    pub ask_again_us: Option<u32>,
}

impl Scoreboard {
    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// The segments, in sequence order.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Sent> {
        self.sent.iter()
    }

    /// Enters a segment that was sent for the first time.
    pub fn push(&mut self, segment: Sent) {
        debug_assert!(self.sent.back().is_none_or(|last| last.end() == segment.seq), "a gap in what was sent");
        self.sent.push_back(segment);
    }

    /// Takes out what lies before `una`.
    pub fn acknowledge(&mut self, una: SeqNum, now_us: u32, rack: &mut Rack) -> Acked {
        let mut acked = Acked::default();
        while let Some(first) = self.sent.front_mut() {
            if first.seq.at_or_after(una) {
                break;
            }
            if first.end().after(una) {
                let covered = una.distance_from(first.seq);
                first.seq = una;
                first.len -= covered;
                break;
            }
            if !first.sacked {
                rack.on_arrival(first, now_us);
            }
            if !first.retransmitted && !first.sacked {
                acked.rtt_us = Some(now_us.wrapping_sub(first.sent_us));
            }
            self.sent.pop_front();
        }
        acked
    }

    /// Marks what the peer's SACK blocks report; blocks outside of what is in flight are ignored.
    pub fn sack(&mut self, blocks: &[(SeqNum, SeqNum)], now_us: u32, rack: &mut Rack) -> Acked {
        let mut acked = Acked::default();
        for &(left, right) in blocks.iter().filter(|(left, right)| left.before(*right)) {
            for segment in self.sent.iter_mut().filter(|s| !s.sacked) {
                if segment.seq.at_or_after(left) && segment.end().at_or_before(right) {
                    rack.on_arrival(segment, now_us);
                    segment.sacked = true;
                    segment.lost = false;
                    acked.sacked += segment.len;
                }
            }
        }
        acked
    }

    /// Takes for lost what RACK says is; gives the microseconds after which to ask again, for what may only be late.
    pub fn mark_lost_by_time(&mut self, rack: &Rack, window_us: u32, now_us: u32) -> Lost {
        let mut lost = Lost::default();
        for segment in self.sent.iter_mut().filter(|s| !s.sacked && !s.lost) {
            match rack.wait_us(segment, window_us, now_us) {
                Some(0) => {
                    segment.lost = true;
                    lost.any = true;
                }
                Some(wait_us) => lost.ask_again_us = lost.ask_again_us.max(Some(wait_us)),
                None => {}
            }
        }
        lost
    }

    /// Segments reported by SACK.
    pub fn sacked_segments(&self) -> u32 {
        self.sent.iter().filter(|s| s.sacked).count() as u32
    }

    /// The last segment, if the peer has not reported it, and its place.
    pub fn tail(&self) -> Option<(usize, &Sent)> {
        let place = self.sent.len().checked_sub(1)?;
        self.sent.back().filter(|s| !s.sacked).map(|s| (place, s))
    }

    /// Segments in flight.
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// Takes for lost what is longer than `len` octets: it does not fit the path. Says whether there was any.
    pub fn mark_long_lost(&mut self, len: u32) -> bool {
        let mut any = false;
        for segment in self.sent.iter_mut().filter(|s| !s.sacked && s.len - u32::from(s.fin) > len) {
            segment.lost = true;
            any = true;
        }
        any
    }

    /// Takes the first segment for lost (third duplicate acknowledgement, or a partial one in recovery).
    pub fn mark_first_lost(&mut self) {
        if let Some(first) = self.sent.iter_mut().find(|s| !s.sacked) {
            first.lost = true;
        }
    }

    /// Takes everything that the peer has not reported for lost (retransmission timeout). What it did report is forgotten
    /// when `renege` is set: the peer may have dropped it (RFC 2018 §8).
    pub fn mark_all_lost(&mut self, renege: bool) {
        for segment in &mut self.sent {
            segment.sacked &= !renege;
            segment.lost = !segment.sacked;
        }
    }

    /// The first segment that waits to be sent again, and its place.
    pub fn next_lost(&self) -> Option<(usize, &Sent)> {
        self.sent.iter().enumerate().find(|(_, s)| s.lost)
    }

    /// The segment at `place` was sent again.
    pub fn resent(&mut self, place: usize, now_us: u32) {
        let segment = &mut self.sent[place];
        segment.lost = false;
        segment.retransmitted = true;
        segment.sent_us = now_us;
    }

    /// Splits the segment at `place` after `len` octets (the peer's MSS or the path's became smaller).
    pub fn split(&mut self, place: usize, len: u32) {
        let segment = self.sent[place];
        debug_assert!(len > 0 && len < segment.len);
        self.sent[place] = Sent { len, fin: false, ..segment };
        self.sent.insert(place + 1, Sent { seq: segment.seq + len, len: segment.len - len, ..segment });
    }

    /// Octets believed to be in the network (RFC 6675 §4, pipe).
    pub fn pipe(&self) -> u32 {
        self.sent.iter().filter(|s| !s.sacked && !s.lost).map(|s| s.len).sum()
    }

    /// Octets reported by SACK.
    pub fn sacked(&self) -> u32 {
        self.sent.iter().filter(|s| s.sacked).map(|s| s.len).sum()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.sent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(base: u32, segments: u32) -> Scoreboard {
        let mut board = Scoreboard::default();
        for i in 0..segments {
            let seq = SeqNum(base) + i * 100;
            let sent = Sent { seq, len: 100, sent_us: i, fin: false, retransmitted: false, sacked: false, lost: false };
            board.push(sent);
        }
        board
    }

    /// At 0, mid-range and across the wrap.
    const BASES: [u32; 4] = [0, 1 << 31, u32::MAX - 150, u32::MAX];

    #[test]
    fn an_acknowledgement_takes_out_what_it_covers() {
        for base in BASES {
            let mut board = board(base, 4);
            let acked = board.acknowledge(SeqNum(base) + 250, 1_000, &mut Rack::default());
            assert_eq!(acked.rtt_us, Some(999), "the newest of the two segments");
            assert_eq!(board.pipe(), 150);
        }
    }

    #[test]
    fn a_retransmitted_segment_gives_no_sample() {
        let mut board = board(0, 1);
        board.mark_all_lost(false);
        board.resent(0, 50);
        assert_eq!(board.acknowledge(SeqNum(100), 60, &mut Rack::default()).rtt_us, None);
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
}
