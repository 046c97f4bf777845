//! ARP and the IP header (RFC 826, RFC 791, RFC 1122).

use super::peer::*;
use super::segment::*;
use super::target::*;
use std::time::Duration;

#[test]
fn broken_ip_headers_are_dropped_in_silence() {
    covers!("791-3.1", "1122-3.2.1");
    stage().ipv4().play(|p| {
        let breaks: [fn(&mut Tweak); 8] = [
            |t| t.version = Some(5),
            |t| t.version = Some(6),
            |t| t.ihl = Some(4),
            |t| t.ihl = Some(15),
            |t| t.total_len_off_by = 1,
            |t| t.total_len_off_by = -30,
            |t| t.bad_ip_checksum = true,
            |t| t.dst = Some([10, 9, 0, 77].into()),
        ];
        for change in breaks {
            p.send(syn().tweak(change));
            p.expect_no_answer();
        }
        assert_eq!(p.count("SYN-RECEIVED"), 0);
        p.flow.snd_nxt = 0;
        p.accept();
    });
}

#[test]
fn what_is_for_another_station_is_dropped() {
    covers!("1122-3.2.1");
    stage().ipv4().play(|p| {
        p.send(syn().tweak(|t| t.eth_dst = Some([2, 0, 0, 0, 0, 99])));
        p.expect_no_answer();
        assert_eq!(p.count("SYN-RECEIVED"), 0);
    });
}

#[test]
fn ip_options_are_skipped_and_our_ttl_is_64() {
    covers!("9293-MUST-49");
    stage().ipv4().play(|p| {
        for (at, options) in
            [vec![1, 1, 1, 0], vec![7, 7, 4, 0, 0, 0, 0, 0], vec![0x94, 4, 0, 0]].into_iter().enumerate()
        {
            p.on_port(45_000 + at as u16, |p| {
                p.send(syn().tweak(|t| t.ip_options = options));
                let got = p.expect(syn_ack().ack(1));
                assert_eq!(got.ip.ttl, 64);
                assert!(got.ip.dont_fragment);
                p.send(ack(1));
                p.expect_no_answer();
            });
        }
    });
}

#[test]
fn padding_behind_the_packet_is_no_text() {
    covers!("791-3.1");
    stage().ipv4().play(|p| {
        p.accept();
        // Ethernet pads to 60 octets: the total length says where the packet ends.
        p.send(seg(A | P).seq(1).text(b"ab\0\0\0\0").tweak(|t| t.bad_tcp_checksum = true));
        p.expect_no_answer();
        p.flow.snd_nxt = 1;
        p.send(data(1, b"ab"));
        p.expect(ack(3));
    });
}

#[test]
fn fragments_are_dropped_and_counted() {
    covers!("1122-3.3.2");
    stage().ipv4().play(|p| {
        const MORE: u16 = 0x2000;
        p.send(syn().tweak(|t| t.fragment = MORE));
        p.send(syn().tweak(|t| t.fragment = 1));
        p.send(syn().tweak(|t| t.fragment = MORE | 5));
        p.expect_no_answer();
        assert_eq!(p.count("SYN-RECEIVED"), 0);
        assert!(p.dropped("fragment").is_none_or(|count| count == 3));
        p.flow.snd_nxt = 0;
        p.accept();
    });
}

#[test]
fn a_tagged_frame_is_answered_with_its_tag() {
    covers!("791-3.1");
    stage().ipv4().in_memory_only("the kernel wants a VLAN interface first").play(|p| {
        p.send(syn().tweak(|t| t.vlan = Some(7)));
        let (_, octets) = p.target.next_frame(SOON).expect("an answer");
        assert_eq!(octets[12..16], [0x81, 0, 0, 7]);
    });
}

