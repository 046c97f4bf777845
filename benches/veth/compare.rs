//! Connections a second in every pairing of the kernel's TCP and Handfast, and the ceiling of the link, round by round.

use crate::machine;
use crate::site::{self, CLIENT_CORE, CLIENTS, Outcome, PORT, PREFIX_LEN, Program, SERVER, SERVER_CORE, Site, Tcp};
use crate::spread::{Spread, thousands};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use handfast::lab::{LEFT, RIGHT};
use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;

#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Rounds; each measures everything once
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each measurement takes
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Connections under way at once
    #[arg(long, default_value_t = 64)]
    concurrency: u32,
    /// Write all figures there as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Options {
    /// Long enough to see that everything runs, too short for figures.
    pub fn trial() -> Options {
        Options { rounds: 1, seconds: 0.5, concurrency: 64, json: None }
    }
}

/// How a connection ends on the wire.
#[derive(Clone, Copy, PartialEq)]
enum Fin {
    /// 7 frames a life: every FIN and every acknowledgement in a segment of its own.
    Separate,
    /// 5 frames: a FIN carries what is due.
    Merged,
}

/// Who plays whom.
struct Pairing {
    name: &'static str,
    client: Tcp,
    server: Tcp,
    fin: Fin,
}

const PAIRINGS: [Pairing; 6] = [
    Pairing { name: "kernel client, kernel server", client: Tcp::Kernel, server: Tcp::Kernel, fin: Fin::Merged },
    Pairing { name: "handfast load, kernel server", client: Tcp::Handfast, server: Tcp::Kernel, fin: Fin::Merged },
    Pairing { name: "kernel client, handfast serve", client: Tcp::Kernel, server: Tcp::Handfast, fin: Fin::Merged },
    Pairing { name: "handfast both, 7 frames", client: Tcp::Handfast, server: Tcp::Handfast, fin: Fin::Separate },
    Pairing { name: "handfast both, merged", client: Tcp::Handfast, server: Tcp::Handfast, fin: Fin::Merged },
    Pairing {
        name: "handfast both, merged, 4096 under way",
        client: Tcp::Handfast,
        server: Tcp::Handfast,
        fin: Fin::Merged,
    },
];
/// In flight in the last pairing: where a burst is more than a ring takes, others stall.
const MANY: u32 = 4_096;
const KERNEL: usize = 0;
const TEXTBOOK: usize = 3;
const MERGED: usize = 4;

/// What the rounds gave for one pairing.
#[derive(Serialize)]
struct Row {
    pairing: &'static str,
    connections_per_second: Spread,
    handshake_p50_us: Spread,
    handshake_p99_us: Spread,
    frames_per_connection: f64,
    failed: u64,
    rounds: Vec<Value>,
}

#[derive(Serialize)]
struct Report {
    machine: String,
    command: String,
    rows: Vec<Row>,
    ceiling_frames_per_second: Spread,
    /// What any AF_XDP stack could reach with 4 frames one way, and with 3.
    ceiling_textbook: f64,
    ceiling_merged: f64,
    share_of_ceiling_textbook: f64,
    share_of_ceiling_merged: f64,
    times_kernel_textbook: f64,
    times_kernel_merged: f64,
}

/// Measures, prints a table, and writes JSON when asked.
pub fn run(options: &Options) -> Outcome<()> {
    let mut lives: Vec<Vec<Value>> = PAIRINGS.iter().map(|_| Vec::new()).collect();
    let mut ceiling = Vec::new();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        ceiling.push(reflection(options)?);
        for (number, pairing) in PAIRINGS.iter().enumerate() {
            let concurrency = if number > MERGED { MANY } else { options.concurrency };
            let one = measure(pairing, options, concurrency)?;
            eprintln!("  {:<40} {}", pairing.name, thousands(figure(&one, "/connections_per_second")));
            lives[number].push(one);
        }
    }
    let report = Report::new(lives, &ceiling);
    print!("{report}");
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)?;
    }
    Ok(())
}

fn measure(pairing: &Pairing, options: &Options, concurrency: u32) -> Outcome<Value> {
    let site = Site::new(pairing.client, pairing.server)?;
    let mut server = match pairing.server {
        Tcp::Kernel => {
            let args = ["kernel-server", "--address", SERVER, "--port", &PORT.to_string()].map(String::from);
            Program::own(site.right(), SERVER_CORE, &args)?
        }
        Tcp::Handfast => Program::handfast(site.right(), SERVER_CORE, &serve_flags(pairing.fin))?,
    };
    server.wait_until_ready()?;
    let client = match pairing.client {
        Tcp::Kernel => {
            let target = format!("{SERVER}:{PORT}");
            let (concurrency, seconds) = (concurrency.to_string(), options.seconds.to_string());
            let args = ["kernel-client", "--target", &target, "--concurrency", &concurrency, "--seconds", &seconds];
            Program::own(site.left(), CLIENT_CORE, &args.map(String::from))?
        }
        Tcp::Handfast => Program::handfast(site.left(), CLIENT_CORE, &load_flags(options, concurrency, pairing.fin))?,
    };
    let result = client.result()?;
    server.end();
    Ok(result)
}

