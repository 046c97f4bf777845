//! Which core each worker runs on: that of its queue's interrupt, so that a frame is processed where it came in.

use crate::SetupError;
use crate::host::{self, QueueInterrupt};
use core_affinity::CoreId;

/// Where interrupts and workers meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Interrupts {
    /// Workers go to where the interrupts are.
    #[default]
    Follow,
    /// Workers take the cores in turn, those near the NIC first, and each queue's interrupt is moved to its worker's.
    Move,
}

/// The numbers of the cores that we may use.
pub fn usable_cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// The cores for the workers on the first `count` queues of an interface, with the interrupts moved if they are to be.
///
/// # Errors
/// An interrupt is to be moved and cannot.
pub(super) fn on_interface(
    interface: &str,
    count: usize,
    first: usize,
    how: Interrupts,
) -> Result<Vec<Option<CoreId>>, SetupError> {
    let irqs = host::queue_interrupts(interface);
    let ours = core_affinity::get_core_ids().unwrap_or_default();
    if how == Interrupts::Follow {
        if first > 0 && !irqs.is_empty() {
            tracing::warn!("workers run where their queues' interrupts come, not from the first core asked for on");
        }
        return Ok(follow(&ours, first, count, &irqs));
    }
    let cores = in_turn(&nearest_first(ours, host::near_cores(interface)), first, count);
    if irqs.is_empty() {
        return Err(SetupError::new(
            format!("moving the interrupts of {interface}"),
            "no interrupt is known by the name of one of its queues",
            "leave `--irq` away",
        ));
    }
    for irq in &irqs {
        if let Some(core) = cores.get(irq.queue as usize).copied().flatten() {
            host::move_interrupt(irq.irq, core.id).map_err(|e| cannot_move(interface, irq, core, &e))?;
        }
    }
    Ok(cores)
}

/// A line in the log where another program's worker has one of these cores: both are slower than they could be, and nothing
/// else says why.
pub(super) fn tell_shared(interface: &str, cores: &[Option<CoreId>], how: Interrupts) {
    let placed = cores.iter().enumerate().filter_map(|(queue, core)| Some((queue, (*core)?.id)));
    let mut shared = placed.filter_map(|(queue, core)| Some((queue, core, host::worker_pinned_to(core)?)));
    if let Some((queue, core, other)) = shared.next() {
        let cure = cure_of_shared(queue, core, how, &host::queue_interrupts(interface));
        tracing::warn!(core, "a worker of {other} has this core as well; {cure}");
    }
}

/// What gives the worker of this queue another core than this one. `--first-core` does not, where its interrupt decides.
fn cure_of_shared(queue: usize, core: usize, how: Interrupts, irqs: &[QueueInterrupt]) -> String {
    let decides = |irq: &&QueueInterrupt| irq.queue as usize == queue && irq.core == Some(core);
    match (irqs.iter().find(decides), how) {
        (Some(QueueInterrupt { irq, .. }), Interrupts::Follow) => format!(
            "the interrupt of queue {queue} comes there, and its worker follows: `echo CORE > \
             /proc/irq/{irq}/smp_affinity_list` before the start puts both on another"
        ),
        (_, Interrupts::Move) => {
            let its = irqs.iter().find(|irq| irq.queue as usize == queue);
            let irq = its.map_or("N".into(), |irq| irq.irq.to_string());
            format!(
                "`--irq` takes the cores near the NIC in turn: without it, and after `echo CORE > \
                 /proc/irq/{irq}/smp_affinity_list` for the interrupt of queue {queue}, its worker follows that to another"
            )
        }
        (None, Interrupts::Follow) => "`--first-core N` gives this stack others".into(),
    }
}

fn cannot_move(interface: &str, irq: &QueueInterrupt, core: CoreId, e: &std::io::Error) -> SetupError {
    let what = format!("moving interrupt {} of {interface} queue {} to core {}", irq.irq, irq.queue, core.id);
    let cure = "run as root, or leave `--irq` away: some drivers place their interrupts by themselves";
    SetupError::of_system(what, e, cure)
}

/// Cores in turn, from the first one asked for; after the last comes the first again.
pub(super) fn in_turn(cores: &[CoreId], first: usize, count: usize) -> Vec<Option<CoreId>> {
    (0..count).map(|index| cores.get((first + index) % cores.len().max(1)).copied()).collect()
}

