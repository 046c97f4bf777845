//! Peers who take their time (Sockstress, Slowloris): who open and say nothing, read nothing, hold their window shut, send
//! an octet now and then, or never finish. What they hold is bounded, a stated rule ends them, and honest clients are
//! served.

use super::site::{CHARGEN, ECHO, HTTP, Peer, Site, host};
use handfast::time::Duration;
use handfast::wire::Addr;
use handfast::wire::tcp::{Flags, Header};

const SLOW: u16 = 50;

/// As many as there are, each out of a prefix of its own.
fn open(site: &mut Site, port: u16, wnd: u16) -> Vec<Peer> {
    let sources = (0..SLOW).map(|n| (host(100 + n, 1), 4_000));
    let mut peers: Vec<Peer> = sources.filter_map(|from| site.connect(from, port)).collect();
    for peer in &mut peers {
        peer.wnd = wnd;
        peer.acknowledge(site);
    }
    peers
}

/// Time passes, and the peers answer whatever comes: text is taken as far as their window goes.
fn live(site: &mut Site, peers: &mut [Peer], seconds: u64) {
    for _ in 0..seconds {
        let sent = site.pass(Duration::from_secs(1));
        for peer in peers.iter_mut() {
            if sent.iter().any(|sent| peer.is_mine(sent) && !sent.has(Flags::RST)) {
                if peer.wnd > 0 {
                    peer.hear(&sent);
                }
                peer.acknowledge(site);
            }
        }
    }
}

/// Whether nothing is left of anybody.
fn is_clean(site: &mut Site) -> bool {
    site.pass(Duration::from_secs(300));
    site.stack.check_empty() == Ok(())
}

fn idle(config: &mut handfast::stack::StackConfig, seconds: u64, octets: u32) {
    config.tcp.idle_limit = Some(Duration::from_secs(seconds));
    config.tcp.idle_octets = octets;
}

fn honest(n: u16) -> (Addr, u16) {
    (host(7, 1), 10_000 + n)
}

/// A handshake that finds the table full is dropped, so an honest client comes in with the text that it sends again.
#[test]
fn who_opens_and_says_nothing_is_reset_at_the_idle_limit() {
    let mut site = Site::new(|config| {
        config.limits.connections = SLOW.into();
        idle(config, 30, 1);
    });
    open(&mut site, ECHO, 1_000);
    let mut late = site.connect(honest(0), ECHO).expect("a SYN-ACK");
    assert!(late.say(&mut site, b"hello").is_empty() && site.dropped("connections_full") > 0);
    site.pass(Duration::from_secs(29));
    assert_eq!(site.stats().connections.idle, 0, "not yet");
    let resets = site.pass(Duration::from_secs(5)).iter().filter(|sent| sent.has(Flags::RST)).count();
    let stats = site.stats();
    assert_eq!((stats.connections.idle, stats.connections.timed_out, resets), (50, 50, 50));
    late.seq = late.seq - 5;
    assert_eq!(late.say(&mut site, b"hello"), b"hello");
    assert!((1..40).all(|n| site.serves(honest(n))));
    assert!(is_clean(&mut site));
}

#[test]
fn one_prefix_holds_its_part_of_the_connection_table_and_no_more() {
    let mut site = Site::new(|config| {
        config.limits.connections = 100;
        config.defence.prefix_connections = 20;
    });
    let held = (0..100).filter_map(|n| site.connect((host(3, 1 + n), 4_000), ECHO)).collect::<Vec<_>>();
    let stats = site.stats();
    assert_eq!((held.len(), stats.pools["connections"].used), (20, 20));
    assert_eq!((stats.pools["connections_of_one_prefix"].used, site.dropped("prefix_connections")), (20, 80));
    assert!((0..50).all(|n| site.serves(honest(n))), "others are served");
    for peer in &held[..5] {
        site.segment(peer.from, ECHO, &Header { flags: Flags::RST, ..peer.header() }, b"");
    }
    let again = (0..100).filter_map(|n| site.connect((host(3, 1 + n), 5_000), ECHO)).count();
    assert_eq!(again, 5, "what was given back");
    // By cookie as by the table.
    let mut site = Site::new(|config| {
        config.limits.connections = 100;
        config.defence.prefix_connections = 20;
        config.defence.mode = handfast::stack::SynDefence::Cookie;
    });
    (0..100).for_each(|n| _ = site.connect((host(3, 1 + n), 4_000), ECHO));
    assert_eq!((site.used("connections"), site.dropped("prefix_connections")), (20, 80));
}

/// What waits to be sent to somebody who does not read is bounded for each, and by the pool for all together.
#[test]
fn who_reads_nothing_holds_a_bounded_buffer_and_is_reset_at_the_idle_limit() {
    let mut site = Site::new(|config| {
        config.limits.buffer_bytes = 4 << 20;
        config.tcp.send_buffer = 64 << 10;
        idle(config, 60, 1);
    });
    let mut peers = open(&mut site, CHARGEN, 0);
    live(&mut site, &mut peers, 10);
    let held = site.used("buffer_bytes");
    assert!(held > 0 && held <= u64::from(SLOW) * (66 << 10), "{held} octets");
    assert!((0..20).all(|n| site.serves(honest(n))), "there is room for the others");
    live(&mut site, &mut peers, 100);
    let stats = site.stats();
    assert_eq!((stats.connections.idle, stats.pools["buffer_bytes"].used), (50, 0));
    assert!(is_clean(&mut site));
}

