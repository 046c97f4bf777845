//! Addresses that can be no end of a connection (RFC 9293 §3.9.1.1, §3.9.2.3).

use super::peer::*;
use super::segment::*;
use super::target::*;

#[test]
fn nothing_is_opened_to_a_group() {
    covers!("9293-MUST-46");
    stage().ipv4().without_listener().play(|p| {
        for group in [[255; 4], [224, 0, 0, 1], SUBNET_BROADCAST] {
            assert!(p.target.connect(group.into(), PEER_PORT).is_err(), "{group:?}");
            p.expect_no_answer();
        }
    });
}

#[test]
fn segments_to_a_group_are_dropped_in_silence() {
    covers!("9293-MUST-57");
    stage().ipv4().play(|p| {
        for dst in [[255; 4], [224, 0, 0, 1], SUBNET_BROADCAST] {
            p.send(syn().tweak(|t| t.dst = Some(dst.into())));
            p.expect_no_answer();
            p.send(syn().tweak(|t| (t.dst, t.eth_dst) = (Some(dst.into()), Some([0xff; 6]))));
            p.expect_no_answer();
        }
        p.send(syn().tweak(|t| t.eth_dst = Some([0xff; 6])));
        p.expect_no_answer();
        p.send(syn().tweak(|t| t.eth_dst = Some([1, 0, 0x5e, 0, 0, 1])));
        p.expect_no_answer();
        assert_eq!(p.count("SYN-RECEIVED"), 0);
    });
}

#[test]
fn segments_from_nobody_are_dropped_in_silence() {
    covers!("9293-MUST-63", "1122-3.2.1");
    stage().ipv4().play(|p| {
        for src in [[255; 4], [224, 0, 0, 1], [0; 4], [127, 0, 0, 1], HOST, SUBNET_BROADCAST] {
            p.send(syn().tweak(|t| t.src = Some(src.into())));
            let port = p.flow.port;
            p.flow.port = HOST_PORT;
            p.send(syn().tweak(|t| t.src = Some(src.into())));
            p.expect_no_answer();
            p.flow.port = port;
            p.expect_no_answer();
        }
        assert_eq!(p.count("SYN-RECEIVED"), 0);
    });
}
