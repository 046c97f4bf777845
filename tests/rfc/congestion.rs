//! How much leaves at once (RFC 5681, RFC 6928).

use super::peer::*;
use super::segment::*;
use handfast::tcp::congestion::Algorithm;

const MSS: u32 = 1_460;

#[test]
fn the_first_flight_is_ten_segments() {
    covers!("5681-3.1");
    everywhere(|p| {
        p.accept();
        p.app_write(&[b'x'; 60_000]);
        assert_eq!(p.flight().len(), 10);
    });
}

#[test]
fn after_a_lost_syn_ack_the_first_flight_is_one_segment() {
    covers!("5681-3.1");
    everywhere(|p| {
        p.send(syn());
        p.expect(syn_ack());
        p.expect_within(secs(2), syn_ack());
        p.send(ack(1));
        p.sock = p.target.accept();
        p.app_write(&[b'x'; 60_000]);
        let flight = p.flight().len();
        if p.on_linux("one lost SYN-ACK leaves the initial window at ten segments") {
            assert_eq!(flight, 10);
        } else {
            assert_eq!(flight, 1);
        }
    });
}

#[test]
fn after_a_lost_syn_of_ours_the_first_flight_is_one_segment() {
    covers!("5681-3.1");
    let setup = |s: &mut super::in_memory::Setup| s.listen = false;
    handfast_with("one lost SYN leaves the kernel's initial window at ten segments", setup, |p| {
        p.connect();
        p.expect_within(secs(2), seg(S).seq(0));
        p.send(syn_ack().ack(1).mss(1_460));
        p.expect(ack(1));
        p.app_write(&[b'x'; 60_000]);
        assert_eq!(p.flight(), [1]);
    });
}

#[test]
fn syns_that_cross_are_no_loss() {
    covers!("5681-3.1", "9293-MUST-10");
    everywhere_without_listener(|p| {
        p.connect();
        p.send(syn());
        p.expect(syn_ack().seq(0).ack(1));
        p.send(seg(S | A).seq(0).ack(1).mss(1_460));
        p.pass(SOON);
        p.app_write(&[b'x'; 60_000]);
        assert_eq!(p.flight().len(), 10);
    });
}

#[test]
fn slow_start_doubles() {
    covers!("5681-3.1");
    everywhere(|p| {
        p.accept();
        p.app_write(&[b'x'; 60_000]);
        let mut end = 1;
        let first = p.flight();
        for _ in &first {
            end += MSS;
            p.send(ack(end));
        }
        let second = p.flight().len();
        assert!((18..=20).contains(&second), "{second}");
    });
}

#[test]
fn split_acks_gain_nothing() {
    covers!("5681-LW");
    everywhere(|p| {
        p.accept();
        p.app_write(&[b'x'; 60_000]);
        assert_eq!(p.flight().len(), 10);
        for part in 1..=20 {
            p.send(ack(1 + part * MSS / 20));
        }
        let more = p.flight().len();
        assert!(more <= 3, "one segment acknowledged in 20 pieces lets {more} leave");
    });
}

#[test]
fn after_a_timeout_one_segment_leaves() {
    covers!("5681-LW");
    everywhere(|p| {
        p.accept();
        p.app_write(&[b'x'; 14_600]);
        assert_eq!(p.flight().len(), 10);
        let mut again = p.next(secs(5)).expect("a retransmission");
        if again.seq != 1 {
            p.note("a probe for the tail");
            again = p.next(secs(5)).expect("a retransmission");
        }
        assert_eq!(again.seq, 1);
        assert_eq!(p.pass(millis(10)).len(), 0, "and nothing else");
    });
}

#[test]
fn after_idling_the_window_is_small_again() {
    covers!("5681-LW");
    everywhere(|p| {
        p.accept_with(syn().wscale(7));
        p.app_write(&[b'x'; 40_000]);
        let mut end = 1;
        loop {
            let sent = p.flight().len() as u32;
            if end >= 40_001 {
                break;
            }
            end = (end + sent * MSS).min(40_001);
            p.send(ack(end));
        }
        p.pass(secs(3));
        p.app_write(&[b'y'; 60_000]);
        let flight = p.flight().len();
        assert!(flight <= 10, "{flight}");
    });
}

#[test]
fn a_loss_makes_the_window_smaller() {
    covers!("5681-3.2");
    everywhere(|p| {
        let (before, after) = windows_around_a_loss(p);
        // Half by Reno, seven tenths by CUBIC.
        assert!(after >= 1 && after <= before * 8 / 10 + 1, "{before}, then {after}");
    });
}

#[test]
fn cubic_keeps_seven_tenths_of_the_window_and_reno_half() {
    covers!("5681-3.2", "9438-4");
    // Of 20 segments, and up to two that leave on the first duplicates (RFC 3042).
    for (algorithm, kept) in [(Algorithm::Cubic, 14..=16), (Algorithm::Reno, 10..=12)] {
        let setup = |s: &mut super::in_memory::Setup| s.tcp.congestion = algorithm;
        handfast_with("the algorithm is chosen", setup, |p| {
            let (before, after) = windows_around_a_loss(p);
            assert!(before == 20 && kept.contains(&after), "{algorithm}: {before}, then {after}");
        });
    }
}

/// Segments in flight before the first of them is lost and reported by duplicates, and after that is mended.
fn windows_around_a_loss(p: &mut Peer) -> (u32, u32) {
    p.accept_with(syn().wscale(7));
    p.app_write(&[b'x'; 100_000]);
    let mut una = 1;
    for n in p.flight() {
        una = n + MSS;
        p.send(ack(una));
    }
    let flight = p.flight().len() as u32;
    assert!(flight >= 18);
    for _ in 0..flight - 1 {
        p.send(ack(una));
    }
    // What leaves on duplicates, the lost segment aside, and on the ACK of it all, is the new window.
    let during = p.flight().iter().filter(|seq| **seq >= una + flight * MSS).count() as u32;
    p.send(ack(una + flight * MSS));
    (flight, during + p.flight().len() as u32)
}
