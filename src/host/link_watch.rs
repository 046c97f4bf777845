//! An interface looked at while it is in use: at once when the kernel tells of a change of any link, and now and then, as it
//! does not tell of all (queues, an XDP program that was detached by its link).

use super::netlink::{Netlink, readable};
use super::watch::Watch;
use super::{InterfaceFacts, ask_driver, link_facts};
use netlink_packet_route::link::LinkMessage;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::time::Duration;

/// The multicast group of changes of links.
const RTNLGRP_LINK: u32 = 1;

/// How often the interface is looked at when the kernel tells nothing.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Calls `on_look` with what the interface that was like `start` in the caller's namespace is like (without its addresses),
/// or `None` when there is no such interface any more; now, after each change, and every two seconds, on a thread of its
/// own. What its driver says is told as it was last while there is no descriptor to ask it with. The watch ends when
/// `on_look` breaks off; when it is stopped it looks for a last time.
///
/// # Errors
/// When the kernel does not answer, or the thread cannot start.
pub fn link_watch<T: Send + 'static>(
    start: &InterfaceFacts,
    mut on_look: impl FnMut(Option<InterfaceFacts>) -> ControlFlow<T> + Send + 'static,
) -> io::Result<Watch<T>> {
    // Opened here: a new thread shares our namespace, but who knows for how long.
    let changes = Netlink::listen(RTNLGRP_LINK)?;
    let mut table = Netlink::open()?;
    let mut seen = start.clone();
    Watch::start("hf-link", move |stop| {
        loop {
            // Before the look, so that what comes before the end is seen.
            let last = stop.is_told();
            match look_again(&mut table, &seen) {
                Ok(facts) => {
                    if let Some(facts) = &facts {
                        seen.clone_from(facts);
                    }
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
            stop.wait_for(&changes, Some(LOOK_EVERY));
            // What changed is seen by looking; so it does not matter either when there were too many changes (ENOBUFS).
            while readable(changes.as_fd(), Duration::ZERO).unwrap_or(false) {
                let _ = changes.receive();
            }
        }
    })
}

/// The interface that was like this, as it is now.
fn look_again(netlink: &mut Netlink, before: &InterfaceFacts) -> io::Result<Option<InterfaceFacts>> {
    let Some(mut facts) = look(netlink, before.index)? else { return Ok(None) };
    if ask_driver(&mut facts).is_err() {
        facts.driver.clone_from(&before.driver);
        (facts.rx_queues, facts.tx_queues) = (before.rx_queues, before.tx_queues);
    }
    Ok(Some(facts))
}

/// The interface of this index, as it is now by netlink alone.
pub(super) fn look(netlink: &mut Netlink, if_index: u32) -> io::Result<Option<InterfaceFacts>> {
    let mut request = LinkMessage::default();
    request.header.index = if_index;
    link_facts(netlink, request)
}
