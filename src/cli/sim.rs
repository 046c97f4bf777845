//! `handfast sim`: plays simulated worlds until something is not as it must be, or all are played.

use super::values::{time, whole};
use super::{Outcome, print_json, say};
use crate::SetupError;
use crate::sim::{self, Asked, Failure, Report, SimConfig};
use crate::time::Duration;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use std::fmt::Write;
use std::process::ExitCode;

/// What is not named is drawn.
const FAULTS: &str = "Faults, a SHARE as 5% or 0.05 [default: each world draws its own, often none]";

/// Flags of `handfast sim`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Faults and kills end 5 s after the last connection of a world was to begin; then its network is whole, so that every connection \
must come to its end. Of all frames fewer are lost, therefore, than --loss says, and the like for the others.

Exit codes:
  0    nothing found
  1    something was not as it must be: what, and the one command that plays
       that world again
  2    bad input, or the output was lost

Examples:
  handfast sim
  handfast sim --connections 1M
  handfast sim --duration 1h --threads 1 --json
  handfast sim --seed 7 --loss 5% --reorder 5% --delay 10ms --kills 2
  handfast sim --seed 7 --connections 10 --per-world 10 --steps")]
pub struct Args {
    /// The seed of everything [default: a fresh one, which is shown, with --json as `seed`]
    #[arg(long, value_name = "N", value_parser = whole::<u64>(0..=u64::MAX))]
    seed: Option<u64>,
    /// Connections, over all worlds [default: 10000, unless --duration is given]
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1..=u64::MAX))]
    connections: Option<u64>,
    /// Begin worlds for this long
    #[arg(long, value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
    /// Connections of one world
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = whole::<u32>(1..=5_000))]
    per_world: u32,
    /// Hosts of one world
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = whole::<u8>(2..=100))]
    hosts: u8,
    /// Threads that play worlds [default: one for each core]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1..=1_024))]
    threads: Option<u16>,
    /// Frames that are lost
    #[arg(long, help_heading = FAULTS, value_name = "SHARE", value_parser = share)]
    loss: Option<f64>,
    /// Frames that others overtake
    #[arg(long, help_heading = FAULTS, value_name = "SHARE", value_parser = share)]
    reorder: Option<f64>,
    /// Frames that come twice
    #[arg(long, help_heading = FAULTS, value_name = "SHARE", value_parser = share)]
    duplicate: Option<f64>,
    /// Frames in which bits are flipped
    #[arg(long, help_heading = FAULTS, value_name = "SHARE", value_parser = share)]
    corrupt: Option<f64>,
    /// One-way delay
    #[arg(long, help_heading = FAULTS, value_name = "TIME", value_parser = time)]
    delay: Option<Duration>,
    /// What is added to it, at most
    #[arg(long, help_heading = FAULTS, value_name = "TIME", value_parser = time)]
    jitter: Option<Duration>,
    /// Turns before which a host stands still for up to 3 s
    #[arg(long, help_heading = FAULTS, value_name = "SHARE", value_parser = share)]
    skips: Option<f64>,
    /// Ends whose application stops reading or writing for a while
    #[arg(long, help_heading = FAULTS, value_name = "SHARE", value_parser = share)]
    stalls: Option<f64>,
    /// Turns in which the driver has room for a few frames only
    #[arg(long, help_heading = FAULTS, value_name = "SHARE", value_parser = share)]
    tx_full: Option<f64>,
    /// Time in which the path carries small frames only
    #[arg(long, help_heading = FAULTS, value_name = "SHARE", value_parser = share)]
    mtu_dips: Option<f64>,
    /// Times that a host of a world is killed
    #[arg(long, help_heading = FAULTS, value_name = "N", value_parser = whole::<u32>(0..=u64::from(u32::MAX)))]
    kills: Option<u32>,
    /// Connections over IPv6
    #[arg(long, help_heading = FAULTS, value_name = "SHARE", value_parser = share)]
    ipv6: Option<f64>,
    /// Worlds whose frames carry a VLAN tag
    #[arg(long, help_heading = FAULTS, value_name = "SHARE", value_parser = share)]
    vlans: Option<f64>,
    /// Hosts whose pool of buffers is so small that it runs out
    #[arg(long, help_heading = FAULTS, value_name = "SHARE", value_parser = share)]
    tiny_pools: Option<f64>,
    /// Worlds in which a router tells what the path carries
    #[arg(long, help_heading = FAULTS, value_name = "SHARE", value_parser = share)]
    told_mtu: Option<f64>,
    /// Show each frame on stderr; for a single world
    #[arg(long)]
    steps: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A share as people write it: `5%` or `0.05`.
fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let value = number.trim().parse::<f64>().ok().map(|value| value / unit);
    value.filter(|value| (0.0..=1.0).contains(value)).ok_or_else(|| format!("`{text}` is no share; write 5% or 0.05"))
}

impl Args {
    fn config(&self) -> Result<SimConfig, SetupError> {
        let seed = match self.seed {
            Some(seed) => seed,
            // Short, for it is to be typed again.
            None => getrandom::u32()
                .map(u64::from)
                .map_err(|e| SetupError::new("drawing a seed", e.to_string(), "choose one with --seed"))?,
        };
        let all = if self.duration.is_some() { u64::MAX / 2 } else { 10_000 };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.map_or(cores, usize::from);
        Ok(SimConfig {
            seed,
            connections: self.connections.unwrap_or(all),
            duration: self.duration,
            per_world: self.per_world,
            hosts: usize::from(self.hosts),
            threads: if self.steps { 1 } else { threads },
            asked: Asked {
                loss: self.loss,
                reorder: self.reorder,
                duplicate: self.duplicate,
                corrupt: self.corrupt,
                delay: self.delay,
                jitter: self.jitter,
                skips: self.skips,
                stalls: self.stalls,
                tx_full: self.tx_full,
                mtu_dips: self.mtu_dips,
                kills: self.kills,
                ipv6: self.ipv6,
                vlans: self.vlans,
                tiny_pools: self.tiny_pools,
                told_mtu: self.told_mtu,
            },
            steps: self.steps,
        })
    }
}

/// Runs it. Exit code 1 when something was not as it must be.
pub fn run(args: Args) -> Outcome {
    let config = args.config()?;
    let bar = progress_bar(&config, args.duration.is_none() || args.connections.is_some());
    let report = sim::run(&config, &|connections| bar.inc(connections));
    bar.finish_and_clear();
    let said = if args.json { print_json(&report).map(drop) } else { say(&page(&config, &report)) };
    let Some(failure) = &report.failure else { return said.map(|()| ExitCode::SUCCESS) };
    // What was found is told even where the rest was lost.
    eprintln!("{}", complaint(&config, failure));
    said?;
    Ok(ExitCode::from(1))
}

fn progress_bar(config: &SimConfig, ends: bool) -> ProgressBar {
    if config.steps {
        return ProgressBar::hidden();
    }
    let bar = if ends { ProgressBar::new(config.connections) } else { ProgressBar::no_length() };
    let template = "{spinner} {human_pos}/{human_len} connections {wide_bar} {per_sec} {elapsed} ({eta} left)";
    let endless = "{spinner} {human_pos} connections {per_sec} {elapsed}";
    if let Ok(style) = ProgressStyle::with_template(if ends { template } else { endless }) {
        bar.set_style(style);
    }
    bar
}

