//! `handfast load` against servers that are not ours, and a flood beside it. What needs root, AF_XDP or nginx skips aloud
//! without.

mod common;

use handfast::lab::{LEFT, Lab, LabConfig, RIGHT};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const HANDFAST: &str = env!("CARGO_BIN_EXE_handfast");

fn lab(test: &str) -> Option<Lab> {
    common::lab(test, &LabConfig::default())
}

/// A run's report, whatever its exit code.
fn load(lab: &Lab, flags: &str) -> Value {
    let output = Command::new("ip")
        .args(["netns", "exec", lab.right.name(), HANDFAST, "load", "--interface", RIGHT, "--json", "--no-pin"])
        .args(flags.split_whitespace())
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// nginx at the left end, with its files in a directory that goes away with it.
struct Nginx {
    child: Child,
    dir: PathBuf,
}

impl Nginx {
    fn start(lab: &Lab, test: &str) -> Option<Self> {
        if Command::new("nginx").arg("-v").output().is_err() {
            common::skip(test, "nginx is not installed");
            return None;
        }
        let dir = std::env::temp_dir().join(format!("hf-nginx-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let at = dir.display();
        let config = format!(
            "daemon off; worker_processes 1; pid {at}/pid; error_log {at}/errors;
             events {{ worker_connections 4096; }}
             http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;
                     uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;
                     server {{ listen 10.77.0.1:80 backlog=4096; location = / {{ return 200 'hello from nginx'; }} }} }}"
        );
        std::fs::write(dir.join("nginx.conf"), config).unwrap();
        let child = Command::new("ip")
            .args(["netns", "exec", lab.left.name(), "nginx", "-c"])
            .arg(dir.join("nginx.conf"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let nginx = Nginx { child, dir };
        for _ in 0..100 {
            let connect = || std::net::TcpStream::connect("10.77.0.1:80").is_ok();
            if lab.left.inside(connect).unwrap() {
                return Some(nginx);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("nginx does not listen")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Orderly, so that its worker goes with it.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn counts(report: &Value) -> (u64, u64, u64) {
    let failed = report["failed"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    (report["opened"].as_u64().unwrap(), report["closed"].as_u64().unwrap(), failed)
}

/// Who closes first, with and without keeping the connection, from a whole network of sources.
#[test]
fn nginx_answers_every_request() {
    let Some(lab) = lab("nginx_answers_every_request") else { return };
    let Some(_nginx) = Nginx::start(&lab, "answers") else { return };
    let from = "--address 10.77.0.0/24 --target 10.77.0.1:80 --connections 1000 --concurrency 16";
    let report = load(&lab, &format!("{from} --http / --exchanges 3"));
    assert_eq!(counts(&report), (1_000, 1_000, 0), "{report}");
    assert!(report["latency_us"]["answer"]["p50"].as_f64().unwrap() > 0.0, "{report}");
    assert_eq!(report["http"]["2xx"], 3_000, "{report}");
    assert_eq!(report["limits"]["ports"]["limit"], 253 * 64_512, "every host but the target: {report}");
    assert_eq!(report["limits"]["time_wait"]["used"], 1_000, "we closed first: {report}");
    let report = load(&lab, &format!("{from} --http / --closes server"));
    assert_eq!(counts(&report), (1_000, 1_000, 0), "{report}");
    assert_eq!(report["limits"]["time_wait"]["used"], 0, "nginx closed first: {report}");
    let report = load(&lab, &format!("{from} --http /nowhere"));
    assert_eq!(report["failed"]["bad_answer"], 1_000, "{report}");
    assert_eq!(report["bad_answer"], "an HTTP status of 400 or more");
    assert_eq!(report["http"], serde_json::json!({"2xx": 0, "3xx": 0, "4xx": 1_000, "5xx": 0, "first_error": 404}));
}

#[test]
fn an_open_loop_reaches_its_rate_and_writes_its_page() {
    let Some(lab) = lab("an_open_loop_reaches_its_rate") else { return };
    let Some(_nginx) = Nginx::start(&lab, "open-loop") else { return };
    let page = std::env::temp_dir().join(format!("hf-page-{}.html", std::process::id()));
    // Nothing is left of a longer one.
    std::fs::write(&page, [b'x'; 1 << 20]).unwrap();
    let flags = format!(
        "--address 10.77.0.2/24 --target 10.77.0.1:80 --rate 100..500 --duration 2s --seed 5 --http / --report {}",
        page.display()
    );
    let report = load(&lab, &flags);
    let text = std::fs::read_to_string(&page).unwrap();
    std::fs::remove_file(&page).unwrap();
    assert!(text.contains("<svg") && text.contains("10.77.0.1:80") && text.ends_with("</html>"));
    assert_eq!((&report["rate"]["reached"], &report["rate"]["seed"]), (&true.into(), &5.into()), "{report}");
    assert_eq!(report["verdict"]["bound"], "rate_reached", "{report}");
    let intended = report["rate"]["intended"].as_u64().unwrap();
    assert!((480..720).contains(&intended), "600 expected: {report}");
}

#[test]
fn a_page_that_cannot_be_written_costs_no_report() {
    let Some(lab) = lab("a_page_that_cannot_be_written") else { return };
    // The disk is full; nobody listens there.
    let report = load(&lab, "--address 10.77.0.2/24 --target 10.77.0.1:81 --connections 10 --report /dev/full");
    assert_eq!(report["failed"]["refused"], 10, "{report}");
}

#[test]
fn a_search_finds_a_rate_that_meets_its_goal() {
    let Some(lab) = lab("a_search_finds_a_rate") else { return };
    let Some(_nginx) = Nginx::start(&lab, "search") else { return };
    let flags = "--address 10.77.0.2/24 --target 10.77.0.1:80 --find-max --rate 50..400 --slo 2s --step 500ms";
    let report = load(&lab, flags);
    assert_eq!(report["search"]["best"], 400.0, "the highest that was asked for: {report}");
    let tried: Vec<f64> =
        report["search"]["tried"].as_array().unwrap().iter().filter_map(|t| t["rate"].as_f64()).collect();
    assert!(tried.is_sorted() && tried[0] == 50.0, "{report}");
}

/// The kernel sees ACKs from where nobody is and resets them, and honest connections are served beside them.
#[test]
fn a_flood_goes_beside_honest_connections_and_both_are_reported() {
    let Some(lab) = lab("a_flood_goes_beside_honest_connections") else { return };
    let Some(_nginx) = Nginx::start(&lab, "flood") else { return };
    let received = || {
        let shown = lab.left.run("ip", &["-j", "-s", "link", "show", LEFT]).unwrap();
        let link: Value = serde_json::from_str(&shown).unwrap();
        link[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
    };
    let before = received();
    lab.left.run("ip", &["route", "add", "198.18.0.0/15", "via", "10.77.0.2"]).unwrap();
    let report =
        load(&lab, "--address 10.77.0.2/24 --target 10.77.0.1:80 --rate 200 --duration 2s --flood ack --flood-rate 5k");
    let flood = &report["flood"];
    let sent = flood["sent"].as_u64().unwrap();
    assert!(sent > 2_000 && flood["asked_per_second"] == 5_000.0 && flood["kind"] == "ack", "{report}");
    assert!(received() - before >= sent, "the target received it");
    let answers = flood["answers"].as_u64().unwrap();
    assert!(answers > sent / 10 * 9 && answers <= sent, "each had its RST, but for what a busy veth loses: {report}");
    assert_eq!(report["frames"]["received"].as_u64().map(|frames| frames < sent), Some(true), "none is ours: {report}");
    let (opened, closed, failed) = counts(&report);
    assert!(opened > 300 && closed == opened && failed == 0, "{report}");
    assert_eq!(report["ledger_exact"], true, "{report}");
}

#[test]
fn a_flood_of_syns_says_why_none_of_them_is_answered() {
    let Some(lab) = lab("a_flood_of_syns_says_why") else { return };
    let Some(_nginx) = Nginx::start(&lab, "unanswered") else { return };
    let flags = "--address 10.77.0.2/24 --target 10.77.0.1:80 --rate 50 --duration 1s --flood syn --flood-rate 1k";
    let report = load(&lab, flags);
    let why = report["flood"]["why_none"].as_str().unwrap_or_default();
    let (before, cure) = why.split_once('`').unwrap_or_default();
    let cure = cure.split('`').next().unwrap();
    assert!(before.contains("not one SYN was answered"), "{report}");
    // And its cure is one.
    let (program, args) = cure.split_once(' ').unwrap();
    lab.left.run(program, &args.split(' ').collect::<Vec<_>>()).unwrap();
    let report = load(&lab, flags);
    assert!(report["flood"]["answers"].as_u64().is_some_and(|answers| answers > 100), "{report}");
    assert!(report["flood"]["why_none"].is_null(), "{report}");
}

#[test]
fn a_signal_gives_the_report_of_what_ran() {
    let Some(lab) = lab("a_signal_gives_the_report_of_what_ran") else { return };
    let Some(_nginx) = Nginx::start(&lab, "signal") else { return };
    let flags = "--address 10.77.0.2/24 --target 10.77.0.1:80 --rate 300 --duration 1m --hold 20s";
    let child = Command::new("ip")
        .args(["netns", "exec", lab.right.name(), HANDFAST, "load", "--interface", RIGHT, "--json", "--no-pin"])
        .args(flags.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    // `ip netns exec` has become the program.
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).expect("exactly one object");
    assert_eq!((&report["interrupted"], output.status.code()), (&true.into(), Some(0)), "{report}");
    let (opened, closed, failed) = counts(&report);
    assert!(opened > 10 && closed == opened && failed == 0, "those held are let go: {report}");
}
