//! The kernel's TCP at both ends, by epoll: the baseline. A thread a core, each with a listener of its own that takes what
//! its core received (SO_REUSEPORT, SO_INCOMING_CPU), non-blocking sockets, batches of events; the client names its own
//! address and port for each connection, which spares the kernel the search for one.

use crate::cores;
use crate::site::{self, Outcome};
use clap::Args;
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use serde_json::json;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

/// Events taken at once.
const EVENTS: usize = 256;
/// Connections accepted before the others have their turn.
const ACCEPTS: usize = 64;
/// What is asked for, and what the answer is as long as.
const REQUEST: &[u8] = b"?";
const ANSWER: &[u8] = &[b'.'; 64];
const LISTENER: u64 = u64::MAX;
const FIRST_PORT: u16 = 1024;

#[derive(Args)]
pub struct ServerOptions {
    #[arg(long)]
    address: Ipv4Addr,
    #[arg(long)]
    port: u16,
}

#[derive(Args)]
pub struct ClientOptions {
    #[arg(long)]
    target: SocketAddrV4,
    #[arg(long)]
    concurrency: usize,
    #[arg(long)]
    seconds: f64,
    /// Whether each connection asks for something before it closes
    #[arg(long)]
    request: bool,
}

/// Serves on every core until it is killed: whoever asks gets an answer, and whoever closes is closed.
pub fn serve(options: &ServerOptions) -> Outcome<()> {
    let listeners = cores::ours().iter().map(|core| listen(options, core.id as u32)).collect::<Outcome<_>>()?;
    println!("serving");
    cores::each(listeners, serve_on).map(drop)
}

fn listen(options: &ServerOptions, core: u32) -> Outcome<OwnedFd> {
    let listener = tcp_socket()?;
    sockopt::set_socket_reuseaddr(&listener, true)?;
    sockopt::set_socket_reuseport(&listener, true)?;
    sockopt::set_socket_incoming_cpu(&listener, core)?;
    rustix::net::bind(&listener, &SocketAddrV4::new(options.address, options.port))?;
    rustix::net::listen(&listener, 65_535)?;
    Ok(listener)
}

fn serve_on(listener: OwnedFd) -> Outcome<()> {
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut connections: HashMap<u64, OwnedFd> = HashMap::new();
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        wait(&poll, &mut events, None)?;
        for event in &events {
            let key = { event.data }.u64();
            if key == LISTENER {
                accept(&poll, &listener, &mut connections)?;
            } else if connections.get(&key).is_some_and(|fd| !answer(fd)) {
                connections.remove(&key);
            }
        }
    }
}

