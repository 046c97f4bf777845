//! A frame arrives: parse, look up, hand to the state machine; the second to fourth station of the line.
//!
//! What can be answered without state is answered in place: the frame that came in becomes the frame that goes out.

use super::flow_index::{Flow, Phase};
use super::neighbours::{Learn, Station};
use super::shard::Shard;
use super::shedding::Newcomer;
use super::steering::Search;
use super::{Disposition, Step};
use crate::ledger::{DropReason, HalfOpenEnding, Handled};
use crate::ownership::Ownership;
use crate::tcp::Facts;
use crate::tcp::closed::reset_for;
use crate::tcp::half_open::HalfOpenVerdict;
use crate::tcp::isn::timestamp_offset;
use crate::tcp::time_wait::TimeWaitVerdict;
use crate::time::Instant;
use crate::wire::arp::{Arp, Operation};
use crate::wire::frame::{self, Carried, Content, Envelope, Ip, Link, Other};
use crate::wire::tcp::{Flags, Header, Segment};
use crate::wire::{Addr, FourTuple, icmp, ndp};

pub(super) type Outcome = Result<Handled, DropReason>;

/// The ECN bits of a packet that met congestion, all of them (RFC 3168 §5).
const CONGESTION_EXPERIENCED: u8 = 0b11;

/// Why an entry that the index names must be there.
pub(super) const INDEXED: &str = "the index names only entries that are there";

/// A segment with what carried it.
pub(super) struct Arrival<'a> {
    pub link: &'a Link,
    pub tuple: &'a FourTuple,
    pub segment: &'a Segment<'a>,
    pub hash: u64,
    /// Whether a router marked it (RFC 3168 §5, CE).
    pub marked: bool,
}

/// Neighbours' addresses that wait to be told to the other workers.
const MOST_HEARD: usize = 64;

/// A reply that needs no state, to be written over the frame that asked for it; or whom the frame concerns.
pub(super) enum Reply {
    Segment(Envelope, Header),
    Echo,
    Arp(Link, Arp),
    Advertisement(Link, Addr, ndp::Advertisement),
    /// None: another worker is to look at it.
    HandOver(Search),
}

impl Shard {
    /// As [`Shard::on_frame`], for a frame that others have handed to us in this search.
    pub fn on_taken_frame(&mut self, now: Instant, buffer: &mut [u8], len: usize, search: Search) -> Disposition {
        self.env.ledger.frames_taken += 1;
        self.search = Some(search);
        let what = self.on_frame(now, buffer, len);
        self.search = None;
        what
    }

    /// Processes the first `len` octets of `buffer` as a frame; says what is to be done with it.
    pub fn on_frame(&mut self, now: Instant, buffer: &mut [u8], len: usize) -> Disposition {
        self.env.set_now(now);
        self.env.ledger.frames_received += 1;
        self.env.ledger.bytes_received += len as u64;
        let mut reply = None;
        let mut carried = Carried::none();
        let outcome = match frame::read_tcp(&buffer[..len], self.verify(), &mut carried) {
            Ok(Content::Tcp) => self.on_segment(&carried, &mut reply),
            Ok(Content::Other) => self.on_other(&buffer[..len], &mut reply),
            Err(reason) => Err(reason),
        };
        if let Some(Reply::HandOver(search)) = reply {
            // Its outcome is told when it is known whether there was room.
            return Disposition::HandOver(search);
        }
        self.env.ledger.outcome(outcome);
        // Looked at where it stands: it is large.
        let Some(reply) = &reply else { return Disposition::Consumed };
        match self.write_reply(reply, buffer, len) {
            0 => Disposition::Consumed,
            len => Disposition::Reply(len),
        }
    }

