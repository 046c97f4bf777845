//! Text that arrives: in order to the reader, out of order to its place, and what is acknowledged when.
//! RFC 9293 §3.10.7.4 (seventh), §3.8.6.3 (delayed acknowledgements), §3.8.6.2.2 (receiver's silly window).

use super::connection::{Facts, News, Tcb};
use super::env::Env;
use super::scoreboard::DUP_THRESH;
use super::segment_arrives::Fitted;
use super::timers::ticks;
use super::transfer::{Pools, Transfer};
use crate::ledger::Ending;
use crate::wire::SeqNum;
use crate::wire::tcp::SackBlocks;

impl Transfer {
    /// Puts text to its place; says how much of it found room. What is out of order never takes the last blocks, and makes
    /// way for what is in order.
    fn store(&mut self, fitted: &Fitted<'_>, rcv_nxt: SeqNum, pools: &mut Pools) -> usize {
        let ahead = fitted.seq.distance_from(rcv_nxt) as usize;
        if ahead > 0 {
            let room = pools.blocks.has_room_for_early();
            return if room { self.recv.write_at(self.recv.len() + ahead, fitted.text, &mut pools.blocks) } else { 0 };
        }
        let mut stored = self.recv.write_at(self.recv.len(), fitted.text, &mut pools.blocks);
        if stored < fitted.text.len() && !self.reassembly.is_empty() {
            self.drop_early(stored, &mut pools.blocks);
            stored += self.recv.write_at(self.recv.len() + stored, &fitted.text[stored..], &mut pools.blocks);
        }
        pools.pressed |= stored < fitted.text.len();
        stored
    }
}

