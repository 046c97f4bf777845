//! An interface looked at while it is in use: at once when the kernel tells of a change of any link, and now and then, as it
//! does not tell of all (queues, an XDP program that was detached by its link).

use super::netlink::{Netlink, readable};
use super::{InterfaceFacts, link_facts};
use netlink_packet_route::link::LinkMessage;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The multicast group of changes of links.
const RTNLGRP_LINK: u32 = 1;

/// How often the interface is looked at when the kernel tells nothing.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A running watch of an interface.
pub struct LinkWatch<T> {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<Option<T>>>,
}

/// Calls `on_look` with what the interface of this index in the caller's namespace is like (without its addresses), or
/// `None` when there is no such interface any more; now, after each change, and every two seconds, on a thread of its own.
/// The watch ends when `on_look` breaks off.
///
/// # Errors
/// When the kernel does not answer, or the thread cannot start.
pub fn link_watch<T: Send + 'static>(
    if_index: u32,
    mut on_look: impl FnMut(Option<InterfaceFacts>) -> ControlFlow<T> + Send + 'static,
) -> io::Result<LinkWatch<T>> {
    // Opened here: a new thread shares our namespace, but who knows for how long.
    let changes = Netlink::listen(RTNLGRP_LINK)?;
    let mut table = Netlink::open()?;
    let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
    let stopped = stop.clone();
    let watch = move || {
        loop {
            // Before the look, so that what comes before the end is seen.
            let last = wait(&[], &stopped, Duration::ZERO);
            match look(&mut table, if_index) {
                Ok(facts) => {
                    if let ControlFlow::Break(verdict) = on_look(facts) {
                        return Some(verdict);
                    }
                }
                // It is looked at again, and a worker notices by itself when its queue is gone.
                Err(e) => tracing::debug!("looking at an interface: {e}"),
            }
            if last {
                return None;
            }
            wait(&[&changes], &stopped, LOOK_EVERY);
            // What changed is seen by looking; so it does not matter either when there were too many changes (ENOBUFS).
            while readable(changes.as_fd(), Duration::ZERO).unwrap_or(false) {
                let _ = changes.receive();
            }
        }
    };
    let thread = std::thread::Builder::new().name("hf-link".into()).spawn(watch)?;
    Ok(LinkWatch { stop, thread: Some(thread) })
}

impl<T> LinkWatch<T> {
    /// Looks for a last time, and ends the watch; gives what `on_look` broke off with, now or earlier.
    pub fn stop(mut self) -> Option<T> {
        self.end()
    }

    fn end(&mut self) -> Option<T> {
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        self.thread.take().and_then(|thread| thread.join().ok()).flatten()
    }
}

impl<T> Drop for LinkWatch<T> {
    fn drop(&mut self) {
        self.end();
    }
}

fn look(netlink: &mut Netlink, if_index: u32) -> io::Result<Option<InterfaceFacts>> {
    let mut request = LinkMessage::default();
    request.header.index = if_index;
    link_facts(netlink, request)
}

/// Waits until one of `others` can be read, the watch is to stop, or the time is over; says whether it is to stop.
fn wait(others: &[&Netlink], stopped: &OwnedFd, timeout: Duration) -> bool {
    let mut fds = vec![PollFd::new(stopped, PollFlags::IN)];
    fds.extend(others.iter().map(|other| PollFd::new(*other, PollFlags::IN)));
    // An interrupted wait is a short one.
    let _ = poll(&mut fds, Timespec::try_from(timeout).ok().as_ref());
    !fds[0].revents().is_empty()
}