    #[inline]
    fn on_segment(&mut self, carried: &Carried<'_>, reply: &mut Option<Reply>) -> Outcome {
        let Carried { link, tuple, segment, .. } = carried;
        let (hash, flow) = self.find(tuple);
        // The addresses of a flow were seen to when it came to be.
        if flow.is_none() || link.dst != self.config.mac || link.src.is_group() {
            self.check_addresses(carried)?;
        }
        let marked = carried.traffic_class & CONGESTION_EXPERIENCED == CONGESTION_EXPERIENCED;
        let arrival = Arrival { link, tuple, segment, hash, marked };
        match flow.map(|flow| (flow, flow.phase())) {
            Some((flow, Phase::Connection)) => self.on_connection(flow.place(), &arrival, reply),
            Some((flow, Phase::HalfOpen)) => self.on_half_open(flow.place(), &arrival, reply),
            Some((flow, _)) => self.on_time_wait(flow, &arrival, reply),
            None if self.share.is_part() => self.on_unknown(&arrival, reply),
            None => self.on_listener(&arrival, reply),
        }
    }

    /// Nothing is known here of the flow, but other workers may know it.
    #[inline(never)]
    fn on_unknown(&mut self, arrival: &Arrival<'_>, reply: &mut Option<Reply>) -> Outcome {
        match self.next_to_ask(arrival) {
            None => self.on_listener(arrival, reply),
            Some(search) => hand_over(search, reply),
        }
    }

    /// Which worker may know the flow of a segment that nothing here fits; `None` when it is ours to answer.
    fn next_to_ask(&self, arrival: &Arrival<'_>) -> Option<Search> {
        let flags = arrival.segment.header.flags;
        let is_first = flags.0 & (Flags::SYN | Flags::ACK | Flags::RST).0 == Flags::SYN.0;
        let opens_here = is_first && self.share.is_by_arrival() && self.listens(arrival.tuple.local_port);
        if opens_here { None } else { self.next_for(arrival.tuple) }
    }

    /// The same for any tuple.
    fn next_for(&self, tuple: &FourTuple) -> Option<Search> {
        // Where nobody listens there are only flows that we have opened.
        let may_be_peers = self.draining || self.listens(tuple.local_port);
        self.share.next(tuple, may_be_peers, self.search)
    }

    /// What is no TCP.
    #[inline(never)]
    fn on_other(&mut self, octets: &[u8], reply: &mut Option<Reply>) -> Outcome {
        match &frame::parse_other(octets, self.verify())? {
            Other::Arp { link, arp } => {
                self.check_station_or_group(link)?;
                self.on_arp(link, arp, reply)
            }
            Other::EchoRequest { link, ip } => {
                self.check_destination(link, ip)?;
                if self.config.ownership == Ownership::Shared {
                    return Err(DropReason::IcmpIgnored);
                }
                limited(self.replies.echo.allows(self.env.now_ms()))?;
                *reply = Some(Reply::Echo);
                Ok(Handled::EchoRequest)
            }
            Other::IcmpError { link, ip, error } => {
                self.check_destination(link, ip)?;
                self.on_icmp_error(error, reply)
            }
            Other::Ndp { link, ip, message } => {
                self.check_station_or_group(link)?;
                self.on_ndp(link, ip, message, reply)
            }
        }
    }

    /// A switch that does not know a station yet floods what is for it to everybody.
    fn check_station_or_group(&self, link: &Link) -> Result<(), DropReason> {
        if link.dst == self.config.mac || link.dst.is_group() { Ok(()) } else { Err(DropReason::ForeignMac) }
    }

    #[inline(never)]
    fn check_addresses(&self, carried: &Carried<'_>) -> Result<(), DropReason> {
        carried.judge()?;
        self.check_destination(&carried.link, &carried.ip())
    }

