//! The check of the check: every change of one move of the table must be found.

use super::endpoint::Fault;
use super::explore::{Explored, explore};
use super::pair::{Limits, Pair};
use super::{ONE_LIFE, assert_readme_says};
use handfast::tcp::state::{Event, State, TRANSITIONS, next};
use std::collections::BTreeMap;
use strum::IntoEnumIterator;

/// Smaller than what the true table is shown to keep, but each move is made in one of them.
const EXPLORATIONS: [Limits; 2] = [
    Limits { flight: 1, ..ONE_LIFE },
    Limits { opens: [2, 2], flight: 1, client_and_server: true, handshake_gives_up: true, ..ONE_LIFE },
];

/// The table with one move that leads elsewhere, or nowhere.
#[derive(Clone, Copy, Debug)]
struct Mutant {
    from: State,
    event: Event,
    to: Option<State>,
}

impl Mutant {
    fn all() -> Vec<Mutant> {
        let of_row = |&(from, event, to): &(State, Event, State)| {
            let others = State::iter().filter(move |&other| other != to).map(Some);
            others.chain([None]).map(move |to| Mutant { from, event, to })
        };
        TRANSITIONS.iter().flat_map(of_row).collect()
    }

    fn next(&self, state: State, event: Event) -> Option<State> {
        if (state, event) == (self.from, self.event) { self.to } else { next(state, event) }
    }

    fn explore(&self, limits: Limits) -> Explored {
        explore(&Pair { next: |state, event| self.next(state, event), limits })
    }

    fn fault(&self) -> Option<Fault> {
        EXPLORATIONS.iter().find_map(|&limits| self.explore(limits).fault).map(|(fault, _)| fault)
    }
}

#[test]
fn the_true_table_has_no_fault_in_what_mutants_are_shown() {
    for limits in EXPLORATIONS {
        assert_eq!(explore(&Pair { next, limits }).fault, None);
    }
}

#[test]
fn every_change_of_one_move_is_found() {
    let mutants = Mutant::all();
    let halves = mutants.chunks(mutants.len().div_ceil(2));
    let faults: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = halves
            .map(|half| scope.spawn(|| half.iter().map(|mutant| (*mutant, mutant.fault())).collect::<Vec<_>>()))
            .collect();
        runs.into_iter().flat_map(|run| run.join().expect("mutants explored")).collect()
    });
    let mut found: BTreeMap<Fault, usize> = BTreeMap::new();
    for fault in faults.iter().filter_map(|(_, fault)| *fault) {
        *found.entry(fault).or_default() += 1;
    }
    println!("{} mutants, first fault: {found:?}", faults.len());
    let survivors: Vec<_> = faults.iter().filter(|(_, fault)| fault.is_none()).collect();
    assert!(survivors.is_empty(), "not found: {survivors:?}");
    assert_readme_says(&format!("each of the {} ways", faults.len()));
}

/// Two mistakes that are easily made, with the fault that they lead to.
#[test]
fn likely_mistakes_are_found_for_what_they_are() {
    let no_closing = Mutant { from: State::FinWait1, event: Event::RecvFin, to: Some(State::TimeWait) };
    assert_eq!(no_closing.fault(), Some(Fault::ClosedTooEarly), "TIME-WAIT before our FIN was acknowledged");
    let no_last_ack = Mutant { from: State::LastAck, event: Event::RecvAckOfFin, to: None };
    assert_eq!(no_last_ack.fault(), Some(Fault::NoSuchMove), "the ACK of the last FIN");
}
