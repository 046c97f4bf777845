//! Whole prefixes of source addresses: `--address 10.0.0.0/16` of `load`.

use crate::SetupError;
use crate::stack::LocalAddr;
use crate::wire::Addr;
use ipnet::IpNet;
use std::net::IpAddr;

/// The most addresses that one prefix may stand for.
const MOST: u32 = 1 << 16;

/// Whether the prefix stands for every host in it: a network's own address, in a prefix that has hosts beside it.
pub(super) fn is_range(net: &IpNet) -> bool {
    let IpNet::V4(v4) = net else { return false };
    v4.prefix_len() < 31 && v4.addr() == v4.network()
}

/// Every host of a prefix, but for those that belong to others.
///
/// # Errors
/// More than 65,536, or none that is left.
pub(super) fn expand(net: &IpNet, others: &[IpAddr]) -> Result<Vec<LocalAddr>, SetupError> {
    let what = || format!("address {net}");
    if net.max_prefix_len() - net.prefix_len() > MOST.ilog2() as u8 {
        return Err(SetupError::new(
            what(),
            "it stands for more than 65,536 source addresses",
            format!("give a /{} or a smaller prefix", net.max_prefix_len() - MOST.ilog2() as u8),
        ));
    }
    let hosts = net.hosts().filter(|host| !others.contains(host));
    let prefix_len = net.prefix_len();
    let all: Vec<LocalAddr> = hosts.map(|host| LocalAddr { addr: Addr::from(host), prefix_len }).collect();
    if all.is_empty() {
        return Err(SetupError::new(what(), "no address in it is left for us", "give a larger prefix"));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_every_host_but_those_of_others() {
        let net: IpNet = "10.0.0.0/29".parse().unwrap();
        let others = ["10.0.0.1".parse().unwrap(), "10.0.0.6".parse().unwrap()];
        let hosts: Vec<String> = expand(&net, &others).unwrap().iter().map(|local| local.addr.to_string()).collect();
        assert_eq!(hosts, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]);
        assert_eq!(expand(&"10.0.0.0/16".parse().unwrap(), &[]).unwrap().len(), 65_534);
    }

    #[test]
    fn only_a_networks_own_address_is_a_range_and_not_too_large_a_one() {
        for (net, range) in
            [("10.0.0.0/16", true), ("10.0.0.2/16", false), ("10.0.0.0/31", false), ("2001:db8::/64", false)]
        {
            assert_eq!(is_range(&net.parse().unwrap()), range, "{net}");
        }
        assert!(expand(&"10.0.0.0/8".parse().unwrap(), &[]).unwrap_err().to_string().contains("give a /16"));
        let only = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        assert!(expand(&"10.0.0.0/30".parse().unwrap(), &only).is_err());
    }
}
