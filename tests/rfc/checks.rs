//! What every segment is checked for: sequence, SYN, ACK, checksum, timestamps (RFC 9293 §3.10.7.4, RFC 5961, RFC 7323).

use super::peer::*;
use super::segment::*;
use super::target::*;

#[test]
fn the_four_cases_of_acceptability() {
    covers!("9293-ACCEPT4");
    everywhere(|p| {
        p.accept();
        p.send(data(1, b"0123456789"));
        let wnd = u32::from(p.expect(ack(11)).wnd);
        let edge = 11 + wnd;
        let far = edge + 100_000;
        p.note("length 0, window open: in the window or not");
        for (seq, accepted) in [(10, false), (11, true), (edge - 1, true), (far, false), (0x8000_0000, false)] {
            p.send(seg(A).seq(seq).ack(1));
            if accepted { p.expect_no_answer() } else { drop(p.expect(ack(11).seq(1))) }
        }
        p.note("length > 0, window open: the first or the last octet in it");
        for seq in [1, far] {
            p.send(data(seq, b"0123456789").ack(1));
            p.expect(ack(11).seq(1));
        }
        p.send(data(10, b"9a").ack(1));
        p.expect(ack(12).seq(1));
        assert_eq!(p.app_read(), Read::Data(b"0123456789a".to_vec()));
    });
}

#[test]
fn text_beyond_the_window_is_cut_off() {
    covers!("9293-ACCEPT4");
    everywhere(|p| {
        p.accept();
        p.send(data(1, b"x"));
        let edge = 2 + u32::from(p.expect(ack(2)).wnd);
        p.send(data(edge - 5, b"0123456789").ack(1));
        let got = p.expect(ack(2));
        assert!(got.text.is_empty());
        p.expect_state("ESTABLISHED");
    });
}

#[test]
fn a_closed_window_takes_no_text_but_acks_and_resets() {
    covers!("9293-ACCEPT4", "9293-MUST-66");
    everywhere(|p| {
        p.accept();
        p.app_write(b"to be acknowledged");
        p.expect(data(1, b"to be acknowledged"));
        let nxt = p.fill_window();
        p.note("a window probe whose ACK is news");
        p.send(data(nxt, b"p").ack(19));
        p.expect(seg(A).ack(nxt).wnd(0));
        p.flow.snd_nxt = nxt;
        p.expect_silence(secs(3));
        p.send(rst(nxt));
        p.expect_no_answer();
        assert_eq!(p.count("ESTABLISHED"), 0);
    });
}

#[test]
fn a_closed_window_answers_probes_from_outside_it() {
    covers!("9293-ACCEPT4");
    everywhere(|p| {
        p.accept();
        let nxt = p.fill_window();
        for seq in [nxt - 1, nxt] {
            p.send(seg(A).seq(seq).text(b"p"));
            p.expect(seg(A).ack(nxt).wnd(0));
        }
        p.send(seg(A).seq(nxt - 1));
        p.expect(seg(A).ack(nxt).wnd(0));
    });
}

#[test]
fn a_syn_in_a_synchronized_state_is_challenged() {
    covers!("5961-4.2");
    everywhere(|p| {
        for (at, state) in SYNCHRONIZED.into_iter().enumerate() {
            p.on_port(41_000 + at as u16, |p| {
                p.note(state);
                p.enter(state);
                let (rcv_nxt, snd_nxt) = (p.flow.snd_nxt, p.flow.rcv_nxt);
                for seq in [0, rcv_nxt, rcv_nxt + 1, rcv_nxt + 1_000_000, 0x8000_0000] {
                    p.send(seg(S).seq(seq).mss(1460));
                    p.expect(seg(A).seq(snd_nxt).ack(rcv_nxt));
                    p.flow.snd_nxt = rcv_nxt;
                }
                p.send(seg(S | A).seq(rcv_nxt).ack(snd_nxt));
                p.expect(seg(A).seq(snd_nxt).ack(rcv_nxt));
                p.flow.snd_nxt = rcv_nxt;
                p.expect_state(state);
                p.send(rst(rcv_nxt));
                p.expect_no_answer();
            });
        }
    });
}

