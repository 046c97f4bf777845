//! Local ports of active opens, RFC 6056 §3.3.3 (algorithm 3): for each destination a start that nobody outside can
//! guess, then one after another, so that a port comes round again as late as possible.
//!
//! Of several workers each takes only ports by which it owns the flow ([`Share`]), so that replies come to it, and no two
//! open the same 4-tuple.

use super::steering::Share;
use crate::tcp::isn::IsnGenerator;
use crate::time::Instant;
use crate::wire::{Addr, FourTuple};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A destination as one of our addresses sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Destination {
    local: Addr,
    remote: Addr,
    remote_port: u16,
}

/// 64 ports, a bit each.
#[derive(Clone, Copy)]
struct Word {
    taken: u64,
    /// Those that are this worker's.
    ours: u64,
}

/// The ports in use, 64 to a word; words without any are not there, so that many destinations with a few ports each
/// take little memory.
struct Used {
    words: BTreeMap<u16, Word>,
    /// Of them, those between the first and the last.
    count: u32,
    next: u16,
    /// None was free when last looked for, and none was released since.
    exhausted: bool,
}

/// Destinations remembered although no port to them is in use.
const IDLE_DESTINATIONS: usize = 4_096;

/// Which ports are in use, for each destination that has any.
pub struct Ports {
    first: u16,
    last: u16,
    share: Share,
    destinations: BTreeMap<Destination, Used>,
}

impl Ports {
    /// Of the ports from `first` to `last`, both included, those that are `share`'s.
    pub fn new((first, last): (u16, u16), share: Share) -> Self {
        Ports { first: first.max(1).min(last), last, share, destinations: BTreeMap::new() }
    }

    /// Takes a free port for a connection from `local` to `remote`; `None` when all are in use.
    pub fn take(&mut self, local: Addr, remote: Addr, remote_port: u16, secret: &IsnGenerator) -> Option<u16> {
        let key = Destination { local, remote, remote_port };
        let (first, last) = (self.first, self.last);
        let used = self.destinations.entry(key).or_insert_with(|| {
            let tuple = FourTuple { local_addr: local, remote_addr: remote, local_port: 0, remote_port };
            let start = secret.isn(&tuple, Instant::ZERO).0 % (u32::from(last - first) + 1);
            Used::starting_at(first + start as u16)
        });
        if used.exhausted {
            return None;
        }
        let start = used.next;
        let share = &self.share;
        let ours = |word| share.ports(&local, &remote, remote_port, word);
        let found = used.first_free(start..=last, ours).or_else(|| used.first_free(first..=start, ours));
        let Some((port, ours)) = found else {
            used.exhausted = true;
            self.forget_if_idle(&key);
            return None;
        };
        used.take(port, ours);
        used.count += 1;
        used.next = if port == last { first } else { port + 1 };
        Some(port)
    }

    /// The port that will be taken after `others` more, if nobody interferes; `None` where that is not known without a search.
    pub fn upcoming(&self, local: Addr, remote: Addr, remote_port: u16, others: usize) -> Option<u16> {
        let used = self.destinations.get(&Destination { local, remote, remote_port })?;
        let at = used.next / 64;
        let word = used.words.get(&at)?;
        let free = word.ours & !word.taken & u64::MAX << (used.next % 64);
        let behind = (0..others).fold(free, |free, _| free & free.wrapping_sub(1));
        (behind != 0).then(|| at * 64 + behind.trailing_zeros() as u16).filter(|port| *port <= self.last)
    }

    /// Takes this very port; `false` when it is in use.
    pub fn take_exactly(&mut self, tuple: &FourTuple) -> bool {
        let counts = self.counts(tuple.local_port);
        let first = self.first;
        let used = self.destinations.entry(Destination::of(tuple)).or_insert_with(|| Used::starting_at(first));
        let free = !used.is_taken(tuple.local_port);
        if free {
            let word = tuple.local_port / 64;
            let ours = self.share.ports(&tuple.local_addr, &tuple.remote_addr, tuple.remote_port, word);
            used.take(tuple.local_port, ours);
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
            self.forget_if_idle(&Destination::of(tuple));
        }
    }

    /// Where the next port of a destination would be found, or that none is ours, is worth remembering, but not for ever.
    fn forget_if_idle(&mut self, to: &Destination) {
        let many = self.destinations.len() > IDLE_DESTINATIONS;
        if many && self.destinations.get(to).is_some_and(|used| used.words.is_empty()) {
            self.destinations.remove(to);
        }
    }

    fn counts(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Ports that one of our addresses has for one destination; with several workers, about.
    pub fn limit(&self) -> u64 {
        self.share.of(u64::from(self.last - self.first) + 1)
    }

    /// Ports in use towards the destination that has most, or the one that has most at `remote`: of all our addresses together.
    pub fn most_in_use(&self, remote: Option<&Addr>) -> u64 {
        let mut each = BTreeMap::<_, u64>::new();
        for (to, used) in &self.destinations {
            if remote.is_none_or(|remote| to.remote == *remote) {
                *each.entry((to.remote, to.remote_port)).or_default() += u64::from(used.count);
            }
        }
        each.into_values().max().unwrap_or(0)
    }
}

impl Destination {
    fn of(tuple: &FourTuple) -> Self {
        Destination { local: tuple.local_addr, remote: tuple.remote_addr, remote_port: tuple.remote_port }
    }
}

impl Used {
    fn starting_at(next: u16) -> Self {
        Used { words: BTreeMap::new(), count: 0, next, exhausted: false }
    }

    fn is_taken(&self, port: u16) -> bool {
        self.words.get(&(port / 64)).is_some_and(|word| word.taken >> (port % 64) & 1 == 1)
    }

