//! From a 4-tuple to the entry that it belongs to, whatever its phase: one look-up a segment.
//!
//! The index is made of many small hash tables, split one at a time ([`Spiral`]): no growth ever touches more than the
//! entries of one of them, however many there are, and the memory that an entry takes is the same at any size.

use super::flow_hash::FlowHash;
use super::spiral::Spiral;
use crate::wire::FourTuple;
use hashbrown::HashTable;

/// Places of a part's table, whatever it begins with: so hardly one is made anew before it is split.
const BUCKETS: usize = 1_024;

/// Flows that these hold, as hashbrown has it.
const ROOM: usize = BUCKETS / 8 * 7;

/// Flows in a part, on average: the first part has half as many again, which nearly fills its table, the last three quarters
/// of it.
const MEAN: u64 = 580;

/// No part ever has so many: what a split or a refit moves at once is bounded.
const MOST_MOVED: usize = 1_100;

/// A part with fewer is not left the larger table that it once had.
const SHRINKS_BELOW: usize = 840;

/// Parts in a chunk of their list, so that the list grows without moving what is in it.
const CHUNK: u64 = 64;

/// Octets of index that a flow takes, from some ten thousand flows on (tested): 5 a bucket, of which the spiral keeps
/// nearly six in ten full, and the share of a table's own.
pub const BYTES_PER_FLOW: f64 = 9.2;

/// Flows whose marks are loaded together, at most: a burst.
pub const TOGETHER: usize = 64;

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
///
/// It grows with the flows, and keeps what it has when they go.
pub struct FlowIndex {
    /// The tables, [`CHUNK`] in each, by number; those of parts that were split are empty.
    chunks: Vec<Box<[HashTable<Flow>]>>,
    spiral: Spiral,
    keyed: FlowHash,
    len: usize,
    /// Flows on their way from one table to another; empty between calls.
    moving: Vec<(u64, Flow)>,
}

impl FlowIndex {
    /// An empty index, hashed with a key that nobody outside knows, so that nobody can make tuples collide.
    pub fn new(key: &[u8; 16]) -> Self {
        let keyed = FlowHash::new(key);
        let spiral = Spiral::new();
        FlowIndex { chunks: vec![chunk()], spiral, keyed, len: 0, moving: Vec::new() }
    }

    /// A tuple's hash.
    #[inline]
    pub fn hash(&self, tuple: &FourTuple) -> u64 {
        self.keyed.hash(tuple)
    }

    /// The hash function, to be used beside the index.
    pub fn keyed(&self) -> FlowHash {
        self.keyed
    }

    #[inline]
    fn part(&self, hash: u64) -> &HashTable<Flow> {
        let number = self.spiral.locate(hash);
        &self.chunks[(number / CHUNK) as usize][(number % CHUNK) as usize]
    }

    #[inline]
    fn part_mut(&mut self, number: u64) -> &mut HashTable<Flow> {
        &mut self.chunks[(number / CHUNK) as usize][(number % CHUNK) as usize]
    }

    /// The flow whose entry `is_it` recognizes.
    #[inline(always)]
    pub fn find(&self, hash: u64, is_it: impl FnMut(&Flow) -> bool) -> Option<Flow> {
        self.part(hash).find(hash, is_it).copied()
    }

    /// The flow that [`FlowIndex::find`] would very likely give (7 bits of the hash agree), without a look at its entry:
    /// so that many can be asked of memory before the first is needed.
    #[inline(always)]
    pub fn guess(&self, hash: u64) -> Option<Flow> {
        self.find(hash, |_| true)
    }

    /// Loads the marks by which flows of these hashes are looked for, of the first [`TOGETHER`]. What is loaded decides nothing, so
    /// loads of many go on side by side: the more, the less there is to do between one and the next.
    #[inline]
    pub fn load_marks(&self, hashes: &[u64]) {
        let mut parts = [None; TOGETHER];
        for (part, hash) in parts.iter_mut().zip(hashes) {
            *part = Some((self.part(*hash), *hash));
        }
        for (part, hash) in parts.iter().flatten() {
            std::hint::black_box(part.get_bucket(home(part, *hash)).is_some());
        }
        // Sixteen at a time: whoever takes a flow out looks at the sixteen before it as well.
        for (part, hash) in parts.iter().flatten() {
            let before = home(part, *hash).wrapping_sub(16) & (part.num_buckets() - 1);
            std::hint::black_box(part.get_bucket(before).is_some());
        }
    }

