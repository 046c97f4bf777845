//! SEGMENT ARRIVES for a control block, RFC 9293 §3.10.7.4: check sequence, RST, SYN, ACK, text, FIN; with RFC 5961
//! (blind attacks) and RFC 7323 §5.3 (timestamps).

use super::connection::{Facts, News, Tcb};
use super::env::Env;
use super::state::{Event, State};
use crate::ledger::{DropReason, Ending, Handled};
use crate::wire::SeqNum;
use crate::wire::tcp::{Flags, Segment, Timestamps};

/// Challenge ACKs in five seconds for one connection (RFC 5961 §7). Counted for each connection alone: a shared count
/// would tell a blind attacker what others do (CVE-2016-5696).
const CHALLENGES: u8 = 10;
/// The window of time for [`CHALLENGES`], in units of 64 ms.
const CHALLENGE_WINDOW: u16 = (5_000 / 64) as u16;

/// A segment cut to the part that lies in the window.
pub(super) struct Fitted<'a> {
    /// First octet of the text that is new and fits.
    pub seq: SeqNum,
    pub text: &'a [u8],
    /// Whether the FIN is part of it.
    pub fin: bool,
}

impl Tcb {
    /// Processes a segment for this connection.
    ///
    /// # Errors
    /// Why it was dropped; an answer that it calls for is owed and leaves with this turn.
    #[inline]
    pub fn on_segment(&mut self, segment: &Segment<'_>, env: &mut Env) -> Result<Handled, DropReason> {
        match self.state {
            State::SynSent => self.on_segment_syn_sent(segment, env),
            State::SynReceived if self.is_crossing_syn_ack(segment) => self.on_crossing_syn_ack(segment, env),
            _ => self.on_segment_in_order(segment, env),
        }
    }

    /// Simultaneous open, RFC 9293 figure 7: the SYN in the peer's SYN-ACK is one that we have.
    #[cold]
    fn on_crossing_syn_ack(&mut self, segment: &Segment<'_>, env: &mut Env) -> Result<Handled, DropReason> {
        let mut segment = *segment;
        segment.header.flags = Flags(segment.header.flags.0 & !Flags::SYN.0);
        segment.header.seq += 1;
        // The window of a SYN is not scaled (RFC 7323 §2.2); from here on it would be.
        segment.header.wnd >>= self.peer_shift();
        self.on_segment_in_order(&segment, env)
    }

    /// The eight steps, for all states but SYN-SENT.
    #[inline(always)]
    fn on_segment_in_order(&mut self, segment: &Segment<'_>, env: &mut Env) -> Result<Handled, DropReason> {
        // First: sequence number, with the timestamps of RFC 7323 §5.3.
        self.check_timestamps(segment, env)?;
        self.check_sequence(segment, env)?;
        self.remember_timestamp(segment, env);
        self.note_mark(segment, env);
        // Second: RST. (Third, security and precedence, is no more.)
        if segment.header.flags.has(Flags::RST) {
            return self.check_rst(segment, env);
        }
        // Fourth: SYN, challenged wherever it stands (RFC 5961 §4.2).
        if segment.header.flags.has(Flags::SYN) {
            self.challenge(env);
            return Err(DropReason::SynChallenged);
        }
        // Fifth: ACK.
        if !segment.header.flags.has(Flags::ACK) {
            return Err(DropReason::NoAck);
        }
        if self.state == State::SynReceived {
            if !self.acknowledges_syn(segment.header.ack) {
                return Ok(Handled::AnsweredByReset);
            }
            self.on_ack_of_syn(segment, env);
        }
        self.on_ack(segment, env)?;
        // Sixth: URG, which changes nothing here. Seventh: text. Eighth: FIN.
        // Deviation: RFC 9293 §3.8.5, urgent data. It is text like any other (RFC 6093).
        if self.ending.is_some() || (segment.is_empty() && self.transfer.is_none()) {
            return Ok(Handled::Segment);
        }
        if self.state.receives() {
            let fitted = self.fit(segment);
            if !segment.text.is_empty() {
                if fitted.text.len() < segment.text.len() {
                    // Some of it had come before, or the window does not take it (a probe of a closed one): say what stands.
                    self.facts.set(Facts::ACK_NOW);
                }
                self.note_duplicate(segment, env);
                self.on_text(&fitted, env);
            }
            self.on_fin(&fitted, env);
        } else if !segment.is_empty() {
            self.facts.set(Facts::ACK_NOW);
        }
        Ok(Handled::Segment)
    }

