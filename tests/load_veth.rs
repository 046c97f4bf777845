//! `handfast load` and `handfast demo` as people call them. What needs root and AF_XDP skips aloud without.

mod common;

use handfast::lab::{LEFT, Lab, LabConfig, Namespace, RIGHT};
use serde_json::Value;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const HANDFAST: &str = env!("CARGO_BIN_EXE_handfast");

fn lab(test: &str) -> Option<Lab> {
    common::lab(test, &LabConfig::default())
}

/// A kernel listener that reads each connection to its end and closes it.
struct KernelServer {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl KernelServer {
    fn start(at: &Namespace, address: &str) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let listen = || TcpListener::bind(address.parse::<SocketAddr>().unwrap()).unwrap();
        let listener = at.inside(listen).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (stopped, count) = (stop.clone(), served.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((mut stream, _)) => {
                        stream.set_nonblocking(false).unwrap();
                        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                        if stream.read(&mut [0; 64]).is_ok_and(|n| n == 0) {
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_micros(200)),
                    Err(e) => panic!("accept: {e}"),
                }
            }
        });
        KernelServer { stop, served, thread: Some(thread) }
    }
}

impl Drop for KernelServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn load(lab: &Lab, args: &[&str]) -> Value {
    let mut all = vec!["load", "--interface", RIGHT, "--address", "10.77.0.2/24", "--json"];
    all.extend(args);
    serde_json::from_str(&lab.right.run(HANDFAST, &all).unwrap()).unwrap()
}

#[test]
fn every_connection_to_a_kernel_listener_is_closed_without_a_failure() {
    let Some(lab) = lab("every_connection_to_a_kernel_listener") else { return };
    let server = KernelServer::start(&lab.left, "10.77.0.1:8080");
    let args = ["--target", "10.77.0.1:8080", "--connections", "5000", "--concurrency", "16"];
    let report = load(&lab, &args);
    let failed: u64 = ["refused", "timeout", "reset"].iter().map(|k| report["failed"][k].as_u64().unwrap()).sum();
    assert_eq!((report["opened"].as_u64(), report["closed"].as_u64(), failed), (Some(5000), Some(5000), 0), "{report}");
    assert_eq!(report["ledger_exact"], true, "{report}");
    let origin = &report["origin"];
    let command = "handfast load --interface hf-b --address 10.77.0.2/24 --json --target 10.77.0.1:8080 --connections 5000 \
                   --concurrency 16";
    assert_eq!((&origin["command"], &origin["concurrency"]), (&command.into(), &16.into()), "{origin}");
    assert_eq!(origin["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&origin["interface"], &origin["interface_driver"]), (&RIGHT.into(), &"veth".into()));
    assert!(origin["began"].as_str().is_some_and(|at| at.ends_with('Z')) && origin["machine"]["kernel"].is_string());
    let per_connection = report["frames_per_connection"].as_f64().unwrap();
    assert!((5.0..9.0).contains(&per_connection), "{report}");
    // The kernel counts the same connections.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(server.served.load(Ordering::Relaxed), 5000);
}

/// Exit code 1: it ran, and not a single connection stood.
#[test]
fn a_closed_port_of_the_kernel_is_reported_as_refused() {
    let Some(lab) = lab("a_closed_port_of_the_kernel_is_reported_as_refused") else { return };
    let output = Command::new("ip")
        .args(["netns", "exec", lab.right.name(), HANDFAST, "load", "--interface", RIGHT, "--address", "10.77.0.2/24"])
        .args(["--json", "--target", "10.77.0.1:8081", "--connections", "50"])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["failed"]["refused"], &report["established"]), (&50.into(), &0.into()), "{report}");
    assert_eq!(output.status.code(), Some(1), "{report}");
}

/// Where the host owns ARP, it is asked for the target's Ethernet address.
#[test]
fn from_a_shared_address_the_host_finds_the_way() {
    let Some(lab) = lab("from_a_shared_address_the_host_finds_the_way") else { return };
    lab.right.run("ip", &["addr", "add", "10.77.0.2/24", "dev", RIGHT]).unwrap();
    let _server = KernelServer::start(&lab.left, "10.77.0.1:8080");
    let report = load(&lab, &["--share-address", "--target", "10.77.0.1:8080", "--connections", "100"]);
    assert_eq!(report["closed"], 100, "{report}");
    let args =
        ["load", "--interface", RIGHT, "--address", "10.77.0.2/24", "--share-address", "--target", "10.77.0.9:1"];
    let error = lab.right.run(HANDFAST, &args).unwrap_err().to_string();
    assert!(error.contains("Ethernet address of 10.77.0.9") && error.contains("nobody answered"), "{error}");
}

