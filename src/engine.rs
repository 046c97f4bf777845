//! The engine: a worker for each queue, on a thread and a core of its own.
//!
//! It assembles what the lower layers offer: drivers, one stack for each with secrets in common, mailboxes to reach the
//! workers, and their snapshots summed. It makes no decision about a packet.
#![forbid(unsafe_code)]

mod answering;
mod config;
mod handle;
mod link_state;
mod placement;
mod sharing;
mod steering;

pub use answering::defence_of;
pub use config::EngineConfig;
pub use handle::Handle;
pub use placement::{Interrupts, usable_cores};

use crate::SetupError;
use crate::driver::Driver;
use crate::driver::af_xdp::{self, PortConfig};
use crate::host::{self, Watch};
use crate::stack::steering::Share;
use crate::stack::{App, CookieKeys, MOST_ADDRESSES, MOST_ROUTES, Ownership, Secrets, Stack, StackConfig};
use crate::stats::{Snapshot, WorkerInfo};
use crate::time::Duration;
use crate::wire::MacAddr;
use crate::worker::{Desk, Exchange, Finished, Idle, Mailbox, Worker};
use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use std::sync::Arc;
use std::thread::JoinHandle;

/// What the drivers are attached to.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// Largest IP packet in octets.
    pub mtu: u16,
}

/// Running workers. Dropping it without [`Engine::join`] leaves them running until the process ends.
pub struct Engine<A: App> {
    handle: Handle<A::Message>,
    threads: Vec<JoinHandle<Finished<A>>>,
    ended: Receiver<usize>,
    /// Where the workers hand frames over; there when there are several.
    exchange: Option<Arc<Exchange>>,
    /// Where the host owns ARP; ends when it is dropped.
    watch: Option<Watch<()>>,
    /// Where there is an interface: what happens to it, and what they cannot bear.
    link: Option<Watch<SetupError>>,
}

/// What all workers left when they had ended.
pub struct Ended<A> {
    /// The sum of their last snapshots, with the XDP program's verdicts.
    pub snapshot: Snapshot,
    /// Each of them, in the order of the drivers.
    pub workers: Vec<Finished<A>>,
    /// Why they could not go on, where they ended for that.
    pub failure: Option<SetupError>,
}

