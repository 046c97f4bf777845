//! The flags of `handfast load`, and the plan that they make.

use super::flood::FloodArgs;
use super::life::LifeArgs;
use crate::cli::LinkArgs;
use crate::cli::values::{one_of, ramp, rate, some_time, target, whole};
use crate::engine::EngineConfig;
use crate::load::{Goal, Life, Plan, Rate, Schedule, Spacing, Until};
use crate::time::Duration;
use crate::{Ownership, SetupError};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// How long a run lasts when nothing else says so.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);
/// Connections under way in a closed loop when nothing else says so.
const DEFAULT_CONCURRENCY: u32 = 64;
/// At most so many are under way in an open loop when nothing else says so.
const DEFAULT_IN_FLIGHT: u32 = 65_536;
/// Where a search begins and ends when nothing else says so, a second.
const DEFAULT_SEARCH: (f64, f64) = (1e3, 4e6);
/// What a search allows the 99th percentile when nothing else says so.
const DEFAULT_SLO: Duration = Duration::from_millis(10);
/// How long it stays at each rate then.
const DEFAULT_STEP: Duration = Duration::from_secs(3);
/// The part of the connections that must go well for a search.
const SUCCESS: f64 = 0.999;

const USAGE: &str = "handfast load --interface IF --address CIDR --target IP:PORT [FLAGS]";

const EXAMPLES: &str = "\
A rate that was not reached is said, in the table and as `rate.reached` in JSON. HANDFAST_HUGE_PAGES=1 puts the tables on \
transparent huge pages, and the log says whether it could.

Exit codes:
  0    it went well
  1    not one connection went well (of a run that a signal ended: and some
       failed, or none stood), the run could not go on, a search found no rate,
       or the ledger is not exact
  2    bad input, it could not be set up, the interface went away or stands
       still, or the output was lost
  130  cut short by a third SIGINT or SIGTERM

Examples:
  handfast load --interface eth2 --address 10.0.0.3/24 --target 10.0.0.2:80 \\
      --connections 50000
  handfast load --interface eth2 --address 10.0.0.3/24 --target 10.0.0.2:80 \\
      --rate 5k --json
  handfast load --interface eth2 --address 10.0.0.0/16 --target 10.0.0.2:80 \\
      --rate 10k..500k --duration 1m
  handfast load --interface eth2 --address 10.0.0.0/16 --target 10.0.0.2:80 \\
      --find-max --slo 5ms --http /
  handfast load --interface eth2 --address 10.0.0.3/24 --target 10.0.0.2:7 \\
      --send 'ping\\n' --hold 5s --rate 2k --duration 1m
  handfast load --interface eth2 --address 10.0.0.3/24 --target 10.0.0.2:80 \\
      --rate 5k --flood syn --flood-rate 500k
  handfast load --config /etc/handfast-load.toml --report out.html";

/// Flags of `handfast load`.
#[derive(Debug, clap::Args)]
#[command(override_usage = USAGE, after_help = EXAMPLES)]
pub struct Args {
    /// The server, as 10.0.0.2:80 or [2001:db8::2]:80
    #[arg(long, value_name = "IP:PORT", value_parser = target)]
    target: Option<SocketAddr>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Write a page with all numbers and plots that needs nothing else to be read
    #[arg(long, value_name = "OUT.html")]
    pub report: Option<PathBuf>,
    #[command(flatten)]
    pace: PaceArgs,
    #[command(flatten)]
    life: LifeArgs,
    #[command(flatten)]
    pub flood: FloodArgs,
    #[command(flatten)]
    pub link: LinkArgs,
}

