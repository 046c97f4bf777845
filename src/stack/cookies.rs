//! SYN cookies where a listener would keep an entry: the SYN-ACK that holds all, and the connection made of its answer.

use super::Step;
use super::input::{Arrival, INDEXED, Outcome, Reply};
use super::shard::Shard;
use crate::ledger::{DropReason, HalfOpenEnding, Handled};
use crate::tcp::cookie::{self, CookieKeys, Cookies};
use crate::tcp::half_open::{HalfOpen, asked};
use crate::tcp::state::{Event, State};
use crate::wire::tcp::{Flags, Header};

impl Shard {
    /// Answers a SYN and keeps nothing of it.
    pub(super) fn answer_with_cookie(&mut self, arrival: &Arrival<'_>, reply: &mut Option<Reply>) -> Outcome {
        let header = self.cookie_syn_ack(arrival);
        self.env.ledger.cookies_sent += 1;
        *reply = Some(self.segment(arrival, header));
        Ok(Handled::SynReceived)
    }

    fn cookie_syn_ack(&mut self, arrival: &Arrival<'_>) -> Header {
        let (tuple, irs) = (*arrival.tuple, arrival.segment.header.seq);
        let v4 = tuple.local_addr.is_v4();
        let our_mss = self.config.our_mss(v4);
        let carried = cookie::carried(&asked(&tuple, arrival.segment, our_mss, &self.env.config), v4);
        let iss = self.cookies.make(&tuple, irs, &carried, self.env.now());
        let ts_offset = self.isns.timestamp_offset(&tuple);
        let mut header = HalfOpen::of(irs, iss, &carried).syn_ack(our_mss, ts_offset, &self.env);
        if let Some(timestamps) = &mut header.options.timestamps {
            timestamps.tsval = cookie::tsval(timestamps.tsval, &carried);
        }
        header
    }

    /// An acknowledgement that matches nothing: with a good cookie it makes the connection that its SYN asked for.
    /// `beside` is the half-open entry of a SYN that came again after the cookie was sent: what its SYN-ACK offered the
    /// peer has not taken up, so it gives way.
    ///
    /// One with a bad cookie is answered by a RST, like any other that matches nothing; but one with text or a FIN, which
    /// may be of an honest peer and have overtaken the segment with the cookie, only when it comes a third time ([`Strays`]).
    ///
    /// [`Strays`]: super::strays::Strays
    pub(super) fn on_cookie(
        &mut self,
        arrival: &Arrival<'_>,
        beside: Option<u32>,
        reply: &mut Option<Reply>,
    ) -> Outcome {
        let now = self.env.now();
        let header = &arrival.segment.header;
        match self.cookies.open(arrival.tuple, header, now) {
            // Where the XDP program answers SYNs, nobody has counted this one yet.
            Ok(_) if self.defence.step() == Step::Xdp && !self.budgets.admits(&arrival.tuple.remote_addr, now) => {
                Err(DropReason::PrefixRate)
            }
            Ok(_) if !self.budgets.may_connect(&arrival.tuple.remote_addr) => Err(DropReason::PrefixConnections),
            Ok(_) if !self.has_room_for_connection(beside) => Err(DropReason::ConnectionsFull),
            Ok(carried) => {
                if let Some(place) = beside {
                    self.end_half_open(place, HalfOpenEnding::Evicted);
                }
                let (irs, iss) = (header.seq - 1, header.ack - 1);
                let entry = HalfOpen::of(irs, iss, &carried);
                let ts_offset = self.offset_behind(header, arrival);
                let index = self.add_from_cookie(arrival, &entry, ts_offset);
                self.learn_from(arrival);
                self.on_connection(index, arrival, reply)
            }
            Err(refusal) => {
                self.env.ledger.cookies_refused.count(refusal);
                let may_follow = !arrival.segment.is_empty()
                    && !self.strays.is_hopeless(self.isns.word(arrival.tuple), header.seq, now.as_millis());
                if may_follow { Err(DropReason::NoCookie) } else { self.reset(arrival, reply) }
            }
        }
    }

    /// The offset of our timestamps for a peer that has seen ours: the tuple's own, unless another host sent them.
    fn offset_behind(&self, header: &Header, arrival: &Arrival<'_>) -> u32 {
        let own = self.isns.timestamp_offset(arrival.tuple);
        let Some(timestamps) = header.options.timestamps else { return own };
        let tick = self.env.tick();
        let age = tick.wrapping_add(own).wrapping_sub(timestamps.tsecr);
        if u64::from(age) <= 3 * cookie::EPOCH.as_millis() as u64 {
            return own;
        }
        // Another host's clock runs on here; ahead of what it sent, as its peer takes nothing older (RFC 7323 §5.3).
        (timestamps.tsecr + 1).wrapping_sub(tick)
    }

    /// The connection of an entry that never was in the table. The state goes through SYN-RECEIVED all the same; the segment
    /// that completes the handshake is still to be processed. The caller has looked for room.
    fn add_from_cookie(&mut self, arrival: &Arrival<'_>, entry: &HalfOpen, ts_offset: u32) -> u32 {
        let tuple = arrival.tuple;
        self.env.gauges.transition(&mut { State::Listen }, Event::RecvSyn, tuple, self.env.now());
        let index = self.enter_connection(arrival.hash, tuple);
        let tcb = self.connections.get_mut(index).expect(INDEXED);
        tcb.open_from(entry, ts_offset, &self.env);
        self.budgets.connect(&tuple.remote_addr);
        self.env.ledger.cookies_accepted += 1;
        self.env.ledger.opened_passive += 1;
        self.defence.on_handshake();
        index
    }

    /// Whether a segment that matches nothing may hold a cookie of ours.
    pub(super) fn may_hold_cookie(&self, flags: Flags) -> bool {
        flags.has(Flags::ACK)
            && flags.0 & (Flags::SYN | Flags::RST).0 == 0
            && self.defence.expects_cookies(self.env.now())
    }

    /// Takes other keys; cookies of the old ones are good as far as these keys say.
    pub fn rekey_cookies(&mut self, keys: &CookieKeys) {
        self.config.secrets.cookie = *keys;
        self.cookies = Cookies::new(keys);
    }
}

#[cfg(test)]
mod tests;
