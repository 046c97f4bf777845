//! The closed window from both sides, with everything that may come while it is closed (RFC 9293 §3.8.6).

use super::peer::*;
use super::segment::*;
use super::target::*;

const TEXT: &[u8] = b"0123456789";
const MSS: u32 = 1_460;

/// The host's window is closed, as its application does not read; our next number.
fn close_the_hosts(p: &mut Peer) -> u32 {
    p.accept();
    p.fill_window()
}

/// Our window is closed, and the host has text to send.
fn close_ours(p: &mut Peer) {
    p.accept_with_window(syn(), 0);
    p.app_write(TEXT);
}

#[test]
fn a_closed_window_takes_a_fin_only_when_it_opens() {
    covers!("9293-MUST-66", "9293-FINDATA");
    everywhere(|p| {
        let nxt = close_the_hosts(p);
        p.send(fin(nxt).ack(1));
        let answers = p.pass(millis(60));
        if p.on_linux("a FIN without text is taken although the window is closed") {
            assert!(answers.iter().all(|got| got.ack == nxt + 1), "{answers:?}");
            return;
        }
        assert!(answers.iter().all(|got| got.ack == nxt || got.ack == nxt + 1), "{answers:?}");
        while let Read::Data(_) = p.app_read() {}
        p.flow.snd_nxt = nxt;
        p.send(fin(nxt).ack(1));
        p.pass(SOON);
        p.expect_state("CLOSE-WAIT");
        assert_eq!(p.app_read(), Read::End);
    });
}

#[test]
fn a_closed_window_challenges_a_syn_and_ignores_resets_beside_it() {
    covers!("9293-MUST-66", "5961-4.2", "5961-3.2-OUT");
    everywhere(|p| {
        let nxt = close_the_hosts(p);
        p.send(seg(S).seq(nxt));
        p.expect(seg(A).ack(nxt).wnd(0));
        p.flow.snd_nxt = nxt;
        for seq in [nxt - 1, nxt + 2, nxt + 100] {
            p.send(rst(seq));
        }
        p.pass(millis(60));
        p.expect_state("ESTABLISHED");
        p.send(rst(nxt));
        p.expect_no_answer();
        assert_eq!(p.count("ESTABLISHED"), 0);
    });
}

#[test]
fn a_closed_window_still_sends() {
    covers!("9293-MUST-66");
    everywhere(|p| {
        let nxt = close_the_hosts(p);
        p.app_write(TEXT);
        p.expect(data(1, TEXT).ack(nxt).wnd(0));
        p.send(seg(A).seq(nxt).ack(11));
        p.expect_silence(secs(2));
    });
}

#[test]
fn a_window_that_opens_is_announced_once() {
    covers!("9293-MUST-38", "9293-SHLD-14");
    everywhere(|p| {
        let nxt = close_the_hosts(p);
        while let Read::Data(_) = p.app_read() {}
        let answers = p.pass(SOON);
        assert!((1..=4).contains(&answers.len()), "{answers:?}");
        let last = answers.last().unwrap();
        assert!(last.ack == nxt && u32::from(last.wnd) >= MSS, "{last:?}");
        p.send(data(nxt, TEXT).ack(1));
        p.expect(seg(A).ack(nxt + 10));
    });
}

#[test]
fn what_a_closed_window_refused_is_taken_later() {
    covers!("9293-MUST-66", "9293-ACCEPT4");
    everywhere(|p| {
        let nxt = close_the_hosts(p);
        p.send(data(nxt, TEXT).ack(1));
        p.expect(seg(A).ack(nxt).wnd(0));
        while let Read::Data(_) = p.app_read() {}
        p.pass(SOON);
        p.send(data(nxt, TEXT).ack(1));
        p.expect(seg(A).ack(nxt + 10));
        assert_eq!(p.app_read(), Read::Data(TEXT.to_vec()));
    });
}

#[test]
fn a_window_that_opens_lets_everything_leave() {
    covers!("9293-MUST-35");
    everywhere(|p| {
        close_ours(p);
        p.expect_silence(millis(100));
        p.send(ack(1).wnd(1_000));
        p.expect(data(1, TEXT));
    });
}

#[test]
fn a_probe_whose_octet_is_taken_moves_on() {
    covers!("9293-MUST-35");
    everywhere(|p| {
        close_ours(p);
        let probe = p.next(secs(5)).expect("a probe");
        if probe.text.is_empty() {
            // An old number instead of an octet.
            assert!(p.on_linux("a closed window is probed by an old number without text"));
            return;
        }
        assert_eq!((probe.seq, &probe.text[..]), (1, &TEXT[..1]));
        p.send(ack(2).wnd(0));
        p.note("the next probe is the next octet");
        let probe = p.next(secs(5)).expect("a probe");
        assert_eq!((probe.seq, &probe.text[..]), (2, &TEXT[1..2]));
        p.send(ack(3).wnd(1_000));
        p.expect(data(3, &TEXT[2..]));
    });
}

