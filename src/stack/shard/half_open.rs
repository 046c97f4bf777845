//! Half-open entries: made by a SYN, ended by their timers, or promoted to a connection.

use super::Shard;
use crate::ledger::{DropReason, HalfOpenEnding};
use crate::stack::flow_index::{Flow, Phase};
use crate::stack::half_open_slot::HalfOpenSlot;
use crate::stack::input::{Arrival, INDEXED};
use crate::stack::neighbours::Station;
use crate::tcp::half_open::HalfOpen;
use crate::tcp::rto::backed_off_ms;
use crate::tcp::state::{Event, State};

impl Shard {
    /// Enters a half-open entry and starts its timer. The caller has looked for room.
    ///
    /// `from` is LISTEN, or TIME-WAIT when its SYN took an old connection's tuple.
    pub fn add_half_open(&mut self, arrival: &Arrival<'_>, entry: HalfOpen, ts_offset: u32, from: State) {
        let tuple = arrival.tuple;
        let sender = self.senders.number(Station { mac: arrival.link.src, vlan: arrival.link.vlan });
        let Some(place) = self.half_open.insert(HalfOpenSlot::UNUSED) else { unreachable!("the caller has looked") };
        let slot = self.half_open.get_mut(place).expect(INDEXED);
        slot.fill(tuple, entry, ts_offset, sender, &self.locals);
        self.budgets.hold(&tuple.remote_addr);
        self.env.ledger.half_open_created += 1;
        self.env.gauges.transition(&mut { from }, Event::RecvSyn, tuple, self.env.now());
        self.note_flow(tuple);
        self.enter(arrival.hash, Flow::new(Phase::HalfOpen, place));
        self.arm_half_open(place);
    }

    /// Starts the timer of a half-open entry for its next SYN-ACK.
    pub fn arm_half_open(&mut self, place: u32) {
        let Some(entry) = self.half_open.get(place) else { return };
        let wait = match entry.resent() {
            0 => self.env.first_rto_ms.into(),
            resent => backed_off_ms(self.env.first_rto_ms, resent, &self.env.config),
        };
        self.half_open_wheel.arm(&mut self.half_open, place, self.env.tick().wrapping_add(wait));
    }

    /// Takes a half-open entry out that did not become a connection.
    pub fn end_half_open(&mut self, place: u32, ending: HalfOpenEnding) {
        self.half_open_wheel.disarm(&mut self.half_open, place);
        let Some(entry) = self.half_open.get(place) else { return };
        let tuple = entry.tuple(&self.locals);
        self.half_open.remove(place);
        self.budgets.give_back(&tuple.remote_addr);
        let event = match ending {
            HalfOpenEnding::Reset => Event::RecvRst,
            HalfOpenEnding::TimedOut => Event::TimedOut,
            _ => Event::Abort,
        };
        self.env.gauges.transition(&mut { State::SynReceived }, event, &tuple, self.env.now());
        self.env.ledger.half_open_endings.count(ending);
        self.index.remove(self.index.hash(&tuple), Flow::new(Phase::HalfOpen, place));
        self.ports.release(&tuple);
    }

    /// Makes a connection of a half-open entry; the segment that completes the handshake is still to be processed.
    pub fn promote(&mut self, arrival: &Arrival<'_>, place: u32) -> Result<u32, DropReason> {
        if !self.has_room_for_connection(Some(place)) {
            return Err(DropReason::ConnectionsFull);
        }
        self.half_open_wheel.disarm(&mut self.half_open, place);
        let tuple = arrival.tuple;
        let index = self.place_connection(tuple);
        let (entry, tcb) = (self.half_open.get(place).expect(INDEXED), self.connections.get_mut(index).expect(INDEXED));
        tcb.open_from(entry, entry.ts_offset(tuple, &self.isns), &self.env);
        self.half_open.remove(place);
        self.budgets.give_back(&tuple.remote_addr);
        self.budgets.connect(&tuple.remote_addr);
        self.note_flow(tuple);
        self.index.replace(arrival.hash, Flow::new(Phase::HalfOpen, place), Flow::new(Phase::Connection, index));
        self.defence.on_handshake();
        self.env.ledger.half_open_endings.count(HalfOpenEnding::Established);
        self.env.ledger.opened_passive += 1;
        Ok(index)
    }
}
