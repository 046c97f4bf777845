//! The same segment in every state: what is unacceptable is answered by an ACK and moves nothing (RFC 9293 §3.10.7.4,
//! RFC 5961).

use super::peer::*;
use super::segment::*;
use super::target::*;

/// Where a connection stands, in relative numbers.
#[derive(Clone, Copy)]
struct Place {
    state: &'static str,
    rcv_nxt: u32,
    snd_nxt: u32,
}

impl Place {
    fn fin_came(&self) -> bool {
        ["CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT"].contains(&self.state)
    }

    /// `<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>`
    fn answer(&self) -> Seg {
        seg(A).seq(self.snd_nxt).ack(self.rcv_nxt).text(b"")
    }
}

/// Plays on a connection in each of these states, which it must not leave.
fn in_states(states: &[&'static str], play: impl Fn(&mut Peer, Place) + Sync) {
    everywhere(|p| {
        for (at, state) in states.iter().enumerate() {
            p.on_port(48_000 + at as u16, |p| {
                p.note(state);
                p.enter(state);
                let place = Place { state, rcv_nxt: p.flow.snd_nxt, snd_nxt: p.flow.rcv_nxt };
                play(p, place);
                p.expect_state(state);
            });
        }
    });
}

const WITH_TIME_WAIT: [&str; 7] =
    ["ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT"];
/// Those that still receive.
const RECEIVING: [&str; 3] = ["ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2"];

#[test]
fn an_ack_from_before_the_window_is_answered_in_every_state() {
    covers!("9293-ACCEPT4", "9293-TW-OTHER");
    in_states(&WITH_TIME_WAIT, |p, place| {
        p.send(seg(A).seq(place.rcv_nxt - 1).ack(place.snd_nxt));
        if place.state == "FIN-WAIT-1" || place.state == "CLOSING" || place.state == "LAST-ACK" {
            // Unacceptable, so what it acknowledges is not looked at.
            p.note("its ACK of our FIN does not count");
        }
        p.expect(place.answer());
    });
}

#[test]
fn text_from_before_the_window_is_answered_in_every_state() {
    covers!("9293-ACCEPT4", "9293-TW-OTHER");
    in_states(&WITH_TIME_WAIT, |p, place| {
        p.send(seg(A | P).seq(place.rcv_nxt.wrapping_sub(10)).ack(1).text(b"old"));
        p.expect(place.answer());
    });
}

#[test]
fn text_from_beyond_the_window_is_answered_in_every_state() {
    covers!("9293-ACCEPT4", "9293-TW-OTHER");
    in_states(&WITH_TIME_WAIT, |p, place| {
        for seq in [place.rcv_nxt + 70_000, 0x8000_0000] {
            p.send(data(seq, b"far").ack(1));
            p.expect(place.answer());
            p.flow.snd_nxt = place.rcv_nxt;
        }
    });
}

#[test]
fn a_fin_from_beyond_the_window_is_answered_in_every_state() {
    covers!("9293-ACCEPT4", "9293-FINDATA");
    in_states(&WITH_TIME_WAIT, |p, place| {
        p.send(fin(place.rcv_nxt + 70_000).ack(1));
        p.expect(place.answer());
    });
}

#[test]
fn an_ack_of_what_was_never_sent_is_answered_in_every_state() {
    covers!("9293-ACK-FUTURE", "5961-5.2");
    in_states(&SYNCHRONIZED, |p, place| {
        for ahead in [1, 1_000, 0x7000_0000] {
            p.send(seg(A).seq(place.rcv_nxt).ack(place.snd_nxt + ahead));
            p.expect(place.answer());
        }
    });
}

#[test]
fn an_ack_that_is_far_too_old_is_answered_in_every_state() {
    covers!("5961-5.2");
    in_states(&SYNCHRONIZED, |p, place| {
        for behind in [70_000, 0x7000_0000] {
            p.send(seg(A).seq(place.rcv_nxt).ack(place.snd_nxt.wrapping_sub(behind)));
            p.expect(place.answer());
        }
    });
}

#[test]
fn the_text_of_a_forged_ack_is_not_read_in_any_state() {
    covers!("5961-5.2", "9293-ACK-FUTURE");
    in_states(&RECEIVING, |p, place| {
        p.send(data(place.rcv_nxt, b"forged").ack(place.snd_nxt + 1));
        p.expect(place.answer());
        p.send(data(place.rcv_nxt, b"forged").ack(place.snd_nxt.wrapping_sub(70_000)));
        p.expect(place.answer());
        assert_eq!(p.app_read(), Read::Nothing);
    });
}

#[test]
fn the_fin_of_a_forged_ack_does_not_count_in_any_state() {
    covers!("5961-5.2", "9293-FINDATA");
    in_states(&RECEIVING, |p, place| {
        p.send(fin(place.rcv_nxt).ack(place.snd_nxt + 1));
        p.expect(place.answer());
    });
}

#[test]
fn the_fin_again_is_acknowledged_in_every_state_after_it() {
    covers!("9293-FINDATA", "9293-TW-FIN");
    in_states(&["CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT"], |p, place| {
        for _ in 0..3 {
            p.send(fin(place.rcv_nxt - 1).ack(1));
            p.expect(place.answer());
        }
    });
}

#[test]
fn nothing_is_read_after_the_fin_in_any_state() {
    covers!("9293-FINDATA");
    in_states(&["CLOSE-WAIT", "CLOSING", "LAST-ACK"], |p, place| {
        for segment in [data(place.rcv_nxt, b"more"), fin(place.rcv_nxt), seg(A | U).seq(place.rcv_nxt).text(b"u")] {
            p.send(segment.ack(1));
            let answers = p.pass(millis(60));
            let is_ack = |got: &Got| (got.flags & !F, got.ack) == (A, place.rcv_nxt) && got.text.is_empty();
            assert!(answers.iter().all(is_ack), "{answers:?}");
            p.flow.snd_nxt = place.rcv_nxt;
        }
        assert!([Read::End, Read::Nothing].contains(&p.app_read()));
    });
}

#[test]
fn an_urgent_pointer_moves_nothing_in_any_state() {
    covers!("9293-MUST-30");
    in_states(&SYNCHRONIZED, |p, place| {
        for pointer in [0, 1, 0xffff] {
            p.send(seg(A | U).seq(place.rcv_nxt).ack(1).urgent(pointer));
        }
        p.expect_no_answer();
    });
}

#[test]
fn the_syn_ack_of_old_is_answered_in_every_state() {
    covers!("5961-4.2");
    in_states(&SYNCHRONIZED, |p, place| {
        p.send(seg(S | A).seq(0).ack(1));
        p.expect(place.answer());
        p.flow.snd_nxt = place.rcv_nxt;
    });
}

#[test]
fn an_ack_that_says_nothing_new_is_not_answered_in_any_state() {
    covers!("ACK-LOOP");
    in_states(&WITH_TIME_WAIT, |p, place| {
        let last = if ["FIN-WAIT-1", "CLOSING", "LAST-ACK"].contains(&place.state) { 1 } else { place.snd_nxt };
        for _ in 0..2 {
            p.send(seg(A).seq(place.rcv_nxt).ack(last));
        }
        p.expect_no_answer();
    });
}

#[test]
fn what_a_reset_acknowledges_is_not_asked_in_any_state() {
    covers!("5961-3.2-EXACT", "9293-RST-STATES");
    everywhere(|p| {
        for (at, state) in SYNCHRONIZED.into_iter().enumerate() {
            p.on_port(48_100 + at as u16, |p| {
                p.enter(state);
                let rcv_nxt = p.flow.snd_nxt;
                p.send(seg(R | A).seq(rcv_nxt).ack(0x4000_0000));
                p.expect_no_answer();
                assert_eq!(p.count(state), 0, "{state}");
            });
        }
    });
}

#[test]
fn a_reset_in_the_window_is_challenged_with_and_without_ack_in_any_state() {
    covers!("5961-3.2-IN", "9293-RST-STATES");
    in_states(&SYNCHRONIZED, |p, place| {
        for segment in [rst(place.rcv_nxt + 1), seg(R | A).seq(place.rcv_nxt + 100).ack(1), rst(place.rcv_nxt + 60_000)]
        {
            p.send(segment);
            p.expect(place.answer());
        }
    });
}

#[test]
fn after_every_challenge_the_real_peer_can_still_close() {
    covers!("5961-4.2", "5961-3.2-IN", "9293-SIMCLOSE");
    everywhere(|p| {
        for (at, state) in SYNCHRONIZED.into_iter().enumerate() {
            p.on_port(48_200 + at as u16, |p| {
                p.enter(state);
                let place = Place { state, rcv_nxt: p.flow.snd_nxt, snd_nxt: p.flow.rcv_nxt };
                for segment in [rst(place.rcv_nxt + 7), seg(S).seq(place.rcv_nxt + 9), seg(A).seq(0x7000_0000).ack(1)] {
                    p.send(segment);
                    p.expect(place.answer());
                    p.flow.snd_nxt = place.rcv_nxt;
                }
                // The rest of an orderly end, whatever is still missing.
                p.send(ack(place.snd_nxt).seq(place.rcv_nxt));
                let mut end = place.rcv_nxt;
                if !place.fin_came() {
                    p.send(fin(place.rcv_nxt).ack(place.snd_nxt));
                    end += 1;
                    p.expect(seg(A).ack(end));
                }
                if ["ESTABLISHED", "CLOSE-WAIT"].contains(&state) {
                    p.app_close();
                    p.expect(fin(place.snd_nxt).ack(end));
                    p.send(ack(place.snd_nxt + 1).seq(end));
                }
                p.expect_no_answer();
            });
        }
        let ended = ["FIN-WAIT-1", "FIN-WAIT-2", "CLOSING", "LAST-ACK", "CLOSE-WAIT", "ESTABLISHED"];
        assert_eq!(ended.map(|state| p.count(state)), [0; 6]);
        // ESTABLISHED and CLOSE-WAIT were closed by the peer first.
        assert_eq!(p.count("TIME-WAIT"), 3);
    });
}

/// A peer that has started anew has agreed on nothing: what it learns from the answer makes it reset what was before.
#[test]
fn a_syn_without_the_timestamps_of_old_is_challenged() {
    covers!("5961-4.2", "7323-3.2-MISS");
    everywhere(|p| {
        for (at, state) in ["ESTABLISHED", "FIN-WAIT-2", "CLOSE-WAIT"].into_iter().enumerate() {
            p.on_port(48_200 + at as u16, |p| {
                p.note(state);
                p.accept_with_timestamps();
                match state {
                    "FIN-WAIT-2" => {
                        p.app_shutdown();
                        p.expect(fin(1));
                        p.send(ack(2));
                    }
                    "CLOSE-WAIT" => p.peer_closes(),
                    _ => {}
                }
                let (rcv_nxt, snd_nxt) = (p.flow.snd_nxt, p.flow.rcv_nxt);
                for seq in [0x4000_0000, rcv_nxt, rcv_nxt + 100] {
                    p.send(seg(S).seq(seq).mss(1_460));
                    p.expect(seg(A).seq(snd_nxt).ack(rcv_nxt));
                    p.flow.snd_nxt = rcv_nxt;
                }
                p.expect_state(state);
            });
        }
    });
}
