//! What must leave: one segment at a time is planned, and counts as sent only when the driver had room for it.
//! RFC 9293 §3.8.6.2.1 (sender's silly window), §3.7.4 (Nagle), §3.8.6.1 (probing zero windows).

use super::connection::{Facts, Tcb};
use super::env::Env;
use super::negotiation::syn_options;
use super::scoreboard::{DUP_THRESH, Sent};
use super::state::State;
use crate::wire::SeqNum;
use crate::wire::tcp::{Flags, Header, Timestamps};

/// The ECN field of a packet whose ends do ECN (RFC 3168 §5, ECT(0)).
const ECN_CAPABLE: u8 = 0b10;

/// A segment that is due. It is planned where it is to stand: moving what was just written in pieces takes longer than
/// writing it.
#[derive(Debug)]
pub struct Plan {
    /// Its header.
    pub header: Header,
    /// Octets of text; [`Tcb::copy_text`] has them.
    pub text_len: usize,
    /// The ECN field of its packet: ECT(0) on new text only (RFC 3168 §6.1.4–6.1.6).
    pub ecn: u8,
    /// Where in the send buffer the text begins.
    text_at: usize,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Reset,
    Syn,
    Again { place: usize },
    New,
    Probe,
    Tail { place: usize },
    Alive,
    Fin,
    Ack,
}

impl Plan {
    /// None yet.
    #[inline(always)]
    pub fn none() -> Plan {
        Plan { header: Header::default(), text_len: 0, ecn: 0, text_at: 0, what: What::Ack }
    }
}

impl Tcb {
    /// Plans the next segment that must leave; says whether there is one, without which the plan means nothing. Nothing changes
    /// until [`Tcb::sent`]. `our_mss` is what our link carries.
    pub fn poll_transmit(&mut self, our_mss: u16, env: &Env, plan: &mut Plan) -> bool {
        if self.facts.has(Facts::RST_DUE) {
            return self.plan_reset(env, plan);
        }
        if self.facts.has(Facts::LAST_ACK_DUE) {
            return self.plan_ack(env, plan);
        }
        if self.ending.is_some() {
            return false;
        }
        match self.state {
            State::SynSent => self.facts.has(Facts::SYN_DUE) && self.plan_syn(our_mss, env, plan),
            State::SynReceived if self.facts.has(Facts::SYN_DUE) => self.plan_syn(our_mss, env, plan),
            State::SynReceived => self.facts.has(Facts::ACK_NOW) && self.plan_ack(env, plan),
            _ => (self.transfer.is_some() && self.plan_data(our_mss, env, plan)) || self.plan_control(env, plan),
        }
    }

    /// What has text, or once had.
    #[inline(never)]
    fn plan_data(&mut self, our_mss: u16, env: &Env, plan: &mut Plan) -> bool {
        self.fit_link(our_mss);
        if self.plan_again(env, plan) {
            return true;
        }
        self.restart_after_idle(env);
        self.plan_new(env, plan) || self.plan_tail(env, plan)
    }

    /// What has none: at most one of these is due at a time, but for the acknowledgement that is to leave before a FIN.
    fn plan_control(&self, env: &Env, plan: &mut Plan) -> bool {
        if (env.config.fin_carries_ack || !self.facts.has(Facts::ACK_NOW)) && self.fin_fits() {
            self.plan_fin(env, plan)
        } else if self.facts.has(Facts::ALIVE_DUE) {
            self.plan_alive(env, plan)
        } else {
            self.facts.has(Facts::ACK_NOW) && self.plan_ack(env, plan)
        }
    }

