//! Where programs of the host listen by TCP: read from /proc, of the calling thread's network namespace.

use crate::wire::Addr;
use std::fs::File;
use std::io::{BufRead, BufReader};

/// LISTEN, as the kernel writes it.
const LISTEN: &str = "0A";

/// Whether a program of the host listens at this port of this address, or of all of the host's; `false` where it is not told.
pub fn listens(addr: Addr, port: u16) -> bool {
    ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"].iter().any(|path| {
        let Ok(table) = File::open(path) else { return false };
        let lines = BufReader::new(table).lines().map_while(Result::ok);
        listeners(lines).any(|(at, its_port)| its_port == port && (at == Some(addr) || at.is_none()))
    })
}

/// Address and port of each listener in such a table, whose sockets in LISTEN come first; no address: all of the host's.
fn listeners(lines: impl Iterator<Item = String>) -> impl Iterator<Item = (Option<Addr>, u16)> {
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

/// An address in words of 32 bits, each in the host's order of octets; `Some(None)` for the unspecified one.
fn address(text: &str) -> Option<Option<Addr>> {
    let words = text.as_bytes().chunks(8).map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok());
    let octets: Vec<u8> = words.collect::<Option<Vec<u32>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let is_any = octets.iter().all(|octet| *octet == 0);
    let addr = match <[u8; 4]>::try_from(octets.as_slice()) {
        Ok(v4) => Addr::from_v4(v4),
        Err(_) => Addr::from_v6(octets.try_into().ok()?),
    };
    Some((!is_any).then_some(addr))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, TcpListener};

    #[test]
    fn the_kernels_tables_are_read_as_far_as_sockets_listen() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n   \
                     0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n   \
                     1: 0200000A:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n   \
                     2: 0200000A:0007 0300000A:C350 01 00000000:00000000 00:00000000 00000000     0";
        if cfg!(target_endian = "little") {
            let found: Vec<_> = listeners(table.lines().map(String::from)).collect();
            assert_eq!(found, [(None, 80), (Some(Addr::from_v4([10, 0, 0, 2])), 8080)]);
        }
    }

    #[test]
    fn who_listens_is_found_and_nobody_else() {
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(!listens(Addr::from_v4([127, 0, 0, 1]), v4.port()), "it was closed again");
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = v4.local_addr().unwrap().port();
        assert!(listens(Addr::from_v4([127, 0, 0, 1]), port));
        assert!(!listens(Addr::from_v4([127, 0, 0, 2]), port));
        if let Ok(v6) = TcpListener::bind("[::1]:0") {
            let port = v6.local_addr().unwrap().port();
            assert!(listens(Addr::from_v6(Ipv6Addr::LOCALHOST.octets()), port));
        }
    }
}
