//! TIME-WAIT entries: stored when a connection is over, expired, reused, or taken out for others.

use super::{CROWD, Shard};
use crate::ledger::TimeWaitEnding;
use crate::stack::flow_index::{Flow, Phase};
use crate::stack::shedding::TIME_WAIT_BYTES_V6;
use crate::tcp::state::{Event, State};
use crate::tcp::time_wait::TimeWait;

/// TIME-WAIT entries that may expire in a turn besides twice as many as came with it.
const EXPIRED_PER_TURN: u64 = 64;

/// Of them, how many are taken out at a time.
const EXPIRED_AT_ONCE: usize = 16;

impl Shard {
    /// When the limit that both families share is reached, the oldest entry of the newcomer's own goes, or of the other.
    pub(super) fn make_room_in_time_wait(&mut self, entry: &TimeWait) {
        let v4 = entry.tuple.local_addr.is_v4();
        while self.time_wait_is_full(v4) {
            let oldest = self.pop_oldest_time_wait(v4);
            let Some((flow, entry)) = oldest else { return };
            self.time_wait_gone(flow, &entry, TimeWaitEnding::Evicted);
        }
    }

    /// Takes out the oldest entry of the one family, or where that has none, of the other.
    pub fn pop_oldest_time_wait(&mut self, v4_first: bool) -> Option<(Flow, TimeWait)> {
        match v4_first {
            true => self.time_wait_v4.pop_oldest().or_else(|| self.time_wait_v6.pop_oldest()),
            false => self.time_wait_v6.pop_oldest().or_else(|| self.time_wait_v4.pop_oldest()),
        }
    }

    fn time_wait_is_full(&self, v4: bool) -> bool {
        let table_is_full = match v4 {
            true => self.time_wait_v4.is_full(),
            false => self.time_wait_v6.is_full(),
        };
        table_is_full || self.time_wait_places() >= self.config.limits.time_wait as usize
    }

    /// Places that are taken in both tables, by entries that wait and by those that were reused.
    pub fn time_wait_places(&self) -> usize {
        self.time_wait_v4.places() + self.time_wait_v6.places()
    }

    pub(super) fn store_time_wait(&mut self, entry: &TimeWait) -> Flow {
        self.note_flow(&entry.tuple);
        if entry.tuple.local_addr.is_v4() {
            self.time_wait_v4.insert(entry, self.env.now_ms())
        } else {
            self.time_wait_v6.insert(entry, self.env.now_ms())
        }
    }

    /// The entry of a TIME-WAIT flow.
    pub fn time_wait(&self, flow: Flow) -> TimeWait {
        match flow.phase() {
            Phase::TimeWaitV4 => self.time_wait_v4.get(flow.place()),
            _ => self.time_wait_v6.get(flow.place()),
        }
    }

    /// Has the entry wait anew (RFC 9293 §3.10.7.4, eighth: restart the 2 MSL timeout).
    pub fn restart_time_wait(&mut self, hash: u64, flow: Flow) {
        let now_ms = self.env.now_ms();
        let place = flow.place();
        let worth = match flow.phase() {
            Phase::TimeWaitV4 => self.time_wait_v4.is_worth_restarting(place, now_ms),
            _ => self.time_wait_v6.is_worth_restarting(place, now_ms),
        };
        let entry = self.time_wait(flow);
        // The new place comes on top of the old one, and nobody gives way for it.
        let no_room = self.time_wait_is_full(entry.tuple.local_addr.is_v4())
            || self.table_bytes() + TIME_WAIT_BYTES_V6 > self.config.limits.table_bytes;
        if !worth || no_room {
            return;
        }
        self.remove_time_wait(flow);
        let anew = self.store_time_wait(&entry);
        self.index.replace(hash, flow, anew);
    }

    fn remove_time_wait(&mut self, flow: Flow) {
        match flow.phase() {
            Phase::TimeWaitV4 => self.time_wait_v4.remove(flow.place()),
            _ => self.time_wait_v6.remove(flow.place()),
        }
    }

    /// Ends an entry before its time, because a new SYN takes its tuple.
    pub fn reuse_time_wait(&mut self, flow: Flow) {
        let entry = self.time_wait(flow);
        self.remove_time_wait(flow);
        self.time_wait_gone(flow, &entry, TimeWaitEnding::Reused);
    }

    /// Ends entries whose time is over: at most twice as many as came since the last turn, and some more. So a turn is
    /// never held up by a crowd that came in a rush and leaves in one, and yet none ever builds up.
    pub fn expire_time_wait(&mut self) {
        let now_ms = self.env.now_ms();
        let came = self.env.ledger.time_wait_created - self.time_wait_seen;
        self.time_wait_seen = self.env.ledger.time_wait_created;
        let [v4, v6] = [self.time_wait_v4.next_due_ms(), self.time_wait_v6.next_due_ms()];
        if [v4, v6].into_iter().flatten().all(|due_ms| due_ms > now_ms) {
            return;
        }
        for _ in 0..(EXPIRED_PER_TURN + 2 * came).div_ceil(EXPIRED_AT_ONCE as u64) {
            let Shard { time_wait_v4, time_wait_v6, index, .. } = self;
            let (mut expired, mut hashes) = ([const { None }; EXPIRED_AT_ONCE], [0; EXPIRED_AT_ONCE]);
            for (place, hash) in expired.iter_mut().zip(&mut hashes) {
                *place = time_wait_v4.pop_expired(now_ms).or_else(|| time_wait_v6.pop_expired(now_ms));
                let Some((_, entry)) = place else { break };
                *hash = index.hash(&entry.tuple);
            }
            if index.len() >= CROWD {
                // Asked of memory before the first is taken out.
                index.load_marks(&hashes);
                hashes.iter().for_each(|hash| _ = std::hint::black_box(index.guess(*hash)));
            }
            for (expired, hash) in expired.iter().zip(hashes) {
                let Some((flow, entry)) = expired else { return };
                self.forget_time_wait(*flow, hash, entry, TimeWaitEnding::Expired);
            }
        }
    }

    /// Ends every entry; at shutdown.
    pub fn evict_time_wait(&mut self) {
        while let Some((flow, entry)) = self.pop_oldest_time_wait(true) {
            self.time_wait_gone(flow, &entry, TimeWaitEnding::Evicted);
        }
    }

    /// An entry is out of its table.
    pub fn time_wait_gone(&mut self, flow: Flow, entry: &TimeWait, ending: TimeWaitEnding) {
        self.forget_time_wait(flow, self.index.hash(&entry.tuple), entry, ending);
    }

    fn forget_time_wait(&mut self, flow: Flow, hash: u64, entry: &TimeWait, ending: TimeWaitEnding) {
        match ending {
            TimeWaitEnding::Expired => self.leave_time_wait(Event::TimeWaitOver, entry),
            TimeWaitEnding::Evicted => self.leave_time_wait(Event::Abort, entry),
            // The half-open entry that takes its place makes the move.
            TimeWaitEnding::Reused => {}
        }
        self.env.ledger.time_wait_endings.count(ending);
        self.index.remove(hash, flow);
        self.ports.release(&entry.tuple);
    }

    fn leave_time_wait(&mut self, event: Event, entry: &TimeWait) {
        self.env.gauges.transition(&mut { State::TimeWait }, event, &entry.tuple, self.env.now());
    }
}
