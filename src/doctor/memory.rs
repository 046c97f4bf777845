//! Memory for the UMEM: how much may be locked, and on what pages it lies.

use super::{Finding, State, effective_capabilities, may_lock};
use crate::driver::af_xdp;
use rustix::process::{Resource, getrlimit};
use std::fs;

/// The first Linux that aligns a large mapping to huge pages, without which the UMEM cannot lie on any of the pool.
const ALIGNS_TO_HUGE_PAGES: (u32, u32) = (6, 7);

/// Whether a queue's UMEM of `umem` octets may be locked.
pub(super) fn locked(umem: u64) -> Finding {
    let topic = "locked memory";
    let limit = getrlimit(Resource::Memlock);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let may_lock = effective_capabilities(&status).is_some_and(may_lock);
    match limit.maximum {
        _ if may_lock => Finding::good(topic, "no limit for this process (ipc_lock)"),
        None => Finding::good(topic, "no limit"),
        Some(octets) if octets >= umem => {
            Finding::good(topic, format!("up to {} MiB, enough for {} queues", octets >> 20, octets / umem))
        }
        Some(octets) => Finding::lack(
            topic,
            State::Bad,
            format!("up to {} KiB, while each queue needs {} MiB", octets >> 10, umem >> 20),
            "`ulimit -l unlimited` as root, or `LimitMEMLOCK=infinity` in the systemd unit",
        ),
    }
}

/// What memory a queue's UMEM of `umem` octets would lie in.
pub(super) fn huge_pages(umem: u64) -> Finding {
    let transparent = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok();
    judge(umem, free_huge_pages(), af_xdp::kernel_version(), transparent.as_deref())
}

/// Huge pages of 2 MiB in the pool that nobody has or is promised; whatever size is the kernel's default.
fn free_huge_pages() -> u64 {
    let count = |name| -> Option<u64> {
        fs::read_to_string(format!("/sys/kernel/mm/hugepages/hugepages-2048kB/{name}")).ok()?.trim().parse().ok()
    };
    count("free_hugepages").unwrap_or(0).saturating_sub(count("resv_hugepages").unwrap_or(0))
}

/// What of `free` huge pages this kernel will use, and whether it finds any by itself: `transparent` is its setting.
fn judge(umem: u64, free: u64, version: Option<(u32, u32)>, transparent: Option<&str>) -> Finding {
    let topic = "huge pages";
    let (major, minor) = ALIGNS_TO_HUGE_PAGES;
    let queues = free / umem.div_ceil(af_xdp::HUGE_PAGE as u64);
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

#[cfg(test)]
mod tests {
    use super::*;

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
            let finding = judge(16 << 20, free, version, transparent);
            assert!(finding.state == state && finding.found.contains(part), "{free}, {version:?}: {finding:?}");
        }
    }

    #[test]
    fn a_nic_with_larger_chunks_needs_twice_as_many() {
        let of = |umem| judge(umem, 17, Some((6, 7)), None).found;
        assert!(of(16 << 20).contains("of 2 queues") && of(32 << 20).contains("of 1 queues"), "{}", of(32 << 20));
    }
}
