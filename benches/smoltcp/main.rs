//! The same life on the server's side in memory, beside smoltcp: 64 lives at a time, alone and beside idle connections.
//!
//! Both verify and make checksums. Handfast has timestamps and a real TIME-WAIT of 240 s besides; smoltcp has neither.
//! smoltcp walks through its sockets for each segment, so it matters where the used ones stand: each place is measured.
//!
//! `cargo bench --bench smoltcp -- --rounds 3 --plot smoltcp.svg`

#[path = "../lives/mod.rs"]
mod lives;
#[path = "../shared/machine.rs"]
mod machine;
#[path = "../shared/plot.rs"]
mod plot;
mod server;
#[path = "../shared/spread.rs"]
mod spread;

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use lives::{BURST, Lives, Shape};
use plot::{Curves, Panel, SeriesLabelPosition};
use server::Place;
use spread::Spread;
use std::path::PathBuf;

#[derive(Parser)]
#[command(about = "Measures Handfast's engine beside smoltcp, in memory")]
struct Cli {
    /// Rounds, interleaved
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Idle connections beside those that are measured
    #[arg(long, value_delimiter = ',', default_value = "0,1000,10000,100000")]
    idle: Vec<usize>,
    /// Draw it there as SVG
    #[arg(long)]
    plot: Option<PathBuf>,
    /// What `cargo bench` passes on to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
    /// One short round without the largest crowd, to see that everything runs
    #[arg(long)]
    quick: bool,
}

const PLACES: [Place; 3] = [Place::First, Place::Middle, Place::Last];

/// Lives to measure beside so many idle connections: fewer where each takes longer.
fn lives_of(idle: usize) -> u64 {
    (50_000_000 / (250 + idle as u64)).max(2 * BURST as u64)
}

struct Row {
    idle: usize,
    beside: server::Lives,
    handfast: Vec<f64>,
    /// By the place of the used sockets.
    smoltcp: [Vec<f64>; 3],
}

impl Row {
    fn round(&mut self) {
        let mut lives = Lives::new(Shape::Textbook);
        (0..self.idle / BURST).for_each(|_| lives.open());
        let count = 200_000;
        lives.measure(count / 10, Lives::live);
        self.handfast.push(lives.measure(count, Lives::live).as_nanos() as f64 / count as f64);
        for (place, measured) in PLACES.into_iter().zip(&mut self.smoltcp) {
            self.beside.put(place);
            let count = lives_of(self.idle);
            self.beside.measure(count / 10);
            measured.push(self.beside.measure(count));
        }
    }

    /// All of smoltcp's: the median of the places, and from the best to the worst.
    fn all(&self) -> Spread {
        Spread::of(&self.smoltcp.concat())
    }

    fn best(&self) -> Spread {
        self.smoltcp
            .iter()
            .map(|measured| Spread::of(measured))
            .min_by(|a, b| a.median.total_cmp(&b.median))
            .expect("places")
    }
}

fn main() {
    let mut cli = Cli::parse();
    if cli.quick {
        (cli.rounds, cli.idle) = (1, vec![0, 1_000]);
    }
    let row = |idle: &usize| Row {
        idle: *idle,
        beside: server::Lives::new(*idle),
        handfast: vec![],
        smoltcp: Default::default(),
    };
    let mut rows: Vec<Row> = cli.idle.iter().map(row).collect();
    for round in 1..=cli.rounds {
        eprintln!("round {round} of {}", cli.rounds);
        rows.iter_mut().for_each(Row::round);
    }
    let note = format!(
        "ns a life; median (least–most) of {} rounds, smoltcp's of three places in its set as well; {}; {}",
        cli.rounds,
        machine::describe(),
        machine::command("smoltcp")
    );
    print(&rows, &note);
    if let Some(path) = &cli.plot {
        let curve =
            |of: fn(&Row) -> Spread| rows.iter().map(|row| (row.idle.max(100) as f64, of(row).times(1.0))).collect();
        let curves = vec![
            ("smoltcp".to_string(), curve(Row::all)),
            ("handfast".to_string(), curve(|row| Spread::of(&row.handfast))),
        ];
        let title = "A connection opened and closed, server side".into();
        let legend = SeriesLabelPosition::UpperLeft;
        let (x, y) = ("idle connections beside it (100: none)", "ns");
        let panel = Panel::Curves(Curves { title, x, y, log_x: true, log_y: true, legend, curves });
        plot::write(path, &[panel], &note).expect("the plot can be written");
    }
}

fn print(rows: &[Row], note: &str) {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["idle beside it", "handfast", "smoltcp", "smoltcp, best place", "ratio", "best place"]);
    let ns = |spread: &Spread| format!("{:.0} ({:.0}–{:.0})", spread.median, spread.min, spread.max);
    for row in rows {
        let (ours, all, best) = (Spread::of(&row.handfast), row.all(), row.best());
        table.add_row([
            row.idle.to_string(),
            ns(&ours),
            ns(&all),
            ns(&best),
            format!("{:.2}", all.median / ours.median),
            format!("{:.2}", best.median / ours.median),
        ]);
    }
    table.column_iter_mut().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    println!("{table}\n{note}");
}
