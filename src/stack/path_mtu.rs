//! What the paths to other hosts carry, where that is less than our link: learnt by one connection, known to the next
//! (RFC 1191 §6.2, RFC 8201 §5.2).
//!
//! Only what is proven comes in: a packet-too-big that quotes what is in flight (RFC 5927 §4), or smaller segments that
//! came through where larger ones had not (RFC 4821). A connection looks once, when it is established.

use super::shard::Shard;
use crate::tcp::{News, TRY_LARGER_AFTER};
use crate::time::{Duration, Instant};
use crate::wire::Addr;
use std::collections::BTreeMap;

/// Least time between two searches for what is out of date.
const SEARCHED_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Known {
    mtu: u16,
    at: Instant,
}

/// Path MTUs by destination, up to a limit. When it is full nothing new is kept until some are out of date.
pub struct PathMtus {
    known: BTreeMap<Addr, Known>,
    limit: usize,
    searched_at: Option<Instant>,
}

impl PathMtus {
    /// None known, and never more than `limit`.
    pub fn new(limit: u32) -> Self {
        PathMtus { known: BTreeMap::new(), limit: limit as usize, searched_at: None }
    }

    /// Whether nothing is known of any.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Destinations that are kept.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// What the path to `remote` carries, if it is known to be little.
    pub fn get(&self, remote: &Addr, now: Instant) -> Option<u16> {
        self.known.get(remote).filter(|known| now.since(known.at) < TRY_LARGER_AFTER).map(|known| known.mtu)
    }

    /// The path to `remote` carries no more than this; the least of what is told counts. `false`: there is no room.
    pub fn learn(&mut self, remote: Addr, mtu: u16, now: Instant) -> bool {
        let mtu = self.get(&remote, now).map_or(mtu, |known| known.min(mtu));
        if !self.known.contains_key(&remote) && self.known.len() >= self.limit {
            self.drop_outdated(now);
            if self.known.len() >= self.limit {
                return false;
            }
        }
        self.known.insert(remote, Known { mtu, at: now });
        true
    }

    fn drop_outdated(&mut self, now: Instant) {
        if self.searched_at.is_some_and(|at| now.since(at) < SEARCHED_EVERY) {
            return;
        }
        self.searched_at = Some(now);
        self.known.retain(|_, known| now.since(known.at) < TRY_LARGER_AFTER);
    }
}

impl Shard {
    /// Keeps what a connection has found out; tells a new one what others have.
    #[inline]
    pub fn tend_path_mtu(&mut self, index: u32, news: News) {
        let may_know = news.has(News::ACCEPTED | News::CONNECTED) && !self.path_mtus.is_empty();
        if may_know || news.has(News::PATH) {
            self.exchange_path_mtu(index, news);
        }
    }

    #[cold]
    fn exchange_path_mtu(&mut self, index: u32, news: News) {
        let now = self.env.now();
        let Some(tcb) = self.connections.get_mut(index) else { return };
        let headers = if tcb.tuple.local_addr.is_v4() { 40 } else { 60 };
        if news.has(News::PATH) {
            let learnt = self.path_mtus.learn(tcb.tuple.remote_addr, tcb.smss.saturating_add(headers), now);
            self.env.ledger.refused.path_mtus += u64::from(!learnt);
        } else if news.has(News::ACCEPTED | News::CONNECTED)
            && let Some(mtu) = self.path_mtus.get(&tcb.tuple.remote_addr, now)
        {
            tcb.smss = tcb.smss.min(mtu.saturating_sub(headers));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u8) -> Addr {
        Addr::from_v4([10, 0, 0, n])
    }

    #[test]
    fn the_least_counts_for_ten_minutes_from_the_last() {
        let mut paths = PathMtus::new(8);
        let at = |s| Instant::ZERO + Duration::from_secs(s);
        assert!(paths.learn(host(1), 1_400, at(0)) && paths.learn(host(1), 1_450, at(100)));
        assert_eq!((paths.get(&host(1), at(699)), paths.get(&host(1), at(700))), (Some(1_400), None));
        assert_eq!(paths.get(&host(2), at(1)), None, "another destination");
        assert!(paths.learn(host(1), 1_450, at(701)));
        assert_eq!(paths.get(&host(1), at(701)), Some(1_450), "what is out of date counts no more");
    }

    #[test]
    fn full_means_refuse_until_some_are_out_of_date() {
        let mut paths = PathMtus::new(2);
        let at = |s| Instant::ZERO + Duration::from_secs(s);
        assert!(paths.learn(host(1), 1_000, at(0)) && paths.learn(host(2), 1_000, at(10)));
        assert!(!paths.learn(host(3), 1_000, at(20)), "no room");
        assert!(paths.learn(host(2), 900, at(20)), "but for one that is there");
        assert!(paths.learn(host(3), 1_000, at(600)), "the first is out of date");
        assert_eq!((paths.len(), paths.get(&host(2), at(600))), (2, Some(900)));
    }
}
