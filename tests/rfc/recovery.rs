//! Retransmission and loss recovery (RFC 6298, RFC 5681, RFC 6582, RFC 6675), and acknowledging what comes.

use super::peer::*;
use super::segment::*;
use super::target::*;

const MSS: u32 = 1_460;

/// Writes so many full segments, which all leave.
fn send_segments(p: &mut Peer, count: u32) {
    assert_eq!(p.app_write(&vec![b'x'; (count * MSS) as usize]), (count * MSS) as usize);
    let expected: Vec<u32> = (0..count).map(|at| 1 + at * MSS).collect();
    assert_eq!(p.flight(), expected);
    // A round trip takes some time, or nothing could be told from what left when.
    p.expect_silence(millis(5));
}

#[test]
fn the_retransmission_timer_doubles() {
    covers!("9293-MUST-18", "6298-2");
    in_memory_only("it takes minutes", |p| {
        p.accept();
        p.app_write(b"lost");
        let mut last = p.expect(data(1, b"lost")).at;
        let mut gaps = vec![];
        for _ in 0..8 {
            let at = p.expect_within(secs(100), data(1, b"lost")).at;
            gaps.push((at - last).as_millis() as u64);
            last = at;
        }
        let doubled: Vec<_> = gaps.windows(2).filter(|w| w[0] < 30_000 && w[0] > 500).collect();
        assert!(
            doubled.len() >= 4 && doubled.iter().all(|w| (w[1] as f64 / w[0] as f64 - 2.0).abs() < 0.1),
            "{gaps:?}"
        );
        assert!(*gaps.last().unwrap() >= 59_900, "an upper bound is at least 60 s: {gaps:?}");
    });
}

#[test]
fn the_rto_follows_the_round_trips() {
    covers!("6298-2");
    in_memory_only("it measures time", |p| {
        p.accept_with_timestamps();
        let end = p.round_trips(20, millis(150));
        p.app_write(b"lost");
        let first = p.expect(data(end, b"lost")).at;
        let mut times = vec![];
        for _ in 0..2 {
            times.push(p.expect_within(secs(3), data(end, b"lost")).at - first);
        }
        // Twice the round trip may bring a probe (RFC 8985 §7); the RTO is never less than its bound of 200 ms.
        assert!(times[0] >= millis(195) && times[1] < secs(2), "{times:?}");
    });
}

#[test]
fn a_retransmitted_segment_gives_no_sample() {
    covers!("9293-MUST-18");
    in_memory_only("it measures time", |p| {
        p.accept();
        p.app_write(b"lost");
        p.expect(data(1, b"lost"));
        p.expect_within(secs(3), data(1, b"lost"));
        p.pass(millis(900));
        p.send(ack(5));
        // Taken for a sample, that would have been 1.9 s or 0.9 s, and RTO three times as much.
        p.app_write(b"more");
        let first = p.expect(data(5, b"more")).at;
        let again = p.expect_within(secs(10), data(5, b"more")).at - first;
        assert!(again <= millis(2_100), "{again:?}");
    });
}

#[test]
fn the_timer_stops_when_all_is_acknowledged() {
    covers!("6298-5.1");
    everywhere(|p| {
        p.accept();
        send_segments(p, 3);
        p.send(ack(1 + 3 * MSS));
        p.expect_silence(secs(100));
    });
}

#[test]
fn the_earliest_segment_is_sent_again_first_and_alone() {
    covers!("6298-5.1", "5681-LW");
    handfast_only("a probe for the tail comes first on Linux", |p| {
        p.accept();
        send_segments(p, 4);
        let mut again = p.next(secs(5)).expect("a retransmission");
        if again.seq == 1 + 3 * MSS {
            // A probe for the tail (RFC 8985 §7).
            again = p.next(secs(5)).expect("a retransmission");
        }
        assert_eq!((again.seq, again.text.len()), (1, MSS as usize));
        p.expect_silence(millis(50));
        p.send(ack(1 + MSS));
        let next = p.next(millis(50)).expect("the next one");
        assert_eq!(next.seq, 1 + MSS);
    });
}

