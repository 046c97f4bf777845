//! Handshakes on their less trodden ways: what may come with, instead of and between their three segments
//! (RFC 9293 §3.5, §3.10.7.2–§3.10.7.4).

use super::peer::*;
use super::segment::*;
use super::target::*;

const TEXT: &[u8] = b"0123456789";

fn half_open(p: &mut Peer) {
    p.send(syn());
    p.expect(syn_ack().ack(1));
}

fn expect_accepted(p: &mut Peer) {
    p.sock = p.target.accept();
    assert!(p.sock.is_some(), "the application is told");
}

#[test]
fn text_on_the_last_ack_of_a_handshake_is_read() {
    covers!("9293-3WHS");
    everywhere(|p| {
        half_open(p);
        p.send(data(1, TEXT).ack(1));
        p.expect(ack(11).seq(1));
        expect_accepted(p);
        assert_eq!(p.app_read(), Read::Data(TEXT.to_vec()));
    });
}

#[test]
fn text_completes_a_handshake_whose_last_ack_was_lost() {
    covers!("9293-3WHS");
    everywhere(|p| {
        half_open(p);
        p.note("the last ACK is lost, and so is the first text");
        p.send(data(11, TEXT).ack(1));
        let got = p.expect(seg(A).seq(1));
        assert_eq!(got.ack, 1);
        p.send(data(1, TEXT).ack(1));
        p.expect(ack(21).seq(1));
        expect_accepted(p);
        assert_eq!(p.app_read(), Read::Data([TEXT, TEXT].concat()));
    });
}

#[test]
fn a_fin_on_the_last_ack_of_a_handshake_closes() {
    covers!("9293-3WHS", "9293-FINDATA");
    everywhere(|p| {
        half_open(p);
        p.send(fin(1).ack(1));
        p.expect(ack(2).seq(1));
        expect_accepted(p);
        assert_eq!(p.app_read(), Read::End);
        p.expect_state("CLOSE-WAIT");
    });
}

#[test]
fn text_and_fin_on_the_last_ack_of_a_handshake_are_a_whole_request() {
    covers!("9293-3WHS", "9293-FINDATA");
    everywhere(|p| {
        half_open(p);
        p.send(fin(1).ack(1).text(TEXT));
        p.expect(ack(12).seq(1));
        expect_accepted(p);
        assert_eq!(p.app_read(), Read::Data(TEXT.to_vec()));
        assert_eq!(p.app_read(), Read::End);
        p.app_write(b"answer");
        p.expect(data(1, b"answer").ack(12));
    });
}

#[test]
fn the_last_ack_again_is_not_answered() {
    covers!("9293-3WHS");
    everywhere(|p| {
        p.accept();
        for _ in 0..3 {
            p.send(ack(1).seq(1));
        }
        p.expect_no_answer();
        p.expect_state("ESTABLISHED");
    });
}

#[test]
fn the_syn_ack_is_the_same_each_time() {
    covers!("9293-3WHS", "6298-2.1");
    everywhere(|p| {
        p.send(syn().sack_ok().wscale(5).ts(TS_BASE, 0));
        let first = p.expect(syn_ack().ack(1));
        let again = p.expect_within(secs(2), syn_ack().ack(1));
        assert_eq!(first.wire.seq, again.wire.seq);
        assert_eq!((again.options.mss, again.options.wscale), (first.options.mss, first.options.wscale));
        assert!(again.options.sack_ok && again.options.ts.unwrap().1 == TS_BASE);
        p.flow.ts = Some((TS_BASE, again.options.ts.unwrap().0));
        p.send(ack(1));
        expect_accepted(p);
    });
}

#[test]
fn the_ack_of_a_handshake_must_lie_in_the_window() {
    covers!("9293-ACCEPT4");
    everywhere(|p| {
        for (at, seq) in [u32::MAX, 0, 70_000, 0x8000_0000].into_iter().enumerate() {
            // Each on its own, as answers to what may be one itself are rare.
            p.on_port(47_100 + at as u16, |p| {
                half_open(p);
                p.send(seg(A).seq(seq).ack(1));
                p.expect(ack(1).seq(1));
                p.expect_state("SYN-RECEIVED");
                p.flow.snd_nxt = 1;
                p.send(ack(1).seq(1));
                expect_accepted(p);
            });
        }
        assert_eq!((p.count("ESTABLISHED"), p.count("SYN-RECEIVED")), (4, 0));
    });
}

