//! Endings on their less trodden ways: FINs with, before and after data, lost ones, half-closed ones, resets on the way
//! (RFC 9293 §3.6, §3.10.4, §3.10.7.4).

use super::peer::*;
use super::segment::*;
use super::target::*;

const TEXT: &[u8] = b"0123456789";

#[test]
fn the_last_text_carries_the_fin_or_is_followed_by_it() {
    covers!("9293-CLOSE-ACTIVE");
    everywhere(|p| {
        p.accept();
        p.app_write(TEXT);
        p.expect(data(1, TEXT));
        p.app_write(TEXT);
        p.app_shutdown();
        // Nagle's rule does not hold back what the FIN follows.
        let got = p.next(secs(1)).expect("text");
        assert_eq!((got.seq, &got.text[..]), (11, TEXT));
        if got.flags & F == 0 {
            p.expect(fin(21).ack(1));
        }
        p.expect_state("FIN-WAIT-1");
    });
}

#[test]
fn an_ack_of_the_text_but_not_of_the_fin_leaves_fin_wait_1() {
    covers!("9293-FW1-FW2");
    everywhere(|p| {
        p.accept();
        p.app_write(TEXT);
        p.app_shutdown();
        p.pass(p.at_once());
        p.send(ack(11));
        p.expect_no_answer();
        p.expect_state("FIN-WAIT-1");
        p.send(ack(12));
        p.expect_no_answer();
        p.expect_state("FIN-WAIT-2");
    });
}

#[test]
fn a_lost_fin_with_text_before_it_comes_again() {
    covers!("9293-CLOSE-ACTIVE", "9293-MUST-18");
    everywhere(|p| {
        p.accept();
        p.app_write(TEXT);
        p.app_shutdown();
        p.pass(p.at_once());
        p.note("text and FIN are lost");
        let mut end = 1;
        let mut closed = false;
        while !closed {
            let got = p.next(secs(4)).expect("again");
            if got.seq == end {
                end += got.text.len() as u32;
                closed = got.flags & F != 0;
                p.send(ack(end + u32::from(closed)));
            }
        }
        assert_eq!(end, 11);
        p.expect_silence(secs(3));
        p.expect_state("FIN-WAIT-2");
    });
}

#[test]
fn a_fin_waits_for_a_closed_window_and_then_follows_the_text() {
    covers!("9293-CLOSE-ACTIVE", "9293-MUST-35");
    everywhere(|p| {
        p.accept_with_window(syn(), 0);
        p.app_write(TEXT);
        p.app_shutdown();
        p.expect_silence(millis(100));
        p.send(ack(1).wnd(1_000));
        let got = p.next(secs(1)).expect("text");
        assert_eq!((got.seq, &got.text[..]), (1, TEXT));
        if got.flags & F == 0 {
            p.expect(fin(11).ack(1));
        }
    });
}

#[test]
fn a_fin_alone_needs_no_window() {
    covers!("9293-CLOSE-ACTIVE");
    everywhere(|p| {
        p.accept_with_window(syn(), 0);
        p.app_shutdown();
        if p.on_linux("a FIN waits for a closed window, which is probed meanwhile") {
            p.expect(ack(1).seq(0));
            return;
        }
        p.expect_within(secs(4), fin(1).ack(1));
        p.send(ack(2).wnd(0));
        p.expect_no_answer();
        p.expect_state("FIN-WAIT-2");
    });
}

#[test]
fn text_before_a_fin_may_come_in_fin_wait_2() {
    covers!("9293-FW1-FW2", "9293-FINDATA");
    everywhere(|p| {
        p.enter("FIN-WAIT-2");
        p.send(fin(11).text(TEXT));
        p.expect(ack(1).seq(2));
        p.expect_state("FIN-WAIT-2");
        p.send(data(1, TEXT));
        p.expect(ack(22).seq(2));
        assert_eq!(p.app_read(), Read::Data([TEXT, TEXT].concat()));
        assert_eq!(p.app_read(), Read::End);
        p.expect_state("TIME-WAIT");
    });
}

