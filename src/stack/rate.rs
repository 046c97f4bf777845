//! A limit on what strangers can make us send.

/// At most so many in any second of the clock.
pub struct RateLimit {
    limit: u32,
    second: u64,
    used: u32,
    held_back: u64,
}

impl RateLimit {
    /// `limit` a second.
    pub fn new(limit: u32) -> Self {
        RateLimit { limit, second: 0, used: 0, held_back: 0 }
    }

    /// Whether one more is allowed; it is counted as used, or as held back.
    pub fn allows(&mut self, now_ms: u64) -> bool {
        let second = now_ms / 1_000;
        if second != self.second {
            self.second = second;
            self.used = 0;
        }
        let allowed = self.used < self.limit;
        self.used += u32::from(allowed);
        self.held_back += u64::from(!allowed);
        allowed
    }

    /// How many were not allowed.
    pub fn held_back(&self) -> u64 {
        self.held_back
    }
}

/// At most one answer in each half of a second for each flow without a connection that could count, so that two ends do not
/// answer each other's answers for ever. Flows share places by a hash that nobody outside can predict; who shares one can be
/// seen from outside, so it must not be that of the tables.
pub struct AnswerLimit {
    answered: Box<[u32; 1024]>,
    held_back: u64,
}

impl AnswerLimit {
    /// Nothing was answered yet.
    pub fn new() -> Self {
        AnswerLimit { answered: Box::new([0; 1024]), held_back: 0 }
    }

    /// Whether a flow of this hash may be answered; it counts either way.
    pub fn allows(&mut self, hash: u64, now_ms: u64) -> bool {
        // Counted from 1, so that 0 is never.
        let now = (now_ms / 500) as u32 + 1;
        let answered = &mut self.answered[(hash >> 20) as usize % 1024];
        let allowed = *answered != now;
        *answered = now;
        self.held_back += u64::from(!allowed);
        allowed
    }

    /// How many answers were not given.
    pub fn held_back(&self) -> u64 {
        self.held_back
    }
}

/// A limit for each kind of reply, so that provoking one kind cannot silence another.
pub struct ReplyLimits {
    /// ARP and neighbour advertisements.
    pub neighbour: RateLimit,
    /// Echo replies.
    pub echo: RateLimit,
    /// RSTs for what matches nothing.
    pub reset: RateLimit,
    /// Acknowledgements out of half-open and TIME-WAIT entries; connections count their own.
    pub acknowledgement: RateLimit,
    /// SYN-ACKs sent again though nobody asked.
    pub syn_ack_again: RateLimit,
}

impl ReplyLimits {
    /// `limit` of each kind a second.
    pub fn new(limit: u32) -> Self {
        let each = || RateLimit::new(limit);
        ReplyLimits { neighbour: each(), echo: each(), reset: each(), acknowledgement: each(), syn_ack_again: each() }
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
        assert_eq!(limit.held_back(), 14);
    }
}