#[test]
fn arp_requests_for_our_address_are_answered() {
    covers!("826");
    stage().ipv4().play(|p| {
        for sender in [PEER, [0; 4]] {
            p.send_arp(1, (PEER_MAC, sender), ([0; 6], HOST));
            let answers = p.take_arps(SOON);
            assert_eq!(answers.len(), 1, "asked by {sender:?}");
            let body = &answers[0].octets[14..42];
            assert_eq!((body[7], &body[8..14], &body[14..18]), (2, &HOST_MAC[..], &HOST[..]));
            assert_eq!((answers[0].eth_dst, &body[18..24]), (PEER_MAC, &PEER_MAC[..]));
        }
    });
}

#[test]
fn other_arp_packets_are_not_answered() {
    covers!("826");
    stage().ipv4().play(|p| {
        p.send_arp(1, (PEER_MAC, PEER), ([0; 6], [10, 9, 0, 77]));
        p.send_arp(1, (PEER_MAC, PEER), ([0; 6], PEER));
        p.send_arp(2, (PEER_MAC, PEER), (HOST_MAC, HOST));
        assert_eq!(p.take_arps(SOON).len(), 0);
        p.note("wrong types and lengths");
        for (at, value) in [(14, 9), (16, 0x86), (18, 8), (19, 16), (21, 9)] {
            let mut frame = [&[0xff; 6][..], &PEER_MAC, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
            frame.extend([&PEER_MAC[..], &PEER, &[0; 6], &HOST].concat());
            frame[at] = value;
            p.send_frame(&frame);
        }
        assert_eq!(p.take_arps(SOON).len(), 0);
    });
}

#[test]
fn a_syn_waits_for_its_neighbour_and_questions_are_rare() {
    covers!("1122-2.3.2");
    let setup = |s: &mut super::in_memory::Setup| (s.listen, s.knows_peer) = (false, false);
    stage().ipv4().handfast_only("the kernel's neighbour is entered by hand here").with(setup).play(|p| {
        p.answers_neighbour = false;
        p.sock = Some(p.connect_to(PEER_PORT).unwrap());
        let asked = p.take_arps(millis(2_500)).len();
        assert!((2..=3).contains(&asked), "one question a second: {asked} in 2.5 s");
        let before = p.target.now();
        p.send_arp(2, (PEER_MAC, PEER), (HOST_MAC, HOST));
        let syn = p.expect_within(millis(10), seg(S));
        assert!(syn.at - before < millis(10), "the SYN leaves with the answer");
        p.send(syn_ack().ack(1));
        p.expect(ack(1));
    });
}

#[test]
fn a_neighbour_is_asked_for_again_after_a_while() {
    covers!("1122-2.3.2");
    let setup = |s: &mut super::in_memory::Setup| s.knows_peer = false;
    stage().ipv4().in_memory_only("it takes minutes").with(setup).play(|p| {
        p.accept();
        p.pass(secs(1));
        p.others.clear();
        p.pass(secs(120));
        p.app_write(b"after a while");
        assert!(!p.take_arps(secs(3)).is_empty(), "the entry is old by now");
    });
}

#[test]
fn strangers_cannot_fill_the_neighbour_table() {
    covers!("ARP-DOS", "LIM-1");
    let setup = |s: &mut super::in_memory::Setup| (s.knows_peer, s.limits.neighbours) = (false, 8);
    stage().ipv4().handfast_only("it sets the table's limit").with(setup).play(|p| {
        p.accept();
        for at in 0..1_000u16 {
            let [high, low] = at.to_be_bytes();
            let stranger = ([2, 9, 9, 9, high, low], [10, 9, 0, 3 + (at % 200) as u8]);
            p.send_arp(1, stranger, ([0; 6], HOST));
            p.send_arp(1, stranger, ([0; 6], stranger.1));
            p.send_arp(2, stranger, (HOST_MAC, HOST));
        }
        p.pass(Duration::ZERO);
        assert!(p.target.snapshot().unwrap().pools["neighbours"].used <= 8);
        p.others.clear();
        p.app_write(b"still known");
        p.expect(data(1, b"still known"));
    });
}
