//! What the engine asks the host before it opens an interface: do the addresses fit, and, where they are shared, who are
//! the neighbours.

use super::EngineConfig;
use crate::SetupError;
use crate::host::{self, InterfaceFacts};
use crate::stack::Ownership;
use crate::wire::Addr;
use std::time::Duration;

/// How long a next hop may take to answer the kernel's question for it.
const RESOLVE_WITHIN: Duration = Duration::from_secs(2);

/// Refuses addresses that the host does not have (shared) or has (ours alone).
pub(super) fn check_addresses(config: &EngineConfig, host: &InterfaceFacts) -> Result<(), SetupError> {
    for local in &config.addresses {
        let address = format!("{}/{}", local.addr, local.prefix_len);
        let what = format!("address {address} on {}", host.name);
        let on_host = host.addresses.iter().any(|(addr, _)| *addr == local.addr);
        match config.ownership {
            Ownership::Shared if !on_host => {
                return Err(SetupError::new(
                    what,
                    "not on the link: the host does not have it, so it cannot be shared",
                    format!("`ip addr add {address} dev {}`, or leave `--share-address` away", host.name),
                ));
            }
            Ownership::Exclusive if on_host => {
                return Err(SetupError::new(
                    what,
                    "the host has it as well, and both would answer",
                    format!("add `--share-address`, or `ip addr del {address} dev {}`", host.name),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where the host owns ARP: its gateways if none were given, its neighbours, and the next hops to what must be reachable.
///
/// # Errors
/// A gateway that was asked for, or the next hop to a peer, does not answer.
pub(super) fn learn_from_host(config: &mut EngineConfig, host: &InterfaceFacts) -> Result<(), SetupError> {
    let fail = |e: std::io::Error| {
        SetupError::new(
            format!("asking the kernel for the neighbours on {}", host.name),
            e.to_string(),
            "run as root or with CAP_NET_ADMIN",
        )
    };
    let given = config.gateways.clone();
    for v4 in [true, false] {
        let wanted = config.addresses.iter().any(|local| local.addr.is_v4() == v4);
        if wanted && !given.iter().any(|gateway| gateway.is_v4() == v4) {
            config.gateways.extend(host::gateway(host.index, v4).map_err(fail)?);
        }
    }
    config.neighbours.extend(host::neighbours(host.index).map_err(fail)?);
    let needed: Vec<Addr> = config.reach.iter().filter_map(|peer| next_hop(config, *peer)).collect();
    for hop in needed.iter().chain(&config.gateways.clone()).copied() {
        if resolve(config, host.index, hop).map_err(fail)? {
            continue;
        }
        if given.contains(&hop) || needed.contains(&hop) {
            return Err(SetupError::new(
                format!("finding the Ethernet address of {hop} on {}", host.name),
                "nobody answered",
                "is the address right, and the host up and on this link?",
            ));
        }
        tracing::warn!("the host's gateway {hop} does not answer");
    }
    Ok(())
}

/// The first hop on the way to a peer; `None` where there is no route, which the stack says by itself.
fn next_hop(config: &EngineConfig, peer: Addr) -> Option<Addr> {
    let on_link = config.addresses.iter().any(|local| local.addr.shares_prefix(&peer, local.prefix_len));
    let gateway = || config.gateways.iter().copied().find(|gateway| gateway.is_v4() == peer.is_v4());
    if on_link { Some(peer) } else { gateway() }
}

/// Whether the next hop is known, or the host found it out.
fn resolve(config: &mut EngineConfig, if_index: u32, hop: Addr) -> std::io::Result<bool> {
    if config.neighbours.iter().any(|(known, _)| *known == hop) {
        return Ok(true);
    }
    let mac = host::resolve(if_index, hop, RESOLVE_WITHIN)?;
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
        let with = InterfaceFacts { addresses: vec![(addr, 24)], ..without.clone() };
        assert!(check_addresses(&config, &without).is_ok());
        let error = check_addresses(&config, &with).unwrap_err().to_string();
        assert!(error.contains("--share-address") && error.contains("eth7"), "{error}");
        config.ownership = Ownership::Shared;
        assert!(check_addresses(&config, &with).is_ok());
        let error = check_addresses(&config, &without).unwrap_err().to_string();
        assert!(error.contains("not on the link") && error.contains("ip addr add 10.0.0.2/24 dev eth7"), "{error}");
    }

    #[test]
    fn a_peer_is_reached_on_link_or_by_the_gateway_of_its_family() {
        let local = LocalAddr { addr: Addr::from_v4([10, 0, 0, 2]), prefix_len: 24 };
        let gateway = Addr::from_v4([10, 0, 0, 1]);
        let mut config = EngineConfig::new(vec![local]);
        let (near, far) = (Addr::from_v4([10, 0, 0, 9]), Addr::from_v4([192, 0, 2, 1]));
        assert_eq!((next_hop(&config, near), next_hop(&config, far)), (Some(near), None));
        config.gateways = vec![gateway];
        assert_eq!((next_hop(&config, near), next_hop(&config, far)), (Some(near), Some(gateway)));
        assert_eq!(next_hop(&config, Addr::from_v6([0x20; 16])), None);
    }
}
