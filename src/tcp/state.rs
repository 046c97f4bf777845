//! The eleven states of RFC 9293 §3.3.2, and the one function that moves between them.
//!
//! [`TRANSITIONS`] is the state machine as data: everything that changes a state looks its move up there, so the table
//! that is drawn and explored is the table that runs.

use crate::time::Instant;
use crate::wire::FourTuple;
use strum::EnumCount;

/// A connection's state. In prose: FIN-WAIT-1; in code: `FinWait1`; in reports: `fin_wait_1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumCount, strum::EnumIter, strum::FromRepr)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum State {
    Closed,
    Listen,
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
}

impl State {
    /// The name in reports and JSON.
    pub const fn key(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Listen => "listen",
            State::SynSent => "syn_sent",
            State::SynReceived => "syn_received",
            State::Established => "established",
            State::FinWait1 => "fin_wait_1",
            State::FinWait2 => "fin_wait_2",
            State::CloseWait => "close_wait",
            State::Closing => "closing",
            State::LastAck => "last_ack",
            State::TimeWait => "time_wait",
        }
    }

    /// The name as RFC 9293 writes it.
    pub const fn rfc_name(self) -> &'static str {
        match self {
            State::Closed => "CLOSED",
            State::Listen => "LISTEN",
            State::SynSent => "SYN-SENT",
            State::SynReceived => "SYN-RECEIVED",
            State::Established => "ESTABLISHED",
            State::FinWait1 => "FIN-WAIT-1",
            State::FinWait2 => "FIN-WAIT-2",
            State::CloseWait => "CLOSE-WAIT",
            State::Closing => "CLOSING",
            State::LastAck => "LAST-ACK",
            State::TimeWait => "TIME-WAIT",
        }
    }

    /// Whether the peer may still send data: its FIN has not come.
    #[inline]
    pub const fn receives(self) -> bool {
        matches!(self, State::Established | State::FinWait1 | State::FinWait2)
    }

    /// Whether the application may still queue data: it has not closed.
    #[inline]
    pub const fn sends(self) -> bool {
        matches!(self, State::SynSent | State::SynReceived | State::Established | State::CloseWait)
    }

    /// Whether both SYNs were exchanged (RFC 9293 §3.3.2, "synchronized").
    #[inline]
    pub const fn is_synchronized(self) -> bool {
        !matches!(self, State::Closed | State::Listen | State::SynSent | State::SynReceived)
    }
}

/// What can change a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumCount, strum::EnumIter)]
#[repr(u8)]
pub enum Event {
    /// The application connects.
    ActiveOpen,
    /// The application listens.
    PassiveOpen,
    /// A SYN without ACK.
    RecvSyn,
    /// A SYN that acknowledges ours.
    RecvSynAck,
    /// An acknowledgement of our SYN.
    RecvAckOfSyn,
    /// The application closes its sending side.
    Close,
    /// The peer's FIN, in order.
    RecvFin,
    /// An acknowledgement of our FIN.
    RecvAckOfFin,
    /// 2 MSL are over.
    TimeWaitOver,
    /// A RST that is believed.
    RecvRst,
    /// The application aborts, or we reset for another reason.
    Abort,
    /// Nobody answered, or an orphan outlived its time.
    TimedOut,
}