    fn check_destination(&self, link: &Link, ip: &Ip) -> Result<(), DropReason> {
        if link.dst != self.config.mac {
            return Err(DropReason::ForeignMac);
        }
        if !self.locals.hold(&ip.dst) {
            let broadcast = self.routes.is_subnet_broadcast(&ip.dst);
            return Err(if broadcast { DropReason::GroupAddress } else { DropReason::ForeignAddress });
        }
        // RFC 9293 §3.9.2.3 (MUST-63).
        if self.locals.hold(&ip.src) || self.routes.is_subnet_broadcast(&ip.src) {
            return Err(DropReason::Martian);
        }
        Ok(())
    }

    // --- TCP, by phase ---

    pub(super) fn on_connection(&mut self, index: u32, arrival: &Arrival<'_>, reply: &mut Option<Reply>) -> Outcome {
        let tcb = self.connections.get_mut(index).expect(INDEXED);
        self.env.marked = arrival.marked;
        let outcome = tcb.on_segment(arrival.segment, &mut self.env);
        self.settle_inline(index);
        if outcome == Ok(Handled::AnsweredByReset) {
            return self.reset(arrival, reply);
        }
        outcome
    }

    #[inline(never)]
    fn on_half_open(&mut self, place: u32, arrival: &Arrival<'_>, reply: &mut Option<Reply>) -> Outcome {
        let entry = self.half_open.get(place).expect(INDEXED);
        let verdict = entry.on_segment(arrival.segment, &self.env);
        // The entry may be of a SYN that was sent again, and the connection of the first one be another worker's. But what was
        // handed to us found nothing where it came in: it would be reset there.
        let is_strange = match verdict {
            HalfOpenVerdict::AnswerReset => true,
            HalfOpenVerdict::AnswerAck(_) | HalfOpenVerdict::Drop(_) => self.search.is_none(),
            _ => false,
        };
        if is_strange && let Some(search) = self.next_to_ask(arrival) {
            return hand_over(search, reply);
        }
        match verdict {
            HalfOpenVerdict::Establish => {
                let index = self.promote(arrival, place)?;
                self.learn_from(arrival);
                self.on_connection(index, arrival, reply)
            }
            HalfOpenVerdict::Resend => {
                self.answer_syn_again(place, arrival, reply);
                Ok(Handled::SynReceived)
            }
            HalfOpenVerdict::Reset => {
                self.end_half_open(place, HalfOpenEnding::Reset);
                Ok(Handled::Segment)
            }
            HalfOpenVerdict::Replace => {
                self.end_half_open(place, HalfOpenEnding::Reset);
                self.on_listener(arrival, reply)
            }
            // The peer may have been answered with a cookie before there was room for the entry.
            HalfOpenVerdict::AnswerReset if self.may_hold_cookie(arrival.segment.header.flags) => {
                self.on_cookie(arrival, Some(place), reply)
            }
            HalfOpenVerdict::AnswerReset => self.reset(arrival, reply),
            HalfOpenVerdict::AnswerAck(reason) => {
                let word = self.isns.word(arrival.tuple);
                self.answer_once(arrival, word).map_err(|_| reason)?;
                limited(self.replies.acknowledgement.allows(self.env.now_ms()))?;
                let entry = self.half_open.get(place).expect(INDEXED);
                let header = entry.acknowledgement(timestamp_offset(word), &self.env);
                *reply = Some(self.segment(arrival, header));
                Err(reason)
            }
            HalfOpenVerdict::Drop(reason) => Err(reason),
        }
    }

