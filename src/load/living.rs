//! A life, from ESTABLISHED to the close: ask, hear, hold, part.

use super::answer::{Come, Reading};
use super::app::LoadApp;
use super::latency::{Span, nanos};
use super::life::{Answer, CloseWith, Closer};
use super::results::Ended;
use super::slots::{Phase, Slot};
use crate::ledger::Ending;
use crate::stack::{ConnId, Cx};
use crate::tcp::State;
use crate::time::Instant;

/// Why an answer is bad that is longer than was asked for.
const TOO_LONG: &str = "more octets than were asked for";
/// Why an answer is bad that comes when nobody is left to read it: mostly after our FIN.
const UNREAD: &str = "octets that nobody was left to read";
/// Why a connection counts as one with a bad answer whose end the stack would not wait for.
const ORPHANS: &str = "reset by us before the peer had closed, for want of `--max-orphans`";

impl LoadApp {
    /// Its handshake is over.
    pub(super) fn stands(&mut self, cx: &Cx<'_>, conn: ConnId, index: u32) {
        let now = cx.now();
        let Some(slot) = self.slots.get_mut(index, conn) else { return };
        self.results.counts.established += 1;
        self.results.latencies.record(Span::Handshake, now.since(slot.intended));
        self.results.latencies.record(Span::HandshakeFromSyn, now.since(slot.opened));
        let slot = *slot;
        self.slots.give_until(index, slot.opened + self.plan.life.timeout);
        if self.plan.life.answer == Answer::Nothing {
            self.took(&slot, now);
        }
    }

    /// What the percentile on the line and the goal of a search are of.
    fn took(&mut self, slot: &Slot, now: Instant) {
        self.recent.saturating_record(nanos(now.since(slot.intended)));
        if let Some(step) = self.step.as_mut().filter(|step| step.order.number == slot.step) {
            step.took(slot.intended, now);
        }
    }

    /// What a connection does once it stands.
    pub(super) fn live(&mut self, cx: &mut Cx<'_>, conn: ConnId, index: u32) {
        if self.plan.life.talks() {
            self.ask(cx, conn, index);
        } else {
            self.rest(cx, conn, index);
        }
    }

    fn ask(&mut self, cx: &mut Cx<'_>, conn: ConnId, index: u32) {
        let Some(slot) = self.slots.get_mut(index, conn) else { return };
        slot.phase = Phase::Asking;
        slot.asked = cx.now();
        slot.sent = 0;
        slot.reading = Reading::new(self.plan.life.answer);
        self.say(cx, conn, index);
    }

    /// Sends what is left of the request, as far as there is room.
    pub(super) fn say(&mut self, cx: &mut Cx<'_>, conn: ConnId, index: u32) {
        let life = &self.plan.life;
        let Some(slot) = self.slots.get_mut(index, conn).filter(|slot| slot.phase == Phase::Asking) else { return };
        let left = &life.request[slot.sent.min(life.request.len())..];
        // When nothing can be sent any more, `on_closed` tells.
        let taken = if left.is_empty() { 0 } else { cx.write(conn, left).unwrap_or(0) };
        let all = taken == left.len();
        slot.sent += taken;
        self.results.talk.octets_sent += taken as u64;
        if !all {
            return;
        }
        if life.says_goodbye_before_the_answer() {
            if life.hold.is_zero() || self.finishing {
                self.say_goodbye(cx, conn, index);
            } else {
                self.hold(cx, conn, index);
            }
        } else if life.answer == Answer::Nothing {
            self.answered(cx, conn, index);
        }
    }

    /// Our FIN, so that the answer has an end.
    fn say_goodbye(&mut self, cx: &mut Cx<'_>, conn: ConnId, index: u32) {
        let Some(slot) = self.slots.get_mut(index, conn).filter(|slot| !slot.said_goodbye) else { return };
        (slot.said_goodbye, slot.closing) = (true, cx.now());
        cx.shutdown(conn);
    }

