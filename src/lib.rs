//! Handfast.
#![warn(missing_docs)]

pub mod clock;
pub mod doctor;
pub mod driver;
pub mod host;
pub mod lab;
pub mod ledger;
mod ownership;
mod setup_error;
pub mod sim;
pub mod stack;
pub mod stats;
pub mod tcp;
pub mod time;
pub mod wire;
pub mod worker;

pub use ownership::Ownership;
pub use setup_error::SetupError;
