//! The ladder: one connection as textbooks draw it, from the frames that really crossed and the changes of state that
//! both sides recorded.
//!
//! [`Ladder::build`] joins the two: each change of state is put beside the segment that caused it, by the rules of RFC
//! 9293 §3.3.2 (figure 5), in the order in which the side made its changes. Times cannot do that: a burst is processed
//! under one reading of the clock. What no segment caused (a timer) stands below the ladder. Its `Display` is the
//! drawing, at most 100 columns wide.
#![forbid(unsafe_code)]

mod cause;
mod crossing;
mod draw;

pub use crossing::{Crossing, Side, crossings};

use crate::stack::Transition;
use crate::tcp::State;
use crate::time::Instant;
use crate::wire::{SeqNum, tcp};
use cause::Cause;
use serde::{Serialize, Serializer};
use std::net::SocketAddr;

/// A connection drawn as a ladder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ladder {
    /// The active opener's end.
    pub client: SocketAddr,
    /// The passive opener's end.
    pub server: SocketAddr,
    /// The client's initial sequence number.
    pub client_isn: u32,
    /// The server's, if it answered.
    pub server_isn: Option<u32>,
    /// The client's state before the first segment.
    #[serde(serialize_with = "by_key")]
    pub client_before: State,
    /// The server's.
    #[serde(serialize_with = "by_key")]
    pub server_before: State,
    /// A step for each segment.
    pub steps: Vec<Step>,
    /// Changes of state that no segment caused.
    pub without_segment: Vec<Change>,
}

/// A segment, and the states after it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Microseconds since the first segment, as the client's side saw it.
    pub at_us: f64,
    /// Who sent it.
    pub from: Side,
    /// Its control bits, as `SYN,ACK`.
    pub flags: String,
    /// SEG.SEQ.
    pub seq: u32,
    /// SEG.SEQ from the sender's initial sequence number on: `client_isn+1`.
    pub seq_relative: String,
    /// SEG.ACK, if ACK is set.
    pub ack: Option<u32>,
    /// SEG.ACK from the other side's initial sequence number on.
    pub ack_relative: Option<String>,
    /// Octets of text.
    pub len: u32,
    /// SEG.WND as it stands on the wire.
    pub window: u16,
    /// The options of a SYN, as `mss=1460 sack scale=7 ts=17/0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
    /// The client's state after it.
    #[serde(serialize_with = "by_key")]
    pub client_state: State,
    /// The server's.
    #[serde(serialize_with = "by_key")]
    pub server_state: State,
    /// The changes of state that it caused, in order on each side.
    pub changes: Vec<Change>,
}

/// A change of one side's state.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Whose.
    pub side: Side,
    /// Microseconds since the first segment, by the turn in which that side made it.
    pub at_us: f64,
    /// The state before.
    #[serde(serialize_with = "by_key")]
    pub from: State,
    /// The state after.
    #[serde(serialize_with = "by_key")]
    pub to: State,
}

fn by_key<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.key())
}

impl Ladder {
    /// The ladder of the connection between `client` and `server` from its segments and both sides' changes of state, all
    /// in order. `None` when there is no segment, or the first one is not the client's SYN.
    pub fn build(
        (client, server): (SocketAddr, SocketAddr),
        segments: &[Crossing],
        client_changes: &[Transition],
        server_changes: &[Transition],
    ) -> Option<Ladder> {
        let first = segments.first()?;
        if first.from != Side::Client || !first.header.flags.has(tcp::Flags::SYN) {
            return None;
        }
        let isns = Isns::of(segments);
        let before = |changes: &[Transition], otherwise| changes.first().map_or(otherwise, |change| change.from);
        let mut ladder = Ladder {
            client,
            server,
            client_isn: first.header.seq.0,
            server_isn: isns.server.map(|isn| isn.0),
            client_before: before(client_changes, State::Closed),
            server_before: before(server_changes, State::Listen),
            steps: segments.iter().map(|segment| Step::of(segment, &isns, first.at)).collect(),
            without_segment: Vec::new(),
        };
        ladder.place(Side::Client, segments, client_changes);
        ladder.place(Side::Server, segments, server_changes);
        ladder.without_segment.sort_by(|a, b| a.at_us.total_cmp(&b.at_us));
        ladder.settle();
        Some(ladder)
    }

