//! Attaches a loaded XDP program to an interface by a BPF link: the kernel detaches it when the link's descriptor is
//! closed, which it does on every kind of exit, SIGKILL included.
//!
//! Made by hand because `aya` falls back to netlink when the kernel says EINVAL, and what netlink has attached outlives
//! its process.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// `BPF_LINK_CREATE` of `enum bpf_cmd`.
const BPF_LINK_CREATE: libc::c_long = 28;
/// `BPF_XDP` of `enum bpf_attach_type`.
const BPF_XDP: u32 = 37;

/// `XDP_FLAGS_SKB_MODE`: in the kernel's receive path, for drivers that cannot.
pub(super) const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`: in the driver.
pub(super) const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// The part of `union bpf_attr` that `BPF_LINK_CREATE` reads; the kernel takes what is missing as zero.
#[repr(C)]
struct LinkCreate {
    prog_fd: RawFd,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// Attaches `program` to the interface of index `if_index` (`bpf(BPF_LINK_CREATE)`; needs CAP_NET_ADMIN and CAP_BPF,
/// Linux 5.9). Closing the descriptor detaches it.
///
/// # Errors
/// The system call's own.
pub(super) fn attach_xdp(program: BorrowedFd<'_>, if_index: u32, flags: u32) -> io::Result<OwnedFd> {
    let attr = LinkCreate { prog_fd: program.as_raw_fd(), target_ifindex: if_index, attach_type: BPF_XDP, flags };
    // SAFETY: `attr` is initialised, has the layout and size told to the kernel, which reads it and keeps no pointer.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_LINK_CREATE, &raw const attr, size_of::<LinkCreate>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so `fd` is a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}