fn page(config: &SimConfig, report: &Report) -> String {
    let t = &report.tally;
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let counts = [
        ("worlds", t.worlds),
        ("connections", t.connections),
        ("octets compared", t.octets),
        ("frames", t.frames),
        ("  lost", t.lost),
        ("  reordered", t.reordered),
        ("  duplicated", t.duplicated),
        ("  corrupted", t.corrupted),
        ("connections by cookie", t.by_cookie),
        ("  tagged", t.tagged),
        ("connections over IPv6", t.ipv6),
        ("path MTUs told", t.told_mtu),
        ("octets without a buffer", t.starved),
        ("  silent peers given up", t.silent),
        ("hosts killed", t.kills),
        ("clocks skipped", t.skips),
        ("turns", t.turns),
        ("checks of everything", t.checks),
        ("simulated seconds", t.virtual_seconds),
    ];
    let endings = t.endings.iter().map(|(name, count)| (format!("ends {}", name.replace('_', " ")), *count));
    for (name, count) in counts.into_iter().map(|(name, count)| (name.to_string(), count)).chain(endings) {
        table.add_row([name, HumanCount(count).to_string()]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut page = format!("{table}\n");
    let rate = t.connections as f64 / report.seconds.max(1e-9);
    let verdict = if report.failure.is_some() { "a failure, see below" } else { "nothing found" };
    let _ = writeln!(page, "seed {}: {verdict}; {:.1} s, {rate:.0} connections/s", config.seed, report.seconds);
    page
}

/// What was wrong, and the one command that shows it again.
fn complaint(config: &SimConfig, failure: &Failure) -> String {
    let Failure { what, seed, connections, at_ns, turn, .. } = failure;
    let seconds = *at_ns as f64 / 1e9;
    let mut again = format!("handfast sim --seed {seed} --connections {connections} --per-world {}", config.per_world);
    if config.hosts != 2 {
        let _ = write!(again, " --hosts {}", config.hosts);
    }
    let a = &config.asked;
    let shares = [
        ("loss", a.loss),
        ("reorder", a.reorder),
        ("duplicate", a.duplicate),
        ("corrupt", a.corrupt),
        ("skips", a.skips),
        ("stalls", a.stalls),
        ("tx-full", a.tx_full),
        ("mtu-dips", a.mtu_dips),
        ("ipv6", a.ipv6),
        ("vlans", a.vlans),
        ("tiny-pools", a.tiny_pools),
        ("told-mtu", a.told_mtu),
    ];
    for (name, share) in shares.into_iter().filter_map(|(name, share)| Some((name, share?))) {
        let _ = write!(again, " --{name} {share}");
    }
    for (name, time) in [("delay", a.delay), ("jitter", a.jitter)].into_iter().filter_map(|(n, t)| Some((n, t?))) {
        let _ = write!(again, " --{name} '{}'", humantime::format_duration(time));
    }
    if let Some(kills) = a.kills {
        let _ = write!(again, " --kills {kills}");
    }
    format!("FAILED after {seconds:.6} simulated seconds, in turn {turn}: {what}\nreplay: {again} --steps")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_share_is_a_percentage_or_a_fraction() {
        assert_eq!((share("5%"), share("0.05"), share("100%")), (Ok(0.05), Ok(0.05), Ok(1.0)));
        for bad in ["", "%", "101%", "-1%", "2", "NaN"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn json_names_the_seed_where_nothing_was_found_as_well() {
        let config = Line::parse_from("sim --seed 7 --connections 5".split(' ')).args.config().unwrap();
        let report = sim::run(&config, &|_| {});
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["seed"], &json["failure"]), (&7.into(), &serde_json::Value::Null), "{json}");
    }

    #[test]
    fn the_command_that_is_printed_plays_the_same_world() {
        let line =
            "sim --seed 7 --connections 5000 --hosts 3 --loss 5% --delay 1ms --kills 2 --ipv6 50% --tiny-pools 1";
        let config = Line::parse_from(line.split(' ')).args.config().unwrap();
        let world = config.world(3);
        let failure = Failure {
            world: 3,
            seed: world.seed,
            connections: world.connections,
            what: String::new(),
            at_ns: 0,
            turn: 0,
        };
        let complaint = complaint(&config, &failure);
        let again = complaint.split("replay: handfast ").nth(1).unwrap().replace('\'', "");
        let again = Line::parse_from(again.split(' ')).args.config().unwrap();
        assert_eq!(again.worlds(), 1);
        let replayed = again.world(0);
        assert_eq!((replayed.seed, replayed.connections), (world.seed, world.connections));
        assert_eq!((replayed.hosts, replayed.asked), (world.hosts, world.asked));
    }
}
