//! When, and with what, the host acknowledges (RFC 9293 §3.8.6.3, RFC 5681 §4.2, RFC 2018, RFC 2883).

use super::peer::*;
use super::segment::*;
use super::target::*;

const MSS: u32 = 1_460;
const TEXT: &[u8] = b"0123456789";

fn with_sack(p: &mut Peer) {
    p.accept_with(syn().sack_ok());
}

#[test]
fn an_answer_carries_the_acknowledgement() {
    covers!("9293-SHLD-18");
    everywhere(|p| {
        p.accept();
        p.send(data(1, TEXT));
        p.app_write(b"answer");
        let got = p.pass(millis(30));
        assert!(got.iter().any(|got| got.ack == 11 && got.text == b"answer"), "{got:?}");
        p.send(ack(7));
        p.expect_silence(secs(1));
    });
}

#[test]
fn a_segment_that_came_before_is_acknowledged_at_once() {
    covers!("9293-ACCEPT4", "9293-MUST-59");
    everywhere(|p| {
        p.accept();
        p.send(data(1, TEXT));
        p.expect(ack(11));
        for _ in 0..3 {
            p.send(data(1, TEXT));
            let got = p.next(millis(25)).expect("an ACK at once");
            assert_eq!((got.flags, got.ack), (A, 11));
        }
        assert_eq!(p.app_read(), Read::Data(TEXT.to_vec()));
        assert_eq!(p.app_read(), Read::Nothing);
    });
}

#[test]
fn each_segment_behind_a_hole_is_acknowledged_by_itself() {
    covers!("9293-MUST-59", "5681-3.2");
    everywhere(|p| {
        p.accept();
        for at in 1..4 {
            p.send(data(1 + at * 10, TEXT).ack(1));
            let got = p.next(millis(25)).expect("a duplicate ACK at once");
            assert_eq!((got.flags, got.ack, got.text.len()), (A, 1, 0));
        }
    });
}

#[test]
fn a_segment_that_fills_a_part_of_a_hole_is_acknowledged_at_once() {
    covers!("9293-MUST-59");
    everywhere(|p| {
        p.accept();
        p.send(data(31, TEXT).ack(1));
        p.expect(ack(1));
        p.send(data(1, TEXT).ack(1));
        assert_eq!(p.next(millis(25)).expect("an ACK at once").ack, 11);
        p.send(data(11, TEXT).ack(1));
        assert_eq!(p.next(millis(25)).expect("an ACK at once").ack, 21);
        p.send(data(21, TEXT).ack(1));
        assert_eq!(p.next(millis(25)).expect("an ACK at once").ack, 41);
    });
}

#[test]
fn a_fin_is_acknowledged_at_once() {
    covers!("9293-SHLD-18", "9293-FINDATA");
    everywhere(|p| {
        p.accept();
        p.send(fin(1));
        assert_eq!(p.next(millis(25)).expect("an ACK at once").ack, 2);
    });
}

#[test]
fn full_segments_in_one_burst_are_acknowledged_to_the_last() {
    covers!("9293-SHLD-18");
    everywhere(|p| {
        p.accept();
        for at in 0..21 {
            p.send(data(1 + at * MSS, &[b'x'; MSS as usize]).ack(1));
        }
        let answers = p.pass(millis(500));
        assert_eq!(answers.last().expect("ACKs").ack, 1 + 21 * MSS);
        assert!(answers.windows(2).all(|w| w[0].ack <= w[1].ack), "never back: {answers:?}");
    });
}

/// With timestamps a segment is full with less text.
#[test]
fn every_second_full_segment_with_timestamps_is_acknowledged_at_once() {
    covers!("9293-SHLD-18");
    const FULL: u32 = MSS - 12;
    everywhere(|p| {
        p.accept_with_timestamps();
        for at in (0..8).step_by(2) {
            for seq in [1 + at * FULL, 1 + (at + 1) * FULL] {
                p.send(data(seq, &[b'x'; FULL as usize]).ack(1));
            }
            let answers = p.pass(millis(25));
            assert_eq!(answers.last().expect("an ACK at once").ack, 1 + (at + 2) * FULL);
        }
    });
}

#[test]
fn neighbouring_blocks_become_one() {
    covers!("2018-3");
    everywhere(|p| {
        with_sack(p);
        for (seq, block) in [(11, (11, 21)), (21, (11, 31)), (41, (41, 51)), (31, (11, 51))] {
            p.send(data(seq, TEXT).ack(1));
            assert_eq!(p.expect(ack(1)).sack[0], block);
        }
        p.send(data(1, TEXT).ack(1));
        assert_eq!(p.expect(ack(51)).sack, []);
    });
}

