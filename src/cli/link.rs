//! The flags that `serve` and `load` share: which interface, which addresses, how the rings are attached.

use super::sources;
use super::values::{cidr, ip, one_of, parse_size, power_of_two, some_time, timer, whole};
use crate::SetupError;
use crate::driver::AttachMode;
use crate::driver::af_xdp::{ChecksumOffload, PortConfig, RING, ZeroCopy};
use crate::engine::{EngineConfig, Interrupts, usable_cores};
use crate::stack::{Limits, LocalAddr, Ownership, RxChecksum};
use crate::tcp::congestion::Algorithm;
use crate::wire::{Addr, Dscp};
use crate::worker::Idle;
use clap::Args;
use ipnet::IpNet;
use std::collections::HashSet;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::path::PathBuf;

/// Most entries of a pool.
const MOST: u64 = u32::MAX as u64 / 2;

/// Which interface, which addresses, how the rings are attached.
#[derive(Clone, Debug, Args)]
pub(super) struct LinkArgs {
    /// Interface whose queues are taken
    #[arg(long, help_heading = "Link", value_name = "IF")]
    pub interface: Option<String>,
    /// Address of the stack with its on-link prefix, as 10.0.0.2/24; may be repeated
    #[arg(long = "address", help_heading = "Link", value_name = "CIDR", num_args = 1.., value_parser = cidr)]
    pub addresses: Vec<IpNet>,
    /// Next hop for what is not on-link and on no route of the host; the first of each family is used [default: the host's]
    #[arg(long = "gateway", help_heading = "Link", value_name = "IP", num_args = 1.., value_parser = ip)]
    pub gateways: Vec<IpAddr>,
    /// Share the addresses with the host: only our TCP ports are taken, the kernel answers everything else
    #[arg(long, help_heading = "Link")]
    pub share_address: bool,
    /// File with the same keys as these flags (TOML); a flag wins
    #[arg(long, help_heading = None, value_name = "FILE.toml")]
    pub config: Option<PathBuf>,
    /// Worker threads; must be the interface's count of receive queues, which is what is taken without it
    #[arg(long, help_heading = "XDP", value_name = "N", value_parser = whole::<u32>(1..=1024))]
    pub workers: Option<u32>,
    /// Where the XDP program runs: auto (the best place there is), native (in the driver) or generic (in the kernel's receive
    /// path, slower)
    #[arg(long, help_heading = "XDP", value_name = "MODE", default_value_t, value_parser = one_of::<AttachMode>())]
    pub xdp: AttachMode,
    /// Whether frames cross between NIC and us without a copy: auto (where the driver can), force (or fail) or off
    #[arg(long, help_heading = "XDP", value_name = "WHEN", default_value_t, value_parser = one_of::<ZeroCopy>())]
    pub zero_copy: ZeroCopy,
    /// Received checksums: verify (check them) or trust (the link: a veth whose peer leaves them to an offload)
    #[arg(long, help_heading = "XDP", value_name = "HOW", default_value_t, value_parser = one_of::<RxChecksum>())]
    pub rx_checksum: RxChecksum,
    /// Who finishes checksums of what is sent: auto (the NIC where a zero-copy queue offers it, else we), software (we) or
    /// offload (the NIC or the kernel)
    #[arg(long, help_heading = "XDP", value_name = "HOW", default_value_t, value_parser = one_of::<ChecksumOffload>())]
    pub tx_checksum: ChecksumOffload,
    /// Frames that each ring of a queue holds, a power of two; what a longer burst brings is dropped by the kernel ("fill
    /// ring found empty"). A queue takes 8 KiB of memory for each, with some NICs 16 KiB
    #[arg(long, help_heading = "XDP", value_name = "FRAMES", default_value_t = RING, value_parser = power_of_two(64..=32_768))]
    pub ring: u32,
    /// What a worker does when nothing comes: spin (a whole core, least latency) or adaptive (sleeps after a short spin)
    #[arg(long, help_heading = "XDP", value_name = "HOW", default_value_t, value_parser = one_of::<Idle>())]
    pub idle: Idle,
    /// Leave the placement of the workers to the scheduler
    #[arg(long, help_heading = "XDP")]
    pub no_pin: bool,
    /// Move each queue's interrupt to its worker's core [default: workers run where the interrupts are]
    #[arg(long, help_heading = "XDP", conflicts_with = "no_pin")]
    pub irq: bool,
    /// Core of the first worker; the others follow, core by core. For queues whose interrupt is not told, as on a veth: else
    /// workers run where the interrupts are [default: the first that we may use]
    #[arg(long, help_heading = "XDP", value_name = "N", conflicts_with_all = ["no_pin", "irq"], value_parser = whole::<usize>(0..=1023))]
    pub first_core: Option<usize>,
    /// How long TIME-WAIT lasts, at least 1ms (2 MSL, RFC 9293 section 3.4.2)
    #[arg(long, help_heading = "TCP", value_name = "TIME", default_value = "240s", value_parser = some_time)]
    pub time_wait: std::time::Duration,
    /// TTL (IPv4) and hop limit (IPv6) of what is sent
    #[arg(long, help_heading = "TCP", value_name = "N", default_value_t = 64, value_parser = whole::<u8>(1..=255))]
    pub ttl: u8,
    /// Differentiated services code point of every segment, as 46 for expedited forwarding (RFC 2474)
    #[arg(long, help_heading = "TCP", value_name = "N", default_value_t = 0, value_parser = whole::<u8>(0..=63))]
    pub dscp: u8,
    /// Congestion control of new connections
    #[arg(long, help_heading = "TCP", value_name = "NAME", default_value_t, value_parser = one_of::<Algorithm>())]
    pub congestion: Algorithm,
    /// Send small segments at once, whatever is unacknowledged (no Nagle algorithm)
    #[arg(long, help_heading = "TCP")]
    pub no_nagle: bool,
    /// Send an acknowledgement that is due on its own before a FIN, which else carries it: 7 frames a life instead of 5
    #[arg(long, help_heading = "TCP")]
    pub separate_fin: bool,
    /// Ask a peer for a sign of life after this long without one, as 2h [default: never]
    #[arg(long, help_heading = "TCP", value_name = "TIME", value_parser = timer)]
    pub keep_alive: Option<std::time::Duration>,
    /// Most connections for each worker
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = Limits::default().connections, value_parser = whole::<u32>(1..=MOST))]
    pub max_connections: u32,
    /// Most half-open entries for each worker
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = Limits::default().half_open, value_parser = whole::<u32>(1..=MOST))]
    pub max_half_open: u32,
    /// Most connections for each worker that are closed here and wait for their end; beyond it the newest is reset
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = Limits::default().orphans, value_parser = whole::<u32>(1..=MOST))]
    pub max_orphans: u32,
    /// Most TIME-WAIT entries for each worker
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = Limits::default().time_wait, value_parser = whole::<u32>(1..=MOST))]
    pub max_time_wait: u32,
    /// Most octets of the entries in these tables together for each worker, as 500M; beyond it the oldest TIME-WAIT entries
    /// go first, then half-open ones, never connections [default: what the limits come to]
    #[arg(long, help_heading = "Limits", value_name = "SIZE", value_parser = parse_pool)]
    pub table_memory: Option<u64>,
    /// Most octets in send and receive buffers for each worker, as 1G
    #[arg(long, help_heading = "Limits", value_name = "SIZE", default_value = "1G", value_parser = parse_pool)]
    pub buffer_memory: u64,
}

