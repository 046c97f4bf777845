//! Bad input: one line that says what, where and the cure; exit code 2; nothing on stdout.

mod common;

use handfast::lab::{LEFT, Lab, LabConfig, RIGHT};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};

/// Runs the program; flags are separated by blanks.
fn handfast(flags: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_handfast")).args(flags.split_whitespace()).output().expect("the program starts")
}

/// The one line of a refusal, which names each of `parts`.
fn refused(flags: &str, parts: &[&str]) -> String {
    let output = handfast(flags);
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{flags}: {line}");
    assert!(output.stdout.is_empty(), "{flags}: stdout is for results");
    assert_eq!(line.lines().count(), 1, "{flags}: {line}");
    assert!(line.starts_with("handfast: ") && line.contains("; "), "{flags}: no cure in {line}");
    for part in parts {
        assert!(line.contains(part), "{flags}: `{part}` is missing in {line}");
    }
    line
}

/// The same at the left end of a lab; says only what the line must hold.
fn refused_in(lab: &Lab, flags: &str, parts: &[&str]) {
    let args: Vec<&str> = flags.split(' ').collect();
    let line = lab.left.run(env!("CARGO_BIN_EXE_handfast"), &args).unwrap_err().to_string();
    for part in parts {
        assert!(line.contains(part), "{flags}: `{part}` is missing in {line}");
    }
}

const ECHO: &str = "--service echo@7";
const ADDRESS: &str = "--address 10.77.0.2/24";

#[test]
fn an_interface_that_was_not_named() {
    refused(&format!("serve {ADDRESS} {ECHO}"), &["no interface", "--interface IF"]);
}

#[test]
fn an_interface_that_is_not_there() {
    refused(&format!("serve --interface hf-none {ADDRESS} {ECHO}"), &["hf-none", "no such interface", "ip -br link"]);
}

#[test]
fn no_address() {
    refused(&format!("serve --interface lo {ECHO}"), &["no address", "--address CIDR"]);
}

#[test]
fn an_address_that_is_no_cidr() {
    for (cidr, cure) in [("10.0.0.2", "10.0.0.2/24"), ("10.0.0.2/33", "10.0.0.2/24"), ("here", "2001:db8::2/64")] {
        refused(&format!("serve --interface lo --address {cidr} {ECHO}"), &["--address", cidr, cure]);
    }
}

/// Without $XDG_RUNTIME_DIR the folder lies where anybody may have made it first.
#[test]
fn a_folder_of_the_admin_socket_that_is_not_ours_alone() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    if !common::root("a folder that another user made") {
        return;
    }
    let lent = std::env::temp_dir().join(format!("hf-lent-{}", std::process::id()));
    let folder = lent.join(format!("handfast-{NOBODY}"));
    std::fs::create_dir_all(&folder).unwrap();
    let program = lent.join("handfast");
    common::copy_program_to(&program);
    let ask = |owner: u32, mode: u32| {
        std::os::unix::fs::chown(&folder, Some(owner), Some(owner)).unwrap();
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(mode)).unwrap();
        let mut stats = Command::new(&program);
        stats.arg("stats").env("TMPDIR", &lent).env_remove("XDG_RUNTIME_DIR").uid(NOBODY).gid(NOBODY);
        let output = stats.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let answers = [(0, 0o755), (NOBODY, 0o777), (NOBODY, 0o700)].map(|(owner, mode)| ask(owner, mode));
    std::fs::remove_dir_all(&lent).unwrap();
    for (answer, cause) in answers.into_iter().zip(["not ours alone", "not ours alone", "there is none"]) {
        assert!(answer.0 == Some(2) && answer.1.contains(cause) && answer.1.contains("--admin"), "{answer:?}");
    }
}

#[test]
fn what_an_ip_header_cannot_say() {
    for (flag, value, cure) in
        [("ttl", "0", "from 1 to 255"), ("ttl", "256", "from 1 to 255"), ("dscp", "64", "from 0 to 63")]
    {
        let flag = format!("--{flag}");
        refused(&format!("serve --interface lo {ADDRESS} {ECHO} {flag} {value}"), &[&flag, value, cure]);
    }
}