/// The core of each queue's interrupt where we may run there and no other worker does; else the next that is free.
fn follow(cores: &[CoreId], first: usize, count: usize, irqs: &[QueueInterrupt]) -> Vec<Option<CoreId>> {
    let mut placed: Vec<Option<CoreId>> = vec![None; count];
    for irq in irqs.iter().filter(|irq| (irq.queue as usize) < count) {
        let core = cores.iter().find(|core| Some(core.id) == irq.core).copied();
        match core.filter(|core| !placed.contains(&Some(*core))) {
            Some(core) => placed[irq.queue as usize] = Some(core),
            None => tracing::warn!(
                queue = irq.queue,
                irq = irq.irq,
                "its interrupt comes on a core that another worker has, or that we may not use; `--irq` moves it"
            ),
        }
    }
    let start = first % cores.len().max(1);
    let order: Vec<CoreId> = cores[start..].iter().chain(&cores[..start]).copied().collect();
    let free: Vec<CoreId> = order.iter().filter(|core| !placed.contains(&Some(**core))).copied().collect();
    let mut rest = free.into_iter().chain(order.into_iter().cycle());
    placed.into_iter().map(|core| core.or_else(|| rest.next())).collect()
}

/// Those near the NIC before the others.
fn nearest_first(mut cores: Vec<CoreId>, near: Option<Vec<usize>>) -> Vec<CoreId> {
    if let Some(near) = near {
        cores.sort_by_key(|core| !near.contains(&core.id));
    }
    cores
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(ids: &[usize]) -> Vec<CoreId> {
        ids.iter().map(|id| CoreId { id: *id }).collect()
    }

    fn ids(placed: Vec<Option<CoreId>>) -> Vec<usize> {
        placed.into_iter().map(|core| core.unwrap().id).collect()
    }

    fn irqs(cores: &[usize]) -> Vec<QueueInterrupt> {
        let irq = |(queue, core): (usize, &usize)| QueueInterrupt {
            queue: queue as u32,
            irq: 30 + queue as u32,
            core: Some(*core),
        };
        cores.iter().enumerate().map(irq).collect()
    }

    #[test]
    fn workers_take_the_cores_in_turn_from_the_first_one_asked_for() {
        let of = |first| ids(in_turn(&cores(&[4, 5, 6]), first, 4));
        assert_eq!((of(0), of(1), of(5)), (vec![4, 5, 6, 4], vec![5, 6, 4, 5], vec![6, 4, 5, 6]));
        assert_eq!(in_turn(&[], 1, 2), [None, None]);
    }

    #[test]
    fn a_worker_runs_where_its_interrupt_comes() {
        let all = cores(&[0, 1, 2, 3]);
        assert_eq!(ids(follow(&all, 0, 4, &irqs(&[2, 3, 0, 1]))), [2, 3, 0, 1]);
        assert_eq!(ids(follow(&all, 0, 4, &irqs(&[1, 1, 9]))), [1, 0, 2, 3], "one to a core, and only ours");
        assert_eq!(ids(follow(&all, 1, 3, &[])), [1, 2, 3], "nothing is known of interrupts");
        assert_eq!(ids(follow(&cores(&[0, 1]), 0, 4, &irqs(&[1]))), [1, 0, 0, 1], "fewer cores than workers");
        assert_eq!(follow(&[], 0, 1, &irqs(&[0])), [None]);
    }

    #[test]
    fn who_shares_a_core_is_told_what_gives_another_one() {
        let of = |queue, core, how| cure_of_shared(queue, core, how, &irqs(&[2, 3]));
        assert_eq!(of(2, 0, Interrupts::Follow), "`--first-core N` gives this stack others");
        assert_eq!(of(1, 0, Interrupts::Follow), "`--first-core N` gives this stack others", "it could not follow");
        let follows = of(1, 3, Interrupts::Follow);
        assert!(follows.contains("`echo CORE > /proc/irq/31/smp_affinity_list`"), "{follows}");
        let moved = of(1, 3, Interrupts::Move);
        assert!(moved.contains("`--irq`") && moved.contains("/proc/irq/31/") && moved.contains("queue 1"), "{moved}");
        assert!(!follows.contains("--first-core") && !moved.contains("--first-core"), "it changes nothing there");
    }

    #[test]
    fn near_cores_are_taken_first() {
        let ordered =
            |near| nearest_first(cores(&[0, 1, 2, 3]), near).into_iter().map(|core| core.id).collect::<Vec<_>>();
        assert_eq!((ordered(Some(vec![2, 3])), ordered(None)), (vec![2, 3, 0, 1], vec![0, 1, 2, 3]));
    }
}
