//! The application of a simulated host: plays scripts, and verifies each octet as it comes.

use super::random::Stream;
use super::script::{Leave, Plan, Script};
use crate::ledger::Ending;
use crate::stack::{App, ConnId, Connect, ConnectError, Cx, SendError};
use crate::time::Duration;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

/// What became of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The stack said so.
    Ended(Ending),
    /// Its host was killed.
    Killed,
    /// The connect was refused at once.
    NotOpened(ConnectError),
    /// The other end was gone without a word, so this one gave up when everything was over.
    Lonely,
}

/// One end of a connection on one host.
#[derive(Clone, Debug)]
pub struct End {
    /// Number of its plan.
    pub plan: u32,
    /// 0: the opener's end; 1: the acceptor's.
    pub side: u8,
    /// Its host, and which life of it.
    pub host: usize,
    /// How often the host had been killed before.
    pub life: u32,
    /// Octets written and read.
    pub sent: u64,
    /// Octets read.
    pub received: u64,
    /// Whether it ever stood.
    pub stood: bool,
    /// What became of it; `None` while it lives.
    pub outcome: Option<Outcome>,
    /// Plans whose streams agree with all that was read.
    peers: Vec<u32>,
    conn: Option<ConnId>,
    half_closed: bool,
    reading_stalled: bool,
    writing_stalled: bool,
    read_stall: Option<(u64, Duration)>,
    write_stall: Option<(u64, Duration)>,
    shut: bool,
    closed: bool,
}

/// Opener, its port, acceptor, its port, and whether over IPv6.
pub type Tuple = (usize, u16, usize, u16, bool);

/// What the hosts of one world have in common.
pub struct Ground {
    /// The world's seed.
    pub seed: u64,
    /// What is to be played.
    pub plans: Vec<Plan>,
    /// Every end there was.
    pub ends: Vec<End>,
    /// The plans that were opened on a tuple, in order.
    pub opened: BTreeMap<Tuple, Vec<u32>>,
    /// The first thing that an application saw and should not have.
    pub problem: Option<String>,
    scratch: Vec<u8>,
}

impl Ground {
    /// Ground for these plans.
    pub fn new(seed: u64, plans: Vec<Plan>) -> Self {
        Ground { seed, plans, ends: Vec::new(), opened: BTreeMap::new(), problem: None, scratch: Vec::new() }
    }

    fn script(&self, end: usize) -> &Script {
        let End { plan, side, .. } = self.ends[end];
        &self.plans[plan as usize].scripts[usize::from(side)]
    }

    fn blame(&mut self, end: usize, what: String) {
        let end = &self.ends[end];
        let problem = format!("{what}: {end:?} of {:?}", self.plans[end.plan as usize]);
        self.problem.get_or_insert(problem);
    }

    fn add(&mut self, plan: u32, side: u8, host: (usize, u32), conn: Option<ConnId>, peers: Vec<u32>) -> usize {
        let script = &self.plans[plan as usize].scripts[usize::from(side)];
        self.ends.push(End {
            plan,
            side,
            host: host.0,
            life: host.1,
            sent: 0,
            received: 0,
            stood: false,
            outcome: None,
            peers,
            conn,
            half_closed: false,
            reading_stalled: false,
            writing_stalled: false,
            read_stall: script.read_stall,
            write_stall: script.write_stall,
            shut: false,
            closed: false,
        });
        self.ends.len() - 1
    }

    /// Octets that the peer of `end` sends in all, if its stream is known beyond doubt.
    pub fn expected(&self, end: usize) -> Option<u64> {
        let End { side, peers, .. } = &self.ends[end];
        let totals = peers.iter().map(|peer| self.plans[*peer as usize].scripts[usize::from(1 - side)].to_send);
        let (least, most) = (totals.clone().min()?, totals.max()?);
        (least == most).then_some(least)
    }
}

/// The address of a host in one family.
pub fn address(host: usize, v6: bool) -> IpAddr {
    let number = host as u16 + 1;
    if v6 {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number).into()
    } else {
        Ipv4Addr::new(10, 0, 0, number as u8).into()
    }
}

fn host_of(at: SocketAddr) -> usize {
    let last = match at.ip() {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(v6) => v6.octets()[15],
    };
    usize::from(last) - 1
}

/// What a world tells an application.
pub enum Word {
    /// This end is the last of its connection: give up.
    GiveUp(u32),
}

const OPEN: u64 = 0;
const CROSS: u64 = 1;
const READ_AGAIN: u64 = 2;
const WRITE_AGAIN: u64 = 3;

/// The application of one host in one of its lives.
pub struct Player {
    ground: Rc<RefCell<Ground>>,
    host: usize,
    life: u32,
    /// How long after the world's beginning the host starts.
    age: Duration,
}

