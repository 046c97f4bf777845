//! `handfast serve` as its users run it: in one namespace, kernel clients in another, ended by signals.

mod common;

use common::server::{HANDFAST, PATIENCE, Server, Site, read_all};
use handfast::lab::{LEFT, LabConfig, RIGHT};
use handfast::tcp::State;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use strum::IntoEnumIterator;

/// Ends it by a signal; gives the exit code, the rest of stdout, and how long the end took. Nothing is left behind.
fn end(mut site: Site, signal: Signal) -> (Option<i32>, String, Duration) {
    let start = Instant::now();
    site.server.signal(signal);
    let (code, ledger) = site.server.wait();
    let took = start.elapsed();
    assert_is_detached(&site);
    assert!(!site.server.admin().exists(), "the admin socket is still there");
    (code, ledger, took)
}

fn assert_is_detached(site: &Site) {
    let link = site.lab.right.run("ip", &["link", "show", RIGHT]).unwrap();
    assert!(!link.contains("xdp"), "still attached: {link}");
}

#[test]
fn a_kernel_client_is_served_and_sigterm_ends_it_with_an_exact_ledger() {
    let Some(served) = Site::start("all", "--service echo@7 --service http@80 --service daytime@13") else { return };
    let greeting = served.server.greeting();
    assert!(greeting.contains("echo@7, http@80, daytime@13 at 10.77.0.2 on"), "{greeting}");
    assert!(greeting.contains("queue 0 (af_xdp"), "{greeting}");

    let mut echo = served.connect(7);
    echo.write_all(&[b'e'; 100_000]).unwrap();
    echo.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut echo), [b'e'; 100_000]);

    let mut http = served.connect(80);
    http.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    assert!(read_all(&mut http).starts_with(b"HTTP/1.1 200 OK\r\n"));

    assert!(read_all(&mut served.connect(13)).ends_with(b"-UTC\r\n"));

    let (code, ledger, _) = end(served, Signal::TERM);
    assert_eq!(code, Some(0), "{ledger}");
    assert!(ledger.ends_with("ledger: exact\n"), "{ledger}");
    assert!(ledger.contains("connections opened = ended + open: 3 = 3 + 0 holds"), "{ledger}");
}

#[test]
fn the_first_worker_runs_on_the_core_asked_for() {
    let core = *handfast::engine::usable_cores().last().unwrap();
    let Some(served) = Site::start("core", &format!("--service echo@7 --first-core {core}")) else { return };
    let greeting = served.server.greeting();
    assert!(greeting.contains(&format!("queue 0 on core {core} (")), "{greeting}");
    let other = Site::start("core-too", &format!("--service echo@7 --first-core {core}")).unwrap();
    assert!(other.server.log().contains("has this core as well; `--first-core N`"), "{}", other.server.log());
    assert_eq!(end(other, Signal::TERM).0, Some(0));
    assert_eq!(end(served, Signal::TERM).0, Some(0));
}

#[test]
fn tables_are_on_huge_pages_where_they_are_asked_for_and_to_be_had() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let given = !read("/sys/kernel/mm/transparent_hugepage/enabled").contains("[never]");
    let one_node = read("/sys/devices/system/node/online").trim() == "0";
    for (environment, expected) in [(&[][..], false), (&[("HANDFAST_HUGE_PAGES", "1")][..], given && one_node)] {
        let Some(served) = Site::start_with("huge", environment, "--service echo@7") else { return };
        let tunables = served.server.variable("GLIBC_TUNABLES").unwrap_or_default();
        assert_eq!(tunables.contains("glibc.malloc.hugetlb=1"), expected, "{tunables:?}");
        let heap = served.server.heap_flags();
        let advised = heap.iter().any(|flags| flags.split(' ').any(|flag| flag == "hg"));
        assert_eq!(advised, expected, "{heap:?}");
        end(served, Signal::TERM);
    }
}

#[test]
fn stats_has_a_key_for_each_state_and_the_demanded_counters() {
    let Some(served) = Site::start("stats", "--service echo@7 --time-wait 1s --ring 128") else { return };
    let open = connect_to_echo(&served);
    let stats = served.server.stats();
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
    assert_eq!((&stats["chunks"]["receiving"], &stats["chunks"]["total"]), (&128.into(), &512.into()), "{stats}");
    drop(open);
    assert_eq!(end(served, Signal::INT).0, Some(0));
}

