//! How values are written on the command line and in the file; each refusal says what would do.

use crate::tcp::LONGEST_TIMER;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// No time is longer: nanoseconds of it added to a clock stay in its range.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A span of time, as `500ms`, `30s` or `2h`; none at all is one as well.
///
/// # Errors
/// A sentence for people.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time <= LONGEST => Ok(time),
        Ok(_) => Err(format!("`{text}` is too long; write a year at most, as 365d")),
        Err(_) => Err(format!("`{text}` is no time; write 500ms, 30s or 2h")),
    }
}

/// As [`time`], and at least a millisecond: what ends at once would not be there at all.
pub(super) fn some_time(text: &str) -> Result<Duration, String> {
    let time = time(text)?;
    if time < Duration::from_millis(1) {
        return Err(format!("`{text}` is too short; write 1ms at least"));
    }
    Ok(time)
}

/// As [`time`], and at least a tenth of a second.
pub(super) fn tenth_of_a_second(text: &str) -> Result<Duration, String> {
    let time = time(text)?;
    if time < Duration::from_millis(100) {
        return Err(format!("`{text}` is too short; write 100ms at least"));
    }
    Ok(time)
}

/// As [`some_time`], and an hour at most.
pub(super) fn up_to_an_hour(text: &str) -> Result<Duration, String> {
    let time = some_time(text)?;
    if time > Duration::from_secs(3600) {
        return Err(format!("`{text}` is too long; write 1h at most"));
    }
    Ok(time)
}

/// As [`some_time`], and no longer than a timer of a connection runs.
pub(super) fn timer(text: &str) -> Result<Duration, String> {
    let time = some_time(text)?;
    if time > LONGEST_TIMER {
        return Err(format!("`{text}` is too long; write 24d at most"));
    }
    Ok(time)
}

/// A whole number within a range: `250`, `10k`, `1M`.
pub(super) fn whole<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let (digits, unit) = match text.as_bytes().last() {
            Some(b'k' | b'K') => (&text[..text.len() - 1], 1_000),
            Some(b'M' | b'm') => (&text[..text.len() - 1], 1_000_000),
            _ => (text, 1),
        };
        let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        let number = number.filter(|number| range.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            let (first, last) = (range.start(), range.end());
            let wanted =
                if *last >= u64::MAX / 2 { format!("from {first} on") } else { format!("from {first} to {last}") };
            format!("`{text}` will not do; write a whole number {wanted}")
        })
    }
}

/// A power of two within a range.
pub(super) fn power_of_two(range: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, String> + Clone + Send + Sync {
    move |text| {
        let number = text.parse::<u32>().ok().filter(|number| range.contains(number) && number.is_power_of_two());
        number.ok_or_else(|| {
            format!("`{text}` will not do; write a power of two from {} to {}", range.start(), range.end())
        })
    }
}

/// One of the names of an enum, which help lists.
pub(super) fn one_of<T>() -> impl TypedValueParser<Value = T>
where
    T: strum::VariantNames + FromStr + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(T::VARIANTS.iter().copied())
        .map(|name| T::from_str(&name).ok().expect("it is one of the enum's names"))
}

/// An address with its prefix.
pub(super) fn cidr(text: &str) -> Result<IpNet, String> {
    text.parse().map_err(|_| {
        if text.parse::<IpAddr>().is_ok() {
            let prefix = if text.contains(':') { 64 } else { 24 };
            format!("the prefix length is missing; write {text}/{prefix}")
        } else {
            format!("`{text}` is no address with a prefix length; write 10.0.0.2/24 or 2001:db8::2/64")
        }
    })
}

/// An address.
pub(super) fn ip(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is no IP address; write 10.0.0.1 or 2001:db8::1"))
}

/// A peer: its address and port.
pub(super) fn target(text: &str) -> Result<SocketAddr, String> {
    let target = text.parse::<SocketAddr>().ok();
    let Some(ip) = target.map(|target| target.ip()).or_else(|| text.parse().ok()) else {
        return Err(no_target(text));
    };
    // What no port would mend comes first.
    if ip.to_canonical().is_loopback() {
        return Err(format!(
            "`{text}` is loopback, which never leaves a host; write an address of the link, as 10.0.0.2:80"
        ));
    }
    let port = target.map(|target| target.port());
    if port == Some(0) || ip.is_unspecified() || ip.is_multicast() {
        return Err(format!("nobody can listen at `{text}`; {WRITE_TARGET}"));
    }
    if ip.to_canonical() != ip {
        let (v4, port) = (ip.to_canonical(), port.unwrap_or(80));
        return Err(format!("`{text}` is the IPv4 address {v4} as IPv6 writes it; write {v4}:{port}"));
    }
    target.ok_or_else(|| format!("the port is missing; write {}", SocketAddr::new(ip, 80)))
}

const WRITE_TARGET: &str = "write 10.0.0.2:80 or [2001:db8::2]:80";

/// What others take for a target.
fn no_target(text: &str) -> String {
    let is_name = |host: &str| {
        host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
            && host.chars().any(|c| c.is_ascii_alphabetic())
    };
    match text.rsplit_once(':') {
        _ if text.contains("://") => format!("`{text}` is a URL; write 10.0.0.2:80, and the path with `--http /`"),
        Some((host, _)) if is_name(host) => format!("`{host}` is a name, and names are not looked up; {WRITE_TARGET}"),
        None if is_name(text) => format!("`{text}` is a name, and names are not looked up; {WRITE_TARGET}"),
        _ => format!("`{text}` is no address with a port; {WRITE_TARGET}"),
    }
}

