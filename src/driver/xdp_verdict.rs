//! The verdicts of the XDP program, as `xdp/verdicts.h` lists them.

/// What the XDP program decided for a frame. The number is the index of its counter.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    strum::EnumCount,
    strum::EnumIter,
    strum::IntoStaticStr,
    strum::Display,
)]
#[strum(serialize_all = "snake_case")]
#[repr(u32)]
pub enum Verdict {
    /// Taken: ours, and handed to the socket of its queue.
    Redirect,
    /// Answered: a SYN, by a SYN-ACK with a cookie that took its place.
    AnswerSyn,
    /// Passed to the kernel: neither ARP nor IP behind at most one VLAN tag.
    PassNotIp,
    /// Passed: ends before the address that it is for.
    PassTooShort,
    /// Passed: for an address that is not ours.
    PassNotOurs,
    /// Passed: for a shared address, but neither for one of our TCP ports nor an error about it.
    PassShared,
    /// Passed: a fragment for a shared address, in which no port of ours is to be seen.
    PassFragment,
    /// Passed: ours, but its queue has no socket.
    PassNoSocket,
    /// Dropped: the version in the IP header is not the one that the EtherType says.
    DropIpVersion,
    /// Dropped: the IPv4 header length is below 20 octets or beyond the packet.
    DropIpHeaderLength,
    /// Dropped: the IP packet is longer than its frame.
    DropIpLength,
    /// Dropped: an IPv6 extension header is longer than its packet.
    DropExtensionHeader,
    /// Dropped: fewer than the 20 octets of a TCP header.
    DropTcpTruncated,
    /// Dropped: the TCP data offset is below 5 or beyond the segment.
    DropTcpDataOffset,
    /// Dropped: fewer than the 8 octets of an ICMP header.
    DropIcmpTruncated,
    /// Dropped: an acknowledgement of no flow that lives, and without a cookie, while SYNs are answered here.
    ///
    /// Deviation: RFC 9293 §3.10.7.2, RST for an ACK to a listener. A flood of ACKs ends here.
    DropNoCookie,
    /// Discarded: what the target of our own flood answers to its sources.
    FloodAnswer,
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    #[test]
    fn header_and_enum_list_the_same_verdicts_in_the_same_order() {
        let header = include_str!("../../xdp/verdicts.h");
        let body = header.split_once("enum verdict {").unwrap().1.split_once("};").unwrap().0;
        let in_c: Vec<String> = body
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
            .map(|line| line.trim_end_matches(',').to_ascii_lowercase())
            .collect();
        let mut in_rust: Vec<String> = Verdict::iter().map(|verdict| verdict.to_string()).collect();
        in_rust.push("verdicts".into());
        assert_eq!(in_c, in_rust);
    }
}
