//! A run of the load generator: what is common to its workers.

use crate::SetupError;
use crate::cli::interrupt::Interrupts;
use crate::engine::{Ended, Engine};
use crate::load::{Gauge, LoadApp, Order, Plan, Results, Schedule, Setting, Watch, Watched};
use crate::load::{RateAsked, Report};
use crate::time::Duration;
use crate::worker::{Command, Mailbox};
use std::sync::{Arc, Mutex};

/// A run of the load generator.
pub(in crate::cli) struct Run {
    plan: Plan,
    gauges: Vec<Arc<Gauge>>,
    apps: Arc<Mutex<Vec<Option<LoadApp>>>>,
}

/// A run that is over.
pub(in crate::cli) struct Finished {
    /// What the workers left.
    pub ended: Ended<LoadApp>,
    /// Whether a signal ended it.
    pub interrupted: bool,
    /// How it went.
    pub watched: Watched,
}

impl Run {
    /// A run of `plan` on this many workers.
    pub fn new(plan: &Plan, workers: u32) -> Self {
        let gauges: Vec<_> = (0..workers.max(1)).map(|_| Arc::new(Gauge::default())).collect();
        let shares = plan.split(workers).into_iter().zip(&gauges);
        let apps = shares.map(|(share, gauge)| Some(LoadApp::new(share, gauge.clone()))).collect();
        Run { plan: plan.clone(), gauges, apps: Arc::new(Mutex::new(apps)) }
    }

    /// The application of the worker of this index, for [`Engine::over`].
    ///
    /// # Panics
    /// If a worker asks twice, or there are more workers than the run was made for.
    pub fn apps(&self) -> impl Fn(usize) -> LoadApp + Send + Sync + 'static {
        let apps = self.apps.clone();
        move |index| apps.lock().expect("no thread panics holding it")[index].take().expect("one share for each worker")
    }

    /// What the workers publish.
    pub fn gauges(&self) -> &[Arc<Gauge>] {
        &self.gauges
    }

    /// Shows how it goes until every worker has ended; an interrupt asks them to finish. What ran is told also where they
    /// could not go on ([`Ended::failure`]).
    ///
    /// # Errors
    /// As [`Engine::finish`].
    pub fn finish(&self, engine: Engine<LoadApp>, interrupts: &Interrupts) -> Result<Finished, SetupError> {
        let handle = engine.handle();
        let look = move || handle.snapshot().ok();
        let watch = Watch::start(self.gauges.clone(), self.plan.until.connections, self.plan.until.duration, look);
        let mut interrupted = false;
        let mut running = self.gauges.len();
        while running > 0 {
            crossbeam::select! {
                recv(engine.ended()) -> _ => running -= 1,
                recv(interrupts.receiver()) -> _ => {
                    // The second one does not wait.
                    if interrupted || !ask_to_finish(engine.handle().mailboxes()) {
                        engine.drain(Duration::ZERO);
                    }
                    interrupted = true;
                    watch.ending();
                }
            }
        }
        let watched = watch.stop();
        Ok(Finished { ended: engine.finish()?, interrupted, watched })
    }

    /// The report of what the workers gathered.
    ///
    /// # Errors
    /// Not one connection could be asked for.
    pub fn report(&self, finished: &Finished, frame_ceiling: Option<f64>) -> Result<(Report, Results), SetupError> {
        let mut results = Results::default();
        for worker in &finished.ended.workers {
            results.merge(worker.app.results());
        }
        if let (0, Some(reason)) = (results.counts.opened, &results.stopped_by) {
            let cure =
                "see `--address` and `--gateway`: the target must be on-link with an address, or behind a gateway";
            return Err(SetupError::new("opening connections", reason, cure));
        }
        let rate = match self.plan.schedule {
            Schedule::Open { rate, seed, .. } => Some(RateAsked { from: rate.from, to: rate.to, seed }),
            _ => None,
        };
        let measured = finished.watched.measured.as_ref();
        let setting = Setting { rate, frame_ceiling, interrupted: finished.interrupted, measured };
        Ok((Report::new(self.plan.target, &results, &finished.ended.snapshot, setting), results))
    }
}

/// Asks each worker; whether all of them were told.
pub(super) fn ask_to_finish(workers: &[Mailbox<Order>]) -> bool {
    // Each, also behind one that is gone: in a search they wait for nothing else.
    let told = workers.iter().filter(|worker| worker.send(Command::App(Order::Finish)).is_ok()).count();
    told == workers.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::driver::memory;
    use crate::stack::{App, ConnId, CookieKeys, Cx, Secrets, Stack, StackConfig};
    use crate::stats::WorkerInfo;
    use crate::wire::MacAddr;
    use crate::worker::{Idle, Worker};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Counts what it is told.
    struct Told(Arc<AtomicU32>);

    impl App for Told {
        type Message = Order;
        fn on_message(&mut self, _cx: &mut Cx<'_>, _order: Order) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn on_readable(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
        fn on_half_close(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
    }

    #[test]
    fn a_worker_that_is_gone_hides_none_behind_it() {
        let told = Arc::new(AtomicU32::new(0));
        let worker = || {
            let secrets = Secrets { isn: [1; 16], flow_hash: [1; 16], cookie: CookieKeys::alone([1; 16]) };
            let config = StackConfig::new(MacAddr([2; 6]), vec![], secrets);
            let stack = Stack::new(config, Told(told.clone()), clock::now());
            Worker::new(memory::link(64, 16).0, stack, Idle::Spin, WorkerInfo::default(), None)
        };
        let ((first, gone), (mut second, there)) = (worker(), worker());
        assert!(ask_to_finish(std::slice::from_ref(&there)));
        drop(first);
        assert!(!ask_to_finish(&[gone, there]));
        second.turn(clock::now()).expect("memory never fails");
        assert_eq!(told.load(Ordering::Relaxed), 2, "the first was gone before it looked");
    }
}
