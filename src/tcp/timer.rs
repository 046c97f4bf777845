//! An entry's place in a timer wheel. The wheel itself is the shard's; the link lives in the entry, so that arming a
//! timer allocates nothing.

/// Links of an entry in a wheel: indices of its neighbours in the same slot.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// The entry before it, or the slot with [`Link::SLOT`] set, or [`Link::NONE`] when it is in no slot.
    pub prev: u32,
    /// The entry after it, or [`Link::NONE`].
    pub next: u32,
    /// When it is due, in ticks modulo 2^32.
    pub due: u32,
}

impl Link {
    /// No entry.
    pub const NONE: u32 = u32::MAX;
    /// In no slot.
    pub const UNARMED: Link = Link { prev: Link::NONE, next: Link::NONE, due: 0 };
    /// Marks `prev` as a slot.
    pub const SLOT: u32 = 1 << 31;

    /// Whether it is in a slot.
    #[inline]
    pub fn is_armed(&self) -> bool {
        self.prev != Link::NONE
    }

    /// When it is due, if it is in a slot.
    #[inline]
    pub fn armed_for(&self) -> Option<u32> {
        self.is_armed().then_some(self.due)
    }
}

impl Default for Link {
    fn default() -> Self {
        Link::UNARMED
    }
}

/// Whether tick `at` is `now` or before it, for ticks less than 2^31 apart.
#[inline]
pub fn is_due(at: u32, now: u32) -> bool {
    (at.wrapping_sub(now) as i32) <= 0
}

/// The earlier of two ticks less than 2^31 apart.
#[inline]
pub fn earlier(a: u32, b: u32) -> u32 {
    if is_due(a, b) { a } else { b }
}
