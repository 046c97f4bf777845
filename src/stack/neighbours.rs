//! Who is at which Ethernet address: the neighbour table of one shard (RFC 826, RFC 4861 §7, RFC 1122 §2.3.2).
//!
//! Bounded, and not to be flooded: an address is entered only because we have something to send there or because it
//! completed a handshake, never because it merely wrote to us; gateways are never evicted. Where the host owns ARP it
//! tells us what it knows: there nothing is asked for, and nothing grows stale.

use super::flow_hash::FlowHash;
use super::flow_index::Flow;
use crate::tcp::timer::is_due;
use crate::wire::{Addr, MacAddr};
use hashbrown::HashTable;

/// Milliseconds between two questions for one address (RFC 1122 §2.3.2.1: at most one a second).
const ASK_EVERY_MS: u32 = 1_000;
/// Questions without an answer before an address is given up.
const MOST_QUESTIONS: u8 = 3;
/// Milliseconds after which a known address is asked for again while it is used (RFC 1122 §2.3.2.1: about a minute).
const FRESH_FOR_MS: u32 = 60_000;

struct Neighbour {
    addr: Addr,
    station: Option<Station>,
    /// Known at start, or a gateway: does not give way to others. Where it is it may forget, when it does not answer.
    pinned: bool,
    /// When it was last confirmed, in ticks.
    confirmed_at: u32,
    /// When it was last asked for, in ticks, and how often since it was confirmed.
    asked_at: u32,
    questions: u8,
    /// Flows that wait for the address.
    waiting: Vec<Flow>,
}

impl Neighbour {
    fn is_stale(&self, tick: u32) -> bool {
        is_due(self.confirmed_at.wrapping_add(FRESH_FOR_MS), tick)
    }

    fn grow_stale(&mut self, tick: u32) {
        if !self.is_stale(tick) {
            self.confirmed_at = tick.wrapping_sub(FRESH_FOR_MS);
        }
    }

    /// Where it is, unless it is to be asked for.
    #[inline]
    fn fresh(&self, asks: bool, tick: u32) -> Option<Station> {
        self.station.filter(|_| !asks || !self.is_stale(tick))
    }
}

/// Where a neighbour is: its Ethernet address, and the VLAN tag that its frames carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Station {
    /// Ethernet address.
    pub mac: MacAddr,
    /// Tag of the frames that we learned it from.
    pub vlan: Option<u16>,
}

/// What the table says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It is there.
    Known(Station),
    /// It is not known yet: wait.
    Unknown,
    /// The table is full of others.
    Refused,
}

impl Lookup {
    /// Where it is, if that is known.
    pub fn known(self) -> Option<Station> {
        match self {
            Lookup::Known(station) => Some(station),
            _ => None,
        }
    }
}

/// What to do with an address that is told to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learn {
    /// Note it if the address is in the table (RFC 826, the merge rule).
    Update,
    /// Note it if the address is in the table and where it is was unknown; else it is no more than a reason to ask
    /// (RFC 4861 §7.2.5, without the override flag).
    IfMissing,
    /// Enter it if nothing is known of the address; what is known stays but for its VLAN, so that a handshake cannot move a
    /// neighbour, and of a gateway nothing.
    IfUnknown,
    /// Enter it, whatever was known: the host says so.
    Enter,
}

/// Entries among which the stalest gives way to a newcomer.
const COMPARED: usize = 8;
/// Places that are searched for them; where hardly any may go, the newcomer is refused.
const SEARCHED: usize = 256;

/// The neighbour table.
pub struct Neighbours {
    table: HashTable<Neighbour>,
    keyed: FlowHash,
    limit: usize,
    /// Where the search for one that gives way goes on.
    cursor: usize,
    /// Whether we ask for addresses; not where the host owns ARP.
    asks: bool,
    questions: Vec<Addr>,
    /// Flows that waited in vain.
    given_up: Vec<Flow>,
    /// Who was confirmed last, for whom nobody waits, where, and in which tick: nearly all flows go by the same gateway.
    last: Option<(Addr, Station, u32)>,
}

impl Neighbours {
    /// An empty table of at most `limit` neighbours; `asks` unless the host owns ARP.
    pub fn new(key: &[u8; 16], limit: u32, asks: bool) -> Self {
        Neighbours {
            table: HashTable::new(),
            keyed: FlowHash::new(key),
            limit: limit as usize,
            cursor: 0,
            asks,
            questions: Vec::new(),
            given_up: Vec::new(),
            last: None,
        }
    }

