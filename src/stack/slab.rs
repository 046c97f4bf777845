//! Entries with stable places: bounded, grown segment by segment so that growing never moves an entry, and never touches
//! more memory than one segment.

const NONE: u32 = u32::MAX;

/// A place of the table; as large as the entry itself when that has a bit pattern to spare.
pub enum Slot<T> {
    /// Empty; the next empty place, or [`NONE`].
    Vacant(u32),
    /// In use.
    Occupied(T),
}

struct Segment<T, const SEGMENT: usize> {
    // An array, so that a place within it needs no check.
    slots: Box<[Slot<T>; SEGMENT]>,
    /// Where somebody asks for them.
    generations: Option<Box<[u32; SEGMENT]>>,
}

impl<T, const SEGMENT: usize> Segment<T, SEGMENT> {
    fn new(generations: bool) -> Self {
        // By way of a list, as an array would stand on the stack first.
        let slots: Box<[Slot<T>]> = (0..SEGMENT).map(|_| Slot::Vacant(NONE)).collect();
        let Ok(slots) = slots.try_into() else { unreachable!("as many as a segment has") };
        Segment { slots, generations: generations.then(|| Box::new([0; SEGMENT])) }
    }
}

/// A table of entries named by index. Places are made for a segment of entries at once: so many that it is some tens of KiB.
pub struct Slab<T, const SEGMENT: usize = 512> {
    segments: Vec<Segment<T, SEGMENT>>,
    /// The empty place that is used next, the one emptied last; the others are linked to it.
    vacant: u32,
    /// Places ever used.
    used: u32,
    len: usize,
    limit: usize,
    /// Whether generations are kept.
    generations: bool,
}

impl<T, const SEGMENT: usize> Slab<T, SEGMENT> {
    /// Octets of an entry.
    pub const ENTRY_BYTES: usize = size_of::<Slot<T>>();
    /// Octets of an entry and its generation.
    pub const ENTRY_BYTES_WITH_GENERATION: usize = size_of::<Slot<T>>() + size_of::<u32>();

    /// An empty table of at most `limit` entries.
    pub fn new(limit: u32) -> Self {
        Slab { segments: Vec::new(), vacant: NONE, used: 0, len: 0, limit: limit as usize, generations: false }
    }

    /// The same; a generation for each place tells a new tenant from an old one.
    pub fn with_generations(limit: u32) -> Self {
        Slab { generations: true, ..Slab::new(limit) }
    }

    /// Entries in use.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Beyond every index in use.
    pub fn end(&self) -> u32 {
        (self.segments.len() * SEGMENT) as u32
    }

    /// The most there may be.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether no entry can be added.
    pub fn is_full(&self) -> bool {
        self.len >= self.limit
    }

