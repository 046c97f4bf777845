//! Starting connections: when one's turn has come, from where, and what holds it back.

use super::app::{Due, LoadApp};
use super::latency::Span;
use super::pace::{Next, Pace};
use super::slots::Slot;
use super::step::{Step, StepOrder};
use crate::stack::{ConnId, Connect, ConnectError, Cx};
use crate::time::{Duration, Instant};

/// How long a worker waits before it asks for a port again, or for a place in the table that nobody has left.
const RETRY: Duration = Duration::from_millis(10);
/// In the next turn.
const NEXT_TURN: Duration = Duration::from_nanos(1);
/// Connections opened at one time, so that what came in is not kept waiting.
const OPENED_AT_ONCE: u32 = 256;
/// Addresses that are asked for a port at one time.
const SOURCES_AT_ONCE: usize = 512;
/// A start is late after this.
const LATE: Duration = Duration::from_millis(1);

impl LoadApp {
    /// Starts connections that the schedule wants now; those beyond a number in the next turn.
    pub(super) fn fill(&mut self, cx: &mut Cx<'_>) {
        self.fill_at_once(cx, OPENED_AT_ONCE);
    }

    /// Starts all whose time has come, as far as there is room: there is no next turn for them.
    pub(super) fn fill_at_last(&mut self, cx: &mut Cx<'_>) {
        // A closed loop owes nobody anything.
        self.fill_at_once(cx, if self.pace.is_open() { u32::MAX } else { OPENED_AT_ONCE });
    }

    fn fill_at_once(&mut self, cx: &mut Cx<'_>, mut left: u32) {
        while self.may_start() {
            let intended = match self.pace.next(cx.now()) {
                Next::Now(intended) => intended,
                Next::At(at) => {
                    self.wake_at(cx, at);
                    break;
                }
                Next::Never => break,
            };
            if !self.slots.has_room() {
                self.wait_for_room(cx.now());
                break;
            }
            if left == 0 {
                self.wake_at(cx, cx.now() + NEXT_TURN);
                break;
            }
            left -= 1;
            match self.connect(cx) {
                Ok(conn) => self.opened(cx, conn, intended),
                Err(ConnectError::PortsExhausted) => return self.wait_for_port(cx),
                Err(ConnectError::TableFull) => {
                    self.wait_for_table(cx);
                    break;
                }
                Err(ConnectError::Draining) => return self.finish(cx),
                Err(error) => {
                    self.results.stopped_by = Some(format!("connecting to {}: {error}", self.plan.target));
                    return self.finish(cx);
                }
            }
        }
        self.stop_when_over(cx);
    }

    /// Connects from the next of our addresses that has a port left.
    pub(super) fn connect(&mut self, cx: &mut Cx<'_>) -> Result<ConnId, ConnectError> {
        let remote = self.plan.target;
        if self.sources.in_use() > 0 {
            cx.expect_opens(remote, self.sources.round());
        }
        for tried in 1..=SOURCES_AT_ONCE {
            let Some(source) = self.sources.next() else { return cx.connect(Connect::to(remote)) };
            match cx.connect(Connect { remote, local: Some((source, 0).into()) }) {
                Err(ConnectError::PortsExhausted) if tried < self.sources.in_use() || self.sources.widen() => {}
                outcome => return outcome,
            }
        }
        // The others have their turn after a while.
        Err(ConnectError::PortsExhausted)
    }

    pub(super) fn may_start(&self) -> bool {
        let alone = !self.plan.hold_first.is_zero();
        let may = self.under_way || !alone || self.slots.in_use() == 0;
        may && !self.finishing && !self.started_all() && self.waiting_for_port.is_none()
    }

    pub(super) fn started_all(&self) -> bool {
        self.plan.until.connections.is_some_and(|n| self.results.counts.opened >= n)
    }

