//! What an interface is like, who uses it, and whether its queues can be bound, which is tried.

use super::{Finding, State, core_count, nic};
use crate::driver::af_xdp::{self, AfXdp, PortConfig};
use crate::driver::{Driver, OUR_PROGRAM, native_cure, program_name};
use crate::host::{self, InterfaceFacts, XdpSocket};
use crate::wire::frame::TxChecksum;

/// The Linux whose virtio_net was seen to give zero-copy queues.
const VIRTIO_KERNEL: (u32, u32) = (6, 18);

/// Examines the interface, and tries it if it has neither an XDP program nor an AF_XDP socket.
pub(super) fn examine(facts: &InterfaceFacts) -> Vec<Finding> {
    let mut findings = vec![link(facts), queues(facts)];
    findings.extend(nic::examine(facts));
    let usable = findings.iter().all(|finding| finding.state != State::Bad);
    if facts.driver == "veth" {
        findings.push(veth_checksums(facts));
        findings.push(veth_answers());
    }
    if facts.loopback {
        findings.push(loopback_checksums());
    }
    let sockets = host::xdp_sockets();
    let held = sockets.as_ref().map(|all| all.iter().filter(|s| s.if_index == facts.index).collect::<Vec<_>>());
    findings.push(match &held {
        Ok(held) => holders(held),
        Err(_) => possible_holders(&host::xdp_holders()),
    });
    findings.push(attached_program(facts));
    let in_use = facts.xdp_program.is_some() || held.is_ok_and(|held| !held.is_empty());
    match (usable, in_use) {
        (false, _) => {
            findings.push(not_tried("the interface cannot carry it", "mend the interface first, and ask again"))
        }
        (true, true) => {
            findings.push(not_tried("the interface is in use", "end what uses the interface, and ask again"))
        }
        (true, false) => findings.extend(trial(facts)),
    }
    findings
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
        return Finding::lack("interface", State::Bad, found, af_xdp::mtu_cure(facts));
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
    if rx as usize > cores {
        let found = format!("{found}: each rx queue needs a worker, so workers share cores");
        return Finding::lack("queues", State::Warn, found, change_queues(facts, cores));
    }
    if tx < rx {
        let found = format!("{found}: each worker needs a tx queue of its own");
        return Finding::lack("queues", State::Bad, found, change_queues(facts, tx as usize));
    }
    Finding::good("queues", found)
}

