//! The kernel's neighbour table (ARP and NDP): read, asked to resolve, and watched.

use super::mac_of;
use super::netlink::{Netlink, readable};
use super::watch::Watch;
use crate::wire::{Addr, MacAddr};
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NetlinkPayload};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// The multicast group of changes of neighbours.
const RTNLGRP_NEIGH: u32 = 3;

/// How often the table is read while the kernel resolves.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The neighbours on an interface whose Ethernet address the kernel knows: netlink. Needs no privilege.
///
/// # Errors
/// When the kernel does not answer.
pub fn neighbours(if_index: u32) -> io::Result<Vec<(Addr, MacAddr)>> {
    let messages = Netlink::open()?.dump(Message::GetNeighbour(NeighbourMessage::default()))?;
    Ok(messages.iter().filter_map(|message| neighbour_of(message, if_index)).collect())
}

/// The Ethernet address of `addr` on an interface, asked of the kernel, which asks the link if it does not know.
/// Blocks for up to `timeout`. Needs CAP_NET_ADMIN where the neighbour is not known yet.
///
/// # Errors
/// When the kernel refuses to ask; `None` when nobody answered.
pub fn resolve(if_index: u32, addr: Addr, timeout: Duration) -> io::Result<Option<MacAddr>> {
    let known = || -> io::Result<Option<MacAddr>> {
        Ok(neighbours(if_index)?.into_iter().find_map(|(known, mac)| (known == addr).then_some(mac)))
    };
    let start = Instant::now();
    if let Some(mac) = known()? {
        return Ok(Some(mac));
    }
    ask_kernel(if_index, addr)?;
    while start.elapsed() < timeout {
        std::thread::sleep(LOOK_AGAIN);
        if let Some(mac) = known()? {
            return Ok(Some(mac));
        }
    }
    Ok(None)
}

/// Makes the kernel use, and so resolve, a neighbour.
fn ask_kernel(if_index: u32, addr: Addr) -> io::Result<()> {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = if_index;
    message.header.flags = NeighbourFlags::Use;
    message.header.state = NeighbourState::None;
    let (family, destination) = match addr.v4() {
        Some(octets) => (AddressFamily::Inet, NeighbourAddress::Inet(Ipv4Addr::from(octets))),
        None => (AddressFamily::Inet6, NeighbourAddress::Inet6(Ipv6Addr::from(*addr.octets()))),
    };
    message.header.family = family;
    message.attributes.push(NeighbourAttribute::Destination(destination));
    Netlink::open()?.request(Message::NewNeighbour(message), NLM_F_CREATE | NLM_F_ACK).map(drop)
}

/// Calls `on_neighbour` for each neighbour known on an interface of the caller's namespace, and again for each change,
/// on a thread of its own.
///
/// # Errors
/// When the kernel does not answer, or the thread cannot start.
pub fn neighbour_watch(
    if_index: u32,
    mut on_neighbour: impl FnMut(Addr, MacAddr) + Send + 'static,
) -> io::Result<Watch<()>> {
    // Opened here: a new thread shares our namespace, but who knows for how long. Listening comes before reading, so that
    // no change is missed in between.
    let changes = Netlink::listen(RTNLGRP_NEIGH)?;
    let mut table = Netlink::open()?;
    Watch::start("hf-neighbours", move |stop| {
        let mut read_table = true;
        loop {
            if std::mem::take(&mut read_table) {
                let dump = table.dump(Message::GetNeighbour(NeighbourMessage::default())).unwrap_or_default();
                dump.iter().filter_map(|message| neighbour_of(message, if_index)).for_each(|(a, m)| on_neighbour(a, m));
            }
            if stop.wait_for(&changes, None) {
                return None;
            }
            while readable(changes.as_fd(), Duration::ZERO).unwrap_or(false) {
                match changes.receive() {
                    Ok(messages) => {
                        let told = messages.iter().filter_map(|message| match &message.payload {
                            NetlinkPayload::InnerMessage(message) => neighbour_of(message, if_index),
                            _ => None,
                        });
                        told.for_each(|(addr, mac)| on_neighbour(addr, mac));
                    }
                    // ENOBUFS: more changes than the socket holds, so the table says what we missed.
                    Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => read_table = true,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => {
                        tracing::warn!("watching neighbours ended: {e}");
                        return None;
                    }
                }
            }
        }
    })
}

/// The neighbour that a message tells of, if it is on this interface and can be reached.
fn neighbour_of(message: &Message, if_index: u32) -> Option<(Addr, MacAddr)> {
    let Message::NewNeighbour(neighbour) = message else { return None };
    let unusable = matches!(neighbour.header.state, NeighbourState::Failed | NeighbourState::Incomplete);
    // Entries without ARP are multicast, broadcast and loopback.
    if neighbour.header.ifindex != if_index || unusable || neighbour.header.state == NeighbourState::Noarp {
        return None;
    }
    let addr = neighbour.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(addr)) => Some(Addr::from(*addr)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(addr)) => Some(Addr::from(*addr)),
        _ => None,
    })?;
    let mac = neighbour.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::LinkLayerAddress(octets) => mac_of(octets),
        _ => None,
    })?;
    Some((addr, mac))
}
