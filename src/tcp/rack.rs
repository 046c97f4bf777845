//! Loss detection by time, RFC 8985 §6: a segment is lost when one that was sent sufficiently later has arrived.

use super::scoreboard::Sent;
use crate::wire::SeqNum;

/// What RACK knows of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rack {
    /// When the most recently sent segment that has arrived was sent, in microseconds modulo 2^32 (RACK.xmit_ts).
    xmit_us: u32,
    /// Its end (RACK.end_seq).
    end_seq: SeqNum,
    /// Its round trip (RACK.rtt).
    rtt_us: u32,
    /// Least round trip seen (RACK.min_RTT); 0 before the first.
    min_rtt_us: u32,
    /// Highest end that has arrived (RACK.fack).
    fack: SeqNum,
    /// Whether segments were seen to overtake each other (RACK.reordering_seen).
    reordered: bool,
    /// Whether anything has arrived at all.
    valid: bool,
    /// What the acknowledgement at hand echoes was sent at least so long ago.
    echo_age_us: u32,
    /// Quarters of `min_rtt_us` that the reordering window has more than one (RACK.reo_wnd_mult - 1).
    patience: u32,
    /// Recoveries without a duplicate until that is forgotten (RACK.reo_wnd_persist).
    recoveries: u8,
    /// SND.NXT when a duplicate was last counted: once for each round trip (RACK.dsack_round).
    round: Option<SeqNum>,
}

/// Recoveries for which patience lasts (RFC 8985 §6.2, step 4).
const PATIENT_FOR: u8 = 16;

impl Rack {
    /// The timestamp that the next arrivals come with is `age_ms` ticks old; 0 where there is none.
    pub fn on_echo(&mut self, age_ms: u32) {
        // Both ticks are cut off, so up to one of them may be too much.
        self.echo_age_us = age_ms.saturating_sub(1).saturating_mul(1_000);
    }

    /// A segment has arrived: acknowledged, or reported by SACK for the first time (RFC 8985 §6.2, steps 1–3).
    pub fn on_arrival(&mut self, segment: &Sent, now_us: u32) {
        let rtt_us = now_us.wrapping_sub(segment.sent_us);
        if segment.retransmitted {
            // Too soon to be an answer to the retransmission, or by its timestamp none: it was the original.
            if rtt_us < self.min_rtt_us.max(self.echo_age_us) {
                return;
            }
        } else {
            self.min_rtt_us = if self.min_rtt_us == 0 { rtt_us.max(1) } else { self.min_rtt_us.min(rtt_us.max(1)) };
            self.reordered |= self.valid && segment.end().before(self.fack);
        }
        if !self.valid || self.was_sent_before(segment) {
            self.xmit_us = segment.sent_us;
            self.end_seq = segment.end();
            self.rtt_us = rtt_us;
        }
        self.fack = if self.valid { self.fack.max(segment.end()) } else { segment.end() };
        self.valid = true;
    }

    /// Least round trip seen, in microseconds; 0 before the first.
    pub fn min_rtt_us(&self) -> u32 {
        self.min_rtt_us
    }

    /// Whether the newest arrival was sent before `segment`.
    fn was_sent_before(&self, segment: &Sent) -> bool {
        let later = segment.sent_us.wrapping_sub(self.xmit_us) as i32;
        later > 0 || (later == 0 && segment.end().after(self.end_seq))
    }

    /// How much longer to wait for `segment` before it is taken for lost, in microseconds; 0: it is lost; `None`: nothing
    /// sent after it has arrived (RFC 8985 §6.2, step 5).
    pub fn wait_us(&self, segment: &Sent, window_us: u32, now_us: u32) -> Option<u32> {
        let is_the_arrival = segment.sent_us == self.xmit_us && segment.end() == self.end_seq;
        let overtaken = self.valid && !is_the_arrival && !self.was_sent_before(segment);
        overtaken.then(|| {
            let deadline = segment.sent_us.wrapping_add(self.rtt_us).wrapping_add(window_us);
            (deadline.wrapping_sub(now_us) as i32).max(0) as u32
        })
    }

