//! What the tests that need a network share.
#![allow(dead_code)]

use handfast::lab::{Lab, LabConfig};
use std::io::Write;

/// A lab, or `None` said aloud where it cannot be made.
pub fn lab(test: &str, config: &LabConfig) -> Option<Lab> {
    match Lab::create(config) {
        Ok(lab) => Some(lab),
        Err(e) if rustix::process::geteuid().is_root() => panic!("{test}: {e}"),
        Err(e) => {
            // Past the test harness, which would keep it to itself.
            let _ = writeln!(std::io::stderr(), "SKIPPED: needs root: {test}: {e}");
            None
        }
    }
}
