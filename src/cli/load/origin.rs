//! Where a report comes from: what it takes to do the run again.

use crate::cli::utc;
use crate::host::{InterfaceFacts, Machine};
use crate::load::{Origin, Plan};
use std::ffi::OsString;
use std::time::SystemTime;

/// Of a run that begins now: `command` is what was typed, with what the file said.
pub fn origin(command: &[OsString], plan: &Plan, facts: &InterfaceFacts) -> Origin {
    Origin {
        version: env!("CARGO_PKG_VERSION"),
        began: utc(SystemTime::now()),
        command: line(command),
        concurrency: plan.schedule.room(),
        interface: facts.name.clone(),
        interface_driver: facts.driver.clone(),
        mtu: facts.mtu,
        machine: Machine::this(),
    }
}

/// The arguments as a shell reads them; the path of the program stays out, which is another one elsewhere.
fn line(command: &[OsString]) -> String {
    let words: Vec<_> = command.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    let all = std::iter::once("handfast").chain(words.iter().map(AsRef::as_ref));
    // An argument never holds a NUL, which is all that cannot be quoted.
    shlex::try_join(all).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_very_same_arguments() {
        let typed = ["target/handfast", "load", "--send", "it's\\n", "--address=10.0.0.3/24", "", "$HOME *"];
        let line = line(&typed.map(OsString::from));
        let mut expected: Vec<String> = typed.map(String::from).into();
        expected[0] = "handfast".into();
        assert_eq!(shlex::split(&line), Some(expected), "{line}");
    }
}
