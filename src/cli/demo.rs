//! `handfast demo`: serve and load against each other, on this machine, and a report.
//!
//! Two network namespaces and a veth pair are made for it, and deleted afterwards. Both stacks run in this process: only
//! the sockets belong to the namespaces, entered by a thread each while they are opened. Without root or AF_XDP the same
//! runs over the in-memory link.

mod report;
mod run;

use super::interrupt::Interrupts;
use super::values::up_to_an_hour;
use super::{Outcome, print_json, say, verdict};
use crate::SetupError;
use crate::driver::memory;
use crate::driver::{XdpProgram, af_xdp};
use crate::engine::Link;
use crate::lab::{self, Lab, LabConfig, Namespace};
use crate::time::Duration;
use crate::wire::{Addr, MacAddr};
use report::{LinkKind, Report};
use run::{End, Network};

/// Frames that the in-memory link holds each way.
const MEMORY_RING: usize = 2_048;
/// Largest IP packet of the in-memory link, in octets.
const MEMORY_MTU: u16 = 1_500;

/// Flags of `handfast demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Needs root for the namespaces; without, it runs over an in-memory link.

Exit codes:
  0    it went well
  1    not one connection went well, or a ledger is not exact
  2    bad input, it could not be set up, or the output was lost
  130  cut short by a third SIGINT or SIGTERM

Examples:
  handfast demo
  handfast demo --duration 30s --json | jq .connections_per_second")]
pub struct Args {
    /// How long connections are opened
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = up_to_an_hour)]
    duration: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs it; as root over a veth pair.
pub fn run(args: Args) -> Outcome {
    let interrupts = Interrupts::listen(2)?;
    let duration = args.duration;
    let report = match over_veth(duration, &interrupts) {
        Err(Failure::NoLab(why)) => {
            eprintln!("handfast demo: {why}; running over the in-memory link instead");
            over_memory(duration, &interrupts)?
        }
        Err(Failure::Run(e)) => return Err(e),
        Ok(report) => report,
    };
    let well = report.went_well();
    if args.json {
        print_json(&report)?;
    } else {
        say(&report.to_string())?;
    }
    Ok(verdict(well))
}

enum Failure {
    /// It cannot be done over veth here.
    NoLab(SetupError),
    /// It went wrong while it ran.
    Run(SetupError),
}

fn over_veth(duration: Duration, interrupts: &Interrupts) -> Result<Report, Failure> {
    let network = Network::sized(duration, LinkKind::Veth);
    let config = LabConfig { left_addresses: Vec::new(), ..LabConfig::default() };
    // Dropped last: sockets and programs go before their namespaces.
    let lab = Lab::create(&config).map_err(Failure::NoLab)?;
    let (client, client_program) = open_in(&lab.left, lab::LEFT, network.client_addrs()).map_err(Failure::NoLab)?;
    let (server, server_program) = open_in(&lab.right, lab::RIGHT, network.server_addrs()).map_err(Failure::NoLab)?;
    let report = network.run(duration, server, client, interrupts).map_err(Failure::Run)?;
    drop((client_program, server_program));
    Ok(report)
}

/// Opens an interface of a namespace by a thread inside. The program stays attached while it is kept.
fn open_in(
    namespace: &Namespace,
    interface: &str,
    addresses: Vec<Addr>,
) -> Result<(End<af_xdp::AfXdp>, XdpProgram), SetupError> {
    let config = af_xdp::PortConfig { addresses, ..af_xdp::PortConfig::new(interface) };
    let port = namespace.inside(|| af_xdp::open(&config))??;
    Ok((End { drivers: port.drivers, link: Link { mac: port.mac, mtu: port.mtu } }, port.program))
}

fn over_memory(duration: Duration, interrupts: &Interrupts) -> Result<Report, SetupError> {
    let (a, b) = memory::link(4 * MEMORY_RING, MEMORY_RING);
    let end = |driver, last| End {
        drivers: vec![driver],
        link: Link { mac: MacAddr([0x02, 0, 0, 0, 0, last]), mtu: MEMORY_MTU },
    };
    Network::sized(duration, LinkKind::Memory).run(duration, end(a, 1), end(b, 2), interrupts)
}
