//! A hierarchical timer wheel: four levels of 256 slots, a tick of a millisecond (Varghese and Lauck, 1987).
//!
//! Entries are linked through [`Link`]s of their own, so arming and disarming cost a few writes and no memory.

use super::slab::Slab;
use crate::tcp::timer::{Link, is_due};

const LEVELS: usize = 4;
const SLOTS: usize = 256;

/// An entry that can wait in a wheel.
pub trait Timed {
    /// Its link.
    fn link(&mut self) -> &mut Link;
}

/// Entries by the tick at which they are due.
pub struct Wheel {
    heads: Box<[u32]>,
    occupied: [[u64; SLOTS / 64]; LEVELS],
    /// Every tick before this one is done with.
    now: u32,
    armed: usize,
}

impl Wheel {
    /// An empty wheel that begins at tick `now`.
    pub fn new(now: u32) -> Self {
        let heads = vec![Link::NONE; LEVELS * SLOTS].into();
        Wheel { heads, occupied: [[0; SLOTS / 64]; LEVELS], now, armed: 0 }
    }

    /// Entries waiting.
    pub fn armed(&self) -> usize {
        self.armed
    }

    /// Has the entry wait until tick `due` (less than 2^31 ticks ahead), instead of whenever it waited for.
    pub fn arm<T: Timed>(&mut self, slab: &mut Slab<T>, index: u32, due: u32) {
        let Some(entry) = slab.get_mut(index) else { return };
        match entry.link().armed_for() {
            Some(before) if before == due => {}
            Some(_) => {
                self.disarm(slab, index);
                self.arm(slab, index, due);
            }
            None => {
                self.armed += 1;
                let next = self.enter(entry.link(), index, due);
                put_before(slab, index, next);
            }
        }
    }

    /// Makes an entry the first of its slot; gives the one that was.
    fn enter(&mut self, link: &mut Link, index: u32, due: u32) -> u32 {
        let slot = self.slot_for(due);
        let next = std::mem::replace(&mut self.heads[slot], index);
        *link = Link { prev: Link::SLOT | slot as u32, next, due };
        self.occupied[slot / SLOTS][slot % SLOTS / 64] |= 1 << (slot % 64);
        next
    }

    fn slot_for(&self, due: u32) -> usize {
        let due = if is_due(due, self.now) { self.now } else { due };
        let ahead = due.wrapping_sub(self.now);
        let level = match ahead {
            0..0x100 => 0,
            0x100..0x1_0000 => 1,
            0x1_0000..0x100_0000 => 2,
            _ => 3,
        };
        level * SLOTS + (due >> (8 * level)) as usize % SLOTS
    }

    /// Stops the entry's waiting, if it does.
    pub fn disarm<T: Timed>(&mut self, slab: &mut Slab<T>, index: u32) {
        let Some(entry) = slab.get_mut(index) else { return };
        if !entry.link().is_armed() {
            return;
        }
        let Link { prev, next, .. } = std::mem::take(entry.link());
        if let Some(after) = slab.get_mut(next) {
            after.link().prev = prev;
        }
        if prev & Link::SLOT == 0 {
            if let Some(before) = slab.get_mut(prev) {
                before.link().next = next;
            }
        } else {
            let slot = (prev & !Link::SLOT) as usize;
            self.heads[slot] = next;
            if next == Link::NONE {
                self.occupied[slot / SLOTS][slot % SLOTS / 64] &= !(1 << (slot % 64));
            }
        }
        self.armed -= 1;
    }

    /// Takes out one entry that is due at tick `now` or before, if there is one.
    pub fn pop_due<T: Timed>(&mut self, slab: &mut Slab<T>, now: u32) -> Option<u32> {
        if self.armed == 0 {
            // No rounds to go through, however long it was idle.
            self.now = now;
            return None;
        }
        loop {
            let index = self.heads[self.now as usize % SLOTS];
            if index != Link::NONE {
                self.disarm(slab, index);
                return Some(index);
            }
            if is_due(now, self.now) {
                return None;
            }
            self.advance(slab, now);
        }
    }

    /// Goes to the next tick at which something happens, or to `limit`: as many steps as there are slots at most, however
    /// far the clock has jumped.
    fn advance<T: Timed>(&mut self, slab: &mut Slab<T>, limit: u32) {
        let next = self.next_tick();
        if !is_due(next, limit) {
            self.now = limit;
            return;
        }
        self.now = next;
        if next.is_multiple_of(SLOTS as u32) {
            self.cascade(slab, 1);
        }
    }

    /// The next tick at which a slot of the lowest level has entries, or one above is to move down.
    fn next_tick(&self) -> u32 {
        for level in 0..LEVELS {
            let unit = 8 * level;
            let at = (self.now >> unit) as usize % SLOTS;
            let round = ((u64::from(self.now) >> (unit + 8)) << (unit + 8)) as u32;
            if let Some(slot) = self.next_occupied(level, at + 1) {
                return round + ((slot as u32) << unit);
            }
            // What stands before `at` belongs to the next round, for which the levels above move down first.
            if self.next_occupied(level, 0).is_some() {
                return round.wrapping_add((SLOTS as u32) << unit);
            }
        }
        self.now.wrapping_add(1)
    }

