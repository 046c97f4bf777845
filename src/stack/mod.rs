//! All that one queue owns: tables, wheels, neighbours, and the application. Sans-IO: frames and time go in, frames come
//! out.
//!
//! A turn of the worker calls, in this order: [`Stack::expect`], [`Stack::on_frame`] for each frame of a burst,
//! [`Stack::on_timers`], [`Stack::poll_transmit`]. In between the application is called back; whatever it does leaves
//! with the same turn.
//!
//! # What is where
//!
//! *The line*, in the order of a frame's way: `input` parses, looks up and hands on, `syn` decides on what asks a listener, `output`
//! sends what is due; `shard` holds the tables together: there alone entries come, change phase and go.
//!
//! *Tables*: [`flow_index`] finds an entry by its tuple, hashed by `flow_hash`, in parts that `spiral` tells; connections and
//! half-open entries (`half_open_slot`) stand in a [`slab`], TIME-WAIT entries in their order in a [`time_wait_table`]. `locals`
//! and `senders` number our addresses and SYNs' stations for entries that must be small. [`wheel`] holds the timers of
//! connections and half-open entries, `timer_queue` those of the application.
//!
//! *The network*: [`neighbours`] knows who is at which Ethernet address, `routes` who takes a packet next, `path_mtu` what the way
//! carries, `own_link` what changes on our side; `active_open` chooses the tuple of an active open, with a port that `ports`
//! gives; [`steering`] says which worker owns a flow.
//!
//! *Defence*: `defence` goes up and down the steps against SYN floods; `cookies` answers without an entry, `strays` is for what
//! may have overtaken a cookie; `budget` is what one prefix may take, `rate` what strangers may make us send; `idle` ends
//! connections that are hardly used, `shedding` says what goes first when the tables' memory runs short, `hunger` who gives
//! back when the buffers do.
//!
//! *For others*: `app` is what an application implements and `cx` what it may do, `config` what is told at start, `report` the
//! snapshot for `stats`, `invariants` what must hold, for simulation and fuzzing.
#![forbid(unsafe_code)]

mod active_open;
mod app;
mod budget;
mod config;
mod cookies;
mod cx;
mod defence;
mod filter_walk;
mod flow_hash;
pub mod flow_index;
mod half_open_slot;
mod hunger;
mod idle;
mod input;
mod invariants;
mod locals;
pub mod neighbours;
mod output;
mod own_link;
mod path_mtu;
mod ports;
mod rate;
mod report;
mod routes;
mod senders;
mod shard;
mod shedding;
pub mod slab;
mod soft_errors;
mod spiral;
pub mod steering;
mod strays;
mod syn;
pub mod time_wait_table;
mod timer_queue;
pub mod wheel;

pub use crate::tcp::{TcpConfig, Transition};
pub use app::{App, ConnId, Connect, ConnectError, SendError};
pub use config::{
    CookieKeys, DefenceConfig, Limits, LocalAddr, Ownership, Route, RxChecksum, Secrets, StackConfig, SynDefence,
};
pub use cx::{Cx, TupleRoom};
pub use defence::{Step, Switch};
pub use invariants::Standing;
pub use locals::MOST_ADDRESSES;
pub use output::Transmit;
pub use routes::{MOST_ROUTES, Routes};

use crate::ledger::{DropReason, HalfOpenEnding, Handled};
use crate::outpost::{Outpost, SharedMemory};
use crate::stats::Snapshot;
use crate::tcp::timer::is_due;
use crate::tcp::{Facts, News, buffer};
use crate::time::{Duration, Instant};
use crate::wire::frame::TxChecksum;
use crate::wire::{Addr, MacAddr};
use neighbours::{Learn, Station};
use own_link::Announcer;
pub(crate) use shard::EXPECTED;
use shard::Shard;
use steering::{Search, Share};

/// Timers of each kind that one turn sees to, so that no storm of them holds up the frames.
const TIMERS_PER_TURN: usize = 1024;

/// A shard and its application.
pub struct Stack<A: App> {
    shard: Shard,
    app: A,
    announcer: Announcer,
}

impl<A: App> Stack<A> {
    /// An empty shard with its listeners open, whose clock stands at `now`; tells the application that it is up.
    pub fn new(config: StackConfig, app: A, now: Instant) -> Self {
        Self::sharing(config, Share::whole(), app, now)
    }

    /// As [`Stack::new`], for one of several stacks that have their addresses in common.
    pub fn sharing(config: StackConfig, share: Share, app: A, now: Instant) -> Self {
        let mut stack = Stack { shard: Shard::new(config, share, now), app, announcer: Announcer::default() };
        stack.app.on_start(&mut Cx { shard: &mut stack.shard });
        stack
    }

