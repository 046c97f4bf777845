//! Closing: FINs, half-close, abort, giving up (RFC 9293 §3.6, §3.8.3, §3.10.4, §3.10.5).

use super::peer::*;
use super::segment::*;
use super::target::*;

const TEXT: &[u8] = b"0123456789";

#[test]
fn the_fin_follows_the_last_octet() {
    covers!("9293-CLOSE-ACTIVE");
    everywhere(|p| {
        p.accept();
        p.app_write(&[b'x'; 3_000]);
        p.app_shutdown();
        let mut end = 1;
        let mut fins = 0;
        while fins == 0 {
            let got = p.next(secs(1)).expect("data, then a FIN");
            assert_eq!(got.seq, end, "in order");
            end += got.text.len() as u32;
            fins += u32::from(got.flags & F != 0);
        }
        assert_eq!(end, 3_001);
        p.expect_state("FIN-WAIT-1");
        p.send(ack(3_002));
        p.expect_silence(secs(3));
        p.expect_state("FIN-WAIT-2");
    });
}

#[test]
fn a_fin_is_sent_again_ever_more_slowly() {
    covers!("9293-CLOSE-ACTIVE", "9293-MUST-18");
    everywhere(|p| {
        p.accept();
        p.app_shutdown();
        let mut last = p.expect(fin(1).ack(1)).at;
        let mut gaps = vec![];
        for _ in 0..if p.target.is_real_time() { 2 } else { 5 } {
            let at = p.expect_within(secs(60), fin(1).ack(1)).at;
            gaps.push(at - last);
            last = at;
        }
        // The first may be a probe for the tail (RFC 8985 §7), the others double.
        for pair in gaps[1..].windows(2) {
            assert!(pair[1] > pair[0] * 18 / 10 && pair[1] < pair[0] * 23 / 10, "{gaps:?}");
        }
        p.send(ack(2));
        p.expect_silence(secs(3));
    });
}

#[test]
fn a_half_closed_connection_still_receives() {
    covers!("9293-FW1-FW2");
    everywhere(|p| {
        p.enter("FIN-WAIT-1");
        p.send(ack(2));
        p.expect_state("FIN-WAIT-2");
        p.send(data(1, TEXT));
        p.expect(ack(11).seq(2));
        p.send(data(11, TEXT));
        p.expect(ack(21).seq(2));
        assert_eq!(p.app_read(), Read::Data([TEXT, TEXT].concat()));
        assert_eq!(p.app_read(), Read::Nothing);
        p.send(fin(21));
        p.expect(ack(22).seq(2));
        assert_eq!(p.app_read(), Read::End);
        p.expect_state("TIME-WAIT");
    });
}

#[test]
fn data_in_fin_wait_1_is_received_as_well() {
    covers!("9293-FW1-FW2");
    everywhere(|p| {
        p.enter("FIN-WAIT-1");
        p.send(data(1, TEXT).ack(1));
        p.expect(ack(11).seq(2));
        assert_eq!(p.app_read(), Read::Data(TEXT.to_vec()));
        p.expect_state("FIN-WAIT-1");
    });
}

#[test]
fn the_other_side_of_a_half_close_still_sends() {
    covers!("9293-FW1-FW2", "9293-LASTACK");
    everywhere(|p| {
        p.enter("CLOSE-WAIT");
        assert_eq!(p.app_read(), Read::End);
        p.app_write(TEXT);
        p.expect(data(1, TEXT).ack(2));
        p.send(ack(11));
        p.app_shutdown();
        p.expect(fin(11).ack(2));
        p.expect_state("LAST-ACK");
        p.send(ack(12));
        p.expect_no_answer();
        assert_eq!(p.count("LAST-ACK") + p.count("TIME-WAIT"), 0);
    });
}

#[test]
fn crossing_fins_go_through_closing() {
    covers!("9293-SIMCLOSE");
    everywhere(|p| {
        p.enter("FIN-WAIT-1");
        p.send(fin(1).ack(1));
        p.expect(ack(2).seq(2));
        p.expect_state("CLOSING");
        p.send(ack(2).seq(2));
        p.expect_silence(secs(3));
        p.expect_state("TIME-WAIT");
    });
}

#[test]
fn a_fin_that_acknowledges_ours_leads_into_time_wait() {
    covers!("9293-FIN+ACK");
    everywhere(|p| {
        p.enter("FIN-WAIT-1");
        p.send(fin(1).ack(2));
        p.expect(ack(2).seq(2));
        p.expect_state("TIME-WAIT");
        p.expect_silence(secs(3));
    });
}

