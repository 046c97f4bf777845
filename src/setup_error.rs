//! What goes wrong while setting up: what was tried and where, why it failed, and what mends it, in one line.

use std::io;

/// What helps when no descriptor is left, by the number of the error: the process's own limit is one, the host's another.
pub(crate) fn more_descriptors(code: i32) -> Option<&'static str> {
    match code {
        libc::EMFILE => Some("raise `ulimit -n`, or LimitNOFILE in the unit"),
        libc::ENFILE => Some("raise `sysctl fs.file-max`, the limit of all programs together"),
        _ => None,
    }
}

/// The same of an error of the system.
pub(crate) fn descriptors_for(e: &io::Error) -> Option<&'static str> {
    e.raw_os_error().and_then(more_descriptors)
}

/// A failed step of the set-up. Shown on one line: `{what}: {cause}; {cure}`.
///
/// It reads, for example: *binding AF_XDP to eth0 queue 3: busy (EBUSY): another program holds this queue; `handfast doctor`
/// shows which*.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {cause}; {cure}")]
pub struct SetupError {
    /// What was tried, and where: `binding AF_XDP to eth0 queue 3`.
    pub what: String,
    /// Why it failed, with the name of the system's error where there is one.
    pub cause: String,
    /// What to do, with the command where there is one.
    pub cure: String,
}

impl SetupError {
    /// An error from its three parts; none of them ends in a full stop or holds a line break.
    pub fn new(what: impl Into<String>, cause: impl Into<String>, cure: impl Into<String>) -> Self {
        SetupError { what: what.into(), cause: cause.into(), cure: cure.into() }
    }

    /// An error of the system; this cure, but where a limit of descriptors is met, which any step may be the first to do.
    pub(crate) fn of_system(what: impl Into<String>, e: &io::Error, cure: &str) -> Self {
        SetupError::new(what, e.to_string(), descriptors_for(e).unwrap_or(cure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_descriptors_has_its_own_cure_whoever_meets_it() {
        let of = |code| SetupError::of_system("a step", &io::Error::from_raw_os_error(code), "mend it").cure;
        assert!(of(libc::EMFILE).contains("`ulimit -n`") && of(libc::ENFILE).contains("`sysctl fs.file-max`"));
        assert_eq!(of(libc::EBUSY), "mend it");
    }

    #[test]
    fn one_line_says_what_why_and_the_cure() {
        let e = SetupError::new("binding to eth0", "busy (EBUSY)", "`handfast doctor` shows which");
        assert_eq!(e.to_string(), "binding to eth0: busy (EBUSY); `handfast doctor` shows which");
    }
}
