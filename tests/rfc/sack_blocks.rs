//! The order of SACK blocks, and what came twice, at their edges (RFC 2018 §4, RFC 2883 §4).

use super::peer::*;
use super::segment::*;

const TEXT: &[u8] = b"0123456789";

/// Holes in front of four stretches of ten octets: at 101, 201, 301 and 401, in this order of arrival.
fn four_stretches(p: &mut Peer) {
    for seq in [101, 201, 301, 401] {
        p.send(data(seq, TEXT).ack(1));
        p.expect(ack(1));
    }
}

#[test]
fn a_report_of_what_came_twice_takes_the_place_of_the_oldest_block() {
    covers!("2883-4", "2018-3");
    everywhere(|p| {
        p.accept_with(syn().sack_ok());
        four_stretches(p);
        p.send(data(201, TEXT).ack(1));
        let got = p.expect(ack(1)).sack;
        assert_eq!(got[..2], [(201, 211), (201, 211)], "what came twice, and the block that holds it");
        assert_eq!(got.len(), 4, "as many as fit");
        let others = [(101, 111), (301, 311), (401, 411)];
        assert!(got[2..].iter().all(|block| others.contains(block)) && got[2] != got[3], "{got:?}");
    });
}

#[test]
fn a_part_of_a_block_that_came_twice_is_reported_as_that_part() {
    covers!("2883-4");
    everywhere(|p| {
        p.accept_with(syn().sack_ok());
        p.send(data(101, &[b'x'; 100]).ack(1));
        assert_eq!(p.expect(ack(1)).sack, [(101, 201)]);
        p.send(data(121, TEXT).ack(1));
        assert_eq!(p.expect(ack(1)).sack, [(121, 131), (101, 201)]);
    });
}

/// RFC 2883 §4.2: the other part of the segment is new.
#[test]
fn a_part_of_a_segment_that_came_twice_is_reported_as_that_part() {
    covers!("2883-4");
    everywhere(|p| {
        p.accept_with(syn().sack_ok());
        p.send(data(1, TEXT).ack(1));
        p.expect(ack(11));
        p.note("below what is acknowledged");
        p.send(data(6, TEXT).ack(1));
        assert_eq!(p.expect(ack(16)).sack, [(6, 11)]);
        p.note("in a block, at its right edge and at its left");
        p.send(data(31, TEXT).ack(1));
        assert_eq!(p.expect(ack(16)).sack, [(31, 41)]);
        p.send(data(36, TEXT).ack(1));
        assert_eq!(p.expect(ack(16)).sack, [(36, 41), (31, 46)]);
        p.send(data(26, TEXT).ack(1));
        assert_eq!(p.expect(ack(16)).sack, [(31, 36), (26, 46)]);
        p.note("in a block, and the segment fills the hole before it");
        p.send(data(16, &[b'x'; 14]).ack(1));
        assert_eq!(p.expect(ack(46)).sack, [(26, 30)]);
        p.note("what is new alone is no report");
        p.send(data(46, TEXT).ack(1));
        assert_eq!(p.expect(ack(56)).sack, []);
    });
}

/// RFC 2018 §4: in all acknowledgements that do not acknowledge the highest number, and every segment is one.
#[test]
fn what_is_sent_again_reports_the_blocks_as_well() {
    covers!("2018-3");
    everywhere(|p| {
        p.accept_with(syn().sack_ok());
        p.app_write(TEXT);
        p.expect(data(1, TEXT));
        p.send(data(11, TEXT).ack(1));
        assert_eq!(p.expect(ack(1)).sack, [(11, 21)]);
        let again = p.expect_within(secs(3), data(1, TEXT));
        assert_eq!(again.sack, [(11, 21)]);
        p.send(ack(11));
        p.app_close();
        p.expect(seg(F | A).seq(11).ack(1));
        let fin = p.expect_within(secs(3), seg(F | A).seq(11).ack(1));
        assert_eq!(fin.sack, [(11, 21)]);
    });
}

#[test]
fn blocks_are_gone_when_all_is_in_order() {
    covers!("2018-3");
    everywhere(|p| {
        p.accept_with(syn().sack_ok());
        p.send(data(11, TEXT).ack(1));
        assert_eq!(p.expect(ack(1)).sack, [(11, 21)]);
        p.send(data(1, TEXT).ack(1));
        assert_eq!(p.expect(ack(21)).sack, []);
        p.send(data(21, TEXT).ack(1));
        assert_eq!(p.expect(ack(31)).sack, []);
    });
}

#[test]
fn a_lost_report_does_not_lose_the_block() {
    covers!("2018-3");
    everywhere(|p| {
        p.accept_with(syn().sack_ok());
        four_stretches(p);
        p.note("each of the last blocks is in three reports at least");
        for seq in [501, 601] {
            p.send(data(seq, TEXT).ack(1));
            let got = p.expect(ack(1)).sack;
            assert_eq!(got[..3], [(seq, seq + 10), (seq - 100, seq - 90), (seq - 200, seq - 190)]);
        }
    });
}

#[test]
fn a_fin_that_came_twice_behind_a_hole_is_no_octet_of_text() {
    covers!("2883-4", "9293-FINDATA");
    everywhere(|p| {
        p.accept_with(syn().sack_ok());
        for _ in 0..2 {
            p.send(seg(F | A).seq(11).ack(1).text(TEXT));
            let got = p.expect(ack(1)).sack;
            assert!(got.iter().all(|(left, right)| *left >= 11 && *right <= 22), "{got:?}");
        }
        p.send(data(1, TEXT).ack(1));
        p.expect(ack(22));
        p.expect_state("CLOSE-WAIT");
        assert_eq!(p.app_read_all(), [TEXT, TEXT].concat());
    });
}