impl<A: App + Send + 'static> Engine<A>
where
    A::Message: 'static,
{
    /// Opens the interface (`port` names it) and starts a worker on each of its queues; `make_app` is called on each
    /// worker's own thread with the worker's index.
    ///
    /// Addresses, ownership and ports of `port` are taken from `config`.
    ///
    /// # Errors
    /// An address that the host should have and has not, or the other way round; a gateway or peer that does not answer; what
    /// [`af_xdp::open`] and [`Engine::over`] say. Then nothing is left attached.
    pub fn start(
        config: EngineConfig,
        port: PortConfig,
        make_app: impl Fn(usize) -> A + Send + Sync + 'static,
    ) -> Result<Self, SetupError> {
        Self::start_behind(config, port, |_, driver| driver, make_app)
    }

    /// As [`Engine::start`]; each queue's driver is first put behind what `wrap` makes of it.
    ///
    /// # Errors
    /// As there.
    pub fn start_behind<D: Driver + Send + 'static>(
        mut config: EngineConfig,
        mut port: PortConfig,
        wrap: impl Fn(usize, af_xdp::AfXdp) -> D,
        make_app: impl Fn(usize) -> A + Send + Sync + 'static,
    ) -> Result<Self, SetupError> {
        let facts = host::interface(&port.interface)?;
        sharing::check_addresses(&config, &facts)?;
        let shared = config.ownership == Ownership::Shared;
        if shared {
            sharing::learn_from_host(&mut config, &facts)?;
            sharing::tell_taken_ports(&config, &facts);
        } else {
            sharing::follow_routes(&mut config, &facts)?;
        }
        port.ownership = config.ownership;
        port.addresses = config.addresses.iter().map(|local| local.addr).collect();
        port.tcp_ports = config.taken_ports();
        port.answers_syns = answering::is_wanted(&config, facts.driver == "veth");
        let cores = match config.pin {
            true => {
                placement::on_interface(&facts.name, facts.rx_queues as usize, config.first_core, config.interrupts)?
            }
            false => Vec::new(),
        };
        placement::tell_shared(&facts.name, &cores, config.interrupts);
        port.cores = cores.iter().map(|core| core.map(|core| core.id)).collect();
        let mut opened = af_xdp::open(&port)?;
        // Only now: some drivers forget the table when a program is attached.
        config.rss = steering::foretold(&facts.name, config.sharding, opened.drivers.len());
        let link = Link { mac: opened.mac, mtu: opened.mtu };
        let secrets = secrets(config.cookie_keys)?;
        let announces = config.announces;
        if port.answers_syns {
            answering::prepare(&mut opened.program, &config.stack_config(link, secrets))?;
        }
        let drivers = opened.drivers.into_iter().enumerate().map(|(index, driver)| wrap(index, driver)).collect();
        let mut engine = Self::prepared(config, link, drivers, Prepared { secrets, cores }, make_app)?;
        let program = opened.program.id();
        engine.handle.hold(opened.program);
        if shared {
            let handle = engine.handle();
            let watch = host::neighbour_watch(facts.index, move |addr, mac| handle.neighbour(addr, mac));
            match watch {
                Ok(watch) => engine.watch = Some(watch),
                Err(e) => return Err(engine.abandon(watch_error("the neighbours on", &facts.name, e))),
            }
        }
        match link_state::watch(&facts, program, announces, engine.handle()) {
            Ok(link) => engine.link = Some(link),
            Err(e) => return Err(engine.abandon(watch_error("interface", &facts.name, e))),
        }
        Ok(engine)
    }

    /// Starts a worker on each of these drivers. The threads live in the network namespace of the caller.
    ///
    /// # Errors
    /// More addresses than can be numbered, no randomness, or no thread to be had.
    pub fn over<D: Driver + Send + 'static>(
        config: EngineConfig,
        link: Link,
        drivers: Vec<D>,
        make_app: impl Fn(usize) -> A + Send + Sync + 'static,
    ) -> Result<Self, SetupError> {
        let secrets = secrets(config.cookie_keys)?;
        let cores = if config.pin { core_affinity::get_core_ids().unwrap_or_default() } else { Vec::new() };
        let cores = placement::in_turn(&cores, config.first_core, drivers.len());
        Self::prepared(config, link, drivers, Prepared { secrets, cores }, make_app)
    }

    fn prepared<D: Driver + Send + 'static>(
        config: EngineConfig,
        link: Link,
        drivers: Vec<D>,
        Prepared { secrets, cores }: Prepared,
        make_app: impl Fn(usize) -> A + Send + Sync + 'static,
    ) -> Result<Self, SetupError> {
        check_counts(&config)?;
        let count = drivers.len();
        let steering = Arc::new(steering::of_all(config.rss.as_ref(), config.sharding, count)?);
        let exchange = (count > 1).then(|| Exchange::new(drivers.iter().map(Driver::waker)));
        let (tell_ended, ended) = unbounded();
        let make_app = Arc::new(make_app);
        let mut threads = Vec::with_capacity(count);
        let mut mailboxes = Vec::with_capacity(count);
        let mut failure = None;
        for (index, driver) in drivers.into_iter().enumerate() {
            let plan = Plan {
                index,
                core: cores.get(index).copied().flatten(),
                stack: config.stack_config(link, secrets),
                share: Share::new(&steering, index),
                desk: exchange.as_ref().map(|exchange| exchange.desk(index)),
                idle: config.idle,
                ended: tell_ended.clone(),
            };
            let make_app = make_app.clone();
            let (tell_mailbox, mailbox) = bounded(1);
            let thread = std::thread::Builder::new()
                .name(format!("{}{index}", host::WORKER))
                .spawn(move || run_worker(plan, driver, &*make_app, tell_mailbox));
            match thread {
                Ok(thread) => threads.push(thread),
                Err(e) => failure = Some(thread_error(index, e)),
            }
            mailboxes.push(mailbox);
        }
        // They set up their tables side by side; a panic there closes the channel.
        let received = mailboxes.into_iter().enumerate().filter_map(|(index, mailbox)| match mailbox.recv() {
            Ok(mailbox) => Some(mailbox),
            Err(_) => {
                failure.get_or_insert_with(|| worker_error(index, "it ended before it began", "see the lines above"));
                None
            }
        });
        let engine =
            Engine { handle: Handle::new(received.collect()), threads, ended, exchange, watch: None, link: None };
        match failure {
            None => Ok(engine),
            Some(failure) => Err(engine.abandon(failure)),
        }
    }

    /// Ends what was started although `failure` makes it useless.
    fn abandon(self, failure: SetupError) -> SetupError {
        self.drain(Duration::ZERO);
        let _ = self.join();
        failure
    }

    /// A handle for other threads.
    pub fn handle(&self) -> Handle<A::Message> {
        self.handle.clone()
    }

    /// The sum of the workers' snapshots, see [`Handle::snapshot`].
    ///
    /// # Errors
    /// A worker did not answer.
    pub fn snapshot(&self) -> Result<Snapshot, SetupError> {
        self.handle.snapshot()
    }

    /// Asks every worker to end, see [`Handle::drain`].
    pub fn drain(&self, within: Duration) {
        self.handle.drain(within);
    }

    /// Gives the index of each worker that has ended, when it does.
    pub fn ended(&self) -> &Receiver<usize> {
        &self.ended
    }

    /// Whether every worker has ended.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits until every worker has ended, detaches the XDP program, and sums up.
    ///
    /// # Errors
    /// The workers could not go on (their interface is gone), or one panicked; the program is detached all the same.
    pub fn join(self) -> Result<Ended<A>, SetupError> {
        let mut ended = self.finish()?;
        ended.failure.take().map_or(Ok(ended), Err)
    }

    /// As [`Engine::join`], but what was counted is there also when the workers could not go on.
    ///
    /// # Errors
    /// A worker panicked.
    pub fn finish(mut self) -> Result<Ended<A>, SetupError> {
        let mut workers = Vec::with_capacity(self.threads.len());
        let (mut failure, mut panic) = (None, None);
        for (index, thread) in std::mem::take(&mut self.threads).into_iter().enumerate() {
            match thread.join() {
                Ok(finished) => {
                    if let Some(e) = &finished.failure {
                        failure.get_or_insert_with(|| driver_error(index, e));
                    }
                    workers.push(finished);
                }
                Err(_) => {
                    panic.get_or_insert_with(|| worker_error(index, "it panicked", "please report this as a bug"));
                }
            }
        }
        self.watch = None;
        // Before the program is detached by us; who watches the interface knows better what a worker has run into.
        let failure = self.link.take().and_then(Watch::stop).or(failure);
        let program = self.handle.release();
        if let Some(panic) = panic {
            return Err(panic);
        }
        let mut snapshot = Snapshot::sum(workers.iter().map(|worker| &worker.snapshot));
        if let Some(exchange) = &self.exchange {
            snapshot.close_exchange(exchange.waiting());
        }
        if let Some(program) = &program {
            snapshot.add_verdicts(&program.verdicts()?);
        }
        Ok(Ended { snapshot, workers, failure })
    }
}