/// Every move there is: RFC 9293 §3.3.2 (figure 5) and §3.10.
///
/// A CLOSE in SYN-RECEIVED is queued until ESTABLISHED, as §3.10.4 allows, so that move is not here.
/// RFC 9293 returns a passive open to LISTEN after a RST; here the listener never left LISTEN, and only the half-open
/// entry ends.
#[rustfmt::skip]
pub const TRANSITIONS: &[(State, Event, State)] = {
    use Event::*;
    use State::*;
    &[
        (Closed,      PassiveOpen,  Listen),
        (Closed,      ActiveOpen,   SynSent),
        (Listen,      RecvSyn,      SynReceived),
        (Listen,      Close,        Closed),
        (SynSent,     RecvSyn,      SynReceived),
        (SynSent,     RecvSynAck,   Established),
        (SynSent,     Close,        Closed),
        (SynReceived, RecvAckOfSyn, Established),
        (Established, Close,        FinWait1),
        (Established, RecvFin,      CloseWait),
        (FinWait1,    RecvAckOfFin, FinWait2),
        (FinWait1,    RecvFin,      Closing),
        (FinWait2,    RecvFin,      TimeWait),
        (CloseWait,   Close,        LastAck),
        (Closing,     RecvAckOfFin, TimeWait),
        (LastAck,     RecvAckOfFin, Closed),
        (TimeWait,    TimeWaitOver, Closed),
        (TimeWait,    RecvSyn,      SynReceived),
        // A connection ends early.
        (SynSent,     RecvRst,      Closed),
        (SynReceived, RecvRst,      Closed),
        (Established, RecvRst,      Closed),
        (FinWait1,    RecvRst,      Closed),
        (FinWait2,    RecvRst,      Closed),
        (CloseWait,   RecvRst,      Closed),
        (Closing,     RecvRst,      Closed),
        (LastAck,     RecvRst,      Closed),
        (SynSent,     Abort,        Closed),
        (SynReceived, Abort,        Closed),
        (Established, Abort,        Closed),
        (FinWait1,    Abort,        Closed),
        (FinWait2,    Abort,        Closed),
        (CloseWait,   Abort,        Closed),
        (Closing,     Abort,        Closed),
        (LastAck,     Abort,        Closed),
        (TimeWait,    Abort,        Closed),
        (SynSent,     TimedOut,     Closed),
        (SynReceived, TimedOut,     Closed),
        (Established, TimedOut,     Closed),
        (FinWait1,    TimedOut,     Closed),
        (FinWait2,    TimedOut,     Closed),
        (CloseWait,   TimedOut,     Closed),
        (Closing,     TimedOut,     Closed),
        (LastAck,     TimedOut,     Closed),
    ]
};

/// [`TRANSITIONS`] laid out for one look-up: next state by state and event.
static NEXT: [[Option<State>; Event::COUNT]; State::COUNT] = {
    let mut next = [[None; Event::COUNT]; State::COUNT];
    let mut row = 0;
    while row < TRANSITIONS.len() {
        let (from, event, to) = TRANSITIONS[row];
        assert!(next[from as usize][event as usize].is_none(), "two moves for one state and event");
        next[from as usize][event as usize] = Some(to);
        row += 1;
    }
    next
};

/// The state after `event`, or `None` when the event means nothing in `state`.
#[inline]
pub fn next(state: State, event: Event) -> Option<State> {
    NEXT[state as usize][event as usize]
}

#[cold]
fn no_transition(from: State, event: Event) -> ! {
    panic!("no transition from {from:?} on {event:?}")
}

/// A change of state of a traced connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub at: Instant,
    /// Whose.
    pub tuple: FourTuple,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
}

/// How many connections and entries are in each state, and what a few of them went through.
#[derive(Clone, Debug, Default)]
pub struct StateGauges {
    counts: [u64; State::COUNT],
    trace: Vec<Transition>,
    traced: Vec<FourTuple>,
    to_trace: usize,
}

/// A traced connection's record is cut off here, so that no peer can make it grow.
const TRACE_LIMIT_PER_CONNECTION: usize = 32;

impl StateGauges {
    /// Gauges at zero that will trace the first `connections` connections.
    pub fn tracing(connections: usize) -> Self {
        StateGauges { to_trace: connections, ..Default::default() }
    }

    /// Makes the move that [`TRANSITIONS`] has for `event`: the only function that changes a state.
    ///
    /// # Panics
    /// If the table has no such move: a caller asks only for moves that RFC 9293 gives it.
    #[inline]
    pub fn transition(&mut self, state: &mut State, event: Event, tuple: &FourTuple, at: Instant) {
        let from = *state;
        let Some(to) = next(from, event) else { no_transition(from, event) };
        *state = to;
        // A listener stays in LISTEN when an entry leaves it, and CLOSED holds nothing.
        if !matches!((from, event), (State::Closed, _) | (State::Listen, Event::RecvSyn)) {
            self.counts[from as usize] -= 1;
        }
        if to != State::Closed {
            self.counts[to as usize] += 1;
        }
        if self.traced.len() < self.to_trace || !self.traced.is_empty() {
            self.record(Transition { at, tuple: *tuple, from, to });
        }
    }

    /// The state of a control block whose TIME-WAIT goes on in an entry of its own: it holds nothing any more, and the
    /// gauge counts the entry.
    pub fn handed_over() -> State {
        State::Closed
    }