/// The lowest and the highest rate that can be asked for, a second.
const RATES: RangeInclusive<f64> = 0.1..=1e9;

/// A number of connections or frames a second: `250`, `10k`, `1.5M`.
///
/// # Errors
/// A sentence for people.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1e3),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    // A number's own words (inf, nan, 1e9) are none of ours.
    let plain = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.');
    let number = digits.parse::<f64>().ok().filter(|_| plain).map(|number| number * unit);
    number
        .filter(|rate| RATES.contains(rate))
        .ok_or_else(|| format!("`{text}` is no rate a second; write 250, 10k or 1.5M"))
}

/// One rate, or a ramp from one to another: `10k`, `10k..500k`.
///
/// # Errors
/// A sentence for people.
pub(super) fn ramp(text: &str) -> Result<(f64, f64), String> {
    match text.split_once("..") {
        None => rate(text).map(|rate| (rate, rate)),
        Some((from, to)) if from.is_empty() || to.is_empty() => {
            Err(format!("`{text}` lacks one of its two ends; write 10k..500k"))
        }
        Some((from, to)) => Ok((rate(from)?, rate(to)?)),
    }
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
        .ok_or_else(|| format!("`{text}` is no size; write octets, or 64K, 16M, 1G"))
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
    fn rates_carry_a_unit_or_none_and_ramps_two_of_them() {
        assert_eq!((rate("250"), rate("10k"), rate("1.5M")), (Ok(250.0), Ok(10e3), Ok(1.5e6)));
        assert_eq!((ramp("10k"), ramp("10k..0.5M")), (Ok((10e3, 10e3)), Ok((10e3, 500e3))));
        for bad in ["", "k", "0", "-1", "nan", "inf", "1e9", "1..2", "99999M", "10k.."] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        for half in ["10k..", "..10k", ".."] {
            assert!(ramp(half).unwrap_err().contains("lacks one of its two ends; write 10k..500k"), "{half}");
        }
        assert!(ramp("1..2..3").is_err());
    }

    #[test]
    fn counts_carry_a_unit_or_none_and_never_overflow() {
        let count = whole::<u64>(1..=u64::MAX);
        assert_eq!((count("250"), count("10k"), count("2M")), (Ok(250), Ok(10_000), Ok(2_000_000)));
        let port = whole::<u16>(1..=5_000);
        assert_eq!((port("5k"), port("4K")), (Ok(5_000), Ok(4_000)));
        for bad in ["", "k", "0", "0k", "-1k", "1.5k", "1kk", "18446744073709551615k"] {
            assert!(count(bad).is_err(), "{bad}");
        }
        assert!(port("6k").unwrap_err().contains("from 1 to 5000"));
    }

    #[test]
    fn rings_are_powers_of_two_within_bounds() {
        let ring = power_of_two(64..=32_768);
        assert_eq!((ring("64"), ring("4096"), ring("32768")), (Ok(64), Ok(4_096), Ok(32_768)));
        for bad in ["", "0", "32", "3000", "65536", "-64", "2k"] {
            assert!(ring(bad).unwrap_err().contains("write a power of two from 64 to 32768"), "{bad}");
        }
    }

    #[test]
    fn an_address_without_prefix_is_refused_with_the_right_spelling() {
        assert!(cidr("10.0.0.2").unwrap_err().contains("10.0.0.2/24"));
        assert!(cidr("2001:db8::2").unwrap_err().contains("2001:db8::2/64"));
        assert!(cidr("10.0.0.2/33").unwrap_err().contains("no address"));
    }

    #[test]
    fn times_are_bounded_on_both_sides_where_they_must_be() {
        assert_eq!(time("0s"), Ok(Duration::ZERO));
        assert!(some_time("0s").unwrap_err().contains("; write 1ms at least"));
        assert!(some_time("999us").is_err() && some_time("1ms").is_ok());
        assert!(up_to_an_hour("1h").is_ok() && up_to_an_hour("61m").unwrap_err().contains("; write 1h at most"));
        assert!(time("500000000y").is_err() && time("soon").unwrap_err().contains("`soon`"));
    }

    #[test]
    fn a_target_is_an_address_where_somebody_can_listen() {
        assert!(target("10.0.0.2:80").is_ok() && target("[2001:db8::2]:80").is_ok());
        for (bad, cure) in [
            ("10.0.0.2", "write 10.0.0.2:80"),
            ("127.0.0.1:80", "loopback, which never leaves a host; write an address of the link"),
            ("[::1]:80", "loopback"),
            ("127.0.0.1", "loopback"),
            ("[::ffff:127.0.0.1]:80", "loopback"),
            ("[::ffff:10.0.0.2]:80", "is the IPv4 address 10.0.0.2 as IPv6 writes it; write 10.0.0.2:80"),
            ("::ffff:10.0.0.2", "write 10.0.0.2:80"),
            ("0.0.0.0", "nobody can listen"),
            ("web.example:80", "`web.example` is a name, and names are not looked up"),
            ("localhost", "`localhost` is a name"),
            ("http://10.0.0.2/", "is a URL; write 10.0.0.2:80, and the path with `--http /`"),
            ("10.0.0.2:http", "no address with a port"),
            ("2001:db8::2", "write [2001:db8::2]:80"),
            ("foo", "write 10.0.0.2:80"),
            ("10.0.0.2:0", "nobody can listen"),
            ("0.0.0.0:80", "nobody can listen"),
            ("224.0.0.1:80", "nobody can listen"),
        ] {
            assert!(target(bad).unwrap_err().contains(cure), "{bad}");
        }
    }
}
