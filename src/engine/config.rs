//! What an engine is told at start.

use super::{Interrupts, Link};
use crate::stack::steering::{Rss, Sharding};
use crate::stack::{
    CookieKeys, DefenceConfig, Limits, LocalAddr, Ownership, Route, RxChecksum, Secrets, StackConfig, TcpConfig,
};
use crate::wire::{Addr, MacAddr};
use crate::worker::Idle;
use std::ops::RangeInclusive;

/// What every worker is told; the engine makes a [`StackConfig`] for each of them out of it.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Our addresses.
    pub addresses: Vec<LocalAddr>,
    /// Next hops for what is not on-link and on no route, the first of each family is used.
    pub gateways: Vec<Addr>,
    /// Ways to some networks, [`MOST_ROUTES`](crate::stack::MOST_ROUTES) at most: the longest prefix wins, then who
    /// comes first. The host's routes out of the interface are added at start; where addresses are ours alone, those to
    /// gateways on our links.
    pub routes: Vec<Route>,
    /// Neighbours known at start.
    pub neighbours: Vec<(Addr, MacAddr)>,
    /// Who else owns our addresses.
    pub ownership: Ownership,
    /// Whether addresses that are ours alone are announced when an interface is opened, to switches and neighbours who know
    /// them elsewhere. Whoever only opens connections, from thousands of addresses maybe, is not waited for by anybody.
    pub announces: bool,
    /// Whether we check received checksums.
    pub rx_checksum: RxChecksum,
    /// Ports that listen, on each of our addresses.
    pub listen: Vec<u16>,
    /// First and last local port of active opens; each worker uses those by which it owns the flow.
    pub ephemeral_ports: (u16, u16),
    /// How the NIC spreads flows over its queues, if that is known: then each worker owns the flows that come in on its
    /// queue. Else they are shared out by a hash of our own, and handed over.
    pub rss: Option<Rss>,
    /// How flows are shared out among the workers.
    pub sharding: Sharding,
    /// Whether the application opens connections. Where addresses are shared, the ports above are then taken from the
    /// host, so they should lie outside its own range (`net.ipv4.ip_local_port_range`).
    pub opens: bool,
    /// Peers that must be reachable. Where addresses are shared the host is asked for the next hop to each, as only it may
    /// ask by ARP or NDP.
    pub reach: Vec<Addr>,
    /// How TCP behaves.
    pub tcp: TcpConfig,
    /// The limit of every pool, for each worker.
    pub limits: Limits,
    /// Against SYN floods.
    pub defence: DefenceConfig,
    /// Whether in mode auto SYNs may be answered in XDP on a veth as well, whose other end takes the answers only with an XDP
    /// program of its own; which cannot be seen from here.
    pub answer_on_veth: bool,
    /// Keys of SYN cookies that other hosts have as well; without them they are drawn.
    pub cookie_keys: Option<CookieKeys>,
    /// What a worker does when nothing comes.
    pub idle: Idle,
    /// Whether each worker is pinned to a core.
    pub pin: bool,
    /// Where the interrupts of an interface's queues and the workers meet, if they are pinned.
    pub interrupts: Interrupts,
    /// Which of the cores that we may use the first worker is pinned to, counted from 0; the others follow, and after the
    /// last core comes the first one again.
    pub first_core: usize,
    /// Of how many connections, from the first on, each worker records the changes of state.
    pub traced_connections: u32,
}

impl EngineConfig {
    /// The defaults, with these addresses for ours alone.
    pub fn new(addresses: Vec<LocalAddr>) -> Self {
        EngineConfig {
            addresses,
            gateways: Vec::new(),
            routes: Vec::new(),
            neighbours: Vec::new(),
            ownership: Ownership::Exclusive,
            announces: true,
            rx_checksum: RxChecksum::Verify,
            listen: Vec::new(),
            ephemeral_ports: (32_768, 60_999),
            rss: None,
            sharding: Sharding::default(),
            opens: false,
            reach: Vec::new(),
            tcp: TcpConfig::default(),
            limits: Limits::default(),
            defence: DefenceConfig::default(),
            answer_on_veth: false,
            cookie_keys: None,
            idle: Idle::default(),
            pin: true,
            interrupts: Interrupts::default(),
            first_core: 0,
            traced_connections: 0,
        }
    }

    /// The TCP ports whose frames must come to us where addresses are shared.
    pub(super) fn taken_ports(&self) -> Vec<RangeInclusive<u16>> {
        let listening = self.listen.iter().map(|port| *port..=*port);
        listening.chain(self.opens.then_some(self.ephemeral_ports.0..=self.ephemeral_ports.1)).collect()
    }

    /// For a stack on this link.
    pub(super) fn stack_config(&self, link: Link, secrets: Secrets) -> StackConfig {
        StackConfig {
            mac: link.mac,
            mtu: link.mtu,
            addresses: self.addresses.clone(),
            gateways: self.gateways.clone(),
            routes: self.routes.clone(),
            neighbours: self.neighbours.clone(),
            ownership: self.ownership,
            rx_checksum: self.rx_checksum,
            listen: self.listen.clone(),
            ephemeral_ports: self.ephemeral_ports,
            tcp: self.tcp,
            limits: self.limits,
            defence: self.defence,
            secrets,
            traced_connections: self.traced_connections,
        }
    }
}
