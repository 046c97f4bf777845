//! Limits: full means refuse and count, and everything is given back.

use super::peer::*;
use super::segment::*;
use super::target::*;

#[test]
fn every_pool_has_a_limit_and_a_gauge() {
    covers!("LIM-1");
    handfast_only("it reads our own gauges", |p| {
        p.accept();
        let snapshot = p.target.snapshot().unwrap();
        for name in [
            "half_open",
            "connections",
            "time_wait",
            "buffer_bytes",
            "neighbours",
            "app_timers",
            "ports",
            "orphans",
            "path_mtus",
            "half_open_of_one_prefix",
        ] {
            let pool = snapshot.pools.get(name).unwrap_or_else(|| panic!("no pool {name}"));
            assert!(pool.limit > 0 && pool.used <= pool.limit, "{name}: {pool:?}");
        }
        for name in [
            "connections",
            "ports",
            "buffer_bytes",
            "segments",
            "silent_peers",
            "neighbours",
            "neighbour_news",
            "soft_errors",
            "tx_frames",
            "app_timers",
            "orphans",
            "path_mtus",
            "neighbour_replies",
            "echo_replies",
            "resets",
            "acknowledgements",
            "challenge_acks",
            "syn_acks_again",
        ] {
            assert!(snapshot.refused.contains_key(name), "no counter {name}");
        }
    });
}

#[test]
fn one_orphan_too_many_is_reset_and_the_others_end_in_order() {
    covers!("LIM-1");
    let setup = |s: &mut super::in_memory::Setup| s.limits.orphans = 2;
    handfast_with("its limit is set", setup, |p| {
        let closed = |p: &mut Peer, port: u16| {
            p.on_port(port, |p| {
                p.accept();
                p.app_close();
                p.next(secs(1)).expect("a FIN or a RST").flags
            })
        };
        assert!(closed(p, 10_000) & F != 0 && closed(p, 10_001) & F != 0);
        assert!(closed(p, 10_002) & R != 0, "the newest goes");
        let snapshot = p.target.snapshot().unwrap();
        assert_eq!((snapshot.pools["orphans"].used, snapshot.refused["orphans"]), (2, 1));
    });
}

#[test]
fn a_tuple_in_use_is_refused_at_once() {
    covers!("LIM-3");
    let setup = |s: &mut super::in_memory::Setup| s.listen = false;
    handfast_with("the kernel's socket would not even be bound", setup, |p| {
        p.connect();
        assert!(p.connect_to(PEER_PORT).is_err());
        assert!(p.connect_to(PEER_PORT + 1).is_ok(), "to another port the same local one is free");
    });
}

#[test]
fn after_a_storm_everything_is_given_back() {
    covers!("LIM-4");
    in_memory_only("it takes minutes", |p| {
        for round in 0..300u16 {
            p.on_port(10_000 + round, |p| {
                p.accept_with(syn().sack_ok());
                p.send(data(1, b"a question"));
                p.app_read();
                p.app_write(&[b'x'; 5_000]);
                p.pass(millis(1));
                match round % 5 {
                    0 => p.send(rst(11)),
                    1 => p.app_abort(),
                    2 => {
                        p.app_close();
                        p.pass(millis(1));
                        p.send(fin(11).ack(5_002));
                    }
                    3 => {
                        p.send(fin(11).ack(5_001));
                        p.app_close();
                        p.pass(millis(1));
                        p.send(ack(5_002));
                    }
                    _ => p.app_close(),
                }
                p.pass(millis(1));
            });
        }
        p.pass(secs(1_000));
        let snapshot = p.target.snapshot().unwrap();
        for (name, pool) in &snapshot.pools {
            assert!(pool.used == 0 || name == "neighbours", "{name}: {pool:?}");
        }
        assert_eq!(snapshot.states.values().sum::<u64>(), 1, "only the listener: {:?}", snapshot.states);
    });
}
