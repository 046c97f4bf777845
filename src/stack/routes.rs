//! Which of our addresses to use, and who takes the packet next.

use super::config::{LocalAddr, Route};
use crate::wire::Addr;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// The most routes that a stack may be given, beside what is on-link with its addresses and the gateways.
pub const MOST_ROUTES: usize = 256;

/// Our addresses and the ways out.
pub struct Routes {
    /// Our addresses as they were configured: the order in which active opens use them.
    locals: Vec<LocalAddr>,
    /// The broadcast addresses of our links, sorted, each once.
    broadcasts: Vec<Addr>,
    /// The longest prefixes first, and each once.
    ways: Vec<Way>,
    rotation: usize,
}

/// A network, and who takes packets for it: the receiver itself, or a gateway.
struct Way {
    prefix: Prefix,
    gateway: Option<Addr>,
}

/// A prefix, ready to be compared with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Prefix {
    v4: bool,
    network: u128,
    mask: u128,
}

impl Prefix {
    fn of(addr: &Addr, prefix_len: u8) -> Self {
        let v4 = addr.is_v4();
        let host_bits = if v4 { 32u8.saturating_sub(prefix_len) } else { 128u8.saturating_sub(prefix_len) };
        let host = 1u128.checked_shl(host_bits.into()).map_or(u128::MAX, |beyond| beyond - 1);
        Prefix { v4, network: u128::from_be_bytes(*addr.octets()) & !host, mask: !host }
    }

    /// The broadcast address, where there is one (RFC 1122 §3.2.1.3; none in a prefix of 31 bits, RFC 3021).
    fn broadcast(&self) -> Option<Addr> {
        (self.v4 && !self.mask > 1).then(|| Addr::from_v6((self.network | !self.mask).to_be_bytes()))
    }

    #[inline]
    fn holds(&self, addr: &Addr) -> bool {
        u128::from_be_bytes(*addr.octets()) & self.mask == self.network && addr.is_v4() == self.v4
    }
}

impl Routes {
    /// Our addresses, ways to some networks, and where to go with all else: a gateway for each family.
    ///
    /// # Panics
    /// If there are more than [`MOST_ROUTES`]: whoever configures the stack has looked.
    pub fn new(addresses: &[LocalAddr], routes: &[Route], gateways: &[Addr]) -> Self {
        assert!(routes.len() <= MOST_ROUTES, "more routes than are looked through");
        let on_link = addresses.iter().map(|local| (Prefix::of(&local.addr, local.prefix_len), None));
        let default = |gateway: &Addr| {
            let family = if gateway.is_v4() { Addr::UNSPECIFIED_V4 } else { Addr::from_v6([0; 16]) };
            (Prefix::of(&family, 0), Some(*gateway))
        };
        let routed = routes.iter().map(|route| (Prefix::of(&route.destination, route.prefix_len), route.gateway));
        let all = on_link.clone().chain(gateways.iter().map(default)).chain(routed);
        // Many addresses stand on few links, and the first way to a network counts.
        let mut known = BTreeSet::new();
        let new = all.filter(|(prefix, _)| known.insert(*prefix));
        let mut ways: Vec<Way> = new.map(|(prefix, gateway)| Way { prefix, gateway }).collect();
        ways.sort_by_key(|way| Reverse(way.prefix.mask));
        let mut broadcasts: Vec<Addr> = on_link.filter_map(|(prefix, _)| prefix.broadcast()).collect();
        broadcasts.sort_unstable();
        broadcasts.dedup();
        Routes { locals: addresses.to_vec(), broadcasts, ways, rotation: 0 }
    }

    /// All next hops that are not the receiver itself; one may come more than once.
    pub fn gateways(&self) -> impl Iterator<Item = Addr> {
        self.ways.iter().filter_map(|way| way.gateway)
    }

    /// How many addresses are ours.
    pub fn len(&self) -> usize {
        self.locals.len()
    }

    /// Whether `addr` is the broadcast address of one of our prefixes (RFC 1122 §3.2.1.3).
    pub fn is_subnet_broadcast(&self, addr: &Addr) -> bool {
        self.broadcasts.binary_search(addr).is_ok()
    }

    /// Who takes a packet for `remote`: on the way with the longest prefix (RFC 1812 §5.2.4.3) the gateway, or itself.
    pub fn next_hop(&self, remote: &Addr) -> Option<Addr> {
        if is_link_local(remote) {
            return Some(*remote);
        }
        let way = self.ways.iter().find(|way| way.prefix.holds(remote))?;
        Some(way.gateway.unwrap_or(*remote))
    }

    /// Where the next active open begins to look for an address: another one each time.
    pub fn next_rotation(&mut self) -> usize {
        self.rotation = self.rotation.wrapping_add(1);
        self.rotation
    }

    /// Our address number `at`, counted round and round.
    pub fn source(&self, at: usize) -> Option<Addr> {
        self.locals.get(at % self.locals.len().max(1)).map(|local| local.addr)
    }