#[test]
fn stats_watches_until_a_signal_its_reader_or_the_stack_ends() {
    let Some(served) = Site::start("watch", "--service echo@7") else { return };
    let serving = served.server.stats()["serving"].clone();
    assert_eq!(serving["interface"], RIGHT, "{serving}");
    assert!(serving["uptime_seconds"].as_f64().is_some_and(|up| up > 0.0), "{serving}");
    assert!(serving["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{serving}");

    let (mut table, mut lines) = watch(&served, &[]);
    let headings = [lines.next().unwrap(), lines.next().unwrap()];
    assert!(headings[0].contains("now") && headings[1].contains("TIME-WAIT"), "{headings:?}");
    let _held = connect_to_echo(&served);
    let open = |line: &String| line.split_whitespace().next() == Some("1");
    let seen = lines.by_ref().take(100).find(open);
    assert!(seen.is_some(), "the connection is in no line");
    kill_process(Pid::from_child(&table), Signal::INT).unwrap();
    assert_eq!((lines.last().is_none_or(|line| line.len() <= 80), code_of(&mut table)), (true, Some(0)));

    let (mut left, lines) = watch(&served, &["--json"]);
    let looks: Vec<serde_json::Value> = lines.take(3).map(|line| serde_json::from_str(&line).unwrap()).collect();
    assert!(looks[0]["per_second"].is_null() && looks[0]["states"]["established"] == 1, "{}", looks[0]);
    assert!(looks.iter().skip(1).all(|look| look["per_second"]["opened"].is_f64()), "{}", looks[2]);
    assert_eq!(code_of(&mut left), Some(0), "its reader has gone");

    let (mut bereft, mut lines) = watch(&served, &[]);
    lines.next().unwrap();
    assert_eq!(end(served, Signal::TERM).0, Some(0));
    assert_eq!(code_of(&mut bereft), Some(0), "the stack has gone");
    let mut said = String::new();
    bereft.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    // A look at workers that are ending may have found no answer.
    assert!(said.ends_with("has ended\n") && !said.contains("No such file"), "{said}");
    assert!(
        said.lines().last().is_some_and(|line| line.contains(" WARN ")),
        "there are no more lines, and why: {said}"
    );
}

/// Of a process that should end by itself.
fn code_of(child: &mut Child) -> Option<i32> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        match child.try_wait().unwrap() {
            Some(status) => return status.code(),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    child.kill().unwrap();
    panic!("it goes on and on")
}

/// `handfast stats --every 100ms` beside it, with its lines.
fn watch(served: &Site, flags: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut command = Command::new(HANDFAST);
    command.args(["stats", "--every", "100ms", "--admin"]).arg(served.server.admin()).args(flags);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    (child, lines)
}

/// A connection that stands for the server, too: the ACK that our kernel's connect ends with may still be on its way, and a
/// server that ends gives handshakes up.
fn connect_to_echo(served: &Site) -> TcpStream {
    let mut stream = served.connect(7);
    stream.write_all(b"?").unwrap();
    stream.read_exact(&mut [0; 1]).unwrap();
    stream
}

#[test]
fn what_is_still_open_after_the_drain_time_is_reset() {
    let Some(served) = Site::start("drain", "--service echo@7 --drain 1s") else { return };
    let mut held = connect_to_echo(&served);
    // The client never closes: FIN first, then RST when the time is over.
    let (code, ledger, took) = end(served, Signal::TERM);
    assert_eq!(code, Some(0), "{ledger}");
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(4), "{took:?}");
    assert!(ledger.ends_with("ledger: exact\n"), "{ledger}");
    assert_eq!(held.read(&mut [0; 1]).ok(), Some(0), "our FIN came first");
}

#[test]
fn a_second_signal_ends_at_once() {
    let Some(mut served) = Site::start("twice", "--service echo@7 --drain 60s") else { return };
    let _held = connect_to_echo(&served);
    let start = Instant::now();
    served.server.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(300));
    served.server.signal(Signal::TERM);
    assert_eq!(served.server.wait().0, Some(130));
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_is_detached(&served);
}

#[test]
fn a_second_server_on_the_interface_is_refused_and_the_first_goes_on() {
    let Some(served) = Site::start("busy", "--service echo@7") else { return };
    let second = Command::new("ip")
        .args(["netns", "exec", served.lab.right.name(), HANDFAST, "serve"])
        .args(["--interface", RIGHT, "--address", "10.77.0.3/24", "--service", "echo@8", "--admin"])
        .arg(served.server.admin().with_extension("second"))
        .output()
        .unwrap();
    let line = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(2), "{line}");
    assert!(line.contains("EBUSY") && line.contains(RIGHT) && line.lines().count() == 1, "{line}");
    let mut echo = served.connect(7);
    echo.write_all(b"still here").unwrap();
    echo.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut echo), b"still here");
    assert_eq!(end(served, Signal::TERM).0, Some(0));
}

#[test]
fn a_shared_address_stays_the_hosts_but_for_our_ports() {
    let Some(lab) = common::lab("a_shared_address", &LabConfig::default()) else { return };
    lab.right.run("ip", &["addr", "add", "10.77.0.2/24", "dev", RIGHT]).unwrap();
    let of_the_host = common::server::inside(&lab.right, || TcpListener::bind("0.0.0.0:7")).unwrap();
    let server = Server::start(&lab, "--share-address --service echo@7 --service http@80");
    assert!(server.greeting().contains("shared with the host"), "{}", server.greeting());
    assert!(server.log().contains("a program of the host listens at port 7 of 10.77.0.2 as well"), "{}", server.log());
    assert!(!server.log().contains("port 80"), "nobody else listens there: {}", server.log());
    drop(of_the_host);
    let served = Site { server, lab };
    let ping = served.lab.left.run("ping", &["-c", "1", "-W", "2", "-I", LEFT, "10.77.0.2"]);
    if let Err(e) = ping {
        common::skip("the ping", &e.to_string());
    }
    let mut echo = served.connect(7);
    echo.write_all(b"shared").unwrap();
    echo.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut echo), b"shared");
    assert_eq!(end(served, Signal::TERM).0, Some(0));
}
