//! ARP (RFC 826, RFC 1122 §2.3.2, RFC 5227).

use super::peer::*;
use super::segment::*;
use super::target::*;
use std::time::Duration;

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
        // Long before it would be sent again, on a busy machine as well.
        let soon = if p.target.is_real_time() { SOON } else { millis(10) };
        let syn = p.expect_within(soon, seg(S));
        assert!(syn.at - before < soon, "the SYN leaves with the answer");
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

#[test]
fn a_probe_for_our_address_is_answered_and_teaches_nothing() {
    covers!("826");
    let setup = |s: &mut super::in_memory::Setup| s.knows_peer = false;
    stage().ipv4().in_memory_only("it looks into the table").with(setup).play(|p| {
        p.send_arp(1, (PEER_MAC, [0; 4]), ([0; 6], HOST));
        assert_eq!(p.take_arps(SOON).len(), 1, "RFC 5227 §2.1.1: whoever probes learns that it is taken");
        assert_eq!(p.target.snapshot().unwrap().pools["neighbours"].used, 0);
    });
}

#[test]
fn a_request_to_our_station_alone_is_answered_and_one_to_another_is_not() {
    covers!("826", "1122-2.3.2");
    stage().ipv4().play(|p| {
        for (dst, answers) in [(HOST_MAC, 1), ([2, 0, 0, 0, 0, 99], 0)] {
            let mut frame = [&dst[..], &PEER_MAC, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
            frame.extend([&PEER_MAC[..], &PEER, &[0; 6], &HOST].concat());
            p.send_frame(&frame);
            assert_eq!(p.take_arps(SOON).len(), answers, "to {dst:?}");
        }
    });
}

#[test]
fn an_announcement_updates_what_is_known_and_is_not_answered() {
    covers!("826", "1122-2.3.2");
    let setup = |s: &mut super::in_memory::Setup| s.knows_peer = false;
    for operation in [1, 2] {
        stage().ipv4().in_memory_only("the XDP program leaves announcements to the kernel").with(setup).play(|p| {
            p.accept();
            p.app_write(b"here");
            assert_eq!(p.expect(data(1, b"here")).seq, 1);
            p.send(ack(5));
            p.others.clear();
            p.note("the peer has moved to another station, and says so");
            let moved = [2, 0, 0, 0, 0, 3];
            p.send_arp(operation, (moved, PEER), ([0; 6], PEER));
            assert_eq!(p.take_arps(SOON).len(), 0);
            p.app_write(b"there");
            let (_, octets) = p.target.next_frame(SOON).expect("the text");
            assert_eq!(octets[..6], moved);
        });
    }
}

#[test]
fn an_announcement_of_our_own_address_is_not_believed() {
    covers!("826", "ARP-DOS");
    stage().ipv4().play(|p| {
        p.accept();
        // The XDP program leaves some of them to the kernel.
        let ignored = |p: &Peer| p.dropped("neighbour_ignored").filter(|_| !p.target.is_real_time());
        let before = ignored(p);
        for operation in [1, 2] {
            p.send_arp(operation, ([2, 0, 0, 0, 0, 66], HOST), ([0; 6], HOST));
            p.send_arp(operation, ([2, 0, 0, 0, 0, 66], HOST), (PEER_MAC, PEER));
        }
        p.take_arps(SOON);
        assert_eq!(ignored(p), before.map(|count| count + 4), "each of them");
        p.app_write(b"as before");
        let got = p.expect(data(1, b"as before"));
        assert_eq!(got.ip.src, p.family.host());
    });
}

#[test]
fn senders_that_can_be_nobody_are_not_answered() {
    covers!("826", "1122-3.2.1");
    stage().ipv4().handfast_only("the kernel answers some of them").play(|p| {
        for sender in
            [([0xff; 6], PEER), ([1, 0, 0x5e, 0, 0, 1], PEER), (PEER_MAC, [255; 4]), (PEER_MAC, [224, 0, 0, 1])]
        {
            p.send_arp(1, sender, ([0; 6], HOST));
            assert_eq!(p.take_arps(SOON).len(), 0, "{sender:?}");
        }
    });
}

#[test]
fn arp_packets_cut_short_or_padded() {
    covers!("826");
    stage().ipv4().play(|p| {
        let mut frame = [&[0xff; 6][..], &PEER_MAC, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
        frame.extend([&PEER_MAC[..], &PEER, &[0; 6], &HOST].concat());
        for len in [14, 20, 41] {
            p.send_frame(&frame[..len]);
        }
        assert_eq!(p.take_arps(SOON).len(), 0);
        frame.resize(60, 0xaa);
        p.send_frame(&frame);
        assert_eq!(p.take_arps(SOON).len(), 1, "Ethernet's padding says nothing");
    });
}
