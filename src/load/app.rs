//! One worker's share of a run, from its start to its end. How connections are started is in `starting.rs`, what each of
//! them does in `living.rs`.

use super::answer::Pieces;
use super::gauge::Gauge;
use super::latency;
use super::pace::Pace;
use super::plan::Plan;
use super::results::{Ended, Results};
use super::slots::{Phase, Slot, Slots};
use super::sources::Sources;
use super::step::{Step, StepOrder};
use crate::ledger::Ending;
use crate::stack::{App, ConnId, Cx};
use crate::time::{Duration, Instant};
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::sync::Arc;

/// How often a worker publishes its sums, and looks for lives that take too long.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// Over how many of those the published percentile is taken: one second.
const RECENT: u32 = 10;

/// What a timer is for; its token is the variant, with the number of the step above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::FromRepr)]
#[repr(u8)]
pub(super) enum Due {
    Publish,
    TimeIsUp,
    GraceIsOver,
    PortRetry,
    FirstHeldLongEnough,
    Arrival,
    HeldLongEnough,
    StepIsOver,
    StepIsSettled,
}

/// What other threads may ask of a worker.
#[derive(Clone, Debug)]
pub enum Order {
    /// Start those whose time has come and then no more, and end when what is under way is over, or its grace is. Gentler than
    /// draining, which gives up handshakes.
    Finish,
    /// Follow this rate for a while.
    Step(StepOrder),
}

/// Opens connections by its plan, lives a life on each, and measures.
#[derive(Debug)]
pub struct LoadApp {
    pub(super) plan: Plan,
    pub(super) slots: Slots,
    pub(super) results: Results,
    pub(super) pieces: Pieces,
    /// Connections that are held open, and until when.
    pub(super) holding: VecDeque<(Instant, u32, ConnId)>,
    /// The step of a search that is under way.
    pub(super) step: Option<Step>,
    /// Latencies of the last second, for the line on the terminal.
    pub(super) recent: Histogram<u64>,
    published: u32,
    gauge: Arc<Gauge>,
    pub(super) pace: Pace,
    pub(super) sources: Sources,
    /// When the next arrival's timer is set for.
    pub(super) arrival_at: Option<Instant>,
    /// The first connection stands, or is over. One that is to be held open is alone until then, so that a drawing of it
    /// shows nothing but its own pace.
    pub(super) under_way: bool,
    /// The first connection, held open for a while.
    first_held: Option<ConnId>,
    /// No more connections are started.
    pub(super) finishing: bool,
    /// All are over.
    done: bool,
    /// Since when a local port is waited for.
    pub(super) waiting_for_port: Option<Instant>,
    /// Since when an arrival waits because as many as allowed are under way.
    pub(super) waiting_for_room: Option<Instant>,
    /// Since when one waits because the stack's table is full.
    pub(super) waiting_for_table: Option<Instant>,
    /// When a connection was last told to be over: its place in the table is free after that turn.
    pub(super) last_over: Option<Instant>,
}

impl LoadApp {
    /// A worker's share of a run, which publishes to `gauge`.
    pub fn new(plan: Plan, gauge: Arc<Gauge>) -> Self {
        let slots = Slots::new(plan.schedule.room());
        let sources = Sources::new(plan.sources.clone());
        LoadApp {
            plan,
            slots,
            results: Results::default(),
            pieces: Pieces::new(),
            holding: VecDeque::new(),
            step: None,
            recent: latency::histogram(),
            published: 0,
            gauge,
            pace: Pace::Idle,
            sources,
            arrival_at: None,
            under_way: false,
            first_held: None,
            finishing: false,
            done: false,
            waiting_for_port: None,
            waiting_for_room: None,
            waiting_for_table: None,
            last_over: None,
        }
    }

    /// What was gathered; complete once the worker has ended.
    pub fn results(&self) -> Results {
        let mut results = self.results.clone();
        // Only a worker that was cut off before its grace was over has any left.
        results.counts.unfinished += self.slots.in_use();
        results
    }

    /// Starts nothing more; what is under way may end within the plan's grace.
    pub(super) fn finish(&mut self, cx: &mut Cx<'_>) {
        if !self.finishing {
            self.finishing = true;
            self.set_timer(cx, self.plan.grace, Due::GraceIsOver);
        }
        self.end_measurement(cx);
        self.let_all_go(cx);
        self.stop_when_over(cx);
    }

    /// The run's time is over: whose turn had come before may still start, as their timer may be due in this very turn.
    fn start_the_last(&mut self, cx: &mut Cx<'_>) {
        self.fill_at_last(cx);
        self.finish(cx);
    }

    fn end_measurement(&mut self, cx: &mut Cx<'_>) {
        if !self.results.end_measurement(cx.now()) {
            return;
        }
        self.end_port_wait(cx.now());
        self.end_room_wait(cx.now());
        self.end_table_wait(cx.now());
        if !self.started_all() {
            self.results.waits.not_started += self.pace.owed(cx.now());
        }
        self.results.tuples = cx.tuples(self.plan.target.ip());
        self.gauge.measured();
    }

    pub(super) fn stop_when_over(&mut self, cx: &mut Cx<'_>) {
        if self.slots.in_use() == 0 && !self.done && (self.finishing || self.started_all()) {
            self.finishing = true;
            self.end_measurement(cx);
            self.publish();
            self.done = true;
            // Whoever waits for what came of it learns so that nothing will.
            self.step = None;
            cx.stop();
        }
    }

    fn abort_the_rest(&mut self, cx: &mut Cx<'_>) {
        self.give_up_slow_lives(cx);
        let conns: Vec<ConnId> = self.slots.iter().map(|(_, slot)| slot.conn).collect();
        for conn in conns {
            cx.abort(conn);
        }
    }

