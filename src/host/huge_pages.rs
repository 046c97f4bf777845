//! Tables on huge pages: large ones are read at random, and on pages of 4 KiB each look costs a walk through the page table
//! as well.
//!
//! The tables are allocated as they grow. glibc (2.35 or newer) asks the kernel for huge pages by madvise(2) when its tunables say
//! so, which it reads once, as a program starts, and does it for the arena of the main thread alone: so the program begins anew,
//! with tunables for that and for a single arena, which workers hardly meet in, as nothing is allocated for a segment. With
//! several NUMA nodes it does not: workers of two nodes would share pages.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs::read_to_string;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The user's switch: `0` leaves the tables on small pages.
const SWITCH: &str = "HANDFAST_HUGE_PAGES";
/// Says that the program has begun anew, whatever came of it: where it has file capabilities, glibc heeds no tunables.
const BEGUN_ANEW: &str = "HANDFAST_BEGUN_ANEW";

const TUNABLES: &str = "GLIBC_TUNABLES";
const HUGE: &str = "glibc.malloc.hugetlb";
const ARENAS: &str = "glibc.malloc.arena_max";

/// Begins the program anew by execve(2), with the same arguments, so that its tables lie on transparent huge pages; returns where
/// that has been done, or is not wanted, or cannot be had. To be called before anything is read and any thread begins.
pub fn ask() {
    let is_off = std::env::var_os(SWITCH).is_some_and(|switch| switch == "0");
    if is_off || std::env::var_os(BEGUN_ANEW).is_some() || !are_of_use() {
        return;
    }
    if let Some(tunables) = with_ours(std::env::var_os(TUNABLES).as_deref()) {
        // Without huge pages all works as well, so an error is none.
        let _ = begin_anew(&tunables);
    }
}

fn begin_anew(tunables: &OsStr) -> Result<Infallible, io::Error> {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let mut again = Command::new(std::env::current_exe()?);
    Err(again.arg0(name).args(args).env(TUNABLES, tunables).env(BEGUN_ANEW, "1").exec())
}

/// Whether the kernel gives transparent huge pages to who asks, and all memory is as near.
fn are_of_use() -> bool {
    let modes = read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let nodes = read_to_string("/sys/devices/system/node/online").unwrap_or_default();
    let one_node = !nodes.contains(['-', ',']);
    cfg!(target_env = "gnu") && one_node && modes.is_ok_and(|modes| !modes.contains("[never]"))
}

/// The tunables with ours; `None` where the user's say something else of huge pages, or say all of it already.
fn with_ours(given: Option<&OsStr>) -> Option<OsString> {
    let given = given.unwrap_or_default().to_string_lossy();
    let mut all: Vec<&str> = given.split(':').filter(|one| !one.is_empty()).collect();
    let value =
        |all: &[&str], name| all.iter().rev().find_map(|one| Some(one.strip_prefix(name)?.strip_prefix('=')? == "1"));
    let (huge, arenas) = (value(&all, HUGE), value(&all, ARENAS));
    if huge == Some(false) || (huge.is_some() && arenas.is_some()) {
        return None;
    }
    let ours = [(huge, "glibc.malloc.hugetlb=1"), (arenas, "glibc.malloc.arena_max=1")];
    all.extend(ours.into_iter().filter(|(given, _)| given.is_none()).map(|(_, ours)| ours));
    Some(all.join(":").into())
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
            ("glibc.malloc.hugetlb=1", Some("glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1")),
            ("glibc.malloc.hugetlb=1:glibc.malloc.arena_max=4", None),
            ("glibc.malloc.hugetlb=0", None),
            ("glibc.malloc.hugetlb=2", None),
        ] {
            assert_eq!(with_ours(Some(OsStr::new(given))).as_deref(), then.map(OsStr::new), "{given}");
        }
    }
}