/// What is found out before the workers start.
struct Prepared {
    secrets: Secrets,
    /// Of each worker, as far as it is to be pinned.
    cores: Vec<Option<core_affinity::CoreId>>,
}

/// What a worker's thread needs besides its driver.
struct Plan {
    index: usize,
    core: Option<core_affinity::CoreId>,
    stack: StackConfig,
    share: Share,
    desk: Option<Desk>,
    idle: Idle,
    ended: Sender<usize>,
}

/// Tells the engine that a worker ended, however it ended.
struct TellEnd(usize, Sender<usize>);

impl Drop for TellEnd {
    fn drop(&mut self) {
        let _ = self.1.send(self.0);
    }
}

/// The life of a worker's thread. The stack is made here, so that its memory is touched first on its own core.
fn run_worker<D: Driver, A: App>(
    plan: Plan,
    driver: D,
    make_app: &(dyn Fn(usize) -> A + Send + Sync),
    tell_mailbox: Sender<Mailbox<A::Message>>,
) -> Finished<A> {
    let _tell_end = TellEnd(plan.index, plan.ended);
    let pinned = plan.core.filter(|core| core_affinity::set_for_current(*core));
    let core = pinned.map(|core| core.id);
    let info = WorkerInfo { queue: plan.index as u32, core, memory: driver.memory(), ..WorkerInfo::default() };
    let stack = Stack::sharing(plan.stack, plan.share, make_app(plan.index), crate::clock::now());
    let (worker, mailbox) = Worker::new(driver, stack, plan.idle, info, plan.desk);
    let _ = tell_mailbox.send(mailbox);
    worker.run()
}