#[test]
fn the_third_duplicate_ack_retransmits_at_once() {
    covers!("5681-3.2");
    everywhere(|p| {
        p.accept();
        send_segments(p, 10);
        for _ in 0..2 {
            p.send(ack(1));
            assert!(p.flight().is_empty(), "two say nothing yet");
        }
        p.send(ack(1));
        assert_eq!(p.flight(), [1]);
    });
}

#[test]
fn acks_that_are_no_duplicates_do_not_count() {
    covers!("5681-3.2");
    everywhere(|p| {
        p.accept();
        send_segments(p, 5);
        p.note("with text; and with another window each");
        for at in 0..5 {
            p.send(data(1 + at, b"x").ack(1));
        }
        for at in 0..5 {
            p.send(ack(1).wnd(60_000 + at));
        }
        assert!(p.flight().is_empty());
    });
}

#[test]
fn a_partial_ack_retransmits_the_next_hole() {
    covers!("5681-3.2");
    everywhere(|p| {
        p.accept();
        send_segments(p, 10);
        for _ in 0..8 {
            p.send(ack(1));
        }
        assert_eq!(p.flight(), [1]);
        p.send(ack(1 + MSS));
        assert_eq!(p.flight(), [1 + MSS], "no timeout, no duplicates needed");
        p.send(ack(1 + 10 * MSS));
        p.expect_silence(secs(3));
    });
}

#[test]
fn with_sack_only_the_holes_are_sent_again() {
    covers!("6675-5");
    everywhere(|p| {
        p.accept_with(syn().sack_ok());
        send_segments(p, 10);
        let at = |n: u32| 1 + n * MSS;
        // Segments 0 and 2 are lost.
        for n in [1, 3, 4, 5, 6, 7, 8, 9] {
            let blocks = if n == 1 { vec![(at(1), at(2))] } else { vec![(at(3), at(n + 1)), (at(1), at(2))] };
            let answer = p.sack(1, &blocks);
            p.send(answer);
        }
        assert_eq!(p.flight(), [at(0), at(2)]);
        p.send(ack(at(10)));
        p.expect_silence(secs(3));
    });
}

#[test]
fn what_was_reported_is_kept_until_acknowledged() {
    covers!("2018-8");
    everywhere(|p| {
        p.accept_with(syn().sack_ok());
        send_segments(p, 3);
        let answer = p.sack(1, &[(1 + MSS, 1 + 3 * MSS)]);
        p.send(answer);
        // A peer that drops what it has reported, as it may: all comes again.
        let mut again = std::collections::BTreeSet::new();
        for _ in 0..40 {
            let Some(got) = p.next(secs(4)) else { break };
            again.insert(got.seq);
            if got.seq == 1 {
                p.send(ack(1 + MSS));
            }
            if again.contains(&(1 + MSS)) && again.contains(&(1 + 2 * MSS)) {
                break;
            }
            if got.seq == 1 + MSS {
                p.send(ack(1 + 2 * MSS));
            }
        }
        assert_eq!(again.into_iter().collect::<Vec<_>>(), [1, 1 + MSS, 1 + 2 * MSS]);
    });
}

#[test]
fn segments_out_of_order_are_queued_and_acknowledged_at_once() {
    covers!("9293-MUST-59");
    everywhere(|p| {
        p.accept();
        for seq in [21, 11, 31] {
            p.send(data(seq, b"0123456789").ack(1));
            let got = p.next(millis(10)).expect("an ACK at once");
            assert_eq!(got.ack, 1);
        }
        p.send(data(1, b"0123456789").ack(1));
        let got = p.next(millis(10)).expect("an ACK at once");
        assert_eq!(got.ack, 41);
        assert_eq!(p.app_read(), Read::Data(b"0123456789".repeat(4)));
    });
}