    pub(super) fn opened(&mut self, cx: &mut Cx<'_>, conn: ConnId, intended: Instant) {
        let now = cx.now();
        self.end_table_wait(now);
        self.pace.started();
        self.results.counts.opened += 1;
        self.results.latencies.record(Span::Start, now.since(intended));
        self.results.waits.late += u64::from(now.since(intended) > LATE);
        let step = self.step.as_mut().map_or(0, |step| {
            step.started(now.since(intended));
            step.order.number
        });
        let slot = Slot::new(conn, intended, now, self.plan.life.exchanges, step);
        if let Some(index) = self.slots.take(slot, now + self.plan.life.patience_for_the_handshake()) {
            cx.set_token(conn, index);
        }
    }

    /// Has an arrival's timer go off then, unless one does before.
    pub(super) fn wake_at(&mut self, cx: &mut Cx<'_>, at: Instant) {
        if self.arrival_at.is_none_or(|set| at < set) {
            self.arrival_at = Some(at);
            self.set_timer(cx, at.since(cx.now()), Due::Arrival);
        }
    }

    /// As many as allowed are under way. In a closed loop that is as it should be.
    pub(super) fn wait_for_room(&mut self, now: Instant) {
        if self.pace.is_open() && self.waiting_for_room.is_none() {
            self.results.waits.room += 1;
            self.waiting_for_room = Some(now);
            if let Some(step) = &mut self.step {
                step.room_ran_out();
            }
        }
    }

    pub(super) fn end_room_wait(&mut self, now: Instant) {
        self.results.waits.room_time += waited(&mut self.waiting_for_room, now);
    }

    /// The stack's table is full. Who was told to be over in this turn leaves it at the turn's end, with the last segment;
    /// else this is a wait, and ends as soon as another one is over.
    fn wait_for_table(&mut self, cx: &mut Cx<'_>) {
        if self.last_over == Some(cx.now()) {
            return self.wake_at(cx, cx.now() + NEXT_TURN);
        }
        if self.waiting_for_table.is_none() {
            self.results.waits.table += 1;
            self.waiting_for_table = Some(cx.now());
            if let Some(step) = &mut self.step {
                step.table_was_full();
            }
        }
        // Its last segment may keep one there for a while.
        self.wake_at(cx, cx.now() + RETRY);
    }

    pub(super) fn end_table_wait(&mut self, now: Instant) {
        self.results.waits.table_time += waited(&mut self.waiting_for_table, now);
    }

    /// A connection that cannot be started now is no failure: it is started later, and the wait is counted.
    pub(super) fn wait_for_port(&mut self, cx: &mut Cx<'_>) {
        self.results.waits.ports += 1;
        self.waiting_for_port = Some(cx.now());
        if let Some(step) = &mut self.step {
            step.ports_ran_out();
        }
        self.set_timer(cx, RETRY, Due::PortRetry);
    }

    pub(super) fn end_port_wait(&mut self, now: Instant) {
        self.results.waits.port_time += waited(&mut self.waiting_for_port, now);
    }

    // --- steps of a search ---

    pub(super) fn begin_step(&mut self, cx: &mut Cx<'_>, order: StepOrder) {
        self.pace = Pace::step(&self.plan.schedule, &order, cx.now());
        let length = order.length;
        self.step = Some(Step::new(order));
        self.arrival_at = None;
        self.set_timer(cx, length, Due::StepIsOver);
        self.fill(cx);
    }

    pub(super) fn settle_step(&mut self, cx: &mut Cx<'_>) {
        // The last arrivals' timer may be due in this very turn.
        self.fill_at_last(cx);
        let owed = self.pace.owed(cx.now());
        self.pace = Pace::Idle;
        self.end_room_wait(cx.now());
        self.end_table_wait(cx.now());
        let Some(step) = &mut self.step else { return };
        step.settle(owed);
        let patience = step.order.settle;
        self.set_timer(cx, patience, Due::StepIsSettled);
        self.end_step_if_settled(false);
    }

    pub(super) fn end_step_if_settled(&mut self, patience_is_over: bool) {
        if self.step.as_ref().is_some_and(|step| step.is_settled() || patience_is_over)
            && let Some(step) = self.step.take()
        {
            step.tell();
        }
    }
}

/// How long a wait took that is over, if there was one.
fn waited(since: &mut Option<Instant>, now: Instant) -> Duration {
    since.take().map_or(Duration::ZERO, |since| now.since(since))
}
