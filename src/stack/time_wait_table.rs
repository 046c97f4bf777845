//! TIME-WAIT entries, packed, in the order in which they came.
//!
//! All wait equally long, so this order is the wheel: an entry's place in it says when its time is over, and neither links
//! nor deadlines are stored for each. Entries stand in segments; a segment's time is over when that of its last entry is,
//! and one takes entries for no longer than a 1024th of the wait, so that none waits much longer than it must. Segments
//! stand in a slab, so many together that they are apart from the tables of the index: as boxes of their own they took the
//! room of those that the index had given back, and left a tenth of it that nothing fits into. The slab keeps what it has for
//! entries to come.

use super::flow_index::{Flow, Phase};
use super::locals::Locals;
use super::slab::Slab;
use crate::tcp::time_wait::TimeWait;
use crate::time::Duration;
use crate::wire::{Addr, FourTuple, SeqNum};
use zerocopy::native_endian::U32;

/// Entries in a segment: one bit each in a word.
const SEGMENT: usize = 128;
const NONE: u32 = u32::MAX;

/// How often one entry may start its wait anew before the first is over.
pub const RESTARTS: u64 = 64;

/// How an entry is stored; whether timestamps were in use is a bit of the segment.
pub trait Packed: Copy {
    /// Its tables' phase.
    const PHASE: Phase;
    /// A place that is not used yet.
    const EMPTY: Self;
    /// From plain values; the local address by its number.
    fn pack(entry: &TimeWait, local: u16) -> Self;
    /// Back to plain values.
    fn unpack(&self, locals: &Locals, has_timestamps: bool) -> TimeWait;
    /// Whether it is this tuple's.
    fn is_of(&self, tuple: &FourTuple, locals: &Locals) -> bool;
}

/// What an entry of either family keeps, aligned so that nothing is lost between two of them.
#[derive(Clone, Copy)]
pub struct PackedEntry<const N: usize> {
    local: u16,
    ports: [u16; 2],
    remote: [u8; N],
    snd_nxt: U32,
    rcv_nxt: U32,
    ts_recent: U32,
}

/// An IPv4 entry.
pub type PackedV4 = PackedEntry<4>;
/// An IPv6 entry.
pub type PackedV6 = PackedEntry<16>;

impl<const N: usize> PackedEntry<N> {
    const NOTHING: Self = PackedEntry {
        local: 0,
        ports: [0; 2],
        remote: [0; N],
        snd_nxt: U32::ZERO,
        rcv_nxt: U32::ZERO,
        ts_recent: U32::ZERO,
    };

    fn of(entry: &TimeWait, local: u16, remote: [u8; N]) -> Self {
        PackedEntry {
            local,
            ports: [entry.tuple.local_port, entry.tuple.remote_port],
            remote,
            snd_nxt: entry.snd_nxt.0.into(),
            rcv_nxt: entry.rcv_nxt.0.into(),
            ts_recent: entry.ts_recent.unwrap_or(0).into(),
        }
    }

    fn holds(&self, tuple: &FourTuple, remote_addr: Addr, locals: &Locals) -> bool {
        // The ports tell nearly all apart.
        self.ports == [tuple.local_port, tuple.remote_port]
            && tuple.remote_addr == remote_addr
            && tuple.local_addr == locals.addr(self.local)
    }

    fn entry(&self, locals: &Locals, remote_addr: Addr, has_timestamps: bool) -> TimeWait {
        let [local_port, remote_port] = self.ports;
        TimeWait {
            tuple: FourTuple { local_addr: locals.addr(self.local), remote_addr, local_port, remote_port },
            snd_nxt: SeqNum(self.snd_nxt.get()),
            rcv_nxt: SeqNum(self.rcv_nxt.get()),
            ts_recent: has_timestamps.then(|| self.ts_recent.get()),
        }
    }
}

impl Packed for PackedV4 {
    const PHASE: Phase = Phase::TimeWaitV4;
    const EMPTY: Self = Self::NOTHING;

    fn pack(entry: &TimeWait, local: u16) -> Self {
        Self::of(entry, local, entry.tuple.remote_addr.v4().unwrap_or_default())
    }