    /// Loads the place that a flow of this hash would very likely be entered at, whose marks are there. Until a line that is
    /// written to has come from memory, nothing that is written after it can leave for the cache.
    #[inline]
    pub fn load_vacancy(&self, hash: u64) {
        let part = self.part(hash);
        // Of sixteen places the first that is free is taken; who lives next to it is loaded with it.
        let (home, last) = (home(part, hash), part.num_buckets() - 1);
        std::hint::black_box((0..16).find_map(|ahead| part.get_bucket((home + ahead) & last).copied()));
    }

    /// Enters a flow that is not there yet; `rehash` gives the hash of any flow in the index.
    pub fn insert(&mut self, hash: u64, flow: Flow, rehash: impl Fn(&Flow) -> u64) {
        if self.len as u64 >= self.spiral.parts() * MEAN {
            self.split(&rehash);
        }
        let number = self.spiral.locate(hash);
        if is_unfit(self.part_mut(number)) {
            self.refit(number, &rehash);
        }
        self.part_mut(number).insert_unique(hash, flow, rehash);
        self.len += 1;
    }

    /// Shares the flows of the first part out to two new ones.
    fn split(&mut self, rehash: &impl Fn(&Flow) -> u64) {
        let old = self.spiral.grow();
        let mut table = std::mem::take(self.part_mut(old));
        self.drain(&mut table, rehash);
        if old % CHUNK == CHUNK - 1 {
            self.chunks[(old / CHUNK) as usize] = Box::default();
        }
        if (2 * old + 1) / CHUNK == self.chunks.len() as u64 {
            self.chunks.push(chunk());
        }
        let spiral = self.spiral;
        let which = |hash| (spiral.locate(hash) - 2 * old) as usize;
        let mut counts = [0; 2];
        self.moving.iter().for_each(|(hash, _)| counts[which(*hash)] += 1);
        let mut tables = counts.map(|flows| HashTable::with_capacity(room_for(flows)));
        self.moving.drain(..).for_each(|(hash, flow)| enter(&mut tables[which(hash)], hash, flow));
        for (number, table) in (2 * old..).zip(tables) {
            *self.part_mut(number) = table;
        }
    }

    /// Makes a table anew, in its own memory if that is what it needs.
    fn refit(&mut self, number: u64, rehash: &impl Fn(&Flow) -> u64) {
        let mut table = std::mem::take(self.part_mut(number));
        self.drain(&mut table, rehash);
        let room = room_for(self.moving.len());
        if !(room..2 * room).contains(&table.capacity()) {
            table = HashTable::with_capacity(room);
        }
        self.moving.drain(..).for_each(|(hash, flow)| enter(&mut table, hash, flow));
        *self.part_mut(number) = table;
    }

    /// Takes the flows out of a table, to be entered elsewhere.
    fn drain(&mut self, table: &mut HashTable<Flow>, rehash: &impl Fn(&Flow) -> u64) {
        self.moving.extend(table.drain().map(|flow| (rehash(&flow), flow)));
        debug_assert!(self.moving.len() < MOST_MOVED, "{} flows moved at once", self.moving.len());
    }

    /// Puts `new` in the place of `old`.
    pub fn replace(&mut self, hash: u64, old: Flow, new: Flow) {
        let number = self.spiral.locate(hash);
        match self.part_mut(number).find_mut(hash, |flow| *flow == old) {
            Some(flow) => *flow = new,
            None => debug_assert!(false, "replacing a flow that is not there"),
        }
    }

    /// Takes a flow out.
    pub fn remove(&mut self, hash: u64, flow: Flow) {
        let number = self.spiral.locate(hash);
        match self.part_mut(number).find_entry(hash, |f| *f == flow) {
            Ok(entry) => {
                entry.remove();
                self.len -= 1;
            }
            Err(_) => debug_assert!(false, "removing a flow that is not there"),
        }
    }

    /// Flows in the index.
    pub fn len(&self) -> usize {
        self.len
    }
}

/// Where a look begins: at the lower bits of the hash, as hashbrown has it.
#[inline]
fn home(table: &HashTable<Flow>, hash: u64) -> usize {
    hash as usize & (table.num_buckets() - 1)
}