    fn is_crossing_syn_ack(&self, segment: &Segment<'_>) -> bool {
        self.facts.has(Facts::ACTIVE)
            && segment.header.flags.has(Flags::SYN | Flags::ACK)
            && segment.header.seq + 1 == self.rcv_nxt
    }

    /// RFC 7323 §5.3 R1 (PAWS) and §3.2: a RST is never subject to either.
    fn check_timestamps(&mut self, segment: &Segment<'_>, env: &mut Env) -> Result<(), DropReason> {
        if !self.facts.has(Facts::TIMESTAMPS) || segment.header.flags.has(Flags::RST) {
            return Ok(());
        }
        let Some(timestamps) = segment.header.options.timestamps else {
            // A peer that has started anew has agreed on none: its SYN is challenged all the same (RFC 5961 §4.2).
            let syn = segment.header.flags.has(Flags::SYN);
            return if syn { Ok(()) } else { Err(DropReason::TimestampMissing) };
        };
        if self.is_older(timestamps) && !self.is_outdated(env) {
            self.answer_unacceptable(segment, env);
            return Err(DropReason::Paws);
        }
        Ok(())
    }

    fn is_older(&self, timestamps: Timestamps) -> bool {
        (timestamps.tsval.wrapping_sub(self.ts_recent) as i32) < 0
    }

    /// TS.Recent means nothing after 24 days of silence, RFC 7323 §5.5; the stamp counts units of 65.5 s.
    fn is_outdated(&self, env: &Env) -> bool {
        let age = ((env.tick() >> 16) as u16).wrapping_sub(self.ts_recent_at);
        u32::from(age) > 24 * 86_400_000 / 65_536
    }

    /// First step: the four cases of acceptability on (SEG.LEN, RCV.WND).
    #[inline]
    fn check_sequence(&mut self, segment: &Segment<'_>, env: &mut Env) -> Result<(), DropReason> {
        if self.accepts(segment.header.seq, segment.len()) {
            return Ok(());
        }
        // An unacceptable segment is answered by an ACK unless it carries RST.
        if !segment.header.flags.has(Flags::RST) {
            self.answer_unacceptable(segment, env);
        }
        Err(DropReason::OutOfWindow)
    }

    fn accepts(&self, seq: SeqNum, len: u32) -> bool {
        let window = self.rcv_adv.distance_from(self.rcv_nxt);
        if window == 0 {
            // With a closed window ACK and RST are still processed, and the text is cut off (MUST-66).
            return seq == self.rcv_nxt;
        }
        let fits = |octet: SeqNum| octet.distance_from(self.rcv_nxt) < window;
        fits(seq) || (len > 0 && fits(seq + (len - 1)))
    }

    /// Text that we have already must always be acknowledged again, for our ACK may be lost; what carries none might be
    /// an answer to an answer, and is answered a bounded number of times.
    #[cold]
    fn answer_unacceptable(&mut self, segment: &Segment<'_>, env: &mut Env) {
        if segment.text.is_empty() && !segment.header.flags.has(Flags::FIN) {
            self.challenge(env);
        } else {
            self.facts.set(Facts::ACK_NOW);
            self.note_duplicate(segment, env);
        }
    }

