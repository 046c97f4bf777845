//! Timers that applications set: few, so a heap will do.

use crate::time::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Tokens by the instant at which they are due; those of one instant in the order in which they were set.
pub struct TimerQueue {
    heap: BinaryHeap<Reverse<(Instant, u64, u64)>>,
    set: u64,
    limit: usize,
}

impl TimerQueue {
    /// At most `limit` timers.
    pub fn new(limit: u32) -> Self {
        TimerQueue { heap: BinaryHeap::new(), set: 0, limit: limit as usize }
    }

    /// Timers set.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Sets a timer; `false` when there are too many.
    pub fn set(&mut self, at: Instant, token: u64) -> bool {
        if self.heap.len() >= self.limit {
            return false;
        }
        self.set += 1;
        self.heap.push(Reverse((at, self.set, token)));
        true
    }

    /// Takes out the token of one timer that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<u64> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, _, token))| token)
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }
}
