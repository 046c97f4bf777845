//! TIME-WAIT entries, packed, on a timer wheel of their own.
//!
//! All wait equally long, so a slot of the wheel is simply a list of segments that were filled while its time ran, and
//! an entry's place in it is its place on the wheel: neither links nor deadlines are stored. Memory comes and goes with
//! the entries, a segment at a time.

use super::flow_index::{Flow, Phase};
use crate::tcp::time_wait::TimeWait;
use crate::time::Duration;
use crate::wire::{Addr, FourTuple, SeqNum};

/// Entries in a segment: one bit each in a word.
const SEGMENT: usize = 64;
const NONE: u32 = u32::MAX;

/// How an entry is stored; whether timestamps were in use is a bit of the segment.
pub trait Packed: Copy {
    /// Its tables' phase.
    const PHASE: Phase;
    /// From plain values.
    fn pack(entry: &TimeWait) -> Self;
    /// Back to plain values.
    fn unpack(&self, has_timestamps: bool) -> TimeWait;
}

/// An IPv4 entry.
#[derive(Clone, Copy)]
pub struct PackedV4 {
    local: [u8; 4],
    remote: [u8; 4],
    ports: [u16; 2],
    snd_nxt: u32,
    rcv_nxt: u32,
    ts_recent: u32,
}

/// An IPv6 entry.
#[derive(Clone, Copy)]
pub struct PackedV6 {
    tuple: FourTuple,
    snd_nxt: u32,
    rcv_nxt: u32,
    ts_recent: u32,
}

const _: () = assert!(size_of::<PackedV4>() == 24 && size_of::<PackedV6>() == 48);

impl Packed for PackedV4 {
    const PHASE: Phase = Phase::TimeWaitV4;

    fn pack(entry: &TimeWait) -> Self {
        let tuple = &entry.tuple;
        PackedV4 {
            local: tuple.local_addr.v4().unwrap_or_default(),
            remote: tuple.remote_addr.v4().unwrap_or_default(),
            ports: [tuple.local_port, tuple.remote_port],
            snd_nxt: entry.snd_nxt.0,
            rcv_nxt: entry.rcv_nxt.0,
            ts_recent: entry.ts_recent.unwrap_or(0),
        }
    }

    fn unpack(&self, has_timestamps: bool) -> TimeWait {
        let tuple = FourTuple {
            local_addr: Addr::from_v4(self.local),
            remote_addr: Addr::from_v4(self.remote),
            local_port: self.ports[0],
            remote_port: self.ports[1],
        };
        TimeWait {
            tuple,
            snd_nxt: SeqNum(self.snd_nxt),
            rcv_nxt: SeqNum(self.rcv_nxt),
            ts_recent: has_timestamps.then_some(self.ts_recent),
        }
    }
}

impl Packed for PackedV6 {
    const PHASE: Phase = Phase::TimeWaitV6;

    fn pack(entry: &TimeWait) -> Self {
        PackedV6 {
            tuple: entry.tuple,
            snd_nxt: entry.snd_nxt.0,
            rcv_nxt: entry.rcv_nxt.0,
            ts_recent: entry.ts_recent.unwrap_or(0),
        }
    }

    fn unpack(&self, has_timestamps: bool) -> TimeWait {
        TimeWait {
            tuple: self.tuple,
            snd_nxt: SeqNum(self.snd_nxt),
            rcv_nxt: SeqNum(self.rcv_nxt),
            ts_recent: has_timestamps.then_some(self.ts_recent),
        }
    }
}

struct Segment<E> {
    entries: Vec<E>,
    /// One bit an entry: it was not removed.
    live: u64,
    /// One bit an entry: timestamps were in use.
    has_timestamps: u64,
    /// The slot of the wheel that it belongs to.
    slot: u64,
    /// The segment of the same slot that was filled before this one.
    older: u32,
}

/// The entries of one address family.
pub struct TimeWaitTable<E> {
    segments: Vec<Segment<E>>,
    free: Vec<u32>,
    /// The newest segment of each slot of the wheel, a ring.
    slots: Vec<u32>,
    /// Milliseconds that a slot covers.
    width_ms: u64,
    /// Slots that an entry waits through, beyond the rest of its own.
    wait: u64,
    /// The oldest slot that may have entries. Slots are numbered from the clock's origin.
    oldest: u64,
    /// The newest slot that entries went to.
    newest: u64,
    live: usize,
    /// Entries in segments, the removed ones among them: what memory is taken for.
    stored: usize,
    limit: usize,
}

