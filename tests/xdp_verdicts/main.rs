//! The XDP program by `BPF_PROG_TEST_RUN`: frame in, verdict and counter out, for each verdict. No interface is touched.
//! Needs CAP_BPF and CAP_NET_ADMIN; says so and skips without root.

#[path = "../common/mod.rs"]
mod common;
mod frames;

use frames::*;
use handfast::driver::{OwnFlood, ProgramConfig, Verdict, XdpProgram};
use handfast::{Ownership, wire::Addr};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, OwnedFd};
use strum::IntoEnumIterator;

/// Ours alone.
const ALONE4: [u8; 4] = [10, 77, 0, 2];
const ALONE6: [u8; 16] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
/// Shared with the host, with [`PORT`] ours.
const SHARED4: [u8; 4] = [10, 77, 0, 3];
const SHARED6: [u8; 16] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3];
/// Somebody else's.
const OTHER4: [u8; 4] = [10, 77, 0, 9];
const OTHER6: [u8; 16] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
/// Solicited-node multicast of [`ALONE6`], which is that of no other address here.
const SOLICITED: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 2];
const PORT: u16 = 80;
/// A source of our own flood, whose target sends every frame here; ours and shared addresses lie among the sources.
const FLOODING: [u8; 4] = [10, 77, 0, 5];

const DROP: u32 = 1;
const PASS: u32 = 2;
const REDIRECT: u32 = 4;

/// The loaded program with its addresses and, on queue 0, a socket.
struct Bench {
    program: XdpProgram,
    _socket: OwnedFd,
}

impl Bench {
    /// `None`, with a line that says so, without root.
    fn new() -> Option<Bench> {
        if !common::root("running the XDP program") {
            return None;
        }
        let mut bench = Bench { program: with_addresses(), _socket: xdp_socket() };
        bench.program.set_socket(0, bench._socket.as_raw_fd()).unwrap();
        Some(bench)
    }

    /// The kernel's action and the one verdict that was counted.
    fn run(&self, frame: &[u8]) -> (u32, String) {
        run(&self.program, frame)
    }
}

fn run(program: &XdpProgram, frame: &[u8]) -> (u32, String) {
    let before = program.verdicts().unwrap();
    let action = program.run(frame, 1).unwrap().action;
    let after = program.verdicts().unwrap();
    let counted: Vec<_> = after.iter().filter(|(name, n)| **n != before[*name]).collect();
    assert_eq!(counted.len(), 1, "exactly one counter counts a frame: {counted:?}");
    assert_eq!(*counted[0].1, before[counted[0].0] + 1, "and counts it once");
    (action, counted[0].0.clone())
}

fn with_addresses() -> XdpProgram {
    let own_flood = OwnFlood { target: "10.77.0.1:40000".parse().unwrap(), sources: "10.77.0.0/29".parse().unwrap() };
    let config = ProgramConfig { own_flood: Some(own_flood), ..ProgramConfig::default() };
    let mut program = XdpProgram::load_for(&config).unwrap();
    for alone in [Addr::from_v4(ALONE4), Addr::from_v6(ALONE6)] {
        program.own_address(alone, Ownership::Exclusive).unwrap();
    }
    for shared in [Addr::from_v4(SHARED4), Addr::from_v6(SHARED6)] {
        program.own_address(shared, Ownership::Shared).unwrap();
        program.own_port(shared, PORT).unwrap();
    }
    program
}

/// A socket that the map takes; it need not be bound.
fn xdp_socket() -> OwnedFd {
    rustix::net::socket(rustix::net::AddressFamily::XDP, rustix::net::SocketType::RAW, None).unwrap()
}

