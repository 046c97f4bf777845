//! What each fuzz target does with an input. `tests/fuzz_smoke.rs` does the same with kept and mutated inputs, and needs
//! no fuzzer.
//!
//! An input is a line of steps, each a few octets that [`arbitrary::Unstructured`] reads from its front; where they end,
//! zeros follow. So a step can be written by hand, and an octet more or less leaves the steps before it alone.

mod caller;
pub mod connection;
mod flow;
mod heard;
mod packets;
pub mod parse;
mod rig;
pub mod stack;

pub use rig::End;

/// What a target does with an input; where it runs a stack, it says what that has left behind.
pub type Case = fn(&[u8]) -> Option<End>;

/// Every target by its name.
#[allow(dead_code, reason = "a fuzz target is one of them")]
pub const ALL: [(&str, Case); 3] = [("parse", parse::run), ("connection", connection::run), ("stack", stack::run)];
