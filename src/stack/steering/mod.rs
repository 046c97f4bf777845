//! Which worker owns a flow: by default one function of the 4-tuple, the same for all workers and for as long as they run.
//!
//! The function is that of receive-side scaling: a Toeplitz hash picks an entry of a table, and the entry names the
//! worker. Where the NIC tells its key and table, they are taken as they are at start: then a frame comes in on its
//! owner's queue by itself. Where it does not (veth, a hash that we cannot foretell), key and table are our own. Either
//! way a frame of a flow that the receiving worker does not know is handed to its owner, so no frame is lost to a fixed
//! hash, an asymmetric one, a table that is changed later, or a sender that changes its queue.
//!
//! The owner of a flow never changes, also when the NIC's table does: what that costs is a copy for each frame that comes
//! in elsewhere, never a connection.
//!
//! A NIC that keeps each flow on a queue of its own choosing, and does not tell how it chooses, leaves a third way: a flow
//! that a peer opens belongs to the worker at whose queue its SYN came in ([`Sharding::Arrival`]). Nothing foretells that
//! owner, so a frame that comes in elsewhere is handed from worker to worker until one knows its flow ([`Search`]).

mod search;
mod toeplitz;

pub use search::Search;
pub use toeplitz::{LEAST_KEY, Toeplitz};

use crate::wire::{Addr, FourTuple};
use std::sync::Arc;

/// How a NIC spreads the flows over its queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rss {
    /// The key of its Toeplitz hash.
    pub key: Vec<u8>,
    /// The queue of each hash, which picks its entry by the remainder of a division by the table's length.
    pub table: Vec<u32>,
}

/// How flows are shared out among the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, strum::Display, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Sharding {
    /// By a function of the 4-tuple.
    #[default]
    Hash,
    /// A flow that a peer opens belongs to the worker at whose queue its SYN came in; one that we open, as by hash.
    Arrival,
}

/// The function from a flow to its owner.
pub struct Steering {
    toeplitz: Toeplitz,
    table: Vec<u16>,
    workers: usize,
    sharding: Sharding,
}

impl Steering {
    /// The NIC's function; `None` where it cannot serve as such, because its key is too short or one of the workers would
    /// own nothing.
    pub fn of_nic(rss: &Rss, workers: usize) -> Option<Self> {
        let toeplitz = Toeplitz::new(&rss.key)?;
        let known = |queue: &u32| (*queue as usize) < workers;
        let table: Option<Vec<u16>> =
            rss.table.iter().map(|queue| u16::try_from(*queue).ok().filter(|_| known(queue))).collect();
        let table = table?;
        let all_own = (0..workers).all(|worker| table.contains(&(worker as u16)));
        all_own.then_some(Steering { toeplitz, table, workers, sharding: Sharding::Hash })
    }

    /// A function of our own with this secret key, so that nobody outside can aim at one worker.
    pub fn of_our_own(key: &[u8; LEAST_KEY], workers: usize) -> Self {
        let toeplitz = Toeplitz::new(key).expect("the key is as long as it must be");
        Steering { toeplitz, table: (0..workers.max(1) as u16).collect(), workers, sharding: Sharding::Hash }
    }

    /// The same, but flows that peers open are shared out so.
    pub fn with(self, sharding: Sharding) -> Self {
        Steering { sharding, ..self }
    }

    /// The worker that owns a flow; where flows are shared out by arrival, one that we open.
    pub fn owner(&self, tuple: &FourTuple) -> usize {
        self.entry(self.toeplitz.hash(tuple))
    }

    fn entry(&self, hash: u32) -> usize {
        usize::from(self.table[hash as usize % self.table.len()])
    }
}

/// One worker's share of all flows.
#[derive(Clone)]
pub struct Share(Option<(Arc<Steering>, usize)>);

impl Share {
    /// All of them: there is one worker.
    pub fn whole() -> Self {
        Share(None)
    }

    /// The share of `worker`.
    pub fn new(steering: &Arc<Steering>, worker: usize) -> Self {
        Share((steering.workers > 1).then(|| (steering.clone(), worker)))
    }

