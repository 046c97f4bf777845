//! What the generator remembers of a connection under way, in as many slots as the schedule allows at once.

use super::answer::Reading;
use super::life::Answer;
use super::results::Ended;
use crate::stack::ConnId;
use crate::time::Instant;

/// Where in its life a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its handshake is not over.
    Opening,
    /// It sends a request or waits for an answer.
    Asking,
    /// It is held open.
    Holding,
    /// It has done all it had to, and waits for the peer to close.
    Following,
    /// It is being closed by a FIN of ours.
    Closing,
    /// It was to be closed, and the stack has reset it: it had as many orphans as it may have.
    OneOrphanTooMany,
    /// We have reset it, as it was to be.
    Resetting,
    /// We have reset it because it failed.
    Failed(Ended),
}

/// A connection under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Its name.
    pub conn: ConnId,
    /// When the schedule meant it to start. In a closed loop: when it was opened.
    pub intended: Instant,
    /// When its SYN was asked for.
    pub opened: Instant,
    /// When the last request was begun.
    pub asked: Instant,
    /// When it began to be closed, by either side.
    pub closing: Instant,
    /// Where it is.
    pub phase: Phase,
    /// Octets of the request that were taken.
    pub sent: usize,
    /// What is being read.
    pub reading: Reading,
    /// Whether an octet has come.
    pub heard: bool,
    /// Whether our FIN has gone before the answer's end.
    pub said_goodbye: bool,
    /// Exchanges still to come, with the one under way.
    pub exchanges: u32,
    /// The step of the search that it belongs to.
    pub step: u32,
}

impl Slot {
    /// A connection that was asked for just now.
    pub fn new(conn: ConnId, intended: Instant, now: Instant, exchanges: u32, step: u32) -> Self {
        Slot {
            conn,
            intended,
            opened: now,
            asked: now,
            closing: now,
            phase: Phase::Opening,
            sent: 0,
            reading: Reading::new(Answer::Nothing),
            heard: false,
            said_goodbye: false,
            exchanges,
            step,
        }
    }
}

/// No connection is in a slot with this deadline.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// A fixed number of slots; the index of a slot is the connection's token.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Option<Slot>>,
    /// When the connection in each slot is given up. Apart, as all are looked at again and again: of a million these are 8 MB,
    /// the slots themselves more than a hundred.
    deadlines: Vec<Instant>,
    /// The last one freed is the next one taken.
    free: Vec<u32>,
    /// None was ever taken from here on.
    untouched: usize,
}

impl Slots {
    /// `capacity` empty slots.
    pub fn new(capacity: u32) -> Self {
        let (slots, deadlines) = (vec![None; capacity as usize], vec![NEVER; capacity as usize]);
        Slots { slots, deadlines, free: (0..capacity).rev().collect(), untouched: 0 }
    }

    /// How many are taken.
    pub fn in_use(&self) -> u64 {
        (self.slots.len() - self.free.len()) as u64
    }

    /// Whether one is free.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Takes a free slot for a connection that is given up at this time; says its index.
    pub fn take(&mut self, slot: Slot, deadline: Instant) -> Option<u32> {
        let index = self.free.pop()?;
        self.untouched = self.untouched.max(index as usize + 1);
        self.slots[index as usize] = Some(slot);
        self.deadlines[index as usize] = deadline;
        Some(index)
    }

    /// The connection in the slot of this index is given up at this time, and not at the one that was said before.
    pub fn give_until(&mut self, index: u32, deadline: Instant) {
        self.deadlines[index as usize] = deadline;
    }

    /// The connections whose time is over, with their indices.
    pub fn overdue(&self, now: Instant) -> impl Iterator<Item = (u32, ConnId)> {
        let late = move |(_, deadline): &(usize, &Instant)| **deadline <= now;
        let late = self.deadlines[..self.untouched].iter().enumerate().filter(late);
        late.filter_map(|(index, _)| Some((index as u32, self.slots[index].as_ref()?.conn)))
    }

    /// The slot of this index, if it is this connection's.
    pub fn get_mut(&mut self, index: u32, conn: ConnId) -> Option<&mut Slot> {
        self.slots.get_mut(index as usize)?.as_mut().filter(|slot| slot.conn == conn)
    }

    /// Frees the slot of this index, if it is this connection's.
    pub fn release(&mut self, index: u32, conn: ConnId) -> Option<Slot> {
        let slot = *self.get_mut(index, conn)?;
        self.slots[index as usize] = None;
        self.deadlines[index as usize] = NEVER;
        self.free.push(index);
        Some(slot)
    }

    /// The connections under way, with their indices.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Slot)> {
        self.slots[..self.untouched].iter().enumerate().filter_map(|(index, slot)| Some((index as u32, slot.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(index: u32) -> Slot {
        Slot::new(ConnId { index, generation: 1 }, Instant::ZERO, Instant::ZERO, 1, 0)
    }

    #[test]
    fn a_slot_is_given_back_once_and_only_by_its_own_connection() {
        let mut slots = Slots::new(2);
        let a = slots.take(slot(7), NEVER).unwrap();
        let b = slots.take(slot(8), NEVER).unwrap();
        assert!(a != b && !slots.has_room() && slots.take(slot(9), NEVER).is_none());
        assert!(slots.release(a, slot(8).conn).is_none(), "another connection's slot");
        assert!(slots.release(a, slot(7).conn).is_some());
        assert!(slots.release(a, slot(7).conn).is_none(), "twice");
        assert!(slots.release(99, slot(7).conn).is_none(), "no such slot");
        let left: Vec<_> = slots.iter().map(|(index, slot)| (index, slot.conn)).collect();
        assert_eq!((slots.in_use(), left), (1, vec![(b, slot(8).conn)]));
    }

    #[test]
    fn overdue_is_who_is_there_and_whose_time_is_over() {
        let at = Instant::from_millis;
        let mut slots = Slots::new(4);
        let taken: Vec<u32> = (0..4).map(|i| slots.take(slot(i), at(10 * u64::from(i))).unwrap()).collect();
        slots.give_until(taken[0], at(25));
        slots.release(taken[1], slot(1).conn).unwrap();
        let overdue = |slots: &Slots, ms| slots.overdue(at(ms)).map(|(_, conn)| conn.index).collect::<Vec<_>>();
        assert_eq!((overdue(&slots, 19), overdue(&slots, 20), overdue(&slots, 29)), (vec![], vec![2], vec![0, 2]));
    }
}
