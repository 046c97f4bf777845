//! What may happen to an interface while `handfast serve` runs on it: it recovers and says so, or it ends with one line, exit
//! code 2 and its ledger.

mod common;

use common::server::{SERVER, Server, Site};
use handfast::host;
use handfast::lab::{LEFT, LabConfig, RIGHT};
use std::io::Read;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take until something is noticed on a busy machine; it takes two seconds at most on an idle one.
const PATIENCE: Duration = Duration::from_secs(20);

/// A site whose server may meet changes.
struct Served(Site);

impl Served {
    /// `None`, and said aloud, where labs cannot be made. The interface could have one queue more than it has.
    fn start(test: &str, queues: u32, flags: &str) -> Option<Served> {
        let lab = common::lab(test, &LabConfig { queues: queues + 1, ..LabConfig::default() })?;
        for (namespace, link) in [(&lab.left, LEFT), (&lab.right, RIGHT)] {
            let queues = queues.to_string();
            namespace.run("ethtool", &["-L", link, "rx", &queues, "tx", &queues]).unwrap();
        }
        let server = Server::start(&lab, &format!("--service daytime@13 {flags}"));
        let served = Served(Site { server, lab });
        assert!(served.answers(), "it does not serve to begin with");
        Some(served)
    }

    /// Whether a kernel client gets what it came for, before long.
    fn answers(&self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.answers_at_once() {
                return true;
            }
        }
        false
    }

    fn answers_at_once(&self) -> bool {
        let ask = || {
            let mut stream = TcpStream::connect_timeout(&(SERVER, 13).into(), Duration::from_secs(2)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).ok().filter(|octets| *octets > 0)
        };
        self.0.client(ask).is_some()
    }

    /// Runs a program at our end.
    fn run(&self, program: &str, args: &[&str]) -> String {
        self.0.lab.right.run(program, args).unwrap()
    }

    fn ip(&self, args: &[&str]) {
        self.run("ip", args);
    }

    fn says(&self, part: &str) {
        self.0.server.wait_until_it_says(part);
    }

    /// It goes on, and ends when it is told to, in order.
    fn goes_on(mut self) {
        assert!(self.0.server.is_running(), "it has ended");
        self.0.server.end();
    }

    /// It ends by itself, with its ledger, this in its last line, and exit code 2.
    fn ends_saying(mut self, parts: &[&str]) {
        let (code, ledger) = self.0.server.wait();
        let log = self.0.server.log();
        let last = log.lines().last().unwrap_or_default();
        assert_eq!(code, Some(2), "{ledger}");
        assert!(ledger.ends_with("ledger: exact\n") && ledger.contains("opened = ended + open: "), "{ledger}");
        assert!(last.starts_with("handfast: "), "{last}");
        parts.iter().for_each(|part| assert!(last.contains(part), "`{part}` in {last}"));
        // The line is the only one that complains.
        assert!(!log.contains("ERROR") && !log.contains("panicked"));
    }
}

#[test]
fn a_removed_interface_ends_it_with_the_ledger() {
    for idle in ["adaptive", "spin"] {
        let Some(served) = Served::start(&format!("removed_{idle}"), 2, &format!("--idle {idle}")) else { return };
        served.ip(&["link", "del", RIGHT]);
        served.ends_saying(&["interface hf-b: it is gone", "`ip -br link`"]);
    }
}

