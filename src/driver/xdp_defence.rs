//! What the XDP program must know to answer SYNs as the stack does, and the memory that it shares with the workers.
//!
//! The workers' words are ordered by [`crate::outpost`], and tried under loom there. One thread at a time, the holder of the
//! program, writes the rest: into the half of `defences` that is not in use, by a system call, and only then, with
//! `Release`, the word that says which half is; the program finds the half by that word, so it cannot look before. What is
//! left is a program that stands still between the two looks while the keys change twice: its SYN-ACK is then worth nothing,
//! as if it had been lost. `tests/xdp_answers.rs` tries keys and answers on the loaded program.

use crate::outpost::{CONTROL_WORDS, DEFENCE, FILTER_WORDS, SharedMemory};
use crate::tcp::cookie::CookieKeys;
use crate::wire::{Addr, MacAddr};
use aya::maps::{Array, MapData};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use zerocopy::{Immutable, IntoBytes};

/// Workers that can have SYNs answered; `MAX_WORKERS` in `xdp/maps.h`.
pub const MAX_WORKERS: u32 = 64;
/// Prefixes that the program knows; `MAX_PREFIXES` in `xdp/maps.h`. Peers of others need a gateway, or come to the stack.
const MAX_PREFIXES: usize = 8;

/// What is needed to answer as the stack does.
#[derive(Clone)]
pub struct XdpDefence {
    /// The keys of cookies, and the clock of their epochs.
    pub cookie: CookieKeys,
    /// The key of ISNs and timestamps.
    pub isn_key: [u8; 16],
    /// The MSS that we offer, IPv4 and IPv6.
    pub mss: (u16, u16),
    /// The window of a SYN-ACK.
    pub window: u16,
    /// Our window scale.
    pub shift: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// DS field, and no ECN bits.
    pub traffic_class: u8,
    /// Whether a peer that asks for ECN gets it.
    pub ecn: bool,
    /// Our Ethernet address.
    pub mac: MacAddr,
    /// Whether received checksums are checked.
    pub verify: bool,
    /// Prefixes on our links.
    pub on_link: Vec<(Addr, u8)>,
    /// Whether there is a gateway, IPv4 and IPv6.
    pub gateway: (bool, bool),
}

/// `struct prefix` in `xdp/maps.h`.
#[derive(Clone, Copy, Default, IntoBytes, Immutable)]
#[repr(C)]
struct Prefix {
    address: [u8; 16],
    mask: [u8; 16],
    v6: u32,
    point_to_point: u32,
}

/// `struct defence` in `xdp/maps.h`.
#[derive(Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct Layout {
    making_key: [u8; 16],
    accepting_key: [u8; 16],
    isn_key: [u8; 16],
    clock_ahead_ns: u64,
    mss: [u16; 2],
    window: u16,
    shift: u8,
    ecn: u8,
    mac: [u8; 6],
    accepts: u8,
    verify: u8,
    workers: u32,
    prefix_count: u32,
    gateway: [u32; 2],
    hop_limit: u32,
    traffic_class: u32,
    prefixes: [Prefix; MAX_PREFIXES],
}

const SIZE: usize = size_of::<Layout>();

impl XdpDefence {
    fn layout(&self, workers: u32) -> Layout {
        let mut prefixes = [Prefix::default(); MAX_PREFIXES];
        for (prefix, (addr, len)) in prefixes.iter_mut().zip(&self.on_link) {
            *prefix = Prefix::of(addr, *len);
        }
        Layout {
            making_key: self.cookie.making,
            accepting_key: self.cookie.accepting.unwrap_or_default(),
            isn_key: self.isn_key,
            clock_ahead_ns: self.cookie.clock_ahead.as_nanos() as u64,
            mss: [self.mss.0, self.mss.1],
            window: self.window,
            shift: self.shift,
            ecn: self.ecn.into(),
            mac: self.mac.0,
            accepts: self.cookie.accepting.is_some().into(),
            verify: self.verify.into(),
            workers,
            prefix_count: self.on_link.len().min(MAX_PREFIXES) as u32,
            gateway: [self.gateway.0.into(), self.gateway.1.into()],
            hop_limit: self.hop_limit.into(),
            traffic_class: self.traffic_class.into(),
            prefixes,
        }
    }
}

