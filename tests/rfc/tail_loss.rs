//! Losses at the tail of a flight: one probe, then the timeout (RFC 8985 §7).

use super::peer::*;
use super::segment::*;

const WHY: &str = "round trips must be known to the millisecond";

/// A connection whose round trip is known: 50 ms, ten times. Our next octet is 101.
fn with_round_trips(p: &mut Peer) {
    p.accept_with_timestamps();
    p.round_trips(10, millis(50));
}

#[test]
fn a_flight_of_which_nothing_is_heard_is_probed_for_at_its_tail() {
    covers!("8985-6");
    in_memory_only(WHY, |p| {
        with_round_trips(p);
        let left = p.target.now();
        p.app_write(&[b'x'; 3 * 1_448]);
        let flight = p.flight();
        assert_eq!(flight.len(), 3);
        let probe = p.next(millis(190)).expect("a probe, after two round trips");
        assert_eq!(probe.seq, flight[2], "the last segment");
        let after = probe.at - left;
        assert!(after >= millis(95) && after < millis(160), "{after:?}");
    });
}

#[test]
fn after_one_probe_comes_the_timeout() {
    covers!("8985-6", "6298-5.1");
    in_memory_only(WHY, |p| {
        with_round_trips(p);
        p.app_write(&[b'x'; 3 * 1_448]);
        let flight = p.flight();
        let probe = p.next(millis(190)).expect("a probe");
        assert_eq!(probe.seq, flight[2]);
        let timeout = p.next(secs(1)).expect("the timeout");
        assert_eq!(timeout.seq, flight[0], "the earliest segment, no second probe");
        assert!(timeout.at - probe.at >= millis(190), "a whole timeout later: {:?}", timeout.at - probe.at);
    });
}

#[test]
fn a_probe_carries_what_is_new_where_the_congestion_window_held_it_back() {
    covers!("8985-6");
    in_memory_only(WHY, |p| {
        with_round_trips(p);
        p.app_write(&[b'x'; 60 * 1_448]);
        let flight = p.flight();
        let probe = p.next(millis(190)).expect("a probe");
        let next = flight.last().unwrap() + 1_448;
        assert_eq!(probe.seq, next, "new text");
        p.note("its answer shows that the flight is lost, and all of it comes again");
        let from = probe.seq;
        let segment = p.sack(101, &[(from, from + 1_448)]);
        let (tsval, tsecr) = (TS_BASE + p.target.now().as_millis() as u32, p.flow.ts.unwrap().1);
        p.send(segment.ts(tsval, tsecr));
        let again = p.next(millis(60)).expect("the first again");
        assert_eq!(again.seq, flight[0]);
    });
}

/// A SACK option with one block of the host's octets.
#[test]
fn a_single_segment_waits_for_a_delayed_ack_before_it_comes_again() {
    covers!("8985-6");
    in_memory_only(WHY, |p| {
        with_round_trips(p);
        let left = p.target.now();
        p.app_write(b"alone");
        p.expect(data(101, b"alone"));
        let again = p.expect_within(secs(1), data(101, b"alone")).at - left;
        assert!(again >= millis(190), "{again:?}");
    });
}

#[test]
fn an_acknowledged_tail_is_not_probed_for() {
    covers!("8985-6");
    in_memory_only(WHY, |p| {
        with_round_trips(p);
        p.app_write(&[b'x'; 3 * 1_448]);
        let end = p.flight().last().unwrap() + 1_448;
        p.pass(millis(50));
        p.send(ack(end));
        p.expect_silence(secs(5));
    });
}

#[test]
fn without_sack_there_is_no_probe() {
    covers!("8985-6");
    in_memory_only(WHY, |p| {
        p.accept();
        p.round_trips(10, millis(50));
        p.app_write(&[b'x'; 3 * 1_460]);
        let flight = p.flight();
        let again = p.next(secs(1)).expect("the timeout");
        assert_eq!(again.seq, flight[0]);
    });
}

#[test]
fn a_tail_with_its_fin_is_probed_for_with_both() {
    covers!("8985-6", "9293-CLOSE-ACTIVE");
    in_memory_only(WHY, |p| {
        with_round_trips(p);
        p.app_write(&[b'x'; 2 * 1_448]);
        let flight = p.flight();
        p.app_write(b"the end");
        p.app_close();
        let tail = p.expect(seg(F | A).seq(flight[1] + 1_448).text(b"the end"));
        let probe = p.next(millis(220)).expect("a probe");
        assert_eq!((probe.flags & F, probe.seq, &probe.text[..]), (F, tail.seq, &b"the end"[..]));
    });
}
