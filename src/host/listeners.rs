//! Where programs of the host listen by TCP: read from /proc, of the calling thread's network namespace.

use crate::wire::Addr;
use std::fs::File;
use std::io::{BufRead, BufReader};

/// LISTEN, as the kernel writes it.
const LISTEN: &str = "0A";

/// `::`.
const UNSPECIFIED_V6: Addr = Addr::from_v6([0; 16]);

/// A program of the host that listens at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listens {
    /// At this one, or at all of its family.
    Surely,
    /// At all addresses of IPv6, and thereby at those of IPv4 unless it asked for IPv6 alone (IPV6_V6ONLY), which is not told.
    Perhaps,
}

/// Whether a program of the host listens at this port of this address; `None` also where it is not told.
pub fn listens(addr: Addr, port: u16) -> Option<Listens> {
    let at = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"].into_iter().flat_map(|path| {
        let lines = File::open(path).into_iter().flat_map(|table| BufReader::new(table).lines().map_while(Result::ok));
        listeners(lines).filter(|(_, its_port)| *its_port == port).map(|(at, _)| at).collect::<Vec<_>>()
    });
    at.filter_map(|at| hears(at, addr)).min()
}

/// Whether who listens at `at` hears what comes to `addr`.
fn hears(at: Addr, addr: Addr) -> Option<Listens> {
    match at {
        _ if at == addr => Some(Listens::Surely),
        Addr::UNSPECIFIED_V4 => addr.is_v4().then_some(Listens::Surely),
        _ if at == UNSPECIFIED_V6 => Some(if addr.is_v4() { Listens::Perhaps } else { Listens::Surely }),
        _ => None,
    }
}

/// Address and port of each listener in such a table, whose sockets in LISTEN come first.
fn listeners(lines: impl Iterator<Item = String>) -> impl Iterator<Item = (Addr, u16)> {
    let listening = lines.skip(1).map_while(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, state) = (words.next()?.to_string(), words.nth(1)?);
        (state == LISTEN).then_some(local)
    });
    listening.filter_map(|local| {
        let (addr, port) = local.split_once(':')?;
        Some((address(addr)?, u16::from_str_radix(port, 16).ok()?))
    })
}

/// An address in words of 32 bits, each in the host's order of octets.
fn address(text: &str) -> Option<Addr> {
    let words = text.as_bytes().chunks(8).map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok());
    let octets: Vec<u8> = words.collect::<Option<Vec<u32>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    match <[u8; 4]>::try_from(octets.as_slice()) {
        Ok(v4) => Some(Addr::from_v4(v4)),
        Err(_) => Some(Addr::from_v6(octets.try_into().ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv6Addr, TcpListener};

    #[test]
    fn the_kernels_tables_are_read_as_far_as_sockets_listen() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n   \
                     0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n   \
                     1: 0200000A:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n   \
                     2: 0200000A:0007 0300000A:C350 01 00000000:00000000 00:00000000 00000000     0";
        if cfg!(target_endian = "little") {
            let found: Vec<_> = listeners(table.lines().map(String::from)).collect();
            assert_eq!(found, [(Addr::UNSPECIFIED_V4, 80), (Addr::from_v4([10, 0, 0, 2]), 8080)]);
        }
    }

    #[test]
    fn who_listens_is_found_and_nobody_else() {
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(listens(Addr::from_v4([127, 0, 0, 1]), v4.port()), None, "it was closed again");
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = v4.local_addr().unwrap().port();
        assert_eq!(listens(Addr::from_v4([127, 0, 0, 1]), port), Some(Listens::Surely));
        assert_eq!(listens(Addr::from_v4([127, 0, 0, 2]), port), None);
        if let Ok(v6) = TcpListener::bind("[::1]:0") {
            let port = v6.local_addr().unwrap().port();
            assert_eq!(listens(Addr::from_v6(Ipv6Addr::LOCALHOST.octets()), port), Some(Listens::Surely));
        }
    }

    /// Also as an IPv6 socket writes the addresses of IPv4.
    #[test]
    fn who_listens_everywhere_does_so_in_its_family_and_by_ipv6_perhaps_in_the_other() {
        let [v4, v6] = ["10.0.0.2", "fd00::2"].map(|addr| Addr::from(addr.parse::<IpAddr>().unwrap()));
        for (at, for_v4, for_v6) in [
            ("0.0.0.0", Some(Listens::Surely), None),
            ("::ffff:0.0.0.0", Some(Listens::Surely), None),
            ("::ffff:10.0.0.2", Some(Listens::Surely), None),
            ("::", Some(Listens::Perhaps), Some(Listens::Surely)),
            ("::1", None, None),
        ] {
            let at_addr = Addr::from(at.parse::<IpAddr>().unwrap());
            assert_eq!([hears(at_addr, v4), hears(at_addr, v6)], [for_v4, for_v6], "{at}");
        }
        let (any, other) = (TcpListener::bind("[::]:0"), TcpListener::bind("0.0.0.0:0").unwrap());
        let found = |listener: &TcpListener| [v4, v6].map(|addr| listens(addr, listener.local_addr().unwrap().port()));
        assert_eq!(found(&other), [Some(Listens::Surely), None]);
        if let Ok(any) = any {
            assert_eq!(found(&any), [Some(Listens::Perhaps), Some(Listens::Surely)]);
        }
    }
}
