//! A client without a stack: it knows the life of a connection that goes well, SYN, then FIN on the SYN-ACK's
//! acknowledgement, then the last ACK; and how to end at the server what a lost frame has left there of another. It costs
//! next to nothing, so what it measures is the server.

use crate::ceiling::{ETHERNET, send_or_release};
use crate::site::{self, Outcome};
use clap::Args;
use handfast::Ownership;
use handfast::driver::af_xdp::{AfXdp, PortConfig, open};
use handfast::driver::{Driver, Frame};
use handfast::wire::Addr;
use hdrhistogram::Histogram;
use serde_json::json;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Frames received at once.
const BURST: usize = 64;
/// Ports that a place uses in turn, so that a frame of its last life is not taken for one of this life.
const PORTS_EACH: u32 = 8;
const FIRST_PORT: u32 = 1024;
/// After this silence a life is given up and another begun.
const PATIENCE: Duration = Duration::from_millis(100);
const TCP: usize = ETHERNET + 20;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

#[derive(Args)]
pub struct Options {
    #[arg(long)]
    interface: String,
    #[arg(long)]
    peer: Ipv4Addr,
    #[arg(long)]
    port: u16,
    #[arg(long, value_delimiter = ':', value_parser = crate::ceiling::hex)]
    peer_mac: Vec<u8>,
    #[arg(long)]
    seconds: f64,
    /// Connections under way at once, at most 8,000
    #[arg(long)]
    concurrency: u32,
}

/// One connection under way.
struct Life {
    port: u16,
    iss: u32,
    start: Instant,
    heard_at: Instant,
    established: bool,
}

struct Client {
    driver: AfXdp,
    template: [u8; TCP],
    server_port: u16,
    lives: Vec<Life>,
    start: Instant,
    handshake_ns: Histogram<u64>,
    closed: u64,
    failed: u64,
    /// Frames sent and received.
    frames: (u64, u64),
}

/// Keeps lives under way for so long, and prints what came of it.
pub fn connect(options: &Options) -> Outcome<()> {
    // What is lost is to be lost at the server, not here.
    let ring = (2 * options.concurrency).next_power_of_two().max(2_048);
    let mut config = PortConfig::new(&options.interface).with_ring(ring);
    config.ownership = Ownership::Exclusive;
    let ours: Ipv4Addr = site::client(0).parse()?;
    config.addresses = vec![Addr::from_v4(ours.octets())];
    let mut port = open(&config)?;
    let mac: [u8; 6] = options.peer_mac.clone().try_into().map_err(|_| "--peer-mac wants six octets")?;
    let start = Instant::now();
    let mut client = Client {
        driver: port.drivers.remove(0),
        template: template(port.mac.0, mac, ours, options.peer),
        server_port: options.port,
        lives: Vec::new(),
        start,
        handshake_ns: Histogram::new(3)?,
        closed: 0,
        failed: 0,
        frames: (0, 0),
    };
    client.run(options)?;
    let seconds = start.elapsed().as_secs_f64();
    let at = |quantile| client.handshake_ns.value_at_quantile(quantile) as f64 / 1e3;
    let frames = (client.frames.0 + client.frames.1) as f64;
    let report = json!({
        "closed": client.closed,
        "failed": client.failed,
        "seconds": seconds,
        "connections_per_second": client.closed as f64 / seconds,
        "frames_per_connection": frames / client.closed.max(1) as f64,
        "handshake_us": { "p50": at(0.5), "p99": at(0.99) },
    });
    println!("{report}");
    Ok(())
}

impl Client {
    fn run(&mut self, options: &Options) -> Outcome<()> {
        for place in 0..options.concurrency {
            let port = (FIRST_PORT + place * PORTS_EACH) as u16;
            self.lives.push(Life { port, iss: 0, start: self.start, heard_at: self.start, established: false });
            self.begin(place as usize, self.start);
        }
        let until = self.start + Duration::from_secs_f64(options.seconds);
        let mut burst = Vec::with_capacity(BURST);
        let mut looked_at = self.start;
        loop {
            let now = Instant::now();
            if now >= until {
                return Ok(());
            }
            self.driver.receive(&mut burst, BURST);
            for frame in burst.drain(..) {
                self.frames.1 += 1;
                self.on_frame(frame.bytes(), now)?;
                self.driver.release(frame);
            }
            if now - looked_at > PATIENCE / 4 {
                looked_at = now;
                self.give_up_the_silent(now);
            }
            self.driver.flush()?;
        }
    }

