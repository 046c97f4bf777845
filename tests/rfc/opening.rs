//! Opening: passive, active, simultaneous (RFC 9293 §3.5, §3.10.7.1–§3.10.7.4).

use super::peer::*;
use super::segment::*;
use super::target::*;

#[test]
fn a_syn_is_answered_once_by_a_syn_ack() {
    covers!("9293-3WHS", "9293-MUST-42");
    everywhere(|p| {
        p.send(syn());
        p.expect(syn_ack().ack(1).text(b""));
        p.expect_silence(millis(900));
        p.send(ack(1));
        p.expect_silence(secs(3));
        p.sock = p.target.accept();
        p.expect_state("ESTABLISHED");
        p.expect_state("LISTEN");
        p.on_port(40_001, |p| p.accept());
        p.send(data(1, b"still alive"));
        p.expect(ack(12).seq(1));
        assert_eq!(p.app_read(), Read::Data(b"still alive".to_vec()));
    });
}

#[test]
fn syns_that_cross_open_one_connection() {
    covers!("9293-MUST-10");
    everywhere_without_listener(|p| {
        p.connect();
        p.send(syn());
        // The same number as on the SYN.
        p.expect(syn_ack().seq(0).ack(1));
        p.send(seg(S | A).seq(0).ack(1));
        p.pass(SOON);
        p.expect_state("ESTABLISHED");
        let sock = p.sock();
        assert!(p.target.is_connected(sock));
        p.send(data(1, b"both").ack(1));
        p.expect(ack(5).seq(1));
        assert_eq!(p.app_write(b"ways"), 4);
        p.expect(data(1, b"ways").ack(5));
    });
}

#[test]
fn an_ack_alone_completes_a_simultaneous_open() {
    covers!("9293-MUST-10");
    everywhere_without_listener(|p| {
        p.connect();
        p.send(syn());
        p.expect(syn_ack().seq(0).ack(1));
        p.send(ack(1).seq(1));
        p.expect_no_answer();
        p.expect_state("ESTABLISHED");
    });
}

#[test]
fn a_passive_open_that_is_reset_listens_again() {
    covers!("9293-MUST-11", "9293-SYNRCVD-RST");
    everywhere(|p| {
        p.enter("SYN-RECEIVED");
        p.send(rst(1));
        p.expect_silence(secs(10));
        assert_eq!(p.count("SYN-RECEIVED"), 0);
        assert_eq!(p.target.accept(), None);
        p.flow.snd_nxt = 0;
        p.flow.rcv_nxt = 0;
        p.send(syn());
        p.expect(syn_ack().ack(1));
    });
}

#[test]
fn an_active_open_that_is_reset_in_syn_received_was_refused() {
    covers!("9293-MUST-11");
    everywhere_without_listener(|p| {
        p.connect();
        p.send(syn());
        p.expect(syn_ack().seq(0).ack(1));
        p.send(rst(1));
        p.expect_no_answer();
        let refused = Read::Fault(Fault::Refused);
        if p.on_linux("the application is told ECONNRESET instead of ECONNREFUSED") {
            assert_eq!(p.app_read(), Read::Fault(Fault::Reset));
        } else {
            assert_eq!(p.app_read(), refused);
        }
    });
}

#[test]
fn a_wrong_ack_in_syn_sent_is_answered_by_a_reset() {
    covers!("9293-SYNSENT-BADACK");
    everywhere_without_listener(|p| {
        p.connect();
        for wrong in [0, 2, 0x4000_0000] {
            let number = p.flow.irs.unwrap().wrapping_add(wrong);
            p.send(syn_ack().ack(wrong));
            p.expect(seg(R).abs_seq(number));
            p.send(seg(A).seq(1).ack(wrong));
            p.expect(seg(R).abs_seq(number));
            // Never a RST for a RST.
            p.send(seg(R | A).seq(1).ack(wrong));
            if p.on_linux("after an old ACK in SYN-SENT the SYN is sent again at once, not after its timeout") {
                p.pass(millis(50));
            } else {
                p.expect_no_answer();
            }
        }
        p.expect_state("SYN-SENT");
        p.expect_within(secs(2), seg(S).seq(0));
        p.send(syn_ack().ack(1));
        p.expect(ack(1).seq(1));
    });
}

