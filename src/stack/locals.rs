//! Our addresses by number, so that entries that must be small can name one in two octets.

use super::config::LocalAddr;
use crate::wire::Addr;
use std::sync::Arc;

/// The most addresses that a stack may have.
pub const MOST_ADDRESSES: usize = 1 << 16;

/// The addresses of one shard, each with a number. A clone is another view of them.
#[derive(Clone, Debug)]
pub struct Locals {
    sorted: Arc<[Addr]>,
}

impl Locals {
    /// Numbers these.
    ///
    /// # Panics
    /// If there are more than [`MOST_ADDRESSES`]: whoever configures the stack has looked.
    pub fn new(addresses: &[LocalAddr]) -> Self {
        let mut sorted: Vec<Addr> = addresses.iter().map(|local| local.addr).collect();
        sorted.sort_unstable();
        sorted.dedup();
        assert!(sorted.len() <= MOST_ADDRESSES, "more addresses than can be numbered");
        Locals { sorted: sorted.into() }
    }

    /// The number of an address, if it is one of ours.
    #[inline]
    pub fn number(&self, addr: &Addr) -> Option<u16> {
        self.sorted.binary_search(addr).ok().map(|at| at as u16)
    }

    /// The address of this number.
    #[inline]
    pub fn addr(&self, number: u16) -> Addr {
        self.sorted[usize::from(number)]
    }
}
