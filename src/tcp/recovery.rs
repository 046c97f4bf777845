//! Finding and mending losses: RACK and tail-loss probes with SACK (RFC 8985), duplicate acknowledgements without
//! (RFC 5681 §3.2, RFC 6582), and answers to congestion marks (RFC 3168 §6.1.2).

use super::connection::{Facts, Tcb};
use super::env::Env;
use super::scoreboard::DUP_THRESH;
use super::spurious::Undo;
use super::timers::ticks;
use crate::time::Duration;
use crate::wire::tcp::{Flags, Segment};

/// What a receiver may add to a round trip by delaying its acknowledgement of a single segment (RFC 8985 §7.2).
const WORST_DELAYED_ACK_MS: u32 = 200;

/// After so long a larger packet is tried again (RFC 1191 §6.3, §7.1: ten minutes).
pub(crate) const TRY_LARGER_AFTER: Duration = Duration::from_secs(600);

/// Whether losses are being mended, after an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Recovery {
    /// They are not, or not any more.
    Over,
    /// They are: the congestion window does not grow.
    GoesOn,
}

impl Tcb {
    /// Marks what the peer's SACK blocks report, if they were agreed on (RFC 2018 §2).
    pub(super) fn take_sack(&mut self, segment: &Segment<'_>, now_us: u32) {
        if self.facts.has(Facts::SACK)
            && let Some(transfer) = &mut self.transfer
        {
            transfer.scoreboard.sack(segment.header.options.sack.as_slice(), now_us, &mut transfer.rack);
        }
    }

    /// With SACK: looks for segments that later ones have overtaken.
    pub(super) fn detect_loss(&mut self, flight: u32, env: &mut Env) {
        let (now_us, tick) = (env.now_us(), env.tick());
        if !self.facts.has(Facts::SACK) {
            return;
        }
        let Some(transfer) = &mut self.transfer else { return };
        let arrived_above = transfer.scoreboard.sacked_segments();
        let window_us = transfer.rack.window_us(transfer.recover.is_some(), arrived_above, transfer.rtt.srtt_us);
        let lost = transfer.scoreboard.mark_lost_by_time(&transfer.rack, window_us, now_us);
        transfer.reordering = lost.ask_again_us.is_some();
        transfer.reordering_at = tick.wrapping_add(lost.ask_again_us.unwrap_or(0) / 1_000 + 1);
        if lost.any {
            self.enter_recovery(flight, env);
        }
    }

    /// Without SACK: the third duplicate acknowledgement means that the first segment is lost.
    pub(super) fn count_duplicate(&mut self, flight: u32, env: &mut Env) {
        let has_sack = self.facts.has(Facts::SACK);
        let Some(transfer) = &mut self.transfer else { return };
        transfer.dup_acks += 1;
        if !has_sack && transfer.recover.is_none() && transfer.dup_acks >= DUP_THRESH {
            transfer.scoreboard.mark_first_lost();
            self.enter_recovery(flight, env);
        }
    }

    /// One reduction for all losses of one flight (RFC 6582 §3.2: `recover`).
    fn enter_recovery(&mut self, flight: u32, env: &mut Env) {
        let (smss, snd_una, snd_nxt) = (u32::from(self.smss), self.snd_una, self.snd_nxt);
        let Some(transfer) = &mut self.transfer else { return };
        if transfer.recover.is_some() {
            return;
        }
        transfer.recover = Some(snd_nxt);
        transfer.undo = Some(Undo::new(transfer.congestion, snd_una, snd_nxt));
        transfer.congestion.on_loss(flight, smss);
        env.ledger.fast_retransmits += 1;
    }

    /// An acknowledgement that advances: in recovery it is the end of that, or partial. A partial one without SACK means
    /// that the next hole is lost as well (RFC 6582 §3.2).
    pub(super) fn on_recovery_ack(&mut self) -> Recovery {
        let (snd_una, has_sack) = (self.snd_una, self.facts.has(Facts::SACK));
        let Some(transfer) = &mut self.transfer else { return Recovery::Over };
        let Some(recover) = transfer.recover else { return Recovery::Over };
        if snd_una.at_or_after(recover) {
            transfer.recover = None;
            transfer.rack.on_recovered();
            return Recovery::Over;
        }
        if !has_sack {
            transfer.scoreboard.mark_first_lost();
        }
        Recovery::GoesOn
    }

