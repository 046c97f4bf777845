//! Deterministic simulation: the very same stacks that serve on a NIC, in worlds of a few hosts whose link, clock and
//! applications misbehave as one seed decides.
//!
//! A run is many small [`world`]s with seeds derived from one. Each world draws its [`faults`], plays the [`script`]s of
//! its connections through [`app`], and is watched from three sides: [`watch`] sees nothing but frames,
//! [`Stack::check_invariants`](crate::stack::Stack::check_invariants) looks within, and the application compares each
//! octet with what was sent. At the end [`verdict`] asks of every connection whether its end can be explained. Nothing
//! but the seed is random: a failure is replayed by its world's seed.
#![forbid(unsafe_code)]

pub mod app;
pub mod faults;
pub mod host;
pub mod random;
pub mod report;
mod router;
pub mod script;
mod trace;
mod verdict;
pub mod watch;
pub mod world;

pub use faults::Asked;
pub use report::{Failure, Report, Tally};

use crate::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use world::{World, WorldConfig};

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct SimConfig {
    /// The seed of everything.
    pub seed: u64,
    /// Connections, over all worlds.
    pub connections: u64,
    /// Worlds are begun for so long, if it is bounded.
    pub duration: Option<Duration>,
    /// Connections of one world.
    pub per_world: u32,
    /// Hosts of one world, at least 2, at most 100.
    pub hosts: usize,
    /// Threads that play worlds.
    pub threads: usize,
    /// Faults that are not left to the seed.
    pub asked: Asked,
    /// Whether each frame is shown on stderr.
    pub steps: bool,
}

impl Default for SimConfig {
    fn default() -> Self {
        SimConfig {
            seed: 1,
            connections: 10_000,
            duration: None,
            per_world: 500,
            hosts: 2,
            threads: 1,
            asked: Asked::default(),
            steps: false,
        }
    }
}

impl SimConfig {
    /// Worlds that the connections make.
    pub fn worlds(&self) -> u64 {
        self.connections.div_ceil(u64::from(self.per_world.max(1)))
    }

    /// World number `number`: the first has the run's own seed, so that a world's seed replays it alone.
    pub fn world(&self, number: u64) -> WorldConfig {
        let per_world = u64::from(self.per_world.max(1));
        let seed = if number == 0 { self.seed } else { random::mix(self.seed, number) };
        let connections = per_world.min(self.connections - number * per_world) as u32;
        WorldConfig { seed, connections, hosts: self.hosts.clamp(2, 100), asked: self.asked, steps: self.steps }
    }
}

/// Plays all worlds, or those up to the first failure; `progress` is told the connections of each world that is done.
pub fn run(config: &SimConfig, progress: &(dyn Fn(u64) + Sync)) -> Report {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let report = Mutex::new(Report { seed: config.seed, ..Report::default() });
    let play = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= config.worlds() || config.duration.is_some_and(|most| began.elapsed() >= most) {
                return;
            }
            let world = config.world(number);
            let outcome = play(number, world);
            let mut report = report.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            match outcome {
                Ok(tally) => report.tally.add(&tally),
                Err(failure) => {
                    next.store(u64::MAX / 2, Ordering::Relaxed);
                    if report.failure.as_ref().is_none_or(|before| failure.world < before.world) {
                        report.failure = Some(failure);
                    }
                }
            }
            drop(report);
            progress(u64::from(world.connections));
        }
    };
    std::thread::scope(|scope| {
        (1..config.threads).for_each(|_| drop(scope.spawn(play)));
        play();
    });
    let mut report = report.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    report.seconds = began.elapsed().as_secs_f64();
    report
}

/// Plays one world.
///
/// # Errors
/// What was not as it must be; a panic of the stack is one of these.
pub fn play(number: u64, config: WorldConfig) -> Result<Tally, Failure> {
    let mut world = World::new(config);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", text.unwrap_or("without a word")))
    });
    world.tally.worlds = 1;
    world.tally.connections = u64::from(config.connections);
    match outcome {
        Ok(()) => Ok(world.tally),
        Err(what) => Err(Failure {
            world: number,
            seed: config.seed,
            connections: config.connections,
            what,
            at_ns: world.now().as_nanos() as u64,
            turn: world.tally.turns,
        }),
    }
}
