//! Entries with stable places: bounded, grown segment by segment so that growing never moves an entry.

const SEGMENT: usize = 1 << 12;

struct Segment<T> {
    slots: Box<[Option<T>]>,
    generations: Box<[u32]>,
}

/// A table of entries named by index. A generation for each place tells a new tenant from an old one.
pub struct Slab<T> {
    segments: Vec<Segment<T>>,
    free: Vec<u32>,
    len: usize,
    limit: usize,
}

impl<T> Slab<T> {
    /// An empty table of at most `limit` entries.
    pub fn new(limit: u32) -> Self {
        Slab { segments: Vec::new(), free: Vec::new(), len: 0, limit: limit as usize }
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

    /// Adds an entry; gives it back when the table is full.
    pub fn insert(&mut self, value: T) -> Result<u32, T> {
        if self.is_full() {
            return Err(value);
        }
        if self.free.is_empty() {
            self.grow();
        }
        let Some(index) = self.free.pop() else { return Err(value) };
        *self.slot(index) = Some(value);
        self.len += 1;
        Ok(index)
    }

    fn grow(&mut self) {
        let first = self.segments.len() * SEGMENT;
        let slots = (0..SEGMENT).map(|_| None).collect();
        self.segments.push(Segment { slots, generations: vec![0; SEGMENT].into() });
        self.free.extend((first as u32..(first + SEGMENT) as u32).rev());
    }

    fn slot(&mut self, index: u32) -> &mut Option<T> {
        &mut self.segments[index as usize / SEGMENT].slots[index as usize % SEGMENT]
    }

    /// The entry at `index`, if there is one.
    #[inline]
    pub fn get(&self, index: u32) -> Option<&T> {
        self.segments.get(index as usize / SEGMENT)?.slots[index as usize % SEGMENT].as_ref()
    }

    /// The entry at `index`, if there is one.
    #[inline]
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.segments.get_mut(index as usize / SEGMENT)?.slots[index as usize % SEGMENT].as_mut()
    }

    /// Shows the entry at `index`, if there is one; says whether there may be others from there on.
    pub fn peek(&self, index: u32, show: impl FnOnce(&T)) -> bool {
        if let Some(entry) = self.get(index) {
            show(entry);
        }
        (index as usize) < self.segments.len() * SEGMENT
    }

    /// Takes the entry at `index` out.
    pub fn remove(&mut self, index: u32) -> Option<T> {
        let value = self.slot(index).take()?;
        let generation = &mut self.segments[index as usize / SEGMENT].generations[index as usize % SEGMENT];
        *generation = generation.wrapping_add(1);
        self.free.push(index);
        self.len -= 1;
        Some(value)
    }

    /// How often the place was emptied.
    #[inline]
    pub fn generation(&self, index: u32) -> u32 {
        self.segments.get(index as usize / SEGMENT).map_or(0, |s| s.generations[index as usize % SEGMENT])
    }

    /// Indices in use.
    pub fn indices(&self) -> impl Iterator<Item = u32> + '_ {
        self.segments.iter().enumerate().flat_map(|(number, segment)| {
            let used = segment.slots.iter().enumerate().filter(|(_, slot)| slot.is_some());
            used.map(move |(at, _)| (number * SEGMENT + at) as u32)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_under_another_generation() {
        let mut slab = Slab::new(2);
        let a = slab.insert("a").unwrap();
        let b = slab.insert("b").unwrap();
        assert_eq!(slab.insert("c"), Err("c"), "the limit holds");
        let before = slab.generation(a);
        assert_eq!(slab.remove(a), Some("a"));
        assert_eq!(slab.remove(a), None);
        let c = slab.insert("c").unwrap();
        assert_eq!(c, a);
        assert_ne!(slab.generation(c), before);
        assert_eq!((slab.get(b), slab.len()), (Some(&"b"), 2));
        assert_eq!(slab.indices().collect::<Vec<_>>(), [a, b]);
    }
}