    fn unpack(&self, locals: &Locals, has_timestamps: bool) -> TimeWait {
        self.entry(locals, Addr::from_v4(self.remote), has_timestamps)
    }

    fn is_of(&self, tuple: &FourTuple, locals: &Locals) -> bool {
        self.holds(tuple, Addr::from_v4(self.remote), locals)
    }
}

impl Packed for PackedV6 {
    const PHASE: Phase = Phase::TimeWaitV6;
    const EMPTY: Self = Self::NOTHING;

    fn pack(entry: &TimeWait, local: u16) -> Self {
        Self::of(entry, local, *entry.tuple.remote_addr.octets())
    }

    fn unpack(&self, locals: &Locals, has_timestamps: bool) -> TimeWait {
        self.entry(locals, Addr::from_v6(self.remote), has_timestamps)
    }

    fn is_of(&self, tuple: &FourTuple, locals: &Locals) -> bool {
        self.holds(tuple, Addr::from_v6(self.remote), locals)
    }
}

struct Segment<E> {
    /// One bit an entry: it waits.
    live: u128,
    /// One bit an entry: timestamps were in use.
    has_timestamps: u128,
    /// When the first entry came, and when the last.
    begun_ms: u64,
    last_ms: u64,
    /// The segments filled before and after this one.
    older: u32,
    newer: u32,
    /// Places that entries were put in, and how many of them were taken out by their time.
    used: u8,
    popped: u8,
    entries: [E; SEGMENT],
}

/// 64 at a time: as many are mapped by themselves (from 128 KiB on, malloc(3)), and few enough that their pages are cleared in
/// some microseconds.
type Segments<E> = Slab<Segment<E>, 64>;

/// The entries of one address family.
pub struct TimeWaitTable<E> {
    segments: Segments<E>,
    oldest: u32,
    newest: u32,
    wait_ms: u64,
    /// How long a segment takes entries.
    width_ms: u64,
    live: usize,
    /// Places in segments, those of removed entries among them: what memory is taken for.
    stored: usize,
    limit: usize,
    locals: Locals,
}

/// Octets that an IPv4 entry takes with its share of the segment; beside it is the index
/// ([`super::flow_index::BYTES_PER_FLOW`]).
pub const ENTRY_BYTES_V4: f64 = entry_bytes::<PackedV4>();
/// The same for IPv6.
pub const ENTRY_BYTES_V6: f64 = entry_bytes::<PackedV6>();

const fn entry_bytes<E>() -> f64 {
    Segments::<E>::ENTRY_BYTES as f64 / SEGMENT as f64
}

const _: () = assert!(size_of::<PackedV4>() == 22 && size_of::<PackedV6>() == 34);
// All in: table, order of time, and index.
const _: () = assert!(ENTRY_BYTES_V4 + super::flow_index::BYTES_PER_FLOW <= 32.0);
const _: () = assert!(ENTRY_BYTES_V6 + super::flow_index::BYTES_PER_FLOW <= 44.0);

impl<E: Packed> TimeWaitTable<E> {
    /// An empty table for entries that wait `time_wait`; at most `limit` of them.
    pub fn new(time_wait: Duration, limit: u32, locals: Locals) -> Self {
        let wait_ms = (time_wait.as_millis() as u64).max(1);
        TimeWaitTable {
            segments: Slab::new(Flow::MAX_PLACE / SEGMENT as u32),
            oldest: NONE,
            newest: NONE,
            wait_ms,
            width_ms: wait_ms.div_ceil(1024),
            live: 0,
            stored: 0,
            limit: limit.min(Flow::MAX_PLACE) as usize,
            locals,
        }
    }

    /// Entries that wait.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Places that are taken: by entries that wait, and by those that were removed before their time, until nobody waits
    /// any more in their segment.
    pub fn places(&self) -> usize {
        self.stored
    }

    /// Whether an entry must go before another one can come.
    pub fn is_full(&self) -> bool {
        self.stored >= self.limit || self.segments.is_full()
    }

