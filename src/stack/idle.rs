//! Peers that hold a connection and hardly use it: who opens and says nothing, reads nothing, or moves an octet now and
//! then. Where an idle limit is asked for, a connection on which too little gets on is reset.
//!
//! Nothing is noted on the path of segments: places of the connection table are visited in rounds, an eighth of the limit
//! apart, and what got on is what RCV.NXT and SND.UNA have advanced since the last mark. Beside the table stand 12 octets
//! for each place of it.

use super::shard::Shard;
use crate::ledger::Ending;
use crate::tcp::{LONGEST_TIMER, Tcb};
use crate::time::Instant;

/// Places of the connection table that one turn looks at.
const SEEN_PER_TURN: u32 = 1_024;
/// Rounds within the limit.
const ROUNDS: u64 = 8;

/// How far a connection had come, and when.
#[derive(Clone, Copy, Default)]
struct Mark {
    generation: u32,
    /// RCV.NXT and SND.UNA, added up.
    moved: u32,
    /// In ticks.
    at: u32,
}

/// The watch over a connection table.
#[derive(Default)]
pub struct IdleWatch {
    marks: Vec<Mark>,
    /// Where the round goes on; `None`: it is over.
    cursor: Option<u32>,
    next_round_ms: u64,
}

impl IdleWatch {
    /// Whether the connection moved fewer than `least` octets within `limit_ms`.
    fn is_idle(&mut self, place: u32, generation: u32, tcb: &Tcb, tick: u32, limit_ms: u32, least: u32) -> bool {
        if self.marks.len() <= place as usize {
            self.marks.resize(place as usize + 1, Mark::default());
        }
        let moved = tcb.rcv_nxt.0.wrapping_add(tcb.snd_una.0);
        let mark = &mut self.marks[place as usize];
        // A generation begins at 0, as an unused mark does: that has seen nobody.
        let is_new = mark.generation != generation.wrapping_add(1);
        if is_new || moved.wrapping_sub(mark.moved) >= least {
            *mark = Mark { generation: generation.wrapping_add(1), moved, at: tick };
            return false;
        }
        tick.wrapping_sub(mark.at) >= limit_ms
    }
}

impl Shard {
    /// Visits some places, if it is time; resets the connections there on which too little got on.
    pub fn end_idle(&mut self) {
        let Some(limit) = self.env.config.idle_limit else { return };
        let limit_ms = limit.min(LONGEST_TIMER).as_millis() as u64;
        if self.idle_watch.cursor.is_none() && self.env.now_ms() >= self.idle_watch.next_round_ms {
            self.idle_watch.next_round_ms = self.env.now_ms() + (limit_ms / ROUNDS).max(1);
            self.idle_watch.cursor = Some(0);
        }
        let Some(start) = self.idle_watch.cursor else { return };
        let end = self.connections.end();
        let stop = (start + SEEN_PER_TURN).min(end);
        for place in start..stop {
            self.end_if_idle(place, limit_ms as u32);
        }
        self.idle_watch.cursor = (stop < end).then_some(stop);
    }

    fn end_if_idle(&mut self, place: u32, limit_ms: u32) {
        let generation = self.connections.generation(place);
        let least = self.env.config.idle_octets.max(1);
        let Some(tcb) = self.connections.get_mut(place) else { return };
        // Orphans have a rule of their own, and so has a handshake.
        if tcb.ending.is_some() || tcb.is_orphan() || !tcb.state.is_synchronized() {
            return;
        }
        let tick = self.env.tick();
        if self.idle_watch.is_idle(place, generation, tcb, tick, limit_ms, least) {
            tcb.abort(Ending::TimedOut, &mut self.env);
            self.env.ledger.idle_ended += 1;
            self.settle(place);
        }
    }

    /// When [`Shard::end_idle`] has something to do next.
    pub fn next_idle_look(&self, now: Instant) -> Option<Instant> {
        self.env.config.idle_limit.filter(|_| self.connections.len() > 0)?;
        let next = Instant::from_millis(self.idle_watch.next_round_ms);
        Some(if self.idle_watch.cursor.is_some() { now } else { next })
    }
}
