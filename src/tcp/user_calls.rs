//! What the application asks of a connection: SEND, RECEIVE, CLOSE, ABORT (RFC 9293 §3.10.2–3.10.5).

use super::connection::{Facts, Tcb};
use super::env::Env;
use super::state::{Event, State};
use crate::ledger::Ending;
use crate::time::Duration;

/// The step in which R2 of a connection is kept.
pub(super) const PATIENCE_UNIT: Duration = Duration::from_secs(2);

impl Tcb {
    /// Sets R2 of this connection (RFC 9293 §3.8.3, MUST-21): rounded up to 2 s, at most 510 s.
    pub(crate) fn set_user_timeout(&mut self, patience: Duration) {
        let units = patience.as_secs_f64() / PATIENCE_UNIT.as_secs_f64();
        self.patience = units.ceil().clamp(1.0, 255.0) as u8;
    }

    /// Whether the peer is asked for a sign of life while the connection is idle (MUST-24).
    pub(crate) fn set_keep_alive(&mut self, on: bool) {
        self.facts.put(Facts::KEEP_ALIVE, on);
        if !on && !self.outstanding() && self.unsent() == 0 {
            self.facts.clear(Facts::TIMER);
        }
    }

    /// Whether small segments leave at once (MUST-17: Nagle's algorithm can be disabled).
    pub(crate) fn set_no_delay(&mut self, on: bool) {
        self.facts.put(Facts::NO_DELAY, on);
    }

    /// SEND: queues octets; says how many were taken, `None` when our side is closed.
    pub(crate) fn write(&mut self, octets: &[u8], env: &mut Env) -> Option<usize> {
        if self.ending.is_some() || !self.state.sends() || self.facts.has(Facts::FIN_QUEUED) {
            return None;
        }
        if octets.is_empty() {
            return Some(0);
        }
        let room = self.writable(env);
        let offered = &octets[..octets.len().min(room)];
        let mut taken = 0;
        if !offered.is_empty() {
            self.transfer_mut(&mut env.pools, &env.config);
            if let Some(transfer) = &mut self.transfer {
                taken = transfer.send.push(offered, &mut env.pools.blocks);
                transfer.active_at = env.tick();
            }
            env.ledger.refused.buffer_bytes += (offered.len() - taken) as u64;
            if taken < offered.len() {
                self.facts.set(Facts::STARVED);
            }
        }
        self.facts.put(Facts::WRITE_SHORT, taken < octets.len());
        Some(taken)
    }

    /// Octets that a write would take.
    pub(crate) fn writable(&self, env: &Env) -> usize {
        if !self.state.sends() || self.facts.has(Facts::FIN_QUEUED) {
            return 0;
        }
        let queued = self.transfer.as_ref().map_or(0, |t| t.send.len());
        (env.config.send_buffer as usize).saturating_sub(queued)
    }

    /// The first stretch that can be read.
    pub(crate) fn peek(&self) -> &[u8] {
        self.transfer.as_ref().map_or(&[], |t| t.recv.front())
    }

    /// RECEIVE: takes octets out.
    pub(crate) fn read(&mut self, into: &mut [u8], env: &mut Env) -> usize {
        let n = into.len().min(self.readable());
        if let Some(transfer) = &self.transfer {
            transfer.recv.copy_out(0, &mut into[..n]);
        }
        self.consume(n, env);
        n
    }

    /// Drops octets that were read by [`Tcb::peek`]; more than there are means all.
    pub(crate) fn consume(&mut self, octets: usize, env: &mut Env) {
        if let Some(transfer) = &mut self.transfer {
            let octets = octets.min(transfer.recv.len());
            transfer.recv.consume(octets, &mut env.pools.blocks);
        }
        if self.ending.is_none() {
            self.on_room(env);
        } else if self.readable() == 0 {
            self.drop_transfer(&mut env.pools);
        }
    }

    /// Whether the peer's FIN was reached and everything before it was read.
    pub(crate) fn at_end(&self) -> bool {
        let fin_came = self.ending.is_some() || (self.state.is_synchronized() && !self.state.receives());
        fin_came && self.readable() == 0
    }

