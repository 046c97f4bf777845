//! For tests: frames made by hand with a program of its own, and a slow checksum that shares nothing with ours.

/// Octets of hexadecimal digits; blanks do not count.
pub fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let value = |d: u8| (d as char).to_digit(16).expect("a hexadecimal digit") as u8;
    digits.chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

/// RFC 1071 word by word with an end-around carry at each step.
pub fn slow_checksum(octets: &[u8]) -> u16 {
    let mut sum: u16 = 0;
    for pair in octets.chunks(2) {
        let word = u16::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u16::from(*low));
        let (added, carry) = sum.overflowing_add(word);
        sum = added + u16::from(carry);
    }
    !sum
}

/// Whether IPv4 header and TCP or ICMP checksums of an untagged frame without options or padding are right.
pub fn checksums_are_right(frame: &[u8]) -> bool {
    let (packet, mut pseudo) = (&frame[14..], Vec::new());
    let payload = if packet[0] >> 4 == 4 {
        if slow_checksum(&packet[..20]) != 0 {
            return false;
        }
        if packet[9] == 6 {
            pseudo.extend_from_slice(&packet[12..20]);
        }
        (&packet[20..], packet[9])
    } else {
        pseudo.extend_from_slice(&packet[8..40]);
        (&packet[40..], packet[6])
    };
    if !pseudo.is_empty() {
        pseudo.extend_from_slice(&[0, payload.1]);
        pseudo.extend_from_slice(&(payload.0.len() as u16).to_be_bytes());
    }
    pseudo.extend_from_slice(payload.0);
    slow_checksum(&pseudo) == 0
}

/// SYN with MSS 1460, SACK permitted, timestamps, window scale 7; 10.77.0.1:40000 to 10.77.0.2:7.
pub const SYN_V4: &str = "\
    0200000000020200000000010800 \
    4500003c12344000400613ec0a4d00010a4d0002 \
    9c400007fffffff000000000a002faf08c3a0000020405b40402080a000010000000000001030307 \
";
/// SYN-ACK with ECT(0); 2001:db8::2 port 443 to 2001:db8::1 port 50000.
pub const SYN_ACK_V6: &str = "\
    02000000000102000000000286dd \
    602abcde0028064020010db800000000000000000000000220010db8000000000000000000000001 \
    01bbc35001020304fffffff1a012fffff3880000020405a00402080a00002000000010000103030a \
";
/// ACK with timestamps and one SACK block, ECT(1), VLAN 100 with priority 3.
pub const ACK_V4_SACK_VLAN: &str = "\
    020000000002020000000001810060640800 \
    4501004012344000400613e70a4d00010a4d0002 \
    9c400007fffffff1000003e8b01001f53e9a00000101080a00001001000020000101050a00000bb800000fa0 \
";
/// Three octets of text, and Ethernet padding.
pub const TEXT_V4_PADDED: &str = "\
    0200000000020200000000010800 \
    4500002b12344000400613fd0a4d00010a4d0002 \
    9c40000700000005000003e8501801f5259f00006f6464 \
    000000 \
";
/// Echo request with an odd length and a record-route option.
pub const ECHO_V4: &str = "\
    0200000000020200000000010800 \
    4600002512344000030144040a4d00010a4d000207040500 \
    0800f82b0001000270696e6721 \
";
/// What answers `ECHO_V4`.
pub const ECHO_REPLY_V4: &str = "\
    0200000000010200000000020800 \
    4500002100004000400126400a4d00020a4d0001 \
    0000002c0001000270696e6721 \
";
/// Echo request with an odd length.
pub const ECHO_V6: &str = "\
    02000000000202000000000186dd \
    600abcde000d3a4020010db800000000000000000000000120010db8000000000000000000000002 \
    8000246f0001000270696e6721 \
";
/// What answers `ECHO_V6`.
pub const ECHO_REPLY_V6: &str = "\
    02000000000102000000000286dd \
    60000000000d3a4020010db800000000000000000000000220010db8000000000000000000000001 \
    8100236f0001000270696e6721 \
";
/// Who has 10.77.0.2?
pub const ARP_REQUEST_PADDED: &str = "\
    ffffffffffff0200000000010806 \
    00010800060400010200000000010a4d00010000000000000a4d0002 \
    000000000000000000000000000000000000 \
";
/// 192.0.2.9 wants packets of at most 1400 octets; quotes 8 octets of our segment.
pub const FRAG_NEEDED_V4: &str = "\
    0200000000020200000000010800 \
    450000381234400040015c39c00002090a4d0002 \
    03045754000005784500003212344000010652f60a4d00020a4d000100079c40000003e8 \
";
/// 2001:db8:9::9 wants packets of at most 1280 octets; quotes all of our segment.
pub const TOO_BIG_V6: &str = "\
    02000000000202000000000186dd \
    600abcde004e3a4020010db800090000000000000000000920010db8000000000000000000000002 \
    02007a0d00000500600abcde001e060120010db800000000000000000000000220010db800000000000000000000000100079c40000003e8fffffff1501801f5ad2d000030313233343536373839 \
";
/// Who has 2001:db8::2?
pub const SOLICITATION: &str = "\
    3333ff00000202000000000186dd \
    6000000000203aff20010db8000000000000000000000001ff0200000000000000000001ff000002 \
    87001c270000000020010db80000000000000000000000020101020000000001 \
";
/// What answers `SOLICITATION`.
pub const ADVERTISEMENT: &str = "\
    02000000000102000000000286dd \
    6000000000203aff20010db800000000000000000000000220010db8000000000000000000000001 \
    88008a716000000020010db80000000000000000000000020201020000000002 \
";
