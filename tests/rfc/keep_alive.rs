//! Keep-alives: ours, and the peer's (RFC 9293 §3.8.4).

use super::peer::*;
use super::segment::*;
use super::target::*;

/// The host asks after two hours, in virtual time.
fn asking(scenario: impl Fn(&mut Peer) + Sync) {
    in_memory_with("it takes hours", |s| s.tcp.keep_alive = Some(secs(7_200)), scenario);
}

#[test]
fn keep_alives_are_off_unless_asked_for() {
    covers!("9293-MUST-24");
    in_memory_only("it takes a day", |p| {
        p.accept();
        p.expect_silence(secs(86_400));
        p.send(data(1, b"still there"));
        p.expect(ack(12));
    });
}

#[test]
fn keep_alives_carry_nothing_and_a_silent_peer_is_given_up() {
    covers!("9293-MUST-24");
    in_memory_with(
        "it takes hours",
        |s| s.tcp.keep_alive = Some(secs(7_200)),
        |p| {
            p.accept();
            p.expect_silence(secs(7_190));
            let got = p.next(secs(20)).expect("a question");
            assert_eq!((got.flags, got.seq, got.text.len()), (A, 0, 0), "before SND.NXT, so that it is answered");
            p.send(ack(1));
            p.note("an answer buys two hours more, and so does data");
            p.expect_silence(secs(7_000));
            p.send(data(1, b"alive"));
            p.expect(ack(6));
            p.expect_silence(secs(7_000));
            p.note("one question without an answer does not end it");
            p.next(secs(400)).expect("a question");
            p.expect_state("ESTABLISHED");
            p.pass(secs(7_200));
            assert_eq!(p.count("ESTABLISHED"), 0);
            assert_eq!(p.app_read(), Read::Fault(Fault::TimedOut));
        },
    );
}

#[test]
fn a_peer_that_asks_is_answered_in_every_state_that_it_can_be_alive_in() {
    covers!("9293-MUST-24");
    everywhere(|p| {
        for (at, state) in ["ESTABLISHED", "CLOSE-WAIT", "FIN-WAIT-2"].into_iter().enumerate() {
            p.on_port(47_000 + at as u16, |p| {
                p.enter(state);
                let (snd_nxt, rcv_nxt) = (p.flow.snd_nxt, p.flow.rcv_nxt);
                p.note("with nothing, and with the octet of garbage that older hosts send (RFC 1122 §4.2.3.6)");
                for text in [&b""[..], b"\0"] {
                    p.send(seg(A).seq(snd_nxt - 1).text(text));
                    p.flow.snd_nxt = snd_nxt;
                    let got = p.expect(ack(snd_nxt).seq(rcv_nxt));
                    assert!(got.text.is_empty());
                }
                p.expect_state(state);
                if state == "ESTABLISHED" {
                    assert_eq!(p.app_read(), Read::Nothing);
                }
                p.send(rst(snd_nxt));
                p.expect_no_answer();
            });
        }
    });
}

#[test]
fn a_peer_that_asks_every_second_is_answered_every_time() {
    covers!("9293-MUST-24");
    in_memory_only("it takes minutes", |p| {
        p.accept();
        for _ in 0..120 {
            p.send(seg(A).seq(0));
            p.expect(ack(1).seq(1));
            p.pass(secs(1));
        }
        p.expect_state("ESTABLISHED");
    });
}

#[test]
fn a_reset_in_answer_to_our_question_ends_the_connection() {
    covers!("9293-MUST-24");
    asking(|p| {
        p.accept();
        p.next(secs(7_300)).expect("a question");
        p.send(rst(1));
        p.expect_no_answer();
        assert_eq!(p.app_read(), Read::Fault(Fault::Reset));
    });
}

#[test]
fn nothing_is_asked_while_text_waits_for_its_acknowledgement() {
    covers!("9293-MUST-24");
    asking(|p| {
        p.accept();
        p.pass(secs(7_100));
        p.app_write(b"in flight");
        p.expect(data(1, b"in flight"));
        // Beyond the two hours, and before R2.
        let again = p.pass(secs(200));
        assert!(!again.is_empty() && again.iter().all(|got| got.text == b"in flight"), "{again:?}");
    });
}

#[test]
fn a_half_closed_connection_is_asked_after_as_well() {
    covers!("9293-MUST-24");
    asking(|p| {
        p.enter("CLOSE-WAIT");
        let got = p.next(secs(7_300)).expect("a question");
        assert_eq!((got.flags, got.seq, got.ack), (A, 0, 2));
        p.send(seg(A).seq(2).ack(1));
        p.expect_silence(secs(7_000));
        p.expect_state("CLOSE-WAIT");
    });
}