    /// The application.
    pub fn app(&self) -> &A {
        &self.app
    }

    /// The application; what it is told to do here takes effect with the next callback.
    pub fn app_mut(&mut self) -> &mut A {
        &mut self.app
    }

    /// The application, and what was recorded of the traced connections.
    pub fn into_parts(self) -> (A, Vec<Transition>) {
        (self.app, self.shard.env.gauges.trace().to_vec())
    }

    /// The frames of a burst before the first is processed: their headers, and what up to 64 of them will need of large
    /// tables, are asked of memory for all at a time, rather than waited for one by one.
    #[inline]
    pub fn expect<'a>(&self, frames: impl Iterator<Item = &'a [u8]> + Clone) {
        self.shard.expect(frames);
    }

    /// Processes the first `len` octets of `buffer` as a received frame, and says what is to be done with it.
    pub fn on_frame(&mut self, now: Instant, buffer: &mut [u8], len: usize) -> Disposition {
        let what = self.shard.on_frame(now, buffer, len);
        self.let_read();
        what
    }

    /// As [`Stack::on_frame`], for a frame that another worker handed over in this search.
    pub fn on_taken_frame(&mut self, now: Instant, buffer: &mut [u8], len: usize, search: Search) -> Disposition {
        let what = self.shard.on_taken_frame(now, buffer, len, search);
        self.let_read();
        what
    }

    /// The other worker got a copy of the frame; or, `false`, there was no room for it.
    pub fn on_handed_over(&mut self, given: bool) {
        self.shard.env.ledger.outcome(if given { Ok(Handled::HandedOver) } else { Err(DropReason::HandOverFull) });
    }

    /// Takes out a neighbour's address that came in here, to be told to the other workers: an answer comes to one worker,
    /// whoever asked.
    pub fn take_heard(&mut self) -> Option<(Addr, Station)> {
        self.shard.heard.pop_front()
    }

    /// So many of the other workers had no room to be told what was taken out.
    pub fn on_untold(&mut self, workers: u64) {
        self.shard.env.ledger.refused.neighbour_news += workers;
    }

    /// A neighbour's address that came in at another worker.
    pub fn on_heard(&mut self, now: Instant, addr: Addr, station: Station) {
        self.shard.env.set_now(now);
        self.shard.learn(addr, station, Learn::Update);
    }

    /// A reply of so many octets was queued; or, `None`, there was no room for it.
    pub fn on_sent(&mut self, octets: Option<usize>) {
        match octets {
            Some(octets) => {
                self.shard.env.ledger.frames_sent += 1;
                self.shard.env.ledger.bytes_sent += octets as u64;
            }
            None => self.shard.env.ledger.refused.tx_frames += 1,
        }
    }

    /// Tells the application all that has happened, then sees to the timers that are due, and tells again.
    pub fn on_timers(&mut self, now: Instant) {
        self.shard.env.set_now(now);
        self.tell();
        self.tell_soft_errors();
        let shard = &mut self.shard;
        shard.tend_outpost();
        shard.make_room();
        shard.feed_starved();
        shard.end_idle();
        let tick = now.as_millis() as u32;
        for _ in 0..TIMERS_PER_TURN {
            let Some(place) = shard.half_open_wheel.pop_due(&mut shard.half_open, tick) else { break };
            shard.on_half_open_timer(place);
        }
        for _ in 0..TIMERS_PER_TURN {
            let Some(index) = shard.wheel.pop_due(&mut shard.connections, tick) else { break };
            if let Some(tcb) = shard.connections.get_mut(index) {
                tcb.on_timer(&mut shard.env);
            }
            shard.settle(index);
        }
        shard.expire_time_wait();
        for _ in 0..TIMERS_PER_TURN {
            let Some(token) = self.shard.app_timers.pop_due(now) else { break };
            self.app.on_timer(&mut Cx { shard: &mut self.shard }, token);
        }
        self.tell();
    }

    /// Sends all that is due, as far as there is room; says whether anything is left for the next turn.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut impl Transmit) -> bool {
        let shard = &mut self.shard;
        let mut counting = Counting { out, frames: 0, octets: 0 };
        self.announcer.poll_transmit(now, &shard.routes, shard.config.mac, &mut counting);
        let left = shard.poll_transmit(now, &mut counting);
        shard.env.ledger.frames_sent += counting.frames;
        shard.env.ledger.bytes_sent += counting.octets;
        left
    }

    /// A message for the application.
    pub fn on_message(&mut self, now: Instant, message: A::Message) {
        self.shard.env.set_now(now);
        self.app.on_message(&mut Cx { shard: &mut self.shard }, message);
        self.tell();
    }

    /// A neighbour as the host knows it.
    pub fn on_neighbour(&mut self, now: Instant, addr: Addr, mac: MacAddr) {
        self.shard.env.set_now(now);
        self.shard.learn(addr, Station { mac, vlan: None }, Learn::Enter);
    }

    /// Our link has this Ethernet address and MTU from now on. With `announces` the neighbours are told the address, where our
    /// own are ours alone; of several workers that have these in common one does that.
    pub fn on_link(&mut self, now: Instant, mac: MacAddr, mtu: u16, announces: bool) {
        if announces && self.shard.config.ownership == Ownership::Exclusive {
            self.announcer.restart(now);
        }
        self.shard.on_link(mac, mtu);
    }

    /// Stops accepting and closes what is open, each with a FIN.
    pub fn drain(&mut self, now: Instant) {
        self.shard.env.set_now(now);
        self.shard.stop_listening();
        self.app.on_drain(&mut Cx { shard: &mut self.shard });
        for conn in self.give_up_handshakes() {
            Cx { shard: &mut self.shard }.shutdown(conn);
        }
        self.tell();
    }

    /// Closes the listeners, and resets every connection that still lives.
    pub fn abort_all(&mut self, now: Instant) {
        self.shard.env.set_now(now);
        self.shard.stop_listening();
        for conn in self.give_up_handshakes() {
            Cx { shard: &mut self.shard }.abort(conn);
            Cx { shard: &mut self.shard }.close(conn);
        }
        self.tell();
    }

    /// Ends every half-open entry; gives the connections that are there.
    fn give_up_handshakes(&mut self) -> Vec<ConnId> {
        let half_open: Vec<u32> = self.shard.half_open.indices().collect();
        for place in half_open {
            self.shard.end_half_open(place, HalfOpenEnding::Evicted);
        }
        self.shard.connections.indices().map(|index| self.shard.id(index)).collect()
    }

    /// Gives up what would outlive the process; the ledger must balance then.
    pub fn finish(&mut self, now: Instant) {
        self.shard.env.set_now(now);
        self.shard.evict_time_wait();
    }

    /// Whether no connection lives.
    pub fn is_idle(&self) -> bool {
        self.shard.connections.len() == 0 && self.shard.half_open.len() == 0
    }

    /// Whether the application asked to end.
    pub fn is_stopping(&self) -> bool {
        self.shard.stopping
    }

    /// When [`Stack::on_timers`] must be called next, if nothing arrives before.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let shard = &self.shard;
        let tick = now.as_millis() as u32;
        let at =
            |due: u32| now + Duration::from_millis(if is_due(due, tick) { 0 } else { due.wrapping_sub(tick) }.into());
        let wheels = [shard.half_open_wheel.next_due(), shard.wheel.next_due()];
        let time_wait = [shard.time_wait_v4.next_due_ms(), shard.time_wait_v6.next_due_ms()];
        let building = shard.outpost.as_ref().is_some_and(Outpost::is_building).then_some(now);
        let defence = shard.defence.next_due().into_iter().chain(building);
        let fed = shard.can_feed().then_some(now).into_iter().chain(shard.next_idle_look(now));
        let fed = fed.chain(self.announcer.due());
        let waits = time_wait.into_iter().flatten().map(Instant::from_millis);
        wheels.into_iter().flatten().map(at).chain(waits).chain(shard.app_timers.next()).chain(fed).chain(defence).min()
    }

    /// Whether not one TCP segment had a right checksum, and there were some: then it is the link, not the segments.
    pub fn sees_only_bad_checksums(&self) -> bool {
        let ledger = &self.shard.env.ledger;
        let bad = ledger.dropped.of(DropReason::TcpChecksum);
        let answered = [Handled::Segment, Handled::SynReceived, Handled::AnsweredByReset, Handled::HandedOver];
        let judged = [DropReason::OutOfWindow, DropReason::NoCookie, DropReason::ResetIgnored];
        bad >= 2
            && answered.into_iter().all(|outcome| ledger.handled.of(outcome) == 0)
            && judged.into_iter().all(|reason| ledger.dropped.of(reason) == 0)
    }

    /// Memory shared with an XDP program that can answer SYNs for this stack.
    pub fn set_outpost(&mut self, memory: SharedMemory) {
        self.shard.outpost = Some(Outpost::new(memory));
    }

    /// Who finishes the TCP checksums of what is sent; we do unless told.
    pub fn set_tx_checksum(&mut self, checksum: TxChecksum) {
        self.shard.tx_checksum = checksum;
    }

    /// Other keys for SYN cookies.
    pub fn rekey_cookies(&mut self, keys: &CookieKeys) {
        self.shard.rekey_cookies(keys);
    }

    /// The last switch of the defence against SYN floods that was not taken yet, for the log.
    pub fn take_switch(&mut self) -> Option<Switch> {
        self.shard.defence.take_switch()
    }

    /// Counters and gauges as they stand.
    pub fn snapshot(&self) -> Snapshot {
        self.shard.snapshot()
    }

    /// When what came with this burst holds the last block, the application is told before the turn's end: it may read,
    /// and who comes last in every burst would else find no room in any.
    #[inline]
    fn let_read(&mut self) {
        if self.shard.env.pools.blocks.is_out_of(buffer::Share::Receive) && !self.shard.telling.is_empty() {
            self.tell();
        }
    }

    /// Calls the application back until nothing is left to tell; what it does may add to that.
    fn tell(&mut self) {
        let mut at = 0;
        while let Some(index) = self.shard.telling.get(at) {
            self.tell_one(*index);
            at += 1;
        }
        self.shard.telling.clear();
    }

    fn tell_soft_errors(&mut self) {
        while let Some((conn, error)) = self.shard.soft_errors.pop_front() {
            // It may have ended since, and the application know that, while its last segment has not left.
            if self.shard.tcb(conn).is_some_and(|tcb| tcb.ending.is_none() && tcb.has_reader()) {
                self.app.on_soft_error(&mut Cx { shard: &mut self.shard }, conn, error);
            }
        }
    }

    fn tell_one(&mut self, index: u32) {
        let Some(tcb) = self.shard.connections.get_mut(index) else { return };
        tcb.facts.clear(Facts::TELLING);
        let news = std::mem::take(&mut tcb.news);
        let conn = self.shard.id(index);
        if !news.is_empty() {
            self.shard.tend_path_mtu(index, news);
            self.tell_news(conn, news);
        }
        let Some(tcb) = self.shard.connections.get_mut(index) else { return };
        let Some(ending) = tcb.ending else { return };
        // Data that came before an orderly end is there until it is read or the application closes.
        if tcb.facts.has(Facts::TOLD) || (tcb.readable() > 0 && tcb.has_reader()) {
            return;
        }
        tcb.facts.set(Facts::TOLD);
        tcb.facts.clear(Facts::TELLING);
        self.app.on_closed(&mut Cx { shard: &mut self.shard }, conn, ending);
        self.shard.free_if_done(index);
    }

    #[inline]
    fn tell_news(&mut self, conn: ConnId, news: News) {
        let mut cx = Cx { shard: &mut self.shard };
        if news.has(News::ACCEPTED) {
            self.app.on_accept(&mut cx, conn);
        }
        if news.has(News::CONNECTED) {
            self.app.on_connect(&mut cx, conn);
        }
        if news.has(News::READABLE) && cx.hears(conn) {
            self.app.on_readable(&mut cx, conn);
        }
        if news.has(News::WRITABLE) && cx.hears(conn) {
            self.app.on_writable(&mut cx, conn);
        }
        if news.has(News::HALF_CLOSED) && cx.hears(conn) {
            self.app.on_half_close(&mut cx, conn);
        }
    }
}

/// What is to be done with a frame that the stack has processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Disposition {
    /// Nothing: its memory is free.
    Consumed,
    /// A reply of so many octets stands in its place: it is to be sent, and then told by [`Stack::on_sent`].
    Reply(usize),
    /// It is of a flow of another worker, or may be: a copy is to be handed there; then tell by [`Stack::on_handed_over`].
    HandOver(Search),
}

impl Disposition {
    /// The length of the reply, if there is one.
    pub fn reply(self) -> Option<usize> {
        if let Disposition::Reply(len) = self { Some(len) } else { None }
    }
}

/// Counts what leaves.
struct Counting<'a, T> {
    out: &'a mut T,
    frames: u64,
    octets: u64,
}

impl<T: Transmit> Transmit for Counting<'_, T> {
    fn transmit(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let mut octets = 0;
        let sent = self.out.transmit(|buffer| {
            octets = write(buffer);
            octets
        });
        self.frames += u64::from(sent);
        self.octets += if sent { octets as u64 } else { 0 };
        sent
    }
}
