//! `handfast load`: opens and closes connections against a TCP server, and reports.

use super::interrupt::Interrupts;
use super::{LinkArgs, Outcome, print_json};
use crate::driver::af_xdp;
use crate::engine::{Ended, Engine, EngineConfig};
use crate::host;
use crate::load::{Crew, Finish, Gauge, Life, LoadApp, Plan, ProgressLine, Report, Results, Schedule, Until};
use crate::time::Duration;
use crate::wire::{Addr, MacAddr};
use crate::worker::Command;
use crate::{Ownership, SetupError};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

/// How long a run lasts when nothing else says so.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);
/// Local ports of a stack that has its addresses for itself.
const OWN_PORTS: (u16, u16) = (1024, 65_535);
/// How long the host may take to find out a neighbour.
const RESOLVE_WITHIN: Duration = Duration::from_secs(2);

/// Flags of `handfast load`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    link: LinkArgs,
    /// The server, as 10.0.0.2:80 or [2001:db8::2]:80
    #[arg(long, value_name = "IP:PORT")]
    target: SocketAddr,
    /// End after this many connections were started
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    connections: Option<u64>,
    /// Connections under way at once
    #[arg(long, value_name = "C", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    concurrency: u32,
    /// Start connections for this long [default: 10s, unless --connections is given]
    #[arg(long, value_name = "T", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// How long a connection may take to stand, and how long those under way at the end may take to close
    #[arg(long, value_name = "T", default_value = "5s", value_parser = humantime::parse_duration)]
    connect_timeout: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Args {
    fn plan(&self) -> Plan {
        let default_duration = self.connections.is_none().then_some(DEFAULT_DURATION);
        Plan {
            target: self.target,
            schedule: Schedule::Closed { concurrency: self.concurrency },
            life: Life::OpenClose,
            hold_first: Duration::ZERO,
            until: Until { connections: self.connections, duration: self.duration.or(default_duration) },
            grace: self.connect_timeout,
        }
    }
}

/// Runs it. Needs what [`af_xdp::open`] needs.
pub fn run(args: Args) -> Outcome {
    let interrupts = Interrupts::listen()?;
    let mut config = args.link.engine_config()?;
    config.opens = true;
    config.tcp.connect_timeout = args.connect_timeout;
    let port = args.link.port_config()?;
    let facts = host::interface(&port.interface)?;
    match config.ownership {
        Ownership::Exclusive => config.ephemeral_ports = OWN_PORTS,
        // The host answers ARP, and so it must ask as well.
        Ownership::Shared => config.neighbours.extend(ask_host(&config, facts.index, args.target)?),
    }
    let workers = facts.rx_queues;
    let run = Run::new(&args.plan(), workers);
    let engine = run.start(config, port)?;
    let (ended, interrupted) = run.finish(engine, &interrupts)?;
    let report = run.report(&ended, interrupted)?;
    if args.json {
        return print_json(&report);
    }
    println!("{report}");
    Ok(ExitCode::SUCCESS)
}

/// The next hop to the target and its Ethernet address, as the host knows it or finds it out.
fn ask_host(config: &EngineConfig, if_index: u32, target: SocketAddr) -> Result<Option<(Addr, MacAddr)>, SetupError> {
    let target = Addr::from(target.ip());
    let on_link = config.addresses.iter().any(|local| local.addr.shares_prefix(&target, local.prefix_len));
    let gateway = config.gateways.iter().copied().find(|gateway| gateway.is_v4() == target.is_v4());
    let next_hop = if on_link { Some(target) } else { gateway };
    // Without one the stack says that there is no route.
    let Some(next_hop) = next_hop else { return Ok(None) };
    let what = || format!("finding the Ethernet address of {next_hop}");
    match host::resolve(if_index, next_hop, RESOLVE_WITHIN) {
        Ok(Some(mac)) => Ok(Some((next_hop, mac))),
        Ok(None) => Err(SetupError::new(what(), "nobody answered", "is it up, and on this link?")),
        Err(e) => Err(SetupError::new(what(), e.to_string(), "run as root or with CAP_NET_ADMIN")),
    }
}

/// Whether every worker was told.
fn ask_to_finish(engine: &Engine<LoadApp>) -> bool {
    engine.handle().mailboxes().iter().all(|mailbox| mailbox.send(Command::App(Finish)).is_ok())
}

/// A run of the load generator: what is common to its workers.
pub(super) struct Run {
    plan: Plan,
    gauges: Vec<Arc<Gauge>>,
    apps: Arc<Mutex<Vec<Option<LoadApp>>>>,
}

impl Run {
    /// A run of `plan` on this many workers.
    pub fn new(plan: &Plan, workers: u32) -> Self {
        let crew = Crew::new(workers.max(1));
        let gauges: Vec<_> = (0..workers.max(1)).map(|_| Arc::new(Gauge::default())).collect();
        let shares = plan.split(workers).into_iter().zip(&gauges);
        let apps = shares.map(|(share, gauge)| Some(LoadApp::new(share, gauge.clone(), crew.clone()))).collect();
        Run { plan: *plan, gauges, apps: Arc::new(Mutex::new(apps)) }
    }

    /// The application of the worker of this index, for [`Engine::over`].
    ///
    /// # Panics
    /// If a worker asks twice, or there are more workers than the run was made for.
    pub fn apps(&self) -> impl Fn(usize) -> LoadApp + Send + Sync + 'static {
        let apps = self.apps.clone();
        move |index| apps.lock().expect("no thread panics holding it")[index].take().expect("one share for each worker")
    }

    fn start(&self, config: EngineConfig, port: af_xdp::PortConfig) -> Result<Engine<LoadApp>, SetupError> {
        Engine::start(config, port, self.apps())
    }

    /// Shows how it goes until every worker has ended; an interrupt asks them to finish. Says whether there was one.
    pub fn finish(
        &self,
        engine: Engine<LoadApp>,
        interrupts: &Interrupts,
    ) -> Result<(Ended<LoadApp>, bool), SetupError> {
        let line = ProgressLine::start(self.gauges.clone(), self.plan.until.connections, self.plan.until.duration);
        let mut interrupted = false;
        let mut running = self.gauges.len();
        while running > 0 {
            crossbeam::select! {
                recv(engine.ended()) -> _ => running -= 1,
                recv(interrupts.receiver()) -> _ => {
                    // The second one does not wait.
                    if interrupted || !ask_to_finish(&engine) {
                        engine.drain(Duration::ZERO);
                    }
                    interrupted = true;
                }
            }
        }
        drop(line);
        Ok((engine.join()?, interrupted))
    }

    /// The sum of what the workers gathered.
    ///
    /// # Errors
    /// Not one connection could be asked for.
    pub fn report(&self, ended: &Ended<LoadApp>, interrupted: bool) -> Result<Report, SetupError> {
        let mut results = Results::default();
        for worker in &ended.workers {
            results.merge(worker.app.results());
        }
        if let (0, Some(reason)) = (results.counts.opened, &results.stopped_by) {
            let cure =
                "see `--address` and `--gateway`: the target must be on-link with an address, or behind a gateway";
            return Err(SetupError::new("opening connections", reason, cure));
        }
        Ok(Report::new(self.plan.target, &results, &ended.snapshot, interrupted))
    }
}
