//! What is IPv6's own: its header, extension headers, ICMPv6 errors, path MTU (RFC 8200, RFC 4443, RFC 8201).

use super::control::*;
use super::peer::*;
use super::segment::*;
use super::target::*;
use std::net::{IpAddr, Ipv6Addr};

const UNREACHABLE: u8 = 1;
const PACKET_TOO_BIG: u8 = 2;
const TIME_EXCEEDED: u8 = 3;
const PARAMETER_PROBLEM: u8 = 4;
const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const NO_NEXT_HEADER: u8 = 59;
const DESTINATION_OPTIONS: u8 = 60;

/// The type of each extension header, and its octets behind the next header's type.
type Extensions = Vec<(u8, Vec<u8>)>;

/// One header of eight octets full of padding.
const PADDING: [u8; 7] = [0, 1, 4, 0, 0, 0, 0];

fn v6(addr: &str) -> IpAddr {
    addr.parse::<Ipv6Addr>().expect("an address").into()
}

#[test]
fn our_mss_over_ipv6_is_the_mtu_less_60() {
    covers!("9293-MUST-15", "9293-MUST-14");
    stage().ipv6().play(|p| {
        assert_eq!(p.accept_with(syn()).options.mss, Some(1_460));
    });
}

#[test]
fn without_an_mss_segments_over_ipv6_carry_1220_octets() {
    covers!("9293-MUST-15");
    stage().ipv6().play(|p| {
        p.accept_with(seg(S).seq(0));
        p.app_write(&[b'x'; 4_000]);
        p.expect(seg(A).seq(1).text_len(1_220));
        p.expect(seg(A).seq(1_221).text_len(1_220));
    });
}

#[test]
fn the_octets_of_options_are_taken_from_1220() {
    covers!("9293-MUST-15");
    stage().ipv6().play(|p| {
        p.accept_with(seg(S).seq(0).ts(TS_BASE, 0));
        p.app_write(&[b'x'; 4_000]);
        p.expect(seg(A).seq(1).text_len(1_208));
    });
}

#[test]
fn extension_headers_that_may_be_skipped_are_skipped() {
    covers!("9293-MUST-50");
    stage().ipv6().play(|p| {
        let routing = vec![0, 0, 0, 0, 0, 0, 0];
        let rows: [Extensions; 5] = [
            vec![(HOP_BY_HOP, PADDING.to_vec())],
            vec![(DESTINATION_OPTIONS, PADDING.to_vec())],
            vec![(ROUTING, routing.clone())],
            vec![(HOP_BY_HOP, PADDING.to_vec()), (DESTINATION_OPTIONS, PADDING.to_vec())],
            vec![(DESTINATION_OPTIONS, PADDING.to_vec()), (ROUTING, routing), (DESTINATION_OPTIONS, PADDING.to_vec())],
        ];
        for (at, extensions) in rows.into_iter().enumerate() {
            p.on_port(46_000 + at as u16, |p| {
                p.send(syn().tweak(|t| t.extensions = extensions.clone()));
                p.expect(syn_ack().ack(1));
                p.send(ack(1).tweak(|t| t.extensions = extensions.clone()));
                p.sock = p.target.accept();
                p.send(data(1, b"behind").tweak(|t| t.extensions = extensions));
                p.expect(ack(7));
            });
        }
    });
}

#[test]
fn extension_headers_that_may_not_be_skipped_drop_the_packet() {
    covers!("1122-3.2.1");
    stage().ipv6().play(|p| {
        let rows: [(&str, Extensions); 7] = [
            ("an unknown option that says discard", vec![(HOP_BY_HOP, vec![0, 0x7e, 4, 0, 0, 0, 0])]),
            ("and one that says discard and report", vec![(DESTINATION_OPTIONS, vec![0, 0xbe, 4, 0, 0, 0, 0])]),
            ("an option beyond its header", vec![(HOP_BY_HOP, vec![0, 1, 40, 0, 0, 0, 0])]),
            ("a header beyond the packet", vec![(DESTINATION_OPTIONS, vec![200, 1, 4, 0, 0, 0, 0])]),
            ("a route that goes on", vec![(ROUTING, vec![0, 0, 1, 0, 0, 0, 0])]),
            (
                "hop-by-hop options that do not come first",
                vec![(DESTINATION_OPTIONS, PADDING.to_vec()), (HOP_BY_HOP, PADDING.to_vec())],
            ),
            ("no next header", vec![(NO_NEXT_HEADER, vec![])]),
        ];
        for (why, extensions) in rows {
            p.note(why);
            p.send(syn().tweak(|t| t.extensions = extensions));
            p.expect_no_answer();
        }
        assert_eq!(p.count("SYN-RECEIVED"), 0);
    });
}

