//! Losses and late arrivals, seen by the sender: duplicates, SACK blocks good and bad, timeouts in a row (RFC 5681,
//! RFC 6298, RFC 6582, RFC 6675, RFC 8985, RFC 2018).

use super::peer::*;
use super::segment::*;

const MSS: u32 = 1_460;

/// Where segment `n` begins.
fn at(n: u32) -> u32 {
    1 + n * MSS
}

/// A connection on which so many full segments have left and none is acknowledged.
fn in_flight(p: &mut Peer, opened: Seg, count: u32) {
    p.accept_with(opened);
    p.app_write(&vec![b'x'; (count * MSS) as usize]);
    assert_eq!(p.flight(), (0..count).map(at).collect::<Vec<_>>());
    // A round trip takes some time, or nothing could be told from what left when.
    p.expect_silence(millis(5));
}

fn send_sack(p: &mut Peer, n: u32, blocks: &[(u32, u32)]) {
    p.send(p.sack(n, blocks));
}

#[test]
fn limited_transmit_sends_new_text_on_the_first_two_duplicates() {
    covers!("5681-3.2");
    everywhere(|p| {
        p.accept();
        p.app_write(&[b'x'; 60_000]);
        assert_eq!(p.flight().len(), 10);
        p.expect_silence(millis(5));
        // RFC 3042: a segment each, beyond the congestion window.
        for n in [10, 11] {
            p.send(ack(1));
            assert_eq!(p.flight(), [at(n)]);
        }
        p.send(ack(1));
        assert_eq!(p.flight()[0], 1, "the third retransmits");
    });
}

#[test]
fn one_retransmission_for_one_loss() {
    covers!("5681-3.2");
    everywhere(|p| {
        in_flight(p, syn(), 10);
        for _ in 0..9 {
            p.send(ack(1));
        }
        assert_eq!(p.flight(), [1], "however many duplicates come");
        p.send(ack(at(10)));
        p.expect_silence(secs(2));
    });
}

#[test]
fn two_segments_that_overtake_a_third_make_no_retransmission() {
    covers!("5681-3.2");
    everywhere(|p| {
        in_flight(p, syn(), 5);
        p.send(ack(1));
        p.send(ack(1));
        p.send(ack(at(5)));
        assert_eq!(p.flight(), Vec::<u32>::new());
        p.expect_silence(secs(2));
    });
}

#[test]
fn duplicates_of_an_ack_with_a_fin_outstanding_are_counted() {
    covers!("5681-3.2", "9293-CLOSE-ACTIVE");
    everywhere(|p| {
        p.accept();
        p.app_write(&[b'x'; 5 * MSS as usize]);
        p.app_shutdown();
        p.pass(p.at_once());
        for _ in 0..4 {
            p.send(ack(1));
        }
        assert_eq!(p.flight(), [1]);
        p.send(ack(at(5) + 1));
        p.expect_silence(secs(2));
        p.expect_state("FIN-WAIT-2");
    });
}

#[test]
fn sack_of_three_segments_above_shows_a_loss() {
    covers!("6675-5", "8985-6");
    everywhere(|p| {
        in_flight(p, syn().sack_ok(), 10);
        send_sack(p, 1, &[(at(1), at(2))]);
        send_sack(p, 1, &[(at(1), at(3))]);
        send_sack(p, 1, &[(at(1), at(4))]);
        assert_eq!(p.flight(), [1]);
    });
}

#[test]
fn losses_are_mended_from_the_lowest_up_once_each() {
    covers!("6675-5");
    everywhere(|p| {
        in_flight(p, syn().sack_ok(), 10);
        p.note("0, 3 and 6 are lost");
        send_sack(p, 1, &[(at(7), at(10)), (at(4), at(6)), (at(1), at(3))]);
        let mut again = p.flight();
        while again.len() < 3 {
            // As the window allows: each arrival makes room.
            let reached = at(again.len() as u32 * 3);
            let blocks: Vec<(u32, u32)> =
                [(at(7), at(10)), (at(4), at(6)), (at(1), at(3))].into_iter().filter(|(l, _)| *l > reached).collect();
            send_sack(p, reached, &blocks);
            let more = p.flight();
            assert!(!more.is_empty(), "stuck after {again:?}");
            again.extend(more);
        }
        assert_eq!(again, [at(0), at(3), at(6)]);
        p.send(ack(at(10)));
        p.expect_silence(secs(2));
    });
}

#[test]
fn blocks_that_make_no_sense_are_ignored() {
    covers!("2018-8", "6675-5");
    everywhere(|p| {
        in_flight(p, syn().sack_ok(), 5);
        for blocks in [
            &[(at(7), at(9))][..],                // never sent
            &[(at(2), at(1))],                    // the wrong way round
            &[(at(2), at(2))],                    // empty
            &[(0x7000_0000, 0x7000_1000)],        // far off
            &[(1u32.wrapping_sub(5_000), 0)],     // long acknowledged
            &[(1u32.wrapping_sub(100), at(100))], // more than everything
        ] {
            send_sack(p, 1, blocks);
        }
        p.note("nothing of it is believed, and what is real still counts");
        let early = p.flight();
        assert!(early.iter().all(|seq| *seq == 1), "{early:?}");
        p.send(ack(at(5)));
        p.expect_silence(secs(2));
        p.expect_state("ESTABLISHED");
    });
}

#[test]
fn sack_options_of_an_odd_length_are_survived() {
    covers!("9293-MUST-7", "2018-3");
    everywhere(|p| {
        in_flight(p, syn().sack_ok(), 3);
        for octets in [&[5, 2][..], &[5, 3, 0], &[5, 9, 0, 0, 0, 1, 0, 0, 0], &[5, 40, 0, 0]] {
            p.send(ack(1).options(octets));
        }
        p.flight();
        p.expect_state("ESTABLISHED");
        p.send(ack(at(3)));
        p.expect_silence(secs(2));
    });
}

