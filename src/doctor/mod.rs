//! What this host and an interface can do, and the command that mends each lack.
//!
//! The examination tries rather than guesses: it loads the XDP program, and on an interface that has neither an XDP program
//! nor an AF_XDP socket it binds every queue and lets go again. The host's own traffic there does not count as use, and a
//! physical NIC may reset its link for that: it is not for the NIC that one's ssh comes in on.

mod interface;
mod memory;
mod nic;

use crate::SetupError;
use crate::driver::XdpProgram;
use crate::driver::af_xdp;
use crate::driver::errno::{OLDEST_KERNEL, privilege};
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

/// The capabilities that are needed, with their numbers in the kernel.
const CAPABILITIES: [(&str, u32); 5] =
    [("cap_net_admin", 12), ("cap_net_raw", 13), ("cap_ipc_lock", CAP_IPC_LOCK), ("cap_perfmon", 38), ("cap_bpf", 39)];

const CAP_IPC_LOCK: u32 = 14;

/// It stands for `cap_perfmon` and `cap_bpf` as well.
const CAP_SYS_ADMIN: u32 = 21;

/// Examines the host, and the interface if one is named.
pub fn examine(interface: Option<&str>) -> Vec<Finding> {
    let facts = interface.map(host::interface).transpose();
    let driver = facts.as_ref().ok().and_then(Option::as_ref).map_or("", |facts| &facts.driver);
    let umem = af_xdp::umem_octets(driver);
    let program = XdpProgram::load();
    let mut findings = vec![
        kernel(),
        capabilities(umem),
        memory::locked(umem),
        bpf_jit(program.as_ref().ok().and_then(XdpProgram::is_compiled), is_in_the_hosts_network()),
        xdp_program(program.err()),
        memory::huge_pages(umem),
        cores(),
    ];
    match &facts {
        Ok(facts) => findings.extend(facts.iter().flat_map(interface::examine)),
        Err(e) => findings.push(Finding::lack("interface", State::Bad, &e.cause, &e.cure)),
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

/// `umem` octets are what a queue locks.
fn capabilities(umem: u64) -> Finding {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let Some(effective) = effective_capabilities(&status) else {
        return Finding::lack("privileges", State::Unknown, "/proc/self/status cannot be read", "run as root");
    };
    let missing = missing_capabilities(effective, getrlimit(Resource::Memlock).maximum, umem);
    if missing.is_empty() {
        let found = match may_lock(effective) {
            true => "net_admin, net_raw, ipc_lock, perfmon and bpf",
            false => "net_admin, net_raw, perfmon and bpf; in ipc_lock's place a raised limit of locked memory",
        };
        return Finding::good("privileges", found);
    }
    Finding::lack("privileges", State::Bad, format!("missing {}", missing.join(", ")), privilege())
}

/// The capabilities that are needed and not there. Who may lock as much as a queue takes, or has no limit, needs no
/// CAP_IPC_LOCK.
fn missing_capabilities(effective: u64, lockable: Option<u64>, umem: u64) -> Vec<&'static str> {
    let has = |bit: u32| effective >> bit & 1 == 1;
    let enough = lockable.is_none_or(|octets| octets >= umem);
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

/// What became of the program tells it in every namespace; the switch is shown in the host's own one alone.
fn bpf_jit(compiled: Option<bool>, in_the_hosts_network: bool) -> Finding {
    let topic = "BPF JIT";
    let switch = "sysctl -w net.core.bpf_jit_enable=1";
    let cure = match in_the_hosts_network {
        true => format!("`{switch}`"),
        false => {
            format!("`nsenter -t 1 -n {switch}`, outside of any container: this network namespace has no such switch")
        }
    };
    match compiled {
        Some(true) => Finding::good(topic, "on: the XDP program is compiled"),
        Some(false) => Finding::lack(topic, State::Warn, "off: the XDP program is interpreted", cure),
        None => Finding::lack(topic, State::Unknown, "not known, as the XDP program was not loaded", "see XDP program"),
    }
}

fn is_in_the_hosts_network() -> bool {
    fs::exists("/proc/sys/net/core/bpf_jit_enable").unwrap_or(false)
}

fn xdp_program(refusal: Option<SetupError>) -> Finding {
    match refusal {
        None => Finding::good("XDP program", "loads"),
        Some(e) => Finding::lack("XDP program", State::Bad, format!("{}: {}", e.what, e.cause), e.cure),
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

    const UMEM: u64 = 16 << 20;

    #[test]
    fn capabilities_are_read_from_the_mask() {
        let status = "Name:\tx\nCapInh:\t0000000000000000\nCapEff:\t0000008000007000\n";
        let default = Some(8 << 20);
        assert_eq!(missing_capabilities(effective_capabilities(status).unwrap(), default, UMEM), ["cap_perfmon"]);
        assert_eq!(
            missing_capabilities(1 << CAP_SYS_ADMIN, default, UMEM),
            ["cap_net_admin", "cap_net_raw", "cap_ipc_lock"]
        );
        assert_eq!(effective_capabilities("Name:\tx\n"), None);
    }

    #[test]
    fn a_raised_limit_of_locked_memory_is_as_good_as_ipc_lock() {
        let others = 1 << 12 | 1 << 13 | 1 << 38 | 1 << 39;
        for (lockable, missing) in [(Some(UMEM - 1), &["cap_ipc_lock"][..]), (Some(UMEM), &[]), (None, &[])] {
            assert_eq!(missing_capabilities(others, lockable, UMEM), missing, "{lockable:?}");
        }
    }

    #[test]
    fn the_jit_is_switched_on_where_the_switch_is() {
        let of = |compiled, in_the_hosts_network| bpf_jit(compiled, in_the_hosts_network);
        assert_eq!(of(Some(true), false).state, State::Good);
        let interpreted = of(Some(false), true);
        assert_eq!(interpreted.state, State::Warn);
        assert_eq!(interpreted.cure.unwrap(), "`sysctl -w net.core.bpf_jit_enable=1`");
        assert!(of(Some(false), false).cure.unwrap().starts_with("`nsenter -t 1 -n sysctl -w "));
        assert_eq!(of(None, true).state, State::Unknown);
    }

    #[test]
    fn every_lack_has_a_cure_and_an_unknown_interface_is_one() {
        let findings = examine(Some("hf-none"));
        assert!(findings.iter().all(|f| (f.state == State::Good) == f.cure.is_none()), "{findings:#?}");
        let last = findings.last().unwrap();
        assert_eq!((last.topic.as_str(), last.state), ("interface", State::Bad));
    }
}
