//! A thread for each core that a program was given.

use crate::site::Outcome;
use core_affinity::CoreId;

/// The cores that we may run on.
pub fn ours() -> Vec<CoreId> {
    core_affinity::get_core_ids().unwrap_or_default()
}

/// Has a thread of its own core do each part of the work, and waits for all of them.
///
/// # Errors
/// The first one of any part.
pub fn each<P: Send, T: Send>(parts: Vec<P>, work: impl Fn(P) -> Outcome<T> + Sync) -> Outcome<Vec<T>> {
    let cores = ours();
    // An error of any kind does not pass between threads; its words do.
    let on_its_core = |core: Option<CoreId>, part: P| {
        core.map(core_affinity::set_for_current);
        work(part).map_err(|e| e.to_string())
    };
    let done = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(parts)
            .map(|(number, part)| {
                let core = cores.get(number).copied();
                scope.spawn(move || on_its_core(core, part))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into()))).collect()
    });
    let done: Result<Vec<T>, String> = done;
    Ok(done?)
}
