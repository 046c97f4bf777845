//! What becomes of a SYN for a listener: whether it is answered at all, and by an entry of the table or by a cookie.

use super::Step;
use super::input::{Arrival, INDEXED, Outcome, Reply};
use super::shard::Shard;
use super::shedding::Newcomer;
use crate::ledger::{DropReason, Handled};
use crate::tcp::State;
use crate::tcp::half_open::HalfOpen;
use crate::tcp::isn::{isn, timestamp_offset};
use crate::wire::SeqNum;

impl Shard {
    /// Whether a SYN is to be answered at all: there is a way back, and its source's prefix is within its budgets.
    pub(super) fn admit(&mut self, arrival: &Arrival<'_>) -> Result<(), DropReason> {
        let remote = &arrival.tuple.remote_addr;
        if self.routes.next_hop(remote).is_none() {
            return Err(DropReason::NoRoute);
        }
        if !self.budgets.may_connect(remote) {
            return Err(DropReason::PrefixConnections);
        }
        if self.budgets.admits(remote, self.env.now()) { Ok(()) } else { Err(DropReason::PrefixRate) }
    }

    fn may_hold(&self, arrival: &Arrival<'_>) -> bool {
        self.budgets.may_hold(&arrival.tuple.remote_addr, self.half_open.len())
    }

    /// Whether the half-open table has room for an entry of this source.
    pub(super) fn check_room(&self, arrival: &Arrival<'_>) -> Result<(), DropReason> {
        if self.half_open.is_full() {
            return Err(DropReason::HalfOpenFull);
        }
        if self.may_hold(arrival) { Ok(()) } else { Err(DropReason::PrefixShare) }
    }

    /// A SYN for a listener is answered: by an entry of the table, or by a cookie. `beyond` is the SND.NXT of an old
    /// connection of this tuple: a number beyond those only the table can promise.
    pub(super) fn on_syn(
        &mut self,
        arrival: &Arrival<'_>,
        beyond: Option<SeqNum>,
        reply: &mut Option<Reply>,
    ) -> Outcome {
        let now = self.env.now();
        // From the second step on a cookie answers whatever the table would say.
        let asks_table = self.defence.step() == Step::Table || beyond.is_some();
        let may_hold = !asks_table || self.may_hold(arrival);
        let has_room = !asks_table || self.make_room_for(Newcomer::HalfOpen);
        if self.defence.on_syn(self.half_open.len(), may_hold && has_room, now) && beyond.is_none() {
            self.budgets.cookies += u64::from(!may_hold);
            return self.answer_with_cookie(arrival, reply);
        }
        if self.half_open.is_full() {
            return Err(DropReason::HalfOpenFull);
        }
        if !may_hold {
            return Err(DropReason::PrefixShare);
        }
        if !has_room {
            return Err(DropReason::HalfOpenFull);
        }
        let word = self.isns.word(arrival.tuple);
        let mut iss = isn(word, now);
        if let Some(snd_nxt) = beyond
            && iss.at_or_before(snd_nxt)
        {
            // RFC 9293 §3.6.1 (MAY-2): an ISN larger than the largest number of the old connection.
            iss = snd_nxt + 1;
        }
        let our_mss = self.config.our_mss(arrival.tuple.local_addr.is_v4());
        let entry = HalfOpen::new(arrival.tuple, arrival.segment, iss, our_mss, &self.env.config);
        let from = if beyond.is_some() { State::TimeWait } else { State::Listen };
        let ts_offset = timestamp_offset(word);
        let header = entry.syn_ack(our_mss, ts_offset, &self.env);
        self.add_half_open(arrival, entry, ts_offset, from);
        *reply = Some(self.segment(arrival, header));
        Ok(Handled::SynReceived)
    }

    pub(super) fn answer_syn_again(&mut self, place: u32, arrival: &Arrival<'_>, reply: &mut Option<Reply>) {
        let our_mss = self.config.our_mss(arrival.tuple.local_addr.is_v4());
        let entry = self.half_open.get_mut(place).expect(INDEXED);
        entry.on_syn_again(arrival.segment);
        let ts_offset = entry.ts_offset(arrival.tuple, &self.isns);
        let header = entry.syn_ack(our_mss, ts_offset, &self.env);
        *reply = Some(self.segment(arrival, header));
    }
}
