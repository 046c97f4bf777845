//! Attaching the XDP program to real interfaces: which mode is got, what stands in the way, and that nothing is left
//! behind, whatever the end. Needs root: each test makes a network namespace of its own and says so and skips without.

mod common;

use handfast::driver::{AttachMode, Attached, XdpProgram};
use handfast::lab::Namespace;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Names the interface that the child holds.
const HOLD: &str = "HANDFAST_TEST_HOLD_XDP";

/// A network namespace with both ends of a veth pair, `a0` and `b0`; `None`, said aloud, without root.
fn pair(test: &str) -> Option<Namespace> {
    if !common::root(test) {
        return None;
    }
    let namespace = Namespace::create().unwrap();
    namespace.run("ip", &["link", "add", "a0", "type", "veth", "peer", "name", "b0"]).unwrap();
    for link in ["a0", "b0"] {
        namespace.run("ip", &["link", "set", link, "up"]).unwrap();
    }
    Some(namespace)
}

/// Whether `ip link show` names an XDP program on `b0`.
fn has_xdp(namespace: &Namespace) -> bool {
    namespace.run("ip", &["link", "show", "b0"]).unwrap().contains("xdp")
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
    let Some(lab) = pair("kill") else { return };
    let mut child = Command::new("ip")
        .args(["netns", "exec", lab.name()])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "hold_until_killed", "--nocapture"])
        .env(HOLD, "b0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let held = lines.into_iter().find(|line| line.contains("HOLDING"));
    let attached = has_xdp(&lab);
    // SIGKILL; `ip netns exec` has become the test binary, so this is the holder itself.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(held.as_deref().is_some_and(|line| line.ends_with("native")), "{held:?}");
    assert!(attached, "the program was there");
    let deadline = Instant::now() + Duration::from_secs(2);
    while has_xdp(&lab) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!has_xdp(&lab), "an ordinary interface again");
    lab.inside(|| XdpProgram::attach("b0", AttachMode::Native).expect("and free to be taken again")).unwrap();
}

#[test]
fn dropped_program_is_detached() {
    let Some(lab) = pair("drop") else { return };
    let program = lab.inside(|| XdpProgram::attach("b0", AttachMode::Auto).unwrap()).unwrap();
    assert_eq!(program.attached(), Attached::Native);
    assert!(has_xdp(&lab));
    drop(program);
    assert!(!has_xdp(&lab));
}

#[test]
fn auto_takes_generic_where_the_driver_cannot() {
    let Some(lab) = pair("auto") else { return };
    lab.inside(|| {
        let e = refusal("lo", AttachMode::Native);
        assert!(e.contains("EOPNOTSUPP") && e.contains("generic") && e.contains("rx-gro-hw off"), "{e}");
        assert_eq!(XdpProgram::attach("lo", AttachMode::Auto).unwrap().attached(), Attached::Generic);
        assert_eq!(XdpProgram::attach("b0", AttachMode::Generic).unwrap().attached(), Attached::Generic);
    })
    .unwrap();
}

#[test]
fn another_program_on_the_interface_is_named_with_the_cure() {
    let Some(lab) = pair("busy") else { return };
    lab.inside(|| {
        let _holder = XdpProgram::attach("b0", AttachMode::Native).unwrap();
        for (mode, code) in
            [(AttachMode::Native, "EBUSY"), (AttachMode::Auto, "EBUSY"), (AttachMode::Generic, "EEXIST")]
        {
            let e = refusal("b0", mode);
            // The holder's hangs on a BPF link, which `ip link` cannot remove.
            assert!(e.contains(code) && e.contains("`handfast doctor --interface b0`"), "{mode:?}: {e}");
        }
    })
    .unwrap();
    assert!(!has_xdp(&lab));
}

#[test]
fn missing_interface_and_large_mtu_say_what_to_do() {
    let Some(lab) = pair("odd") else { return };
    lab.inside(|| {
        for name in ["nosuch0", "", "a-name-that-is-far-too-long-for-an-interface"] {
            let e = refusal(name, AttachMode::Auto);
            assert!(e.contains("ENODEV") && e.contains("ip link show"), "{e}");
        }
        assert!(XdpProgram::attach("a\0b", AttachMode::Auto).is_err(), "and no panic");
        for link in ["a0", "b0"] {
            lab.run("ip", &["link", "set", link, "mtu", "9000"]).unwrap();
        }
        let e = refusal("b0", AttachMode::Native);
        assert!(e.contains("MTU") && e.contains("ip link set b0 mtu"), "{e}");
        assert_eq!(XdpProgram::attach("b0", AttachMode::Auto).unwrap().attached(), Attached::Generic);
    })
    .unwrap();
}

/// Capabilities belong to a thread, so each try runs on a thread of its own.
#[test]
fn three_capabilities_are_enough_and_two_are_not() {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let Some(lab) = pair("caps") else { return };
    let needed = [CapabilitySet::NET_ADMIN, CapabilitySet::BPF, CapabilitySet::PERFMON];
    let all = needed.into_iter().collect::<CapabilitySet>();
    let with = |set: CapabilitySet| {
        let sets = CapabilitySets { effective: set, permitted: set, inheritable: CapabilitySet::empty() };
        set_capabilities(None, sets).unwrap();
        XdpProgram::attach("b0", AttachMode::Native)
    };
    assert_eq!(lab.inside(|| with(all)).unwrap().map(|program| program.attached()), Ok(Attached::Native));
    for lacking in needed {
        let e = lab.inside(|| with(all - lacking)).unwrap().err().expect("refused").to_string();
        assert!(e.contains("EPERM") && e.contains("setcap") && !e.contains('\n'), "{e}");
    }
}
