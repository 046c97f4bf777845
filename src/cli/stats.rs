//! `handfast stats`: states, counters and the ledger of a running stack.

mod watch;

use super::values::tenth_of_a_second;
use super::{Outcome, columns, print_json, say, tables};
use crate::SetupError;
use crate::admin;
use rustix::process::geteuid;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Flags of `handfast stats`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
  0    it was shown; with --every until a signal came, the reader went or the
       stack ended
  2    bad input, no stack serves there or it does not answer, or the output
       was lost
  130  cut short by a second SIGINT or SIGTERM

Examples:
  handfast stats
  handfast stats --every 1s
  handfast stats --admin /run/handfast/eth1.sock --json | jq .states")]
pub struct Args {
    /// Socket of the stack [default: the one socket in /run/handfast; for others than root in $XDG_RUNTIME_DIR/handfast, or
    /// without that in handfast-UID in the folder for temporary files]
    #[arg(long, value_name = "SOCKET")]
    admin: Option<PathBuf>,
    /// Look again and again, until a signal comes or the stack ends: a line each time with what there is, and with rates since
    /// the look before
    #[arg(long, value_name = "TIME", value_parser = tenth_of_a_second)]
    every: Option<Duration>,
    /// Print one JSON object; with `--every` one a line, each whole, and all but the first with rates
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: Args) -> Outcome {
    let socket = match args.admin {
        Some(socket) => socket,
        None => {
            let folder = default_folder();
            check_folder(&folder)?;
            the_only_socket(&folder)?
        }
    };
    if let Some(every) = args.every {
        return watch::run(&socket, every, args.json);
    }
    let snapshot = admin::ask(&socket)?;
    if args.json {
        return print_json(&snapshot);
    }
    say(&tables::snapshot(&snapshot, columns()))?;
    Ok(ExitCode::SUCCESS)
}

/// Where `serve` puts its socket when none is named: one file for each interface, in a folder that is there then.
///
/// # Errors
/// The folder cannot be made, or is not ours alone.
pub(super) fn default_socket(interface: &str) -> Result<PathBuf, SetupError> {
    let folder = default_folder();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.map_err(|e| no_folder(&folder, &e.to_string()))?;
    check_folder(&folder)?;
    Ok(folder.join(format!("{interface}.sock")))
}

/// `/run/handfast` for root; else a folder that is the user's own.
fn default_folder() -> PathBuf {
    let user = geteuid();
    if user.is_root() {
        return PathBuf::from("/run/handfast");
    }
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        Some(runtime) => PathBuf::from(runtime).join("handfast"),
        None => std::env::temp_dir().join(format!("handfast-{}", user.as_raw())),
    }
}

/// Where anybody may make folders, somebody else may have made this one, and show us what is not so. In `/run` only root may.
fn check_folder(folder: &Path) -> Result<(), SetupError> {
    let user = geteuid();
    let Ok(found) = std::fs::symlink_metadata(folder) else { return Ok(()) };
    if user.is_root() || found.is_dir() && found.uid() == user.as_raw() && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(no_folder(folder, "it is not ours alone: of another user, open to others, or no folder"))
}

fn no_folder(folder: &Path, cause: &str) -> SetupError {
    let what = format!("folder of the admin socket {}", folder.display());
    SetupError::new(what, cause, "name a socket in a folder of your own with `--admin SOCKET`")
}

fn the_only_socket(folder: &Path) -> Result<PathBuf, SetupError> {
    let what = || format!("looking for a running stack in {}", folder.display());
    let files = match std::fs::read_dir(folder) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            return Err(SetupError::of_system(what(), &e, "name a socket with `--admin SOCKET`"));
        }
        listed => listed.into_iter().flatten().flatten().map(|entry| entry.path()),
    };
    let mut sockets: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "sock")).collect();
    sockets.sort();
    if sockets.len() > 1 {
        // Whoever was killed has left one behind, at which nobody listens.
        sockets.retain(|path| !admin::nobody_serves(path));
    }
    match sockets.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(SetupError::new(
            what(),
            "there is none",
            if geteuid().is_root() {
                "start `handfast serve`, or name its socket with `--admin SOCKET`"
            } else {
                "start `handfast serve`, name its socket with `--admin SOCKET`, or `sudo handfast stats` for one that root runs"
            },
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
    use std::os::unix::net::UnixListener;

    #[test]
    fn the_one_socket_is_found_and_several_must_be_chosen_from() {
        let folder = std::env::temp_dir().join(format!("hf-stats-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(the_only_socket(&folder).unwrap_err().to_string().contains("there is none"));
        assert!(the_only_socket(&folder.join("missing")).unwrap_err().to_string().contains("there is none"));
        let unread = the_only_socket(Path::new("/proc/version")).unwrap_err();
        assert!(unread.cause.contains("Not a directory"), "that there is none is not known: {unread}");
        let listen = |name: &str| UnixListener::bind(folder.join(name)).unwrap();
        let _first = listen("eth0.sock");
        std::fs::write(folder.join("eth0.sock.123"), "").unwrap();
        assert_eq!(the_only_socket(&folder).unwrap(), folder.join("eth0.sock"));
        drop(listen("eth2.sock"));
        assert_eq!(the_only_socket(&folder).unwrap(), folder.join("eth0.sock"), "nobody listens at the other one");
        let _second = listen("eth1.sock");
        let several = the_only_socket(&folder).unwrap_err().to_string();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(several.contains("eth0.sock") && several.contains("eth1.sock"), "{several}");
    }
}
