//! The outpost: memory that one worker shares with the XDP program, through which it has SYNs answered before they come.
//!
//! The program must never harm a flow that lives, so it asks a filter first: one bit for each hash of a tuple, set for
//! every flow of the worker's tables. A bit too many only sends a frame up to the stack, which judges for itself; a bit too
//! few would lose one. So bits are only ever set, and a filter that has become too full is made anew: the other one of two
//! is cleared and filled from the tables, a bounded piece each turn, while new flows are noted in both; then they change
//! places. Until the first is complete the program answers nothing, and in calm times none is kept at all.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bits of a filter: with a million flows one stranger in 33 is taken for one of them. `FILTER_BITS` in `xdp/maps.h`.
pub const FILTER_BITS: u64 = 1 << 25;
/// Words of a filter.
pub const FILTER_WORDS: usize = (FILTER_BITS / 64) as usize;
/// Words of a [`SharedMemory`]'s control block: a cache line. `struct outpost` in `xdp/maps.h`.
pub const CONTROL_WORDS: usize = 8;

/// Notes after which the filter is made anew, for those that no longer live.
const NOTES_PER_FILTER: u64 = FILTER_BITS / 8;
/// Words cleared in one turn.
const WORDS_PER_TURN: usize = 8_192;

/// In a control block: what the program is to do, and what it has done.
const COMMAND: usize = 0;
const ANSWERED: usize = 1;
/// In the common one: how many workers want every worker to keep a filter.
const WANTED: usize = 0;

/// Bits of the command: answer SYNs on this queue; the worker's filter is complete; which of the two it is.
const ANSWERING: u64 = 1;
const READY: u64 = 2;
const FILTER: u64 = 4;

/// The memory of one queue, mapped for the life of the process.
#[derive(Clone, Copy)]
pub struct SharedMemory {
    /// The control block: [`CONTROL_WORDS`].
    pub control: &'static [AtomicU64],
    /// The one that all workers have in common: [`CONTROL_WORDS`].
    pub common: &'static [AtomicU64],
    /// Both filters: [`FILTER_WORDS`] each.
    pub filters: [&'static [AtomicU64]; 2],
}

/// What is to be done for a filter in the making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Build {
    /// Cleared up to this word.
    Clear(usize),
    /// Clear, and filled from the tables as far as they have said.
    Fill,
}

/// The worker's side of the shared memory.
pub struct Outpost {
    memory: SharedMemory,
    /// The filter that is complete.
    current: Option<usize>,
    /// The other one, in the making.
    build: Option<Build>,
    notes: u64,
    answering: bool,
    wants: bool,
}

impl Outpost {
    /// At rest. The program may have been left answering by nobody: the memory is new.
    ///
    /// # Panics
    /// If the parts of the memory are not as long as they must be.
    pub fn new(memory: SharedMemory) -> Self {
        assert!(memory.control.len() == CONTROL_WORDS && memory.common.len() == CONTROL_WORDS);
        assert!(memory.filters.iter().all(|filter| filter.len() == FILTER_WORDS));
        Outpost { memory, current: None, build: None, notes: 0, answering: false, wants: false }
    }

    /// Whether a filter is complete: only then may the program answer.
    pub fn is_ready(&self) -> bool {
        self.current.is_some()
    }

    /// Whether the program is told to answer.
    pub fn is_answering(&self) -> bool {
        self.answering
    }

    /// Whether this worker wants every worker to keep a filter: a flow's frames may come in on any queue, so the program
    /// answers on one only while it knows the flows of all.
    pub fn want(&mut self, on: bool) {
        if self.wants != on {
            self.wants = on;
            let wanted = &self.memory.common[WANTED];
            if on {
                wanted.fetch_add(1, Relaxed)
            } else {
                wanted.fetch_sub(1, Relaxed)
            };
        }
    }

    /// Whether any worker wants filters.
    pub fn is_wanted(&self) -> bool {
        self.memory.common[WANTED].load(Relaxed) > 0
    }

