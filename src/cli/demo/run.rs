//! Both stacks of the demo, over any link.

use super::report::{Findings, LinkKind, Report};
use crate::SetupError;
use crate::cli::interrupt::Interrupts;
use crate::cli::load::Run;
use crate::driver::Driver;
use crate::driver::tap::{Crossed, Record, Tap};
use crate::engine::{Engine, EngineConfig, Link};
use crate::ladder::{Crossing, Ladder, Side, crossings};
use crate::load::{Plan, Until};
use crate::services::{Listener, Service, Services};
use crate::stack::{Limits, LocalAddr, Transition};
use crate::stats::Snapshot;
use crate::time::Duration;
use crate::wire::{Addr, FourTuple};
use crossbeam::channel::{Receiver, RecvTimeoutError, bounded};

/// The port of RFC 863: `discard` leaves closing to the client.
const PORT: u16 = 9;
/// Connections under way at once.
const CONCURRENCY: u32 = 64;
/// Frames that each tap keeps: the first connection's life ends well before.
const TAPPED: usize = 16 * CONCURRENCY as usize;
/// Local ports of the client, for each of its addresses.
const PORTS: (u16, u16) = (1024, 65_535);
/// On-link prefix of all addresses, which are of 10.77.0.0/16.
const PREFIX_LEN: u8 = 16;
/// The server's address.
const SERVER: [u8; 4] = [10, 77, 0, 1];
/// How long the connection of the ladder stands.
const HOLD_FIRST: Duration = Duration::from_millis(5);
/// How long what is under way at the end may take to close.
const GRACE: Duration = Duration::from_secs(5);

/// One end of the link.
pub struct End<D> {
    /// Of each queue.
    pub drivers: Vec<D>,
    /// What they are attached to.
    pub link: Link,
}

/// Who has which addresses.
pub struct Network {
    kind: LinkKind,
    clients: Vec<LocalAddr>,
    most_connections: u64,
}

impl Network {
    /// Enough addresses for a client that opens connections for this long.
    ///
    /// A 4-tuple that was used rests in TIME-WAIT for 240 s, so a run needs a port for each connection: 64,512 for each
    /// client address. The rate is taken to be at most 500,000 a second over veth and 1.5 million over memory; a client that
    /// is faster than that waits for ports, and the report says so.
    pub fn sized(duration: Duration, kind: LinkKind) -> Self {
        let rate = match kind {
            LinkKind::Veth => 500_000,
            LinkKind::Memory => 1_500_000,
        };
        // Beyond TIME-WAIT's length ports come back.
        let most_connections = rate * (duration.as_secs_f64().ceil() as u64).clamp(1, 240);
        let ports = u64::from(PORTS.1 - PORTS.0) + 1;
        let addresses = most_connections.div_ceil(ports).min(4_000) as u16;
        let client = |i: u16| [10, 77, 1 + (i / 250) as u8, 1 + (i % 250) as u8];
        let clients = (0..addresses).map(|i| local(client(i))).collect();
        Network { kind, clients, most_connections }
    }

    /// The client's addresses.
    pub fn client_addrs(&self) -> Vec<Addr> {
        self.clients.iter().map(|local| local.addr).collect()
    }

    /// The server's.
    pub fn server_addrs(&self) -> Vec<Addr> {
        vec![Addr::from_v4(SERVER)]
    }

    /// Serves at one end and opens connections from the other one for this long, or until interrupted.
    ///
    /// # Errors
    /// A worker could not be started, or failed.
    pub fn run<D: Driver + Send + 'static>(
        &self,
        duration: Duration,
        server: End<D>,
        client: End<D>,
        interrupts: &Interrupts,
    ) -> Result<Report, SetupError> {
        let (server_drivers, server_taps) = tapped(server.drivers);
        let (client_drivers, client_taps) = tapped(client.drivers);
        let mut client_config = self.client_config();
        client_config.first_core = server_drivers.len();
        let load = Run::new(&plan(duration), client_drivers.len() as u32);
        let server = Engine::over(self.server_config(), server.link, server_drivers, |_| services())?;
        let client = Engine::over(client_config, client.link, client_drivers, load.apps());
        let client = client.inspect_err(|_| server.drain(Duration::ZERO))?;

        let (running, over) = bounded::<()>(0);
        let handles = (server.handle(), client.handle());
        let midway = std::thread::spawn(move || {
            sample(&over, duration.mul_f64(0.8), || Some((handles.0.snapshot().ok()?, handles.1.snapshot().ok()?)))
        });
        let finished = load.finish(client, interrupts);
        drop(running);
        server.drain(GRACE);
        let (served, finished) = (server.join()?, finished?);
        let midway = midway.join().ok().flatten();

        let client = &finished.ended;
        let ladder = ladder(
            (&frames(&client_taps), &frames(&server_taps)),
            &client.workers.iter().flat_map(|w| w.transitions.clone()).collect::<Vec<_>>(),
            &served.workers.iter().flat_map(|w| w.transitions.clone()).collect::<Vec<_>>(),
        );
        let (load, _) = load.report(&finished, None)?;
        let client = finished.ended.snapshot;
        Ok(Report::new(self.kind, load, Findings { client, server: served.snapshot, midway, ladder }))
    }

    fn server_config(&self) -> EngineConfig {
        let mut config = self.config(vec![local(SERVER)]);
        config.listen = services().ports();
        config
    }

    fn client_config(&self) -> EngineConfig {
        let mut config = self.config(self.clients.clone());
        config.opens = true;
        config.announces = false;
        config.ephemeral_ports = PORTS;
        // Every connection leaves a TIME-WAIT entry at the client, which closes first.
        config.limits.time_wait = (self.most_connections + self.most_connections / 4) as u32;
        config
    }

    fn config(&self, addresses: Vec<LocalAddr>) -> EngineConfig {
        let mut config = EngineConfig::new(addresses);
        config.limits = Limits {
            half_open: 8 * CONCURRENCY,
            connections: 64 * CONCURRENCY,
            time_wait: 65_536,
            ..Limits::default()
        };
        // The first one goes alone, so it is the same one at both ends.
        config.traced_connections = 1;
        // On one core there is nothing to choose.
        config.pin = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        config
    }
}

