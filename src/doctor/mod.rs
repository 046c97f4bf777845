//! What this host and an interface can do, and the command that mends each lack.
//!
//! The examination tries rather than guesses: it loads the XDP program, and on an interface that nobody uses it binds
//! every queue and lets go again. A physical NIC may reset its link for that.

use crate::driver::XdpProgram;
use crate::driver::af_xdp::{self, PortConfig};
use crate::driver::errno::{OLDEST_KERNEL, PRIVILEGE};
use crate::host::{self, InterfaceFacts, XdpSocket};
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
            Ok(facts) => findings.extend(examine_interface(&facts)),
            Err(e) => findings.push(Finding::lack("interface", State::Bad, e.cause, e.cure)),
        }
    }
    findings
}

fn examine_interface(facts: &InterfaceFacts) -> Vec<Finding> {
    let mut findings = vec![link(facts), queues(facts)];
    let usable = findings.iter().all(|finding| finding.state != State::Bad);
    if facts.driver == "veth" {
        findings.push(veth_checksums(facts));
        findings.push(veth_answers());
    }
    let sockets = host::xdp_sockets();
    let held = sockets.as_ref().map(|all| all.iter().filter(|s| s.if_index == facts.index).collect::<Vec<_>>());
    findings.push(match &held {
        Ok(held) => holders(held),
        Err(_) => possible_holders(&host::xdp_holders()),
    });
    findings.push(attached_program(facts));
    let in_use = facts.xdp_program.is_some() || held.is_ok_and(|held| !held.is_empty());
    findings.push(match (usable, in_use) {
        (false, _) => not_tried("the interface cannot carry it", "mend the interface first, and ask again"),
        (true, true) => not_tried("the interface is in use", "end what uses the interface, and ask again"),
        (true, false) => trial(facts),
    });
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

fn link(facts: &InterfaceFacts) -> Finding {
    let name = &facts.name;
    let driver = if facts.driver.is_empty() { "no driver" } else { &facts.driver };
    let found = format!("{name}: {driver}, {}, MTU {}", facts.mac, facts.mtu);
    if !facts.up {
        return Finding::lack("interface", State::Bad, format!("{found}, down"), format!("`ip link set {name} up`"));
    }
    if facts.mtu > u32::from(af_xdp::MAX_MTU) {
        let found = format!("{found}, which is more than a chunk takes");
        return Finding::lack("interface", State::Bad, found, format!("`ip link set {name} mtu 1500`"));
    }
    if !facts.carrier {
        let cure = "plug the cable in, or set the other end up";
        return Finding::lack("interface", State::Warn, format!("{found}, no carrier"), cure);
    }
    Finding::good("interface", format!("{found}, up"))
}

fn queues(facts: &InterfaceFacts) -> Finding {
    let (rx, tx, cores) = (facts.rx_queues, facts.tx_queues, core_count());
    let found = format!("{rx} rx and {tx} tx for {cores} cores");
    let change = |n: usize| match facts.driver.as_str() {
        "veth" => format!("`ethtool -L {} rx {n} tx {n}`", facts.name),
        _ => format!("`ethtool -L {} combined {n}`", facts.name),
    };
    if rx as usize > cores {
        let found = format!("{found}: each rx queue needs a worker, so workers share cores");
        return Finding::lack("queues", State::Warn, found, change(cores));
    }
    if tx < rx {
        let found = format!("{found}: each worker needs a tx queue of its own");
        return Finding::lack("queues", State::Bad, found, change(tx as usize));
    }
    Finding::good("queues", found)
}

/// Nothing on our end shows whether the peer computes checksums, and it does not by default.
fn veth_checksums(facts: &InterfaceFacts) -> Finding {
    Finding::lack(
        "checksums on veth",
        State::Warn,
        format!(
            "the peer of {} leaves TCP checksums undone unless its offload is off; it cannot be seen from here",
            facts.name
        ),
        "`ethtool -K PEER tx off` on the other end, or `--rx-checksum trust`",
    )
}

/// A frame that is sent by XDP_TX waits in the peer's ring until the peer's NAPI is called, which is done for an XDP program
/// there and not for GRO.
fn veth_answers() -> Finding {
    Finding::lack(
        "SYNs answered in XDP on veth",
        State::Warn,
        "they arrive only where the other end has an XDP program; it cannot be seen from here",
        "any XDP program on the other end, also one that passes all (`gro on` is not enough); else keep to `--syn-defence auto` \
         without `--xdp-above`, which stays at cookies here",
    )
}

fn holders(held: &[&XdpSocket]) -> Finding {
    if held.is_empty() {
        return Finding::good("AF_XDP sockets", "no queue is taken");
    }
    let who =
        |s: &&XdpSocket| format!("queue {}: {}", s.queue, s.holder().unwrap_or_else(|| "a hidden process".into()));
    let found: Vec<_> = held.iter().map(who).collect();
    Finding::lack("AF_XDP sockets", State::Bad, found.join(", "), "end that program, or use another interface")
}

/// Without the kernel's diagnosis only the processes are known, not their queues.
fn possible_holders(processes: &[String]) -> Finding {
    if processes.is_empty() {
        return Finding::good("AF_XDP sockets", "no process of this namespace is seen with one");
    }
    let found = format!("held by {}; which queues, this kernel does not say", processes.join(", "));
    Finding::lack("AF_XDP sockets", State::Warn, found, "`modprobe xsk_diag` shows the queues")
}

fn attached_program(facts: &InterfaceFacts) -> Finding {
    match facts.xdp_program {
        None => Finding::good("other XDP program", "none"),
        Some(id) => Finding::lack(
            "other XDP program",
            State::Bad,
            format!("program {id} is attached to {}", facts.name),
            format!(
                "end its owner (`bpftool link`, `bpftool prog show id {id}`), or `ip link set {} xdp off`",
                facts.name
            ),
        ),
    }
}

fn not_tried(why: &str, cure: &str) -> Finding {
    Finding::lack("AF_XDP", State::Unknown, format!("not tried, as {why}"), cure)
}

/// Binds every queue, says what was got, and lets go.
fn trial(facts: &InterfaceFacts) -> Finding {
    let config = PortConfig { chunks: 1024, ring: 256, ..PortConfig::new(&facts.name) };
    match af_xdp::open(&config) {
        Err(e) => Finding::lack("AF_XDP", State::Bad, format!("{}: {}", e.what, e.cause), e.cure),
        Ok(port) => {
            let got = crate::driver::Driver::describe(&port.drivers[0]);
            if got.contains("generic") {
                let found = format!("{got}: every frame becomes a socket buffer first");
                return Finding::lack("AF_XDP", State::Warn, found, "use an interface whose driver has native XDP");
            }
            Finding::good("AF_XDP", format!("{got} on {} queues", port.drivers.len()))
        }
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

    #[test]
    fn an_interface_that_cannot_do_is_not_tried() {
        // The loopback interface has an MTU that no chunk takes.
        let findings = examine(Some("lo"));
        let of = |topic: &str| findings.iter().find(|f| f.topic == topic).unwrap();
        assert!(of("interface").state == State::Bad && !of("interface").found.contains(" , "), "{findings:#?}");
        assert_eq!(of("AF_XDP").state, State::Unknown);
        assert!(of("AF_XDP").found.contains("cannot carry it"));
        assert!(link(&InterfaceFacts { name: "lo".into(), ..Default::default() }).found.starts_with("lo: no driver, "));
    }

    #[test]
    fn what_is_wrong_with_an_interface_is_told() {
        let good = InterfaceFacts {
            name: "eth0".into(),
            mtu: 1500,
            up: true,
            carrier: true,
            rx_queues: 1,
            tx_queues: 1,
            driver: "igb".into(),
            ..Default::default()
        };
        assert_eq!((link(&good).state, queues(&good).state), (State::Good, State::Good));
        assert_eq!(link(&InterfaceFacts { up: false, ..good.clone() }).cure.unwrap(), "`ip link set eth0 up`");
        assert_eq!(link(&InterfaceFacts { mtu: 9000, ..good.clone() }).state, State::Bad);
        assert_eq!(link(&InterfaceFacts { carrier: false, ..good.clone() }).state, State::Warn);
        let many = InterfaceFacts { rx_queues: 10_000, tx_queues: 10_000, ..good.clone() };
        assert!(queues(&many).cure.unwrap().starts_with("`ethtool -L eth0 combined "));
        assert_eq!(queues(&InterfaceFacts { tx_queues: 0, ..good.clone() }).state, State::Bad);
        assert_eq!(attached_program(&InterfaceFacts { xdp_program: Some(7), ..good }).state, State::Bad);
    }
}