    /// Puts each change of `side` beside the segment that caused it: the first fitting one of its direction that is not
    /// before the last change's cause of that direction. Where segments passed each other on the way, that one may stand
    /// above the last change; then the change stands beside the last one, so that the order of changes is kept.
    fn place(&mut self, side: Side, segments: &[Crossing], changes: &[Transition]) {
        let (mut sent, mut received, mut row) = (0, 0, 0);
        let cause = Cause::new(side, segments);
        for change in changes {
            let at_us = micros(segments[0].at, change.at);
            let entry = Change { side, at_us, from: change.from, to: change.to };
            let found = segments.iter().enumerate().position(|(i, segment)| {
                i >= if segment.from == side { sent } else { received } && cause.fits(segment, change)
            });
            let Some(i) = found else {
                self.without_segment.push(entry);
                continue;
            };
            *if segments[i].from == side { &mut sent } else { &mut received } = i;
            row = row.max(i);
            self.steps[row].changes.push(entry);
        }
    }

    /// Fills in the states after each step.
    fn settle(&mut self) {
        let (mut client, mut server) = (self.client_before, self.server_before);
        for step in &mut self.steps {
            for change in &step.changes {
                match change.side {
                    Side::Client => client = change.to,
                    Side::Server => server = change.to,
                }
            }
            (step.client_state, step.server_state) = (client, server);
        }
    }
}

/// The initial sequence numbers.
struct Isns {
    client: Option<SeqNum>,
    server: Option<SeqNum>,
}

impl Isns {
    fn of(segments: &[Crossing]) -> Isns {
        let isn = |side| {
            segments.iter().find(|s| s.from == side && s.header.flags.has(tcp::Flags::SYN)).map(|s| s.header.seq)
        };
        Isns { client: isn(Side::Client), server: isn(Side::Server) }
    }

    /// `client_isn+1`; the number itself when that side's initial sequence number is not known.
    fn relative(&self, of: Side, number: SeqNum) -> String {
        let (name, isn) = match of {
            Side::Client => ("client_isn", self.client),
            Side::Server => ("server_isn", self.server),
        };
        match isn.map(|isn| number.distance_from(isn)) {
            None => number.to_string(),
            Some(0) => name.to_string(),
            Some(distance) => format!("{name}+{distance}"),
        }
    }
}

impl Step {
    fn of(segment: &Crossing, isns: &Isns, start: Instant) -> Step {
        let header = &segment.header;
        let ack = header.flags.has(tcp::Flags::ACK).then_some(header.ack);
        Step {
            at_us: micros(start, segment.at),
            from: segment.from,
            flags: header.flags.to_string(),
            seq: header.seq.0,
            seq_relative: isns.relative(segment.from, header.seq),
            ack: ack.map(|ack| ack.0),
            ack_relative: ack.map(|ack| isns.relative(segment.from.other(), ack)),
            len: segment.text_len,
            window: header.wnd,
            options: header.flags.has(tcp::Flags::SYN).then(|| options(&header.options)),
            client_state: State::Closed,
            server_state: State::Closed,
            changes: Vec::new(),
        }
    }
}

fn options(options: &tcp::Options) -> String {
    let words = [
        options.mss.map(|mss| format!("mss={mss}")),
        options.sack_permitted.then(|| "sack".to_string()),
        options.window_scale.map(|shift| format!("scale={shift}")),
        options.timestamps.map(|ts| format!("ts={}/{}", ts.tsval, ts.tsecr)),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    if words.is_empty() { "no options".into() } else { words.join(" ") }
}

/// Microseconds from `start` on, to a tenth; never negative.
fn micros(start: Instant, at: Instant) -> f64 {
    (at.since(start).as_nanos() as f64 / 100.0).round() / 10.0
}
