//! `handfast stats`: states, counters and the ledger of a running stack.

use super::{Outcome, print_json, say, tables};
use crate::SetupError;
use crate::admin;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Flags of `handfast stats`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  handfast stats\n  handfast stats --admin /run/handfast/eth1.sock --json | jq .states"
)]
pub struct Args {
    /// Socket of the stack [default: the one socket in /run/handfast, or in $XDG_RUNTIME_DIR/handfast]
    #[arg(long, value_name = "SOCKET")]
    admin: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: Args) -> Outcome {
    let socket = match args.admin {
        Some(socket) => socket,
        None => the_only_socket(&default_folder())?,
    };
    let snapshot = admin::ask(&socket)?;
    if args.json {
        return print_json(&snapshot);
    }
    say(&tables::snapshot(&snapshot));
    Ok(ExitCode::SUCCESS)
}

/// Where `serve` puts its socket when none is named: one file for each interface.
pub(super) fn default_socket(interface: &str) -> PathBuf {
    default_folder().join(format!("{interface}.sock"))
}

/// `/run/handfast` for root; else a folder that is the user's own.
fn default_folder() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/run/handfast");
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty());
    runtime.map_or_else(std::env::temp_dir, PathBuf::from).join("handfast")
}

fn the_only_socket(folder: &Path) -> Result<PathBuf, SetupError> {
    let what = || format!("looking for a running stack in {}", folder.display());
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut sockets: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "sock")).collect();
    sockets.sort();
    match sockets.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(SetupError::new(
            what(),
            "there is none",
            "start `handfast serve`, or name its socket with `--admin SOCKET`",
        )),
        several => {
            let names = several.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
            Err(SetupError::new(what(), format!("there are several: {names}"), "choose one with `--admin SOCKET`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_socket_is_found_and_several_must_be_chosen_from() {
        let folder = std::env::temp_dir().join(format!("hf-stats-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(the_only_socket(&folder).unwrap_err().to_string().contains("there is none"));
        std::fs::write(folder.join("eth0.sock"), "").unwrap();
        std::fs::write(folder.join("eth0.sock.123"), "").unwrap();
        assert_eq!(the_only_socket(&folder).unwrap(), folder.join("eth0.sock"));
        std::fs::write(folder.join("eth1.sock"), "").unwrap();
        let several = the_only_socket(&folder).unwrap_err().to_string();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(several.contains("eth0.sock") && several.contains("eth1.sock"), "{several}");
    }
}
