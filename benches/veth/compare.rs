//! Connections a second in every pairing of the kernel's TCP and Handfast, and the ceiling of the link, round by round: with
//! a core for each end, and with a queue of both ends on each core.

use crate::machine;
use crate::plot::{self, Bars, Panel};
use crate::site::{self, CLIENTS, Outcome, PORT, Placement, SERVER, Site, Tcp};
use crate::spread::{Spread, thousands};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use handfast::lab::{LEFT, RIGHT};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

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
    /// Draw them there as SVG
    #[arg(long)]
    plot: Option<PathBuf>,
}

impl Options {
    /// Long enough to see that everything runs, too short for figures.
    pub fn trial() -> Options {
        Options { rounds: 1, seconds: 0.5, concurrency: 64, json: None, plot: None }
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

/// Who opens connections.
#[derive(Clone, Copy, PartialEq)]
enum Client {
    Tcp(Tcp),
    /// Frames that look like a client's, without a stack behind them.
    Raw,
}

impl Client {
    fn tcp(self) -> Tcp {
        match self {
            Client::Tcp(tcp) => tcp,
            Client::Raw => Tcp::Handfast,
        }
    }
}

/// Who plays whom, and where.
struct Pairing {
    name: &'static str,
    client: Client,
    server: Tcp,
    fin: Fin,
    placement: Placement,
    /// Connections under way, unless as asked for; where they are too many for usual rings, these are larger.
    concurrency: Option<u32>,
}

impl Pairing {
    /// A core for each end.
    const fn new(name: &'static str, client: Client, server: Tcp, fin: Fin, concurrency: Option<u32>) -> Pairing {
        Pairing { name, client, server, fin, placement: Placement::Apart, concurrency }
    }

    /// A queue of both ends on each core.
    const fn together(name: &'static str, both: Tcp, fin: Fin) -> Pairing {
        let placement = Placement::Together;
        Pairing { name, client: Client::Tcp(both), server: both, fin, placement, concurrency: None }
    }

    /// `--ring`, where a burst of all that are under way is more than a ring takes by default.
    fn ring_flags(&self) -> Vec<String> {
        let many = self.concurrency.filter(|under_way| *under_way > MANY);
        many.into_iter()
            .flat_map(|under_way| ["--ring".into(), (2 * under_way).next_power_of_two().to_string()])
            .collect()
    }
}

const STACK: Client = Client::Tcp(Tcp::Handfast);
const SOCKETS: Client = Client::Tcp(Tcp::Kernel);
/// More connections under way than this have rings made for them.
const MANY: u32 = 1_024;
/// Those with very many under way show whether bursts stall the server.
const PAIRINGS: [Pairing; 13] = [
    Pairing::new("kernel client, kernel server", SOCKETS, Tcp::Kernel, Fin::Merged, None),
    Pairing::new("handfast load, kernel server", STACK, Tcp::Kernel, Fin::Merged, None),
    Pairing::new("kernel client, handfast serve", SOCKETS, Tcp::Handfast, Fin::Merged, None),
    Pairing::new("handfast both, 7 frames", STACK, Tcp::Handfast, Fin::Separate, None),
    Pairing::new("handfast both, merged", STACK, Tcp::Handfast, Fin::Merged, None),
    Pairing::new("raw client, kernel server", Client::Raw, Tcp::Kernel, Fin::Merged, None),
    Pairing::new("raw client, handfast serve", Client::Raw, Tcp::Handfast, Fin::Merged, None),
    Pairing::new("raw client, handfast serve, 256 under way", Client::Raw, Tcp::Handfast, Fin::Merged, Some(256)),
    Pairing::new(
        "raw client, handfast serve, 4096 under way, ring 8192",
        Client::Raw,
        Tcp::Handfast,
        Fin::Merged,
        Some(4_096),
    ),
    Pairing::new("handfast both, merged, 4096 under way, ring 8192", STACK, Tcp::Handfast, Fin::Merged, Some(4_096)),
    Pairing::together("kernel client, kernel server, both cores", Tcp::Kernel, Fin::Merged),
    Pairing::together("handfast both, 7 frames, both cores", Tcp::Handfast, Fin::Separate),
    Pairing::together("handfast both, merged, both cores", Tcp::Handfast, Fin::Merged),
];

/// What is compared with what: lines of [`PAIRINGS`].
struct Match {
    placement: Placement,
    kernel: usize,
    textbook: usize,
    merged: usize,
}

const MATCHES: [Match; 2] = [
    Match { placement: Placement::Apart, kernel: 0, textbook: 3, merged: 4 },
    Match { placement: Placement::Together, kernel: 10, textbook: 11, merged: 12 },
];

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
    placements: Vec<Standing>,
}

/// How Handfast stands beside the kernel and the link, of the same placement.
#[derive(Serialize)]
struct Standing {
    placement: &'static str,
    ceiling_frames_per_second: Spread,
    textbook: Share,
    merged: Share,
}

/// Of lives of so many frames.
#[derive(Serialize)]
struct Share {
    frames: u32,
    /// Lives a second that any AF_XDP stack could reach.
    ceiling: f64,
    of_ceiling: f64,
    times_kernel: f64,
}

/// Measures, prints a table, and writes JSON when asked.
pub fn run(options: &Options) -> Outcome<()> {
    let mut lives: Vec<Vec<Value>> = PAIRINGS.iter().map(|_| Vec::new()).collect();
    let mut ceilings = MATCHES.map(|_| Vec::new());
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for (ceiling, one) in ceilings.iter_mut().zip(&MATCHES) {
            ceiling.push(reflection(options, one.placement)?);
        }
        for (number, pairing) in PAIRINGS.iter().enumerate() {
            let one = measure(pairing, options)?;
            eprintln!("  {:<40} {}", pairing.name, thousands(figure(&one, "/connections_per_second")));
            lives[number].push(one);
        }
    }
    let report = Report::new(lives, &ceilings);
    print!("{report}");
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)?;
    }
    if let Some(path) = &options.plot {
        report.draw(path)?;
    }
    Ok(())
}