    /// Gives up lives that take too long.
    fn give_up_slow_lives(&mut self, cx: &mut Cx<'_>) {
        let slow: Vec<(u32, ConnId)> = self.slots.overdue(cx.now()).collect();
        for (index, conn) in slow {
            self.fail(cx, conn, index, Ended::Timeout);
        }
    }

    fn publish(&mut self) {
        let p99_ns = if self.recent.is_empty() { 0 } else { self.recent.value_at_quantile(0.99) };
        self.gauge.publish(&self.results.counts, &self.results.waits, p99_ns, self.waiting_for_port.is_some());
        self.published += 1;
        if self.published.is_multiple_of(RECENT) {
            self.recent.reset();
        }
    }

    pub(super) fn set_timer(&self, cx: &mut Cx<'_>, after: Duration, due: Due) -> bool {
        let step = self.step.as_ref().map_or(0, |step| step.order.number);
        cx.set_timer(after, u64::from(step) << 8 | u64::from(due as u8))
    }

    fn on_due(&mut self, cx: &mut Cx<'_>, due: Due) {
        match due {
            Due::Publish => {
                self.publish();
                self.give_up_slow_lives(cx);
                self.set_timer(cx, PUBLISH_EVERY, Due::Publish);
            }
            Due::TimeIsUp => self.start_the_last(cx),
            Due::GraceIsOver => self.abort_the_rest(cx),
            Due::PortRetry => {
                self.end_port_wait(cx.now());
                self.fill(cx);
            }
            Due::FirstHeldLongEnough => {
                if let Some(conn) = self.first_held.take() {
                    let index = cx.token(conn);
                    self.live(cx, conn, index);
                }
            }
            Due::Arrival => {
                self.arrival_at = None;
                self.fill(cx);
            }
            Due::HeldLongEnough => self.let_go(cx),
            Due::StepIsOver => self.settle_step(cx),
            Due::StepIsSettled => self.end_step_if_settled(true),
        }
    }

    /// Has [`LoadApp::let_go`] called when the first of the held connections is due.
    pub(super) fn wake_for_held(&self, cx: &mut Cx<'_>) {
        if let Some((until, ..)) = self.holding.front() {
            self.set_timer(cx, until.since(cx.now()), Due::HeldLongEnough);
        }
    }
}

impl App for LoadApp {
    type Message = Order;

    fn on_start(&mut self, cx: &mut Cx<'_>) {
        self.results.started = Some(cx.now());
        self.pace = Pace::new(&self.plan.schedule, cx.now(), self.plan.until.duration);
        self.set_timer(cx, PUBLISH_EVERY, Due::Publish);
        if let Some(duration) = self.plan.until.duration {
            self.set_timer(cx, duration, Due::TimeIsUp);
        }
        self.fill(cx);
    }

    fn on_connect(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        let index = cx.token(conn);
        self.stands(cx, conn, index);
        if self.under_way {
            return self.live(cx, conn, index);
        }
        self.under_way = true;
        let first = self.plan.hold_first;
        if first.is_zero() || !self.set_timer(cx, first, Due::FirstHeldLongEnough) {
            self.live(cx, conn, index);
        } else {
            self.first_held = Some(conn);
        }
        self.fill(cx);
    }

    fn on_readable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        let index = cx.token(conn);
        self.hear(cx, conn, index);
    }

    fn on_writable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        let index = cx.token(conn);
        self.say(cx, conn, index);
    }

    fn on_half_close(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        let index = cx.token(conn);
        self.peer_is_done(cx, conn, index);
    }

    fn on_closed(&mut self, cx: &mut Cx<'_>, conn: ConnId, ending: Ending) {
        let index = cx.token(conn);
        debug_assert!(self.slots.get_mut(index, conn).is_some(), "a connection that we did not open: {conn:?}");
        if let Some(slot) = self.slots.release(index, conn) {
            self.over(cx.now(), index, &slot, ending);
            self.end_room_wait(cx.now());
        }
        self.under_way = true;
        self.last_over = Some(cx.now());
        self.end_step_if_settled(false);
        self.fill(cx);
    }

    fn on_timer(&mut self, cx: &mut Cx<'_>, token: u64) {
        let Some(due) = Due::from_repr(token as u8) else { return };
        // A step that was settled early leaves its timer behind.
        let of_another_step = self.step.as_ref().is_none_or(|step| u64::from(step.order.number) != token >> 8);
        if matches!(due, Due::StepIsOver | Due::StepIsSettled) && of_another_step {
            return;
        }
        self.on_due(cx, due);
    }

    fn on_message(&mut self, cx: &mut Cx<'_>, order: Order) {
        match order {
            Order::Finish => self.start_the_last(cx),
            Order::Step(step) => self.begin_step(cx, step),
        }
    }

    fn on_drain(&mut self, cx: &mut Cx<'_>) {
        self.finish(cx);
    }
}

impl Slot {
    /// How a connection that was here ended for whoever loads.
    pub(super) fn ended(&self, ending: Ending, finishing: bool) -> Ended {
        match (self.phase, ending) {
            (Phase::Failed(ended), _) => ended,
            (Phase::Resetting, _) | (Phase::Closing | Phase::OneOrphanTooMany, Ending::Closed) => Ended::Closed,
            (_, Ending::Refused) => Ended::Refused,
            (_, Ending::Reset) => Ended::Reset,
            (_, Ending::TimedOut) => Ended::Timeout,
            (_, Ending::Aborted | Ending::Closed) if finishing => Ended::Unfinished,
            (_, Ending::Closed) => Ended::CutShort,
            // What nobody was left to read was answered by a RST (RFC 9293 §3.6.1, SHLD-3), or the limit of orphans was met.
            (_, Ending::Aborted) => Ended::BadAnswer,
        }
    }
}
