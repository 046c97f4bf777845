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
