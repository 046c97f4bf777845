//! Windows: closed ones, shrinking ones, silly ones; and keep-alives (RFC 9293 §3.8.4, §3.8.6).

use super::peer::*;
use super::segment::*;
use super::target::*;

const MSS: u32 = 1_460;

#[test]
fn we_never_shrink_our_window() {
    covers!("9293-SHLD-14");
    everywhere(|p| {
        let got = p.accept_with(syn().wscale(3));
        let shift = got.options.wscale.unwrap();
        let mut edge = 1;
        for at in 0..40 {
            p.send(data(1 + at * 777, &[b'x'; 777]).ack(1));
            for got in p.pass(millis(1)) {
                let now = got.ack + (u32::from(got.wnd) << shift);
                assert!(now >= edge, "the right edge moved back from {edge} to {now}");
                edge = now;
            }
            if at % 7 == 0 {
                p.app_read();
            }
        }
    });
}

#[test]
fn a_peer_that_shrinks_its_window_is_survived() {
    covers!("9293-SHLD-14");
    everywhere(|p| {
        p.accept();
        p.app_write(&[b'x'; 10 * MSS as usize]);
        assert_eq!(p.flight().len(), 10);
        p.note("less than is in flight");
        p.send(ack(1 + MSS).wnd(100));
        p.pass(secs(2));
        p.expect_state("ESTABLISHED");
        p.send(ack(1 + 2 * MSS).wnd(65_535));
        let mut una = 1 + 2 * MSS;
        for _ in 0..60 {
            let Some(got) = p.next(secs(3)) else { break };
            if got.seq <= una && got.seq + got.text.len() as u32 > una {
                una = got.seq + got.text.len() as u32;
            }
            p.send(ack(una));
            if una == 1 + 10 * MSS {
                break;
            }
        }
        assert_eq!(una, 1 + 10 * MSS, "everything arrives in the end");
    });
}

/// A probe of a closed window: one octet at SND.NXT, or none before it.
fn expect_probe(p: &mut Peer, wait: std::time::Duration, nxt: u32) -> Got {
    let got = p.next(wait).expect("a probe");
    let (seq, len) = (got.seq, got.text.len());
    assert!((seq == nxt && len == 1) || (seq == nxt - 1 && len == 0), "{got:?}");
    got
}

/// What waited for the window arrives; its first octet may come alone, as it was the probe.
fn expect_waiting(p: &mut Peer) {
    let mut text = vec![];
    while text != b"waiting" {
        let got = p.next(millis(300)).expect("the data");
        let at = got.seq as usize - 1;
        assert!(at <= text.len(), "in order");
        text.truncate(at);
        text.extend(got.text);
        p.send(ack(1 + text.len() as u32).wnd(1_000));
    }
}

#[test]
fn a_closed_window_is_probed_ever_more_slowly() {
    covers!("9293-MUST-35");
    everywhere(|p| {
        p.accept_with_window(syn(), 0);
        p.app_write(b"waiting");
        let mut last = p.target.now();
        let mut gaps = vec![];
        for _ in 0..if p.target.is_real_time() { 3 } else { 8 } {
            let got = expect_probe(p, secs(61), 1);
            gaps.push((got.at - last).as_millis());
            last = got.at;
            p.flow.rcv_nxt = 1;
            p.send(ack(1).wnd(0));
        }
        assert!(gaps.windows(2).all(|w| w[1] >= w[0]), "{gaps:?}");
        assert!(gaps.last() > gaps.first(), "{gaps:?}");
        p.note("the window opens");
        p.send(ack(1).wnd(1_000));
        expect_waiting(p);
    });
}

#[test]
fn a_closed_window_is_borne_for_as_long_as_the_peer_answers() {
    covers!("9293-MUST-35");
    in_memory_only("it takes an hour", |p| {
        p.accept_with_window(syn(), 0);
        p.app_write(b"waiting");
        let until = p.target.now() + secs(3_600);
        while p.target.now() < until {
            let got = p.next(secs(100)).expect("probes go on");
            assert_eq!(got.flags & R, 0);
            p.send(ack(1).wnd(0));
        }
        p.send(ack(1).wnd(1_000));
        expect_waiting(p);
    });
}