/// Enters a flow into a table that has room for it.
#[inline]
fn enter(table: &mut HashTable<Flow>, hash: u64, flow: Flow) {
    table.insert_unique(hash, flow, |_| unreachable!("there is room for all"));
}

/// Whether a table must be made anew before it takes another flow: it is full, of flows or of the marks that removed ones leave
/// behind, or larger than it need be.
#[inline]
fn is_unfit(table: &HashTable<Flow>) -> bool {
    table.len() == table.capacity() || (table.num_buckets() > BUCKETS && table.len() < SHRINKS_BELOW)
}

/// What a table of so many flows is made for: at least a 32nd more, so that it is not soon full again.
fn room_for(flows: usize) -> usize {
    ROOM.max(flows + 1 + flows / 32)
}

fn chunk() -> Box<[HashTable<Flow>]> {
    (0..CHUNK).map(|_| HashTable::new()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Addr;
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::collections::HashMap;

    #[test]
    fn phase_and_place_survive_packing() {
        for phase in [Phase::HalfOpen, Phase::Connection, Phase::TimeWaitV4, Phase::TimeWaitV6] {
            for place in [0, 1, Flow::MAX_PLACE] {
                let flow = Flow::new(phase, place);
                assert_eq!((flow.phase(), flow.place()), (phase, place));
            }
        }
    }

    /// Tuples of one server whose hashes under `keyed` have the same tag (the highest seven bits, by which a table tells
    /// entries apart before they are compared); so few of them share one part: whoever knew the key could make these.
    fn crafted(keyed: FlowHash, count: usize) -> Vec<FourTuple> {
        let tuple = |n: u32| FourTuple {
            local_addr: Addr::from_v4([10, 0, 0, 1]),
            remote_addr: Addr::from_v4([10, 0, 1, (n >> 16) as u8]),
            local_port: 80,
            remote_port: n as u16,
        };
        let collides = |tuple: &FourTuple| keyed.hash(tuple) >> 57 == 0;
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
        let tuples = crafted(FlowIndex::new(&guessed).keyed(), 512);
        // Each is met once, in its own look-up.
        let (known, unknown) = (comparisons(&guessed, &tuples), comparisons(&secret, &tuples));
        assert!(known >= 4 * tuples.len(), "with the key they do collide: {known}");
        assert!(unknown <= tuples.len() * 11 / 10, "without it they do not: {unknown}");
    }

    fn flow(place: u32) -> Flow {
        Flow::new(Phase::Connection, place)
    }

    fn tuple(n: u32) -> FourTuple {
        FourTuple {
            local_addr: Addr::from_v4([10, 0, 0, 1]),
            remote_addr: Addr::from_v4((0x0a01_0000 + (n >> 16)).to_be_bytes()),
            local_port: 80,
            remote_port: n as u16,
        }
    }

    /// An index of the flows 0..n, each with the tuple of its number.
    fn index_of(key: u8, n: u32) -> FlowIndex {
        let mut index = FlowIndex::new(&[key; 16]);
        let keyed = index.keyed();
        let rehash = |flow: &Flow| keyed.hash(&tuple(flow.place()));
        (0..n).for_each(|i| index.insert(keyed.hash(&tuple(i)), flow(i), rehash));
        index
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((any::<bool>(), 0u32..3_000), 1..6_000)) {
            let mut index = FlowIndex::new(&[1; 16]);
            let keyed = index.keyed();
            let mut model = HashMap::new();
            for (enter, n) in steps {
                let hash = keyed.hash(&tuple(n));
                index.load_marks(&[hash]);
                index.load_vacancy(hash);
                match (enter, model.contains_key(&n)) {
                    (true, false) => {
                        index.insert(hash, flow(n), |flow| keyed.hash(&tuple(flow.place())));
                        model.insert(n, flow(n));
                    }
                    (false, true) => index.remove(hash, model.remove(&n).unwrap()),
                    _ => {}
                }
                prop_assert_eq!(index.find(hash, |f| *f == flow(n)), model.get(&n).copied());
                prop_assert_eq!(index.len(), model.len());
            }
            for n in 0..3_000 {
                let found = index.find(keyed.hash(&tuple(n)), |f| *f == flow(n));
                prop_assert_eq!(found, model.get(&n).copied());
            }
        }
    }

    /// Octets that the index takes.
    fn bytes(index: &FlowIndex) -> usize {
        let parts = 2 * index.spiral.parts() as usize;
        let tables: usize = index.chunks.iter().flatten().map(HashTable::allocation_size).sum();
        tables + parts / 2 * size_of::<HashTable<Flow>>() + parts / CHUNK as usize * size_of::<Box<[()]>>()
    }

    #[test]
    fn a_flow_takes_what_is_stated_at_any_size_and_no_growth_touches_more_than_a_part() {
        let mut index = FlowIndex::new(&[3; 16]);
        let keyed = index.keyed();
        let (moved, mut moves) = (Cell::new(0), 0);
        let rehash = |flow: &Flow| {
            moved.set(moved.get() + 1);
            keyed.hash(&tuple(flow.place()))
        };
        for i in 0..300_000 {
            index.insert(keyed.hash(&tuple(i)), flow(i), rehash);
            // It takes more only when something moves; how much moves at once is asserted where it does.
            let moved = moved.take();
            moves += moved;
            if i >= 20_000 && moved > 0 {
                let share = bytes(&index) as f64 / index.len() as f64;
                assert!(share <= BYTES_PER_FLOW, "{share} octets a flow among {i}");
            }
        }
        // A split in two moves 1.44 for each that has come.
        assert!(moves < 480_000, "{moves} moves while 300,000 came");
    }

    /// What comes and goes at a constant size leaves marks in the tables; they must not double for that.
    #[test]
    fn coming_and_going_takes_no_more_memory() {
        // Where the first part is at its largest, next to the bounds of its table.
        const N: u32 = (MEAN << 7) as u32;
        let mut index = index_of(4, N);
        let keyed = index.keyed();
        let moved = Cell::new(0);
        let rehash = |flow: &Flow| {
            moved.set(moved.get() + 1);
            keyed.hash(&tuple(flow.place()))
        };
        let mut moves = 0;
        for i in 0..20 * N {
            index.remove(keyed.hash(&tuple(i)), flow(i));
            index.insert(keyed.hash(&tuple(i + N)), flow(i + N), rehash);
            let moved = moved.take();
            moves += moved;
            if moved > 0 {
                let share = bytes(&index) as f64 / index.len() as f64;
                assert!(share <= BYTES_PER_FLOW, "{share} octets a flow after {i}");
            }
        }
        assert!(moves < 16 * N, "{moves} moves while {} came and went", 20 * N);
    }

    /// Somebody who knows one key has made tuples that all fall into one part there; under another key they do not.
    #[test]
    fn tuples_crafted_for_another_key_do_not_collide() {
        let known = index_of(5, 100_000);
        let aim = known.spiral.locate(known.hash(&tuple(0)));
        let crafted: Vec<u32> =
            (0..2_000_000).filter(|n| known.spiral.locate(known.hash(&tuple(*n))) == aim).take(2_000).collect();
        assert!(crafted.len() > 1_000, "the attack itself works: {}", crafted.len());
        let mut index = FlowIndex::new(&[6; 16]);
        let keyed = index.keyed();
        let rehash = |flow: &Flow| keyed.hash(&tuple(flow.place()));
        crafted.iter().for_each(|n| index.insert(keyed.hash(&tuple(*n)), flow(*n), rehash));
        let largest = index.chunks.iter().flatten().map(HashTable::len).max().unwrap();
        assert!(largest < 1_100, "{largest} of {} in one part", crafted.len());
        let probes = Cell::new(0);
        for n in &crafted {
            let is_it = |f: &Flow| {
                probes.set(probes.get() + 1);
                f.place() == *n
            };
            assert!(index.find(keyed.hash(&tuple(*n)), is_it).is_some());
        }
        let mean = f64::from(probes.get()) / crafted.len() as f64;
        assert!(mean < 1.2, "{mean} entries are looked at for each tuple");
    }

    #[test]
    fn a_guess_is_nearly_always_right() {
        let index = index_of(7, 50_000);
        let wrong = (0..50_000).filter(|i| index.guess(index.hash(&tuple(*i))) != Some(flow(*i))).count();
        assert!(wrong < 2_000, "{wrong} guesses of 50,000 were wrong");
    }
}
