//! `handfast serve`: services on an interface, until a signal ends it in order.

use super::defence::DefenceArgs;
use super::interrupt::Interrupts;
use super::secret_file::{LOOK_EVERY, SecretFile};
use super::values::{one_of, parse_size, time};
use super::{LinkArgs, Outcome, columns, say, stats, tables, utc, verdict};
use crate::SetupError;
use crate::admin::Admin;
use crate::engine::{Ended, Engine, EngineConfig};
use crate::services::{Listener, Service, Services};
use crate::stack::steering::Sharding;
use crate::stats::{Serving, Snapshot};
use crossbeam::channel::{never, select, tick};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

const USAGE: &str = "handfast serve --interface IF --address CIDR --service NAME@PORT [FLAGS]";

const EXAMPLES: &str = "\
Exit codes:
  0    it was ended by a signal, and its ledger is exact
  1    its ledger is not exact
  2    bad input, it could not be set up, the interface went away or stands
       still, or the output was lost
  130  cut short by a second SIGINT or SIGTERM

Examples:
  handfast serve --interface eth1 --address 10.0.0.2/24 \\
      --service echo@7 --service http@80
  handfast serve --interface eth1 --address 10.0.0.2/24 --share-address \\
      --service http@8080 --http-body 64K
  handfast serve --config /etc/handfast.toml --drain 30s

