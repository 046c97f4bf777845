//! The transmission control block of a connection: its hot part, one pair of cache lines (RFC 9293 §3.3.1).

use super::env::Env;
use super::negotiation::Negotiated;
use super::state::{Event, State};
use super::timer::Link;
use super::transfer::{Pools, Transfer};
use super::{TcpConfig, half_open::HalfOpen};
use crate::ledger::Ending;
use crate::wire::{FourTuple, SeqNum};

/// A set of yes-or-no facts about a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts(u32);

#[allow(missing_docs)]
impl Facts {
    /// Timestamps were negotiated (RFC 7323 §3.2).
    pub const TIMESTAMPS: u32 = 1 << 0;
    /// SACK was negotiated (RFC 2018 §2).
    pub const SACK: u32 = 1 << 1;
    /// We opened it.
    pub const ACTIVE: u32 = 1 << 2;
    /// A SYN, or in SYN-RECEIVED a SYN-ACK, must leave.
    pub const SYN_DUE: u32 = 1 << 3;
    /// An acknowledgement must leave with this turn.
    pub const ACK_NOW: u32 = 1 << 4;
    /// The application will send nothing more.
    pub const FIN_QUEUED: u32 = 1 << 5;
    /// Our FIN was sent at least once: it is the last octet before SND.NXT.
    pub const FIN_SENT: u32 = 1 << 6;
    /// Our FIN must be sent again, on its own.
    pub const FIN_LOST: u32 = 1 << 7;
    /// A RST must leave, and is the last thing that does.
    pub const RST_DUE: u32 = 1 << 8;
    /// The application has closed for good: nobody reads what comes.
    pub const APP_CLOSED: u32 = 1 << 9;
    /// A write was cut short: tell when there is room.
    pub const WRITE_SHORT: u32 = 1 << 10;
    /// The retransmission (or persist, or orphan) timer runs.
    pub const TIMER: u32 = 1 << 11;
    /// A zero-window probe must leave.
    pub const PROBE_DUE: u32 = 1 << 12;
    /// The SYN or SYN-ACK was sent more than once.
    pub const SYN_RESENT: u32 = 1 << 13;
    /// Waits in the shard's list of connections with something to send.
    pub const READY: u32 = 1 << 14;
    /// Waits in the shard's list of connections with something to tell.
    pub const TELLING: u32 = 1 << 15;
    /// The application knows that it is over.
    pub const TOLD: u32 = 1 << 16;
    /// The shard's index finds it no more.
    pub const UNINDEXED: u32 = 1 << 17;
    /// On entering TIME-WAIT: the peer's FIN is still to be acknowledged.
    pub const LAST_ACK_DUE: u32 = 1 << 18;
    /// Waits for a neighbour's Ethernet address.
    pub const RESOLVING: u32 = 1 << 19;
    /// The running timer is the probe timeout of a tail loss (RFC 8985 §7), not the retransmission timeout.
    pub const PROBE_TIMER: u32 = 1 << 20;
    /// A tail-loss probe must leave.
    pub const TAIL_DUE: u32 = 1 << 21;
    /// ECN was negotiated (RFC 3168 §6.1.1).
    pub const ECN: u32 = 1 << 22;
    /// A segment came with a congestion mark: every ACK says so (ECE) until the peer has answered (CWR).
    pub const MARKED: u32 = 1 << 23;
    /// The next new data tells that the window was reduced (CWR).
    pub const REDUCED: u32 = 1 << 24;
    /// The peer is asked for a sign of life when the connection is idle (RFC 9293 §3.8.4).
    pub const KEEP_ALIVE: u32 = 1 << 25;
    /// A keep-alive probe must leave.
    pub const ALIVE_DUE: u32 = 1 << 26;
    /// Small segments do not wait for an acknowledgement (RFC 9293 §3.7.4).
    pub const NO_DELAY: u32 = 1 << 27;
    /// A write was cut short because the pool of buffers was empty.
    pub const STARVED: u32 = 1 << 28;
    /// For that it waits in the shard's list.
    pub const HUNGRY: u32 = 1 << 30;
    /// The congestion window was below an initial one when the transfer was given back for want of use: the next begins
    /// with one segment (RFC 5681 §4.1: no more than min(IW, CWND)).
    pub const SMALL_WINDOW: u32 = 1 << 29;

