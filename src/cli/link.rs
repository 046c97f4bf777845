//! The flags that `serve` and `load` share: which interface, which addresses, how the rings are attached.

use crate::SetupError;
use crate::driver::AttachMode;
use crate::driver::af_xdp::{PortConfig, ZeroCopy};
use crate::engine::EngineConfig;
use crate::stack::{LocalAddr, Ownership, RxChecksum};
use crate::wire::Addr;
use crate::worker::Idle;
use clap::Args;
use clap::builder::TypedValueParser;
use ipnet::IpNet;
use std::net::IpAddr;
use std::path::PathBuf;

/// Which interface, which addresses, how the rings are attached.
#[derive(Clone, Debug, Args)]
pub struct LinkArgs {
    /// Interface whose queues are taken
    #[arg(long, value_name = "IF")]
    pub interface: Option<String>,
    /// Address of the stack with its on-link prefix, as 10.0.0.2/24; may be repeated
    #[arg(long = "address", value_name = "CIDR", num_args = 1.., value_parser = parse_cidr)]
    pub addresses: Vec<IpNet>,
    /// Next hop for what is not on-link; the first of each family is used
    #[arg(long = "gateway", value_name = "IP", num_args = 1..)]
    pub gateways: Vec<IpAddr>,
    /// Share the addresses with the host: only our TCP ports are taken, the kernel answers everything else
    #[arg(long)]
    pub share_address: bool,
    /// Worker threads: as many as the interface has receive queues, which is the default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub workers: Option<u32>,
    /// Where to attach the XDP program
    #[arg(long, value_enum, default_value_t)]
    pub xdp: AttachMode,
    /// Whether to share frames with the NIC or copy them
    #[arg(long, value_enum, default_value_t)]
    pub zero_copy: ZeroCopy,
    /// Check received checksums, or trust the link (a veth whose peer leaves them to an offload)
    #[arg(long, default_value = "verify", value_parser = rx_checksum())]
    pub rx_checksum: RxChecksum,
    /// What a worker does when nothing comes: spin (a whole core, least latency) or adaptive (sleeps after a short spin)
    #[arg(long, value_enum, default_value_t)]
    pub idle: Idle,
    /// Leave the placement of the workers to the scheduler
    #[arg(long)]
    pub no_pin: bool,
    /// How long TIME-WAIT lasts (2 MSL, RFC 9293 section 3.4.2)
    #[arg(long, value_name = "T", default_value = "240s", value_parser = humantime::parse_duration)]
    pub time_wait: std::time::Duration,
    /// Most connections for each worker
    #[arg(long, value_name = "N", default_value_t = crate::stack::Limits::default().connections, value_parser = entries())]
    pub max_connections: u32,
    /// Most half-open entries for each worker
    #[arg(long, value_name = "N", default_value_t = crate::stack::Limits::default().half_open, value_parser = entries())]
    pub max_half_open: u32,
    /// Most TIME-WAIT entries for each worker
    #[arg(long, value_name = "N", default_value_t = crate::stack::Limits::default().time_wait, value_parser = entries())]
    pub max_time_wait: u32,
    /// Most octets in send and receive buffers for each worker, as 1G
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = parse_size)]
    pub buffer_memory: u64,
    /// File with the same keys as these flags (TOML); a flag wins
    #[arg(long, value_name = "FILE.toml")]
    pub config: Option<PathBuf>,
}

fn entries() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(u32::MAX / 2))
}

fn rx_checksum() -> impl clap::builder::TypedValueParser<Value = RxChecksum> {
    clap::builder::PossibleValuesParser::new(["verify", "trust"])
        .map(|text| if text == "trust" { RxChecksum::Trust } else { RxChecksum::Verify })
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
        let addresses = self.local_addresses()?;
        let gateways: Vec<Addr> = self.gateways.iter().map(|ip| Addr::from(*ip)).collect();
        for gateway in &gateways {
            check_gateway(gateway, &addresses)?;
        }
        let mut config = EngineConfig::new(addresses);
        config.gateways = gateways;
        config.ownership = self.ownership();
        config.rx_checksum = self.rx_checksum;
        config.tcp.time_wait = self.time_wait;
        config.limits.connections = self.max_connections;
        config.limits.half_open = self.max_half_open;
        config.limits.time_wait = self.max_time_wait;
        config.limits.buffer_bytes = self.buffer_memory;
        config.idle = self.idle;
        config.pin = !self.no_pin;
        Ok(config)
    }

    /// How the interface is opened.
    ///
    /// # Errors
    /// As [`LinkArgs::interface`].
    pub fn port_config(&self) -> Result<PortConfig, SetupError> {
        let mut port = PortConfig::new(self.interface()?);
        port.workers = self.workers;
        port.attach = self.xdp;
        port.zero_copy = self.zero_copy;
        Ok(port)
    }

    fn local_addresses(&self) -> Result<Vec<LocalAddr>, SetupError> {
        if self.addresses.is_empty() {
            return Err(SetupError::new(
                "reading the flags",
                "no address was given",
                "add `--address CIDR`, as `--address 10.0.0.2/24`",
            ));
        }
        let mut addresses: Vec<LocalAddr> = Vec::with_capacity(self.addresses.len());
        for net in &self.addresses {
            let what = || format!("address {net}");
            if net.addr().is_unspecified() || net.addr().is_multicast() || is_network_end(net) {
                return Err(SetupError::new(
                    what(),
                    "no host can have this address",
                    "give a host's address inside the prefix, as 10.0.0.2/24",
                ));
            }
            let addr = Addr::from(net.addr());
            if addresses.iter().any(|known| known.addr == addr) {
                return Err(SetupError::new(what(), "given twice", "remove one of the two `--address`"));
            }
            addresses.push(LocalAddr { addr, prefix_len: net.prefix_len() });
        }
        Ok(addresses)
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
    let links = addresses.iter().map(|l| format!("{}/{}", l.addr, l.prefix_len)).collect::<Vec<_>>().join(", ");
    Err(SetupError::new(
        format!("gateway {gateway}"),
        format!("not on the link of {links}"),
        "give a gateway inside the prefix of an `--address`, or widen that prefix",
    ))
}

fn parse_cidr(text: &str) -> Result<IpNet, String> {
    text.parse().map_err(|_| {
        if text.parse::<IpAddr>().is_ok() {
            format!("the prefix length is missing, as in {text}/{}", if text.contains(':') { 64 } else { 24 })
        } else {
            "not an address with a prefix length, as 10.0.0.2/24 or 2001:db8::2/64".to_string()
        }
    })
}

/// A number of octets: `4096`, `64K`, `16M`, `1G` (powers of 1,024).
///
/// # Errors
/// A sentence for people.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(1 << shift))
        .ok_or_else(|| "not a size; write octets, or 64K, 16M, 1G".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_carry_a_unit_or_none_and_never_overflow() {
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("64K"), Ok(65_536));
        assert_eq!(parse_size("1g"), Ok(1 << 30));
        for bad in ["", "K", "1T", "-1", "1.5G", "99999999999999999999", "17179869185G"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_without_prefix_is_refused_with_the_right_spelling() {
        assert!(parse_cidr("10.0.0.2").unwrap_err().contains("10.0.0.2/24"));
        assert!(parse_cidr("2001:db8::2").unwrap_err().contains("2001:db8::2/64"));
        assert!(parse_cidr("10.0.0.2/33").unwrap_err().contains("not an address"));
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
