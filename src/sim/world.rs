//! One world: hosts, the link between them, and a clock that goes from event to event.

use super::app::{End, Ground, Outcome, Word, address};
use super::faults::{Asked, Faults, Scene, corrupt};
use super::host::{BUFFER, Defended, Frame, Host, Outbox, draw_config};
use super::random::{Random, mix};
use super::report::Tally;
use super::router;
use super::script;
use super::verdict;
use super::watch::{self, Watch};
use crate::tcp::buffer::BLOCK;
use crate::time::Duration;
use crate::wire::tcp::Flags;
use crate::wire::{Addr, FourTuple};
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::rc::Rc;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;
/// Frames taken from the inbox in one turn.
const BURST: usize = 64;
/// Turns between two checks of everything; what a frame touches is checked at once.
const CHECK_EVERY: u64 = 512;
/// Turns that a connection may cost; beyond, the world goes in circles.
const TURNS_PER_CONNECTION: u64 = 40_000;
/// Largest IP packet that passes during a dip of the path MTU.
const DIP: usize = 300;
/// The same where a router tells: no less than what a host believes.
const TOLD_DIP: usize = 600;
/// RFC 8200 §5.
const LEAST_V6: usize = 1_280;

/// What a world is told.
#[derive(Clone, Copy, Debug)]
pub struct WorldConfig {
    /// Its seed.
    pub seed: u64,
    /// Connections.
    pub connections: u32,
    /// Hosts, at least 2.
    pub hosts: usize,
    /// Faults that were asked for.
    pub asked: Asked,
    /// Whether each frame is shown on stderr.
    pub steps: bool,
}

/// What happens at a set time.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Kill(usize),
    Heal,
    /// Everything should be over: what is not is lonely or stuck.
    Last,
}

/// One world.
pub struct World {
    config: WorldConfig,
    /// What the applications have in common.
    pub ground: Rc<RefCell<Ground>>,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// Frames lost, by flow.
    pub lost: BTreeMap<FlowKey, u32>,
    /// How its hosts meet SYN floods.
    pub defended: Defended,
    /// What was counted.
    pub tally: Tally,
    random: Random,
    faults: Faults,
    scene: Scene,
    /// Arrivals fall on multiples of it, so that there are bursts.
    grid: u64,
    dip_until: u64,
    now: u64,
    frames: Vec<Option<Frame>>,
    free: Vec<u32>,
    spare: Vec<Vec<u8>>,
    out: Vec<Frame>,
    serial: u64,
    watch: Watch,
    schedule: Vec<(u64, Happening)>,
}

/// Both ends of a flow, the lesser first.
pub type FlowKey = [(Addr, u16); 2];

/// The key of a flow.
pub fn flow_key(a: (Addr, u16), b: (Addr, u16)) -> FlowKey {
    if a < b { [a, b] } else { [b, a] }
}

fn key_of(tuple: &FourTuple) -> FlowKey {
    flow_key((tuple.local_addr, tuple.local_port), (tuple.remote_addr, tuple.remote_port))
}

impl World {
    /// Draws a world.
    pub fn new(config: WorldConfig) -> Self {
        let mut random = Random::new(config.seed);
        let mut faults = Faults::draw(&config.asked, &mut random);
        let defended = Defended::draw(config.seed, &config.asked);
        if defended != Defended::Roomy {
            (faults.duplicate, faults.reorder) = (0.0, 0.0);
        }
        let mut plans = script::draw(config.connections, config.hosts, &faults, &mut random);
        let mut apart = Random::new(mix(config.seed, 2));
        let scene = Scene::draw(&config.asked, &mut apart);
        plans.iter_mut().for_each(|plan| plan.v6 = apart.chance(scene.ipv6));
        let ipv6 = plans.iter().filter(|plan| plan.v6).count() as u64;
        let span = plans.last().map_or(0, |plan| plan.at.as_nanos() as u64);
        let ground = Rc::new(RefCell::new(Ground::new(config.seed, plans)));
        let time_wait = Duration::from_millis(random.pick(&[100, 1_000, 10_000, 60_000, 240_000]));
        // Clocks that start at 0, just before a wrap of the millisecond or the microsecond count, or anywhere.
        let offsets = [0, (1 << 32) * MILLISECOND - 2 * SECOND, (1 << 32) * 1_000 - 2 * SECOND, random.below(1 << 58)];
        let hosts = (0..config.hosts).map(|number| {
            let offset = Duration::from_nanos(random.pick(&offsets));
            let mut stack = draw_config(number, defended, time_wait, &mut random);
            if apart.chance(scene.tiny_pools) {
                stack.limits.buffer_bytes = apart.between(4, 64) * BLOCK as u64;
            }
            Host::new(number, &ground, stack, offset)
        });
        let hosts = hosts.collect();
        let healed_at = span + 5 * SECOND;
        let mut schedule: Vec<_> = (0..faults.kills)
            .map(|_| (random.below(healed_at), Happening::Kill(random.below(config.hosts as u64) as usize)))
            .collect();
        schedule.push((healed_at, Happening::Heal));
        schedule.extend((1..=3).map(|i| (healed_at + i * 1_000 * SECOND, Happening::Last)));
        schedule.sort_by_key(|(at, _)| Reverse(*at));
        let grid = random.pick(&[1, 1_000, 50_000, MILLISECOND]);
        World {
            config,
            ground,
            hosts,
            lost: BTreeMap::new(),
            defended,
            tally: Tally { ipv6, ..Tally::default() },
            random: Random::new(mix(config.seed, 1)),
            faults,
            scene,
            grid,
            dip_until: 0,
            now: 0,
            frames: Vec::new(),
            free: Vec::new(),
            spare: Vec::new(),
            out: Vec::new(),
            serial: 0,
            watch: Watch::new(defended != Defended::Roomy),
            schedule,
        }
    }

