//! The whole line as its users meet it: `handfast serve` and `handfast load` as processes on one end of a veth pair, the
//! Linux kernel's own TCP, curl, nc and ping on the other. What needs root skips aloud without.

#[path = "../common/mod.rs"]
mod common;

mod checksums;
mod ending;
mod frames;
mod generator;
mod kernel_client;
mod malformed;
mod sharing;
mod site;
mod states;
mod syn_defence;
