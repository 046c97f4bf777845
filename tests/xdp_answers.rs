//! SYNs answered by the XDP program: frame in, frame out by `BPF_PROG_TEST_RUN`, octet by octet what the stack answers;
//! and which acknowledgements end there. Needs CAP_BPF and CAP_NET_ADMIN; says so and skips without root.

mod common;

use handfast::driver::{ProgramConfig, XdpProgram};
use handfast::engine::defence_of;
use handfast::outpost::Outpost;
use handfast::stack::{
    App, ConnId, CookieKeys, Cx, DefenceConfig, LocalAddr, RxChecksum, Secrets, Stack, StackConfig, SynDefence,
};
use handfast::time::{Duration, Instant};
use handfast::wire::frame::{self, Envelope, Incoming, Link, TxChecksum, VerifyChecksum};
use handfast::wire::tcp::{Flags, Header, Options, Timestamps};
use handfast::wire::{Addr, Dscp, FourTuple, MacAddr, SeqNum};
use handfast::{Ownership, clock};
use proptest::prelude::*;
use std::os::fd::{AsRawFd, OwnedFd};

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const PORT: u16 = 80;

const DROP: u32 = 1;
const TX: u32 = 3;
const REDIRECT: u32 = 4;

fn addr(v4: bool, last: u8) -> Addr {
    match v4 {
        true => Addr::from_v4([10, 77, 0, last]),
        false => Addr::from_v6([0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]),
    }
}

fn config() -> StackConfig {
    let day = Duration::from_secs(1_700_000_000);
    let cookie = CookieKeys { accepting: Some([9; 16]), clock_ahead: day, ..CookieKeys::alone(*b"a key of cookies") };
    StackConfig {
        listen: vec![PORT],
        defence: DefenceConfig { mode: SynDefence::Xdp, ..DefenceConfig::default() },
        ..StackConfig::new(
            OURS,
            [(true, 24), (false, 64)].map(|(v4, prefix_len)| LocalAddr { addr: addr(v4, 2), prefix_len }).into(),
            Secrets { isn: *b"a key of numbers", flow_hash: [2; 16], cookie },
        )
    }
}

struct Quiet;

