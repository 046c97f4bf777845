//! What the RFCs ask, seen from the wire: scenarios played by a scripted peer over IPv4 and IPv6, against Handfast in
//! memory (virtual time), against Handfast on AF_XDP over a veth pair, and against Linux, so that we know the scenario is
//! right.
//!
//! Each test names the requirements that it shows by [`covers!`]; `COVERAGE.md` is made of that. Over veth and against
//! Linux the scenarios need root, and skip aloud without it. `HANDFAST_RFC_TARGET=memory`, `=veth`, `=linux`, or several
//! with commas between them, plays against those alone.
#![allow(dead_code)]

/// Names the requirements that a test shows, by their names in `requirements.rs`.
macro_rules! covers {
    ($($id:literal),+ $(,)?) => {
        $(const { assert!(crate::requirements::is_known($id), "no requirement of that name") };)+
    };
}

#[path = "../common/mod.rs"]
mod common;

mod application;
mod control;
mod coverage;
mod frame;
mod in_memory;
mod kernel;
mod peer;
mod puppet;
mod requirements;
mod segment;
mod stage;
mod target;
mod veth;

mod acknowledging;
mod addresses;
mod arp;
mod black_hole;
mod checks;
mod closed_window;
mod closing;
mod congestion;
mod cookies;
mod ecn;
mod endings;
mod flags;
mod flow_control;
mod handshake;
mod icmp;
mod icmp_states;
mod ip_header;
mod ipv6;
mod isn;
mod keep_alive;
mod limits;
mod losing;
mod ndp;
mod opening;
mod options;
mod ping;
mod push;
mod recovery;
mod resets;
mod sack_blocks;
mod states;
mod syn_flood;
mod tail_loss;
mod time_wait;
mod timestamps;
mod tuple_reuse;
mod urgent;
