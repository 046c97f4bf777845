//! The doctor tries what it says, and names who is in the way.

mod common;

use handfast::doctor::{Finding, State, examine};
use handfast::driver::af_xdp::{PortConfig, open};
use handfast::lab::{LabConfig, RIGHT};

fn finding<'a>(findings: &'a [Finding], topic: &str) -> &'a Finding {
    findings.iter().find(|f| f.topic == topic).unwrap_or_else(|| panic!("{topic} in {findings:#?}"))
}

fn jit_switch() -> Option<String> {
    std::fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").ok()
}

#[test]
fn a_free_interface_is_tried_and_released_and_a_taken_one_names_its_holder() {
    let Some(lab) = common::lab("doctor", &LabConfig { queues: 2, ..Default::default() }) else { return };
    let host = jit_switch();
    let inside = || {
        for round in 0..2 {
            let findings = examine(Some(RIGHT));
            assert_eq!(finding(&findings, "AF_XDP").found, "af_xdp native copy on 2 queues", "round {round}");
            let copying = finding(&findings, "zero-copy");
            assert!(copying.state == State::Warn && copying.found.contains("0 of 2 queues"), "{copying:?}");
            let checksums = finding(&findings, "sent checksums");
            assert!(checksums.state == State::Good && checksums.found.starts_with("made here"), "{checksums:?}");
            // A veth has queues and no RSS.
            let rss = finding(&findings, "RSS");
            assert!(rss.state == State::Warn && rss.cure.as_ref().unwrap().contains("`ethtool -L hf-b rx 1 tx 1`"));
            assert_eq!(finding(&findings, "interrupts").state, State::Good);
            assert_eq!(finding(&findings, "XDP program").state, State::Good);
            // As the host says it, whose switch this namespace does not show.
            assert!(jit_switch().is_none(), "the switch is shown");
            let jit = finding(&findings, "BPF JIT");
            let state = host.as_ref().map(|switch| if switch.trim() == "0" { State::Warn } else { State::Good });
            assert!(state.is_none_or(|state| jit.state == state), "{jit:?}, and the host says {host:?}");
            assert_eq!(finding(&findings, "other XDP program").state, State::Good);
        }
        let port = open(&PortConfig::new(RIGHT)).unwrap();
        let findings = examine(Some(RIGHT));
        let attached = finding(&findings, "other XDP program");
        assert!(attached.state == State::Warn && attached.found.contains("Handfast runs on hf-b"), "{attached:?}");
        assert_eq!(finding(&findings, "AF_XDP").state, State::Unknown);
        let sockets = finding(&findings, "AF_XDP sockets");
        let me = format!("(pid {})", std::process::id());
        assert!(sockets.state != State::Good && sockets.found.contains(&me), "{}", sockets.found);
        drop(port);
    };
    lab.right.inside(inside).unwrap();
}