    /// Octets that it takes.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        let entry = if self.generations { Self::ENTRY_BYTES_WITH_GENERATION } else { Self::ENTRY_BYTES };
        self.segments.len() * SEGMENT * entry + self.segments.capacity() * size_of::<Segment<T, SEGMENT>>()
    }

    /// Adds an entry; `None` when the table is full.
    // By force, so that an entry that is the same each time is made where it is to stand.
    #[inline(always)]
    pub fn insert(&mut self, value: T) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        self.len += 1;
        let index = self.vacant;
        match self.slot(index) {
            Some(slot) => {
                let Slot::Vacant(next) = *slot else { unreachable!("the list holds empty places alone") };
                *slot = Slot::Occupied(value);
                self.vacant = next;
                Some(index)
            }
            None => Some(self.append(value)),
        }
    }

    /// Uses a place for the first time.
    #[inline(never)]
    fn append(&mut self, value: T) -> u32 {
        let index = self.used;
        self.used += 1;
        if index as usize == self.segments.len() * SEGMENT {
            self.segments.push(Segment::new(self.generations));
        }
        self.segments[index as usize / SEGMENT].slots[index as usize % SEGMENT] = Slot::Occupied(value);
        index
    }

    #[inline]
    fn slot(&mut self, index: u32) -> Option<&mut Slot<T>> {
        Some(&mut self.segments.get_mut(index as usize / SEGMENT)?.slots[index as usize % SEGMENT])
    }

    /// The entry at `index`, if there is one.
    #[inline]
    pub fn get(&self, index: u32) -> Option<&T> {
        match &self.segments.get(index as usize / SEGMENT)?.slots[index as usize % SEGMENT] {
            Slot::Occupied(value) => Some(value),
            Slot::Vacant(_) => None,
        }
    }

    /// The entry at `index`, if there is one.
    #[inline]
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.slot(index)? {
            Slot::Occupied(value) => Some(value),
            Slot::Vacant(_) => None,
        }
    }

    /// The entry at `index`, if it is still the one of this generation.
    #[inline]
    pub fn tenant_mut(&mut self, index: u32, generation: u32) -> Option<&mut T> {
        let segment = self.segments.get_mut(index as usize / SEGMENT)?;
        let at = index as usize % SEGMENT;
        match &mut segment.slots[at] {
            Slot::Occupied(value) if segment.generations.as_ref()?[at] == generation => Some(value),
            _ => None,
        }
    }

    /// Shows the entry at `index`, if there is one; says whether there may be others from there on.
    pub fn peek(&self, index: u32, show: impl FnOnce(&T)) -> bool {
        if let Some(entry) = self.get(index) {
            show(entry);
        }
        (index as usize) < self.segments.len() * SEGMENT
    }

    /// Empties the place at `index`; whatever is still wanted of its entry was read before, as moving it out costs more.
    #[inline]
    pub fn remove(&mut self, index: u32) {
        let Some(segment) = self.segments.get_mut(index as usize / SEGMENT) else { return };
        let at = index as usize % SEGMENT;
        if matches!(segment.slots[at], Slot::Vacant(_)) {
            return;
        }
        segment.slots[at] = Slot::Vacant(self.vacant);
        if let Some(generations) = &mut segment.generations {
            generations[at] = generations[at].wrapping_add(1);
        }
        self.vacant = index;
        self.len -= 1;
    }

    /// How often the place was emptied; where generations are kept.
    #[inline]
    pub fn generation(&self, index: u32) -> u32 {
        let generations = self.segments.get(index as usize / SEGMENT).and_then(|segment| segment.generations.as_ref());
        generations.map_or(0, |generations| generations[index as usize % SEGMENT])
    }

    /// Indices in use; the places behind the last of them are not looked at.
    pub fn indices(&self) -> impl Iterator<Item = u32> + '_ {
        let used = self.segments.iter().enumerate().flat_map(|(number, segment)| {
            let used = segment.slots.iter().enumerate().filter(|(_, slot)| matches!(slot, Slot::Occupied(_)));
            used.map(move |(at, _)| (number * SEGMENT + at) as u32)
        });
        used.take(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_under_another_generation() {
        let mut slab: Slab<&str> = Slab::with_generations(2);
        let a = slab.insert("a").unwrap();
        let b = slab.insert("b").unwrap();
        assert_eq!(slab.insert("c"), None, "the limit holds");
        let before = slab.generation(a);
        assert_eq!(slab.get(a), Some(&"a"));
        slab.remove(a);
        slab.remove(a);
        assert_eq!((slab.get(a), slab.len()), (None, 1), "once");
        let c = slab.insert("c").unwrap();
        assert_eq!(c, a);
        assert_ne!(slab.generation(c), before);
        assert_eq!((slab.get(b), slab.len()), (Some(&"b"), 2));
        assert_eq!(slab.indices().collect::<Vec<_>>(), [a, b]);
    }

    #[test]
    fn places_are_used_again_before_new_ones_whatever_the_order() {
        let mut slab: Slab<u32> = Slab::new(2_000);
        (0..1_500).for_each(|i| assert_eq!(slab.insert(i), Some(i)));
        let memory = slab.bytes();
        for round in 0..3 {
            for i in (round..1_500).step_by(7).chain((round..1_500).rev().step_by(5)) {
                slab.remove(i);
            }
            let free = 1_500 - slab.len() as u32;
            let mut filled: Vec<u32> = (0..free).map(|i| slab.insert(i).unwrap()).collect();
            filled.sort_unstable();
            filled.dedup();
            assert_eq!(filled.len() as u32, free, "no place twice");
            assert!(filled.iter().all(|place| *place < 1_500));
        }
        assert_eq!(slab.bytes(), memory);
    }
}
