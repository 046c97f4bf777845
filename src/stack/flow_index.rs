//! From a 4-tuple to the entry that it belongs to, whatever its phase: one look-up a segment.

use crate::tcp::tuple_hash::TupleHash;
use crate::wire::FourTuple;
use hashbrown::HashTable;

/// Parts of the index: each grows by itself, so that no growth touches more than a small share.
const PARTS: usize = 256;

/// An entry: its phase and its place in that phase's table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow(u32);

/// The tables that a flow can be in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Phase {
    /// The half-open table.
    HalfOpen,
    /// The connection table.
    Connection,
    /// The TIME-WAIT table for IPv4.
    TimeWaitV4,
    /// The TIME-WAIT table for IPv6.
    TimeWaitV6,
}

impl Flow {
    /// The largest place that can be named.
    pub const MAX_PLACE: u32 = (1 << 30) - 1;

    /// The entry at `place` of a phase's table.
    #[inline]
    pub fn new(phase: Phase, place: u32) -> Self {
        debug_assert!(place <= Flow::MAX_PLACE);
        Flow((phase as u32) << 30 | place)
    }

    /// Its phase.
    #[inline]
    pub fn phase(self) -> Phase {
        match self.0 >> 30 {
            0 => Phase::HalfOpen,
            1 => Phase::Connection,
            2 => Phase::TimeWaitV4,
            _ => Phase::TimeWaitV6,
        }
    }

    /// Its place in that phase's table.
    #[inline]
    pub fn place(self) -> u32 {
        self.0 & Flow::MAX_PLACE
    }
}

/// Flows by 4-tuple. It stores no tuples: those are in the entries, and callers compare there.
pub struct FlowIndex {
    parts: Vec<HashTable<Flow>>,
    keyed: KeyedHash,
}

/// A hash of tuples that nobody outside can predict.
#[derive(Clone, Copy)]
pub struct KeyedHash(TupleHash<1, 3>);

impl KeyedHash {
    /// A tuple's hash.
    #[inline]
    pub fn hash(&self, tuple: &FourTuple) -> u64 {
        self.0.hash(tuple)
    }
}

impl FlowIndex {
    /// An empty index, hashed with a key that nobody outside knows, so that nobody can make tuples collide.
    pub fn new(key: &[u8; 16]) -> Self {
        FlowIndex { parts: (0..PARTS).map(|_| HashTable::new()).collect(), keyed: KeyedHash(TupleHash::new(key)) }
    }

    /// A tuple's hash.
    #[inline]
    pub fn hash(&self, tuple: &FourTuple) -> u64 {
        self.keyed.hash(tuple)
    }

    /// The hash function, to be used beside the index.
    pub fn keyed(&self) -> KeyedHash {
        self.keyed
    }

    fn part(hash: u64) -> usize {
        // The table below uses the lowest and the highest bits.
        (hash >> 40) as usize % PARTS
    }

    /// The flow whose entry `is_it` recognizes.
    #[inline]
    pub fn find(&self, hash: u64, is_it: impl FnMut(&Flow) -> bool) -> Option<Flow> {
        self.parts[Self::part(hash)].find(hash, is_it).copied()
    }

    /// Enters a flow that is not there yet; `rehash` gives the hash of any flow in the index.
    pub fn insert(&mut self, hash: u64, flow: Flow, rehash: impl Fn(&Flow) -> u64) {
        self.parts[Self::part(hash)].insert_unique(hash, flow, rehash);
    }

    /// Puts `new` in the place of `old`.
    pub fn replace(&mut self, hash: u64, old: Flow, new: Flow) {
        match self.parts[Self::part(hash)].find_mut(hash, |flow| *flow == old) {
            Some(flow) => *flow = new,
            None => debug_assert!(false, "replacing a flow that is not there"),
        }
    }

    /// Takes a flow out.
    pub fn remove(&mut self, hash: u64, flow: Flow) {
        match self.parts[Self::part(hash)].find_entry(hash, |f| *f == flow) {
            Ok(entry) => {
                entry.remove();
            }
            Err(_) => debug_assert!(false, "removing a flow that is not there"),
        }
    }

    /// Flows in the index.
    pub fn len(&self) -> usize {
        self.parts.iter().map(HashTable::len).sum()
    }

    /// Octets that it takes.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.allocation_size()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Addr;

    #[test]
    fn phase_and_place_survive_packing() {
        for phase in [Phase::HalfOpen, Phase::Connection, Phase::TimeWaitV4, Phase::TimeWaitV6] {
            for place in [0, 1, Flow::MAX_PLACE] {
                let flow = Flow::new(phase, place);
                assert_eq!((flow.phase(), flow.place()), (phase, place));
            }
        }
    }

    /// Tuples of one server whose hashes under `keyed` choose the same part and have the same tag there (the highest seven
    /// bits, by which the table tells entries apart before they are compared): whoever knew the key could make these.
    fn crafted(keyed: KeyedHash, count: usize) -> Vec<FourTuple> {
        let tuple = |n: u32| FourTuple {
            local_addr: Addr::from_v4([10, 0, 0, 1]),
            remote_addr: Addr::from_v4([10, 0, 1, (n >> 16) as u8]),
            local_port: 80,
            remote_port: n as u16,
        };
        let collides = |tuple: &FourTuple| {
            let hash = keyed.hash(tuple);
            FlowIndex::part(hash) == 0 && hash >> 57 == 0
        };
        (0..).map(tuple).filter(collides).take(count).collect()
    }

    /// How many entries are compared while each of the tuples is looked for, none of which `is_it` recognizes.
    fn comparisons(key: &[u8; 16], tuples: &[FourTuple]) -> usize {
        let mut index = FlowIndex::new(key);
        let keyed = index.keyed();
        for (place, tuple) in tuples.iter().enumerate() {
            let flow = Flow::new(Phase::Connection, place as u32);
            index.insert(keyed.hash(tuple), flow, |flow| keyed.hash(&tuples[flow.place() as usize]));
        }
        let mut calls = 0;
        for tuple in tuples {
            let found = index.find(index.hash(tuple), |_| {
                calls += 1;
                false
            });
            assert_eq!(found, None);
        }
        calls
    }

    #[test]
    fn tuples_made_to_collide_under_another_key_are_as_good_as_any() {
        let (guessed, secret) = ([7; 16], *b"nobody knows it.");
        let tuples = crafted(FlowIndex::new(&guessed).keyed(), 64);
        // Each is met once, in its own look-up.
        let (known, unknown) = (comparisons(&guessed, &tuples), comparisons(&secret, &tuples));
        assert!(known >= 4 * tuples.len(), "with the key they do collide: {known}");
        assert!(unknown <= tuples.len() * 11 / 10, "without it they do not: {unknown}");
    }
}
