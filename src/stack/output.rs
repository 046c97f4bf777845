//! What must leave: questions for neighbours, then every flow that has something to send. The fifth station of the line.

use super::flow_index::{Flow, Phase};
use super::input::HOP_LIMIT;
use super::neighbours::Lookup;
use super::shard::{Shard, env};
use crate::ledger::HalfOpenEnding;
use crate::tcp::{Env, Facts};
use crate::time::Instant;
use crate::wire::arp::{Arp, Operation};
use crate::wire::frame::{self, Envelope, Link, TxChecksum};
use crate::wire::{Addr, FourTuple, MacAddr};

/// Where frames are written to.
pub trait Transmit {
    /// Has `write` fill a frame's buffer and say its length, and queues it; `false`, without calling it, when there is no
    /// chunk or no room.
    fn transmit(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool;
}

/// Segments that one connection may send before the others have had their turn.
const BURST: usize = 64;

/// How far a flow came.
#[derive(PartialEq, Eq)]
enum Progress {
    /// It has nothing more to send now.
    Done,
    /// It has more, after the others.
    More,
    /// The driver has no room: nobody can send now.
    NoRoom,
}

impl Shard {
    /// Sends all that is due, as far as the driver has room; says whether anything is left.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut impl Transmit) -> bool {
        if !self.ask_neighbours(out) {
            return true;
        }
        for _ in 0..self.ready.len() {
            let Some(flow) = self.ready.pop_front() else { break };
            let progress = match flow.phase() {
                Phase::Connection => self.transmit_connection(now, flow, out),
                Phase::HalfOpen => self.transmit_syn_ack(now, flow, out),
                Phase::TimeWaitV4 | Phase::TimeWaitV6 => Progress::Done,
            };
            match progress {
                Progress::Done => {}
                Progress::More => self.ready.push_back(flow),
                Progress::NoRoom => {
                    self.ledger.refused.tx_frames += 1;
                    self.ready.push_front(flow);
                    return true;
                }
            }
        }
        !self.ready.is_empty() || self.neighbours.has_questions()
    }

    fn transmit_connection(&mut self, now: Instant, flow: Flow, out: &mut impl Transmit) -> Progress {
        let index = flow.place();
        let mut sent = 0;
        let progress = loop {
            let Some(tcb) = self.connections.get_mut(index) else { return Progress::Done };
            let tuple = tcb.tuple;
            let our_mss = self.config.mtu.saturating_sub(if tuple.local_addr.is_v4() { 40 } else { 60 });
            let Some(plan) = tcb.poll_transmit(our_mss, &env!(self, now)) else { break Progress::Done };
            if sent == BURST {
                break Progress::More;
            }
            let waiting = (!tcb.facts.has(Facts::RESOLVING)).then_some(flow);
            let Some(mac) = self.find_next_hop(&tuple, waiting, now) else {
                self.wait_for_neighbour(index);
                break Progress::Done;
            };
            let envelope = Envelope { ecn: plan.ecn, ..self.envelope(mac, tuple) };
            let Some(tcb) = self.connections.get_mut(index) else { return Progress::Done };
            let written = out.transmit(|buffer| {
                frame::emit_tcp(buffer, &envelope, &plan.header, plan.text_len, |text| tcb.copy_text(&plan, text))
            });
            if !written {
                break Progress::NoRoom;
            }
            tcb.sent(&plan, &mut env!(self, now));
            sent += 1;
        };
        if progress == Progress::Done {
            if let Some(tcb) = self.connections.get_mut(index) {
                tcb.facts.clear(Facts::READY);
            }
            self.rearm(index, now);
            self.free_if_done(index);
        }
        progress
    }

    /// After sending: the timer that now is the next one.
    fn rearm(&mut self, index: u32, now: Instant) {
        let Some(tcb) = self.connections.get_mut(index) else { return };
        if tcb.ending.is_some() {
            return;
        }
        tcb.arm_persist(&env!(self, now));
        match tcb.next_due() {
            Some(due) => self.wheel.arm(&mut self.connections, index, due),
            None => self.wheel.disarm(&mut self.connections, index),
        }
    }