    /// Plays the world to its end.
    ///
    /// # Errors
    /// The first thing that should not be.
    pub fn run(&mut self) -> Result<(), String> {
        if self.config.steps {
            eprintln!("{:?}, {:?}, arrivals every {} ns", self.faults, self.scene, self.grid);
        }
        let most = 100_000 + u64::from(self.config.connections) * TURNS_PER_CONNECTION;
        while let Some((at, host)) = self.next() {
            self.now = self.now.max(at);
            match host {
                Some(host) => self.turn(host)?,
                None => self.happen()?,
            }
            if let Some(problem) = self.ground.borrow().problem.clone() {
                return Err(problem);
            }
            if self.tally.turns > most {
                return Err(format!("it goes in circles: {most} turns, and no end"));
            }
        }
        self.tally.virtual_seconds += self.now / SECOND;
        let by_cookie = |host: &Host| host.stack.snapshot().defence.cookies.get("accepted").copied().unwrap_or(0);
        self.tally.by_cookie += self.hosts.iter().map(by_cookie).sum::<u64>();
        for host in &self.hosts {
            let refused = host.stack.snapshot().refused;
            self.tally.starved += refused["buffer_bytes"] + refused["early_data"];
            self.tally.silent += refused["silent_peers"];
        }
        self.hosts.iter().enumerate().try_for_each(|(number, host)| {
            let empty = host.stack.check_invariants().and_then(|()| host.stack.check_empty());
            empty.map_err(|what| format!("host {number}, at the end: {what}"))
        })?;
        verdict::check(self)
    }

    /// The world's time.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    /// When something happens next, and on which host, if it is not a [`Happening`].
    fn next(&self) -> Option<(u64, Option<usize>)> {
        let turn = self.hosts.iter().enumerate().filter_map(|(i, host)| Some((host.next()?, Some(i)))).min();
        let happening = self.schedule.last().map(|(at, _)| (*at, None));
        match (turn, happening) {
            (Some(turn), Some(happening)) => Some(if turn.0 < happening.0 { turn } else { happening }),
            // When all is quiet, nothing more is to be scheduled but the wait for the end.
            (turn, happening) => turn.or(happening),
        }
    }

    fn happen(&mut self) -> Result<(), String> {
        match self.schedule.pop() {
            Some((_, Happening::Kill(host))) => self.kill(host),
            Some((_, Happening::Heal)) => self.faults = self.faults.healed(),
            Some((_, Happening::Last)) => self.send_the_lonely_home()?,
            None => {}
        }
        Ok(())
    }

    /// A host dies. What it had sent is lost with it (RFC 9293 §3.4.3 asks a host that lost its memory to be quiet for so
    /// long).
    fn kill(&mut self, number: usize) {
        self.tally.kills += 1;
        let life = self.hosts[number].life;
        for end in &mut self.ground.borrow_mut().ends {
            if end.host == number && end.life == life && end.outcome.is_none() {
                end.outcome = Some(Outcome::Killed);
            }
        }
        for host in &mut self.hosts {
            let (frames, free) = (&mut self.frames, &mut self.free);
            host.inbox.retain(|Reverse((_, _, place))| {
                let stays = frames[*place as usize].as_ref().is_some_and(|frame| frame.from != number);
                if !stays {
                    frames[*place as usize] = None;
                    free.push(*place);
                }
                stays
            });
        }
        [false, true].into_iter().for_each(|v6| self.watch.forget(address(number, v6).into()));
        self.hosts[number].restart(number, &self.ground, self.now, &mut self.random);
    }