#[test]
fn text_and_fin_may_come_in_fin_wait_1() {
    covers!("9293-SIMCLOSE", "9293-FINDATA");
    everywhere(|p| {
        p.enter("FIN-WAIT-1");
        p.send(fin(1).ack(1).text(TEXT));
        p.expect(ack(12).seq(2));
        assert_eq!(p.app_read(), Read::Data(TEXT.to_vec()));
        assert_eq!(p.app_read(), Read::End);
        p.expect_state("CLOSING");
    });
}

#[test]
fn text_and_fin_that_acknowledge_ours_lead_into_time_wait() {
    covers!("9293-FIN+ACK", "9293-FINDATA");
    everywhere(|p| {
        p.enter("FIN-WAIT-1");
        p.send(fin(1).ack(2).text(TEXT));
        p.expect(ack(12).seq(2));
        assert_eq!(p.app_read(), Read::Data(TEXT.to_vec()));
        assert_eq!(p.app_read(), Read::End);
        p.expect_state("TIME-WAIT");
    });
}

#[test]
fn in_closing_only_an_ack_of_our_fin_leads_on() {
    covers!("9293-SIMCLOSE");
    everywhere(|p| {
        p.enter("CLOSING");
        p.send(seg(A).seq(2).ack(1));
        p.expect_no_answer();
        p.expect_state("CLOSING");
        p.send(fin(1).ack(2));
        if p.on_linux("the ACK on a retransmission that ends at RCV.NXT counts, though the segment is unacceptable") {
            p.expect_state("TIME-WAIT");
            return;
        }
        p.expect(ack(2).seq(2));
        p.send(seg(A).seq(2).ack(2));
        p.expect_no_answer();
        p.expect_state("TIME-WAIT");
    });
}

#[test]
fn our_fin_comes_again_in_closing_and_in_last_ack() {
    covers!("9293-CLOSE-ACTIVE", "9293-SIMCLOSE", "9293-LASTACK");
    everywhere(|p| {
        for (at, (state, seq)) in [("CLOSING", 1), ("LAST-ACK", 1)].into_iter().enumerate() {
            p.on_port(49_000 + at as u16, |p| {
                p.enter(state);
                let again = p.expect_within(secs(4), seg(F | A).seq(seq));
                assert_eq!(again.ack, 2);
                p.expect_state(state);
                p.send(rst(2));
                p.expect_no_answer();
            });
        }
    });
}

#[test]
fn unread_text_can_be_read_after_the_peer_has_closed() {
    covers!("9293-MUST-12", "9293-FINDATA");
    everywhere(|p| {
        p.accept();
        p.send(data(1, TEXT));
        p.send(fin(11));
        p.pass(SOON);
        p.app_shutdown();
        p.expect(fin(1).ack(12));
        p.send(ack(2).seq(12));
        p.expect_no_answer();
        assert_eq!(p.app_read(), Read::Data(TEXT.to_vec()));
        assert_eq!(p.app_read(), Read::End);
    });
}

#[test]
fn a_reset_after_the_fin_of_the_peer_is_told_as_one() {
    covers!("9293-MUST-12", "9293-RST-STATES");
    everywhere(|p| {
        p.enter("CLOSE-WAIT");
        p.send(rst(2));
        p.expect_no_answer();
        assert_eq!(p.count("CLOSE-WAIT"), 0);
        if p.on_linux("in CLOSE-WAIT a reset is told by a write (EPIPE), after the end of the stream was read") {
            return;
        }
        assert_eq!(p.app_read(), Read::Fault(Fault::Reset));
    });
}

#[test]
fn a_reset_drops_what_was_queued_both_ways() {
    covers!("5961-3.2-EXACT", "9293-MUST-12");
    everywhere(|p| {
        p.accept();
        p.app_write(&[b'x'; 30_000]);
        p.pass(p.at_once());
        p.send(rst(1));
        p.expect_silence(secs(3));
        assert_eq!(p.count("ESTABLISHED"), 0);
        assert_eq!(p.app_read(), Read::Fault(Fault::Reset));
        assert_eq!(p.app_write(TEXT), 0);
    });
}

