//! Options: MSS, window scale, timestamps, SACK, and those that nobody knows (RFC 9293 §3.2, RFC 7323, RFC 2018).

use super::peer::*;
use super::segment::*;
use super::target::*;

#[test]
fn unknown_options_are_skipped_in_any_segment() {
    covers!("9293-MUST-4", "9293-MUST-64");
    everywhere(|p| {
        let unknown = [254, 4, 1, 2, 1, 253, 3, 9, 1, 0, 77, 77];
        p.send(seg(S).seq(0).options(&[254, 3, 9]).mss(777).options(&[1, 1, 253, 2, 0, 66, 66]));
        p.expect(syn_ack().ack(1));
        p.send(seg(A).options(&unknown));
        p.sock = p.target.accept();
        p.send(data(1, b"text").options(&unknown));
        p.expect(ack(5).seq(1));
        p.app_write(&[b'x'; 1_000]);
        p.expect(seg(A).seq(1).text_len(777));
        p.send(fin(5).ack(778).options(&unknown));
        let answers = p.pass(millis(50));
        assert!(answers.iter().any(|got| got.ack == 6), "{answers:?}");
    });
}

#[test]
fn illegal_option_lengths_are_survived() {
    covers!("9293-MUST-7");
    everywhere(|p| {
        let rows: [&[u8]; 8] = [
            &[2, 0, 5, 0xb4],
            &[2, 1, 5, 0xb4],
            &[254, 0],
            &[254, 200],
            &[1, 1, 1, 2],
            &[3, 255, 1],
            &[8, 10, 1, 2],
            &[5, 3, 1, 1],
        ];
        for (at, options) in rows.into_iter().enumerate() {
            p.on_port(42_000 + at as u16, |p| {
                p.send(seg(S).seq(0).options(options));
                let answer = p.next(SOON);
                assert!(answer.iter().all(|got| [S | A, R | A].contains(&got.flags)), "an answer or silence");
                p.send(rst(1));
                p.expect_no_answer();
            });
        }
        p.accept();
        for options in rows {
            p.send(data(1, b"x").options(options));
            p.next(SOON);
        }
        p.expect_state("ESTABLISHED");
        p.send(data(1, b"xyz"));
        p.expect(ack(4));
    });
}

#[test]
fn a_header_longer_than_the_segment_is_dropped() {
    covers!("9293-MUST-7");
    everywhere(|p| {
        for words in [0, 4, 6, 15] {
            p.send(seg(S).seq(0).tweak(|t| t.data_offset = Some(words)));
            p.expect_no_answer();
        }
        assert_eq!(p.count("SYN-RECEIVED"), 0);
    });
}

#[test]
fn options_need_not_be_aligned() {
    covers!("9293-MUST-64");
    everywhere(|p| {
        let octets = [3, 3, 2, 8, 10, 0, 15, 66, 64, 0, 0, 0, 0, 4, 2, 2, 4, 2, 0];
        p.send(seg(S).seq(0).options(&octets));
        let got = p.expect(syn_ack().ack(1));
        assert_eq!(got.options.ts.unwrap().1, 1_000_000);
        assert!(got.options.sack_ok && got.options.wscale.is_some());
        let tsecr = got.options.ts.unwrap().0;
        p.send(seg(A).options(&[8, 10, 0, 15, 66, 64]).options(&tsecr.to_be_bytes()));
        p.sock = p.target.accept();
        p.app_write(&[b'x'; 600]);
        p.expect(seg(A).seq(1).text_len(500));
    });
}

#[test]
fn mss_stands_on_our_syns_and_nowhere_else() {
    covers!("9293-MUST-14", "9293-MUST-15");
    everywhere(|p| {
        let got = p.accept_with(syn());
        assert_eq!(got.options.mss, Some(1_460), "MTU less the fixed headers");
        p.app_write(b"data");
        assert_eq!(p.expect(data(1, b"data")).options, Options::default());
        p.send(fin(1).ack(5));
        assert_eq!(p.expect(ack(2)).options, Options::default());
        p.app_shutdown();
        assert_eq!(p.expect(fin(5)).options, Options::default());
    });
}

#[test]
fn our_own_syn_carries_mss() {
    covers!("9293-MUST-14");
    everywhere_without_listener(|p| {
        let got = p.connect();
        assert_eq!(got.options.mss, Some(1_460));
        assert!(got.options.sack_ok && got.options.ts.is_some() && got.options.wscale.is_some());
        assert_eq!(got.options.ts.unwrap().1, 0, "nothing to echo yet");
        p.send(syn_ack().ack(1));
        assert_eq!(p.expect(ack(1)).options, Options::default(), "nothing was agreed on");
    });
}

#[test]
fn without_an_mss_segments_carry_536_octets() {
    covers!("9293-MUST-15");
    stage().ipv4().play(|p| {
        p.accept_with(seg(S).seq(0));
        p.app_write(&[b'x'; 2_000]);
        p.expect(seg(A).seq(1).text_len(536));
        p.expect(seg(A).seq(537).text_len(536));
    });
}

