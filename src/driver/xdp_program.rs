//! Loads the XDP program, attaches it to an interface, and tells it what is ours.
//!
//! The program itself is C (`xdp/handfast.bpf.c`); its object is committed and embedded here, so that a build needs no
//! clang. It takes the frames that are for us to the AF_XDP socket of their queue, drops malformed ones that are for us,
//! and leaves everything else to the kernel, with a counter for each verdict.

use super::bpf_link::{XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, attach_xdp};
use super::xdp_defence::{DefenceMaps, XdpDefence, filter_words};
use super::xdp_error::{attach_error, map_error, program_error};
use super::xdp_verdict::Verdict;
use crate::outpost::SharedMemory;
use crate::tcp::cookie::CookieKeys;
use crate::wire::{Addr, MacAddr};
use crate::{Ownership, SetupError};
use aya::maps::{HashMap, Map, MapData, PerCpuArray, XskMap};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::time::Duration;
use strum::IntoEnumIterator;

/// The compiled program; `xdp/build.sh` makes it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/xdp/handfast.bpf.o"));

/// The program's name in the object, and in the kernel.
pub(crate) const OUR_PROGRAM: &str = "handfast";

/// What [`XdpProgram::load`] does, for its errors.
const LOADING: &str = "loading the XDP program";

/// Where in the kernel's receive path the program is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, strum::Display, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum AttachMode {
    /// Native where the driver can, else generic.
    #[default]
    Auto,
    /// In the driver, before the kernel makes a socket buffer.
    Native,
    /// In the kernel's receive path: works on every interface, slower.
    Generic,
}

/// Where the program really runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// On no interface: loaded only, to be run by [`XdpProgram::run`].
    Nowhere,
    /// In the driver.
    Native,
    /// In the kernel's receive path.
    Generic,
}

impl fmt::Display for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Attached::Nowhere => "not attached",
            Attached::Native => "native",
            Attached::Generic => "generic",
        })
    }
}

/// What the program is loaded for, beside taking frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgramConfig {
    /// So many workers can have SYNs answered, which takes 8 MiB for each; at most
    /// [`MAX_WORKERS`](super::MAX_WORKERS).
    pub answers_for: u32,
    /// Addresses that there is room for: few of them stay in the cache, which a flood from everywhere looks through for
    /// every source.
    pub addresses: Option<u32>,
    /// A flood that is made here.
    pub own_flood: Option<OwnFlood>,
}

/// A flood that is made here, and whose answers nobody waits for: the program discards them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnFlood {
    /// Whom it floods, and at which port.
    pub target: SocketAddrV4,
    /// Where its sources lie.
    pub sources: Ipv4Net,
}

/// The XDP program in the kernel. It is detached when this value is dropped and when the process ends, however it ends.
pub struct XdpProgram {
    // First, so that the program is off the interface before its maps are let go.
    link: Option<OwnedFd>,
    attached: Attached,
    ebpf: aya::Ebpf,
    sockets: XskMap<MapData>,
    addresses: HashMap<MapData, [u8; 16], u32>,
    ports: HashMap<MapData, [u8; 20], u8>,
    verdicts: PerCpuArray<MapData, u64>,
    defence: DefenceMaps,
}

/// The name of the kernel's program with this number: `bpf(2)`, which needs CAP_SYS_ADMIN; else it is not known.
pub(crate) fn program_name(id: u32) -> Option<String> {
    let program = aya::programs::loaded_programs().filter_map(Result::ok).find(|program| program.id() == id)?;
    program.name_as_str().filter(|name| !name.is_empty()).map(str::to_string)
}

impl XdpProgram {
    /// Loads the program and attaches it to `interface` in the caller's network namespace.
    ///
    /// Until an address is owned, every frame passes. Makes `bpf(2)` calls (BTF_LOAD, MAP_CREATE, PROG_LOAD,
    /// LINK_CREATE), which need CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (the program reads at offsets that the frame
    /// says, which the verifier allows to no less), and Linux 5.9 for a link that detaches by itself.
    ///
    /// # Errors
    /// What is missing or in the way, with its cure; then nothing is left attached.
    pub fn attach(interface: &str, mode: AttachMode) -> Result<XdpProgram, SetupError> {
        XdpProgram::attach_for(interface, mode, &ProgramConfig::default())
    }

