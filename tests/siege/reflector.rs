//! No reflector: what a spoofed packet draws, counted in octets from the IP header on until nothing more comes, is hardly
//! more than it had itself; and what strangers can make us send has a limit and a counter for each kind.

use super::site::{CHARGEN, ECHO, Sent, Site, host, host_v6, syn};
use handfast::stack::SynDefence;
use handfast::time::Duration;
use handfast::wire::tcp::{Flags, Header, Options, Timestamps};
use handfast::wire::{Addr, SeqNum};

const CLOSED: u16 = 81;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Everything that a packet draws, now and within the time in which anything is sent again.
fn drawn(site: &mut Site, octets: usize, spoofed: impl FnOnce(&mut Site) -> Vec<Sent>) -> f64 {
    let mut sent = spoofed(site);
    sent.extend(site.pass(Duration::from_secs(300)));
    assert_eq!(site.stats().pools["half_open"].used, 0, "nothing more will come");
    sent.iter().map(|sent| sent.octets).sum::<usize>() as f64 / octets as f64
}

fn segment_drawn(site: &mut Site, from: Addr, port: u16, header: &Header, text: usize) -> f64 {
    let ip = if from.is_v4() { 20 } else { 40 };
    let octets = ip + 20 + header.options.encoded_len() + text;
    drawn(site, octets, |site| site.segment((from, 5_000), port, header, &vec![0; text]))
}

fn header(flags: Flags) -> Header {
    Header { seq: SeqNum(1), ack: SeqNum(1), flags, wnd: 1_000, ..Header::default() }
}

/// A SYN without an option, whose answer has one; and one with all of them.
fn syns() -> [(&'static str, Header, usize); 3] {
    let all = Options {
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { tsval: 1, tsecr: 0 }),
        ..syn().options
    };
    let bare = Header { options: Options::default(), ..syn() };
    [("SYN of 40", bare, 0), ("SYN with options", Header { options: all, ..syn() }, 0), ("SYN with text", bare, 1_000)]
}

/// Everything that a spoofed packet may be; what it drew is below what is said, and the first of them is just so.
fn check(mode: SynDefence, v6: bool, syn_ack: f64) {
    let from = if v6 { host_v6(1, 1) } else { host(1, 1) };
    let mut site = Site::new(|config| config.defence.mode = mode);
    let what = |name: &str| format!("{mode}, {from}: {name}");
    for (at, (name, header, text)) in syns().into_iter().enumerate() {
        let factor = segment_drawn(&mut site, from, ECHO, &header, text);
        assert!(factor <= syn_ack && factor > 0.0, "{}: {factor}", what(name));
        assert!(at != 0 || factor > syn_ack - 0.01, "{}: {factor} is less than is stated", what(name));
        let refused = segment_drawn(&mut site, from, CLOSED, &header, text);
        assert!(refused <= 1.0 && refused > 0.0, "{}: {refused}", what(name));
    }
    let kinds = [
        ("ACK", Flags::ACK, 0),
        ("data", Flags::ACK | Flags::PSH, 100),
        ("FIN", Flags::ACK | Flags::FIN, 0),
        ("SYN-ACK", Flags::SYN | Flags::ACK, 0),
        ("RST", Flags::RST, 0),
        ("RST with ACK", Flags::RST | Flags::ACK, 0),
        ("nothing", Flags(0), 0),
        ("all flags", Flags(0xff), 0),
    ];
    for (name, flags, text) in kinds {
        for port in [ECHO, CHARGEN, CLOSED] {
            let factor = segment_drawn(&mut site, from, port, &header(flags), text);
            assert!(factor <= 1.0, "{}: {factor}", what(name));
            assert!(!flags.has(Flags::RST) || factor == 0.0, "{}: a RST was answered", what(name));
        }
    }
    let (icmp, echo) = if v6 { (ICMPV6, 128) } else { (ICMP, 8) };
    for (name, protocol, first, most) in [
        ("ping", icmp, echo, 1.0),
        ("ping reply", icmp, echo + 1, 0.0),
        ("unreachable", icmp, if v6 { 1 } else { 3 }, 0.0),
        ("timestamp request", icmp, 13, 0.0),
        ("UDP", UDP, 0, 0.0),
        ("SCTP", 132, 0, 0.0),
    ] {
        for payload in [8, 64, 1_400] {
            let mut octets = vec![0; payload];
            octets[0] = first;
            let ip = if v6 { 40 } else { 20 };
            let factor = drawn(&mut site, ip + payload, |site| site.packet(from, protocol, &octets));
            assert_eq!(factor, most, "{} of {payload}", what(name));
        }
    }
}