#[test]
fn a_closed_window_of_a_peer_that_is_gone_is_given_up() {
    covers!("9293-MUST-35", "9293-MUST-20");
    in_memory_only("it takes minutes", |p| {
        p.accept_with_window(syn(), 0);
        p.app_write(b"waiting");
        p.pass(secs(99));
        p.expect_state("ESTABLISHED");
        p.pass(secs(2_000));
        assert_eq!(p.count("ESTABLISHED"), 0);
        assert_eq!(p.app_read(), Read::Fault(Fault::TimedOut));
    });
}

#[test]
fn a_connection_at_a_closed_window_can_be_aborted() {
    covers!("ZWIN-DOS");
    everywhere(|p| {
        p.accept_with_window(syn(), 0);
        p.app_write(b"waiting");
        p.pass(millis(100));
        p.app_abort();
        let mut flags = 0;
        while let Some(got) = p.next(millis(300)) {
            flags |= got.flags;
        }
        assert_ne!(flags & R, 0);
        assert_eq!(p.count("ESTABLISHED"), 0);
    });
}

#[test]
fn small_writes_wait_for_an_acknowledgement() {
    covers!("9293-MUST-38");
    everywhere(|p| {
        p.accept();
        p.app_write(b"first");
        p.expect(data(1, b"first"));
        p.app_write(b"second");
        p.app_write(b"third");
        p.expect_silence(millis(100));
        p.send(ack(6));
        p.expect(data(6, b"secondthird"));
    });
}

#[test]
fn nagles_rule_can_be_turned_off() {
    covers!("9293-MUST-38");
    handfast_with(
        "it sets the stack's option",
        |s| s.tcp.nagle = false,
        |p| {
            p.accept();
            p.app_write(b"first");
            p.expect(data(1, b"first"));
            p.app_write(b"second");
            p.expect(data(6, b"second"));
        },
    );
}

#[test]
fn a_window_that_opens_a_little_gets_no_little_segments() {
    covers!("9293-MUST-38");
    everywhere(|p| {
        p.accept_with_window(syn(), 2_920);
        p.app_write(&[b'x'; 10_000]);
        assert_eq!(p.flight().len(), 2);
        for at in 1..=10 {
            p.send(ack(1 + MSS).wnd((MSS + at * 10) as u16));
            p.expect_silence(millis(5));
        }
    });
}

#[test]
fn a_window_that_opens_a_little_is_not_announced() {
    covers!("9293-MUST-38");
    everywhere(|p| {
        p.accept_with(syn());
        let mut seq = 1;
        let mut wnd = 65_535;
        while wnd > 0 && seq < 4_000_000 {
            let len = u32::from(wnd).min(1_000);
            p.send(data(seq, &vec![b'x'; len as usize]).ack(1));
            seq += len;
            p.pass(millis(1)).iter().for_each(|got| wnd = got.wnd);
            if u32::from(wnd) < 3_000 {
                p.pass(millis(600)).iter().for_each(|got| wnd = got.wnd);
            }
        }
        assert_eq!(wnd, 0);
        let sock = p.sock();
        p.target.read(sock, 10);
        p.expect_silence(millis(100));
        while let Read::Data(_) = p.app_read() {}
        let got = p.next(millis(300)).expect("a window update");
        // Linux may have dropped the last segment for want of memory.
        assert!(u32::from(got.wnd) >= MSS && got.ack + 1_000 >= seq, "{} of {seq}, window {}", got.ack, got.wnd);
    });
}

#[test]
fn a_window_of_65535_is_a_large_one() {
    covers!("9293-MUST-1");
    everywhere(|p| {
        p.accept();
        let mut una = 1;
        let mut most = 0;
        for _ in 0..8 {
            p.app_write(&[b'x'; 100_000]);
            let flight = p.flight();
            most = most.max(flight.len());
            let Some(last) = flight.last() else { break };
            for seq in una..=*last {
                if (seq - una) % MSS == 0 {
                    p.send(ack(seq + MSS));
                }
            }
            una = last + MSS;
        }
        assert!(most >= 30, "never more than {most} segments at once");
    });
}