    /// The peer has seen a congestion mark: the window is reduced once for each flight, and the peer is told.
    pub(super) fn on_congestion_echo(&mut self, segment: &Segment<'_>, flight: u32) {
        if !self.facts.has(Facts::ECN) || !segment.header.flags.has(Flags::ECE) {
            return;
        }
        let (smss, snd_nxt, ack) = (u32::from(self.smss), self.snd_nxt, segment.header.ack);
        let Some(transfer) = &mut self.transfer else { return };
        let answered = transfer.marked_until.is_some_and(|until| ack.at_or_before(until));
        if answered || transfer.recover.is_some() || flight == 0 {
            return;
        }
        transfer.congestion.on_loss(flight, smss);
        // A mark is no mistake.
        transfer.undo = None;
        transfer.marked_until = Some(snd_nxt);
        self.facts.set(Facts::REDUCED);
    }

    /// How long to wait for an acknowledgement before the tail is probed for loss (RFC 8985 §7.2); `None` when a
    /// retransmission timeout is the right thing to wait for.
    pub(super) fn probe_timeout_ms(&self) -> Option<u32> {
        let transfer = self.transfer.as_ref()?;
        let probes = self.facts.has(Facts::SACK)
            && self.backoff == 0
            && transfer.recover.is_none()
            && transfer.probe_end.is_none()
            && transfer.rtt.srtt_us > 0
            && !transfer.scoreboard.is_empty()
            && transfer.scoreboard.sacked() == 0;
        let alone = if transfer.scoreboard.len() == 1 { WORST_DELAYED_ACK_MS } else { 0 };
        // Twice the round trip, in milliseconds; the round trip may be any, as a peer may answer whenever it likes.
        let probe_ms = transfer.rtt.srtt_us.div_ceil(500) + alone;
        (probes && probe_ms < u32::from(self.rto_ms)).then_some(probe_ms)
    }

    /// The answer to a tail-loss probe: when a retransmission was needed and the peer did not have the segment twice,
    /// a loss was mended, and the window pays for it (RFC 8985 §7.4).
    pub(super) fn settle_probe(&mut self, segment: &Segment<'_>, flight: u32) {
        let (smss, snd_una) = (u32::from(self.smss), self.snd_una);
        let Some((end, again)) = self.transfer.as_ref().and_then(|t| t.probe_end) else { return };
        if snd_una.before(end) {
            return;
        }
        let twice = self.duplicate_of(segment).is_some();
        let Some(transfer) = &mut self.transfer else { return };
        transfer.probe_end = None;
        if again && !twice && transfer.recover.is_none() {
            transfer.congestion.on_loss(flight, smss);
            transfer.undo = None;
        }
    }

    /// The path takes no more than `smss` octets: what is longer is sent again in pieces, which is no sign of congestion
    /// (RFC 1191 §6.4).
    pub(super) fn lower_smss(&mut self, smss: u16, env: &mut Env) {
        let before = self.smss;
        if smss >= before {
            return;
        }
        self.smss = smss;
        let most = self.most_text() as u32;
        let tick = env.tick();
        let transfer = self.transfer_mut(&mut env.pools, &env.config);
        let largest = transfer.larger_smss.map_or(before, |(largest, _)| largest);
        transfer.larger_smss = Some((largest, tick));
        transfer.scoreboard.mark_long_lost(most);
    }