    #[cold]
    fn record(&mut self, step: Transition) {
        if step.tuple.remote_port == 0 {
            return; // a listener
        }
        let known = self.traced.contains(&step.tuple);
        if !known && (self.traced.len() >= self.to_trace || !matches!(step.from, State::Closed | State::Listen)) {
            return;
        }
        if !known {
            self.traced.push(step.tuple);
        }
        if self.trace.len() < self.to_trace * TRACE_LIMIT_PER_CONNECTION {
            self.trace.push(step);
        }
    }

    /// Connections and entries in `state`; for LISTEN, listening ports.
    pub fn of(&self, state: State) -> u64 {
        self.counts[state as usize]
    }

    /// What the traced connections went through, in order.
    pub fn trace(&self) -> &[Transition] {
        &self.trace
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    #[test]
    fn every_state_but_closed_can_be_left_and_reached() {
        for state in State::iter() {
            assert!(TRANSITIONS.iter().any(|(_, _, to)| *to == state), "{state:?} is never reached");
            assert!(TRANSITIONS.iter().any(|(from, _, _)| *from == state), "{state:?} is never left");
        }
    }

    #[test]
    fn the_gauges_follow_a_life() {
        let mut gauges = StateGauges::default();
        let tuple = FourTuple {
            local_addr: crate::wire::Addr::from_v4([10, 0, 0, 1]),
            remote_addr: crate::wire::Addr::from_v4([10, 0, 0, 2]),
            local_port: 1,
            remote_port: 2,
        };
        let mut state = State::Closed;
        for event in [Event::ActiveOpen, Event::RecvSynAck, Event::Close, Event::RecvAckOfFin, Event::RecvFin] {
            gauges.transition(&mut state, event, &tuple, Instant::ZERO);
            assert_eq!(State::iter().map(|s| gauges.of(s)).sum::<u64>(), 1);
        }
        assert_eq!(state, State::TimeWait);
        gauges.transition(&mut state, Event::TimeWaitOver, &tuple, Instant::ZERO);
        assert_eq!(State::iter().map(|s| gauges.of(s)).sum::<u64>(), 0);
    }

    #[test]
    fn states_say_who_may_still_speak() {
        use State::*;
        let all = |holds: fn(State) -> bool| State::iter().filter(|state| holds(*state)).collect::<Vec<_>>();
        assert_eq!(all(State::receives), [Established, FinWait1, FinWait2], "until the peer's FIN");
        assert_eq!(all(State::sends), [SynSent, SynReceived, Established, CloseWait], "until our own");
        let synchronized = [Established, FinWait1, FinWait2, CloseWait, Closing, LastAck, TimeWait];
        assert_eq!(all(State::is_synchronized), synchronized);
    }

    #[test]
    fn only_the_first_connections_are_traced_and_each_only_so_far() {
        let mut gauges = StateGauges::tracing(2);
        let tuple = |remote_port: u16| FourTuple {
            local_addr: crate::wire::Addr::from_v4([10, 0, 0, 1]),
            remote_addr: crate::wire::Addr::from_v4([10, 0, 0, 2]),
            local_port: 1,
            remote_port,
        };
        let mut listener = State::Closed;
        gauges.transition(&mut listener, Event::PassiveOpen, &tuple(0), Instant::ZERO);
        assert_eq!(gauges.trace().len(), 0, "a listener is no connection");
        let mut late = State::Closed;
        for port in [7, 8, 9] {
            let mut state = State::Closed;
            gauges.transition(&mut state, Event::ActiveOpen, &tuple(port), Instant::ZERO);
            late = state;
        }
        gauges.transition(&mut late, Event::RecvSynAck, &tuple(9), Instant::ZERO);
        let traced: Vec<u16> = gauges.trace().iter().map(|step| step.tuple.remote_port).collect();
        assert_eq!(traced, [7, 8], "the third is not, nor from its middle on");
        for _ in 0..TRACE_LIMIT_PER_CONNECTION {
            let mut state = State::SynSent;
            gauges.transition(&mut state, Event::Abort, &tuple(7), Instant::ZERO);
            gauges.transition(&mut state, Event::ActiveOpen, &tuple(7), Instant::ZERO);
        }
        assert_eq!(gauges.trace().len(), 2 * TRACE_LIMIT_PER_CONNECTION, "and no peer makes it grow");
    }
}
