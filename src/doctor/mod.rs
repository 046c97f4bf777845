//! What this host and an interface can do, and the command that mends each lack.
//!
//! The examination tries rather than guesses: it loads the XDP program, and on an interface that nobody uses it binds
//! every queue and lets go again. A physical NIC may reset its link for that.

mod interface;
mod nic;

use crate::driver::XdpProgram;
use crate::driver::af_xdp;
use crate::driver::errno::{OLDEST_KERNEL, PRIVILEGE};
use crate::host;
use rustix::process::{Resource, getrlimit};
use std::fs;

/// How a finding is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Good,
    /// Works, but worse than it could.
    Warn,
    /// Does not work.
    Bad,
    /// Could not be found out.
    Unknown,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What was looked at, in a few words.
    pub topic: String,
    /// How it is to be taken.
    pub state: State,
    /// What was found.
    pub found: String,
    /// The command or step that mends it; `None` where nothing needs mending.
    pub cure: Option<String>,
}

impl Finding {
    fn good(topic: &str, found: impl Into<String>) -> Finding {
        Finding { topic: topic.into(), state: State::Good, found: found.into(), cure: None }
    }

    fn lack(topic: &str, state: State, found: impl Into<String>, cure: impl Into<String>) -> Finding {
        Finding { topic: topic.into(), state, found: found.into(), cure: Some(cure.into()) }
    }
}

/// Octets of locked memory that one queue takes by default.
const UMEM_OCTETS: u64 = 8192 * af_xdp::CHUNK as u64;

/// The first Linux that aligns a large mapping to huge pages, without which the UMEM cannot lie on any of the pool.
const ALIGNS_TO_HUGE_PAGES: (u32, u32) = (6, 7);

/// The capabilities that are needed, with their numbers in the kernel.
const CAPABILITIES: [(&str, u32); 5] =
    [("cap_net_admin", 12), ("cap_net_raw", 13), ("cap_ipc_lock", CAP_IPC_LOCK), ("cap_perfmon", 38), ("cap_bpf", 39)];

const CAP_IPC_LOCK: u32 = 14;

/// It stands for `cap_perfmon` and `cap_bpf` as well.
const CAP_SYS_ADMIN: u32 = 21;

/// Examines the host, and the interface if one is named.
pub fn examine(interface: Option<&str>) -> Vec<Finding> {
    let mut findings = vec![kernel(), capabilities(), locked_memory(), bpf_jit(), xdp_program(), huge_pages(), cores()];
    if let Some(name) = interface {
        match host::interface(name) {
            Ok(facts) => findings.extend(interface::examine(&facts)),
            Err(e) => findings.push(Finding::lack("interface", State::Bad, e.cause, e.cure)),
        }
    }
    findings
}

fn kernel() -> Finding {
    let (major, minor) = OLDEST_KERNEL;
    let cure = format!("use Linux {major}.{minor} or newer");
    match af_xdp::kernel_version() {
        Some(version) if version >= OLDEST_KERNEL => {
            Finding::good("kernel", format!("Linux {}.{}", version.0, version.1))
        }
        Some(version) => Finding::lack("kernel", State::Bad, format!("Linux {}.{}", version.0, version.1), cure),
        None => Finding::lack("kernel", State::Unknown, "its version cannot be read", cure),
    }
}

fn capabilities() -> Finding {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let Some(effective) = effective_capabilities(&status) else {
        return Finding::lack("privileges", State::Unknown, "/proc/self/status cannot be read", "run as root");
    };
    let missing = missing_capabilities(effective, getrlimit(Resource::Memlock).maximum);
    if missing.is_empty() {
        let found = match may_lock(effective) {
            true => "net_admin, net_raw, ipc_lock, perfmon and bpf",
            false => "net_admin, net_raw, perfmon and bpf; in ipc_lock's place a raised limit of locked memory",
        };
        return Finding::good("privileges", found);
    }
    Finding::lack("privileges", State::Bad, format!("missing {}", missing.join(", ")), PRIVILEGE)
}

/// The capabilities that are needed and not there. Who may lock as much as a queue takes, or has no limit, needs no
/// CAP_IPC_LOCK.
fn missing_capabilities(effective: u64, lockable: Option<u64>) -> Vec<&'static str> {
    let has = |bit: u32| effective >> bit & 1 == 1;
    let enough = lockable.is_none_or(|octets| octets >= UMEM_OCTETS);
    let granted = |bit: u32| has(bit) || (bit >= 38 && has(CAP_SYS_ADMIN)) || (bit == CAP_IPC_LOCK && enough);
    let lacking = CAPABILITIES.iter().filter(|(_, bit)| !granted(*bit));
    lacking.map(|(name, _)| *name).collect()
}

fn may_lock(effective: u64) -> bool {
    effective >> CAP_IPC_LOCK & 1 == 1
}

/// The mask of effective capabilities in the text of `/proc/PID/status`.
fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn locked_memory() -> Finding {
    let topic = "locked memory";
    let limit = getrlimit(Resource::Memlock);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let may_lock = effective_capabilities(&status).is_some_and(may_lock);
    match limit.maximum {
        _ if may_lock => Finding::good(topic, "no limit for this process (ipc_lock)"),
        None => Finding::good(topic, "no limit"),
        Some(octets) if octets >= UMEM_OCTETS => {
            Finding::good(topic, format!("up to {} MiB, enough for {} queues", octets >> 20, octets / UMEM_OCTETS))
        }
        Some(octets) => Finding::lack(
            topic,
            State::Bad,
            format!("up to {} KiB, while each queue needs {} MiB", octets >> 10, UMEM_OCTETS >> 20),
            "`ulimit -l unlimited` as root, or `LimitMEMLOCK=infinity` in the systemd unit",
        ),
    }
}