    /// Takes what has come.
    pub(super) fn hear(&mut self, cx: &mut Cx<'_>, conn: ConnId, index: u32) {
        let now = cx.now();
        let Some(slot) = self.slots.get_mut(index, conn) else { return };
        if !slot.heard {
            slot.heard = true;
            self.results.latencies.record(Span::FirstByte, now.since(slot.intended));
            let slot = *slot;
            if self.plan.life.answer != Answer::Nothing {
                self.took(&slot, now);
            }
        }
        loop {
            let Some(slot) = self.slots.get_mut(index, conn) else { return };
            let come = cx.peek(conn);
            if come.is_empty() {
                return;
            }
            if slot.phase != Phase::Asking {
                // Nothing was asked: a banner is read and forgotten.
                let octets = cx.readable(conn);
                self.results.talk.octets_received += octets as u64;
                return cx.consume(conn, octets);
            }
            let (taken, progress) =
                slot.reading.take(come, index, &mut self.pieces, |status| self.results.statuses.enter(status, now));
            cx.consume(conn, taken);
            self.results.talk.octets_received += taken as u64;
            match progress {
                Come::More => {}
                Come::Whole if cx.readable(conn) > 0 => return self.bad_answer(cx, conn, index, TOO_LONG),
                Come::Whole => return self.answered(cx, conn, index),
                Come::Wrong(why) => return self.bad_answer(cx, conn, index, why),
            }
        }
    }

    fn bad_answer(&mut self, cx: &mut Cx<'_>, conn: ConnId, index: u32, why: &'static str) {
        self.results.bad_answer.note(cx.now(), why);
        self.fail(cx, conn, index, Ended::BadAnswer);
    }

    /// One exchange is over.
    fn answered(&mut self, cx: &mut Cx<'_>, conn: ConnId, index: u32) {
        let Some(slot) = self.slots.get_mut(index, conn) else { return };
        if self.plan.life.answer != Answer::Nothing {
            self.results.latencies.record(Span::Answer, cx.now().since(slot.asked));
            self.results.talk.answers += 1;
        }
        slot.exchanges = slot.exchanges.saturating_sub(1);
        if slot.exchanges > 0 {
            self.ask(cx, conn, index);
        } else {
            self.rest(cx, conn, index);
        }
    }

    /// All is said; it may be held open for a while.
    fn rest(&mut self, cx: &mut Cx<'_>, conn: ConnId, index: u32) {
        let hold = self.plan.life.hold;
        let Some(slot) = self.slots.get_mut(index, conn) else { return };
        if hold.is_zero() || self.finishing || cx.at_end(conn) {
            return self.part(cx, conn, index);
        }
        slot.phase = Phase::Holding;
        self.hold(cx, conn, index);
    }

    fn hold(&mut self, cx: &mut Cx<'_>, conn: ConnId, index: u32) {
        self.forget_those_no_longer_held();
        self.holding.push_back((cx.now() + self.plan.life.hold, index, conn));
        if self.holding.len() == 1 {
            self.wake_for_held(cx);
        }
    }

    /// Connections that ended while they were held leave their places when these outnumber the slots.
    fn forget_those_no_longer_held(&mut self) {
        if self.holding.len() >= 2 * self.plan.schedule.room() as usize {
            let slots = &mut self.slots;
            self.holding.retain(|(_, index, conn)| slots.get_mut(*index, *conn).is_some());
        }
    }

    /// Those that were held long enough part.
    pub(super) fn let_go(&mut self, cx: &mut Cx<'_>) {
        while let Some(&(until, index, conn)) = self.holding.front() {
            if until > cx.now() {
                break;
            }
            self.holding.pop_front();
            self.let_one_go(cx, conn, index);
        }
        self.wake_for_held(cx);
    }

    /// The run is over, and so is the holding.
    pub(super) fn let_all_go(&mut self, cx: &mut Cx<'_>) {
        while let Some((_, index, conn)) = self.holding.pop_front() {
            self.let_one_go(cx, conn, index);
        }
    }

