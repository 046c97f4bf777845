//! A server's stack under a scripted peer: frames lie in memory as a driver's rings would hold them, and only what the
//! stack does with them is measured.

use crate::lives::{BURST, Closer, Ring, serve};
use handfast::stack::{CookieKeys, DefenceConfig, Limits, LocalAddr, Secrets, Stack, StackConfig, Transmit};
use handfast::time::{Duration, Instant};
use handfast::wire::frame::{self, Envelope, Link, TxChecksum};
use handfast::wire::tcp::{Flags, Header, Options, Timestamps};
use handfast::wire::{Addr, FourTuple, MacAddr, SeqNum};
use hdrhistogram::Histogram;
use std::hint::black_box;
use std::time::Instant as Clock;

const SERVER: Addr = Addr::from_v4([10, 0, 0, 1]);
const SERVER_V6: Addr = Addr::from_v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PORT: u16 = 7;

/// What the peer says.
pub struct Say {
    pub flags: Flags,
    pub seq: u32,
    pub ack: SeqNum,
}

/// The stack, its clock and its rings.
pub struct Rig {
    pub stack: Stack<Closer>,
    pub now: Instant,
    v6: bool,
    input: Ring,
    output: Ring,
    /// How long the turns took, in ns.
    pub turns: Histogram<u64>,
}

impl Rig {
    pub fn new(closes_first: bool, v6: bool, limits: Limits, defence: DefenceConfig) -> Rig {
        let addresses = [(SERVER, 8), (SERVER_V6, 64)].map(|(addr, prefix_len)| LocalAddr { addr, prefix_len });
        let secrets = Secrets { isn: [1; 16], flow_hash: [2; 16], cookie: CookieKeys::alone([3; 16]) };
        let plain = StackConfig::new(SERVER_MAC, addresses.to_vec(), secrets);
        let now = Instant::from_millis(1_000);
        let stack =
            Stack::new(StackConfig { listen: vec![PORT], limits, defence, ..plain }, Closer { closes_first }, now);
        let turns = Histogram::new_with_bounds(1, 1 << 40, 3).expect("bounds of a histogram");
        Rig { stack, now, v6, input: Ring::new(2 * BURST), output: Ring::new(2 * BURST), turns }
    }

    /// The peer of that number says something. Each number has a tuple of its own.
    pub fn hears(&mut self, peer: u64, say: &Say) {
        // A stride without a common factor with the ports: neighbours in number are no neighbours in tuple.
        let (host, port) = (peer / 60_000 + 2, 1024 + peer * 7_919 % 60_000);
        let [_, _, _, _, a, b, c, d] = host.to_be_bytes();
        let (remote, local) = match self.v6 {
            false => (Addr::from_v4([10, b, c, d]), SERVER),
            true => (Addr::from_v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]), SERVER_V6),
        };
        let syn = say.flags.has(Flags::SYN);
        let timestamps = Some(Timestamps { tsval: 1, tsecr: 0 });
        let options = Options { timestamps, mss: syn.then_some(1460), ..Options::default() };
        let options = Options { window_scale: syn.then_some(7), sack_permitted: syn, ..options };
        let header = Header { seq: SeqNum(say.seq), ack: say.ack, flags: say.flags, wnd: 64_000, urgent: 0, options };
        let link = Link { src: MacAddr([2, 0, 0, 0, 0, 9]), dst: SERVER_MAC, vlan: None };
        let tuple = FourTuple { local_addr: remote, remote_addr: local, local_port: port as u16, remote_port: PORT };
        let envelope = Envelope { link, tuple, hop_limit: 64, traffic_class: 0, checksum: TxChecksum::Full };
        self.input.transmit(|buffer| frame::emit_tcp(buffer, &envelope, &header, 0, |_| {}));
    }

    /// Time passes, and the stack takes a turn; gives the processor time of that, in which nothing else that runs on the
    /// machine is counted. How long the turn took by the clock goes to [`Rig::turns`].
    pub fn turn(&mut self, passed: Duration) -> std::time::Duration {
        self.now = self.now + passed;
        self.output.clear();
        let (start, busy) = (Clock::now(), processor_time());
        serve(&mut self.stack, self.now, black_box(&mut self.input), &mut self.output);
        let busy = processor_time() - busy;
        self.turns.saturating_record(start.elapsed().as_nanos() as u64);
        busy
    }

    /// What the last turn sent.
    pub fn sent(&self) -> &Ring {
        &self.output
    }
}

/// Processor time of this thread so far.
fn processor_time() -> std::time::Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Resident octets of this process.
pub fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().map_or(0, |kib| kib * 1024)
}

/// Octets for people.
pub fn mib(octets: u64) -> String {
    format!("{:.0} MiB", octets as f64 / (1 << 20) as f64)
}

/// The spread of the turns so far; they are counted anew from here on.
pub fn take_turns(turns: &mut Histogram<u64>) -> String {
    let at = |quantile| turns.value_at_quantile(quantile) as f64 / 1e3;
    let text =
        format!("p50 {:.0} µs, p99.99 {:.0} µs, longest {:.0} µs", at(0.5), at(0.9999), turns.max() as f64 / 1e3);
    turns.reset();
    text
}