    /// The same, for what is said.
    ///
    /// # Errors
    /// As [`XdpProgram::attach`].
    pub fn attach_for(interface: &str, mode: AttachMode, config: &ProgramConfig) -> Result<XdpProgram, SetupError> {
        let if_index = interface_index(interface).map_err(|e| attach_error(interface, mode, &e))?;
        let mut program = XdpProgram::load_for(config)?;
        let (link, attached) = program.link_to(if_index, interface, mode)?;
        program.link = Some(link);
        program.attached = attached;
        Ok(program)
    }

    /// Loads the program without attaching it, for tests and measurements by [`XdpProgram::run`].
    ///
    /// Makes `bpf(2)` calls (BTF_LOAD, MAP_CREATE, PROG_LOAD), which need CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.
    ///
    /// # Errors
    /// When the privilege is missing, the memory limit is too low or the kernel is too old.
    pub fn load() -> Result<XdpProgram, SetupError> {
        XdpProgram::load_for(&ProgramConfig::default())
    }

    /// The same, as [`XdpProgram::attach_for`].
    ///
    /// # Errors
    /// As [`XdpProgram::load`].
    pub fn load_for(config: &ProgramConfig) -> Result<XdpProgram, SetupError> {
        let workers = config.answers_for;
        // Without the kernel's own type information, which only relocations would need: reading it takes a while.
        let mut loader = aya::EbpfLoader::new();
        loader.btf(None).map_max_entries("flow_filters", filter_words(workers));
        // Without workers to answer for, the verifier is spared most of the program: about half a second.
        let may_answer = u8::from(workers > 0);
        loader.override_global("may_answer", &may_answer, true);
        if let Some(room) = config.addresses {
            loader.map_max_entries("addresses", room.max(1));
        }
        // In the order of the network, as the program meets them.
        let [target, sources, mask] = config.own_flood.map_or([[0; 4]; 3], |flood| {
            [*flood.target.ip(), flood.sources.network(), flood.sources.netmask()].map(|addr| addr.octets())
        });
        let port = config.own_flood.map_or(0, |flood| flood.target.port()).to_be_bytes();
        loader.override_global("flood_port", &port, true);
        loader.override_global("flood_target", &target, true);
        loader.override_global("flood_sources", &sources, true);
        loader.override_global("flood_mask", &mask, true);
        let mut ebpf = loader.load(OBJECT).map_err(|e| program_error(LOADING, &e))?;
        let program: &mut Xdp = ebpf
            .program_mut(OUR_PROGRAM)
            .and_then(|program| program.try_into().ok())
            .expect("the embedded object holds the program");
        load_patiently(program).map_err(|e| program_error(LOADING, &e))?;
        let (outposts, filters) = (plain_array(&mut ebpf, "outposts"), plain_array(&mut ebpf, "flow_filters"));
        let (defences, listening) = (taken(&mut ebpf, "defences"), taken(&mut ebpf, "listening"));
        let defence = DefenceMaps::new(defences, listening, &outposts, &filters, workers);
        let defence = defence.map_err(|e| program_error(LOADING, &aya::programs::ProgramError::IOError(e)))?;
        Ok(XdpProgram {
            defence,
            link: None,
            attached: Attached::Nowhere,
            sockets: taken(&mut ebpf, "xsks"),
            addresses: taken(&mut ebpf, "addresses"),
            ports: taken(&mut ebpf, "ports"),
            verdicts: taken(&mut ebpf, "verdicts"),
            ebpf,
        })
    }

    /// The program's number, as `bpftool prog` shows it: `bpf(BPF_OBJ_GET_INFO_BY_FD)`. A kernel that does not tell is
    /// taken as it is.
    pub fn id(&self) -> Option<u32> {
        self.program().info().ok().map(|info| info.id())
    }

    /// Whether the kernel has compiled it, or interprets it; `None` where it does not tell.
    pub fn is_compiled(&self) -> Option<bool> {
        self.program().info().ok().map(|info| info.size_jitted() > 0)
    }

    /// Where the program runs.
    pub fn attached(&self) -> Attached {
        self.attached
    }

    /// Takes frames for `addr` from now on: all of them, or with [`Ownership::Shared`] those for [`XdpProgram::own_port`].
    /// Says again who owns an address that is known already. At most 131,072 addresses, or what [`ProgramConfig`] says.
    ///
    /// # Errors
    /// When the table is full, or the kernel has no memory.
    pub fn own_address(&mut self, addr: Addr, ownership: Ownership) -> Result<(), SetupError> {
        let what = || format!("taking address {addr} from the kernel");
        self.addresses.insert(addr.octets(), owner_value(ownership), 0).map_err(|e| map_error(what(), &e))
    }