    fn give_up_the_silent(&mut self, now: Instant) {
        for place in 0..self.lives.len() {
            if now - self.lives[place].heard_at > PATIENCE {
                self.failed += 1;
                self.begin(place, now);
            }
        }
    }

    /// A new life at a place, from its next port, with a number beyond those of the last one.
    fn begin(&mut self, place: usize, now: Instant) {
        let life = &mut self.lives[place];
        let first = FIRST_PORT as u16 + place as u16 * PORTS_EACH as u16;
        life.port = first + (life.port - first + 1) % PORTS_EACH as u16;
        life.iss = (now - self.start).as_micros() as u32;
        (life.start, life.heard_at, life.established) = (now, now, false);
        let (port, iss) = (life.port, life.iss);
        self.send(port, SYN, iss, 0);
    }

    fn on_frame(&mut self, bytes: &[u8], now: Instant) -> Outcome<()> {
        let Some(header) = bytes.get(TCP..TCP + 20) else { return Ok(()) };
        let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (port, seq, flags) = (u16::from_be_bytes([header[2], header[3]]), word(4), header[13]);
        let place = u32::from(port).wrapping_sub(FIRST_PORT) / PORTS_EACH;
        let Some(life) = self.lives.get_mut(place as usize).filter(|life| life.port == port) else {
            if flags & FIN != 0 {
                // The last ACK of a life that is over was lost: as from TIME-WAIT.
                self.send(port, ACK, word(8), seq.wrapping_add(1));
            }
            return Ok(());
        };
        life.heard_at = now;
        let iss = life.iss;
        if flags & RST != 0 {
            self.failed += 1;
            self.begin(place as usize, now);
        } else if flags & SYN != 0 && !life.established {
            life.established = true;
            let handshake = now - life.start;
            self.handshake_ns.record(handshake.as_nanos() as u64)?;
            self.send(port, FIN | ACK, iss.wrapping_add(1), seq.wrapping_add(1));
        } else if !life.established {
            // A life that was given up still stands there (RFC 9293 §3.5.1, figure 9).
            self.send(port, RST, word(8), 0);
            self.send(port, SYN, iss, 0);
        } else if flags & FIN != 0 {
            self.send(port, ACK, iss.wrapping_add(2), seq.wrapping_add(1));
            self.closed += 1;
            self.begin(place as usize, now);
        }
        Ok(())
    }

    fn send(&mut self, port: u16, flags: u8, seq: u32, ack: u32) {
        let Some(mut frame) = self.driver.alloc() else { return };
        let buffer = frame.buffer();
        buffer[..TCP].copy_from_slice(&self.template);
        let header = &mut buffer[TCP..TCP + 20];
        header[..2].copy_from_slice(&port.to_be_bytes());
        header[2..4].copy_from_slice(&self.server_port.to_be_bytes());
        header[4..8].copy_from_slice(&seq.to_be_bytes());
        header[8..12].copy_from_slice(&ack.to_be_bytes());
        header[12..20].copy_from_slice(&[5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        // Pseudo-header: addresses, protocol and length (RFC 9293 §3.1).
        let sum = checksum(&buffer[ETHERNET + 12..TCP + 20], 6 + 20);
        buffer[TCP + 16..TCP + 18].copy_from_slice(&sum.to_be_bytes());
        frame.set_len(TCP + 20);
        self.frames.0 += 1;
        send_or_release(&mut self.driver, frame);
    }
}

fn checksum(octets: &[u8], start: u32) -> u16 {
    let words = octets.as_chunks::<2>().0.iter().map(|pair| u32::from(u16::from_be_bytes(*pair)));
    let sum = words.sum::<u32>() + start;
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// Ethernet and IPv4 headers of every segment.
fn template(from_mac: [u8; 6], to_mac: [u8; 6], from: Ipv4Addr, to: Ipv4Addr) -> [u8; TCP] {
    let mut frame = [0; TCP];
    frame[..6].copy_from_slice(&to_mac);
    frame[6..12].copy_from_slice(&from_mac);
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    let ip = &mut frame[ETHERNET..];
    ip[..10].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6]);
    ip[12..16].copy_from_slice(&from.octets());
    ip[16..20].copy_from_slice(&to.octets());
    let sum = checksum(ip, 0);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    frame
}