    /// RFC 2883 §4: what came twice, the first part of it that is in one piece, is reported as the first SACK block; also
    /// where the rest of the segment is new (§4.2).
    fn note_duplicate(&mut self, segment: &Segment<'_>, env: &mut Env) {
        let (left, right) = (segment.header.seq, segment.header.seq + segment.text.len() as u32);
        if !self.facts.has(Facts::SACK) || !left.before(right) {
            return;
        }
        let twice = match &self.transfer {
            _ if left.before(self.rcv_nxt) => Some((left, right.min(self.rcv_nxt))),
            Some(transfer) => transfer.reassembly.first_held(left, right),
            None => None,
        };
        if twice.is_some() {
            let tick = env.tick();
            let transfer = self.transfer_mut(&mut env.pools, &env.config);
            transfer.duplicate = twice;
            transfer.active_at = tick;
        } else if let Some(transfer) = &mut self.transfer
            && left != self.rcv_nxt
        {
            // Only what came last is reported (§4 (1)): before the block of other text it would be taken for a new one.
            transfer.duplicate = None;
        }
    }

    /// Owes the peer an ACK if it has not drawn too many of late.
    ///
    /// Deviation: RFC 5961 §7, challenge ACKs. Each connection has a count of its own: one for all is a side channel
    /// (CVE-2016-5696).
    #[cold]
    pub(super) fn challenge(&mut self, env: &mut Env) {
        let now = (env.tick() >> 6) as u16;
        if now.wrapping_sub(self.challenged_at) > CHALLENGE_WINDOW || self.challenges == 0 {
            self.challenged_at = now;
            self.challenges = 0;
        }
        if self.challenges < CHALLENGES {
            self.challenges += 1;
            self.facts.set(Facts::ACK_NOW);
        } else {
            env.ledger.refused.challenge_acks += 1;
        }
    }

    /// RFC 7323 §5.3 R3: only a segment that begins at or before Last.ACK.sent moves TS.Recent; back only when what it was
    /// means nothing any more (§5.5).
    fn remember_timestamp(&mut self, segment: &Segment<'_>, env: &Env) {
        if let Some(timestamps) = segment.header.options.timestamps
            && self.facts.has(Facts::TIMESTAMPS)
            && segment.header.seq.at_or_before(self.last_ack_sent)
            && (!self.is_older(timestamps) || self.is_outdated(env))
        {
            self.ts_recent = timestamps.tsval;
            self.ts_recent_at = (env.tick() >> 16) as u16;
        }
    }

    /// RFC 3168 §6.1.3: a mark is echoed until the peer says that it has reduced its window. One on a pure
    /// acknowledgement, which no sender may mark as capable (§6.1.4), says nothing: where a path marks everything, each would
    /// be answered by the next.
    fn note_mark(&mut self, segment: &Segment<'_>, env: &Env) {
        if !self.facts.has(Facts::ECN) {
            return;
        }
        if segment.header.flags.has(Flags::CWR) {
            self.facts.clear(Facts::MARKED);
        }
        if env.marked && !segment.is_empty() {
            self.facts.set(Facts::MARKED | Facts::ACK_NOW);
        }
    }

    /// Second step, with RFC 5961 §3.2: a RST is believed only at RCV.NXT; elsewhere in the window it is challenged.
    #[inline(never)]
    fn check_rst(&mut self, segment: &Segment<'_>, env: &mut Env) -> Result<Handled, DropReason> {
        if segment.header.seq != self.rcv_nxt {
            self.challenge(env);
            return Err(DropReason::ResetChallenged);
        }
        let ending = match self.state {
            // RFC 9293 §3.10.7.4: an active open that is reset in SYN-RECEIVED was refused.
            State::SynReceived => Ending::Refused,
            // Both sides have closed already; nothing is lost.
            State::Closing | State::LastAck => Ending::Closed,
            _ => Ending::Reset,
        };
        self.end(Event::RecvRst, ending, env);
        Ok(Handled::Segment)
    }

    pub(super) fn acknowledges_syn(&self, ack: SeqNum) -> bool {
        ack.after(self.snd_una) && ack.at_or_before(self.snd_nxt)
    }

    /// The ACK that completes the handshake in SYN-RECEIVED.
    #[inline]
    fn on_ack_of_syn(&mut self, segment: &Segment<'_>, env: &mut Env) {
        self.established(segment, env);
        self.change_state(Event::RecvAckOfSyn, env);
        if self.facts.has(Facts::ACTIVE) {
            self.news.add(News::CONNECTED);
        } else {
            self.news.add(News::ACCEPTED);
        }
        if self.facts.has(Facts::FIN_QUEUED) {
            self.change_state(Event::Close, env);
        }
    }

