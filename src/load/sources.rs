//! Which of many source addresses the next connection comes from: few of them, until these have no port left.
//!
//! Every address in use is an entry in the target's neighbour table, and a Linux host holds 1,024 of them by default: a
//! generator that went through a whole /16 at once would measure that table.

use std::net::IpAddr;
use std::sync::Arc;

/// Addresses that are used at first; a Linux host leaves so many neighbours alone.
const AT_FIRST: usize = 128;

/// Source addresses, a part of them in use, one after another.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    all: Arc<[IpAddr]>,
    in_use: usize,
    next: usize,
}

impl Sources {
    /// All that there are; none leaves the choice to the stack.
    pub fn new(all: Arc<[IpAddr]>) -> Self {
        let in_use = all.len().min(AT_FIRST);
        Sources { all, in_use, next: 0 }
    }

    /// How many are in use.
    pub fn in_use(&self) -> usize {
        self.in_use
    }

    /// Those in use, from the next one on, once round.
    pub fn round(&self) -> impl Iterator<Item = IpAddr> + Clone {
        let (before, after) = self.all[..self.in_use].split_at(self.next.min(self.in_use));
        after.iter().chain(before).copied()
    }

    /// The next one in turn.
    pub fn next(&mut self) -> Option<IpAddr> {
        let at = if self.next < self.in_use { self.next } else { 0 };
        self.next = at + 1;
        self.all.get(at).copied()
    }

    /// Takes as many again into use, and goes on with these; `false` when all are.
    pub fn widen(&mut self) -> bool {
        let before = self.in_use;
        self.in_use = self.all.len().min(before * 2);
        self.next = before;
        self.in_use > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_used_until_more_are_needed_and_then_all() {
        let all: Vec<IpAddr> = (0..300u16).map(|i| IpAddr::from([10, 0, (i >> 8) as u8, i as u8])).collect();
        let mut sources = Sources::new(all.clone().into());
        assert!(sources.round().eq(all[..128].iter().copied()));
        let round: Vec<_> = (0..129).filter_map(|_| sources.next()).collect();
        assert_eq!((&round[..128], round[128]), (&all[..128], all[0]));
        assert!(sources.round().eq(all[1..128].iter().chain(&all[..1]).copied()));
        assert!(sources.widen());
        assert_eq!((sources.in_use(), sources.next()), (256, Some(all[128])));
        assert!(sources.widen() && !sources.widen());
        assert_eq!(sources.in_use(), 300);
        assert_eq!(Sources::new(Arc::new([])).next(), None);
    }
}
