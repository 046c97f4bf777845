//! A long SYN flood from addresses that never answer: memory must stay what it is.

use super::rig::{Rig, Say, mib, resident, take_turns};
use crate::lives::BURST;
use clap::Args;
use handfast::stack::{DefenceConfig, Limits, SynDefence};
use handfast::time::Duration;
use handfast::wire::SeqNum;
use handfast::wire::tcp::Flags;

#[derive(Args)]
pub struct Options {
    /// SYNs to send, each from another address and port
    #[arg(long, default_value_t = 100_000_000)]
    pub syns: u64,
    /// Only this step of the defence, instead of one after the other
    #[arg(long)]
    pub syn_defence: Option<SynDefence>,
}

/// SYNs until the pools are as full as they get.
const WARM_UP: u64 = 1_000_000;
/// A million and a half a second.
const STEP: Duration = Duration::from_micros(42);
/// What the process may have grown by, in octets: its histograms and the allocator's whims.
const FLAT: u64 = 1 << 20;

pub fn run(options: &Options) {
    let modes = match options.syn_defence {
        Some(mode) => vec![mode],
        None => vec![SynDefence::Auto, SynDefence::Table, SynDefence::Cookie],
    };
    for mode in modes {
        flood(options.syns, mode);
    }
}

fn flood(syns: u64, mode: SynDefence) {
    let defence = DefenceConfig { mode, ..DefenceConfig::default() };
    let mut rig = Rig::new(false, false, Limits::default(), defence);
    let mut warm = None;
    let mut took = std::time::Duration::ZERO;
    for first in (0..syns).step_by(BURST) {
        if first >= WARM_UP && warm.is_none() {
            warm = Some(resident());
        }
        for peer in (first..).take(BURST) {
            rig.hears(peer, &Say { flags: Flags::SYN, seq: peer as u32, ack: SeqNum(0) });
        }
        took += rig.turn(STEP);
    }
    let after = resident();
    let warm = warm.unwrap_or(after);
    let snapshot = rig.stack.snapshot();
    println!("{syns} SYNs, {mode}: {} resident after the first million, {} at the end", mib(warm), mib(after));
    println!(
        "         {:.0} ns a SYN; turns of {BURST}: {}",
        took.as_nanos() as f64 / syns as f64,
        take_turns(&mut rig.turns)
    );
    println!(
        "         {} half-open entries, {} cookies sent",
        snapshot.pools["half_open"].used, snapshot.defence.cookies["sent"]
    );
    assert!(after.saturating_sub(warm) <= FLAT, "memory grew by {}", mib(after - warm));
    assert!(snapshot.ledger.exact, "each frame is accounted for");
}
