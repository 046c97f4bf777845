//! Millions of TIME-WAIT entries, each waiting its full time, made by whole lives of connections that we close first.

use super::rig::{Rig, Say, mib, resident, take_turns};
use crate::lives::BURST;
use clap::Args;
use handfast::stack::{DefenceConfig, Limits, TcpConfig};
use handfast::time::Duration;
use handfast::wire::SeqNum;
use handfast::wire::tcp::Flags;
use std::time::Duration as Wall;

#[derive(Args)]
pub struct Options {
    /// Closes a second, in the stack's own time; with the 240 s that an entry waits, this says how many there are
    #[arg(long, default_value_t = 1_000_000)]
    pub closes: u64,
    /// Entries to fill the table with, before as many more come as go
    #[arg(long, default_value_t = 60_000_000)]
    pub entries: u64,
    /// IPv6 instead of IPv4
    #[arg(long)]
    pub v6: bool,
}

/// Stretches of the filling whose rates are compared.
const STRETCHES: u64 = 20;

struct Lives {
    rig: Rig,
    step: Duration,
    next: u64,
    iss: [SeqNum; BURST],
}

impl Lives {
    /// A burst of lives: gives what SYNs, ACKs and FINs took.
    fn burst(&mut self) -> [Wall; 3] {
        let first = self.next;
        self.next += BURST as u64;
        let say = |lives: &mut Lives, flags: Flags, seq: u32, beyond: u32| {
            for (i, peer) in (first..).take(BURST).enumerate() {
                let ack = if flags == Flags::SYN { SeqNum(0) } else { lives.iss[i] + beyond };
                lives.rig.hears(peer, &Say { flags, seq, ack });
            }
            let took = lives.rig.turn(lives.step);
            assert_eq!(lives.rig.sent().len(), BURST, "an answer to each segment");
            took
        };
        let syns = say(self, Flags::SYN, 100, 0);
        let mut iss = self.iss;
        iss.iter_mut().zip(self.rig.sent().seqs()).for_each(|(iss, seq)| *iss = seq);
        self.iss = iss;
        let acks = say(self, Flags::ACK, 101, 1);
        let fins = say(self, Flags::FIN | Flags::ACK, 101, 2);
        [syns, acks, fins]
    }

    /// So many lives; gives ns a life: of SYN, ACK and FIN.
    fn live(&mut self, lives: u64) -> [f64; 3] {
        let bursts = lives.div_ceil(BURST as u64);
        let mut took = [Wall::ZERO; 3];
        for _ in 0..bursts {
            took.iter_mut().zip(self.burst()).for_each(|(sum, one)| *sum += one);
        }
        took.map(|sum| sum.as_nanos() as f64 / (bursts * BURST as u64) as f64)
    }

    fn waiting(&self) -> u64 {
        self.rig.stack.snapshot().pools["time_wait"].used
    }
}

pub fn run(options: &Options) {
    let wait = TcpConfig::default().time_wait;
    let seconds = options.entries as f64 / options.closes as f64;
    println!(
        "{} entries of TIME-WAIT, {} s each, {} closes a second ({seconds:.0} s of the stack's time), {}",
        options.entries,
        wait.as_secs(),
        options.closes,
        if options.v6 { "IPv6" } else { "IPv4" },
    );
    let limits = Limits { time_wait: (options.entries + options.entries / 8) as u32 + 4_096, ..Limits::default() };
    let step = Duration::from_nanos(BURST as u64 * 1_000_000_000 / options.closes / 3);
    let mut lives = Lives {
        rig: Rig::new(true, options.v6, limits, DefenceConfig::default()),
        step,
        next: 0,
        iss: [SeqNum(0); BURST],
    };
    let before = resident();

    let stretch = options.entries / STRETCHES;
    let filling: Vec<[f64; 3]> = (0..STRETCHES).map(|_| lives.live(stretch)).collect();
    let entries = lives.waiting();
    let whole: Vec<f64> = filling.iter().map(|steps| steps.iter().sum()).collect();
    let (first, last) = (filling[0], filling[filling.len() - 1]);
    println!(
        "filling: a life {:.0} ns at first, {:.0} ns at last, {:.0} ns in the slowest twentieth",
        whole[0],
        whole[whole.len() - 1],
        whole.iter().copied().fold(0.0, f64::max)
    );
    println!(
        "         of which SYN {:.0} → {:.0}, ACK {:.0} → {:.0}, FIN (the entry is made) {:.0} → {:.0} ns",
        first[0], last[0], first[1], last[1], first[2], last[2]
    );
    println!("         turns of {BURST} segments: {}", take_turns(&mut lives.rig.turns));
    let taken = resident() - before;
    println!(
        "memory:  {} resident for {entries} entries: {:.1} octets each, all in",
        mib(taken),
        taken as f64 / entries as f64
    );

    // The first ones are due from here on: as many come as go.
    let left = wait.saturating_sub(Duration::from_nanos((seconds * 1e9) as u64));
    lives.rig.turn(left);
    let steady = lives.live(options.entries / 10);
    println!(
        "steady:  a life {:.0} ns while as many entries come as go ({} waiting)",
        steady.iter().sum::<f64>(),
        lives.waiting()
    );
    println!("         turns of {BURST} segments: {}", take_turns(&mut lives.rig.turns));

    // Nobody comes any more, and time is over for all at once: the worst that a turn can meet.
    let waiting = lives.waiting();
    lives.rig.turn(wait + wait);
    let mut took = Wall::ZERO;
    while lives.waiting() > 0 {
        for _ in 0..1_000 {
            took += lives.rig.turn(Duration::ZERO);
        }
    }
    println!("expiry:  {:.0} ns an entry ({waiting} overdue at once)", took.as_nanos() as f64 / waiting as f64);
    println!("         turns: {}", take_turns(&mut lives.rig.turns));
    println!("         {} resident afterwards", mib(resident().saturating_sub(before)));
    assert!(lives.rig.stack.is_idle() && lives.rig.stack.snapshot().ledger.exact, "nothing is left");
}