    /// Octets that its segments take.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.segments.len() * Segments::<E>::ENTRY_BYTES
    }

    /// Has an entry wait from `now_ms` on; says where it is. The table must not be full.
    pub fn insert(&mut self, entry: &TimeWait, now_ms: u64) -> Flow {
        debug_assert!(!self.is_full());
        let local = self.locals.number(&entry.tuple.local_addr).expect("a connection's own end is ours");
        let number = self.segment_for(now_ms);
        let segment = self.segments.get_mut(number).expect(LISTED);
        let at = segment.used as usize;
        segment.used += 1;
        segment.entries[at] = E::pack(entry, local);
        segment.live |= 1 << at;
        segment.has_timestamps |= u128::from(entry.ts_recent.is_some()) << at;
        segment.last_ms = segment.last_ms.max(now_ms);
        self.live += 1;
        self.stored += 1;
        Flow::new(E::PHASE, number * SEGMENT as u32 + at as u32)
    }

    /// The newest segment, or one begun because that is full or old.
    fn segment_for(&mut self, now_ms: u64) -> u32 {
        let takes = |s: &Segment<E>| (s.used as usize) < SEGMENT && now_ms.saturating_sub(s.begun_ms) < self.width_ms;
        if self.segments.get(self.newest).is_some_and(takes) {
            return self.newest;
        }
        let older = self.newest;
        // Time does not run backwards.
        let begun_ms = self.segments.get(older).map_or(now_ms, |segment| segment.last_ms.max(now_ms));
        let segment = Segment {
            live: 0,
            has_timestamps: 0,
            begun_ms,
            last_ms: begun_ms,
            older,
            newer: NONE,
            used: 0,
            popped: 0,
            entries: [E::EMPTY; SEGMENT],
        };
        let Some(number) = self.segments.insert(segment) else { unreachable!("the table was not full") };
        match self.segments.get_mut(older) {
            Some(older) => older.newer = number,
            None => self.oldest = number,
        }
        self.newest = number;
        if self.segments.get(older).is_some_and(|older| older.live == 0) {
            self.drop_segment(older);
        }
        number
    }

    fn of(&self, place: u32) -> (&Segment<E>, usize) {
        (self.segments.get(place / SEGMENT as u32).expect(LISTED), place as usize % SEGMENT)
    }

    /// The entry at `place`.
    #[inline]
    pub fn get(&self, place: u32) -> TimeWait {
        let (segment, at) = self.of(place);
        segment.entries[at].unpack(&self.locals, segment.has_timestamps >> at & 1 == 1)
    }

    /// Whether the entry at `place` is this tuple's.
    #[inline]
    pub fn is_of(&self, place: u32, tuple: &FourTuple) -> bool {
        let (segment, at) = self.of(place);
        segment.entries[at].is_of(tuple, &self.locals)
    }

    /// Shows the entry at `place`, if one waits there; says whether there may be others from there on.
    pub fn peek(&self, place: u32, show: impl FnOnce(&TimeWait)) -> bool {
        let (number, at) = (place / SEGMENT as u32, place as usize % SEGMENT);
        if self.segments.get(number).is_some_and(|segment| segment.live >> at & 1 == 1) {
            show(&self.get(place));
        }
        number < self.segments.end()
    }

    /// Removes the entry at `place` before its time.
    pub fn remove(&mut self, place: u32) {
        let number = place / SEGMENT as u32;
        let bit = 1 << (place as usize % SEGMENT);
        let segment = self.segments.get_mut(number).expect(LISTED);
        debug_assert!(segment.live & bit != 0, "removed twice");
        segment.live &= !bit;
        self.live -= 1;
        if segment.live > 0 {
            return;
        }
        if number == self.newest {
            // It takes entries still: all its places at once are free again.
            self.stored -= usize::from(segment.used - segment.popped);
            (segment.used, segment.popped, segment.has_timestamps) = (0, 0, 0);
        } else {
            self.drop_segment(number);
        }
    }

    /// Takes a segment out in which nobody waits any more.
    fn drop_segment(&mut self, number: u32) {
        let Some(&Segment { used, popped, older, newer, .. }) = self.segments.get(number) else { return };
        self.segments.remove(number);
        self.stored -= usize::from(used - popped);
        match self.segments.get_mut(older) {
            Some(segment) => segment.newer = newer,
            None => self.oldest = newer,
        }
        match self.segments.get_mut(newer) {
            Some(segment) => segment.older = older,
            None => self.newest = older,
        }
    }

    /// Whether the entry at `place` has waited long enough that starting anew is worth a new entry.
    ///
    /// Deviation: RFC 9293 §3.10.7.4, 2 MSL restart. A peer that sends its FIN again and again cannot make one entry take
    /// more than [`RESTARTS`] places.
    pub fn is_worth_restarting(&self, place: u32, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.of(place).0.last_ms) >= self.wait_ms.div_ceil(RESTARTS)
    }

    /// Takes out one entry whose time is over at `now_ms`, if there is one.
    pub fn pop_expired(&mut self, now_ms: u64) -> Option<(Flow, TimeWait)> {
        if self.next_due_ms()? > now_ms {
            return None;
        }
        self.pop_oldest()
    }

    /// Takes out one of the oldest entries, whatever its time.
    pub fn pop_oldest(&mut self) -> Option<(Flow, TimeWait)> {
        let number = self.oldest;
        let segment = self.segments.get_mut(number)?;
        let at = segment.live.trailing_zeros();
        if at as usize == SEGMENT {
            // The newest, from which all entries were removed.
            self.drop_segment(number);
            return None;
        }
        let place = number * SEGMENT as u32 + at;
        let entry = self.get(place);
        self.live -= 1;
        self.stored -= 1;
        let segment = self.segments.get_mut(number).expect(LISTED);
        segment.popped += 1;
        segment.live &= !(1 << at);
        if segment.live == 0 {
            self.drop_segment(number);
        }
        Some((Flow::new(E::PHASE, place), entry))
    }

    /// When the next entry's time is over, in milliseconds; `None` when none waits.
    pub fn next_due_ms(&self) -> Option<u64> {
        // The entry may have come at the end of its millisecond: the whole wait counts from there.
        self.segments.get(self.oldest).map(|segment| segment.last_ms + self.wait_ms + 1)
    }
}

