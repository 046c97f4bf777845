//! What the engine asks the host before it opens an interface: do the addresses fit, and, where they are shared, who are
//! the neighbours.

use super::EngineConfig;
use crate::SetupError;
use crate::host::{self, InterfaceFacts};
use crate::stack::Ownership;
use crate::wire::Addr;
use std::time::Duration;

/// How long the gateway may take to answer the kernel's question for it.
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

/// Where the host owns ARP: its gateways if none were given, and its neighbours.
///
/// # Errors
/// A gateway that was asked for does not answer.
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
    for gateway in config.gateways.clone() {
        match resolve(config, host.index, gateway).map_err(fail)? {
            Some(()) => {}
            None if given.contains(&gateway) => {
                return Err(SetupError::new(
                    format!("gateway {gateway} on {}", host.name),
                    "it does not answer on this link",
                    "check the address, and the cable",
                ));
            }
            None => tracing::warn!("the host's gateway {gateway} does not answer"),
        }
    }
    Ok(())
}

fn resolve(config: &mut EngineConfig, if_index: u32, gateway: Addr) -> std::io::Result<Option<()>> {
    if config.neighbours.iter().any(|(known, _)| *known == gateway) {
        return Ok(Some(()));
    }
    let mac = host::resolve(if_index, gateway, RESOLVE_WITHIN)?;
    config.neighbours.extend(mac.map(|mac| (gateway, mac)));
    Ok(mac.map(drop))
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
}
