//! A thread that watches something of the kernel's until it is told to stop.

use super::netlink::Netlink;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// A running watch, which may break off by itself with a `T`. Dropping it ends its thread.
pub struct Watch<T> {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<Option<T>>>,
}

/// What the thread of a watch is told to stop by.
pub(super) struct Stop(Arc<OwnedFd>);

impl<T: Send + 'static> Watch<T> {
    /// Runs `watch` on a thread of this name.
    ///
    /// # Errors
    /// The thread cannot start.
    pub(super) fn start(name: &str, watch: impl FnOnce(Stop) -> Option<T> + Send + 'static) -> io::Result<Watch<T>> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let told = Stop(stop.clone());
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || watch(told))?;
        Ok(Watch { stop, thread: Some(thread) })
    }

    /// Ends the watch; gives what it broke off with, now or earlier.
    pub fn stop(mut self) -> Option<T> {
        self.end()
    }
}

impl<T> Watch<T> {
    fn end(&mut self) -> Option<T> {
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        self.thread.take().and_then(|thread| thread.join().ok()).flatten()
    }
}

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        self.end();
    }
}

impl Stop {
    /// Whether the watch is to stop.
    pub(super) fn is_told(&self) -> bool {
        self.wait(&[], Some(Duration::ZERO))
    }

    /// Waits until `changes` may be read, the watch is to stop, or the time is over (`None`: for as long as it takes); says
    /// whether it is to stop.
    pub(super) fn wait_for(&self, changes: &Netlink, timeout: Option<Duration>) -> bool {
        self.wait(&[changes], timeout)
    }

    fn wait(&self, others: &[&Netlink], timeout: Option<Duration>) -> bool {
        let mut fds = vec![PollFd::new(&*self.0, PollFlags::IN)];
        fds.extend(others.iter().map(|other| PollFd::new(*other, PollFlags::IN)));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, timeout.as_ref());
        !fds[0].revents().is_empty()
    }
}
