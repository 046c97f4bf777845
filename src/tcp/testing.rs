//! A connection on the bench: tests hand it segments at set times and look at what it sends.

use super::connection::Tcb;
use super::env::Env;
use super::transfer::Pools;
use super::{Plan, TcpConfig, state::StateGauges};
use crate::ledger::{DropReason, Handled};
use crate::time::{Duration, Instant};
use crate::wire::tcp::{Flags, Header, Options, Segment, Timestamps};
use crate::wire::{Addr, FourTuple, SeqNum};

/// Our ISS; our first octet is one behind it.
pub const ISS: u32 = 1_000;
/// The peer's ISS.
pub const IRS: u32 = 5_000;
/// What both ends take as a segment.
pub const MSS: u16 = 1_000;

/// One connection with what it needs.
pub struct Bench {
    pub env: Env,
    pub now: Instant,
    pub tcb: Tcb,
    /// Whether timestamps are on.
    timestamps: bool,
    /// TSval of the newest segment sent.
    pub tsval: u32,
    /// The peer's next number.
    pub peer_nxt: u32,
    /// What the peer offers.
    pub wnd: u16,
    /// What our link carries.
    pub our_mss: u16,
}

impl Bench {
    /// ESTABLISHED from an active open, with what the peer's SYN offers; its first window is 60,000 octets.
    pub fn established(config: TcpConfig, mut options: Options) -> Self {
        let (ours, theirs) = (Addr::from_v4([10, 0, 0, 1]), Addr::from_v4([10, 0, 0, 2]));
        let tuple = FourTuple { local_addr: ours, remote_addr: theirs, local_port: 1, remote_port: 2 };
        let now = Instant::from_millis(1_000_000);
        let mut env = Env::new(config, Pools::new(1 << 24), StateGauges::default(), now);
        let mut tcb = Tcb { tuple, ..Tcb::UNOPENED };
        tcb.open(SeqNum(ISS), 0, MSS, &mut env);
        let timestamps = options.timestamps.is_some();
        let (peer_nxt, wnd) = (IRS, 60_000);
        let mut bench = Bench { env, now, tcb, timestamps, tsval: 0, peer_nxt, wnd, our_mss: MSS };
        bench.send();
        options.mss = Some(MSS);
        if let Some(timestamps) = &mut options.timestamps {
            timestamps.tsecr = bench.tsval;
        }
        let flags = Flags::SYN | Flags::ACK;
        let header =
            Header { seq: SeqNum(IRS), ack: SeqNum(ISS + 1), flags, wnd: bench.wnd, options, ..Header::default() };
        bench.peer_nxt += 1;
        bench.receive(header, b"").unwrap();
        bench.send();
        bench
    }

    /// With SACK and timestamps, or without either.
    pub fn with(config: TcpConfig, sack_permitted: bool, timestamps: bool) -> Self {
        let timestamps = timestamps.then_some(Timestamps { tsval: 1, tsecr: 0 });
        Bench::established(config, Options { sack_permitted, timestamps, ..Options::default() })
    }

    pub fn with_env<R>(&mut self, act: impl FnOnce(&mut Tcb, &mut Env) -> R) -> R {
        self.env.set_now(self.now);
        act(&mut self.tcb, &mut self.env)
    }

    /// Lets time pass, and the timers that it brings.
    pub fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.with_env(|tcb, env| {
            tcb.on_timer(env);
            tcb.arm_persist(env);
            tcb.arm_keep_alive(env);
        });
    }

    pub fn write(&mut self, octets: usize) {
        let taken = self.with_env(|tcb, env| tcb.write(&vec![7; octets], env));
        assert_eq!(taken, Some(octets));
    }

    /// All that it sends now.
    pub fn send(&mut self) -> Vec<(Header, usize)> {
        let mut sent = Vec::new();
        let our_mss = self.our_mss;
        while let Some(plan) = self.with_env(|tcb, env| planned(tcb, our_mss, env)) {
            self.with_env(|tcb, env| tcb.sent(&plan, env));
            self.tsval = plan.header.options.timestamps.map_or(0, |t| t.tsval);
            sent.push((plan.header, plan.text_len));
        }
        sent
    }

    pub fn receive(&mut self, header: Header, text: &[u8]) -> Result<Handled, DropReason> {
        self.with_env(|tcb, env| tcb.on_segment(&Segment { header, text }, env))
    }

    /// The peer acknowledges everything before our octet number `octets`, echoes `tsecr`, and reports `sack` (numbers of
    /// our octets as well).
    pub fn ack(&mut self, octets: u32, tsecr: u32, sack: &[(u32, u32)]) {
        let at = |octet: u32| SeqNum(ISS + 1) + octet;
        let timestamps = self.timestamps.then_some(Timestamps { tsval: 1, tsecr });
        let mut options = Options { timestamps, ..Options::default() };
        for (left, right) in sack {
            options.sack.push(at(*left), at(*right));
        }
        let (seq, ack, flags, wnd) = (SeqNum(self.peer_nxt), at(octets), Flags::ACK, self.wnd);
        let header = Header { seq, ack, flags, wnd, options, ..Header::default() };
        self.receive(header, b"").unwrap();
    }

    /// Its congestion window.
    pub fn cwnd(&self) -> u32 {
        self.tcb.transfer.as_ref().map_or(0, |t| t.congestion.cwnd())
    }
}

/// The next segment that must leave, if any.
pub fn planned(tcb: &mut Tcb, our_mss: u16, env: &Env) -> Option<Plan> {
    let mut plan = Plan::none();
    tcb.poll_transmit(our_mss, env, &mut plan).then_some(plan)
}
