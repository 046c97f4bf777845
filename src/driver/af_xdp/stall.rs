//! Notices frames that do not leave: they were submitted, and for a while nothing is heard of any.
//!
//! A NIC's driver that misses a wake-up, or defers its interrupts for a poll that never comes, leaves them where they are;
//! then the need_wakeup flag does not ask for a call either.

use crate::time::{Duration, Instant};

/// Sending stands still when none of the frames submitted has left for this long; as often it is looked at closer then.
const STALL_AFTER: Duration = Duration::from_secs(1);

/// How many such looks in a row find the link up, and nothing left all the same, until there is no more hope.
const LOOKS_IN_VAIN: u32 = 10;

/// Looks at how sending goes on.
#[derive(Debug, Default)]
pub(super) struct StallWatch {
    completed: u64,
    /// When nothing will have left for a second, although something is to.
    next_at: Option<Instant>,
    /// For how many of these seconds nothing has left.
    seconds: u32,
    in_vain: u32,
    stalls: u64,
}

/// How sending goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// Frames leave, or there are none.
    GoesOn,
    /// None has left since the last look.
    Waits,
    /// None has left for so many seconds, as far as we have looked; each is said once.
    StandsStill(u32),
}

impl StallWatch {
    /// Of the frames submitted, `completed` have left ever since the start and `in_flight` have not.
    pub(super) fn look(&mut self, now: Instant, in_flight: usize, completed: u64) -> Sending {
        let next_at = match self.next_at {
            Some(next_at) if in_flight > 0 && completed == self.completed => next_at,
            _ => {
                let next_at = (in_flight > 0).then_some(now + STALL_AFTER);
                *self = StallWatch { completed, next_at, stalls: self.stalls, ..StallWatch::default() };
                return Sending::GoesOn;
            }
        };
        if now < next_at {
            return Sending::Waits;
        }
        // From now, not from then: a process that was stopped for long has not looked meanwhile.
        self.next_at = Some(now + STALL_AFTER);
        self.seconds += 1;
        self.stalls += u64::from(self.seconds == 1);
        Sending::StandsStill(self.seconds)
    }

    /// Whether there is no more hope. A link that is down holds frames up by right, for as long as it takes.
    pub(super) fn is_hopeless(&mut self, link_is_up: bool) -> bool {
        self.in_vain = if link_is_up { self.in_vain + 1 } else { 0 };
        self.in_vain >= LOOKS_IN_VAIN
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
    fn a_stall_is_counted_once_until_a_frame_leaves_and_each_second_of_it_is_told() {
        let mut watch = StallWatch::default();
        for (ms, in_flight, completed, expected, why) in [
            (0, 0, 5, Sending::GoesOn, "there is nothing to send"),
            (5_000, 2, 5, Sending::GoesOn, "since when is not known before"),
            (5_100, 3, 5, Sending::Waits, "another one joins them"),
            (5_999, 3, 5, Sending::Waits, "not long enough"),
            (6_000, 3, 5, Sending::StandsStill(1), "a second"),
            (6_500, 3, 5, Sending::Waits, "said already"),
            (9_000, 3, 5, Sending::StandsStill(2), "nobody has looked meanwhile"),
            (9_100, 2, 6, Sending::GoesOn, "one has left"),
            (10_000, 2, 6, Sending::Waits, "not a second since"),
            (10_100, 2, 6, Sending::StandsStill(1), "again"),
            (10_200, 0, 8, Sending::GoesOn, "all have left"),
            (20_000, 1, 8, Sending::GoesOn, "an idle time is no stall"),
        ] {
            assert_eq!(watch.look(Instant::from_millis(ms), in_flight, completed), expected, "{ms}: {why}");
        }
        assert_eq!(watch.stalls(), 2);
    }

    #[test]
    fn there_is_hope_until_the_link_was_up_for_ten_looks_in_a_row() {
        let mut watch = StallWatch::default();
        let up = |watch: &mut StallWatch, looks| (0..looks).map(|_| watch.is_hopeless(true)).collect::<Vec<_>>();
        assert_eq!(up(&mut watch, 9), [false; 9]);
        assert!(!watch.is_hopeless(false));
        assert_eq!(up(&mut watch, 9), [false; 9]);
        assert!(watch.is_hopeless(true));
        watch.look(Instant::from_millis(1), 1, 7);
        assert_eq!(up(&mut watch, 1), [false], "one has left");
    }
}