#[test]
fn an_old_timestamp_does_not_complete_a_handshake() {
    covers!("7323-PAWS-R1");
    everywhere(|p| {
        p.send(syn().ts(TS_BASE, 0));
        let tsval = p.expect(syn_ack().ack(1)).options.ts.unwrap().0;
        p.send(seg(A).seq(1).ack(1).ts(TS_BASE - 1, tsval));
        p.expect(ack(1).seq(1));
        p.expect_state("SYN-RECEIVED");
        p.send(seg(A).seq(1).ack(1).ts(TS_BASE, tsval));
        p.expect_no_answer();
        p.expect_state("ESTABLISHED");
    });
}

#[test]
fn a_syn_that_offers_no_window_opens_and_waits_for_one() {
    covers!("9293-3WHS", "9293-MUST-35");
    everywhere(|p| {
        p.send(syn().wnd(0));
        p.expect(syn_ack().ack(1));
        p.send(ack(1).wnd(0));
        expect_accepted(p);
        p.app_write(TEXT);
        p.expect_silence(millis(100));
        p.send(ack(1).wnd(1_000));
        p.expect(data(1, TEXT));
    });
}

#[test]
fn a_syn_with_urgent_and_push_is_a_syn() {
    covers!("9293-3WHS", "9293-MUST-30");
    everywhere(|p| {
        p.send(seg(S | P | U).seq(0).mss(1_460).urgent(5));
        p.expect(syn_ack().ack(1));
        p.send(ack(1));
        expect_accepted(p);
    });
}

#[test]
fn handshakes_side_by_side_do_not_disturb_each_other() {
    covers!("9293-3WHS", "9293-MUST-41");
    everywhere(|p| {
        // As many as are done before the first SYN-ACK is due again, one delayed acknowledgement after another.
        let flows: Vec<Flow> = (0..10)
            .map(|at| {
                p.flow = Flow::new(30_000 + at, u32::from(at).wrapping_mul(0x1111_1111));
                p.send(syn());
                p.flow.clone()
            })
            .collect();
        for flow in flows.into_iter().rev() {
            p.flow = flow;
            p.expect(syn_ack().ack(1));
            p.send(data(1, &p.flow.port.to_be_bytes()).ack(1));
            p.expect(ack(3).seq(1));
            expect_accepted(p);
            assert_eq!(p.app_read(), Read::Data(p.flow.port.to_be_bytes().to_vec()));
        }
        assert_eq!((p.count("ESTABLISHED"), p.count("SYN-RECEIVED")), (10, 0));
    });
}

#[test]
fn an_ack_of_the_syn_alone_does_not_open() {
    covers!("9293-SYNSENT-BADACK");
    everywhere_without_listener(|p| {
        p.connect();
        p.send(seg(A).seq(1).ack(1));
        p.send(data(1, TEXT).ack(1));
        p.expect_no_answer();
        p.expect_state("SYN-SENT");
        assert_eq!(p.app_read(), Read::Nothing);
    });
}

#[test]
fn text_on_a_syn_ack_is_read_once() {
    covers!("9293-SYN-DATA");
    everywhere_without_listener(|p| {
        p.connect();
        p.send(syn_ack().ack(1).text(TEXT));
        let got = p.expect(seg(A).seq(1));
        assert!(got.ack == 1 || got.ack == 11, "all or nothing: {}", got.ack);
        p.send(data(1, TEXT).ack(1));
        p.pass(SOON);
        assert_eq!(p.app_read(), Read::Data(TEXT.to_vec()));
        assert_eq!(p.app_read(), Read::Nothing);
    });
}

#[test]
fn a_fin_on_a_syn_ack_does_not_get_lost() {
    covers!("9293-SYNFIN");
    everywhere_without_listener(|p| {
        p.connect();
        p.send(seg(S | A | F).seq(0).ack(1).mss(1_460));
        if p.on_linux("a SYN-ACK with FIN is dropped in silence") && p.count("SYN-SENT") == 1 {
            return;
        }
        let got = p.expect(seg(A).seq(1));
        assert!(got.ack == 1 || got.ack == 2, "{}", got.ack);
        p.send(fin(1).ack(1));
        p.pass(SOON);
        p.expect_state("CLOSE-WAIT");
    });
}

#[test]
fn the_syn_ack_again_is_acknowledged_again() {
    covers!("5961-4.2");
    everywhere_without_listener(|p| {
        p.connect();
        for _ in 0..3 {
            p.send(syn_ack().ack(1));
            p.expect(ack(1).seq(1));
        }
        p.expect_state("ESTABLISHED");
    });
}

