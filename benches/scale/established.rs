//! Millions of established connections that say nothing: what each takes.

use super::rig::{Rig, Say, mib, resident, take_turns};
use crate::lives::BURST;
use clap::Args;
use handfast::stack::{DefenceConfig, Limits};
use handfast::time::Duration;
use handfast::wire::SeqNum;
use handfast::wire::tcp::Flags;

#[derive(Args)]
pub struct Options {
    /// Connections to open and keep
    #[arg(long, default_value_t = 10_000_000)]
    pub connections: u64,
    /// IPv6 instead of IPv4
    #[arg(long)]
    pub v6: bool,
}

const STEP: Duration = Duration::from_micros(40);

/// Each of a burst of peers says something; gives what the answers' sequence numbers are.
fn say(rig: &mut Rig, first: u64, flags: Flags, seq: u32, acks: &[SeqNum]) -> Vec<SeqNum> {
    for (peer, ack) in (first..).zip(acks) {
        rig.hears(peer, &Say { flags, seq, ack: *ack });
    }
    rig.turn(STEP);
    rig.sent().seqs().collect()
}

pub fn run(options: &Options) {
    println!("{} idle connections, {}", options.connections, if options.v6 { "IPv6" } else { "IPv4" });
    let connections = options.connections.next_multiple_of(BURST as u64);
    let limits = Limits { connections: connections as u32, ..Limits::default() };
    let mut rig = Rig::new(false, options.v6, limits, DefenceConfig::default());
    let before = resident();
    let mut last = Vec::new();
    for first in (0..connections).step_by(BURST) {
        last = say(&mut rig, first, Flags::SYN, 100, &[SeqNum(0); BURST]);
        let acks: Vec<SeqNum> = last.iter().map(|iss| *iss + 1).collect();
        let answers = say(&mut rig, first, Flags::ACK, 101, &acks);
        assert!(answers.is_empty(), "nothing to say to the third segment");
    }
    assert_eq!(rig.stack.snapshot().states["established"], connections);
    let taken = resident() - before;
    println!("memory:  {} resident: {:.1} octets each, all in", mib(taken), taken as f64 / connections as f64);
    println!("opening: turns of {BURST} segments: {}", take_turns(&mut rig.turns));

    // An idle minute: what is there must cost nothing, and the connections must live.
    for _ in 0..60_000 {
        rig.turn(Duration::from_millis(1));
    }
    println!("idle:    turns of a minute without frames: {}", take_turns(&mut rig.turns));
    let acks: Vec<SeqNum> = last.iter().map(|iss| *iss + 1).collect();
    let answers = say(&mut rig, connections - BURST as u64, Flags::FIN | Flags::ACK, 101, &acks);
    assert_eq!(answers.len(), BURST, "a FIN for each of the last burst");
}