    /// Whether [`Tcb::poll_transmit`] may have something: cheap, and right in the negative.
    pub(crate) fn may_transmit(&self) -> bool {
        const DUE: u32 = Facts::RST_DUE
            | Facts::LAST_ACK_DUE
            | Facts::SYN_DUE
            | Facts::ACK_NOW
            | Facts::FIN_LOST
            | Facts::PROBE_DUE
            | Facts::TAIL_DUE
            | Facts::ALIVE_DUE;
        let fin_due = self.facts.has(Facts::FIN_QUEUED) && !self.facts.has(Facts::FIN_SENT);
        // A FIN that follows acknowledged data is in the scoreboard alone.
        let has_data = || self.transfer.as_ref().is_some_and(|t| !t.send.is_empty() || !t.scoreboard.is_empty());
        self.facts.has(DUE) || (self.ending.is_none() && (fin_due || has_data()))
    }

    /// The timestamps stand on it as well (RFC 7323 §3.2).
    fn plan_reset(&self, env: &Env, plan: &mut Plan) -> bool {
        self.begin(What::Reset, env, plan);
        plan.header.flags = Flags::RST | Flags::ACK;
        plan.header.wnd = 0;
        true
    }

    fn plan_syn(&self, our_mss: u16, env: &Env, plan: &mut Plan) -> bool {
        let mut options = syn_options(our_mss, self.tsval(env), env.window_shift);
        let mut flags = Flags::SYN;
        if self.state == State::SynSent && self.asks_for_ecn(env) {
            flags |= Flags::ECE | Flags::CWR;
        }
        let mut ack = SeqNum(0);
        if self.state == State::SynReceived {
            flags |= Flags::ACK;
            ack = self.rcv_nxt;
            options.window_scale = options.window_scale.filter(|_| self.shifts != 0);
            options.sack_permitted = self.facts.has(Facts::SACK);
            options.timestamps = self.timestamps(env);
        }
        // The SYN's number, whether it is sent for the first time or again.
        let header = Header { seq: self.snd_una, ack, flags, wnd: env.syn_window, urgent: 0, options };
        *plan = Plan { header, what: What::Syn, ..Plan::none() };
        true
    }

    /// ECN is asked for once: a SYN that was lost may have been dropped for it (RFC 3168 §6.1.1.1).
    pub(super) fn asks_for_ecn(&self, env: &Env) -> bool {
        env.config.ecn_request && !self.facts.has(Facts::SYN_RESENT) && self.backoff == 0
    }

    /// What was lost goes first. The segment at SND.UNA always may (RFC 5681 §3.2, RFC 6582 §3.2, RFC 6675 §5: nothing
    /// else brings the acknowledgement forward); others as the congestion window allows, and none into a window that was
    /// shut on them: there the first is the probe (RFC 9293 §3.8.6).
    fn plan_again(&mut self, env: &Env, plan: &mut Plan) -> bool {
        let most = self.most_text();
        let Some(transfer) = &self.transfer else { return false };
        let Some((place, lost)) = transfer.scoreboard.next_lost() else { return false };
        let lost = *lost;
        let cwnd = transfer.congestion.cwnd();
        let pipe = transfer.scoreboard.pipe();
        let open = self.snd_wnd > 0 && (pipe == 0 || self.adjusted_pipe(pipe) + lost.len <= cwnd);
        let fits = lost.seq == self.snd_una || open;
        if !fits {
            return false;
        }
        let fin = u32::from(lost.fin);
        if lost.len - fin > most as u32
            && let Some(transfer) = &mut self.transfer
        {
            transfer.scoreboard.split(place, most as u32);
            return self.plan_again(env, plan);
        }
        self.begin(What::Again { place }, env, plan);
        self.plan_once_more(&lost, plan);
        true
    }

    /// The text and the FIN of a segment in flight.
    fn plan_once_more(&self, sent: &Sent, plan: &mut Plan) {
        plan.text_len = (sent.len - u32::from(sent.fin)) as usize;
        plan.text_at = sent.seq.distance_from(self.snd_una) as usize;
        let header = &mut plan.header;
        header.options.sack = self.sack_blocks_beside(plan.text_len);
        header.seq = sent.seq;
        header.flags |= if plan.text_len > 0 { Flags::PSH } else { Flags(0) };
        header.flags |= if sent.fin { Flags::FIN } else { Flags(0) };
    }

