//! What the demo says at its end.

use crate::host::Machine;
use crate::ladder::{Ladder, Step};
use crate::load::{self, Micros, grouped};
use crate::stats::{LedgerCheck, Snapshot};
use crate::tcp::State;
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use strum::IntoEnumIterator;

/// What the demo ran over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// A veth pair between two namespaces, AF_XDP at both ends.
    Veth,
    /// The in-memory link.
    Memory,
}

/// What was left when both stacks had ended.
pub struct Findings {
    /// The client's last snapshot.
    pub client: Snapshot,
    /// The server's.
    pub server: Snapshot,
    /// Both while they ran, server first.
    pub midway: Option<(Snapshot, Snapshot)>,
    /// The first connection, and whether both taps saw the same segments.
    pub ladder: Option<(Ladder, bool)>,
}

/// The demo's report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    link: LinkKind,
    seconds: f64,
    connections_per_second: f64,
    handshake_us: Micros,
    /// Frames sent and received by the client for each connection.
    frames_per_connection: f64,
    /// Both sides' states while the run was on.
    states: Sides<BTreeMap<String, u64>>,
    /// What both sides' drivers got.
    drivers: Sides<Vec<String>>,
    ledger: Sides<LedgerCheck>,
    machine: Machine,
    /// The load generator's own report.
    load: load::Report,
    /// The server's last snapshot.
    server: Snapshot,
    connection: Option<Connection>,
    /// The first connection's segments.
    ladder: Vec<Step>,
    #[serde(skip)]
    drawn: Option<String>,
}

/// Something of both sides.
#[derive(Clone, Debug, Serialize)]
struct Sides<T> {
    client: T,
    server: T,
}

/// The connection that the ladder shows.
#[derive(Clone, Debug, Serialize)]
struct Connection {
    client: String,
    server: String,
    client_isn: u32,
    server_isn: Option<u32>,
    /// Whether the taps at both ends saw the very same segments.
    seen_by_both_ends: bool,
}

impl Report {
    /// The report of a run over this kind of link.
    pub fn new(link: LinkKind, load: load::Report, findings: Findings) -> Self {
        let Findings { client, server, midway, ladder } = findings;
        let (server_then, client_then) = midway.unwrap_or_else(|| (server.clone(), client.clone()));
        let drawn = ladder.as_ref().map(|(ladder, _)| ladder.to_string());
        let (connection, steps) = match ladder {
            Some((ladder, seen_by_both_ends)) => (Some(Connection::of(&ladder, seen_by_both_ends)), ladder.steps),
            None => (None, Vec::new()),
        };
        Report {
            link,
            seconds: load.seconds,
            connections_per_second: load.connections_per_second,
            handshake_us: load.handshake_us,
            frames_per_connection: load.frames_per_connection,
            states: Sides { client: client_then.states, server: server_then.states },
            drivers: Sides { client: drivers(&client), server: drivers(&server) },
            ledger: Sides { client: client.ledger.clone(), server: server.ledger.clone() },
            machine: Machine::this(),
            load,
            server,
            connection,
            ladder: steps,
            drawn,
        }
    }

    /// Whether the load went well and both ledgers are exact.
    pub fn went_well(&self) -> bool {
        self.load.went_well() && self.ledger.client.exact && self.ledger.server.exact
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let (load, h) = (&self.load, &self.handshake_us);
        let failed = load.failed.all();
        let mut rows = vec![
            ("connections per second", grouped(self.connections_per_second.round() as u64)),
            (
                "connections",
                format!(
                    "{} closed, {} failed, {} unfinished, in {:.2} s",
                    grouped(load.closed),
                    grouped(failed),
                    grouped(load.unfinished),
                    self.seconds
                ),
            ),
            ("handshake p50 / p90 / p99 µs", format!("{:.1} / {:.1} / {:.1}", h.p50, h.p90, h.p99)),
            ("handshake p99.9 / max µs", format!("{:.1} / {:.1}", h.p999, h.max)),
            (
                "frames per connection",
                format!("{:.2}; {} retransmitted", self.frames_per_connection, grouped(load.retransmitted)),
            ),
            ("client states, running", states(&self.states.client)),
            ("server states, running", states(&self.states.server)),
            ("client driver", self.drivers.client.join(", ")),
            ("server driver", self.drivers.server.join(", ")),
            ("client ledger", self.ledger.client.to_string()),
            ("server ledger", self.ledger.server.to_string()),
            ("machine", self.machine.to_string()),
        ];
        if load.port_waits.count > 0 {
            let waits = &load.port_waits;
            rows.push(("waited for local ports", format!("{} times, {:.3} s", grouped(waits.count), waits.seconds)));
        }
        if load.interrupted {
            rows.push(("ended by", "a signal".into()));
        }
        rows
    }
}

impl Connection {
    fn of(ladder: &Ladder, seen_by_both_ends: bool) -> Self {
        Connection {
            client: ladder.client.to_string(),
            server: ladder.server.to_string(),
            client_isn: ladder.client_isn,
            server_isn: ladder.server_isn,
            seen_by_both_ends,
        }
    }
}

fn drivers(snapshot: &Snapshot) -> Vec<String> {
    snapshot.workers.iter().map(|worker| format!("queue {}: {}", worker.queue, worker.driver)).collect()
}

/// The states in which there is something, in the RFC's order.
fn states(counts: &BTreeMap<String, u64>) -> String {
    let filled = State::iter().filter_map(|state| {
        let count = *counts.get(state.key())?;
        (count > 0 && state != State::Closed).then(|| format!("{} {}", state.rfc_name(), grouped(count)))
    });
    let filled: Vec<String> = filled.collect();
    if filled.is_empty() { "none".into() } else { filled.join(", ") }
}

/// For people: a table, and the ladder below it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let link = match self.link {
            LinkKind::Veth => "handfast serve and handfast load over a veth pair, AF_XDP at both ends",
            LinkKind::Memory => "handfast serve and handfast load over the in-memory link",
        };
        writeln!(f, "{link}")?;
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED).set_width(100);
        table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
        for (name, value) in self.rows() {
            table.add_row([name.to_string(), value]);
        }
        writeln!(f, "{table}\n")?;
        let Some(drawn) = &self.drawn else {
            return writeln!(f, "No connection was recorded from its first frame on.");
        };
        let seen = match &self.connection {
            Some(Connection { seen_by_both_ends: true, .. }) => "the taps at both ends saw the same segments",
            _ => "the taps at the two ends saw different segments",
        };
        writeln!(f, "The first connection, from the frames that crossed ({seen}):\n\n{drawn}")?;
        writeln!(f, "TIME-WAIT lasts 2 MSL = 240 s (RFC 9293 §3.4.2); the end of the demo cut it short.")
    }
}
