//! SYN cookies (RFC 4987 §3.6): nothing is kept of a SYN, and nothing of a connection is lost by it.

use super::in_memory::Setup;
use super::peer::*;
use super::segment::*;
use super::target::*;
use handfast::stack::{DefenceConfig, SynDefence};
use std::time::Duration;

const WHY: &str = "it sets the defence, whose cookies are ours";

fn cookies(setup: &mut Setup) {
    setup.defence.mode = SynDefence::Cookie;
}

fn counted(p: &Peer, what: &str) -> u64 {
    p.target.snapshot().unwrap().defence.cookies[what]
}

/// Sends a SYN, and looks at the SYN-ACK, of which nothing may be kept.
fn ask(p: &mut Peer, syn: Seg) -> Got {
    let offered = syn.read_options().ts.map_or(TS_BASE, |(tsval, _)| tsval);
    p.send(syn);
    let got = p.expect(syn_ack().ack(1));
    p.flow.ts = got.options.ts.map(|(tsval, _)| (offered, tsval));
    assert_eq!(p.count("SYN-RECEIVED"), 0, "nothing is kept");
    got
}

#[test]
fn options_survive_beside_timestamps_and_none_is_invented() {
    covers!("4987-COOKIE-OPTS");
    handfast_with(WHY, cookies, |p| {
        let mut port = 10_000;
        for mss in [None, Some(500), Some(536), Some(1_299), Some(1_400), Some(1_459), Some(1_460), Some(8_960)] {
            for mix in 0..16 {
                let (scale, sack, ts, ecn) = (mix & 1 != 0, mix & 2 != 0, mix & 4 != 0, mix & 8 != 0);
                let mut syn = if ecn { seg(S | E | C).seq(0) } else { seg(S).seq(0) };
                syn = mss.map_or(syn.clone(), |mss| syn.mss(mss));
                syn = if scale { syn.wscale(9) } else { syn };
                syn = if sack { syn.sack_ok() } else { syn };
                syn = if ts { syn.ts(TS_BASE, 0) } else { syn };
                port += 1;
                p.on_port(port, |p| {
                    p.send(syn);
                    let got = p.expect_within(SOON, seg(S | A | if ecn && ts { E } else { 0 }).ack(1));
                    let o = &got.options;
                    assert_eq!(o.mss, Some(1_460));
                    assert_eq!((o.wscale.is_some(), o.sack_ok, o.ts.is_some()), (scale && ts, sack && ts, ts));
                    p.flow.ts = o.ts.map(|(tsval, _)| (TS_BASE, tsval));
                    p.send(ack(1).wnd(40));
                    p.sock = p.target.accept();
                    let default = if p.family == Family::V4 { 536 } else { 1_220 };
                    let offered = mss.unwrap_or(default).min(1_460);
                    check_sizes(p, usize::from(offered), scale && ts, ts);
                    check_sack(p, sack && ts);
                });
            }
        }
        assert_eq!((counted(p, "sent"), counted(p, "accepted"), counted(p, "forged")), (128, 128, 0));
    });
}

/// Segments are as large as the next size below what was offered, and the window is scaled as it was agreed.
fn check_sizes(p: &mut Peer, offered: usize, scaled: bool, ts: bool) {
    let room = if scaled { 40 << 9 } else { 40 };
    p.app_write(&vec![b'x'; 30_000]);
    let sent: Vec<Got> = p.pass(millis(50)).into_iter().filter(|got| !got.text.is_empty()).collect();
    let most = sent.iter().map(|got| got.text.len() + if ts { 12 } else { 0 }).max().unwrap_or(0);
    assert!(most <= offered, "{most} octets in a segment, {offered} were offered");
    let total: usize = sent.iter().map(|got| got.text.len()).sum();
    assert!(total <= room, "{total} octets sent, there is room for {room}");
    if scaled {
        assert!(most >= 48.max(offered - 170).min(offered - offered / 8) || offered < 536, "{most} of {offered}");
        assert!(total > 40, "the window was not scaled");
    }
}

fn check_sack(p: &mut Peer, sack: bool) {
    p.send(data(101, b"behind a hole"));
    let got = p.expect(seg(A).ack(1));
    assert_eq!(!got.sack.is_empty(), sack);
}