fn serve_flags(fin: Fin) -> Vec<String> {
    let admin = std::env::temp_dir().join(format!("hf-bench-{}.sock", std::process::id()));
    let mut flags: Vec<String> = ["serve", "--interface", RIGHT, "--address"].map(String::from).into();
    flags.push(format!("{SERVER}/{PREFIX_LEN}"));
    flags.extend(["--service".into(), format!("discard@{PORT}")]);
    flags.extend(["--admin".into(), admin.to_string_lossy().into_owned()]);
    flags.extend((fin == Fin::Separate).then(|| "--separate-fin".into()));
    flags
}

fn load_flags(options: &Options, concurrency: u32, fin: Fin) -> Vec<String> {
    let mut flags: Vec<String> = ["load", "--json", "--interface", LEFT, "--target"].map(String::from).into();
    flags.push(format!("{SERVER}:{PORT}"));
    for number in 0..CLIENTS {
        flags.extend(["--address".into(), format!("{}/{PREFIX_LEN}", site::client(number))]);
    }
    flags.extend(["--concurrency".into(), concurrency.to_string()]);
    flags.extend(["--duration".into(), format!("{}ms", (options.seconds * 1e3) as u64)]);
    flags.extend((fin == Fin::Separate).then(|| "--separate-fin".into()));
    flags
}

/// Frames a second that bare AF_XDP carries there and back.
fn reflection(options: &Options) -> Outcome<f64> {
    let site = Site::new(Tcp::Handfast, Tcp::Handfast)?;
    let mac = site.right().run("cat", &[&format!("/sys/class/net/{RIGHT}/address")])?;
    let reflect = ["reflect", "--interface", RIGHT, "--address", SERVER].map(String::from);
    let mut reflector = Program::own(site.right(), SERVER_CORE, &reflect)?;
    reflector.wait_until_ready()?;
    let (ours, seconds) = (site::client(0), options.seconds.to_string());
    let blast = [
        "blast",
        "--interface",
        LEFT,
        "--address",
        &ours,
        "--peer",
        SERVER,
        "--peer-mac",
        mac.trim(),
        "--seconds",
        &seconds,
    ];
    let result = Program::own(site.left(), CLIENT_CORE, &blast.map(String::from))?.result()?;
    let frames = figure(&result, "/frames_per_second");
    eprintln!("  {:<40} {} frames", "bare reflection", thousands(frames));
    Ok(frames)
}

/// A number in a result; 0 where it has none.
fn figure(result: &Value, path: &str) -> f64 {
    result.pointer(path).and_then(Value::as_f64).unwrap_or(0.0)
}

impl Report {
    fn new(lives: Vec<Vec<Value>>, ceiling: &[f64]) -> Report {
        let rows: Vec<Row> =
            PAIRINGS.iter().zip(lives).map(|(pairing, rounds)| Row::new(pairing.name, rounds)).collect();
        let ceiling = Spread::of(ceiling);
        let rate = |row: usize| rows[row].connections_per_second.median;
        let (ceiling_textbook, ceiling_merged) = (ceiling.median / 4.0, ceiling.median / 3.0);
        Report {
            machine: machine::describe(),
            command: machine::command(),
            ceiling_frames_per_second: ceiling,
            ceiling_textbook,
            ceiling_merged,
            share_of_ceiling_textbook: rate(TEXTBOOK) / ceiling_textbook,
            share_of_ceiling_merged: rate(MERGED) / ceiling_merged,
            times_kernel_textbook: rate(TEXTBOOK) / rate(KERNEL),
            times_kernel_merged: rate(MERGED) / rate(KERNEL),
            rows,
        }
    }
}

impl Row {
    fn new(pairing: &'static str, rounds: Vec<Value>) -> Row {
        let of = |path| Spread::of(&rounds.iter().map(|r| figure(r, path)).collect::<Vec<_>>());
        let failures = |r: &Value| match r.get("failed") {
            Some(Value::Object(kinds)) => kinds.values().filter_map(Value::as_u64).sum(),
            other => other.and_then(Value::as_u64).unwrap_or(0),
        };
        Row {
            pairing,
            connections_per_second: of("/connections_per_second"),
            handshake_p50_us: of("/handshake_us/p50"),
            handshake_p99_us: of("/handshake_us/p99"),
            frames_per_connection: of("/frames_per_connection").median,
            failed: rounds.iter().map(failures).sum(),
            rounds,
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(["", "connections/s", "handshake p50 µs", "p99 µs", "frames each", "failed"]);
        for row in &self.rows {
            table.add_row([
                row.pairing.to_string(),
                row.connections_per_second.to_string(),
                row.handshake_p50_us.to_string(),
                row.handshake_p99_us.to_string(),
                if row.frames_per_connection > 0.0 { format!("{:.2}", row.frames_per_connection) } else { "".into() },
                row.failed.to_string(),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{table}")?;
        writeln!(
            f,
            "bare AF_XDP reflection: {} frames/s each way, so at most {} connections/s at 4 frames from the client, \
                     {} at 3",
            self.ceiling_frames_per_second,
            thousands(self.ceiling_textbook),
            thousands(self.ceiling_merged)
        )?;
        for (what, share, times) in [
            ("7 frames", self.share_of_ceiling_textbook, self.times_kernel_textbook),
            ("merged", self.share_of_ceiling_merged, self.times_kernel_merged),
        ] {
            writeln!(f, "handfast, {what}: {:.0} % of the ceiling, {times:.2} times the kernel", share * 100.0)?;
        }
        writeln!(
            f,
            "copy mode, veth; median (least–most) of {} rounds; {}; {}",
            self.rows[0].rounds.len(),
            self.machine,
            self.command
        )
    }
}
