//! The load generator in virtual time: what it reports is what happened, to the millisecond.

mod lives;
mod net;
mod overload;
mod pace;
mod target;
