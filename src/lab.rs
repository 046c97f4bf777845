//! A network of one's own on one machine: two namespaces and a veth pair between them, for the demo and the tests.
//!
//! Made with `ip` and `ethtool`, which need root. Names hold the process's number, so that two labs never meet; dropping
//! the lab deletes everything, links included.

use crate::SetupError;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The name of the veth's end in the first namespace.
pub const LEFT: &str = "hf-a";
/// The name of the veth's end in the second namespace.
pub const RIGHT: &str = "hf-b";

/// A network namespace, deleted when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new namespace with its loopback interface up: `ip netns add`.
    ///
    /// # Errors
    /// When `ip` is missing or refuses.
    pub fn create() -> Result<Namespace, SetupError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("hf-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name])?;
        let namespace = Namespace { name };
        run("ip", &["-n", &namespace.name, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, for `ip netns exec NAME`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a program in it, to the end, and returns what it printed: `ip netns exec`.
    ///
    /// # Errors
    /// When the program is missing or fails.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String, SetupError> {
        let mut all = vec!["netns", "exec", &self.name, program];
        all.extend(args);
        run("ip", &all)
    }

    /// Runs `f` on a thread of its own that has moved here: setns(2), CAP_SYS_ADMIN. Threads and sockets that it makes stay
    /// here. A panic of `f` goes on in the caller.
    ///
    /// # Errors
    /// As [`enter`].
    pub fn inside<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, SetupError> {
        let enter_and_run = || enter(self).map(|()| f());
        let outcome = std::thread::scope(|scope| scope.spawn(enter_and_run).join());
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(e) = run("ip", &["netns", "del", &self.name]) {
            tracing::warn!("{e}");
        }
    }
}

/// Moves the calling thread into a namespace, for good: setns(2), CAP_SYS_ADMIN. Threads it starts begin there. What
/// comes back is run by [`Namespace::inside`].
///
/// Note that /sys goes on showing the old namespace: ask by [`crate::host`].
///
/// # Errors
/// When the namespace is gone or the privilege is missing.
pub fn enter(namespace: &Namespace) -> Result<(), SetupError> {
    let path = format!("/run/netns/{}", namespace.name);
    let enter = || -> std::io::Result<()> {
        let file = File::open(&path)?;
        Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?)
    };
    enter().map_err(|e| SetupError::of_system(format!("entering namespace {}", namespace.name), &e, "run as root"))
}

/// Two namespaces joined by a veth pair: [`LEFT`] in the first, [`RIGHT`] in the second.
#[derive(Debug)]
pub struct Lab {
    /// Holds [`LEFT`], whose addresses are the kernel's.
    pub left: Namespace,
    /// Holds [`RIGHT`], which has no address: a stack owns those.
    pub right: Namespace,
}

/// How a lab is made.
#[derive(Clone, Debug)]
pub struct LabConfig {
    /// Queues of each end.
    pub queues: u32,
    /// The kernel's addresses on [`LEFT`], as `10.77.0.1/24`.
    pub left_addresses: Vec<String>,
    /// Leaves checksums of what [`LEFT`] sends to an offload that a veth never does, as kernels do by themselves; else they
    /// are right on the wire.
    pub left_checksum_offload: bool,
}

impl Default for LabConfig {
    fn default() -> Self {
        LabConfig { queues: 1, left_addresses: vec!["10.77.0.1/24".into()], left_checksum_offload: false }
    }
}

impl Lab {
    /// Makes the namespaces and the pair, and sets both ends up.
    ///
    /// # Errors
    /// When the caller is not root, `ip` or `ethtool` is missing, or the kernel refuses; nothing is left then.
    pub fn create(config: &LabConfig) -> Result<Lab, SetupError> {
        if !rustix::process::geteuid().is_root() {
            let what = "making network namespaces for a lab";
            return Err(SetupError::new(what, "not permitted", "run as root"));
        }
        remove_orphans();
        let lab = Lab { left: Namespace::create()?, right: Namespace::create()? };
        let (left, right) = (lab.left.name(), lab.right.name());
        let queues = config.queues.to_string();
        let pair = ["numrxqueues", &queues, "numtxqueues", &queues];
        let mut add = vec!["-n", left, "link", "add", LEFT];
        add.extend(pair);
        add.extend(["type", "veth", "peer", "name", RIGHT, "netns", right]);
        add.extend(pair);
        run("ip", &add)?;
        // Without it the kernel would answer and ask for the stack's side by IPv6 on its own.
        for (namespace, link) in [(left, LEFT), (right, RIGHT)] {
            run("ip", &["-n", namespace, "link", "set", link, "addrgenmode", "none"])?;
        }
        for address in &config.left_addresses {
            run("ip", &["-n", left, "addr", "add", address, "dev", LEFT])?;
        }
        if !config.left_checksum_offload {
            lab.left.run("ethtool", &["-K", LEFT, "tx", "off"])?;
        }
        run("ip", &["-n", left, "link", "set", LEFT, "up"])?;
        run("ip", &["-n", right, "link", "set", RIGHT, "up"])?;
        Ok(lab)
    }
}

/// Runs a program to its end.
/// Removes namespaces of labs whose process is gone: one that was killed could not.
fn remove_orphans() {
    let Ok(listed) = run("ip", &["netns", "list"]) else { return };
    for name in listed.lines().filter_map(|line| line.split_whitespace().next()) {
        if owner(name).is_some_and(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()) {
            // Another process may be faster.
            let _ = run("ip", &["netns", "del", name]);
        }
    }
}

/// The process whose lab a namespace is by its name.
fn owner(name: &str) -> Option<u32> {
    let (pid, number) = name.strip_prefix("hf-")?.split_once('-')?;
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

fn run(program: &str, args: &[&str]) -> Result<String, SetupError> {
    let what = || format!("running `{program} {}`", args.join(" "));
    let output = Command::new(program).args(args).output().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            let package = if program == "ip" { "iproute2" } else { program };
            SetupError::new(what(), format!("{program} is not installed"), format!("`apt-get install {package}`"))
        }
        _ => SetupError::of_system(what(), &e, "run as root"),
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(", ");
        return Err(SetupError::new(what(), format!("it failed: {said}"), "run as root on a machine that allows it"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_own_making_have_an_owner() {
        assert_eq!(owner("hf-123-4"), Some(123));
        for other in ["hf-123", "hf-a-1", "hf-123-b", "blue", "hf-1-2-3"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }
}
