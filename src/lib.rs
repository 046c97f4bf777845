//! Handfast.
#![warn(missing_docs)]

pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod driver;
pub mod engine;
pub mod host;
pub mod lab;
pub mod ladder;
pub mod ledger;
pub mod load;
mod ownership;
pub mod services;
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
