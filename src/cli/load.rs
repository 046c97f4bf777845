//! Placeholder: this command is filled in on its own branch.

use super::Outcome;

/// Flags of `handfast load`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub fn run(_args: Args) -> Outcome {
    todo!()
}
