//! Explicit congestion notification (RFC 3168 §6.1).

use super::peer::*;
use super::segment::*;
use super::target::*;

const MSS: u32 = 1_460;
const ECT0: u8 = 2;
const CE: u8 = 3;

/// The host accepts a connection whose peer asks for ECN; gives its SYN-ACK.
fn accept_with_ecn(p: &mut Peer) -> Got {
    p.send(seg(S | E | C).seq(0).mss(1_460));
    let got = p.expect(seg(S | A | E).ack(1));
    p.send(ack(1));
    p.sock = p.target.accept();
    got
}

/// The host asks for ECN itself.
fn asking(scenario: impl Fn(&mut Peer) + Sync) {
    let setup = |s: &mut super::in_memory::Setup| (s.listen, s.tcp.ecn_request) = (false, true);
    stage().handfast_only("the kernel is not told to ask for it").with(setup).play(scenario);
}

#[test]
fn ecn_is_agreed_on_when_the_peer_asks() {
    covers!("9293-SHLD-8");
    everywhere(|p| {
        let got = accept_with_ecn(p);
        assert_eq!(got.ip.ecn, 0, "not on a SYN-ACK");
        p.app_write(b"marked");
        let got = p.expect(data(1, b"marked"));
        assert_eq!(got.ip.ecn, ECT0);
        p.send(data(1, b"x").ack(7).tweak(|t| t.ecn = ECT0));
        let got = p.expect(ack(2));
        assert_eq!(got.ip.ecn, 0, "not on an ACK alone");
    });
}

#[test]
fn without_being_asked_there_is_no_ecn() {
    covers!("9293-SHLD-8");
    everywhere(|p| {
        p.accept();
        p.app_write(b"plain");
        assert_eq!(p.expect(data(1, b"plain")).ip.ecn, 0);
    });
}

/// No sender marks its acknowledgements as capable; a path that marks everything would have both ends answer for ever.
#[test]
fn a_mark_on_a_pure_acknowledgement_is_not_answered() {
    covers!("9293-SHLD-8", "ACK-LOOP");
    everywhere(|p| {
        accept_with_ecn(p);
        for _ in 0..3 {
            p.send(ack(1).tweak(|t| t.ecn = CE));
        }
        p.expect_no_answer();
        p.app_write(b"not marked");
        assert_eq!(p.next(secs(1)).expect("the text").flags & E, 0);
    });
}

#[test]
fn a_mark_is_echoed_until_the_peer_has_reduced() {
    covers!("9293-SHLD-8");
    everywhere(|p| {
        accept_with_ecn(p);
        p.send(data(1, b"0123456789").tweak(|t| t.ecn = CE));
        assert_eq!(p.next(secs(1)).expect("an ACK").flags & E, E);
        p.send(data(11, b"0123456789").tweak(|t| t.ecn = ECT0));
        assert_eq!(p.next(secs(1)).expect("an ACK").flags & E, E);
        p.send(seg(A | P | C).seq(21).text(b"0123456789").tweak(|t| t.ecn = ECT0));
        assert_eq!(p.next(secs(1)).expect("an ACK").flags & E, 0);
    });
}

#[test]
fn an_echoed_mark_makes_the_window_smaller_once_and_is_answered() {
    covers!("9293-SHLD-8");
    everywhere(|p| {
        accept_with_ecn(p);
        p.app_write(&[b'x'; 60_000]);
        assert_eq!(p.flight().len(), 10);
        for at in 1..=10 {
            p.send(seg(A | E).seq(1).ack(1 + at * MSS));
        }
        let next = p.pass(millis(20));
        assert!((1..=9).contains(&next.len()), "{} after ten", next.len());
        assert_eq!(next[0].flags & C, C, "CWR on the first new segment");
        assert!(next[1..].iter().all(|got| got.flags & C == 0), "and on no other");
    });
}

#[test]
fn a_retransmission_carries_no_ecn_mark() {
    covers!("9293-SHLD-8");
    everywhere(|p| {
        accept_with_ecn(p);
        p.app_write(b"lost");
        assert_eq!(p.expect(data(1, b"lost")).ip.ecn, ECT0);
        assert_eq!(p.expect_within(secs(4), data(1, b"lost")).ip.ecn, 0);
    });
}

#[test]
fn one_bit_alone_on_a_syn_does_not_ask() {
    covers!("9293-SHLD-8");
    everywhere(|p| {
        for (at, flags) in [S | E, S | C].into_iter().enumerate() {
            p.on_port(46_000 + at as u16, |p| {
                p.send(seg(flags).seq(0).mss(1_460));
                p.expect(seg(S | A).ack(1));
                p.send(ack(1));
                p.sock = p.target.accept();
                p.app_write(b"plain");
                assert_eq!(p.expect(data(1, b"plain")).ip.ecn, 0);
            });
        }
    });
}