fn bpf_jit() -> Finding {
    let topic = "BPF JIT";
    let cure = "`sysctl -w net.core.bpf_jit_enable=1`";
    match fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").as_deref().map(str::trim) {
        Ok("0") => Finding::lack(topic, State::Warn, "off: the XDP program is interpreted", cure),
        Ok(_) => Finding::good(topic, "on"),
        Err(_) => Finding::lack(topic, State::Unknown, "this namespace does not show it", cure),
    }
}

fn xdp_program() -> Finding {
    match XdpProgram::load() {
        Ok(_) => Finding::good("XDP program", "loads"),
        Err(e) => Finding::lack("XDP program", State::Bad, format!("{}: {}", e.what, e.cause), e.cure),
    }
}

fn huge_pages() -> Finding {
    let transparent = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok();
    judge_huge_pages(free_huge_pages(), af_xdp::kernel_version(), transparent.as_deref())
}

/// Huge pages of 2 MiB in the pool that nobody has or is promised; whatever size is the kernel's default.
fn free_huge_pages() -> u64 {
    let count = |name| -> Option<u64> {
        fs::read_to_string(format!("/sys/kernel/mm/hugepages/hugepages-2048kB/{name}")).ok()?.trim().parse().ok()
    };
    count("free_hugepages").unwrap_or(0).saturating_sub(count("resv_hugepages").unwrap_or(0))
}

/// What of `free` huge pages this kernel will use, and whether it finds any by itself: `transparent` is its setting.
fn judge_huge_pages(free: u64, version: Option<(u32, u32)>, transparent: Option<&str>) -> Finding {
    let topic = "huge pages";
    let (major, minor) = ALIGNS_TO_HUGE_PAGES;
    let queues = free / UMEM_OCTETS.div_ceil(af_xdp::HUGE_PAGE as u64);
    if queues > 0 && version.is_some_and(|version| version < ALIGNS_TO_HUGE_PAGES) {
        let found = format!("{free} free, which are not used: this kernel does not align a mapping to them");
        return Finding::lack(
            topic,
            State::Warn,
            found,
            format!("use Linux {major}.{minor} or newer; it works without"),
        );
    }
    if queues > 0 {
        return Finding::good(topic, format!("{free} free, enough for the UMEM of {queues} queues"));
    }
    let cure = "`echo madvise > /sys/kernel/mm/transparent_hugepage/enabled`";
    match transparent {
        Some(modes) if modes.contains("[never]") => {
            Finding::lack(topic, State::Warn, "transparent huge pages are off: more TLB misses", cure)
        }
        Some(_) => Finding::good(topic, "the UMEM may use transparent huge pages"),
        None => Finding::lack(
            topic,
            State::Warn,
            "this kernel has no transparent huge pages: more TLB misses",
            "use a kernel built with CONFIG_TRANSPARENT_HUGEPAGE; it works without",
        ),
    }
}

fn core_count() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

fn cores() -> Finding {
    match core_count() {
        1 => Finding::lack(
            "cores",
            State::Warn,
            "1: the worker shares it with the kernel",
            "allow more with `taskset` or the container's cpuset",
        ),
        n => Finding::good("cores", format!("{n}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_mask() {
        let status = "Name:\tx\nCapInh:\t0000000000000000\nCapEff:\t0000008000007000\n";
        let default = Some(8 << 20);
        assert_eq!(missing_capabilities(effective_capabilities(status).unwrap(), default), ["cap_perfmon"]);
        assert_eq!(missing_capabilities(1 << CAP_SYS_ADMIN, default), ["cap_net_admin", "cap_net_raw", "cap_ipc_lock"]);
        assert_eq!(effective_capabilities("Name:\tx\n"), None);
    }

    #[test]
    fn a_raised_limit_of_locked_memory_is_as_good_as_ipc_lock() {
        let others = 1 << 12 | 1 << 13 | 1 << 38 | 1 << 39;
        for (lockable, missing) in
            [(Some(UMEM_OCTETS - 1), &["cap_ipc_lock"][..]), (Some(UMEM_OCTETS), &[]), (None, &[])]
        {
            assert_eq!(missing_capabilities(others, lockable), missing, "{lockable:?}");
        }
    }

    #[test]
    fn huge_pages_count_where_they_suffice_for_a_queue_and_the_kernel_uses_them() {
        const NEW: Option<(u32, u32)> = Some((6, 7));
        for (free, version, transparent, state, part) in [
            (7, NEW, Some("always [madvise] never"), State::Good, "may use transparent"),
            (7, NEW, Some("always madvise [never]"), State::Warn, "are off"),
            (7, NEW, None, State::Warn, "has no transparent"),
            (8, NEW, Some("always madvise [never]"), State::Good, "8 free, enough for the UMEM of 1 queues"),
            (17, Some((7, 0)), None, State::Good, "of 2 queues"),
            (17, None, None, State::Good, "of 2 queues"),
            (17, Some((6, 6)), Some("[always] madvise never"), State::Warn, "17 free, which are not used"),
            (7, Some((5, 15)), Some("[always] madvise never"), State::Good, "may use transparent"),
        ] {
            let finding = judge_huge_pages(free, version, transparent);
            assert!(finding.state == state && finding.found.contains(part), "{free}, {version:?}: {finding:?}");
        }
    }

    #[test]
    fn every_lack_has_a_cure_and_an_unknown_interface_is_one() {
        let findings = examine(Some("hf-none"));
        assert!(findings.iter().all(|f| (f.state == State::Good) == f.cure.is_none()), "{findings:#?}");
        let last = findings.last().unwrap();
        assert_eq!((last.topic.as_str(), last.state), ("interface", State::Bad));
    }
}
