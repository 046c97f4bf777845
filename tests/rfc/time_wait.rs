//! TIME-WAIT: 2 MSL, its restart, and who may end it early (RFC 9293 §3.6.1, RFC 1337, RFC 6191).

use super::peer::*;
use super::segment::*;
use super::target::*;

/// The main connection, with timestamps or not, closed by the host first; our last TSval is the clock of now.
fn into_time_wait(p: &mut Peer, timestamps: bool) {
    if timestamps {
        p.accept_with_timestamps()
    } else {
        p.accept()
    }
    p.app_close();
    p.expect(fin(1).ack(1));
    p.send(ack(2));
    p.send(fin(1).ack(2));
    p.expect(ack(2).seq(2));
    p.expect_state("TIME-WAIT");
}

/// Our TSval of now.
fn tsval(p: &Peer) -> u32 {
    TS_BASE.wrapping_add(p.target.now().as_millis() as u32)
}

/// A SYN to the entry; it must be answered by a SYN-ACK with an ISN beyond the old numbers.
fn expect_reuse(p: &mut Peer, seq: u32, new: Seg) {
    let old_nxt = p.flow.irs.unwrap().wrapping_add(2);
    p.send(new.seq(seq));
    let got = p.expect(seg(S | A).ack(seq + 1));
    let step = got.wire.seq.wrapping_sub(old_nxt);
    assert!(step > 0 && step < 1 << 31, "the new ISN is beyond: {step}");
    assert_eq!(p.count("TIME-WAIT"), 0);
    p.send(seg(R).seq(seq + 1));
}

/// A SYN without proof: silence or an ACK, and TIME-WAIT stays.
fn expect_no_reuse(p: &mut Peer, new: Seg) {
    p.send(new);
    if let Some(got) = p.next(SOON) {
        assert_eq!((got.flags, got.seq, got.ack), (A, 2, 2));
    }
    p.expect_no_answer();
    p.expect_state("TIME-WAIT");
}

#[test]
fn time_wait_lasts_2_msl() {
    covers!("9293-MUST-13");
    in_memory_only("it takes minutes, and Linux's lasts one, whatever the RFC says", |p| {
        into_time_wait(p, false);
        p.pass(millis(239_900));
        p.expect_state("TIME-WAIT");
        p.send(data(1, b"x"));
        p.expect(ack(2).seq(2));
        p.pass(secs(2));
        assert_eq!(p.count("TIME-WAIT"), 0);
        p.send(ack(2).seq(2));
        p.expect(seg(R).seq(2));
    });
}

#[test]
fn the_fin_again_is_acknowledged_again() {
    covers!("9293-TW-FIN");
    everywhere(|p| {
        into_time_wait(p, false);
        for _ in 0..3 {
            p.send(fin(1).ack(2));
            p.expect(ack(2).seq(2));
        }
        p.expect_state("TIME-WAIT");
    });
}

#[test]
fn the_fin_again_restarts_2_msl() {
    covers!("9293-TW-FIN");
    in_memory_only("it takes minutes", |p| {
        into_time_wait(p, false);
        p.pass(secs(200));
        p.send(fin(1).ack(2));
        p.expect(ack(2).seq(2));
        p.pass(secs(230));
        p.expect_state("TIME-WAIT");
        p.pass(secs(12));
        assert_eq!(p.count("TIME-WAIT"), 0);
    });
}

#[test]
fn old_data_in_time_wait_is_acknowledged_and_not_reset() {
    covers!("9293-TW-OTHER");
    everywhere(|p| {
        into_time_wait(p, false);
        p.send(seg(A).seq(0).ack(2).text(b"old"));
        p.expect(ack(2).seq(2));
        p.send(seg(A).seq(0x7000_0000).ack(2).text(b"far off"));
        p.expect(ack(2).seq(2));
        p.expect_no_answer();
        p.expect_state("TIME-WAIT");
    });
}

#[test]
fn old_acks_in_time_wait_are_answered_but_not_for_ever() {
    covers!("9293-TW-OTHER", "ACK-LOOP");
    everywhere(|p| {
        into_time_wait(p, false);
        p.send(ack(2).seq(1));
        p.expect(ack(2).seq(2));
        if p.on_linux("its limit of two answers a second is turned off here") {
            return;
        }
        let mut answers = 0;
        for _ in 0..1_000 {
            p.send(ack(2).seq(1));
            answers += p.pass(std::time::Duration::ZERO).len();
        }
        assert!(answers <= 20, "{answers}");
        p.expect_state("TIME-WAIT");
    });
}

#[test]
fn a_plain_ack_in_time_wait_is_not_answered() {
    covers!("9293-TW-OTHER", "ACK-LOOP");
    everywhere(|p| {
        into_time_wait(p, false);
        for _ in 0..3 {
            p.send(ack(2).seq(2));
            p.expect_no_answer();
        }
        p.expect_state("TIME-WAIT");
    });
}

#[test]
fn a_reset_does_not_end_time_wait() {
    covers!("1337-F1");
    everywhere(|p| {
        into_time_wait(p, false);
        for segment in [rst(1), rst(3), rst(1000), seg(R | A).seq(1).ack(2)] {
            p.send(segment);
            let answer = p.next(SOON);
            assert!(answer.iter().all(|got| got.flags == A), "never a RST for a RST");
            p.expect_state("TIME-WAIT");
        }
        p.send(rst(2));
        p.expect_no_answer();
        if p.on_linux("a RST exactly at RCV.NXT ends TIME-WAIT unless tcp_rfc1337 is set") {
            assert_eq!(p.count("TIME-WAIT"), 0);
        } else {
            p.expect_state("TIME-WAIT");
        }
    });
}