#[test]
fn a_reset_in_syn_sent_counts_only_with_an_ack_of_the_syn() {
    covers!("9293-SYNSENT-RST");
    everywhere_without_listener(|p| {
        p.connect();
        p.send(rst(0));
        p.send(rst(1));
        p.expect_no_answer();
        p.expect_state("SYN-SENT");
        p.send(seg(R | A).seq(0).ack(1));
        p.expect_silence(secs(5));
        assert_eq!(p.app_read(), Read::Fault(Fault::Refused));
    });
}

#[test]
fn a_fin_does_nothing_before_the_handshake() {
    covers!("9293-SYNSENT-NOFIN");
    everywhere_without_listener(|p| {
        p.connect();
        p.send(seg(F).seq(0));
        p.expect_no_answer();
        p.send(seg(F | A).seq(0).ack(1));
        p.expect_no_answer();
        p.expect_state("SYN-SENT");
        p.send(syn_ack().ack(1));
        p.expect(ack(1).seq(1));
        p.expect_state("ESTABLISHED");
        let end = p.app_read();
        assert_eq!(end, Read::Nothing);
    });
}

#[test]
fn a_fin_to_a_listener_makes_nothing() {
    covers!("9293-SYNSENT-NOFIN", "9293-LISTEN-OTHER");
    everywhere(|p| {
        for flags in [0, F, P, U, F | P | U] {
            p.send(seg(flags).seq(5));
            p.expect_no_answer();
            p.send(seg(flags).seq(5).text(b"text"));
            p.expect_no_answer();
        }
        assert_eq!(p.count("SYN-RECEIVED") + p.count("CLOSE-WAIT"), 0);
    });
}

#[test]
fn a_listener_ignores_resets() {
    covers!("9293-LISTEN-RST");
    everywhere(|p| {
        for segment in [rst(0), seg(R | A).seq(0).abs_ack(77), seg(R | S).seq(0), seg(R | F | A).seq(9).abs_ack(0)] {
            p.send(segment);
            p.expect_no_answer();
        }
        p.send(syn());
        p.expect(syn_ack().ack(1));
    });
}

#[test]
fn a_listener_resets_acks_that_match_nothing() {
    covers!("9293-LISTEN-ACK", "4987-COOKIE-VERIFY");
    everywhere(|p| {
        for (flags, number) in [(A, 1000), (A | F, 1001), (A | P, u32::MAX), (A | S, 0), (A | U, 0x8000_0000)] {
            p.send(seg(flags).seq(0).abs_ack(number));
            p.expect(seg(R).abs_seq(number).text(b""));
        }
        p.send(seg(A).seq(0).abs_ack(1000).text(b"with text"));
        p.expect(seg(R).abs_seq(1000));
        assert_eq!(p.target.accept(), None);
    });
}

#[test]
fn text_on_a_syn_is_not_read_before_the_handshake_is_over() {
    covers!("9293-SYN-DATA");
    everywhere(|p| {
        p.send(syn().text(b"0123456789"));
        let got = p.expect(syn_ack());
        assert!(got.ack == 1 || got.ack == 11, "all or nothing: {}", got.ack);
        assert_eq!(p.target.accept(), None);
        p.send(seg(A | P).seq(1).ack(1).text(b"0123456789"));
        p.expect(ack(11).seq(1));
        p.sock = p.target.accept();
        assert_eq!(p.app_read(), Read::Data(b"0123456789".to_vec()));
        assert_eq!(p.app_read(), Read::Nothing);
    });
}

#[test]
fn syn_and_fin_together_open_at_most() {
    covers!("9293-SYNFIN");
    everywhere(|p| {
        p.send(seg(S | F).seq(0).mss(1460));
        let first = p.next(SOON);
        assert!(first.iter().all(|got| got.flags == S | A && got.ack == 1), "{first:?}");
        let states = ["ESTABLISHED", "CLOSE-WAIT", "LAST-ACK", "TIME-WAIT"];
        assert_eq!(states.map(|s| p.count(s)), [0; 4]);
        if first.is_none() {
            assert!(p.on_linux("a SYN with FIN is dropped in silence"));
        } else {
            p.send(ack(1).seq(1));
            p.expect_no_answer();
            p.expect_state("ESTABLISHED");
        }
    });
}

