//! Pings over IPv4 (RFC 792, RFC 1122 §3.2.2.6).

use super::peer::*;
use super::segment::*;
use super::target::*;

const ECHO: u8 = 8;
const REPLY: u8 = 0;

/// An echo request with this identifier, sequence number and text.
fn echo(text: &[u8]) -> Vec<u8> {
    [&[ECHO, 0, 0, 0, 0x12, 0x34, 0, 7][..], text].concat()
}

#[test]
fn a_ping_is_answered_with_what_it_carried() {
    covers!("1122-3.2.2.6");
    stage().ipv4().play(|p| {
        for len in [0, 1, 2, 55, 56, 57, 1_471, 1_472] {
            let text: Vec<u8> = (0..len).map(|at| at as u8).collect();
            p.send_icmp_message(Tweak::default(), echo(&text));
            let answers = p.take_icmp(REPLY, SOON);
            assert_eq!(answers.len(), 1, "{len} octets");
            let (ip, message) = (answers[0].ip.unwrap(), answers[0].payload());
            assert_eq!((ip.src, ip.dst, ip.ttl), (p.family.host(), p.family.peer(), 64));
            assert_eq!(message[4..], echo(&text)[4..], "identifier, number, and text");
            assert_eq!(sum(message, 0), 0xffff, "its checksum");
        }
    });
}

#[test]
fn the_answer_to_a_ping_has_the_ttl_that_was_asked_for() {
    covers!("1122-3.2.2.6");
    let ttl = |setup: &mut super::in_memory::Setup| setup.tcp.hop_limit = 9.try_into().unwrap();
    stage().ipv4().handfast_only("its TTL is set").with(ttl).play(|p| {
        p.send_icmp_message(Tweak::default(), echo(b"how far?"));
        assert_eq!(p.take_icmp(REPLY, SOON)[0].ip.unwrap().ttl, 9);
    });
}

#[test]
fn a_ping_to_everybody_or_from_nobody_is_not_answered() {
    covers!("1122-3.2.2.6", "1122-3.2.1");
    stage().ipv4().play(|p| {
        for dst in [[255; 4], SUBNET_BROADCAST, [224, 0, 0, 9], [10, 9, 0, 77]] {
            p.send_icmp_message(Tweak { dst: Some(dst.into()), ..Tweak::default() }, echo(b"anyone?"));
        }
        for src in [[255; 4], [224, 0, 0, 1], [127, 0, 0, 1], HOST] {
            p.send_icmp_message(Tweak { src: Some(src.into()), ..Tweak::default() }, echo(b"nobody"));
        }
        assert_eq!(p.take_icmp(REPLY, SOON).len(), 0);
    });
}

#[test]
fn what_is_no_good_ping_is_not_answered() {
    covers!("1122-3.2.2.6");
    stage().ipv4().play(|p| {
        p.send_icmp_message(Tweak { bad_tcp_checksum: true, ..Tweak::default() }, echo(b"broken"));
        p.send_icmp_message(Tweak { fragment: 0x2000, ..Tweak::default() }, echo(b"a fragment"));
        for len in 4..8 {
            p.send_icmp_message(Tweak::default(), echo(b"")[..len].to_vec());
        }
        p.note("an answer that nobody asked for, and types that are not answered");
        for kind in [REPLY, 9, 10, 15, 17, 37, 40, 255] {
            let mut message = echo(b"of another type");
            message[0] = kind;
            p.send_icmp_message(Tweak::default(), message);
        }
        p.pass(SOON);
        assert!(p.others.iter().all(|frame| frame.ip.is_none()), "{:?}", p.others);
    });
}