fn check_counts(config: &EngineConfig) -> Result<(), SetupError> {
    let (addresses, routes) = (config.addresses.len(), config.routes.len());
    let cause = if addresses > MOST_ADDRESSES {
        format!("{addresses} addresses, and a stack numbers at most {MOST_ADDRESSES}")
    } else if routes > MOST_ROUTES {
        format!("{routes} routes, and a stack knows at most {MOST_ROUTES}")
    } else {
        return Ok(());
    };
    Err(SetupError::new("setting up the stack", cause, "give it fewer"))
}

fn secrets(cookie_keys: Option<CookieKeys>) -> Result<Secrets, SetupError> {
    let mut secrets = Secrets { isn: [0; 16], flow_hash: [0; 16], cookie: CookieKeys::alone([0; 16]) };
    draw(&mut secrets.isn)?;
    draw(&mut secrets.flow_hash)?;
    match cookie_keys {
        Some(keys) => secrets.cookie = keys,
        None => draw(&mut secrets.cookie.making)?,
    }
    Ok(secrets)
}

fn draw(secret: &mut [u8]) -> Result<(), SetupError> {
    getrandom::fill(secret).map_err(|e| {
        SetupError::new("drawing the secrets", e.to_string(), "the kernel's random generator must be available")
    })
}

fn watch_error(what: &str, interface: &str, e: std::io::Error) -> SetupError {
    SetupError::of_system(format!("watching {what} {interface}"), &e, "is netlink allowed here?")
}

/// What a driver could not mend: in its own words, where it has some.
fn driver_error(index: usize, e: &std::io::Error) -> SetupError {
    match e.get_ref().and_then(|told| told.downcast_ref::<SetupError>()) {
        Some(told) => told.clone(),
        None => worker_error(index, &e.to_string(), "`ip link` shows whether the interface is there and up"),
    }
}

fn thread_error(index: usize, e: std::io::Error) -> SetupError {
    worker_error(index, &e.to_string(), "raise the limit of threads (`ulimit -u`)")
}

fn worker_error(index: usize, cause: &str, cure: &str) -> SetupError {
    SetupError::new(format!("worker {index}"), cause, cure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn what_ended_a_worker_is_told_in_the_drivers_words_where_it_has_some() {
        let told = SetupError::new("sending on eth0 queue 1", "its driver stands still", "start again");
        assert_eq!(driver_error(1, &io::Error::other(told.clone())), told);
        let gone = driver_error(1, &io::Error::from_raw_os_error(libc::ENETDOWN)).to_string();
        assert!(gone.starts_with("worker 1: ") && gone.contains("`ip link`"), "{gone}");
    }
}
