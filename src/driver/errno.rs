//! What the kernel's error numbers mean here: their names, and cause and cure of those that every step may meet.

use crate::SetupError;
use crate::setup_error::more_descriptors;
use std::error::Error;
use std::io;

/// The oldest Linux that has all we need.
pub(crate) const OLDEST_KERNEL: (u32, u32) = (5, 11);

/// The cure of every lack of privilege, for the program that runs.
pub(crate) fn privilege() -> String {
    let program = std::env::current_exe().map_or("PROGRAM".into(), |path| path.display().to_string());
    format!("run as root, or `setcap cap_net_admin,cap_net_raw,cap_ipc_lock,cap_perfmon,cap_bpf+ep {program}`")
}

/// Cause and cure.
pub(super) type Told = (String, String);

/// Cause and cure of an error number that means the same in every step of the set-up.
pub(super) fn told(code: i32) -> Option<Told> {
    match code {
        // The verifier says EACCES to what it would let pass with CAP_PERFMON; for people it is the same lack.
        libc::EPERM | libc::EACCES => {
            let cause = "not permitted (EPERM): CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF or CAP_PERFMON is missing";
            Some((cause.into(), privilege()))
        }
        libc::ENOMEM | libc::ENOBUFS => Some((
            format!("no memory ({}): the limit on locked memory or the machine's memory is too low", name(code)),
            "`ulimit -l unlimited`, or LimitMEMLOCK=infinity in the unit, or CAP_IPC_LOCK".into(),
        )),
        _ => more_descriptors(code)
            .map(|cure| (format!("no descriptor left ({}): a queue takes several", name(code)), cure.into())),
    }
}

/// Cause and cure where the kernel lacks something that [`OLDEST_KERNEL`] has when it was built with it.
pub(super) fn too_old(code: i32, lack: &str) -> Told {
    let (major, minor) = OLDEST_KERNEL;
    (
        format!("refused ({}): {lack}", name(code)),
        format!(
            "use Linux {major}.{minor} or newer with CONFIG_BPF_SYSCALL and CONFIG_XDP_SOCKETS; `uname -r` shows which runs"
        ),
    )
}

/// The error of a step.
pub(super) fn error(what: impl Into<String>, (cause, cure): Told) -> SetupError {
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

/// The name of an error number, or what the system says of it.
pub(super) fn name(code: i32) -> String {
    let known = match code {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EBADF => "EBADF",
        libc::EACCES => "EACCES",
        libc::ENOMEM => "ENOMEM",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::ENODEV => "ENODEV",
        libc::ENXIO => "ENXIO",
        libc::EINVAL => "EINVAL",
        libc::ENOSPC => "ENOSPC",
        libc::ERANGE => "ERANGE",
        libc::E2BIG => "E2BIG",
        libc::ENOSYS => "ENOSYS",
        libc::ENOTSOCK => "ENOTSOCK",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::ENETDOWN => "ENETDOWN",
        libc::ENOBUFS => "ENOBUFS",
        libc::EMFILE => "EMFILE",
        libc::ENFILE => "ENFILE",
        _ => return io::Error::from_raw_os_error(code).to_string(),
    };
    known.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lack_of_privilege_has_the_one_cure_that_suffices() {
        for code in [libc::EPERM, libc::EACCES] {
            let (cause, cure) = told(code).unwrap();
            assert!(cause.contains("EPERM") && cure.contains("root"), "{cause}");
            for capability in ["cap_net_admin", "cap_net_raw", "cap_ipc_lock", "cap_perfmon", "cap_bpf"] {
                assert!(cure.contains(capability), "{cure}");
            }
            assert!(cure.contains(std::env::current_exe().unwrap().to_str().unwrap()), "{cure}");
        }
        assert_eq!(told(libc::EBUSY), None);
    }

    #[test]
    fn a_limit_that_is_met_has_the_command_that_raises_it() {
        for (code, cure) in
            [(libc::EMFILE, "`ulimit -n`"), (libc::ENFILE, "`sysctl fs.file-max`"), (libc::ENOMEM, "`ulimit -l")]
        {
            assert!(told(code).is_some_and(|(_, said)| said.contains(cure)), "{cure}");
        }
    }
}