/// A size that holds at least a few blocks.
fn parse_pool(text: &str) -> Result<u64, String> {
    const LEAST: u64 = 64 << 10;
    parse_size(text).and_then(|size| {
        if size < LEAST { Err(format!("`{text}` is too little; write at least 64K")) } else { Ok(size) }
    })
}

impl LinkArgs {
    /// The interface.
    ///
    /// # Errors
    /// None was named.
    pub fn interface(&self) -> Result<&str, SetupError> {
        self.interface.as_deref().filter(|name| !name.is_empty()).ok_or_else(|| {
            SetupError::new(
                "reading the flags",
                "no interface was named",
                "add `--interface IF`; `ip link` lists the interfaces",
            )
        })
    }

    /// Who owns the addresses.
    pub fn ownership(&self) -> Ownership {
        if self.share_address { Ownership::Shared } else { Ownership::Exclusive }
    }

    /// What the engine is told, checked for what can be checked without touching the host.
    ///
    /// # Errors
    /// No address, an address given twice or that no host can have, or a gateway that no address is on a link with.
    pub fn engine_config(&self) -> Result<EngineConfig, SetupError> {
        self.engine_config_of(self.local_addresses(None)?)
    }

    /// As [`LinkArgs::engine_config`]; an `--address` that names a network stands for every host in it, but for these
    /// peers and the gateways.
    ///
    /// # Errors
    /// As there; and too large a network.
    pub fn engine_config_of_ranges(&self, peers: &[IpAddr]) -> Result<EngineConfig, SetupError> {
        let others: Vec<IpAddr> = peers.iter().chain(&self.gateways).copied().collect();
        self.engine_config_of(self.local_addresses(Some(&others))?)
    }

