//! Flows shared out by arrival: a segment is looked for at all workers before it is answered as a stranger's.

use super::{Search, Sharding, Share, Steering};
use crate::stack::shard::Shard;
use crate::stack::{CookieKeys, DefenceConfig, Disposition, LocalAddr, Secrets, StackConfig, SynDefence, Transmit};
use crate::tcp::state::State;
use crate::time::Instant;
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

/// What came of a segment: whose it was or who answered, how often it was handed over, and the answer.
struct Fate {
    worker: usize,
    asked: usize,
    answer: Option<Header>,
}

/// Has a segment to the port on which we listen come in at that worker.
fn arrive(shards: &mut [Shard], at: usize, now: Instant, header: &Header) -> Fate {
    arrive_for(80, shards, at, now, header)
}

/// Has a segment to a port come in at a worker, and carries it from worker to worker as they do.
fn arrive_for(port: u16, shards: &mut [Shard], at: usize, now: Instant, header: &Header) -> Fate {
    let theirs = FourTuple {
        local_addr: Addr::from_v4([10, 0, 0, 9]),
        remote_addr: Addr::from_v4([10, 0, 0, 1]),
        local_port: 999,
        remote_port: port,
    };
    let link = Link { src: MacAddr([2, 0, 0, 0, 0, 9]), dst: OURS, vlan: None };
    let envelope = Envelope { link, tuple: theirs, hop_limit: 64, traffic_class: 0, checksum: TxChecksum::Full };
    let (mut worker, mut search, mut asked): (usize, Option<Search>, usize) = (at, None, 0);
    loop {
        let mut buffer = [0; 256];
        let len = frame::emit_tcp(&mut buffer, &envelope, header, 0, |_| {});
        let shard = &mut shards[worker];
        let what = match search {
            None => shard.on_frame(now, &mut buffer, len),
            Some(search) => shard.on_taken_frame(now, &mut buffer, len, search),
        };
        let answer = match what {
            Disposition::HandOver(next) => {
                (worker, search, asked) = (next.to(), Some(next), asked + 1);
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
    shard.env.gauges.of(State::Established)
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
fn what_no_worker_knows_is_answered_where_it_came_in_after_all_were_asked() {
    for at in 0..WORKERS {
        let mut shards = shards(SynDefence::Table);
        let fate = arrive(&mut shards, at, Instant::ZERO, &segment(Flags::ACK, 100, SeqNum(5)));
        assert_eq!((fate.worker, fate.asked), (at, WORKERS));
        assert!(fate.answer.unwrap().flags.has(Flags::RST));
    }
}

/// Two entries of one SYN: a kernel's sockets choose another queue when they send again. Gives both SYN-ACKs.
fn syn_twice(shards: &mut [Shard], later: Instant) -> [Header; 2] {
    let first = arrive(shards, 0, Instant::ZERO, &syn()).answer.unwrap();
    let second = arrive(shards, 1, later, &syn()).answer.unwrap();
    assert_ne!(first.seq, second.seq);
    [first, second]
}

const LATER: Instant = Instant::from_millis(1_000);

#[test]
fn a_syn_sent_again_to_another_worker_does_not_cost_the_connection() {
    for heard in [0, 1] {
        let mut shards = shards(SynDefence::Table);
        let answers = syn_twice(&mut shards, LATER);
        let fate = arrive(&mut shards, 1, LATER, &segment(Flags::ACK, 101, answers[heard].seq + 1));
        assert_eq!((fate.worker, fate.answer), (heard, None));
        assert_eq!(established(&shards[heard]), 1);
    }
}

/// Whatever the second entry would say of it.
#[test]
fn a_segment_of_the_first_syns_connection_gets_past_the_second_ones_entry() {
    let mut shards = shards(SynDefence::Table);
    let [first, _] = syn_twice(&mut shards, LATER);
    arrive(&mut shards, 1, LATER, &segment(Flags::ACK, 101, first.seq + 1));
    // Beyond the window that the entry offered, so that the entry would acknowledge and drop it; so does the connection.
    let beyond = arrive(&mut shards, 1, LATER, &segment(Flags::ACK, 101 + (1 << 24), first.seq + 1));
    assert_eq!(beyond.worker, 0);
    // In the window, but not the next number: the entry would challenge it.
    let reset = arrive(&mut shards, 1, LATER, &segment(Flags::RST, 111, first.seq + 1));
    assert_eq!(reset.worker, 0);
}

#[test]
fn what_a_flows_own_entry_would_challenge_is_not_reset_where_it_came_in() {
    let mut shards = shards(SynDefence::Table);
    let answer = arrive(&mut shards, 0, Instant::ZERO, &syn()).answer.unwrap();
    let beyond = arrive(&mut shards, 1, LATER, &segment(Flags::ACK, 101 + (1 << 24), answer.seq + 1));
    assert_eq!((beyond.worker, beyond.answer.unwrap().flags), (0, Flags::ACK));
}

/// Takes whatever is to be sent, and keeps the last.
struct Wire([u8; 256], usize);

impl Transmit for Wire {
    fn transmit(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        self.1 = write(&mut self.0);
        true
    }
}

/// A connection that worker 0 closes first, until it is a TIME-WAIT entry.
fn close_first(shards: &mut [Shard]) {
    let ours = arrive(shards, 0, Instant::ZERO, &syn()).answer.unwrap().seq;
    arrive(shards, 0, Instant::ZERO, &segment(Flags::ACK, 101, ours + 1));
    let shard = &mut shards[0];
    let index = shard.connections.indices().next().expect("it stands");
    shard.connections.get_mut(index).expect("it stands").close(&mut shard.env);
    shard.settle(index);
    let mut wire = Wire([0; 256], 0);
    shard.poll_transmit(Instant::ZERO, &mut wire);
    let Ok(Incoming::Tcp { segment: fin, .. }) = frame::parse(&wire.0[..wire.1], VerifyChecksum::Yes) else {
        panic!("our FIN")
    };
    assert!(fin.header.flags.has(Flags::FIN));
    arrive(shards, 0, Instant::ZERO, &segment(Flags::FIN | Flags::ACK, 101, ours + 2));
    assert_eq!(shards[0].env.gauges.of(State::TimeWait), 1);
}

/// The peer opens the tuple anew by another queue, and later a segment of that connection comes in where the old one waits.
#[test]
fn a_segment_of_a_newer_connection_gets_past_the_old_ones_time_wait_entry() {
    let mut shards = shards(SynDefence::Table);
    close_first(&mut shards);
    let newer = Header { seq: SeqNum(1 << 20), ..syn() };
    let answer = arrive(&mut shards, 1, LATER, &newer).answer.unwrap();
    let ack = segment(Flags::ACK, (1 << 20) + 1, answer.seq + 1);
    assert_eq!(arrive(&mut shards, 1, LATER, &ack).worker, 1);
    assert_eq!(established(&shards[1]), 1);
    // Once more, and a duplicate from before it: the entry would drop the first, and acknowledge the second.
    for seq in [(1 << 20) + 1, 1 << 20] {
        let fate = arrive(&mut shards, 0, LATER, &segment(Flags::ACK, seq, answer.seq + 1));
        assert_eq!((fate.worker, fate.asked), (1, 1), "segment {seq}");
    }
    assert_eq!(shards[0].env.gauges.of(State::TimeWait), 1, "and it waits on");
}

#[test]
fn a_cookie_opens_where_it_comes_in() {
    let mut shards = shards(SynDefence::Cookie);
    let cookie = arrive(&mut shards, 2, Instant::ZERO, &syn()).answer.unwrap();
    let guess = arrive(&mut shards, 2, Instant::ZERO, &segment(Flags::ACK, 101, cookie.seq + 2));
    assert!(guess.worker == 2 && guess.answer.unwrap().flags.has(Flags::RST));
    let fate = arrive(&mut shards, 2, Instant::ZERO, &segment(Flags::ACK, 101, cookie.seq + 1));
    assert_eq!((fate.worker, fate.asked, fate.answer), (2, WORKERS, None), "another might have had it");
    assert_eq!(established(&shards[2]), 1);
}

/// The first segment with text is sent again by another queue: its cookie is still good.
#[test]
fn a_cookie_opens_one_connection() {
    let mut shards = shards(SynDefence::Cookie);
    let cookie = arrive(&mut shards, 2, Instant::ZERO, &syn()).answer.unwrap();
    let ack = segment(Flags::ACK, 101, cookie.seq + 1);
    for at in [2, 0, 1] {
        assert_eq!(arrive(&mut shards, at, Instant::ZERO, &ack).worker, 2);
    }
    assert_eq!(shards.iter().map(established).sum::<u64>(), 1);
    // Nor is it reset from where nobody listens any more.
    shards.iter_mut().for_each(|shard| shard.stop_listening());
    let fate = arrive(&mut shards, 0, Instant::ZERO, &ack);
    assert_eq!((fate.worker, fate.answer), (2, None));
}

/// Of such flows all know the owner.
#[test]
fn where_nobody_listens_a_segment_is_handed_over_once_at_most() {
    for at in 0..WORKERS {
        let mut shards = shards(SynDefence::Table);
        let fate = arrive_for(81, &mut shards, at, Instant::ZERO, &segment(Flags::ACK, 100, SeqNum(5)));
        assert!(fate.asked <= 1 && fate.answer.unwrap().flags.has(Flags::RST));
    }
}