impl<E: Packed> TimeWaitTable<E> {
    /// An empty table for entries that wait `time_wait`; at most `limit` of them. It starts at `now_ms`.
    pub fn new(time_wait: Duration, limit: u32, now_ms: u64) -> Self {
        let wait_ms = (time_wait.as_millis() as u64).max(1);
        let width_ms = wait_ms.div_ceil(1024);
        let wait = wait_ms.div_ceil(width_ms);
        let at = now_ms / width_ms;
        TimeWaitTable {
            segments: Vec::new(),
            free: Vec::new(),
            slots: vec![NONE; wait as usize + 2],
            width_ms,
            wait,
            oldest: at,
            newest: at,
            live: 0,
            stored: 0,
            limit: limit.min(Flow::MAX_PLACE) as usize,
        }
    }

    /// Entries that wait.
    pub fn len(&self) -> usize {
        self.live
    }

    /// The most there may be.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether an entry must go before another one can come: at the limit, or because so much is overdue that the wheel
    /// would overtake itself.
    pub fn is_full(&self, now_ms: u64) -> bool {
        let overtakes = self.stored > 0 && now_ms / self.width_ms >= self.oldest + self.slots.len() as u64;
        self.stored >= self.limit || overtakes
    }

    /// Octets that it takes.
    pub fn bytes(&self) -> usize {
        let segments = self.segments.iter().map(|s| s.entries.capacity() * size_of::<E>()).sum::<usize>();
        segments
            + self.segments.capacity() * size_of::<Segment<E>>()
            + (self.slots.capacity() + self.free.capacity()) * size_of::<u32>()
    }

    /// Has an entry wait from `now_ms` on; says where it is. The table must not be full.
    pub fn insert(&mut self, entry: &TimeWait, now_ms: u64) -> Flow {
        debug_assert!(!self.is_full(now_ms));
        let slot = (now_ms / self.width_ms).max(self.newest);
        self.newest = slot;
        if self.live == 0 && self.stored == 0 {
            self.oldest = slot;
        }
        let ring = (slot % self.slots.len() as u64) as usize;
        let head = self.slots[ring];
        let full = head == NONE || self.segments[head as usize].entries.len() == SEGMENT;
        let number = if full { self.begin_segment(slot, head) } else { head };
        self.slots[ring] = number;
        let segment = &mut self.segments[number as usize];
        let at = segment.entries.len();
        segment.entries.push(E::pack(entry));
        segment.live |= 1 << at;
        segment.has_timestamps |= u64::from(entry.ts_recent.is_some()) << at;
        self.live += 1;
        self.stored += 1;
        Flow::new(E::PHASE, number * SEGMENT as u32 + at as u32)
    }

    fn begin_segment(&mut self, slot: u64, older: u32) -> u32 {
        let segment = |entries| Segment { entries, live: 0, has_timestamps: 0, slot, older };
        match self.free.pop() {
            Some(number) => {
                self.segments[number as usize] = segment(Vec::with_capacity(SEGMENT));
                number
            }
            None => {
                self.segments.push(segment(Vec::with_capacity(SEGMENT)));
                self.segments.len() as u32 - 1
            }
        }
    }

    /// The entry at `place`.
    #[inline]
    pub fn get(&self, place: u32) -> TimeWait {
        let segment = &self.segments[place as usize / SEGMENT];
        let at = place as usize % SEGMENT;
        segment.entries[at].unpack(segment.has_timestamps >> at & 1 == 1)
    }

    /// Shows the entry at `place`, if one waits there; says whether there may be others from there on.
    pub fn peek(&self, place: u32, show: impl FnOnce(&TimeWait)) -> bool {
        let (number, at) = (place as usize / SEGMENT, place as usize % SEGMENT);
        let Some(segment) = self.segments.get(number) else { return false };
        if segment.live >> at & 1 == 1 {
            show(&self.get(place));
        }
        true
    }

    /// Removes the entry at `place` before its time.
    pub fn remove(&mut self, place: u32) {
        let bit = 1 << (place as usize % SEGMENT);
        let segment = &mut self.segments[place as usize / SEGMENT];
        debug_assert!(segment.live & bit != 0, "removed twice");
        segment.live &= !bit;
        self.live -= 1;
    }

