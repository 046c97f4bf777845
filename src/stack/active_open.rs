//! The tuple of an active open: our address and port as asked for, or the next that are free; and what those after it will need
//! of the index, asked of memory for many at a time.

use super::app::{Connect, ConnectError};
use super::shard::{CROWD, Shard};
use crate::wire::{Addr, FourTuple};

/// Opens whose places in the index are loaded at once.
const AHEAD: usize = 32;
/// Addresses among which those of the peer's family are looked for.
const LOOKED_AT: usize = 4 * AHEAD;

/// How far ahead of the active opens the index was loaded.
#[derive(Default)]
pub(super) struct Foresight {
    /// Whom the last was for: who opens one after another goes on with the same.
    towards: Option<(Addr, u16)>,
    /// Opens that it still holds for.
    left: usize,
}

impl Shard {
    /// Our end of a new connection.
    ///
    /// # Errors
    /// [`ConnectError::NoLocalAddress`], [`ConnectError::OwnedElsewhere`], [`ConnectError::PortsExhausted`].
    pub(super) fn choose_tuple(&mut self, what: &Connect, remote_addr: Addr) -> Result<FourTuple, ConnectError> {
        let remote_port = what.remote.port();
        let Some(local) = what.local else { return self.next_tuple(remote_addr, remote_port) };
        let addr = Addr::from(local.ip());
        if !self.locals.hold(&addr) || addr.is_v4() != remote_addr.is_v4() {
            return Err(ConnectError::NoLocalAddress);
        }
        let tuple = FourTuple { local_addr: addr, remote_addr, local_port: local.port(), remote_port };
        if local.port() == 0 {
            return self.take_port(addr, remote_addr, remote_port).ok_or(ConnectError::PortsExhausted);
        }
        if self.share.other_owner(&tuple).is_some() {
            return Err(ConnectError::OwnedElsewhere);
        }
        let free = self.find(&tuple).1.is_none() && self.ports.take_exactly(&tuple);
        free.then_some(tuple).ok_or(ConnectError::PortsExhausted)
    }

    /// From the first of our addresses that has a port left for the destination; each time another comes first.
    fn next_tuple(&mut self, remote_addr: Addr, remote_port: u16) -> Result<FourTuple, ConnectError> {
        let start = self.routes.next_rotation();
        if self.opens_are_due((remote_addr, remote_port)) {
            let sources = (0..self.routes.len()).filter_map(|at| self.routes.source(start.wrapping_add(at)));
            self.expect_opens((remote_addr, remote_port), sources);
        }
        let mut any = false;
        for at in 0..self.routes.len() {
            let Some(addr) = self.routes.source(start.wrapping_add(at)) else { break };
            if addr.is_v4() != remote_addr.is_v4() {
                continue;
            }
            any = true;
            if let Some(tuple) = self.take_port(addr, remote_addr, remote_port) {
                return Ok(tuple);
            }
        }
        Err(if any { ConnectError::PortsExhausted } else { ConnectError::NoLocalAddress })
    }

    /// A tuple that nobody uses: a port whose tuple a listener's connection has is passed over, and is free again with it.
    fn take_port(&mut self, local_addr: Addr, remote_addr: Addr, remote_port: u16) -> Option<FourTuple> {
        loop {
            let local_port = self.ports.take(local_addr, remote_addr, remote_port, &self.isns)?;
            let tuple = FourTuple { local_addr, remote_addr, local_port, remote_port };
            if self.find(&tuple).1.is_none() {
                return Some(tuple);
            }
        }
    }

    /// Whether it is worth loading what the next opens towards this peer will need of the index: it is large, and they have used
    /// up what was loaded last. Asked once for each open.
    pub(super) fn opens_are_due(&mut self, remote: (Addr, u16)) -> bool {
        let Foresight { towards, left } = &mut self.foresight;
        if towards.replace(remote) != Some(remote) || *left > 0 {
            *left = left.saturating_sub(1);
            return false;
        }
        *left = AHEAD - 1;
        self.index.len() >= CROWD
    }

    /// Loads the places in the index of the opens that will likely come next, from these addresses of ours in turn. Of a crowd
    /// each lies elsewhere, and one by one they would all be waited for.
    pub(super) fn expect_opens(&self, remote: (Addr, u16), sources: impl Iterator<Item = Addr>) {
        let (mut hashes, mut count) = ([0; AHEAD], 0);
        for (hash, tuple) in hashes.iter_mut().zip(self.likely_tuples(remote, sources)) {
            *hash = self.index.hash(&tuple);
            count += 1;
        }
        self.index.load_marks(&hashes[..count]);
        hashes[..count].iter().for_each(|hash| self.index.load_vacancy(*hash));
    }