#[test]
fn the_same_syn_gets_the_syn_ack_again() {
    covers!("9293-SYNRCVD-SYN");
    everywhere(|p| {
        p.send(syn());
        let first = p.expect(syn_ack().ack(1)).wire.seq;
        for _ in 0..2 {
            p.send(syn());
            assert_eq!(p.expect(syn_ack().ack(1)).wire.seq, first, "the same ISN");
            p.pass(millis(20));
        }
        p.send(ack(1));
        p.expect_no_answer();
        p.expect_state("ESTABLISHED");
    });
}

#[test]
fn a_new_syn_replaces_a_half_open_entry() {
    covers!("9293-SYNRCVD-SYN");
    everywhere(|p| {
        p.enter("SYN-RECEIVED");
        p.flow = Flow::new(PEER_PORT, p.flow.isn.wrapping_add(10_000));
        p.send(syn());
        if p.on_linux("a SYN in the window of a half-open entry resets it: the peer has to try once more") {
            assert_eq!(p.next(SOON).expect("an answer").flags & R, R);
            return;
        }
        p.expect(syn_ack().ack(1));
        p.send(ack(1));
        p.expect_no_answer();
        p.expect_state("ESTABLISHED");
        assert_eq!(p.count("SYN-RECEIVED"), 0);
    });
}

#[test]
fn an_old_syn_does_not_end_a_handshake() {
    covers!("9293-SYNRCVD-SYN");
    everywhere(|p| {
        p.enter("SYN-RECEIVED");
        let old = Flow::new(PEER_PORT, p.flow.isn.wrapping_sub(100_000));
        let flow = std::mem::replace(&mut p.flow, old);
        p.send(syn());
        p.flow = flow;
        p.expect(ack(1).seq(1));
        p.send(ack(1));
        p.expect_no_answer();
        p.expect_state("ESTABLISHED");
    });
}

#[test]
fn the_syn_again_after_the_handshake_is_answered_by_an_ack() {
    covers!("5961-4.2");
    everywhere(|p| {
        p.accept();
        p.send(syn());
        p.expect(ack(1).seq(1));
        p.expect_state("ESTABLISHED");
    });
}

#[test]
fn a_wrong_ack_in_syn_received_is_reset() {
    covers!("9293-ACK-FUTURE", "4987-COOKIE-VERIFY");
    everywhere(|p| {
        p.enter("SYN-RECEIVED");
        for wrong in [0, 2, 1_000, 0x9000_0000] {
            p.send(seg(A).seq(1).ack(wrong));
            p.expect(seg(R).seq(wrong));
        }
        p.expect_state("SYN-RECEIVED");
        p.send(ack(1).seq(1));
        p.expect_no_answer();
        p.expect_state("ESTABLISHED");
    });
}

#[test]
fn an_ack_of_what_was_never_sent_is_answered_and_its_text_dropped() {
    covers!("9293-ACK-FUTURE", "5961-5.2");
    everywhere(|p| {
        p.accept();
        for number in [2, 1_000, 0x7fff_0000] {
            p.send(data(1, b"forged").ack(number));
            p.expect(ack(1).seq(1));
            p.send(seg(A).seq(1).ack(number));
            p.expect(ack(1).seq(1));
        }
        assert_eq!(p.app_read(), Read::Nothing);
    });
}

#[test]
fn an_ack_far_too_old_is_answered_and_its_text_dropped() {
    covers!("5961-5.2");
    everywhere(|p| {
        p.accept();
        for number in [0x9000_0000, 1u32.wrapping_sub(70_000)] {
            p.send(data(1, b"forged").ack(number));
            p.expect(ack(1).seq(1));
        }
        assert_eq!(p.app_read(), Read::Nothing);
        p.expect_state("ESTABLISHED");
    });
}