    /// The peer reports that something came twice: what was taken for lost was late. The window grows, once for each round
    /// trip (RFC 8985 §6.2, step 4).
    pub fn on_duplicate(&mut self, snd_una: SeqNum, snd_nxt: SeqNum) {
        if self.round.is_none_or(|round| snd_una.at_or_after(round)) {
            self.round = Some(snd_nxt);
            self.patience = self.patience.saturating_add(1);
            self.recoveries = PATIENT_FOR;
        }
    }

    /// Recovery is over.
    pub fn on_recovered(&mut self) {
        self.recoveries = self.recoveries.saturating_sub(1);
        if self.recoveries == 0 {
            self.patience = 0;
        }
    }

    /// The reordering window (RFC 8985 §6.2, step 4): none where loss is plain and reordering was never seen.
    pub fn window_us(&self, in_recovery: bool, arrived_above: u32, srtt_us: u32) -> u32 {
        let plain = in_recovery || arrived_above >= super::scoreboard::DUP_THRESH;
        if !self.reordered && plain { 0 } else { (self.min_rtt_us / 4).saturating_mul(self.patience + 1).min(srtt_us) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(seq: u32, sent_us: u32) -> Sent {
        Sent::new(SeqNum(seq), 100, sent_us, false)
    }

    #[test]
    fn what_was_sent_before_an_arrival_is_lost_when_the_window_is_over() {
        let mut rack = Rack::default();
        assert_eq!(rack.wait_us(&sent(0, 0), 0, 10), None, "nothing has arrived");
        rack.on_arrival(&sent(100, 10), 1_010);
        assert_eq!(rack.wait_us(&sent(0, 0), 0, 1_010), Some(0));
        assert_eq!(rack.wait_us(&sent(0, 0), 250, 1_010), Some(240));
        assert_eq!(rack.wait_us(&sent(200, 20), 0, 9_999), None, "sent later than the arrival");
    }

    #[test]
    fn reordering_once_seen_opens_the_window_even_when_loss_looks_plain() {
        let mut rack = Rack::default();
        rack.on_arrival(&sent(100, 10), 1_010);
        assert_eq!(rack.window_us(false, 0, 5_000), 250);
        assert_eq!(rack.window_us(true, 3, 5_000), 0);
        rack.on_arrival(&sent(0, 0), 1_020);
        assert_eq!(rack.window_us(true, 3, 5_000), 250);
    }

    #[test]
    fn an_answer_that_is_older_than_the_retransmission_says_nothing_of_what_was_sent_in_between() {
        for (age_ms, wait_us) in [(11, None), (10, Some(0)), (0, Some(0))] {
            let mut rack = Rack::default();
            rack.on_echo(age_ms);
            rack.on_arrival(&Sent { retransmitted: true, ..sent(0, 20_000) }, 29_500);
            assert_eq!(rack.wait_us(&sent(100, 10_000), 0, 29_500), wait_us, "{age_ms} ms");
        }
    }

    #[test]
    fn a_retransmission_answered_after_just_the_shortest_round_trip_has_arrived() {
        for (later_us, arrived) in [(999, false), (1_000, true)] {
            let mut rack = Rack::default();
            rack.on_arrival(&sent(0, 0), 1_000);
            rack.on_arrival(&Sent { retransmitted: true, ..sent(200, 5_000) }, 5_000 + later_us);
            assert_eq!(rack.wait_us(&sent(100, 4_000), 0, 9_000).is_some(), arrived, "after {later_us} µs");
        }
    }

    #[test]
    fn duplicates_open_the_window_once_a_round_trip_and_sixteen_recoveries_without_close_it() {
        let mut rack = Rack::default();
        rack.on_arrival(&sent(100, 10), 1_010);
        rack.on_arrival(&sent(0, 0), 1_020);
        for (una, nxt, quarters) in [(200, 500, 2), (300, 600, 2), (500, 900, 3)] {
            rack.on_duplicate(SeqNum(una), SeqNum(nxt));
            assert_eq!(rack.window_us(true, 3, 5_000), quarters * 250, "SND.UNA at {una}");
        }
        assert_eq!(rack.window_us(true, 3, 600), 600, "but no more than the round trip");
        for recovery in 1..=16 {
            rack.on_recovered();
            assert_eq!(rack.window_us(true, 3, 5_000), if recovery < 16 { 750 } else { 250 });
        }
    }
}