#[test]
fn the_passive_closer_forgets_at_once() {
    covers!("9293-LASTACK");
    everywhere(|p| {
        p.enter("LAST-ACK");
        // An ACK of something else does not close.
        p.send(ack(1).seq(2));
        p.expect_no_answer();
        p.expect_state("LAST-ACK");
        p.send(ack(2).seq(2));
        p.expect_no_answer();
        assert_eq!(p.count("LAST-ACK") + p.count("TIME-WAIT"), 0);
        p.send(ack(2).seq(2));
        p.expect(seg(R).seq(2));
    });
}

#[test]
fn a_fin_waits_for_what_comes_before_it() {
    covers!("9293-FINDATA", "9293-MUST-59");
    everywhere(|p| {
        p.accept();
        p.send(fin(11).ack(1).text(TEXT));
        p.expect(ack(1).seq(1));
        p.send(fin(21).ack(1));
        p.expect(ack(1).seq(1));
        assert_eq!(p.app_read(), Read::Nothing);
        p.expect_state("ESTABLISHED");
        p.send(data(1, TEXT));
        p.expect(ack(22).seq(1));
        assert_eq!(p.app_read(), Read::Data([TEXT, TEXT].concat()));
        assert_eq!(p.app_read(), Read::End);
        p.expect_state("CLOSE-WAIT");
    });
}

#[test]
fn a_fin_on_text_closes_after_the_text() {
    covers!("9293-FINDATA");
    everywhere(|p| {
        p.accept();
        p.send(fin(1).text(TEXT));
        p.expect(ack(12).seq(1));
        assert_eq!(p.app_read(), Read::Data(TEXT.to_vec()));
        assert_eq!(p.app_read(), Read::End);
    });
}

#[test]
fn nothing_is_read_beyond_the_fin() {
    covers!("9293-FINDATA");
    everywhere(|p| {
        p.enter("CLOSE-WAIT");
        p.send(data(2, TEXT));
        let answer = p.next(SOON);
        assert!(answer.iter().all(|got| (got.flags, got.ack) == (A, 2)), "{answer:?}");
        assert_eq!(p.app_read(), Read::End);
        assert_eq!(p.app_read(), Read::End);
        p.expect_state("CLOSE-WAIT");
    });
}

#[test]
fn closing_with_unread_data_resets() {
    covers!("9293-SHLD-3", "9293-ABORT");
    everywhere(|p| {
        p.accept();
        p.send(data(1, TEXT));
        p.expect(ack(11));
        p.app_close();
        p.expect(seg(R | A).seq(1));
        p.expect_silence(secs(3));
        p.send(ack(1).seq(11));
        p.expect(seg(R).seq(1));
    });
}

#[test]
fn data_after_a_full_close_is_reset() {
    covers!("9293-SHLD-3");
    everywhere(|p| {
        p.accept();
        p.app_close();
        p.expect(fin(1).ack(1));
        p.send(ack(2));
        p.expect_state("FIN-WAIT-2");
        p.send(data(1, TEXT));
        let got = p.next(secs(1)).expect("a reset");
        assert_eq!((got.flags & R, got.seq), (R, 2), "{got:?}");
        p.expect_silence(secs(3));
        assert_eq!(p.count("FIN-WAIT-2"), 0);
    });
}

#[test]
fn the_application_can_tell_a_close_from_a_reset() {
    covers!("9293-MUST-12");
    everywhere(|p| {
        p.enter("CLOSE-WAIT");
        assert_eq!(p.app_read(), Read::End);
        p.on_port(40_100, |p| {
            p.accept();
            p.send(rst(1));
            p.expect_no_answer();
            assert_eq!(p.app_read(), Read::Fault(Fault::Reset));
        });
    });
}

#[test]
fn abort_sends_a_reset_at_snd_nxt_and_nothing_else() {
    covers!("9293-ABORT");
    everywhere(|p| {
        p.accept();
        p.app_write(TEXT);
        p.expect(data(1, TEXT));
        p.app_abort();
        p.expect(seg(R | A).seq(11));
        p.expect_silence(secs(5));
        assert_eq!(p.count("ESTABLISHED"), 0);
    });
}

