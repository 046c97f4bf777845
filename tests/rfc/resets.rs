//! Resets: which are sent, and which are believed (RFC 9293 §3.10.7.1, RFC 5961 §3).

use super::peer::*;
use super::segment::*;
use super::target::*;

const CLOSED_PORT: u16 = 9;

#[test]
fn a_closed_port_answers_by_a_reset_that_is_believed() {
    covers!("9293-CLOSED-RST", "9293-SYNSENT-NOFIN");
    everywhere(|p| {
        let isn = p.flow.isn;
        let rows = [
            (seg(S).seq(100), 101, "a SYN counts for one"),
            (seg(S).seq(100).text(b"0123456789"), 111, "and so does its text"),
            (seg(F).seq(100), 101, "a FIN counts for one"),
            (seg(0).seq(100), 100, "nothing counts for nothing"),
            (seg(P).seq(100).text(b"text"), 104, "text without ACK"),
            (seg(S | F).seq(100), 102, "both count"),
        ];
        for (segment, ack, why) in rows {
            p.note(why);
            p.send_to_port(CLOSED_PORT, segment);
            p.expect(seg(R | A).abs_seq(0).abs_ack(isn.wrapping_add(ack)).text(b""));
        }
        for flags in [A, A | F, A | S, A | P] {
            p.send_to_port(CLOSED_PORT, seg(flags).seq(100).abs_ack(500));
            p.expect(seg(R).abs_seq(500));
        }
        for flags in [R, R | A, R | S, R | F | A] {
            p.send_to_port(CLOSED_PORT, seg(flags).seq(100).abs_ack(500));
            p.expect_no_answer();
        }
    });
}

#[test]
fn a_reset_outside_the_window_is_dropped_in_silence() {
    covers!("5961-3.2-OUT");
    everywhere(|p| {
        p.accept();
        p.send(data(1, b"x"));
        let got = p.expect(ack(2));
        let edge = 2 + u32::from(got.wnd);
        for seq in [1, 0, 0x8000_0001, edge, edge + 1, edge + 70_000] {
            p.send(rst(seq));
            if seq == edge && p.on_linux("a RST just beyond the window's right edge is taken for one in it: challenged")
            {
                p.expect(ack(2));
            }
            p.expect_no_answer();
            p.expect_state("ESTABLISHED");
        }
        p.send(data(2, b"alive"));
        p.expect(ack(7).seq(1));
    });
}

#[test]
fn a_reset_at_rcv_nxt_resets() {
    covers!("5961-3.2-EXACT", "9293-SHLD-2");
    everywhere(|p| {
        for (at, segment) in
            [rst(1), seg(R | A).seq(1).ack(1), rst(1).text(b"why it was reset"), seg(R | F | A).seq(1).ack(1)]
                .into_iter()
                .enumerate()
        {
            p.on_port(40_300 + at as u16, |p| {
                p.accept();
                p.send(segment);
                p.expect_no_answer();
                assert_eq!(p.count("ESTABLISHED"), 0);
                assert_eq!(p.app_read(), Read::Fault(Fault::Reset));
                p.send(ack(1).seq(1));
                p.expect(seg(R).seq(1));
            });
        }
    });
}

#[test]
fn a_reset_elsewhere_in_the_window_is_challenged() {
    covers!("5961-3.2-IN", "9293-SHLD-2");
    everywhere(|p| {
        p.accept();
        p.send(data(1, b"x"));
        let edge = 2 + u32::from(p.expect(ack(2)).wnd);
        for segment in [rst(3), rst(1_000), rst(edge - 1), rst(3).text(b"text"), seg(R | A).seq(3).ack(1)] {
            p.send(segment);
            p.expect(ack(2).seq(1).text(b""));
        }
        p.expect_state("ESTABLISHED");
    });
}