#[test]
fn a_load_whose_interface_is_removed_tells_what_ran() {
    let Some(lab) = common::lab("load_removed", &LabConfig::default()) else { return };
    let mut load = Command::new("ip")
        .args(["netns", "exec", lab.right.name(), env!("CARGO_BIN_EXE_handfast"), "load", "--json", "--no-pin"])
        .args(["--interface", RIGHT, "--address", "10.77.0.2/24", "--target", "10.77.0.1:9"])
        .args(["--rate", "100", "--duration", "60s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert!(load.try_wait().unwrap().is_none(), "it runs");
    lab.right.run("ip", &["link", "del", RIGHT]).unwrap();
    let start = Instant::now();
    while load.try_wait().unwrap().is_none() {
        if start.elapsed() > PATIENCE {
            load.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = load.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{log}");
    assert!(log.lines().last().unwrap_or_default().contains("interface hf-b: it is gone"), "{log}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the report");
    assert!(report["opened"].as_u64().is_some_and(|opened| opened > 50), "{report}");
}

#[test]
fn an_interface_that_moves_to_another_namespace_ends_it_with_the_ledger() {
    let Some(served) = Served::start("moved", 1, "") else { return };
    served.ip(&["link", "set", RIGHT, "netns", served.0.lab.left.name()]);
    served.ends_saying(&["interface hf-b: it is gone", "another network namespace"]);
}

#[test]
fn a_link_that_goes_down_is_waited_for() {
    let Some(served) = Served::start("down", 1, "") else { return };
    served.ip(&["link", "set", RIGHT, "down"]);
    served.says("hf-b was set down: nothing comes or goes until `ip link set hf-b up`");
    assert!(!served.answers_at_once());
    served.ip(&["link", "set", RIGHT, "up"]);
    served.says("hf-b is up and has a carrier");
    assert!(served.answers());
    served.0.lab.left.run("ip", &["link", "set", LEFT, "down"]).unwrap();
    served.says("hf-b has no carrier");
    served.goes_on();
}

#[test]
fn the_program_can_be_neither_removed_nor_replaced_by_ip_link() {
    let Some(served) = Served::start("refused", 1, "") else { return };
    // There the same commands succeed, so it is not they that are wrong.
    const FREE: &str = "hf-free";
    served.ip(&["link", "add", FREE, "type", "veth", "peer", "name", "hf-free-peer"]);
    let object = concat!(env!("CARGO_MANIFEST_DIR"), "/xdp/handfast.bpf.o");
    let set =
        |link, mode, what: &[&str]| served.0.lab.right.run("ip", &[&["link", "set", link, mode][..], what].concat());
    for mode in ["xdp", "xdpdrv", "xdpgeneric"] {
        let load = ["obj", object, "sec", "xdp"];
        set(FREE, mode, &load).unwrap_or_else(|e| panic!("{mode} is not to be had on a free interface: {e}"));
        let refused = set(RIGHT, mode, &load).expect_err("another program took our place").to_string();
        // "… replace active BPF XDP link", "… can't be active at the same time".
        assert!(refused.contains("active"), "{refused}");
        set(FREE, mode, &["off"]).unwrap();
        // There is nothing of the other mode to be switched off.
        assert!(set(RIGHT, mode, &["off"]).is_err() || mode == "xdpgeneric", "{mode}: our program was switched off");
    }
    assert!(served.answers());
    served.goes_on();
}

#[test]
fn a_program_that_is_detached_by_its_link_ends_it_with_the_ledger() {
    let Some(served) = Served::start("detached", 1, "") else { return };
    let links = match served.0.lab.right.run("bpftool", &["link", "show"]) {
        Ok(links) => links,
        Err(e) => return common::skip("detaching by its link", &e.to_string()),
    };
    let shown = served.run("ip", &["link", "show", RIGHT]);
    let program = shown.split("prog/xdp id ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    // A line is `12: xdp  prog 34`; the links of all namespaces are shown.
    let ours = links.lines().find(|line| line.split_whitespace().skip_while(|w| *w != "prog").nth(1) == Some(program));
    let id = ours.and_then(|line| line.split(':').next()).unwrap_or_else(|| panic!("program {program} in {links}"));
    served.run("bpftool", &["link", "detach", "id", id]);
    served.ends_saying(&["interface hf-b: our XDP program was detached", "`bpftool net`", "start again"]);
}

/// The MSS that our SYN-ACK offers, as the kernel's TCP goes by it (the twelve octets are its timestamps).
fn offered(served: &Served) -> u32 {
    let connected = || {
        let stream = TcpStream::connect_timeout(&(SERVER, 13).into(), PATIENCE).unwrap();
        socket2::SockRef::from(&stream).tcp_mss().unwrap() + 12
    };
    served.0.client(connected)
}

#[test]
fn another_mtu_is_followed_as_far_as_a_chunk_takes() {
    let Some(served) = Served::start("mtu", 2, "") else { return };
    assert_eq!(offered(&served), 1_460);
    served.ip(&["link", "set", RIGHT, "mtu", "1400"]);
    served.says("hf-b has an MTU of 1400 now, and we follow");
    assert_eq!(offered(&served), 1_360);
    for link in [(&served.0.lab.left, LEFT), (&served.0.lab.right, RIGHT)] {
        link.0.run("ip", &["link", "set", link.1, "mtu", "2000"]).unwrap();
    }
    served.says("hf-b has an MTU of 2000 now: we keep to 1774, which is what a chunk takes");
    assert_eq!(offered(&served), 1_734);
    served.goes_on();
}

/// Somebody else had the address before, and a neighbour still sends there: the kernel would for half a minute.
#[test]
fn neighbours_who_know_the_address_elsewhere_are_told_at_the_start() {
    const ELSEWHERE: &str = "02:00:00:00:00:99";
    const OURS: [&str; 2] = ["10.77.0.2", "fd77::2"];
    let Some(lab) = common::lab("told_at_start", &LabConfig::default()) else { return };
    lab.left.run("ip", &["addr", "add", "fd77::1/64", "dev", LEFT, "nodad"]).unwrap();
    for address in OURS {
        lab.left.run("ip", &["neigh", "add", address, "lladdr", ELSEWHERE, "dev", LEFT, "nud", "reachable"]).unwrap();
    }
    let server = Server::start(&lab, "--address fd77::2/64 --service daytime@13");
    let mac = lab.right.inside(|| host::interface(RIGHT).unwrap().mac.to_string()).unwrap();
    for address in OURS {
        let known = || lab.left.run("ip", &["neigh", "show", address]).unwrap();
        let start = Instant::now();
        while !known().contains(&mac) {
            assert!(start.elapsed() < PATIENCE, "{}", known());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    server.end();
}

#[test]
fn another_ethernet_address_is_followed_and_announced() {
    let Some(served) = Served::start("mac", 2, "") else { return };
    served.ip(&["link", "set", RIGHT, "address", "02:00:00:00:00:77"]);
    served.says("hf-b has the Ethernet address 02:00:00:00:00:77 now, and we follow");
    // The kernel would go on with what it knew for half a minute.
    let is_known = |mac: &str| {
        assert!(served.answers());
        let known = served.0.lab.left.run("ip", &["neigh", "show", "10.77.0.2"]).unwrap();
        assert!(known.contains(mac), "{known}");
    };
    is_known("02:00:00:00:00:77");
    // As many drivers want it; nobody would hear what is announced before the link is up again.
    served.ip(&["link", "set", RIGHT, "down"]);
    served.ip(&["link", "set", RIGHT, "address", "02:00:00:00:00:78"]);
    served.says("hf-b has the Ethernet address 02:00:00:00:00:78 now, and we follow");
    served.ip(&["link", "set", RIGHT, "up"]);
    is_known("02:00:00:00:00:78");
    served.goes_on();
}

#[test]
fn queues_that_are_added_are_told_of_and_none_with_a_worker_is_taken_away() {
    let Some(served) = Served::start("queues", 2, "") else { return };
    let set = |n| served.0.lab.right.run("ethtool", &["-L", RIGHT, "rx", n, "tx", n]);
    assert!(set("1").is_err(), "a queue with a worker was taken away");
    set("3").unwrap();
    served.says("hf-b has 3 rx queues now, and 2 have a worker");
    set("2").unwrap();
    served.says("hf-b has 2 rx queues again");
    assert!(served.answers());
    served.goes_on();
}

/// Without one the driver cannot be asked how many queues are in use, which is not as many as there could be; what netlink
/// tells is followed all the same.
#[test]
fn nothing_untrue_is_told_where_no_descriptor_is_left_to_look_with() {
    let Some(served) = Served::start("descriptors", 2, "") else { return };
    let before = served.0.server.limit_descriptors(Some(3));
    served.ip(&["link", "set", RIGHT, "mtu", "1400"]);
    served.says("hf-b has an MTU of 1400 now, and we follow");
    served.ip(&["link", "set", RIGHT, "down"]);
    served.says("hf-b was set down");
    served.ip(&["link", "set", RIGHT, "up"]);
    served.says("hf-b is up and has a carrier");
    served.0.server.limit_descriptors(before);
    assert!(!served.0.server.log().contains("rx queues"), "{}", served.0.server.log());
    served.goes_on();
}

/// The link below a macvlan lets out next to nothing, so what was sent stays where it is, as it does under a NIC that stands still.
const BELOW: &str = "hf-below";

fn stands_still(served: &Served, how_often: usize) {
    served.run("tc", &["qdisc", "replace", "dev", BELOW, "root", "tbf", "rate", "8bit", "burst", "2k", "limit", "1m"]);
    let start = Instant::now();
    while served.0.server.log().matches("has left for a second").count() < how_often {
        assert!(start.elapsed() < 2 * PATIENCE, "{}", served.0.server.log());
        served.answers_at_once();
    }
    assert_eq!(served.0.server.stats()["kernel"]["tx_stalls"], how_often);
}

#[test]
fn sending_that_stands_still_is_told_and_goes_on_or_ends_it_with_the_ledger() {
    let Some(lab) = common::lab("standstill", &LabConfig::default()) else { return };
    for args in ["set hf-b down", "set hf-b name hf-below", "set hf-below up"] {
        lab.right.run("ip", &["link"].into_iter().chain(args.split(' ')).collect::<Vec<_>>()).unwrap();
    }
    if let Err(e) = lab.right.run("ip", &["link", "add", "link", BELOW, "name", RIGHT, "type", "macvlan"]) {
        return common::skip("sending that stands still", &e.to_string());
    }
    if let Err(e) = lab
        .right
        .run("tc", &["qdisc", "add", "dev", BELOW, "root", "tbf", "rate", "1gbit", "burst", "1m", "limit", "1m"])
    {
        return common::skip("sending that stands still", &e.to_string());
    }
    lab.right.run("ip", &["link", "set", RIGHT, "up", "addrgenmode", "none"]).unwrap();
    let server = Server::start(&lab, "--service daytime@13 --xdp generic");
    let served = Served(Site { server, lab });
    assert!(served.answers(), "it does not serve to begin with");
    stands_still(&served, 1);
    served.run("tc", &["qdisc", "del", "dev", BELOW, "root"]);
    assert!(served.answers(), "nothing is left of it");
    stands_still(&served, 2);
    served.ends_saying(&["sending on hf-b queue 0", "although the link is up: its driver stands still"]);
}
