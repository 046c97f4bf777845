//! Flows shared out by arrival: a segment is looked for at all workers before it is answered as a stranger's.

use super::{Search, Sharding, Share, Steering};
use crate::stack::shard::Shard;
use crate::stack::{CookieKeys, DefenceConfig, Disposition, LocalAddr, Secrets, StackConfig, SynDefence};
use crate::tcp::state::State;
use crate::time::{Duration, Instant};
use crate::wire::frame::{self, Envelope, Incoming, Link, TxChecksum, VerifyChecksum};
use crate::wire::tcp::{Flags, Header};
use crate::wire::{Addr, FourTuple, MacAddr, SeqNum};
use std::sync::Arc;

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const WORKERS: usize = 3;

fn shards(mode: SynDefence) -> Vec<Shard> {
    let steering = Arc::new(Steering::of_our_own(&[7; 40], WORKERS).with(Sharding::Arrival));
    let secrets = Secrets { isn: [1; 16], flow_hash: [2; 16], cookie: CookieKeys::alone([3; 16]) };
    let ours = vec![LocalAddr { addr: Addr::from_v4([10, 0, 0, 1]), prefix_len: 8 }];
    let config = StackConfig {
        listen: vec![80],
        defence: DefenceConfig { mode, ..DefenceConfig::default() },
        ..StackConfig::new(OURS, ours, secrets)
    };
    (0..WORKERS).map(|worker| Shard::new(config.clone(), Share::new(&steering, worker), Instant::ZERO)).collect()
}

/// What came of a segment: who answered, after how many others, and what.
struct Fate {
    worker: usize,
    asked: usize,
    answer: Option<Header>,
}

/// Has a segment to our port 80 come in at that worker, and carries it from worker to worker as they do.
fn arrive(shards: &mut [Shard], at: usize, now: Instant, header: &Header) -> Fate {
    let theirs = FourTuple {
        local_addr: Addr::from_v4([10, 0, 0, 9]),
        remote_addr: Addr::from_v4([10, 0, 0, 1]),
        local_port: 999,
        remote_port: 80,
    };
    let link = Link { src: MacAddr([2, 0, 0, 0, 0, 9]), dst: OURS, vlan: None };
    let envelope = Envelope { link, tuple: theirs, hop_limit: 64, traffic_class: 0, checksum: TxChecksum::Full };
    let (mut worker, mut way, mut asked): (usize, Option<Search>, usize) = (at, None, 0);
    loop {
        let mut buffer = [0; 256];
        let len = frame::emit_tcp(&mut buffer, &envelope, header, 0, |_| {});
        let shard = &mut shards[worker];
        let what = match way {
            None => shard.on_frame(now, &mut buffer, len),
            Some(way) => shard.on_taken_frame(now, &mut buffer, len, way),
        };
        let answer = match what {
            Disposition::HandOver(search) => {
                (worker, way, asked) = (search.to(), Some(search), asked + 1);
                continue;
            }
            Disposition::Consumed => None,
            Disposition::Reply(len) => match frame::parse(&buffer[..len], VerifyChecksum::Yes) {
                Ok(Incoming::Tcp { segment, .. }) => Some(segment.header),
                other => panic!("{other:?}"),
            },
        };
        return Fate { worker, asked, answer };
    }
}

fn segment(flags: Flags, seq: u32, ack: SeqNum) -> Header {
    Header { seq: SeqNum(seq), ack, flags, wnd: 65_535, ..Header::default() }
}

fn syn() -> Header {
    segment(Flags::SYN, 100, SeqNum(0))
}

fn established(shard: &Shard) -> u64 {
    shard.gauges.of(State::Established)
}

#[test]
fn a_syn_is_answered_where_it_comes_in() {
    for at in 0..WORKERS {
        let mut shards = shards(SynDefence::Table);
        let fate = arrive(&mut shards, at, Instant::ZERO, &syn());
        assert_eq!((fate.worker, fate.asked), (at, 0));
        assert_eq!(fate.answer.unwrap().flags, Flags::SYN | Flags::ACK);
    }
}

#[test]
fn what_no_worker_knows_is_answered_once_after_all_were_asked() {
    for at in 0..WORKERS {
        let mut shards = shards(SynDefence::Table);
        let fate = arrive(&mut shards, at, Instant::ZERO, &segment(Flags::ACK, 100, SeqNum(5)));
        assert_eq!(fate.asked, WORKERS - 1);
        assert!(fate.worker != at && fate.answer.unwrap().flags.has(Flags::RST));
    }
}

/// A kernel's sockets choose another queue when they send again: the second SYN makes an entry beside the first one, and
/// the peer acknowledges whichever it heard of first, from the new queue.
#[test]
fn a_syn_sent_again_to_another_worker_does_not_cost_the_connection() {
    for heard in [0, 1] {
        let mut shards = shards(SynDefence::Table);
        let later = Instant::ZERO + Duration::from_secs(1);
        let first = arrive(&mut shards, 0, Instant::ZERO, &syn()).answer.unwrap();
        let second = arrive(&mut shards, 1, later, &syn()).answer.unwrap();
        assert_ne!(first.seq, second.seq);
        let ack = segment(Flags::ACK, 101, [first, second][heard].seq + 1);
        let fate = arrive(&mut shards, 1, later, &ack);
        assert_eq!((fate.worker, fate.answer), (heard, None));
        assert_eq!(established(&shards[heard]), 1);
    }
}

#[test]
fn a_cookie_opens_where_it_comes_in() {
    let mut shards = shards(SynDefence::Cookie);
    let cookie = arrive(&mut shards, 2, Instant::ZERO, &syn()).answer.unwrap();
    let guess = arrive(&mut shards, 2, Instant::ZERO, &segment(Flags::ACK, 101, cookie.seq + 2));
    assert!(guess.asked == WORKERS - 1 && guess.answer.unwrap().flags.has(Flags::RST));
    let fate = arrive(&mut shards, 2, Instant::ZERO, &segment(Flags::ACK, 101, cookie.seq + 1));
    assert_eq!((fate.worker, fate.asked, fate.answer), (2, 0, None));
    assert_eq!(established(&shards[2]), 1);
}