/// When connections are started.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Pace")]
struct PaceArgs {
    /// Start connections at this rate a second, as 10k, or a ramp from one to another over the duration, as 10k..500k,
    /// whatever becomes of those before [default: as many as --concurrency allows]
    #[arg(long, value_name = "RATE", value_parser = ramp)]
    rate: Option<(f64, f64)>,
    /// How arrivals lie within the rate: poisson (as those of many clients do) or even [default: poisson]
    #[arg(long, value_name = "HOW", value_parser = one_of::<Spacing>())]
    arrivals: Option<Spacing>,
    /// Connections under way at once, replaced as they end; with a rate: at most so many. A default gives way to
    /// --max-connections [default: 64, with a rate 65536]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=1 << 20))]
    concurrency: Option<u32>,
    /// End after this many connections were started
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1..=u64::MAX))]
    connections: Option<u64>,
    /// Start connections for this long [default: 10s, unless --connections is given]
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    duration: Option<Duration>,
    /// How long a connection may take to stand, and how long those under way at the end may take to close
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = some_time)]
    connect_timeout: Duration,
    /// Search the highest rate at which 99.9 % go well and the 99th percentile stays under --slo; --rate FROM..TO
    /// bounds it
    #[arg(long, conflicts_with_all = ["connections", "duration"])]
    find_max: bool,
    /// What a search allows the 99th percentile, from the intended start to the first octet of the answer, or to the
    /// handshake where none is awaited [default: 10ms]
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    slo: Option<Duration>,
    /// How long a search stays at each rate [default: 3s]
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    step: Option<Duration>,
    /// Seed of the arrivals [default: drawn, and reported]
    #[arg(long, value_name = "N", value_parser = whole::<u64>(0..=u64::MAX))]
    seed: Option<u64>,
    /// Frames a second each way that link and driver can carry, as measured, for the report
    #[arg(long, value_name = "RATE", value_parser = rate)]
    frame_ceiling: Option<f64>,
}

/// A search for the highest rate.
#[derive(Clone, Copy, Debug)]
pub struct SearchPlan {
    /// Where it begins and ends.
    pub between: (f64, f64),
    /// What a rate must come to.
    pub goal: Goal,
    /// How long each rate is tried.
    pub step: Duration,
    /// How long what is under way after a step may take.
    pub settle: Duration,
}

impl Args {
    /// The server, which one of our addresses must be able to reach.
    ///
    /// # Errors
    /// None was named.
    pub fn target(&self) -> Result<SocketAddr, SetupError> {
        self.target.ok_or_else(|| {
            let cure = "add `--target IP:PORT`, as `--target 10.0.0.2:80`";
            SetupError::new("reading the flags", "no target was named", cure)
        })
    }

    /// The run against `target`.
    ///
    /// # Errors
    /// Flags that contradict each other.
    pub fn plan(&self, target: SocketAddr, config: &EngineConfig) -> Result<Plan, SetupError> {
        let pace = &self.pace;
        pace.check()?;
        let default_duration = (pace.connections.is_none() && !pace.find_max).then_some(DEFAULT_DURATION);
        let duration = pace.duration.or(default_duration);
        let ours = config.addresses.iter().map(|local| IpAddr::from(local.addr));
        Ok(Plan {
            target,
            sources: ours.filter(|addr| addr.is_ipv4() == target.is_ipv4()).collect(),
            schedule: self.schedule(duration)?,
            life: Life { connect_timeout: pace.connect_timeout, ..self.life.life(target)? },
            hold_first: Duration::ZERO,
            until: Until { connections: pace.connections, duration },
            grace: pace.connect_timeout,
        })
    }

    fn schedule(&self, duration: Option<Duration>) -> Result<Schedule, SetupError> {
        let pace = &self.pace;
        let in_flight = pace.concurrency.unwrap_or(DEFAULT_IN_FLIGHT);
        let spacing = pace.arrivals.unwrap_or_default();
        if pace.find_max {
            return Ok(Schedule::Steps { spacing, in_flight, seed: self.seed()? });
        }
        let Some((from, to)) = pace.rate else {
            return Ok(Schedule::Closed { concurrency: pace.concurrency.unwrap_or(DEFAULT_CONCURRENCY) });
        };
        let over = match duration {
            _ if from == to => Duration::ZERO,
            Some(duration) => duration,
            None => {
                let cause = "a ramp goes over the duration, and none was given";
                return Err(SetupError::new("--rate", cause, "add `--duration TIME`"));
            }
        };
        let rate = Rate { from, to, over };
        Ok(Schedule::Open { rate, spacing, offset: 0.0, in_flight, seed: self.seed()? })
    }