#[test]
fn resets_are_judged_alike_in_every_state() {
    covers!("9293-RST-STATES", "5961-3.2-OUT", "5961-3.2-EXACT", "5961-3.2-IN");
    everywhere(|p| {
        for (at, state) in SYNCHRONIZED.into_iter().chain(["SYN-RECEIVED"]).enumerate() {
            p.on_port(40_400 + at as u16, |p| {
                p.note(state);
                p.enter(state);
                let (rcv_nxt, snd_nxt) = (p.flow.snd_nxt, p.flow.rcv_nxt);
                let fin_came = ["CLOSE-WAIT", "CLOSING", "LAST-ACK"].contains(&state);
                if !(fin_came && p.on_linux("after a FIN a RST at RCV.NXT - 1 is believed, for the sake of some peers"))
                {
                    p.send(rst(rcv_nxt.wrapping_sub(1)));
                }
                p.send(rst(rcv_nxt + 1_000_000));
                p.expect_no_answer();
                p.expect_state(state);
                p.send(rst(rcv_nxt + 1));
                p.expect(seg(A).seq(snd_nxt).ack(rcv_nxt));
                p.expect_state(state);
                p.send(rst(rcv_nxt));
                p.expect_no_answer();
                assert_eq!(p.count(state), 0, "{state}");
            });
        }
    });
}

#[test]
fn a_reset_is_not_judged_by_its_timestamp() {
    covers!("7323-RST-PAWS");
    everywhere(|p| {
        p.accept_with_timestamps();
        p.send(rst(1).ts(TS_BASE - 100_000, 0));
        p.expect_no_answer();
        assert_eq!(p.app_read(), Read::Fault(Fault::Reset));
    });
}

#[test]
fn a_reset_without_the_agreed_timestamps_is_believed() {
    covers!("7323-RST-PAWS", "7323-3.2-MISS");
    everywhere(|p| {
        p.accept_with_timestamps();
        p.send(rst(1).bare());
        p.expect_no_answer();
        assert_eq!(p.app_read(), Read::Fault(Fault::Reset));
    });
}

#[test]
fn a_reset_at_the_edge_of_a_sack_block_is_challenged() {
    covers!("5961-SACK-RST");
    everywhere(|p| {
        p.accept_with_timestamps();
        p.send(data(101, &[b'x'; 100]));
        let got = p.expect(ack(1));
        assert_eq!(got.sack, [(101, 201)]);
        p.send(rst(201));
        if p.on_linux("a RST at the right edge of the last SACK block is believed") {
            p.expect_no_answer();
            assert_eq!(p.count("ESTABLISHED"), 0);
        } else {
            p.expect(ack(1).seq(1));
            p.expect_state("ESTABLISHED");
        }
    });
}

#[test]
fn resets_for_strangers_are_limited() {
    covers!("9293-RST-RATE", "LIM-1");
    let setup = |s: &mut super::in_memory::Setup| s.limits.replies_per_second = 100;
    handfast_with("it sets the limit", setup, |p| {
        p.on_port(60_000, |p| p.accept());
        let mut resets = 0;
        for at in 0..1_000 {
            p.send_to_port(CLOSED_PORT, seg(S).seq(at));
            if at % 100 == 99 {
                // No more on the way than the wire takes.
                resets += p.pass(p.at_once()).len();
            }
        }
        assert!((1..=200).contains(&resets), "{resets}");
        assert_eq!(p.dropped("reply_limited"), Some(1_000 - resets as u64));
    });
}

#[test]
fn a_storm_of_resets_elsewhere_does_not_change_what_a_connection_challenges() {
    covers!("9293-RST-RATE", "5961-7");
    everywhere(|p| {
        // The side channel of a shared budget: exhaust it on one connection, measure on another.
        p.accept();
        p.on_port(40_500, |p| {
            p.accept();
            for _ in 0..500 {
                p.send(rst(100));
            }
            p.pass(millis(50));
        });
        p.send(rst(100));
        p.expect(ack(1).seq(1));
    });
}
