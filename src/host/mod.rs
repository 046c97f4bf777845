//! What the host knows: interfaces, addresses, routes and neighbours, asked of the kernel by netlink.
//!
//! Every question concerns the network namespace of the calling thread. Nothing here is changed, except that
//! [`resolve`] makes the kernel ask for a neighbour. It runs at start and beside the workers, never in their turn.
//! [`huge_pages`] is about the host's memory, and the process's own; [`Machine`] names the host in a report.

mod ethtool;
pub mod huge_pages;
mod interrupts;
mod link_watch;
mod listeners;
mod machine;
mod neighbours;
mod netlink;
mod pinned;
mod rss;
mod watch;
mod xdp_sockets;

pub use ethtool::{RingSizes, ring_sizes};
pub use interrupts::{QueueInterrupt, move_interrupt, near_cores, queue_interrupts};
pub use link_watch::link_watch;
pub use listeners::{Listens, listens};
pub use machine::Machine;
pub use neighbours::{neighbour_watch, neighbours, resolve};
pub use pinned::{WORKER, worker_pinned_to};
pub use rss::{ReceiveSteering, receive_steering};
pub use watch::Watch;
use xdp_sockets::process_name;
pub use xdp_sockets::{XdpSocket, xdp_holders, xdp_sockets};

pub use crate::Route;
use crate::SetupError;
use crate::setup_error::descriptors_for;
use crate::wire::{Addr, MacAddr};
use netlink::Netlink;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteType,
    RouteVia,
};
use std::io;

/// An interface as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceFacts {
    /// Its name.
    pub name: String,
    /// Its index in this namespace.
    pub index: u32,
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// Its MTU in octets.
    pub mtu: u32,
    /// Whether it is set up; the cable is another matter.
    pub up: bool,
    /// Whether there is a carrier.
    pub carrier: bool,
    /// Whether it is the loopback, which leads nowhere but back.
    pub loopback: bool,
    /// The kernel's addresses on it, with their prefix lengths.
    pub addresses: Vec<(Addr, u8)>,
    /// Queues that receive.
    pub rx_queues: u32,
    /// Queues that send.
    pub tx_queues: u32,
    /// The driver's name, empty when it does not say.
    pub driver: String,
    /// The number of the XDP program on it (`bpftool prog show id N`).
    pub xdp_program: Option<u32>,
}

/// What the kernel knows of the interface called `name`: netlink, and ioctl(SIOCETHTOOL). Needs no privilege.
///
/// # Errors
/// When there is none of that name in the caller's namespace, the kernel does not answer, or no descriptor is left to ask it
/// or the driver with (EMFILE, ENFILE).
pub fn interface(name: &str) -> Result<InterfaceFacts, SetupError> {
    let what = || format!("looking up interface {name}");
    let facts = read_interface(name).map_err(|e| {
        let error = SetupError::of_system(what(), &e, "is netlink allowed in this container?");
        match descriptors_for(&e) {
            // It was not asked.
            Some(_) => error,
            None => SetupError { cause: format!("the kernel does not answer ({e})"), ..error },
        }
    })?;
    facts.ok_or_else(|| {
        let cure = "`ip -br link` shows what there is in this network namespace";
        SetupError::new(what(), "there is no such interface", cure)
    })
}

/// Whether the interface of this index in the caller's namespace is there, up, and has a carrier: netlink. Needs no privilege.
///
/// # Errors
/// When the kernel does not answer.
pub fn carries(if_index: u32) -> io::Result<bool> {
    Ok(link_watch::look(&mut Netlink::open()?, if_index)?.is_some_and(|facts| facts.up && facts.carrier))
}

/// The routes of the main table that leave by the interface, the more preferred first (metric): netlink. Of a route with
/// several next hops the first one on the interface is told.
///
/// # Errors
/// When the kernel does not answer.
pub fn routes(if_index: u32) -> io::Result<Vec<Route>> {
    let messages = Netlink::open()?.dump(Message::GetRoute(RouteMessage::default()))?;
    let routes = messages.into_iter().filter_map(|message| match message {
        Message::NewRoute(route) => route_of(&route, if_index),
        _ => None,
    });
    let mut routes: Vec<(u32, Route)> = routes.collect();
    routes.sort_by_key(|(metric, _)| *metric);
    Ok(routes.into_iter().map(|(_, route)| route).collect())
}

fn read_interface(name: &str) -> io::Result<Option<InterfaceFacts>> {
    let mut netlink = Netlink::open()?;
    // The kernel refuses longer ones as malformed: no interface has such a name.
    if name.is_empty() || name.len() >= 16 {
        return Ok(None);
    }
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::IfName(name.to_string()));
    let Some(mut facts) = link_facts(&mut netlink, request)? else { return Ok(None) };
    ask_driver(&mut facts)?;
    for message in netlink.dump(Message::GetAddress(AddressMessage::default()))? {
        if let Message::NewAddress(address) = message
            && address.header.index == facts.index
        {
            facts.addresses.extend(addr_of(&address).map(|addr| (addr, address.header.prefix_len)));
        }
    }
    Ok(Some(facts))
}

