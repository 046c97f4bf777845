//! What a report comes from.

use crate::host::Machine;
use serde::Serialize;

/// What somebody needs to do a run again, and to know what its figures were measured on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// Of Handfast.
    pub version: &'static str,
    /// When the run began: UTC, as RFC 3339 writes it.
    pub began: String,
    /// The command, quoted for a shell. What a configuration file said stands among the flags.
    pub command: String,
    /// At most so many connections were to be under way.
    pub concurrency: u32,
    /// The interface's name.
    pub interface: String,
    /// Its driver in the kernel, empty when it does not say.
    pub interface_driver: String,
    /// Its MTU in octets.
    pub mtu: u32,
    /// What it ran on.
    pub machine: Machine,
}

impl Origin {
    /// The rows of its table, name and value.
    pub(super) fn rows(&self) -> [(&'static str, String); 5] {
        let driver = if self.interface_driver.is_empty() { "driver unknown" } else { &self.interface_driver };
        [
            ("command", self.command.clone()),
            ("began", self.began.clone()),
            ("under way at most", super::grouped(self.concurrency.into())),
            ("interface", format!("{}: {driver}, MTU {}", self.interface, self.mtu)),
            ("machine", self.machine.to_string()),
        ]
    }
}