fn local(octets: [u8; 4]) -> LocalAddr {
    LocalAddr { addr: Addr::from_v4(octets), prefix_len: PREFIX_LEN }
}

fn services() -> Services {
    Services::new(vec![Listener { service: Service::Discard, port: PORT }], None, 1)
}

fn plan(duration: Duration) -> Plan {
    let until = Until { connections: None, duration: Some(duration) };
    Plan { hold_first: HOLD_FIRST, until, grace: GRACE, ..Plan::closed_loop((SERVER, PORT).into(), CONCURRENCY) }
}

fn tapped<D: Driver>(drivers: Vec<D>) -> (Vec<Tap<D>>, Vec<Record>) {
    drivers.into_iter().map(|driver| Tap::of_first_connection(driver, TAPPED)).unzip()
}

/// What the taps have kept, in the order of time. The taps are gone with their workers.
fn frames(taps: &[Record]) -> Vec<Crossed> {
    let mut frames: Vec<Crossed> = taps.iter().filter_map(|tap| tap.try_recv().ok()).flatten().collect();
    frames.sort_by_key(|frame| frame.at);
    frames
}

/// Takes a sample after a while, unless it is all over by then.
fn sample(
    over: &Receiver<()>,
    after: Duration,
    take: impl FnOnce() -> Option<(Snapshot, Snapshot)>,
) -> Option<(Snapshot, Snapshot)> {
    match over.recv_timeout(after) {
        Err(RecvTimeoutError::Timeout) => take(),
        _ => None,
    }
}

/// The ladder of the client's first connection, if all of it was recorded; and whether the server's tap saw the very same
/// segments.
fn ladder(
    (client_frames, server_frames): (&[Crossed], &[Crossed]),
    client_changes: &[Transition],
    server_changes: &[Transition],
) -> Option<(Ladder, bool)> {
    let tuple = client_changes.first()?.tuple;
    let seen_by_server = FourTuple {
        local_addr: tuple.remote_addr,
        remote_addr: tuple.local_addr,
        local_port: tuple.remote_port,
        remote_port: tuple.local_port,
    };
    let of = |changes: &[Transition], tuple| changes.iter().filter(|c| c.tuple == tuple).copied().collect::<Vec<_>>();
    let segments = crossings(Side::Client, &tuple, client_frames);
    let at_server = crossings(Side::Server, &seen_by_server, server_frames);
    let ends = (tuple.local(), tuple.remote());
    let ladder = Ladder::build(ends, &segments, &of(client_changes, tuple), &of(server_changes, seen_by_server))?;
    Some((ladder, same_segments(&segments, &at_server)))
}

/// Whether both taps saw the same segments from each side, in the same order of that side. The order between the two sides
/// may differ: segments pass each other on the way.
fn same_segments(a: &[Crossing], b: &[Crossing]) -> bool {
    let from = |segments: &[Crossing], side| {
        segments.iter().filter(|s| s.from == side).map(|s| (s.header, s.text_len)).collect::<Vec<_>>()
    };
    [Side::Client, Side::Server].into_iter().all(|side| from(a, side) == from(b, side))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_port_for_each_connection_of_the_run() {
        for (seconds, kind, rate) in [(5, LinkKind::Veth, 500_000), (10, LinkKind::Memory, 1_500_000)] {
            let network = Network::sized(Duration::from_secs(seconds), kind);
            let ports = network.clients.len() as u64 * (u64::from(PORTS.1 - PORTS.0) + 1);
            assert!(ports >= seconds * rate, "{kind:?}");
            let mut addresses = network.client_addrs();
            addresses.extend(network.server_addrs());
            let count = addresses.len();
            addresses.sort();
            addresses.dedup();
            assert_eq!(addresses.len(), count, "an address twice");
            assert!(addresses.iter().all(|a| a.shares_prefix(&Addr::from_v4(SERVER), PREFIX_LEN)));
        }
    }

    #[test]
    fn a_sample_is_not_taken_when_all_is_over() {
        let (running, over) = bounded::<()>(0);
        drop(running);
        assert!(sample(&over, Duration::from_secs(60), || panic!("taken")).is_none());
    }
}