/// What netlink tells, all but the addresses, of the interface that `request` names by name or index; `None` when there is none.
///
/// # Errors
/// When the kernel does not answer.
fn link_facts(netlink: &mut Netlink, request: LinkMessage) -> io::Result<Option<InterfaceFacts>> {
    match netlink.ask(Message::GetLink(request)) {
        Ok(answer) => Ok(answer.iter().find_map(link_of)),
        Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Adds what the interface's driver says.
///
/// # Errors
/// There is no descriptor to ask it with (EMFILE, ENFILE); the facts are not to be relied on then.
fn ask_driver(facts: &mut InterfaceFacts) -> io::Result<()> {
    facts.driver = asked(ethtool::driver_name(&facts.name))?.unwrap_or_default();
    // Netlink tells how many there could be, ethtool how many are in use.
    if let Some((rx, tx)) = asked(ethtool::queues(&facts.name))?.filter(|(rx, _)| *rx > 0) {
        (facts.rx_queues, facts.tx_queues) = (rx, tx);
    }
    Ok(())
}

/// What a driver says, as far as it does.
///
/// # Errors
/// There was no descriptor to ask it with, so nothing is known.
fn asked<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
    match answer {
        Err(e) if descriptors_for(&e).is_some() => Err(e),
        answer => Ok(answer.ok()),
    }
}

fn link_of(message: &Message) -> Option<InterfaceFacts> {
    let Message::NewLink(link) = message else { return None };
    let mut facts = InterfaceFacts {
        index: link.header.index,
        up: link.header.flags.contains(LinkFlags::Up),
        carrier: link.header.flags.contains(LinkFlags::LowerUp),
        loopback: link.header.flags.contains(LinkFlags::Loopback),
        ..Default::default()
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => facts.name = name.clone(),
            LinkAttribute::Mtu(mtu) => facts.mtu = *mtu,
            LinkAttribute::NumRxQueues(queues) => facts.rx_queues = *queues,
            LinkAttribute::NumTxQueues(queues) => facts.tx_queues = *queues,
            LinkAttribute::Address(octets) => facts.mac = mac_of(octets).unwrap_or_default(),
            LinkAttribute::LinkInfo(info) => {
                let kind = info.iter().find_map(|i| if let LinkInfo::Kind(kind) = i { Some(kind) } else { None });
                facts.driver = kind.map(ToString::to_string).unwrap_or_default();
            }
            LinkAttribute::Xdp(xdp) => {
                facts.xdp_program = xdp.iter().find_map(|x| match x {
                    LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) if *id > 0 => Some(*id),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    Some(facts)
}

fn addr_of(message: &AddressMessage) -> Option<Addr> {
    // On a point-to-point link `Address` is the peer's, and `Local` ours.
    let local = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(addr) => Some(Addr::from(*addr)),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Address(addr) => Some(Addr::from(*addr)),
            _ => None,
        })
    })
}

/// A usable route by the interface, with its metric.
fn route_of(message: &RouteMessage, if_index: u32) -> Option<(u32, Route)> {
    let header = &message.header;
    let dead = RouteFlags::Dead | RouteFlags::Linkdown;
    if header.table != RouteHeader::RT_TABLE_MAIN || header.kind != RouteType::Unicast || header.flags.intersects(dead)
    {
        return None;
    }
    let (mut destination, mut by, mut metric) = (None, None, 0);
    let mut gateway = gateway_among(&message.attributes);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(addr) => destination = route_addr(addr),
            RouteAttribute::Oif(index) => by = Some(*index),
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::MultiPath(hops) => {
                let dead = RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown;
                let ours = |hop: &&RouteNextHop| hop.interface_index == if_index && !hop.flags.intersects(dead);
                if let Some(hop) = hops.iter().find(ours) {
                    (by, gateway) = (Some(if_index), gateway_among(&hop.attributes));
                }
            }
            _ => {}
        }
    }
    let unspecified = match u8::from(header.address_family).into() {
        libc::AF_INET => Addr::UNSPECIFIED_V4,
        libc::AF_INET6 => Addr::from_v6([0; 16]),
        _ => return None,
    };
    let destination = destination.unwrap_or(unspecified);
    let route = Route { destination, prefix_len: header.destination_prefix_length, gateway };
    (by == Some(if_index)).then_some((metric, route))
}

/// The next hop, which may be of the other family (RFC 5549).
fn gateway_among(attributes: &[RouteAttribute]) -> Option<Addr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(addr) => route_addr(addr),
        RouteAttribute::Via(RouteVia::Inet(addr)) => Some((*addr).into()),
        RouteAttribute::Via(RouteVia::Inet6(addr)) => Some((*addr).into()),
        _ => None,
    })
}

fn route_addr(addr: &RouteAddress) -> Option<Addr> {
    match addr {
        RouteAddress::Inet(addr) => Some((*addr).into()),
        RouteAddress::Inet6(addr) => Some((*addr).into()),
        _ => None,
    }
}

fn mac_of(octets: &[u8]) -> Option<MacAddr> {
    octets.try_into().ok().map(MacAddr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_known_to_everyone() {
        let facts = interface("lo").unwrap();
        assert_eq!((facts.name.as_str(), facts.index, facts.mac), ("lo", 1, MacAddr::default()));
        assert!(facts.loopback && facts.rx_queues >= 1 && facts.mtu > 1500, "{facts:?}");
    }

    #[test]
    fn an_unknown_interface_is_named_with_the_cure() {
        for name in ["hf-none", "a-name-that-is-far-too-long-for-linux", ""] {
            let error = interface(name).unwrap_err().to_string();
            assert!(error.contains("there is no such interface") && error.contains("ip -br link"), "{error}");
        }
    }
}
