//! What goes first when memory or room to send runs short: TIME-WAIT, the oldest first, then half-open entries, never a
//! connection.

use super::site::{CHARGEN, ECHO, HTTP, Peer, Site, host, host_v6};
use handfast::time::Duration;
use handfast::wire::Addr;
use handfast::wire::tcp::{Flags, Header};

/// A connection that the server closes first; says how it would go on.
fn into_time_wait(site: &mut Site, from: (Addr, u16)) -> Peer {
    let mut peer = site.connect(from, HTTP).expect("there is room");
    close_first(site, &mut peer);
    peer
}

/// Has the server close first.
fn close_first(site: &mut Site, peer: &mut Peer) {
    let request = b"GET / HTTP/1.0\r\n\r\n";
    let page = site.segment(peer.from, HTTP, &peer.header(), request);
    peer.seq += request.len() as u32;
    peer.hear(&page);
    site.segment(peer.from, HTTP, &fin(peer), b"");
}

fn fin(peer: &Peer) -> Header {
    Header { flags: Flags::FIN | Flags::ACK, ..peer.header() }
}

/// Whether its TIME-WAIT entry is there: it takes no notice of a RST, but counts it.
fn waits(site: &mut Site, peer: &Peer) -> bool {
    let before = site.dropped("time_wait_reset");
    site.segment(peer.from, HTTP, &Header { flags: Flags::RST, ..peer.header() }, b"");
    site.dropped("time_wait_reset") > before
}

#[test]
fn time_wait_goes_first_then_half_open_entries_and_never_a_connection() {
    const CONNECTIONS: u64 = 40;
    let bytes = Site::new(|_| {}).stats().bytes_per_entry;
    let mut site = Site::new(|config| config.limits.table_bytes = CONNECTIONS * bytes.established);
    (0..20).for_each(|n| _ = into_time_wait(&mut site, (host(1, 1), 1_000 + n)));
    (0..10).for_each(|n| assert_eq!(site.syn((host(2, 1), 1_000 + n), ECHO).len(), 1));
    assert_eq!((site.used("time_wait"), site.used("half_open")), (20, 10));
    let mut peers = Vec::new();
    let mut seen = Vec::new();
    for n in 0..2 * CONNECTIONS {
        peers.extend(site.connect((host(3, 1), 1_000 + n as u16), ECHO));
        let stats = site.stats();
        let pool = stats.pools["table_bytes"];
        assert!(pool.used <= pool.limit, "{pool:?}");
        seen.push([site.used("time_wait"), site.used("half_open"), site.used("connections")]);
    }
    for pair in seen.windows(2) {
        let [[time_wait, half_open, connections], after] = [pair[0], pair[1]];
        assert!(after[2] >= connections, "a connection gave way: {pair:?}");
        assert!(after[1] >= half_open || after[0] == 0, "a half-open entry before TIME-WAIT: {pair:?}");
        assert!(after[0] <= time_wait && after[1] <= half_open);
    }
    assert_eq!(seen.last(), Some(&[0, 0, CONNECTIONS]), "all that gives way has gone");
    let stats = site.stats();
    assert_eq!((stats.refused["time_wait_shed"], stats.refused["half_open_shed"]), (20, 10));
    assert_eq!((stats.time_wait["evicted"], stats.half_open["evicted"]), (20, 10));
    // Every connection stands, but for those whose last ACK found no room: they were told nothing yet.
    let served = peers.iter_mut().map(|peer| peer.say(&mut site, b"here")).filter(|back| back == b"here").count();
    assert_eq!(served as u64, CONNECTIONS);
    assert!(site.dropped("connections_full") > 0);
}

#[test]
fn without_cookies_a_half_open_entry_takes_the_place_of_time_wait_alone() {
    let mut site = Site::new(|config| {
        config.limits.table_bytes = 1_000;
        config.defence.mode = handfast::stack::SynDefence::Table;
    });
    (0..5).for_each(|n| _ = into_time_wait(&mut site, (host(1, 1), 1_000 + n)));
    (0..30).for_each(|n| _ = site.syn((host(2, 1), 1_000 + n), ECHO));
    let stats = site.stats();
    assert_eq!((stats.pools["time_wait"].used, stats.half_open["evicted"]), (0, 0));
    let fit = 1_000 / stats.bytes_per_entry.half_open;
    assert_eq!((stats.pools["half_open"].used, site.dropped("half_open_full")), (fit, 30 - fit));
}

#[test]
fn the_oldest_of_time_wait_goes_first_whatever_its_family() {
    let mut site = Site::new(|config| config.limits.table_bytes = 2_000);
    let sources = [host(1, 1), host_v6(1, 1), host(1, 2), host_v6(1, 2), host(1, 3)];
    let mut old = Vec::new();
    for from in sources {
        old.push(into_time_wait(&mut site, (from, 1_000)));
        // Entries of about one time share a place in the order.
        site.pass(Duration::from_secs(1));
    }
    let mut gone = 0;
    for n in 0..14 {
        site.connect((host(3, 1), 1_000 + n), ECHO).expect("TIME-WAIT gives way");
        let waiting: Vec<bool> = old.iter().map(|peer| waits(&mut site, peer)).collect();
        gone = waiting.iter().filter(|waits| !**waits).count();
        assert!(waiting[..gone].iter().all(|waits| !waits), "in the order of time: {waiting:?}");
    }
    assert!(gone > 0);
}