#[test]
fn an_address_that_no_host_can_have() {
    for cidr in ["10.0.0.0/24", "10.0.0.255/24", "0.0.0.0/0", "224.0.0.1/24", "ff02::1/64"] {
        refused(&format!("serve --interface lo --address {cidr} {ECHO}"), &[cidr, "no host can have"]);
    }
}

#[test]
fn an_address_that_never_crosses_a_link() {
    for (cidr, cure) in [
        ("127.0.0.1/8", "loopback never leaves a host; give an address of the link"),
        ("::1/128", "loopback never leaves a host"),
        ("::ffff:10.0.0.9/120", "an IPv4 address, written as IPv6; write 10.0.0.9/24"),
        ("::ffff:10.0.0.9/96", "write 10.0.0.9/24"),
    ] {
        refused(&format!("serve --interface lo --address {cidr} {ECHO}"), &[cidr, cure]);
        refused(&format!("serve --interface lo --address {cidr} --share-address {ECHO}"), &[cidr, cure]);
    }
}

#[test]
fn an_address_given_twice() {
    let flags = format!("serve --interface lo {ADDRESS} --address 10.77.0.2/16 {ECHO}");
    refused(&flags, &["10.77.0.2/16", "given twice"]);
}

#[test]
fn an_address_that_the_host_has_as_well() {
    let Some(lab) = common::lab("an_address_that_the_host_has_as_well", &LabConfig::default()) else { return };
    let flags = format!("serve --interface {LEFT} --address 10.77.0.1/24 {ECHO}");
    refused_in(&lab, &flags, &["10.77.0.1/24 on ", "the host has it as well", "--share-address"]);
}

#[test]
fn a_target_that_is_our_own_or_the_hosts() {
    let own = format!("load --interface lo {ADDRESS} --target 10.77.0.2:80");
    refused(&own, &["target 10.77.0.2:80", "an `--address` of our own", "one that nobody has"]);
    let shared = refused(&format!("{own} --share-address"), &["of our own and this host's", "on another host"]);
    assert!(!shared.contains("nobody has"), "a shared address is one that the host has: {shared}");
    let Some(lab) = common::lab("a_target_that_is_the_hosts", &LabConfig::default()) else { return };
    let flags = format!("load --interface {LEFT} --address 10.77.0.9/24 --target 10.77.0.1:80 --connections 1");
    refused_in(&lab, &flags, &["target 10.77.0.1:80", "this host's own", "from another network namespace"]);
}

#[test]
fn an_address_not_on_the_link_that_shall_be_shared() {
    let flags = format!("serve --interface lo {ADDRESS} --share-address {ECHO}");
    refused(&flags, &["10.77.0.2/24 on lo", "not on the link", "ip addr add 10.77.0.2/24 dev lo"]);
}

#[test]
fn a_gateway_not_on_the_link() {
    let flags = format!("serve --interface lo {ADDRESS} --gateway 10.78.0.1 {ECHO}");
    refused(&flags, &["gateway 10.78.0.1", "not on the link of 10.77.0.2/24"]);
    let flags = format!("serve --interface lo {ADDRESS} --gateway 10.77.0.2 {ECHO}");
    refused(&flags, &["gateway 10.77.0.2", "one of our own addresses"]);
    refused(&format!("serve --interface lo {ADDRESS} --gateway router {ECHO}"), &["--gateway", "router"]);
}

#[test]
fn no_service() {
    refused(&format!("serve --interface lo {ADDRESS}"), &["no service", "--service NAME@PORT", "daytime"]);
}

#[test]
fn an_unknown_service_lists_the_known_ones() {
    let known = "echo, discard, chargen, daytime, close, http";
    refused(&format!("serve --interface lo {ADDRESS} --service telnet@23"), &["unknown service `telnet`", known]);
    refused(&format!("serve --interface lo {ADDRESS} --service echo"), &["no port", "NAME@PORT"]);
    refused(&format!("serve --interface lo {ADDRESS} --service 80"), &["no service in `80`", "as http@80"]);
    let several = format!("serve --interface lo {ADDRESS} --service http@80,echo@7");
    refused(&several, &["`http@80,echo@7` is more than one service", "repeat the flag"]);
    refused(&format!("serve --interface lo {ADDRESS} --service echo@70000"), &["70000", "1 to 65535"]);
}