#[test]
fn timestamps_never_go_back_after_a_cookie() {
    covers!("4987-COOKIE-OPTS", "7323-3.2-NEG");
    handfast_with(WHY, cookies, |p| {
        for wait in 0..130 {
            p.on_port(20_000 + wait, |p| {
                p.pass(millis(1));
                let first = ask(p, syn().sack_ok().wscale(7).ts(TS_BASE, 0)).options.ts.unwrap().0;
                p.send(data(1, b"x"));
                let next = p.expect(ack(2)).options.ts.unwrap().0;
                // Over veth real time passes as well; a step back would be near 2^32.
                assert!(next.wrapping_sub(first) < 10_000, "{first}, then {next}");
            });
        }
    });
}

#[test]
fn a_cookie_is_refused_when_it_is_old() {
    covers!("4987-COOKIE-AGE");
    in_memory_with("it takes minutes", cookies, |p| {
        for (port, age, good) in [(1, 1, true), (2, 60, true), (3, 121, false), (4, 130, false), (5, 300, false)] {
            p.on_port(30_000 + port, |p| {
                ask(p, syn());
                p.pass(secs(age));
                p.send(ack(1));
                let answer = p.next(millis(1));
                assert_eq!(answer.map(|got| got.flags), if good { None } else { Some(R) }, "after {age} s");
                assert_eq!(p.target.accept().is_some(), good, "after {age} s");
            });
        }
        let refused = counted(p, "expired") + counted(p, "forged");
        assert_eq!((counted(p, "accepted"), refused), (2, 3));
    });
}

#[test]
fn a_cookie_is_good_for_its_own_tuple_and_number_alone() {
    covers!("4987-COOKIE-VERIFY");
    handfast_with(WHY, cookies, |p| {
        let irs = ask(p, syn()).wire.seq;
        let isn = p.flow.isn;
        p.on_port(40_001, |p| {
            p.send(seg(A).abs_seq(isn.wrapping_add(1)).abs_ack(irs.wrapping_add(1)));
            p.expect(seg(R).abs_seq(irs.wrapping_add(1)));
        });
        for (seq, number) in [(2, 1), (1, 2), (0, 1), (1, 0)] {
            p.send(seg(A).abs_seq(isn.wrapping_add(seq)).abs_ack(irs.wrapping_add(number)));
            p.expect(seg(R).abs_seq(irs.wrapping_add(number)));
        }
        p.send(seg(A).abs_seq(isn.wrapping_add(1)).abs_ack(irs.wrapping_add(1)).ts(1, 1));
        p.expect(seg(R).abs_seq(irs.wrapping_add(1)));
        assert_eq!(p.target.accept(), None);
        assert_eq!((counted(p, "accepted"), counted(p, "forged")), (0, 6));
    });
}

#[test]
fn a_client_whose_last_ack_is_lost_connects_with_its_text_or_fin() {
    covers!("4987-COOKIE-LOST-ACK");
    handfast_with(WHY, cookies, |p| {
        ask(p, syn());
        p.send(data(1, b"hello"));
        p.expect(ack(6));
        p.sock = p.target.accept();
        assert_eq!(p.app_read(), Read::Data(b"hello".to_vec()));
        p.on_port(41_001, |p| {
            ask(p, syn());
            p.send(fin(1));
            p.expect(ack(2));
            p.expect_state("CLOSE-WAIT");
        });
        p.on_port(41_002, |p| {
            ask(p, syn());
            p.note("the second segment overtakes the first: silence, and the peer sends it again");
            p.send(seg(A | P).seq(6).ack(1).text(b"world"));
            p.send(seg(A | F).seq(11).ack(1));
            p.expect_no_answer();
            p.send(data(1, b"hello"));
            p.expect(ack(6));
        });
        assert_eq!(p.dropped("no_cookie"), Some(2));
    });
}

#[test]
fn text_that_no_cookie_follows_is_reset_when_it_comes_a_third_time() {
    covers!("4987-COOKIE-LOST-ACK");
    handfast_with(WHY, cookies, |p| {
        for (port, flags) in [(41_000, A | P), (41_001, A | F)] {
            p.on_port(port, |p| {
                p.note("of a connection that this host has forgotten, or never had");
                let old = || seg(flags).abs_seq(5_000).abs_ack(9_000).text(b"old");
                for rto_ms in [300, 600] {
                    p.send(old());
                    p.expect_no_answer();
                    p.pass(Duration::from_millis(rto_ms));
                }
                p.send(old());
                p.expect(seg(R).abs_seq(9_000));
            });
        }
        assert_eq!(p.dropped("no_cookie"), Some(4));
    });
}

