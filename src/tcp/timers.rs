//! The timers of a connection: retransmission (RFC 6298 §5), persist (RFC 9293 §3.8.6.1), delayed acknowledgement,
//! orphans, and giving the buffers of an idle connection back. All share one place in the shard's wheel.

use super::config::{LONGEST_TIMER, TcpConfig};
use super::connection::{Facts, Tcb};
use super::env::Env;
use super::rto::{backed_off_ms, waited_ms};
use super::spurious::Undo;
use super::state::{Event, State};
use super::timer::{earlier, is_due};
use crate::ledger::Ending;
use crate::time::Duration;

/// R1: retransmissions without an answer after which something is wrong (RFC 9293 §3.8.3, SHLD-10: at least 3).
const R1: u8 = 3;

/// In ticks of a millisecond.
pub(super) fn ticks(time: Duration) -> u32 {
    time.min(LONGEST_TIMER).as_millis() as u32
}

impl Tcb {
    /// Starts the retransmission timer, or the shorter one after which the tail is probed for loss.
    pub(super) fn arm(&mut self, env: &Env) {
        let probe_ms = self.probe_timeout_ms();
        self.facts.put(Facts::PROBE_TIMER, probe_ms.is_some());
        self.arm_after(probe_ms.unwrap_or(backed_off_ms(self.rto_ms, self.backoff, &env.config)), env);
    }

    /// Starts it when nothing else runs: what is to be sent cannot leave yet.
    pub(crate) fn arm_if_idle(&mut self, env: &Env) {
        if !self.facts.has(Facts::TIMER) {
            self.arm(env);
        }
    }

    fn arm_after(&mut self, ms: u32, env: &Env) {
        self.timer_at = env.tick().wrapping_add(ms.max(1));
        self.facts.set(Facts::TIMER);
    }

    /// Starts the persist timer when there is something to send, nothing outstanding, and no window for it.
    #[inline]
    pub(crate) fn arm_persist(&mut self, env: &Env) {
        if self.transfer.is_some()
            && self.state.is_synchronized()
            && !self.outstanding()
            && !self.facts.has(Facts::TIMER)
            && self.unsent() > 0
            && self.snd_wnd < self.unsent().min(u32::from(self.smss))
        {
            self.arm(env);
        }
    }

    /// Starts the keep-alive timer of a connection on which nothing happens (RFC 9293 §3.8.4).
    #[inline]
    pub(crate) fn arm_keep_alive(&mut self, env: &Env) {
        if let Some(idle) = env.config.keep_alive
            && self.facts.has(Facts::KEEP_ALIVE)
            && matches!(self.state, State::Established | State::CloseWait)
            && !self.facts.has(Facts::TIMER)
            && !self.outstanding()
            && self.unsent() == 0
        {
            self.arm_after(ticks(idle), env);
        }
    }

    /// Starts the orphan timer: nobody will read, and the peer has yet to close.
    pub(super) fn arm_orphan(&mut self, env: &Env) {
        self.arm_after(ticks(env.config.orphan_timeout), env);
    }

    /// Whether it stands in the wheel where it must: a quick answer for a connection without a transfer; of others `false`
    /// says nothing.
    #[inline]
    pub(crate) fn stands_right(&self, config: &TcpConfig) -> bool {
        let due = self.facts.has(Facts::TIMER).then_some(self.timer_at);
        self.transfer.is_none() && config.keep_alive.is_none() && due == self.link.armed_for()
    }

    /// When the wheel must look at this connection next, in ticks.
    #[inline]
    pub(crate) fn next_due(&self) -> Option<u32> {
        if self.ending.is_some() {
            return None;
        }
        let mut due = self.facts.has(Facts::TIMER).then_some(self.timer_at);
        let mut sooner = |at: u32| due = Some(due.map_or(at, |d| earlier(d, at)));
        if let Some(transfer) = &self.transfer {
            if transfer.ack_delayed {
                sooner(transfer.ack_at);
            }
            if transfer.reordering {
                sooner(transfer.reordering_at);
            }
            if let Some((_, since)) = transfer.larger_smss {
                sooner(since.wrapping_add(ticks(super::recovery::TRY_LARGER_AFTER)));
            }
            // Congestion state is worth nothing after an RTO of silence (RFC 5681 §4.1), so neither is the transfer.
            if transfer.is_quiet() {
                sooner(transfer.active_at.wrapping_add(u32::from(self.rto_ms)));
            }
        }
        due
    }

