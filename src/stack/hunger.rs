//! When the pool of buffers is empty: who waits for blocks, and who must give some back.

use super::shard::Shard;
use crate::tcp::buffer::Share;
use crate::tcp::{Facts, News};

/// Places of the connection table that one turn searches for what came out of order.
const SEARCHED_PER_TURN: u32 = 1_024;

impl Shard {
    /// The connection, whose write was cut short, waits until there are blocks to write to; each does once.
    pub fn wait_for_blocks(&mut self, index: u32) {
        let Some(tcb) = self.connections.get_mut(index) else { return };
        tcb.facts.clear(Facts::STARVED);
        if tcb.facts.has(Facts::HUNGRY) {
            return;
        }
        tcb.facts.set(Facts::HUNGRY);
        self.env.pools.hungry += 1;
        self.starved.push_back(self.id(index));
        // Those that ended while they waited stay in the list, but not for ever.
        if self.starved.len() > 2 * self.connections.len() + 64 {
            let connections = &self.connections;
            self.starved.retain(|conn| connections.generation(conn.index) == conn.generation);
        }
    }

    /// Whether there is work without a frame or a timer.
    pub fn can_feed(&self) -> bool {
        self.env.pools.pressed || (!self.starved.is_empty() && self.env.pools.blocks.has_room(Share::Send))
    }

    /// Tells a connection whose write found the pool empty that there is room again. One at a time: what it writes may
    /// empty the pool again.
    pub fn feed_starved(&mut self) {
        if !self.env.pools.blocks.has_room(Share::Send) {
            return;
        }
        while let Some(conn) = self.starved.pop_front() {
            let waits = self.tcb(conn).is_some_and(|tcb| tcb.facts.has(Facts::HUNGRY));
            let Some(tcb) = self.connections.get_mut(conn.index).filter(|_| waits) else { continue };
            tcb.facts.clear(Facts::HUNGRY);
            tcb.news.add(News::WRITABLE);
            self.env.pools.hungry -= 1;
            return self.settle(conn.index);
        }
    }

    /// Data in order found no block: connections that hold what came out of order give it up, some places of the table
    /// each turn, until there is room or the table was searched.
    pub fn make_room(&mut self) {
        if !self.env.pools.pressed {
            return;
        }
        for _ in 0..SEARCHED_PER_TURN {
            if self.early_cursor >= self.connections.end() || self.env.pools.blocks.has_room_for_early() {
                self.early_cursor = 0;
                self.env.pools.pressed = false;
                return;
            }
            let transfer = self.connections.get_mut(self.early_cursor).and_then(|tcb| tcb.transfer.as_mut());
            if let Some(transfer) = transfer.filter(|t| !t.reassembly.is_empty()) {
                transfer.drop_early(0, &mut self.env.pools.blocks);
                self.env.ledger.refused.early_data += 1;
            }
            self.early_cursor += 1;
        }
    }
}
