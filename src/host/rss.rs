//! How a NIC spreads what it receives over its queues, asked by ioctl.

use super::ethtool::ask;
use std::io;

const ETHTOOL_GRXFH: u32 = 0x29;
const ETHTOOL_GRSSH: u32 = 0x46;

/// `ETH_RSS_HASH_TOP`.
const TOEPLITZ: u8 = 1 << 0;

/// `TCP_V4_FLOW`, `TCP_V6_FLOW`.
const TCP_FLOWS: [u32; 2] = [0x01, 0x05];
/// `RXH_IP_SRC`, `RXH_IP_DST`, `RXH_L4_B_0_1` and `RXH_L4_B_2_3`: addresses and ports, and nothing else.
const FOUR_TUPLE: u64 = 0xf << 4;

/// Words of `struct ethtool_rxfh` before its table and key.
const HEAD: usize = 6;

/// What the driver says of receive-side scaling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiveSteering {
    /// Whether the hash is the Toeplitz function.
    pub toeplitz: bool,
    /// Whether both directions of a flow are made to hash alike.
    pub symmetric: bool,
    /// The hash's key.
    pub key: Vec<u8>,
    /// The queue of each remainder of a division of the hash by the table's length.
    pub table: Vec<u32>,
    /// Whether TCP over IPv4, and over IPv6, is hashed over addresses and ports; `None` where the driver does not say.
    pub by_four_tuple: [Option<bool>; 2],
}

impl ReceiveSteering {
    /// Why the queue of a flow cannot be foretold from this, if it cannot.
    pub fn unforeseeable(&self) -> Option<&'static str> {
        if self.table.is_empty() || self.key.is_empty() {
            return Some("the driver does not tell its key and table");
        }
        if !self.toeplitz {
            return Some("its hash is not Toeplitz");
        }
        if self.symmetric {
            return Some("its hash is made symmetric");
        }
        self.by_four_tuple.contains(&Some(false)).then_some("it does not hash TCP over addresses and ports")
    }
}

/// What the interface's driver says of receive-side scaling: `ioctl(SIOCETHTOOL)`. Needs no privilege.
///
/// # Errors
/// When there is no such interface in the caller's namespace, or its driver does not say (EOPNOTSUPP).
pub fn receive_steering(interface: &str) -> io::Result<ReceiveSteering> {
    let mut head = [0u32; HEAD];
    head[0] = ETHTOOL_GRSSH;
    // SAFETY: told of no room for table and key, the kernel fills `struct ethtool_rxfh` alone, which is as long.
    unsafe { ask(interface, &mut head[..]) }?;
    let (entries, key_len) = (head[2], head[3]);
    let mut all = vec![0u32; HEAD + entries as usize + (key_len as usize).div_ceil(4)];
    (all[0], all[2], all[3]) = (ETHTOOL_GRSSH, entries, key_len);
    // SAFETY: behind `struct ethtool_rxfh` there is room for the table and the key of the lengths told.
    unsafe { ask(interface, &mut all[..]) }?;
    let mut steering = read(&all);
    steering.by_four_tuple = TCP_FLOWS.map(|flow| hashed_fields(interface, flow).ok().map(|f| f == FOUR_TUPLE));
    Ok(steering)
}

/// `struct ethtool_rxfh` with what follows it.
fn read(all: &[u32]) -> ReceiveSteering {
    let (entries, key_len) = (all[2] as usize, all[3] as usize);
    let [function, transformation, ..] = all[4].to_ne_bytes();
    let (table, key) = all[HEAD..].split_at(entries);
    ReceiveSteering {
        toeplitz: function & TOEPLITZ != 0,
        symmetric: transformation != 0,
        key: key.iter().flat_map(|word| word.to_ne_bytes()).take(key_len).collect(),
        table: table.to_vec(),
        by_four_tuple: [None; 2],
    }
}

/// The fields that packets of a kind are hashed over: the first 16 octets of `struct ethtool_rxnfc`.
fn hashed_fields(interface: &str, flow: u32) -> io::Result<u64> {
    // As the kernel reads and writes no more than these for this command.
    #[repr(C)]
    #[derive(zerocopy::FromZeros)]
    struct Fields {
        cmd: u32,
        flow_type: u32,
        data: u64,
    }
    let mut fields = Fields { cmd: ETHTOOL_GRXFH, flow_type: flow, data: 0 };
    // SAFETY: the command reads and writes these 16 octets.
    unsafe { ask(interface, &mut fields) }?;
    Ok(fields.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_and_key_are_read_from_behind_the_head() {
        let mut all = vec![ETHTOOL_GRSSH, 0, 4, 6, u32::from_ne_bytes([TOEPLITZ, 0, 0, 0]), 0, 0, 1, 2, 3];
        all.extend([[1u8, 2, 3, 4], [5, 6, 0, 0]].map(u32::from_ne_bytes));
        let steering = read(&all);
        assert_eq!((&steering.table[..], &steering.key[..]), (&[0, 1, 2, 3][..], &[1, 2, 3, 4, 5, 6][..]));
        assert!(steering.toeplitz && !steering.symmetric && steering.unforeseeable().is_none());
    }

    #[test]
    fn what_cannot_be_foretold_is_said() {
        let good = ReceiveSteering { toeplitz: true, key: vec![1; 40], table: vec![0, 1], ..Default::default() };
        for (bad, part) in [
            (ReceiveSteering { toeplitz: false, ..good.clone() }, "not Toeplitz"),
            (ReceiveSteering { symmetric: true, ..good.clone() }, "symmetric"),
            (ReceiveSteering { key: vec![], ..good.clone() }, "does not tell"),
            (ReceiveSteering { by_four_tuple: [Some(true), Some(false)], ..good.clone() }, "addresses and ports"),
        ] {
            assert!(bad.unforeseeable().unwrap().contains(part), "{bad:?}");
        }
        let known = ReceiveSteering { by_four_tuple: [Some(true), None], ..good };
        assert_eq!(known.unforeseeable(), None);
    }

    #[test]
    fn an_interface_without_queues_to_choose_from_does_not_say() {
        assert_eq!(receive_steering("lo").unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
    }
}