#[test]
fn a_mark_where_nothing_was_agreed_on_is_not_echoed() {
    covers!("9293-SHLD-8");
    everywhere(|p| {
        p.accept();
        p.send(data(1, b"0123456789").tweak(|t| t.ecn = CE));
        p.expect(ack(11));
    });
}

#[test]
fn a_mark_on_the_segment_that_says_reduced_is_a_new_one() {
    covers!("9293-SHLD-8");
    everywhere(|p| {
        accept_with_ecn(p);
        p.send(data(1, b"0123456789").tweak(|t| t.ecn = CE));
        assert_eq!(p.next(secs(1)).expect("an ACK").flags & E, E);
        p.send(seg(A | P | C).seq(11).text(b"0123456789").tweak(|t| t.ecn = CE));
        assert_eq!(p.next(secs(1)).expect("an ACK").flags & E, E, "RFC 3168 §6.1.3");
        p.send(seg(A | P | C).seq(21).text(b"0123456789").tweak(|t| t.ecn = ECT0));
        assert_eq!(p.next(secs(1)).expect("an ACK").flags & E, 0);
    });
}

#[test]
fn a_probe_of_a_closed_window_carries_no_mark() {
    covers!("9293-SHLD-8", "9293-MUST-35");
    everywhere(|p| {
        accept_with_ecn(p);
        p.send(data(1, b"x").wnd(0));
        p.expect(ack(2));
        p.app_write(b"waits for a window");
        let probe = p.next(secs(4)).expect("a probe");
        assert_eq!(probe.ip.ecn, 0, "RFC 3168 §6.1.6");
    });
}

#[test]
fn a_fin_alone_and_a_reset_carry_no_mark() {
    covers!("9293-SHLD-8");
    everywhere(|p| {
        accept_with_ecn(p);
        p.app_abort();
        let got = p.next(secs(1)).expect("a RST");
        assert_eq!((got.flags & R, got.ip.ecn), (R, 0));
        p.on_port(46_100, |p| {
            accept_with_ecn(p);
            p.app_close();
            assert_eq!(p.expect(fin(1).ack(1)).ip.ecn, 0);
        });
    });
}

#[test]
fn we_ask_for_ecn_when_told_to_and_use_it_when_it_is_accepted() {
    covers!("9293-SHLD-8");
    asking(|p| {
        p.sock = Some(p.connect_to(PEER_PORT).unwrap());
        let got = p.expect(seg(S | E | C).seq(0));
        assert_eq!(got.ip.ecn, 0, "not on a SYN");
        p.send(seg(S | A | E).seq(0).ack(1).mss(1_460));
        let got = p.expect(ack(1));
        assert_eq!(got.ip.ecn, 0, "not on an ACK alone");
        p.app_write(b"marked");
        assert_eq!(p.expect(data(1, b"marked")).ip.ecn, ECT0);
        p.send(data(1, b"0123456789").ack(7).tweak(|t| t.ecn = CE));
        assert_eq!(p.next(secs(1)).expect("an ACK").flags & E, E);
    });
}

#[test]
fn a_syn_ack_that_does_not_accept_or_only_reflects_means_no_ecn() {
    covers!("9293-SHLD-8");
    for flags in [S | A, S | A | E | C, S | A | C] {
        asking(move |p| {
            p.sock = Some(p.connect_to(PEER_PORT).unwrap());
            p.expect(seg(S | E | C).seq(0));
            p.send(seg(flags).seq(0).ack(1).mss(1_460));
            p.expect(ack(1));
            p.app_write(b"plain");
            assert_eq!(p.expect(data(1, b"plain")).ip.ecn, 0);
            p.send(data(1, b"0123456789").ack(6).tweak(|t| t.ecn = CE));
            p.expect(ack(11));
        });
    }
}

#[test]
fn a_syn_that_was_lost_is_sent_again_without_asking() {
    covers!("9293-SHLD-8");
    asking(|p| {
        p.sock = Some(p.connect_to(PEER_PORT).unwrap());
        p.expect(seg(S | E | C).seq(0));
        p.expect_within(secs(2), seg(S).seq(0));
        p.send(seg(S | A | E).seq(0).ack(1).mss(1_460));
        p.expect(ack(1));
        p.app_write(b"plain");
        assert_eq!(p.expect(data(1, b"plain")).ip.ecn, 0, "RFC 3168 §6.1.1.1");
    });
}

#[test]
fn we_do_not_ask_unless_told_to() {
    covers!("9293-SHLD-8");
    everywhere_without_listener(|p| {
        let got = p.connect();
        assert_eq!(got.flags & (E | C), 0);
    });
}