    fn engine_config_of(&self, addresses: Vec<LocalAddr>) -> Result<EngineConfig, SetupError> {
        let gateways: Vec<Addr> = self.gateways.iter().map(|ip| Addr::from(*ip)).collect();
        for gateway in &gateways {
            check_gateway(gateway, &addresses)?;
        }
        let mut config = EngineConfig::new(addresses);
        config.gateways = gateways;
        config.ownership = self.ownership();
        config.rx_checksum = self.rx_checksum;
        config.tcp.time_wait = self.time_wait;
        config.tcp.hop_limit = NonZeroU8::new(self.ttl).expect("the flag's range");
        config.tcp.dscp = Dscp::new(self.dscp).expect("the flag's range");
        config.tcp.congestion = self.congestion;
        config.tcp.nagle = !self.no_nagle;
        config.tcp.fin_carries_ack = !self.separate_fin;
        config.tcp.keep_alive = self.keep_alive;
        config.limits.connections = self.max_connections;
        config.limits.half_open = self.max_half_open;
        config.limits.orphans = self.max_orphans;
        config.limits.time_wait = self.max_time_wait;
        config.limits.table_bytes = self.table_memory.unwrap_or(u64::MAX);
        config.limits.buffer_bytes = self.buffer_memory;
        config.idle = self.idle;
        config.pin = !self.no_pin;
        config.first_core = self.first_core.map_or(Ok(0), |core| place_of(core, &usable_cores()))?;
        config.interrupts = if self.irq { Interrupts::Move } else { Interrupts::Follow };
        Ok(config)
    }

    /// How the interface is opened.
    ///
    /// # Errors
    /// As [`LinkArgs::interface`].
    pub fn port_config(&self) -> Result<PortConfig, SetupError> {
        let mut port = PortConfig::new(self.interface()?).with_ring(self.ring);
        port.workers = self.workers;
        port.attach = self.xdp;
        port.zero_copy = self.zero_copy;
        port.tx_checksum = self.tx_checksum;
        Ok(port)
    }

    /// The addresses; `others` are those of others within whole networks, where these may be given.
    fn local_addresses(&self, others: Option<&[IpAddr]>) -> Result<Vec<LocalAddr>, SetupError> {
        if self.addresses.is_empty() {
            return Err(SetupError::new(
                "reading the flags",
                "no address was given",
                "add `--address CIDR`, as `--address 10.0.0.2/24`",
            ));
        }
        let mut addresses: Vec<LocalAddr> = Vec::with_capacity(self.addresses.len());
        let mut known = HashSet::new();
        for net in &self.addresses {
            let what = || format!("address {net}");
            let twice = || SetupError::new(what(), "given twice", "remove one of the two `--address`");
            if let Some(others) = others.filter(|_| sources::is_range(net)) {
                let range = sources::expand(net, others)?;
                if !range.iter().all(|local| known.insert(local.addr)) {
                    return Err(twice());
                }
                addresses.extend(range);
                continue;
            }
            if net.addr().is_unspecified() || net.addr().is_multicast() || is_network_end(net) {
                return Err(SetupError::new(
                    what(),
                    "no host can have this address",
                    "give a host's address inside the prefix, as 10.0.0.2/24",
                ));
            }
            check_kind(net)?;
            let addr = Addr::from(net.addr());
            if !known.insert(addr) {
                return Err(twice());
            }
            addresses.push(LocalAddr { addr, prefix_len: net.prefix_len() });
        }
        Ok(addresses)
    }
}

/// The place of a core among those that we may use.
fn place_of(core: usize, usable: &[usize]) -> Result<usize, SetupError> {
    usable.iter().position(|usable| *usable == core).ok_or_else(|| {
        let list = usable.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        SetupError::new(
            format!("--first-core {core}"),
            format!("it is not among the cores that we may use: {list}"),
            "give one of these, or allow it with `taskset` or the container's cpuset",
        )
    })
}

