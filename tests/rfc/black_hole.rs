//! Paths that swallow large packets and do not say so (RFC 4821 §7.7): found out, told to the next connection, and tried
//! anew after ten minutes.

use super::peer::*;
use super::segment::*;

/// Text of the largest segments here, and what the path carries.
const FULL: usize = 1_460;
const CARRIED: usize = 1_100;

/// Plays a path that carries no more than `CARRIED` until everything before `end` was acknowledged; says the length of the
/// first segment that came through.
fn through_the_hole(p: &mut Peer, mut una: u32, end: u32) -> usize {
    let mut first = 0;
    while una < end {
        let got = p.next(secs(70)).expect("it goes on");
        assert_eq!(got.flags & R, 0);
        if got.text.len() <= CARRIED && got.seq == una {
            first = if first == 0 { got.text.len() } else { first };
            una += got.text.len() as u32;
            p.send(ack(una));
        }
    }
    first
}

/// Lengths of the segments that two full ones' worth of text makes on a new connection.
fn lengths(p: &mut Peer, port: u16) -> Vec<usize> {
    p.on_port(port, |p| {
        p.accept();
        p.app_write(&[b'x'; 2 * FULL]);
        let lengths = p.pass(millis(20)).iter().map(|got| got.text.len()).collect();
        p.app_abort();
        p.pass(millis(10));
        lengths
    })
}

fn known_paths(p: &Peer) -> u64 {
    p.target.snapshot().unwrap().pools["path_mtus"].used
}

#[test]
fn what_a_black_hole_taught_is_known_to_the_next_connection_for_ten_minutes() {
    covers!("4821-7");
    stage().ipv4().in_memory_only("it takes minutes").play(|p| {
        p.accept();
        p.app_write(&[b'x'; 3 * FULL]);
        assert_eq!(through_the_hole(p, 1, 1 + 3 * FULL as u32), 1_024, "the first step");
        assert_eq!(known_paths(p), 1);
        assert_eq!(lengths(p, 10_000)[..2], [1_024, 1_024]);
        p.pass(secs(601));
        assert_eq!(lengths(p, 10_001), [FULL, FULL], "a larger one is tried again");
    });
}

#[test]
fn a_connection_that_met_a_black_hole_tries_larger_segments_after_ten_minutes() {
    covers!("4821-7");
    stage().ipv4().in_memory_only("it takes minutes").play(|p| {
        p.accept();
        p.app_write(&[b'x'; 3 * FULL]);
        let end = 1 + 3 * FULL as u32;
        through_the_hole(p, 1, end);
        p.app_write(&[b'y'; 1_024]);
        p.expect(seg(A).seq(end).text_len(1_024));
        p.send(ack(end + 1_024));
        p.pass(secs(601));
        p.app_write(&[b'z'; FULL]);
        p.expect(seg(A).seq(end + 1_024).text_len(FULL));
    });
}

#[test]
fn silence_alone_teaches_nothing_of_the_path() {
    covers!("4821-7");
    stage().ipv4().in_memory_only("it takes minutes").play(|p| {
        // Small segments that are lost were not too large.
        p.accept();
        p.app_write(&[b'x'; 500]);
        p.pass(secs(60));
        p.send(ack(501));
        p.app_write(&[b'x'; FULL]);
        p.expect(seg(A).seq(501).text_len(FULL));
        p.app_abort();
        // A peer that is gone takes no smaller ones either.
        p.on_port(10_000, |p| {
            p.accept();
            p.app_write(&[b'x'; 3 * FULL]);
            p.pass(secs(400));
        });
        assert_eq!(known_paths(p), 0);
        assert_eq!(lengths(p, 10_001), [FULL, FULL]);
    });
}
