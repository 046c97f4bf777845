//! One worker's share of a run.

use super::plan::{Life, Plan, Schedule};
use super::progress::Gauge;
use super::results::Results;
use super::slots::{Slot, Slots};
use crate::ledger::Ending;
use crate::stack::{App, ConnId, Connect, ConnectError, Cx};
use crate::time::{Duration, Instant};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How often a worker publishes its sums.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// How often a worker whose share is over looks whether the others are done as well.
const CREW_RETRY: Duration = Duration::from_millis(5);
/// How long it waits before it asks for a port again.
const PORT_RETRY: Duration = Duration::from_millis(10);

/// What a timer is for; its token is the variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::FromRepr)]
#[repr(u64)]
enum Due {
    Publish,
    TimeIsUp,
    GraceIsOver,
    PortRetry,
    CrewRetry,
    HeldLongEnough,
}

/// The workers of one run. All stop together: a queue that nobody serves any more would swallow frames of the others,
/// ARP replies among them.
#[derive(Clone, Debug)]
pub struct Crew(Arc<AtomicU32>);

impl Crew {
    /// Of this many workers.
    pub fn new(workers: u32) -> Self {
        Crew(Arc::new(AtomicU32::new(workers)))
    }

    fn one_is_done(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    fn all_are_done(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

/// Asks a worker to start nothing more and to end when what is under way is over, or its grace is. Gentler than draining,
/// which gives up handshakes.
#[derive(Clone, Copy, Debug)]
pub struct Finish;

/// Opens connections by its plan, lives a life on each, and measures.
#[derive(Debug)]
pub struct LoadApp {
    plan: Plan,
    slots: Slots,
    results: Results,
    gauge: Arc<Gauge>,
    crew: Crew,
    /// The first connection stands, or is over. One that is to be held open is alone until then, so that a drawing of it
    /// shows nothing but its own pace.
    under_way: bool,
    /// The first connection, held open for a while.
    held: Option<ConnId>,
    /// No more connections are started.
    finishing: bool,
    /// All are over.
    done: bool,
    /// Since when a local port is waited for.
    waiting_for_port: Option<Instant>,
}

impl LoadApp {
    /// A worker's share of a run, which publishes to `gauge` and ends with its crew.
    pub fn new(plan: Plan, gauge: Arc<Gauge>, crew: Crew) -> Self {
        let Schedule::Closed { concurrency } = plan.schedule;
        LoadApp {
            plan,
            slots: Slots::new(concurrency),
            results: Results::default(),
            gauge,
            crew,
            under_way: false,
            held: None,
            finishing: false,
            done: false,
            waiting_for_port: None,
        }
    }

    /// What was gathered; complete once the worker has ended.
    pub fn results(&self) -> Results {
        let mut results = self.results.clone();
        // Only a worker that was cut off before its grace was over has any left.
        results.counts.unfinished += self.slots.in_use();
        results
    }

    /// Starts as many connections as the schedule wants now.
    fn fill(&mut self, cx: &mut Cx<'_>) {
        while self.wants_another() {
            match cx.connect(Connect::to(self.plan.target)) {
                Ok(conn) => self.opened(cx, conn),
                Err(ConnectError::PortsExhausted | ConnectError::TableFull) => return self.wait_for_port(cx),
                Err(ConnectError::Draining) => return self.finish(cx),
                Err(error) => {
                    self.results.stopped_by = Some(format!("connecting to {}: {error}", self.plan.target));
                    return self.finish(cx);
                }
            }
        }
        self.stop_when_over(cx);
    }

    fn wants_another(&self) -> bool {
        let started_all = self.plan.until.connections.is_some_and(|n| self.results.counts.opened >= n);
        let alone = !self.plan.hold_first.is_zero();
        let may_start = self.under_way || !alone || self.slots.in_use() == 0;
        may_start && !self.finishing && !started_all && self.waiting_for_port.is_none() && self.slots.has_room()
    }

    fn opened(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        self.results.counts.opened += 1;
        let slot = Slot { conn, intended: cx.now(), established: false };
        if let Some(index) = self.slots.take(slot) {
            cx.set_token(conn, index);
        }
    }

    /// What a connection does once it stands.
    fn live(&self, cx: &mut Cx<'_>, conn: ConnId) {
        match self.plan.life {
            Life::OpenClose => cx.close(conn),
        }
    }

    /// A connection that cannot be started now is no failure: it is started later, and the wait is counted.
    fn wait_for_port(&mut self, cx: &mut Cx<'_>) {
        self.results.port_waits += 1;
        self.waiting_for_port = Some(cx.now());
        cx.set_timer(PORT_RETRY, Due::PortRetry as u64);
    }

    fn retry_port(&mut self, cx: &mut Cx<'_>) {
        if let Some(since) = self.waiting_for_port.take() {
            self.results.port_wait_time += cx.now().since(since);
        }
        self.fill(cx);
    }

    /// Starts nothing more; what is under way may end within the plan's grace.
    fn finish(&mut self, cx: &mut Cx<'_>) {
        if !self.finishing {
            self.finishing = true;
            self.results.end_measurement(cx.now());
            cx.set_timer(self.plan.grace, Due::GraceIsOver as u64);
        }
        self.stop_when_over(cx);
    }

    fn stop_when_over(&mut self, cx: &mut Cx<'_>) {
        let started_all = self.plan.until.connections.is_some_and(|n| self.results.counts.opened >= n);
        if self.slots.in_use() == 0 && !self.done && (self.finishing || started_all) {
            self.finishing = true;
            self.results.end_measurement(cx.now());
            self.publish();
            self.done = true;
            self.crew.one_is_done();
            self.stop_with_the_crew(cx);
        }
    }

    fn stop_with_the_crew(&mut self, cx: &mut Cx<'_>) {
        if self.crew.all_are_done() {
            cx.stop();
        } else {
            cx.set_timer(CREW_RETRY, Due::CrewRetry as u64);
        }
    }

    fn abort_the_rest(&mut self, cx: &mut Cx<'_>) {
        for conn in self.slots.conns() {
            cx.abort(conn);
        }
    }

    fn publish(&self) {
        let p99_ns =
            if self.results.handshake_ns.is_empty() { 0 } else { self.results.handshake_ns.value_at_quantile(0.99) };
        self.gauge.publish(&self.results.counts, p99_ns, self.waiting_for_port.is_some());
    }
}

impl App for LoadApp {
    type Message = Finish;

    fn on_start(&mut self, cx: &mut Cx<'_>) {
        self.results.started = Some(cx.now());
        cx.set_timer(PUBLISH_EVERY, Due::Publish as u64);
        if let Some(duration) = self.plan.until.duration {
            cx.set_timer(duration, Due::TimeIsUp as u64);
        }
        self.fill(cx);
    }

    fn on_connect(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        let token = cx.token(conn);
        if let Some(slot) = self.slots.get_mut(token, conn) {
            slot.established = true;
            self.results.established(cx.now().since(slot.intended));
        }
        if self.under_way {
            return self.live(cx, conn);
        }
        self.under_way = true;
        if self.plan.hold_first.is_zero() || !cx.set_timer(self.plan.hold_first, Due::HeldLongEnough as u64) {
            self.live(cx, conn);
        } else {
            self.held = Some(conn);
        }
        self.fill(cx);
    }

    fn on_readable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        let octets = cx.readable(conn);
        cx.consume(conn, octets);
    }

    fn on_half_close(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {
        // We closed first; the stack answers the peer's FIN by itself.
    }

    fn on_closed(&mut self, cx: &mut Cx<'_>, conn: ConnId, ending: Ending) {
        let token = cx.token(conn);
        debug_assert!(self.slots.get_mut(token, conn).is_some(), "a connection that we did not open: {conn:?}");
        if self.slots.release(token, conn).is_some() {
            self.results.counts.end(ending);
        }
        self.under_way = true;
        self.fill(cx);
    }

    fn on_timer(&mut self, cx: &mut Cx<'_>, token: u64) {
        match Due::from_repr(token) {
            Some(Due::Publish) => {
                self.publish();
                cx.set_timer(PUBLISH_EVERY, Due::Publish as u64);
            }
            Some(Due::TimeIsUp) => self.finish(cx),
            Some(Due::GraceIsOver) => self.abort_the_rest(cx),
            Some(Due::PortRetry) => self.retry_port(cx),
            Some(Due::CrewRetry) => self.stop_with_the_crew(cx),
            Some(Due::HeldLongEnough) => {
                if let Some(conn) = self.held.take() {
                    self.live(cx, conn);
                }
            }
            None => {}
        }
    }

    fn on_message(&mut self, cx: &mut Cx<'_>, _: Finish) {
        self.finish(cx);
    }

    fn on_drain(&mut self, cx: &mut Cx<'_>) {
        self.finish(cx);
    }
}
