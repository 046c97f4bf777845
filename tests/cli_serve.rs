//! `handfast serve` as its users run it: in one namespace, kernel clients in another, ended by signals.

mod common;

use handfast::lab::{LEFT, Lab, LabConfig, RIGHT};
use handfast::tcp::State;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use strum::IntoEnumIterator;

/// A lab with `handfast serve` on its right side.
struct Served {
    lab: Lab,
    child: Child,
    out: BufReader<ChildStdout>,
    admin: PathBuf,
    greeting: String,
}

impl Served {
    /// `None`, and said aloud, where labs cannot be made.
    fn start(name: &str, flags: &str) -> Option<Served> {
        let lab = common::lab(name, &LabConfig::default())?;
        let admin = std::env::temp_dir().join(format!("hf-serve-{}-{name}.sock", std::process::id()));
        let mut child = Command::new("ip")
            .args(["netns", "exec", lab.right.name(), env!("CARGO_BIN_EXE_handfast"), "serve"])
            .args(["--interface", RIGHT, "--address", "10.77.0.2/24", "--no-pin"])
            .args(flags.split_whitespace())
            .arg("--admin")
            .arg(&admin)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        out.read_line(&mut greeting).unwrap();
        assert!(greeting.starts_with("serving "), "{greeting}");
        Some(Served { lab, child, out, admin, greeting })
    }

    /// A kernel client's connection from the left side.
    fn connect(&self, port: u16) -> TcpStream {
        let to = ([10, 77, 0, 2], port).into();
        let connect = || TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap();
        let stream = self.lab.left.inside(connect).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn stats(&self) -> serde_json::Value {
        let output =
            Command::new(env!("CARGO_BIN_EXE_handfast")).args(["stats", "--json", "--admin"]).arg(&self.admin).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("exactly one JSON object")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends SIGTERM; gives the exit code, the rest of stdout, and how long the end took.
    fn end(mut self, signal: Signal) -> (Option<i32>, String, Duration) {
        let start = Instant::now();
        self.signal(signal);
        let mut ledger = String::new();
        self.out.read_to_string(&mut ledger).unwrap();
        let status = self.child.wait().unwrap();
        let took = start.elapsed();
        let link = self.lab.right.run("ip", &["link", "show", RIGHT]).unwrap();
        assert!(!link.contains("xdp"), "still attached: {link}");
        assert!(!self.admin.exists(), "the admin socket is still there");
        (status.code(), ledger, took)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn a_kernel_client_is_served_and_sigterm_ends_it_with_an_exact_ledger() {
    let Some(served) = Served::start("all", "--service echo@7 --service http@80 --service daytime@13") else { return };
    assert!(served.greeting.contains("echo@7, http@80, daytime@13 at 10.77.0.2 on"), "{}", served.greeting);
    assert!(served.greeting.contains("queue 0 (af_xdp"), "{}", served.greeting);

    let mut echo = served.connect(7);
    echo.write_all(&[b'e'; 100_000]).unwrap();
    echo.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut echo), [b'e'; 100_000]);

    let mut http = served.connect(80);
    http.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    assert!(read_all(&mut http).starts_with(b"HTTP/1.1 200 OK\r\n"));

    assert!(read_all(&mut served.connect(13)).ends_with(b"-UTC\r\n"));

    let (code, ledger, _) = served.end(Signal::TERM);
    assert_eq!(code, Some(0), "{ledger}");
    assert!(ledger.ends_with("ledger: exact\n"), "{ledger}");
    assert!(ledger.contains("connections opened = ended + open: 3 = 3 + 0 holds"), "{ledger}");
}

#[test]
fn stats_has_a_key_for_each_state_and_the_demanded_counters() {
    let Some(served) = Served::start("stats", "--service echo@7 --time-wait 1s") else { return };
    let open = served.connect(7);
    let stats = served.stats();
    for state in State::iter() {
        assert!(stats["states"][state.key()].is_u64(), "{state:?}: {stats}");
    }
    assert_eq!(stats["states"]["established"], 1, "{stats}");
    for lost in ["rx_dropped", "rx_ring_full", "rx_fill_ring_empty", "rx_invalid_descs", "tx_invalid_descs"] {
        assert!(stats["kernel"][lost].is_u64(), "{lost}: {stats}");
    }
    for path in [
        "/connections/opened",
        "/connections/closed",
        "/connections/reset",
        "/connections/timed_out",
        "/frames/received",
        "/frames/sent",
        "/bytes_per_entry/half_open",
        "/bytes_per_entry/established",
        "/bytes_per_entry/time_wait",
    ] {
        assert!(stats.pointer(path).is_some_and(|value| value.is_u64()), "{path}: {stats}");
    }
    assert!(stats["frames"]["dropped"].is_object());
    drop(open);
    assert_eq!(served.end(Signal::INT).0, Some(0));
}

#[test]
fn what_is_still_open_after_the_drain_time_is_reset() {
    let Some(served) = Served::start("drain", "--service echo@7 --drain 1s") else { return };
    let mut held = served.connect(7);
    // The client never closes: FIN first, then RST when the time is over.
    let (code, ledger, took) = served.end(Signal::TERM);
    assert_eq!(code, Some(0), "{ledger}");
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(4), "{took:?}");
    assert!(ledger.ends_with("ledger: exact\n"), "{ledger}");
    assert_eq!(held.read(&mut [0; 1]).ok(), Some(0), "our FIN came first");
}

#[test]
fn a_second_signal_ends_at_once() {
    let Some(mut served) = Served::start("twice", "--service echo@7 --drain 60s") else { return };
    let _held = served.connect(7);
    let start = Instant::now();
    served.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(300));
    served.signal(Signal::TERM);
    let status = served.child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(start.elapsed() < Duration::from_secs(3));
    let link = served.lab.right.run("ip", &["link", "show", RIGHT]).unwrap();
    assert!(!link.contains("xdp"), "{link}");
    let _ = std::fs::remove_file(&served.admin);
}

