//! What can go wrong when a queue is opened, in words for people.

use crate::SetupError;
use crate::driver::errno::{self, told, too_old};
use ::xdp::error::SocketError;
use std::io;

/// The kernel's own "not supported", which some drivers let through to user space.
const ENOTSUPP: i32 = 524;

/// The system's error beneath `error`.
pub(super) fn io_error(error: &SocketError) -> &io::Error {
    match error {
        SocketError::SocketCreation(e) | SocketError::Bind(e) => e,
        SocketError::SetSockOpt { inner, .. }
        | SocketError::GetSockOpt { inner, .. }
        | SocketError::RingMap { inner, .. } => inner,
    }
}

/// Whether the bind may be tried again: another socket has the queue, perhaps one that is just going away.
pub(super) fn is_busy(error: &SocketError) -> bool {
    matches!(error, SocketError::Bind(e) if e.raw_os_error() == Some(libc::EBUSY))
}

/// Whether this says that the driver has no zero-copy: EOPNOTSUPP from one, EINVAL from another.
pub(super) fn is_no_zero_copy(error: &SocketError) -> bool {
    let code = match error {
        SocketError::Bind(e) => e.raw_os_error(),
        _ => None,
    };
    matches!(code, Some(libc::EOPNOTSUPP | libc::EINVAL | ENOTSUPP))
}

/// The error of one queue of an interface.
pub(super) fn queue_error(interface: &str, queue: u32, error: &SocketError) -> SetupError {
    let what = match error {
        SocketError::SocketCreation(_) => format!("opening an AF_XDP socket for {interface} queue {queue}"),
        SocketError::Bind(_) => format!("binding AF_XDP to {interface} queue {queue}"),
        SocketError::RingMap { ring, .. } => format!("mapping the {ring:?} ring of {interface} queue {queue}"),
        SocketError::SetSockOpt { option, .. } | SocketError::GetSockOpt { option, .. } => {
            format!("setting up AF_XDP ({option:?}) for {interface} queue {queue}")
        }
    };
    let cause = io_error(error);
    if let Some(told) = cause.raw_os_error().and_then(told) {
        return errno::error(what, told);
    }
    let (cause, cure) = match cause.raw_os_error() {
        Some(libc::EBUSY) => {
            ("busy (EBUSY): another program holds this queue".to_string(), "`handfast doctor` shows which".to_string())
        }
        Some(code @ libc::EAFNOSUPPORT) => too_old(code, "this kernel has no AF_XDP"),
        Some(libc::ENETDOWN) => {
            ("the interface is down (ENETDOWN)".to_string(), format!("`ip link set {interface} up`"))
        }
        Some(libc::ENODEV) => {
            ("the interface is gone (ENODEV)".to_string(), "`ip link` shows what there is".to_string())
        }
        Some(libc::EINVAL) => (
            "the kernel or the driver refuses the request (EINVAL)".to_string(),
            format!("`handfast doctor --interface {interface}` shows what this interface can do"),
        ),
        _ => (cause.to_string(), format!("`handfast doctor --interface {interface}` shows what this interface can do")),
    };
    SetupError::new(what, cause, cure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_queue_is_told_as_the_manual_says() {
        let busy = SocketError::Bind(io::Error::from_raw_os_error(libc::EBUSY));
        assert_eq!(
            queue_error("eth0", 3, &busy).to_string(),
            "binding AF_XDP to eth0 queue 3: busy (EBUSY): another program holds this queue; \
             `handfast doctor` shows which"
        );
        assert!(is_busy(&busy) && !is_no_zero_copy(&busy));
    }

    #[test]
    fn zero_copy_is_lacking_for_each_error_that_drivers_answer() {
        for code in [libc::EOPNOTSUPP, libc::EINVAL, ENOTSUPP] {
            assert!(is_no_zero_copy(&SocketError::Bind(io::Error::from_raw_os_error(code))), "{code}");
        }
        assert!(!is_no_zero_copy(&SocketError::SocketCreation(io::Error::from_raw_os_error(libc::EINVAL))));
    }
}