#[test]
fn abort_in_the_other_states_that_have_something_to_say() {
    covers!("9293-ABORT");
    everywhere(|p| {
        for (at, state) in ["FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT"].into_iter().enumerate() {
            p.on_port(40_200 + at as u16, |p| {
                p.enter(state);
                let nxt = p.flow.rcv_nxt;
                p.app_abort();
                p.expect(seg(R | A).seq(nxt));
                p.expect_silence(secs(5));
                assert_eq!(p.count(state), 0);
            });
        }
    });
}

#[test]
fn abort_where_both_fins_are_out_says_nothing() {
    covers!("9293-ABORT");
    everywhere(|p| {
        for (at, state) in ["CLOSING", "LAST-ACK"].into_iter().enumerate() {
            p.on_port(40_210 + at as u16, |p| {
                p.enter(state);
                p.app_abort();
                p.expect_no_answer();
                assert_eq!(p.count(state), 0);
            });
        }
    });
}

#[test]
fn abort_resets_where_our_fin_still_waits_behind_text() {
    covers!("9293-ABORT");
    handfast_only("what the kernel does there is not ours to say", |p| {
        p.accept();
        p.send(fin(1).wnd(0));
        p.pass(SOON);
        p.app_write(TEXT);
        p.app_close();
        p.pass(SOON);
        p.expect_state("LAST-ACK");
        p.app_abort();
        let reset = p.next(secs(1)).expect("a RST");
        assert_eq!(reset.flags & (R | F), R);
        assert_eq!(p.count("LAST-ACK"), 0);
    });
}

#[test]
fn abort_in_syn_sent_says_nothing() {
    covers!("9293-ABORT");
    everywhere_without_listener(|p| {
        p.connect();
        p.app_abort();
        p.expect_silence(secs(5));
        assert_eq!(p.count("SYN-SENT"), 0);
    });
}

#[test]
fn closing_in_syn_sent_forgets_the_connection() {
    covers!("9293-CLOSE-SYNSENT");
    everywhere_without_listener(|p| {
        p.connect();
        p.app_close();
        p.expect_silence(secs(5));
        assert_eq!(p.count("SYN-SENT"), 0);
        p.send(syn_ack().ack(1));
        p.expect(seg(R).seq(1));
    });
}

#[test]
fn data_is_given_up_after_100_seconds_or_more() {
    covers!("9293-MUST-20");
    in_memory_only("it takes minutes", |p| {
        p.accept();
        p.app_write(TEXT);
        let first = p.expect(data(1, TEXT)).at;
        let mut times = vec![];
        while let Some(got) = p.next(secs(200)) {
            assert_eq!((got.flags & (S | F), got.seq), (0, 1), "the same again");
            times.push(got.at - first);
            if got.flags & R != 0 {
                break;
            }
        }
        assert!(times.len() >= 3, "R1 is at least three retransmissions: {times:?}");
        assert!(*times.last().unwrap() >= secs(100), "R2 is at least 100 s: {times:?}");
        assert_eq!(p.app_read(), Read::Fault(Fault::TimedOut));
        assert_eq!(p.count("ESTABLISHED"), 0);
    });
}

#[test]
fn fin_wait_2_without_an_owner_ends_after_a_minute() {
    covers!("9293-ORPHAN");
    in_memory_only("it takes a minute", |p| {
        p.accept();
        p.app_close();
        p.expect(fin(1).ack(1));
        p.send(ack(2));
        p.expect_silence(secs(55));
        p.expect_state("FIN-WAIT-2");
        p.expect_silence(secs(10));
        assert_eq!(p.count("FIN-WAIT-2") + p.count("TIME-WAIT"), 0);
        p.send(ack(2));
        p.expect(seg(R).seq(2));
    });
}

#[test]
fn fin_wait_2_with_an_owner_stays() {
    covers!("9293-ORPHAN");
    in_memory_only("it takes an hour", |p| {
        p.enter("FIN-WAIT-2");
        p.pass(secs(3_600));
        p.expect_state("FIN-WAIT-2");
        p.send(data(1, TEXT));
        p.expect(ack(11));
    });
}

#[test]
fn the_user_timeout_option_does_no_harm() {
    covers!("5482", "9293-MUST-4");
    everywhere(|p| {
        const USER_TIMEOUT: [u8; 4] = [28, 4, 0x80, 1];
        p.accept_with(syn().options(&USER_TIMEOUT));
        p.send(data(1, TEXT).options(&USER_TIMEOUT));
        p.expect(ack(11).seq(1));
        assert_eq!(p.app_read(), Read::Data(TEXT.to_vec()));
    });
}
