//! The ladder on a terminal.

use super::{Ladder, Side, Step};
use std::fmt;

/// Columns between the two rails.
const BETWEEN: usize = 56;
/// Columns of a state's name: SYN-RECEIVED.
const STATE: usize = 12;

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The ends stand above their rails.
        let (client, server) = (format!("client {}", self.client), format!("server {}", self.server));
        let width = BETWEEN + 2 * STATE + 4;
        let gap = width.saturating_sub(client.chars().count() + server.chars().count()).max(1);
        writeln!(f, "{:>11}{client}{:gap$}{server}", "", "")?;
        line(f, "µs", self.client_before.rfc_name(), "", self.server_before.rfc_name())?;
        for step in &self.steps {
            self.draw_step(f, step)?;
        }
        write!(f, "client_isn = {}", self.client_isn)?;
        if let Some(isn) = self.server_isn {
            write!(f, ", server_isn = {isn}")?;
        }
        writeln!(f, "; absolute numbers stand below each arrow")?;
        for change in &self.without_segment {
            let side = match change.side {
                Side::Client => "client",
                Side::Server => "server",
            };
            let after = if change.at_us < 1e6 {
                format!("{:.1} µs", change.at_us)
            } else {
                format!("{:.3} s", change.at_us / 1e6)
            };
            writeln!(f, "{side}: {} → {} after {after}", change.from.rfc_name(), change.to.rfc_name())?;
        }
        Ok(())
    }
}

impl Ladder {
    fn draw_step(&self, f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
        let client = states(step, Side::Client);
        let server = states(step, Side::Server);
        let between = [Some(arrow(step)), Some(absolute(step)), step.options.as_ref().map(|o| format!("   {o}"))];
        let between: Vec<String> = between.into_iter().flatten().collect();
        for i in 0..between.len().max(client.len()).max(server.len()) {
            let at = if i == 0 { format!("{:.1}", step.at_us) } else { String::new() };
            let cell = |states: &[&'static str]| states.get(i).copied().unwrap_or("");
            line(f, &at, cell(&client), between.get(i).map_or("", String::as_str), cell(&server))?;
        }
        Ok(())
    }
}

/// The states that a side went through by a step, or the one that it stays in.
fn states(step: &Step, side: Side) -> Vec<&'static str> {
    let changed: Vec<_> = step.changes.iter().filter(|c| c.side == side).map(|c| c.to.rfc_name()).collect();
    if !changed.is_empty() {
        return changed;
    }
    match side {
        Side::Client => vec![step.client_state.rfc_name()],
        Side::Server => vec![step.server_state.rfc_name()],
    }
}

fn arrow(step: &Step) -> String {
    let mut label = format!("{}  seq={}", step.flags, step.seq_relative);
    if let Some(ack) = &step.ack_relative {
        label.push_str(&format!(" ack={ack}"));
    }
    // Two columns of shaft, a space on both sides, the head and one more column of shaft.
    let label: String = label.chars().take(BETWEEN - 6).collect();
    let shaft = "─".repeat(BETWEEN - 5 - label.chars().count());
    match step.from {
        Side::Client => format!("── {label} {shaft}▶"),
        Side::Server => format!("◀─ {label} {shaft}─"),
    }
}

fn absolute(step: &Step) -> String {
    let ack = step.ack.map(|ack| format!(" ack={ack}")).unwrap_or_default();
    format!("   seq={}{ack} len={} win={}", step.seq, step.len, step.window)
}

fn line(f: &mut fmt::Formatter<'_>, at: &str, client: &str, between: &str, server: &str) -> fmt::Result {
    let drawn = format!("{at:>9}  {client:<STATE$} │{between:<BETWEEN$}│ {server}");
    writeln!(f, "{}", drawn.trim_end())
}
