//! The one reader of the clock: the worker's turn, and the tap that stamps frames, ask here.

use crate::time::Instant;

/// `CLOCK_MONOTONIC` now.
#[inline]
pub fn now() -> Instant {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Instant::from_nanos(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
}
