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

/// The capabilities that are needed, with their numbers in the kernel.
const CAPABILITIES: [(&str, u32); 5] =
    [("cap_net_admin", 12), ("cap_net_raw", 13), ("cap_ipc_lock", 14), ("cap_perfmon", 38), ("cap_bpf", 39)];

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
    let missing = missing_capabilities(effective);
    if missing.is_empty() {
        return Finding::good("privileges", "net_admin, net_raw, ipc_lock, perfmon and bpf");
    }
    Finding::lack("privileges", State::Bad, format!("missing {}", missing.join(", ")), PRIVILEGE)
}

fn missing_capabilities(effective: u64) -> Vec<&'static str> {
    let has = |bit: u32| effective >> bit & 1 == 1;
    let granted = |bit: u32| has(bit) || (bit >= 38 && has(CAP_SYS_ADMIN));
    let lacking = CAPABILITIES.iter().filter(|(_, bit)| !granted(*bit));
    lacking.map(|(name, _)| *name).collect()
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
    let may_lock = effective_capabilities(&status).is_some_and(|effective| effective >> 14 & 1 == 1);
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
    let topic = "huge pages";
    let cure = "`echo madvise > /sys/kernel/mm/transparent_hugepage/enabled`";
    match fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled") {
        Ok(modes) if modes.contains("[never]") => {
            Finding::lack(topic, State::Warn, "transparent huge pages are off: more TLB misses", cure)
        }
        Ok(_) => Finding::good(topic, "the UMEM may use transparent huge pages"),
        Err(_) => Finding::lack(
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
        assert_eq!(missing_capabilities(effective_capabilities(status).unwrap()), ["cap_perfmon"]);
        assert_eq!(missing_capabilities(1 << CAP_SYS_ADMIN), ["cap_net_admin", "cap_net_raw", "cap_ipc_lock"]);
        assert_eq!(effective_capabilities("Name:\tx\n"), None);
    }

    #[test]
    fn every_lack_has_a_cure_and_an_unknown_interface_is_one() {
        let findings = examine(Some("hf-none"));
        assert!(findings.iter().all(|f| (f.state == State::Good) == f.cure.is_none()), "{findings:#?}");
        let last = findings.last().unwrap();
        assert_eq!((last.topic.as_str(), last.state), ("interface", State::Bad));
    }
}