    /// Our SYN is acknowledged: what both ways in have in common.
    pub(super) fn established(&mut self, segment: &Segment<'_>, env: &Env) {
        self.snd_una += 1;
        let shift = if segment.header.flags.has(Flags::SYN) { 0 } else { self.peer_shift() };
        self.snd_wnd = u32::from(segment.header.wnd) << shift;
        self.max_snd_wnd = self.snd_wnd;
        self.snd_wl1 = segment.header.seq;
        self.snd_wl2 = segment.header.ack;
        self.sample_handshake(segment, env);
        self.backoff = 0;
        self.unanswered = 0;
        self.facts.clear(Facts::SYN_DUE | Facts::TIMER);
    }

    /// The handshake's round trip gives the first RTO when it can be told: from the timestamp echoed. After a lost SYN
    /// without a sample data starts with 3 s (RFC 6298 §5.7).
    fn sample_handshake(&mut self, segment: &Segment<'_>, env: &Env) {
        let echoed = segment.header.options.timestamps.filter(|_| self.facts.has(Facts::TIMESTAMPS));
        if let Some(timestamps) = echoed {
            let rtt_ms = self.tsval(env).wrapping_sub(timestamps.tsecr);
            if rtt_ms < 60_000 {
                let mut rtt = super::rto::RttEstimator::default();
                rtt.sample(rtt_ms.max(1) * 1_000);
                self.rto_ms = rtt.rto_ms(&env.config);
                return;
            }
        }
        if self.facts.has(Facts::SYN_RESENT) {
            self.rto_ms = super::rto::clamp_rto(3_000.max(u64::from(self.rto_ms)), &env.config);
        }
    }

    /// Cuts a segment to what is new and lies in the window.
    #[inline]
    fn fit<'a>(&self, segment: &Segment<'a>) -> Fitted<'a> {
        let seq = segment.header.seq;
        let old = if seq.before(self.rcv_nxt) { self.rcv_nxt.distance_from(seq) as usize } else { 0 };
        let text = segment.text.get(old..).unwrap_or(&[]);
        let seq = if old > 0 { self.rcv_nxt } else { seq };
        let room = if seq.before(self.rcv_adv) { self.rcv_adv.distance_from(seq) as usize } else { 0 };
        let all_fits = text.len() <= room;
        // An old FIN, wholly before RCV.NXT, was consumed before: states that wait for one have not seen it.
        let fin = segment.header.flags.has(Flags::FIN) && all_fits && old <= segment.text.len();
        Fitted { seq, text: &text[..text.len().min(room)], fin }
    }

    /// Eighth step: the peer's FIN, once everything before it is there.
    fn on_fin(&mut self, fitted: &Fitted<'_>, env: &mut Env) {
        if self.ending.is_some() {
            return;
        }
        let fin_seq = if fitted.fin {
            fitted.seq + fitted.text.len() as u32
        } else {
            match self.transfer.as_ref().and_then(|t| t.early_fin) {
                Some(seq) => seq,
                None => return,
            }
        };
        if fin_seq != self.rcv_nxt {
            let early = fin_seq.after(self.rcv_nxt).then_some(fin_seq);
            if fitted.fin {
                self.facts.set(Facts::ACK_NOW);
                self.transfer_mut(&mut env.pools, &env.config);
            }
            if let Some(transfer) = &mut self.transfer {
                transfer.early_fin = early;
            }
            return;
        }
        self.facts.set(Facts::ACK_NOW);
        if let Some(transfer) = &mut self.transfer {
            transfer.early_fin = None;
            transfer.reassembly.clear();
        }
        self.rcv_nxt += 1;
        self.rcv_adv = self.rcv_adv.max(self.rcv_nxt);
        self.change_state(Event::RecvFin, env);
        self.news.add(News::HALF_CLOSED);
        // In TIME-WAIT there is nothing to retransmit; the shard makes the entry from what stands here.
        if self.state == State::TimeWait {
            self.facts.clear(Facts::TIMER);
        }
    }
}