#[test]
fn our_syn_again_is_the_same_syn() {
    covers!("6298-2.1");
    everywhere_without_listener(|p| {
        let first = p.connect();
        let again = p.expect_within(secs(2), seg(S).seq(0));
        assert_eq!(first.wire.seq, again.wire.seq);
        assert_eq!((again.options.mss, again.options.wscale), (first.options.mss, first.options.wscale));
        assert!(again.options.ts.unwrap().0.wrapping_sub(first.options.ts.unwrap().0) < 1_200);
    });
}

#[test]
fn a_syn_ack_that_offers_no_window_opens_and_waits_for_one() {
    covers!("9293-MUST-35");
    everywhere_without_listener(|p| {
        p.connect();
        p.send(syn_ack().ack(1).mss(1_460).wnd(0));
        p.expect(ack(1).seq(1));
        p.app_write(TEXT);
        p.expect_silence(millis(100));
        p.send(ack(1).seq(1).wnd(1_000));
        p.expect(data(1, TEXT));
    });
}

#[test]
fn a_syn_ack_decides_the_options_of_an_active_open() {
    covers!("7323-3.2-NEG", "7323-2.2", "9293-MUST-15");
    everywhere_without_listener(|p| {
        let offered = p.connect().options;
        let (tsval, _) = offered.ts.unwrap();
        p.flow.ts = Some((TS_BASE, tsval));
        p.send(syn_ack().ack(1).mss(500).wscale(2).sack_ok().ts(TS_BASE, tsval));
        let got = p.expect(ack(1).seq(1));
        assert_eq!(got.options.ts.unwrap().1, TS_BASE);
        assert!(u32::from(got.wnd) << offered.wscale.unwrap() >= 60_000, "scaled from now on");
        p.app_write(&[b'x'; 1_000]);
        p.expect(seg(A).seq(1).text_len(488));
        p.send(data(11, TEXT).ack(1));
        while let Some(got) = p.next(SOON) {
            if got.text.is_empty() {
                assert_eq!(got.sack, [(11, 21)]);
                return;
            }
        }
        panic!("no SACK");
    });
}

#[test]
fn crossing_syns_agree_on_options() {
    covers!("9293-MUST-10", "7323-3.2-NEG");
    everywhere_without_listener(|p| {
        p.connect();
        p.send(syn().sack_ok().wscale(4).ts(TS_BASE, 0));
        let got = p.expect(syn_ack().seq(0).ack(1));
        assert_eq!(got.options.ts.unwrap().1, TS_BASE);
        assert!(got.options.sack_ok && got.options.wscale.is_some() && got.options.mss.is_some());
        p.flow.ts = Some((TS_BASE, got.options.ts.unwrap().0));
        p.send(data(1, TEXT).ack(1));
        let got = p.expect(ack(11));
        assert!(got.options.ts.is_some());
        assert_eq!(p.app_read(), Read::Data(TEXT.to_vec()));
    });
}

#[test]
fn after_crossing_syns_the_syn_ack_is_sent_again() {
    covers!("9293-MUST-10", "6298-2.1");
    everywhere_without_listener(|p| {
        p.connect();
        p.send(syn());
        let first = p.expect(syn_ack().seq(0).ack(1));
        let again = p.expect_within(secs(3), syn_ack().seq(0).ack(1));
        assert!(again.at - first.at >= millis(400));
        p.expect_state("SYN-RECEIVED");
    });
}

#[test]
fn a_fin_may_follow_crossing_syns() {
    covers!("9293-MUST-10", "9293-FINDATA");
    everywhere_without_listener(|p| {
        p.connect();
        p.send(syn());
        p.expect(syn_ack().seq(0).ack(1));
        p.send(fin(1).ack(1));
        p.expect(ack(2).seq(1));
        p.expect_state("CLOSE-WAIT");
        assert_eq!(p.app_read(), Read::End);
    });
}

#[test]
fn who_asks_for_fast_open_gets_an_ordinary_handshake() {
    covers!("7413-4", "9293-SYN-DATA");
    everywhere(|p| {
        const COOKIE: [u8; 10] = [34, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        for (at, (option, text)) in
            [(&[34, 2][..], &b""[..]), (&[34, 2], b"early"), (&COOKIE, b""), (&COOKIE, b"early")]
                .into_iter()
                .enumerate()
        {
            p.on_port(44_200 + at as u16, |p| {
                p.send(seg(S).seq(0).mss(1460).options(option).text(text));
                let got = p.expect(syn_ack());
                assert_eq!(got.options.unknown, [0u8; 0], "no cookie is given out");
                assert_eq!(got.ack, 1, "what came early is not acknowledged");
                p.send(data(1, b"early").ack(1));
                p.expect(ack(6).seq(1));
                p.sock = p.target.accept();
                assert_eq!(p.app_read(), Read::Data(b"early".to_vec()), "once");
            });
        }
    });
}