    fn on_time_wait(&mut self, flow: Flow, arrival: &Arrival<'_>, reply: &mut Option<Reply>) -> Outcome {
        let entry = self.time_wait(flow);
        let ack = |shard: &mut Shard, word: u64, reply: &mut Option<Reply>| {
            limited(shard.replies.acknowledgement.allows(shard.env.now_ms()))?;
            let header = entry.acknowledgement(timestamp_offset(word), &shard.env);
            *reply = Some(shard.segment(arrival, header));
            Ok(())
        };
        let verdict = entry.on_segment(arrival.segment);
        // A connection that came after it may be another worker's; what was handed to us found none where it came in.
        if self.search.is_none()
            && matches!(verdict, TimeWaitVerdict::Acknowledge(_) | TimeWaitVerdict::Drop(_))
            && let Some(search) = self.next_to_ask(arrival)
        {
            return hand_over(search, reply);
        }
        match verdict {
            TimeWaitVerdict::AcknowledgeAndRestart => {
                self.restart_time_wait(arrival.hash, flow);
                ack(self, self.isns.word(arrival.tuple), reply)?;
                Ok(Handled::Segment)
            }
            TimeWaitVerdict::Acknowledge(reason) => {
                let word = self.isns.word(arrival.tuple);
                self.answer_once(arrival, word).map_err(|_| reason)?;
                ack(self, word, reply)?;
                Err(reason)
            }
            TimeWaitVerdict::Reuse if self.listens(arrival.tuple.local_port) => {
                // The old entry goes only when the new one is sure, or is what gives way for others.
                self.admit(arrival)?;
                self.check_room(arrival)?;
                if !self.make_room_for(Newcomer::HalfOpen) {
                    return Err(DropReason::HalfOpenFull);
                }
                if self.find(arrival.tuple).1 != Some(flow) {
                    if self.defence.step() != Step::Table {
                        // No cookie could promise a number beyond the old ones; the SYN comes again.
                        return Err(DropReason::HalfOpenFull);
                    }
                    return self.on_syn(arrival, None, reply);
                }
                self.reuse_time_wait(flow);
                self.on_syn(arrival, Some(entry.snd_nxt), reply)
            }
            TimeWaitVerdict::Reuse => {
                ack(self, self.isns.word(arrival.tuple), reply)?;
                Err(DropReason::TimeWaitSyn)
            }
            TimeWaitVerdict::Drop(reason) => Err(reason),
        }
    }

    /// CLOSED and LISTEN: RFC 9293 §3.10.7.1 and §3.10.7.2.
    fn on_listener(&mut self, arrival: &Arrival<'_>, reply: &mut Option<Reply>) -> Outcome {
        let flags = arrival.segment.header.flags;
        if flags.has(Flags::RST) {
            return Err(DropReason::ResetIgnored);
        }
        if !self.listens(arrival.tuple.local_port) {
            return self.reset(arrival, reply);
        }
        if self.may_hold_cookie(flags) {
            return self.on_cookie(arrival, None, reply);
        }
        if flags.has(Flags::ACK) {
            return self.reset(arrival, reply);
        }
        if !flags.has(Flags::SYN) {
            return Err(DropReason::NoAck);
        }
        self.admit(arrival)?;
        self.on_syn(arrival, None, reply)
    }

    pub(super) fn reset(&mut self, arrival: &Arrival<'_>, reply: &mut Option<Reply>) -> Outcome {
        let Some(header) = reset_for(arrival.segment) else { return Err(DropReason::ResetIgnored) };
        limited(self.replies.reset.allows(self.env.now_ms()))?;
        *reply = Some(self.segment(arrival, header));
        Ok(Handled::AnsweredByReset)
    }

    /// What might be an answer itself is answered once in a while only; `word` is the flow's, of [`IsnGenerator::word`].
    ///
    /// [`IsnGenerator::word`]: crate::tcp::isn::IsnGenerator::word
    fn answer_once(&mut self, arrival: &Arrival<'_>, word: u64) -> Result<(), DropReason> {
        let may_be_answer = arrival.segment.is_empty() && !arrival.segment.header.flags.has(Flags::RST);
        limited(!may_be_answer || self.answers.allows(word, self.env.now_ms()))
    }

    pub(super) fn segment(&self, arrival: &Arrival<'_>, header: Header) -> Reply {
        let (link, tuple) = (arrival.link.reply(self.config.mac), *arrival.tuple);
        Reply::Segment(self.envelope(link, tuple), header)
    }

    // --- neighbours and ICMP ---

