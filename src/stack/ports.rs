//! Local ports of active opens, RFC 6056 §3.3.3 (algorithm 3): for each destination a start that nobody outside can
//! guess, then one after another, so that a port comes round again as late as possible.

use crate::tcp::isn::IsnGenerator;
use crate::time::Instant;
use crate::wire::{Addr, FourTuple};
use std::collections::BTreeMap;

/// A destination as one of our addresses sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Destination {
    local: Addr,
    remote: Addr,
    remote_port: u16,
}

/// The ports in use, 64 to a word; words without any are not there, so that many destinations with a few ports each
/// take little memory.
struct Used {
    words: BTreeMap<u16, u64>,
    /// Of them, those between the first and the last.
    count: u32,
    next: u16,
}

/// Destinations remembered although no port to them is in use.
const IDLE_DESTINATIONS: usize = 4_096;

/// Which ports are in use, for each destination that has any.
pub struct Ports {
    first: u16,
    last: u16,
    destinations: BTreeMap<Destination, Used>,
}

impl Ports {
    /// Ports from `first` to `last`, both included.
    pub fn new((first, last): (u16, u16)) -> Self {
        Ports { first: first.max(1).min(last), last, destinations: BTreeMap::new() }
    }

    /// Takes a free port for a connection from `local` to `remote`; `None` when all are in use.
    pub fn take(&mut self, local: Addr, remote: Addr, remote_port: u16, secret: &IsnGenerator) -> Option<u16> {
        let key = Destination { local, remote, remote_port };
        let (first, last) = (self.first, self.last);
        let range = u32::from(last - first) + 1;
        let used = self.destinations.entry(key).or_insert_with(|| {
            let tuple = FourTuple { local_addr: local, remote_addr: remote, local_port: 0, remote_port };
            let start = secret.isn(&tuple, Instant::ZERO).0 % range;
            Used { words: BTreeMap::new(), count: 0, next: first + start as u16 }
        });
        if used.count >= range {
            return None;
        }
        let mut port = used.next;
        while used.is_taken(port) {
            port = next_free_guess(used, port, first, last);
        }
        used.take(port);
        used.count += 1;
        used.next = if port == last { first } else { port + 1 };
        Some(port)
    }

    /// Takes this very port; `false` when it is in use.
    pub fn take_exactly(&mut self, tuple: &FourTuple) -> bool {
        let counts = self.counts(tuple.local_port);
        let used = self.destinations.entry(Destination::of(tuple)).or_insert_with(|| Used {
            words: BTreeMap::new(),
            count: 0,
            next: self.first,
        });
        let free = !used.is_taken(tuple.local_port);
        if free {
            used.take(tuple.local_port);
            used.count += u32::from(counts);
        }
        free
    }

    /// The flow of this tuple is gone: its port is free, if it was taken here.
    pub fn release(&mut self, tuple: &FourTuple) {
        if self.destinations.is_empty() {
            return;
        }
        let counts = self.counts(tuple.local_port);
        if let Some(used) = self.destinations.get_mut(&Destination::of(tuple))
            && used.is_taken(tuple.local_port)
        {
            used.release(tuple.local_port);
            used.count -= u32::from(counts);
            // Where the next port would be found is worth remembering, but not for ever.
            if used.words.is_empty() && self.destinations.len() > IDLE_DESTINATIONS {
                self.destinations.remove(&Destination::of(tuple));
            }
        }
    }

    fn counts(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Ports that one of our addresses has for one destination.
    pub fn limit(&self) -> u64 {
        u64::from(self.last - self.first) + 1
    }

    /// Ports in use, for all destinations together.
    pub fn in_use(&self) -> u64 {
        self.destinations.values().map(|used| u64::from(used.count)).sum()
    }
}

/// The next port worth looking at after one that is taken: whole words of taken ports are stepped over.
fn next_free_guess(used: &Used, port: u16, first: u16, last: u16) -> u16 {
    if port == last {
        return first;
    }
    let next = port + 1;
    let word_is_full = next.is_multiple_of(64) && used.words.get(&(next / 64)) == Some(&u64::MAX);
    if word_is_full && last - next >= 64 { next + 63 } else { next }
}

impl Destination {
    fn of(tuple: &FourTuple) -> Self {
        Destination { local: tuple.local_addr, remote: tuple.remote_addr, remote_port: tuple.remote_port }
    }
}

impl Used {
    fn is_taken(&self, port: u16) -> bool {
        self.words.get(&(port / 64)).is_some_and(|word| word >> (port % 64) & 1 == 1)
    }

    fn take(&mut self, port: u16) {
        *self.words.entry(port / 64).or_default() |= 1 << (port % 64);
    }

    fn release(&mut self, port: u16) {
        if let Some(word) = self.words.get_mut(&(port / 64)) {
            *word &= !(1 << (port % 64));
            if *word == 0 {
                self.words.remove(&(port / 64));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_is_given_once_and_then_no_more() {
        let secret = IsnGenerator::new(&[3; 16]);
        let (local, remote) = (Addr::from_v4([10, 0, 0, 1]), Addr::from_v4([10, 0, 0, 2]));
        for range in [(1024, 65535), (40_000, 40_009), (65_530, 65_535)] {
            let mut ports = Ports::new(range);
            let mut seen = std::collections::BTreeSet::new();
            while let Some(port) = ports.take(local, remote, 80, &secret) {
                assert!((range.0..=range.1).contains(&port) && seen.insert(port));
            }
            assert_eq!(seen.len(), usize::from(range.1 - range.0) + 1);
            assert!(ports.take(local, remote, 81, &secret).is_some(), "another destination has its own");
            let tuple = FourTuple { local_addr: local, remote_addr: remote, local_port: range.1, remote_port: 80 };
            ports.release(&tuple);
            assert_eq!(ports.take(local, remote, 80, &secret), Some(range.1));
        }
    }
}