    /// Whether the entry at `place` has waited long enough that starting anew is worth a new entry. A peer that sends
    /// its FIN again and again cannot make one entry take more than [`RESTARTS`] places.
    pub fn is_worth_restarting(&self, place: u32, now_ms: u64) -> bool {
        let slot = self.segments[place as usize / SEGMENT].slot;
        (now_ms / self.width_ms).saturating_sub(slot) >= self.wait.div_ceil(RESTARTS)
    }

    /// Takes out one entry whose time is over at `now_ms`, if there is one.
    pub fn pop_expired(&mut self, now_ms: u64) -> Option<(Flow, TimeWait)> {
        // An entry may have come at the very end of its slot: the whole wait counts from there.
        let current = now_ms / self.width_ms;
        let until = current.checked_sub(self.wait + 1)?;
        self.pop_from_slots_to(until)
    }

    /// Takes out one of the oldest entries, whatever its time.
    pub fn pop_oldest(&mut self) -> Option<(Flow, TimeWait)> {
        self.pop_from_slots_to(self.newest)
    }

    fn pop_from_slots_to(&mut self, last: u64) -> Option<(Flow, TimeWait)> {
        while self.oldest <= last.min(self.newest) {
            let ring = (self.oldest % self.slots.len() as u64) as usize;
            let number = self.slots[ring];
            if number == NONE {
                self.oldest += 1;
                continue;
            }
            let segment = &mut self.segments[number as usize];
            while let Some(packed) = segment.entries.pop() {
                self.stored -= 1;
                let at = segment.entries.len();
                if segment.live >> at & 1 == 0 {
                    continue;
                }
                segment.live &= !(1 << at);
                self.live -= 1;
                let entry = packed.unpack(segment.has_timestamps >> at & 1 == 1);
                return Some((Flow::new(E::PHASE, number * SEGMENT as u32 + at as u32), entry));
            }
            self.slots[ring] = segment.older;
            segment.entries = Vec::new();
            self.free.push(number);
        }
        None
    }

    /// When the next entry's time is over, in milliseconds; `None` when none waits.
    pub fn next_due_ms(&self) -> Option<u64> {
        (self.stored > 0).then(|| (self.oldest + self.wait + 1) * self.width_ms)
    }
}

/// How often one entry may start its wait anew before the first is over.
pub const RESTARTS: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(port: u16, ts_recent: Option<u32>) -> TimeWait {
        let tuple = FourTuple {
            local_addr: Addr::from_v4([10, 0, 0, 1]),
            remote_addr: Addr::from_v4([10, 0, 0, 2]),
            local_port: 80,
            remote_port: port,
        };
        TimeWait { tuple, snd_nxt: SeqNum(1), rcv_nxt: SeqNum(2), ts_recent }
    }

    #[test]
    fn entries_wait_their_full_time_and_hardly_longer() {
        let wait = Duration::from_secs(240);
        let mut table = TimeWaitTable::<PackedV4>::new(wait, 1 << 20, 5_000);
        let mut due = std::collections::BTreeMap::new();
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
                assert!(due <= now, "2 MSL are at least 2 MSL");
                assert!(now - due <= 600, "and hardly more: {}", now - due);
            }
            assert!(table.next_due_ms().is_none_or(|next| next > now));
        }
        assert!(due.is_empty());
        assert_eq!(table.stored, 0);
    }

    #[test]
    fn a_removed_entry_never_expires_and_the_oldest_goes_first() {
        let mut table = TimeWaitTable::<PackedV4>::new(Duration::from_secs(1), 3, 0);
        let first = table.insert(&entry(1, Some(9)), 0);
        table.insert(&entry(2, None), 10);
        table.insert(&entry(3, Some(7)), 20);
        assert!(table.is_full(20));
        assert_eq!(table.get(first.place()), entry(1, Some(9)));
        table.remove(first.place());
        assert_eq!(table.pop_oldest().map(|(_, e)| e), Some(entry(2, None)));
        assert!(!table.is_full(20));
        assert_eq!(table.pop_expired(2_000).map(|(_, e)| e), Some(entry(3, Some(7))));
        assert_eq!(table.pop_expired(2_000), None);
    }

    #[test]
    fn an_ipv4_entry_takes_less_than_32_octets_beside_its_index() {
        let mut table = TimeWaitTable::<PackedV4>::new(Duration::from_secs(240), 1 << 24, 0);
        for i in 0..1_000_000u64 {
            table.insert(&entry(i as u16, None), i / 10);
        }
        let bytes = table.bytes() as f64 / 1e6;
        assert!(bytes < 26.0, "{bytes} octets an entry");
    }
}
