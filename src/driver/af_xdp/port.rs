//! A port: every rx queue of one interface bound, under one XDP program.

use super::offload::{ChecksumOffload, Offer};
use super::socket::QueueRequest;
use super::umem::ChunkSize;
use super::{AfXdp, CHUNK};
use crate::driver::errno::OLDEST_KERNEL;
use crate::driver::{AttachMode, Attached, MAX_WORKERS, OwnFlood, ProgramConfig, XdpProgram};
use crate::host::{self, InterfaceFacts};
use crate::wire::ethernet::{HEADER_LEN, VLAN_TAG_LEN};
use crate::wire::{Addr, MacAddr};
use crate::{Ownership, SetupError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;

/// Octets of a chunk that the kernel keeps to itself (XDP_PACKET_HEADROOM).
const HEADROOM: usize = 256;

/// The largest MTU whose frames fit a chunk beside the kernel's headroom, behind a VLAN tag as well.
pub(crate) const MAX_MTU: u16 = (CHUNK - HEADROOM - HEADER_LEN - VLAN_TAG_LEN) as u16;

/// Entries of each ring, unless another number is asked for.
pub(crate) const RING: u32 = 2048;

/// Chunks of a queue for each entry of a ring: one is lent for receiving, one may be on its way out, and what a burst is
/// answered from must be there besides.
const CHUNKS_PER_ENTRY: u32 = 4;

/// Whether frames are to cross without a copy between NIC and UMEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, strum::Display, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum ZeroCopy {
    /// Where the driver can, else copy.
    #[default]
    Auto,
    /// Or fail.
    Force,
    /// Never.
    Off,
}

/// How an interface is opened.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// The interface's name in the calling thread's network namespace.
    pub interface: String,
    /// Workers wanted; must be the number of rx queues, which is what `None` takes.
    pub workers: Option<u32>,
    /// Where the XDP program runs.
    pub attach: AttachMode,
    /// Whether frames cross without a copy.
    pub zero_copy: ZeroCopy,
    /// Whether checksums of what is sent are finished beyond us.
    pub tx_checksum: ChecksumOffload,
    /// Chunks of each queue's UMEM, 2,048 octets each, or 4,096 for zero-copy with some NICs; at least three times `ring`.
    pub chunks: u32,
    /// Entries in each ring, a power of two.
    pub ring: u32,
    /// The core of each queue's worker, where it has one: the queue's memory is taken on that core's NUMA node.
    pub cores: Vec<Option<usize>>,
    /// Whether the addresses are ours alone.
    pub ownership: Ownership,
    /// The addresses whose frames come to us.
    pub addresses: Vec<Addr>,
    /// Whether the workers may have the program answer SYNs for them, if they are not too many for that.
    pub answers_syns: bool,
    /// A flood that is made here, whose answers end in the program.
    pub own_flood: Option<OwnFlood>,
    /// The TCP ports that come to us where addresses are shared.
    pub tcp_ports: Vec<RangeInclusive<u16>>,
}

impl PortConfig {
    /// Defaults for an interface: 8,192 chunks and rings of 2,048 for each of its queues, no address yet.
    pub fn new(interface: impl Into<String>) -> Self {
        PortConfig {
            interface: interface.into(),
            workers: None,
            attach: AttachMode::default(),
            zero_copy: ZeroCopy::default(),
            tx_checksum: ChecksumOffload::default(),
            chunks: RING * CHUNKS_PER_ENTRY,
            ring: RING,
            cores: Vec::new(),
            ownership: Ownership::default(),
            addresses: Vec::new(),
            answers_syns: false,
            own_flood: None,
            tcp_ports: Vec::new(),
        }
    }

    /// The same with so many entries in each ring, and chunks to go with them.
    pub fn with_ring(self, entries: u32) -> Self {
        PortConfig { ring: entries, chunks: entries.saturating_mul(CHUNKS_PER_ENTRY), ..self }
    }
}

/// An opened interface. Dropping the program detaches it; dropping a driver frees its queue.
pub struct Port {
    /// One for each rx queue, in order.
    pub drivers: Vec<AfXdp>,
    /// The program on the interface.
    pub program: XdpProgram,
    /// The interface's Ethernet address.
    pub mac: MacAddr,
    /// Its MTU in octets.
    pub mtu: u16,
}

