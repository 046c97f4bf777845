//! The model check of a connection's life: two endpoints over a channel that loses, repeats and reorders, explored
//! exhaustively within bounds. Each endpoint's state is moved by `handfast::tcp::state::next`, the function that the
//! stack runs; what stands around it (numbers, retransmission, the channel) is small enough to be enumerated.
//!
//! `Fault` lists what must never happen. Retransmissions, losses, openings, CLOSE, ABORT and time-outs may come at any
//! moment. Left out: text that arrives early (dropped here, kept by the stack), windows, and the clock, but for 2 MSL.
//!
//! The explorer is our own because "CLOSED can still be reached from here" is a property of the graph, which a checker
//! of paths cannot state; `stateright` explores the same model for the other properties, and must find as many states.

mod endpoint;
mod explore;
mod mutants;
mod pair;
mod second_opinion;
mod segment_arrives;

use explore::explore;
use handfast::tcp::state::{TRANSITIONS, next};
use pair::{Limits, Pair};
use std::cell::RefCell;
use std::collections::HashSet;

const ONE_LIFE: Limits =
    Limits { opens: [1, 1], text: [1, 0], flight: 2, client_and_server: false, handshake_gives_up: false };

/// Chosen so that each is explored to its end in seconds, and every move of the table is made in one of them.
const EXPLORATIONS: [(&str, Limits); 5] = [
    ("one connection, two segments in flight each way", ONE_LIFE),
    ("one connection, text both ways", Limits { text: [2, 1], flight: 1, ..ONE_LIFE }),
    ("one end opens again", Limits { opens: [1, 2], text: [0, 0], ..ONE_LIFE }),
    (
        "a client and a server twice, with reuse of TIME-WAIT",
        Limits { opens: [2, 2], text: [1, 1], flight: 1, client_and_server: true, handshake_gives_up: true },
    ),
    (
        "both open twice, either way",
        Limits { opens: [2, 2], text: [0, 0], flight: 1, handshake_gives_up: true, ..ONE_LIFE },
    ),
];

/// 853193 as 853,193.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// The README tells what is explored; it must be true.
fn assert_readme_says(what: &str) {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README.md");
    let words = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(what), "README.md, section States, must say: {what}");
}

#[test]
fn no_pair_is_stuck_and_nothing_is_delivered_twice_or_late() {
    let explored = std::thread::scope(|scope| {
        let runs = EXPLORATIONS.map(|(name, limits)| {
            scope.spawn(move || {
                let made = RefCell::new(HashSet::new());
                let next = |state, event| {
                    made.borrow_mut().insert((state, event));
                    next(state, event)
                };
                let explored = explore(&Pair { next, limits });
                println!("{name}: {} states", grouped(explored.states));
                assert_eq!(explored.fault, None, "{name}");
                (explored.states, made.into_inner())
            })
        });
        runs.map(|run| run.join().expect("an exploration without fault"))
    });
    let states = explored.iter().map(|(states, _)| states).sum();
    println!("{} states in all", grouped(states));
    for &(from, event, _) in TRANSITIONS {
        assert!(explored.iter().any(|(_, made)| made.contains(&(from, event))), "never made: {from:?} on {event:?}");
    }
    assert_readme_says(&format!("{} states of two endpoints", grouped(states)));
}
