//! The fuzz targets without a fuzzer: what they do with the kept seeds, and with a few thousand inputs that are made from
//! them by chance. `deploy/fuzz.sh` runs the same targets under a fuzzer, guided by coverage.

#[path = "fuzz/cases/mod.rs"]
mod cases;

use handfast::ledger::{DropReason, HalfOpenEnding, Handled, TimeWaitEnding};
use handfast::tcp::state::{Event, State, TRANSITIONS};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use strum::IntoEnumIterator;

/// Inputs made from the seeds of each target, at most; a slow machine stops earlier.
const INPUTS: usize = 3_000;
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST: usize = 1_500;

/// The seeds kept for a target, in the order of their names.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no seed in {}", folder.display());
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// An input made of one or two seeds: octets changed, put in, taken out, stretches repeated.
fn mutated(seeds: &[Vec<u8>], random: &mut Xoshiro256PlusPlus) -> Vec<u8> {
    let mut below = |end: usize| (random.next_u64() % end.max(1) as u64) as usize;
    let mut input = seeds[below(seeds.len())].clone();
    if below(3) == 0 {
        let other = &seeds[below(seeds.len())];
        input.truncate(below(input.len() + 1));
        input.extend_from_slice(&other[below(other.len())..]);
    }
    for _ in 0..=below(12) {
        let at = below(input.len());
        let end = (at + below(16)).min(input.len());
        match below(6) {
            0 | 1 if at < input.len() => input[at] = below(256) as u8,
            2 if at < input.len() => input[at] ^= 1 << below(8),
            3 => input.insert(at, below(256) as u8),
            4 => drop(input.drain(at..end)),
            _ => {
                let stretch = input[at..end].to_vec();
                input.splice(at..at, stretch);
            }
        }
    }
    input.truncate(LONGEST);
    input
}

/// What the kept seeds of the targets with a stack lead to: moves between states, outcomes of frames, of connections and of
/// entries, and what was refused.
fn reached() -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    for (target, run) in cases::ALL {
        for input in seeds(target) {
            let _named = Input(target, &input);
            let Some(end) = run(&input) else { continue };
            reached.extend(end.trace.iter().map(|step| format!("{} to {}", step.from.key(), step.to.key())));
            let of = |kind: &str, counts: &std::collections::BTreeMap<String, u64>| {
                let counted = counts.iter().filter(|(_, count)| **count > 0);
                counted.map(|(name, _)| format!("{kind} {name}")).collect::<Vec<_>>()
            };
            let found = &end.snapshot;
            reached.extend(of("handled", &found.frames.handled));
            reached.extend(of("dropped", &found.frames.dropped));
            reached.extend(of("half-open", &found.half_open));
            reached.extend(of("time-wait", &found.time_wait));
            reached.extend(of("refused", &found.refused));
            let ends = &found.connections;
            let ends = [ends.closed, ends.reset, ends.aborted, ends.refused, ends.timed_out, ends.retransmitted];
            let names = ["closed", "reset", "aborted", "refused", "timed out", "retransmitted"];
            reached.extend(names.iter().zip(ends).filter(|(_, n)| *n > 0).map(|(name, _)| format!("ended {name}")));
        }
    }
    reached
}

/// A fuzzer finds what lies near its seeds: they lead into every state and to every outcome that there is.
#[test]
fn the_seeds_reach_every_move_and_every_outcome() {
    let reached = reached();
    let moves = TRANSITIONS.iter().filter(|(from, event, _)| !matches!((from, event), (State::Listen, Event::Close)));
    let moves = moves.filter(|(_, event, _)| *event != Event::PassiveOpen);
    let mut wanted: BTreeSet<String> = moves.map(|(from, _, to)| format!("{} to {}", from.key(), to.key())).collect();
    wanted.extend(Handled::iter().map(|outcome| format!("handled {}", <&str>::from(outcome))));
    wanted.extend(DropReason::iter().map(|reason| format!("dropped {}", <&str>::from(reason))));
    wanted.extend(HalfOpenEnding::iter().map(|ending| format!("half-open {}", <&str>::from(ending))));
    wanted.extend(TimeWaitEnding::iter().map(|ending| format!("time-wait {}", <&str>::from(ending))));
    let endings = ["closed", "reset", "aborted", "refused", "timed out", "retransmitted"];
    wanted.extend(endings.map(|ending| format!("ended {ending}")));
    let pools = ["connections", "ports", "buffer_bytes", "neighbours", "tx_frames", "app_timers"];
    wanted.extend(pools.map(|pool| format!("refused {pool}")));
    let missed: Vec<_> = wanted.difference(&reached).map(String::as_str).collect();
    assert_eq!(missed, UNREACHABLE, "of {} that are wanted", wanted.len());
}

/// What a stack of one worker cannot come to: there is nobody to hand a frame to.
const UNREACHABLE: [&str; 2] = ["dropped hand_over_full", "handled handed_over"];

/// Says on a panic which input it was.
struct Input<'a>(&'a str, &'a [u8]);

impl Drop for Input<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let octets: String = self.1.iter().map(|octet| format!("{octet:02x}")).collect();
            eprintln!("target {} on the input {octets}", self.0);
        }
    }
}

fn smoke(target: &str) {
    let (_, run) = cases::ALL.into_iter().find(|(name, _)| *name == target).expect("a target of that name");
    let seeds = seeds(target);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
    let made: Vec<_> = (0..INPUTS).map(|_| mutated(&seeds, &mut random)).collect();
    let start = Instant::now();
    let mut tried = 0;
    for input in seeds.iter().chain(&made) {
        let _named = Input(target, input);
        run(input);
        tried += 1;
        if tried >= seeds.len() && start.elapsed() > PATIENCE {
            break;
        }
    }
    eprintln!("{target}: {tried} inputs in {:.1?}", start.elapsed());
}

#[test]
fn parse_takes_any_frame() {
    smoke("parse");
}

#[test]
fn a_connection_takes_any_segments() {
    smoke("connection");
}

#[test]
fn a_stack_takes_any_frames() {
    smoke("stack");
}
