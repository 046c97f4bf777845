//! One connection: segments and time in, segments and events out.

mod state;

pub use state::State;
