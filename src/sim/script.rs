//! What the two ends of a connection do, drawn from the world's seed.

use super::faults::Faults;
use super::random::Random;
use crate::time::Duration;

/// How an end comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// FIN after all is sent; reads to the peer's FIN; then closes for good.
    Finish,
    /// The same, but sends its FIN only after the peer's has come.
    FinishSecond,
    /// FIN after all is sent, reads to the end, and never says that it has closed for good.
    FinishSilently,
    /// Closes for good as soon as all is sent, whatever may still come.
    Rude,
    /// Aborts after so many octets have been read and written.
    Abort(u64),
}

impl Leave {
    /// Whether both directions are to be whole at the end.
    pub fn is_orderly(self) -> bool {
        matches!(self, Leave::Finish | Leave::FinishSecond | Leave::FinishSilently)
    }
}

/// One end.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// Octets that it sends.
    pub to_send: u64,
    /// Octets that it must have read before it sends anything (a server that answers).
    pub answer_after: u64,
    /// Octets offered with one write, at most.
    pub write_size: usize,
    /// Octets taken with one read, at most.
    pub read_size: usize,
    /// Stops reading for that long, once so many octets were read.
    pub read_stall: Option<(u64, Duration)>,
    /// Stops writing for that long, once so many octets were written.
    pub write_stall: Option<(u64, Duration)>,
    /// How it leaves.
    pub leave: Leave,
}

/// One connection.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Who opens.
    pub opener: usize,
    /// Who is connected to.
    pub acceptor: usize,
    /// When, after the world's beginning.
    pub at: Duration,
    /// The opener's port; 0 lets the stack choose.
    pub local_port: u16,
    /// The acceptor's port.
    pub port: u16,
    /// How much later the acceptor opens towards the opener, when it does not listen but connects as well.
    pub crossing: Option<Duration>,
    /// What the opener and the acceptor do.
    pub scripts: [Script; 2],
    /// Whether over IPv6.
    pub v6: bool,
}

impl Plan {
    /// Whether an end stops reading for a while.
    pub fn stalls(&self) -> bool {
        self.scripts.iter().any(|script| script.read_stall.is_some())
    }
}

/// The port that listens on every host.
pub const SERVICE: u16 = 7;
/// First of the ports that stacks choose by themselves.
pub const FIRST_EPHEMERAL: u16 = 10_000;
/// First of the ports of openers that use one port again and again.
const REUSED: u16 = 900;
/// First of the ports of crossing opens, a pair for each; none listens, and none is used twice.
const CROSSING: u16 = 1_000;

/// Draws the plans of a world, in the order in which they open.
pub fn draw(connections: u32, hosts: usize, faults: &Faults, random: &mut Random) -> Vec<Plan> {
    let gap = random.pick(&[100u64, 1_000, 5_000, 20_000, 100_000]);
    let largest = random.pick(&[2_000u64, 60_000, 60_000, 600_000]);
    // Mostly short lives; in a few worlds much data, often both ways at once.
    let short = if random.below(32) == 0 { largest } else { 6_000 };
    let octets = [largest.min(short), largest];
    let (mut at_us, mut crossing) = (0, CROSSING);
    let mut plans: Vec<Plan> = Vec::with_capacity(connections as usize);
    for _ in 0..connections {
        at_us += random.below(2 * gap);
        let opener = random.below(hosts as u64) as usize;
        let acceptor = (opener + 1 + random.below(hosts as u64 - 1) as usize) % hosts;
        let mut plan = Plan {
            opener,
            acceptor,
            at: Duration::from_micros(at_us),
            local_port: 0,
            port: SERVICE,
            crossing: None,
            scripts: scripts(octets, faults, random),
            v6: false,
        };
        match random.below(32) {
            0 if crossing < FIRST_EPHEMERAL => {
                plan.local_port = crossing;
                plan.port = crossing + 1;
                crossing += 2;
                plan.crossing = Some(Duration::from_micros(random.magnitude(2 * faults.delay.as_micros() as u64)));
            }
            1..=3 => plan.local_port = REUSED + random.below(4) as u16,
            _ => {}
        }
        plans.push(plan);
    }
    plans
}

/// `octets`: what an end sends at most, mostly and ever.
fn scripts(octets: [u64; 2], faults: &Faults, random: &mut Random) -> [Script; 2] {
    let mut scripts = [script(octets, faults, random), script(octets, faults, random)];
    // Two ends that each wait for the other would wait for ever.
    if scripts[0].leave == Leave::FinishSecond {
        scripts[1].leave = Leave::Finish;
    }
    if scripts[0].leave.is_orderly() && random.below(2) == 0 {
        scripts[1].answer_after = random.between(0, scripts[0].to_send);
    }
    scripts
}

fn script(octets: [u64; 2], faults: &Faults, random: &mut Random) -> Script {
    let to_send = match random.below(16) {
        0..=3 => 0,
        4..=14 => random.magnitude(octets[0]),
        _ => random.magnitude(octets[1]),
    };
    let mut stall = || {
        let at = random.below(to_send.max(1_000));
        let long = Duration::from_millis(random.magnitude(20_000));
        random.chance(faults.stalls).then_some((at, long))
    };
    let (read_stall, write_stall) = (stall(), stall());
    let leave = match random.below(20) {
        0..=7 => Leave::Finish,
        8..=13 => Leave::FinishSecond,
        14..=16 => Leave::FinishSilently,
        17..=18 => Leave::Rude,
        _ => Leave::Abort(random.between(0, to_send)),
    };
    Script {
        to_send,
        answer_after: 0,
        write_size: random.pick(&[1 + (to_send / 20) as usize, 100, 1_000, 1_448, 10_000, 300_000]),
        read_size: random.pick(&[1 + (to_send / 20) as usize, 1_000, 10_000, 300_000, 300_000]),
        read_stall,
        write_stall,
        leave,
    }
}