#[test]
fn a_second_server_on_the_interface_is_refused_and_the_first_goes_on() {
    let Some(served) = Served::start("busy", "--service echo@7") else { return };
    let second = Command::new("ip")
        .args(["netns", "exec", served.lab.right.name(), env!("CARGO_BIN_EXE_handfast"), "serve"])
        .args(["--interface", RIGHT, "--address", "10.77.0.3/24", "--service", "echo@8", "--admin"])
        .arg(served.admin.with_extension("second"))
        .output()
        .unwrap();
    let line = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(2), "{line}");
    assert!(line.contains("EBUSY") && line.contains(RIGHT) && line.lines().count() == 1, "{line}");
    let mut echo = served.connect(7);
    echo.write_all(b"still here").unwrap();
    echo.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut echo), b"still here");
    assert_eq!(served.end(Signal::TERM).0, Some(0));
}

#[test]
fn a_shared_address_stays_the_hosts_but_for_our_ports() {
    let Some(lab) = common::lab("a_shared_address", &LabConfig::default()) else { return };
    lab.right.run("ip", &["addr", "add", "10.77.0.2/24", "dev", RIGHT]).unwrap();
    let admin = std::env::temp_dir().join(format!("hf-serve-{}-shared.sock", std::process::id()));
    let mut child = Command::new("ip")
        .args(["netns", "exec", lab.right.name(), env!("CARGO_BIN_EXE_handfast"), "serve", "--share-address"])
        .args(["--interface", RIGHT, "--address", "10.77.0.2/24", "--no-pin", "--service", "echo@7", "--admin"])
        .arg(&admin)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut greeting = String::new();
    out.read_line(&mut greeting).unwrap();
    let mut served = Served { lab, child, out, admin, greeting };
    assert!(served.greeting.contains("shared with the host"), "{}", served.greeting);
    let ping = served.lab.left.run("ping", &["-c", "1", "-W", "2", "-I", LEFT, "10.77.0.2"]);
    if let Err(e) = ping {
        common::skip("the ping", &e.to_string());
    }
    let mut echo = served.connect(7);
    echo.write_all(b"shared").unwrap();
    echo.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut echo), b"shared");
    served.greeting.clear();
    assert_eq!(served.end(Signal::TERM).0, Some(0));
}
