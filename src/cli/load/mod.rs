//! `handfast load`: opens and closes connections against a TCP server, and reports.

mod args;
mod flood;
mod life;
mod origin;
mod page;
mod ports;
mod room;
mod run;
mod search;

pub use args::Args;
pub(super) use run::{Finished, Run};

use super::interrupt::Interrupts;
use super::{Outcome, print_json, say, verdict};
use crate::driver::af_xdp::PortConfig;
use crate::driver::{OwnFlood, Verdict};
use crate::engine::{Engine, EngineConfig};
use crate::host::{self, InterfaceFacts};
use crate::load::flood::{Answers, Flood, FloodGauge, Flooding};
use crate::load::{LoadApp, Report, Results, Search};
use crate::{Ownership, SetupError};
use page::PageFile;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Local ports of a stack that has its addresses for itself.
const OWN_PORTS: (u16, u16) = (1024, 65_535);
/// Signals that are answered in order: finish what is under way, then end without waiting.
const PATIENCE: usize = 2;

/// Runs it. Needs what [`af_xdp::open`](crate::driver::af_xdp::open) needs.
/// `command` is what was typed, with what the configuration file said, for the report.
pub fn run(args: Args, command: &[OsString]) -> Outcome {
    let target = args.target()?;
    let mut config = args.engine_config(target)?;
    let plan = args.plan(target, &config)?;
    let flood = args.flood.flood(target, &config)?;
    if config.ownership == Ownership::Exclusive {
        config.ephemeral_ports = OWN_PORTS;
    }
    if let Some(line) = ports::too_few(&plan, &config) {
        tracing::warn!("{line}");
    }
    let page = args.report.as_deref().map(PageFile::create).transpose()?;
    let mut port = args.link.port_config()?;
    let facts = host::interface(&port.interface)?;
    check_not_the_hosts(target, &facts)?;
    port.own_flood = flood.map(|flood| flood.own_flood()).filter(|flood| !is_the_host_in(flood, &facts));
    let workers = facts.rx_queues;
    let plan = room::fit(plan, args.asks_concurrency(), workers, config.limits.connections)?;
    let interrupts = Interrupts::listen(PATIENCE)?;
    let run = Run::new(&plan, workers);
    let way_back = flood::way_back(target, &config);
    let floods = Floods { way_back, are_counted: port.own_flood.is_some(), ..Floods::new(flood, workers) };
    let origin = origin::origin(command, &plan, &facts);
    let engine = floods.start(&run, config, port)?;
    let search = args.search().map(|plan| search::start(engine.handle(), plan)).transpose().map_err(thread_error)?;
    let mut finished = run.finish(engine, &interrupts)?;
    let search = search.map(|thread| thread.join().expect("the search does not panic"));
    let (mut report, results) = report(&args, &run, &finished, search.as_ref(), &floods)?;
    report.origin = Some(origin);
    let said = if args.json { print_json(&report).map(drop) } else { say(&format!("{report}\n")) };
    // Whichever of the two is lost, the other one is not.
    if let Some(page) = page {
        page.write(&report, &results.latencies, &finished.watched.timeline)?;
    }
    said?;
    finished.ended.failure.take().map_or(Ok(verdict(report.went_well())), Err)
}

fn report(
    args: &Args,
    run: &Run,
    finished: &Finished,
    search: Option<&Search>,
    floods: &Floods,
) -> Result<(Report, Results), SetupError> {
    let (mut report, results) = run.report(finished, args.frame_ceiling())?;
    if let Some(search) = search {
        report.searched(search);
    }
    let answers = finished.ended.snapshot.xdp.get(<&str>::from(Verdict::FloodAnswer)).copied().unwrap_or(0);
    let answers = Answers { counted: floods.are_counted.then_some(answers), way_back: floods.way_back };
    report.flood = floods.flood.map(|flood| flood.report(&floods.gauges, answers));
    Ok((report, results))
}

/// What leaves by an interface does not come back to it.
fn check_not_the_hosts(target: SocketAddr, facts: &InterfaceFacts) -> Result<(), SetupError> {
    if !facts.addresses.iter().any(|(addr, _)| *addr == target.ip().into()) {
        return Ok(());
    }
    let cause = format!("it is this host's own, on {}: what is sent there does not come back", facts.name);
    let cure = "load from another host, or over a veth pair from another network namespace";
    Err(SetupError::new(format!("target {target}"), cause, cure))
}

/// Whether the host has an address of its own among the flood's sources: its answers are the kernel's then.
fn is_the_host_in(flood: &OwnFlood, facts: &InterfaceFacts) -> bool {
    let mut addresses = facts.addresses.iter().filter_map(|(addr, _)| addr.v4());
    addresses.any(|addr| flood.sources.contains(&Ipv4Addr::from(addr)))
}

fn thread_error(e: std::io::Error) -> SetupError {
    SetupError::new("starting the search", e.to_string(), "raise the limit of threads (`ulimit -u`)")
}

/// The flood's share of each worker, if there is one.
struct Floods {
    flood: Option<Flood>,
    gauges: Vec<Arc<FloodGauge>>,
    /// Whether the answers are ours, and counted.
    are_counted: bool,
    /// Our address by way of which the target answers to us.
    way_back: Option<Ipv4Addr>,
}

impl Floods {
    fn new(flood: Option<Flood>, workers: u32) -> Self {
        let gauges = (0..if flood.is_some() { workers.max(1) } else { 0 }).map(|_| Arc::default()).collect();
        Floods { flood, gauges, are_counted: false, way_back: None }
    }

    /// Starts the workers, each with its share of the flood behind its driver.
    fn start(&self, run: &Run, config: EngineConfig, port: PortConfig) -> Result<Engine<LoadApp>, SetupError> {
        let Some(flood) = self.flood else { return Engine::start(config, port, run.apps()) };
        let (gauges, measured) = (self.gauges.clone(), run.gauges().to_vec());
        let share = flood.share(gauges.len());
        let seed = getrandom::u64().map_err(|e| {
            SetupError::new("drawing a seed", e.to_string(), "the kernel's random generator must be available")
        })?;
        let wrap = move |index: usize, driver| {
            Flooding::new(
                driver,
                share,
                seed.wrapping_add(index as u64),
                gauges[index].clone(),
                measured[index].clone(),
            )
        };
        Engine::start_behind(config, port, wrap, run.apps())
    }
}