impl App for Quiet {
    type Message = ();
    fn on_readable(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
    fn on_half_close(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
}

/// The program as a worker on queue 0 has prepared it, with its stack.
struct Bench {
    program: XdpProgram,
    stack: Stack<Quiet>,
    _socket: OwnedFd,
}

fn answering_for(workers: u32) -> ProgramConfig {
    ProgramConfig { answers_for: workers, ..ProgramConfig::default() }
}

impl Bench {
    /// `None`, with a line that says so, without root.
    fn new(config: StackConfig) -> Option<Bench> {
        if !common::root("answering SYNs in the XDP program") {
            return None;
        }
        let mut program = XdpProgram::load_for(&answering_for(1)).unwrap();
        for local in &config.addresses {
            program.own_address(local.addr, Ownership::Exclusive).unwrap();
        }
        program.set_defence(&defence_of(&config)).unwrap();
        config.listen.iter().for_each(|port| program.answer_port(*port).unwrap());
        let socket = rustix::net::socket(rustix::net::AddressFamily::XDP, rustix::net::SocketType::RAW, None).unwrap();
        program.set_socket(0, socket.as_raw_fd()).unwrap();
        let mut stack = Stack::new(config, Quiet, clock::now());
        stack.set_outpost(program.outpost(0).unwrap());
        // The filter is made a piece each turn.
        (0..1_000).for_each(|_| stack.on_timers(clock::now()));
        Some(Bench { program, stack, _socket: socket })
    }

    /// The kernel's action, and the frame afterwards.
    fn run(&self, frame: &[u8]) -> (u32, Vec<u8>) {
        let mut after = vec![0; 2048];
        let (seen, len) = self.program.run_and_see(frame, 1, &mut after).unwrap();
        after.truncate(len);
        (seen.action, after)
    }

    fn stack_answer(&mut self, now: Instant, frame: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = frame.to_vec();
        buffer.resize(2048, 0);
        let len = self.stack.on_frame(now, &mut buffer, frame.len()).reply()?;
        buffer.truncate(len);
        Some(buffer)
    }

    /// Compares both answers to a SYN. TSval moves on every 64 ms, so one of two neighbouring ones is right.
    fn compare(&mut self, syn: &[u8]) -> Result<(), String> {
        let before = clock::now();
        let (action, answer) = self.run(syn);
        let after = clock::now();
        let expected = [before, after].map(|now| self.stack_answer(now, syn));
        if action == TX && expected.iter().any(|e| e.as_deref() == Some(&answer[..])) {
            return Ok(());
        }
        Err(format!("action {action}, {answer:x?}\n not {:x?}", expected[0]))
    }

    fn verdict(&self, name: &str) -> u64 {
        self.program.verdicts().unwrap()[name]
    }
}

/// A segment to port 80 of ours from host `from`.
fn segment(v4: bool, vlan: Option<u16>, from: u8, port: u16, header: &Header, text: &[u8]) -> Vec<u8> {
    let tuple = FourTuple { local_addr: addr(v4, from), remote_addr: addr(v4, 2), local_port: port, remote_port: PORT };
    let link = Link { src: THEIRS, dst: OURS, vlan };
    let envelope = Envelope { link, tuple, hop_limit: 64, traffic_class: 0, checksum: TxChecksum::Full };
    let mut buffer = vec![0; 2048];
    let len = frame::emit_tcp(&mut buffer, &envelope, header, text.len(), |to| to.copy_from_slice(text));
    buffer.truncate(len);
    buffer
}

fn syn(options: Options) -> Header {
    Header { seq: SeqNum(0xffff_fffe), flags: Flags::SYN, wnd: 64_240, options, ..Header::default() }
}

fn usual() -> Options {
    let timestamps = Some(Timestamps { tsval: 0x1234_5678, tsecr: 0 });
    Options { mss: Some(1460), window_scale: Some(7), sack_permitted: true, timestamps, ..Options::default() }
}

fn header_of(octets: &[u8]) -> Header {
    match frame::parse(octets, VerifyChecksum::Yes) {
        Ok(Incoming::Tcp { segment, .. }) => segment.header,
        other => panic!("not a segment: {other:?}"),
    }
}

fn ack_of(syn_ack: &Header) -> Header {
    let timestamps = syn_ack.options.timestamps.map(|t| Timestamps { tsval: t.tsecr + 1, tsecr: t.tsval });
    let options = Options { timestamps, ..Options::default() };
    Header { seq: syn_ack.ack, ack: syn_ack.seq + 1, flags: Flags::ACK, wnd: 500, options, ..Header::default() }
}

#[test]
fn every_mix_of_options_is_answered_as_the_stack_does() {
    let Some(mut bench) = Bench::new(config()) else { return };
    for v4 in [true, false] {
        for vlan in [None, Some(0xe005)] {
            for mss in [None, Some(1), Some(535), Some(536), Some(1220), Some(1419), Some(1452), Some(1460), Some(9000)]
            {
                for mix in 0..32 {
                    let timestamps = Some(Timestamps { tsval: 77, tsecr: 0 }).filter(|_| mix & 4 != 0);
                    let options = Options {
                        mss,
                        window_scale: (mix & 1 != 0).then_some(if mix & 16 != 0 { 255 } else { 9 }),
                        sack_permitted: mix & 2 != 0,
                        timestamps,
                        ..Options::default()
                    };
                    let ecn = if mix & 8 != 0 { Flags::ECE | Flags::CWR } else { Flags(0) };
                    let syn = Header { flags: Flags::SYN | ecn, ..syn(options) };
                    let frame = segment(v4, vlan, 9, 1_000 + mix as u16, &syn, &[]);
                    bench.compare(&frame).unwrap_or_else(|e| panic!("IPv4 {v4} {vlan:?} {mss:?} mix {mix}: {e}"));
                }
            }
        }
    }
    assert_eq!(bench.verdict("answer_syn"), 2 * 2 * 9 * 32);
}

#[test]
fn ttl_and_ds_field_are_those_of_the_stack() {
    for (ttl, dscp) in [(1, 63), (64, 46), (255, 0), (128, 1)] {
        let mut told = config();
        told.tcp.hop_limit = ttl.try_into().unwrap();
        told.tcp.dscp = Dscp::new(dscp).unwrap();
        let Some(mut bench) = Bench::new(told) else { return };
        for v4 in [true, false] {
            bench.compare(&segment(v4, None, 9, 1_000, &syn(usual()), &[])).unwrap();
        }
    }
}

#[test]
fn padding_is_cut_off_and_missing_room_is_made() {
    let Some(mut bench) = Bench::new(config()) else { return };
    let bare = segment(true, None, 9, 1_000, &syn(Options::default()), &[]);
    assert_eq!(bare.len(), 54);
    bench.compare(&bare).unwrap();
    bench.compare(&[bare, vec![0; 6]].concat()).unwrap();
    bench.compare(&[segment(true, None, 9, 1_000, &syn(usual()), &[]), vec![7; 100]].concat()).unwrap();
}

#[test]
fn the_drop_eligible_bit_of_a_tag_is_not_sent_back() {
    let Some(mut bench) = Bench::new(config()) else { return };
    let mut tagged = segment(true, Some(0xe005), 9, 1_000, &syn(usual()), &[]);
    tagged[14] |= 0x10;
    bench.compare(&tagged).unwrap();
}

/// Writes raw options into a SYN and mends length and checksums.
fn with_raw_options(v4: bool, octets: &[u8]) -> Vec<u8> {
    let mut padded = octets.to_vec();
    padded.resize(octets.len().div_ceil(4) * 4, 0);
    let frame = segment(v4, None, 9, 1_234, &syn(Options::default()), &padded);
    let at = if v4 { 34 } else { 54 };
    let mut frame = frame;
    let old = u16::from_be_bytes([frame[at + 12], frame[at + 13]]);
    frame[at + 12] = ((5 + padded.len() / 4) as u8) << 4;
    let new = u16::from_be_bytes([frame[at + 12], frame[at + 13]]);
    let checksum = u16::from_be_bytes([frame[at + 16], frame[at + 17]]);
    let mended = handfast::wire::checksum::update(checksum, old, new);
    frame[at + 16..at + 18].copy_from_slice(&mended.to_be_bytes());
    frame
}

#[test]
fn whatever_stands_in_the_options_both_read_the_same() {
    let Some(bench) = Bench::new(config()) else { return };
    let bench = std::cell::RefCell::new(bench);
    let option = prop_oneof![
        Just(vec![1u8]),
        Just(vec![0]),
        any::<u16>().prop_map(|mss| vec![2, 4, (mss >> 8) as u8, mss as u8]),
        any::<u8>().prop_map(|shift| vec![3, 3, shift]),
        Just(vec![4, 2]),
        any::<u32>().prop_map(|tsval| [&[8, 10][..], &tsval.to_be_bytes(), &[0; 4]].concat()),
        (5u8.., 2u8..8).prop_map(|(kind, len)| [vec![kind, len], vec![2; usize::from(len) - 2]].concat()),
        (2u8..5, 2u8..6).prop_map(|(kind, len)| [vec![kind, len], vec![3; usize::from(len) - 2]].concat()),
        prop::collection::vec(any::<u8>(), 1..4),
    ];
    let strategy = (any::<bool>(), prop::collection::vec(option, 0..9));
    let cases = ProptestConfig { cases: 6_000, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(cases);
    let result = runner.run(&strategy, |(v4, options)| {
        let mut octets = options.concat();
        octets.truncate(40);
        let frame = with_raw_options(v4, &octets);
        let mut bench = bench.borrow_mut();
        if bench.stack_answer(clock::now(), &frame).is_some() {
            prop_assert_eq!(bench.compare(&frame), Ok(()));
        } else {
            prop_assert_eq!(bench.run(&frame).0, REDIRECT, "what is malformed is the stack's to count");
        }
        Ok(())
    });
    result.unwrap();
    let bench = bench.borrow();
    assert!(bench.verdict("answer_syn") > 1_000 && bench.verdict("redirect") > 100, "both kinds were tried");
}

#[test]
fn what_is_not_quite_a_plain_syn_is_left_to_the_stack() {
    let Some(bench) = Bench::new(config()) else { return };
    let good = segment(true, None, 9, 1_000, &syn(usual()), &[]);
    let with = |at: usize, octets: &[u8]| {
        let mut frame = good.clone();
        frame[at..at + octets.len()].copy_from_slice(octets);
        frame
    };
    let flags = |bits: u8| segment(true, None, 9, 1_000, &Header { flags: Flags(bits), ..syn(usual()) }, &[]);
    let from = |octets: [u8; 4]| {
        let tuple = FourTuple {
            local_addr: Addr::from_v4(octets),
            remote_addr: addr(true, 2),
            local_port: 1_000,
            remote_port: PORT,
        };
        let link = Link { src: THEIRS, dst: OURS, vlan: None };
        let envelope = Envelope { link, tuple, hop_limit: 64, traffic_class: 0, checksum: TxChecksum::Full };
        let mut buffer = vec![0; 100];
        let len = frame::emit_tcp(&mut buffer, &envelope, &syn(usual()), 0, |_| {});
        buffer.truncate(len);
        buffer
    };
    let rows = [
        ("to another station", with(5, &[9])),
        ("from a group of stations", with(6, &[3])),
        ("a wrong IPv4 checksum", with(24, &[1])),
        ("a wrong TCP checksum", with(50, &[1])),
        ("SYN and ACK", flags(0x12)),
        ("SYN and FIN", flags(0x03)),
        ("SYN and RST", flags(0x06)),
        ("neither", flags(0x00)),
        ("a FIN with an ACK", flags(0x11)),
        ("text", segment(true, None, 9, 1_000, &syn(usual()), b"text")),
        ("from ourselves", from([10, 77, 0, 2])),
        ("from our subnet's broadcast address", from([10, 77, 0, 255])),
        ("from a network that has no way back", from([10, 78, 0, 9])),
        ("from loopback", from([127, 0, 0, 1])),
        ("from a group", from([224, 0, 0, 1])),
        ("from nobody", from([0, 0, 0, 0])),
    ];
    for (why, frame) in rows {
        assert_eq!(bench.run(&frame), (REDIRECT, frame.clone()), "{why}");
    }
    let mut other_port = good.clone();
    other_port[37] = 81;
    assert_eq!(bench.run(&other_port).0, REDIRECT, "a port where nobody listens");
    assert_eq!(bench.run(&good).0, TX);
    assert_eq!(bench.verdict("answer_syn"), 1);
}

#[test]
fn with_a_gateway_every_plain_source_is_answered_and_a_trusted_link_is_not_summed() {
    let gateways = vec![addr(true, 1), addr(false, 1)];
    let Some(mut bench) = Bench::new(StackConfig { gateways, rx_checksum: RxChecksum::Trust, ..config() }) else {
        return;
    };
    for v4 in [true, false] {
        let mut frame = segment(v4, None, 9, 1_000, &syn(usual()), &[]);
        // Off the link, with a TCP checksum that is wrong now.
        let at = if v4 { 28 } else { 23 };
        frame[at] ^= 1;
        if v4 {
            let checksum = u16::from_be_bytes([frame[24], frame[25]]);
            let (old, new) =
                (u16::from_be_bytes([frame[28] ^ 1, frame[29]]), u16::from_be_bytes([frame[28], frame[29]]));
            frame[24..26].copy_from_slice(&handfast::wire::checksum::update(checksum, old, new).to_be_bytes());
        }
        bench.compare(&frame).unwrap();
    }
}

#[test]
fn an_ack_passes_with_a_cookie_or_for_a_flow_that_lives_and_ends_here_without() {
    let Some(mut bench) = Bench::new(config()) else { return };
    for v4 in [true, false] {
        for options in [usual(), Options { mss: Some(1460), ..Options::default() }] {
            let port = if options.timestamps.is_some() { 2_000 } else { 3_000 };
            let (action, answer) = bench.run(&segment(v4, None, 9, port, &syn(options), &[]));
            assert_eq!(action, TX);
            let last_ack = ack_of(&header_of(&answer));
            let good = segment(v4, None, 9, port, &last_ack, &[]);
            assert_eq!(bench.run(&good), (REDIRECT, good.clone()), "a cookie");
            for (why, header) in [
                ("another number", Header { ack: last_ack.ack + 1, ..last_ack }),
                ("another number of the peer", Header { seq: last_ack.seq + 1, ..last_ack }),
            ] {
                assert_eq!(bench.run(&segment(v4, None, 9, port, &header, &[])).0, DROP, "{why}");
            }
            assert_eq!(bench.run(&segment(v4, None, 9, port + 1, &last_ack, &[])).0, DROP, "another tuple");
            let other = Header { ack: last_ack.ack + 1, ..last_ack };
            for (why, header, text) in [
                ("text is never dropped here", other, &b"text"[..]),
                ("nor a FIN", Header { flags: Flags::ACK | Flags::FIN, ..other }, b""),
                ("nor a RST", Header { flags: Flags::RST | Flags::ACK, ..other }, b""),
            ] {
                assert_eq!(bench.run(&segment(v4, None, 9, port, &header, text)).0, REDIRECT, "{why}");
            }
            // The stack makes the connection of it; from then on all its segments pass, SYNs among them.
            assert_eq!(bench.stack_answer(clock::now(), &good), None);
            assert_eq!(bench.run(&segment(v4, None, 9, port, &other, &[])).0, REDIRECT, "of a flow that lives");
            assert_eq!(bench.run(&segment(v4, None, 9, port, &syn(options), &[])).0, REDIRECT, "a SYN of it");
        }
    }
    assert_eq!(bench.stack.snapshot().defence.cookies["accepted"], 4);
    assert_eq!(bench.verdict("drop_no_cookie"), 4 * 3);
}

#[test]
fn both_keys_open_and_a_change_of_keys_is_seen_at_once() {
    let Some(mut bench) = Bench::new(config()) else { return };
    let frame = segment(true, None, 9, 2_000, &syn(usual()), &[]);
    let old = ack_of(&header_of(&bench.run(&frame).1));
    let keys = |making, accepting| CookieKeys { accepting, ..CookieKeys { making, ..config().secrets.cookie } };
    let passes = |bench: &Bench, ack: &Header| bench.run(&segment(true, None, 9, 2_000, ack, &[])).0 == REDIRECT;
    assert!(passes(&bench, &old));
    bench.program.rekey_cookies(&keys([5; 16], Some(*b"a key of cookies"))).unwrap();
    let new = ack_of(&header_of(&bench.run(&frame).1));
    assert!(passes(&bench, &old) && passes(&bench, &new));
    bench.program.rekey_cookies(&keys([5; 16], None)).unwrap();
    assert!(!passes(&bench, &old) && passes(&bench, &new));
    bench.stack.rekey_cookies(&keys([5; 16], None));
    bench.compare(&frame).unwrap();
}

#[test]
fn a_link_that_has_changed_is_seen_at_once() {
    let Some(mut bench) = Bench::new(config()) else { return };
    let mac = MacAddr([2, 0, 0, 0, 0, 0x77]);
    bench.program.follow_link(mac, (1_360, 1_340)).unwrap();
    bench.stack.on_link(clock::now(), mac, 1_400, true);
    for v4 in [true, false] {
        let mut frame = segment(v4, None, 9, 2_000, &syn(usual()), &[]);
        assert_ne!(bench.run(&frame).0, TX, "to an address that is no longer ours");
        frame[..6].copy_from_slice(&mac.0);
        bench.compare(&frame).unwrap();
        assert_eq!(header_of(&bench.run(&frame).1).options.mss, Some(if v4 { 1_360 } else { 1_340 }));
    }
}

#[test]
fn nothing_is_answered_while_a_worker_is_not_ready_or_none_has_asked() {
    let Some(mut bench) = Bench::new(config()) else { return };
    let frame = segment(true, None, 9, 2_000, &syn(usual()), &[]);
    assert_eq!(bench.run(&frame).0, TX);
    bench.stack.drain(clock::now());
    bench.stack.on_timers(clock::now());
    assert_eq!(bench.run(&frame).0, REDIRECT, "the listeners are closed");

    let mut program = XdpProgram::load_for(&answering_for(2)).unwrap();
    program.own_address(addr(true, 2), Ownership::Exclusive).unwrap();
    program.set_defence(&defence_of(&config())).unwrap();
    program.answer_port(PORT).unwrap();
    program.set_socket(0, bench._socket.as_raw_fd()).unwrap();
    let mut outposts = [0, 1].map(|worker| Outpost::new(program.outpost(worker).unwrap()));
    let make_ready = |outpost: &mut Outpost| {
        while !outpost.prepare() {}
        outpost.complete();
    };
    make_ready(&mut outposts[0]);
    outposts[0].answer(true);
    assert_eq!(program.run(&frame, 1).unwrap().action, REDIRECT, "the other worker's flows are not known");
    make_ready(&mut outposts[1]);
    assert_eq!(program.run(&frame, 1).unwrap().action, TX, "it need not answer itself");
    outposts[0].answer(false);
    outposts[1].answer(true);
    assert_eq!(program.run(&frame, 1).unwrap().action, REDIRECT, "on each queue as its worker asks");
}
