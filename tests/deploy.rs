//! What `deploy/` holds for servers: the systemd unit, whose capabilities and system calls must suffice and not be too many,
//! and the script that sets a NIC up.

mod common;

use handfast::host;
use handfast::lab::{Lab, LabConfig, RIGHT};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const UNIT: &str = include_str!("../deploy/handfast.service");

/// A user who owns nothing.
const NOBODY: &str = "65534";

/// All values of a key of the unit, in order.
fn unit_values(key: &str) -> Vec<&'static str> {
    UNIT.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// A folder that anybody can read, with the binary in it: the build's own may be in somebody's home. Removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn create(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("hf-deploy-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        // Its socket for `handfast stats` is made there.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        common::copy_program_to(&folder.join("handfast"));
        Folder(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `handfast serve` on the lab's right side as nobody, who has these capabilities and as much locked memory as the unit gives;
/// the system calls are written to `trace` if there is one.
fn serve_as_nobody(lab: &Lab, folder: &Folder, capabilities: &[&str], trace: Option<&str>) -> Child {
    let mut held: String =
        capabilities.iter().map(|capability| format!(",+{}", &capability[4..].to_lowercase())).collect();
    let lifted = ["prlimit", "--memlock=unlimited:unlimited"];
    let may_lift = unit_values("LimitMEMLOCK") == ["infinity"]
        && Command::new(lifted[0]).args([lifted[1], "true"]).status().is_ok_and(|status| status.success());
    if !may_lift {
        common::skip(
            "the unit's limit of locked memory",
            "this machine's root may not lift it: CAP_IPC_LOCK is used instead",
        );
        held.push_str(",+ipc_lock");
    }
    let mut command = Command::new("ip");
    command.args(["netns", "exec", lab.right.name()]);
    if let Some(trace) = trace {
        command.args(["strace", "-f", "-qq", "-o", trace]);
    }
    if may_lift {
        command.args(lifted);
    }
    command.args(["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--no-new-privs"]);
    for set in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
        command.args([set, &format!("-all{held}")]);
    }
    command.args([&folder.path("handfast"), "serve", "--interface", RIGHT, "--address", "10.77.0.2/24", "--no-pin"]);
    command.args(["--service", "echo@7", "--admin", &folder.path("admin")]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// An echo from the kernel on the lab's left side.
fn echo(lab: &Lab) -> String {
    let ask = || {
        let to = ([10, 77, 0, 2], 7).into();
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(10)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(b"hello").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut back = String::new();
        stream.read_to_string(&mut back).unwrap();
        back
    };
    lab.left.inside(ask).unwrap()
}

/// The process that is handfast itself: the child, or the one that strace looks at.
fn served_pid(folder: &Folder) -> Pid {
    let exe = fs::canonicalize(folder.path("handfast")).unwrap();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let mut pids = processes.filter_map(|process| {
        let is_it = fs::read_link(process.path().join("exe")).is_ok_and(|path| path == exe);
        is_it.then(|| process.file_name().to_str()?.parse().ok()).flatten()
    });
    Pid::from_raw(pids.next().expect("it runs")).unwrap()
}

/// The names of the system calls after handfast was begun.
fn calls_in(trace: &Path, exe: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(trace).unwrap();
    let begin = text.find(&format!("execve(\"{exe}\"")).expect("handfast was begun");
    let name_of = |line: &str| {
        let call = line.split_once(' ')?.1.trim_start();
        let (name, _) = call.split_once('(')?;
        name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_').then(|| name.to_string())
    };
    text[begin..].lines().skip(1).filter_map(name_of).collect()
}

/// What the unit's filter allows, as systemd expands and adds it up.
fn allowed_calls() -> BTreeSet<String> {
    let mut allowed = expand("@default");
    for value in unit_values("SystemCallFilter") {
        let (removes, value) = value.strip_prefix('~').map_or((false, value), |value| (true, value));
        for call in value.split_whitespace().flat_map(expand) {
            if removes {
                allowed.remove(&call);
            } else {
                allowed.insert(call);
            }
        }
    }
    allowed
}

/// A system call, or those of a group with the groups in it.
fn expand(name: &str) -> BTreeSet<String> {
    if !name.starts_with('@') {
        return BTreeSet::from([name.to_string()]);
    }
    let listed = Command::new("systemd-analyze").args(["syscall-filter", name]).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).unwrap();
    let members = listed.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    members.flat_map(expand).collect()
}

#[test]
fn the_unit_serves_as_an_ordinary_user_with_its_capabilities_and_system_calls_alone() {
    let Some(lab) = common::lab("unit", &LabConfig::default()) else { return };
    if !has("setpriv") || !has("prlimit") {
        return common::skip("unit", "needs setpriv and prlimit (util-linux)");
    }
    let folder = Folder::create("unit");
    let traced = has("strace") && has("systemd-analyze");
    if !traced {
        common::skip("unit: its system calls", "needs strace and systemd-analyze");
    }
    let trace = folder.path("trace");
    let capabilities: Vec<_> = unit_values("AmbientCapabilities")[0].split(' ').collect();
    assert_eq!(unit_values("CapabilityBoundingSet"), unit_values("AmbientCapabilities"));

    let mut child = serve_as_nobody(&lab, &folder, &capabilities, traced.then_some(&trace));
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut greeting = String::new();
    out.read_line(&mut greeting).unwrap();
    if !greeting.starts_with("serving ") {
        let output = child.wait_with_output().unwrap();
        panic!("it does not serve: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(echo(&lab), "hello");
    let stats =
        Command::new(folder.path("handfast")).args(["stats", "--admin", &folder.path("admin")]).output().unwrap();
    assert!(stats.status.success(), "{}", String::from_utf8_lossy(&stats.stderr));
    kill_process(served_pid(&folder), Signal::TERM).unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("ledger: exact"), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    if traced {
        let calls = calls_in(Path::new(&trace), &folder.path("handfast"));
        assert!(calls.contains("bpf") && calls.contains("bind"), "the trace shows what AF_XDP needs: {calls:?}");
        let refused: Vec<_> = calls.difference(&allowed_calls()).cloned().collect();
        assert!(refused.is_empty(), "the unit would refuse {refused:?}");
    }
}

#[test]
fn each_capability_of_the_unit_is_needed() {
    let Some(lab) = common::lab("capabilities", &LabConfig::default()) else { return };
    if !has("setpriv") || !has("prlimit") {
        return common::skip("capabilities", "needs setpriv and prlimit (util-linux)");
    }
    let folder = Folder::create("capabilities");
    let all: Vec<_> = unit_values("AmbientCapabilities")[0].split(' ').collect();
    for without in &all {
        let others: Vec<_> = all.iter().filter(|capability| *capability != without).copied().collect();
        let Output { status, stderr, .. } = serve_as_nobody(&lab, &folder, &others, None).wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(2), "without {without}: {stderr}");
        assert!(stderr.contains("EPERM") && stderr.contains("setcap"), "without {without}: {stderr}");
    }
}

#[test]
fn systemd_understands_the_unit_and_finds_little_exposed() {
    if !has("systemd-analyze") {
        return common::skip("the unit's syntax", "needs systemd-analyze");
    }
    let folder = Folder::create("syntax");
    let unit = folder.path("handfast.service");
    fs::write(&unit, UNIT.replace("/usr/local/bin/handfast", &folder.path("handfast"))).unwrap();
    // It complains on stderr of keys that it does not know, and goes on.
    let verified = Command::new("systemd-analyze").args(["verify", &unit]).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !said.contains("handfast.service"), "{said}");
    let security = ["security", "--offline=yes", "--threshold=25", &unit];
    let rated = Command::new("systemd-analyze").args(security).output().unwrap();
    assert!(rated.status.success(), "{}", String::from_utf8_lossy(&rated.stdout));
}

#[test]
fn a_cargo_that_is_too_old_is_told_from_one_that_is_new_enough() {
    let folder = Folder::create("cargo");
    let (cargo, path) = (folder.path("cargo"), format!("{}:/usr/bin:/bin", folder.path("")));
    for (version, said) in [
        ("1.9.0", "cargo is 1.9.0, Handfast needs 1."),
        ("1.1000.0", "found"),
        ("2.0.0-nightly", "found"),
        (env!("CARGO_PKG_RUST_VERSION"), "found"),
    ] {
        fs::write(&cargo, format!("#!/bin/sh\necho 'cargo {version} (0 1)'\n")).unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        // Nobody's home holds no other cargo.
        let mut shell = Command::new("sh");
        shell.args(["-euc", ". deploy/machine.sh; find_cargo; echo found"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        shell.envs([("PATH", path.as_str()), ("HOME", "/nonexistent"), ("SUDO_USER", "nobody")]);
        let Output { status, stdout, stderr } = shell.output().unwrap();
        let told = String::from_utf8([stdout, stderr].concat()).unwrap();
        assert!(told.contains(said), "{version}: {told}");
        assert_eq!(status.code(), Some(if said == "found" { 0 } else { 2 }), "{version}: {told}");
    }
}

#[test]
fn a_nic_is_set_up_and_what_it_cannot_do_is_passed_over() {
    let Some(lab) = common::lab("nic.sh", &LabConfig { queues: 2, ..Default::default() }) else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/nic.sh");
    let queues = || lab.right.inside(|| host::interface(RIGHT).unwrap().rx_queues).unwrap();
    lab.right.run("env", &["DRY_RUN=yes", script, RIGHT, "1"]).unwrap();
    assert_eq!(queues(), 2, "a dry run changes nothing");
    let said = lab.right.run(script, &[RIGHT, "1"]).unwrap();
    assert_eq!(queues(), 1);
    for line in said.lines() {
        assert!(line.split_once("   # ").is_some_and(|(_, why)| why.len() > 10), "each line says why: {line}");
    }
    let in_vain = Command::new("ip").args(["netns", "exec", lab.right.name(), script, RIGHT, "64"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&in_vain.stderr);
    assert!(stderr.contains("hf-b has 2 queues at most, so it gets 2 instead of 64"), "{stderr}");
    assert_eq!(queues(), 2, "as many as there can be");
    // By its text, as a stranger may not be let into our folder.
    let nobody =
        ["netns", "exec", lab.right.name(), "setpriv", "--reuid", "65534", "--clear-groups", "sh", "-s", RIGHT];
    let text = std::fs::File::open(script).unwrap();
    let refused = Command::new("ip").args(nobody).stdin(text).output().unwrap();
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && stderr.contains("only root") && refused.stdout.is_empty(), "{stderr}");
    for (args, part) in [(["hf-none", "1"], "no interface 'hf-none'"), ([RIGHT, "many"], "is 'many'")] {
        let refused = Command::new("ip").args(["netns", "exec", lab.right.name(), script]).args(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(2) && stderr.contains(part), "{stderr}");
    }
}