#[test]
fn a_syn_beyond_the_old_numbers_takes_the_tuple() {
    covers!("9293-MAY-2", "6191-B1");
    everywhere(|p| {
        into_time_wait(p, false);
        expect_reuse(p, 3, seg(S).mss(1460));
    });
}

#[test]
fn a_reused_tuple_carries_a_connection() {
    covers!("9293-MAY-2");
    everywhere(|p| {
        into_time_wait(p, false);
        let isn = p.flow.isn.wrapping_add(1_000_000);
        p.flow = Flow::new(PEER_PORT, isn);
        p.accept();
        p.send(data(1, b"anew"));
        p.expect(ack(5).seq(1));
        assert_eq!(p.app_read(), Read::Data(b"anew".to_vec()));
    });
}

#[test]
fn a_syn_with_an_old_number_proves_nothing() {
    covers!("6191-DROP", "6191-B1");
    everywhere(|p| {
        into_time_wait(p, false);
        for seq in [2, 1, 0, 0x9000_0000] {
            expect_no_reuse(p, seg(S).seq(seq).mss(1460));
        }
    });
}

#[test]
fn a_newer_timestamp_proves_a_new_syn_whatever_its_number() {
    covers!("9293-SHLD-4");
    everywhere(|p| {
        into_time_wait(p, true);
        let newer = tsval(p).wrapping_add(5_000);
        expect_reuse(p, 0xf000_0000, seg(S).mss(1460).ts(newer, 0));
    });
}

#[test]
fn with_an_equal_timestamp_the_number_decides() {
    covers!("6191-A2", "6191-DROP");
    everywhere(|p| {
        p.flow.ts_frozen = true;
        into_time_wait(p, true);
        let last = TS_BASE;
        expect_no_reuse(p, seg(S).seq(2).mss(1460).ts(last, 0));
        expect_reuse(p, 3, seg(S).mss(1460).ts(last, 0));
    });
}

#[test]
fn an_older_timestamp_proves_nothing() {
    covers!("6191-DROP");
    everywhere(|p| {
        into_time_wait(p, true);
        let older = TS_BASE - 1_000;
        expect_no_reuse(p, seg(S).seq(2).mss(1460).ts(older, 0));
        expect_no_reuse(p, seg(S).seq(1_000).mss(1460).ts(older, 0));
    });
}

#[test]
fn a_syn_without_the_timestamps_of_old_needs_a_number_beyond() {
    covers!("6191-A3", "6191-DROP");
    everywhere(|p| {
        into_time_wait(p, true);
        expect_no_reuse(p, seg(S).seq(2).mss(1460));
        expect_reuse(p, 3, seg(S).mss(1460));
    });
}

#[test]
fn timestamps_where_there_were_none_prove_a_new_syn() {
    covers!("6191-B1");
    everywhere(|p| {
        into_time_wait(p, false);
        if p.on_linux("new timestamps alone prove nothing: the number must be beyond") {
            expect_no_reuse(p, seg(S).seq(1).mss(1460).ts(TS_BASE, 0));
            return;
        }
        expect_reuse(p, 0xf000_0000, seg(S).mss(1460).ts(TS_BASE, 0));
    });
}

#[test]
fn our_own_numbers_and_timestamps_grow_so_that_peers_can_reuse() {
    covers!("6191-ISN");
    let setup = |s: &mut super::in_memory::Setup| s.listen = false;
    handfast_with("the kernel chooses another port or waits", setup, |p| {
        let mut last: Option<(u32, u32)> = None;
        for _ in 0..5 {
            p.flow = Flow::new(PEER_PORT, p.flow.isn.wrapping_add(1_000_000));
            let syn = p.connect();
            let (isn, ts) = (syn.wire.seq, syn.options.ts.expect("timestamps").0);
            if let Some((old_isn, old_ts)) = last {
                assert!((1..1 << 31).contains(&isn.wrapping_sub(old_isn)), "the ISN grows");
                assert!((1..1 << 31).contains(&ts.wrapping_sub(old_ts)), "TSval grows");
            }
            p.send(syn_ack().ack(1));
            p.expect(ack(1).seq(1));
            // The peer closes first, so the peer has TIME-WAIT.
            p.send(fin(1));
            p.expect(ack(2).seq(1));
            p.app_close();
            p.expect(fin(1).ack(2));
            p.send(ack(2));
            p.pass(millis(100));
            last = Some((isn + 2, ts));
        }
    });
}

#[test]
fn a_full_time_wait_table_lets_the_oldest_go() {
    covers!("TW-BOUND", "LIM-1", "LIM-2");
    let setup = |s: &mut super::in_memory::Setup| s.limits.time_wait = 4;
    handfast_with("it sets the table's limit", setup, |p| {
        p.on_port(60_000, |p| p.accept());
        for at in 0..10 {
            p.on_port(50_000 + at, |p| {
                p.accept();
                p.app_close();
                p.expect(fin(1).ack(1));
                p.send(fin(1).ack(2));
                p.expect(ack(2).seq(2));
                p.pass(secs(1));
            });
        }
        let snapshot = p.target.snapshot().unwrap();
        assert_eq!(p.count("TIME-WAIT"), 4);
        assert_eq!(snapshot.time_wait["evicted"], 6);
        p.expect_state("ESTABLISHED");
        for (port, known) in [(50_000, false), (50_005, false), (50_006, true), (50_009, true)] {
            p.on_port(port, |p| {
                p.send(seg(A).seq(0).ack(0).text(b"x"));
                let got = p.next(SOON).expect("an answer");
                assert_eq!(got.flags == A, known, "{port}");
            });
        }
    });
}