/// Why a segment must be there.
const LISTED: &str = "places lie in segments that are there";

#[cfg(test)]
mod tests {
    use super::super::config::LocalAddr;
    use super::*;
    use std::collections::BTreeMap;

    fn addr(last: u8) -> Addr {
        Addr::from_v4([10, 0, 0, last])
    }

    fn locals() -> Locals {
        let v6 = Addr::from_v6([9; 16]);
        Locals::new(&[addr(7), addr(1), v6].map(|addr| LocalAddr { addr, prefix_len: 24 }))
    }

    fn table(wait: Duration, limit: u32) -> TimeWaitTable<PackedV4> {
        TimeWaitTable::new(wait, limit, locals())
    }

    fn entry(port: u16, ts_recent: Option<u32>) -> TimeWait {
        let tuple = FourTuple { local_addr: addr(1), remote_addr: addr(2), local_port: 80, remote_port: port };
        TimeWait { tuple, snd_nxt: SeqNum(1), rcv_nxt: SeqNum(2), ts_recent }
    }

    #[test]
    fn where_nobody_waits_any_more_all_places_are_free() {
        let mut table = table(Duration::from_secs(1), 10);
        for _ in 0..3 {
            let places = [1, 2, 3].map(|port| table.insert(&entry(port, Some(9)), 0).place());
            assert_eq!((table.places(), table.len()), (3, 3));
            table.remove(places[1]);
            assert_eq!((table.places(), table.len()), (3, 2), "others around it wait");
            [places[0], places[2]].into_iter().for_each(|place| table.remove(place));
            assert_eq!((table.places(), table.len()), (0, 0));
            let new = table.insert(&entry(4, None), 0).place();
            assert_eq!(table.get(new), entry(4, None), "nothing is left of who was there");
            table.remove(new);
        }
    }

