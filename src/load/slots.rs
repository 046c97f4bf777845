//! What the generator remembers of a connection under way, in as many slots as the schedule allows at once.

use crate::stack::ConnId;
use crate::time::Instant;

/// A connection under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Its name.
    pub conn: ConnId,
    /// When the schedule meant it to start. In a closed loop: when it was opened.
    pub intended: Instant,
    /// Whether its handshake is over.
    pub established: bool,
}

/// A fixed number of slots; the index of a slot is the connection's token.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
}

impl Slots {
    /// `capacity` empty slots.
    pub fn new(capacity: u32) -> Self {
        Slots { slots: vec![None; capacity as usize], free: (0..capacity).rev().collect() }
    }

    /// How many are taken.
    pub fn in_use(&self) -> u64 {
        (self.slots.len() - self.free.len()) as u64
    }

    /// Whether one is free.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Takes a free slot; says its index.
    pub fn take(&mut self, slot: Slot) -> Option<u32> {
        let index = self.free.pop()?;
        self.slots[index as usize] = Some(slot);
        Some(index)
    }

    /// The slot of this index, if it is this connection's.
    pub fn get_mut(&mut self, index: u32, conn: ConnId) -> Option<&mut Slot> {
        self.slots.get_mut(index as usize)?.as_mut().filter(|slot| slot.conn == conn)
    }

    /// Frees the slot of this index, if it is this connection's.
    pub fn release(&mut self, index: u32, conn: ConnId) -> Option<Slot> {
        let slot = *self.get_mut(index, conn)?;
        self.slots[index as usize] = None;
        self.free.push(index);
        Some(slot)
    }

    /// The connections under way.
    pub fn conns(&self) -> Vec<ConnId> {
        self.slots.iter().flatten().map(|slot| slot.conn).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(index: u32) -> Slot {
        Slot { conn: ConnId { index, generation: 1 }, intended: Instant::ZERO, established: false }
    }

    #[test]
    fn a_slot_is_given_back_once_and_only_by_its_own_connection() {
        let mut slots = Slots::new(2);
        let a = slots.take(slot(7)).unwrap();
        let b = slots.take(slot(8)).unwrap();
        assert!(a != b && !slots.has_room() && slots.take(slot(9)).is_none());
        assert!(slots.release(a, slot(8).conn).is_none(), "another connection's slot");
        assert!(slots.release(a, slot(7).conn).is_some());
        assert!(slots.release(a, slot(7).conn).is_none(), "twice");
        assert!(slots.release(99, slot(7).conn).is_none(), "no such slot");
        assert_eq!((slots.in_use(), slots.conns()), (1, vec![slot(8).conn]));
    }
}
