//! The diagram in the README is drawn from `TRANSITIONS`: `HANDFAST_BLESS=1 cargo test --test state_diagram` redraws it.

use handfast::tcp::state::{Event, State, TRANSITIONS};
use std::fmt::Write;
use strum::IntoEnumIterator;

const BEGIN: &str = "<!-- states: drawn by tests/state_diagram.rs -->\n";
const END: &str = "<!-- end of states -->\n";

/// As RFC 9293 figure 5 calls it, or nearly.
fn label(event: Event) -> &'static str {
    match event {
        Event::ActiveOpen => "active OPEN",
        Event::PassiveOpen => "passive OPEN",
        Event::RecvSyn => "SYN",
        Event::RecvSynAck => "SYN,ACK",
        Event::RecvAckOfSyn => "ACK of SYN",
        Event::Close => "CLOSE",
        Event::RecvFin => "FIN",
        Event::RecvAckOfFin => "ACK of FIN",
        Event::TimeWaitOver => "2 MSL over",
        Event::RecvRst => "a RST",
        Event::Abort => "ABORT",
        Event::TimedOut => "a time-out",
    }
}

/// Moves that end a connection early would be 26 arrows into CLOSED: they are told below the picture.
fn is_early_end(&(_, event, to): &(State, Event, State)) -> bool {
    to == State::Closed && matches!(event, Event::RecvRst | Event::Abort | Event::TimedOut)
}

fn draw() -> String {
    let mut out = String::from("```mermaid\nstateDiagram-v2\n    direction TB\n");
    for state in State::iter() {
        let _ = writeln!(out, "    {} : {}", state.key(), state.rfc_name());
    }
    out += "    [*] --> closed\n";
    for (from, event, to) in TRANSITIONS.iter().filter(|row| !is_early_end(row)) {
        let _ = writeln!(out, "    {} --> {} : {}", from.key(), to.key(), label(*event));
    }
    out += "```\n\nTo CLOSED early:\n\n";
    for event in [Event::RecvRst, Event::Abort, Event::TimedOut] {
        let rows = TRANSITIONS.iter().filter(|row| is_early_end(row) && row.1 == event);
        let from: Vec<_> = rows.map(|(from, _, _)| from.rfc_name()).collect();
        let _ = writeln!(out, "* by {}, from {}", label(event), from.join(", "));
    }
    out
}

#[test]
fn the_diagram_in_the_readme_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).expect("README.md");
    let (before, rest) = readme.split_once(BEGIN).expect("the mark where the diagram begins");
    let (stored, after) = rest.split_once(END).expect("the mark where the diagram ends");
    let drawn = draw();
    if std::env::var_os("HANDFAST_BLESS").is_some() {
        std::fs::write(path, [before, BEGIN, &drawn, END, after].concat()).expect("writing README.md");
    } else {
        assert!(
            stored == drawn,
            "README.md shows other states: `HANDFAST_BLESS=1 cargo test --test state_diagram` redraws"
        );
    }
}
