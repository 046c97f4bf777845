//! What the RFCs ask, seen from the wire: scenarios played by a scripted peer against Handfast and against Linux.
//!
//! Each test names the requirements that it shows by [`covers!`]; `COVERAGE.md` is made of that. Against Linux the
//! scenarios need root, and skip aloud without it. `HANDFAST_RFC_TARGET=handfast` or `=linux` plays against one alone.
#![allow(dead_code)]

/// Names the requirements that a test shows, by their names in `requirements.rs`.
macro_rules! covers {
    ($($id:literal),+ $(,)?) => {
        $(const { assert!(crate::requirements::is_known($id), "no requirement of that name") };)+
    };
}

mod coverage;
mod in_memory;
mod kernel;
mod peer;
mod requirements;
mod segment;
mod target;

mod checks;
mod closing;
mod congestion;
mod flow_control;
mod icmp;
mod limits;
mod neighbours;
mod opening;
mod options;
mod recovery;
mod resets;
mod syn_flood;
mod time_wait;