/// The table sends its SYN-ACK again five times, as the kernel does.
#[test]
fn what_a_spoofed_packet_draws_is_bounded_with_the_table() {
    for mode in [SynDefence::Table, SynDefence::Auto] {
        check(mode, false, 6.0 * 44.0 / 40.0);
        check(mode, true, 6.0 * 64.0 / 60.0);
    }
}

/// A cookie is sent once. What the XDP program sends is octet by octet the same (`tests/xdp_answers.rs`).
#[test]
fn what_a_spoofed_packet_draws_is_bounded_with_cookies() {
    check(SynDefence::Cookie, false, 44.0 / 40.0);
    check(SynDefence::Cookie, true, 64.0 / 60.0);
}

/// A connection that a stranger knows of is no reflector either: its peer is drawn ten challenge ACKs in 5 s.
#[test]
fn a_connection_answers_spoofed_segments_sparingly() {
    let mut site = Site::new(|_| {});
    let peer = site.connect((host(1, 1), 5_000), ECHO).unwrap();
    for flags in [Flags::SYN, Flags::RST] {
        site.pass(Duration::from_secs(10));
        let forged = Header { seq: peer.seq + 100, flags, ..peer.header() };
        let drawn: usize = (0..1_000).map(|_| site.segment(peer.from, ECHO, &forged, b"").len()).sum();
        assert_eq!(drawn, 10, "{flags}");
    }
    assert_eq!(site.stats().refused["challenge_acks"], 2 * 990);
}

#[test]
fn each_kind_of_reply_has_its_limit_and_its_counter() {
    let mut site = Site::new(|config| config.limits.replies_per_second = 10);
    let refused = |site: &Site, kind: &str| site.stats().refused[kind];
    let count = |site: &mut Site, make: &mut dyn FnMut(&mut Site, u8) -> Vec<Sent>| -> usize {
        (0..100).map(|n| make(site, n).len()).sum()
    };
    let resets = count(&mut site, &mut |site, n| site.segment((host(1, n), 5_000), CLOSED, &header(Flags::ACK), b""));
    assert_eq!((resets, refused(&site, "resets")), (10, 90));
    let pings = count(&mut site, &mut |site, n| site.packet(host(1, n), ICMP, &[8, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!((pings, refused(&site, "echo_replies")), (10, 90), "not silenced by the RSTs");
    // Half-open entries, and segments outside their windows.
    (0..100).for_each(|n| assert_eq!(site.syn((host(1, n), 5_000), ECHO).len(), 1));
    let acks = count(&mut site, &mut |site, n| {
        site.segment((host(1, n), 5_000), ECHO, &Header { seq: SeqNum(1), ..header(Flags::ACK) }, b"x")
    });
    assert_eq!((acks, refused(&site, "acknowledgements")), (10, 90));
    // Each again in the same half second: that is one flow's limit, not the host's.
    let again = count(&mut site, &mut |site, n| {
        site.segment((host(1, n), 5_000), ECHO, &Header { seq: SeqNum(1), ..header(Flags::ACK) }, b"")
    });
    assert_eq!(again, 0);
    let sent_again = site.pass(Duration::from_millis(1_900));
    assert_eq!(sent_again.len(), 10, "of 100 SYN-ACKs that were due to be sent again");
    assert_eq!(refused(&site, "syn_acks_again"), 90);
    assert_eq!(refused(&site, "neighbour_replies"), 0);
    site.pass(Duration::from_secs(80));
    assert_eq!(site.used("half_open"), 0, "the entries end all the same");
}

/// The entries of a flood are due again within the same milliseconds: while they are answered, others must be heard.
#[test]
fn syn_acks_due_again_leave_turn_by_turn() {
    const ENTRIES: usize = 300;
    let mut site = Site::new(|config| config.defence.mode = SynDefence::Table);
    for n in 0..ENTRIES as u16 {
        assert_eq!(site.syn((host(n, 1), 5_000), ECHO).len(), 1);
    }
    site.now = site.now + Duration::from_millis(1_100);
    let (mut again, mut turns) = (0, 0);
    loop {
        let (sent, more) = site.one_turn();
        assert!(sent.len() <= 64, "{} in one turn", sent.len());
        again += sent.len();
        turns += 1;
        if !more {
            break;
        }
    }
    assert_eq!((again, turns), (ENTRIES, ENTRIES.div_ceil(64)));
    site.stats();
}
