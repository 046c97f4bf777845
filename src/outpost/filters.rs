//! The worker's side: two filters, the making of one beside the other, and the command, over `super::shared`.
#![forbid(unsafe_code)]

use super::shared::{AtomicU64, FILTER_BITS, FILTER_WORDS, Ordering, WORDS_PER_TURN};
use super::{ANSWERED, ANSWERING, COMMAND, CONTROL_WORDS, FILTER, READY, WANTED};

/// Notes after which the filter is made anew, for those that no longer live.
const NOTES_PER_FILTER: u64 = FILTER_BITS / 8;

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
    /// What is in the making.
    build: Option<Build>,
    /// The filter that is made next: not the one that the program was last told of, which it may still be reading.
    next: usize,
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
        Outpost { memory, current: None, build: None, next: 0, notes: 0, answering: false, wants: false }
    }

    /// Whether a filter is complete: only then may the program answer.
    pub fn is_ready(&self) -> bool {
        self.current.is_some()
    }

    /// Whether this worker wants every worker to keep a filter: a flow's frames may come in on any queue, so the program
    /// answers on one only while it knows the flows of all.
    pub fn want(&mut self, on: bool) {
        if self.wants != on {
            self.wants = on;
            let wanted = &self.memory.common[WANTED];
            if on {
                wanted.fetch_add(1, Ordering::Relaxed)
            } else {
                wanted.fetch_sub(1, Ordering::Relaxed)
            };
        }
    }

    /// Whether any worker wants filters.
    pub fn is_wanted(&self) -> bool {
        self.memory.common[WANTED].load(Ordering::Relaxed) > 0
    }

    /// Whether there is work to do for [`Outpost::prepare`].
    pub fn is_building(&self) -> bool {
        self.build.is_some()
    }

    /// SYNs that the program has answered.
    pub fn answered(&self) -> u64 {
        self.memory.control[ANSWERED].load(Ordering::Relaxed)
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
            self.set(self.next, hash);
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
                self.memory.filters[self.next][from..to].iter().for_each(|word| word.store(0, Ordering::Relaxed));
                self.build = Some(if to == FILTER_WORDS { Build::Fill } else { Build::Clear(to) });
                false
            }
            Some(Build::Fill) => true,
        }
    }

    /// A flow that is in a table.
    pub fn tell(&mut self, hash: u64) {
        self.set(self.next, hash);
    }

    /// All were told: the filter takes the other's place.
    pub fn complete(&mut self) {
        self.current = Some(self.next);
        self.next = 1 - self.next;
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

    /// Tells the program what is so now, and was before this call.
    fn command(&self) {
        let bit = |bit, on| if on { bit } else { 0 };
        let ready = bit(READY, self.current.is_some()) | bit(FILTER, self.current == Some(1));
        self.memory.control[COMMAND].store(ready | bit(ANSWERING, self.answering), Ordering::Release);
    }

    /// Only this worker writes, so no one's bit is lost between load and store.
    #[inline]
    fn set(&self, filter: usize, hash: u64) {
        let bit = hash % FILTER_BITS;
        let word = &self.memory.filters[filter][(bit / 64) as usize];
        word.store(word.load(Ordering::Relaxed) | 1 << (bit % 64), Ordering::Relaxed);
    }
}