#[test]
fn the_octets_of_options_are_taken_from_the_mss() {
    covers!("9293-MUST-15");
    stage().ipv4().play(|p| {
        p.accept_with(seg(S).seq(0).ts(TS_BASE, 0));
        p.app_write(&[b'x'; 2_000]);
        p.expect(seg(A).seq(1).text_len(524));
    });
}

#[test]
fn a_large_mss_means_what_our_link_carries() {
    covers!("9293-MUST-15");
    everywhere(|p| {
        p.accept_with(seg(S).seq(0).mss(9_000));
        p.app_write(&[b'x'; 4_000]);
        p.expect(seg(A).seq(1).text_len(1_460));
    });
}

#[test]
fn a_tiny_mss_does_not_multiply_segments() {
    covers!("MSS-FLOOR");
    everywhere(|p| {
        for (at, mss) in [0, 1, 8, 47].into_iter().enumerate() {
            p.on_port(42_100 + at as u16, |p| {
                p.accept_with(seg(S).seq(0).mss(mss));
                p.app_write(&[b'x'; 400]);
                let got = p.next(secs(1)).expect("data");
                assert!(got.text.len() >= 36, "mss {mss}: {}", got.text.len());
                p.send(rst(1));
            });
        }
    });
}

#[test]
fn windows_are_scaled_only_if_both_syns_say_so() {
    covers!("7323-2.2");
    everywhere(|p| {
        let got = p.accept_with(syn());
        assert_eq!(got.options.wscale, None, "not offered, not answered");
        p.on_port(42_200, |p| {
            let got = p.accept_with_window(syn().wscale(3), 100);
            let shift = got.options.wscale.expect("offered, and answered");
            p.send(data(1, b"x").wnd(100));
            let got = p.expect(ack(2).seq(1));
            assert!(u32::from(got.wnd) << shift >= 60_000, "the window is scaled now: {} << {shift}", got.wnd);
            // 100 << 3 octets may leave, 800 in all.
            p.app_write(&[b'x'; 2_000]);
            let sent: usize = p.pass(millis(100)).iter().map(|got| got.text.len()).sum();
            assert_eq!(sent, 800);
        });
    });
}

#[test]
fn the_window_of_a_syn_is_not_scaled() {
    covers!("7323-2.2");
    everywhere(|p| {
        p.send(syn().wscale(7).wnd(500));
        p.expect(syn_ack().ack(1));
        // Neither is it when it comes with the handshake's last ACK: that one is.
        p.send(ack(1).wnd(4));
        p.sock = p.target.accept();
        p.app_write(&[b'x'; 2_000]);
        let sent: usize = p.pass(millis(100)).iter().map(|got| got.text.len()).sum();
        assert_eq!(sent, 512);
    });
}

#[test]
fn a_shift_above_14_means_14() {
    covers!("7323-2.2");
    everywhere(|p| {
        p.send(syn().wscale(255));
        p.expect(syn_ack().ack(1));
        p.send(ack(1).wnd(1));
        p.sock = p.target.accept();
        // Shifted by 255, or by 255 modulo something, it would be another number than 16,384.
        p.app_write(&[b'x'; 40_000]);
        let mut sent = 0;
        loop {
            let got: usize = p.pass(millis(50)).iter().map(|got| got.text.len()).sum();
            if got == 0 {
                break;
            }
            sent += got;
            let due = (sent as u32 + 1).min(16_385);
            if sent < 16_384 {
                // The window stays where it is: only what left is acknowledged, at its expense.
                p.send(ack(due).wnd(0));
                p.send(ack(due).wnd(1));
            }
            if sent >= 14_600 {
                break;
            }
        }
        assert!((14_600..=16_384).contains(&sent), "{sent}");
    });
}

#[test]
fn timestamps_are_agreed_on_and_then_stand_in_every_segment() {
    covers!("7323-3.2-NEG");
    everywhere(|p| {
        assert_eq!(p.accept_with(syn()).options.ts, None, "not asked, not answered");
        p.on_port(42_300, |p| {
            let got = p.accept_with(syn().ts(TS_BASE, 0));
            assert_eq!(got.options.ts.unwrap().1, TS_BASE);
            p.app_write(b"data");
            assert!(p.expect(data(1, b"data")).options.ts.is_some());
            p.send(data(1, b"data").ack(5));
            assert!(p.expect(ack(5)).options.ts.is_some());
            p.app_shutdown();
            assert!(p.expect(fin(5)).options.ts.is_some());
        });
    });
}

