//! What must leave: questions for neighbours, then every flow that has something to send. The fifth station of the line.

use super::flow_index::{Flow, Phase};
use super::neighbours::{Lookup, Station};
use super::shard::Shard;
use crate::ledger::HalfOpenEnding;
use crate::tcp::{Facts, Plan};
use crate::time::Instant;
use crate::wire::arp::{Arp, Operation};
use crate::wire::frame::{self, Envelope, Link};
use crate::wire::{Addr, FourTuple, MacAddr};

/// Where frames are written to.
pub trait Transmit {
    /// Has `write` fill a frame's buffer and say its length, and queues it; `false` when there is no chunk or no room:
    /// then nothing was queued.
    fn transmit(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool;
}

/// Segments that one connection may send before the others have had their turn.
const BURST: usize = 64;

/// SYN-ACKs sent again in one turn, as many as come in: those of a flood are due all at once, and while they are sent
/// nothing is received.
const SYN_ACKS_AGAIN: usize = 64;

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
    /// Sends what is due, as far as the driver has room, and of SYN-ACKs again a turn's share; says whether anything is left.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut impl Transmit) -> bool {
        self.env.set_now(now);
        if !self.ask_neighbours(out) {
            return true;
        }
        for _ in 0..self.ready.len() {
            let Some(index) = self.ready.pop_front() else { break };
            match self.transmit_connection(index, out) {
                Progress::Done => {}
                Progress::More => self.ready.push_back(index),
                Progress::NoRoom => {
                    self.env.ledger.refused.tx_frames += 1;
                    self.ready.push_front(index);
                    return true;
                }
            }
        }
        for _ in 0..SYN_ACKS_AGAIN {
            let Some(place) = self.ready_again.pop_front() else { break };
            if self.transmit_syn_ack(place, out) == Progress::NoRoom {
                self.env.ledger.refused.tx_frames += 1;
                self.ready_again.push_front(place);
                return true;
            }
        }
        !self.ready.is_empty() || !self.ready_again.is_empty() || self.neighbours.has_questions()
    }

    fn transmit_connection(&mut self, index: u32, out: &mut impl Transmit) -> Progress {
        let progress = self.transmit_segments(index, out);
        let Some(tcb) = self.connections.get_mut(index) else { return progress };
        tcb.facts.put(Facts::READY, progress != Progress::Done);
        if tcb.ending.is_some() {
            self.free_if_done(index);
        } else if !tcb.stands_right(&self.env.config) {
            self.move_in_wheel(index);
        }
        progress
    }

    fn transmit_segments(&mut self, index: u32, out: &mut impl Transmit) -> Progress {
        let Some(tcb) = self.connections.get_mut(index) else { return Progress::Done };
        let tuple = tcb.tuple;
        let our_mss = self.config.our_mss(tuple.local_addr.is_v4());
        let mut plan = Plan::none();
        if !tcb.poll_transmit(our_mss, &self.env, &mut plan) {
            return Progress::Done;
        }
        let waiting = (!tcb.facts.has(Facts::RESOLVING)).then(|| Flow::new(Phase::Connection, index));
        // Looked up once for all segments of this turn.
        let found = self.find_next_hop(&tuple, waiting);
        let Some(station) = found.known() else {
            self.wait_for_neighbour(index, found);
            return Progress::Done;
        };
        let mut envelope = self.envelope(self.link_to(station), tuple);
        let class = envelope.traffic_class;
        let Some(tcb) = self.connections.get_mut(index) else { return Progress::Done };
        let env = &mut self.env;
        for _ in 0..BURST {
            envelope.traffic_class = class | plan.ecn;
            let written = out.transmit(|buffer| {
                frame::emit_tcp(buffer, &envelope, &plan.header, plan.text_len, |text| tcb.copy_text(&plan, text))
            });
            if !written {
                return Progress::NoRoom;
            }
            tcb.sent(&plan, env);
            if !tcb.may_transmit() || !tcb.poll_transmit(our_mss, env, &mut plan) {
                return Progress::Done;
            }
        }
        Progress::More
    }

    /// What a connection has to send waits until its neighbour is known; its timer runs meanwhile, and asks again.
    ///
    /// Deviation: RFC 9293 §3.10.5, RST on ABORT; the last ACK of a close. A connection that is over does not wait: they stay
    /// unsaid.
    fn wait_for_neighbour(&mut self, index: u32, found: Lookup) {
        let Some(tcb) = self.connections.get_mut(index) else { return };
        if tcb.ending.is_some() {
            tcb.facts.clear(Facts::RST_DUE | Facts::LAST_ACK_DUE);
            return;
        }
        if found == Lookup::Unknown {
            tcb.facts.set(Facts::RESOLVING);
        }
        tcb.facts.clear(Facts::ACK_NOW);
        tcb.arm_if_idle(&self.env);
    }

    fn transmit_syn_ack(&mut self, place: u32, out: &mut impl Transmit) -> Progress {
        let Some(entry) = self.half_open.get_mut(place) else { return Progress::Done };
        if !entry.set_ready(false) {
            return Progress::Done;
        }
        let tuple = entry.tuple(&self.locals);
        let our_mss = self.config.our_mss(tuple.local_addr.is_v4());
        let header = entry.syn_ack(our_mss, entry.ts_offset(&tuple, &self.isns), &self.env);
        // Nobody is asked for the sake of a handshake that may never be completed: where the neighbour is unknown, it goes
        // to where the SYN came from.
        let sender = entry.sender();
        let known = self.routes.next_hop(&tuple.remote_addr).and_then(|next_hop| self.neighbours.peek(&next_hop));
        let Some(station) = known.or_else(|| self.senders.station(sender)) else { return Progress::Done };
        let envelope = self.envelope(self.link_to(station), tuple);
        let written = out.transmit(|buffer| frame::emit_tcp(buffer, &envelope, &header, 0, |_| {}));
        if !written {
            if let Some(entry) = self.half_open.get_mut(place) {
                entry.set_ready(true);
            }
            return Progress::NoRoom;
        }
        self.env.ledger.retransmitted += 1;
        Progress::Done
    }

    fn link_to(&self, station: Station) -> Link {
        Link { src: self.config.mac, dst: station.mac, vlan: station.vlan }
    }

    /// For a segment without an ECN mark.
    ///
    /// Deviation: RFC 9293 §3.9.2 (MUST-48), Diffserv field of each connection. All connections have the same.
    #[inline]
    pub(super) fn envelope(&self, link: Link, tuple: FourTuple) -> Envelope {
        let (hop_limit, traffic_class) = (self.env.config.hop_limit.get(), self.env.config.dscp.traffic_class());
        Envelope { link, tuple, hop_limit, traffic_class, checksum: self.tx_checksum }
    }

    /// Where the next hop towards the peer is; when that must be asked for first, the question is under way.
    fn find_next_hop(&mut self, tuple: &FourTuple, waiting: Option<Flow>) -> Lookup {
        let Some(next_hop) = self.routes.next_hop(&tuple.remote_addr) else { return Lookup::Refused };
        let found = self.neighbours.find(&next_hop, waiting, self.env.tick());
        while let Some(flow) = self.neighbours.take_given_up() {
            if let Some(tcb) = self.connections.get_mut(flow.place()) {
                tcb.facts.clear(Facts::RESOLVING);
            }
        }
        self.env.ledger.refused.neighbours += u64::from(found == Lookup::Refused);
        found
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
    pub fn on_half_open_timer(&mut self, place: u32) {
        let retries = self.env.config.syn_ack_retries;
        let Some(entry) = self.half_open.get_mut(place) else { return };
        if entry.resent() >= retries {
            self.end_half_open(place, HalfOpenEnding::TimedOut);
            return;
        }
        entry.count_resend();
        let allowed = self.replies.syn_ack_again.allows(self.env.now_ms());
        let waits_already = allowed && entry.set_ready(true);
        self.arm_half_open(place);
        if allowed && !waits_already {
            self.ready_again.push_back(place);
        }
    }
}

pub(super) fn write_question(buffer: &mut [u8], our_mac: MacAddr, source: Addr, target: Addr) -> usize {
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
