use super::*;
use crate::outpost::{CONTROL_WORDS, FILTER_BITS, FILTER_WORDS, Outpost, SharedMemory};
use crate::stack::budget::Budgets;
use crate::stack::config::{DefenceConfig, SynDefence};
use crate::stack::defence::Defence;
use crate::stack::half_open_slot::HalfOpenSlot;
use crate::stack::steering::Share;
use crate::stack::{Disposition, Limits, LocalAddr, Secrets, StackConfig};
use crate::tcp::negotiation::Negotiated;
use crate::time::Duration;
use crate::time::Instant;
use crate::wire::frame::{self, Envelope, Incoming, Link, TxChecksum, VerifyChecksum};
use crate::wire::tcp::{Options, Timestamps};
use crate::wire::{Addr, FourTuple, MacAddr, SeqNum};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn shard(mode: SynDefence, key: u8) -> Shard {
    let config = StackConfig {
        listen: vec![80],
        ephemeral_ports: (1024, 65535),
        limits: Limits { half_open: 8, connections: 1024, ..Limits::default() },
        defence: DefenceConfig { mode, shared_secret: true, ..DefenceConfig::default() },
        ..StackConfig::new(
            OURS,
            vec![
                LocalAddr { addr: Addr::from_v4([10, 0, 0, 1]), prefix_len: 8 },
                LocalAddr { addr: Addr::from_v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), prefix_len: 64 },
            ],
            Secrets { isn: [key; 16], flow_hash: [2; 16], cookie: CookieKeys::alone([3; 16]) },
        )
    };
    Shard::new(config, Share::whole(), Instant::ZERO)
}

fn tuple(n: u32) -> FourTuple {
    let [_, a, b, c] = n.to_be_bytes();
    let remote_addr = Addr::from_v4([10, 1 + a, b, c]);
    FourTuple { local_addr: Addr::from_v4([10, 0, 0, 1]), remote_addr, local_port: 80, remote_port: 999 }
}

/// Hands a segment from the other end of `tuple` to the shard; gives the header of the reply.
fn hand(shard: &mut Shard, now: Instant, tuple: &FourTuple, header: &Header) -> Option<Header> {
    let link = Link { src: MacAddr([2, 0, 0, 0, 0, 9]), dst: OURS, vlan: None };
    let theirs = FourTuple {
        local_addr: tuple.remote_addr,
        remote_addr: tuple.local_addr,
        local_port: tuple.remote_port,
        remote_port: tuple.local_port,
    };
    let envelope = Envelope { link, tuple: theirs, hop_limit: 64, traffic_class: 0, checksum: TxChecksum::Full };
    let mut buffer = [0; 256];
    let len = frame::emit_tcp(&mut buffer, &envelope, header, 0, |_| {});
    let Disposition::Reply(len) = shard.on_frame(now, &mut buffer, len) else { return None };
    match frame::parse(&buffer[..len], VerifyChecksum::Yes) {
        Ok(Incoming::Tcp { segment, .. }) => Some(segment.header),
        other => panic!("{other:?}"),
    }
}

fn syn(mix: u8) -> Header {
    let timestamps = Some(Timestamps { tsval: 1_000, tsecr: 0 });
    let options = Options {
        mss: Some([1460, 1440, 536, 1220][usize::from(mix % 4)]),
        window_scale: (mix & 4 != 0).then_some(mix % 15),
        sack_permitted: mix & 8 != 0,
        timestamps: timestamps.filter(|_| mix & 16 != 0),
        ..Options::default()
    };
    let ecn = if mix & 32 != 0 { Flags::ECE | Flags::CWR } else { Flags(0) };
    Header { seq: SeqNum(7), flags: Flags::SYN | ecn, wnd: 1_000, options, ..Header::default() }
}

/// The ACK of a SYN-ACK, so many milliseconds after the SYN.
fn last_ack(syn_ack: &Header, later: u32) -> Header {
    let timestamps = syn_ack.options.timestamps.map(|t| Timestamps { tsval: t.tsecr + later, tsecr: t.tsval });
    let options = Options { timestamps, ..Options::default() };
    Header { seq: syn_ack.ack, ack: syn_ack.seq + 1, flags: Flags::ACK, wnd: 500, options, ..Header::default() }
}

fn memory() -> SharedMemory {
    let words = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak() as &[_];
    let filters = [words(FILTER_WORDS), words(FILTER_WORDS)];
    SharedMemory { control: words(CONTROL_WORDS), common: words(CONTROL_WORDS), filters }
}