impl Player {
    /// The application of `host`, which starts `age` after the world did, after `life` lives before.
    pub fn new(ground: Rc<RefCell<Ground>>, host: usize, life: u32, age: Duration) -> Self {
        Player { ground, host, life, age }
    }

    fn open(&mut self, cx: &mut Cx<'_>, number: u32, crossing: bool) {
        let mut ground = self.ground.borrow_mut();
        let plan = ground.plans[number as usize];
        let opener = SocketAddr::from((address(plan.opener, plan.v6), plan.local_port));
        let acceptor = SocketAddr::from((address(plan.acceptor, plan.v6), plan.port));
        let (local, remote) = if crossing { (acceptor, opener) } else { (opener, acceptor) };
        let end = ground.add(number, u8::from(crossing), (self.host, self.life), None, vec![number]);
        match cx.connect(Connect { remote, local: Some(local) }) {
            Ok(conn) => {
                cx.set_token(conn, end as u32 + 1);
                ground.ends[end].conn = Some(conn);
                if !crossing && let Some(local) = cx.local(conn) {
                    let tuple = (plan.opener, local.port(), plan.acceptor, plan.port, plan.v6);
                    ground.opened.entry(tuple).or_default().push(number);
                }
            }
            Err(error) => ground.ends[end].outcome = Some(Outcome::NotOpened(error)),
        }
    }

    fn pump(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        let Some(end) = (cx.token(conn) as usize).checked_sub(1) else { return };
        let mut ground = self.ground.borrow_mut();
        let ground = &mut *ground;
        if ground.ends[end].outcome.is_some() || ground.ends[end].closed {
            return;
        }
        ground.ends[end].half_closed |= cx.at_end(conn);
        read(ground, cx, conn, end);
        write(ground, cx, conn, end);
        leave(ground, cx, conn, end);
    }

    fn again(&mut self, cx: &mut Cx<'_>, end: usize, kind: u64) {
        let conn = {
            let mut ground = self.ground.borrow_mut();
            let end = &mut ground.ends[end];
            if kind == READ_AGAIN {
                end.reading_stalled = false
            } else {
                end.writing_stalled = false
            }
            if end.outcome.is_some() {
                return;
            }
            end.conn
        };
        if let Some(conn) = conn {
            self.pump(cx, conn);
        }
    }
}

fn read(ground: &mut Ground, cx: &mut Cx<'_>, conn: ConnId, end: usize) {
    let most = ground.script(end).read_size;
    while !ground.ends[end].reading_stalled {
        let octets = cx.peek(conn);
        let octets = &octets[..octets.len().min(most)];
        if octets.is_empty() {
            break;
        }
        let (seed, offset, side) = (ground.seed, ground.ends[end].received, 1 - ground.ends[end].side);
        let differs = |peer: &u32| Stream::new(seed, *peer, side).differs(offset, octets);
        let fits: Vec<u32> = ground.ends[end].peers.iter().copied().filter(|p| differs(p).is_none()).collect();
        if fits.is_empty() {
            let at = ground.ends[end].peers.first().and_then(differs);
            ground.blame(end, format!("the stream differs at octet {at:?}"));
        }
        let n = octets.len();
        ground.ends[end].peers = fits;
        ground.ends[end].received += n as u64;
        cx.consume(conn, n);
        let received = ground.ends[end].received;
        if ground.expected(end).is_some_and(|all| received > all) {
            ground.blame(end, format!("{received} octets came, more than were sent"));
        }
        if let Some((at, long)) = ground.ends[end].read_stall
            && received > at
        {
            ground.ends[end].read_stall = None;
            ground.ends[end].reading_stalled = cx.set_timer(long, READ_AGAIN << 32 | end as u64);
        }
    }
}

fn write(ground: &mut Ground, cx: &mut Cx<'_>, conn: ConnId, end: usize) {
    let Script { to_send, answer_after, write_size, .. } = *ground.script(end);
    let (plan, side) = (ground.ends[end].plan, ground.ends[end].side);
    let stream = Stream::new(ground.seed, plan, side);
    loop {
        let state = &mut ground.ends[end];
        let may = state.received >= answer_after || state.half_closed;
        if !may || state.writing_stalled || state.sent == to_send || state.shut {
            return;
        }
        let n = (to_send - state.sent).min(write_size as u64) as usize;
        if ground.scratch.len() < n {
            ground.scratch.resize(n, 0);
        }
        stream.fill(state.sent, &mut ground.scratch[..n]);
        let taken = match cx.write(conn, &ground.scratch[..n]) {
            Ok(taken) => taken,
            Err(SendError::NotConnected) => return,
            Err(SendError::Closing) => {
                return ground.blame(end, "a write was refused although it was not closed".into());
            }
        };
        let state = &mut ground.ends[end];
        state.sent += taken as u64;
        if let Some((at, long)) = state.write_stall
            && state.sent > at
        {
            state.write_stall = None;
            state.writing_stalled = cx.set_timer(long, WRITE_AGAIN << 32 | end as u64);
        }
        if taken < n {
            return;
        }
    }
}