    /// A completed handshake shows a way to the next hop towards its peer, if none is known.
    pub(super) fn learn_from(&mut self, arrival: &Arrival<'_>) {
        if let Some(next_hop) = self.routes.next_hop(&arrival.tuple.remote_addr) {
            let station = Station { mac: arrival.link.src, vlan: arrival.link.vlan };
            if !self.neighbours.has_just_learnt(&next_hop, &station, self.env.tick()) {
                self.learn(next_hop, station, Learn::IfUnknown);
            }
        }
    }

    /// Learns where a neighbour is, and wakes what waited for it.
    pub fn learn(&mut self, addr: Addr, station: Station, how: Learn) {
        for flow in self.neighbours.learn(addr, station, how, self.env.tick()) {
            let Some(tcb) = self.connections.get_mut(flow.place()) else { continue };
            tcb.facts.clear(Facts::RESOLVING);
            if !tcb.facts.has(Facts::READY) {
                tcb.facts.set(Facts::READY);
                self.ready.push_back(flow.place());
            }
        }
    }

    /// Learns where a neighbour says that it is; the other workers are to hear of it as well, when it is what we believe.
    fn hear(&mut self, addr: Addr, station: Station, how: Learn) {
        self.learn(addr, station, how);
        let believed = how == Learn::Update || self.neighbours.peek(&addr) == Some(station);
        if !believed || !self.share.is_part() {
            return;
        }
        if self.heard.len() < MOST_HEARD {
            self.heard.push_back((addr, station));
        } else {
            self.env.ledger.refused.neighbour_news += 1;
        }
    }

    /// RFC 826, packet reception; where the host owns the address, ARP is the host's.
    fn on_arp(&mut self, link: &Link, arp: &Arp, reply: &mut Option<Reply>) -> Outcome {
        if self.config.ownership == Ownership::Shared || self.locals.hold(&arp.sender_addr) {
            return Err(DropReason::NeighbourIgnored);
        }
        if arp.sender_addr != Addr::UNSPECIFIED_V4 {
            let station = Station { mac: arp.sender_mac, vlan: link.vlan };
            self.hear(arp.sender_addr, station, Learn::Update);
        }
        if !self.locals.hold(&arp.target_addr) {
            return Err(DropReason::NeighbourIgnored);
        }
        match arp.operation {
            Operation::Request => {
                let answer = Arp {
                    operation: Operation::Reply,
                    sender_mac: self.config.mac,
                    sender_addr: arp.target_addr,
                    target_mac: arp.sender_mac,
                    target_addr: arp.sender_addr,
                };
                limited(self.replies.neighbour.allows(self.env.now_ms()))?;
                *reply = Some(Reply::Arp(link.reply(self.config.mac), answer));
                Ok(Handled::NeighbourRequest)
            }
            Operation::Reply => Ok(Handled::NeighbourReply),
        }
    }

    /// RFC 4861 §7.2.3–7.2.5.
    fn on_ndp(&mut self, link: &Link, ip: &Ip, message: &ndp::Message, reply: &mut Option<Reply>) -> Outcome {
        if self.config.ownership == Ownership::Shared {
            return Err(DropReason::NeighbourIgnored);
        }
        let at = |mac| Station { mac, vlan: link.vlan };
        match message {
            ndp::Message::Solicitation(asked) if self.locals.hold(&asked.target) => {
                if let Some(mac) = asked.source_mac {
                    self.hear(ip.src, at(mac), Learn::Update);
                }
                let (destination, advertisement) = asked.answer(ip, self.config.mac);
                let mut way_back = link.reply(self.config.mac);
                if destination == ndp::ALL_NODES {
                    way_back.dst = ndp::group_mac(&ndp::ALL_NODES);
                }
                limited(self.replies.neighbour.allows(self.env.now_ms()))?;
                *reply = Some(Reply::Advertisement(way_back, destination, advertisement));
                Ok(Handled::NeighbourRequest)
            }
            ndp::Message::Advertisement(told) if !self.locals.hold(&told.target) => {
                if let Some(mac) = told.target_mac {
                    let how = if told.override_known { Learn::Update } else { Learn::IfMissing };
                    self.hear(told.target, at(mac), how);
                }
                Ok(Handled::NeighbourReply)
            }
            _ => Err(DropReason::NeighbourIgnored),
        }
    }

