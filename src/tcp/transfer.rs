//! The part of a connection that exists only while data is under way: both buffers, what is in flight, congestion state.
//!
//! An idle connection has none, so that ten million of them need no more than their control blocks.

use super::buffer::{BlockPool, ByteQueue, Share};
use super::congestion::{Algorithm, Congestion};
use super::rack::Rack;
use super::reassembly::Reassembly;
use super::rto::RttEstimator;
use super::scoreboard::Scoreboard;
use super::spurious::Undo;
use crate::wire::SeqNum;

/// The state of a data transfer.
#[derive(Debug)]
pub struct Transfer {
    /// From SND.UNA on: what is in flight, then what was not sent yet.
    pub send: ByteQueue,
    /// What is in flight.
    pub scoreboard: Scoreboard,
    /// Congestion control.
    pub congestion: Congestion,
    /// SND.NXT when the congestion window was last in use to the full, until that is acknowledged.
    pub full_until: Option<SeqNum>,
    /// Round-trip time.
    pub rtt: RttEstimator,
    /// Loss detection by time.
    pub rack: Rack,
    /// When what may only be late is to be looked at again, in ticks; meaningful while `reordering`.
    pub reordering_at: u32,
    /// Whether that timer runs.
    pub reordering: bool,
    /// SND.NXT when the last tail-loss probe was sent, until that is acknowledged (TLP.end_seq), and whether the probe
    /// was a retransmission.
    pub probe_end: Option<(SeqNum, bool)>,
    /// The octet at SND.NXT has been sent, to probe a closed window, and is to leave anew.
    pub probed: bool,
    /// No answer to a congestion mark before this is acknowledged (RFC 3168 §6.1.2).
    pub marked_until: Option<SeqNum>,
    /// The segment size before a router or a black hole made it smaller, and when that was, in ticks.
    pub larger_smss: Option<(u16, u32)>,
    /// Duplicate acknowledgements in a row (RFC 5681 §2).
    pub dup_acks: u32,
    /// Timeouts since the peer was last heard, if only to say nothing new; no less than those since the last progress.
    pub silence: u8,
    /// SND.NXT when loss recovery began; `None` outside of recovery (RFC 6582 §3.2).
    pub recover: Option<SeqNum>,
    /// What it takes to take the last reduction of the window back, while that may turn out to have been unnecessary.
    pub undo: Option<Undo>,
    /// What the application has not read, up to RCV.NXT; beyond it what came out of order.
    pub recv: ByteQueue,
    /// Which stretches beyond RCV.NXT have come.
    pub reassembly: Reassembly,
    /// Sequence number of the peer's FIN, when it came before data that is still missing.
    pub early_fin: Option<SeqNum>,
    /// A stretch that came twice, to be reported once (RFC 2883 §4).
    pub duplicate: Option<(SeqNum, SeqNum)>,
    /// Duplicate acknowledgements that a peer without SACK is owed, at most three.
    pub owed_duplicates: u32,
    /// Octets received since the last acknowledgement was sent.
    pub unacked_octets: u32,
    /// When a delayed acknowledgement is due, in ticks; meaningful while `ack_delayed`.
    pub ack_at: u32,
    /// Whether an acknowledgement is being delayed.
    pub ack_delayed: bool,
    /// When data last moved, in ticks.
    pub active_at: u32,
    /// When data was last sent, in ticks.
    pub sent_at: u32,
}

/// As it stands in deploy/SIZING.md.
const _: () = assert!(size_of::<Transfer>() <= 576);

impl Default for Transfer {
    fn default() -> Self {
        Transfer {
            send: ByteQueue::default(),
            scoreboard: Scoreboard::default(),
            congestion: Congestion::new(Algorithm::Reno, 536, false),
            full_until: None,
            rtt: RttEstimator::default(),
            rack: Rack::default(),
            reordering_at: 0,
            reordering: false,
            probe_end: None,
            probed: false,
            marked_until: None,
            larger_smss: None,
            dup_acks: 0,
            silence: 0,
            recover: None,
            undo: None,
            recv: ByteQueue::new(Share::Receive),
            reassembly: Reassembly::default(),
            early_fin: None,
            duplicate: None,
            owed_duplicates: 0,
            unacked_octets: 0,
            ack_at: 0,
            ack_delayed: false,
            active_at: 0,
            sent_at: 0,
        }
    }
}

impl Transfer {
    /// Whether nothing is buffered, in flight or owed: it can be given back.
    pub fn is_quiet(&self) -> bool {
        self.send.is_empty()
            && self.scoreboard.is_empty()
            && self.recv.is_empty()
            && self.reassembly.is_empty()
            && !self.ack_delayed
            && self.early_fin.is_none()
            && self.duplicate.is_none()
            && self.larger_smss.is_none()
    }
}