    /// A connection waits for its neighbour's address once. One that is over does not wait: its RST or last ACK stays
    /// unsaid.
    fn wait_for_neighbour(&mut self, index: u32) {
        let Some(tcb) = self.connections.get_mut(index) else { return };
        tcb.facts.set(Facts::RESOLVING);
        if tcb.ending.is_some() {
            tcb.facts.clear(Facts::RST_DUE | Facts::LAST_ACK_DUE);
        }
    }

    fn transmit_syn_ack(&mut self, now: Instant, flow: Flow, out: &mut impl Transmit) -> Progress {
        let Some(entry) = self.half_open.get(flow.place()) else { return Progress::Done };
        let tuple = entry.tuple;
        let our_mss = self.our_mss(tuple.local_addr.is_v4());
        let ts_offset = self.isns.timestamp_offset(&tuple);
        let header = entry.syn_ack(our_mss, ts_offset, &env!(self, now));
        // If the neighbour is unknown, the next SYN-ACK finds it known.
        let Some(mac) = self.find_next_hop(&tuple, None, now) else { return Progress::Done };
        let envelope = self.envelope(mac, tuple);
        let written = out.transmit(|buffer| frame::emit_tcp(buffer, &envelope, &header, 0, |_| {}));
        if !written {
            return Progress::NoRoom;
        }
        self.ledger.retransmitted += 1;
        Progress::Done
    }

    fn envelope(&self, dst: MacAddr, tuple: FourTuple) -> Envelope {
        let link = Link { src: self.config.mac, dst, vlan: None };
        Envelope { link, tuple, hop_limit: HOP_LIMIT, ecn: 0, checksum: TxChecksum::Full }
    }

    /// Where the next hop towards the peer is; `None` when it must be asked for first, which then is under way.
    fn find_next_hop(&mut self, tuple: &FourTuple, waiting: Option<Flow>, now: Instant) -> Option<MacAddr> {
        let next_hop = self.routes.next_hop(&tuple.remote_addr)?;
        match self.neighbours.find(&next_hop, waiting, now.as_millis() as u32) {
            Lookup::Known(mac) => Some(mac),
            Lookup::Unknown { .. } => None,
            Lookup::Refused => {
                self.ledger.refused.neighbours += 1;
                None
            }
        }
    }

    /// Asks for neighbours' addresses; `false` when the driver has no room.
    fn ask_neighbours(&mut self, out: &mut impl Transmit) -> bool {
        while let Some(target) = self.neighbours.take_question() {
            let Some(source) = self.routes.asking_address(&target) else { continue };
            let our_mac = self.config.mac;
            if !out.transmit(|buffer| write_question(buffer, our_mac, source, target)) {
                self.neighbours.put_back(target);
                return false;
            }
        }
        true
    }

    /// The SYN-ACK timer of half-open entries: send it again, or give the entry up.
    pub fn on_half_open_timer(&mut self, place: u32, now: Instant) {
        let retries = self.config.tcp.syn_ack_retries;
        let Some(entry) = self.half_open.get_mut(place) else { return };
        if entry.resent >= retries {
            self.end_half_open(place, HalfOpenEnding::TimedOut, now);
            return;
        }
        entry.resent += 1;
        self.arm_half_open(place, now);
        self.ready.push_back(Flow::new(Phase::HalfOpen, place));
    }
}

fn write_question(buffer: &mut [u8], our_mac: MacAddr, source: Addr, target: Addr) -> usize {
    if !target.is_v4() {
        return frame::emit_neighbour_solicitation(buffer, our_mac, source, target);
    }
    let link = Link { src: our_mac, dst: MacAddr::BROADCAST, vlan: None };
    let arp = Arp {
        operation: Operation::Request,
        sender_mac: our_mac,
        sender_addr: source,
        target_mac: MacAddr::default(),
        target_addr: target,
    };
    frame::emit_arp(buffer, &link, &arp)
}