#[test]
fn a_connection_from_a_cookie_is_the_one_that_the_table_would_have_made() {
    for mix in 0..64u8 {
        let (start, done) = (Instant::from_millis(64_000), Instant::from_millis(64_005));
        let (mut table, mut cookie) = (shard(SynDefence::Table, 1), shard(SynDefence::Cookie, 1));
        let with_cookie = hand(&mut cookie, start, &tuple(1), &syn(mix)).unwrap();
        let mut asked = syn(mix);
        if with_cookie.options.timestamps.is_none() {
            // What a cookie cannot carry is as if it had not been offered.
            asked.options = Options { mss: asked.options.mss, ..Options::default() };
            asked.flags = Flags::SYN;
        }
        let with_entry = hand(&mut table, start, &tuple(1), &asked).unwrap();
        // Both under one ISS.
        let place = table.half_open.indices().next().unwrap();
        table.half_open.get_mut(place).unwrap().iss = with_cookie.seq;
        assert_eq!((with_cookie.flags, with_cookie.wnd), (with_entry.flags, with_entry.wnd), "mix {mix}");
        let options = |header: &Header| Options { timestamps: None, ..header.options };
        assert_eq!(options(&with_cookie), options(&with_entry), "mix {mix}");

        assert_eq!(hand(&mut cookie, done, &tuple(1), &last_ack(&with_cookie, 5)), None);
        let ack = Header { ack: with_cookie.seq + 1, ..last_ack(&with_entry, 5) };
        assert_eq!(hand(&mut table, done, &tuple(1), &ack), None);
        let tcb = |shard: &Shard| format!("{:?}", shard.connections.get(0).expect("it stands"));
        assert_eq!(tcb(&cookie), tcb(&table), "mix {mix}");
        assert_eq!((cookie.half_open.len(), cookie.env.ledger.half_open_created), (0, 0));
    }
}

#[test]
fn a_cookie_counts_although_its_syn_came_again_and_made_an_entry() {
    for (text_first, full) in [(false, false), (true, false), (false, true)] {
        let mut shard = shard(SynDefence::Cookie, 1);
        let start = Instant::from_millis(64_000);
        let with_cookie = hand(&mut shard, start, &tuple(1), &syn(31)).unwrap();
        shard.defence = Defence::new(
            DefenceConfig { shared_secret: true, ..DefenceConfig::default() },
            8,
            &shard.env.config,
            start,
        );
        let with_entry = hand(&mut shard, start, &tuple(1), &syn(31)).unwrap();
        assert_ne!(with_cookie.seq, with_entry.seq, "an entry has an ISS of the clock");
        let ack = last_ack(&with_cookie, 5);
        if text_first {
            // It has overtaken the ACK: no RST (the cookie is for the number after the SYN's).
            assert_eq!(
                hand(&mut shard, start, &tuple(1), &Header { seq: ack.seq + 5, flags: ack.flags | Flags::FIN, ..ack }),
                None
            );
        }
        if full {
            shard.connections = crate::stack::slab::Slab::new(0);
        }
        assert_eq!(hand(&mut shard, start, &tuple(1), &ack), None, "no RST");
        assert_eq!((shard.half_open.len(), shard.connections.len()), (usize::from(full), usize::from(!full)));
        assert_eq!(shard.env.ledger.cookies_accepted, u64::from(!full));
        let laws = shard.snapshot().ledger;
        assert!(laws.exact, "{laws}");
    }
}

#[test]
fn another_host_takes_the_cookie_and_its_timestamps_run_on() {
    let (mut here, mut there) = (shard(SynDefence::Cookie, 1), shard(SynDefence::Table, 2));
    let syn_ack = hand(&mut here, Instant::from_millis(10), &tuple(1), &syn(31)).unwrap();
    let now = Instant::from_millis(20_000);
    assert_eq!(hand(&mut there, now, &tuple(1), &last_ack(&syn_ack, 5)), None);
    let tsval = there.connections.get(0).expect("it stands").tsval(&there.env);
    assert_eq!(tsval.wrapping_sub(syn_ack.options.timestamps.unwrap().tsval), 1);
}

#[test]
fn a_million_guesses_get_nothing() {
    let mut shard = shard(SynDefence::Cookie, 1);
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    eprintln!("seed {seed}");
    let mut random = crate::sim::random::Random::new(seed);
    for n in 0..1_000_000u32 {
        let (number, options) = (random.bits(), random.bits());
        let timestamps = (options & 1 == 1).then_some(Timestamps { tsval: 5, tsecr: options as u32 });
        let header = Header {
            seq: SeqNum(number as u32),
            ack: SeqNum((number >> 32) as u32),
            flags: Flags::ACK,
            options: Options { timestamps, ..Options::default() },
            ..Header::default()
        };
        hand(&mut shard, Instant::from_millis(u64::from(n / 10)), &tuple(n % 60_000), &header);
    }
    // One in 2^27.4 would be luck, so two are none.
    assert!(shard.env.ledger.cookies_accepted <= 1, "{} accepted", shard.env.ledger.cookies_accepted);
    assert_eq!(shard.env.ledger.cookies_accepted + shard.env.ledger.cookies_refused.sum(), 1_000_000);
}

