//! Fifth step of SEGMENT ARRIVES: the acknowledgement, RFC 9293 §3.10.7.4, with RFC 5961 §5 (old and future ones),
//! and RFC 5681 §3.1 (growth). What it says of losses is `recovery`'s.

use super::connection::{Facts, News, Tcb};
use super::env::Env;
use super::recovery::Recovery;
use super::state::{Event, State};
use crate::ledger::{DropReason, Ending};
use crate::wire::SeqNum;
use crate::wire::tcp::{Flags, Segment};

impl Tcb {
    /// # Errors
    /// [`DropReason::AckUnacceptable`]: the text of such a segment is not looked at either.
    // By force: it is one step of several of a function that is not left between them.
    #[inline(always)]
    pub(super) fn on_ack(&mut self, segment: &Segment<'_>, env: &mut Env) -> Result<(), DropReason> {
        let ack = segment.header.ack;
        // RFC 5961 §5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT.
        let oldest = self.snd_una - self.max_snd_wnd;
        if (ack.after(self.snd_nxt) && !self.takes_probe(ack)) || ack.before(oldest) {
            self.challenge(env);
            return Err(DropReason::AckUnacceptable);
        }
        let advanced = ack.after(self.snd_una);
        if advanced && self.unanswered > 0 && self.transfer.as_ref().is_some_and(|t| t.larger_smss.is_some()) {
            // Smaller segments came through where larger ones had not.
            self.news.add(News::PATH);
        }
        // R2 counts from the last progress. A closed window is none, but a peer that says so may take its time while the
        // application is there to wait; an orphan's patience ends (RFC 9293 §3.8.6.1, RFC 6429).
        if advanced || (self.has_reader() && (self.snd_wnd == 0 || !self.outstanding())) {
            self.unanswered = 0;
        }
        if self.facts.has(Facts::KEEP_ALIVE) && !self.outstanding() {
            // Idle time counts from here; the shard starts the timer again.
            self.facts.clear(Facts::TIMER);
        }
        let window_before = self.snd_wnd;
        let is_duplicate = self.transfer.is_some() && self.is_duplicate_ack(segment);
        self.update_window(segment);
        if advanced {
            self.on_new_ack(segment, env);
        } else if self.transfer.is_some() {
            self.on_same_ack(segment, is_duplicate, env);
        }
        if window_before == 0 && self.snd_wnd > 0 {
            self.on_window_opened(env);
        }
        Ok(())
    }

    /// The peer has taken the octet of a probe, although it had said before that its window opens: it was sent, and is in
    /// flight again.
    #[cold]
    fn takes_probe(&mut self, ack: SeqNum) -> bool {
        let taken = ack == self.snd_nxt + 1 && self.transfer.as_ref().is_some_and(|t| t.probed);
        self.snd_nxt += u32::from(taken);
        taken
    }

    /// RFC 5681 §2: no text, no SYN or FIN, the same window, the same number, and something outstanding.
    fn is_duplicate_ack(&self, segment: &Segment<'_>) -> bool {
        segment.text.is_empty()
            && !segment.header.flags.has(Flags::FIN)
            && segment.header.ack == self.snd_una
            && self.outstanding()
            && u32::from(segment.header.wnd) << self.peer_shift() == self.snd_wnd
    }

    /// Only a newer segment moves the window (SND.WL1, SND.WL2).
    ///
    /// Deviation: RFC 9293 §3.10.7.4, SND.WL1 and SND.WL2. What acknowledges something new is newer as well, though it may
    /// be a retransmission whose number is below SND.WL1. By the letter the old window would stand beside the new SND.UNA,
    /// and reach beyond what was ever offered.
    fn update_window(&mut self, segment: &Segment<'_>) {
        let (seq, ack) = (segment.header.seq, segment.header.ack);
        if ack.before(self.snd_una) {
            return;
        }
        let newer = ack.after(self.snd_una) || self.snd_wl1.before(seq);
        if newer || (self.snd_wl1 == seq && self.snd_wl2.at_or_before(ack)) {
            self.snd_wnd = u32::from(segment.header.wnd) << self.peer_shift();
            self.max_snd_wnd = self.max_snd_wnd.max(self.snd_wnd);
            self.snd_wl1 = seq;
            self.snd_wl2 = ack;
        }
    }

    #[inline]
    fn on_new_ack(&mut self, segment: &Segment<'_>, env: &mut Env) {
        let ack = segment.header.ack;
        let fin_acked = self.facts.has(Facts::FIN_SENT) && ack == self.snd_nxt;
        let octets = ack.distance_from(self.snd_una) - u32::from(fin_acked);
        let flight = self.data_in_flight();
        self.snd_una = ack;
        self.backoff = 0;
        if fin_acked {
            self.facts.clear(Facts::FIN_LOST);
        }
        if self.transfer.is_some() {
            self.on_delivery(segment, octets, flight, env);
        }
        // RFC 6298 §5.2, §5.3.
        self.facts.clear(Facts::TIMER | Facts::PROBE_DUE | Facts::TAIL_DUE);
        if self.outstanding() {
            self.arm(env);
        }
        if octets > 0 && self.facts.has(Facts::WRITE_SHORT) {
            self.news.add(News::WRITABLE);
        }
        if fin_acked {
            self.on_fin_acked(env);
        }
    }

