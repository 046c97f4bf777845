//! Honest connections beside a SYN flood: how many complete, and how long their handshakes take, for Handfast in each step
//! of its defence and for the kernel with SYN cookies, under the same flood from the same generator.
//!
//! Each side's receiving work runs in a thread on that side's own core: in a veth's usual mode the server's runs on the
//! core of whoever sends, which slows the flood down and flatters the server.

use crate::compare::figure;
use crate::machine;
use crate::plot::{self, Curve, Curves, Measured, Panel, SeriesLabelPosition};
use crate::site::{self, CLIENTS, Outcome, PORT, Placement, Program, SERVER, Site, Tcp};
use crate::spread::{Spread, thousands};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use handfast::lab::RIGHT;
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the flood says it comes from (RFC 2544), and what is told to answer it.
const SPOOFED: &str = "198.18.0.0/15";
/// More than any generator here can make.
const ALL_IT_CAN: f64 = 20e6;

#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Rounds; each measures everything once
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each measurement takes
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Honest connections a second
    #[arg(long, default_value_t = 10_000)]
    honest: u64,
    /// Write all figures there as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draw them there as SVG
    #[arg(long)]
    plot: Option<PathBuf>,
}

/// Who is flooded.
const SERVERS: [&str; 5] = ["kernel", "table", "cookie", "xdp", "auto"];
const KERNEL: &str = "kernel";
/// Shares of the largest flood.
const LEVELS: [f64; 4] = [0.0, 0.1, 0.5, 1.0];

/// One server under one flood.
#[derive(Serialize)]
struct Row {
    server: &'static str,
    level: f64,
    flood_per_second: Spread,
    answered_per_second: Spread,
    honest_completed_percent: Spread,
    handshake_p50_us: Spread,
    handshake_p99_us: Spread,
    rounds: Vec<Value>,
}

#[derive(Serialize)]
struct Report {
    machine: String,
    command: String,
    honest_per_second: u64,
    largest_flood_per_second: f64,
    rows: Vec<Row>,
}

/// Measures, prints a table, and writes JSON when asked.
pub fn run(options: &Options) -> Outcome<()> {
    let largest = figure(&measure("xdp", ALL_IT_CAN, options)?, "/flood/per_second");
    eprintln!("the largest flood: {} SYNs a second", thousands(largest));
    let mut cells: Vec<Vec<Value>> = SERVERS.iter().flat_map(|_| LEVELS).map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for (at, (server, level)) in combinations().enumerate() {
            // The largest flood is whatever can be made at that moment.
            let rate = if level == 1.0 { ALL_IT_CAN } else { level * largest };
            let one = measure(server, rate, options)?;
            let completed = figure(&one, "/honest_completed_percent");
            eprintln!("  {server:<8} {:>3.0} %  {completed:>6.2} % complete", level * 100.0);
            cells[at].push(one);
        }
    }
    let rows = combinations().zip(cells).map(|((server, level), rounds)| Row::new(server, level, rounds)).collect();
    let report = Report {
        machine: machine::describe(),
        command: machine::command("veth"),
        honest_per_second: options.honest,
        largest_flood_per_second: largest,
        rows,
    };
    print!("{report}");
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)?;
    }
    if let Some(path) = &options.plot {
        report.draw(path)?;
    }
    Ok(())
}

fn combinations() -> impl Iterator<Item = (&'static str, f64)> {
    SERVERS.into_iter().flat_map(|server| LEVELS.into_iter().map(move |level| (server, level)))
}

/// Honest connections beside a flood of so many SYNs a second.
fn measure(server_is: &str, flood: f64, options: &Options) -> Outcome<Value> {
    let tcp = if server_is == KERNEL { Tcp::Kernel } else { Tcp::Handfast };
    let site = Site::new(Tcp::Handfast, tcp, Placement::Apart)?;
    site.thread_napi()?;
    let server = match tcp {
        Tcp::Kernel => flooded_kernel(&site)?,
        Tcp::Handfast => flooded_handfast(&site, server_is)?,
    };
    let load = site.handfast_client(&load_flags(flood, options))?;
    // The client's own XDP program may have started its threads anew.
    std::thread::sleep(Duration::from_millis(300));
    site.pin_napi()?;
    let mut result = load.result()?;
    server.end();
    let answered = figure(&result, "/flood/answers");
    let share = 100.0 * figure(&result, "/closed") / figure(&result, "/rate/intended").max(1.0);
    result["answered_per_second"] = (answered / options.seconds as f64).into();
    result["honest_completed_percent"] = share.into();
    Ok(result)
}

