//! A simulated host: a stack, its application, its share of the clock, and the frames on their way to it.

use super::app::{Ground, Player, address};
use super::faults::Asked;
use super::random::{Random, mix};
use crate::stack::{
    CookieKeys, DefenceConfig, Limits, LocalAddr, Secrets, Stack, StackConfig, SynDefence, TcpConfig, Transmit,
};
use crate::time::{Duration, Instant};
use crate::wire::{FourTuple, MacAddr};
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

/// A frame on its way.
pub struct Frame {
    /// Who emitted it.
    pub from: usize,
    /// Its octets, in a buffer with room for any reply.
    pub buffer: Vec<u8>,
    /// How many they are.
    pub len: usize,
    /// The flow that it belongs to, as its receiver sees it.
    pub tuple: Option<FourTuple>,
    /// Made, but without room to leave: nobody sees it.
    pub unsent: bool,
}

/// One host.
pub struct Host {
    /// Its stack, in its present life.
    pub stack: Stack<Player>,
    /// How it was made, for the next life.
    pub config: StackConfig,
    /// How often it was killed.
    pub life: u32,
    /// Its clock is so far ahead of the world's.
    pub offset: Duration,
    /// Frames on their way to it, by the time of their arrival.
    pub inbox: BinaryHeap<Reverse<(u64, u64, u32)>>,
    /// When its stack wants to be called.
    pub wake: Option<u64>,
    /// Until then it stands still.
    pub still_until: u64,
    /// When the last frame that keeps its order arrives.
    pub last_arrival: u64,
}

impl Host {
    /// A host in its first life.
    pub fn new(number: usize, ground: &Rc<RefCell<Ground>>, config: StackConfig, offset: Duration) -> Self {
        let stack =
            Stack::new(config.clone(), Player::new(ground.clone(), number, 0, Duration::ZERO), Instant::ZERO + offset);
        let inbox = BinaryHeap::new();
        Host { stack, config, life: 0, offset, inbox, wake: Some(0), still_until: 0, last_arrival: 0 }
    }

    /// Its clock.
    pub fn clock(&self, now: u64) -> Instant {
        Instant::from_nanos(now) + self.offset
    }

    /// When it has something to do.
    pub fn next(&self) -> Option<u64> {
        let arrival = self.inbox.peek().map(|Reverse((at, ..))| *at);
        let at = arrival.into_iter().chain(self.wake).min()?;
        Some(at.max(self.still_until))
    }

    /// Dies and starts again, with new secrets and without a memory.
    pub fn restart(&mut self, number: usize, ground: &Rc<RefCell<Ground>>, now: u64, random: &mut Random) {
        self.life += 1;
        self.config.secrets = secrets(random);
        let player = Player::new(ground.clone(), number, self.life, Duration::from_nanos(now));
        self.stack = Stack::new(self.config.clone(), player, self.clock(now));
        self.wake = Some(now);
    }
}

fn secrets(random: &mut Random) -> Secrets {
    let mut key = || (u128::from(random.bits()) << 64 | u128::from(random.bits())).to_le_bytes();
    let (isn, flow_hash) = (key(), key());
    // Not drawn, so that the seeds of old are the worlds of old.
    Secrets { isn, flow_hash, cookie: CookieKeys::alone(isn.map(|octet| !octet)) }
}

/// How the hosts of a world meet SYN floods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defended {
    /// With a table that is never crowded.
    Roomy,
    /// With a table that often is, and a calm so short that steps change often.
    Crowded,
    /// With cookies for every SYN.
    Cookies,
}

impl Defended {
    /// Draws it, apart from all else, so that the seeds of old are the worlds of old. A late copy of the handshake's last
    /// ACK opens a connection by cookie a second time, which nobody could explain: no cookies where frames are asked to
    /// come twice or late.
    pub fn draw(seed: u64, asked: &Asked) -> Self {
        let is_asked = |share: Option<f64>| share.is_some_and(|share| share > 0.0);
        match mix(seed, 2) % 4 {
            _ if is_asked(asked.duplicate) || is_asked(asked.reorder) => Defended::Roomy,
            0 => Defended::Cookies,
            1 => Defended::Crowded,
            _ => Defended::Roomy,
        }
    }

    fn config(self) -> (DefenceConfig, u32) {
        let (default, roomy) = (DefenceConfig::default(), 1 << 12);
        match self {
            Defended::Roomy => (default, roomy),
            Defended::Crowded => (DefenceConfig { calm: Duration::from_secs(1), ..default }, 4),
            Defended::Cookies => (DefenceConfig { mode: SynDefence::Cookie, ..default }, roomy),
        }
    }
}

/// How the host of that number is set up, with what may differ drawn.
pub fn draw_config(number: usize, defended: Defended, time_wait: Duration, random: &mut Random) -> StackConfig {
    let buffer = |random: &mut Random| random.pick(&[3_000u32, 20_000, 65_535, 65_536, 262_144, 262_144, 1 << 20]);
    let mut tcp = TcpConfig {
        time_wait,
        delayed_ack: Duration::from_millis(random.pick(&[0, 1, 40, 200])),
        send_buffer: buffer(random),
        recv_buffer: buffer(random),
        ..TcpConfig::default()
    };
    let manners = random.below(4);
    (tcp.nagle, tcp.fin_carries_ack) = (manners != 0, manners != 1);
    let (defence, half_open) = defended.config();
    let limits = Limits { half_open, connections: 1 << 13, app_timers: 1 << 16, ..Limits::default() };
    StackConfig {
        mtu: random.pick(&[576, 1_280, 1_500, 1_500, 1_500, 9_000]),
        listen: vec![super::script::SERVICE],
        ephemeral_ports: (super::script::FIRST_EPHEMERAL, 65_535),
        tcp,
        limits,
        defence,
        ..StackConfig::new(
            MacAddr([2, 0, 0, 0, 0, number as u8 + 1]),
            [(false, 24), (true, 64)]
                .map(|(v6, prefix_len)| LocalAddr { addr: address(number, v6).into(), prefix_len })
                .to_vec(),
            secrets(random),
        )
    }
}

/// The driver as a stack writes to it: room for so many frames.
pub struct Outbox<'a> {
    /// Whose it is.
    pub from: usize,
    /// What was emitted.
    pub frames: &'a mut Vec<Frame>,
    /// Buffers to use again.
    pub spare: &'a mut Vec<Vec<u8>>,
    /// How many more find room.
    pub room: usize,
}

impl Transmit for Outbox<'_> {
    fn transmit(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        let mut buffer = self.spare.pop().unwrap_or_else(|| vec![0; BUFFER]);
        let len = write(&mut buffer);
        self.frames.push(Frame { from: self.from, buffer, len, tuple: None, unsent: false });
        true
    }
}

/// Octets of a buffer: the largest frame, and some.
pub const BUFFER: usize = 9_216;
