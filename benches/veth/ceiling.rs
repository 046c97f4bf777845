//! The ceiling: bare AF_XDP, no protocol. One end keeps frames of 60 octets going, the other sends each one back as it is.
//! What an end receives and sends there, together, is about all that any AF_XDP stack can on this link.

use crate::cores;
use crate::site::Outcome;
use clap::Args;
use handfast::Ownership;
use handfast::driver::af_xdp::{AfXdp, Port, PortConfig, open};
use handfast::driver::{Driver, Frame};
use handfast::wire::Addr;
use serde_json::json;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// The length of an Ethernet frame without its check sequence, and of most segments without text.
const LEN: usize = 60;
/// Frames received at once.
const BURST: usize = 64;
/// Octets before the IP header.
pub const ETHERNET: usize = 14;

#[derive(Args)]
pub struct Options {
    #[arg(long)]
    interface: String,
    #[arg(long)]
    address: Ipv4Addr,
    /// Where frames go at first: the other end's address and Ethernet address
    #[arg(long)]
    peer: Option<Ipv4Addr>,
    #[arg(long, value_delimiter = ':', value_parser = hex)]
    peer_mac: Vec<u8>,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Frames under way on each queue
    #[arg(long, default_value_t = 512)]
    in_flight: usize,
    /// The other end runs on the same cores: let it
    #[arg(long)]
    give_way: bool,
}

pub fn hex(octet: &str) -> Result<u8, std::num::ParseIntError> {
    u8::from_str_radix(octet, 16)
}

fn open_port(options: &Options) -> Outcome<Port> {
    let mut config = PortConfig::new(&options.interface);
    config.ownership = Ownership::Exclusive;
    config.addresses = vec![Addr::from_v4(options.address.octets())];
    Ok(open(&config)?)
}

/// Sends back every frame that comes, until killed.
pub fn reflect(options: &Options) -> Outcome<()> {
    let port = open_port(options)?;
    println!("reflecting");
    cores::each(port.drivers, |driver| {
        let mut end = End::new(driver, options);
        loop {
            end.turn(send_back)?;
        }
    })
    .map(|_: Vec<()>| ())
}

/// Keeps frames going round for so long, and prints how many came back.
pub fn blast(options: &Options) -> Outcome<()> {
    let port = open_port(options)?;
    let peer = options.peer.ok_or("blast needs --peer")?;
    let mac: [u8; 6] = options.peer_mac.clone().try_into().map_err(|_| "blast needs --peer-mac")?;
    let template = template(port.mac.0, mac, options.address, peer);
    let start = Instant::now();
    let back = cores::each(port.drivers, |driver| End::new(driver, options).keep_going(&template, start))?;
    let (back, seconds) = (back.iter().sum::<u64>(), start.elapsed().as_secs_f64());
    println!("{}", json!({ "frames": back, "seconds": seconds, "frames_per_second": back as f64 / seconds }));
    Ok(())
}

/// One queue of an end, and what its core does with it.
struct End<'a> {
    driver: AfXdp,
    options: &'a Options,
    burst: Vec<<AfXdp as Driver>::Frame>,
}

impl End<'_> {
    fn new(driver: AfXdp, options: &Options) -> End<'_> {
        End { driver, options, burst: Vec::with_capacity(BURST) }
    }

    /// Has frames under way until the time is over; gives how many came back.
    fn keep_going(mut self, template: &[u8; LEN], start: Instant) -> Outcome<u64> {
        let until = start + Duration::from_secs_f64(self.options.seconds);
        let (mut back, mut under_way, mut heard_at) = (0u64, 0, start);
        loop {
            let now = Instant::now();
            if now >= until {
                return Ok(back);
            }
            // Frames that were lost do not come back: after a silence they are given up.
            if now - heard_at > Duration::from_millis(20) {
                under_way = 0;
            }
            while under_way < self.options.in_flight && self.begin(template) {
                under_way += 1;
            }
            let come = self.turn(|driver, frame| driver.release(frame))?;
            if come > 0 {
                heard_at = now;
                back += come as u64;
                under_way = under_way.saturating_sub(come);
            }
        }
    }

    /// Sends one more frame; `false` when there is no room.
    fn begin(&mut self, template: &[u8; LEN]) -> bool {
        let Some(mut frame) = self.driver.alloc() else { return false };
        frame.buffer()[..LEN].copy_from_slice(template);
        frame.set_len(LEN);
        self.driver.send(frame).map_err(|frame| self.driver.release(frame)).is_ok()
    }

    /// Receives a burst, does that with each frame, and sends what is to go.
    fn turn(&mut self, each: impl Fn(&mut AfXdp, <AfXdp as Driver>::Frame)) -> Outcome<usize> {
        let come = self.driver.receive(&mut self.burst, BURST);
        for frame in self.burst.drain(..) {
            each(&mut self.driver, frame);
        }
        self.driver.flush()?;
        if self.options.give_way && matches!(come, 0 | BURST) {
            std::thread::yield_now();
        }
        Ok(come)
    }
}

/// Swaps the addresses of both layers and sends the frame.
fn send_back<D: Frame>(driver: &mut AfXdp, mut frame: D)
where
    AfXdp: Driver<Frame = D>,
{
    let buffer = frame.buffer();
    for i in 0..6 {
        buffer.swap(i, i + 6);
    }
    for i in 0..4 {
        buffer.swap(ETHERNET + 12 + i, ETHERNET + 16 + i);
    }
    send_or_release(driver, frame);
}

/// Sends a frame, or gives it up when there is no room.
pub fn send_or_release<D>(driver: &mut AfXdp, frame: D)
where
    AfXdp: Driver<Frame = D>,
{
    if let Err(frame) = driver.send(frame) {
        driver.release(frame);
    }
}

/// A UDP packet with nothing in it, which the XDP program redirects like all that is sent to an address of ours.
fn template(from_mac: [u8; 6], to_mac: [u8; 6], from: Ipv4Addr, to: Ipv4Addr) -> [u8; LEN] {
    let mut frame = [0; LEN];
    frame[..6].copy_from_slice(&to_mac);
    frame[6..12].copy_from_slice(&from_mac);
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    let ip = &mut frame[ETHERNET..];
    ip[0] = 0x45;
    ip[3] = (LEN - ETHERNET) as u8;
    ip[8] = 64;
    ip[9] = 17;
    ip[12..16].copy_from_slice(&from.octets());
    ip[16..20].copy_from_slice(&to.octets());
    frame
}
