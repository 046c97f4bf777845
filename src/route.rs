//! A way out: read by the stack, which sends by it, and by those who ask the kernel for it.

use crate::wire::Addr;

/// A network, and who takes packets for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network it leads to; unspecified for the default route.
    pub destination: Addr,
    /// The network's prefix length, counted within the family.
    pub prefix_len: u8,
    /// The next hop; `None` when the network is on the link.
    pub gateway: Option<Addr>,
}