fn accept(poll: &OwnedFd, listener: &OwnedFd, connections: &mut HashMap<u64, OwnedFd>) -> Outcome<()> {
    for _ in 0..ACCEPTS {
        match rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(fd) => {
                // The client may have closed already.
                if answer(&fd) {
                    let key = fd.as_raw_fd() as u64;
                    epoll::add(poll, &fd, EventData::new_u64(key), EventFlags::IN | EventFlags::RDHUP)?;
                    connections.insert(key, fd);
                }
            }
            Err(Errno::AGAIN) => break,
            Err(Errno::CONNABORTED | Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Answers what has come; `false` when the peer has closed, or something went wrong.
fn answer(fd: &OwnedFd) -> bool {
    let mut buffer = [0; 256];
    match rustix::net::recv(fd, &mut buffer, RecvFlags::DONTWAIT) {
        Ok((_, 0)) => false,
        Ok(_) => rustix::net::send(fd, ANSWER, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_ok(),
        Err(Errno::AGAIN | Errno::INTR) => true,
        Err(_) => false,
    }
}

/// A connection under way.
struct Life {
    fd: OwnedFd,
    start: Instant,
    established: bool,
}

struct Client<'a> {
    options: &'a ClientOptions,
    poll: OwnedFd,
    lives: HashMap<u64, Life>,
    /// The next local address and port; every `step`th address is this core's.
    next: (u8, u16),
    first: u8,
    step: u8,
    handshake_ns: Histogram<u64>,
    closed: u64,
    failed: u64,
}

/// Keeps connections under way on every core for so long, and prints what came of it.
pub fn connect(options: &ClientOptions) -> Outcome<()> {
    let step = cores::ours().len() as u8;
    let start = Instant::now();
    let clients = cores::each((0..step).collect(), |first| connect_on(options, first, step))?;
    let seconds = start.elapsed().as_secs_f64();
    let mut handshake_ns = Histogram::<u64>::new(3)?;
    for client in &clients {
        handshake_ns.add(&client.handshake_ns)?;
    }
    let at = |quantile| handshake_ns.value_at_quantile(quantile) as f64 / 1e3;
    let closed: u64 = clients.iter().map(|client| client.closed).sum();
    let report = json!({
        "closed": closed,
        "failed": clients.iter().map(|client| client.failed).sum::<u64>(),
        "seconds": seconds,
        "connections_per_second": closed as f64 / seconds,
        "handshake_us": { "p50": at(0.5), "p99": at(0.99) },
    });
    println!("{report}");
    Ok(())
}

fn connect_on(options: &ClientOptions, first: u8, step: u8) -> Outcome<Client<'_>> {
    let mut client = Client {
        options,
        poll: epoll::create(CreateFlags::CLOEXEC)?,
        lives: HashMap::new(),
        next: (first, FIRST_PORT),
        first,
        step,
        handshake_ns: Histogram::new(3)?,
        closed: 0,
        failed: 0,
    };
    let start = Instant::now();
    let until = start + Duration::from_secs_f64(options.seconds);
    let mut events = Vec::with_capacity(EVENTS);
    while Instant::now() < until {
        while client.lives.len() < options.concurrency.div_ceil(step.into()) {
            client.open()?;
        }
        events.clear();
        wait(&client.poll, &mut events, Some(Timespec { tv_sec: 0, tv_nsec: 100_000_000 }))?;
        for event in &events {
            client.on_event({ event.data }.u64(), event.flags)?;
        }
    }
    Ok(client)
}

impl Client<'_> {
    fn open(&mut self) -> Outcome<()> {
        let fd = tcp_socket()?;
        sockopt::set_socket_reuseaddr(&fd, true)?;
        let (number, port) = self.next;
        self.next = if number + self.step < site::CLIENTS {
            (number + self.step, port)
        } else {
            (self.first, port.checked_add(1).unwrap_or(FIRST_PORT))
        };
        rustix::net::bind(&fd, &SocketAddrV4::new(site::client(number).parse()?, port))?;
        let start = Instant::now();
        match rustix::net::connect(&fd, &self.options.target) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            // An older connection of that tuple is still in TIME-WAIT.
            Err(Errno::ADDRNOTAVAIL) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
        let key = fd.as_raw_fd() as u64;
        epoll::add(&self.poll, &fd, EventData::new_u64(key), EventFlags::OUT | EventFlags::IN | EventFlags::ET)?;
        self.lives.insert(key, Life { fd, start, established: false });
        Ok(())
    }

    fn on_event(&mut self, key: u64, flags: EventFlags) -> Outcome<()> {
        let Some(life) = self.lives.get_mut(&key) else { return Ok(()) };
        if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
            self.failed += 1;
            self.lives.remove(&key);
            return Ok(());
        }
        if !life.established && flags.contains(EventFlags::OUT) {
            life.established = true;
            self.handshake_ns.record(life.start.elapsed().as_nanos() as u64)?;
            if self.options.request {
                rustix::net::send(&life.fd, REQUEST, SendFlags::NOSIGNAL)?;
                return Ok(());
            }
        }
        let mut buffer = [0; 256];
        let over = match self.options.request {
            true => {
                matches!(rustix::net::recv(&life.fd, &mut buffer, RecvFlags::DONTWAIT), Ok((_, n)) if n >= ANSWER.len())
            }
            false => life.established,
        };
        if over {
            // Closing the socket sends the FIN.
            self.lives.remove(&key);
            self.closed += 1;
        }
        Ok(())
    }
}

fn tcp_socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
}

fn wait(poll: impl AsFd, events: &mut Vec<epoll::Event>, timeout: Option<Timespec>) -> Outcome<()> {
    match epoll::wait(poll, spare_capacity(events), timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
