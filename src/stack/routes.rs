//! Which of our addresses to use, and who takes the packet next.

use super::config::{LocalAddr, StackConfig};
use crate::wire::Addr;

/// Our addresses and the ways out.
pub struct Routes {
    /// Sorted by address.
    locals: Vec<LocalAddr>,
    /// As they were configured: the order in which active opens use them.
    in_order: Vec<LocalAddr>,
    /// One of our addresses for each prefix that is on-link.
    prefixes: Vec<LocalAddr>,
    gateways: Vec<Addr>,
    rotation: usize,
}

impl Routes {
    /// As configured.
    pub fn new(config: &StackConfig) -> Self {
        let mut locals = config.addresses.clone();
        locals.sort_by_key(|local| local.addr);
        let mut prefixes: Vec<LocalAddr> = Vec::new();
        for local in &config.addresses {
            let same = |known: &LocalAddr| {
                known.prefix_len == local.prefix_len && known.addr.shares_prefix(&local.addr, local.prefix_len)
            };
            if !prefixes.iter().any(same) {
                prefixes.push(*local);
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
        self.prefixes.iter().any(|local| local.addr.shares_prefix(addr, local.prefix_len))
    }

    /// Whether `addr` is the broadcast address of one of our prefixes (RFC 1122 §3.2.1.3).
    pub fn is_subnet_broadcast(&self, addr: &Addr) -> bool {
        let Some(octets) = addr.v4() else { return false };
        self.prefixes.iter().any(|local| {
            let host_bits = u32::MAX.checked_shr(u32::from(local.prefix_len)).unwrap_or(0);
            local.prefix_len < 31
                && local.addr.shares_prefix(addr, local.prefix_len)
                && u32::from_be_bytes(octets) & host_bits == host_bits
        })
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