A configuration file has the flags' names as keys:
  interface = \"eth1\"
  address = [\"10.0.0.2/24\"]
  service = [\"echo@7\", \"http@80\"]
  time-wait = \"60s\"

HANDFAST_HUGE_PAGES=1 puts the tables on transparent huge pages, and the log says whether it could.";

/// Flags of `handfast serve`.
#[derive(Debug, clap::Args)]
#[command(override_usage = USAGE, after_help = format!("Services: {}\n\n{EXAMPLES}", Service::names()))]
pub struct Args {
    /// Service and port that it listens on, as echo@7; may be repeated
    #[arg(long = "service", value_name = "NAME@PORT", num_args = 1..)]
    services: Vec<Listener>,
    /// Octets of the http service's page, as 64K [default: a small page]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    http_body: Option<u64>,
    /// How long open connections may take to close when a signal ends the run; then they are reset
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    drain: Duration,
    /// Socket for `handfast stats` [default: /run/handfast/IF.sock; for others than root in $XDG_RUNTIME_DIR/handfast, or
    /// without that in handfast-UID in the folder for temporary files]
    #[arg(long, value_name = "SOCKET")]
    admin: Option<PathBuf>,
    /// Whose a connection is, of several workers: by hash (the NIC's, or one of our own where that is not told), or by arrival
    /// (the worker's at whose queue its SYN comes in), for a NIC that keeps each flow on a queue but does not tell which
    #[arg(long, help_heading = "XDP", value_name = "HOW", default_value_t, value_parser = one_of::<Sharding>())]
    sharding: Sharding,
    #[command(flatten)]
    defence: DefenceArgs,
    #[command(flatten)]
    link: LinkArgs,
}

/// Runs it.
pub fn run(args: Args) -> Outcome {
    let interface = args.link.interface()?.to_string();
    args.defence.check()?;
    let mut config = args.link.engine_config()?;
    config.sharding = args.sharding;
    config.defence = args.defence.config();
    config.tcp.idle_limit = args.defence.idle_limit;
    config.tcp.idle_octets = args.defence.idle_octets.unwrap_or(config.tcp.idle_octets);
    config.answer_on_veth = args.defence.xdp_above.is_some();
    let secret = args.defence.secret_file.as_deref().map(SecretFile::open).transpose()?;
    config.cookie_keys = secret.as_ref().map(SecretFile::keys);
    check_services(&args.services)?;
    config.listen = args.services.iter().map(|listener| listener.port).collect();
    let port = args.link.port_config()?;
    let path = args.admin.clone().map_or_else(|| stats::default_socket(&interface), Ok)?;
    // A second signal does not wait.
    let interrupts = Interrupts::listen(1)?;

    let app = app_maker(&args, &config);
    let engine = Engine::start(config, port, app)?;
    let handle = engine.handle();
    let (began, since, name) = (Instant::now(), utc(SystemTime::now()), interface.clone());
    let look = move || {
        let mut snapshot = handle.snapshot()?;
        let uptime_seconds = began.elapsed().as_millis() as f64 / 1e3;
        snapshot.serving = Some(Serving { interface: name.clone(), since: since.clone(), uptime_seconds });
        Ok(snapshot)
    };
    let admin = match Admin::serve(&path, look) {
        Ok(admin) => admin,
        Err(e) => {
            // Nothing was promised yet: end at once, and detach.
            engine.drain(Duration::ZERO);
            engine.join()?;
            return Err(e);
        }
    };
    // Whoever is to be served does not suffer for it.
    if let Err(e) = say(&greeting(&args, &interface, &engine.snapshot()?)) {
        tracing::warn!("{e}");
    }
    tracing::info!("`handfast stats --admin {}` shows what it does", path.display());

    wait_for_end(&engine, &interrupts, args.drain, secret);
    let mut ended = engine.finish()?;
    drop(admin);
    let outcome = report(&ended);
    ended.failure.take().map_or(outcome, Err)
}

fn app_maker(args: &Args, config: &EngineConfig) -> impl Fn(usize) -> Services + Send + Sync + 'static {
    let (services, body, connections) = (args.services.clone(), args.http_body, config.limits.connections);
    move |_| Services::new(services.clone(), body, connections)
}

fn check_services(services: &[Listener]) -> Result<(), SetupError> {
    if services.is_empty() {
        return Err(SetupError::new(
            "reading the flags",
            "no service was named",
            format!("add `--service NAME@PORT`, as `--service echo@7`; known are {}", Service::names()),
        ));
    }
    for (index, listener) in services.iter().enumerate() {
        if let Some(other) = services[..index].iter().find(|other| other.port == listener.port) {
            return Err(SetupError::new(
                format!("service {listener}"),
                format!("port {} is taken by {other}", listener.port),
                "give each service a port of its own",
            ));
        }
    }
    Ok(())
}

/// One line: what is served where, and on what.
fn greeting(args: &Args, interface: &str, snapshot: &Snapshot) -> String {
    let list = |items: Vec<String>| items.join(", ");
    let services = list(args.services.iter().map(Listener::to_string).collect());
    let addresses = list(args.link.addresses.iter().map(|net| net.addr().to_string()).collect());
    let workers = list(
        snapshot
            .workers
            .iter()
            .map(|w| match w.core {
                Some(core) => format!("queue {} on core {core} ({})", w.queue, w.driver),
                None => format!("queue {} ({})", w.queue, w.driver),
            })
            .collect(),
    );
    let shared = if args.link.share_address { ", shared with the host" } else { "" };
    format!("serving {services} at {addresses}{shared} on {interface}: {workers}\n")
}

/// Returns when a signal came, or when a worker ended by itself; either way all are told to end. Until then the secret is
/// looked after.
fn wait_for_end(engine: &Engine<Services>, interrupts: &Interrupts, drain: Duration, mut secret: Option<SecretFile>) {
    let looks = if secret.is_some() { tick(LOOK_EVERY) } else { never() };
    let mut complained = false;
    loop {
        select! {
            recv(interrupts.receiver()) -> _ => {
                let seconds = drain.as_secs_f64();
                tracing::info!("ending: open connections have {seconds} s to close; a second signal ends at once");
                break;
            }
            // Why, is told when all have ended.
            recv(engine.ended()) -> _ => break,
            recv(looks) -> _ => {
                let looked = secret.as_mut().map_or(Ok(()), |secret| look_after(engine, secret));
                if let Err(e) = &looked
                    && !complained
                {
                    tracing::error!("the secret stays as it was, and is looked at again: {e}");
                }
                complained = looked.is_err();
            }
        }
    }
    engine.drain(drain);
}

fn look_after(engine: &Engine<Services>, secret: &mut SecretFile) -> Result<(), SetupError> {
    let before = secret.keys();
    if let Some(keys) = secret.look()? {
        engine.handle().rekey_cookies(&keys).inspect_err(|_| secret.put_back(before))?;
        tracing::info!("SYN cookies are made and opened by other keys from now on");
    }
    Ok(())
}

fn report(ended: &Ended<Services>) -> Outcome {
    let refused: u64 = ended.workers.iter().map(|worker| worker.app.sessions_refused()).sum();
    if refused > 0 {
        tracing::warn!("{refused} http connections were aborted: too many had something pending");
    }
    say(&tables::ledger(&ended.snapshot, columns()))?;
    Ok(verdict(ended.snapshot.ledger.exact))
}