/// Attaches the XDP program, binds every rx queue, and only then takes the addresses' frames from the kernel.
///
/// Makes netlink, ioctl(2), bpf(2) and socket calls; needs CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON, and
/// CAP_IPC_LOCK or enough locked memory, for which the limit is raised as far as may be.
///
/// # Errors
/// What is missing or taken, with its cure; nothing stays attached or bound then.
pub fn open(config: &PortConfig) -> Result<Port, SetupError> {
    check_kernel()?;
    let facts = host::interface(&config.interface)?;
    let queues = check(config, &facts)?;
    raise_memlock();
    let answered_for = if config.answers_syns && queues <= MAX_WORKERS { queues } else { 0 };
    let purpose = ProgramConfig {
        answers_for: answered_for,
        addresses: u32::try_from(config.addresses.len()).ok(),
        own_flood: config.own_flood,
    };
    let mut program = XdpProgram::attach_for(&config.interface, config.attach, &purpose)?;
    // A zero-copy socket takes no frames from the generic path.
    let generic = program.attached() == Attached::Generic && config.zero_copy == ZeroCopy::Auto;
    let zero_copy = if generic { ZeroCopy::Off } else { config.zero_copy };
    let checksums = Offer::find(config.tx_checksum, zero_copy, &facts)?;
    let mut drivers = Vec::with_capacity(queues as usize);
    for queue in 0..queues {
        let request = QueueRequest {
            interface: &config.interface,
            if_index: facts.index,
            queue,
            chunks: config.chunks,
            chunk_size: chunk_size(&facts.driver, zero_copy),
            ring: config.ring,
            zero_copy,
            checksums,
            attached: program.attached().to_string(),
        };
        let core = config.cores.get(queue as usize).copied().flatten();
        let mut driver = on_core(core, || request.open())?;
        driver.share_with_program(program.outpost(queue));
        program.set_socket(queue, driver.as_raw_fd())?;
        drivers.push(driver);
    }
    for &addr in &config.addresses {
        program.own_address(addr, config.ownership)?;
        // All ports of an address that is ours alone are ours.
        if config.ownership == Ownership::Shared {
            for port in config.tcp_ports.iter().cloned().flatten() {
                program.own_port(addr, port)?;
            }
        }
    }
    Ok(Port { drivers, program, mac: facts.mac, mtu: facts.mtu.min(u32::from(MAX_MTU)) as u16 })
}