impl Tcb {
    pub(super) fn on_text(&mut self, fitted: &Fitted<'_>, env: &mut Env) {
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
        let full = self.most_text() as u32;
        self.transfer_mut(&mut env.pools, &env.config);
        let Some(transfer) = &mut self.transfer else { return };
        let stored = transfer.store(fitted, rcv_nxt, &mut env.pools);
        env.ledger.refused.buffer_bytes += (fitted.text.len() - stored) as u64;
        let end = fitted.seq + stored as u32;
        transfer.active_at = tick;
        if !in_order {
            // A hole: acknowledge at once, so that the sender sees it (RFC 5681 §4.2); one that counts duplicates gets
            // one for each segment, as far as its threshold goes.
            transfer.owed_duplicates = (transfer.owed_duplicates + 1).min(DUP_THRESH);
            if stored > 0 && !transfer.reassembly.insert(fitted.seq, end) {
                env.ledger.refused.buffer_bytes += stored as u64;
            }
            self.facts.set(Facts::ACK_NOW);
            return;
        }
        let filled = !transfer.reassembly.is_empty();
        let rcv_nxt = transfer.reassembly.advance(end);
        let octets = rcv_nxt.distance_from(fitted.seq);
        transfer.recv.advance(octets as usize);
        transfer.unacked_octets += octets;
        // At least every second full segment (SHLD-19), whose options leave less room for text; at once when a hole was
        // filled, else delayed (SHLD-18).
        let now = filled || stored < fitted.text.len() || transfer.unacked_octets >= 2 * full;
        if !now && !transfer.ack_delayed {
            transfer.ack_delayed = true;
            transfer.ack_at = tick.wrapping_add(ticks(env.config.delayed_ack));
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
    pub(super) fn on_room(&mut self, env: &Env) {
        if !self.state.receives() {
            return;
        }
        let edge = self.window_edge(env);
        if edge != self.rcv_adv && (self.rcv_adv == self.rcv_nxt || self.opens_widely(env)) {
            self.facts.set(Facts::ACK_NOW);
        }
    }

    fn opens_widely(&self, env: &Env) -> bool {
        let gain = self.window_edge(env).distance_from(self.rcv_adv);
        gain >= 2 * u32::from(self.smss) && gain >= env.config.recv_buffer / 4
    }

    /// Where the right edge of the window would be now: never left of where it was, and moved only by a full segment or
    /// half of the buffer (RFC 9293 §3.8.6.2.2).
    pub(super) fn window_edge(&self, env: &Env) -> SeqNum {
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
        // Three fit beside timestamps, four without.
        self.first_sack_blocks(if self.facts.has(Facts::TIMESTAMPS) { 3 } else { 4 })
    }

    /// As many of them as fit a segment with that much text, which was cut before without them.
    pub(super) fn sack_blocks_beside(&self, text_len: usize) -> SackBlocks {
        const HEAD: usize = 4;
        let room = self.most_text().saturating_sub(text_len + HEAD);
        let blocks = self.sack_blocks();
        if room / 8 >= blocks.as_slice().len() { blocks } else { self.first_sack_blocks(room / 8) }
    }

    fn first_sack_blocks(&self, most: usize) -> SackBlocks {
        let mut blocks = SackBlocks::default();
        if !self.facts.has(Facts::SACK) {
            return blocks;
        }
        let Some(transfer) = &self.transfer else { return blocks };
        let all = transfer.duplicate.iter().chain(transfer.reassembly.ranges());
        for &(left, right) in all.take(most) {
            blocks.push(left, right);
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::super::TcpConfig;
    use super::super::buffer::BLOCK;
    use super::super::testing::{Bench, MSS};
    use super::super::transfer::Pools;
    use crate::time::Duration;
    use crate::wire::tcp::{Flags, Header};
    use crate::wire::{SeqNum, tcp::SackBlocks};

    /// The peer sends a block's worth of text, so many blocks ahead of what is missing, and acknowledges nothing new.
    fn text_at(bench: &mut Bench, ahead: usize) -> SackBlocks {
        let seq = SeqNum(bench.peer_nxt) + (ahead * BLOCK) as u32;
        let ack = bench.tcb.snd_una;
        let header = Header { seq, ack, flags: Flags::ACK, wnd: bench.wnd, ..Header::default() };
        bench.receive(header, &[ahead as u8; BLOCK]).unwrap();
        bench.send().last().map(|(header, _)| header.options.sack).unwrap_or_default()
    }

    #[test]
    fn what_came_out_of_order_leaves_room_and_makes_way_for_what_is_in_order() {
        let mut bench = Bench::with(TcpConfig::default(), true, false);
        bench.env.pools = Pools::new((8 * BLOCK) as u64);
        let reported = (2..12).fold(SackBlocks::default(), |_, ahead| text_at(&mut bench, ahead));
        let &[(left, right)] = reported.as_slice() else { panic!("{reported:?}") };
        assert_eq!(right.distance_from(left) as usize, 6 * BLOCK, "three quarters of the pool and no more");
        // The seventh block is the last that received octets may take, and the first that is missing takes it.
        assert!(!text_at(&mut bench, 0).as_slice().is_empty());
        let reported = text_at(&mut bench, 1);
        assert!(reported.as_slice().is_empty(), "the rest made way, and is reported no more: {reported:?}");
        assert_eq!((bench.tcb.readable(), bench.env.pools.pressed), (2 * BLOCK, false));
        for ahead in 2..7 {
            text_at(&mut bench, ahead);
        }
        assert_eq!(bench.tcb.readable(), 7 * BLOCK);
        text_at(&mut bench, 7);
        assert!(bench.env.pools.pressed, "an eighth is left for what is to be sent, and others are asked for room");
    }

    #[test]
    fn what_is_sent_again_reports_as_many_blocks_as_fit_beside_its_text() {
        // A head of 4 octets, and 8 for each block.
        for (free, blocks) in [(40, 4), (36, 4), (35, 3), (12, 1), (11, 0), (0, 0)] {
            let mut bench = Bench::with(TcpConfig { nagle: false, ..TcpConfig::default() }, true, false);
            bench.write(usize::from(MSS) - free);
            assert_eq!(bench.send().len(), 1);
            for ahead in [1, 3, 5, 7] {
                text_at(&mut bench, ahead);
            }
            bench.wait(Duration::from_secs(4));
            let (header, text_len) = bench.send()[0];
            assert_eq!((text_len, header.options.sack.as_slice().len()), (usize::from(MSS) - free, blocks), "{free}");
        }
    }

    #[test]
    fn without_sack_nothing_is_kept_to_be_reported() {
        let mut bench = Bench::with(TcpConfig::default(), false, false);
        for ahead in [1, 1, 0] {
            text_at(&mut bench, ahead);
        }
        bench.with_env(|tcb, env| tcb.consume(2 * BLOCK, env));
        bench.send();
        assert!(bench.tcb.transfer.as_ref().is_none_or(|transfer| transfer.is_quiet()));
    }

    #[test]
    fn what_finds_no_room_is_counted_octet_by_octet() {
        let mut bench = Bench::with(TcpConfig::default(), true, false);
        bench.env.pools = Pools::new((8 * BLOCK) as u64);
        for ahead in 0..7 {
            text_at(&mut bench, ahead);
        }
        assert_eq!(bench.env.ledger.refused.buffer_bytes, 0);
        text_at(&mut bench, 7);
        text_at(&mut bench, 7);
        assert_eq!(bench.env.ledger.refused.buffer_bytes, 2 * BLOCK as u64);
    }

    #[test]
    fn a_window_that_reading_opens_widely_is_told_although_it_was_not_closed() {
        for (read, told) in [(1_000, false), (12_000, true)] {
            let config = TcpConfig { recv_buffer: 32 * 1024, ..TcpConfig::default() };
            let mut bench = Bench::with(config, true, false);
            for ahead in 0..4 {
                text_at(&mut bench, ahead);
            }
            assert!(bench.send().is_empty() && bench.tcb.rcv_adv != bench.tcb.rcv_nxt);
            bench.with_env(|tcb, env| tcb.consume(read, env));
            assert_eq!(!bench.send().is_empty(), told, "{read} octets read");
        }
    }
}
