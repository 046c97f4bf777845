//! Measurements over a veth pair: Handfast beside the kernel's TCP, on the same link and the same two cores, in one run.
//!
//! `benches/compare.sh` and `benches/flood.sh` run it for people; `cargo bench --bench veth -- compare --help` shows what can be set. The peers
//! (`kernel-server`, `kernel-client`, `reflect`, `blast`) are this same program, started in a namespace and on a core of
//! their own.

mod ceiling;
mod compare;
mod cores;
mod flood;
mod kernel;
#[path = "../shared/machine.rs"]
mod machine;
#[path = "../shared/plot.rs"]
mod plot;
mod raw;
mod site;
#[path = "../shared/spread.rs"]
mod spread;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures Handfast beside the kernel's TCP over a veth pair")]
struct Cli {
    #[command(subcommand)]
    what: Option<What>,
    /// What `cargo bench` passes on to every benchmark
    #[arg(long, hide = true, global = true)]
    bench: bool,
    /// A single short round, to see that everything runs
    #[arg(long)]
    quick: bool,
}

#[derive(Subcommand)]
enum What {
    /// Connections a second: kernel and Handfast in every pairing, and the ceiling of the link
    Compare(compare::Options),
    /// Honest connections beside a SYN flood: Handfast in each step of its defence, and the kernel with cookies
    Flood(flood::Options),
    /// The kernel's TCP as a server (epoll)
    #[command(hide = true)]
    KernelServer(kernel::ServerOptions),
    /// The kernel's TCP as a client (epoll)
    #[command(hide = true)]
    KernelClient(kernel::ClientOptions),
    /// A client without a stack
    #[command(hide = true)]
    RawClient(raw::Options),
    /// Sends every frame back by AF_XDP
    #[command(hide = true)]
    Reflect(ceiling::Options),
    /// Keeps frames going round by AF_XDP, and counts them
    #[command(hide = true)]
    Blast(ceiling::Options),
}

fn main() {
    let cli = Cli::parse();
    let outcome = match cli.what {
        Some(What::KernelServer(options)) => kernel::serve(&options),
        Some(What::KernelClient(options)) => kernel::connect(&options),
        Some(What::RawClient(options)) => raw::connect(&options),
        Some(What::Reflect(options)) => ceiling::reflect(&options),
        Some(What::Blast(options)) => ceiling::blast(&options),
        what if !rustix::process::geteuid().is_root() => {
            drop(what);
            eprintln!("SKIPPED: the measurements over veth: they need root for network namespaces");
            Ok(())
        }
        Some(What::Compare(options)) => compare::run(&options),
        Some(What::Flood(options)) => flood::run(&options),
        // Among all benchmarks this one is a trial run: its figures need a machine that does nothing else.
        None => compare::run(&compare::Options::trial()),
    };
    if let Err(e) = outcome {
        eprintln!("veth: {e}");
        std::process::exit(1);
    }
}
