//! Octet queues made of pooled blocks: memory is taken when data comes and given back when it is gone.

use std::collections::VecDeque;

/// Octets in a block.
pub const BLOCK: usize = 4096;

type Block = Box<[u8; BLOCK]>;

/// What the blocks of a queue are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// Octets to be sent, and sent ones that are not acknowledged.
    #[default]
    Send,
    /// Octets received.
    Receive,
}

/// The blocks of one shard, bounded.
///
/// Neither share may take the last of the pool from the other: an application that must write before it reads on would
/// wait for blocks that hold what it has not read. And what came out of order takes none of the last quarter, so that it
/// cannot keep out what it waits for.
#[derive(Debug)]
pub struct BlockPool {
    free: Vec<Block>,
    /// By share.
    in_use: [usize; 2],
    limit: usize,
    /// What one share may have: an eighth of the pool is the other's alone.
    most: usize,
}

impl BlockPool {
    /// A pool of at most `bytes` octets, taken from the system as they are first needed.
    pub fn new(bytes: u64) -> Self {
        let limit = usize::try_from(bytes / BLOCK as u64).unwrap_or(usize::MAX);
        BlockPool { free: Vec::new(), in_use: [0; 2], limit, most: limit - (limit / 8).max(1).min(limit / 2) }
    }

    fn take(&mut self, share: Share) -> Option<Block> {
        if self.is_out_of(share) {
            return None;
        }
        self.in_use[share as usize] += 1;
        Some(self.free.pop().unwrap_or_else(|| Box::new([0; BLOCK])))
    }

    fn give(&mut self, block: Block, share: Share) {
        self.in_use[share as usize] -= 1;
        self.free.push(block);
    }

    fn free_blocks(&self) -> usize {
        self.limit - self.in_use.iter().sum::<usize>()
    }

    /// Blocks that a share may still take.
    fn left(&self, share: Share) -> usize {
        self.most.saturating_sub(self.in_use[share as usize]).min(self.free_blocks())
    }

    /// Whether this share may take no block at all.
    #[inline]
    pub fn is_out_of(&self, share: Share) -> bool {
        self.in_use[share as usize] >= self.most || self.in_use[0] + self.in_use[1] >= self.limit
    }

    /// Whether more than a sixteenth of the pool can be taken for this share.
    pub fn has_room(&self, share: Share) -> bool {
        self.left(share) > self.limit / 16
    }

    /// Whether what comes out of order may take blocks.
    pub fn has_room_for_early(&self) -> bool {
        self.free_blocks() > self.limit / 4
    }

    /// Octets in blocks that are in use.
    pub fn used_bytes(&self) -> u64 {
        (self.in_use.iter().sum::<usize>() * BLOCK) as u64
    }

    /// Those of one share.
    pub fn share_bytes(&self, share: Share) -> u64 {
        (self.in_use[share as usize] * BLOCK) as u64
    }

    /// The most there may be.
    pub fn limit_bytes(&self) -> u64 {
        (self.limit * BLOCK) as u64
    }
}

/// A queue of octets that may also be written beyond its end, for what comes out of order.
///
/// Must be emptied with [`ByteQueue::clear`] before it is dropped, or its blocks are lost to the pool's count.
#[derive(Debug, Default)]
pub struct ByteQueue {
    /// `None` where only a hole lies.
    blocks: VecDeque<Option<Block>>,
    /// Octets of the first block that were consumed.
    head: usize,
    len: usize,
    /// End of what was written, from the queue's first octet; `len` when nothing lies beyond.
    written: usize,
    share: Share,
}

impl ByteQueue {
    /// An empty queue whose blocks are of this share.
    pub fn new(share: Share) -> Self {
        ByteQueue { share, ..ByteQueue::default() }
    }

