//! A SYN to a tuple in TIME-WAIT: every case of RFC 6191 §2, timestamps against sequence numbers.

use super::peer::*;
use super::segment::*;

/// What the SYN carries beside what was seen last.
#[derive(Clone, Copy, Debug)]
enum Stamp {
    None,
    Older,
    Equal,
    Newer,
}

/// The first row and column are those of the RFC's two lists; a row says which numbers prove the SYN new.
struct Row {
    /// Timestamps were in use.
    old: bool,
    stamp: Stamp,
    /// For a number below RCV.NXT, equal to it, and beyond it. An equal one is what the connection would take next: only
    /// what is larger than the last one seen proves anything, and the FIN was that.
    takes: [bool; 3],
}

const MATRIX: [Row; 6] = [
    Row { old: true, stamp: Stamp::None, takes: [false, false, true] },
    Row { old: true, stamp: Stamp::Older, takes: [false, false, false] },
    Row { old: true, stamp: Stamp::Equal, takes: [false, false, true] },
    Row { old: true, stamp: Stamp::Newer, takes: [true, true, true] },
    Row { old: false, stamp: Stamp::None, takes: [false, false, true] },
    Row { old: false, stamp: Stamp::Newer, takes: [true, true, true] },
];

/// Into TIME-WAIT; our clock stands at its start.
fn into_time_wait(p: &mut Peer, timestamps: bool) {
    p.flow.ts_frozen = true;
    if timestamps {
        p.accept_with_timestamps()
    } else {
        p.accept()
    }
    p.app_close();
    p.expect(fin(1).ack(1));
    p.send(fin(1).ack(2));
    p.expect(ack(2).seq(2));
    p.expect_state("TIME-WAIT");
}

fn stamped(stamp: Stamp) -> Seg {
    match stamp {
        Stamp::None => seg(S).mss(1460),
        Stamp::Older => seg(S).mss(1460).ts(TS_BASE - 1, 0),
        Stamp::Equal => seg(S).mss(1460).ts(TS_BASE, 0),
        Stamp::Newer => seg(S).mss(1460).ts(TS_BASE + 1, 0),
    }
}

/// Plays one case, and cleans up behind it.
fn try_case(p: &mut Peer, row: &Row, at: usize, seq: u32) {
    into_time_wait(p, row.old);
    let old_nxt = p.flow.irs.unwrap().wrapping_add(2);
    p.note(&format!("old timestamps {}, new {:?}, number {seq}", row.old, row.stamp));
    p.send(stamped(row.stamp).seq(seq));
    let answer = p.next(SOON);
    let linux = !row.old
        && matches!(row.stamp, Stamp::Newer)
        && at < 2
        && p.on_linux("where there were no timestamps, new ones prove nothing: the number must be beyond");
    if row.takes[at] && !linux {
        let got = answer.expect("a SYN-ACK");
        assert_eq!((got.flags, got.ack), (S | A, seq.wrapping_add(1)));
        assert!((1..1 << 31).contains(&got.wire.seq.wrapping_sub(old_nxt)), "our own number is beyond the old ones");
        assert_eq!(p.count("TIME-WAIT"), 0);
    } else {
        assert!(answer.iter().all(|got| (got.flags, got.seq, got.ack) == (A, 2, 2)), "{answer:?}");
        p.expect_state("TIME-WAIT");
        p.note("what proves it new still takes the tuple");
        let newer = if row.old { Stamp::Newer } else { Stamp::None };
        p.send(stamped(newer).seq(1_000));
        p.expect(seg(S | A).ack(1_001));
        p.send(rst(1_001));
        p.expect_no_answer();
        return;
    }
    p.send(rst(seq.wrapping_add(1)));
    p.expect_no_answer();
}

#[test]
fn timestamps_and_numbers_together_prove_a_new_syn() {
    covers!("9293-MAY-2", "9293-SHLD-4", "6191-A2", "6191-A3", "6191-B1", "6191-DROP", "6191-ISN");
    everywhere(|p| {
        for (nth, row) in MATRIX.iter().enumerate() {
            // RCV.NXT is 2: the FIN was octet 1.
            for (at, seq) in [1, 2, 3].into_iter().enumerate() {
                p.on_port(43_000 + (nth * 3 + at) as u16, |p| try_case(p, row, at, seq));
            }
        }
    });
}

#[test]
fn numbers_and_timestamps_far_off_are_compared_as_numbers_that_wrap() {
    covers!("9293-MAY-2", "9293-SHLD-4", "6191-DROP");
    everywhere(|p| {
        for (at, (old, segment, takes)) in [
            (false, stamped(Stamp::None).seq(0x7fff_ffff), true),
            (false, stamped(Stamp::None).seq(0x8000_0010), false),
            (true, seg(S).mss(1460).ts(TS_BASE.wrapping_add(0x7fff_ffff), 0).seq(0x8000_0010), true),
            (true, seg(S).mss(1460).ts(TS_BASE.wrapping_add(0x8000_0010), 0).seq(3), false),
        ]
        .into_iter()
        .enumerate()
        {
            p.on_port(43_100 + at as u16, |p| {
                into_time_wait(p, old);
                p.send(segment.clone());
                let answer = p.next(SOON);
                assert_eq!(answer.is_some_and(|got| got.flags == S | A), takes, "case {at}");
                if !takes {
                    p.expect_state("TIME-WAIT");
                }
                // Makes room for the next case, whichever the state.
                p.flow.snd_nxt = 0;
                p.pass(millis(20));
            });
            if !takes {
                break_time_wait(p, 43_100 + at as u16);
            }
        }
    });
}

/// Ends what is left of a case by a SYN that proves itself new, and a RST.
fn break_time_wait(p: &mut Peer, port: u16) {
    p.on_port(port, |p| {
        p.send(seg(S).seq(5_000).mss(1460).ts(TS_BASE + 100_000, 0));
        p.expect(seg(S | A).ack(5_001));
        p.send(rst(5_001));
        p.expect_no_answer();
    });
}

#[test]
fn only_a_bare_syn_asks_for_a_tuple() {
    covers!("9293-MAY-2", "9293-TW-OTHER");
    everywhere(|p| {
        into_time_wait(p, false);
        p.note("with ACK it is no opening, with RST it is nothing");
        p.send(seg(S | A).seq(1_000).ack(2));
        let answer = p.next(SOON);
        assert!(answer.iter().all(|got| got.flags == A), "{answer:?}");
        p.send(seg(S | R).seq(1_000));
        p.expect_no_answer();
        p.expect_state("TIME-WAIT");
    });
}

#[test]
fn a_new_connection_on_an_old_tuple_has_nothing_of_the_old_one() {
    covers!("9293-MAY-2", "9293-SHLD-4");
    everywhere(|p| {
        into_time_wait(p, true);
        p.note("the new one has no timestamps, another MSS, and no scale");
        p.flow = Flow::new(p.flow.port, p.flow.isn.wrapping_add(1_000));
        let got = p.accept_with(seg(S).seq(0).mss(700));
        assert_eq!((got.options.ts, got.options.sack_ok), (None, false));
        p.app_write(&[b'x'; 1_400]);
        assert_eq!(p.flight(), [1, 701]);
        p.note("an old segment with the old numbers is answered, not read");
        p.send(seg(A).seq(1u32.wrapping_sub(1_000)).ack(1).text(b"old"));
        let got = p.expect(ack(1));
        assert!(got.text.is_empty());
    });
}