    /// Takes TCP segments to `port` of the shared address `addr`. At most 262,144 pairs of address and port.
    /// It says nothing about addresses that are ours alone, whose ports are all ours.
    ///
    /// # Errors
    /// When the table is full, or the kernel has no memory.
    pub fn own_port(&mut self, addr: Addr, port: u16) -> Result<(), SetupError> {
        let what = || format!("taking TCP port {port} of {addr} from the kernel");
        self.ports.insert(port_key(addr, port), 1u8, 0).map_err(|e| map_error(what(), &e))
    }

    /// Sends the frames of `queue` that are ours to the AF_XDP socket `fd`, which may be bound before or after. The
    /// kernel takes the socket out by itself when it is closed.
    ///
    /// # Errors
    /// When `queue` is beyond the 256 that the program knows, or `fd` is no AF_XDP socket.
    pub fn set_socket(&mut self, queue: u32, fd: RawFd) -> Result<(), SetupError> {
        let what = || format!("handing queue {queue} to its AF_XDP socket");
        self.sockets.set(queue, fd, 0).map_err(|e| map_error(what(), &e))
    }

    /// Answers SYNs by this from now on, where a worker asks for it.
    ///
    /// # Errors
    /// When the kernel refuses the call.
    pub fn set_defence(&mut self, defence: &XdpDefence) -> Result<(), SetupError> {
        let set = self.defence.set(defence);
        set.map_err(|e| map_error("telling the XDP program how to answer SYNs".into(), &e))
    }

    /// Makes and opens cookies by other keys from now on.
    ///
    /// # Errors
    /// When the kernel refuses the call.
    pub fn rekey_cookies(&mut self, keys: &CookieKeys) -> Result<(), SetupError> {
        let set = self.defence.rekey(keys);
        set.map_err(|e| map_error("telling the XDP program other keys".into(), &e))
    }

    /// Answers from another Ethernet address, and offers another MSS, from now on.
    ///
    /// # Errors
    /// When the kernel refuses the call.
    pub fn follow_link(&mut self, mac: MacAddr, mss: (u16, u16)) -> Result<(), SetupError> {
        let set = self.defence.follow_link(mac, mss);
        set.map_err(|e| map_error("telling the XDP program how the link has changed".into(), &e))
    }

    /// SYNs to this port may be answered.
    ///
    /// # Errors
    /// When the kernel refuses the call.
    pub fn answer_port(&mut self, port: u16) -> Result<(), SetupError> {
        let set = self.defence.listen(port);
        set.map_err(|e| map_error(format!("telling the XDP program of TCP port {port}"), &e))
    }

    /// The memory through which a worker, which is that of the queue of its number, can have SYNs answered; if the program
    /// was loaded for it.
    pub fn outpost(&self, worker: u32) -> Option<SharedMemory> {
        self.defence.memory(worker)
    }

    /// How many frames met each verdict since the program was loaded, summed over the CPUs: every [`Verdict`] by name.
    ///
    /// # Errors
    /// When the kernel refuses the call.
    pub fn verdicts(&self) -> Result<BTreeMap<String, u64>, SetupError> {
        let count = |verdict: Verdict| -> Result<u64, SetupError> {
            let per_cpu = self.verdicts.get(&(verdict as u32), 0);
            let per_cpu = per_cpu.map_err(|e| map_error("reading the verdicts of the XDP program".into(), &e))?;
            Ok(per_cpu.iter().sum())
        };
        Verdict::iter().map(|verdict| Ok((verdict.to_string(), count(verdict)?))).collect()
    }

    /// Runs the program on `frame` as if it came in on queue 0, `repeat` times (`bpf(BPF_PROG_TEST_RUN)`). The frame
    /// goes nowhere; the counters count it.
    ///
    /// # Errors
    /// When the frame is shorter than an Ethernet header or longer than the kernel takes.
    pub fn run(&self, frame: &[u8], repeat: u32) -> Result<TestRunVerdict, SetupError> {
        Ok(self.run_and_see(frame, repeat, &mut [])?.0)
    }

