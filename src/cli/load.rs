//! `handfast load`: opens and closes connections against a TCP server, and reports.

use super::interrupt::Interrupts;
use super::values::{some_time, target, time, whole};
use super::{LinkArgs, Outcome, print_json, say, verdict};
use crate::driver::af_xdp;
use crate::engine::{Ended, Engine, EngineConfig};
use crate::host;
use crate::load::{Crew, Finish, Gauge, Life, LoadApp, Plan, ProgressLine, Report, Results, Schedule, Until};
use crate::time::Duration;
use crate::wire::Addr;
use crate::worker::Command;
use crate::{Ownership, SetupError};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// How long a run lasts when nothing else says so.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);
/// Local ports of a stack that has its addresses for itself.
const OWN_PORTS: (u16, u16) = (1024, 65_535);
/// Signals that are answered in order: finish what is under way, then end without waiting.
const PATIENCE: usize = 2;

const USAGE: &str = "handfast load --interface IF --address CIDR --target IP:PORT [OPTIONS]";

const EXAMPLES: &str = "\
Exit code 1 when not a single connection stood, when the run could not go on, or when the ledger is not exact.

Examples:
  handfast load --interface eth2 --address 10.0.0.3/24 --target 10.0.0.2:80
  handfast load --interface eth2 --address 10.0.0.3/24 --target 10.0.0.2:80 --connections 100000 --json
  handfast load --interface eth2 --address 10.0.0.3/24 --gateway 10.0.0.1 --target 192.0.2.7:80 --duration 1m
  handfast load --config /etc/handfast-load.toml --concurrency 256";

/// Flags of `handfast load`.
#[derive(Debug, clap::Args)]
#[command(override_usage = USAGE, after_help = EXAMPLES)]
pub struct Args {
    /// The server, as 10.0.0.2:80 or [2001:db8::2]:80
    #[arg(long, value_name = "IP:PORT", value_parser = target)]
    target: Option<SocketAddr>,
    /// End after this many connections were started
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1..=u64::MAX))]
    connections: Option<u64>,
    /// Connections under way at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole::<u32>(1..=1 << 20))]
    concurrency: u32,
    /// Start connections for this long [default: 10s, unless --connections is given]
    #[arg(long, value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
    /// How long a connection may take to stand, and how long those under way at the end may take to close
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = some_time)]
    connect_timeout: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    link: LinkArgs,
}

impl Args {
    fn plan(&self, target: SocketAddr) -> Plan {
        let default_duration = self.connections.is_none().then_some(DEFAULT_DURATION);
        Plan {
            target,
            schedule: Schedule::Closed { concurrency: self.concurrency },
            life: Life::OpenClose,
            hold_first: Duration::ZERO,
            until: Until { connections: self.connections, duration: self.duration.or(default_duration) },
            grace: self.connect_timeout,
        }
    }

    /// The server, which one of our addresses must be able to reach.
    fn target(&self, config: &EngineConfig) -> Result<SocketAddr, SetupError> {
        let Some(target) = self.target else {
            let cure = "add `--target IP:PORT`, as `--target 10.0.0.2:80`";
            return Err(SetupError::new("reading the flags", "no target was named", cure));
        };
        if config.addresses.iter().any(|local| local.addr.is_v4() == target.is_ipv4()) {
            return Ok(target);
        }
        let (its, ours) = if target.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
        Err(SetupError::new(
            format!("target {target}"),
            format!("it is {its}, and every `--address` is {ours}"),
            format!("add an {its} `--address`"),
        ))
    }
}

/// Runs it. Needs what [`af_xdp::open`] needs.
pub fn run(args: Args) -> Outcome {
    let mut config = args.link.engine_config()?;
    let target = args.target(&config)?;
    config.opens = true;
    config.reach = vec![Addr::from(target.ip())];
    config.tcp.connect_timeout = args.connect_timeout;
    if config.ownership == Ownership::Exclusive {
        config.ephemeral_ports = OWN_PORTS;
    }
    let port = args.link.port_config()?;
    let workers = host::interface(&port.interface)?.rx_queues;
    let interrupts = Interrupts::listen(PATIENCE)?;
    let run = Run::new(&args.plan(target), workers);
    let engine = run.start(config, port)?;
    let (ended, interrupted) = run.finish(engine, &interrupts)?;
    let report = run.report(&ended, interrupted)?;
    if args.json {
        print_json(&report)?;
    } else {
        say(&format!("{report}\n"));
    }
    Ok(verdict(report.went_well()))
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
