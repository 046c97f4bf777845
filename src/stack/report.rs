//! The shard's counters and gauges as a snapshot, audited by the laws of the ledger.

use super::defence::Step;
use super::shard::Shard;
use super::shedding::{CONNECTION_BYTES, HALF_OPEN_BYTES, TIME_WAIT_BYTES, TIME_WAIT_BYTES_V6};
use crate::ledger::DropReason;
use crate::stats::{BytesPerEntry, Connections, Defence, Frames, Pool, Snapshot};
use crate::tcp::State;
use std::collections::BTreeMap;
use strum::IntoEnumIterator;

fn rows(rows: impl Iterator<Item = (&'static str, u64)>) -> BTreeMap<String, u64> {
    rows.map(|(name, count)| (name.to_string(), count)).collect()
}

impl Shard {
    pub fn snapshot(&self) -> Snapshot {
        use crate::ledger::Ending;
        let ledger = &self.env.ledger;
        let ended = |ending: Ending| ledger.endings.of(ending);
        let mut snapshot = Snapshot {
            states: State::iter().map(|state| (state.key().to_string(), self.env.gauges.of(state))).collect(),
            connections: Connections {
                opened: ledger.opened(),
                passive: ledger.opened_passive,
                active: ledger.opened_active,
                closed: ended(Ending::Closed),
                reset: ended(Ending::Reset),
                aborted: ended(Ending::Aborted),
                refused: ended(Ending::Refused),
                timed_out: ended(Ending::TimedOut),
                idle: ledger.idle_ended,
                retransmitted: ledger.retransmitted,
                fast_retransmits: ledger.fast_retransmits,
                taken_back: ledger.taken_back,
            },
            frames: Frames {
                received: ledger.frames_received,
                taken: ledger.frames_taken,
                sent: ledger.frames_sent,
                bytes_received: ledger.bytes_received,
                bytes_sent: ledger.bytes_sent,
                handled: rows(ledger.handled.rows()),
                dropped: rows(ledger.dropped.rows().filter(|(_, count)| *count > 0)),
            },
            bytes_per_entry: BytesPerEntry {
                half_open: HALF_OPEN_BYTES,
                established: CONNECTION_BYTES,
                time_wait: TIME_WAIT_BYTES,
                time_wait_v6: TIME_WAIT_BYTES_V6,
            },
            half_open: with_total("created", ledger.half_open_created, rows(ledger.half_open_endings.rows())),
            time_wait: with_total("created", ledger.time_wait_created, rows(ledger.time_wait_endings.rows())),
            pools: self.pools_in_use(),
            refused: self.refusals(),
            defence: self.defence(),
            ..Snapshot::default()
        };
        snapshot.audit();
        snapshot
    }

    fn pools_in_use(&self) -> BTreeMap<String, Pool> {
        let limits = &self.config.limits;
        let time_wait = self.time_wait_v4.len() + self.time_wait_v6.len();
        let (most_of_one, share) = self.budgets.held();
        let pools = [
            ("half_open", self.half_open.len() as u64, self.half_open.limit() as u64),
            ("connections", self.connections.len() as u64, self.connections.limit() as u64),
            ("time_wait", time_wait as u64, u64::from(limits.time_wait)),
            ("time_wait_places", self.time_wait_places() as u64, u64::from(limits.time_wait)),
            ("table_bytes", self.table_bytes(), self.most_table_bytes()),
            ("buffer_bytes", self.env.pools.blocks.used_bytes(), self.env.pools.blocks.limit_bytes()),
            ("orphans", u64::from(self.orphans), u64::from(limits.orphans)),
            ("half_open_of_one_prefix", most_of_one, share),
            ("path_mtus", self.path_mtus.len() as u64, u64::from(limits.path_mtus)),
            ("neighbours", self.neighbours.len() as u64, u64::from(limits.neighbours)),
            ("app_timers", self.app_timers.len() as u64, u64::from(limits.app_timers)),
            ("ports", self.ports.most_in_use(None), self.ports.limit() * self.routes.len() as u64),
            ("transfers", self.env.pools.transfers() as u64, self.connections.limit() as u64),
        ];
        let prefixes = self.budgets.rates().map(|(used, places, _)| ("prefixes", used, places));
        let connections = self.budgets.connected().map(|(used, limit)| ("connections_of_one_prefix", used, limit));
        pools
            .into_iter()
            .chain(prefixes)
            .chain(connections)
            .map(|(name, used, limit)| (name.to_string(), Pool { used, limit }))
            .collect()
    }

    fn defence(&self) -> Defence {
        let (defence, ledger) = (&self.defence, &self.env.ledger);
        let mut cookies = rows(ledger.cookies_refused.rows());
        cookies.extend(rows([("sent", ledger.cookies_sent), ("accepted", ledger.cookies_accepted)].into_iter()));
        Defence {
            workers_at: rows(Step::iter().map(|step| (step.into(), u64::from(step == defence.step())))),
            why: BTreeMap::from([(format!("{}: {}", defence.step(), defence.why()), 1)]),
            ms_at: rows(Step::iter().map(|step| (step.into(), defence.ms_in(step)))),
            switches: defence.switches(),
            cookies,
            budgets: self.budgets_used(),
        }
    }

    fn budgets_used(&self) -> BTreeMap<String, u64> {
        let dropped = &self.env.ledger.dropped;
        let used = [
            ("over_share_cookies", self.budgets.cookies),
            ("over_share_dropped", dropped.of(DropReason::PrefixShare)),
            ("over_connections_dropped", dropped.of(DropReason::PrefixConnections)),
            ("over_rate_dropped", dropped.of(DropReason::PrefixRate)),
            ("prefixes_forgotten", self.budgets.rates().map_or(0, |(.., forgotten)| forgotten)),
        ];
        rows(used.into_iter())
    }

    fn refusals(&self) -> BTreeMap<String, u64> {
        let refused = &self.env.ledger.refused;
        let refusals = [
            ("connections", refused.connections),
            ("ports", refused.ports),
            ("buffer_bytes", refused.buffer_bytes),
            ("segments", refused.segments),
            ("early_data", refused.early_data),
            ("silent_peers", refused.silent_peers),
            ("orphans", refused.orphans),
            ("path_mtus", refused.path_mtus),
            ("time_wait_shed", refused.time_wait_shed),
            ("half_open_shed", refused.half_open_shed),
            ("neighbours", refused.neighbours),
            ("neighbour_news", refused.neighbour_news),
            ("soft_errors", refused.soft_errors),
            ("tx_frames", refused.tx_frames),
            ("app_timers", refused.app_timers),
            ("neighbour_replies", self.replies.neighbour.held_back()),
            ("echo_replies", self.replies.echo.held_back()),
            ("resets", self.replies.reset.held_back()),
            ("acknowledgements", self.replies.acknowledgement.held_back()),
            ("answers_again", self.answers.held_back()),
            ("challenge_acks", refused.challenge_acks),
            ("syn_acks_again", self.replies.syn_ack_again.held_back()),
        ];
        rows(refusals.into_iter())
    }
}

fn with_total(name: &str, total: u64, mut rows: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    rows.insert(name.to_string(), total);
    rows
}
