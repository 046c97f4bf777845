//! The fuzz targets without a fuzzer: what they do with the kept seeds, and with a few thousand inputs that are made from
//! them by chance. `deploy/fuzz.sh` runs the same targets under a fuzzer, guided by coverage.

#[path = "fuzz/cases/mod.rs"]
mod cases;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use std::path::PathBuf;
use std::time::{Duration, Instant};

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
