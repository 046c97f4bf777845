//! The IPv4 header (RFC 791, RFC 1122).

use super::in_memory::Setup;
use super::peer::*;
use super::segment::*;
use handfast::wire::Dscp;

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
fn ip_options_are_skipped() {
    covers!("9293-MUST-50");
    stage().ipv4().play(|p| {
        for (at, options) in
            [vec![1, 1, 1, 0], vec![7, 7, 4, 0, 0, 0, 0, 0], vec![0x94, 4, 0, 0]].into_iter().enumerate()
        {
            p.on_port(45_000 + at as u16, |p| {
                p.send(syn().tweak(|t| t.ip_options = options));
                p.expect(syn_ack().ack(1));
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

/// Also of a peer that was known without a tag before.
#[test]
fn what_is_said_on_a_tagged_connection_carries_the_tag() {
    covers!("791-3.1");
    let stage = stage().ipv4().in_memory_only("the kernel wants a VLAN interface first");
    stage.with(|setup| setup.knows_peer = false).play(|p| {
        p.on_port(45_000, |p| p.accept());
        p.send(syn().tweak(|t| t.vlan = Some(7)));
        let (_, octets) = p.target.next_frame(SOON).expect("an answer");
        p.flow.irs = Some(u32::from_be_bytes(*octets[42..].first_chunk().expect("a number")));
        p.send(ack(1).seq(1).ack(1).tweak(|t| t.vlan = Some(7)));
        p.sock = p.target.accept();
        p.app_write(b"tagged");
        let (_, octets) = p.target.next_frame(SOON).expect("text");
        assert_eq!((&octets[12..16], octets.ends_with(b"tagged")), (&[0x81, 0, 0, 7][..], true));
    });
}

#[test]
fn a_ttl_that_is_used_up_does_not_matter_at_its_destination() {
    covers!("791-3.1", "1122-3.2.1");
    stage().ipv4().play(|p| {
        // RFC 1122 §3.2.1.7: a host does not drop a packet for its TTL.
        for (at, ttl) in [0, 1, 2, 255].into_iter().enumerate() {
            p.on_port(45_100 + at as u16, |p| {
                p.send(syn().tweak(|t| t.ttl = ttl));
                let got = p.expect(syn_ack().ack(1));
                assert_eq!(got.ip.ttl, 64);
            });
        }
    });
}

#[test]
fn bits_that_say_nothing_to_a_receiver_are_not_looked_at() {
    covers!("791-3.1");
    stage().ipv4().play(|p| {
        const DONT_FRAGMENT: u16 = 0x4000;
        const RESERVED: u16 = 0x8000;
        let tweaks: [fn(&mut Tweak); 5] = [
            |t| t.fragment = DONT_FRAGMENT,
            |t| t.fragment = RESERVED,
            |t| t.fragment = RESERVED | DONT_FRAGMENT,
            |t| t.dscp = 46,
            |t| (t.dscp, t.ecn) = (63, 3),
        ];
        for (at, change) in tweaks.into_iter().enumerate() {
            p.on_port(45_200 + at as u16, |p| {
                p.send(syn().tweak(change));
                p.expect(syn_ack().ack(1));
                p.send(ack(1));
                p.expect_no_answer();
                assert_eq!(p.count("ESTABLISHED"), at as u64 + 1);
            });
        }
    });
}

#[test]
fn lengths_that_do_not_fit_drop_the_packet() {
    covers!("791-3.1");
    stage().ipv4().play(|p| {
        p.accept();
        p.note("a total length below the header, between the headers, and beyond the frame");
        for off_by in [-24, -23, -21, -20, -4, 1, 100] {
            p.send(data(1, b"text").tweak(|t| t.total_len_off_by = off_by));
            p.flow.snd_nxt = 1;
        }
        for ihl in [0, 1, 4, 6, 10, 15] {
            p.send(data(1, b"text").tweak(|t| t.ihl = Some(ihl)));
            p.flow.snd_nxt = 1;
        }
        p.expect_no_answer();
        p.send(data(1, b"text"));
        p.expect(ack(5));
    });
}

#[test]
fn frames_cut_anywhere_are_dropped() {
    covers!("791-3.1", "9293-MUST-2");
    stage().ipv4().play(|p| {
        p.accept();
        let segment = data(1, b"text");
        let frame = write_tcp(&p.ends(), &segment, p.flow.isn.wrapping_add(1), p.flow.irs.unwrap().wrapping_add(1));
        // Shorter ones than an Ethernet header do not cross every wire.
        for len in 14..frame.len() {
            p.send_frame(&frame[..len]);
        }
        p.expect_no_answer();
        p.send_frame(&frame);
        p.flow.snd_nxt = 5;
        p.expect(ack(5));
    });
}

#[test]
fn our_packets_carry_no_options_and_are_not_to_be_fragmented() {
    covers!("9293-MUST-50");
    stage().ipv4().play(|p| {
        p.send(syn().tweak(|t| t.ip_options = vec![7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        let got = p.expect(syn_ack().ack(1));
        assert!(got.ip.dont_fragment);
        p.send(ack(1));
        p.sock = p.target.accept();
        p.app_write(b"answer");
        let got = p.expect(data(1, b"answer"));
        assert!(got.ip.dont_fragment);
    });
}

#[test]
fn the_ttl_is_64_unless_another_is_asked_for_and_the_ds_field_zero() {
    covers!("9293-MUST-49", "9293-MUST-48");
    everywhere(|p| {
        p.accept();
        p.app_write(b"answer");
        let got = p.expect(data(1, b"answer"));
        assert_eq!((got.ip.ttl, got.ip.dscp), (64, 0));
    });
}

/// By the ways that a segment takes: an answer in the frame that asked, a connection's own, a half-open entry's timer.
#[test]
fn every_segment_carries_the_ttl_and_the_ds_field_that_were_asked_for() {
    covers!("9293-MUST-49", "9293-MUST-48");
    const EXPEDITED: u8 = 46;
    let set_up = |setup: &mut Setup| {
        setup.tcp.hop_limit = 7.try_into().unwrap();
        setup.tcp.dscp = Dscp::new(EXPEDITED).unwrap();
    };
    handfast_with("its TTL is set", set_up, |p| {
        let carried = |got: Got| assert_eq!((got.ip.ttl, got.ip.dscp, got.ip.ecn), (7, EXPEDITED, 0));
        p.send(syn());
        carried(p.expect(syn_ack().ack(1)));
        carried(p.expect_within(secs(3), syn_ack().ack(1)));
        p.send(ack(1));
        p.expect_state("ESTABLISHED");
        p.sock = p.target.accept();
        p.app_write(b"text");
        carried(p.expect(data(1, b"text")));
        p.send(rst(1));
        p.send_to_port(9, syn());
        carried(p.next(SOON).expect("a RST"));
    });
}

#[test]
fn an_ecn_mark_and_the_ds_field_share_an_octet() {
    covers!("9293-MUST-48");
    let set_up = |setup: &mut Setup| setup.tcp.dscp = Dscp::new(63).unwrap();
    handfast_with("its DS field is set", set_up, |p| {
        p.send(seg(S | E | C).seq(0).mss(1460));
        p.expect(seg(S | A | E).ack(1));
        p.send(ack(1));
        p.sock = p.target.accept();
        p.app_write(b"text");
        let got = p.next(SOON).expect("text");
        assert_eq!((got.ip.dscp, got.ip.ecn), (63, 0b10));
        p.note("and a mark that comes in is seen whatever the DS field says");
        p.send(data(1, b"more").ack(5).tweak(|t| (t.dscp, t.ecn) = (63, 3)));
        p.expect(seg(A | E).ack(5));
    });
}

#[test]
fn other_protocols_and_ethertypes_make_nothing() {
    covers!("1122-3.2.1");
    stage().ipv4().handfast_only("the kernel says so by ICMP").play(|p| {
        let segment = write_tcp(&p.ends(), &syn(), 1, 0)[34..].to_vec();
        for protocol in [0, 2, 4, 41, 47, 50, 132, 255] {
            p.send_ip(Tweak::default(), protocol, &segment);
        }
        let mut frame = write_tcp(&p.ends(), &syn(), 1, 0);
        for ethertype in [[0x88, 0xcc], [0, 46], [0x86, 0xdd], [0x81, 0]] {
            frame[12..14].copy_from_slice(&ethertype);
            p.send_frame(&frame);
        }
        p.expect_no_answer();
        assert_eq!(p.count("SYN-RECEIVED"), 0);
        p.accept();
    });
}