/// Addresses that never cross a link as such.
fn check_kind(net: &IpNet) -> Result<(), SetupError> {
    let refuse = |cause: &str, cure: String| Err(SetupError::new(format!("address {net}"), cause, cure));
    if net.addr().is_loopback() {
        // RFC 1122 §3.2.1.3, RFC 4291 §2.5.3.
        return refuse("loopback never leaves a host", "give an address of the link, as 10.0.0.2/24".into());
    }
    match net.addr() {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(Ok(()), |v4| {
            // RFC 4291 §2.5.5.2: a way to write IPv4 in programs.
            let prefix = net.prefix_len().checked_sub(96).filter(|prefix| *prefix > 0).unwrap_or(24);
            refuse("it is an IPv4 address, written as IPv6", format!("write {v4}/{prefix}"))
        }),
        IpAddr::V4(_) => Ok(()),
    }
}

/// The all-zeros and all-ones host of an IPv4 prefix that has room for them (RFC 1122 §3.2.1.3).
fn is_network_end(net: &IpNet) -> bool {
    match net {
        IpNet::V4(v4) => v4.prefix_len() < 31 && (v4.addr() == v4.network() || v4.addr() == v4.broadcast()),
        IpNet::V6(_) => false,
    }
}

fn check_gateway(gateway: &Addr, addresses: &[LocalAddr]) -> Result<(), SetupError> {
    if addresses.iter().any(|local| local.addr == *gateway) {
        return Err(SetupError::new(
            format!("gateway {gateway}"),
            "it is one of our own addresses",
            "give the router's address",
        ));
    }
    let link_local = gateway.octets()[0] == 0xfe && gateway.octets()[1] & 0xc0 == 0x80;
    if link_local || addresses.iter().any(|local| local.addr.shares_prefix(gateway, local.prefix_len)) {
        return Ok(());
    }
    const NAMED: usize = 3;
    let links: Vec<_> = addresses.iter().take(NAMED).map(|l| format!("{}/{}", l.addr, l.prefix_len)).collect();
    let links = links.join(", ") + if addresses.len() > NAMED { " and others" } else { "" };
    Err(SetupError::new(
        format!("gateway {gateway}"),
        format!("not on the link of {links}"),
        "give a gateway inside the prefix of an `--address`, or widen that prefix",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_tcp_behaves_is_told_to_the_engine() {
        #[derive(clap::Parser)]
        struct Flags {
            #[command(flatten)]
            link: LinkArgs,
        }
        let link = |flags: &str| {
            let all = format!("x --interface eth0 --address 10.0.0.2/24 {flags}");
            <Flags as clap::Parser>::try_parse_from(all.split_whitespace()).unwrap().link
        };
        let config = |flags: &str| link(flags).engine_config().unwrap();
        assert_eq!(config("").tcp, crate::tcp::TcpConfig::default());
        let tcp =
            config("--congestion reno --no-nagle --separate-fin --keep-alive 2h --time-wait 1s --ttl 255 --dscp 63")
                .tcp;
        assert_eq!((tcp.congestion, tcp.nagle, tcp.fin_carries_ack), (Algorithm::Reno, false, false));
        assert_eq!((tcp.keep_alive.unwrap().as_secs(), tcp.time_wait.as_secs()), (7_200, 1));
        assert_eq!((tcp.hop_limit.get(), tcp.dscp.traffic_class()), (255, 0xfc));
        assert_eq!(config("--rx-checksum trust").rx_checksum, RxChecksum::Trust);
        let port = |flags: &str| link(flags).port_config().unwrap();
        assert_eq!(port("").tx_checksum, ChecksumOffload::Auto);
        assert_eq!(port("--tx-checksum offload").tx_checksum, ChecksumOffload::Offload);
        for (flags, ring, chunks) in [("", 2_048, 8_192), ("--ring 4096", 4_096, 16_384)] {
            assert_eq!((port(flags).ring, port(flags).chunks), (ring, chunks));
        }
    }

    #[test]
    fn the_first_core_is_named_as_the_kernel_numbers_it() {
        let usable = [2, 3, 8];
        assert_eq!([2, 8].map(|core| place_of(core, &usable).unwrap()), [0, 2]);
        let refused = place_of(1, &usable).unwrap_err().to_string();
        assert!(refused.starts_with("--first-core 1: ") && refused.contains("2, 3, 8; "), "{refused}");
    }

    #[test]
    fn the_ends_of_an_ipv4_prefix_are_no_hosts() {
        for (net, end) in
            [("10.0.0.0/24", true), ("10.0.0.255/24", true), ("10.0.0.2/24", false), ("10.0.0.0/31", false)]
        {
            assert_eq!(is_network_end(&net.parse().unwrap()), end, "{net}");
        }
    }
}