#[test]
fn overlapping_blocks_become_one() {
    covers!("2018-3");
    everywhere(|p| {
        with_sack(p);
        p.send(data(21, TEXT).ack(1));
        p.expect(ack(1));
        p.send(data(16, TEXT).ack(1));
        let got = p.expect(ack(1));
        assert!(got.sack.contains(&(16, 31)), "{:?}", got.sack);
        p.send(data(11, &TEXT.repeat(3)).ack(1));
        let got = p.expect(ack(1));
        assert!(got.sack.contains(&(11, 41)), "{:?}", got.sack);
    });
}

#[test]
fn a_hole_that_is_filled_takes_its_block_away() {
    covers!("2018-3");
    everywhere(|p| {
        with_sack(p);
        p.send(data(11, TEXT).ack(1));
        p.expect(ack(1));
        p.send(data(31, TEXT).ack(1));
        assert_eq!(p.expect(ack(1)).sack, [(31, 41), (11, 21)]);
        p.send(data(1, TEXT).ack(1));
        assert_eq!(p.expect(ack(21)).sack, [(31, 41)]);
        p.send(data(21, TEXT).ack(1));
        assert_eq!(p.expect(ack(41)).sack, []);
    });
}

#[test]
fn an_answer_sent_behind_a_hole_carries_the_blocks() {
    covers!("2018-3");
    everywhere(|p| {
        with_sack(p);
        p.send(data(11, TEXT).ack(1));
        p.expect(ack(1));
        p.app_write(b"answer");
        let got = p.expect(data(1, b"answer"));
        assert_eq!(got.sack, [(11, 21)]);
    });
}

#[test]
fn a_fin_behind_a_hole_counts_for_no_octet_of_text() {
    covers!("2018-3", "9293-FINDATA");
    everywhere(|p| {
        with_sack(p);
        p.send(fin(11).ack(1).text(TEXT));
        let got = p.expect(ack(1));
        assert!(got.sack == [(11, 21)] || got.sack == [(11, 22)], "{:?}", got.sack);
        p.send(data(1, TEXT).ack(1));
        p.expect(ack(22));
        p.expect_state("CLOSE-WAIT");
    });
}

#[test]
fn a_part_that_came_twice_is_reported_alone() {
    covers!("2883-4");
    everywhere(|p| {
        with_sack(p);
        p.send(data(1, TEXT));
        p.expect(ack(11));
        p.send(data(6, b"56789abcde").ack(1));
        let got = p.next(millis(100)).expect("an ACK");
        assert_eq!(got.ack, 16);
        if got.sack.is_empty() {
            // RFC 2883 §4.1 speaks of segments that are duplicates altogether; of a part it may be silent.
            return;
        }
        assert_eq!(got.sack, [(6, 11)]);
    });
}

#[test]
fn a_duplicate_is_reported_once() {
    covers!("2883-4");
    everywhere(|p| {
        with_sack(p);
        p.send(data(1, TEXT));
        p.expect(ack(11));
        p.send(data(1, TEXT));
        assert_eq!(p.expect(ack(11)).sack, [(1, 11)]);
        p.send(data(11, TEXT));
        assert_eq!(p.expect(ack(21)).sack, [], "the next ACK is of something else");
    });
}

#[test]
fn without_sack_permitted_a_duplicate_is_not_reported() {
    covers!("2883-4", "2018-3");
    everywhere(|p| {
        p.accept();
        p.send(data(1, TEXT));
        p.expect(ack(11));
        p.send(data(1, TEXT));
        assert_eq!(p.expect(ack(11)).sack, []);
    });
}

#[test]
fn text_at_both_edges_of_the_window_is_kept() {
    covers!("9293-ACCEPT4");
    everywhere(|p| {
        with_sack(p);
        p.send(data(1, b"x"));
        let edge = 2 + u32::from(p.expect(ack(2)).wnd);
        p.send(data(edge - 10, TEXT).ack(1));
        assert_eq!(p.expect(ack(2)).sack, [(edge - 10, edge)], "the last octets that fit");
        p.send(data(edge, TEXT).ack(1));
        let got = p.expect(ack(2));
        assert!(!got.sack.contains(&(edge, edge + 10)), "beyond the window: {:?}", got.sack);
    });
}

#[test]
fn the_window_of_every_answer_is_what_was_offered_or_more() {
    covers!("9293-SHLD-14");
    everywhere(|p| {
        let shift = p.accept_with(syn().wscale(0).sack_ok()).options.wscale.unwrap();
        let mut edge = 0;
        for at in 0..30 {
            // Behind a hole, so that nothing can be read.
            p.send(data(11 + at * 1_000, &[b'x'; 1_000]).ack(1));
            let got = p.expect(ack(1));
            let now = got.ack + (u32::from(got.wnd) << shift);
            assert!(now >= edge, "{now} after {edge}");
            edge = now;
        }
    });
}