/// Runs `open` where its memory is to be: it is touched first, and so placed, by the thread that maps it.
fn on_core<T: Send>(core: Option<usize>, open: impl FnOnce() -> T + Send) -> T {
    let Some(id) = core else { return open() };
    let there = || {
        // Where that is refused the memory is as good, only further away.
        core_affinity::set_for_current(core_affinity::CoreId { id });
        open()
    };
    let opened = std::thread::scope(|scope| scope.spawn(there).join());
    opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Refuses what cannot work; returns how many queues there are.
fn check(config: &PortConfig, facts: &InterfaceFacts) -> Result<u32, SetupError> {
    let interface = &config.interface;
    let what = || format!("opening {interface}");
    if !facts.up {
        return Err(SetupError::new(what(), "the interface is down", format!("`ip link set {interface} up`")));
    }
    if facts.mtu > u32::from(MAX_MTU) {
        let cause = format!("its MTU of {} is more than a chunk takes ({MAX_MTU})", facts.mtu);
        return Err(SetupError::new(what(), cause, mtu_cure(facts)));
    }
    if !config.ring.is_power_of_two() || config.chunks / 3 < config.ring {
        let cause = format!("a ring of {} does not go with {} chunks", config.ring, config.chunks);
        return Err(SetupError::new(what(), cause, "use a power of two, and at least three times as many chunks"));
    }
    match config.workers {
        Some(workers) if workers != facts.rx_queues => Err(wrong_workers(workers, facts)),
        _ => Ok(facts.rx_queues),
    }
}

/// What makes the MTU small enough. The host's own traffic goes over its loopback, and would suffer for it.
pub(crate) fn mtu_cure(facts: &InterfaceFacts) -> String {
    let shorter = format!("`ip link set {} mtu 1500`", facts.name);
    if !facts.loopback {
        return shorter;
    }
    format!(
        "take a NIC, or a veth pair (`ip link add eth1 type veth peer name eth2`); in a namespace where nobody else needs it, \
         {shorter} with `--rx-checksum trust`"
    )
}

/// How large chunks this driver needs. Some take the size of their receive buffers in whole KiB: of a chunk of 2,048 octets,
/// 256 of which are the kernel's, that would be one, and a longer frame would go on in the next chunk, for which neither we nor
/// the XDP program are made. igb was seen to do so; the sources of igc say the same, and those of ixgbe for its oldest card.
fn chunk_size(driver: &str, zero_copy: ZeroCopy) -> ChunkSize {
    match driver {
        "igb" | "igc" | "ixgbe" if zero_copy != ZeroCopy::Off => ChunkSize::Page,
        _ => ChunkSize::Usual,
    }
}

/// Octets that the UMEM of one queue takes by default, if zero-copy is not switched off.
pub(crate) fn umem_octets(driver: &str) -> u64 {
    u64::from(RING * CHUNKS_PER_ENTRY) * chunk_size(driver, ZeroCopy::Auto).octets() as u64
}

/// Every rx queue needs a worker, as frames of a queue without one would be lost to us.
fn wrong_workers(workers: u32, facts: &InterfaceFacts) -> SetupError {
    let (interface, queues) = (&facts.name, facts.rx_queues);
    let cure = match facts.driver.as_str() {
        "veth" => format!(
            "use `--workers {queues}`, or `ethtool -L {interface} rx {workers} tx {workers}` as far as it was created \
             with `numrxqueues {workers} numtxqueues {workers}`"
        ),
        _ => format!("use `--workers {queues}`, or `ethtool -L {interface} combined {workers}`"),
    };
    SetupError::new(
        format!("opening {interface} with {workers} workers"),
        format!("it has {queues} rx queues, and each needs one worker"),
        cure,
    )
}

/// Raises the limit of locked memory as far as this process may; kernels charge UMEMs, and older ones BPF maps, to it.
fn raise_memlock() {
    let limit = getrlimit(Resource::Memlock);
    let all = Rlimit { current: None, maximum: None };
    if setrlimit(Resource::Memlock, all).is_err() {
        // Without CAP_SYS_RESOURCE, up to what was granted.
        let _ = setrlimit(Resource::Memlock, Rlimit { current: limit.maximum, ..limit });
    }
}

/// The running kernel's version, as `(6, 1)`.
pub(crate) fn kernel_version() -> Option<(u32, u32)> {
    parse_release(&std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?)
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn check_kernel() -> Result<(), SetupError> {
    match kernel_version() {
        Some(version) if version < OLDEST_KERNEL => Err(SetupError::new(
            "opening AF_XDP",
            format!("Linux {}.{} is too old", version.0, version.1),
            format!("use Linux {}.{} or newer", OLDEST_KERNEL.0, OLDEST_KERNEL.1),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> InterfaceFacts {
        InterfaceFacts {
            name: "eth0".into(),
            mtu: 1500,
            up: true,
            rx_queues: 4,
            tx_queues: 4,
            driver: "ixgbe".into(),
            ..Default::default()
        }
    }

    #[test]
    fn every_queue_gets_a_worker_or_the_cure_is_told() {
        let mut config = PortConfig::new("eth0");
        assert_eq!(check(&config, &facts()).unwrap(), 4);
        config.workers = Some(2);
        assert_eq!(
            check(&config, &facts()).unwrap_err().to_string(),
            "opening eth0 with 2 workers: it has 4 rx queues, and each needs one worker; \
             use `--workers 4`, or `ethtool -L eth0 combined 2`"
        );
    }

    #[test]
    fn a_buffer_in_whole_kib_holds_the_longest_frame() {
        for (driver, zero_copy, in_whole_kib) in [
            ("igb", ZeroCopy::Auto, true),
            ("igc", ZeroCopy::Force, true),
            ("ixgbe", ZeroCopy::Auto, true),
            ("igb", ZeroCopy::Off, false),
            ("ice", ZeroCopy::Force, false),
        ] {
            let buffer = chunk_size(driver, zero_copy).octets() - HEADROOM;
            let buffer = if in_whole_kib { buffer & !1023 } else { buffer };
            let longest = usize::from(MAX_MTU) + HEADER_LEN + VLAN_TAG_LEN;
            assert!(buffer >= longest, "{driver}, {zero_copy}: {longest} octets into {buffer}");
        }
        assert_eq!(chunk_size("igb", ZeroCopy::Off), ChunkSize::Usual, "the kernel copies into what there is");
        assert_eq!((umem_octets("ice"), umem_octets("igb")), (16 << 20, 32 << 20));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let config = PortConfig::new("eth0");
        for (facts, part) in [
            (InterfaceFacts { up: false, ..facts() }, "is down"),
            (InterfaceFacts { mtu: 9000, ..facts() }, "MTU of 9000"),
        ] {
            assert!(check(&config, &facts).unwrap_err().to_string().contains(part), "{part}");
        }
        // Chunks lent for receiving and on their way out must leave some to write to.
        for (ring, chunks) in [(2048, 4096), (1000, 8192)] {
            assert!(check(&PortConfig { ring, chunks, ..config.clone() }, &facts()).is_err());
        }
    }

    #[test]
    fn releases_are_read_as_distributions_write_them() {
        for (release, version) in
            [("6.18.44-fc-v595\n", (6, 18)), ("5.10.0-28-amd64", (5, 10)), ("7.3.4+deb13", (7, 3))]
        {
            assert_eq!(parse_release(release), Some(version));
        }
        assert_eq!(parse_release("unknown"), None);
    }
}