#[test]
fn nothing_can_be_written_after_a_shutdown() {
    covers!("9293-CLOSE-ACTIVE");
    everywhere(|p| {
        p.enter("FIN-WAIT-2");
        if !p.on_linux("a write after a shutdown raises SIGPIPE here") {
            assert_eq!(p.app_write(TEXT), 0);
        }
        p.expect_silence(secs(1));
    });
}

#[test]
fn a_close_in_close_wait_sends_what_is_queued_and_a_fin() {
    covers!("9293-LASTACK", "9293-CLOSE-ACTIVE");
    everywhere(|p| {
        p.enter("CLOSE-WAIT");
        p.app_write(&[b'x'; 3_000]);
        p.app_close();
        let mut end = 1;
        while let Some(got) = p.next(SOON) {
            assert_eq!(got.seq, end, "in order");
            end += got.text.len() as u32;
            if got.flags & F != 0 {
                break;
            }
        }
        assert_eq!(end, 3_001);
        p.expect_state("LAST-ACK");
        p.send(ack(3_002));
        p.expect_no_answer();
        assert_eq!(p.count("LAST-ACK"), 0);
    });
}

#[test]
fn the_peer_may_close_while_our_text_is_in_flight() {
    covers!("9293-FINDATA", "9293-LASTACK");
    everywhere(|p| {
        p.accept();
        p.app_write(TEXT);
        p.expect(data(1, TEXT));
        p.send(fin(1).ack(1));
        p.expect(ack(2).seq(11));
        p.expect_state("CLOSE-WAIT");
        p.send(ack(11).seq(2));
        p.app_close();
        p.expect(fin(11).ack(2));
        p.send(ack(12).seq(2));
        p.expect_no_answer();
        assert_eq!(p.count("LAST-ACK") + p.count("TIME-WAIT"), 0);
    });
}

#[test]
fn both_sides_may_close_with_text_in_flight() {
    covers!("9293-SIMCLOSE", "9293-FINDATA");
    everywhere(|p| {
        p.accept();
        p.app_write(TEXT);
        p.app_shutdown();
        p.pass(p.at_once());
        p.send(fin(1).ack(1).text(TEXT));
        p.expect(seg(A).ack(12));
        p.expect_state("CLOSING");
        assert_eq!(p.app_read(), Read::Data(TEXT.to_vec()));
        p.send(ack(12).seq(12));
        p.expect_no_answer();
        p.expect_state("TIME-WAIT");
    });
}

#[test]
fn an_empty_stretch_between_text_and_fin_is_a_hole() {
    covers!("9293-FINDATA");
    everywhere(|p| {
        p.accept();
        p.note("the FIN comes first, then what is before it, from behind");
        p.send(fin(31).ack(1));
        p.expect(ack(1));
        for seq in [21, 11] {
            p.send(data(seq, TEXT).ack(1));
            p.expect(ack(1));
        }
        p.send(data(1, TEXT).ack(1));
        p.expect(ack(32));
        p.expect_state("CLOSE-WAIT");
        assert_eq!(p.app_read(), Read::Data(TEXT.repeat(3)));
        assert_eq!(p.app_read(), Read::End);
    });
}

#[test]
fn the_fin_of_a_segment_that_overlaps_what_came_counts() {
    covers!("9293-FINDATA", "9293-ACCEPT4");
    everywhere(|p| {
        p.accept();
        p.send(data(1, TEXT));
        p.expect(ack(11));
        p.send(fin(6).ack(1).text(b"56789abc"));
        p.expect(ack(15));
        assert_eq!(p.app_read(), Read::Data(b"0123456789abc".to_vec()));
        assert_eq!(p.app_read(), Read::End);
        p.expect_state("CLOSE-WAIT");
    });
}

#[test]
fn an_abort_in_syn_received_after_crossing_syns_resets() {
    covers!("9293-ABORT");
    everywhere_without_listener(|p| {
        p.connect();
        p.send(syn());
        p.expect(syn_ack().seq(0).ack(1));
        p.app_abort();
        if p.on_linux("an abort before ESTABLISHED says nothing") {
            return;
        }
        p.expect(seg(R | A).seq(1).ack(1));
        p.expect_silence(secs(5));
        assert_eq!(p.count("SYN-RECEIVED"), 0);
    });
}