    /// Ends whose other end is gone without a word have nothing to wait for; two that both live are stuck.
    fn send_the_lonely_home(&mut self) -> Result<(), String> {
        let mut lonely = Vec::new();
        {
            let ground = self.ground.borrow();
            let alive = |end: &&End| end.outcome.is_none();
            let living: Vec<(u32, u8)> = ground.ends.iter().filter(alive).map(|end| (end.plan, end.side)).collect();
            for (number, end) in ground.ends.iter().enumerate().filter(|(_, end)| end.outcome.is_none()) {
                if living.contains(&(end.plan, 1 - end.side)) {
                    return Err(format!(
                        "both ends live, and nothing moves: {end:?}; {:?}",
                        ground.plans[end.plan as usize]
                    ));
                }
                lonely.push((number as u32, end.host));
            }
        }
        for (end, host) in lonely {
            let clock = self.hosts[host].clock(self.now);
            self.hosts[host].stack.on_message(clock, Word::GiveUp(end));
            self.hosts[host].wake = Some(self.now);
        }
        Ok(())
    }

    // --- a turn of one host ---

    fn turn(&mut self, number: usize) -> Result<(), String> {
        self.tally.turns += 1;
        if self.random.chance(self.faults.skips) {
            self.tally.skips += 1;
            self.hosts[number].still_until = self.now + self.random.below(3 * SECOND);
            return Ok(());
        }
        let full = self.random.chance(self.faults.tx_full);
        let room = if full { self.random.below(4) as usize } else { usize::MAX };
        let mut out = std::mem::take(&mut self.out);
        let mut outbox = Outbox { from: number, frames: &mut out, spare: &mut self.spare, room };
        let host = &mut self.hosts[number];
        let clock = host.clock(self.now);
        for _ in 0..BURST {
            let Some(Reverse((at, _, place))) = host.inbox.peek().copied() else { break };
            if at > self.now {
                break;
            }
            host.inbox.pop();
            self.free.push(place);
            let Some(mut frame) = self.frames[place as usize].take() else { continue };
            let asked = watch::header_of(&frame.buffer[..frame.len]).map(|(tuple, header)| {
                let standing = host.stack.standing(&tuple);
                (header, standing)
            });
            let reply = host.stack.on_frame(clock, &mut frame.buffer, frame.len).reply();
            let answer = reply.and_then(|len| watch::header_of(&frame.buffer[..len]));
            if let (Some((header, standing)), Some((_, answer))) = (asked, answer)
                && answer.flags.has(Flags::RST)
                && !standing.justifies_reset(&header)
            {
                return Err(format!("host {number}: a RST in {standing:?}, which nothing allows, for {header:?}"));
            }
            if let Some(tuple) = frame.tuple {
                host.stack.check_connection(&tuple).map_err(|what| format!("host {number}: {what}"))?;
            }
            match reply {
                Some(len) => {
                    let unsent = outbox.room == 0;
                    outbox.room -= usize::from(!unsent);
                    host.stack.on_sent((!unsent).then_some(len));
                    outbox.frames.push(Frame { from: number, len, tuple: None, unsent, ..frame });
                }
                None => outbox.spare.push(frame.buffer),
            }
        }
        host.stack.on_timers(clock);
        let left = host.stack.poll_transmit(clock, &mut outbox);
        let soon = left.then_some(self.now + 200_000);
        let due = host
            .stack
            .next_timeout(clock)
            .map(|at| (self.now + at.since(clock).as_nanos() as u64).max(self.now + 50_000));
        host.wake = soon.into_iter().chain(due).min();
        // In the order in which they were made, those without room among them.
        for frame in out.drain(..) {
            if frame.unsent {
                self.watch.on_unsent(&frame.buffer[..frame.len]);
                self.spare.push(frame.buffer);
            } else {
                self.emit(number, frame)?;
            }
        }
        self.out = out;
        if self.tally.turns.is_multiple_of(CHECK_EVERY) {
            self.tally.checks += 1;
            self.hosts[number].stack.check_invariants().map_err(|what| format!("host {number}: {what}"))?;
        }
        Ok(())
    }

    // --- the link ---

    fn emit(&mut self, from: usize, mut frame: Frame) -> Result<(), String> {
        let mtu = self.hosts[from].config.mtu;
        self.untag(from, &mut frame)?;
        let seen = self.watch.on_frame(&frame.buffer[..frame.len], mtu);
        if self.config.steps {
            super::trace::show(self.now, &frame.buffer[..frame.len]);
        }
        frame.tuple = seen.map_err(|what| format!("host {from}: {what}"))?;
        self.tally.frames += 1;
        let destination = &frame.buffer[..6];
        let to = if destination[0] & 1 == 1 { None } else { Some(usize::from(destination[5]).wrapping_sub(1)) };
        for host in (0..self.hosts.len()).filter(|host| *host != from && to.is_none_or(|to| to == *host)) {
            self.carry(host, &frame);
            if self.random.chance(self.faults.duplicate) {
                self.tally.duplicated += 1;
                let late = if self.random.below(16) == 0 { 3 * SECOND } else { 3 * MILLISECOND };
                let at = self.now + self.faults.delay.as_nanos() as u64 + self.random.below(late);
                self.put(host, &frame, at);
            }
        }
        self.spare.push(frame.buffer);
        Ok(())
    }

