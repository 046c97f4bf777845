//! Notices frames that do not leave: they were submitted, and for a while nothing is heard of any.
//!
//! A NIC's driver that misses a wake-up, or defers its interrupts for a poll that never comes, leaves them where they are;
//! then the need_wakeup flag does not ask for a call either.

use crate::time::{Duration, Instant};

/// Sending stands still when none of the frames submitted has left for this long.
const STALL_AFTER: Duration = Duration::from_secs(1);

/// Looks at how sending goes on.
#[derive(Debug, Default)]
pub(super) struct StallWatch {
    completed: u64,
    /// Since when nothing has left although something is to.
    quiet_since: Option<Instant>,
    counted: bool,
    stalls: u64,
}

/// How sending goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// Frames leave, or there are none.
    GoesOn,
    /// None has left since the last look.
    Waits,
    /// None has left for [`STALL_AFTER`]; said once, until one leaves.
    StandsStill,
}

impl StallWatch {
    /// Of the frames submitted, `completed` have left ever since the start and `in_flight` have not.
    pub(super) fn look(&mut self, now: Instant, in_flight: usize, completed: u64) -> Sending {
        let since = match self.quiet_since {
            Some(since) if in_flight > 0 && completed == self.completed => since,
            _ => {
                let quiet_since = (in_flight > 0).then_some(now);
                *self = StallWatch { completed, quiet_since, counted: false, stalls: self.stalls };
                return Sending::GoesOn;
            }
        };
        if self.counted || now.since(since) < STALL_AFTER {
            return Sending::Waits;
        }
        self.counted = true;
        self.stalls += 1;
        Sending::StandsStill
    }

    /// How often sending stood still.
    pub(super) fn stalls(&self) -> u64 {
        self.stalls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_counted_once_until_a_frame_leaves() {
        let mut watch = StallWatch::default();
        for (ms, in_flight, completed, expected, why) in [
            (0, 0, 5, Sending::GoesOn, "there is nothing to send"),
            (5_000, 2, 5, Sending::GoesOn, "since when is not known before"),
            (5_100, 3, 5, Sending::Waits, "another one joins them"),
            (5_999, 3, 5, Sending::Waits, "not long enough"),
            (6_000, 3, 5, Sending::StandsStill, "a second"),
            (9_000, 3, 5, Sending::Waits, "said already"),
            (9_100, 2, 6, Sending::GoesOn, "one has left"),
            (10_000, 2, 6, Sending::Waits, "not a second since"),
            (10_100, 2, 6, Sending::StandsStill, "again"),
            (10_200, 0, 8, Sending::GoesOn, "all have left"),
            (20_000, 1, 8, Sending::GoesOn, "an idle time is no stall"),
        ] {
            assert_eq!(watch.look(Instant::from_millis(ms), in_flight, completed), expected, "{ms}: {why}");
        }
        assert_eq!(watch.stalls(), 2);
    }
}
