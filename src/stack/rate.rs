//! A limit on what strangers can make us send.

/// At most so many in any second of the clock.
pub struct RateLimit {
    limit: u32,
    second: u64,
    used: u32,
}

impl RateLimit {
    /// `limit` a second.
    pub fn new(limit: u32) -> Self {
        RateLimit { limit, second: 0, used: 0 }
    }

    /// Whether one more is allowed; it counts if so.
    pub fn allows(&mut self, now_ms: u64) -> bool {
        let second = now_ms / 1_000;
        if second != self.second {
            self.second = second;
            self.used = 0;
        }
        let allowed = self.used < self.limit;
        self.used += u32::from(allowed);
        allowed
    }
}

/// A limit for each kind of reply, so that provoking one kind cannot silence another.
pub struct ReplyLimits {
    /// ARP and neighbour advertisements.
    pub neighbour: RateLimit,
    /// Echo replies.
    pub echo: RateLimit,
    /// RSTs, and acknowledgements for which no connection keeps count.
    pub segment: RateLimit,
}

impl ReplyLimits {
    /// `limit` of each kind a second.
    pub fn new(limit: u32) -> Self {
        let each = || RateLimit::new(limit);
        ReplyLimits { neighbour: each(), echo: each(), segment: each() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_share_and_no_more() {
        let mut limit = RateLimit::new(3);
        assert_eq!((0..10).filter(|_| limit.allows(500)).count(), 3);
        assert_eq!((0..10).filter(|_| limit.allows(1_000)).count(), 3);
    }
}