    /// What was learnt of the path is old when nothing was sent for longer than an RTO (RFC 5681 §4.1).
    fn restart_after_idle(&mut self, env: &Env) {
        let (smss, tick, rto_ms) = (u32::from(self.smss), env.tick(), u32::from(self.rto_ms));
        if let Some(transfer) = &mut self.transfer
            && transfer.scoreboard.is_empty()
            && !transfer.send.is_empty()
            && tick.wrapping_sub(transfer.sent_at) > rto_ms
        {
            transfer.congestion.restart(smss, tick);
        }
    }

    /// New text, as far as the peer's window and the congestion window go.
    fn plan_new(&self, env: &Env, plan: &mut Plan) -> bool {
        let Some(transfer) = &self.transfer else { return false };
        let unsent = self.unsent();
        if unsent == 0 || self.facts.has(Facts::FIN_SENT) || transfer.scoreboard.len() >= env.config.most_segments() {
            return false;
        }
        let probe = self.facts.has(Facts::PROBE_DUE);
        let tail = self.facts.has(Facts::TAIL_DUE);
        let in_flight = self.data_in_flight();
        let window = self.snd_wnd.saturating_sub(in_flight);
        let pipe = transfer.scoreboard.pipe();
        let congestion = transfer.congestion.cwnd().saturating_sub(self.adjusted_pipe(pipe));
        self.begin(if probe { What::Probe } else { What::New }, env, plan);
        let header = &mut plan.header;
        header.options.sack = self.sack_blocks();
        let most = u32::from(self.smss).saturating_sub(header.options.encoded_len() as u32).max(1);
        let mut len = unsent.min(most).min(window);
        // A probe for tail loss may exceed the congestion window by one segment (RFC 8985 §7.3).
        if len > congestion && pipe > 0 && !tail {
            return false;
        }
        if probe && len == 0 {
            len = 1;
        }
        let last = len == unsent;
        // RFC 9293 §3.8.6.2.1: a full segment, all there is (Nagle permitting), or half of the peer's largest window.
        let worth = len == most
            || (last && (self.facts.has(Facts::NO_DELAY) || in_flight == 0 || self.facts.has(Facts::FIN_QUEUED)))
            || (len > 0 && len >= self.max_snd_wnd / 2)
            || probe
            || tail;
        if len == 0 || !worth {
            return false;
        }
        header.flags |= if last { Flags::PSH } else { Flags(0) };
        // The FIN travels on the last text, unless the window leaves no octet for it.
        if last && self.facts.has(Facts::FIN_QUEUED) && window > len {
            header.flags |= Flags::FIN;
        }
        let ecn = if self.facts.has(Facts::ECN) && !probe { ECN_CAPABLE } else { 0 };
        header.flags |= if ecn > 0 && self.facts.has(Facts::REDUCED) { Flags::CWR } else { Flags(0) };
        (plan.text_len, plan.text_at, plan.ecn) = (len as usize, in_flight as usize, ecn);
        true
    }

    /// The tail of what is in flight once more, because nothing was heard of it and there is nothing new (RFC 8985 §7.3).
    fn plan_tail(&self, env: &Env, plan: &mut Plan) -> bool {
        let tail = self.transfer.as_ref().filter(|_| self.facts.has(Facts::TAIL_DUE)).and_then(|t| t.scoreboard.tail());
        let Some((place, tail)) = tail else { return false };
        if (tail.len - u32::from(tail.fin)) as usize > self.most_text() {
            return false;
        }
        self.begin(What::Tail { place }, env, plan);
        self.plan_once_more(tail, plan);
        true
    }

    /// A keep-alive probe: an old number, no text, so that the peer must answer (RFC 9293 §3.8.4).
    fn plan_alive(&self, env: &Env, plan: &mut Plan) -> bool {
        self.begin_bare(What::Alive, env, plan);
        plan.header.seq = self.snd_nxt - 1;
        true
    }

