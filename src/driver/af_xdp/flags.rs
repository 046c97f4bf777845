//! The words of a ring that the crate `xdp` does not show: the need_wakeup flag, and how far the kernel has come.

use super::sockopt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// A ring that user space fills.
#[derive(Clone, Copy, Debug)]
pub(super) enum ProducerRing {
    Fill,
    Tx,
}

/// A second view of a ring's first page, where its indices and flags are.
pub(super) struct RingWords {
    page: NonNull<u8>,
    len: usize,
    producer: usize,
    consumer: usize,
    flags: usize,
}

// SAFETY: the page is shared memory that only atomics touch, from whichever thread owns this value.
unsafe impl Send for RingWords {}

impl RingWords {
    /// Maps the words of `ring`, which must have been set up on `socket`: getsockopt(2) and mmap(2).
    pub(super) fn map(socket: BorrowedFd<'_>, ring: ProducerRing) -> io::Result<RingWords> {
        let offsets = sockopt::mmap_offsets(socket)?;
        let (offsets, page_offset) = match ring {
            ProducerRing::Fill => (offsets.fr, libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t),
            ProducerRing::Tx => (offsets.tx, libc::XDP_PGOFF_TX_RING),
        };
        // The words stand before the descriptors.
        let len = offsets.desc as usize;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that is in use.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                page_offset,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let page = NonNull::new(page.cast()).expect("a mapping is not at address zero");
        let [producer, consumer, flags] = [offsets.producer, offsets.consumer, offsets.flags].map(|at| at as usize);
        let words = RingWords { page, len, producer, consumer, flags };
        for at in [producer, consumer, flags] {
            assert!(at % 4 == 0 && at + 4 <= len, "the kernel's ring offset {at} lies outside its {len} octets");
        }
        Ok(words)
    }

    fn word(&self, at: usize) -> &AtomicU32 {
        // SAFETY: `map` has checked that the word is aligned and inside the mapping, which lives as long as `self`;
        // everyone else, the kernel included, reads and writes it atomically.
        unsafe { AtomicU32::from_ptr(self.page.as_ptr().add(at).cast()) }
    }

    /// Whether the kernel wants to be called to go on with this ring.
    pub(super) fn needs_wakeup(&self) -> bool {
        self.word(self.flags).load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    /// Entries that the kernel has not taken yet.
    pub(super) fn waiting(&self) -> u32 {
        self.word(self.producer).load(Ordering::Relaxed).wrapping_sub(self.word(self.consumer).load(Ordering::Acquire))
    }
}

impl Drop for RingWords {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and `word` lends nothing that outlives `self`.
        unsafe { libc::munmap(self.page.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words over plain memory, with indices that have wrapped.
    #[test]
    fn waiting_counts_across_the_wrap() {
        // SAFETY: a new anonymous mapping touches no memory that is in use.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        let words =
            RingWords { page: NonNull::new(page.cast()).unwrap(), len: 4096, producer: 0, consumer: 64, flags: 128 };
        assert_eq!((words.waiting(), words.needs_wakeup()), (0, false));
        words.word(0).store(5, Ordering::Relaxed);
        words.word(64).store(u32::MAX - 4, Ordering::Relaxed);
        words.word(128).store(libc::XDP_RING_NEED_WAKEUP, Ordering::Relaxed);
        assert_eq!((words.waiting(), words.needs_wakeup()), (10, true));
    }
}