    /// What [`Shard::choose_tuple`] will choose in the next [`AHEAD`] opens for these sources in turn, if nobody interferes; only
    /// what is known without a search.
    fn likely_tuples(
        &self,
        (remote_addr, remote_port): (Addr, u16),
        sources: impl Iterator<Item = Addr>,
    ) -> impl Iterator<Item = FourTuple> {
        let (mut round, mut count) = ([remote_addr; AHEAD], 0);
        let sources = sources.take(LOOKED_AT).filter(|source| source.is_v4() == remote_addr.is_v4());
        for (place, source) in round.iter_mut().zip(sources) {
            *place = source;
            count += 1;
        }
        (0..if count > 0 { AHEAD } else { 0 }).filter_map(move |at| {
            let local_addr = round[at % count];
            let local_port = self.ports.upcoming(local_addr, remote_addr, remote_port, at / count)?;
            Some(FourTuple { local_addr, remote_addr, local_port, remote_port })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::flow_index::{Flow, Phase};
    use crate::stack::steering::{Share, Steering};
    use crate::stack::{CookieKeys, LocalAddr, Secrets, StackConfig};
    use crate::time::Instant;
    use crate::wire::MacAddr;
    use std::sync::Arc;

    fn shard(sources: u8, share: Share) -> Shard {
        let key = [1; 16];
        let at = |i| LocalAddr { addr: Addr::from_v4([10, 0, 0, i]), prefix_len: 24 };
        let addresses = (1..=sources).map(at).chain([LocalAddr { addr: Addr::from_v6([0xfd; 16]), prefix_len: 64 }]);
        let secrets = Secrets { isn: key, flow_hash: key, cookie: CookieKeys::alone(key) };
        let config = StackConfig::new(MacAddr([2, 0, 0, 0, 0, 1]), addresses.collect(), secrets);
        Shard::new(config, share, Instant::ZERO)
    }

    #[test]
    fn what_is_loaded_is_what_the_next_opens_need() {
        let steering = Arc::new(Steering::of_our_own(&std::array::from_fn(|i| (i as u8).wrapping_mul(151) ^ 0x35), 4));
        for (sources, share) in
            [1, 3, 100].into_iter().flat_map(|n| [(n, Share::whole()), (n, Share::new(&steering, 2))])
        {
            let mut shard = shard(sources, share);
            let peer = (Addr::from_v4([10, 0, 0, 200]), 80);
            let connect = Connect::to("10.0.0.200:80".parse().unwrap());
            let open = |shard: &mut Shard| shard.choose_tuple(&connect, peer.0).expect("ports are left");
            // Once round, so that each source has its first port.
            (0..=sources).for_each(|_| _ = open(&mut shard));
            let (mut likely, mut right) = (0, 0);
            for _ in 0..8 {
                let next = shard.routes.next_rotation() + 1;
                let ours = (0..=usize::from(sources)).filter_map(|at| shard.routes.source(next + at));
                let foreseen: Vec<_> = shard.likely_tuples(peer, ours).collect();
                let chosen: Vec<_> = (0..AHEAD).map(|_| open(&mut shard)).collect();
                likely += foreseen.len();
                right += foreseen.iter().filter(|tuple| chosen.contains(tuple)).count();
            }
            // Where our only address of the other family has its turn, the one behind it comes twice.
            assert!(right >= likely * 3 / 4, "{right} of {likely} from {sources} sources");
            // Of one source only what is ours among the 64 ports under way is known.
            let least = if sources == 1 { AHEAD / 2 } else { 8 * AHEAD / 3 };
            assert!(likely >= least, "{likely} from {sources} sources");
        }
    }

    #[test]
    fn addresses_without_end_of_another_family_end_nevertheless() {
        let shard = shard(1, Share::whole());
        let peer = (Addr::from_v4([10, 0, 0, 200]), 80);
        assert_eq!(shard.likely_tuples(peer, std::iter::repeat(Addr::from_v6([0xfd; 16]))).count(), 0);
        assert_eq!(shard.likely_tuples(peer, std::iter::empty()).count(), 0);
    }

    #[test]
    fn they_are_due_once_for_as_many_opens_and_not_for_a_small_index() {
        let mut shard = shard(1, Share::whole());
        let (one, other) = ((Addr::from_v4([10, 0, 0, 200]), 80), (Addr::from_v4([10, 0, 0, 201]), 80));
        assert!((0..100).all(|_| !shard.opens_are_due(one)), "a small index is in the caches");
        for place in 0..CROWD as u32 {
            let hash = |flow: &Flow| u64::from(flow.place()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let flow = Flow::new(Phase::HalfOpen, place);
            shard.index.insert(hash(&flow), flow, hash);
        }
        let due = (0..10 * AHEAD).filter(|_| shard.opens_are_due(one)).count();
        assert!((9..=10).contains(&due), "{due} times for {} opens", 10 * AHEAD);
        assert!((0..100).all(|i| !shard.opens_are_due(if i % 2 == 0 { other } else { one })), "nobody goes on");
    }
}
