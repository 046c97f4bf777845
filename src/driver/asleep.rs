//! The flag by which a sender knows whether its receiver sleeps, so that only a sleeper costs a system call.
//!
//! `super::atomic` is the standard library's, or loom's where the same code is tried in every order of its steps.

use super::atomic::{AtomicBool, Ordering, fence};

/// Raised by one receiver before it sleeps, lowered by whoever wakes it, or by itself.
pub(crate) struct Asleep(AtomicBool);

impl Asleep {
    /// The receiver is awake.
    pub(crate) fn new() -> Self {
        Asleep(AtomicBool::new(false))
    }

    /// The receiver is about to sleep. What it looks at after this call, it sees as it is, or else is woken.
    pub(crate) fn announce(&self) {
        // An exchange and no store, because loom knows only of exchanges that none comes between what another read and wrote.
        self.0.swap(true, Ordering::Relaxed);
        // Pairs with the fence in `must_wake`.
        fence(Ordering::SeqCst);
    }

    /// The receiver is awake again.
    pub(crate) fn withdraw(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether the sender has to wake the receiver for what it stored before this call.
    pub(crate) fn must_wake(&self) -> bool {
        // Pairs with the fence in `announce`: either we see the flag, or the receiver sees what we stored.
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}