#[test]
fn fragments_over_ipv6_are_dropped_and_counted() {
    covers!("1122-3.3.2");
    stage().ipv6().play(|p| {
        let fragment = |offset_and_more: u16| {
            let [high, low] = offset_and_more.to_be_bytes();
            vec![(FRAGMENT, vec![0, high, low, 0, 0, 0, 9])]
        };
        for offset_and_more in [1, 8, 801] {
            p.send(syn().tweak(|t| t.extensions = fragment(offset_and_more)));
            p.expect_no_answer();
        }
        assert!(p.dropped("fragment").is_none_or(|count| count == 3));
    });
}

/// RFC 6946 §4, RFC 8200 §4.5.
#[test]
fn a_packet_that_is_its_own_only_fragment_is_taken_as_a_whole() {
    covers!("1122-3.3.2");
    stage().ipv6().play(|p| {
        p.send(syn().tweak(|t| t.extensions = vec![(FRAGMENT, vec![0, 0, 0, 0, 0, 0, 9])]));
        p.expect(syn_ack().ack(1));
    });
}

#[test]
fn broken_ipv6_headers_are_dropped_in_silence() {
    covers!("791-3.1", "1122-3.2.1");
    stage().ipv6().play(|p| {
        let breaks: [fn(&mut Tweak); 5] = [
            |t| t.version = Some(4),
            |t| t.version = Some(7),
            |t| t.total_len_off_by = 1,
            |t| t.total_len_off_by = -10,
            |t| t.dst = Some("fd09::77".parse().unwrap()),
        ];
        for change in breaks {
            p.send(syn().tweak(change));
            p.expect_no_answer();
        }
        assert_eq!(p.count("SYN-RECEIVED"), 0);
    });
}

#[test]
fn padding_behind_an_ipv6_packet_is_no_text() {
    covers!("791-3.1");
    stage().ipv6().play(|p| {
        p.accept();
        p.send(data(1, b"ab").tweak(|t| t.padding = 6));
        p.expect(ack(3));
        assert_eq!(p.app_read(), Read::Data(b"ab".to_vec()));
    });
}

#[test]
fn segments_to_an_ipv6_group_are_dropped_in_silence() {
    covers!("9293-MUST-57");
    stage().ipv6().play(|p| {
        let (node, mac) = solicited_node(HOST_V6);
        let all = v6("ff02::1");
        for (dst, eth_dst) in [(all, [0x33, 0x33, 0, 0, 0, 1]), (node, mac), (all, HOST_MAC)] {
            p.send(syn().tweak(|t| (t.dst, t.eth_dst) = (Some(dst), Some(eth_dst))));
            p.expect_no_answer();
        }
        assert_eq!(p.count("SYN-RECEIVED"), 0);
    });
}

#[test]
fn segments_from_an_ipv6_address_that_is_nobody_are_dropped_in_silence() {
    covers!("9293-MUST-63", "1122-3.2.1");
    stage().ipv6().play(|p| {
        for src in ["::", "ff02::1", "::1", "fd09::1", "::ffff:10.9.0.2"] {
            p.note(src);
            p.send(syn().tweak(|t| t.src = Some(v6(src))));
            p.expect_no_answer();
        }
        assert_eq!(p.count("SYN-RECEIVED"), 0);
    });
}

#[test]
fn nothing_is_opened_to_an_ipv6_group() {
    covers!("9293-MUST-46");
    stage().ipv6().without_listener().play(|p| {
        assert!(p.target.connect(v6("ff02::1"), PEER_PORT).is_err());
        p.expect_no_answer();
    });
}

#[test]
fn a_ping_over_ipv6_is_answered_with_what_it_carried() {
    covers!("1122-3.2.1");
    stage().ipv6().play(|p| {
        let message = [&[ECHO_REQUEST, 0, 0, 0, 0x12, 0x34, 0, 7][..], b"odd sized"].concat();
        p.send_icmp_message(Tweak::default(), message.clone());
        let answers = p.take_icmp(ECHO_REPLY, SOON);
        assert_eq!(answers.len(), 1);
        let payload = answers[0].payload();
        assert_eq!((payload[1], &payload[4..message.len()]), (0, &message[4..]));
        let ip = answers[0].ip.unwrap();
        assert_eq!(sum(payload, pseudo(ip.src, ip.dst, ICMPV6, payload.len())), 0xffff);
        p.note("with a wrong checksum");
        p.send_icmp_message(Tweak { bad_tcp_checksum: true, ..Tweak::default() }, message);
        assert!(p.take_icmp(ECHO_REPLY, SOON).is_empty());
    });
}

