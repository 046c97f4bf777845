//! The search for the highest rate, driven from a thread of its own: a step, its outcome, the next one.

use super::args::SearchPlan;
use super::run::ask_to_finish;
use crate::engine::Handle;
use crate::load::{Order, Search, StepOrder, StepOutcome};
use crate::stats::Snapshot;
use crate::time::Duration;
use crate::worker::Command;
use crossbeam::channel::bounded;
use std::thread::JoinHandle;

/// How long a worker may take to tell what came of a step, beside the step's own time.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Starts to search on these workers; they are asked to finish at its end.
pub fn start(handle: Handle<Order>, plan: SearchPlan) -> std::io::Result<JoinHandle<Search>> {
    std::thread::Builder::new().name("hf-search".into()).spawn(move || {
        let search = drive(&handle, plan);
        // They may have ended already.
        ask_to_finish(handle.mailboxes());
        search
    })
}

fn drive(handle: &Handle<Order>, plan: SearchPlan) -> Search {
    let mut search = Search::new(plan.between.0, plan.between.1, plan.goal);
    let mut number = 0;
    while let Some(rate) = search.next() {
        number += 1;
        let before = handle.snapshot();
        let Some(outcome) = step(handle, plan, rate, number) else { break };
        let busy = match (before, handle.snapshot()) {
            (Ok(before), Ok(after)) => busiest(&before, &after),
            _ => break,
        };
        search.tell(&outcome, plan.step, busy);
    }
    search
}

/// One step of all workers; `None` when one of them has ended.
fn step(handle: &Handle<Order>, plan: SearchPlan, rate: f64, number: u32) -> Option<StepOutcome> {
    let workers = handle.mailboxes();
    let share = rate / workers.len().max(1) as f64;
    let (tell, told) = bounded(workers.len());
    for mailbox in workers {
        let (length, settle, outcome) = (plan.step, plan.settle, tell.clone());
        let order = StepOrder { number, rate: share, length, settle, outcome };
        if !mailbox.ask(Command::App(Order::Step(order))) {
            return None;
        }
    }
    drop(tell);
    let until = std::time::Instant::now() + plan.step + plan.settle + ANSWER_WITHIN;
    let mut sum = StepOutcome::default();
    for _ in workers {
        sum.merge(&told.recv_deadline(until).ok()?);
    }
    Some(sum)
}

/// The busiest worker's part of the time between two snapshots.
fn busiest(before: &Snapshot, after: &Snapshot) -> f64 {
    let shares = before.workers.iter().zip(&after.workers).map(|(before, after)| {
        let alive = after.alive_ns.saturating_sub(before.alive_ns);
        after.busy_ns.saturating_sub(before.busy_ns) as f64 / alive.max(1) as f64
    });
    shares.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::WorkerInfo;

    #[test]
    fn the_busiest_worker_is_that_of_the_step_not_of_the_run() {
        let snapshot = |times: [(u64, u64); 2]| Snapshot {
            workers: times.map(|(busy_ns, alive_ns)| WorkerInfo { busy_ns, alive_ns, ..WorkerInfo::default() }).into(),
            ..Snapshot::default()
        };
        let (before, after) = (snapshot([(90, 100), (0, 100)]), snapshot([(100, 200), (60, 200)]));
        assert_eq!(busiest(&before, &after), 0.6);
    }
}