#[test]
fn overlapping_segments_give_each_octet_once() {
    covers!("9293-MUST-59");
    everywhere(|p| {
        p.accept();
        p.send(data(4, b"defg").ack(1));
        p.send(data(6, b"fghij").ack(1));
        p.send(data(1, b"abcdef").ack(1));
        let answers = p.pass(millis(600));
        assert_eq!(answers.last().map(|got| got.ack), Some(11));
        assert_eq!(p.app_read(), Read::Data(b"abcdefghij".to_vec()));
        assert_eq!(p.app_read(), Read::Nothing);
    });
}

#[test]
fn a_thousand_tiny_stretches_are_survived() {
    covers!("REASM-BOUND", "LIM-1");
    everywhere(|p| {
        p.accept_with(syn().sack_ok());
        for at in 0..1_000 {
            p.send(data(3 + 2 * at, b"x").ack(1));
        }
        p.pass(millis(50));
        p.flow.snd_nxt = 1;
        // All of it again, in order: whatever was dropped is there now.
        p.send(data(1, &[b'y'; 1_000]).ack(1));
        p.send(data(1_001, &[b'y'; 1_002]).ack(1));
        let answers = p.pass(millis(600));
        assert_eq!(answers.last().map(|got| got.ack), Some(2_003));
        assert_eq!(p.app_read_all().len(), 2_002);
    });
}

#[test]
fn an_ack_waits_less_than_half_a_second() {
    covers!("9293-SHLD-18");
    everywhere(|p| {
        p.accept();
        let sent = p.target.now();
        p.send(data(1, b"alone"));
        let got = p.expect(ack(6));
        assert!(got.at - sent < millis(500));
    });
}

#[test]
fn every_second_full_segment_is_acknowledged_at_once() {
    covers!("9293-SHLD-18");
    everywhere(|p| {
        p.accept();
        let text = [b'x'; MSS as usize];
        for pair in 1..10 {
            p.send(data(1 + (2 * pair - 2) * MSS, &text).ack(1));
            p.send(data(1 + (2 * pair - 1) * MSS, &text).ack(1));
            let answers = p.pass(millis(10));
            assert_eq!(answers.last().expect("an ACK at once").ack, 1 + 2 * pair * MSS);
        }
    });
}

#[test]
fn a_lost_tail_is_probed_for_before_the_timeout() {
    covers!("8985-6");
    in_memory_only("round trips must be known to the millisecond", |p| {
        p.accept_with_timestamps();
        p.round_trips(10, millis(50));
        let left = p.target.now();
        p.app_write(&[b'x'; 4 * 1_448]);
        let flight = p.flight();
        p.pass(millis(50));
        p.send(ack(flight[1]));
        let probe = p.next(millis(190)).expect("a probe");
        assert_eq!(probe.seq, *flight.last().unwrap(), "the last segment");
        assert!(probe.at - left < millis(220), "before the timeout");
    });
}

#[test]
fn a_hole_is_found_by_time_with_a_single_sack() {
    covers!("8985-6");
    in_memory_only("round trips must be known to the millisecond", |p| {
        p.accept_with(syn().sack_ok().ts(TS_BASE, 0));
        p.app_write(b"0123456789");
        p.expect(data(1, b"0123456789"));
        p.pass(millis(40));
        p.send(ack(11));
        p.app_write(b"first");
        p.expect(data(11, b"first"));
        p.pass(millis(30));
        p.app_write(&[b'y'; 1_448]);
        p.pass(millis(1));
        p.pass(millis(40));
        let answer = p.sack(11, &[(16, 16 + 1_448)]);
        let tsval = TS_BASE + p.target.now().as_millis() as u32;
        let mut answer = answer.ts(tsval, p.flow.ts.unwrap().1);
        answer.ack = Some(Num::Rel(11));
        p.send(answer);
        let got = p.next(millis(30)).expect("the first again, without three duplicates");
        assert_eq!((got.seq, &got.text[..]), (11, &b"first"[..]));
    });
}
