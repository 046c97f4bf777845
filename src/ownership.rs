//! Who owns our addresses: read by the stack, which answers for them, and by the XDP program, which takes their frames.

/// Who else owns our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ownership {
    /// Ours alone: we answer ARP, NDP and ping, and refuse connections to closed ports.
    #[default]
    Exclusive,
    /// Shared with the host: only our TCP ports are ours; the kernel answers everything else.
    Shared,
}