    fn get_mut(&mut self, addr: &Addr) -> Option<&mut Neighbour> {
        self.table.find_mut(self.keyed.addr(addr), |n| n.addr == *addr)
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

    /// Flows that need wait no more, because nobody answers: they try again by their own timers.
    pub fn take_given_up(&mut self) -> Option<Flow> {
        self.given_up.pop()
    }

    /// Where `addr` is; when that is unknown, `waiting` is given back by [`Neighbours::learn`] once it is not. A caller
    /// waits once at a time, so that no more wait than there are connections.
    pub fn find(&mut self, addr: &Addr, waiting: Option<Flow>, tick: u32) -> Lookup {
        if let Some((last, station, confirmed_at)) = self.last
            && (last == *addr && confirmed_at == tick)
        {
            return Lookup::Known(station);
        }
        let asks = self.asks;
        let fresh = self.get_mut(addr).and_then(|neighbour| neighbour.fresh(asks, tick));
        fresh.map_or_else(|| self.find_or_ask(addr, waiting, tick), Lookup::Known)
    }

    #[cold]
    fn find_or_ask(&mut self, addr: &Addr, waiting: Option<Flow>, tick: u32) -> Lookup {
        if self.get_mut(addr).is_none() && !self.enter(*addr, tick) {
            return Lookup::Refused;
        }
        let asks = self.asks;
        let Some(neighbour) = self.get_mut(addr) else { return Lookup::Refused };
        let stale = neighbour.is_stale(tick);
        let pause_over = neighbour.questions == 0 || is_due(neighbour.asked_at.wrapping_add(ASK_EVERY_MS), tick);
        let ask = asks && (neighbour.station.is_none() || stale) && pause_over;
        let mut given_up = Vec::new();
        if ask {
            if neighbour.questions >= MOST_QUESTIONS {
                neighbour.station = None;
                given_up = std::mem::take(&mut neighbour.waiting);
            }
            neighbour.questions = neighbour.questions.saturating_add(1);
            neighbour.asked_at = tick;
        }
        let answer = match neighbour.station {
            Some(station) => Lookup::Known(station),
            None => {
                neighbour.waiting.extend(waiting);
                Lookup::Unknown
            }
        };
        self.given_up.append(&mut given_up);
        if ask {
            self.questions.push(*addr);
        }
        answer
    }

    /// Where `addr` is, if that is known; nothing is entered or asked for it.
    pub fn peek(&mut self, addr: &Addr) -> Option<Station> {
        self.get_mut(addr)?.station
    }

    /// Whether that `addr` is at `station` is what was learnt last, in this tick.
    #[inline(always)]
    pub fn has_just_learnt(&self, addr: &Addr, station: &Station, tick: u32) -> bool {
        self.last.as_ref().is_some_and(|(last, at, learnt)| last == addr && at == station && *learnt == tick)
    }

    /// `addr` is at `station`. Gives the flows that were waiting for it.
    pub fn learn(&mut self, addr: Addr, station: Station, how: Learn, tick: u32) -> Vec<Flow> {
        if station.mac.is_group() {
            return Vec::new();
        }
        if self.confirms(&addr, station, tick) {
            self.last = Some((addr, station, tick));
            return Vec::new();
        }
        self.last = None;
        let only_known = matches!(how, Learn::Update | Learn::IfMissing);
        if self.get_mut(&addr).is_none() && (only_known || !self.enter(addr, tick)) {
            return Vec::new();
        }
        let Some(neighbour) = self.get_mut(&addr) else { return Vec::new() };
        if let Some(known) = neighbour.station.filter(|known| *known != station) {
            match how {
                // The same station in another VLAN, which has been answered there.
                Learn::IfUnknown if known.mac == station.mac && !neighbour.pinned => {}
                Learn::IfUnknown => return Vec::new(),
                Learn::IfMissing => {
                    neighbour.grow_stale(tick);
                    return Vec::new();
                }
                Learn::Update | Learn::Enter => {}
            }
        }
        neighbour.station = Some(station);
        neighbour.confirmed_at = tick;
        neighbour.questions = 0;
        std::mem::take(&mut neighbour.waiting)
    }

    /// Whether this is what is known already, and nobody waits to hear it: then it is so anew.
    fn confirms(&mut self, addr: &Addr, station: Station, tick: u32) -> bool {
        let same = |n: &&mut Neighbour| n.station == Some(station) && n.waiting.is_empty();
        let Some(neighbour) = self.get_mut(addr).filter(same) else { return false };
        neighbour.confirmed_at = tick;
        neighbour.questions = 0;
        true
    }

    /// Enters an address that is never evicted: a gateway, or one that the host told us (then with `mac`).
    pub fn pin(&mut self, addr: Addr, mac: Option<MacAddr>, tick: u32) {
        self.last = None;
        if self.get_mut(&addr).is_none() {
            self.enter(addr, tick);
        }
        if let Some(neighbour) = self.get_mut(&addr) {
            neighbour.pinned = true;
            neighbour.station = mac.map(|mac| Station { mac, vlan: None }).or(neighbour.station);
        }
    }

    fn enter(&mut self, addr: Addr, tick: u32) -> bool {
        if self.table.len() >= self.limit && !self.evict(tick) {
            return false;
        }
        let new = Neighbour {
            addr,
            station: None,
            pinned: false,
            confirmed_at: tick,
            asked_at: tick,
            questions: 0,
            waiting: Vec::new(),
        };
        let keyed = self.keyed;
        self.table.insert_unique(keyed.addr(&addr), new, |n| keyed.addr(&n.addr));
        true
    }

    /// Makes room. Of the next few that may go, one that never answered goes, else the one that was confirmed longest ago:
    /// a full table is not searched through for each newcomer.
    fn evict(&mut self, tick: u32) -> bool {
        let buckets = self.table.num_buckets();
        let mut stalest: Option<((bool, u32), Addr)> = None;
        let mut seen = 0;
        for _ in 0..buckets.min(SEARCHED) {
            self.cursor = (self.cursor + 1) % buckets;
            let found = self.table.get_bucket(self.cursor).filter(|n| !n.pinned && n.waiting.is_empty());
            let Some(neighbour) = found else { continue };
            // Ages, not instants, compare across the wrap of the tick.
            let age = (neighbour.station.is_none(), tick.wrapping_sub(neighbour.confirmed_at));
            if stalest.is_none_or(|(oldest, _)| age > oldest) {
                stalest = Some((age, neighbour.addr));
            }
            seen += 1;
            if seen == COMPARED {
                break;
            }
        }
        let Some((_, addr)) = stalest else { return false };
        self.last = None;
        if let Ok(entry) = self.table.find_entry(self.keyed.addr(&addr), |n| n.addr == addr) {
            entry.remove();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::flow_index::Phase;
    use super::*;

    fn addr(i: u32) -> Addr {
        Addr::from_v4((0x0a00_0000 + i).to_be_bytes())
    }

    const THERE: Station = Station { mac: MacAddr([2, 0, 0, 0, 0, 1]), vlan: None };
    const ELSEWHERE: Station = Station { mac: MacAddr([2, 0, 0, 0, 0, 2]), vlan: Some(5) };

    fn flow(place: u32) -> Option<Flow> {
        Some(Flow::new(Phase::Connection, place))
    }

    fn questions(table: &mut Neighbours) -> usize {
        std::iter::from_fn(|| table.take_question()).count()
    }

    #[test]
    fn one_question_a_second_and_the_waiting_are_told() {
        let mut table = Neighbours::new(&[0; 16], 8, true);
        assert_eq!(table.find(&addr(1), flow(1), 0), Lookup::Unknown);
        assert_eq!(questions(&mut table), 1);
        assert_eq!(table.find(&addr(1), flow(2), 10), Lookup::Unknown);
        assert_eq!(questions(&mut table), 0);
        assert_eq!(table.find(&addr(1), None, 1_000), Lookup::Unknown);
        assert_eq!(questions(&mut table), 1);
        assert_eq!(table.learn(addr(1), THERE, Learn::Update, 1_001), [flow(1).unwrap(), flow(2).unwrap()]);
        assert_eq!(table.find(&addr(1), flow(1), 1_002), Lookup::Known(THERE));
    }

    #[test]
    fn strangers_are_not_entered_and_gateways_neither_evicted_nor_moved() {
        let mut table = Neighbours::new(&[0; 16], 4, true);
        table.pin(addr(99), Some(THERE.mac), 0);
        table.learn(addr(1), THERE, Learn::Update, 0);
        assert_eq!(table.len(), 1);
        for i in 0..100 {
            assert!(table.learn(addr(i), ELSEWHERE, Learn::IfUnknown, i).is_empty());
        }
        assert_eq!(table.len(), 4);
        assert_eq!(table.find(&addr(99), flow(1), 500), Lookup::Known(THERE), "a handshake moves no gateway");
        table.learn(addr(99), ELSEWHERE, Learn::Update, 600);
        assert_eq!(table.find(&addr(99), flow(1), 700), Lookup::Known(ELSEWHERE), "its own ARP does");
    }

    #[test]
    fn a_handshake_in_another_vlan_moves_its_station_there_but_no_gateway() {
        let mut table = Neighbours::new(&[0; 16], 4, true);
        let tagged = Station { vlan: Some(5), ..THERE };
        table.pin(addr(99), Some(THERE.mac), 0);
        for (at, then) in [(addr(1), tagged), (addr(99), THERE)] {
            table.learn(at, THERE, Learn::IfUnknown, 0);
            table.learn(at, tagged, Learn::IfUnknown, 0);
            assert_eq!(table.peek(&at), Some(then));
            table.learn(at, ELSEWHERE, Learn::IfUnknown, 0);
            assert_eq!(table.peek(&at), Some(then), "another station is not believed");
        }
    }

    /// Whoever was confirmed last is not looked up again within the tick: unless something else was heard meanwhile.
    #[test]
    fn what_is_heard_counts_within_the_same_tick() {
        let known = |table: &mut Neighbours| {
            table.learn(addr(1), THERE, Learn::IfUnknown, 7);
            table.learn(addr(1), THERE, Learn::IfUnknown, 7);
            assert_eq!(table.find(&addr(1), flow(1), 7), Lookup::Known(THERE));
        };
        let mut table = Neighbours::new(&[0; 16], 1, true);
        known(&mut table);
        assert_eq!(table.find(&addr(2), flow(1), 7), Lookup::Unknown, "another took its place");
        assert_eq!(table.find(&addr(1), flow(1), 7), Lookup::Refused);

        let mut table = Neighbours::new(&[0; 16], 2, true);
        known(&mut table);
        table.learn(addr(1), ELSEWHERE, Learn::Update, 7);
        assert_eq!(table.find(&addr(1), flow(1), 7), Lookup::Known(ELSEWHERE));

        let mut table = Neighbours::new(&[0; 16], 2, true);
        known(&mut table);
        table.learn(addr(1), ELSEWHERE, Learn::IfMissing, 7);
        assert_eq!(
            (table.find(&addr(1), None, 7), questions(&mut table)),
            (Lookup::Known(THERE), 1),
            "a reason to ask"
        );

        let mut table = Neighbours::new(&[0; 16], 2, true);
        known(&mut table);
        table.pin(addr(1), Some(ELSEWHERE.mac), 7);
        assert_eq!(table.find(&addr(1), None, 7).known().map(|station| station.mac), Some(ELSEWHERE.mac));
    }

    #[test]
    fn the_freshest_stay_across_the_wrap_of_the_tick() {
        let mut table = Neighbours::new(&[0; 16], 2, true);
        table.learn(addr(1), THERE, Learn::IfUnknown, u32::MAX - 10);
        table.learn(addr(2), THERE, Learn::IfUnknown, 5);
        table.learn(addr(3), THERE, Learn::IfUnknown, 10);
        assert_eq!((table.peek(&addr(1)), table.peek(&addr(2))), (None, Some(THERE)));
    }

    #[test]
    fn a_silent_neighbour_is_forgotten_after_three_questions_and_nobody_waits_for_it_any_more() {
        let mut table = Neighbours::new(&[0; 16], 4, true);
        table.learn(addr(1), THERE, Learn::IfUnknown, 0);
        let mut known = 0;
        for second in 0..70 {
            known += u32::from(table.find(&addr(1), flow(second), second * 1_000) == Lookup::Known(THERE));
        }
        assert!((60..66).contains(&known), "used while it is asked for, then not: {known}");
        assert!(table.take_given_up().is_some());
    }

    #[test]
    fn where_the_host_owns_arp_nothing_is_asked_and_nothing_grows_stale() {
        let mut table = Neighbours::new(&[0; 16], 4, false);
        assert_eq!(table.find(&addr(1), flow(1), 0), Lookup::Unknown);
        assert_eq!(table.learn(addr(1), THERE, Learn::Enter, 1).len(), 1);
        assert_eq!(table.find(&addr(1), flow(1), 1_000_000), Lookup::Known(THERE));
        assert!(!table.has_questions());
    }
}
