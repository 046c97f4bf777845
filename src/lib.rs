//! Handfast.
#![warn(missing_docs)]

pub mod clock;
pub mod driver;
pub mod ledger;
pub mod stack;
pub mod stats;
pub mod tcp;
pub mod time;
pub mod wire;
pub mod worker;
