//! Filters hold every flow, and take each other's place.

use super::shared::AtomicU64;
use super::{
    ANSWERING, COMMAND, CONTROL_WORDS, FILTER, FILTER_BITS, FILTER_WORDS, Outpost, READY, SharedMemory, WANTED,
};
use std::sync::atomic::Ordering::Relaxed;

fn memory() -> SharedMemory {
    let words =
        |count: usize| -> &'static [AtomicU64] { (0..count).map(|_| AtomicU64::new(!0)).collect::<Vec<_>>().leak() };
    let common = words(CONTROL_WORDS);
    common[WANTED].store(0, Relaxed);
    SharedMemory { control: words(CONTROL_WORDS), common, filters: [words(FILTER_WORDS), words(FILTER_WORDS)] }
}

fn has(memory: &SharedMemory, filter: usize, hash: u64) -> bool {
    let bit = hash % FILTER_BITS;
    memory.filters[filter][(bit / 64) as usize].load(Relaxed) >> (bit % 64) & 1 == 1
}

fn build(outpost: &mut Outpost, flows: &[u64]) {
    while !outpost.prepare() {}
    flows.iter().for_each(|flow| outpost.tell(*flow));
    outpost.complete();
}

#[test]
fn a_filter_holds_what_was_told_and_what_came_meanwhile() {
    let memory = memory();
    let mut outpost = Outpost::new(memory);
    outpost.note(1);
    assert!(!outpost.is_ready());
    while !outpost.prepare() {}
    outpost.note(2);
    outpost.tell(u64::MAX);
    outpost.complete();
    outpost.note(3);
    let held: Vec<u64> = (0..10).chain([u64::MAX]).filter(|flow| has(&memory, 0, *flow)).collect();
    assert_eq!(held, [2, 3, u64::MAX], "what came before is in the tables, which are told");
}

#[test]
fn all_keep_filters_while_one_wants_them() {
    let (common, other) = (memory().common, memory());
    let mut one = Outpost::new(SharedMemory { common, ..memory() });
    let mut two = Outpost::new(SharedMemory { common, ..other });
    assert!(!one.is_wanted());
    one.want(true);
    one.want(true);
    two.want(true);
    one.want(false);
    assert!(one.is_wanted() && two.is_wanted());
    two.want(false);
    assert!(!one.is_wanted() && !two.is_wanted());
}

#[test]
fn a_full_filter_is_made_anew_beside_itself() {
    let memory = memory();
    let mut outpost = Outpost::new(memory);
    build(&mut outpost, &[7]);
    outpost.answer(true);
    assert_eq!(memory.control[COMMAND].load(Relaxed), ANSWERING | READY);
    assert!(!outpost.prepare() && !outpost.is_building());
    (0..=FILTER_BITS / 8).for_each(|_| outpost.note(8));
    while !outpost.prepare() {}
    assert_eq!(memory.control[COMMAND].load(Relaxed), ANSWERING | READY, "the old one is good until the new one is");
    outpost.note(9);
    outpost.tell(10);
    outpost.complete();
    assert_eq!(memory.control[COMMAND].load(Relaxed), ANSWERING | READY | FILTER);
    assert_eq!([7, 8, 9, 10].map(|flow| has(&memory, 1, flow)), [false, false, true, true]);
    outpost.rest();
    assert_eq!(memory.control[COMMAND].load(Relaxed), 0);
}
