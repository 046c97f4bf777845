//! Our addresses by number, so that entries that must be small can name one in two octets.

use super::config::LocalAddr;
use super::flow_hash::FlowHash;
use crate::wire::Addr;
use hashbrown::HashTable;
use std::sync::Arc;

/// The most addresses that a stack may have.
pub const MOST_ADDRESSES: usize = 1 << 16;

/// The addresses of one shard, each with a number. A clone is another view of them.
#[derive(Clone)]
pub struct Locals {
    // Whoever asks for addresses that collide finds the same few each time, as these are configured: no secret is needed.
    keyed: FlowHash,
    table: Arc<Table>,
}

struct Table {
    /// Each once.
    addrs: Vec<Addr>,
    numbers: HashTable<u16>,
}

impl Locals {
    /// Numbers these.
    ///
    /// # Panics
    /// If there are more than [`MOST_ADDRESSES`]: whoever configures the stack has looked.
    pub fn new(addresses: &[LocalAddr]) -> Self {
        let keyed = FlowHash::new(&[0; 16]);
        let mut addrs: Vec<Addr> = addresses.iter().map(|local| local.addr).collect();
        addrs.sort_unstable();
        addrs.dedup();
        assert!(addrs.len() <= MOST_ADDRESSES, "more addresses than can be numbered");
        let hash = |number: &u16| keyed.addr(&addrs[usize::from(*number)]);
        let mut numbers = HashTable::with_capacity(addrs.len());
        for number in 0..addrs.len() {
            numbers.insert_unique(hash(&(number as u16)), number as u16, hash);
        }
        Locals { keyed, table: Arc::new(Table { addrs, numbers }) }
    }

    /// The number of an address, if it is one of ours.
    #[inline]
    pub fn number(&self, addr: &Addr) -> Option<u16> {
        let Table { addrs, numbers } = &*self.table;
        numbers.find(self.keyed.addr(addr), |number| addrs[usize::from(*number)] == *addr).copied()
    }

    /// Whether an address is one of ours.
    #[inline]
    pub fn hold(&self, addr: &Addr) -> bool {
        self.number(addr).is_some()
    }

    /// The address of this number.
    #[inline]
    pub fn addr(&self, number: u16) -> Addr {
        self.table.addrs[usize::from(number)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_most_addresses_has_a_number_of_its_own_and_no_other_has_one() {
        let at = |n: u32| match n % 2 {
            0 => Addr::from_v4((0x0a00_0000 + n).to_be_bytes()),
            _ => Addr::from_v6((0xfd << 120 | u128::from(n)).to_be_bytes()),
        };
        let most = MOST_ADDRESSES as u32;
        let twice = (0..most).chain(0..most).map(|n| LocalAddr { addr: at(n), prefix_len: 8 });
        let locals = Locals::new(&twice.collect::<Vec<_>>());
        let numbers: std::collections::BTreeSet<u16> = (0..most).filter_map(|n| locals.number(&at(n))).collect();
        assert_eq!(numbers.len(), MOST_ADDRESSES);
        assert!((0..most).all(|n| locals.number(&at(n)).map(|number| locals.addr(number)) == Some(at(n))));
        assert!((most..2 * most).all(|n| !locals.hold(&at(n))));
        assert!(!Locals::new(&[]).hold(&at(0)));
    }
}
