//! Reductions that turn out to have been unnecessary, and are taken back: the segment was late and not lost.
//!
//! Two proofs count, for timeouts and for fast recovery, whatever the congestion control. The first acknowledgement after
//! a retransmission that echoes an older timestamp answers the original (Eifel, RFC 3522 §3.2). And when the peer reports
//! each retransmission as a duplicate, none was needed (RFC 2883 §5, RFC 3708). What is restored is what stood before
//! the reduction (RFC 9438 §4.9).

use super::congestion::Congestion;
use super::connection::{Facts, Tcb};
use super::env::Env;
use super::scoreboard::Sent;
use crate::wire::SeqNum;
use crate::wire::tcp::{Header, Segment};

/// What it takes to take a reduction back.
#[derive(Clone, Copy, Debug)]
pub struct Undo {
    /// The congestion state before it.
    before: Congestion,
    /// SND.UNA then.
    una: SeqNum,
    /// TSval of the first retransmission, until an acknowledgement answers it (RFC 3522 §3.2, RetransmitTS).
    stamp: Option<u32>,
    /// Retransmissions that the peer has not reported as duplicates.
    resent: u32,
    /// Once this is acknowledged, what the peer may still report is old.
    until: SeqNum,
    /// Whether that is the flight after the one that was reduced for.
    last_flight: bool,
}

impl Undo {
    /// Before a reduction for what is in flight from `una` to `nxt`.
    pub fn new(before: Congestion, una: SeqNum, nxt: SeqNum) -> Self {
        Undo { before, una, stamp: None, resent: 0, until: nxt, last_flight: false }
    }
}

impl Tcb {
    /// `segment` leaves once more with this header.
    pub(super) fn note_resent(&mut self, segment: &Sent, header: &Header) {
        let snd_una = self.snd_una;
        let Some(undo) = self.transfer.as_mut().and_then(|t| t.undo.as_mut()) else { return };
        // A segment that had been sent twice before, as a tail-loss probe, could have two acknowledgements echo an older
        // timestamp; and it is the first segment whose answer comes first.
        if undo.resent == 0 && segment.seq == snd_una && !segment.retransmitted {
            undo.stamp = header.options.timestamps.map(|t| t.tsval);
        }
        undo.resent += 1;
    }

    /// An acknowledgement that advances: does it answer an original that was taken for lost?
    pub(super) fn detect_spurious(&mut self, segment: &Segment<'_>, env: &mut Env) {
        let (snd_una, snd_nxt) = (self.snd_una, self.snd_nxt);
        let Some(transfer) = &mut self.transfer else { return };
        let Some(undo) = &mut transfer.undo else { return };
        let echoed = segment.header.options.timestamps.filter(|_| self.facts.has(Facts::TIMESTAMPS));
        if let (Some(stamp), Some(echoed)) = (undo.stamp.take(), echoed)
            && (echoed.tsecr.wrapping_sub(stamp) as i32) < 0
        {
            // Nothing was lost: what waits to be sent again is only late, and new data goes on (RFC 4015 §3.1).
            transfer.recover = None;
            transfer.scoreboard.mark_none_lost(env.now_us());
            return self.take_back(env);
        }
        if snd_una.at_or_after(undo.until) {
            if undo.last_flight {
                transfer.undo = None;
            } else {
                undo.last_flight = true;
                undo.until = snd_nxt;
            }
        }
    }

    /// The stretch that an acknowledgement reports to have come twice, if it does: the first SACK block, below the
    /// acknowledgement or within the second block (RFC 2883 §4).
    pub(super) fn duplicate_of(&self, segment: &Segment<'_>) -> Option<(SeqNum, SeqNum)> {
        if !self.facts.has(Facts::SACK) {
            return None;
        }
        let blocks = segment.header.options.sack.as_slice();
        let &(left, right) = blocks.first()?;
        let within = |outer: &(SeqNum, SeqNum)| outer.0.at_or_before(left) && right.at_or_before(outer.1);
        let twice = right.at_or_before(segment.header.ack) || blocks.get(1).is_some_and(within);
        (twice && left.before(right)).then_some((left, right))
    }

    /// The peer has had something twice: loss detection grows patient, and a reduction of which nothing was needed is
    /// taken back.
    pub(super) fn on_duplicate_report(&mut self, (left, right): (SeqNum, SeqNum), env: &mut Env) {
        let (smss, snd_una, snd_nxt) = (u32::from(self.smss), self.snd_una, self.snd_nxt);
        let Some(transfer) = &mut self.transfer else { return };
        transfer.rack.on_duplicate(snd_una, snd_nxt);
        let Some(undo) = &mut transfer.undo else { return };
        if undo.resent == 0 || left.before(undo.una) {
            return;
        }
        undo.resent = undo.resent.saturating_sub(right.distance_from(left).div_ceil(smss.max(1)));
        if undo.resent == 0 {
            self.take_back(env);
        }
    }