impl Prefix {
    /// IPv4 in the first word; what lies beyond the prefix is not looked at.
    fn of(addr: &Addr, len: u8) -> Prefix {
        let (mut address, mut mask) = ([0; 16], [0; 16]);
        let bits = match addr.v4() {
            Some(octets) => {
                address[..4].copy_from_slice(&octets);
                len.min(32)
            }
            None => {
                address = *addr.octets();
                len.min(128)
            }
        };
        (0..bits).for_each(|bit| mask[usize::from(bit / 8)] |= 0x80 >> (bit % 8));
        let v4 = addr.is_v4();
        Prefix { address, mask, v6: u32::from(!v4), point_to_point: u32::from(v4 && len >= 31) }
    }
}

/// The maps of the defence, as loaded for so many workers.
pub(super) struct DefenceMaps {
    defences: Array<MapData, [u8; SIZE]>,
    listening: Array<MapData, u64>,
    workers: u32,
    /// All control blocks, the common one last; and all filters. Empty for no workers.
    control: &'static [AtomicU64],
    filters: &'static [AtomicU64],
    which: u32,
    told: Option<XdpDefence>,
}

/// Words of the map of filters for so many workers; a map must have one at least.
pub(super) fn filter_words(workers: u32) -> u32 {
    (workers * 2 * FILTER_WORDS as u32).max(1)
}

impl DefenceMaps {
    /// Takes the maps, and maps what is shared into our memory for the life of the process: mmap(2).
    pub(super) fn new(
        defences: Array<MapData, [u8; SIZE]>,
        listening: Array<MapData, u64>,
        outposts: &MapData,
        filters: &MapData,
        workers: u32,
    ) -> io::Result<Self> {
        let (mut control, mut words): (&[_], &[_]) = (&[], &[]);
        if workers > 0 {
            control = shared(outposts, (MAX_WORKERS as usize + 1) * CONTROL_WORDS)?;
            words = shared(filters, filter_words(workers) as usize)?;
        }
        Ok(DefenceMaps { defences, listening, workers, control, filters: words, which: 0, told: None })
    }

    /// The memory of one worker, if the program was loaded for it.
    pub(super) fn memory(&self, worker: u32) -> Option<SharedMemory> {
        if worker >= self.workers {
            return None;
        }
        let block = |at: u32| &self.control[at as usize * CONTROL_WORDS..][..CONTROL_WORDS];
        let filter = |at: u32| &self.filters[(worker * 2 + at) as usize * FILTER_WORDS..][..FILTER_WORDS];
        Some(SharedMemory { control: block(worker), common: block(MAX_WORKERS), filters: [filter(0), filter(1)] })
    }

    /// From the next frame on the program answers by this.
    pub(super) fn set(&mut self, defence: &XdpDefence) -> Result<(), aya::maps::MapError> {
        let which = 1 - self.which;
        let mut octets = [0; SIZE];
        octets.copy_from_slice(defence.layout(self.workers).as_bytes());
        self.defences.set(which, octets, 0)?;
        self.which = which;
        self.told = Some(defence.clone());
        if let Some(word) = self.control.get(MAX_WORKERS as usize * CONTROL_WORDS + DEFENCE) {
            word.store(u64::from(which), Ordering::Release);
        }
        Ok(())
    }

    /// Other keys for cookies.
    pub(super) fn rekey(&mut self, keys: &CookieKeys) -> Result<(), aya::maps::MapError> {
        self.change(|told| XdpDefence { cookie: *keys, ..told })
    }

    /// Another Ethernet address of ours, and another MSS.
    pub(super) fn follow_link(&mut self, mac: MacAddr, mss: (u16, u16)) -> Result<(), aya::maps::MapError> {
        self.change(|told| XdpDefence { mac, mss, ..told })
    }