    /// Whether there is work to do for [`Outpost::prepare`].
    pub fn is_building(&self) -> bool {
        self.build.is_some()
    }

    /// SYNs that the program has answered.
    pub fn answered(&self) -> u64 {
        self.memory.control[ANSWERED].load(Relaxed)
    }

    /// Whether there is a filter that must know of new flows.
    #[inline]
    pub fn takes_notes(&self) -> bool {
        self.current.is_some() || self.build.is_some()
    }

    /// A flow has come into a table, or from one into another.
    #[inline]
    pub fn note(&mut self, hash: u64) {
        self.notes += 1;
        if let Some(current) = self.current {
            self.set(current, hash);
        }
        if self.build == Some(Build::Fill) {
            self.set(self.next(), hash);
        }
    }

    /// Works on a filter, if one is wanted: says whether the tables must be asked for more of their flows, each to be told
    /// by [`Outpost::tell`]; and when they have no more, that by [`Outpost::complete`].
    pub fn prepare(&mut self) -> bool {
        match self.build {
            None if self.current.is_none() || self.notes > NOTES_PER_FILTER => {
                self.notes = 0;
                self.build = Some(Build::Clear(0));
                false
            }
            None => false,
            Some(Build::Clear(from)) => {
                let to = (from + WORDS_PER_TURN).min(FILTER_WORDS);
                self.memory.filters[self.next()][from..to].iter().for_each(|word| word.store(0, Relaxed));
                self.build = Some(if to == FILTER_WORDS { Build::Fill } else { Build::Clear(to) });
                false
            }
            Some(Build::Fill) => true,
        }
    }

    /// A flow that is in a table.
    pub fn tell(&mut self, hash: u64) {
        self.set(self.next(), hash);
    }

    /// All were told: the filter takes the other's place.
    pub fn complete(&mut self) {
        self.current = Some(self.next());
        self.build = None;
        self.command();
    }

    /// Has the program answer, or not.
    pub fn answer(&mut self, on: bool) {
        debug_assert!(!on || self.is_ready(), "the program would drop what belongs to flows");
        if self.answering != on {
            self.answering = on;
            self.command();
        }
    }

    /// Nothing is wanted any more: no filter is kept.
    pub fn rest(&mut self) {
        if self.takes_notes() {
            (self.current, self.build, self.notes, self.answering) = (None, None, 0, false);
            self.command();
        }
    }

    fn next(&self) -> usize {
        1 - self.current.unwrap_or(1)
    }

    fn command(&self) {
        let bit = |bit, on| if on { bit } else { 0 };
        let ready = bit(READY, self.current.is_some()) | bit(FILTER, self.current == Some(1));
        self.memory.control[COMMAND].store(ready | bit(ANSWERING, self.answering), Relaxed);
    }

    /// Only this worker writes, so no one's bit is lost between load and store.
    #[inline]
    fn set(&self, filter: usize, hash: u64) {
        let bit = hash % FILTER_BITS;
        let word = &self.memory.filters[filter][(bit / 64) as usize];
        word.store(word.load(Relaxed) | 1 << (bit % 64), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> SharedMemory {
        let words = |count: usize| -> &'static [AtomicU64] {
            (0..count).map(|_| AtomicU64::new(!0)).collect::<Vec<_>>().leak()
        };
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
        (0..=NOTES_PER_FILTER).for_each(|_| outpost.note(8));
        while !outpost.prepare() {}
        assert_eq!(
            memory.control[COMMAND].load(Relaxed),
            ANSWERING | READY,
            "the old one is good until the new one is"
        );
        outpost.note(9);
        outpost.tell(10);
        outpost.complete();
        assert_eq!(memory.control[COMMAND].load(Relaxed), ANSWERING | READY | FILTER);
        assert_eq!([7, 8, 9, 10].map(|flow| has(&memory, 1, flow)), [false, false, true, true]);
        outpost.rest();
        assert_eq!(memory.control[COMMAND].load(Relaxed), 0);
    }
}