#[test]
fn a_segment_without_its_timestamps_is_dropped() {
    covers!("7323-3.2-MISS");
    everywhere(|p| {
        p.accept_with_timestamps();
        p.send(data(1, b"bare").bare());
        if p.on_linux("a segment that lacks its timestamps is taken as it is") {
            p.expect(ack(5));
            return;
        }
        p.expect_no_answer();
        assert_eq!(p.app_read(), Read::Nothing);
        p.expect_state("ESTABLISHED");
        p.send(data(1, b"with"));
        p.expect(ack(5));
    });
}

#[test]
fn the_clock_of_timestamps_starts_elsewhere_for_each_tuple() {
    covers!("7323-TSR");
    everywhere(|p| {
        let mut clocks = vec![];
        for port in 42_400..42_420 {
            clocks.push(p.on_port(port, |p| p.accept_with(syn().ts(TS_BASE, 0)).options.ts.unwrap().0));
        }
        let far = clocks.windows(2).filter(|w| w[1].wrapping_sub(w[0]).min(w[0].wrapping_sub(w[1])) > 1 << 20).count();
        assert!(far >= 15, "{far} of 19 steps are large");
    });
}

#[test]
fn an_echo_on_a_syn_means_nothing() {
    covers!("7323-TSR");
    everywhere(|p| {
        let got = p.accept_with(syn().ts(TS_BASE, 0xdead_beef));
        assert_eq!(got.options.ts.unwrap().1, TS_BASE);
        p.app_write(b"data");
        let first = p.expect(data(1, b"data")).at;
        // The forged echo was no sample of the round trip: the RTO is within its usual bounds.
        let again = p.expect_within(secs(4), data(1, b"data")).at - first;
        assert!(again <= millis(3_100), "{again:?}");
    });
}

#[test]
fn sack_only_if_permitted() {
    covers!("2018-3");
    everywhere(|p| {
        assert!(!p.accept_with(syn()).options.sack_ok);
        p.send(data(11, b"0123456789"));
        assert_eq!(p.expect(ack(1)).sack, []);
        p.on_port(42_500, |p| {
            assert!(p.accept_with(syn().sack_ok()).options.sack_ok);
            p.send(data(11, b"0123456789"));
            assert_eq!(p.expect(ack(1)).sack, [(11, 21)]);
        });
    });
}

#[test]
fn the_block_that_changed_last_comes_first() {
    covers!("2018-3", "9293-MUST-59");
    everywhere(|p| {
        p.accept_with(syn().sack_ok());
        for (seq, blocks) in [
            (101, vec![(101, 111)]),
            (201, vec![(201, 211), (101, 111)]),
            (301, vec![(301, 311), (201, 211), (101, 111)]),
            (111, vec![(101, 121), (301, 311), (201, 211)]),
            (401, vec![(401, 411), (101, 121), (301, 311), (201, 211)]),
        ] {
            p.send(data(seq, b"0123456789").ack(1));
            assert_eq!(p.expect(ack(1)).sack, blocks, "after {seq}");
        }
        p.note("four fit without timestamps");
        p.send(data(501, b"0123456789").ack(1));
        assert_eq!(p.expect(ack(1)).sack.len(), 4);
    });
}

#[test]
fn three_blocks_fit_beside_timestamps() {
    covers!("2018-3");
    everywhere(|p| {
        p.accept_with_timestamps();
        for seq in [101, 201, 301, 401] {
            p.send(data(seq, b"0123456789").ack(1));
            let got = p.expect(ack(1));
            assert_eq!(got.sack[0], (seq, seq + 10), "the newest first");
            assert!(got.sack.len() <= 3);
        }
    });
}

#[test]
fn a_segment_that_came_twice_is_the_first_block() {
    covers!("2883-4");
    everywhere(|p| {
        p.accept_with(syn().sack_ok());
        p.send(data(1, b"0123456789"));
        p.expect(ack(11));
        p.send(data(1, b"0123456789"));
        assert_eq!(p.expect(ack(11)).sack, [(1, 11)], "below the ACK");
        p.send(data(21, b"0123456789"));
        assert_eq!(p.expect(ack(11)).sack, [(21, 31)]);
        p.send(data(21, b"0123456789"));
        assert_eq!(p.expect(ack(11)).sack, [(21, 31), (21, 31)], "inside a block that is reported as well");
    });
}

#[test]
fn options_of_a_syn_mean_nothing_on_other_segments() {
    covers!("9293-MUST-14", "7323-2.2", "2018-3");
    everywhere(|p| {
        p.accept_with(syn().wscale(0));
        p.send(data(1, b"x"));
        p.expect(ack(2));
        p.send(seg(A | P).seq(2).text(b"y").wnd(2_920).mss(100).wscale(7).sack_ok());
        p.expect(ack(3));
        p.note("segments are as large, the window is as small, and there are no blocks");
        p.app_write(&[b'y'; 6_000]);
        assert_eq!(p.flight(), [1, 1_461]);
        p.send(data(12, b"behind a hole").wnd(2_920));
        assert_eq!(p.expect(ack(3)).sack, []);
    });
}