/// The peer said that its window opens a little before it saw the probe, and then took it.
#[test]
fn an_ack_of_a_probe_counts_also_when_the_window_opened_a_little_before() {
    covers!("9293-MUST-35", "9293-MUST-38");
    handfast_only("the kernel probes by an old number without text", |p| {
        p.accept_with_window(syn(), 4_000);
        p.app_write(&[b'x'; 20_000]);
        assert_eq!(p.flight(), [1, 1 + MSS]);
        let nxt = 1 + 2 * MSS;
        p.send(ack(nxt).wnd(0));
        let probe = p.next(secs(5)).expect("a probe");
        assert_eq!((probe.seq, probe.text.len()), (nxt, 1));
        p.send(ack(nxt).wnd(100));
        p.send(data(1, b"from the peer").ack(nxt + 1).wnd(99));
        let answers = p.pass(millis(100));
        assert_eq!(answers.last().map(|got| got.ack), Some(14), "{answers:?}");
        assert!(answers.iter().all(|got| got.seq >= nxt && got.text.len() <= 1), "{answers:?}");
        assert_eq!(p.app_read(), Read::Data(b"from the peer".to_vec()));
    });
}

#[test]
fn text_that_comes_to_a_closed_sender_is_taken() {
    covers!("9293-MUST-35");
    everywhere(|p| {
        close_ours(p);
        p.send(data(1, b"from the peer").ack(1).wnd(0));
        p.expect(seg(A).ack(14));
        assert_eq!(p.app_read(), Read::Data(b"from the peer".to_vec()));
    });
}

#[test]
fn text_may_open_the_window_that_it_travels_with() {
    covers!("9293-MUST-35", "9293-WL1WL2");
    everywhere(|p| {
        close_ours(p);
        p.send(data(1, b"go").ack(1).wnd(1_000));
        let got = p.next(secs(1)).expect("the text");
        assert_eq!((got.seq, &got.text[..]), (1, TEXT));
    });
}

#[test]
fn a_fin_of_the_peer_at_a_closed_window_leaves_the_text_waiting() {
    covers!("9293-MUST-35", "9293-FINDATA");
    everywhere(|p| {
        close_ours(p);
        p.send(fin(1).ack(1).wnd(0));
        p.expect(seg(A).ack(2));
        p.expect_state("CLOSE-WAIT");
        p.send(ack(1).seq(2).wnd(1_000));
        p.expect(data(1, TEXT).ack(2));
    });
}

#[test]
fn a_reset_at_a_closed_window_ends() {
    covers!("5961-3.2-EXACT", "9293-MUST-35");
    everywhere(|p| {
        close_ours(p);
        p.send(rst(1));
        p.expect_silence(secs(5));
        assert_eq!(p.app_read(), Read::Fault(Fault::Reset));
    });
}

#[test]
fn a_window_that_closes_over_what_is_in_flight_is_waited_for() {
    covers!("9293-SHLD-14", "9293-MUST-35");
    everywhere(|p| {
        p.accept();
        p.app_write(&[b'x'; 4 * MSS as usize]);
        assert_eq!(p.flight().len(), 4);
        p.send(ack(1 + 4 * MSS).wnd(0));
        p.app_write(TEXT);
        p.expect_silence(millis(100));
        p.send(ack(1 + 4 * MSS).wnd(2_000));
        let got = p.next(secs(1)).expect("the rest");
        assert_eq!((got.seq, &got.text[..]), (1 + 4 * MSS, TEXT));
    });
}

#[test]
fn no_more_leaves_than_the_window_takes() {
    covers!("9293-SHLD-14", "9293-MUST-1");
    everywhere(|p| {
        for (at, wnd) in [1, 536, 1_459, 1_460, 1_461, 2_920, 5_000].into_iter().enumerate() {
            p.on_port(49_100 + at as u16, |p| {
                p.accept_with_window(syn(), wnd);
                p.app_write(&[b'x'; 20_000]);
                let sent: usize = p.pass(millis(60)).iter().map(|got| got.text.len()).sum();
                assert!(sent <= usize::from(wnd), "{sent} into {wnd}");
                p.send(rst(1));
            });
        }
    });
}

#[test]
fn a_small_window_that_is_all_there_ever_was_is_used() {
    covers!("9293-MUST-38");
    everywhere(|p| {
        // Half of the largest window is worth a segment (RFC 9293 §3.8.6.2.1), or nothing would ever move.
        p.accept_with_window(syn().wnd(500), 500);
        p.app_write(&[b'x'; 2_000]);
        let mut got = 0;
        for _ in 0..20 {
            let Some(segment) = p.next(secs(1)) else { break };
            if segment.seq == 1 + got {
                got += segment.text.len() as u32;
            }
            p.send(ack(1 + got).wnd(500));
            if got == 2_000 {
                break;
            }
        }
        assert_eq!(got, 2_000);
    });
}

#[test]
fn an_orphan_waits_no_longer_than_its_time_for_a_window_that_stays_shut() {
    covers!("ZWIN-DOS");
    in_memory_only("it takes a minute", |p| {
        p.accept_with_window(syn(), 0);
        p.app_write(&[b'x'; 1_000]);
        p.app_close();
        let until = p.target.now() + secs(200);
        let mut ended = None;
        while p.target.now() < until {
            let Some(got) = p.next(secs(1)) else { continue };
            if got.flags & R != 0 {
                ended = Some(p.target.now());
                break;
            }
            // The peer is there, and takes nothing.
            p.send(ack(1).wnd(0));
        }
        let left = until - ended.expect("a RST");
        assert!((secs(80)..secs(150)).contains(&left), "{left:?} before 200 s");
        assert_eq!(p.count("FIN-WAIT-1"), 0);
    });
}