    /// The shard counts it among its orphans.
    pub const ORPHAN: u32 = 1 << 31;

    /// Whether any of `fact` is set.
    #[inline]
    pub fn has(self, fact: u32) -> bool {
        self.0 & fact != 0
    }

    #[inline]
    pub fn set(&mut self, fact: u32) {
        self.0 |= fact;
    }

    #[inline]
    pub fn clear(&mut self, fact: u32) {
        self.0 &= !fact;
    }

    #[inline]
    pub fn put(&mut self, fact: u32, on: bool) {
        if on { self.set(fact) } else { self.clear(fact) }
    }

    /// Clears a fact and says whether it was set.
    #[inline]
    pub fn take(&mut self, fact: u32) -> bool {
        let was = self.has(fact);
        self.clear(fact);
        was
    }
}

/// What the application has yet to be told about a connection, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct News(u8);

#[allow(missing_docs)]
impl News {
    pub const ACCEPTED: u8 = 1 << 0;
    pub const CONNECTED: u8 = 1 << 1;
    pub const READABLE: u8 = 1 << 2;
    pub const WRITABLE: u8 = 1 << 3;
    pub const HALF_CLOSED: u8 = 1 << 4;
    /// For the shard, not the application: the path is known to carry no more than segments of SMSS.
    pub const PATH: u8 = 1 << 5;

    #[inline]
    pub fn add(&mut self, news: u8) {
        self.0 |= news;
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub fn has(self, news: u8) -> bool {
        self.0 & news != 0
    }
}

/// A transmission control block. Field names are those of RFC 9293 §3.3.1.
#[derive(Debug)]
#[repr(align(64))]
pub struct Tcb {
    pub(crate) tuple: FourTuple,
    pub(crate) state: State,
    /// Shifts of SEG.WND, the peer's in the upper four bits, ours in the lower four (RFC 7323 §2).
    pub(crate) shifts: u8,
    pub(crate) facts: Facts,
    pub(crate) news: News,
    /// How it ended; it is out of the flow index then, and waits only for the application to be told.
    pub(crate) ending: Option<Ending>,
    /// R2 of this connection in units of 2 s; 0: as configured (RFC 9293 §3.8.3, MUST-21).
    pub(crate) patience: u8,
    /// Timeouts in a row: the exponent of the retransmission timer.
    pub(crate) backoff: u8,
    /// Of those, the ones since the peer was last heard.
    pub(crate) unanswered: u8,
    /// Challenge ACKs sent in the current window of time, and when it began, in units of 64 ms.
    pub(crate) challenges: u8,
    pub(crate) challenged_at: u16,
    /// Largest text that the peer and the path take, before options (RFC 9293 §3.7.1).
    pub(crate) smss: u16,
    /// Retransmission timeout without backoff, in milliseconds.
    pub(crate) rto_ms: u16,
    pub(crate) snd_una: SeqNum,
    pub(crate) snd_nxt: SeqNum,
    pub(crate) snd_wnd: u32,
    pub(crate) snd_wl1: SeqNum,
    pub(crate) snd_wl2: SeqNum,
    /// Largest window that the peer ever offered (RFC 5961 §5.2, MAX.SND.WND).
    pub(crate) max_snd_wnd: u32,
    pub(crate) rcv_nxt: SeqNum,
    /// Right edge of the window that we have offered; never moves left (RFC 9293 §3.8.6, SHLD-14).
    pub(crate) rcv_adv: SeqNum,
    /// Last.ACK.sent (RFC 7323 §4.3).
    pub(crate) last_ack_sent: SeqNum,
    /// TS.Recent (RFC 7323 §4.3).
    pub(crate) ts_recent: u32,
    /// When TS.Recent was set, in units of 2^16 ms.
    pub(crate) ts_recent_at: u16,
    /// Added to our millisecond clock to make TSval.
    pub(crate) ts_offset: u32,
    /// When the retransmission (or persist, or orphan) timer runs out, in ticks; while [`Facts::TIMER`].
    pub(crate) timer_at: u32,
    /// The application's word.
    pub(crate) token: u32,
    /// Place in the timer wheel.
    pub(crate) link: Link,
    /// Buffers and what is in flight, while data is under way.
    pub(crate) transfer: Option<Box<Transfer>>,
}

/// The hot part of a connection: two cache lines.
const _: () = assert!(size_of::<Tcb>() == 128);

impl Tcb {
    /// What a place is filled with where a connection is to stand, which is then opened there: moving one that was just
    /// written costs more than writing it, as wide loads wait until all narrow stores before them have left for the cache.
    pub(crate) const UNOPENED: Tcb = Tcb {
        tuple: FourTuple::wildcard(0),
        state: State::Closed,
        shifts: 0,
        facts: Facts(0),
        news: News(0),
        ending: None,
        patience: 0,
        backoff: 0,
        unanswered: 0,
        challenges: 0,
        challenged_at: 0,
        smss: 536,
        rto_ms: 1_000,
        snd_una: SeqNum(0),
        snd_nxt: SeqNum(0),
        snd_wnd: 0,
        snd_wl1: SeqNum(0),
        snd_wl2: SeqNum(0),
        max_snd_wnd: 0,
        rcv_nxt: SeqNum(0),
        rcv_adv: SeqNum(0),
        last_ack_sent: SeqNum(0),
        ts_recent: 0,
        ts_recent_at: 0,
        ts_offset: 0,
        timer_at: 0,
        token: 0,
        link: Link::UNARMED,
        transfer: None,
    };

