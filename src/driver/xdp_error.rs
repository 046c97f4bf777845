//! Turns what the kernel says about BPF and XDP into one line for people: what, why, the cure.

use super::errno::{errno, error, name, told, too_old};
use super::xdp_program::AttachMode;
use crate::SetupError;
use std::error::Error;
use std::io;

/// Why attaching to `interface` failed.
pub(super) fn attach_error(interface: &str, mode: AttachMode, e: &io::Error) -> SetupError {
    let what = format!("attaching the XDP program to {interface}");
    // A program that hangs on a BPF link, as ours does, goes with its process alone.
    let held = format!(
        "`handfast doctor --interface {interface}` names it: end its process; without one, `ip link set {interface} xdp off`"
    );
    let small_mtu = format!(
        "`ip link set {interface} mtu 1500` (on veth its peer too), or `--xdp generic`, or give both ends of a veth \
         as many queues"
    );
    let code = e.raw_os_error().unwrap_or(0);
    if let Some(told) = told(code) {
        return error(what, told);
    }
    let (cause, cure) = match code {
        libc::EBUSY => ("busy (EBUSY): another XDP program holds this interface".to_string(), held),
        libc::EEXIST => ("taken (EEXIST): a program in the other XDP mode holds this interface".to_string(), held),
        libc::ENODEV | libc::ENXIO => (
            "no such interface (ENODEV) in this network namespace".to_string(),
            "`ip link show` lists the interfaces; `ip netns exec NAME` enters another namespace".to_string(),
        ),
        libc::EOPNOTSUPP => (
            "not supported (EOPNOTSUPP): the driver has no native XDP, or none beside an offload that is on"
                .to_string(),
            format!("{}; else `--xdp generic`, or choose another interface", native_cure(interface)),
        ),
        libc::EINVAL if mode == AttachMode::Generic => too_old(code, "the kernel may be too old"),
        libc::EINVAL | libc::ERANGE | libc::E2BIG => {
            (format!("refused ({}): the MTU is too large for native XDP", errno_name(e)), small_mtu)
        }
        libc::ENOSPC => (
            "refused (ENOSPC): too few receive queues for native XDP".to_string(),
            format!(
                "`ethtool -l {interface}` shows them; give both ends of a veth as many queues, or use `--xdp generic`"
            ),
        ),
        _ => (
            format!("refused ({})", errno_name(e)),
            "`dmesg` may say more; `--xdp generic` works on most interfaces".into(),
        ),
    };
    SetupError::new(what, cause, cure)
}

/// What gives an interface native XDP. virtio_net refuses it while its host merges segments or leaves checksums undone, which
/// the guest can switch off only where the host lets it (VIRTIO_NET_F_CTRL_GUEST_OFFLOADS).
pub(crate) fn native_cure(interface: &str) -> String {
    format!(
        "`ethtool -K {interface} lro off rx-gro-hw off`, and where `ethtool -k {interface}` shows one as `on [fixed]`, as in a \
         virtual machine, let its host give the device none (QEMU: `guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,\
         guest_csum=off`)"
    )
}

/// Why loading or running failed. The verifier's log, if there is one, goes to the trace: it has many lines.
pub(super) fn program_error(what: &str, e: &(dyn Error + 'static)) -> SetupError {
    tracing::debug!(error = ?e, "the kernel refused the XDP program");
    let code = errno(e);
    if let Some(told) = code.and_then(told) {
        return error(what, told);
    }
    let (cause, cure) = match code {
        Some(code @ (libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP)) => {
            too_old(code, "this kernel lacks BPF, or is too old")
        }
        Some(code) => (format!("refused ({})", name(code)), "RUST_LOG=debug shows what the kernel says".into()),
        None => (one_line(e), "RUST_LOG=debug shows more".into()),
    };
    SetupError::new(what, cause, cure)
}

/// Why a map could not be read or written.
pub(super) fn map_error(what: String, e: &aya::maps::MapError) -> SetupError {
    let code = errno(e);
    if let Some(told) = code.and_then(told) {
        return error(what, told);
    }
    let (cause, cure) = match (code, e) {
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
        (Some(code), _) => (format!("refused ({})", name(code)), "RUST_LOG=debug shows what the kernel says".into()),
        (None, e) => (one_line(e), "RUST_LOG=debug shows more".into()),
    };
    SetupError::new(what, cause, cure)
}

fn errno_name(e: &io::Error) -> String {
    e.raw_os_error().map_or_else(|| e.to_string(), name)
}

fn one_line(e: &dyn Error) -> String {
    e.to_string().lines().next().unwrap_or("refused").to_string()
}