    /// The wheel's turn has come to this connection.
    pub(crate) fn on_timer(&mut self, env: &mut Env) {
        let tick = env.tick();
        if self.ending.is_some() {
            return;
        }
        let idle_after = u32::from(self.rto_ms);
        self.restore_smss(tick);
        if self.transfer.as_ref().is_some_and(|t| t.reordering && is_due(t.reordering_at, tick)) {
            self.detect_loss(self.data_in_flight(), env);
        }
        if let Some(transfer) = &mut self.transfer {
            if transfer.ack_delayed && is_due(transfer.ack_at, tick) {
                transfer.ack_delayed = false;
                self.facts.set(Facts::ACK_NOW);
            } else if transfer.is_quiet() && is_due(transfer.active_at.wrapping_add(idle_after), tick) {
                let least = super::congestion::initial_window(u32::from(self.smss), false);
                self.facts.put(Facts::SMALL_WINDOW, transfer.congestion.cwnd() < least);
                self.drop_transfer(&mut env.pools);
            }
        }
        if self.facts.has(Facts::TIMER) && is_due(self.timer_at, tick) {
            self.facts.clear(Facts::TIMER);
            self.on_timeout(env);
        }
    }

    fn on_timeout(&mut self, env: &mut Env) {
        if self.state == State::FinWait2 {
            // An orphan that the peer never closes: silently, as its FIN was acknowledged.
            self.end(Event::TimedOut, Ending::TimedOut, env);
            return;
        }
        if self.facts.take(Facts::PROBE_TIMER) {
            self.facts.set(Facts::TAIL_DUE);
            self.arm_after(u32::from(self.rto_ms), env);
            return;
        }
        if !self.outstanding() && self.unsent() == 0 && self.facts.has(Facts::KEEP_ALIVE) {
            self.on_keep_alive(env);
            return;
        }
        let patience = self.patience(env);
        self.backoff = self.backoff.saturating_add(1);
        self.unanswered = self.unanswered.saturating_add(1);
        if let Some(transfer) = &mut self.transfer {
            transfer.silence = transfer.silence.saturating_add(1);
        }
        if self.starves_others(env) {
            env.ledger.refused.silent_peers += 1;
            self.abort(Ending::TimedOut, env);
            return;
        }
        if waited_ms(self.rto_ms, self.backoff, self.unanswered, &env.config) >= patience.as_millis() as u64 {
            if self.holds_window_shut() {
                // The peer is there and would wait for ever.
                self.abort(Ending::TimedOut, env);
                return;
            }
            self.end(Event::TimedOut, Ending::TimedOut, env);
            return;
        }
        match self.state {
            State::SynSent | State::SynReceived => self.facts.set(Facts::SYN_DUE),
            _ if self.outstanding() => self.on_retransmission_timeout(env),
            _ if self.unsent() > 0 => self.facts.set(Facts::PROBE_DUE),
            // A FIN that could not leave yet.
            _ if self.facts.has(Facts::FIN_QUEUED) && !self.facts.has(Facts::FIN_SENT) => {}
            _ => return,
        }
        self.arm(env);
    }

    /// R2: how long to go on without an answer (RFC 9293 §3.8.3).
    fn patience(&self, env: &Env) -> crate::time::Duration {
        match self.patience {
            _ if !self.state.is_synchronized() => env.config.connect_timeout,
            // Nobody is left who could give it up (CERT VU#723308: many peers that hold their windows shut).
            _ if self.holds_window_shut() => env.config.orphan_timeout.min(self.user_timeout(env)),
            _ => self.user_timeout(env),
        }
    }

    /// Whether what it keeps for a peer that takes nothing is what others wait for, who could write if it did not. Then a
    /// peer that says nothing has R1 to answer (RFC 9293 §3.8.3, SHLD-10), and one that answers and takes nothing, by its
    /// window or not, as long as an orphan's. A connection may be given up when memory runs out (RFC 6429 §4); peers that
    /// die, or are out to harm, would else hold all blocks for R2, one crowd after the other.
    ///
    /// Deviation: RFC 9293 §3.8.3 (SHLD-11), R2 of at least 100 s.
    fn starves_others(&self, env: &Env) -> bool {
        let Some(transfer) = self.transfer.as_ref().filter(|transfer| !transfer.send.is_empty()) else { return false };
        if !self.state.is_synchronized() || !env.pools.starves() {
            return false;
        }
        let waited_ms = waited_ms(self.rto_ms, self.backoff, self.backoff, &env.config);
        self.unanswered.min(transfer.silence) > R1 || waited_ms >= env.config.orphan_timeout.as_millis() as u64
    }

