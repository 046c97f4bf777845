//! Socket options of AF_XDP that the crate `xdp` does not show.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Most frames that one `sendto` hands on in copy mode (Linux 6.17; 32 before it).
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// Where the words of each ring are.
pub(super) fn mmap_offsets(socket: BorrowedFd<'_>) -> io::Result<libc::xdp_mmap_offsets> {
    // SAFETY: the structure holds integers only, for which zero is a value.
    let mut offsets = unsafe { std::mem::zeroed::<libc::xdp_mmap_offsets>() };
    // SAFETY: any octets are a value of this structure.
    unsafe { get(socket, libc::XDP_MMAP_OFFSETS, &mut offsets) }?;
    Ok(offsets)
}

/// Whether the bound socket has got zero-copy.
pub(super) fn is_zero_copy(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut options = 0u32;
    // SAFETY: any octets are a value of an integer.
    unsafe { get(socket, libc::XDP_OPTIONS, &mut options) }?;
    Ok(options & libc::XDP_OPTIONS_ZEROCOPY != 0)
}

/// Lets one `sendto` hand on as many as `frames` in copy mode, where the kernel can.
pub(super) fn set_tx_budget(socket: BorrowedFd<'_>, frames: u32) -> io::Result<()> {
    // SAFETY: the option's value is an integer of four octets, which the kernel copies.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            XDP_MAX_TX_SKB_BUDGET,
            (&raw const frames).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option of SOL_XDP.
///
/// # Safety
/// Any octets must be a value of `T`.
unsafe fn get<T>(socket: BorrowedFd<'_>, option: libc::c_int, value: &mut T) -> io::Result<()> {
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` octets, which is the size of `value`; the caller allows any octets in it.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_XDP, option, (&raw mut *value).cast(), &raw mut len) };
    match result {
        0 if len as usize == size_of::<T>() => Ok(()),
        0 => Err(io::Error::other(format!("option {option} of AF_XDP has {len} octets: the kernel is too old"))),
        _ => Err(io::Error::last_os_error()),
    }
}
