//! What a shard holds: millions of TIME-WAIT entries, established connections and SYNs without an end, in memory, on one
//! core. Prints octets each (resident, as the kernel counts them), nanoseconds, and the longest turn.
//!
//! `cargo bench --bench scale -- time-wait --entries 240000000` and so on; without a subcommand a trial of each.

mod established;
#[path = "../lives/mod.rs"]
mod lives;
#[path = "../shared/machine.rs"]
mod machine;
mod rig;
mod syn_flood;
mod time_wait;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures what one shard holds")]
struct Cli {
    #[command(subcommand)]
    what: Option<What>,
    /// What `cargo bench` passes on to every benchmark
    #[arg(long, hide = true, global = true)]
    bench: bool,
    /// The trial that it makes without a subcommand anyway
    #[arg(long)]
    quick: bool,
}

#[derive(Subcommand)]
enum What {
    /// TIME-WAIT entries: octets, insert and expiry, the longest turn
    TimeWait(time_wait::Options),
    /// Idle connections: octets each
    Established(established::Options),
    /// SYNs that nobody completes: memory stays flat
    SynFlood(syn_flood::Options),
}

fn main() {
    handfast::host::huge_pages::ask();
    let cli = Cli::parse();
    if cli.what.is_some() {
        println!("{}\n{}", machine::describe(), machine::command("scale"));
    }
    match cli.what {
        Some(What::TimeWait(options)) => time_wait::run(&options),
        Some(What::Established(options)) => established::run(&options),
        Some(What::SynFlood(options)) => syn_flood::run(&options),
        // Among all benchmarks this one is a trial run.
        None => trial(),
    }
}

/// A small measurement of each kind, in processes of their own: one's memory is not another's.
fn trial() {
    let own = std::env::current_exe().expect("a running program has a path");
    for args in [
        ["time-wait", "--entries", "500000"],
        ["established", "--connections", "100000"],
        ["syn-flood", "--syns", "2000000"],
    ] {
        let status = std::process::Command::new(&own).args(args).status().expect("it ran before");
        assert!(status.success(), "{args:?}: {status}");
    }
}