    /// What text is, or was, in flight has to do with an acknowledgement of something new.
    #[inline(never)]
    fn on_delivery(&mut self, segment: &Segment<'_>, octets: u32, flight: u32, env: &mut Env) {
        self.take_delivered(segment, octets, env);
        self.settle_probe(segment, flight);
        self.detect_spurious(segment, env);
        if let Some(twice) = self.duplicate_of(segment) {
            self.on_duplicate_report(twice, env);
        }
        self.on_congestion_echo(segment, flight);
        if self.on_recovery_ack() == Recovery::Over {
            self.grow(octets, env);
        }
        self.detect_loss(flight, env);
        self.restore_smss(env.tick());
    }

    /// Octets were delivered: they leave the send buffer and the scoreboard, and may give a round-trip sample.
    fn take_delivered(&mut self, segment: &Segment<'_>, octets: u32, env: &mut Env) {
        let (now_us, snd_una) = (env.now_us(), self.snd_una);
        let echo_age_ms = self.echo_age_ms(segment, env);
        let Some(transfer) = &mut self.transfer else { return };
        transfer.rack.on_echo(echo_age_ms);
        transfer.active_at = env.tick();
        transfer.dup_acks = 0;
        transfer.probed = false;
        transfer.send.consume(octets as usize, &mut env.pools.blocks);
        let rtt_us = transfer.scoreboard.acknowledge(snd_una, now_us, &mut transfer.rack);
        self.take_sack(segment, now_us);
        let Some(transfer) = &mut self.transfer else { return };
        if let Some(rtt_us) = rtt_us {
            transfer.rtt.sample(rtt_us);
            self.rto_ms = transfer.rtt.rto_ms(&env.config);
        }
    }

    /// How old the timestamp is that an acknowledgement echoes; 0 when it has none, or one that we cannot have sent.
    fn echo_age_ms(&self, segment: &Segment<'_>, env: &Env) -> u32 {
        let echoed = segment.header.options.timestamps.filter(|_| self.facts.has(Facts::TIMESTAMPS));
        let age_ms = echoed.map_or(0, |t| self.tsval(env).wrapping_sub(t.tsecr));
        if age_ms < 1 << 20 { age_ms } else { 0 }
    }

    /// The congestion window grows when what is acknowledged was sent while it was in use: growing without need would
    /// prove nothing (RFC 7661 §1). What is in flight now says less, as acknowledgements may come in one burst.
    fn grow(&mut self, octets: u32, env: &Env) {
        let smss = u32::from(self.smss);
        let snd_una = self.snd_una;
        let Some(transfer) = &mut self.transfer else { return };
        if let Some(until) = transfer.full_until {
            transfer.congestion.on_ack(octets, smss, env.tick(), transfer.rtt.srtt_us);
            transfer.full_until = Some(until).filter(|until| until.after(snd_una));
        } else {
            transfer.congestion.pause(env.tick());
        }
    }

    fn on_fin_acked(&mut self, env: &mut Env) {
        match self.state {
            State::FinWait1 => {
                self.change_state(Event::RecvAckOfFin, env);
                if self.facts.has(Facts::APP_CLOSED) {
                    self.arm_orphan(env);
                }
            }
            State::Closing => self.change_state(Event::RecvAckOfFin, env),
            State::LastAck => self.end(Event::RecvAckOfFin, Ending::Closed, env),
            state => unreachable!("our FIN is acknowledged in {state:?}"),
        }
    }

    #[inline(never)]
    fn on_same_ack(&mut self, segment: &Segment<'_>, is_duplicate: bool, env: &mut Env) {
        let (flight, now_us) = (self.data_in_flight(), env.now_us());
        let echo_age_ms = self.echo_age_ms(segment, env);
        let Some(transfer) = &mut self.transfer else { return };
        transfer.silence = 0;
        transfer.rack.on_echo(echo_age_ms);
        self.take_sack(segment, now_us);
        if let Some(twice) = self.duplicate_of(segment) {
            self.on_duplicate_report(twice, env);
        }
        self.on_congestion_echo(segment, flight);
        if is_duplicate {
            self.count_duplicate(flight, env);
        }
        self.detect_loss(flight, env);
    }