    /// A smaller segment size is not for ever: the larger one is tried again after ten minutes (RFC 1191 §7.1).
    pub(super) fn restore_smss(&mut self, tick: u32) {
        if let Some(transfer) = &mut self.transfer
            && let Some((largest, since)) = transfer.larger_smss
            && tick.wrapping_sub(since) >= ticks(TRY_LARGER_AFTER)
        {
            transfer.larger_smss = None;
            self.smss = largest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::TcpConfig;
    use super::super::congestion::{Congestion, Reno};
    use super::super::connection::Facts;
    use super::super::testing::{Bench, ISS, MSS};
    use crate::time::Duration;
    use crate::wire::SeqNum;
    use crate::wire::tcp::{Flags, Header, Options};

    /// A peer that answered after an hour: found by fuzzing.
    #[test]
    fn a_round_trip_of_any_length_gives_no_probe_before_the_retransmission_timeout() {
        for (srtt_us, probe_ms) in [(10_000, Some(220)), (1 << 31, None), (u32::MAX, None)] {
            let mut bench = Bench::with(TcpConfig::default(), true, true);
            bench.write(100);
            bench.send();
            bench.tcb.rto_ms = 1_000;
            bench.tcb.transfer.as_mut().expect("text is under way").rtt.srtt_us = srtt_us;
            assert_eq!(bench.tcb.probe_timeout_ms(), probe_ms, "{srtt_us} µs");
        }
    }

    /// Ten segments under way to a peer with SACK.
    fn ten_in_flight() -> Bench {
        let mut bench = Bench::with(TcpConfig::default(), true, false);
        bench.write(60_000);
        assert_eq!(bench.send().len(), 10);
        bench
    }

    fn octets(segments: u32) -> u32 {
        segments * u32::from(MSS)
    }

    #[test]
    fn blocks_that_were_not_agreed_on_report_nothing() {
        for (agreed, reported) in [(true, 4), (false, 0)] {
            let mut bench = Bench::with(TcpConfig::default(), agreed, false);
            bench.write(60_000);
            bench.send();
            bench.ack(0, 0, &[(octets(1), octets(5))]);
            assert_eq!(bench.tcb.transfer.as_ref().expect("text is under way").scoreboard.sacked_segments(), reported);
        }
    }

    #[test]
    fn a_recovery_is_counted_once() {
        let mut bench = ten_in_flight();
        for segment in 1..6 {
            bench.ack(0, 0, &[(octets(1), octets(segment + 1))]);
        }
        assert_eq!(bench.env.ledger.fast_retransmits, 1);
    }

    /// RFC 3168 §6.1.2: not more than once for a window of data, and a loss in it has paid already.
    #[test]
    fn a_mark_in_recovery_costs_nothing_more() {
        let mut bench = ten_in_flight();
        bench.tcb.facts.set(Facts::ECN);
        for segment in 1..6 {
            bench.ack(0, 0, &[(octets(1), octets(segment + 1))]);
        }
        let reduced = bench.cwnd();
        assert!(reduced < octets(10));
        marked(&mut bench, 0);
        assert_eq!(bench.cwnd(), reduced);
        assert!(!bench.tcb.facts.has(Facts::REDUCED), "nor is the peer told of a reduction by the mark");
    }

    #[test]
    fn a_mark_outside_recovery_costs_once_for_each_flight() {
        let mut bench = ten_in_flight();
        bench.tcb.facts.set(Facts::ECN);
        marked(&mut bench, octets(1));
        let reduced = bench.cwnd();
        assert!(reduced < octets(10), "{reduced}");
        marked(&mut bench, octets(2));
        assert!(bench.cwnd() >= reduced);
    }

    /// An acknowledgement with ECE.
    fn marked(bench: &mut Bench, octets: u32) {
        let (seq, ack, flags) = (SeqNum(bench.peer_nxt), SeqNum(ISS + 1) + octets, Flags::ACK | Flags::ECE);
        let header = Header { seq, ack, flags, wnd: bench.wnd, ..Header::default() };
        bench.receive(header, b"").unwrap();
    }

    /// RFC 8985 §7.4: a probe that mended a loss costs the window, one that the peer had already does not.
    #[test]
    fn a_probe_costs_when_it_mended_a_loss_and_not_when_it_came_twice() {
        for (twice, costs) in [(false, true), (true, false)] {
            let mut bench = Bench::with(TcpConfig::default(), true, false);
            bench.write(500);
            bench.send();
            bench.now = bench.now + Duration::from_millis(50);
            bench.ack(500, 0, &[]);
            // Ten segments, not the last of which the peer lets wait.
            bench.write(usize::from(MSS) * 4);
            bench.send();
            let before = bench.cwnd();
            bench.wait(Duration::from_millis(130));
            let probe = bench.send();
            assert_eq!(probe.len(), 1, "the last segment again");
            let end = 500 + octets(4);
            if twice {
                // Both copies came: the second is reported below the acknowledgement (RFC 2883).
                let mut options = Options::default();
                let at = |octet: u32| SeqNum(ISS + 1) + octet;
                options.sack.push(at(end - octets(1)), at(end));
                let (seq, ack, flags) = (SeqNum(bench.peer_nxt), at(end), Flags::ACK);
                bench.receive(Header { seq, ack, flags, wnd: bench.wnd, options, ..Header::default() }, b"").unwrap();
            } else {
                bench.ack(end, 0, &[]);
            }
            assert_eq!(bench.cwnd() < before, costs, "twice: {twice}");
        }
    }

    /// A peer with a tiny MSS has thousands of segments under way, and then sends `frames`: each acknowledges so many octets
    /// beyond the first number, reports these blocks, and offers this window, where the first of all is 0. Gives how many
    /// segments are looked at for each, with what leaves in answer.
    fn work_per_frame(frames: impl Iterator<Item = (u32, Vec<(u32, u32)>, u16)>) -> u64 {
        let config = TcpConfig { send_buffer: 4 << 20, user_timeout: Duration::from_secs(100), ..TcpConfig::default() };
        let options = Options { sack_permitted: true, window_scale: Some(7), ..Options::default() };
        let mut bench = Bench::established(config, options);
        bench.our_mss = SMALL as u16;
        bench.write(((SEGMENTS + 1) * SMALL) as usize);
        let tick = bench.now.as_millis() as u32;
        let transfer = bench.tcb.transfer.as_mut().expect("text is under way");
        transfer.sent_at = tick;
        transfer.congestion = Congestion::Reno(Reno::new(u32::MAX >> 1));
        bench.ack(0, 0, &[]);
        assert_eq!(bench.send().len(), SEGMENTS as usize + 1);
        bench.now = bench.now + Duration::from_millis(100);
        bench.ack(SMALL, 0, &[]);
        let mut count = 0;
        for (acked, sack, wnd) in frames {
            bench.wnd = wnd;
            let sack: Vec<_> = sack.iter().map(|(left, right)| (SMALL + left, SMALL + right)).collect();
            bench.ack(SMALL + acked, 0, &sack);
            bench.send();
            count += 1;
        }
        bench.tcb.transfer.as_ref().expect("still under way").scoreboard.looked_at / count
    }

    const SMALL: u32 = 48;
    const SEGMENTS: u32 = 4_000;

    /// Work is what they are measured by, as no test asserts a time (CVE-2019-11478).
    #[test]
    fn no_frame_of_a_peer_costs_a_walk_over_all_that_is_under_way() {
        let (open, at) = (60_000, |segment: u32| segment * SMALL);
        let frames = 0..20_000;
        let every_second = |i: u32| vec![(at(2 * i + 1), at(2 * i + 2))];
        let rows: [(&str, u64); 7] = [
            ("duplicates", work_per_frame(frames.clone().map(|_| (0, vec![], open)))),
            ("all is reported", work_per_frame(frames.clone().map(|_| (0, vec![(at(1), at(SEGMENTS))], open)))),
            (
                "and from elsewhere in each block",
                work_per_frame(frames.clone().map(|i| {
                    (0, (0..3).map(|block| (at(1 + (3 * i + block) * 7 % 3_000), at(SEGMENTS))).collect(), open)
                })),
            ),
            ("every second", work_per_frame((0..SEGMENTS / 2).map(|i| (0, every_second(i), open)))),
            ("every second, backwards", work_per_frame((0..SEGMENTS / 2).rev().map(|i| (0, every_second(i), open)))),
            ("octet by octet", work_per_frame(frames.clone().map(|i| (i, vec![(at(3_000), at(SEGMENTS))], open)))),
            (
                "the window shuts and opens",
                work_per_frame(frames.map(|i| (0, vec![], if i % 2 == 0 { 0 } else { 10 }))),
            ),
        ];
        for (what, segments) in rows {
            assert!(segments <= 8, "{what}: {segments} segments a frame");
        }
    }
}