impl Transfer {
    /// Gives up what came out of order, to make room for what is in order: it was reported, but the peer keeps it until it
    /// is acknowledged (RFC 2018 §8). Keeps `ahead` octets behind what can be read.
    pub fn drop_early(&mut self, ahead: usize, blocks: &mut BlockPool) {
        self.recv.forget_beyond(self.recv.len() + ahead, blocks);
        self.reassembly.clear();
    }
}

/// Entries for which the queues of a spare transfer keep their memory: who has more under way grows them anew.
const SPARE_ENTRIES: usize = 64;
/// Spare transfers are kept for as many connections as have one, and for at least so many.
const LEAST_SPARE: usize = 1_024;

/// The pools that the connections of one shard draw on.
#[derive(Debug)]
pub struct Pools {
    /// Blocks of the buffers.
    pub blocks: BlockPool,
    // Boxes, as they go back to where they came from without a copy.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<Transfer>>,
    transfers: usize,
    /// Data in order found no block: what came out of order anywhere is to make room.
    pub pressed: bool,
    /// Connections whose writes found no block, and that wait to be told of one.
    pub hungry: u32,
}

impl Pools {
    /// Empty pools; buffers take at most `buffer_bytes`.
    pub fn new(buffer_bytes: u64) -> Self {
        Pools { blocks: BlockPool::new(buffer_bytes), spare: Vec::new(), transfers: 0, pressed: false, hungry: 0 }
    }

    /// Whether some write waits for a block, and there is none for it.
    pub fn starves(&self) -> bool {
        self.hungry > 0 && !self.blocks.has_room(Share::Send)
    }

    /// A fresh transfer. There are never more than connections, whose table is bounded.
    pub fn take(&mut self) -> Box<Transfer> {
        self.transfers += 1;
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a transfer back, with its blocks.
    pub fn give(&mut self, mut transfer: Box<Transfer>) {
        let Transfer { send, recv, scoreboard, reassembly, .. } = &mut *transfer;
        send.clear(&mut self.blocks);
        recv.clear(&mut self.blocks);
        scoreboard.clear();
        reassembly.clear();
        // The queues keep a small capacity, everything else starts anew.
        send.shrink_to(SPARE_ENTRIES);
        recv.shrink_to(SPARE_ENTRIES);
        scoreboard.shrink_to(SPARE_ENTRIES);
        let fresh = Transfer {
            send: std::mem::take(send),
            recv: std::mem::replace(recv, ByteQueue::new(Share::Receive)),
            scoreboard: std::mem::take(scoreboard),
            reassembly: std::mem::take(reassembly),
            ..Transfer::default()
        };
        *transfer = fresh;
        self.transfers -= 1;
        self.spare.push(transfer);
        // After a crowd one goes for each that comes back, and one more: never many in one turn.
        let kept = self.spare.len() - self.spare.len().saturating_sub(self.transfers.max(LEAST_SPARE)).min(2);
        self.spare.truncate(kept);
    }

    /// Transfers in use.
    pub fn transfers(&self) -> usize {
        self.transfers
    }
}

#[cfg(test)]
mod tests {
    use super::super::scoreboard::Sent;
    use super::*;

    #[test]
    fn after_a_crowd_few_spare_transfers_are_kept() {
        let mut pools = Pools::new(0);
        let mut crowd: Vec<_> = (0..5_000).map(|_| pools.take()).collect();
        while let Some(transfer) = crowd.pop() {
            pools.give(transfer);
            assert!(pools.spare.len() <= crowd.len().max(LEAST_SPARE), "{} in use", crowd.len());
        }
        assert_eq!((pools.transfers(), pools.spare.len()), (0, LEAST_SPARE));
    }

    #[test]
    fn a_transfer_that_comes_back_keeps_little_of_what_its_peer_made_it_grow_to() {
        let mut pools = Pools::new(8 << 20);
        let mut transfer = pools.take();
        for place in 0..4_000 {
            transfer.scoreboard.push(Sent::new(SeqNum(place), 1, 0, false));
        }
        (0..4_000).for_each(|place| transfer.scoreboard.resent(place, 1));
        transfer.send.push(&[0; 4 << 20], &mut pools.blocks);
        transfer.recv.push(&[0; 1 << 20], &mut pools.blocks);
        let own = |t: &Transfer| t.scoreboard.own_bytes() + t.send.own_bytes() + t.recv.own_bytes();
        assert!(own(&transfer) > 100_000);
        pools.give(transfer);
        let kept = own(&pools.spare[0]);
        assert!(kept <= 4_096, "{kept} octets");
    }
}