/// The command that gives the interface so many queues.
pub(super) fn change_queues(facts: &InterfaceFacts, n: usize) -> String {
    match facts.driver.as_str() {
        "veth" => format!("`ethtool -L {} rx {n} tx {n}`", facts.name),
        _ => format!("`ethtool -L {} combined {n}`", facts.name),
    }
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

fn loopback_checksums() -> Finding {
    let found = "a loopback leaves them undone, and nothing changes that";
    Finding::lack("checksums on a loopback", State::Warn, found, "`--rx-checksum trust`, or a veth pair instead")
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
    let topic = "other XDP program";
    let Some(id) = facts.xdp_program else { return Finding::good(topic, "none") };
    let name = program_name(id);
    if name.as_deref() == Some(OUR_PROGRAM) {
        let found = format!("Handfast runs on {}: program {id} is its own", facts.name);
        return Finding::lack(topic, State::Warn, found, "end that process to have the queues tried");
    }
    let cure =
        format!("end its owner (`bpftool link`, `bpftool prog show id {id}`), or `ip link set {} xdp off`", facts.name);
    let named = name.map_or(String::new(), |name| format!(" ({name})"));
    Finding::lack(topic, State::Bad, format!("program {id}{named} is attached to {}", facts.name), cure)
}

fn not_tried(why: &str, cure: &str) -> Finding {
    Finding::lack("AF_XDP", State::Unknown, format!("not tried, as {why}"), cure)
}

/// Binds every queue, says what was got, and lets go.
fn trial(facts: &InterfaceFacts) -> Vec<Finding> {
    let config = PortConfig { chunks: 1024, ring: 256, ..PortConfig::new(&facts.name) };
    let port = match af_xdp::open(&config) {
        Ok(port) => port,
        Err(e) => return vec![Finding::lack("AF_XDP", State::Bad, format!("{}: {}", e.what, e.cause), e.cure)],
    };
    let got = port.drivers[0].describe();
    let generic = got.contains("generic");
    let bound = if generic {
        let found = format!("{got}: every frame becomes a socket buffer first");
        let cure = match facts.loopback {
            true => "another interface, as a veth pair: a loopback has no native XDP".into(),
            false => format!("where the driver has native XDP: {}; else another interface", native_cure(&facts.name)),
        };
        Finding::lack("AF_XDP", State::Warn, found, cure)
    } else {
        Finding::good("AF_XDP", format!("{got} on {} queues", port.drivers.len()))
    };
    let zero_copy = port.drivers.iter().filter(|driver| AfXdp::is_zero_copy(driver)).count();
    let queues = port.drivers.len();
    let offloaded = port.drivers.iter().filter(|driver| driver.tx_checksum() == TxChecksum::PseudoHeaderOnly).count();
    vec![
        bound,
        if generic { without_native(queues) } else { copying(facts, zero_copy, queues, af_xdp::kernel_version()) },
        tx_checksums(zero_copy, offloaded, queues, af_xdp::kernel_version()),
    ]
}

/// A zero-copy socket takes no frames from the generic path.
fn without_native(queues: usize) -> Finding {
    let found = format!("not tried on {queues} queues, as it needs native XDP");
    Finding::lack("zero-copy", State::Warn, found, "what gives the interface native XDP (see AF_XDP)")
}

/// Whether the NIC writes into the UMEM itself, as was tried on each queue.
fn copying(facts: &InterfaceFacts, zero_copy: usize, queues: usize, kernel: Option<(u32, u32)>) -> Finding {
    if zero_copy == queues {
        return Finding::good("zero-copy", format!("tried and got on {queues} of {queues} queues"));
    }
    let cure = match facts.driver.as_str() {
        "virtio_net" if kernel >= Some(VIRTIO_KERNEL) => "`iommu_platform=on` for the device in its host",
        "virtio_net" => "Linux 6.18 or newer in the guest, and `iommu_platform=on` for the device in its host",
        "veth" => "it works so; for speed use a NIC",
        _ => {
            "a newer kernel, or a NIC whose driver has it: i40e, ice, igb, igc, ixgbe, mlx5_core, virtio_net and others"
        }
    };
    let found = format!("tried and got on {zero_copy} of {queues} queues: the kernel copies every frame");
    Finding::lack("zero-copy", State::Warn, found, cure)
}

/// Who finishes the checksums of what we send, as each queue was opened.
fn tx_checksums(zero_copy: usize, offloaded: usize, queues: usize, kernel: Option<(u32, u32)>) -> Finding {
    let (major, minor) = af_xdp::CHECKSUMS_SINCE;
    let found = match (offloaded, zero_copy) {
        _ if kernel.is_some_and(|version| version < (major, minor)) => {
            format!("made here: the kernel takes requests to finish them from Linux {major}.{minor} on")
        }
        (0, 0) => "made here: the kernel copies (`--tx-checksum offload` leaves them to it)".into(),
        (0, _) => "made here: the driver does not offer to finish them for AF_XDP".into(),
        _ => format!("finished by the NIC on {offloaded} of {queues} queues"),
    };
    Finding::good("sent checksums", found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::examine;

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

    /// A smaller MTU there is one for all that the host says to itself.
    #[test]
    fn a_loopback_is_better_left_as_it_is() {
        let of = |loopback| {
            let facts = InterfaceFacts { name: "lo".into(), mtu: 65_536, up: true, loopback, ..Default::default() };
            link(&facts).cure.unwrap()
        };
        assert_eq!(of(false), "`ip link set lo mtu 1500`");
        assert!(of(true).starts_with("take a NIC, or a veth pair (`ip link add "), "{}", of(true));
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
        assert!(copying(&good, 0, 2, None).cure.unwrap().contains("igb"));
        assert_eq!(copying(&good, 2, 2, None).state, State::Good);
        let virtio = InterfaceFacts { driver: "virtio_net".into(), ..good.clone() };
        for (kernel, cured_by_a_newer) in
            [(None, true), (Some((6, 17)), true), (Some((6, 18)), false), (Some((7, 0)), false)]
        {
            let cure = copying(&virtio, 0, 1, kernel).cure.unwrap();
            assert_eq!(cure.contains("6.18"), cured_by_a_newer, "{kernel:?}: {cure}");
            assert!(cure.contains("iommu_platform=on"), "{cure}");
        }
        let many = InterfaceFacts { rx_queues: 10_000, tx_queues: 10_000, ..good.clone() };
        assert!(queues(&many).cure.unwrap().starts_with("`ethtool -L eth0 combined "));
        assert_eq!(queues(&InterfaceFacts { tx_queues: 0, ..good.clone() }).state, State::Bad);
        assert_eq!(attached_program(&InterfaceFacts { xdp_program: Some(7), ..good }).state, State::Bad);
    }
}