/// The IPv4 table keeps the place of an entry that a new connection took: it holds nobody who could give way.
#[test]
fn where_one_family_has_nobody_left_in_time_wait_the_other_gives_way() {
    let mut site = Site::new(|config| config.limits.table_bytes = 400);
    let old = into_time_wait(&mut site, (host(1, 1), 1_000));
    site.pass(Duration::from_secs(1));
    (1..3).for_each(|n| _ = into_time_wait(&mut site, (host_v6(1, n), 1_000)));
    let again = Header { flags: Flags::SYN, seq: old.seq + 100_000, ..old.header() };
    site.segment(old.from, HTTP, &again, b"");
    assert_eq!((site.used("time_wait"), site.used("half_open")), (2, 1));
    for n in 0..5 {
        assert_eq!(site.syn((host(2, 1), 1_000 + n), ECHO).len(), 1);
    }
    assert_eq!(site.stats().defence.cookies["sent"], 0, "each found room in the table");
    assert_eq!((site.used("time_wait"), site.used("half_open")), (0, 6));
}

/// SYN-ACKs that are due again wait until every connection has sent.
#[test]
fn where_there_is_little_room_to_send_connections_come_first() {
    let mut site = Site::new(|_| {});
    let mut reader = site.connect((host(1, 1), 5_000), CHARGEN).unwrap();
    for n in 0..10 {
        site.syn((host(2, 1), 1_000 + n), ECHO);
    }
    site.now = site.now + Duration::from_millis(1_100);
    site.room = 0;
    assert!(site.pass(Duration::ZERO).is_empty(), "ten SYN-ACKs are due, and find no room");
    // The connection's turn comes later than theirs.
    reader.ack += 14_600;
    site.room = 3;
    let sent = site.segment(reader.from, CHARGEN, &reader.header(), b"");
    assert!(sent.len() == 3 && sent.iter().all(|sent| reader.is_mine(sent)), "{} frames", sent.len());
    site.room = usize::MAX;
    let rest = site.pass(Duration::ZERO);
    let again = rest.iter().filter(|sent| sent.has(Flags::SYN)).count();
    assert_eq!(again, 10, "none was lost");
    let last_of_reader = rest.iter().rposition(|sent| reader.is_mine(sent)).unwrap();
    assert!(rest[..=last_of_reader].iter().all(|sent| !sent.has(Flags::SYN)));
}

/// A newer SYN needs more than its old entry gives back, and connections give nothing.
#[test]
fn a_tuple_is_used_again_where_there_is_room_and_else_nothing_is_half_done() {
    let bytes = Site::new(|_| {}).stats().bytes_per_entry;
    for (spare, opens) in [(0, false), (bytes.half_open, true)] {
        let mut site = Site::new(|config| {
            config.limits.table_bytes = bytes.established + bytes.time_wait + spare;
            config.defence.mode = handfast::stack::SynDefence::Table;
        });
        let old = into_time_wait(&mut site, (host(1, 1), 1_000));
        assert!(site.connect((host(2, 1), 1_000), ECHO).is_some());
        assert_eq!((site.used("time_wait"), site.used("connections")), (1, 1));
        let newer = Header { seq: old.seq + 1_000_000, ..super::site::syn() };
        let answer = site.segment(old.from, HTTP, &newer, b"");
        assert_eq!(answer.iter().any(|sent| sent.has(Flags::SYN | Flags::ACK)), opens);
        // The ledger is exact.
        let stats = site.stats();
        assert_eq!((stats.time_wait["reused"], site.dropped("half_open_full")), (u64::from(opens), u64::from(!opens)));
        assert_eq!(stats.pools["time_wait"].used, 0);
    }
}

/// What a new connection took the tuple of keeps its place until others around it go: that is memory, and bounded as such.
#[test]
fn one_tuple_used_again_and_again_takes_no_more_than_the_bound() {
    let mut site = Site::new(|config| config.limits.table_bytes = 3_000);
    // One that stays, so that the places around it are not given back at once.
    into_time_wait(&mut site, (host(2, 1), 1_000));
    let mut seq = super::site::syn().seq;
    for _ in 0..500 {
        let mut peer = site.connect_from((host(1, 1), 1_000), HTTP, seq).expect("there is room");
        close_first(&mut site, &mut peer);
        seq = peer.seq + 1_000_000;
        let stats = site.stats();
        let (bytes, places) = (stats.pools["table_bytes"], stats.pools["time_wait_places"]);
        assert!(
            bytes.used <= bytes.limit && places.used * stats.bytes_per_entry.time_wait <= 3_000,
            "{bytes:?} {places:?}"
        );
    }
}

/// Places in which nobody waits any more are given back before anybody is refused for want of them.
#[test]
fn places_without_an_entry_are_room_as_well() {
    let mut site = Site::new(|config| {
        config.limits.table_bytes = 3_000;
        config.defence.mode = handfast::stack::SynDefence::Table;
    });
    let mut seq = super::site::syn().seq;
    for n in 0..200 {
        let mut peer = site.connect_from((host(1, 1), 1_000), HTTP, seq).expect("there is room");
        // Now nobody waits.
        let other = site.connect((host(2, 1), 2_000 + n), ECHO).expect("there is room");
        assert_eq!(site.dropped("connections_full"), 0, "{n}: {:?}", site.stack.snapshot().pools);
        site.segment(other.from, ECHO, &Header { flags: Flags::RST, ..other.header() }, b"");
        close_first(&mut site, &mut peer);
        seq = peer.seq + 1_000_000;
    }
    assert_eq!(site.stats().refused["time_wait_shed"], 0);
}
