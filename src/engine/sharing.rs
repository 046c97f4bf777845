//! What the engine asks the host before it opens an interface: do the addresses fit, and, where they are shared, who are
//! the neighbours.

use super::EngineConfig;
use crate::SetupError;
use crate::host::{self, InterfaceFacts, Listens};
use crate::stack::{MOST_ROUTES, Ownership, Route, Routes};
use crate::wire::Addr;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a next hop may take to answer the kernel's question for it.
const RESOLVE_WITHIN: Duration = Duration::from_secs(2);

/// Refuses addresses that the host does not have (shared) or has (ours alone).
pub(super) fn check_addresses(config: &EngineConfig, host: &InterfaceFacts) -> Result<(), SetupError> {
    for local in &config.addresses {
        let address = format!("{}/{}", local.addr, local.prefix_len);
        let what = format!("address {address} on {}", host.name);
        let on_host = host.addresses.iter().find(|(addr, _)| *addr == local.addr);
        match (config.ownership, on_host) {
            (Ownership::Shared, None) => {
                return Err(SetupError::new(
                    what,
                    "not on the link: the host does not have it, so it cannot be shared",
                    format!("`ip addr add {address} dev {}`, or leave `--share-address` away", host.name),
                ));
            }
            (Ownership::Exclusive, Some((addr, prefix_len))) => {
                return Err(SetupError::new(
                    what,
                    "the host has it as well, and both would answer",
                    format!("add `--share-address`, or `ip addr del {addr}/{prefix_len} dev {}`", host.name),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A line in the log for each port that is taken from a program of the host: it looks as if that served, and it hears nothing.
pub(super) fn tell_taken_ports(config: &EngineConfig, host: &InterfaceFacts) {
    for port in &config.listen {
        let found = config.addresses.iter().filter_map(|local| Some((host::listens(local.addr, *port)?, local.addr)));
        if let Some((listens, addr)) = found.min_by_key(|(listens, _)| *listens) {
            tracing::warn!("{}", taken_port(*port, addr, listens, &host.name));
        }
    }
}

fn taken_port(port: u16, addr: Addr, listens: Listens, interface: &str) -> String {
    let who = match listens {
        Listens::Surely => format!("a program of the host listens at port {port} of {addr} as well, and"),
        Listens::Perhaps => format!(
            "a program of the host listens at port {port} of [::]: if that is not for IPv6 alone, it listens at {addr} as \
             well, and"
        ),
    };
    format!("{who} gets nothing that comes in by {interface} as long as we run; end it, or take another port")
}

/// Where the host owns ARP: its routes, its gateways if none were given, its neighbours, and the next hops to what must be
/// reachable.
///
/// # Errors
/// A gateway that was asked for, or the next hop to a peer, does not answer.
pub(super) fn learn_from_host(config: &mut EngineConfig, host: &InterfaceFacts) -> Result<(), SetupError> {
    let fail = |e: std::io::Error| {
        let what = format!("asking the kernel for the neighbours on {}", host.name);
        SetupError::of_system(what, &e, "run as root or with CAP_NET_ADMIN")
    };
    let given = config.gateways.clone();
    take_routes(config, host::routes(host.index).map_err(|e| routes_error(host, e))?, host);
    config.neighbours.extend(host::neighbours(host.index).map_err(fail)?);
    let routes = Routes::new(&config.addresses, &config.routes, &config.gateways);
    let needed: Vec<Addr> = config.reach.iter().filter_map(|peer| routes.next_hop(peer)).collect();
    for hop in needed.iter().chain(&given).copied() {
        if !resolve(config, host.index, hop, RESOLVE_WITHIN).map_err(fail)? {
            return Err(SetupError::new(
                format!("finding the Ethernet address of {hop} on {}", host.name),
                "nobody answered",
                "is the address right, and the host up and on this link?",
            ));
        }
    }
    // For the rest together no longer than for one: an answer that comes later is heard by the watch. Many routes may lead
    // by one gateway.
    let start = std::time::Instant::now();
    for hop in routes.gateways().collect::<BTreeSet<_>>() {
        let within = RESOLVE_WITHIN.saturating_sub(start.elapsed());
        if !resolve(config, host.index, hop, within).map_err(fail)? && !within.is_zero() {
            tracing::warn!("the host's gateway {hop} does not answer");
        }
    }
    Ok(())
}

/// Where the addresses are ours alone: the host's routes to gateways that are on a link of ours. Its other routes lead to
/// links that are its own.
///
/// # Errors
/// The kernel does not answer.
pub(super) fn follow_routes(config: &mut EngineConfig, host: &InterfaceFacts) -> Result<(), SetupError> {
    let routes = host::routes(host.index).map_err(|e| routes_error(host, e))?;
    let links = Routes::new(&config.addresses, &[], &[]);
    let ours = |route: &Route| route.gateway.is_some_and(|gateway| links.next_hop(&gateway).is_some());
    take_routes(config, routes.into_iter().filter(ours).collect(), host);
    Ok(())
}

fn take_routes(config: &mut EngineConfig, routes: Vec<Route>, host: &InterfaceFacts) {
    let left_out = add_routes(config, routes);
    if left_out > 0 {
        tracing::warn!("{left_out} of the host's routes out of {} are not followed: {MOST_ROUTES} are", host.name);
    }
}

/// Takes the host's routes after our own, its default routes only for families that have no gateway; gives how many found
/// no room. The widest networks come first, as most goes there.
fn add_routes(config: &mut EngineConfig, mut of_host: Vec<Route>) -> usize {
    let given = config.gateways.clone();
    of_host.sort_by_key(|route| route.prefix_len);
    let mut left_out = 0;
    for route in of_host {
        let v4 = route.destination.is_v4();
        let ours = config.addresses.iter().any(|local| local.addr.is_v4() == v4);
        let on_link = route.gateway.is_none()
            && config.addresses.iter().any(|local| {
                local.prefix_len == route.prefix_len && local.addr.shares_prefix(&route.destination, local.prefix_len)
            });
        match route.gateway {
            _ if !ours || on_link => {}
            _ if route.prefix_len == 0 && given.iter().any(|gateway| gateway.is_v4() == v4) => {}
            // Among the gateways the XDP program, which knows no routes, sees that there is a way back to all.
            Some(gateway) if route.prefix_len == 0 && gateway.is_v4() == v4 => config.gateways.push(gateway),
            _ if config.routes.len() < MOST_ROUTES => config.routes.push(route),
            _ => left_out += 1,
        }
    }
    left_out
}

fn routes_error(host: &InterfaceFacts, e: std::io::Error) -> SetupError {
    SetupError::of_system(
        format!("asking the kernel for the routes out of {}", host.name),
        &e,
        "is netlink allowed here?",
    )
}

/// Whether the next hop is known, or the host found it out.
fn resolve(config: &mut EngineConfig, if_index: u32, hop: Addr, within: Duration) -> std::io::Result<bool> {
    if config.neighbours.iter().any(|(known, _)| *known == hop) {
        return Ok(true);
    }
    let mac = host::resolve(if_index, hop, within)?;
    config.neighbours.extend(mac.map(|mac| (hop, mac)));
    Ok(mac.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::LocalAddr;

    #[test]
    fn the_host_must_have_what_it_shares_and_nothing_else_of_ours() {
        let addr = Addr::from_v4([10, 0, 0, 2]);
        let mut config = EngineConfig::new(vec![LocalAddr { addr, prefix_len: 24 }]);
        let without = InterfaceFacts { name: "eth7".into(), ..InterfaceFacts::default() };
        // Of another prefix than ours: the kernel knows its address by its own.
        let with = InterfaceFacts { addresses: vec![(addr, 16)], ..without.clone() };
        assert!(check_addresses(&config, &without).is_ok());
        let error = check_addresses(&config, &with).unwrap_err().to_string();
        assert!(error.contains("--share-address") && error.contains("ip addr del 10.0.0.2/16 dev eth7"), "{error}");
        config.ownership = Ownership::Shared;
        assert!(check_addresses(&config, &with).is_ok());
        let error = check_addresses(&config, &without).unwrap_err().to_string();
        assert!(error.contains("not on the link") && error.contains("ip addr add 10.0.0.2/24 dev eth7"), "{error}");
    }

    #[test]
    fn a_port_that_is_perhaps_taken_is_told_as_such() {
        let line = |listens| taken_port(80, Addr::from_v4([10, 0, 0, 2]), listens, "eth7");
        assert!(
            line(Listens::Surely).contains("listens at port 80 of 10.0.0.2 as well, and gets nothing that comes in by")
        );
        let perhaps = line(Listens::Perhaps);
        assert!(
            perhaps.contains("port 80 of [::]: if that is not for IPv6 alone, it listens at 10.0.0.2"),
            "{perhaps}"
        );
    }

    #[test]
    fn the_hosts_routes_come_after_ours_and_its_default_only_where_no_gateway_was_given() {
        let addr = |octets| Addr::from_v4(octets);
        let route = |destination, prefix_len, gateway| Route { destination, prefix_len, gateway };
        let local = |addr, prefix_len| LocalAddr { addr, prefix_len };
        let router = addr([10, 0, 0, 1]);
        let of_host = vec![
            route(addr([10, 9, 0, 0]), 16, Some(addr([10, 0, 0, 11]))),
            route(addr([10, 0, 0, 0]), 24, None),
            route(Addr::UNSPECIFIED_V4, 0, Some(router)),
            route(Addr::UNSPECIFIED_V4, 0, Some(addr([10, 0, 0, 99]))),
            route(Addr::from_v6([0; 16]), 0, Some(Addr::from_v6([0xfe; 16]))), // we have no address of that family
        ];
        let mut config = EngineConfig::new(vec![local(addr([10, 0, 0, 2]), 24)]);
        assert_eq!(add_routes(&mut config, of_host.clone()), 0);
        assert_eq!((config.gateways[0], config.routes.as_slice()), (router, &of_host[..1]));
        let mut config = EngineConfig { gateways: vec![addr([10, 0, 0, 7])], ..EngineConfig::new(config.addresses) };
        config.routes = vec![of_host[0]; MOST_ROUTES];
        assert_eq!(add_routes(&mut config, of_host), 1, "there is room for no more");
        assert_eq!((config.gateways.len(), config.routes.len()), (1, MOST_ROUTES));
    }
}
