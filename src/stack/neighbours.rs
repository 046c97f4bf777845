//! Who is at which Ethernet address: the neighbour table of one shard (RFC 826, RFC 4861 §7, RFC 1122 §2.3.2).
//!
//! Bounded, and not to be flooded: an address is entered only because we asked for it or because it completed a
//! handshake, never because it merely wrote to us; gateways are never evicted.

use super::flow_index::Flow;
use crate::tcp::timer::is_due;
use crate::wire::{Addr, MacAddr};
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// Milliseconds between two questions for one address (RFC 1122 §2.3.2.1: at most one a second).
const ASK_EVERY: u32 = 1_000;
/// Questions without an answer before an address is given up.
const MOST_QUESTIONS: u8 = 3;
/// Milliseconds after which a known address is asked for again while it is used (RFC 1122 §2.3.2.1: about a minute).
const FRESH_FOR: u32 = 60_000;

struct Neighbour {
    addr: Addr,
    mac: Option<MacAddr>,
    /// Known at start, or a gateway: not evicted.
    pinned: bool,
    /// When it was last confirmed, in ticks.
    confirmed_at: u32,
    /// When it was last asked for, in ticks, and how often since it was confirmed.
    asked_at: u32,
    questions: u8,
    /// Flows that wait for the address.
    waiting: Vec<Flow>,
}

/// What the table says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It is there.
    Known(MacAddr),
    /// It is not known yet: wait, and ask if `ask`.
    Unknown {
        /// Whether a question is due.
        ask: bool,
    },
    /// The table is full of others.
    Refused,
}

/// The neighbour table.
pub struct Neighbours {
    table: HashTable<Neighbour>,
    keyed: SipHasher13,
    limit: usize,
    questions: Vec<Addr>,
}

impl Neighbours {
    /// An empty table of at most `limit` neighbours.
    pub fn new(key: &[u8; 16], limit: u32) -> Self {
        Neighbours {
            table: HashTable::new(),
            keyed: SipHasher13::new_with_key(key),
            limit: limit as usize,
            questions: Vec::new(),
        }
    }

    fn hash(keyed: &SipHasher13, addr: &Addr) -> u64 {
        let mut hasher = *keyed;
        hasher.write(addr.octets());
        hasher.finish()
    }

    fn get_mut(&mut self, addr: &Addr) -> Option<&mut Neighbour> {
        self.table.find_mut(Self::hash(&self.keyed, addr), |n| n.addr == *addr)
    }

    /// Neighbours in the table.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Takes out the questions that are due: addresses to ask for by ARP or neighbour solicitation.
    pub fn take_question(&mut self) -> Option<Addr> {
        self.questions.pop()
    }

    /// Puts a question back that found no room.
    pub fn put_back(&mut self, addr: Addr) {
        self.questions.push(addr);
    }