    /// Octets queued.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is queued.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Blocks that it holds.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.iter().flatten().count()
    }

    /// Appends as much of `octets` as the pool has blocks for; says how much.
    pub fn push(&mut self, octets: &[u8], pool: &mut BlockPool) -> usize {
        let taken = self.write_at(self.len, octets, pool);
        self.advance(taken);
        taken
    }

    /// Writes `octets` at `offset` from the queue's first octet, where `offset` is at or beyond its end; says how many
    /// octets the pool had blocks for. They are not part of the queue until [`ByteQueue::advance`].
    pub fn write_at(&mut self, offset: usize, octets: &[u8], pool: &mut BlockPool) -> usize {
        debug_assert!(offset >= self.len, "overwriting what is queued");
        let mut at = self.head + offset;
        let mut left = octets;
        while !left.is_empty() {
            let Some(block) = self.block_mut(at / BLOCK, pool) else { break };
            let n = left.len().min(BLOCK - at % BLOCK);
            let (now, later) = left.split_at(n);
            block[at % BLOCK..at % BLOCK + n].copy_from_slice(now);
            at += n;
            left = later;
        }
        self.written = self.written.max(at - self.head);
        octets.len() - left.len()
    }

    fn block_mut(&mut self, index: usize, pool: &mut BlockPool) -> Option<&mut Block> {
        if index >= self.blocks.len() {
            self.blocks.resize_with(index + 1, || None);
        }
        let slot = &mut self.blocks[index];
        if slot.is_none() {
            *slot = pool.take(self.share);
        }
        slot.as_mut()
    }

    /// Makes the `octets` that were written right behind the end part of the queue.
    ///
    /// # Panics
    /// If so many were not written.
    pub fn advance(&mut self, octets: usize) {
        self.len += octets;
        assert!(self.len <= self.written || octets == 0, "advancing over what was never written");
    }

    /// The first contiguous stretch.
    pub fn front(&self) -> &[u8] {
        match self.blocks.front() {
            Some(Some(block)) if self.len > 0 => &block[self.head..BLOCK.min(self.head + self.len)],
            _ => &[],
        }
    }

    /// Copies octets from `offset` on into `into`, which must lie within the queue.
    ///
    /// # Panics
    /// If `offset + into.len()` is beyond the end.
    pub fn copy_out(&self, offset: usize, into: &mut [u8]) {
        assert!(offset + into.len() <= self.len, "reading beyond the queue's end");
        let mut at = self.head + offset;
        let mut into = into;
        while !into.is_empty() {
            let n = into.len().min(BLOCK - at % BLOCK);
            let (now, later) = into.split_at_mut(n);
            let block = self.blocks[at / BLOCK].as_ref().expect("what is queued lies in a block");
            now.copy_from_slice(&block[at % BLOCK..at % BLOCK + n]);
            at += n;
            into = later;
        }
    }

    /// Drops the first `octets`.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn consume(&mut self, octets: usize, pool: &mut BlockPool) {
        assert!(octets <= self.len, "consuming more than is queued");
        self.head += octets;
        self.len -= octets;
        self.written -= octets;
        while self.head >= BLOCK {
            self.give_first(pool);
            self.head -= BLOCK;
        }
        if self.written == 0 {
            self.head = 0;
            while !self.blocks.is_empty() {
                self.give_first(pool);
            }
        }
    }

    fn give_first(&mut self, pool: &mut BlockPool) {
        if let Some(Some(block)) = self.blocks.pop_front() {
            pool.give(block, self.share);
        }
    }

    /// Forgets what was written from `offset` on, at or beyond the queue's end.
    pub fn forget_beyond(&mut self, offset: usize, pool: &mut BlockPool) {
        debug_assert!(offset >= self.len, "forgetting what is queued");
        let end = if offset == 0 { 0 } else { (self.head + offset).div_ceil(BLOCK) };
        for block in self.blocks.drain(end.min(self.blocks.len())..).flatten() {
            pool.give(block, self.share);
        }
        self.written = self.written.min(offset);
        if offset == 0 {
            self.head = 0;
        }
    }

    /// Octets of memory beside the blocks.
    #[cfg(test)]
    pub(super) fn own_bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<Option<Block>>()
    }

    /// Keeps memory of its own for about `blocks` blocks at most, beside what it holds.
    pub fn shrink_to(&mut self, blocks: usize) {
        self.blocks.shrink_to(blocks);
    }

    /// Drops everything, also what lies beyond the end.
    pub fn clear(&mut self, pool: &mut BlockPool) {
        self.len = self.written;
        self.consume(self.len, pool);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_queue_holds_no_block() {
        let mut pool = BlockPool::new(10 * BLOCK as u64);
        let mut queue = ByteQueue::default();
        assert_eq!(queue.push(&[1; 3 * BLOCK + 5], &mut pool), 3 * BLOCK + 5);
        assert_eq!(pool.used_bytes(), 4 * BLOCK as u64);
        queue.consume(3 * BLOCK + 5, &mut pool);
        assert_eq!(pool.used_bytes(), 0);
    }

    #[test]
    fn a_full_pool_takes_what_fits() {
        let mut pool = BlockPool::new(3 * BLOCK as u64);
        let (mut a, mut b) = (ByteQueue::default(), ByteQueue::default());
        assert_eq!(a.push(&[1; BLOCK + 1], &mut pool), BLOCK + 1);
        assert_eq!(b.push(&[1; 1], &mut pool), 0);
        assert_eq!(a.push(&[2; BLOCK], &mut pool), BLOCK - 1);
    }

    #[test]
    fn neither_share_can_take_the_last_of_the_pool_from_the_other() {
        for blocks in [2, 3, 8, 64] {
            for (greedy, modest) in [(Share::Send, Share::Receive), (Share::Receive, Share::Send)] {
                let mut pool = BlockPool::new((blocks * BLOCK) as u64);
                let (mut a, mut b) = (ByteQueue::new(greedy), ByteQueue::new(modest));
                a.push(&vec![1; blocks * BLOCK], &mut pool);
                assert!(b.push(&[1], &mut pool) == 1, "{blocks} blocks, {greedy:?} has taken all that it could");
                assert!(pool.share_bytes(greedy) >= pool.limit_bytes() / 2, "and that is much");
            }
        }
    }

    #[test]
    fn what_lies_beyond_the_end_can_be_forgotten() {
        let mut pool = BlockPool::new(10 * BLOCK as u64);
        for queued in [0, 1, BLOCK, BLOCK + 7] {
            let mut queue = ByteQueue::new(Share::Receive);
            queue.push(&vec![3; queued], &mut pool);
            let before = pool.used_bytes();
            queue.write_at(queued + BLOCK + 1, &[9; 2 * BLOCK], &mut pool);
            assert!(pool.used_bytes() > before);
            queue.forget_beyond(queued, &mut pool);
            assert_eq!((queue.len(), pool.used_bytes()), (queued, before));
            queue.push(b"more", &mut pool);
            let mut tail = [0; 4];
            queue.copy_out(queued, &mut tail);
            assert_eq!(&tail, b"more");
            queue.clear(&mut pool);
            assert_eq!(pool.used_bytes(), 0);
        }
    }

    #[test]
    fn what_is_written_beyond_the_end_waits_there() {
        let mut pool = BlockPool::new(10 * BLOCK as u64);
        let mut queue = ByteQueue::default();
        queue.push(b"ab", &mut pool);
        assert_eq!(queue.write_at(BLOCK + 3, b"far", &mut pool), 3);
        queue.consume(2, &mut pool);
        assert_eq!((queue.len(), queue.front()), (0, &b""[..]));
        assert_eq!(queue.write_at(0, &[7; BLOCK + 1], &mut pool), BLOCK + 1);
        queue.advance(BLOCK + 4);
        let mut tail = [0; 4];
        queue.copy_out(BLOCK, &mut tail);
        assert_eq!(&tail, b"\x07far");
        queue.clear(&mut pool);
        assert_eq!(pool.used_bytes(), 0);
    }

    proptest! {
        #[test]
        fn it_is_a_queue(steps in proptest::collection::vec((0usize..9000, 0usize..9000), 1..40)) {
            let mut pool = BlockPool::new(1 << 24);
            let mut queue = ByteQueue::default();
            let mut model = VecDeque::new();
            let mut next = 0u8;
            for (push, pop) in steps {
                let octets: Vec<u8> = (0..push).map(|_| { next = next.wrapping_add(1); next }).collect();
                prop_assert_eq!(queue.push(&octets, &mut pool), push);
                model.extend(octets);
                let offset = pop / 2;
                if offset + 10 <= queue.len() {
                    let mut seen = [0; 10];
                    queue.copy_out(offset, &mut seen);
                    prop_assert!(seen.iter().eq(model.iter().skip(offset).take(10)));
                }
                prop_assert!(queue.front().iter().eq(model.iter().take(queue.front().len())));
                prop_assert_eq!(queue.front().is_empty(), model.is_empty());
                let pop = pop.min(queue.len());
                queue.consume(pop, &mut pool);
                model.drain(..pop);
                prop_assert_eq!(queue.len(), model.len());
                prop_assert!(pool.used_bytes() <= (queue.len() + 2 * BLOCK) as u64);
            }
            queue.clear(&mut pool);
            prop_assert_eq!(pool.used_bytes(), 0);
        }
    }
}