    #[inline(never)]
    fn on_window_opened(&mut self, env: &Env) {
        self.facts.clear(Facts::PROBE_DUE);
        // The persist timer; in FIN-WAIT-2 what runs is the orphan's.
        if !self.outstanding() && self.state != State::FinWait2 {
            self.facts.clear(Facts::TIMER);
        }
        self.backoff = 0;
        let lone_probe = self.snd_nxt == self.snd_una + 1 && !self.facts.has(Facts::FIN_SENT);
        let Some(transfer) = &mut self.transfer else { return };
        if lone_probe && !transfer.scoreboard.is_empty() {
            // The probe's octet was refused: it leaves anew with what is behind it.
            transfer.scoreboard.clear();
            transfer.probed = true;
            self.snd_nxt = self.snd_una;
            self.facts.clear(Facts::TIMER);
        } else if !transfer.scoreboard.is_empty() {
            // What was sent into the closed window was refused, not lost on the way: send it again at once. A peer may shut
            // and open it with every frame, but cannot have refused what left less than a round trip ago, once one was measured.
            transfer.scoreboard.mark_old_lost(transfer.rack.min_rtt_us(), env.now_us());
            self.arm(env);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::TcpConfig;
    use crate::tcp::state::StateGauges;
    use crate::tcp::testing::planned;
    use crate::tcp::transfer::Pools;
    use crate::time::Instant;
    use crate::wire::tcp::Header;
    use crate::wire::{Addr, FourTuple};

    const SYN_ACK: Flags = Flags(Flags::SYN.0 | Flags::ACK.0);

    fn segment(seq: u32, ack: u32, flags: Flags, wnd: u16) -> Segment<'static> {
        Segment { header: Header { seq: SeqNum(seq), ack: SeqNum(ack), flags, wnd, ..Header::default() }, text: b"" }
    }

    fn send_all(tcb: &mut Tcb, env: &mut Env) {
        while let Some(plan) = planned(tcb, 1_460, env) {
            tcb.sent(&plan, env);
        }
    }

    /// A connection of our own that stands, from our number 100 and the peer's 5,000, in its surroundings.
    fn with_connection(wnd: u16, play: impl FnOnce(&mut Tcb, &mut Env)) {
        let config = TcpConfig { nagle: false, ..TcpConfig::default() };
        let mut env = Env::new(config, Pools::new(1 << 20), StateGauges::default(), Instant::from_millis(1_000));
        let (ours, theirs) = (Addr::from_v4([10, 0, 0, 1]), Addr::from_v4([10, 0, 0, 2]));
        let tuple = FourTuple { local_addr: ours, remote_addr: theirs, local_port: 1, remote_port: 2 };
        let mut tcb = Tcb { tuple, ..Tcb::UNOPENED };
        tcb.open(SeqNum(100), 0, 1_460, &mut env);
        send_all(&mut tcb, &mut env);
        tcb.on_segment(&segment(5_000, 101, SYN_ACK, wnd), &mut env).unwrap();
        play(&mut tcb, &mut env);
    }

    /// A peer's FIN that came late, behind acknowledgements sent after it: found by the simulation.
    #[test]
    fn a_retransmission_that_acknowledges_something_new_brings_its_window() {
        with_connection(3_000, |tcb, env| {
            tcb.write(&[0; 1_000], env);
            send_all(tcb, env);
            tcb.on_segment(&segment(5_002, 101, Flags::ACK, 3_000), env).unwrap();
            tcb.on_segment(&segment(5_001, 601, Flags::FIN | Flags::ACK, 1_772), env).unwrap();
            assert_eq!((tcb.snd_una, tcb.snd_wnd), (SeqNum(601), 1_772));
        });
    }

    /// A worker processes a whole burst before anything is sent: found over veth.
    #[test]
    fn acknowledgements_in_one_burst_open_the_window_like_any_others() {
        with_connection(65_535, |tcb, env| {
            tcb.write(&[0; 60_000], env);
            let sizes: Vec<u32> = (0..2)
                .map(|_| {
                    send_all(tcb, env);
                    let sent = tcb.data_in_flight();
                    while tcb.outstanding() {
                        let next = tcb.snd_una + tcb.data_in_flight().min(536);
                        tcb.on_segment(&segment(5_001, next.0, Flags::ACK, 65_535), env).unwrap();
                    }
                    sent
                })
                .collect();
            assert_eq!(sizes[1], 2 * sizes[0], "slow start: {sizes:?}");
        });
    }

    #[test]
    fn segments_that_a_closed_window_refused_leave_again_when_it_opens() {
        with_connection(3_000, |tcb, env| {
            tcb.write(&[0; 2_920], env);
            send_all(tcb, env);
            let sent = tcb.snd_nxt;
            tcb.on_segment(&segment(5_001, 101, Flags::ACK, 0), env).unwrap();
            assert!(planned(tcb, 1_460, env).is_none(), "the window is closed");
            tcb.on_segment(&segment(5_001, 101, Flags::ACK, 3_000), env).unwrap();
            assert_eq!(tcb.snd_nxt, sent, "what is in flight stays in flight");
            let first = planned(tcb, 1_460, env).map(|plan| (plan.header.seq, plan.text_len));
            assert_eq!(first, Some((SeqNum(101), 536)));
        });
    }

    #[test]
    fn the_octet_of_a_probe_leaves_anew_with_what_is_behind_it() {
        with_connection(0, |tcb, env| {
            tcb.write(&[0; 1_000], env);
            tcb.facts.set(Facts::PROBE_DUE);
            send_all(tcb, env);
            assert_eq!(tcb.data_in_flight(), 1);
            tcb.on_segment(&segment(5_001, 101, Flags::ACK, 3_000), env).unwrap();
            let first = planned(tcb, 1_460, env).map(|plan| (plan.header.seq, plan.text_len));
            assert_eq!(first, Some((SeqNum(101), 536)));
        });
    }
}
