//! The one reader of the clock: the worker's turn, and the tap that stamps frames, ask here.

use crate::time::{Duration, Instant};

/// How far the time of day, in seconds since 1970, is ahead of [`now`].
pub fn day_ahead() -> Duration {
    let day = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let day = Duration::new(day.tv_sec.max(0) as u64, day.tv_nsec as u32);
    day.saturating_sub(now().since(Instant::ZERO))
}

/// `CLOCK_MONOTONIC` now.
#[inline]
pub fn now() -> Instant {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Instant::from_nanos(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
}
