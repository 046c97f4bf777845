//! What the tests that need a network share.
#![allow(dead_code)]

use handfast::lab::{Lab, LabConfig};

/// A lab, or `None` said aloud where it cannot be made.
pub fn lab(test: &str, config: &LabConfig) -> Option<Lab> {
    match Lab::create(config) {
        Ok(lab) => Some(lab),
        Err(e) if rustix::process::geteuid().is_root() => panic!("{test}: {e}"),
        Err(e) => {
            eprintln!("SKIPPED: needs root: {test}: {e}");
            None
        }
    }
}
