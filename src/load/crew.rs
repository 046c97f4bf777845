//! The workers of one run, who stop together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The workers of one run. All stop together: a queue that nobody serves any more would swallow frames of the others,
/// ARP replies among them.
#[derive(Clone, Debug)]
pub struct Crew(Arc<AtomicU32>);

impl Crew {
    /// Of this many workers.
    pub fn new(workers: u32) -> Self {
        Crew(Arc::new(AtomicU32::new(workers)))
    }

    pub(super) fn one_is_done(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn all_are_done(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}
