//! A flood for one's own lab: segments from made-up sources beside honest connections, out of the same queues.
//!
//! Made so that it is of no use against strangers: sources lie in the range for benchmarks (RFC 2544) or in private ones
//! (RFC 1918), the target is on-link and in a private, link-local or benchmark range, and nothing switches that off. The
//! way to the target is taken from the honest connections' own frames: without them there is no flood.

mod driver;
mod frames;
mod report;

pub use driver::{FloodGauge, Flooding};
pub use frames::Frames;
pub use report::{Answers, FloodReport};

use crate::driver::OwnFlood;
use ipnet::{IpNet, Ipv4Net};
use serde::Serialize;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// Segments of which kind.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    strum::Display,
    strum::EnumString,
    strum::VariantNames,
    strum::EnumIter,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// SYN with the options of a usual client.
    Syn,
    /// ACK for nothing.
    Ack,
    /// RST.
    Rst,
    /// FIN with ACK.
    Fin,
    /// ACK with text.
    Data,
}

/// 198.18.0.0/15, RFC 2544 appendix C.2.2.
const BENCHMARK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15);
/// RFC 1918 §3.
const PRIVATE: [Ipv4Net; 3] = [
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
];
/// RFC 3927 §2.1.
const LINK_LOCAL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16);

/// Why there is no such flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The target's range.
    #[error("a flood goes to private, link-local and benchmark ranges only")]
    Target,
    /// The target is behind a gateway, or nowhere.
    #[error("it is not on the link of any `--address`")]
    NotOnLink,
    /// The target is IPv6.
    #[error("a flood is IPv4 only")]
    TargetIsNotIpv4,
    /// The sources' range.
    #[error("its sources lie within 198.18.0.0/15 or the private ranges only")]
    Sources,
    /// The sources are IPv6.
    #[error("a flood is IPv4 only")]
    SourcesAreNotIpv4,
}

impl Refused {
    /// What would do.
    pub fn cure(self) -> &'static str {
        match self {
            Refused::Target => {
                "put the target at 198.18.0.0/15, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 169.254.0.0/16"
            }
            Refused::NotOnLink => "flood from the target's own network",
            Refused::TargetIsNotIpv4 => "give an IPv4 target in a private or benchmark range",
            Refused::Sources | Refused::SourcesAreNotIpv4 => "leave it away, or give a part of 198.18.0.0/15",
        }
    }
}

/// A flood that may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flood {
    kind: Kind,
    rate: f64,
    sources: Ipv4Net,
    target: SocketAddrV4,
}

impl Flood {
    /// A flood of `target` with so many frames a second from these sources.
    ///
    /// # Errors
    /// It is refused.
    pub fn new(kind: Kind, rate: f64, sources: IpNet, target: SocketAddr, on_link: bool) -> Result<Flood, Refused> {
        let SocketAddr::V4(target) = target else { return Err(Refused::TargetIsNotIpv4) };
        let IpNet::V4(sources) = sources else { return Err(Refused::SourcesAreNotIpv4) };
        let lab = |range: &&Ipv4Net| range.contains(target.ip());
        if PRIVATE.iter().chain([&BENCHMARK, &LINK_LOCAL]).find(lab).is_none() {
            return Err(Refused::Target);
        }
        if !on_link {
            return Err(Refused::NotOnLink);
        }
        if !PRIVATE.iter().chain([&BENCHMARK]).any(|range| range.contains(&sources)) {
            return Err(Refused::Sources);
        }
        Ok(Flood { kind, rate, sources: sources.trunc(), target })
    }

    /// The share of one of so many workers.
    pub fn share(self, workers: usize) -> Flood {
        Flood { rate: self.rate / workers.max(1) as f64, ..self }
    }

    /// Whom it floods and from where, for the program that discards the answers.
    pub fn own_flood(&self) -> OwnFlood {
        OwnFlood { target: self.target, sources: self.sources }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flood(from: &str, target: &str, on_link: bool) -> Result<Flood, Refused> {
        Flood::new(Kind::Syn, 1e3, from.parse().unwrap(), target.parse().unwrap(), on_link)
    }

    #[test]
    fn only_ones_own_lab_can_be_flooded() {
        for target in ["10.1.2.3:80", "172.31.0.1:80", "192.168.1.1:80", "169.254.1.1:80", "198.19.0.1:80"] {
            assert!(flood("198.18.0.0/15", target, true).is_ok(), "{target}");
            assert_eq!(flood("198.18.0.0/15", target, false), Err(Refused::NotOnLink));
        }
        for target in
            ["8.8.8.8:80", "172.32.0.1:80", "192.169.0.1:80", "198.20.0.1:80", "127.0.0.1:80", "100.64.0.1:80"]
        {
            assert_eq!(flood("198.18.0.0/15", target, true), Err(Refused::Target), "{target}");
        }
        assert_eq!(flood("198.18.0.0/15", "[fd00::1]:80", true), Err(Refused::TargetIsNotIpv4));
    }

    #[test]
    fn sources_are_nobodys() {
        for from in ["198.18.0.0/15", "198.19.7.0/24", "10.0.0.0/8", "192.168.0.0/17"] {
            assert!(flood(from, "10.0.0.1:80", true).is_ok(), "{from}");
        }
        for from in ["0.0.0.0/0", "198.0.0.0/8", "198.18.0.0/14", "8.0.0.0/8", "172.0.0.0/8", "169.254.0.0/16"] {
            assert_eq!(flood(from, "10.0.0.1:80", true), Err(Refused::Sources), "{from}");
        }
        assert_eq!(flood("fd00::/8", "10.0.0.1:80", true), Err(Refused::SourcesAreNotIpv4));
    }
}
