//! The UMEM's memory: on huge pages where there are any, as a NIC and a core that go round 16 MiB then need eight entries in
//! their tables of addresses instead of thousands.

use super::frame::CHUNK;
use ::xdp::Umem;
use ::xdp::umem::{FrameSize, UmemCfgBuilder};
use std::io;
use std::ptr::null_mut;

/// The size of a huge page that is asked for.
pub(crate) const HUGE_PAGE: usize = 2 << 20;

const ACCESS: libc::c_int = libc::PROT_READ | libc::PROT_WRITE;
const PRIVATE: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

/// What memory a UMEM lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub(super) enum Pages {
    /// Of the pool that `vm.nr_hugepages` sets apart.
    #[strum(to_string = "huge pages")]
    Huge,
    /// Huge ones that the kernel found by itself, for a part of it at least.
    #[strum(to_string = "transparent huge pages")]
    Transparent,
    /// Ordinary ones.
    #[strum(to_string = "small pages")]
    Small,
}

/// How large chunks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChunkSize {
    /// As large as a frame is allowed to be.
    Usual,
    /// Twice that, a page: for a NIC that would else use no more than one KiB of each.
    Page,
}

impl ChunkSize {
    /// In octets.
    pub(super) const fn octets(self) -> usize {
        match self {
            ChunkSize::Usual => CHUNK,
            ChunkSize::Page => 2 * CHUNK,
        }
    }

    fn frame_size(self) -> FrameSize {
        const { assert!(CHUNK == 2048) };
        match self {
            ChunkSize::Usual => FrameSize::TwoK,
            ChunkSize::Page => FrameSize::FourK,
        }
    }
}

/// Memory of chunks that stays mapped for the life of the process, so that no frame outlives it.
pub(super) struct Mapped {
    pub(super) umem: &'static mut Umem,
    start: usize,
    huge: bool,
}

/// Maps a UMEM of `chunks` chunks: mmap(2), and mremap(2) or madvise(2) for huge pages, without which it works as well. With
/// `requests` each frame may ask for its checksum.
///
/// # Errors
/// When there is no such memory.
pub(super) fn map(chunks: u32, size: ChunkSize, requests: bool) -> io::Result<Mapped> {
    let config = UmemCfgBuilder {
        frame_size: size.frame_size(),
        frame_count: chunks,
        // Room is the same for each kind. `tx_checksum` would also have the kernel finish all of them in software (the crate's
        // 0.8.0 always sets XDP_UMEM_TX_SW_CSUM with it), a test's flag that some kernels take for multi-buffer frames.
        tx_timestamp: requests,
        ..Default::default()
    };
    let config = config.build().map_err(|e| io::Error::other(e.to_string()))?;
    let umem = Box::leak(Box::new(Umem::map(config)?));
    let (start, octets) = (first_octet(umem, size), chunks as usize * size.octets());
    let huge = move_to_huge_pages(start, octets)?;
    if !huge {
        // SAFETY: the range is the UMEM's mapping, and the advice changes nothing that can be read from it.
        unsafe { libc::madvise(start, octets, libc::MADV_HUGEPAGE) };
    }
    Ok(Mapped { umem, start: start as usize, huge })
}

impl Mapped {
    /// What memory it lies in; to be asked when it has been used, as only then it is there.
    pub(super) fn pages(&self) -> Pages {
        let maps = || std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        match self.huge {
            true => Pages::Huge,
            false if has_huge_pages(&maps(), self.start) => Pages::Transparent,
            false => Pages::Small,
        }
    }
}

/// Where an unused UMEM begins: its first chunk that is handed out is the lowest.
fn first_octet(umem: &mut Umem, size: ChunkSize) -> *mut libc::c_void {
    // SAFETY: the UMEM is mapped for the life of the process.
    let Some(first) = (unsafe { umem.alloc() }) else { return null_mut() };
    // Its packet starts behind the kernel's headroom.
    let start = first.as_ptr().wrapping_sub(size.octets() - first.capacity());
    umem.free_packet(first);
    start.cast_mut().cast()
}

