//! Timestamps of received segments: PAWS and TS.Recent (RFC 7323 §4.3, §5).

use super::peer::*;
use super::segment::*;
use super::target::*;

#[test]
fn an_old_timestamp_makes_a_segment_unacceptable() {
    covers!("7323-PAWS-R1");
    everywhere(|p| {
        p.accept_with_timestamps();
        p.send(seg(A | P).seq(1).text(b"old").ts(TS_BASE - 1, 0));
        p.expect(ack(1).seq(1));
        assert_eq!(p.app_read(), Read::Nothing);
        p.send(seg(A | P).seq(1).text(b"old").ts(TS_BASE.wrapping_sub(1 << 30), 0));
        p.expect(ack(1).seq(1));
        p.send(data(1, b"new"));
        p.expect(ack(4).seq(1));
        assert_eq!(p.app_read(), Read::Data(b"new".to_vec()));
    });
}

#[test]
fn timestamps_compare_across_their_wrap() {
    covers!("7323-PAWS-R1");
    everywhere(|p| {
        p.accept_with(syn().ts(u32::MAX - 1, 0));
        p.send(seg(A | P).seq(1).text(b"after").ts(5_000, p.flow.ts.unwrap().1));
        let got = p.expect(ack(6));
        assert_eq!(got.options.ts.unwrap().1, 5_000);
    });
}

#[test]
fn ts_recent_moves_only_with_segments_in_order() {
    covers!("7323-4.3", "7323-3.2-NEG");
    everywhere(|p| {
        p.flow.ts_frozen = true;
        p.accept_with_timestamps();
        p.send(seg(A | P).seq(11).text(b"0123456789").ts(TS_BASE + 500, 0));
        let hole = p.expect(ack(1));
        assert_eq!(hole.options.ts.unwrap().1, TS_BASE, "the out-of-order segment is not echoed");
        p.send(seg(A | P).seq(1).text(b"0123456789").ts(TS_BASE + 400, 0));
        let filled = p.expect(ack(21));
        assert_eq!(filled.options.ts.unwrap().1, TS_BASE + 400, "the one that filled the hole is");
    });
}

#[test]
fn a_delayed_ack_echoes_the_first_of_its_segments() {
    covers!("7323-4.3");
    everywhere(|p| {
        p.flow.ts_frozen = true;
        p.accept_with_timestamps();
        let text = [b'x'; 1_448];
        p.send(seg(A).seq(1).text(&text).ts(TS_BASE + 10, 0));
        p.send(seg(A).seq(1_449).text(&text).ts(TS_BASE + 20, 0));
        if p.on_linux("in its quick mode each segment is acknowledged by itself") {
            return;
        }
        let got = p.expect(ack(2_897));
        assert_eq!(got.options.ts.unwrap().1, TS_BASE + 10);
    });
}

#[test]
fn the_timestamp_of_an_unacceptable_segment_is_not_kept() {
    covers!("7323-4.3");
    everywhere(|p| {
        p.flow.ts_frozen = true;
        p.accept_with_timestamps();
        p.send(seg(A | P).seq(0x7000_0000).text(b"far off").ts(TS_BASE + 9_000, 0));
        let got = p.expect(ack(1));
        assert_eq!(got.options.ts.unwrap().1, TS_BASE);
        p.send(rst(100).ts(TS_BASE + 9_000, 0));
        let got = p.expect(ack(1));
        assert_eq!(got.options.ts.unwrap().1, TS_BASE);
        p.send(data(1, b"alive"));
        p.expect(ack(6));
    });
}

#[test]
fn after_24_days_of_silence_ts_recent_means_nothing() {
    covers!("7323-5.5");
    in_memory_only("it takes 25 days", |p| {
        p.accept_with_timestamps();
        p.pass(secs(25 * 86_400));
        // The peer's clock has gone back.
        p.send(seg(A | P).seq(1).text(b"after a long time").ts(TS_BASE - 500, 0));
        let got = p.expect(ack(18));
        assert_eq!(p.app_read(), Read::Data(b"after a long time".to_vec()));
        p.note("from here on it is what the new one is compared with");
        assert_eq!(got.options.ts.unwrap().1, TS_BASE - 500);
        p.send(seg(A | P).seq(18).text(b"old").ts(TS_BASE - 501, 0));
        p.expect(ack(18));
        assert_eq!(p.app_read(), Read::Nothing);
    });
}

#[test]
fn within_23_days_ts_recent_still_counts() {
    covers!("7323-5.5");
    in_memory_only("it takes 23 days", |p| {
        p.accept_with_timestamps();
        p.pass(secs(23 * 86_400));
        p.send(seg(A | P).seq(1).text(b"old").ts(TS_BASE - 500, 0));
        p.expect(ack(1));
        assert_eq!(p.app_read(), Read::Nothing);
    });
}

#[test]
fn a_reset_of_ours_carries_the_timestamps_that_were_agreed_on() {
    covers!("7323-3.2-NEG", "9293-ABORT");
    everywhere(|p| {
        p.accept_with_timestamps();
        p.app_abort();
        let got = p.next(secs(1)).expect("a RST");
        assert_eq!((got.flags & R, got.seq), (R, 1));
        assert!(got.options.ts.is_some_and(|(_, tsecr)| tsecr >= TS_BASE), "{:?}", got.options.ts);
    });
}

#[test]
fn a_reset_carries_no_timestamps_that_were_not_agreed_on() {
    covers!("7323-3.2-NEG", "9293-CLOSED-RST");
    everywhere(|p| {
        p.accept();
        p.app_abort();
        assert_eq!(p.next(secs(1)).expect("a RST").options.ts, None);
    });
}

#[test]
fn the_syn_again_brings_the_timestamp_that_is_echoed() {
    covers!("7323-4.3");
    handfast_only("Linux echoes the first one", |p| {
        for (tsval, echoed) in [(TS_BASE, TS_BASE), (TS_BASE + 500, TS_BASE + 500), (TS_BASE + 100, TS_BASE + 500)] {
            p.send(syn().ts(tsval, 0));
            assert_eq!(p.expect(syn_ack().ack(1)).options.ts.unwrap().1, echoed);
        }
    });
}
