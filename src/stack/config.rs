//! What a stack is told at start: who it is, how TCP behaves, and the limit of every pool.

pub use super::defence::{DefenceConfig, SynDefence};
pub use crate::ownership::Ownership;
pub use crate::route::Route;
pub use crate::tcp::TcpConfig;
pub use crate::tcp::cookie::CookieKeys;
use crate::wire::{Addr, MacAddr};

/// One address that the stack answers for, and the prefix that is on-link with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddr {
    /// The address.
    pub addr: Addr,
    /// On-link prefix length, counted within the family.
    pub prefix_len: u8,
}

/// Whether checksums of received frames are checked by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, strum::Display, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum RxChecksum {
    /// Check each.
    #[default]
    Verify,
    /// The link is trusted to have done so (a veth whose peer leaves checksums to an offload that never comes).
    Trust,
}

/// The limit of every pool of one shard. Full means refuse and count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Half-open entries.
    pub half_open: u32,
    /// Connections.
    pub connections: u32,
    /// Connections that the application has closed for good and that are not over; beyond it the newest is reset, except
    /// while draining.
    pub orphans: u32,
    /// Destinations whose path is known to carry less than our link.
    pub path_mtus: u32,
    /// TIME-WAIT entries.
    pub time_wait: u32,
    /// Octets that the entries of these tables take together, beside their own limits.
    pub table_bytes: u64,
    /// Octets in send and receive buffers together, rounded up to whole blocks.
    pub buffer_bytes: u64,
    /// Neighbours.
    pub neighbours: u32,
    /// Timers that applications may set.
    pub app_timers: u32,
    /// Replies of each kind in a second: to neighbours, to pings, RSTs, ACKs that no connection counts, and SYN-ACKs sent
    /// again.
    pub replies_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            half_open: 65_536,
            connections: 1 << 20,
            orphans: 1 << 18,
            path_mtus: 4_096,
            time_wait: 1 << 24,
            table_bytes: u64::MAX,
            buffer_bytes: 1 << 30,
            neighbours: 4_096,
            app_timers: 65_536,
            replies_per_second: 100_000,
        }
    }
}

/// Keys that nobody outside may know.
#[derive(Clone, Copy)]
pub struct Secrets {
    /// For initial sequence numbers and timestamp offsets (RFC 6528 §3, RFC 7323 §5.4).
    pub isn: [u8; 16],
    /// For the hash of the flow index.
    pub flow_hash: [u8; 16],
    /// For SYN cookies.
    pub cookie: CookieKeys,
}

/// All that a stack is told at start.
#[derive(Clone)]
pub struct StackConfig {
    /// Our Ethernet address.
    pub mac: MacAddr,
    /// Largest IP packet in octets.
    pub mtu: u16,
    /// Our addresses.
    pub addresses: Vec<LocalAddr>,
    /// Next hops for what is not on-link and on no route, the first of each family is used.
    pub gateways: Vec<Addr>,
    /// Ways to some networks, [`MOST_ROUTES`](super::MOST_ROUTES) at most: the longest prefix wins, then who comes first.
    pub routes: Vec<Route>,
    /// Neighbours known at start (where the host owns ARP, the only ones besides those that write to us first).
    pub neighbours: Vec<(Addr, MacAddr)>,
    /// Who else owns our addresses.
    pub ownership: Ownership,
    /// Whether we check received checksums.
    pub rx_checksum: RxChecksum,
    /// Ports that listen, on each of our addresses.
    pub listen: Vec<u16>,
    /// First and last local port of active opens.
    pub ephemeral_ports: (u16, u16),
    /// How TCP behaves.
    pub tcp: TcpConfig,
    /// The limit of every pool.
    pub limits: Limits,
    /// Against SYN floods.
    pub defence: DefenceConfig,
    /// Keys.
    pub secrets: Secrets,
    /// Of how many connections, from the first on, each change of state is recorded (for the demo's ladder).
    pub traced_connections: u32,
}

impl StackConfig {
    /// The largest text that our link carries: MTU less the fixed headers (RFC 9293 §3.7.1, MUST-67).
    #[inline]
    pub(super) fn our_mss(&self, v4: bool) -> u16 {
        self.mtu.saturating_sub(if v4 { 40 } else { 60 })
    }

    /// A host that owns its addresses alone on an Ethernet link, with no listener: what is not given is as `serve` has it.
    pub fn new(mac: MacAddr, addresses: Vec<LocalAddr>, secrets: Secrets) -> Self {
        StackConfig {
            mac,
            mtu: 1500,
            addresses,
            gateways: vec![],
            routes: vec![],
            neighbours: vec![],
            ownership: Ownership::Exclusive,
            rx_checksum: RxChecksum::Verify,
            listen: vec![],
            ephemeral_ports: (32_768, 60_999),
            tcp: TcpConfig::default(),
            limits: Limits::default(),
            defence: DefenceConfig::default(),
            secrets,
            traced_connections: 0,
        }
    }
}