    /// Whether questions are due.
    pub fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }

    /// The Ethernet address of `addr`; when it is unknown, `waiting` is given back by [`Neighbours::learn`] once it is
    /// not. A caller waits once at a time, so that no more wait than there are connections.
    pub fn find(&mut self, addr: &Addr, waiting: Option<Flow>, tick: u32) -> Lookup {
        if self.get_mut(addr).is_none() && !self.enter(*addr, None, tick) {
            return Lookup::Refused;
        }
        let Some(neighbour) = self.get_mut(addr) else { return Lookup::Refused };
        let stale = is_due(neighbour.confirmed_at.wrapping_add(FRESH_FOR), tick);
        let mut ask = false;
        if (neighbour.mac.is_none() || stale) && !neighbour.pinned_and_known() {
            ask = neighbour.questions == 0 || is_due(neighbour.asked_at.wrapping_add(ASK_EVERY), tick);
        }
        if ask {
            if neighbour.questions >= MOST_QUESTIONS {
                neighbour.mac = None;
            }
            neighbour.questions = neighbour.questions.saturating_add(1);
            neighbour.asked_at = tick;
        }
        let answer = match neighbour.mac {
            Some(mac) => Lookup::Known(mac),
            None => {
                neighbour.waiting.extend(waiting);
                Lookup::Unknown { ask }
            }
        };
        if ask {
            self.questions.push(*addr);
        }
        answer
    }

    /// `addr` is at `mac`. It is entered if `enter`, else only noted when it is in the table already (RFC 826, the merge
    /// rule). Gives the flows that were waiting for it.
    pub fn learn(&mut self, addr: Addr, mac: MacAddr, enter: bool, tick: u32) -> Vec<Flow> {
        if mac.is_group() {
            return Vec::new();
        }
        if self.get_mut(&addr).is_none() && !(enter && self.enter(addr, Some(mac), tick)) {
            return Vec::new();
        }
        let Some(neighbour) = self.get_mut(&addr) else { return Vec::new() };
        neighbour.mac = Some(mac);
        neighbour.confirmed_at = tick;
        neighbour.questions = 0;
        std::mem::take(&mut neighbour.waiting)
    }

    /// Enters an address that is never evicted: a gateway, or one that the host told us (then with `mac`).
    pub fn pin(&mut self, addr: Addr, mac: Option<MacAddr>, tick: u32) {
        if self.get_mut(&addr).is_none() {
            self.enter(addr, mac, tick);
        }
        if let Some(neighbour) = self.get_mut(&addr) {
            neighbour.pinned = true;
            neighbour.mac = mac.or(neighbour.mac);
        }
    }

    fn enter(&mut self, addr: Addr, mac: Option<MacAddr>, tick: u32) -> bool {
        if self.table.len() >= self.limit && !self.evict() {
            return false;
        }
        let new = Neighbour {
            addr,
            mac,
            pinned: false,
            confirmed_at: tick,
            asked_at: tick,
            questions: 0,
            waiting: Vec::new(),
        };
        let keyed = self.keyed;
        self.table.insert_unique(Self::hash(&keyed, &addr), new, |n| Self::hash(&keyed, &n.addr));
        true
    }

    /// Makes room: first what never answered, then what was confirmed longest ago.
    fn evict(&mut self) -> bool {
        let victim = self.table.iter().filter(|n| !n.pinned && n.waiting.is_empty());
        // Ages, not instants, compare across the wrap of the tick.
        let newest = self.table.iter().map(|n| n.confirmed_at).max().unwrap_or(0);
        let victim = victim.max_by_key(|n| (n.mac.is_none(), newest.wrapping_sub(n.confirmed_at)));
        let Some(addr) = victim.map(|n| n.addr) else { return false };
        if let Ok(entry) = self.table.find_entry(Self::hash(&self.keyed, &addr), |n| n.addr == addr) {
            entry.remove();
        }
        true
    }
}

impl Neighbour {
    fn pinned_and_known(&self) -> bool {
        self.pinned && self.mac.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::flow_index::Phase;
    use super::*;

    fn addr(i: u32) -> Addr {
        Addr::from_v4((0x0a00_0000 + i).to_be_bytes())
    }

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    fn flow(place: u32) -> Option<Flow> {
        Some(Flow::new(Phase::Connection, place))
    }

    #[test]
    fn one_question_a_second_and_the_waiting_are_told() {
        let mut table = Neighbours::new(&[0; 16], 8);
        assert_eq!(table.find(&addr(1), flow(1), 0), Lookup::Unknown { ask: true });
        assert_eq!(table.find(&addr(1), flow(2), 10), Lookup::Unknown { ask: false });
        assert_eq!(table.find(&addr(1), None, 1_000), Lookup::Unknown { ask: true });
        assert_eq!(table.learn(addr(1), MAC, false, 1_001), [flow(1).unwrap(), flow(2).unwrap()]);
        assert_eq!(table.find(&addr(1), flow(1), 1_002), Lookup::Known(MAC));
    }

    #[test]
    fn strangers_are_not_entered_and_gateways_not_evicted() {
        let mut table = Neighbours::new(&[0; 16], 4);
        table.pin(addr(99), Some(MAC), 0);
        table.learn(addr(1), MAC, false, 0);
        assert_eq!(table.len(), 1);
        for i in 0..100 {
            assert!(table.learn(addr(i), MAC, true, i).is_empty());
        }
        assert_eq!(table.len(), 4);
        assert_eq!(table.find(&addr(99), flow(1), 500), Lookup::Known(MAC));
    }

    #[test]
    fn a_silent_neighbour_is_forgotten_after_three_questions() {
        let mut table = Neighbours::new(&[0; 16], 4);
        table.learn(addr(1), MAC, true, 0);
        let mut known = 0;
        for second in 0..70 {
            known += u32::from(table.find(&addr(1), flow(1), second * 1_000) == Lookup::Known(MAC));
        }
        assert!((60..66).contains(&known), "used while it is asked for, then not: {known}");
    }
}
