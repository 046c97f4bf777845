//! Turns what the kernel says about BPF and XDP into one line for people: what, why, the cure.

use super::xdp_program::AttachMode;
use crate::SetupError;
use std::error::Error;
use std::io;

/// Why attaching to `interface` failed.
pub(super) fn attach_error(interface: &str, mode: AttachMode, e: &io::Error) -> SetupError {
    let what = format!("attaching the XDP program to {interface}");
    let held = format!("`ip link show {interface}` names it, `ip link set {interface} xdp off` removes it");
    let small_mtu = format!(
        "`ip link set {interface} mtu 1500` (on veth its peer too), or attach in generic mode, or give both ends of a veth \
         as many queues"
    );
    let (cause, cure) = match e.raw_os_error().unwrap_or(0) {
        libc::EBUSY => ("busy (EBUSY): another XDP program holds this interface".to_string(), held),
        libc::EEXIST => ("taken (EEXIST): a program in the other XDP mode holds this interface".to_string(), held),
        libc::EPERM | libc::EACCES => privilege(),
        libc::ENODEV | libc::ENXIO => (
            "no such interface (ENODEV) in this network namespace".to_string(),
            "`ip link show` lists the interfaces; `ip netns exec NAME` enters another namespace".to_string(),
        ),
        libc::EOPNOTSUPP => (
            "not supported (EOPNOTSUPP): the driver has no native XDP".to_string(),
            "attach in generic mode, or choose another interface".to_string(),
        ),
        libc::EINVAL if mode == AttachMode::Generic => (
            "refused (EINVAL): the kernel may be older than Linux 5.9".to_string(),
            "use Linux 5.9 or newer; `uname -r` shows which runs".to_string(),
        ),
        libc::EINVAL | libc::ERANGE | libc::E2BIG => {
            (format!("refused ({}): the MTU is too large for native XDP", errno_name(e)), small_mtu)
        }
        libc::ENOSPC => (
            "refused (ENOSPC): too few receive queues for native XDP".to_string(),
            format!(
                "`ethtool -l {interface}` shows them; give both ends of a veth as many queues, or attach in generic mode"
            ),
        ),
        libc::ENOMEM => no_memory(),
        _ => (
            format!("refused ({})", errno_name(e)),
            "`dmesg` may say more; generic mode works on most interfaces".into(),
        ),
    };
    SetupError::new(what, cause, cure)
}

/// Why loading or running failed. The verifier's log, if there is one, goes to the trace: it has many lines.
pub(super) fn program_error(what: &str, e: &(dyn Error + 'static)) -> SetupError {
    tracing::debug!(error = ?e, "the kernel refused the XDP program");
    let (cause, cure) = match errno(e) {
        Some(libc::EPERM | libc::EACCES) => privilege(),
        Some(libc::ENOMEM) => no_memory(),
        Some(code @ (libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP)) => (
            format!("refused ({}): this kernel lacks BPF or is older than Linux 5.9", name(code)),
            "use Linux 5.9 or newer with CONFIG_BPF_SYSCALL and CONFIG_XDP_SOCKETS; `uname -r` shows which runs".into(),
        ),
        Some(code) => (format!("refused ({})", name(code)), "RUST_LOG=debug shows what the kernel says".into()),
        None => (one_line(e), "RUST_LOG=debug shows more".into()),
    };
    SetupError::new(what, cause, cure)
}

/// Why a map could not be read or written.
pub(super) fn map_error(what: String, e: &aya::maps::MapError) -> SetupError {
    let (cause, cure) = match (errno(e), e) {
        (_, aya::maps::MapError::OutOfBounds { max_entries, .. }) => (
            format!("beyond the {max_entries} that the XDP program knows"),
            "use fewer queues: `ethtool -L INTERFACE combined N`".to_string(),
        ),
        (Some(libc::E2BIG | libc::ENOSPC), _) => {
            ("the program's table is full (E2BIG)".to_string(), "own fewer addresses or ports".to_string())
        }
        (Some(code @ (libc::EBADF | libc::ENOTSOCK | libc::EOPNOTSUPP)), _) => (
            format!("this is no AF_XDP socket ({})", name(code)),
            "hand over the descriptor of an open AF_XDP socket".to_string(),
        ),
        (Some(libc::EPERM | libc::EACCES), _) => privilege(),
        (Some(libc::ENOMEM), _) => no_memory(),
        (Some(code), _) => (format!("refused ({})", name(code)), "RUST_LOG=debug shows what the kernel says".into()),
        (None, e) => (one_line(e), "RUST_LOG=debug shows more".into()),
    };
    SetupError::new(what, cause, cure)
}

/// The system's error number within `e` or its sources.
pub(super) fn errno(e: &(dyn Error + 'static)) -> Option<i32> {
    let mut next = Some(e);
    while let Some(e) = next {
        if let Some(code) = e.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(code);
        }
        next = e.source();
    }
    None
}

// The verifier says EACCES to what it would let pass with CAP_PERFMON; for people it is the same lack.
fn privilege() -> (String, String) {
    (
        "not permitted (EPERM): CAP_NET_ADMIN, CAP_BPF or CAP_PERFMON is missing".to_string(),
        "run as root, or `setcap cap_net_admin,cap_net_raw,cap_bpf,cap_perfmon+ep` on the program".to_string(),
    )
}

fn no_memory() -> (String, String) {
    (
        "no memory (ENOMEM): the limit on locked memory or the machine's memory is too low".to_string(),
        "`ulimit -l unlimited`, or LimitMEMLOCK=infinity in the unit".to_string(),
    )
}

fn errno_name(e: &io::Error) -> String {
    e.raw_os_error().map_or_else(|| e.to_string(), name)
}

fn name(code: i32) -> String {
    let known = match code {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EBADF => "EBADF",
        libc::EACCES => "EACCES",
        libc::ENOMEM => "ENOMEM",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::ENODEV => "ENODEV",
        libc::EINVAL => "EINVAL",
        libc::ENOSPC => "ENOSPC",
        libc::ERANGE => "ERANGE",
        libc::E2BIG => "E2BIG",
        libc::ENOSYS => "ENOSYS",
        libc::ENOTSOCK => "ENOTSOCK",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::ENETDOWN => "ENETDOWN",
        _ => return io::Error::from_raw_os_error(code).to_string(),
    };
    known.to_string()
}

fn one_line(e: &dyn Error) -> String {
    e.to_string().lines().next().unwrap_or("refused").to_string()
}