fn measure(pairing: &Pairing, options: &Options) -> Outcome<Value> {
    let concurrency = pairing.concurrency.unwrap_or(options.concurrency);
    let site = Site::new(pairing.client.tcp(), pairing.server, pairing.placement)?;
    let mut server = match pairing.server {
        Tcp::Kernel => {
            let args = ["kernel-server", "--address", SERVER, "--port", &PORT.to_string()].map(String::from);
            site.own_server(&args)?
        }
        Tcp::Handfast => site.handfast_server(&serve_flags(pairing))?,
    };
    server.wait_until_ready()?;
    if pairing.client == Client::Raw && pairing.server == Tcp::Kernel {
        site.tell_the_server_its_neighbours()?;
    }
    let client = match pairing.client {
        SOCKETS => {
            let target = format!("{SERVER}:{PORT}");
            let (concurrency, seconds) = (concurrency.to_string(), options.seconds.to_string());
            let args = ["kernel-client", "--target", &target, "--concurrency", &concurrency, "--seconds", &seconds];
            site.own_client(&args.map(String::from))?
        }
        STACK => site.handfast_client(&load_flags(options, concurrency, pairing))?,
        Client::Raw => site.own_client(&raw_flags(&site, options, concurrency)?)?,
    };
    let result = client.result()?;
    server.end();
    Ok(result)
}

fn serve_flags(pairing: &Pairing) -> Vec<String> {
    let separate = (pairing.fin == Fin::Separate).then(|| "--separate-fin".into());
    // What comes in on a queue of a veth was sent on the same queue of its peer, whose answers are to come there as well.
    let stay = (pairing.placement == Placement::Together).then_some(["--sharding", "arrival"]);
    let stay = stay.into_iter().flatten().map(String::from);
    site::serve_flags().into_iter().chain(separate).chain(stay).chain(pairing.ring_flags()).collect()
}

fn load_flags(options: &Options, concurrency: u32, pairing: &Pairing) -> Vec<String> {
    let mut flags = site::load_flags(CLIENTS);
    flags.extend(["--concurrency".into(), concurrency.to_string()]);
    flags.extend(["--duration".into(), format!("{}ms", (options.seconds * 1e3) as u64)]);
    flags.extend((pairing.fin == Fin::Separate).then(|| "--separate-fin".into()));
    flags.extend(pairing.ring_flags());
    flags
}

fn raw_flags(site: &Site, options: &Options, concurrency: u32) -> Outcome<Vec<String>> {
    let (mac, port) = (site.server_mac()?, PORT.to_string());
    let (concurrency, seconds) = (concurrency.to_string(), options.seconds.to_string());
    let flags = ["raw-client", "--interface", LEFT, "--peer", SERVER, "--port", &port, "--peer-mac", &mac];
    let run = ["--concurrency", &concurrency, "--seconds", &seconds];
    Ok(flags.iter().chain(&run).map(|flag| flag.to_string()).collect())
}