    /// An active open (RFC 9293 §3.10.1): in SYN-SENT, its SYN due. `mss` is what we can receive. The tuple stands.
    pub(crate) fn open(&mut self, iss: SeqNum, ts_offset: u32, mss: u16, env: &mut Env) {
        (self.snd_una, self.snd_nxt) = (iss, iss);
        self.change_state(Event::ActiveOpen, env);
        self.facts.set(Facts::ACTIVE | Facts::SYN_DUE);
        self.ts_offset = ts_offset;
        self.smss = mss;
        self.rto_ms = env.first_rto_ms;
        self.arm(env);
    }

    /// Becomes the connection of a half-open entry, when the last ACK of its handshake arrives; that segment is still to be
    /// processed. The state stays SYN-RECEIVED until then. The tuple stands.
    pub(crate) fn open_from(&mut self, entry: &HalfOpen, ts_offset: u32, env: &Env) {
        self.state = State::SynReceived;
        (self.snd_una, self.snd_nxt) = (entry.iss, entry.iss + 1);
        self.ts_offset = ts_offset;
        self.negotiated(&entry.negotiated(), entry.irs, env);
        self.rto_ms = env.first_rto_ms;
        self.facts.put(Facts::SYN_RESENT, entry.resent() > 0);
    }

    /// Takes over what the peer's SYN told.
    pub(crate) fn negotiated(&mut self, agreed: &Negotiated, irs: SeqNum, env: &Env) {
        self.rcv_nxt = irs + 1;
        self.rcv_adv = self.rcv_nxt + u32::from(env.syn_window);
        self.last_ack_sent = self.rcv_nxt;
        self.smss = agreed.smss;
        self.facts.put(Facts::SACK, agreed.sack_permitted);
        self.facts.put(Facts::ECN, agreed.ecn);
        self.facts.put(Facts::KEEP_ALIVE, env.config.keep_alive.is_some());
        self.facts.put(Facts::NO_DELAY, !env.config.nagle);
        if let Some(shift) = agreed.window_scale {
            self.shifts = shift << 4 | env.window_shift;
        }
        if let Some(ts_recent) = agreed.ts_recent {
            self.facts.set(Facts::TIMESTAMPS);
            self.ts_recent = ts_recent;
            self.ts_recent_at = (env.tick() >> 16) as u16;
        }
    }

    /// Makes a move of the state table.
    pub(crate) fn change_state(&mut self, event: Event, env: &mut Env) {
        env.gauges.transition(&mut self.state, event, &self.tuple, env.now());
    }

    /// Ends the connection: CLOSED, and the application will be told.
    pub(crate) fn end(&mut self, event: Event, ending: Ending, env: &mut Env) {
        self.change_state(event, env);
        self.over(ending, env);
    }