fn leave(ground: &mut Ground, cx: &mut Cx<'_>, conn: ConnId, end: usize) {
    let script = *ground.script(end);
    let state = &mut ground.ends[end];
    let all_sent = state.sent == script.to_send && !state.writing_stalled;
    let at_end = state.stood && cx.at_end(conn);
    match script.leave {
        Leave::Abort(after) => {
            if state.sent + state.received >= after || at_end {
                state.closed = true;
                cx.abort(conn);
                cx.close(conn);
            }
        }
        Leave::Rude if all_sent => {
            state.closed = true;
            cx.close(conn);
        }
        Leave::Rude => {}
        Leave::Finish | Leave::FinishSecond | Leave::FinishSilently => {
            let turn = script.leave != Leave::FinishSecond || at_end;
            if all_sent && turn && !state.shut {
                state.shut = true;
                cx.shutdown(conn);
            }
            if state.shut && at_end && script.leave != Leave::FinishSilently {
                state.closed = true;
                cx.close(conn);
            }
        }
    }
}

impl App for Player {
    type Message = Word;

    fn on_start(&mut self, cx: &mut Cx<'_>) {
        let ground = self.ground.clone();
        for (number, plan) in ground.borrow().plans.iter().enumerate() {
            let crossing = plan.crossing.filter(|_| plan.acceptor == self.host).map(|later| (plan.at + later, CROSS));
            let ours = (plan.opener == self.host).then_some((plan.at, OPEN));
            for (at, kind) in crossing.into_iter().chain(ours).filter(|(at, _)| *at >= self.age) {
                cx.set_timer(at - self.age, kind << 32 | number as u64);
            }
        }
    }

    fn on_accept(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        let (Some(local), Some(remote)) = (cx.local(conn), cx.remote(conn)) else { return };
        let tuple = (host_of(remote), remote.port(), self.host, local.port(), local.is_ipv6());
        let mut ground = self.ground.borrow_mut();
        // The last plan that this tuple was opened for is meant; in rare cases an older one comes late.
        let opened: Vec<u32> = ground.opened.get(&tuple).into_iter().flatten().rev().copied().take(4).collect();
        let Some(plan) = opened.first().copied() else {
            let what = format!("host {} accepted a connection that nobody opened: {tuple:?}", self.host);
            ground.problem.get_or_insert(what);
            return;
        };
        let end = ground.add(plan, 1, (self.host, self.life), Some(conn), opened);
        ground.ends[end].stood = true;
        cx.set_token(conn, end as u32 + 1);
        drop(ground);
        self.pump(cx, conn);
    }

    fn on_connect(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        if let Some(end) = (cx.token(conn) as usize).checked_sub(1) {
            self.ground.borrow_mut().ends[end].stood = true;
        }
        self.pump(cx, conn);
    }

    fn on_readable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        self.pump(cx, conn);
    }

    fn on_writable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        self.pump(cx, conn);
    }

    fn on_half_close(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        if let Some(end) = (cx.token(conn) as usize).checked_sub(1) {
            self.ground.borrow_mut().ends[end].half_closed = true;
        }
        self.pump(cx, conn);
    }

    fn on_closed(&mut self, cx: &mut Cx<'_>, conn: ConnId, ending: Ending) {
        let Some(end) = (cx.token(conn) as usize).checked_sub(1) else { return };
        let mut ground = self.ground.borrow_mut();
        if ground.ends[end].outcome == Some(Outcome::Lonely) {
            return;
        }
        if ground.ends[end].outcome.is_some() {
            ground.blame(end, format!("it ended twice, now as {ending}"));
        }
        ground.ends[end].outcome = Some(Outcome::Ended(ending));
        let (orderly, received) = (ground.script(end).leave.is_orderly(), ground.ends[end].received);
        // An orderly end means that everything came, whatever went wrong on the way.
        if ending == Ending::Closed && orderly && ground.expected(end).is_some_and(|all| all != received) {
            let all = ground.expected(end);
            ground.blame(end, format!("closed in order, but {received} octets came of {all:?}"));
        }
    }

    fn on_timer(&mut self, cx: &mut Cx<'_>, token: u64) {
        let (kind, number) = (token >> 32, token as u32);
        match kind {
            OPEN | CROSS => self.open(cx, number, kind == CROSS),
            _ => self.again(cx, number as usize, kind),
        }
    }

    fn on_message(&mut self, cx: &mut Cx<'_>, word: Word) {
        let Word::GiveUp(end) = word;
        let conn = {
            let mut ground = self.ground.borrow_mut();
            let end = &mut ground.ends[end as usize];
            end.outcome = Some(Outcome::Lonely);
            end.closed = true;
            end.conn
        };
        if let Some(conn) = conn {
            cx.abort(conn);
            cx.close(conn);
        }
    }
}
