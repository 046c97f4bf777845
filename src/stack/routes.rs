//! Which of our addresses to use, and who takes the packet next.

use super::config::{LocalAddr, StackConfig};
use crate::wire::Addr;

/// Our addresses and the ways out.
pub struct Routes {
    /// Sorted by address.
    locals: Vec<LocalAddr>,
    /// As they were configured: the order in which active opens use them.
    in_order: Vec<LocalAddr>,
    /// What is on-link, each prefix once.
    prefixes: Vec<Prefix>,
    gateways: Vec<Addr>,
    rotation: usize,
}

/// A prefix that is on-link, ready to be compared with.
#[derive(PartialEq, Eq)]
struct Prefix {
    v4: bool,
    network: u128,
    mask: u128,
    /// The broadcast address, where there is one (RFC 1122 §3.2.1.3; none in a prefix of 31 bits, RFC 3021).
    broadcast: Option<Addr>,
}

impl Prefix {
    fn of(local: &LocalAddr) -> Self {
        let v4 = local.addr.is_v4();
        let host_bits = if v4 { 32u8.saturating_sub(local.prefix_len) } else { 128u8.saturating_sub(local.prefix_len) };
        let host = 1u128.checked_shl(host_bits.into()).map_or(u128::MAX, |beyond| beyond - 1);
        let addr = u128::from_be_bytes(*local.addr.octets());
        let has_broadcast = v4 && local.prefix_len < 31;
        let broadcast = has_broadcast.then(|| Addr::from_v6((addr | host).to_be_bytes()));
        Prefix { v4, network: addr & !host, mask: !host, broadcast }
    }

    #[inline]
    fn holds(&self, addr: &Addr) -> bool {
        u128::from_be_bytes(*addr.octets()) & self.mask == self.network && addr.is_v4() == self.v4
    }
}

impl Routes {
    /// As configured.
    pub fn new(config: &StackConfig) -> Self {
        let mut locals = config.addresses.clone();
        locals.sort_by_key(|local| local.addr);
        let mut prefixes: Vec<Prefix> = Vec::new();
        for prefix in config.addresses.iter().map(Prefix::of) {
            if !prefixes.contains(&prefix) {
                prefixes.push(prefix);
            }
        }
        let (in_order, gateways) = (config.addresses.clone(), config.gateways.clone());
        Routes { locals, in_order, prefixes, gateways, rotation: 0 }
    }

    /// Whether `addr` is one of ours.
    #[inline]
    pub fn is_local(&self, addr: &Addr) -> bool {
        self.locals.binary_search_by(|local| local.addr.cmp(addr)).is_ok()
    }

    /// How many addresses are ours.
    pub fn len(&self) -> usize {
        self.locals.len()
    }

    /// Whether `addr` is on one of our links.
    fn is_on_link(&self, addr: &Addr) -> bool {
        self.prefixes.iter().any(|prefix| prefix.holds(addr))
    }

    /// Whether `addr` is the broadcast address of one of our prefixes (RFC 1122 §3.2.1.3).
    pub fn is_subnet_broadcast(&self, addr: &Addr) -> bool {
        self.prefixes.iter().any(|prefix| prefix.broadcast == Some(*addr))
    }

    /// Who takes a packet for `remote`: itself when it is on-link, else the gateway of its family.
    pub fn next_hop(&self, remote: &Addr) -> Option<Addr> {
        if self.is_on_link(remote) || is_link_local(remote) {
            return Some(*remote);
        }
        self.gateways.iter().find(|gateway| gateway.is_v4() == remote.is_v4()).copied()
    }

    /// Where the next active open begins to look for an address: another one each time.
    pub fn next_rotation(&mut self) -> usize {
        self.rotation = self.rotation.wrapping_add(1);
        self.rotation
    }

    /// Our address number `at`, counted round and round.
    pub fn source(&self, at: usize) -> Option<Addr> {
        self.in_order.get(at % self.in_order.len().max(1)).map(|local| local.addr)
    }

    /// One of our addresses to ask for `target` with.
    pub fn asking_address(&self, target: &Addr) -> Option<Addr> {
        let fits = |local: &&LocalAddr| local.addr.is_v4() == target.is_v4();
        let on_link = |local: &&LocalAddr| local.addr.shares_prefix(target, local.prefix_len);
        let mut candidates = self.in_order.iter().filter(fits);
        candidates.clone().find(on_link).or_else(|| candidates.next()).map(|local| local.addr)
    }
}

/// fe80::/10, RFC 4291 §2.5.6.
fn is_link_local(addr: &Addr) -> bool {
    !addr.is_v4() && addr.octets()[0] == 0xfe && addr.octets()[1] & 0xc0 == 0x80
}