    fn take_back(&mut self, env: &mut Env) {
        let Some(transfer) = &mut self.transfer else { return };
        let Some(undo) = transfer.undo.take() else { return };
        transfer.congestion.restore(&undo.before);
        env.ledger.taken_back += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::TcpConfig;
    use super::super::congestion::Algorithm;
    use super::super::testing::{Bench, MSS};
    use crate::time::Duration;

    fn config(congestion: Algorithm) -> TcpConfig {
        TcpConfig { congestion, ..TcpConfig::default() }
    }

    const BOTH: [Algorithm; 2] = [Algorithm::Cubic, Algorithm::Reno];
    const RTO: Duration = Duration::from_millis(1_001);
    /// Text of a segment beside timestamps.
    const TEXT: u32 = MSS as u32 - 12;

    /// Ten segments leave, and nothing is heard until the timer runs out. Gives the TSval of the originals.
    fn after_a_timeout(bench: &mut Bench) -> u32 {
        bench.write(10 * TEXT as usize);
        assert_eq!(bench.send().len(), 10);
        let originals = bench.tsval;
        bench.tcb.facts.clear(super::Facts::PROBE_TIMER);
        bench.wait(RTO);
        assert_eq!(bench.send().len(), 1, "the first segment again");
        assert_eq!(bench.cwnd(), u32::from(MSS));
        originals
    }

    #[test]
    fn a_timeout_that_the_original_answers_is_taken_back_and_nothing_more_is_sent_again() {
        for algorithm in BOTH {
            let mut bench = Bench::with(config(algorithm), true, true);
            let originals = after_a_timeout(&mut bench);
            bench.ack(2 * TEXT, originals, &[]);
            assert!(bench.cwnd() >= 10_000, "{algorithm}: {}", bench.cwnd());
            assert!(bench.send().is_empty(), "the rest is only late");
            assert_eq!((bench.env.ledger.taken_back, bench.env.ledger.retransmitted), (1, 1));
        }
    }

    #[test]
    fn a_timeout_that_the_retransmission_answers_stands() {
        for algorithm in BOTH {
            let mut bench = Bench::with(config(algorithm), true, true);
            after_a_timeout(&mut bench);
            let again = bench.tsval;
            bench.ack(TEXT, again, &[]);
            assert!(bench.cwnd() <= 3_000 && !bench.send().is_empty(), "{algorithm}: {}", bench.cwnd());
            assert_eq!(bench.env.ledger.taken_back, 0);
        }
    }

    /// Without timestamps only the peer's report of a duplicate tells.
    #[test]
    fn a_timeout_whose_every_retransmission_came_twice_is_taken_back() {
        for algorithm in BOTH {
            let mut bench = Bench::with(config(algorithm), true, false);
            bench.write(10_000);
            assert_eq!(bench.send().len(), 10);
            bench.tcb.facts.clear(super::Facts::PROBE_TIMER);
            bench.wait(RTO);
            assert_eq!(bench.send().len(), 1);
            bench.ack(10_000, 0, &[]);
            assert!(bench.cwnd() < 10_000, "{algorithm}: no proof yet");
            bench.ack(10_000, 0, &[(0, 1_000)]);
            assert!(bench.cwnd() >= 10_000, "{algorithm}: {}", bench.cwnd());
            assert_eq!(bench.env.ledger.taken_back, 1);
        }
    }

    /// Three segments overtake the first: taken for lost, and then it comes.
    #[test]
    fn a_fast_retransmission_of_what_was_only_late_is_taken_back() {
        for algorithm in BOTH {
            let mut bench = Bench::with(config(algorithm), true, true);
            bench.write(10 * TEXT as usize);
            assert_eq!(bench.send().len(), 10);
            let originals = bench.tsval;
            bench.now = bench.now + Duration::from_millis(100);
            bench.ack(0, originals, &[(TEXT, 5 * TEXT)]);
            assert_eq!(bench.send().len(), 1);
            assert!(bench.cwnd() < 10_000);
            bench.ack(5 * TEXT, originals, &[]);
            assert!(bench.cwnd() >= 10_000, "{algorithm}: {}", bench.cwnd());
            assert!(bench.tcb.transfer.as_ref().unwrap().recover.is_none());
            assert_eq!(bench.env.ledger.taken_back, 1);
        }
    }

    #[test]
    fn one_of_two_retransmissions_that_was_needed_is_enough_for_the_reduction_to_stand() {
        let mut bench = Bench::with(config(Algorithm::Cubic), true, false);
        bench.write(10_000);
        bench.send();
        bench.now = bench.now + Duration::from_millis(100);
        bench.ack(0, 0, &[(2_000, 8_000)]);
        assert_eq!(bench.send().len(), 2);
        bench.ack(8_000, 0, &[]);
        bench.ack(8_000, 0, &[(0, 1_000)]);
        assert_eq!(bench.env.ledger.taken_back, 0);
    }
}