    /// The connection is over; its state is left behind already. Unread data survives only an orderly end.
    pub(crate) fn over(&mut self, ending: Ending, env: &mut Env) {
        debug_assert!(self.ending.is_none(), "a connection ends once");
        self.ending = Some(ending);
        env.ledger.endings.count(ending);
        env.pools.hungry -= u32::from(self.facts.take(Facts::HUNGRY));
        self.facts.clear(
            Facts::TIMER
                | Facts::TAIL_DUE
                | Facts::ALIVE_DUE
                | Facts::ACK_NOW
                | Facts::SYN_DUE
                | Facts::FIN_LOST
                | Facts::PROBE_DUE
                | Facts::STARVED,
        );
        let keep = ending == Ending::Closed && !self.facts.has(Facts::APP_CLOSED) && self.readable() > 0;
        if !keep {
            self.drop_transfer(&mut env.pools);
        }
    }

    /// Gives the buffers back.
    pub(crate) fn drop_transfer(&mut self, pools: &mut Pools) {
        if let Some(transfer) = self.transfer.take() {
            pools.give(transfer);
        }
    }

    /// The transfer, made if there is none.
    pub(crate) fn transfer_mut(&mut self, pools: &mut Pools, config: &TcpConfig) -> &mut Transfer {
        let smss = u32::from(self.smss);
        let facts = &mut self.facts;
        self.transfer.get_or_insert_with(|| {
            // The lost SYN counts for the first window only (RFC 5681 §3.1).
            let lost = facts.take(Facts::SYN_RESENT | Facts::SMALL_WINDOW);
            let mut transfer = pools.take();
            transfer.congestion = super::congestion::Congestion::new(config.congestion, smss, lost);
            transfer
        })
    }

    /// Octets that the application can read.
    pub(crate) fn readable(&self) -> usize {
        self.transfer.as_ref().map_or(0, |t| t.recv.len())
    }

    /// Octets queued that were never sent.
    pub(crate) fn unsent(&self) -> u32 {
        let queued = self.transfer.as_ref().map_or(0, |t| t.send.len() as u32);
        queued - self.data_in_flight()
    }

    /// Octets of data in flight: SYN and FIN do not count.
    pub(crate) fn data_in_flight(&self) -> u32 {
        let syn = u32::from(!self.state.is_synchronized() && self.snd_nxt != self.snd_una);
        let fin = u32::from(self.facts.has(Facts::FIN_SENT) && self.snd_nxt != self.snd_una);
        self.snd_nxt.distance_from(self.snd_una) - syn - fin
    }

    /// Whether something was sent and not acknowledged.
    pub(crate) fn outstanding(&self) -> bool {
        self.snd_nxt != self.snd_una
    }

    /// Whether it lives though the application has closed it for good: only our FIN and the peer's are waited for.
    #[inline]
    pub(crate) fn is_orphan(&self) -> bool {
        self.facts.has(Facts::APP_CLOSED) && self.ending.is_none()
    }

    /// Whether an entry of the TIME-WAIT table is to take its place.
    #[inline]
    pub(crate) fn retires(&self) -> bool {
        self.state == State::TimeWait && self.ending.is_none()
    }

    /// Whether the application will hear of what comes.
    pub(crate) fn has_reader(&self) -> bool {
        !self.facts.has(Facts::APP_CLOSED)
    }

    /// The shift of windows that we receive.
    pub(crate) fn peer_shift(&self) -> u32 {
        u32::from(self.shifts >> 4)
    }

    /// The shift of windows that we send.
    pub(crate) fn our_shift(&self) -> u32 {
        u32::from(self.shifts & 0xf)
    }

    /// Our TSval now: a millisecond clock with an offset of its own (RFC 7323 §5.4).
    pub(crate) fn tsval(&self, env: &Env) -> u32 {
        env.tick().wrapping_add(self.ts_offset)
    }

    /// Whether the shard must deal with it: something is to be told, or it is over.
    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty() || self.ending.is_some()
    }
}

/// The window of a SYN: never scaled (RFC 7323 §2.2), but one that the segments after it can express as well, so that
/// none of them takes back what another offered.
pub(crate) fn syn_window(config: &TcpConfig) -> u16 {
    let shift = window_shift(config);
    config.recv_buffer.min(u32::from(u16::MAX)) as u16 >> shift << shift
}

/// The least shift with which the whole receive buffer can be offered.
pub(crate) fn window_shift(config: &TcpConfig) -> u8 {
    let bits = u32::BITS - config.recv_buffer.leading_zeros();
    bits.saturating_sub(u16::BITS).min(14) as u8
}
