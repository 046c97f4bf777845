//! A half-open entry in its table: the entry itself, and its tuple in 22 octets, our address by its number; and
//! whence its SYN came, by a number as well.

use super::locals::Locals;
use super::senders::Number;
use super::slab::Slab;
use super::wheel::Timed;
use crate::tcp::half_open::HalfOpen;
use crate::tcp::timer::Link;
use crate::wire::{Addr, FourTuple};
use std::ops::{Deref, DerefMut};

/// The entry of a tuple.
#[derive(Debug)]
pub struct HalfOpenSlot {
    entry: HalfOpen,
    remote_addr: Addr,
    /// The number of our address.
    local: u16,
    local_port: u16,
    remote_port: u16,
    /// The number of the station that its SYN came from.
    sender: Number,
}

/// Also in a place that may be empty.
const _: () = assert!(Slab::<HalfOpenSlot>::ENTRY_BYTES == 52);
// All in: table, order of time, and index.
const _: () = assert!(Slab::<HalfOpenSlot>::ENTRY_BYTES as f64 + super::flow_index::BYTES_PER_FLOW <= 64.0);

impl HalfOpenSlot {
    /// # Panics
    /// If the tuple's local address is none of ours.
    pub fn new(tuple: &FourTuple, entry: HalfOpen, sender: Number, locals: &Locals) -> Self {
        let &FourTuple { local_addr, remote_addr, local_port, remote_port } = tuple;
        let local = locals.number(&local_addr).expect("what a listener takes is for an address of ours");
        HalfOpenSlot { entry, remote_addr, local, local_port, remote_port, sender }
    }

    /// The number of the station that its SYN came from.
    pub fn sender(&self) -> Number {
        self.sender
    }

    /// Whose entry it is.
    #[inline]
    pub fn tuple(&self, locals: &Locals) -> FourTuple {
        FourTuple {
            local_addr: locals.addr(self.local),
            remote_addr: self.remote_addr,
            local_port: self.local_port,
            remote_port: self.remote_port,
        }
    }
}

impl Deref for HalfOpenSlot {
    type Target = HalfOpen;
    fn deref(&self) -> &HalfOpen {
        &self.entry
    }
}

impl DerefMut for HalfOpenSlot {
    fn deref_mut(&mut self) -> &mut HalfOpen {
        &mut self.entry
    }
}

impl Timed for HalfOpenSlot {
    fn link(&mut self) -> &mut Link {
        &mut self.entry.link
    }
}
