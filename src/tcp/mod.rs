//! One connection: segments and time in, segments and events out.

pub mod buffer;
mod config;
pub mod congestion;
pub mod isn;
pub mod reassembly;
pub mod rto;
pub mod state;

pub use config::TcpConfig;
pub use state::{State, Transition};