#[test]
fn a_packet_too_big_over_ipv6_makes_segments_smaller_and_sends_again_at_once() {
    covers!("1191-3");
    stage().ipv6().play(|p| p.sends_again_smaller(PACKET_TOO_BIG, 0, 1_400, 1_340));
}

#[test]
fn a_packet_too_big_is_not_believed_below_1280() {
    covers!("1191-3", "MSS-FLOOR");
    stage().ipv6().play(|p| {
        p.accept();
        p.app_write(&[b'x'; 2_920]);
        assert_eq!(p.flight(), [1, 1_461]);
        p.note("RFC 8201 §4: such a message must be discarded");
        for mtu in [1_279, 576, 68, 1, 0] {
            p.send_icmp(PACKET_TOO_BIG, 0, mtu, 1);
        }
        p.pass(millis(100));
        p.send(ack(2_921));
        p.pass(millis(20));
        p.app_write(&[b'x'; 2_920]);
        assert_eq!(p.flight(), [2_921, 4_381], "segments are as large as before");
    });
}

#[test]
fn a_forged_packet_too_big_over_ipv6_changes_nothing() {
    covers!("1191-3", "5927-4");
    stage().ipv6().play(|p| {
        p.accept();
        p.app_write(&[b'x'; 2_920]);
        assert_eq!(p.flight(), [1, 1_461]);
        for quoted in [0x4000_0000, 2_922, 0xffff_0000] {
            p.send_icmp(PACKET_TOO_BIG, 0, 1_280, quoted);
        }
        p.note("and larger ones than the link's MTU");
        p.send_icmp(PACKET_TOO_BIG, 0, 1_520, 1);
        p.send_icmp(PACKET_TOO_BIG, 0, u32::MAX, 1);
        p.expect_no_answer();
        p.send(ack(2_921));
        p.app_write(&[b'x'; 2_920]);
        p.expect(seg(A).seq(2_921).text_len(1_460));
    });
}

#[test]
fn no_icmpv6_error_ends_a_connection_that_stands() {
    covers!("9293-SHLD-26", "9293-MUST-56", "9293-MUST-54");
    stage().ipv6().play(|p| {
        p.accept();
        p.app_write(b"in flight");
        p.expect(data(1, b"in flight"));
        for code in 0..8 {
            p.send_icmp(UNREACHABLE, code, 0, 1);
        }
        for (kind, code) in
            [(TIME_EXCEEDED, 0), (TIME_EXCEEDED, 1), (PARAMETER_PROBLEM, 0), (PARAMETER_PROBLEM, 1), (100, 0), (127, 0)]
        {
            p.send_icmp(kind, code, 0, 1);
        }
        p.expect_no_answer();
        p.expect_state("ESTABLISHED");
        p.send(data(1, b"alive").ack(10));
        p.expect(ack(6));
    });
}

#[test]
fn a_port_unreachable_over_ipv6_about_our_syn_means_refused() {
    covers!("9293-SHLD-26", "9293-MUST-54");
    stage().ipv6().without_listener().play(|p| {
        p.connect();
        p.send_icmp(UNREACHABLE, 4, 0, 0x4000_0000);
        p.expect_no_answer();
        p.expect_state("SYN-SENT");
        p.send_icmp(UNREACHABLE, 4, 0, 0);
        p.expect_silence(secs(3));
        assert_eq!(p.count("SYN-SENT"), 0);
        assert_eq!(p.app_read(), Read::Fault(Fault::Refused));
    });
}

#[test]
fn soft_errors_over_ipv6_do_not_end_an_attempt() {
    covers!("9293-MUST-56");
    stage().ipv6().without_listener().play(|p| {
        p.connect();
        for (kind, code) in [(UNREACHABLE, 0), (UNREACHABLE, 3), (TIME_EXCEEDED, 0)] {
            p.send_icmp(kind, code, 0, 0);
            if p.on_linux("in SYN-SENT a host that is unreachable ends the attempt at once") {
                assert_eq!(p.count("SYN-SENT"), 0);
                return;
            }
        }
        p.expect_no_answer();
        p.expect_state("SYN-SENT");
    });
}
