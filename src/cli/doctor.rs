//! `handfast doctor`: what this host and NIC can do, and what mends each lack.

use super::Outcome;

/// Flags of `handfast doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  handfast doctor --interface eth1")]
pub struct Args {
    /// Interface to look at; without it only the host is
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(_args: Args) -> Outcome {
    todo!()
}