    /// A round of the level below begins: its share of this level moves down.
    fn cascade<T: Timed>(&mut self, slab: &mut Slab<T>, level: usize) {
        let at = (self.now >> (8 * level)) as usize % SLOTS;
        if at == 0 && level + 1 < LEVELS {
            self.cascade(slab, level + 1);
        }
        let slot = level * SLOTS + at;
        let mut index = std::mem::replace(&mut self.heads[slot], Link::NONE);
        self.occupied[level][at / 64] &= !(1 << (at % 64));
        while let Some(entry) = slab.get_mut(index) {
            let Link { next, due, .. } = *entry.link();
            let first = self.enter(entry.link(), index, due);
            put_before(slab, index, first);
            index = next;
        }
    }

    /// The first slot from `from` on that has entries.
    fn next_occupied(&self, level: usize, from: usize) -> Option<usize> {
        (from / 64..SLOTS / 64).find_map(|word| {
            let skipped = if word == from / 64 { from % 64 } else { 0 };
            let slots = self.occupied[level][word] & (u64::MAX << skipped);
            (slots != 0).then(|| word * 64 + slots.trailing_zeros() as usize)
        })
    }

    /// A tick before which nothing is due, close to the next one that is; `None` when nothing waits.
    pub fn next_due(&self) -> Option<u32> {
        if self.armed == 0 {
            return None;
        }
        let now_has_some = self.heads[self.now as usize % SLOTS] != Link::NONE;
        Some(if now_has_some { self.now } else { self.next_tick() })
    }
}

/// Tells the entry `next`, if it is one, which one stands before it now.
fn put_before<T: Timed>(slab: &mut Slab<T>, index: u32, next: u32) {
    if let Some(entry) = slab.get_mut(next) {
        entry.link().prev = index;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Timed for Link {
        fn link(&mut self) -> &mut Link {
            self
        }
    }

    /// Found by fuzzing: a clock that jumps by days went through every round of the lowest level.
    #[test]
    fn a_jump_of_the_clock_takes_no_more_steps_than_there_are_slots() {
        for start in [0, 5, 1 << 31, u32::MAX - 300] {
            for after in [0x100, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000, (1 << 31) - 1] {
                let mut slab = Slab::new(1);
                let index = slab.insert(Link::default()).unwrap();
                let mut wheel = Wheel::new(start);
                let due = start.wrapping_add(after);
                wheel.arm(&mut slab, index, due);
                let mut steps = 0;
                while wheel.heads[wheel.now as usize % SLOTS] == Link::NONE && steps <= LEVELS * SLOTS {
                    wheel.advance(&mut slab, due);
                    steps += 1;
                }
                assert!(steps <= LEVELS * SLOTS, "from {start} by {after}");
                assert_eq!((wheel.now, wheel.pop_due(&mut slab, due)), (due, Some(index)));
            }
        }
    }

    proptest! {
        /// At 0, mid-range and across the wrap of the tick.
        #[test]
        fn everything_fires_once_in_time_and_not_before(
            start in prop_oneof![Just(0u32), Just(1 << 31), Just(u32::MAX - 300), any::<u32>()],
            timers in proptest::collection::vec((prop_oneof![0u32..200_000, 0u32..(1 << 30)], any::<bool>()), 1..80),
            steps in proptest::collection::vec(prop_oneof![20 => 1u32..3_000, 1 => 1u32..(1 << 23)], 1..200),
        ) {
            let mut slab = Slab::new(1000);
            let mut wheel = Wheel::new(start);
            let mut waiting = std::collections::BTreeMap::new();
            for (i, (after, cancel)) in timers.iter().enumerate() {
                let index = slab.insert(Link::default()).unwrap();
                wheel.arm(&mut slab, index, start.wrapping_add(after / 2));
                wheel.arm(&mut slab, index, start.wrapping_add(*after));
                waiting.insert(index, *after);
                if *cancel && i % 3 == 0 {
                    wheel.disarm(&mut slab, index);
                    waiting.remove(&index);
                }
            }
            let mut at = 0u32;
            for step in steps.into_iter().chain(std::iter::once(1 << 30)) {
                if let Some(next) = wheel.next_due() {
                    let first = waiting.values().min().copied().unwrap_or(u32::MAX);
                    prop_assert!(next.wrapping_sub(start) <= first.max(at), "sleeping past a timer");
                }
                at += step;
                while let Some(index) = wheel.pop_due(&mut slab, start.wrapping_add(at)) {
                    let due = waiting.remove(&index);
                    prop_assert!(due.is_some_and(|due| due <= at), "fired early, or twice");
                }
                prop_assert!(waiting.values().all(|due| *due > at), "fired late");
                prop_assert_eq!(wheel.armed(), waiting.len());
            }
            prop_assert_eq!(wheel.next_due(), None);
        }
    }
}