    /// Without SACK each duplicate acknowledgement says that a segment has left the network (RFC 5681 §3.2); before the
    /// third has come, one more may take its place (RFC 3042, limited transmit).
    fn adjusted_pipe(&self, pipe: u32) -> u32 {
        match &self.transfer {
            Some(t) if !self.facts.has(Facts::SACK) => {
                let gone = if t.recover.is_some() { t.dup_acks } else { t.dup_acks.min(DUP_THRESH - 1) };
                pipe.saturating_sub(gone * u32::from(self.smss))
            }
            _ => pipe,
        }
    }

    /// Whether our FIN is to leave alone, for the first time or again.
    fn fin_fits(&self) -> bool {
        if !self.facts.has(Facts::FIN_QUEUED) || self.facts.has(Facts::FIN_LOST) {
            return self.facts.has(Facts::FIN_LOST);
        }
        // Into a closed window only when nothing else is out: then it is the probe.
        let fits = || !self.outstanding() || self.data_in_flight() < self.snd_wnd;
        !self.facts.has(Facts::FIN_SENT) && fits() && self.unsent() == 0
    }

    fn plan_fin(&self, env: &Env, plan: &mut Plan) -> bool {
        self.begin_bare(What::Fin, env, plan);
        plan.header.flags |= Flags::FIN;
        if self.facts.has(Facts::FIN_LOST) {
            plan.header.seq = self.snd_nxt - 1;
        }
        true
    }

    fn plan_ack(&self, env: &Env, plan: &mut Plan) -> bool {
        self.begin_bare(What::Ack, env, plan);
        true
    }

    /// The plan of a segment without text, with what is to be told of holes.
    fn begin_bare(&self, what: What, env: &Env, plan: &mut Plan) {
        self.begin(what, env, plan);
        if self.transfer.is_some() {
            plan.header.options.sack = self.sack_blocks();
        }
    }

    /// `<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>` with the window and the timestamps of now.
    #[inline]
    fn begin(&self, what: What, env: &Env, plan: &mut Plan) {
        *plan = Plan::none();
        plan.what = what;
        let header = &mut plan.header;
        (header.seq, header.ack) = (self.snd_nxt, self.rcv_nxt);
        header.flags = Flags::ACK | if self.facts.has(Facts::MARKED) { Flags::ECE } else { Flags(0) };
        header.wnd = self.wire_window(env);
        header.options.timestamps = self.timestamps(env);
    }

    fn timestamps(&self, env: &Env) -> Option<Timestamps> {
        let on = self.facts.has(Facts::TIMESTAMPS);
        on.then(|| Timestamps { tsval: self.tsval(env), tsecr: self.ts_recent })
    }

    /// SEG.WND: rounded up, so that scaling never moves the right edge to the left.
    fn wire_window(&self, env: &Env) -> u16 {
        let window = self.window_edge(env).distance_from(self.rcv_nxt);
        let unit = 1 << self.our_shift();
        ((window + (unit - 1)) >> self.our_shift()).min(u32::from(u16::MAX)) as u16
    }

    /// Text that fits a segment beside the options that every segment carries (RFC 9293 §3.7.1, MUST-16).
    pub(super) fn most_text(&self) -> usize {
        let options = if self.facts.has(Facts::TIMESTAMPS) { 12 } else { 0 };
        usize::from(self.smss).saturating_sub(options).max(1)
    }

    /// Copies a planned segment's text.
    pub fn copy_text(&self, plan: &Plan, into: &mut [u8]) {
        if let Some(transfer) = &self.transfer {
            transfer.send.copy_out(plan.text_at, into);
        }
    }

