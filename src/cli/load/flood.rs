//! The flags of a flood beside honest connections, and what is refused.

use crate::SetupError;
use crate::cli::values::{cidr, one_of, rate};
use crate::engine::EngineConfig;
use crate::load::flood::{Flood, Kind, Refused};
use ipnet::IpNet;
use std::net::SocketAddr;

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
        let on_link = |addr| config.addresses.iter().any(|local| local.addr.shares_prefix(&addr, local.prefix_len));
        let flood = Flood::new(kind, rate, self.flood_from, target, on_link(target.ip().into()));
        flood.map(Some).map_err(|refused| {
            let what = match refused {
                Refused::Sources | Refused::SourcesAreNotIpv4 => format!("--flood-from {}", self.flood_from),
                _ => format!("flooding {target}"),
            };
            SetupError::new(what, refused.to_string(), refused.cure())
        })
    }
}
