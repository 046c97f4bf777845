//! The outpost: memory that one worker shares with the XDP program, through which it has SYNs answered before they come.
//!
//! The program must never harm a flow that lives, so it asks a filter first: one bit for each hash of a tuple, set for
//! every flow of the worker's tables. A bit too many only sends a frame up to the stack, which judges for itself; a bit too
//! few would lose one. So bits are only ever set, and a filter that has become too full is made anew: the other one of two
//! is cleared and filled from the tables, a bounded piece each turn, while new flows are noted in both; then they change
//! places. Until the first is complete the program answers nothing, and in calm times none is kept at all.
//!
//! Worker and program share no lock. The worker alone writes filters and command, the program reads the command first and
//! then the words that it names, so a command is stored with [`Ordering::Release`]: whoever sees it sees what was done
//! before. A program that has read one command while the next is given still reads the old filter; so that one stays as
//! it is until the other was made, which takes many turns, and the program microseconds.
//!
//! [`Ordering::Release`]: std::sync::atomic::Ordering::Release
#![forbid(unsafe_code)]

mod filters;

pub use filters::{Outpost, SharedMemory};

/// Bits of a filter: with a million flows one stranger in 33 is taken for one of them. `FILTER_BITS` in `xdp/maps.h`.
pub const FILTER_BITS: u64 = 1 << 25;
/// Words of a filter.
pub const FILTER_WORDS: usize = (FILTER_BITS / 64) as usize;
/// Words of a [`SharedMemory`]'s control block: a cache line. `struct outpost` in `xdp/maps.h`.
pub const CONTROL_WORDS: usize = 8;

/// In a control block: what the program is to do, and what it has done.
pub(crate) const COMMAND: usize = 0;
pub(crate) const ANSWERED: usize = 1;
/// In the common one: how many workers want every worker to keep a filter, and which of two sets of keys and facts the
/// program is to answer by.
const WANTED: usize = 0;
pub(crate) const DEFENCE: usize = 2;

/// Bits of the command: answer SYNs on this queue; the worker's filter is complete; which of the two it is.
pub(crate) const ANSWERING: u64 = 1;
pub(crate) const READY: u64 = 2;
pub(crate) const FILTER: u64 = 4;

/// What the filters are built on and how large they are: here the real thing, under loom what tries every order of steps.
mod shared {
    pub use super::{FILTER_BITS, FILTER_WORDS};
    pub use std::sync::atomic::{AtomicU64, Ordering};

    /// Words cleared in one turn.
    pub const WORDS_PER_TURN: usize = 8_192;
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod under_loom;