/// The kernel with SYN cookies, and a way back to where the flood says it comes from.
fn flooded_kernel(site: &Site) -> Outcome<Program> {
    site.right().run("sysctl", &["-qw", "net.ipv4.tcp_syncookies=1"])?;
    site.tell_the_server_its_neighbours()?;
    site.right().run("ip", &["route", "add", SPOOFED, "via", &site::client(0), "dev", RIGHT])?;
    let args = ["kernel-server", "--address", SERVER, "--port", &PORT.to_string()].map(String::from);
    let mut server = site.own_server(&args)?;
    server.wait_until_ready()?;
    Ok(server)
}

fn flooded_handfast(site: &Site, mode: &str) -> Outcome<Program> {
    let mut flags = site::serve_flags();
    flags.extend(["--gateway".into(), site::client(0), "--syn-defence".into(), mode.into()]);
    let mut server = site.handfast_server(&flags)?;
    server.wait_until_ready()?;
    Ok(server)
}

fn load_flags(flood: f64, options: &Options) -> Vec<String> {
    let mut flags = site::load_flags(CLIENTS);
    let (rate, duration) = (options.honest.to_string(), format!("{}s", options.seconds));
    flags.extend(["--rate", &rate, "--duration", &duration, "--connect-timeout", "3s"].map(String::from));
    if flood > 0.0 {
        let rate = (flood as u64).to_string();
        flags.extend(["--flood", "syn", "--flood-from", SPOOFED, "--flood-rate", &rate].map(String::from));
    }
    flags
}

impl Row {
    fn new(server: &'static str, level: f64, rounds: Vec<Value>) -> Row {
        let of = |path| Spread::of(&rounds.iter().map(|r| figure(r, path)).collect::<Vec<_>>());
        Row {
            server,
            level,
            flood_per_second: of("/flood/per_second"),
            answered_per_second: of("/answered_per_second"),
            honest_completed_percent: of("/honest_completed_percent"),
            handshake_p50_us: of("/handshake_us/p50"),
            handshake_p99_us: of("/handshake_us/p99"),
            rounds,
        }
    }
}

impl Report {
    fn draw(&self, path: &Path) -> Outcome<()> {
        let curves = |of: fn(&Row) -> Measured| -> Vec<Curve> {
            SERVERS
                .map(|server| {
                    let rows = self.rows.iter().filter(|row| row.server == server);
                    (called(server), rows.map(|row| (row.flood_per_second.median, of(row))).collect())
                })
                .into()
        };
        let x = "SYNs a second from strangers";
        let panel = |title: &str, y, log_y, of| {
            let legend = SeriesLabelPosition::LowerRight;
            Panel::Curves(Curves { title: title.into(), x, y, log_x: false, log_y, legend, curves: curves(of) })
        };
        let panels = [
            panel("Honest connections that complete", "%", false, |row| row.honest_completed_percent.times(1.0)),
            panel("Their handshakes, 99th percentile", "µs", true, |row| row.handshake_p99_us.times(1.0)),
            panel("Their handshakes, median", "µs", true, |row| row.handshake_p50_us.times(1.0)),
        ];
        plot::write(path, &panels, &self.note())
    }

    /// What the figures must be read with.
    fn note(&self) -> String {
        format!(
            "{} honest connections a second, SYNs sent again after 1 s, given up after 3 s; copy mode, veth, threaded \
             NAPI on each side's core; median (least–most) of {} rounds; {}; {}",
            self.honest_per_second,
            self.rows.first().map_or(0, |row| row.rounds.len()),
            self.machine,
            self.command
        )
    }
}

/// A server's name for people.
fn called(server: &str) -> String {
    if server == KERNEL { "Linux, cookies".into() } else { format!("handfast, {server}") }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header([
            "server",
            "flood",
            "SYNs/s sent",
            "answered/s",
            "honest complete %",
            "handshake p50 µs",
            "p99 µs",
        ]);
        for row in &self.rows {
            let percent = &row.honest_completed_percent;
            table.add_row([
                called(row.server),
                format!("{:.0} %", row.level * 100.0),
                row.flood_per_second.to_string(),
                row.answered_per_second.to_string(),
                format!("{:.2} ({:.2}–{:.2})", percent.median, percent.min, percent.max),
                row.handshake_p50_us.to_string(),
                row.handshake_p99_us.to_string(),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{table}")?;
        writeln!(f, "{}", self.note())
    }
}