/// Why the row is there, the frame, the kernel's action, the verdict.
type Row = (&'static str, Vec<u8>, u32, Verdict);

fn taken() -> Vec<Row> {
    let (syn, from_us) = (tcp(PORT, 5, &[]), from(PORT));
    let v4 = |to, protocol, payload: &[u8]| eth(IPV4, &ipv4(to, protocol, payload));
    let v6 = |to, next_header, payload: &[u8]| eth(IPV6, &ipv6(to, next_header, payload));
    let frames = vec![
        ("TCP to an address of ours alone", v4(ALONE4, TCP, &syn)),
        ("to any port of it, for we refuse closed ones", v4(ALONE4, TCP, &tcp(9999, 5, &[]))),
        ("with TCP options and data", v4(ALONE4, TCP, &tcp(PORT, 10, &[0; 100]))),
        ("with Ethernet padding", [v4(ALONE4, TCP, &syn), vec![0; 6]].concat()),
        ("with IPv4 options", eth(IPV4, &with(ipv4(ALONE4, TCP, &[vec![1; 4], syn.clone()].concat()), 0, &[0x46]))),
        ("behind a VLAN tag", eth(VLAN, &tag(IPV4, &ipv4(ALONE4, TCP, &syn)))),
        ("ping", v4(ALONE4, ICMP, &[8, 0, 0, 0, 0, 1, 0, 1])),
        ("UDP, which the stack refuses", v4(ALONE4, UDP, &[0; 8])),
        ("a first fragment", eth(IPV4, &with(ipv4(ALONE4, TCP, &syn), 6, &[0x20, 0]))),
        ("a later fragment, whose TCP header is elsewhere", eth(IPV4, &with(ipv4(ALONE4, TCP, &[7; 8]), 6, &[0, 3]))),
        ("an ARP request for it", eth(ARP, &arp(1, ALONE4))),
        ("an ARP reply to it", eth(ARP, &arp(2, ALONE4))),
        ("ARP behind a VLAN tag", eth(VLAN, &tag(ARP, &arp(1, ALONE4)))),
        ("IPv6 TCP", v6(ALONE6, TCP, &syn)),
        ("IPv6 ping", v6(ALONE6, ICMPV6, &[128, 0, 0, 0, 0, 1, 0, 1])),
        ("solicitation by multicast", v6(SOLICITED, ICMPV6, &ndp(135, ALONE6))),
        ("solicitation by unicast", v6(ALONE6, ICMPV6, &ndp(135, ALONE6))),
        ("an advertisement to it", v6(ALONE6, ICMPV6, &ndp(136, OTHER6))),
        ("hop-by-hop options", v6(ALONE6, HOP_BY_HOP, &[options(TCP, 8), syn.clone()].concat())),
        (
            "two options headers",
            v6(ALONE6, HOP_BY_HOP, &[options(DESTINATION_OPTIONS, 8), options(TCP, 24), syn.clone()].concat()),
        ),
        (
            "more options headers than are looked through go to the stack",
            v6(
                ALONE6,
                HOP_BY_HOP,
                &[options(60, 8), options(60, 8), options(60, 8), options(60, 8), options(TCP, 8)].concat(),
            ),
        ),
        ("an IPv6 fragment", v6(ALONE6, FRAGMENT, &[&[TCP, 0, 0, 0, 0, 0, 0, 1][..], &syn].concat())),
        ("TCP to our port of a shared address", v4(SHARED4, TCP, &syn)),
        ("the same by IPv6", v6(SHARED6, TCP, &syn)),
        ("the same behind options", v6(SHARED6, HOP_BY_HOP, &[options(TCP, 8), syn.clone()].concat())),
        ("the same behind a routing header", v6(SHARED6, ROUTING, &[options(TCP, 8), syn.clone()].concat())),
        // The kernel would put it together, and reset a connection that it does not know.
        ("a first fragment for our port", eth(IPV4, &with(ipv4(SHARED4, TCP, &syn), 6, &[0x20, 0]))),
        ("the same by IPv6", v6(SHARED6, FRAGMENT, &[&fragment(TCP, 1)[..], &syn].concat())),
        ("a packet that is its own only fragment", v6(SHARED6, FRAGMENT, &[&fragment(TCP, 0)[..], &syn].concat())),
        ("an error about a segment from our port", v4(SHARED4, ICMP, &icmp(3, &ipv4(OTHER4, TCP, &from_us)))),
        ("an error of another kind", v4(SHARED4, ICMP, &icmp(11, &ipv4(OTHER4, TCP, &from_us)[..28]))),
        ("an ICMPv6 error", v6(SHARED6, ICMPV6, &icmp(2, &ipv6(OTHER6, TCP, &from_us)))),
    ];
    frames.into_iter().map(|(why, frame)| (why, frame, REDIRECT, Verdict::Redirect)).collect()
}

fn passed() -> Vec<Row> {
    let (syn, ssh, from_us) = (tcp(PORT, 5, &[]), tcp(22, 5, &[]), from(PORT));
    let fragment4 =
        |protocol, payload: &[u8], offset: u16| with(ipv4(SHARED4, protocol, payload), 6, &offset.to_be_bytes());
    let fragment6 = |protocol, offset, payload: &[u8]| {
        eth(IPV6, &ipv6(SHARED6, FRAGMENT, &[&fragment(protocol, offset)[..], payload].concat()))
    };
    let v4 = |to, protocol, payload: &[u8]| eth(IPV4, &ipv4(to, protocol, payload));
    let v6 = |to, next_header, payload: &[u8]| eth(IPV6, &ipv6(to, next_header, payload));
    let rows = vec![
        ("another EtherType", eth(0x88cc, &[0; 46]), Verdict::PassNotIp),
        ("an 802.3 length", eth(46, &[0; 46]), Verdict::PassNotIp),
        ("a second VLAN tag", eth(VLAN, &tag(VLAN, &tag(IPV4, &ipv4(ALONE4, TCP, &syn)))), Verdict::PassNotIp),
        ("no room for a VLAN tag", eth(VLAN, &[0, 5, 8]), Verdict::PassTooShort),
        ("half an IPv4 header", eth(IPV4, &ipv4(ALONE4, TCP, &syn)[..19]), Verdict::PassTooShort),
        ("half an IPv6 header", eth(IPV6, &ipv6(ALONE6, TCP, &syn)[..39]), Verdict::PassTooShort),
        ("half an ARP packet", eth(ARP, &arp(1, ALONE4)[..27]), Verdict::PassTooShort),
        ("another IPv4 address", v4(OTHER4, TCP, &syn), Verdict::PassNotOurs),
        ("another IPv6 address", v6(OTHER6, TCP, &syn), Verdict::PassNotOurs),
        ("to a source of our flood, but from another port", v4(FLOODING, TCP, &from(PORT)), Verdict::PassNotOurs),
        ("to a source of our flood, but no TCP", v4(FLOODING, UDP, &[0; 8]), Verdict::PassNotOurs),
        (
            "to a source of our flood, but not from its target",
            eth(IPV4, &with(ipv4(FLOODING, TCP, &syn), 12, &[10, 77, 0, 4])),
            Verdict::PassNotOurs,
        ),
        ("malformed, but not for us", eth(IPV4, &with(ipv4(OTHER4, TCP, &syn), 0, &[0x41])), Verdict::PassNotOurs),
        ("ARP for another address", eth(ARP, &arp(1, OTHER4)), Verdict::PassNotOurs),
        ("ARP of another link type", eth(ARP, &with(arp(1, ALONE4), 1, &[6])), Verdict::PassNotOurs),
        ("ARP for another protocol", eth(ARP, &with(arp(1, ALONE4), 2, &[0x86, 0xdd])), Verdict::PassNotOurs),
        ("solicitation for another address", v6(SOLICITED, ICMPV6, &ndp(135, OTHER6)), Verdict::PassNotOurs),
        ("solicitation for a shared address", v6(SOLICITED, ICMPV6, &ndp(135, SHARED6)), Verdict::PassShared),
        ("a router's advertisement", v6(SOLICITED, ICMPV6, &ndp(134, ALONE6)), Verdict::PassNotOurs),
        ("a truncated solicitation", v6(SOLICITED, ICMPV6, &ndp(135, ALONE6)[..23]), Verdict::PassNotOurs),
        ("another TCP port of a shared address: ssh goes on", v4(SHARED4, TCP, &tcp(22, 5, &[])), Verdict::PassShared),
        ("the same by IPv6", v6(SHARED6, TCP, &tcp(22, 5, &[])), Verdict::PassShared),
        ("our port, but UDP", v4(SHARED4, UDP, &[0x9c, 0x40, 0, 80, 0, 8, 0, 0]), Verdict::PassShared),
        ("ping to a shared address", v4(SHARED4, ICMP, &[8, 0, 0, 0, 0, 1, 0, 1]), Verdict::PassShared),
        ("ARP for a shared address", eth(ARP, &arp(1, SHARED4)), Verdict::PassShared),
        ("no ports to be seen", v4(SHARED4, TCP, &syn[..3]), Verdict::PassShared),
        ("bad IHL to a shared address", eth(IPV4, &with(ipv4(SHARED4, TCP, &syn), 0, &[0x41])), Verdict::PassShared),
        ("bad length to a shared address", eth(IPV6, &with(ipv6(SHARED6, TCP, &syn), 4, &[9, 9])), Verdict::PassShared),
        ("a first fragment for another port", eth(IPV4, &fragment4(TCP, &ssh, 0x2000)), Verdict::PassFragment),
        ("a later fragment", eth(IPV4, &fragment4(TCP, &syn, 0x2001)), Verdict::PassFragment),
        ("a first fragment of UDP", eth(IPV4, &fragment4(UDP, &syn, 0x2000)), Verdict::PassFragment),
        ("a first fragment without ports", eth(IPV4, &fragment4(TCP, &syn[..3], 0x2000)), Verdict::PassFragment),
        ("an IPv6 fragment for another port", fragment6(TCP, 1, &ssh), Verdict::PassFragment),
        ("a later IPv6 fragment", fragment6(TCP, 9, &syn), Verdict::PassFragment),
        ("an IPv6 fragment of UDP", fragment6(UDP, 1, &syn), Verdict::PassFragment),
        ("an IPv6 fragment without ports", fragment6(TCP, 1, &syn[..3]), Verdict::PassFragment),
        ("half a fragment header", v6(SHARED6, FRAGMENT, &[TCP, 0, 0, 0]), Verdict::PassFragment),
        (
            "an error about the host's own",
            v4(SHARED4, ICMP, &icmp(3, &ipv4(OTHER4, TCP, &from(22)))),
            Verdict::PassShared,
        ),
        ("an error about UDP", v4(SHARED4, ICMP, &icmp(3, &ipv4(OTHER4, UDP, &from_us))), Verdict::PassShared),
        ("an error that quotes no ports", v4(SHARED4, ICMP, &icmp(3, &ipv4(OTHER4, TCP, &[]))), Verdict::PassShared),
        ("an error that quotes nothing", v4(SHARED4, ICMP, &icmp(3, &[])), Verdict::PassShared),
        ("no error", v4(SHARED4, ICMP, &icmp(0, &ipv4(OTHER4, TCP, &from_us))), Verdict::PassShared),
        ("no ICMPv6 error", v6(SHARED6, ICMPV6, &icmp(129, &ipv6(OTHER6, TCP, &from_us))), Verdict::PassShared),
        ("an ICMPv6 error about UDP", v6(SHARED6, ICMPV6, &icmp(1, &ipv6(OTHER6, UDP, &from_us))), Verdict::PassShared),
    ];
    rows.into_iter().map(|(why, frame, verdict)| (why, frame, PASS, verdict)).collect()
}

fn dropped() -> Vec<Row> {
    let syn = tcp(PORT, 5, &[]);
    let v4 = |to, protocol, payload: &[u8]| eth(IPV4, &ipv4(to, protocol, payload));
    let v6 = |to, next_header, payload: &[u8]| eth(IPV6, &ipv6(to, next_header, payload));
    let ours = ipv4(ALONE4, TCP, &syn);
    let ours6 = ipv6(ALONE6, TCP, &syn);
    let rows = vec![
        ("version 6 in an IPv4 frame", eth(IPV4, &with(ours.clone(), 0, &[0x65])), Verdict::DropIpVersion),
        ("version 4 in an IPv6 frame", eth(IPV6, &with(ours6.clone(), 0, &[0x40])), Verdict::DropIpVersion),
        ("IHL 4", eth(IPV4, &with(ours.clone(), 0, &[0x44])), Verdict::DropIpHeaderLength),
        ("IHL 0", eth(IPV4, &with(ours.clone(), 0, &[0x40])), Verdict::DropIpHeaderLength),
        ("IHL beyond the packet", eth(IPV4, &with(ours.clone(), 0, &[0x4b])), Verdict::DropIpHeaderLength),
        ("total length one beyond the frame", eth(IPV4, &with(ours.clone(), 2, &[0, 41])), Verdict::DropIpLength),
        ("total length 65,535", eth(IPV4, &with(ours.clone(), 2, &[255, 255])), Verdict::DropIpLength),
        ("total length below the header", eth(IPV4, &with(ours.clone(), 2, &[0, 19])), Verdict::DropIpLength),
        ("payload one beyond the frame", eth(IPV6, &with(ours6.clone(), 4, &[0, 21])), Verdict::DropIpLength),
        ("payload 65,535", eth(IPV6, &with(ours6, 4, &[255, 255])), Verdict::DropIpLength),
        ("malformed behind a VLAN tag", eth(VLAN, &tag(IPV4, &with(ours, 0, &[0x44]))), Verdict::DropIpHeaderLength),
        ("half an options header", v6(ALONE6, HOP_BY_HOP, &[TCP, 0, 0, 0]), Verdict::DropExtensionHeader),
        ("options beyond the packet", v6(ALONE6, 60, &with(options(TCP, 8), 1, &[9])), Verdict::DropExtensionHeader),
        ("no options at all", v6(ALONE6, HOP_BY_HOP, &[]), Verdict::DropExtensionHeader),
        ("19 octets of TCP", v4(ALONE4, TCP, &syn[..19]), Verdict::DropTcpTruncated),
        ("no TCP at all", v6(ALONE6, TCP, &[]), Verdict::DropTcpTruncated),
        (
            "19 octets of TCP, with Ethernet padding behind them",
            [v4(ALONE4, TCP, &syn[..19]), vec![0; 7]].concat(),
            Verdict::DropTcpTruncated,
        ),
        ("19 octets of TCP to our shared port", v4(SHARED4, TCP, &syn[..19]), Verdict::DropTcpTruncated),
        ("data offset 4", v4(ALONE4, TCP, &tcp(PORT, 4, &[])), Verdict::DropTcpDataOffset),
        ("data offset 0", v6(ALONE6, TCP, &tcp(PORT, 0, &[])), Verdict::DropTcpDataOffset),
        ("data offset one word past the end", v4(ALONE4, TCP, &tcp(PORT, 6, &[0; 3])), Verdict::DropTcpDataOffset),
        ("the same to our shared port", v6(SHARED6, TCP, &tcp(PORT, 15, &[])), Verdict::DropTcpDataOffset),
        ("what our flood is answered", v4(FLOODING, TCP, &syn), Verdict::FloodAnswer),
        ("7 octets of ICMP", v4(ALONE4, ICMP, &[8, 0, 0, 0, 0, 1, 0]), Verdict::DropIcmpTruncated),
        ("7 octets of ICMPv6", v6(ALONE6, ICMPV6, &[128, 0, 0, 0, 0, 1, 0]), Verdict::DropIcmpTruncated),
    ];
    rows.into_iter().map(|(why, frame, verdict)| (why, frame, DROP, verdict)).collect()
}

fn check(rows: Vec<Row>) {
    let Some(bench) = Bench::new() else { return };
    for (why, frame, action, verdict) in rows {
        assert_eq!(bench.run(&frame), (action, verdict.to_string()), "{why}");
    }
}

#[test]
fn what_is_ours_goes_to_the_socket() {
    check(taken());
}

#[test]
fn what_is_not_ours_passes_untouched() {
    check(passed());
}

#[test]
fn what_is_ours_and_malformed_is_dropped_for_a_named_reason() {
    check(dropped());
}

#[test]
fn a_queue_without_a_socket_passes_and_counts() {
    if Bench::new().is_none() {
        return;
    }
    let frame = eth(IPV4, &ipv4(ALONE4, TCP, &tcp(PORT, 5, &[])));
    let mut program = with_addresses();
    assert_eq!(run(&program, &frame), (PASS, Verdict::PassNoSocket.to_string()));
    let socket = xdp_socket();
    program.set_socket(1, socket.as_raw_fd()).unwrap();
    assert_eq!(run(&program, &frame), (PASS, Verdict::PassNoSocket.to_string()), "another queue's socket");
    program.set_socket(0, socket.as_raw_fd()).unwrap();
    assert_eq!(run(&program, &frame), (REDIRECT, Verdict::Redirect.to_string()));
}

#[test]
fn every_verdict_has_a_fixture() {
    let mut seen: BTreeSet<Verdict> = [taken(), passed(), dropped()].concat().iter().map(|row| row.3).collect();
    seen.extend([Verdict::AnswerSyn, Verdict::DropNoCookie]); // tests/xdp_answers.rs
    seen.insert(Verdict::PassNoSocket); // a_queue_without_a_socket_passes_and_counts
    assert_eq!(seen, Verdict::iter().collect());
}

#[test]
fn misuse_of_the_socket_map_is_one_line() {
    let Some(mut bench) = Bench::new() else { return };
    let socket = xdp_socket();
    let e = bench.program.set_socket(256, socket.as_raw_fd()).unwrap_err().to_string();
    assert!(e.contains("queue 256") && e.contains("beyond the 256"), "{e}");
    let e = bench.program.set_socket(0, std::io::stdout().as_raw_fd()).unwrap_err().to_string();
    assert!(e.contains("no AF_XDP socket") && !e.contains('\n'), "{e}");
}

#[test]
fn a_truncated_segment_is_never_taken() {
    let Some(bench) = Bench::new() else { return };
    let segment = tcp(PORT, 10, &[0; 40]);
    let frames = [
        eth(IPV4, &ipv4(ALONE4, TCP, &segment)),
        eth(IPV4, &ipv4(SHARED4, TCP, &segment)),
        eth(VLAN, &tag(IPV4, &ipv4(ALONE4, TCP, &segment))),
        eth(IPV4, &with(ipv4(ALONE4, TCP, &[vec![1; 40], segment.clone()].concat()), 0, &[0x4f])),
        eth(IPV6, &ipv6(ALONE6, TCP, &segment)),
        eth(IPV6, &ipv6(ALONE6, HOP_BY_HOP, &[options(60, 16), options(TCP, 8), segment.clone()].concat())),
    ];
    for (which, frame) in frames.iter().enumerate() {
        assert_eq!(bench.run(frame).1, "redirect", "frame {which} whole");
        // The kernel runs no program on less than an Ethernet header.
        for len in 14..frame.len() {
            let (action, verdict) = bench.run(&frame[..len]);
            assert_ne!(action, REDIRECT, "frame {which} cut to {len} octets: {verdict}");
        }
    }
}

/// Whether `frame` is a whole IPv4 TCP segment, or IPv6 one without extension headers, read by other means than the
/// program's.
fn is_whole_segment(frame: &[u8]) -> Option<bool> {
    let segment = match (u16::from_be_bytes([frame[12], frame[13]]), &frame[14..]) {
        (IPV4, ip) if ip[9] == TCP && ip[6] & 0x3f == 0 && ip[7] == 0 => {
            let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
            let header = usize::from(ip[0] & 15) * 4;
            ip.get(..total).and_then(|ip| ip.get(header..)).filter(|_| header >= 20 && ip[0] >> 4 == 4)
        }
        (IPV6, ip) if ip[6] == TCP => {
            let payload = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
            ip.get(40..40 + payload).filter(|_| ip[0] >> 4 == 6)
        }
        _ => return None,
    };
    let whole =
        |segment: &[u8]| segment.len() >= 20 && (20..=segment.len()).contains(&(usize::from(segment[12] >> 4) * 4));
    Some(segment.is_some_and(whole))
}

/// Octets of a frame for `family` that may be anything: all but the addresses and what makes it TCP.
fn corruptible(v6: bool) -> Vec<usize> {
    let kept: &[std::ops::Range<usize>] = if v6 { &[0..14, 20..21, 22..54] } else { &[0..14, 20..22, 23..24, 26..34] };
    (0..100).filter(|at| !kept.iter().any(|range| range.contains(at))).collect()
}

#[test]
fn only_whole_segments_are_taken_and_all_of_them() {
    let Some(bench) = Bench::new() else { return };
    let hits = (any::<prop::sample::Index>(), any::<u8>());
    let strategy = (any::<bool>(), 34usize..100, 5u8..8, prop::collection::vec(hits, 0..4));
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 4000, ..ProptestConfig::default() });
    let result = runner.run(&strategy, |(v6, len, data_offset, hits)| {
        let segment = tcp(PORT, data_offset, &[0x55; 46]);
        let mut frame =
            if v6 { eth(IPV6, &ipv6(ALONE6, TCP, &segment)) } else { eth(IPV4, &ipv4(ALONE4, TCP, &segment)) };
        // Half of the time what is left is made whole again, so that the later checks are met too.
        frame.truncate(len.max(if v6 { 54 } else { 34 }));
        let ip_len = (frame.len() - if v6 { 54 } else { 14 }) as u16;
        if len % 2 == 0 {
            frame = with(frame, if v6 { 18 } else { 16 }, &ip_len.to_be_bytes());
        }
        for (index, value) in hits {
            let at = *index.get(&corruptible(v6));
            if at < frame.len() {
                frame[at] = value;
            }
        }
        let (action, verdict) = bench.run(&frame);
        let whole = is_whole_segment(&frame).expect("it is still TCP");
        prop_assert_eq!(action, if whole { REDIRECT } else { DROP }, "{}", verdict);
        Ok(())
    });
    result.unwrap();
}