#[test]
fn an_ack_old_but_within_the_window_is_fine() {
    covers!("5961-5.2");
    everywhere(|p| {
        p.accept();
        p.app_write(b"0123456789");
        p.expect(data(1, b"0123456789"));
        p.send(ack(11));
        p.send(data(1, b"late").ack(1));
        p.expect(ack(5).seq(11));
        assert_eq!(p.app_read(), Read::Data(b"late".to_vec()));
    });
}

#[test]
fn a_segment_without_ack_is_dropped() {
    covers!("9293-NOACK");
    everywhere(|p| {
        for (at, state) in SYNCHRONIZED.into_iter().chain(["SYN-RECEIVED"]).enumerate() {
            p.on_port(41_100 + at as u16, |p| {
                p.enter(state);
                let rcv_nxt = p.flow.snd_nxt;
                for segment in [seg(0), seg(P).text(b"text"), seg(F), seg(F | P).text(b"text"), seg(U)] {
                    p.send(segment.seq(rcv_nxt));
                    p.expect_no_answer();
                    p.expect_state(state);
                }
                if state == "ESTABLISHED" {
                    assert_eq!(p.app_read(), Read::Nothing);
                }
                p.send(rst(rcv_nxt));
                p.expect_no_answer();
            });
        }
    });
}

#[test]
fn challenges_are_limited_for_each_connection() {
    covers!("5961-7");
    handfast_only("the kernel's limit is turned off here, so that tables of edges can be tried", |p| {
        p.accept();
        for _ in 0..10_000 {
            p.send(rst(100));
        }
        let challenges = p.pass(p.at_once()).len();
        assert!((1..=20).contains(&challenges), "{challenges}");
        if p.target.is_real_time() {
            return;
        }
        p.pass(secs(6));
        p.send(rst(100));
        p.expect(ack(1));
    });
}

#[test]
fn acks_that_are_reflected_die_out() {
    covers!("ACK-LOOP");
    handfast_only("the kernel's limit is turned off here", |p| {
        p.accept();
        // A peer out of step: what it sends is unacceptable, and it answers each ACK by another of the kind.
        let mut answers = 0;
        for _ in 0..1_000 {
            p.send(seg(A).seq(0x7000_0000).ack(1));
            answers += p.pass(millis(1)).len();
        }
        assert!(answers <= 20, "{answers}");
    });
}

#[test]
fn only_a_newer_segment_moves_the_send_window() {
    covers!("9293-WL1WL2");
    everywhere(|p| {
        p.accept_with(syn().wscale(0));
        p.send(data(1, b"first").ack(1));
        p.expect(ack(6));
        p.send(data(6, b"newer").ack(1).wnd(10));
        p.expect(ack(11));
        p.note("text that began before offers more");
        p.send(data(1, b"firstnewerest").ack(1).wnd(60_000));
        p.expect(ack(14));
        p.app_write(&[b'x'; 100]);
        let got = p.next(secs(2)).expect("as much as the window takes");
        assert!(got.text.len() <= 10, "{}", got.text.len());
    });
}

#[test]
fn a_bad_checksum_is_dropped_in_silence_and_counted() {
    covers!("9293-MUST-2");
    everywhere(|p| {
        p.send(syn().tweak(|t| t.bad_tcp_checksum = true));
        p.expect_no_answer();
        p.flow.snd_nxt = 0;
        p.accept();
        p.send(data(1, b"broken").tweak(|t| t.bad_tcp_checksum = true));
        p.expect_no_answer();
        p.send(rst(1).tweak(|t| t.bad_tcp_checksum = true));
        p.expect_no_answer();
        p.expect_state("ESTABLISHED");
        assert_eq!(p.app_read(), Read::Nothing);
        assert!(p.dropped("tcp_checksum").is_none_or(|count| count == 3));
        // What the host sends is checked with every frame that is read.
    });
}