    fn seed(&self) -> Result<u64, SetupError> {
        self.pace.seed.map_or_else(
            || {
                getrandom::u64()
                    .map_err(|e| SetupError::new("drawing a seed", e.to_string(), "give one with `--seed N`"))
            },
            Ok,
        )
    }

    /// The search, if there is to be one.
    pub fn search(&self) -> Option<SearchPlan> {
        let pace = &self.pace;
        pace.find_max.then(|| SearchPlan {
            between: match pace.rate {
                Some((from, to)) if from < to => (from, to),
                Some((from, _)) => (from, DEFAULT_SEARCH.1.max(from)),
                None => DEFAULT_SEARCH,
            },
            goal: Goal { success: SUCCESS, slo: pace.slo.unwrap_or(DEFAULT_SLO) },
            step: pace.step.unwrap_or(DEFAULT_STEP),
            settle: pace.connect_timeout,
        })
    }

    /// Whether a concurrency was asked for; else it is a default.
    pub fn asks_concurrency(&self) -> bool {
        self.pace.concurrency.is_some()
    }

    /// The frame ceiling, if it was said.
    pub fn frame_ceiling(&self) -> Option<f64> {
        self.pace.frame_ceiling
    }

    /// What the engine is told.
    ///
    /// # Errors
    /// As [`LinkArgs::engine_config_of_ranges`]; a target that no address can reach.
    pub fn engine_config(&self, target: SocketAddr) -> Result<EngineConfig, SetupError> {
        let mut config = self.link.engine_config_of_ranges(&[target.ip()])?;
        check_family(target, &config)?;
        check_not_ours(target, &config)?;
        config.opens = true;
        config.announces = false;
        config.reach = vec![target.ip().into()];
        config.tcp.connect_timeout = self.pace.connect_timeout;
        Ok(config)
    }
}

impl PaceArgs {
    /// A flag that would say nothing to anybody is a misunderstanding.
    fn check(&self) -> Result<(), SetupError> {
        let refuse = |what: &str, cause: &str, cure: &str| Err(SetupError::new(what, cause, cure));
        let of_search = [("--slo", self.slo.is_some()), ("--step", self.step.is_some())];
        let of_arrivals = [("--arrivals", self.arrivals.is_some()), ("--seed", self.seed.is_some())];
        let given =
            |flags: [(&'static str, bool); 2]| flags.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag);
        if let Some(flag) = given(of_search).filter(|_| !self.find_max) {
            return refuse(flag, "nothing is searched", "add `--find-max`");
        }
        if let Some(flag) = given(of_arrivals).filter(|_| !self.find_max && self.rate.is_none()) {
            return refuse(flag, "a closed loop starts a connection when another one is over", "add `--rate RATE`");
        }
        match self.rate {
            Some((from, to)) if self.find_max && to < from => {
                refuse("--rate", "a search goes up", &format!("write `--rate {to}..{from}`"))
            }
            _ => Ok(()),
        }
    }
}

fn check_not_ours(target: SocketAddr, config: &EngineConfig) -> Result<(), SetupError> {
    if !config.addresses.iter().any(|local| local.addr == target.ip().into()) {
        return Ok(());
    }
    let (cause, cure) = match config.ownership {
        Ownership::Exclusive => (
            "it is an `--address` of our own",
            "give the server's address with `--target`, and one that nobody has with `--address`",
        ),
        Ownership::Shared => (
            "it is an `--address` of our own and this host's: what is sent there does not come back",
            "give the address of a server on another host, or in another network namespace, with `--target`",
        ),
    };
    Err(SetupError::new(format!("target {target}"), cause, cure))
}

fn check_family(target: SocketAddr, config: &EngineConfig) -> Result<(), SetupError> {
    if config.addresses.iter().any(|local| local.addr.is_v4() == target.is_ipv4()) {
        return Ok(());
    }
    let (its, ours) = if target.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
    Err(SetupError::new(
        format!("target {target}"),
        format!("it is {its}, and every `--address` is {ours}"),
        format!("add an {its} `--address`"),
    ))
}