    /// Whether there are others.
    pub fn is_part(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a flow that a peer opens here is ours because its SYN came in here.
    pub fn is_by_arrival(&self) -> bool {
        self.0.as_ref().is_some_and(|(steering, _)| steering.sharding == Sharding::Arrival)
    }

    /// To whom goes a frame of a flow that we do not know, whether a peer may have opened it or only we, and in which search
    /// it has come to us, if others handed it over; `None` when it is ours to answer.
    pub fn next(&self, tuple: &FourTuple, may_be_peers: bool, search: Option<Search>) -> Option<Search> {
        let (steering, me) = self.0.as_ref()?;
        match (steering.sharding, search) {
            (Sharding::Arrival, None) if may_be_peers => Some(Search::begin(*me, (me + 1) % steering.workers)),
            (Sharding::Arrival, Some(search)) if may_be_peers => search.next(steering.workers),
            (_, None) => Some(steering.owner(tuple)).filter(|owner| owner != me).map(|owner| Search::begin(*me, owner)),
            // All agree on the owner.
            (_, Some(_)) => None,
        }
    }

    /// The other worker that owns a flow that we would open; `None` when it is ours.
    pub fn other_owner(&self, tuple: &FourTuple) -> Option<usize> {
        let (steering, me) = self.0.as_ref()?;
        Some(steering.owner(tuple)).filter(|owner| owner != me)
    }

    /// Of so many things that are spread over all flows, about how many are ours.
    pub fn of(&self, total: u64) -> u64 {
        let Some((steering, me)) = &self.0 else { return total };
        let entries = steering.table.iter().filter(|worker| usize::from(**worker) == *me).count() as u64;
        (total * entries).div_ceil(steering.table.len() as u64)
    }

    /// The local ports from 64 × `word` on, a bit each, with which our flows to that destination are ours, so that its
    /// replies find us.
    pub fn ports(&self, local: &Addr, remote: &Addr, remote_port: u16, word: u16) -> u64 {
        let Some((steering, me)) = &self.0 else { return u64::MAX };
        let base = steering.toeplitz.hash_but_local_port(local, remote, remote_port);
        let v4 = local.is_v4();
        (0..64).fold(0, |ours, bit| {
            let port = (word << 6) + bit;
            let is_ours = steering.entry(base ^ steering.toeplitz.local_port(port, v4)) == *me;
            ours | u64::from(is_ours) << bit
        })
    }
}

#[cfg(test)]
mod arrival_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(i: u32, v4: bool) -> FourTuple {
        let addr = |last: u8| if v4 { Addr::from_v4([10, 0, 0, last]) } else { Addr::from_v6([last; 16]) };
        FourTuple { local_addr: addr(1), remote_addr: addr(2), local_port: 443, remote_port: i as u16 }
    }

    /// Octets without a pattern, which would make the hash a poor one.
    fn key<const N: usize>(seed: u64) -> [u8; N] {
        let keyed = crate::stack::flow_index::FlowIndex::new(&[9; 16]).keyed();
        std::array::from_fn(|i| keyed.hash(&tuple(seed as u32 * 64 + i as u32, true)) as u8)
    }

    fn rss(table: &[u32]) -> Rss {
        Rss { key: key::<52>(1).to_vec(), table: table.to_vec() }
    }

    #[test]
    fn the_nics_function_needs_its_key_and_work_for_every_worker() {
        assert!(Steering::of_nic(&rss(&[0, 1, 2, 3]), 4).is_some());
        assert!(Steering::of_nic(&rss(&[0, 1, 0, 1]), 4).is_none(), "workers 2 and 3 would own nothing");
        assert!(Steering::of_nic(&rss(&[0, 1, 2, 3]), 2).is_none(), "a queue without a worker");
        assert!(Steering::of_nic(&Rss { key: vec![1; 39], ..rss(&[0, 1]) }, 2).is_none());
        assert!(Steering::of_nic(&rss(&[]), 2).is_none());
    }

    #[test]
    fn every_flow_has_one_owner_and_every_worker_a_fair_share() {
        for workers in [2, 3, 4, 7, 64] {
            let steering = Arc::new(Steering::of_our_own(&key(workers as u64), workers));
            let shares: Vec<_> = (0..workers).map(|worker| Share::new(&steering, worker)).collect();
            for v4 in [true, false] {
                let mut owned = vec![0u32; workers];
                for i in 0..1 << 14 {
                    let tuple = tuple(i, v4);
                    let owner = steering.owner(&tuple);
                    owned[owner] += 1;
                    assert_eq!(shares[owner].other_owner(&tuple), None);
                    let other = (owner + 1) % shares.len();
                    assert_eq!(shares[other].other_owner(&tuple), Some(owner));
                }
                let fair = (1 << 14) / workers as u32;
                assert!(owned.iter().all(|n| (fair / 2..fair * 2).contains(n)), "{workers}: {owned:?}");
            }
        }
    }

    #[test]
    fn a_port_is_ours_exactly_when_its_flow_is() {
        let steering = Arc::new(Steering::of_nic(&rss(&[3, 1, 2, 0, 0, 1, 2, 3]), 4).unwrap());
        for v4 in [true, false] {
            let t = tuple(80, v4);
            let mut owners = vec![0u8; 1 << 16];
            for worker in 0..4 {
                let share = Share::new(&steering, worker);
                for word in 0..1024u16 {
                    let ours = share.ports(&t.local_addr, &t.remote_addr, t.remote_port, word);
                    for bit in 0..64 {
                        let port = (word << 6) + bit;
                        let is_ours = share.other_owner(&FourTuple { local_port: port, ..t }).is_none();
                        assert_eq!(ours >> bit & 1 == 1, is_ours, "worker {worker} port {port}");
                        owners[usize::from(port)] += u8::from(is_ours);
                    }
                }
            }
            assert!(owners.iter().all(|owners| *owners == 1), "no two workers can open the same 4-tuple");
        }
    }

    #[test]
    fn a_lone_worker_owns_everything() {
        let steering = Arc::new(Steering::of_our_own(&[7; LEAST_KEY], 1));
        for share in [Share::whole(), Share::new(&steering, 0)] {
            assert!(!share.is_part());
            assert_eq!((share.other_owner(&tuple(1, true)), share.of(9)), (None, 9));
            let any = Addr::UNSPECIFIED_V4;
            assert_eq!(share.ports(&any, &any, 1, 7), u64::MAX);
        }
    }
}