#[test]
fn a_syn_is_sent_again_for_three_minutes() {
    covers!("9293-MUST-23", "6298-2.1");
    let setup = |s: &mut super::in_memory::Setup| s.listen = false;
    in_memory_with("it takes three minutes", setup, |p| {
        let first = p.connect().at;
        let mut gaps = vec![];
        let mut last = first;
        while let Some(again) = p.next(secs(100)) {
            assert_eq!((again.flags, again.seq), (S, 0));
            gaps.push((again.at - last).as_secs());
            last = again.at;
        }
        assert_eq!(gaps[..6], [1, 2, 4, 8, 16, 32], "doubled from one second");
        assert_eq!(p.app_read(), Read::Fault(Fault::TimedOut));
        let _ = first;
    });
}

#[test]
fn giving_up_a_syn_takes_at_least_three_minutes() {
    covers!("9293-MUST-23");
    let setup = |s: &mut super::in_memory::Setup| s.listen = false;
    in_memory_with("it takes three minutes", setup, |p| {
        p.connect();
        p.pass(secs(179));
        p.expect_state("SYN-SENT");
        assert_eq!(p.app_read(), Read::Nothing);
        p.pass(secs(300));
        assert_eq!(p.count("SYN-SENT"), 0);
        assert_eq!(p.app_read(), Read::Fault(Fault::TimedOut));
    });
}

#[test]
fn a_syn_and_a_syn_ack_are_first_sent_again_after_one_second() {
    covers!("6298-2.1");
    everywhere(|p| {
        p.send(syn());
        let first = p.expect(syn_ack()).at;
        let second = p.expect_within(secs(2), syn_ack().seq(0).ack(1)).at;
        let gap = second - first;
        assert!(gap >= millis(950) && gap < millis(1_300), "{gap:?}");
        let third = p.expect_within(secs(4), syn_ack().seq(0).ack(1)).at - second;
        assert!(third >= millis(1_900) && third < millis(2_500), "{third:?}");
    });
}

/// Nobody is asked where a peer is for the sake of a handshake that may never be completed.
#[test]
fn a_syn_ack_is_sent_again_to_where_the_syn_came_from() {
    covers!("6298-2.1");
    let stage = stage().handfast_only("the kernel's neighbour is entered by hand here");
    stage.with(|setup| setup.knows_peer = false).play(|p| {
        p.answers_neighbour = false;
        p.send(syn());
        p.expect(syn_ack().seq(0).ack(1));
        p.expect_within(secs(2), syn_ack().seq(0).ack(1));
        p.expect_within(secs(4), syn_ack().seq(0).ack(1));
        p.send(ack(1));
        p.sock = p.target.accept();
        p.app_write(b"here");
        p.expect(data(1, b"here"));
    });
}

#[test]
fn after_a_lost_syn_ack_data_waits_three_seconds() {
    covers!("6298-5.7");
    everywhere(|p| {
        p.send(syn());
        p.expect(syn_ack());
        p.expect_within(secs(2), syn_ack());
        p.send(ack(1));
        p.sock = p.target.accept();
        p.app_write(b"lost");
        let first = p.expect(data(1, b"lost")).at;
        let again = p.expect_within(secs(5), data(1, b"lost")).at - first;
        assert!(again >= millis(2_900) && again < millis(3_500), "{again:?}");
    });
}

#[test]
fn with_timestamps_a_lost_syn_ack_still_gives_a_sample() {
    covers!("6298-5.7");
    handfast_only("Linux keeps its three seconds or not by version", |p| {
        p.send(syn().ts(TS_BASE, 0));
        p.expect(syn_ack());
        let tsval = p.expect_within(secs(2), syn_ack()).options.ts.unwrap().0;
        p.flow.ts = Some((TS_BASE, tsval));
        p.send(ack(1));
        p.sock = p.target.accept();
        p.app_write(b"lost");
        let first = p.expect(data(1, b"lost")).at;
        let again = p.expect_within(secs(5), data(1, b"lost")).at - first;
        assert!(again < secs(2), "{again:?}");
    });
}

#[test]
fn a_listener_leaves_connections_alone() {
    covers!("9293-MUST-41", "9293-MUST-42");
    everywhere(|p| {
        p.accept();
        for port in 50_000..50_020 {
            p.on_port(port, |p| p.accept());
        }
        p.send(data(1, b"hello"));
        p.expect(ack(6).seq(1));
        assert_eq!(p.count("ESTABLISHED"), 21);
    });
}