/// Two routers on one link, each with a network of its own behind it that the other cannot reach, and no default route.
#[test]
fn each_target_is_reached_by_the_hosts_route_to_it() {
    let Some(lab) = lab("each_target_is_reached_by_the_hosts_route_to_it") else { return };
    let other = Namespace::create().unwrap();
    let ip = |at: &Namespace, args: &str| at.run("ip", &args.split_whitespace().collect::<Vec<_>>()).unwrap();
    // The link-local ones are those from which kernels ask for neighbours.
    for address in ["fd77::1/64", "fe80::1/64"] {
        ip(&lab.left, &format!("addr add {address} dev {LEFT} nodad"));
    }
    ip(&lab.left, &format!("link add gw link {LEFT} type macvlan mode bridge"));
    ip(&lab.left, &format!("link set gw netns {}", other.name()));
    for args in ["addr add 10.77.0.12/24 dev gw", "addr add fd77::12/64 dev gw nodad", "link set gw up"] {
        ip(&other, args);
    }
    for args in ["addr add 10.77.0.2/24", "addr add fd77::2/64 nodad", "addr add fe80::2/64 nodad"] {
        ip(&lab.right, &format!("{args} dev {RIGHT}"));
    }
    for route in [
        "10.88.0.0/16 via 10.77.0.1",
        "10.88.1.0/24 via 10.77.0.12",
        "fd88::/32 via fd77::1",
        "fd88:0:1::/48 via fd77::12",
    ] {
        ip(&lab.right, &format!("route add {route}"));
    }
    // What is ours alone follows the routes to gateways on its own link.
    let (shared, alone) = (Some("--share-address"), None);
    for (at, address, from, target, whose) in [
        (&lab.left, "10.88.0.1/32", "10.77.0.2/24", "10.88.0.1:8080", shared),
        (&other, "10.88.1.1/32", "10.77.0.2/24", "10.88.1.1:8080", shared),
        (&lab.left, "fd88::1/128", "fd77::2/64", "[fd88::1]:8080", shared),
        (&other, "fd88:0:1::1/128", "fd77::2/64", "[fd88:0:1::1]:8080", shared),
        (&lab.left, "10.88.0.2/32", "10.77.0.3/24", "10.88.0.2:8080", alone),
        (&other, "10.88.1.2/32", "10.77.0.3/24", "10.88.1.2:8080", alone),
        (&other, "fd88:0:1::2/128", "fd77::3/64", "[fd88:0:1::2]:8080", alone),
    ] {
        // An IPv6 address can be listened at as soon as it is no longer tentative.
        let at_once = if address.contains(':') { " nodad" } else { "" };
        ip(at, &format!("addr add {address} dev lo{at_once}"));
        let _server = KernelServer::start(at, target);
        let mut args = vec!["load", "--interface", RIGHT, "--json", "--connections", "50"];
        args.extend(["--address", from, "--target", target]);
        args.extend(whose);
        let report = lab.right.run(HANDFAST, &args).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&report).unwrap()["closed"], 50, "{target}: {report}");
    }
}

#[test]
fn a_target_that_no_address_reaches_is_one_line_with_the_cure() {
    let Some(lab) = lab("a_target_that_no_address_reaches") else { return };
    let args = ["load", "--interface", RIGHT, "--address", "10.77.0.2/24", "--target", "192.0.2.1:80"];
    let error = lab.right.run(HANDFAST, &args).unwrap_err().to_string();
    assert!(error.contains("192.0.2.1:80") && error.contains("--gateway"), "{error}");
}

fn namespaces_of(pid: u32) -> Vec<String> {
    let Ok(dir) = std::fs::read_dir("/run/netns") else { return Vec::new() };
    let names = dir.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(&format!("hf-{pid}-"))).collect()
}

fn demo() -> Command {
    let mut command = Command::new(HANDFAST);
    command.args(["demo", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What each report of the demo promises.
fn check(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("exactly one object");
    assert!(report["connections_per_second"].as_f64().unwrap() > 100.0, "{report}");
    for side in ["client", "server"] {
        assert_eq!(report["ledger"][side]["exact"], true, "{report}");
        assert!(report["drivers"][side][0].is_string(), "{report}");
    }
    let load = &report["load"];
    assert_eq!(load["opened"], load["closed"], "{load}");
    let steps = report["ladder"].as_array().unwrap();
    let (first, last) = (&steps[0], &steps[steps.len() - 1]);
    assert_eq!((&first["flags"], &first["seq_relative"]), (&"SYN".into(), &"client_isn".into()), "{first}");
    assert_eq!((&steps[1]["flags"], &steps[1]["ack_relative"]), (&"SYN,ACK".into(), &"client_isn+1".into()));
    assert_eq!((&last["client_state"], &last["server_state"]), (&"time_wait".into(), &"closed".into()), "{last}");
    assert_eq!(report["connection"]["seen_by_both_ends"], true);
    report
}

#[test]
fn the_demo_reports_and_leaves_nothing_behind() {
    let root = lab("the demo over veth").is_some();
    let child = demo().args(["--duration", "1s"]).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    let report = check(&output);
    assert_eq!(report["link"], if root { "veth" } else { "memory" }, "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(namespaces_of(pid), Vec::<String>::new());
}

#[test]
fn a_signal_ends_the_demo_early_with_its_report_and_leaves_nothing_behind() {
    let child = demo().args(["--duration", "1m"]).spawn().unwrap();
    let pid = child.id();
    std::thread::sleep(Duration::from_millis(2_500));
    let id = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let report = check(&child.wait_with_output().unwrap());
    assert_eq!(report["load"]["interrupted"], true);
    assert!(report["seconds"].as_f64().unwrap() < 10.0, "{report}");
    assert_eq!(namespaces_of(pid), Vec::<String>::new());
}

#[test]
fn without_root_the_demo_runs_over_memory_and_says_so() {
    let mut command = demo();
    command.args(["--duration", "1s"]);
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let output = match command.output() {
        Ok(output) => output,
        Err(e) => {
            return common::skip("the demo without root", &format!("an ordinary user cannot run {HANDFAST}: {e}"));
        }
    };
    let report = check(&output);
    assert_eq!(report["link"], "memory");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches("in-memory link instead").count(), 1, "{said}");
}
