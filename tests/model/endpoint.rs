//! One end of the modelled connection: user calls and timers (RFC 9293 §3.9.1, §3.8) over small sequence numbers.
//!
//! The state is moved by the table alone: an end that asks for a move that the table lacks is at fault, as
//! `StateGauges::transition` panics there. What an end accepts and sends besides depends on `State::receives`,
//! `State::sends` and `State::is_synchronized` of the crate.

use handfast::tcp::state::{Event, State};

pub const SYN: u8 = 1;
pub const ACK: u8 = 2;
pub const TEXT: u8 = 4;
pub const FIN: u8 = 8;
pub const RST: u8 = 16;

/// A segment; text is one unit, and takes one sequence number. No flags: no segment.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Segment {
    pub flags: u8,
    pub seq: u8,
    pub ack: u8,
}

impl Segment {
    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub fn len(self) -> u8 {
        u8::from(self.has(SYN)) + u8::from(self.has(TEXT)) + u8::from(self.has(FIN))
    }
}

/// What must never happen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fault {
    /// The table has no such move.
    NoSuchMove,
    /// Text was delivered that was delivered before.
    TextTwice,
    /// A FIN was delivered that was delivered before.
    FinTwice,
    /// Text was delivered behind the peer's FIN.
    TextAfterFin,
    /// Text or a FIN was acknowledged that was not delivered.
    AcknowledgedUndelivered,
    /// An end closed normally, and not everything of both sides was delivered.
    ClosedTooEarly,
    /// A connection ended, and its state is not CLOSED.
    EndedElsewhere,
    /// The state is not what RFC 9293 §3.3.2 calls what happened so far.
    Misnamed,
    /// Neither CLOSE nor the peer leads to CLOSED any more.
    Stuck,
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ending {
    Normal,
    Early,
}

/// Each opening begins this far beyond the last one, as an ISN that grows does (RFC 9293 §3.4.1).
const OPENING: u8 = 16;
/// The window: more than one connection ever uses, less than the distance of two openings.
pub const WINDOW: u8 = 8;

/// An endpoint. Numbers of a connection that is over are 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct End {
    pub state: State,
    /// How often it was opened; SYN-RECEIVED by reuse of TIME-WAIT counts.
    pub opened: u8,
    /// Opened by `connect`; else there is a listener, which outlives the connection.
    pub active: bool,
    pub fin_queued: bool,
    /// The peer's FIN had come before this side closed.
    pub closed_second: bool,
    pub una: u8,
    pub nxt: u8,
    pub rcv_nxt: u8,
    pub ended: Option<Ending>,
    /// Witnesses: the highest text and FIN that were ever delivered here.
    pub text: u8,
    pub fin: u8,
}

/// What an end works with in one step: the table, and the segments that leave.
pub struct Step<'a> {
    pub next: &'a dyn Fn(State, Event) -> Option<State>,
    pub opens: u8,
    pub fault: Option<Fault>,
    pub out: Vec<Segment>,
}

impl Step<'_> {
    pub fn send(&mut self, flags: u8, seq: u8, ack: u8) {
        self.out.push(Segment { flags, seq, ack });
    }

    pub fn blame(&mut self, fault: Fault, when: bool) {
        if when && self.fault.is_none() {
            self.fault = Some(fault);
        }
    }
}

impl End {
    pub const NEW: End = End {
        state: State::Closed,
        opened: 0,
        active: false,
        fin_queued: false,
        closed_second: false,
        una: 0,
        nxt: 0,
        rcv_nxt: 0,
        ended: None,
        text: 0,
        fin: 0,
    };

    pub fn iss(&self) -> u8 {
        self.opened * OPENING
    }

    /// Our FIN has left, or is lost on its way.
    pub fn fin_sent(&self) -> bool {
        self.fin_queued && self.una > self.iss()
    }

    /// The last number of the text that was sent: one before the FIN, if that was sent; the SYN's if there is none.
    pub fn last_text(&self) -> u8 {
        self.nxt.saturating_sub(1 + u8::from(self.fin_sent()))
    }

    pub fn fin_acked(&self) -> bool {
        self.fin_sent() && self.una == self.nxt
    }

    /// The peer's FIN was delivered: it is the last thing that was.
    fn fin_came(&self) -> bool {
        self.rcv_nxt != 0 && self.fin + 1 == self.rcv_nxt
    }

