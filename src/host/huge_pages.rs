//! Tables on huge pages: large ones are read at random, and on pages of 4 KiB each look costs a walk through the page table
//! as well.
//!
//! The tables are allocated as they grow. glibc (2.35 or newer) asks the kernel for huge pages by madvise(2) when its tunables say
//! so, which it reads once, as a program starts, and does it for the arena of the main thread alone: so the program begins anew,
//! with tunables for that and for a single arena, which workers hardly meet in, as nothing is allocated for a segment. With
//! several NUMA nodes it does not: workers of two nodes would share pages.
//!
//! Only where the user asks for it: while tables grow, turns wait for the kernel to find and clear such pages.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs::read_to_string;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The user's switch: `1` asks for huge pages.
const SWITCH: &str = "HANDFAST_HUGE_PAGES";
/// How often the program has begun anew.
const BEGUN_ANEW: &str = "HANDFAST_BEGUN_ANEW";
/// It tries again so often: glibc 2.36 reads the kernel's setting at each start, and in about half of them makes nothing of it
/// (seen by strace).
const MOST_STARTS: u32 = 16;

const SMAPS: &str = "/proc/self/smaps";
const TUNABLES: &str = "GLIBC_TUNABLES";
const OURS: [&str; 2] = ["glibc.malloc.hugetlb", "glibc.malloc.arena_max"];

/// Begins the program anew by execve(2), with the same arguments, so that its tables lie on transparent huge pages; returns where
/// that has been done, or is not wanted (`HANDFAST_HUGE_PAGES=1` wants it), or cannot be had. To be called before anything is read and any thread begins.
pub fn ask() {
    if std::env::var_os(SWITCH).is_none_or(|switch| switch != "1") || !are_of_use() {
        return;
    }
    let begun = std::env::var(BEGUN_ANEW).ok().and_then(|times| times.parse().ok()).unwrap_or(0);
    let given = std::env::var_os(TUNABLES);
    let tunables = match begun {
        0 => with_ours(given.as_deref()),
        // Where the binary has file capabilities, glibc has taken the tunable away.
        1..MOST_STARTS if !is_heeded(&read_to_string(SMAPS).unwrap_or_default()) => {
            given.filter(|given| given.to_string_lossy().contains(OURS[0]))
        }
        _ => None,
    };
    if let Some(tunables) = tunables {
        // Without huge pages all works as well, so an error is none.
        let _ = begin_anew(&tunables, begun + 1);
    }
}

/// What became of what the user wished ([`ask`]), for the log; `None` where there was no wish.
///
/// # Errors
/// It was not fulfilled: a sentence that says why.
pub fn outcome() -> Option<Result<&'static str, String>> {
    let wish = std::env::var_os(SWITCH)?;
    became(&wish.to_string_lossy(), is_heeded(&read_to_string(SMAPS).unwrap_or_default()))
}

fn became(wish: &str, heeded: bool) -> Option<Result<&'static str, String>> {
    match wish {
        "" | "0" => None,
        "1" if heeded => Some(Ok("tables are put on transparent huge pages where the kernel finds some")),
        "1" => Some(Err(format!(
            "{SWITCH}=1 has no effect: tables stay on small pages; it needs glibc 2.35 or newer, one NUMA node, transparent \
             huge pages that are not off, and a binary without file capabilities"
        ))),
        other => Some(Err(format!("{SWITCH}={other} has no effect; write {SWITCH}=1 to put tables on huge pages"))),
    }
}

/// Whether huge pages were asked for the heap, by the text of `/proc/PID/smaps`. Its first piece is when any is.
fn is_heeded(maps: &str) -> bool {
    let flags = maps.split_once("[heap]").and_then(|(_, heap)| heap.lines().find(|line| line.starts_with("VmFlags:")));
    flags.is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hg"))
}

fn begin_anew(tunables: &OsStr, times: u32) -> Result<Infallible, io::Error> {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let mut again = Command::new(std::env::current_exe()?);
    Err(again.arg0(name).args(args).env(TUNABLES, tunables).env(BEGUN_ANEW, times.to_string()).exec())
}

/// Whether the kernel gives transparent huge pages to who asks, and all memory is as near.
fn are_of_use() -> bool {
    let modes = read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let nodes = read_to_string("/sys/devices/system/node/online").unwrap_or_default();
    let one_node = !nodes.contains(['-', ',']);
    cfg!(target_env = "gnu") && one_node && modes.is_ok_and(|modes| !modes.contains("[never]"))
}

/// The tunables with those of ours that the user's say nothing of, all of them 1; `None` where there are none, or where the
/// user's say something else of huge pages.
fn with_ours(given: Option<&OsStr>) -> Option<OsString> {
    let given = given.unwrap_or_default().to_string_lossy();
    let mut all: Vec<String> = given.split(':').filter(|one| !one.is_empty()).map(String::from).collect();
    let value = |name| all.iter().rev().find_map(|one| one.strip_prefix(name)?.strip_prefix('='));
    if value(OURS[0]).is_some_and(|huge| huge != "1") {
        return None;
    }
    let missing: Vec<String> =
        OURS.into_iter().filter(|name| value(name).is_none()).map(|name| format!("{name}=1")).collect();
    all.extend(missing.iter().cloned());
    (!missing.is_empty()).then(|| all.join(":").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_s_first_piece_shows_whether_the_tunable_is_heeded() {
        let maps = |flags: &str| {
            format!("55e0-55e2 rw-p 0 00:00 0 [heap]\nSize: 2048 kB\nVmFlags: {flags}\n55e3 rw-p\nVmFlags: rd hg\n")
        };
        assert!(is_heeded(&maps("rd wr mr mw me ac hg ")) && !is_heeded(&maps("rd wr mr mw me ac")) && !is_heeded(""));
    }

    #[test]
    fn a_wish_is_answered() {
        assert_eq!((became("0", false), became("", true)), (None, None));
        assert!(became("1", true).unwrap().unwrap().contains("huge pages"));
        assert!(became("1", false).unwrap().unwrap_err().contains("=1 has no effect: tables stay on small pages"));
        assert!(became("yes", false).unwrap().unwrap_err().contains("=yes has no effect; write HANDFAST_HUGE_PAGES=1"));
    }

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