    /// The first free port in `range` that is ours, with the word of ours that it is in. `ours` gives that of each word.
    fn first_free(&self, range: RangeInclusive<u16>, ours: impl Fn(u16) -> u64) -> Option<(u16, u64)> {
        let (first, last) = (*range.start(), *range.end());
        for at in first / 64..=last / 64 {
            let known = self.words.get(&at);
            let word = known.copied().unwrap_or_else(|| Word { taken: 0, ours: ours(at) });
            let from = if at == first / 64 { u64::MAX << (first % 64) } else { u64::MAX };
            let to = if at == last / 64 { u64::MAX >> (63 - last % 64) } else { u64::MAX };
            let free = word.ours & !word.taken & from & to;
            if free != 0 {
                return Some((at * 64 + free.trailing_zeros() as u16, word.ours));
            }
        }
        None
    }

    fn take(&mut self, port: u16, ours: u64) {
        self.words.entry(port / 64).or_insert(Word { taken: 0, ours }).taken |= 1 << (port % 64);
    }

    fn release(&mut self, port: u16) {
        self.exhausted = false;
        if let Some(word) = self.words.get_mut(&(port / 64)) {
            word.taken &= !(1 << (port % 64));
            if word.taken == 0 {
                self.words.remove(&(port / 64));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::steering::Steering;
    use super::*;
    use std::sync::Arc;

    #[test]
    fn every_port_is_given_once_and_then_no_more() {
        let secret = IsnGenerator::new(&[3; 16]);
        let (local, remote) = (Addr::from_v4([10, 0, 0, 1]), Addr::from_v4([10, 0, 0, 2]));
        for range in [(1024, 65535), (40_000, 40_009), (65_530, 65_535)] {
            let mut ports = Ports::new(range, Share::whole());
            let mut seen = std::collections::BTreeSet::new();
            while let Some(port) = ports.take(local, remote, 80, &secret) {
                assert!((range.0..=range.1).contains(&port) && seen.insert(port));
            }
            assert_eq!(seen.len(), usize::from(range.1 - range.0) + 1);
            assert!(ports.take(local, remote, 81, &secret).is_some(), "another destination has its own");
            let in_use = [None, Some(&remote), Some(&local)].map(|remote| ports.most_in_use(remote));
            assert_eq!(in_use, [seen.len() as u64, seen.len() as u64, 0], "against the limit of one destination");
            let tuple = FourTuple { local_addr: local, remote_addr: remote, local_port: range.1, remote_port: 80 };
            ports.release(&tuple);
            assert_eq!(ports.take(local, remote, 80, &secret), Some(range.1));
        }
    }

    #[test]
    fn the_workers_share_out_every_port_of_a_destination() {
        let secret = IsnGenerator::new(&[3; 16]);
        let (local, remote) = (Addr::from_v4([10, 0, 0, 1]), Addr::from_v4([10, 0, 0, 2]));
        let key = std::array::from_fn(|i| (i as u8).wrapping_mul(151) ^ 0x35);
        for (range, workers) in [((32_768, 60_999), 4), ((1, 65_535), 3), ((1_000, 1_006), 2)] {
            let steering = Arc::new(Steering::of_our_own(&key, workers));
            let mut seen = std::collections::BTreeSet::new();
            for worker in 0..workers {
                let share = Share::new(&steering, worker);
                let mut ports = Ports::new(range, share.clone());
                while let Some(local_port) = ports.take(local, remote, 80, &secret) {
                    let tuple = FourTuple { local_addr: local, remote_addr: remote, local_port, remote_port: 80 };
                    assert_eq!(share.other_owner(&tuple), None);
                    assert!(seen.insert(local_port), "no other worker has {local_port}");
                }
                assert!(ports.take(local, remote, 80, &secret).is_none(), "still none");
                if let Some(&local_port) = seen.iter().find(|port| ports.is_taken(local, remote, 80, **port)) {
                    let tuple = FourTuple { local_addr: local, remote_addr: remote, local_port, remote_port: 80 };
                    ports.release(&tuple);
                    assert_eq!(ports.take(local, remote, 80, &secret), Some(local_port), "until one is free again");
                }
            }
            assert_eq!(seen.len(), usize::from(range.1 - range.0) + 1);
        }
    }

    #[test]
    fn destinations_without_a_port_in_use_are_not_remembered_for_ever() {
        let secret = IsnGenerator::new(&[3; 16]);
        let steering = Arc::new(Steering::of_our_own(&std::array::from_fn(|i| (i as u8).wrapping_mul(151) ^ 0x35), 16));
        let local = Addr::from_v4([10, 0, 0, 1]);
        // Mostly none of these is ours, of sixteen workers.
        let mut ports = Ports::new((1_000, 1_006), Share::new(&steering, 0));
        let (mut taken, mut none) = (0, 0);
        for n in 0..3 * IDLE_DESTINATIONS as u32 {
            let remote = Addr::from_v4((0x0b00_0000 + n).to_be_bytes());
            match ports.take(local, remote, 80, &secret) {
                Some(local_port) => {
                    taken += 1;
                    ports.release(&FourTuple { local_addr: local, remote_addr: remote, local_port, remote_port: 80 });
                }
                None => none += 1,
            }
        }
        assert!(taken > 100 && none > 100, "{taken} had a port of ours, {none} had none");
        assert!(ports.destinations.len() <= IDLE_DESTINATIONS + 1, "{}", ports.destinations.len());
    }

    impl Ports {
        fn is_taken(&self, local: Addr, remote: Addr, remote_port: u16, port: u16) -> bool {
            self.destinations.get(&Destination { local, remote, remote_port }).is_some_and(|used| used.is_taken(port))
        }
    }
}