/// Without an idle limit: probes are answered, so the application may wait for ever; but when it has closed, nobody does.
#[test]
fn who_holds_the_window_shut_keeps_an_open_connection_and_never_a_closed_one() {
    let mut site = Site::new(|_| {});
    let mut open_ones = open(&mut site, CHARGEN, 0);
    live(&mut site, &mut open_ones, 1_000);
    assert_eq!(site.used("connections"), 50, "RFC 9293 §3.8.6.1: as long as probes are answered");
    let mut site = Site::new(|_| {});
    let mut closed = open(&mut site, HTTP, 0);
    for peer in &mut closed {
        site.segment(peer.from, HTTP, &peer.header(), b"GET / HTTP/1.0\r\n\r\n");
        peer.seq += 18;
    }
    live(&mut site, &mut closed, 50);
    assert_eq!(site.used("orphans"), 50);
    live(&mut site, &mut closed, 100);
    let stats = site.stats();
    assert_eq!((stats.pools["connections"].used, stats.connections.timed_out), (0, 50));
    assert!(is_clean(&mut site));
}

/// Who takes a window's text and then shuts the window draws the first segment of it again and again, not all of it.
#[test]
fn a_window_shut_on_text_that_is_under_way_draws_one_segment_at_a_time() {
    let mut site = Site::new(|_| {});
    let mut peers = open(&mut site, CHARGEN, 60_000);
    peers.truncate(1);
    peers[0].wnd = 0;
    peers[0].acknowledge(&mut site);
    let mut again = 0;
    for _ in 0..1_000 {
        let sent = site.pass(Duration::from_millis(100));
        let mine = sent.iter().filter(|sent| peers[0].is_mine(sent)).count();
        assert!(mine <= 1, "{mine} segments into a window of nothing");
        again += mine;
        if mine > 0 {
            peers[0].acknowledge(&mut site);
        }
    }
    assert!((5..20).contains(&again), "{again} in 100 s, with backoff");
    // Opened again, everything comes.
    let before = peers[0].ack;
    peers[0].wnd = 60_000;
    for _ in 0..10 {
        let sent = peers[0].acknowledge(&mut site);
        peers[0].hear(&sent);
    }
    let taken = peers[0].ack.distance_from(before);
    assert!(taken > 50_000, "{taken}");
}

#[test]
fn who_falls_silent_with_text_on_the_way_ends_at_the_user_timeout() {
    let mut site = Site::new(|_| {});
    open(&mut site, CHARGEN, 60_000);
    site.pass(Duration::from_secs(290));
    assert_eq!(site.used("connections"), 50);
    site.pass(Duration::from_secs(130));
    let stats = site.stats();
    assert_eq!((stats.connections.timed_out, stats.pools["buffer_bytes"].used), (50, 0));
    assert!(is_clean(&mut site));
}

#[test]
fn who_never_closes_after_our_fin_ends_at_the_orphan_limit() {
    let mut site = Site::new(|_| {});
    let mut peers = open(&mut site, HTTP, 60_000);
    for peer in &mut peers {
        let page = site.segment(peer.from, HTTP, &peer.header(), b"GET / HTTP/1.0\r\n\r\n");
        peer.seq += 18;
        peer.hear(&page);
        peer.acknowledge(&mut site);
    }
    assert_eq!(site.stats().states["fin_wait_2"], 50);
    site.pass(Duration::from_secs(61));
    assert_eq!((site.used("connections"), site.stats().connections.timed_out), (0, 50));
    assert!(is_clean(&mut site));
}

/// An octet every ten seconds is enough for an idle limit of one octet, not for one that asks for more; and whoever moves
/// as much as is asked for stays.
#[test]
fn who_trickles_is_reset_where_more_octets_are_asked_for() {
    for (octets, stay) in [(1, 51), (100, 1)] {
        let mut site = Site::new(|config| idle(config, 60, octets));
        let mut peers = open(&mut site, HTTP, 60_000);
        let mut steady = site.connect(honest(0), ECHO).unwrap();
        for round in 0..20 {
            for peer in &mut peers {
                peer.say(&mut site, &b"GET / HTTP/1.1\r\nx: yyyyyy"[round..=round]);
            }
            steady.say(&mut site, &[b'x'; 10]);
            live(&mut site, &mut [], 10);
        }
        assert_eq!(site.used("connections"), stay, "at {octets} octets");
        assert_eq!(site.stats().connections.idle, 51 - stay);
    }
}

/// All of them at once, with the limits that a server has by default but for the idle limit; honest clients come and go
/// meanwhile, and all are served.
#[test]
fn honest_clients_are_served_beside_all_kinds_of_slow_ones() {
    let mut site = Site::new(|config| {
        config.limits.connections = 400;
        idle(config, 60, 100);
        // Ten prefixes have half of the table.
        config.defence.prefix_connections = 5;
    });
    let mut slow = Vec::new();
    let mut served = 0;
    for second in 0..300u16 {
        for n in 0..10u8 {
            // In a minute more than the table would hold.
            let from = (host(50 + u16::from(n), 1), 4_000 + second);
            let (port, wnd) = [(CHARGEN, 0), (CHARGEN, 1), (HTTP, 0), (ECHO, 100), (HTTP, 9_000)][usize::from(n) % 5];
            site.syn((from.0, 9_000 + second), ECHO);
            slow.extend(site.connect(from, port).map(|peer| Peer { wnd, ..peer }));
        }
        let first_alive = slow.len().saturating_sub(400);
        live(&mut site, &mut slow[first_alive..], 1);
        served += u16::from(site.serves(honest(second)));
    }
    let stats = site.stats();
    assert!(stats.pools["connections"].used <= 200 && stats.connections.idle > 500, "{:?}", stats.connections);
    assert_eq!(served, 300);
    assert!(is_clean(&mut site));
}
