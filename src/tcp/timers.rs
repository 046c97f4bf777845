//! The timers of a connection: retransmission (RFC 6298 §5), persist (RFC 9293 §3.8.6.1), delayed acknowledgement,
//! orphans, and giving the buffers of an idle connection back. All share one place in the shard's wheel.

use super::connection::{Env, Facts, Tcb};
use super::rto::{backed_off_ms, waited_ms};
use super::state::{Event, State};
use super::timer::{earlier, is_due};
use crate::ledger::Ending;

impl Tcb {
    /// Starts the retransmission timer.
    pub(super) fn arm(&mut self, env: &Env<'_>) {
        self.arm_after(backed_off_ms(self.rto_ms, self.backoff, env.config), env);
    }

    fn arm_after(&mut self, ms: u32, env: &Env<'_>) {
        self.timer_at = env.tick().wrapping_add(ms.max(1));
        self.facts.set(Facts::TIMER);
    }

    /// Starts the persist timer when there is something to send, nothing outstanding, and no window for it.
    pub(crate) fn arm_persist(&mut self, env: &Env<'_>) {
        if self.state.is_synchronized()
            && !self.outstanding()
            && !self.facts.has(Facts::TIMER)
            && self.unsent() > 0
            && self.snd_wnd < self.unsent().min(u32::from(self.smss))
        {
            self.arm(env);
        }
    }

    /// Starts the orphan timer: nobody will read, and the peer has yet to close.
    pub(super) fn arm_orphan(&mut self, env: &Env<'_>) {
        self.arm_after(env.config.orphan_timeout.as_millis() as u32, env);
    }

    /// When the wheel must look at this connection next, in ticks.
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
            // Congestion state is worth nothing after an RTO of silence (RFC 5681 §4.1), so neither is the transfer.
            if transfer.is_quiet() {
                sooner(transfer.active_at.wrapping_add(u32::from(self.rto_ms)));
            }
        }
        due
    }

    /// The wheel's turn has come to this connection.
    pub(crate) fn on_timer(&mut self, env: &mut Env<'_>) {
        let tick = env.tick();
        if self.ending.is_some() {
            return;
        }
        let idle_after = u32::from(self.rto_ms);
        if let Some(transfer) = &mut self.transfer {
            if transfer.ack_delayed && is_due(transfer.ack_at, tick) {
                transfer.ack_delayed = false;
                self.facts.set(Facts::ACK_NOW);
            } else if transfer.is_quiet() && is_due(transfer.active_at.wrapping_add(idle_after), tick) {
                self.drop_transfer(env.pools);
            }
        }
        if self.facts.has(Facts::TIMER) && is_due(self.timer_at, tick) {
            self.facts.clear(Facts::TIMER);
            self.on_timeout(env);
        }
    }

    fn on_timeout(&mut self, env: &mut Env<'_>) {
        if self.state == State::FinWait2 {
            // An orphan that the peer never closes: silently, as its FIN was acknowledged.
            self.end(Event::TimedOut, Ending::TimedOut, env);
            return;
        }
        let patience = if self.state.is_synchronized() { env.config.user_timeout } else { env.config.connect_timeout };
        self.backoff = self.backoff.saturating_add(1);
        self.unanswered = self.unanswered.saturating_add(1);
        if waited_ms(self.rto_ms, self.backoff, self.unanswered, env.config) >= patience.as_millis() as u64 {
            self.end(Event::TimedOut, Ending::TimedOut, env);
            return;
        }
        match self.state {
            State::SynSent | State::SynReceived => self.facts.set(Facts::SYN_DUE),
            _ if self.outstanding() => self.on_retransmission_timeout(),
            _ if self.unsent() > 0 => self.facts.set(Facts::PROBE_DUE),
            _ => return,
        }
        self.arm(env);
    }

    /// RFC 6298 §5.4–5.6, RFC 5681 §3.1.
    fn on_retransmission_timeout(&mut self) {
        let flight = self.data_in_flight();
        let smss = u32::from(self.smss);
        let window_closed = self.snd_wnd == 0;
        let mut fin_alone = self.facts.has(Facts::FIN_SENT);
        if let Some(transfer) = &mut self.transfer {
            // A peer that still says nothing after what it reported may have dropped it (RFC 2018 §8).
            transfer.scoreboard.mark_all_lost(true);
            transfer.recover = None;
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
}
