//! Many queues: a flow meets its owner, whatever queue its frames come in on.

#[path = "../common/mod.rs"]
mod common;
mod in_memory;
mod party;
mod switch;
mod veth;
