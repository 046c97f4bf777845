//! Connections: entered, settled after each change, and left when they are over.

use super::Shard;
use crate::ledger::Ending;
use crate::stack::app::ConnId;
use crate::stack::flow_index::{Flow, Phase};
use crate::stack::input::INDEXED;
use crate::stack::shedding::Newcomer;
use crate::tcp::state::StateGauges;
use crate::tcp::time_wait::TimeWait;
use crate::tcp::{Facts, Tcb};
use crate::wire::{FourTuple, SeqNum};

impl Shard {
    /// Whether one more connection finds room, for which others may have to give way; `from` is the half-open entry that it
    /// comes from.
    pub fn has_room_for_connection(&mut self, from: Option<u32>) -> bool {
        !self.connections.is_full() && self.make_room_for(Newcomer::Connection { from })
    }

    /// Enters a connection that we open. The caller has looked for room.
    pub fn open_connection(&mut self, tuple: &FourTuple, iss: SeqNum, ts_offset: u32, our_mss: u16) -> u32 {
        let index = self.enter_connection(self.index.hash(tuple), tuple);
        let tcb = self.connections.get_mut(index).expect(INDEXED);
        tcb.open(iss, ts_offset, our_mss, &mut self.env);
        self.env.ledger.opened_active += 1;
        index
    }

    /// Enters a connection that comes from no other table, and is to be opened. The caller has looked for room.
    pub fn enter_connection(&mut self, hash: u64, tuple: &FourTuple) -> u32 {
        let index = self.place_connection(tuple);
        self.note_flow(tuple);
        self.enter(hash, Flow::new(Phase::Connection, index));
        index
    }

    /// A place in the table for a connection that is to be opened. The caller has looked for room.
    #[inline]
    pub fn place_connection(&mut self, tuple: &FourTuple) -> u32 {
        let Some(index) = self.connections.insert(Tcb::UNOPENED) else { unreachable!("the caller has looked") };
        self.connections.get_mut(index).expect(INDEXED).tuple = *tuple;
        index
    }

    /// The name of a connection.
    pub fn id(&self, index: u32) -> ConnId {
        ConnId { index, generation: self.connections.generation(index) }
    }

    /// The connection of that name, if it lives.
    pub fn tcb(&self, conn: ConnId) -> Option<&Tcb> {
        (self.connections.generation(conn.index) == conn.generation).then(|| self.connections.get(conn.index))?
    }

    /// Sees to all that follows from a change of a connection: tables, timers, lists. Called after every change.
    #[inline(never)]
    pub fn settle(&mut self, index: u32) {
        self.settle_inline(index);
    }

    /// The same, where nearly every segment comes by.
    #[inline(always)]
    pub fn settle_inline(&mut self, index: u32) {
        let Some(mut tcb) = self.connections.get_mut(index) else { return };
        if tcb.retires() {
            self.retire_into_time_wait(index);
            let Some(retired) = self.connections.get_mut(index) else { return };
            tcb = retired;
        }
        if tcb.is_orphan() && !tcb.facts.has(Facts::ORPHAN) {
            // One too many is reset, the newest: those before it are nearer to their end. While draining all are orphans,
            // and nothing new comes.
            if self.orphans < self.config.limits.orphans || self.draining {
                tcb.facts.set(Facts::ORPHAN);
                self.orphans += 1;
            } else {
                tcb.abort(Ending::Aborted, &mut self.env);
                self.env.ledger.refused.orphans += 1;
            }
        }
        if tcb.has_news() && !tcb.facts.has(Facts::TELLING | Facts::TOLD) {
            tcb.facts.set(Facts::TELLING);
            self.telling.push(index);
        }
        if tcb.may_transmit() && !tcb.facts.has(Facts::READY) {
            tcb.facts.set(Facts::READY);
            self.ready.push_back(index);
        }
        if tcb.ending.is_some() {
            if !tcb.facts.has(Facts::UNINDEXED) {
                self.leave(index);
            }
            return;
        }
        let starves = tcb.facts.has(Facts::STARVED);
        if !tcb.stands_right(&self.env.config) {
            self.move_in_wheel(index);
        }
        if starves {
            self.wait_for_blocks(index);
        }
    }

    /// Puts a connection to where its next timer is in the wheel.
    pub fn move_in_wheel(&mut self, index: u32) {
        let Some(tcb) = self.connections.get_mut(index) else { return };
        tcb.arm_persist(&self.env);
        tcb.arm_keep_alive(&self.env);
        let due = tcb.next_due();
        if due == tcb.link.armed_for() {
            return;
        }
        match due {
            Some(due) => self.wheel.arm(&mut self.connections, index, due),
            None => self.wheel.disarm(&mut self.connections, index),
        }
    }

    /// An ended connection is no longer found; its port is free again.
    fn leave(&mut self, index: u32) {
        let Some(tcb) = self.connections.get_mut(index) else { return };
        tcb.facts.set(Facts::UNINDEXED);
        self.orphans -= u32::from(tcb.facts.take(Facts::ORPHAN));
        self.index.remove(self.index.hash(&tcb.tuple), Flow::new(Phase::Connection, index));
        self.ports.release(&tcb.tuple);
        self.wheel.disarm(&mut self.connections, index);
    }

    /// Both FINs are exchanged and ours was first: a small entry takes the connection's place in the index, and keeps its port.
    fn retire_into_time_wait(&mut self, index: u32) {
        let Some(tcb) = self.connections.get_mut(index) else { return };
        let entry = TimeWait::of(tcb);
        // From here on the entry is what is in TIME-WAIT, also for the gauge.
        tcb.state = StateGauges::handed_over();
        tcb.facts.set(Facts::UNINDEXED);
        self.orphans -= u32::from(tcb.facts.take(Facts::ORPHAN));
        let owes_ack = tcb.facts.has(Facts::ACK_NOW);
        tcb.over(Ending::Closed, &mut self.env);
        // The last ACK still leaves from the control block; out of CLOSING there is none to send.
        tcb.facts.put(Facts::LAST_ACK_DUE, owes_ack);
        self.wheel.disarm(&mut self.connections, index);
        self.make_room_in_time_wait(&entry);
        let flow = self.store_time_wait(&entry);
        let hash = self.index.hash(&entry.tuple);
        self.index.replace(hash, Flow::new(Phase::Connection, index), flow);
        self.env.ledger.time_wait_created += 1;
    }

    /// Takes a connection out of its table, after the application was told and the last segment has left.
    pub fn free_if_done(&mut self, index: u32) {
        let Some(tcb) = self.connections.get_mut(index) else { return };
        if !tcb.facts.has(Facts::TOLD) || tcb.facts.has(Facts::RST_DUE | Facts::LAST_ACK_DUE) {
            return;
        }
        tcb.drop_transfer(&mut self.env.pools);
        if !tcb.facts.has(Facts::ACTIVE) {
            self.budgets.disconnect(&tcb.tuple.remote_addr);
        }
        self.connections.remove(index);
    }
}
