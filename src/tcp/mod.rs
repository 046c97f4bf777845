//! One connection: segments and time in, segments and events out (RFC 9293).
//!
//! Three types for three phases: a [`half_open::HalfOpen`] entry, a [`Tcb`], a [`time_wait::TimeWait`] entry. A segment
//! for a control block goes through [`Tcb::on_segment`], whose steps are those of RFC 9293 §3.10.7.4, a file each:
//! `segment_arrives` (sequence, RST, SYN, FIN), `acknowledge`, `receive`; `syn_sent` for that state alone. What must
//! leave is asked with [`Tcb::poll_transmit`] and confirmed with [`Tcb::sent`] (`transmit`); `timers` and `user_calls`
//! are the other two ways in. What all connections of a shard have in common, the time of the turn among it, stands in [`Env`]
//! (`env`). No clock, no I/O, no randomness: time and secrets are given.
#![forbid(unsafe_code)]

mod acknowledge;
pub mod buffer;
pub mod closed;
mod config;
pub mod congestion;
mod connection;
pub mod cookie;
mod env;
pub mod half_open;
mod icmp;
pub mod isn;
pub mod negotiation;
mod own_link;
pub mod rack;
pub mod reassembly;
mod receive;
mod recovery;
pub mod rto;
pub mod scoreboard;
mod segment_arrives;
mod send_order;
pub mod spurious;
pub mod state;
mod syn_sent;
#[cfg(test)]
mod testing;
pub mod time_wait;
pub mod timer;
mod timers;
pub mod transfer;
mod transmit;
pub mod tuple_hash;
mod user_calls;

pub use config::{LONGEST_TIMER, TcpConfig};
pub use connection::Tcb;
pub(crate) use connection::{Facts, News, syn_window, window_shift};
pub use env::Env;
pub(crate) use recovery::TRY_LARGER_AFTER;
pub use state::{State, Transition};
pub use transmit::Plan;