    /// The planned segment has left.
    pub fn sent(&mut self, plan: &Plan, env: &mut Env) {
        let fin = plan.header.flags.has(Flags::FIN);
        match plan.what {
            What::Reset => {
                self.facts.clear(Facts::RST_DUE);
                return;
            }
            What::Syn => self.syn_sent(env),
            What::Again { place } => self.resent(place, &plan.header, env),
            What::New | What::Probe => {
                self.facts.clear(Facts::PROBE_DUE);
                if plan.header.flags.has(Flags::CWR) {
                    self.facts.clear(Facts::REDUCED);
                }
                self.in_flight(plan.text_len as u32 + u32::from(fin), fin, env);
                self.probed_tail(false);
            }
            What::Tail { place } => {
                self.resent(place, &plan.header, env);
                self.probed_tail(true);
            }
            What::Alive => self.facts.clear(Facts::ALIVE_DUE),
            What::Fin if self.facts.take(Facts::FIN_LOST) => env.ledger.retransmitted += 1,
            What::Fin => self.in_flight(1, true, env),
            What::Ack => {}
        }
        let starts = self.outstanding() && !matches!(plan.what, What::Syn) && !self.facts.has(Facts::TIMER);
        if starts || (matches!(plan.what, What::New) && self.is_alone_no_more()) {
            self.arm(env);
        }
        self.acknowledged(&plan.header);
    }

    /// Whether a second segment has joined the only one in flight, so that the peer need not delay its acknowledgement, and
    /// the tail is probed for sooner (RFC 8985 §7.2).
    fn is_alone_no_more(&self) -> bool {
        self.transfer.as_ref().is_some_and(|t| t.scoreboard.len() == 2) && self.probe_timeout_ms().is_some()
    }

    fn resent(&mut self, place: usize, header: &Header, env: &mut Env) {
        env.ledger.retransmitted += 1;
        let Some(transfer) = &mut self.transfer else { return };
        let before = *transfer.scoreboard.segment(place);
        transfer.scoreboard.resent(place, env.now_us());
        transfer.sent_at = env.tick();
        self.note_resent(&before, header);
        // After a timeout a small flight fills the window that is left.
        self.note_full_window();
    }

    /// The next `len` octets of sequence space are in flight now. A FIN of a connection that never sent data has no
    /// scoreboard: there [`Facts::FIN_LOST`] does its work.
    fn in_flight(&mut self, len: u32, fin: bool, env: &mut Env) {
        let (seq, sent_us) = (self.snd_nxt, env.now_us());
        if let Some(transfer) = &mut self.transfer {
            transfer.active_at = env.tick();
            transfer.sent_at = transfer.active_at;
            transfer.probed = false;
            transfer.scoreboard.push(Sent::new(seq, len, sent_us, fin));
            env.ledger.refused.segments += u64::from(transfer.scoreboard.len() == env.config.most_segments());
        }
        self.snd_nxt += len;
        if fin {
            self.facts.set(Facts::FIN_SENT);
        }
        self.note_full_window();
    }

    /// Whether another segment or two would have found no room in the congestion window.
    fn note_full_window(&mut self) {
        let (in_flight, smss, snd_nxt) = (self.data_in_flight(), u32::from(self.smss), self.snd_nxt);
        if let Some(transfer) = &mut self.transfer
            && in_flight + 2 * smss >= transfer.congestion.cwnd()
        {
            transfer.full_until = Some(snd_nxt);
        }
    }

    /// If a tail-loss probe was due, this was it.
    fn probed_tail(&mut self, again: bool) {
        let end = self.snd_nxt;
        if self.facts.take(Facts::TAIL_DUE)
            && let Some(transfer) = &mut self.transfer
        {
            transfer.probe_end = Some((end, again));
        }
    }

    fn syn_sent(&mut self, env: &mut Env) {
        self.facts.clear(Facts::SYN_DUE);
        if self.snd_nxt == self.snd_una {
            self.snd_nxt += 1;
        } else if self.state == State::SynSent || self.backoff > 0 {
            env.ledger.retransmitted += 1;
            self.facts.set(Facts::SYN_RESENT);
        }
        self.arm(env);
    }

