//! Neighbour discovery (RFC 4861 §7).

use super::control::*;
use super::peer::*;
use super::segment::*;
use super::target::*;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

const SOURCE_LINK: u8 = 1;
const TARGET_LINK: u8 = 2;
const UNSPECIFIED: [u8; 16] = [0; 16];
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

fn link_option(kind: u8) -> Vec<u8> {
    [&[kind, 1][..], &PEER_MAC].concat()
}

/// How questions are sent: to the host's group, with the hop limit that none forwarded has.
fn question() -> Tweak {
    let (group, mac) = solicited_node(HOST_V6);
    Tweak { ttl: 255, dst: Some(group), eth_dst: Some(mac), ..Tweak::default() }
}

fn solicitation(target: [u8; 16], options: &[u8]) -> Vec<u8> {
    [&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..], &target, options].concat()
}

fn answers(p: &mut Peer) -> Vec<FrameIn> {
    p.take_icmp(ADVERTISEMENT, SOON)
}

#[test]
fn a_solicitation_for_our_address_is_answered() {
    covers!("4861-7.1");
    stage().ipv6().play(|p| {
        for (tweak, to_group) in [(question(), true), (Tweak { ttl: 255, ..Tweak::default() }, false)] {
            p.send_icmp_message(tweak, solicitation(HOST_V6, &link_option(SOURCE_LINK)));
            let answers = answers(p);
            assert_eq!(answers.len(), 1);
            let (ip, body) = (answers[0].ip.unwrap(), answers[0].payload());
            assert_eq!((ip.ttl, ip.dst, answers[0].eth_dst), (255, p.family.peer(), PEER_MAC));
            // Not a router, solicited; override is ours to set.
            assert_eq!((body[1], body[4] & 0xc0, &body[8..24]), (0, 0x40, &HOST_V6[..]));
            // Whoever asked us alone knows our Ethernet address.
            if to_group || body.len() > 24 {
                assert_eq!((body[24], body[25], &body[26..32]), (TARGET_LINK, 1, &HOST_MAC[..]));
            }
            assert_eq!(sum(body, pseudo(ip.src, ip.dst, ICMPV6, body.len())), 0xffff);
        }
    });
}

#[test]
fn whoever_probes_for_our_address_is_told_with_everybody() {
    covers!("4861-7.1");
    stage().ipv6().play(|p| {
        let tweak = Tweak { src: Some(UNSPECIFIED.into()), ..question() };
        p.send_icmp_message(tweak, solicitation(HOST_V6, &[]));
        let answers = answers(p);
        assert_eq!(answers.len(), 1);
        let (ip, body) = (answers[0].ip.unwrap(), answers[0].payload());
        assert_eq!((ip.dst, answers[0].eth_dst), (IpAddr::from(ALL_NODES), [0x33, 0x33, 0, 0, 0, 1]));
        assert_eq!(body[4] & 0x40, 0, "not solicited");
    });
}

#[test]
fn invalid_solicitations_are_dropped_in_silence() {
    covers!("4861-7.1");
    stage().ipv6().play(|p| {
        let good = solicitation(HOST_V6, &link_option(SOURCE_LINK));
        let unspecified = || Tweak { src: Some(UNSPECIFIED.into()), ..question() };
        let with_code = |code| [&[SOLICITATION, code][..], &good[2..]].concat();
        let rows: [(&str, Tweak, Vec<u8>); 12] = [
            ("a hop limit of 254 was forwarded", Tweak { ttl: 254, ..question() }, good.clone()),
            ("a hop limit of 64", Tweak { ttl: 64, ..question() }, good.clone()),
            ("code 1", question(), with_code(1)),
            ("a wrong checksum", Tweak { bad_tcp_checksum: true, ..question() }, good.clone()),
            ("less than 24 octets", question(), good[..20].to_vec()),
            ("an option of length 0", question(), solicitation(HOST_V6, &[SOURCE_LINK, 0, 2, 0, 0, 0, 0, 2])),
            ("an option beyond the end", question(), solicitation(HOST_V6, &[SOURCE_LINK, 2, 2, 0, 0, 0, 0, 2])),
            ("a group as target", question(), solicitation(ALL_NODES, &link_option(SOURCE_LINK))),
            ("another target", question(), solicitation(PEER_V6, &link_option(SOURCE_LINK))),
            ("a probe with a link address", unspecified(), good.clone()),
            (
                "a probe to another group",
                Tweak { dst: Some(ALL_NODES.into()), eth_dst: Some([0x33, 0x33, 0, 0, 0, 1]), ..unspecified() },
                solicitation(HOST_V6, &[]),
            ),
            ("from a group", Tweak { src: Some(ALL_NODES.into()), ..question() }, good.clone()),
        ];
        for (why, tweak, message) in rows {
            p.note(why);
            p.send_icmp_message(tweak, message);
            assert!(answers(p).is_empty(), "{why}");
        }
    });
}

#[test]
fn unknown_options_of_a_solicitation_are_skipped() {
    covers!("4861-7.1");
    stage().ipv6().play(|p| {
        let options = [&[253, 2][..], &[7; 14], &link_option(SOURCE_LINK)].concat();
        p.send_icmp_message(question(), solicitation(HOST_V6, &options));
        assert_eq!(answers(p).len(), 1);
    });
}

/// A host whose SYN waits for the peer's Ethernet address.
fn with_a_waiting_syn(play: impl Fn(&mut Peer) + Sync) {
    let unknown = stage().ipv6().handfast_only("the kernel's neighbour is entered by hand here").without_listener();
    unknown.with(|setup| setup.knows_peer = false).play(|p| {
        p.answers_neighbour = false;
        p.sock = Some(p.connect_to(PEER_PORT).unwrap());
        play(p);
    });
}

