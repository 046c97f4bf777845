//! Tables on huge pages: large ones are read at random, and on pages of 4 KiB each look costs a walk through the page table
//! as well.
//!
//! The tables are allocated as they grow. glibc asks the kernel for huge pages (madvise(2)) when its tunables say so, which it
//! reads once, as a program starts, and does it for the arena of the main thread alone: so the program begins anew, with
//! tunables for that and for a single arena, which workers hardly meet in, as nothing is allocated for a segment.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Says that it was asked before; set by a user it keeps the program as it is.
pub const ASKED: &str = "HANDFAST_HUGE_PAGES";

const TUNABLES: &str = "GLIBC_TUNABLES";
const HUGE: &str = "glibc.malloc.hugetlb";
const OURS: [(&str, &str); 2] = [(HUGE, "=1"), ("glibc.malloc.arena_max", "=1")];

/// Begins the program anew by execve(2), with the same arguments, so that its tables lie on transparent huge pages; returns where
/// that has been done, or is not wanted ([`ASKED`] is set, or the tunable), or cannot be had. To be called before any thread.
pub fn ask() {
    if std::env::var_os(ASKED).is_some() || !are_allowed() {
        return;
    }
    let Some(tunables) = with_ours(std::env::var_os(TUNABLES).as_deref()) else { return };
    // Without huge pages all works as well.
    let Err(error) = begin_anew(&tunables);
    tracing::debug!(%error, "beginning anew for huge pages");
}

fn begin_anew(tunables: &OsStr) -> Result<Infallible, io::Error> {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let mut again = Command::new(std::env::current_exe()?);
    Err(again.arg0(name).args(args).env(TUNABLES, tunables).env(ASKED, "asked").exec())
}

/// Whether the kernel gives transparent huge pages to who asks.
fn are_allowed() -> bool {
    let modes = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    cfg!(target_env = "gnu") && modes.is_ok_and(|modes| !modes.contains("[never]"))
}

/// The tunables with those of ours that the user has left alone; `None` where that is not so of huge pages.
fn with_ours(given: Option<&OsStr>) -> Option<OsString> {
    let given = given.unwrap_or_default().to_string_lossy();
    let is_ours = |(name, _): &(&str, &str)| !given.contains(name);
    let ours = OURS.into_iter().filter(is_ours).map(|(name, value)| format!("{name}{value}"));
    let all: Vec<String> = given.split(':').filter(|one| !one.is_empty()).map(String::from).chain(ours).collect();
    (!given.contains(HUGE)).then(|| all.join(":").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_has_tuned_stays() {
        for (given, then) in [
            ("", Some("glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1")),
            ("glibc.malloc.arena_max=8", Some("glibc.malloc.arena_max=8:glibc.malloc.hugetlb=1")),
            ("glibc.rtld.nns=3:", Some("glibc.rtld.nns=3:glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1")),
            ("glibc.malloc.hugetlb=0", None),
        ] {
            assert_eq!(with_ours(Some(OsStr::new(given))).as_deref(), then.map(OsStr::new), "{given}");
        }
    }
}