    /// Every segment acknowledges: nothing is owed any more.
    fn acknowledged(&mut self, header: &Header) {
        if !header.flags.has(Flags::ACK) || header.flags.has(Flags::SYN) {
            return;
        }
        // A peer without SACK counts duplicates: it gets those that it is owed.
        let more = match &mut self.transfer {
            Some(t) if !self.facts.has(Facts::SACK) && t.owed_duplicates > 1 && self.last_ack_sent == header.ack => {
                t.owed_duplicates -= 1;
                true
            }
            _ => false,
        };
        self.facts.put(Facts::ACK_NOW, more);
        self.facts.clear(Facts::LAST_ACK_DUE);
        self.last_ack_sent = header.ack;
        self.rcv_adv = self.rcv_adv.max(header.ack + (u32::from(header.wnd) << self.our_shift()));
        if let Some(transfer) = &mut self.transfer {
            transfer.ack_delayed = false;
            transfer.unacked_octets = 0;
            if !more {
                transfer.owed_duplicates = 0;
            }
            if !header.options.sack.as_slice().is_empty() {
                transfer.duplicate = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::TcpConfig;
    use super::super::testing::{Bench, MSS};
    use crate::time::Duration;

    /// What 40 segments, written after so long an idle time, begin with.
    fn first_flight(bench: &mut Bench, idle: Duration) -> usize {
        bench.wait(idle);
        bench.write(40 * usize::from(MSS));
        bench.send().len()
    }

    #[test]
    fn after_an_idle_time_the_first_flight_is_an_initial_window_also_where_the_transfer_is_kept() {
        for (kept, idle_ms, most) in [(true, 1_500, 10), (false, 1_500, 10), (true, 100, 20)] {
            let mut bench = Bench::with(TcpConfig::default(), true, false);
            bench.write(10_000);
            bench.send();
            bench.ack(10_000, 0, &[]);
            assert_eq!(bench.cwnd(), 18_000);
            // A smaller segment size keeps it, among other things.
            bench.tcb.transfer.as_mut().unwrap().larger_smss = kept.then_some((MSS, 1_000_000));
            let sent = first_flight(&mut bench, Duration::from_millis(idle_ms));
            assert!(sent <= most && sent >= most.min(18), "{sent} segments after {idle_ms} ms, kept: {kept}");
        }
    }

    #[test]
    fn a_window_that_was_small_is_no_larger_after_an_idle_time() {
        let mut bench = Bench::with(TcpConfig::default(), true, false);
        bench.write(1_000);
        bench.send();
        bench.tcb.facts.clear(super::Facts::PROBE_TIMER);
        bench.wait(Duration::from_millis(1_001));
        bench.send();
        bench.ack(1_000, 0, &[]);
        assert_eq!(bench.cwnd(), 2_000);
        assert_eq!(first_flight(&mut bench, Duration::from_millis(5_000)), 1, "the transfer was given back");
    }

    #[test]
    fn a_tiny_mss_makes_no_more_segments_than_the_send_buffer_has_half_kilobytes() {
        for (our_mss, send_buffer, most) in [(48, 65_536, 128), (48, 8_192, 64), (512, 32_768, 64)] {
            let mut bench = Bench::with(TcpConfig { send_buffer, ..TcpConfig::default() }, true, false);
            bench.our_mss = our_mss;
            bench.write(send_buffer as usize);
            let (mut acked, mut widest) = (0, 0);
            while acked < send_buffer {
                bench.send();
                let segments = bench.tcb.transfer.as_ref().expect("text is under way").scoreboard.len();
                widest = widest.max(segments);
                assert!(segments > 0, "it goes on");
                acked += bench.tcb.data_in_flight().min(4 * u32::from(our_mss));
                bench.now = bench.now + Duration::from_millis(10);
                bench.ack(acked, 0, &[]);
            }
            assert!(widest <= most, "{widest} segments of {our_mss} octets");
            assert_eq!(bench.env.ledger.refused.segments > 0, widest == most);
        }
    }
}