/// Puts huge pages of the kernel's pool in the place of memory that nothing has been written to; `false` when there are not
/// enough, or the place does not begin and end with one. The kernel sets them apart at once, so using them cannot fail.
///
/// # Errors
/// The place was lost on the way.
fn move_to_huge_pages(start: *mut libc::c_void, octets: usize) -> io::Result<bool> {
    if octets == 0 || !octets.is_multiple_of(HUGE_PAGE) || !(start as usize).is_multiple_of(HUGE_PAGE) {
        return Ok(false);
    }
    let flags = PRIVATE | libc::MAP_HUGETLB | libc::MAP_HUGE_2MB;
    // SAFETY: a new mapping at an address of the kernel's choice touches no memory that is in use.
    let pages = unsafe { libc::mmap(null_mut(), octets, ACCESS, flags, -1, 0) };
    if pages == libc::MAP_FAILED {
        return Ok(false);
    }
    let how = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: the pages are ours and lent to nobody; what they replace is memory of the same length that holds nothing yet.
    if unsafe { libc::mremap(pages, octets, octets, how, start) } == start {
        return Ok(true);
    }
    // SAFETY: the pages are ours and lent to nobody.
    unsafe { libc::munmap(pages, octets) };
    let flags = PRIVATE | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: a mapping that replaces none; it is for the case that the kernel has cleared the place before it refused.
    let again = unsafe { libc::mmap(start, octets, ACCESS, flags, -1, 0) };
    let e = io::Error::last_os_error();
    match again == libc::MAP_FAILED {
        true if e.raw_os_error() != Some(libc::EEXIST) => Err(e),
        _ => Ok(false),
    }
}

/// Whether some of the mapping that begins at or before `start`, and goes beyond it, is on transparent huge pages, by the
/// text of `/proc/PID/smaps`.
fn has_huge_pages(maps: &str, start: usize) -> bool {
    let mut within = false;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some((from, to)) = first.split_once('-') {
            let hex = |text| usize::from_str_radix(text, 16).ok();
            within = hex(from).zip(hex(to)).is_some_and(|(from, to)| (from..to).contains(&start));
        } else if within && first == "AnonHugePages:" {
            return words.next().is_some_and(|kib| kib != "0");
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// One huge page.
    const CHUNKS: u32 = (HUGE_PAGE / CHUNK) as u32;
    const POOL: &str = "/proc/sys/vm/nr_hugepages";

    /// The kernel's pool with some more huge pages, until it is dropped.
    struct Pool(u64);

    impl Pool {
        fn more_by(pages: u64) -> Option<Pool> {
            let read = || std::fs::read_to_string(POOL).ok()?.trim().parse::<u64>().ok();
            let before = read()?;
            let pool = Pool(before);
            std::fs::write(POOL, (before + pages).to_string()).ok()?;
            (read()? == before + pages).then_some(pool)
        }
    }

    impl Drop for Pool {
        fn drop(&mut self) {
            let _ = std::fs::write(POOL, self.0.to_string());
        }
    }

    /// Writes to each chunk, and reads it back.
    fn use_all(umem: &mut Umem) {
        // SAFETY: the UMEM is mapped for the life of the process.
        let mut all: Vec<_> = std::iter::from_fn(|| unsafe { umem.alloc() }).collect();
        for (number, packet) in all.iter_mut().enumerate() {
            packet.adjust_tail(8).unwrap();
            packet.copy_from_slice(&number.to_ne_bytes());
        }
        for (number, packet) in all.into_iter().enumerate() {
            assert_eq!(packet[..], number.to_ne_bytes());
            umem.free_packet(packet);
        }
    }

    #[test]
    fn a_umem_lies_on_huge_pages_as_long_as_there_are_any() {
        let Some(pool) = Pool::more_by(3) else {
            let _ = writeln!(std::io::stderr(), "SKIPPED: a UMEM on huge pages: {POOL} cannot be raised");
            return;
        };
        for (chunks, size) in [(CHUNKS, ChunkSize::Usual), (CHUNKS / 2, ChunkSize::Page)] {
            let mapped = map(chunks, size, false).unwrap();
            assert_eq!(mapped.pages(), Pages::Huge, "{size:?}");
            use_all(mapped.umem);
        }
        let too_many = map(1024 * CHUNKS, ChunkSize::Usual, false).unwrap();
        assert_ne!(too_many.pages(), Pages::Huge, "2 GiB that the pool does not have");
        drop(pool);
        let uneven = map(CHUNKS + 1, ChunkSize::Usual, false).unwrap();
        use_all(uneven.umem);
        assert_ne!(uneven.pages(), Pages::Huge);
    }

    #[test]
    fn transparent_huge_pages_are_read_from_the_mapping_that_holds_the_start() {
        let maps = "7f0000000000-7f0000200000 rw-p 00000000 00:00 0\nSize: 2048 kB\nAnonHugePages:      2048 kB\n\
                    7f0000200000-7f0000400000 rw-p 00000000 00:00 0 [anon]\nAnonHugePages:         0 kB\n";
        let at = |start| has_huge_pages(maps, start);
        assert!(at(0x7f00_0000_0000) && at(0x7f00_001f_ffff) && !at(0x7f00_0020_0000) && !at(0x7f00_0040_0000));
    }
}
