//! What one source prefix may take: its share of the half-open table, and its rate of new connections.

use super::site::{ECHO, Site, host, host_v6, syn};
use handfast::stack::{DefenceConfig, StackConfig, SynDefence};
use handfast::time::Duration;
use handfast::wire::Addr;
use handfast::wire::tcp::Flags;

/// SYNs from so many sources of one prefix.
fn flood(site: &mut Site, syns: u16, source: impl Fn(u8) -> Addr) {
    for n in 0..syns {
        site.syn((source(1 + (n % 250) as u8), 10_000 + n), ECHO);
    }
}

fn table_of(half_open: u32, mode: SynDefence) -> impl Fn(&mut StackConfig) {
    move |config| {
        config.limits.half_open = half_open;
        config.defence = DefenceConfig { mode, ..config.defence };
    }
}

#[test]
fn a_prefix_gets_cookies_beyond_its_share_and_others_do_not_notice() {
    for v6 in [false, true] {
        let source = |prefix, n| if v6 { host_v6(prefix, n) } else { host(prefix, n) };
        let mut site = Site::new(table_of(400, SynDefence::Auto));
        flood(&mut site, 1_000, |n| source(3, n));
        let stats = site.stats();
        assert_eq!((stats.pools["half_open"].used, stats.pools["half_open_of_one_prefix"].used), (100, 100));
        assert_eq!((stats.defence.budgets["over_share_cookies"], stats.defence.cookies["sent"]), (900, 900));
        assert_eq!(stats.defence.workers_at["table"], 1, "no step up for the sake of one prefix");
        // An honest client of the next prefix has an entry, and one of the same prefix has a cookie.
        assert!(site.serves((source(4, 1), 5_000)) && site.serves((source(3, 1), 5_000)));
        let stats = site.stats();
        assert_eq!((stats.half_open["established"], stats.defence.cookies["accepted"]), (1, 1));
        // What was held is given back.
        site.pass(Duration::from_secs(70));
        let stats = site.stats();
        assert_eq!((stats.pools["half_open"].used, stats.pools["half_open_of_one_prefix"].used), (0, 0));
        assert!(site.serves((source(3, 1), 5_001)));
        assert_eq!(site.stats().half_open["established"], 2, "by the table again");
    }
}

#[test]
fn where_there_are_no_cookies_a_prefix_is_refused_beyond_its_share() {
    let mut site = Site::new(table_of(400, SynDefence::Table));
    flood(&mut site, 1_000, |n| host(3, n));
    assert_eq!((site.used("half_open"), site.dropped("prefix_share")), (100, 900));
    assert_eq!(site.stats().defence.budgets["over_share_dropped"], 900);
    assert!(!site.serves((host(3, 1), 5_000)) && site.serves((host(4, 1), 5_000)));
}

#[test]
fn three_prefixes_leave_room_for_the_fourth() {
    let mut site = Site::new(table_of(400, SynDefence::Table));
    for prefix in 0..3 {
        flood(&mut site, 1_000, |n| host(prefix, n));
    }
    assert_eq!((site.used("half_open"), site.dropped("half_open_full")), (300, 0));
    for n in 0..100 {
        assert!(site.serves((host(77, 1), 5_000 + n)));
    }
}

#[test]
fn a_prefix_makes_new_connections_at_its_rate_and_others_at_theirs() {
    for mode in [SynDefence::Auto, SynDefence::Table, SynDefence::Cookie] {
        let mut site = Site::new(|config| {
            config.defence = DefenceConfig { mode, prefix_rate: Some(50), ..config.defence };
        });
        flood(&mut site, 500, |n| host(3, n));
        assert_eq!((site.dropped("prefix_rate"), site.used("prefixes")), (450, 1), "{mode}");
        assert_eq!(site.stats().defence.budgets["over_rate_dropped"], 450, "{mode}");
        assert!((0..50).all(|n| site.serves((host(4, 1), 5_000 + n))), "{mode}");
        assert!(!site.serves((host(4, 1), 5_050)) && site.serves((host(5, 1), 5_000)), "{mode}");
        site.pass(Duration::from_millis(100));
        let served = (0..50).filter(|n| site.serves((host(3, 1), 6_000 + n))).count();
        assert_eq!(served, 5, "{mode}: what came back in a tenth of a second");
    }
}

/// A SYN sent again because the answer was lost is no new connection.
#[test]
fn a_syn_that_comes_again_is_answered_whatever_the_rate() {
    let mut site = Site::new(|config| config.defence.prefix_rate = Some(1));
    for _ in 0..5 {
        assert_eq!(site.syn((host(3, 1), 5_000), ECHO).len(), 1);
    }
    assert_eq!(site.syn((host(3, 1), 5_001), ECHO).len(), 0);
}

/// Where a SYN would take the tuple of a connection in TIME-WAIT, that entry goes only when there is room for the new one.
#[test]
fn over_budget_a_syn_leaves_the_old_connection_in_time_wait() {
    let mut site = Site::new(table_of(400, SynDefence::Auto));
    let from = (host(3, 1), 5_000);
    // It closes the connection by a request for a page and no more.
    let mut peer = site.connect(from, super::site::HTTP).unwrap();
    let page = site.segment(from, 80, &peer.header(), b"GET / HTTP/1.0\r\n\r\n");
    peer.seq += 18;
    peer.hear(&page);
    let end = handfast::wire::tcp::Header { flags: Flags::FIN | Flags::ACK, ..peer.header() };
    site.segment(from, 80, &end, b"");
    assert_eq!(site.used("time_wait"), 1);
    flood(&mut site, 200, |n| host(3, n));
    let again = handfast::wire::tcp::Header { seq: peer.seq + 100_000, ..syn() };
    assert!(site.segment(from, 80, &again, b"").is_empty());
    assert_eq!((site.dropped("prefix_share"), site.used("time_wait")), (1, 1));
    site.pass(Duration::from_secs(70));
    assert_eq!(site.segment(from, 80, &again, b"").len(), 1);
    assert_eq!(site.stats().time_wait["reused"], 1);
}