    /// CLOSE of the sending side (RFC 9293 §3.10.4): the state moves now, the FIN leaves after what is queued.
    pub(crate) fn shutdown(&mut self, env: &mut Env) {
        if self.ending.is_some() || self.facts.has(Facts::FIN_QUEUED) || !self.state.sends() {
            return;
        }
        if self.state == State::SynSent {
            self.end(Event::Close, Ending::Aborted, env);
            return;
        }
        self.facts.set(Facts::FIN_QUEUED);
        // Deviation: RFC 9293 §3.10.4, CLOSE in SYN-RECEIVED. It waits for ESTABLISHED, one of the two ways of the text.
        if self.state != State::SynReceived {
            self.change_state(Event::Close, env);
        }
    }

    /// CLOSE for good: what comes from now on is not read. Unread data makes it a reset (SHLD-3).
    pub(crate) fn close(&mut self, env: &mut Env) {
        if self.ending.is_some() {
            self.facts.set(Facts::APP_CLOSED);
            self.drop_transfer(&mut env.pools);
            return;
        }
        if self.readable() > 0 {
            self.facts.set(Facts::APP_CLOSED);
            self.abort(Ending::Aborted, env);
            return;
        }
        self.facts.set(Facts::APP_CLOSED);
        self.shutdown(env);
        if self.ending.is_none() && self.state == State::FinWait2 {
            self.arm_orphan(env);
        }
    }

    /// ABORT (RFC 9293 §3.10.5), and every other end by our own reset: a RST leaves, and nothing else.
    pub(crate) fn abort(&mut self, ending: Ending, env: &mut Env) {
        if self.ending.is_some() {
            return;
        }
        // RFC 9293 §3.10.5: no RST from SYN-SENT, nor when both FINs are out. Ours may still wait behind what is queued.
        let both_said = matches!(self.state, State::Closing | State::LastAck) && self.facts.has(Facts::FIN_SENT);
        let silent = self.state == State::SynSent || both_said;
        self.end(Event::Abort, ending, env);
        self.facts.put(Facts::RST_DUE, !silent);
    }
}

#[cfg(test)]
mod tests {
    use super::super::TcpConfig;
    use super::super::testing::Bench;
    use super::super::transfer::Pools;
    use super::*;

    const HOURS: Duration = Duration::from_secs(7_200);

    fn asking() -> Bench {
        Bench::with(TcpConfig { keep_alive: Some(HOURS), ..TcpConfig::default() }, false, false)
    }

    #[test]
    fn keep_alives_are_turned_on_and_off_for_one_connection() {
        for (on, questions) in [(true, 1), (false, 0)] {
            let mut bench = asking();
            bench.wait(Duration::ZERO);
            bench.tcb.set_keep_alive(on);
            bench.wait(Duration::ZERO);
            bench.wait(HOURS + Duration::from_secs(1));
            assert_eq!(bench.send().len(), questions, "on: {on}");
        }
    }

    /// 30 days in milliseconds are more than half of what 32 bits count.
    #[test]
    fn no_keep_alive_is_due_before_its_time_however_long_that_is() {
        let days = |days: u64| Duration::from_secs(days * 24 * 3_600);
        let config = TcpConfig { keep_alive: Some(days(30)), ..TcpConfig::default() };
        let mut bench = Bench::with(config, false, false);
        bench.wait(Duration::ZERO);
        for _ in 0..2 {
            bench.wait(days(11));
            assert_eq!(bench.send().len(), 0, "after {:?}", bench.now);
        }
        bench.wait(days(3));
        assert_eq!(bench.send().len(), 1, "the longest that a timer runs");
    }

    #[test]
    fn turning_keep_alives_off_stops_no_retransmission() {
        let mut bench = asking();
        bench.write(100);
        bench.send();
        bench.tcb.set_keep_alive(false);
        bench.wait(Duration::from_secs(4));
        assert_eq!(bench.send().len(), 1, "the text again");
    }

    #[test]
    fn what_the_pool_has_no_room_for_is_refused_and_counted() {
        let mut bench = asking();
        bench.env.pools = Pools::new(1 << 14);
        let whole = bench.with_env(|tcb, env| tcb.write(&[7; 100], env));
        assert_eq!((whole, bench.tcb.facts.has(Facts::STARVED)), (Some(100), false));
        let octets = bench.env.config.send_buffer as usize - 100;
        assert!(octets > 1 << 14, "more than the pool has");
        let taken = bench.with_env(|tcb, env| tcb.write(&vec![7; octets], env)).expect("open");
        assert!(taken < octets && bench.tcb.facts.has(Facts::STARVED));
        assert_eq!(bench.env.ledger.refused.buffer_bytes, (octets - taken) as u64);
    }
}
