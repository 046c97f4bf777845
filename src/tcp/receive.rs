//! Text that arrives: in order to the reader, out of order to its place, and what is acknowledged when.
//! RFC 9293 §3.10.7.4 (seventh), §3.8.6.3 (delayed acknowledgements), §3.8.6.2.2 (receiver's silly window).

use super::connection::{Env, Facts, News, Tcb};
use super::scoreboard::DUP_THRESH;
use super::segment_arrives::Fitted;
use crate::ledger::Ending;
use crate::wire::tcp::SackBlocks;

impl Tcb {
    pub(super) fn on_text(&mut self, fitted: &Fitted<'_>, env: &mut Env<'_>) {
        if fitted.text.is_empty() {
            return;
        }
        if self.facts.has(Facts::APP_CLOSED) {
            // Nobody will ever read this: say so (RFC 9293 §3.6.1, SHLD-3).
            self.abort(Ending::Aborted, env);
            return;
        }
        let tick = env.tick();
        let rcv_nxt = self.rcv_nxt;
        let in_order = fitted.seq == rcv_nxt;
        self.transfer_mut(env.pools, env.config);
        let Some(transfer) = &mut self.transfer else { return };
        let offset = transfer.recv.len() + fitted.seq.distance_from(rcv_nxt) as usize;
        let stored = transfer.recv.write_at(offset, fitted.text, &mut env.pools.blocks);
        env.ledger.refused.buffers += (fitted.text.len() - stored) as u64;
        let end = fitted.seq + stored as u32;
        transfer.active_at = tick;
        if !in_order {
            // A hole: acknowledge at once, so that the sender sees it (RFC 5681 §4.2); one that counts duplicates gets
            // one for each segment, as far as its threshold goes.
            transfer.duplicate = transfer.reassembly.holds(fitted.seq, end).then_some((fitted.seq, end));
            transfer.owed_duplicates = (transfer.owed_duplicates + 1).min(DUP_THRESH);
            if stored > 0 && !transfer.reassembly.insert(fitted.seq, end) {
                env.ledger.refused.buffers += stored as u64;
            }
            self.facts.set(Facts::ACK_NOW);
            return;
        }
        let filled = !transfer.reassembly.is_empty();
        let rcv_nxt = transfer.reassembly.advance(end);
        let octets = rcv_nxt.distance_from(fitted.seq);
        transfer.recv.advance(octets as usize);
        transfer.unacked_octets += octets;
        // At least every second full segment (SHLD-19), at once when a hole was filled, else delayed (SHLD-18).
        let now = filled || stored < fitted.text.len() || transfer.unacked_octets >= 2 * u32::from(self.smss);
        if !now && !transfer.ack_delayed {
            transfer.ack_delayed = true;
            transfer.ack_at = tick.wrapping_add(env.config.delayed_ack.as_millis() as u32);
        }
        self.rcv_nxt = rcv_nxt;
        if now {
            self.facts.set(Facts::ACK_NOW);
        }
        if octets > 0 {
            self.news.add(News::READABLE);
        }
    }

    /// The application has taken octets out: the window opens, and the peer is told when it is worth a segment.
    pub(super) fn on_room(&mut self, env: &Env<'_>) {
        if !self.state.receives() {
            return;
        }
        let edge = self.window_edge(env);
        if edge != self.rcv_adv && (self.rcv_adv == self.rcv_nxt || self.opens_widely(env)) {
            self.facts.set(Facts::ACK_NOW);
        }
    }

    fn opens_widely(&self, env: &Env<'_>) -> bool {
        let gain = self.window_edge(env).distance_from(self.rcv_adv);
        gain >= 2 * u32::from(self.smss) && gain >= env.config.recv_buffer / 4
    }

    /// Where the right edge of the window would be now: never left of where it was, and moved only by a full segment or
    /// half of the buffer (RFC 9293 §3.8.6.2.2).
    pub(super) fn window_edge(&self, env: &Env<'_>) -> crate::wire::SeqNum {
        // A SYN-ACK that is sent again says what the first one said, so an ACK in between says no more.
        if !self.state.is_synchronized() {
            return self.rcv_adv;
        }
        let buffered = self.readable() as u32;
        let free = env.config.recv_buffer.saturating_sub(buffered);
        let free = free.min(u32::from(u16::MAX) << self.our_shift());
        let right = self.rcv_nxt + free;
        let step = u32::from(self.smss).min(env.config.recv_buffer / 2);
        if right.after(self.rcv_adv) && right.distance_from(self.rcv_adv) >= step { right } else { self.rcv_adv }
    }

    /// SACK blocks for the next acknowledgement: first what came twice, then the newest stretches (RFC 2018 §4).
    pub(super) fn sack_blocks(&self) -> SackBlocks {
        let mut blocks = SackBlocks::default();
        if !self.facts.has(Facts::SACK) {
            return blocks;
        }
        let Some(transfer) = &self.transfer else { return blocks };
        // Three fit beside timestamps, four without.
        let most = if self.facts.has(Facts::TIMESTAMPS) { 3 } else { 4 };
        let all = transfer.duplicate.iter().chain(transfer.reassembly.ranges());
        for &(left, right) in all.take(most) {
            blocks.push(left, right);
        }
        blocks
    }
}