    /// RFC 5927: an error counts only when it quotes what is in flight, and ends only a connection that does not stand yet.
    fn on_icmp_error(&mut self, error: &icmp::Error, reply: &mut Option<Reply>) -> Outcome {
        let (_, flow) = self.find(&error.tuple);
        if flow.is_none()
            && let Some(search) = self.next_for(&error.tuple)
        {
            return hand_over(search, reply);
        }
        let index = match flow.map(|flow| (flow.phase(), flow.place())) {
            Some((Phase::Connection, index)) => index,
            Some((Phase::HalfOpen, place)) => {
                let judged = self.half_open.get(place).expect(INDEXED).on_icmp_error(error);
                if judged.is_err()
                    && let Some(search) = self.next_for(&error.tuple)
                {
                    return hand_over(search, reply);
                }
                if judged? {
                    self.end_half_open(place, HalfOpenEnding::Reset);
                }
                return Ok(Handled::IcmpError);
            }
            // A TIME-WAIT entry has nothing in flight.
            _ => return Err(DropReason::IcmpUnproven),
        };
        let tcb = self.connections.get_mut(index).expect(INDEXED);
        let outcome = tcb.on_icmp_error(error, &mut self.env);
        self.report_soft_error(index, error.kind, outcome);
        self.settle(index);
        outcome
    }

    // --- out again ---

    #[inline(never)]
    fn write_reply(&mut self, reply: &Reply, buffer: &mut [u8], len: usize) -> usize {
        match reply {
            Reply::Segment(envelope, header) => frame::emit_tcp(buffer, envelope, header, 0, |_| {}),
            Reply::Echo => frame::answer_echo(&mut buffer[..len], self.config.mac, self.env.config.hop_limit.get()),
            Reply::Arp(link, arp) => frame::emit_arp(buffer, link, arp),
            Reply::Advertisement(link, destination, advertisement) => {
                frame::emit_neighbour_advertisement(buffer, link, *destination, advertisement)
            }
            Reply::HandOver(_) => 0,
        }
    }
}

/// The frame is for another worker, that owns its flow or may.
fn hand_over(search: Search, reply: &mut Option<Reply>) -> Outcome {
    *reply = Some(Reply::HandOver(search));
    Ok(Handled::HandedOver)
}

/// What strangers make us send is bounded: a reply beyond the limit of its kind is not made.
fn limited(allowed: bool) -> Result<(), DropReason> {
    if allowed { Ok(()) } else { Err(DropReason::ReplyLimited) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::steering::{Share, Steering};
    use crate::stack::{CookieKeys, Secrets, StackConfig};
    use crate::wire::MacAddr;
    use std::sync::Arc;

    #[test]
    fn news_beyond_the_limit_is_counted() {
        let secrets = Secrets { isn: [1; 16], flow_hash: [2; 16], cookie: CookieKeys::alone([3; 16]) };
        let share = Share::new(&Arc::new(Steering::of_our_own(&[7; 40], 2)), 0);
        let mut shard = Shard::new(StackConfig::new(MacAddr([2; 6]), Vec::new(), secrets), share, Instant::ZERO);
        let station = Station { mac: MacAddr([2, 0, 0, 0, 0, 9]), vlan: None };
        for host in 0..MOST_HEARD as u8 + 3 {
            shard.hear(Addr::from_v4([10, 0, 0, host]), station, Learn::Update);
        }
        assert_eq!((shard.heard.len(), shard.env.ledger.refused.neighbour_news), (MOST_HEARD, 3));
    }
}