    /// Changes what the program was told; nothing, where it was not told how to answer.
    fn change(&mut self, to: impl FnOnce(XdpDefence) -> XdpDefence) -> Result<(), aya::maps::MapError> {
        self.told.clone().map_or(Ok(()), |told| self.set(&to(told)))
    }

    /// The program may answer SYNs to this port.
    pub(super) fn listen(&mut self, port: u16) -> Result<(), aya::maps::MapError> {
        let at = u32::from(port / 64);
        let before = self.listening.get(&at, 0)?;
        self.listening.set(at, before | 1 << (port % 64), 0)
    }
}

/// Maps the values of an array map, for good.
fn shared(map: &MapData, words: usize) -> io::Result<&'static [AtomicU64]> {
    let fd = map.fd().as_fd().as_raw_fd();
    let (length, access) = (words * size_of::<AtomicU64>(), libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: a new mapping at an address of the kernel's choice, of a file that is open here; it touches no other memory.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), length, access, libc::MAP_SHARED, fd, 0) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is of this length or longer (the kernel refuses more than the map holds), aligned to a page,
    // never unmapped, and holds integers that the kernel's side changes by whole words only.
    Ok(unsafe { std::slice::from_raw_parts(at.cast(), words) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::xdp_program::owner_value;
    use crate::outpost::{ANSWERED, ANSWERING, COMMAND, FILTER, READY};
    use crate::ownership::Ownership;

    /// The number behind a `#define` in `xdp/maps.h`.
    fn defined(name: &str) -> u64 {
        let header = include_str!("../../xdp/maps.h");
        let line = header.lines().find_map(|line| line.strip_prefix(&format!("#define {name} "))).unwrap();
        let digits = line.trim_matches(|c: char| !c.is_ascii_digit());
        match digits.split_once(|c: char| !c.is_ascii_digit()) {
            None => digits.parse().unwrap(),
            Some((_, shift)) => 1 << shift.trim_start_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().unwrap(),
        }
    }

    /// The names of a C type's parts in `xdp/maps.h`, in their order: the word before each `end`.
    fn parts(of: &str, end: char) -> Vec<&'static str> {
        let header = include_str!("../../xdp/maps.h");
        let (_, body) = header.split_once(&format!("\n{of} {{\n")).unwrap();
        let lines = body.lines().take_while(|line| !line.starts_with('}')).filter_map(|line| line.split_once(end));
        lines.map(|(before, _)| before.trim().rsplit(' ').next().unwrap()).collect()
    }

    #[test]
    fn header_and_code_agree_on_what_is_shared() {
        assert_eq!(parts("struct outpost", ';'), ["command", "answered", "defence", "unused[5]"]);
        let words = parts("struct outpost", ';').len() - 1 + 5;
        assert_eq!((COMMAND, ANSWERED, DEFENCE, CONTROL_WORDS), (0, 1, 2, words));
        let bits = ["OUTPOST_ANSWERING", "OUTPOST_READY", "OUTPOST_FILTER"].map(defined);
        assert_eq!(bits, [ANSWERING, READY, FILTER]);
        let owners = include_str!("../../xdp/maps.h").lines().filter_map(|line| line.trim().strip_suffix(','));
        let owner =
            |name: &str| owners.clone().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = ")?.parse().ok());
        assert_eq!(owner("OURS_ALONE"), Some(owner_value(Ownership::Exclusive)));
        assert_eq!(owner("SHARED"), Some(owner_value(Ownership::Shared)));
    }

    #[test]
    fn header_and_code_agree_on_sizes() {
        assert_eq!(defined("MAX_WORKERS"), u64::from(MAX_WORKERS));
        assert_eq!(defined("MAX_PREFIXES"), MAX_PREFIXES as u64);
        assert_eq!(defined("FILTER_WORDS"), FILTER_WORDS as u64);
        assert_eq!(defined("FILTER_BITS"), crate::outpost::FILTER_BITS);
        // Keys, clock, and so on without a hole; 40 octets a prefix.
        assert_eq!(SIZE, 48 + 8 + 8 + 8 + 16 + 8 + 40 * MAX_PREFIXES);
    }
}
