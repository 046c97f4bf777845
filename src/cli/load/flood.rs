//! The flags of a flood beside honest connections, and what is refused.

use crate::SetupError;
use crate::cli::values::{cidr, one_of, rate};
use crate::engine::EngineConfig;
use crate::load::flood::{Flood, Kind, Refused};
use ipnet::IpNet;
use std::net::{Ipv4Addr, SocketAddr};

/// A flood for one's own lab.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Flood of one's own lab, beside the honest connections")]
pub struct FloodArgs {
    /// Flood the target with such segments. It must be on-link, in a private, link-local or benchmark range
    #[arg(long, value_name = "KIND", value_parser = one_of::<Kind>())]
    flood: Option<Kind>,
    /// Frames a second of it
    #[arg(long, value_name = "RATE", value_parser = rate)]
    flood_rate: Option<f64>,
    /// Where its sources lie: within 198.18.0.0/15 (RFC 2544) or the private ranges
    #[arg(long, value_name = "CIDR", default_value = "198.18.0.0/15", value_parser = cidr)]
    flood_from: IpNet,
}

impl FloodArgs {
    /// The flood, if there is to be one, checked.
    ///
    /// # Errors
    /// Half of its flags; a target or sources that are refused.
    pub fn flood(&self, target: SocketAddr, config: &EngineConfig) -> Result<Option<Flood>, SetupError> {
        let incomplete = |what: &str, cause: &str, cure: &str| Err(SetupError::new(what, cause, cure));
        let (kind, rate) = match (self.flood, self.flood_rate) {
            (None, None) => return Ok(None),
            (Some(kind), Some(rate)) => (kind, rate),
            (Some(_), None) => return incomplete("--flood", "no rate was given", "add `--flood-rate RATE`, as 100k"),
            (None, Some(_)) => return incomplete("--flood-rate", "there is no flood", "add `--flood syn`"),
        };
        let on_link = way_back(target, config).is_some();
        let flood = Flood::new(kind, rate, self.flood_from, target, on_link);
        flood.map(Some).map_err(|refused| {
            let what = match refused {
                Refused::Sources | Refused::SourcesAreNotIpv4 => format!("--flood-from {}", self.flood_from),
                _ => format!("flooding {target}"),
            };
            SetupError::new(what, refused.to_string(), refused.cure())
        })
    }
}

/// Our address on the target's link, by way of which it answers to us.
pub(super) fn way_back(target: SocketAddr, config: &EngineConfig) -> Option<Ipv4Addr> {
    let target = target.ip().into();
    let on_link = config.addresses.iter().find(|local| local.addr.shares_prefix(&target, local.prefix_len))?;
    on_link.addr.v4().map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::LocalAddr;
    use crate::wire::Addr;

    #[test]
    fn the_way_back_is_the_address_on_the_targets_link() {
        let local = |octets, prefix_len| LocalAddr { addr: Addr::from_v4(octets), prefix_len };
        let config = EngineConfig::new(vec![local([192, 168, 7, 4], 24), local([10, 0, 0, 4], 24)]);
        let to = |octets: [u8; 4]| way_back((octets, 80).into(), &config);
        assert_eq!(to([10, 0, 0, 2]), Some(Ipv4Addr::new(10, 0, 0, 4)));
        assert_eq!(to([10, 0, 1, 2]), None);
    }
}
