//! Worker and XDP program in every order of their steps that the memory model allows: the very code of [`super::filters`].

/// A filter of two words, cleared one by one, over loom's atomics.
mod shared {
    pub use loom::sync::atomic::{AtomicU64, Ordering};

    pub const FILTER_BITS: u64 = 128;
    pub const FILTER_WORDS: usize = 2;
    pub const WORDS_PER_TURN: usize = 1;
}
use super::{ANSWERED, ANSWERING, COMMAND, CONTROL_WORDS, FILTER, READY, WANTED};

#[allow(dead_code, clippy::duplicate_mod, reason = "the very same code, of which not all is tried")]
#[path = "filters.rs"]
mod filters;

use filters::{Outpost, SharedMemory};
use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use shared::{AtomicU64, FILTER_WORDS, Ordering};

/// A flow that is in the tables all the while; its bit is in the second word.
const OLD: u64 = 65;
/// One that comes into them later, in the first.
const NEW: u64 = 3;

fn memory() -> SharedMemory {
    let words =
        |count: usize| -> &'static [AtomicU64] { (0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak() };
    SharedMemory {
        control: words(CONTROL_WORDS),
        common: words(CONTROL_WORDS),
        filters: [words(FILTER_WORDS), words(FILTER_WORDS)],
    }
}

/// What the program does with a flow's frame (`may_live` in `xdp/syn.h`): the command, then the word that it names. The
/// word's place comes from the command, so that no processor reads it before; loom has no such order, and acquires.
fn program_knows(memory: &SharedMemory, flow: u64) -> bool {
    let command = memory.control[COMMAND].load(Ordering::Acquire);
    if command & READY == 0 {
        // It leaves the frame to the stack.
        return true;
    }
    let filter = usize::from(command & FILTER != 0);
    memory.filters[filter][(flow / 64) as usize].load(Ordering::Relaxed) >> (flow % 64) & 1 == 1
}

/// Makes a filter of what the tables hold.
fn build(outpost: &mut Outpost, flows: &[u64]) {
    while !outpost.prepare() {}
    flows.iter().for_each(|flow| outpost.tell(*flow));
    outpost.complete();
}

#[test]
fn a_filter_that_is_ready_is_complete() {
    loom::model(|| {
        let memory = memory();
        let program = loom::thread::spawn(move || assert!(program_knows(&memory, OLD)));
        let mut outpost = Outpost::new(memory);
        build(&mut outpost, &[OLD]);
        outpost.answer(true);
        program.join().unwrap();
    });
}

#[test]
fn a_program_that_is_slow_finds_the_old_filter_as_it_was() {
    loom::model(|| {
        let memory = memory();
        let mut outpost = Outpost::new(memory);
        build(&mut outpost, &[OLD]);
        let program = loom::thread::spawn(move || assert!(program_knows(&memory, OLD)));
        outpost.rest();
        build(&mut outpost, &[OLD]);
        program.join().unwrap();
    });
}

#[test]
fn a_flow_is_known_before_its_first_frame_leaves() {
    loom::model(|| {
        let memory = memory();
        let mut outpost = Outpost::new(memory);
        build(&mut outpost, &[OLD]);
        outpost.rest();
        let left = Arc::new(AtomicBool::new(false));
        let program = {
            let left = left.clone();
            loom::thread::spawn(move || {
                if left.load(Ordering::Acquire) {
                    assert!(program_knows(&memory, NEW));
                }
            })
        };
        // While the filter is cleared: the tables have it, and tell it later.
        assert!(!outpost.prepare());
        outpost.note(NEW);
        left.store(true, Ordering::Release);
        build(&mut outpost, &[OLD, NEW]);
        program.join().unwrap();
    });
}

#[test]
fn a_flow_that_comes_while_a_filter_is_filled_is_in_it() {
    loom::model(|| {
        let memory = memory();
        let mut outpost = Outpost::new(memory);
        let left = Arc::new(AtomicBool::new(false));
        let program = {
            let left = left.clone();
            loom::thread::spawn(move || {
                if left.load(Ordering::Acquire) {
                    assert!(program_knows(&memory, NEW));
                }
            })
        };
        while !outpost.prepare() {}
        outpost.note(NEW);
        left.store(true, Ordering::Release);
        outpost.tell(OLD);
        outpost.complete();
        program.join().unwrap();
    });
}