#[test]
fn without_room_for_a_connection_a_cookie_is_dropped_without_a_reset() {
    covers!("4987-OVERFLOW");
    let full = |s: &mut Setup| {
        cookies(s);
        s.limits.connections = 1;
    };
    handfast_with(WHY, full, |p| {
        p.accept();
        p.on_port(41_000, |p| {
            ask(p, syn());
            p.send(ack(1));
            p.expect_no_answer();
        });
        assert_eq!(p.dropped("connections_full"), Some(1));
    });
}

#[test]
fn a_spoofed_syn_draws_one_syn_ack_of_hardly_its_size() {
    covers!("4987-NO-AMPLIFY");
    in_memory_with("it takes minutes", cookies, |p| {
        // Octets from the IP header on: the least SYN has 40, and the MSS of its answer 4.
        for (segment, most) in [(seg(S).seq(0), 44), (syn(), 44), (syn().sack_ok().wscale(7).ts(1, 0), 60)] {
            p.send(segment);
            let answers = p.pass(secs(200));
            assert_eq!(answers.len(), 1);
            let ip = 20 + answers[0].wire.header_len;
            assert!(ip <= most, "{ip} octets");
        }
    });
}

#[test]
fn honest_peers_get_in_while_the_table_is_flooded_and_calm_follows() {
    covers!("4987-STATE", "LIM-1");
    in_memory_with(
        "it takes minutes",
        |s| {
            s.limits.half_open = 64;
            s.defence.prefix_share = 100;
        },
        |p| {
            for port in 1_000..1_640 {
                p.on_port(port, |p| {
                    p.send(syn());
                    p.expect(syn_ack().ack(1));
                });
            }
            p.on_port(50_000, |p| p.accept_with_timestamps());
            let flooded = p.target.snapshot().unwrap();
            assert_eq!(flooded.pools["half_open"].used, 32, "half of the table, then cookies");
            assert_eq!((flooded.defence.workers_at["cookie"], flooded.defence.switches), (1, 1));
            assert!(flooded.defence.why.keys().all(|why| why.starts_with("cookie: 32 half-open entries")));
            p.note("half of them answer late, and are let in all the same");
            for port in 1_600..1_605 {
                p.on_port(port, |p| {
                    p.flow.irs = None;
                    p.send(syn());
                    p.expect(syn_ack().ack(1));
                    p.send(ack(1));
                    p.expect_no_answer();
                });
            }
            p.pass(secs(9));
            assert_eq!(p.target.snapshot().unwrap().defence.workers_at["cookie"], 1, "not yet calm for long enough");
            p.pass(secs(80));
            let calm = p.target.snapshot().unwrap();
            assert_eq!((calm.defence.workers_at["table"], calm.defence.switches), (1, 2));
            assert!(calm.defence.ms_at["cookie"] >= 10_000 && calm.defence.ms_at["table"] > 50_000);
            assert_eq!(calm.pools["half_open"].used, 0);
            p.on_port(51_000, |p| p.accept());
        },
    );
}

#[test]
fn the_table_alone_refuses_when_it_is_full_if_so_asked() {
    covers!("4987-STATE");
    let table = |s: &mut Setup| {
        s.limits.half_open = 16;
        s.defence = DefenceConfig { mode: SynDefence::Table, prefix_share: 100, ..s.defence };
    };
    handfast_with(WHY, table, |p| {
        for port in 1_000..1_032 {
            p.on_port(port, |p| p.send(syn()));
        }
        p.pass(p.at_once());
        assert_eq!((p.count("SYN-RECEIVED"), p.dropped("half_open_full")), (16, Some(16)));
        assert_eq!(counted(p, "sent"), 0);
    });
}

#[test]
fn a_syn_that_reuses_a_time_wait_tuple_is_kept_in_the_table() {
    covers!("9293-MAY-2");
    handfast_with(WHY, cookies, |p| {
        p.accept();
        p.app_close();
        p.expect(seg(F | A).ack(1));
        p.send(fin(1).ack(2));
        p.expect(ack(2).seq(2));
        p.expect_state("TIME-WAIT");
        let old = p.flow.irs.unwrap().wrapping_add(2);
        p.flow = Flow::new(p.flow.port, p.flow.isn.wrapping_add(100_000));
        p.send(syn());
        let got = p.expect(syn_ack().ack(1));
        assert!((got.wire.seq.wrapping_sub(old) as i32) > 0, "its number is beyond the old ones");
        assert_eq!(p.count("SYN-RECEIVED"), 1);
    });
}