    fn let_one_go(&mut self, cx: &mut Cx<'_>, conn: ConnId, index: u32) {
        match self.slots.get_mut(index, conn).map(|slot| slot.phase) {
            Some(Phase::Holding) => self.part(cx, conn, index),
            // Held before the end of its answer.
            Some(Phase::Asking) => self.say_goodbye(cx, conn, index),
            _ => {}
        }
    }

    /// Closes, or waits for the peer to.
    fn part(&mut self, cx: &mut Cx<'_>, conn: ConnId, index: u32) {
        let life = &self.plan.life;
        let (closer, with) = (life.closer, life.close_with);
        let Some(slot) = self.slots.get_mut(index, conn) else { return };
        if closer == Closer::Server && !cx.at_end(conn) {
            slot.phase = Phase::Following;
            return;
        }
        if !slot.said_goodbye && closer == Closer::Client {
            slot.closing = cx.now();
        }
        match with {
            CloseWith::Fin => {
                slot.phase = Phase::Closing;
                self.close(cx, conn, index);
            }
            CloseWith::Rst => {
                slot.phase = Phase::Resetting;
                cx.abort(conn);
            }
        }
    }

    /// Closes, and sees whether that ended it at once: but for text that was not read, only the limit of orphans does.
    fn close(&mut self, cx: &mut Cx<'_>, conn: ConnId, index: u32) {
        let was_whole = cx.state(conn) != State::Closed && cx.readable(conn) == 0;
        cx.close(conn);
        if was_whole
            && cx.state(conn) == State::Closed
            && let Some(slot) = self.slots.get_mut(index, conn)
        {
            slot.phase = Phase::OneOrphanTooMany;
        }
    }

    /// The peer's FIN has come, and all before it was read.
    pub(super) fn peer_is_done(&mut self, cx: &mut Cx<'_>, conn: ConnId, index: u32) {
        let by_server = self.plan.life.closer == Closer::Server;
        let Some(slot) = self.slots.get_mut(index, conn) else { return };
        if !slot.said_goodbye {
            slot.closing = cx.now();
        }
        match slot.phase {
            Phase::Asking if slot.reading.ends_with_the_peer() => self.answered(cx, conn, index),
            Phase::Following => self.part(cx, conn, index),
            Phase::Holding if by_server => self.part(cx, conn, index),
            Phase::Opening | Phase::Asking | Phase::Holding => self.fail(cx, conn, index, Ended::CutShort),
            // We closed first; the stack answers the peer's FIN by itself.
            Phase::Closing | Phase::OneOrphanTooMany | Phase::Resetting | Phase::Failed(_) => {}
        }
    }

    /// Gives a connection up that has failed.
    pub(super) fn fail(&mut self, cx: &mut Cx<'_>, conn: ConnId, index: u32, ended: Ended) {
        if let Some(slot) = self.slots.get_mut(index, conn)
            && !matches!(slot.phase, Phase::Failed(_))
        {
            slot.phase = Phase::Failed(ended);
            cx.abort(conn);
        }
    }

    /// A connection is over.
    pub(super) fn over(&mut self, now: Instant, index: u32, slot: &Slot, ending: Ending) {
        self.pieces.remove(&index);
        let ended = slot.ended(ending, self.finishing);
        self.results.counts.end(ended);
        if ended == Ended::BadAnswer {
            // Those that were read have said why.
            let why = if slot.phase == Phase::OneOrphanTooMany { ORPHANS } else { UNREAD };
            self.results.bad_answer.note(now, why);
        }
        if ended == Ended::Closed {
            self.results.latencies.record(Span::Close, now.since(slot.closing));
            self.results.latencies.record(Span::Life, now.since(slot.intended));
        }
        if let Some(step) = self.step.as_mut().filter(|step| step.order.number == slot.step) {
            step.ended(ended);
        }
    }
}
