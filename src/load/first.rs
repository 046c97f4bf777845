//! The first of its kind, of all workers together: they read one clock.

use crate::time::Instant;
use serde::{Serialize, Serializer};

/// What came first, and when; the report shows what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct First<T>(Option<(Instant, T)>);

impl<T: Copy> First<T> {
    /// Notes it, unless there was one before.
    pub fn note(&mut self, now: Instant, what: T) {
        self.0.get_or_insert((now, what));
    }

    /// What came first, if anything.
    pub fn get(&self) -> Option<T> {
        self.0.map(|(_, what)| what)
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// The earlier one of both, whichever worker is asked first.
    pub(super) fn merge(&mut self, other: &First<T>) {
        self.0 = [self.0, other.0].into_iter().flatten().min_by_key(|(at, _)| *at);
    }
}

impl<T: Copy + Serialize> Serialize for First<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_workers_the_earliest_is_kept_whoever_is_merged_first() {
        let at = |ms, what| {
            let mut first = First::default();
            first.note(Instant::from_millis(ms), what);
            first.note(Instant::from_millis(ms + 1), 0);
            first
        };
        for order in [[at(7, 503), at(3, 404), First::default()], [First::default(), at(3, 404), at(7, 503)]] {
            let mut sum = First::default();
            order.iter().for_each(|worker| sum.merge(worker));
            assert_eq!(sum.get(), Some(404), "{order:?}");
        }
    }
}