    /// The same; `after` gets what stands there afterwards, and its length is told.
    ///
    /// # Errors
    /// As [`XdpProgram::run`].
    pub fn run_and_see(
        &self,
        frame: &[u8],
        repeat: u32,
        after: &mut [u8],
    ) -> Result<(TestRunVerdict, usize), SetupError> {
        let program: &Xdp = self.program();
        let data_out = (!after.is_empty()).then_some(after);
        let options = TestRunOptions { data_in: Some(frame), data_out, repeat, ..TestRunOptions::default() };
        let result = program.test_run(options).map_err(|e| program_error("running the XDP program", &e))?;
        let seen = TestRunVerdict { action: result.return_value, mean: result.duration };
        Ok((seen, result.data_size_out as usize))
    }

    fn program(&self) -> &Xdp {
        let program = self.ebpf.program(OUR_PROGRAM).and_then(|program| program.try_into().ok());
        program.expect("the embedded object holds the program")
    }

    fn link_to(&self, if_index: u32, interface: &str, mode: AttachMode) -> Result<(OwnedFd, Attached), SetupError> {
        let program = self.program().fd().expect("the program is loaded").as_fd();
        let native = |mode| match attach_xdp(program, if_index, XDP_FLAGS_DRV_MODE) {
            Ok(link) => Ok((link, Attached::Native)),
            Err(e) => Err((attach_error(interface, mode, &e), e)),
        };
        let generic = || match attach_xdp(program, if_index, XDP_FLAGS_SKB_MODE) {
            Ok(link) => Ok((link, Attached::Generic)),
            Err(e) => Err(attach_error(interface, AttachMode::Generic, &e)),
        };
        match mode {
            AttachMode::Native => native(mode).map_err(|(e, _)| e),
            AttachMode::Generic => generic(),
            AttachMode::Auto => native(mode).or_else(|(setup, e)| {
                if !driver_cannot(&e) {
                    return Err(setup);
                }
                tracing::warn!(interface, reason = %setup.cause, cure = %setup.cure, "no native XDP here, attaching in generic mode");
                generic()
            }),
        }
    }
}

/// What [`XdpProgram::run`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestRunVerdict {
    /// The kernel's action: 1 is XDP_DROP, 2 XDP_PASS, 3 XDP_TX, 4 XDP_REDIRECT.
    pub action: u32,
    /// Mean time of one run.
    pub mean: Duration,
}

/// Whether this is the driver's lack, which generic mode gets around, and not somebody in the way.
fn driver_cannot(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ERANGE | libc::ENOSPC | libc::E2BIG))
}

/// `enum ownership` in `xdp/maps.h`.
pub(super) fn owner_value(ownership: Ownership) -> u32 {
    match ownership {
        Ownership::Exclusive => 1,
        Ownership::Shared => 2,
    }
}

fn port_key(addr: Addr, port: u16) -> [u8; 20] {
    let mut key = [0; 20];
    key[..16].copy_from_slice(addr.octets());
    key[16..18].copy_from_slice(&port.to_be_bytes());
    key
}

/// How often the kernel is asked to verify the program: one that a signal interrupts says to try again (EAGAIN).
const ATTEMPTS: usize = 5;

fn load_patiently(program: &mut Xdp) -> Result<(), aya::programs::ProgramError> {
    let interrupted = |outcome: &Result<(), aya::programs::ProgramError>| {
        matches!(outcome, Err(aya::programs::ProgramError::LoadError { io_error, .. })
            if io_error.raw_os_error() == Some(libc::EAGAIN))
    };
    let mut outcome = program.load();
    for _ in 1..ATTEMPTS {
        if !interrupted(&outcome) {
            break;
        }
        outcome = program.load();
    }
    outcome
}

/// Takes the map `name` out of the loaded object.
///
/// # Panics
/// If the embedded object does not hold it in the shape that this file expects.
fn taken<M: TryFrom<Map, Error: fmt::Debug>>(ebpf: &mut aya::Ebpf, name: &str) -> M {
    let map = ebpf.take_map(name).expect("the embedded object holds the map");
    M::try_from(map).expect("the map has the shape that is expected here")
}

/// Takes the array `name` out of the loaded object as it is, to be mapped.
///
/// # Panics
/// As [`taken`].
fn plain_array(ebpf: &mut aya::Ebpf, name: &str) -> MapData {
    match ebpf.take_map(name) {
        Some(Map::Array(map)) => map,
        _ => panic!("the embedded object holds the array {name}"),
    }
}

/// The index of `interface` in the caller's network namespace: `ioctl(SIOCGIFINDEX)`.
fn interface_index(interface: &str) -> io::Result<u32> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(socket, interface)?)
}
