//! What crosses from worker to worker: frames of flows that another worker owns, or may own, and neighbours' addresses.
//!
//! Each worker has an inbox: a bounded queue of parcels, and the empty parcels that fit into it. A giver takes an empty
//! parcel, copies the frame (its chunk stays with its driver) and puts the parcel into the queue; the owner reads it in
//! its next turn and gives the parcel back. Nothing is allocated after the start, nobody waits for anybody, and where
//! nothing is handed over a turn costs a look at an empty queue.
#![forbid(unsafe_code)]

mod desk;

pub use desk::{Desk, Exchange};

/// What the desks are built on: here the real thing, under loom what tries every order of its steps.
mod shared {
    pub(super) use crate::driver::asleep::Asleep;
    pub use crossbeam::queue::ArrayQueue;
    pub use std::sync::atomic::{AtomicUsize, Ordering};

    /// Octets of the largest frame that can be handed over: one that fills a chunk.
    pub use crate::driver::CHUNK as LARGEST;
    /// Frames that wait for one worker at most.
    pub const PARCELS: usize = 1024;
    /// Neighbours' addresses that wait for one worker at most.
    pub const NEWS: usize = 256;
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod under_loom;
