//! The event that ends a driver's sleep: an eventfd, signalled by any thread and polled beside the driver's own rings.

use super::Wake;
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A flag that threads raise and one sleeper lowers. It stays raised until the sleeper has seen it.
pub(super) struct Event(OwnedFd);

impl Event {
    /// A lowered event: one eventfd.
    pub(super) fn new() -> io::Result<Event> {
        Ok(Event(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Lowers the event.
    pub(super) fn clear(&self) {
        // EAGAIN says that it was not raised, which is what we want.
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

impl Wake for Event {
    fn wake(&self) {
        // EAGAIN says that the counter is at its limit, so the event is raised already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
