//! What the tests that need a network share.
#![allow(dead_code)]

pub mod server;

use handfast::lab::{Lab, LabConfig};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// A lab, or `None` said aloud where it cannot be made.
pub fn lab(test: &str, config: &LabConfig) -> Option<Lab> {
    match Lab::create(config) {
        Ok(lab) => Some(lab),
        Err(e) if rustix::process::geteuid().is_root() => panic!("{test}: {e}"),
        Err(e) => {
            skip(test, &format!("needs root: {e}"));
            None
        }
    }
}

/// Says aloud that a test, or a part of one, is not run.
pub fn skip(test: &str, why: &str) {
    // Past the test harness, which would keep it to itself when a test passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
}

/// Whether we are root; if not, says aloud what is skipped.
pub fn root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip(test, "needs root");
    }
    root
}

/// A copy of the program. Not by ourselves: a child that another test starts meanwhile would hold the open copy, which
/// then cannot be run (ETXTBSY).
pub fn copy_program_to(path: &Path) {
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_handfast")).arg(path).status().unwrap();
    assert!(copied.success(), "{}", path.display());
}