#[test]
fn a_syn_over_ipv6_waits_for_its_neighbour_and_questions_are_rare() {
    covers!("1122-2.3.2", "4861-7.1");
    with_a_waiting_syn(|p| {
        let asked = p.take_icmp(SOLICITATION, millis(2_500));
        assert!((2..=3).contains(&asked.len()), "one question a second: {} in 2.5 s", asked.len());
        let (ip, body) = (asked[0].ip.unwrap(), asked[0].payload());
        let (group, mac) = solicited_node(PEER_V6);
        assert_eq!((ip.ttl, ip.dst, asked[0].eth_dst), (255, group, mac));
        assert_eq!((&body[8..24], body[24], &body[26..32]), (&PEER_V6[..], SOURCE_LINK, &HOST_MAC[..]));
        p.send_advertisement(Tweak { ttl: 255, ..Tweak::default() }, 0x60);
        p.expect_within(millis(50), seg(S));
        p.send(syn_ack().ack(1));
        p.expect(ack(1));
    });
}

/// RFC 4861 §7.2.5: without the override flag it only says that what is known may be old.
#[test]
fn an_advertisement_moves_a_neighbour_only_with_the_override_flag() {
    covers!("4861-7.1");
    const ELSEWHERE: [u8; 6] = [2, 0, 0, 0, 0, 0x33];
    let stage = stage().ipv6().in_memory_only("it reads frames as they are");
    stage.with(|setup| setup.knows_peer = false).play(|p| {
        p.accept();
        for (flags, sent_to) in [(0x40, PEER_MAC), (0, PEER_MAC), (0x60, ELSEWHERE)] {
            p.note(&format!("an advertisement with flags {flags:x}"));
            let head = [ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
            let told = [&head[..], &PEER_V6, &[TARGET_LINK, 1], &ELSEWHERE].concat();
            p.send_icmp_message(Tweak { ttl: 255, ..Tweak::default() }, told);
            p.answers_neighbour = false;
            p.others.clear();
            p.app_write(b"text");
            let frames: Vec<_> = std::iter::from_fn(|| p.target.next_frame(Duration::ZERO)).collect();
            let text = frames.iter().map(|(_, octets)| octets).find(|octets| octets.ends_with(b"text"));
            assert_eq!(text.expect("the text")[..6], sent_to);
            let asked = frames.iter().any(|(_, octets)| octets.get(54) == Some(&SOLICITATION));
            assert_eq!(asked, sent_to == PEER_MAC && flags == 0x40, "asked once a second where it became doubtful");
            p.flow.rcv_nxt += 4;
            p.send(ack(p.flow.rcv_nxt));
        }
    });
}

#[test]
fn invalid_advertisements_are_dropped_in_silence() {
    covers!("4861-7.1");
    with_a_waiting_syn(|p| {
        let valid = || Tweak { ttl: 255, ..Tweak::default() };
        let told = |flags: u8, target: [u8; 16], option: &[u8]| {
            [&[ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0][..], &target, option].concat()
        };
        let good = told(0x60, PEER_V6, &link_option(TARGET_LINK));
        let to_all = Tweak { dst: Some(ALL_NODES.into()), eth_dst: Some([0x33, 0x33, 0, 0, 0, 1]), ..valid() };
        let rows: [(&str, Tweak, Vec<u8>); 8] = [
            ("a hop limit of 254", Tweak { ttl: 254, ..valid() }, good.clone()),
            ("code 3", valid(), [&[ADVERTISEMENT, 3][..], &good[2..]].concat()),
            ("a wrong checksum", Tweak { bad_tcp_checksum: true, ..valid() }, good.clone()),
            ("less than 24 octets", valid(), good[..23].to_vec()),
            ("an option of length 0", valid(), told(0x60, PEER_V6, &[TARGET_LINK, 0, 2, 0, 0, 0, 0, 2])),
            ("a group as target", valid(), told(0x60, ALL_NODES, &link_option(TARGET_LINK))),
            ("solicited, to everybody", to_all, good.clone()),
            ("our own address", valid(), told(0x60, HOST_V6, &link_option(TARGET_LINK))),
        ];
        p.pass(p.at_once());
        for (why, tweak, message) in rows {
            p.note(why);
            p.send_icmp_message(tweak, message);
            p.expect_silence(millis(20));
        }
        p.send_icmp_message(valid(), good);
        p.expect_within(secs(2), seg(S));
    });
}

#[test]
fn strangers_cannot_fill_the_neighbour_table_over_ipv6() {
    covers!("ARP-DOS", "LIM-1");
    let stage = stage().ipv6().handfast_only("it sets the table's limit");
    stage.with(|setup| (setup.knows_peer, setup.limits.neighbours) = (false, 8)).play(|p| {
        p.accept();
        for at in 0..1_000u16 {
            let [high, low] = at.to_be_bytes();
            let stranger = Ipv6Addr::from([0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, high, low]);
            let tweak = Tweak { src: Some(stranger.into()), eth_src: Some([2, 9, 9, 9, high, low]), ..question() };
            let option = [SOURCE_LINK, 1, 2, 9, 9, 9, high, low];
            p.send_icmp_message(tweak, solicitation(HOST_V6, &option));
            if at % 50 == 0 {
                p.pass(p.at_once());
            }
        }
        p.pass(p.at_once());
        assert!(p.target.snapshot().unwrap().pools["neighbours"].used <= 8);
        p.others.clear();
        p.app_write(b"still known");
        p.expect(data(1, b"still known"));
    });
}