    pub fn go(&mut self, event: Event, step: &mut Step<'_>) {
        match (step.next)(self.state, event) {
            Some(to) => self.state = to,
            None => step.blame(Fault::NoSuchMove, true),
        }
    }

    pub fn end(&mut self, event: Event, ending: Ending, step: &mut Step<'_>) {
        self.go(event, step);
        self.ended = Some(ending);
        step.blame(Fault::EndedElsewhere, self.state != State::Closed);
    }

    /// What a connection that is over leaves behind.
    pub fn forget(&mut self) {
        let End { state, opened, active, text, fin, .. } = *self;
        *self = End { state, opened, active: active && state != State::Closed, text, fin, ..End::NEW };
    }

    pub fn open(&mut self, active: bool, step: &mut Step<'_>) {
        self.go(if active { Event::ActiveOpen } else { Event::PassiveOpen }, step);
        step.blame(Fault::Misnamed, !active && self.state != State::Listen);
        self.active = active;
        self.opened += 1;
        if active {
            self.number();
            step.send(SYN, self.iss(), 0);
        }
    }

    pub fn number(&mut self) {
        (self.una, self.nxt) = (self.iss(), self.iss() + 1);
    }

    pub fn may_write(&self, most: u8) -> bool {
        let standing = self.una > self.iss() && !self.fin_queued;
        standing && self.state.sends() && self.last_text() - self.iss() < most
    }

    pub fn write(&mut self, step: &mut Step<'_>) {
        step.send(TEXT | ACK, self.nxt, self.rcv_nxt);
        self.nxt += 1;
    }

    /// A half-open entry of a listener has no application yet that could close it.
    pub fn may_close(&self) -> bool {
        let handed_out = self.state != State::SynReceived || self.active;
        self.state == State::Listen || (self.state.sends() && !self.fin_queued && handed_out)
    }

    pub fn close(&mut self, step: &mut Step<'_>) {
        match self.state {
            State::Listen | State::SynSent => self.end(Event::Close, Ending::Early, step),
            // It waits for ESTABLISHED, RFC 9293 §3.10.4.
            State::SynReceived => self.fin_queued = true,
            _ => self.send_fin(step),
        }
    }

    pub fn send_fin(&mut self, step: &mut Step<'_>) {
        self.closed_second = self.fin_came();
        self.fin_queued = true;
        self.go(Event::Close, step);
        step.send(FIN | ACK, self.nxt, self.rcv_nxt);
        self.nxt += 1;
    }

    pub fn abort(&mut self, step: &mut Step<'_>) {
        if !matches!(self.state, State::SynSent | State::Closing | State::LastAck | State::TimeWait) {
            step.send(RST, self.nxt, 0);
        }
        self.end(Event::Abort, Ending::Early, step);
    }

    pub fn time_out(&mut self, step: &mut Step<'_>) {
        self.end(Event::TimedOut, Ending::Early, step);
    }

    pub fn expire(&mut self, step: &mut Step<'_>) {
        self.end(Event::TimeWaitOver, Ending::Early, step);
    }

    /// The oldest number that is not acknowledged once more; nothing outstanding: a keep-alive.
    pub fn resend(&self, step: &mut Step<'_>) {
        let fin_only = self.fin_sent() && self.una + 1 == self.nxt;
        match self.state {
            State::SynSent => step.send(SYN, self.iss(), 0),
            State::SynReceived => step.send(SYN | ACK, self.iss(), self.rcv_nxt),
            _ if self.una == self.nxt => step.send(ACK, self.nxt, self.rcv_nxt),
            _ => step.send(if fin_only { FIN } else { TEXT } | ACK, self.una, self.rcv_nxt),
        }
    }

    /// What RFC 9293 §3.3.2 calls what happened so far.
    pub fn meant(&self) -> State {
        if self.nxt == 0 {
            // Nothing but OPEN happened, or not even that.
            return if self.state == State::Listen { State::Listen } else { State::Closed };
        }
        if self.una == self.iss() {
            return if self.rcv_nxt == 0 { State::SynSent } else { State::SynReceived };
        }
        match (self.fin_sent(), self.fin_came(), self.fin_acked()) {
            (false, false, _) => State::Established,
            (false, true, _) => State::CloseWait,
            (true, false, false) => State::FinWait1,
            (true, false, true) => State::FinWait2,
            (true, true, false) if self.closed_second => State::LastAck,
            (true, true, false) => State::Closing,
            (true, true, true) => State::TimeWait,
        }
    }
}