    #[test]
    fn an_entry_of_either_family_comes_back_as_it_was() {
        let v4 = TimeWait {
            tuple: FourTuple { local_addr: addr(7), remote_addr: addr(2), local_port: 80, remote_port: 65_535 },
            snd_nxt: SeqNum(u32::MAX),
            rcv_nxt: SeqNum(0x0102_0304),
            ts_recent: Some(0),
        };
        let tuple = FourTuple { local_addr: Addr::from_v6([9; 16]), remote_addr: Addr::from_v6([3; 16]), ..v4.tuple };
        let v6 = TimeWait { tuple, ts_recent: None, ..v4 };
        let mut table_v4 = table(Duration::from_secs(1), 10);
        let mut table_v6 = TimeWaitTable::<PackedV6>::new(Duration::from_secs(1), 10, locals());
        let (place_v4, place_v6) = (table_v4.insert(&v4, 0).place(), table_v6.insert(&v6, 0).place());
        assert_eq!((table_v4.get(place_v4), table_v6.get(place_v6)), (v4, v6));
        assert_eq!((table_v4.pop_oldest().map(|e| e.1), table_v6.pop_oldest().map(|e| e.1)), (Some(v4), Some(v6)));
    }

    #[test]
    fn entries_wait_their_full_time_and_hardly_longer() {
        let mut table = table(Duration::from_secs(240), 1 << 20);
        let mut due = BTreeMap::new();
        let mut now = 5_000;
        for port in 0..5_000u16 {
            table.insert(&entry(port, None), now);
            due.insert(port, now + 240_000);
            now += u64::from(port % 97);
        }
        while table.len() > 0 {
            now += 50;
            while let Some((_, entry)) = table.pop_expired(now) {
                let due = due.remove(&entry.tuple.remote_port).expect("expires once");
                assert!(due < now, "2 MSL are at least 2 MSL");
                assert!(now - due <= 300, "and hardly more: {}", now - due);
            }
            assert!(table.next_due_ms().is_none_or(|next| next > now));
        }
        assert!(due.is_empty());
        assert_eq!((table.stored, table.segments.len()), (0, 0));
    }

    #[test]
    fn a_removed_entry_never_expires_and_the_oldest_goes_first() {
        let mut table = table(Duration::from_secs(1), 3);
        let first = table.insert(&entry(1, Some(9)), 0);
        table.insert(&entry(2, None), 10);
        table.insert(&entry(3, Some(7)), 20);
        assert!(table.is_full());
        assert_eq!(table.get(first.place()), entry(1, Some(9)));
        table.remove(first.place());
        assert_eq!(table.pop_oldest().map(|(_, e)| e), Some(entry(2, None)));
        assert!(!table.is_full());
        assert_eq!(table.pop_expired(1_020), None);
        assert_eq!(table.pop_expired(1_021).map(|(_, e)| e), Some(entry(3, Some(7))));
        assert_eq!(table.pop_expired(2_000), None);
    }

    /// Entries that are taken again by new connections leave no place behind that is of no use, wherever they stand.
    #[test]
    fn segments_go_with_the_entries() {
        let mut table = table(Duration::from_secs(240), 1 << 20);
        for round in 0..20u64 {
            let places: Vec<u32> =
                (0..10_000u64).map(|i| table.insert(&entry(i as u16, None), round * 1_000 + i / 10).place()).collect();
            places.iter().filter(|place| *place % 3 != 1).for_each(|place| table.remove(*place));
            places.iter().filter(|place| *place % 3 == 1).for_each(|place| table.remove(*place));
            assert!(table.segments.len() <= 1, "{} segments for nobody", table.segments.len());
        }
        assert_eq!(table.len(), 0);
        assert!(table.stored <= SEGMENT);
        table.insert(&entry(1, None), 100_000);
        assert!(table.pop_oldest().is_some());
        assert_eq!((table.segments.len(), table.stored), (0, 0));
    }

    #[test]
    fn an_entry_takes_what_is_stated() {
        let mut table = table(Duration::from_secs(240), 1 << 24);
        for i in 0..1_000_000u64 {
            table.insert(&entry(i as u16, None), i / 100);
        }
        let bytes = table.bytes() as f64 / 1e6;
        assert!(bytes < ENTRY_BYTES_V4 + 0.1, "{bytes} octets an entry");
    }
}