    fn user_timeout(&self, env: &Env) -> crate::time::Duration {
        match self.patience {
            0 => env.config.user_timeout,
            units => super::user_calls::PATIENCE_UNIT * u32::from(units),
        }
    }

    /// An orphan's peer takes nothing of what is left to send (RFC 6429).
    fn holds_window_shut(&self) -> bool {
        self.is_orphan() && self.state.is_synchronized() && self.snd_wnd == 0
    }

    /// Nothing was heard for long: ask, and after some questions without an answer give up.
    fn on_keep_alive(&mut self, env: &mut Env) {
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered > env.config.keep_alive_probes {
            self.abort(Ending::TimedOut, env);
            return;
        }
        self.facts.set(Facts::ALIVE_DUE);
        self.arm_after(ticks(env.config.keep_alive_interval), env);
    }

    /// RFC 6298 §5.4–5.6, RFC 5681 §3.1.
    fn on_retransmission_timeout(&mut self, env: &mut Env) {
        self.suspect_black_hole(env);
        let flight = self.data_in_flight();
        let (smss, snd_una, snd_nxt) = (u32::from(self.smss), self.snd_una, self.snd_nxt);
        let window_closed = self.snd_wnd == 0;
        let mut fin_alone = self.facts.has(Facts::FIN_SENT);
        if let Some(transfer) = &mut self.transfer {
            // A peer that still says nothing after what it reported may have dropped it (RFC 2018 §8).
            transfer.scoreboard.mark_all_lost();
            // Of several reductions in a row the first says what is to be restored.
            let first = self.backoff == 1 && transfer.recover.is_none();
            if first && !window_closed {
                transfer.undo = Some(Undo::new(transfer.congestion, snd_una, snd_nxt));
            }
            transfer.recover = None;
            transfer.probe_end = None;
            transfer.reordering = false;
            transfer.dup_acks = 0;
            fin_alone &= transfer.scoreboard.is_empty();
            if !window_closed {
                transfer.congestion.on_timeout(flight, smss, self.backoff == 1);
            }
        }
        if fin_alone {
            self.facts.set(Facts::FIN_LOST);
        }
    }

    /// Full segments that stay unanswered may be too large for a path whose routers do not say so (RFC 4821 §7.7):
    /// smaller ones are tried, in two steps.
    fn suspect_black_hole(&mut self, env: &mut Env) {
        let least = super::negotiation::default_mss(self.tuple.local_addr.is_v4());
        let smaller = match self.unanswered {
            3 => 1_024.max(least),
            5 => least,
            _ => return,
        };
        if self.data_in_flight() > u32::from(smaller) {
            self.lower_smss(smaller, env);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::TcpConfig;
    use super::super::buffer::BLOCK;
    use super::super::testing::Bench;
    use super::super::transfer::Pools;
    use crate::ledger::Ending;
    use crate::time::Duration;

    /// Milliseconds until it gives up a peer that takes nothing, of a pool that its data fills.
    fn patience_ms(wanted: bool, answers: bool, wnd: u16) -> u64 {
        let mut bench = Bench::with(TcpConfig::default(), true, false);
        bench.env.pools = Pools::new((4 * BLOCK) as u64);
        bench.env.pools.hungry = u32::from(wanted);
        bench.wnd = wnd;
        bench.ack(0, 0, &[]);
        bench.write(3 * BLOCK);
        let began = bench.now;
        while bench.tcb.ending.is_none() {
            bench.wait(Duration::from_millis(100));
            if !bench.send().is_empty() && answers {
                bench.ack(0, 0, &[]);
            }
        }
        assert_eq!((bench.tcb.ending, bench.env.pools.blocks.used_bytes()), (Some(Ending::TimedOut), 0));
        assert_eq!(bench.env.ledger.refused.silent_peers, u64::from(wanted));
        bench.now.since(began).as_millis() as u64
    }

    #[test]
    fn a_peer_that_takes_nothing_is_given_up_sooner_where_others_want_the_blocks() {
        let r2 = 300_000..420_000;
        assert!(r2.contains(&patience_ms(false, false, 60_000)));
        assert!(r2.contains(&patience_ms(false, true, 60_000)));
        // R1: three retransmissions, and the time of one more.
        assert!((3_000..20_000).contains(&patience_ms(true, false, 60_000)));
        // It is there: as long as an orphan's.
        assert!((60_000..130_000).contains(&patience_ms(true, true, 60_000)));
        assert!((60_000..130_000).contains(&patience_ms(true, true, 0)));
    }
}
