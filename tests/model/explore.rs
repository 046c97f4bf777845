//! Breadth first through every reachable state, and backwards from the ends.
//!
//! A checker of paths cannot say "from here CLOSED can still be reached": that is a property of the graph, so the graph
//! is kept, and searched backwards.

use super::endpoint::Fault;
use super::pair::{Action, Global, Pair};
use handfast::tcp::state::{Event, State};
use hashbrown::HashTable;
use std::hash::{Hash, Hasher};

/// What an exploration found.
pub struct Explored {
    pub states: usize,
    /// The first fault on a shortest path, and that path.
    pub fault: Option<(Fault, Vec<Action>)>,
}

/// Word by word, multiplied and folded: the states are our own, and nobody floods this table.
struct Folding(u64);

impl Folding {
    fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.word(u64::from(byte)));
    }

    fn write_u8(&mut self, byte: u8) {
        self.word(u64::from(byte));
    }

    fn write_isize(&mut self, discriminant: isize) {
        self.word(discriminant as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

fn hash(global: &Global) -> u64 {
    let mut hasher = Folding(0);
    global.hash(&mut hasher);
    hasher.finish()
}

/// The states in the order of their distance from the start, with the step that first led to each.
struct Graph {
    states: Vec<Global>,
    index: HashTable<u32>,
    found_by: Vec<(u32, Option<Action>)>,
    /// Steps that are no escape, as (to, from).
    steps: Vec<(u32, u32)>,
}

impl Graph {
    fn enter(&mut self, global: Global, from: u32, by: Option<Action>) -> u32 {
        let states = &self.states;
        let (key, fresh) = (hash(&global), states.len() as u32);
        if let Some(&at) = self.index.find(key, |&at| states[at as usize] == global) {
            return at;
        }
        self.index.insert_unique(key, fresh, |&at| hash(&states[at as usize]));
        self.states.push(global);
        self.found_by.push((from, by));
        fresh
    }

    fn path_to(&self, mut at: u32) -> Vec<Action> {
        let mut path = vec![];
        while let (from, Some(by)) = self.found_by[at as usize] {
            path.push(by);
            at = from;
        }
        path.reverse();
        path
    }

    /// The first state from which no steps but escapes lead to the end.
    fn stuck(&mut self, is_over: impl Fn(&Global) -> bool) -> Option<u32> {
        self.steps.sort_unstable();
        let mut lives: Vec<bool> = self.states.iter().map(is_over).collect();
        let mut frontier: Vec<u32> = (0..lives.len() as u32).filter(|&at| lives[at as usize]).collect();
        while let Some(to) = frontier.pop() {
            let first = self.steps.partition_point(|&(t, _)| t < to);
            for &(_, from) in self.steps[first..].iter().take_while(|&&(t, _)| t == to) {
                if !std::mem::replace(&mut lives[from as usize], true) {
                    frontier.push(from);
                }
            }
        }
        lives.iter().position(|lives| !lives).map(|at| at as u32)
    }
}

/// Explores all of `pair`, or as far as its first fault.
pub fn explore<N: Fn(State, Event) -> Option<State>>(pair: &Pair<N>) -> Explored {
    let mut graph = Graph { states: vec![], index: HashTable::new(), found_by: vec![], steps: vec![] };
    graph.enter(pair.start(), 0, None);
    let (mut at, mut actions) = (0, vec![]);
    while at < graph.states.len() {
        let global = graph.states[at];
        pair.possible(&global, &mut actions);
        for action in actions.drain(..) {
            let after = pair.after(&global, action);
            let to = graph.enter(after, at as u32, Some(action));
            if let Some(fault) = after.fault {
                let path = graph.path_to(to);
                return Explored { states: graph.states.len(), fault: Some((fault, path)) };
            }
            if to != at as u32 && !pair.is_escape(&global, action) {
                graph.steps.push((to, at as u32));
            }
        }
        at += 1;
    }
    let fault = graph.stuck(Pair::<N>::is_over).map(|at| (Fault::Stuck, graph.path_to(at)));
    Explored { states: graph.states.len(), fault }
}
