//! Whether a run can have as many local ports as it will use up, said before it starts.

use crate::engine::EngineConfig;
use crate::load::{CloseWith, Closer, Plan, Schedule, grouped};
use crate::time::Duration;

/// The line that says so where connections may have to wait for a port; `None` where none need to, or where nothing but the
/// target says how many there will be.
pub(super) fn too_few(plan: &Plan, config: &EngineConfig) -> Option<String> {
    let rests = config.tcp.time_wait;
    // TIME-WAIT is where a port rests, and it is that end's which closes first (RFC 9293 §3.6).
    if plan.life.closer == Closer::Server || plan.life.close_with == CloseWith::Rst {
        return None;
    }
    let (first, last) = config.ephemeral_ports;
    let ports = u64::from(last - first) + 1;
    let addresses = plan.sources.len() as u64;
    let (asked, when) = asked_within(plan, rests)?;
    if asked <= ports * addresses {
        return None;
    }
    let have = match addresses {
        1 => "one address has".to_string(),
        n => format!("each of {} addresses has", grouped(n)),
    };
    Some(format!(
        "up to {} connections are asked for{when}, and {have} {} ports, each of which rests {} in TIME-WAIT: those beyond \
         may have to wait for a port; give more `--address` (a network, as 10.0.0.0/16, stands for every host in it)",
        grouped(asked),
        grouped(ports),
        humantime::format_duration(rests),
    ))
}

/// How many connections are asked for before the first port has rested, and the words for that time.
fn asked_within(plan: &Plan, rests: Duration) -> Option<(u64, String)> {
    let Schedule::Open { rate, .. } = plan.schedule else {
        return plan.until.connections.map(|connections| (connections, String::new()));
    };
    let whole = plan.until.duration.unwrap_or(rests.max(rate.over));
    let window = whole.min(rests);
    // The rate goes one way all the time, so the busiest window is the first or the last.
    let last = rate.expected(whole) - rate.expected(whole - window);
    let asked = rate.expected(window).max(last) as u64;
    let within = format!(" within {}", humantime::format_duration(window));
    Some((plan.until.connections.map_or(asked, |connections| connections.min(asked)), within))
}

#[cfg(test)]
mod tests {
    use super::super::Args;
    use super::*;

    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        load: Args,
    }

    fn said(flags: &str) -> Option<String> {
        let all = format!("x --target 10.0.0.2:80 {flags}");
        let args = <Flags as clap::Parser>::try_parse_from(all.split_whitespace()).unwrap().load;
        let target = args.target().unwrap();
        let mut config = args.engine_config(target).unwrap();
        config.ephemeral_ports = super::super::OWN_PORTS;
        too_few(&args.plan(target, &config).unwrap(), &config)
    }

    #[test]
    fn more_connections_than_ports_are_told_with_the_cure() {
        let line = said("--address 10.0.0.3/24 --connections 64513").unwrap();
        for part in ["64,513 connections", "one address has 64,512 ports", "rests 4m", "more `--address`"] {
            assert!(line.contains(part), "`{part}` is missing in {line}");
        }
        let line = said("--address 10.0.0.3/24 10.0.0.4/24 --rate 13k --duration 10s").unwrap();
        assert!(line.contains("130,000 connections are asked for within 10s, and each of 2 addresses"), "{line}");
        for flags in ["--rate 1k --duration 5m", "--rate 100..2k --duration 5m", "--rate 2k..100 --duration 5m"] {
            assert!(said(&format!("--address 10.0.0.3/24 {flags}")).is_some(), "{flags}");
        }
    }

    #[test]
    fn nothing_is_said_where_the_ports_suffice_or_it_cannot_be_known() {
        for flags in [
            "--connections 64512",
            "--connections 100000 --close-with rst",
            "--connections 100000 --closes server",
            // As many ports have rested enough as are needed anew.
            "--connections 100000 --rate 250 --duration 10m",
            "--connections 1000 --rate 100k",
            "--rate 6k",
            "--rate 10k --duration 5m --time-wait 1s",
            "",
            "--find-max",
        ] {
            assert_eq!(said(&format!("--address 10.0.0.3/24 {flags}")), None, "{flags}");
        }
        assert_eq!(said("--address 10.0.0.0/16 --rate 10k..500k --duration 1m"), None);
    }
}
