//! A process that may open hardly any descriptors: whatever meets the limit first says so with the cure.

mod common;

use handfast::lab::{LabConfig, RIGHT};
use std::process::{Command, Output};

const HANDFAST: &str = env!("CARGO_BIN_EXE_handfast");
/// As few as a process can be started with: its libraries are read by one. And more than any step of these needs.
const LIMITS: std::ops::Range<u32> = 4..32;

/// Runs the program with this limit, in a namespace if there is one.
fn run(limit: u32, inside: Option<&str>, flags: &str) -> Output {
    let shell = ["sh", "-c", "ulimit -n \"$0\" && exec \"$@\""].map(String::from);
    let line = inside.map(|name| format!("ip netns exec {name}")).unwrap_or_default();
    let words = line.split_whitespace().map(String::from).chain(shell).chain([limit.to_string(), HANDFAST.into()]);
    let words: Vec<_> = words.chain(flags.split_whitespace().map(String::from)).collect();
    Command::new(&words[0]).args(&words[1..]).output().unwrap()
}

#[test]
fn whatever_meets_the_limit_tells_its_cure() {
    let name = |end| std::env::temp_dir().join(format!("hf-descriptors-{}.{end}", std::process::id()));
    let (config, page) = (name("toml"), name("html"));
    std::fs::write(&config, "ttl = 64\n").unwrap();
    let (file, out) = (format!("--config {}", config.display()), format!("--report {}", page.display()));
    let link = "--interface hf-none --address 10.77.0.2/24";
    let mut met = String::new();
    for (flags, else_said) in [
        (format!("serve {file} {link} --service echo@7 --admin /nowhere/h.sock"), "no such interface"),
        (format!("load {file} {link} --target 10.77.0.1:80 {out}"), "no such interface"),
        ("stats --every 1s --admin /nowhere/h.sock".into(), "there is no such socket"),
    ] {
        let said = LIMITS.map(|limit| {
            let output = run(limit, None, &flags);
            let line = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{flags} with {limit}: {line}");
            assert!(line.contains("raise `ulimit -n`") || line.contains(else_said), "{flags} with {limit}: {line}");
            assert!(!line.contains("does not answer"), "nobody was asked: {flags} with {limit}: {line}");
            line
        });
        met.extend(said.filter(|line| !line.contains(else_said)));
    }
    std::fs::remove_file(&config).unwrap();
    for step in ["listening for SIGINT", "looking up interface"] {
        assert!(met.contains(step), "`{step}` never met it: {met}");
    }
}

#[test]
fn a_run_is_possible_or_tells_the_limit() {
    let Some(lab) = common::lab("hardly any descriptors", &LabConfig::default()) else { return };
    let flags =
        format!("load --interface {RIGHT} --address 10.77.0.2/24 --target 10.77.0.1:80 --connections 5 --no-pin");
    let ran = LIMITS.filter(|limit| {
        let output = run(*limit, Some(lab.right.name()), &flags);
        let said = String::from_utf8(output.stderr).unwrap();
        // Refused by the kernel at the other end, all five.
        let ran = output.status.code() == Some(1);
        assert!(ran || said.contains("raise `ulimit -n`"), "with {limit}: {said}");
        ran
    });
    let ran = ran.count();
    assert!((1..LIMITS.len()).contains(&ran), "{ran} of {} ran", LIMITS.len());
}