/// Frames a second that bare AF_XDP carries there and back.
fn reflection(options: &Options, placement: Placement) -> Outcome<f64> {
    let site = Site::new(Tcp::Handfast, Tcp::Handfast, placement)?;
    let mac = site.server_mac()?;
    let give_way = (placement == Placement::Together).then_some("--give-way");
    let flags = |flags: &[&str]| flags.iter().copied().chain(give_way).map(String::from).collect::<Vec<_>>();
    let mut reflector = site.own_server(&flags(&["reflect", "--interface", RIGHT, "--address", SERVER]))?;
    reflector.wait_until_ready()?;
    let (ours, seconds) = (site::client(0), options.seconds.to_string());
    let blast =
        ["blast", "--interface", LEFT, "--address", &ours, "--peer", SERVER, "--peer-mac", &mac, "--seconds", &seconds];
    let result = site.own_client(&flags(&blast))?.result()?;
    let frames = figure(&result, "/frames_per_second");
    eprintln!("  {:<40} {} frames", format!("bare reflection, {}", name(placement)), thousands(frames));
    Ok(frames)
}

fn name(placement: Placement) -> &'static str {
    match placement {
        Placement::Apart => "a core each",
        Placement::Together => "both cores",
    }
}

/// A number in a result; 0 where it has none.
pub fn figure(result: &Value, path: &str) -> f64 {
    result.pointer(path).and_then(Value::as_f64).unwrap_or(0.0)
}

impl Report {
    fn new(lives: Vec<Vec<Value>>, ceilings: &[Vec<f64>]) -> Report {
        let rows: Vec<Row> =
            PAIRINGS.iter().zip(lives).map(|(pairing, rounds)| Row::new(pairing.name, rounds)).collect();
        let placements =
            MATCHES.iter().zip(ceilings).map(|(one, ceiling)| Standing::new(one, &rows, ceiling)).collect();
        Report { machine: machine::describe(), command: machine::command("veth"), placements, rows }
    }

    fn draw(&self, path: &Path) -> Outcome<()> {
        let ceilings = self.placements.iter().flat_map(|standing| {
            [&standing.textbook, &standing.merged].map(|Share { frames, ceiling, .. }| {
                (
                    format!("ceiling of the link, {frames} frames, {}", standing.placement),
                    (*ceiling, *ceiling, *ceiling),
                )
            })
        });
        let bar = |row: &Row| (row.pairing.to_string(), row.connections_per_second.times(1.0));
        let bars = self.rows.iter().map(bar).chain(ceilings).collect();
        let title = "Connections a second, opened and closed, on two cores".into();
        plot::write(path, &[Panel::Bars(Bars { title, bars })], &self.note())
    }

    /// What the figures must be read with.
    fn note(&self) -> String {
        let rounds = self.rows[0].rounds.len();
        format!("copy mode, veth; median (least–most) of {rounds} rounds; {}; {}", self.machine, self.command)
    }
}

impl Standing {
    fn new(one: &Match, rows: &[Row], ceiling: &[f64]) -> Standing {
        let ceiling = Spread::of(ceiling);
        let rate = |row: usize| rows[row].connections_per_second.median;
        let share = |row: usize, frames: u32| {
            // A reflected frame costs each end two: one that comes and one that goes. A life costs each end all of its
            // frames.
            let most = 2.0 * ceiling.median / f64::from(frames);
            Share { frames, ceiling: most, of_ceiling: rate(row) / most, times_kernel: rate(row) / rate(one.kernel) }
        };
        let (textbook, merged) = (share(one.textbook, 7), share(one.merged, 5));
        Standing { placement: name(one.placement), ceiling_frames_per_second: ceiling, textbook, merged }
    }
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}: bare AF_XDP reflection {} frames/s each way", self.placement, self.ceiling_frames_per_second)?;
        for share in [&self.textbook, &self.merged] {
            writeln!(
                f,
                "  handfast, {} frames: {:.0} % of the {} connections/s that these can carry, {:.2} times the kernel",
                share.frames,
                share.of_ceiling * 100.0,
                thousands(share.ceiling),
                share.times_kernel
            )?;
        }
        Ok(())
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
        for standing in &self.placements {
            write!(f, "{standing}")?;
        }
        writeln!(f, "{}", self.note())
    }
}