#[test]
fn sack_blocks_that_were_not_agreed_on_are_ignored() {
    covers!("2018-3");
    everywhere(|p| {
        in_flight(p, syn(), 10);
        send_sack(p, 1, &[(at(1), at(10))]);
        send_sack(p, 1, &[(at(1), at(10))]);
        assert_eq!(p.flight(), Vec::<u32>::new(), "two duplicates are not three");
    });
}

#[test]
fn a_duplicate_report_below_the_ack_is_no_loss() {
    covers!("2883-4", "6675-5");
    everywhere(|p| {
        in_flight(p, syn().sack_ok(), 5);
        send_sack(p, at(2), &[(1, at(1))]);
        send_sack(p, at(3), &[(at(1), at(2))]);
        assert_eq!(p.flight(), Vec::<u32>::new());
        p.send(ack(at(5)));
        p.expect_silence(secs(2));
    });
}

#[test]
fn the_last_of_a_flight_lost_comes_again_within_a_few_seconds() {
    covers!("6298-5.1", "8985-6");
    everywhere(|p| {
        in_flight(p, syn().sack_ok(), 4);
        p.send(ack(at(3)));
        let got = p.next(secs(4)).expect("the last one again");
        assert_eq!(got.seq, at(3));
        p.send(ack(at(4)));
        p.expect_silence(secs(2));
    });
}

#[test]
fn a_partial_ack_restarts_the_timer() {
    covers!("6298-5.1");
    in_memory_only("it measures time", |p| {
        p.accept();
        p.app_write(&[b'x'; 3 * MSS as usize]);
        p.flight();
        p.pass(millis(150));
        p.send(ack(at(1)));
        let acked = p.target.now();
        let got = p.next(secs(5)).expect("again");
        assert_eq!(got.seq, at(1));
        assert!(got.at - acked >= millis(199), "an RTO from the ACK on: {:?}", got.at - acked);
    });
}

#[test]
fn timeouts_in_a_row_send_one_segment_each() {
    covers!("9293-MUST-18", "6298-5.1", "5681-LW");
    in_memory_only("it takes a minute", |p| {
        in_flight(p, syn(), 10);
        let mut last = None;
        for _ in 0..6 {
            let got = p.next(secs(65)).expect("again");
            assert_eq!(got.seq, 1);
            assert_eq!(p.pass(millis(50)).len(), 0, "one alone");
            if let Some(before) = last.replace(got.at) {
                assert!(got.at > before + millis(190));
            }
        }
    });
}

#[test]
fn an_ack_ends_the_backoff() {
    covers!("6298-5.1", "9293-MUST-18");
    in_memory_only("it measures time", |p| {
        p.accept_with_timestamps();
        p.app_write(b"lost");
        let mut first = p.expect(data(1, b"lost")).at;
        for _ in 0..4 {
            first = p.expect_within(secs(30), data(1, b"lost")).at;
        }
        p.pass(millis(20));
        p.send(ack(5));
        p.app_write(b"more");
        let sent = p.expect(data(5, b"more")).at;
        assert!(sent > first);
        let again = p.expect_within(secs(30), data(5, b"more")).at - sent;
        assert!(again < secs(2), "the timestamp gives a sample, and the RTO is fresh: {again:?}");
    });
}

#[test]
fn after_a_timeout_what_was_sent_is_not_taken_for_lost_twice() {
    covers!("6298-5.1", "5681-LW");
    everywhere(|p| {
        in_flight(p, syn(), 4);
        let mut got = p.next(secs(5)).expect("again");
        if got.seq != 1 {
            got = p.next(secs(5)).expect("again");
        }
        assert_eq!(got.seq, 1);
        p.note("only the first was lost");
        p.send(ack(at(4)));
        p.expect_silence(secs(2));
        p.app_write(b"goes on");
        p.expect(data(at(4), b"goes on"));
    });
}

#[test]
fn a_lost_retransmission_comes_once_more() {
    covers!("6298-5.1", "6675-5");
    everywhere(|p| {
        in_flight(p, syn().sack_ok(), 6);
        send_sack(p, 1, &[(at(1), at(6))]);
        assert_eq!(p.flight(), [1]);
        p.note("it is lost as well");
        let got = p.next(secs(5)).expect("once more");
        assert_eq!(got.seq, 1);
        p.send(ack(at(6)));
        p.expect_silence(secs(2));
    });
}

#[test]
fn recovery_ends_with_the_ack_of_everything_that_was_in_flight() {
    covers!("5681-3.2");
    everywhere(|p| {
        in_flight(p, syn(), 6);
        for _ in 0..4 {
            p.send(ack(1));
        }
        assert_eq!(p.flight(), [1]);
        for n in 1..6 {
            p.send(ack(at(n)));
            assert_eq!(p.flight(), [at(n)], "each partial ACK shows the next hole");
        }
        p.send(ack(at(6)));
        p.expect_silence(secs(2));
        p.app_write(b"goes on");
        p.expect(data(at(6), b"goes on"));
    });
}

#[test]
fn old_acks_in_recovery_move_nothing() {
    covers!("5681-3.2", "5961-5.2");
    everywhere(|p| {
        p.accept();
        p.app_write(b"0123456789");
        p.expect(data(1, b"0123456789"));
        p.send(ack(11));
        p.app_write(&[b'x'; 5 * MSS as usize]);
        p.flight();
        p.expect_silence(millis(5));
        for _ in 0..6 {
            p.send(ack(1));
        }
        assert_eq!(p.flight(), Vec::<u32>::new(), "an ACK below SND.UNA is no duplicate");
    });
}
