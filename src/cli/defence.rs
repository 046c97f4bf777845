//! The flags of `serve` against SYN floods and slow peers.

use super::values::{one_of, time, timer, whole};
use crate::SetupError;
use crate::stack::{DefenceConfig, SynDefence};
use std::path::PathBuf;
use std::time::Duration;

/// How SYN floods and slow peers are met.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct DefenceArgs {
    /// Against SYN floods: the half-open table alone, SYN cookies, cookies from the XDP program, or as much of that as a
    /// flood calls for
    #[arg(long, help_heading = "SYN floods", value_name = "HOW", default_value_t, value_parser = one_of::<SynDefence>())]
    pub syn_defence: SynDefence,
    /// Auto: cookies from this share of --max-half-open on, in percent
    #[arg(long, help_heading = "SYN floods", value_name = "PERCENT", default_value_t = DefenceConfig::default().cookie_above, value_parser = whole::<u8>(1..=100))]
    pub cookie_above: u8,
    /// Auto: cookies from the XDP program at more SYNs without a handshake than this in a second, for each worker; on a
    /// veth only when this is given, as its other end must have an XDP program too [default: 200000]
    #[arg(long, help_heading = "SYN floods", value_name = "SYNS", value_parser = whole::<u32>(1..=u32::MAX as u64 / 2))]
    pub xdp_above: Option<u32>,
    /// Auto: a step down after so long below half of what led up
    #[arg(long, help_heading = "SYN floods", value_name = "TIME", default_value = "10s", value_parser = time)]
    pub calm: Duration,
    /// How much of --max-half-open one source prefix may hold, in percent (IPv4: /24, IPv6: /56); what it sends beyond is
    /// answered with cookies, or refused with `--syn-defence table`
    #[arg(long, help_heading = "SYN floods", value_name = "PERCENT", default_value_t = DefenceConfig::default().prefix_share, value_parser = whole::<u8>(1..=100))]
    pub prefix_share: u8,
    /// How much of --max-connections one source prefix may hold, in percent; SYNs beyond are dropped
    #[arg(long, help_heading = "Slow peers", value_name = "PERCENT", default_value_t = DefenceConfig::default().prefix_connections, value_parser = whole::<u8>(1..=100))]
    pub prefix_connections: u8,
    /// Reset a connection on which fewer than --idle-octets get on within this time, both ways together [default: never]
    #[arg(long, help_heading = "Slow peers", value_name = "TIME", value_parser = timer)]
    pub idle_limit: Option<Duration>,
    /// Octets that must get on within --idle-limit [default: 1]
    #[arg(long, help_heading = "Slow peers", value_name = "N", value_parser = whole::<u32>(1..=1 << 30))]
    pub idle_octets: Option<u32>,
    /// New connections that one source prefix may make in a second, and at once, for each worker; SYNs beyond are dropped
    /// [default: no limit]
    #[arg(long, help_heading = "SYN floods", value_name = "SYNS", value_parser = whole::<u32>(1..=1_000_000_000))]
    pub prefix_rate: Option<u32>,
    /// File with the secret of SYN cookies, shared by the servers behind one address: one or two lines of 32 hexadecimal
    /// digits, the first makes cookies, both open them; looked at every 5 s [default: one drawn at start]
    #[arg(long, help_heading = "SYN floods", value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
}

impl DefenceArgs {
    /// A flag that would say nothing is a misunderstanding. Not told to clap, which would ask it of a file's single keys.
    ///
    /// # Errors
    /// Octets without the time within which they must get on.
    pub fn check(&self) -> Result<(), SetupError> {
        if self.idle_octets.is_some() && self.idle_limit.is_none() {
            let cause = "nothing says within which time they must get on";
            return Err(SetupError::new("--idle-octets", cause, "add `--idle-limit TIME`"));
        }
        Ok(())
    }

    /// What the stack is told.
    pub fn config(&self) -> DefenceConfig {
        DefenceConfig {
            mode: self.syn_defence,
            cookie_above: self.cookie_above,
            xdp_above: self.xdp_above.unwrap_or(DefenceConfig::default().xdp_above),
            calm: self.calm,
            prefix_share: self.prefix_share,
            prefix_rate: self.prefix_rate,
            prefix_connections: self.prefix_connections,
            shared_secret: self.secret_file.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        defence: DefenceArgs,
    }

    fn config(flags: &str) -> Result<DefenceConfig, String> {
        let all = std::iter::once("x").chain(flags.split_whitespace());
        let flags = <Flags as clap::Parser>::try_parse_from(all).map_err(|e| e.to_string())?;
        flags.defence.check().map_err(|e| e.to_string())?;
        Ok(flags.defence.config())
    }

    #[test]
    fn switch_points_are_flags_and_without_them_as_the_stack_has_them() {
        assert_eq!(config("").unwrap(), DefenceConfig::default());
        let set = config("--syn-defence cookie --cookie-above 80 --xdp-above 5000 --calm 1m --secret-file x").unwrap();
        assert_eq!((set.mode, set.cookie_above, set.xdp_above), (SynDefence::Cookie, 80, 5_000));
        assert_eq!((set.calm.as_secs(), set.shared_secret), (60, true));
        let budgets = config("--prefix-share 10 --prefix-rate 5000 --prefix-connections 5").unwrap();
        assert_eq!((budgets.prefix_share, budgets.prefix_rate, budgets.prefix_connections), (10, Some(5_000), 5));
        for bad in ["--prefix-share 0", "--prefix-share 101", "--prefix-rate 0", "--idle-limit 0s", "--idle-octets 5"] {
            assert!(config(bad).is_err(), "{bad}");
        }
        for bad in ["--syn-defence firewall", "--cookie-above 0", "--cookie-above 101", "--xdp-above 0"] {
            assert!(config(bad).is_err(), "{bad}");
        }
    }
}