#[test]
fn a_port_given_twice() {
    let flags = format!("serve --interface lo {ADDRESS} --service echo@7 --service http@7");
    refused(&flags, &["service http@7", "port 7 is taken by echo@7"]);
}

#[test]
fn flags_and_values_that_there_are_not() {
    refused("serve --nonsense", &["--nonsense", "--help"]);
    refused("walk", &["walk", "--help"]);
    refused(&format!("serve --interface lo {ADDRESS} {ECHO} --time-wait soon"), &["--time-wait", "soon"]);
    refused(&format!("serve --interface lo {ADDRESS} {ECHO} --xdp fast"), &["--xdp", "native", "generic"]);
    refused(&format!("serve --interface lo {ADDRESS} {ECHO} --buffer-memory much"), &["--buffer-memory", "64K"]);
    refused(&format!("serve --interface lo {ADDRESS} {ECHO} --workers 0"), &["--workers", "0"]);
}

/// A file that goes away with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hf-cli-{}-{name}.toml", std::process::id()));
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        File(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_configuration_that_cannot_be_read() {
    refused("serve --config /nowhere/h.toml", &["/nowhere/h.toml", "No such file", "--config"]);
    refused("serve --config /", &["reading /", "--config"]);
}

#[test]
fn a_configuration_error_names_file_line_and_key() {
    for (name, text, line, key, why) in [
        ("unknown", "interface = \"lo\"\n\nwrokers = 2\n", 3, "wrokers", "no such key; did you mean `workers`?"),
        ("value", "time-wait = \"soon\"\n", 1, "time-wait", "soon"),
        ("service", "service = [\"echo@7\",\n  \"telnet@23\"]\n", 1, "service", "known are echo"),
        ("cidr", "# ours\naddress = \"10.0.0.2\"\n", 2, "address", "10.0.0.2/24"),
        ("syntax", "interface = \"lo\"\nworkers 2\n", 2, "workers 2", ""),
    ] {
        let file = File::new(name, text);
        let path = file.0.display().to_string();
        refused(&format!("serve --config {path}"), &[&path, &format!("line {line}, key `{key}`"), why]);
    }
}

#[test]
fn what_the_configuration_says_is_checked_like_the_flags() {
    let file = File::new("whole", "address = [\"10.77.0.2/24\"]\nservice = \"echo@7\"\ninterface = \"hf-none\"\n");
    refused(&format!("serve --config {}", file.0.display()), &["hf-none", "no such interface"]);
    // A flag wins.
    refused(&format!("serve --config {} --interface hf-other", file.0.display()), &["hf-other"]);
}

#[test]
fn what_load_needs_may_stand_in_its_file() {
    let text = "target = \"10.77.0.1:80\"\ninterface = \"hf-none\"\naddress = \"10.77.0.2/24\"\nconnections = 5\n";
    let file = File::new("load", text);
    refused(&format!("load --config {}", file.0.display()), &["hf-none", "no such interface"]);
    let text = format!(
        "{text}rate = \"10k\"\nhttp = \"/\"\ncloses = \"server\"\nhold = \"1s\"\nflood = \"syn\"\nflood-rate = \"1k\"\n"
    );
    let file = File::new("load-more", &text);
    refused(&format!("load --config {}", file.0.display()), &["hf-none", "no such interface"]);
    let file = File::new("load-flood", &text.replace("10.77.0.1:80", "8.8.8.8:80"));
    refused(&format!("load --config {}", file.0.display()), &["flooding 8.8.8.8:80"]);
    let file = File::new("load-long", "interface = \"hf-none\"\nduration = \"5s\"\n");
    let parts = ["line 2, key `duration`", "it contradicts `--find-max`; remove one"];
    refused(&format!("load --config {} --find-max", file.0.display()), &parts);
    let file = File::new("load-bad", "target = \"here\"\n");
    refused(&format!("load --config {}", file.0.display()), &["line 1, key `target`", "`here`", "write 10.0.0.2:80"]);
}

#[test]
fn what_load_cannot_do_is_refused_before_anything_is_touched() {
    let load = "load --interface hf-none";
    refused(&format!("{load} {ADDRESS}"), &["no target", "--target IP:PORT"]);
    refused(&format!("{load} --target 10.77.0.1:80"), &["no address", "--address CIDR"]);
    for (target, cure) in
        [("foo", "write 10.0.0.2:80"), ("10.77.0.1", "write 10.77.0.1:80"), ("10.77.0.1:0", "nobody can listen")]
    {
        refused(&format!("{load} {ADDRESS} --target {target}"), &["--target: ", target, cure]);
    }
    let target = "--target [2001:db8::1]:80";
    refused(&format!("{load} {ADDRESS} {target}"), &["2001:db8::1", "it is IPv6", "add an IPv6 `--address`"]);
    let target = "--target 10.77.0.1:80";
    refused(&format!("{load} --address 2001:db8::2/64 {target}"), &["10.77.0.1:80", "it is IPv4"]);
    let flags = format!("{load} {ADDRESS} {target}");
    refused(&format!("{flags} --connections 0"), &["--connections: `0`", "whole number from 1 on"]);
    refused(&format!("{flags} --concurrency many"), &["--concurrency: `many`", "from 1 to 1048576"]);
    refused(&format!("{flags} --congestion bbr"), &["--congestion: `bbr`", "choose cubic or reno"]);
    refused(&format!("{flags} --keep-alive 30d"), &["--keep-alive: `30d`", "write 24d at most"]);
    refused(&format!("{flags} --keep-alive 0s"), &["--keep-alive: `0s`", "write 1ms at least"]);
}

#[test]
fn what_a_load_cannot_be_is_refused_before_anything_is_touched() {
    let load = format!("load --interface hf-none {ADDRESS} --target 10.77.0.1:80");
    for (flags, parts) in [
        ("--rate fast", ["--rate: `fast`", "10k"]),
        ("--rate 10k..", ["--rate: ", "lacks one of its two ends"]),
        ("--rate 1k..9k --connections 5", ["--rate: a ramp goes over the duration", "--duration TIME"]),
        ("--find-max --duration 5s", ["--find-max: it contradicts `--duration`", "remove one"]),
        ("--find-max --rate 9k..1k", ["--rate: a search goes up", "`--rate 1000..9000`"]),
        ("--find-max --slo 0s", ["--slo: `0s` is too short", "1ms"]),
        ("--duration 0s", ["--duration: `0s` is too short", "1ms"]),
        ("--rate 5 --slo 5ms", ["--slo: nothing is searched", "add `--find-max`"]),
        ("--step 1s", ["--step: nothing is searched", "add `--find-max`"]),
        ("--arrivals even", ["--arrivals: a closed loop", "add `--rate RATE`"]),
        ("--seed 1", ["--seed: a closed loop", "add `--rate RATE`"]),
        ("--http x", ["--http: `x` is no path", "write /"]),
        ("--http / --send x", ["--http: it contradicts `--send`", "remove one"]),
        ("--exchanges 3", ["--exchanges: nothing is asked", "--http PATH"]),
        ("--hold 1m --timeout 5s", ["--timeout: it is over before `--hold`", "longer"]),
        ("--closes server --close-with rst", ["--close-with: ", "--closes server"]),
        ("--report /nowhere/x.html", ["writing /nowhere/x.html", "--report"]),
        ("--flood syn", ["--flood: no rate", "--flood-rate RATE"]),
        ("--flood-rate 10k", ["--flood-rate: there is no flood", "--flood syn"]),
        ("--flood smurf --flood-rate 1k", ["--flood: `smurf`", "choose syn, ack, rst, fin or data"]),
        ("--flood syn --flood-rate 1k --flood-from 8.8.8.0/24", ["--flood-from 8.8.8.0/24", "198.18.0.0/15"]),
    ] {
        refused(&format!("{load} {flags}"), &parts);
    }
    for flags in [format!("serve --interface lo {ADDRESS} {ECHO}"), load] {
        let cores = "--first-core 1023: it is not among the cores that we may use: ";
        refused(&format!("{flags} --first-core 1023"), &[cores, "`taskset`"]);
        refused(&format!("{flags} --first-core 0 --no-pin"), &["--first-core: it contradicts `--no-pin`"]);
    }
    let own_table =
        format!("load --interface lo {ADDRESS} --target 10.77.0.1:80 --concurrency 64 --max-connections 10");
    refused(&own_table, &["--concurrency: up to 64 are to be under way", "`--max-connections` allows 10"]);
    refused("load --interface hf-none --address 10.0.0.0/8 --target 10.77.0.1:80", &["10.0.0.0/8", "give a /16"]);
}

#[test]
fn where_a_run_does_not_begin_the_page_of_an_earlier_one_stays_and_no_other_is_left() {
    let page = std::env::temp_dir().join(format!("handfast-page-{}.html", std::process::id()));
    let refused = || {
        let load = format!("load --interface hf-none {ADDRESS} --target 10.77.0.1:80 --report {}", page.display());
        refused(&load, &["hf-none", "no such interface"]);
    };
    refused();
    assert!(!page.exists(), "nothing was there");
    std::fs::write(&page, "of yesterday").unwrap();
    refused();
    let left = std::fs::read_to_string(&page).unwrap();
    std::fs::remove_file(&page).unwrap();
    assert_eq!(left, "of yesterday");
}

#[test]
fn nobody_but_ones_own_lab_is_flooded() {
    let flood = "load --interface hf-none --flood syn --flood-rate 1k";
    let refused = |flags: &str, why: &str| refused(&format!("{flood} {flags}"), &["flooding ", why]);
    refused("--address 8.8.8.1/24 --target 8.8.8.8:80", "private, link-local and benchmark ranges only");
    refused("--address 10.0.0.2/24 --gateway 10.0.0.1 --target 10.9.0.1:80", "not on the link");
    refused("--address fd00::2/64 --target [fd00::1]:80", "IPv4 only");
}

#[test]
fn the_cure_names_the_command_at_hand_and_stands_alone() {
    assert!(refused("load --xyzzy", &["--xyzzy", "`handfast load --help`"]).matches("; ").count() == 1);
    assert!(refused("serve --interfac lo", &["did you mean `--interface`?"]).matches("--help").count() == 0);
    refused("walk", &["`walk`", "`handfast --help` lists the commands"]);
    refused("demo --duration 2h", &["--duration: `2h`", "write 1h at most"]);
    refused(&format!("serve --interface lo {ADDRESS} --service echo:7"), &["write echo@7"]);
    refused(&format!("serve --interface lo {ADDRESS} {ECHO} --time-wait 0s"), &["--time-wait: `0s`", "write 1ms"]);
}

#[test]
fn a_file_that_is_no_socket() {
    refused("stats --admin /etc/passwd", &["/etc/passwd", "it is no socket", "--admin SOCKET"]);
}

#[test]
fn an_admin_socket_where_nobody_serves() {
    refused("stats --admin /nowhere/h.sock", &["/nowhere/h.sock", "handfast serve"]);
    refused("stats --admin /nowhere/h.sock --json", &["/nowhere/h.sock"]);
    refused("stats --admin /nowhere/h.sock --every 1s", &["/nowhere/h.sock", "handfast serve"]);
    refused("stats --every 1ms", &["1ms", "too short", "100ms"]);
}

#[test]
fn no_privilege() {
    let Some(lab) = common::lab("no_privilege", &LabConfig::default()) else { return };
    // The same program, as nobody and without a capability, on an interface that would do; from where nobody may read it.
    let copy = std::env::temp_dir().join(format!("hf-cli-{}-unprivileged", std::process::id()));
    common::copy_program_to(&copy);
    let output = Command::new("ip")
        .args(["netns", "exec", lab.right.name(), "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg("--bounding-set=-all")
        .arg(&copy)
        .args(format!("serve --interface {RIGHT} {ADDRESS} {ECHO}").split(' '))
        .output()
        .unwrap();
    std::fs::remove_file(&copy).unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert!(line.starts_with("handfast: ") && line.lines().count() == 1, "{line}");
    assert!(line.contains("EPERM") && line.contains("root"), "{line}");
    let link = lab.right.run("ip", &["link", "show", RIGHT]).unwrap();
    assert!(!link.contains("xdp"), "nothing is left attached: {link}");
}

#[test]
fn help_and_version_are_no_errors() {
    let top = String::from_utf8(handfast("--help").stdout).unwrap();
    assert!(top.contains("Exit codes:") && top.contains("it ran, and the result is bad"), "{top}");
    let load = String::from_utf8(handfast("load --help").stdout).unwrap();
    for part in
        ["handfast load --interface IF --address CIDR --target IP:PORT", "Examples:", "TCP:", "Limits:", "cubic"]
    {
        assert!(load.contains(part), "{part}: {load}");
    }
    let sim = String::from_utf8(handfast("sim --help").stdout).unwrap();
    for part in ["Examples:", "Exit codes:", "Faults and kills end 5 s after"] {
        assert!(sim.contains(part), "{part}: {sim}");
    }
    for flags in ["--help", "--version", "serve --help", "stats --help", "doctor --help"] {
        let output = handfast(flags);
        assert_eq!(output.status.code(), Some(0), "{flags}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{flags}");
    }
    let help = String::from_utf8(handfast("serve --help").stdout).unwrap();
    for part in ["Examples:", "--interface", "--share-address", "--time-wait", "echo@7", "HANDFAST_HUGE_PAGES=1"] {
        assert!(help.contains(part), "{part}");
    }
}

#[test]
fn output_that_is_lost_is_no_success_but_a_reader_that_has_gone_is() {
    for command in ["sim --connections 5 --seed 7", "sim --connections 5 --seed 7 --json", "doctor"] {
        let run = |stdout: std::process::Stdio| {
            let mut run = Command::new(env!("CARGO_BIN_EXE_handfast"));
            run.args(command.split(' ')).stdout(stdout).output().unwrap()
        };
        let full = run(std::fs::File::create("/dev/full").unwrap().into());
        let line = String::from_utf8(full.stderr).unwrap();
        assert_eq!(full.status.code(), Some(2), "{command}: {line}");
        assert!(line.contains("writing to stdout: No space left on device"), "{command}: {line}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let gone = run(writer.into());
        let line = String::from_utf8(gone.stderr).unwrap();
        assert!(gone.status.code() != Some(2) && !line.contains("stdout"), "{command}: {line}");
    }
}

#[test]
fn help_is_broken_between_words_to_the_width_of_the_terminal() {
    for columns in [80, 120] {
        for command in ["", "serve", "load", "stats", "demo", "doctor", "sim"] {
            let mut help = Command::new(env!("CARGO_BIN_EXE_handfast"));
            help.args(command.split_whitespace()).arg("--help").env("COLUMNS", columns.to_string());
            let help = String::from_utf8(help.output().unwrap().stdout).unwrap();
            let widest = help.lines().map(|line| line.chars().count()).max();
            assert!(widest.is_some_and(|widest| widest <= columns), "{command}: {widest:?} of {columns}: {help}");
        }
    }
}

#[test]
fn a_secret_file_that_will_not_do() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("hf-errors-{}-secret", std::process::id()));
    let flags = format!("serve --interface lo {ADDRESS} {ECHO} --secret-file {}", path.display());
    refused(&flags, &["secret file", "No such file", "openssl rand -hex 16"]);
    std::fs::write(&path, "00112233445566778899aabbccddeeff").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    refused(&flags, &["others can read", "mode 644", "chmod 600"]);
    std::fs::write(&path, "0011\n").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let line = refused(&flags, &["line 1 is not 32 hexadecimal digits"]);
    assert!(!line.contains("0011"), "what may be a secret is not shown");
    std::fs::remove_file(&path).unwrap();
    refused(
        &format!("serve --interface lo {ADDRESS} {ECHO} --syn-defence maybe"),
        &["maybe", "auto, table, cookie or xdp"],
    );
    refused(&format!("serve --interface lo {ADDRESS} {ECHO} --cookie-above 0"), &["cookie-above", "from 1 to 100"]);
}
