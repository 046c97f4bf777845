//! Attaching the XDP program to real interfaces: which mode is got, what stands in the way, and that nothing is left
//! behind, whatever the end. Needs root: each test makes a network namespace of its own and says so and skips without.

use handfast::driver::{AttachMode, Attached, XdpProgram};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Names the interface that the child holds.
const HOLD: &str = "HANDFAST_TEST_HOLD_XDP";

/// A network namespace with the veth pair `a0`, `b0`, deleted when dropped.
struct Lab {
    namespace: String,
}

impl Lab {
    /// `None`, with a line that says so, without root.
    fn new(name: &str) -> Option<Lab> {
        if !rustix::process::geteuid().is_root() {
            // Not `eprintln!`, which the test harness keeps to itself when a test passes.
            let _ = writeln!(std::io::stderr(), "SKIPPED: needs root to make a network namespace and attach XDP");
            return None;
        }
        let lab = Lab { namespace: format!("hf-{}-{name}", std::process::id()) };
        ip(&["netns", "add", &lab.namespace]);
        ip(&["-n", &lab.namespace, "link", "add", "a0", "type", "veth", "peer", "name", "b0"]);
        for link in ["a0", "b0", "lo"] {
            ip(&["-n", &lab.namespace, "link", "set", link, "up"]);
        }
        Some(lab)
    }

    /// Runs `f` on a thread inside the namespace.
    fn inside<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let namespace = std::fs::File::open(format!("/run/netns/{}", self.namespace)).unwrap();
        let enter = move || {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind).unwrap();
            f()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().unwrap())
    }

    /// Whether `ip link show` names an XDP program on `link`.
    fn has_xdp(&self, link: &str) -> bool {
        ip(&["-n", &self.namespace, "link", "show", link]).contains("xdp")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.namespace]);
    }
}

fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The one line of an attach that must fail.
fn refusal(interface: &str, mode: AttachMode) -> String {
    let e = XdpProgram::attach(interface, mode).err().expect("attaching is refused").to_string();
    assert!(!e.contains('\n'), "one line: {e}");
    assert!(e.starts_with(&format!("attaching the XDP program to {interface}: ")), "{e}");
    e
}

/// Not a test: the child of `killed_holder_leaves_nothing_attached` runs this and waits to be killed.
#[test]
fn hold_until_killed() {
    let Ok(interface) = std::env::var(HOLD) else { return };
    let program = XdpProgram::attach(&interface, AttachMode::Native).unwrap();
    println!("HOLDING {}", program.attached());
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn killed_holder_leaves_nothing_attached() {
    let Some(lab) = Lab::new("kill") else { return };
    let mut child = Command::new("ip")
        .args(["netns", "exec", &lab.namespace])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "hold_until_killed", "--nocapture"])
        .env(HOLD, "b0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let held = lines.into_iter().find(|line| line.contains("HOLDING"));
    let attached = lab.has_xdp("b0");
    // SIGKILL; `ip netns exec` has become the test binary, so this is the holder itself.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(held.as_deref().is_some_and(|line| line.ends_with("native")), "{held:?}");
    assert!(attached, "the program was there");
    let deadline = Instant::now() + Duration::from_secs(2);
    while lab.has_xdp("b0") && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!lab.has_xdp("b0"), "an ordinary interface again");
    lab.inside(|| XdpProgram::attach("b0", AttachMode::Native).expect("and free to be taken again"));
}

#[test]
fn dropped_program_is_detached() {
    let Some(lab) = Lab::new("drop") else { return };
    let program = lab.inside(|| XdpProgram::attach("b0", AttachMode::Auto).unwrap());
    assert_eq!(program.attached(), Attached::Native);
    assert!(lab.has_xdp("b0"));
    drop(program);
    assert!(!lab.has_xdp("b0"));
}

#[test]
fn auto_takes_generic_where_the_driver_cannot() {
    let Some(lab) = Lab::new("auto") else { return };
    lab.inside(|| {
        let e = refusal("lo", AttachMode::Native);
        assert!(e.contains("EOPNOTSUPP") && e.contains("generic"), "{e}");
        assert_eq!(XdpProgram::attach("lo", AttachMode::Auto).unwrap().attached(), Attached::Generic);
        assert_eq!(XdpProgram::attach("b0", AttachMode::Generic).unwrap().attached(), Attached::Generic);
    });
}

#[test]
fn another_program_on_the_interface_is_named_with_the_cure() {
    let Some(lab) = Lab::new("busy") else { return };
    lab.inside(|| {
        let _holder = XdpProgram::attach("b0", AttachMode::Native).unwrap();
        for (mode, code) in
            [(AttachMode::Native, "EBUSY"), (AttachMode::Auto, "EBUSY"), (AttachMode::Generic, "EEXIST")]
        {
            let e = refusal("b0", mode);
            assert!(e.contains(code) && e.contains("ip link set b0 xdp off"), "{mode:?}: {e}");
        }
    });
    assert!(!lab.has_xdp("b0"));
}

#[test]
fn missing_interface_and_large_mtu_say_what_to_do() {
    let Some(lab) = Lab::new("odd") else { return };
    lab.inside(|| {
        for name in ["nosuch0", "", "a-name-that-is-far-too-long-for-an-interface"] {
            let e = refusal(name, AttachMode::Auto);
            assert!(e.contains("ENODEV") && e.contains("ip link show"), "{e}");
        }
        assert!(XdpProgram::attach("a\0b", AttachMode::Auto).is_err(), "and no panic");
        for link in ["a0", "b0"] {
            ip(&["link", "set", link, "mtu", "9000"]);
        }
        let e = refusal("b0", AttachMode::Native);
        assert!(e.contains("MTU") && e.contains("ip link set b0 mtu"), "{e}");
        assert_eq!(XdpProgram::attach("b0", AttachMode::Auto).unwrap().attached(), Attached::Generic);
    });
}

/// Capabilities belong to a thread, so each try runs on a thread of its own.
#[test]
fn three_capabilities_are_enough_and_two_are_not() {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let Some(lab) = Lab::new("caps") else { return };
    let needed = [CapabilitySet::NET_ADMIN, CapabilitySet::BPF, CapabilitySet::PERFMON];
    let all = needed.into_iter().collect::<CapabilitySet>();
    let with = |set: CapabilitySet| {
        let sets = CapabilitySets { effective: set, permitted: set, inheritable: CapabilitySet::empty() };
        set_capabilities(None, sets).unwrap();
        XdpProgram::attach("b0", AttachMode::Native)
    };
    assert_eq!(lab.inside(|| with(all)).map(|program| program.attached()), Ok(Attached::Native));
    for lacking in needed {
        let e = lab.inside(|| with(all - lacking)).err().expect("refused").to_string();
        assert!(e.contains("EPERM") && e.contains("setcap") && !e.contains('\n'), "{e}");
    }
}
