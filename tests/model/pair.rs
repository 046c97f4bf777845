//! Two ends, a channel each way that loses, repeats and reorders, and all that can happen next.

use super::endpoint::{End, Ending, Fault, Segment, Step};
use handfast::tcp::state::{Event, State};

/// Segments on their way in one direction. Any of them may arrive next, any number of times, or be lost; what does not
/// fit is lost. A set: a segment that is there twice is one that arrives twice.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Channel([Segment; Channel::MOST]);

impl Channel {
    pub const MOST: usize = 3;

    fn send(&mut self, segment: Segment, most: usize) {
        if self.0.contains(&segment) {
            return;
        }
        if let Some(place) = self.0[..most].iter_mut().find(|s| s.flags == 0) {
            *place = segment;
            self.sort();
        }
    }

    fn lose(&mut self, place: usize) {
        self.0[place] = Segment::default();
        self.sort();
    }

    fn sort(&mut self) {
        self.0.sort_unstable_by(|a, b| b.cmp(a));
    }

    fn len(&self) -> usize {
        self.0.iter().filter(|s| s.flags != 0).count()
    }
}

/// The state of everything. `channels[i]` leads to `ends[i]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Global {
    pub ends: [End; 2],
    pub channels: [Channel; 2],
    pub fault: Option<Fault>,
}

/// What can happen; the first number says to which end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Open(usize, bool),
    Write(usize),
    Close(usize),
    Abort(usize),
    TimeOut(usize),
    Expire(usize),
    Resend(usize),
    Arrive(usize, usize),
    Lose(usize, usize),
}

/// How far the exploration goes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Openings of each end.
    pub opens: [u8; 2],
    /// The first end only connects and the second only listens; else each may do both.
    pub client_and_server: bool,
    /// Units of text that each end may send in one connection.
    pub text: [u8; 2],
    /// Segments in flight each way.
    pub flight: usize,
    /// The time-out of a handshake counts as a way out. With openings before this one, an old SYN may reach a listener
    /// or cross our own, and RFC 9293 knows no other end for a SYN-RECEIVED that waits for numbers long gone.
    pub handshake_gives_up: bool,
}

/// The model: a transition function, and how far to go.
#[derive(Clone, Copy)]
pub struct Pair<N> {
    pub next: N,
    pub limits: Limits,
}

impl<N: Fn(State, Event) -> Option<State>> Pair<N> {
    pub fn start(&self) -> Global {
        Global { ends: [End::NEW; 2], channels: [Channel::default(); 2], fault: None }
    }

    /// Both ends are CLOSED.
    pub fn is_over(global: &Global) -> bool {
        global.ends.iter().all(|e| e.state == State::Closed)
    }

    /// A way out that is always there: a pair that has no other is stuck.
    pub fn is_escape(&self, global: &Global, action: Action) -> bool {
        match action {
            Action::TimeOut(i) => !(self.limits.handshake_gives_up && global.ends[i].state == State::SynReceived),
            Action::Abort(_) => true,
            _ => false,
        }
    }

    pub fn possible(&self, global: &Global, actions: &mut Vec<Action>) {
        if global.fault.is_some() {
            return;
        }
        for (i, end) in global.ends.iter().enumerate() {
            self.possible_at(i, end, actions);
            // 2 MSL: whatever was in flight is gone.
            if end.state == State::TimeWait && global.channels.iter().all(|c| c.len() == 0) {
                actions.push(Action::Expire(i));
            }
            for place in 0..global.channels[i].len() {
                actions.push(Action::Arrive(i, place));
                actions.push(Action::Lose(i, place));
            }
        }
    }

    fn possible_at(&self, i: usize, end: &End, actions: &mut Vec<Action>) {
        use State::*;
        if end.state == Closed && end.opened < self.limits.opens[i] {
            let ways = [true, false].into_iter().filter(|&active| !self.limits.client_and_server || active == (i == 0));
            actions.extend(ways.map(|active| Action::Open(i, active)));
        }
        if end.may_write(self.limits.text[i]) {
            actions.push(Action::Write(i));
        }
        if end.may_close() {
            actions.push(Action::Close(i));
        }
        if !matches!(end.state, Closed | Listen) {
            actions.push(Action::Abort(i));
            if end.state != TimeWait {
                actions.extend([Action::TimeOut(i), Action::Resend(i)]);
            }
        }
    }

    pub fn after(&self, global: &Global, action: Action) -> Global {
        let mut global = *global;
        let (Action::Open(i, _)
        | Action::Write(i)
        | Action::Close(i)
        | Action::Abort(i)
        | Action::TimeOut(i)
        | Action::Expire(i)
        | Action::Resend(i)
        | Action::Arrive(i, _)
        | Action::Lose(i, _)) = action;
        let mut step = Step { next: &self.next, opens: self.limits.opens[i], fault: None, out: Vec::new() };
        let before = global.ends[i];
        let end = &mut global.ends[i];
        match action {
            Action::Open(_, active) => end.open(active, &mut step),
            Action::Write(_) => end.write(&mut step),
            Action::Close(_) => end.close(&mut step),
            Action::Abort(_) => end.abort(&mut step),
            Action::TimeOut(_) => end.time_out(&mut step),
            Action::Expire(_) => end.expire(&mut step),
            Action::Resend(_) => end.resend(&mut step),
            Action::Arrive(_, place) => end.on_segment(global.channels[i].0[place], &mut step),
            Action::Lose(_, place) => global.channels[i].lose(place),
        }
        self.check(&before, &mut global, i, &mut step);
        for segment in step.out {
            global.channels[1 - i].send(segment, self.limits.flight);
        }
        global.fault = step.fault;
        global
    }

    /// The properties of one state, after a step of end `i`.
    fn check(&self, before: &End, global: &mut Global, i: usize, step: &mut Step<'_>) {
        let peer = global.ends[1 - i];
        let end = &mut global.ends[i];
        // What was acknowledged was delivered.
        if end.una > end.iss() {
            let text = end.last_text().min(end.una - 1);
            step.blame(Fault::AcknowledgedUndelivered, text > end.iss() && peer.text < text);
            step.blame(Fault::AcknowledgedUndelivered, end.fin_sent() && end.una == end.nxt && peer.fin + 1 < end.una);
        }
        let waits = end.state == State::TimeWait && before.state != State::TimeWait;
        if waits || end.ended == Some(Ending::Normal) {
            let all = peer.fin + 1 >= end.nxt && end.fin + 1 == end.rcv_nxt;
            step.blame(Fault::ClosedTooEarly, !all);
        }
        if end.ended.is_some() {
            end.forget();
        }
        step.blame(Fault::Misnamed, end.state != end.meant());
    }
}