    /// One of our addresses to ask for `target` with.
    pub fn asking_address(&self, target: &Addr) -> Option<Addr> {
        let fits = |local: &&LocalAddr| local.addr.is_v4() == target.is_v4();
        let on_link = |local: &&LocalAddr| local.addr.shares_prefix(target, local.prefix_len);
        let mut candidates = self.locals.iter().filter(fits);
        candidates.clone().find(on_link).or_else(|| candidates.next()).map(|local| local.addr)
    }
}

/// fe80::/10, RFC 4291 §2.5.6.
fn is_link_local(addr: &Addr) -> bool {
    !addr.is_v4() && addr.octets()[0] == 0xfe && addr.octets()[1] & 0xc0 == 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Addr {
        text.parse::<std::net::IpAddr>().unwrap().into()
    }

    fn route(network: &str, gateway: Option<&str>) -> Route {
        let (destination, prefix_len) = network.split_once('/').unwrap();
        Route { destination: at(destination), prefix_len: prefix_len.parse().unwrap(), gateway: gateway.map(at) }
    }

    fn local(network: &str) -> LocalAddr {
        let Route { destination: addr, prefix_len, .. } = route(network, None);
        LocalAddr { addr, prefix_len }
    }

    #[test]
    fn the_longest_prefix_leads_and_without_any_there_is_no_way() {
        let addresses = [local("10.0.0.2/24"), local("10.0.0.3/24"), local("2001:db8::2/64")];
        let given = [
            route("10.8.0.0/13", Some("10.0.0.11")),
            route("10.9.0.0/16", Some("10.0.0.12")),
            route("10.9.9.0/24", None),
            route("10.9.9.9/32", Some("10.0.0.13")),
            route("10.0.0.128/25", Some("10.0.0.14")),
            route("10.0.0.0/24", Some("10.0.0.15")), // on-link already by our address
            route("10.9.0.0/16", Some("10.0.0.16")), // the first one of a network counts
            route("2001:db8:9::/48", Some("2001:db8::11")),
            route("2001:db8:9:9::/64", None),
            route("2001:db8:9:9::9/128", Some("fe80::1")),
            route("172.16.0.0/12", Some("fe80::2")), // RFC 5549
        ];
        let mut routes = Routes::new(&addresses, &given, &[]);
        let next_hop = |routes: &Routes, remote| routes.next_hop(&at(remote));
        for (remote, hop) in [
            ("10.0.0.9", "10.0.0.9"),
            ("10.0.0.200", "10.0.0.14"),
            ("10.15.255.255", "10.0.0.11"),
            ("10.9.1.1", "10.0.0.12"),
            ("10.9.9.1", "10.9.9.1"),
            ("10.9.9.9", "10.0.0.13"),
            ("172.31.0.1", "fe80::2"),
            ("2001:db8::9", "2001:db8::9"),
            ("2001:db8:9:1::1", "2001:db8::11"),
            ("2001:db8:9:9::1", "2001:db8:9:9::1"),
            ("2001:db8:9:9::9", "fe80::1"),
            ("fe80::77", "fe80::77"),
        ] {
            assert_eq!(next_hop(&routes, remote), Some(at(hop)), "{remote}");
        }
        for nowhere in ["10.16.0.1", "192.0.2.1", "2001:db8:8::1", "::1"] {
            assert_eq!(next_hop(&routes, nowhere), None, "{nowhere}");
        }
        routes = Routes::new(&addresses, &given, &[at("10.0.0.1"), at("10.0.0.99"), at("2001:db8::1")]);
        assert_eq!(next_hop(&routes, "192.0.2.1"), Some(at("10.0.0.1")), "the first gateway of its family");
        assert_eq!(next_hop(&routes, "2001:db8:8::1"), Some(at("2001:db8::1")));
        assert_eq!(next_hop(&routes, "10.9.1.1"), Some(at("10.0.0.12")));
    }

    #[test]
    fn a_default_route_of_each_family_leads_only_its_own() {
        let routes =
            Routes::new(&[local("10.0.0.2/24")], &[route("0.0.0.0/0", None), route("::/0", Some("fe80::1"))], &[]);
        assert_eq!(routes.next_hop(&at("192.0.2.1")), Some(at("192.0.2.1")));
        assert_eq!(routes.next_hop(&at("2001:db8::1")), Some(at("fe80::1")));
    }

    #[test]
    fn only_our_links_have_broadcast_addresses() {
        let addresses = [local("10.0.0.2/24"), local("10.1.0.2/31"), local("2001:db8::2/64")];
        let routes = Routes::new(&addresses, &[route("10.9.0.0/16", None)], &[]);
        for (addr, broadcast) in [
            ("10.0.0.255", true),
            ("10.1.0.3", false),
            ("10.9.255.255", false),
            ("2001:db8::ffff:ffff:ffff:ffff", false),
        ] {
            assert_eq!(routes.is_subnet_broadcast(&at(addr)), broadcast, "{addr}");
        }
    }
}