/// The SYNs that the XDP program answers are counted when they come back.
#[test]
fn in_the_third_step_a_prefix_makes_connections_at_its_rate() {
    let mut shard = shard(SynDefence::Cookie, 1);
    let config = DefenceConfig { prefix_rate: Some(10), ..shard.config.defence };
    let answers: Vec<_> = (0..30).map(|n| (n, hand(&mut shard, Instant::ZERO, &tuple(n), &syn(0)).unwrap())).collect();
    shard.budgets = Budgets::new(&[2; 16], &config, &Limits::default());
    shard.defence =
        Defence::new(DefenceConfig { mode: SynDefence::Xdp, ..config }, 8, &shard.env.config, Instant::ZERO);
    for (n, syn_ack) in &answers[..5] {
        assert_eq!(hand(&mut shard, Instant::ZERO, &tuple(*n), &last_ack(syn_ack, 0)), None);
    }
    assert_eq!(shard.budgets.rates().unwrap().0, 0, "the stack answers SYNs, and counts them");
    let memory = memory();
    shard.outpost = Some(Outpost::new(memory));
    while !shard.outpost.as_ref().unwrap().is_ready() {
        shard.tend_outpost();
    }
    shard.tend_outpost();
    assert_eq!(shard.defence.step(), Step::Xdp);
    for (n, syn_ack) in &answers[5..] {
        assert_eq!(hand(&mut shard, Instant::ZERO, &tuple(*n), &last_ack(syn_ack, 0)), None);
    }
    assert_eq!((shard.env.ledger.cookies_accepted, shard.env.ledger.dropped.of(DropReason::PrefixRate)), (15, 15));
}

#[test]
fn rotation_loses_no_cookie_that_is_on_its_way() {
    let mut shard = shard(SynDefence::Cookie, 1);
    let now = Instant::ZERO + Duration::from_secs(5);
    let before = hand(&mut shard, now, &tuple(1), &syn(0)).unwrap();
    shard.rekey_cookies(&CookieKeys { accepting: Some([3; 16]), ..CookieKeys::alone([4; 16]) });
    let after = hand(&mut shard, now, &tuple(2), &syn(0)).unwrap();
    assert_eq!(hand(&mut shard, now, &tuple(1), &last_ack(&before, 0)), None);
    assert_eq!(hand(&mut shard, now, &tuple(2), &last_ack(&after, 0)), None);
    assert_eq!(shard.env.ledger.cookies_accepted, 2);
}

#[test]
fn the_outpost_knows_the_flows_of_every_table_whenever_they_came() {
    use crate::tcp::time_wait::TimeWait;
    let memory = memory();
    let filters = memory.filters;
    let mut shard = shard(SynDefence::Xdp, 1);
    // The step begins as a cookie's; these are in the tables from before.
    let open = |shard: &mut Shard, n| {
        let syn_ack = hand(shard, Instant::ZERO, &tuple(n), &syn(0)).unwrap();
        assert_eq!(hand(shard, Instant::ZERO, &tuple(n), &last_ack(&syn_ack, 0)), None);
    };
    open(&mut shard, 1);
    let half_open = HalfOpen::of(SeqNum(1), SeqNum(2), &Negotiated::from_syn(&Options::default(), 1460, true));
    let place = shard.half_open.insert(HalfOpenSlot::UNUSED).unwrap();
    shard.half_open.get_mut(place).unwrap().fill(&tuple(2), half_open, 0, 0, &shard.locals);
    for n in 3..300 {
        let entry = TimeWait { tuple: tuple(n), snd_nxt: SeqNum(1), rcv_nxt: SeqNum(2), ts_recent: None };
        shard.time_wait_v4.insert(&entry, 0);
    }
    let v6 = |last| Addr::from_v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    let over_v6 = FourTuple { local_addr: v6(1), remote_addr: v6(2), ..tuple(1) };
    let entry = TimeWait { tuple: over_v6, snd_nxt: SeqNum(1), rcv_nxt: SeqNum(2), ts_recent: None };
    shard.time_wait_v6.insert(&entry, 0);

    shard.outpost = Some(Outpost::new(memory));
    while !shard.outpost.as_ref().unwrap().is_ready() {
        shard.tend_outpost();
    }
    open(&mut shard, 1_000);
    let knows = |tuple: &FourTuple| {
        let bit = shard.isns.word(tuple) % FILTER_BITS;
        filters[0][(bit / 64) as usize].load(Relaxed) >> (bit % 64) & 1 == 1
    };
    assert!((1..300).all(|n| knows(&tuple(n))) && knows(&over_v6) && knows(&tuple(1_000)));
    assert!((2_000..3_000).filter(|n| knows(&tuple(*n))).count() <= 1, "and hardly any stranger");
}