    /// A host answers with the tag that it was spoken to with; only its questions for neighbours have none.
    fn untag(&mut self, from: usize, frame: &mut Frame) -> Result<(), String> {
        let (len, vlan) = router::untag(&mut frame.buffer, frame.len);
        frame.len = len;
        let is_question = frame.buffer[0] & 1 == 1;
        if vlan == self.scene.vlan || (vlan.is_none() && is_question) {
            return Ok(());
        }
        Err(format!("host {from}: a frame with tag {vlan:?} where it should be {:?}", self.scene.vlan))
    }

    /// A router tells the sender what the path carries.
    fn tell_mtu(&mut self, frame: &Frame, mtu: u16) {
        let Some(tuple) = &frame.tuple else { return };
        let mut buffer = self.spare.pop().unwrap_or_else(|| vec![0; BUFFER]);
        // The tuple is the receiver's: it was sent from there to here.
        let (from, to) = (tuple.remote_addr, tuple.local_addr);
        let len = router::too_big(&mut buffer, &frame.buffer[..frame.len], (from, to), mtu);
        let at = self.now + self.faults.delay.as_nanos() as u64 + self.random.below(3 * MILLISECOND);
        let told = Frame { from: frame.from, buffer, len, tuple: None, unsent: false };
        self.put(frame.from, &told, at);
        self.spare.push(told.buffer);
        self.tally.told_mtu += 1;
    }

    /// Takes one copy of a frame to one host, if it gets there.
    fn carry(&mut self, to: usize, frame: &Frame) {
        if self.now >= self.dip_until && self.random.chance(self.faults.mtu_dips / 50.0) {
            self.dip_until = self.now + self.random.below(SECOND);
        }
        let is_v6 = frame.tuple.is_some_and(|tuple| !tuple.local_addr.is_v4());
        let carries = match (self.scene.told_mtu, is_v6) {
            (true, true) => LEAST_V6,
            (true, false) => TOLD_DIP,
            (false, _) => DIP,
        };
        let too_large = self.now < self.dip_until && frame.len > carries + 14;
        if too_large && self.scene.told_mtu {
            self.tell_mtu(frame, carries as u16);
        }
        let is_arp = frame.tuple.is_none();
        let corrupted = self.random.chance(self.faults.corrupt);
        if too_large || self.random.chance(self.faults.loss) || (corrupted && is_arp) {
            return self.lose(frame);
        }
        let delay = self.faults.delay.as_nanos() as u64;
        let mut at = self.now + delay + self.random.below(self.faults.jitter.as_nanos() as u64 + 1);
        if self.random.chance(self.faults.reorder) {
            self.tally.reordered += 1;
            at += self.random.below(4 * (delay + MILLISECOND));
        } else {
            at = at.max(self.hosts[to].last_arrival);
            self.hosts[to].last_arrival = at;
        }
        let place = self.put(to, frame, at);
        if corrupted && let Some(copy) = &mut self.frames[place as usize] {
            self.tally.corrupted += 1;
            corrupt(&mut copy.buffer[..copy.len], &mut self.random);
            self.lose(frame);
        }
    }

    fn lose(&mut self, frame: &Frame) {
        self.tally.lost += 1;
        if let Some(tuple) = &frame.tuple {
            *self.lost.entry(key_of(tuple)).or_default() += 1;
        }
    }

    /// Has a copy of a frame arrive.
    fn put(&mut self, to: usize, frame: &Frame, at: u64) -> u32 {
        let mut buffer = self.spare.pop().unwrap_or_else(|| vec![0; BUFFER]);
        buffer[..frame.len].copy_from_slice(&frame.buffer[..frame.len]);
        let len = match self.scene.vlan {
            Some(vlan) => router::tag(&mut buffer, frame.len, vlan),
            None => frame.len,
        };
        self.tally.tagged += u64::from(self.scene.vlan.is_some());
        let place = self.free.pop().unwrap_or_else(|| {
            self.frames.push(None);
            self.frames.len() as u32 - 1
        });
        self.frames[place as usize] = Some(Frame { from: frame.from, buffer, len, tuple: frame.tuple, unsent: false });
        self.serial += 1;
        self.hosts[to].inbox.push(Reverse((at.next_multiple_of(self.grid), self.serial, place)));
        place
    }
}
