//! A switch between in-memory links: it decides on which queue of a host each frame comes in.

use handfast::driver::memory::{self, MemoryDriver};
use handfast::driver::{Driver, Frame};
use handfast::stack::steering::{Rss, Toeplitz};
use handfast::wire::FourTuple;
use handfast::wire::frame::{Incoming, VerifyChecksum, parse};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Queues of each host.
pub const QUEUES: usize = 4;

/// The queue of a frame for a host.
pub type Rule = Box<dyn FnMut(&[u8]) -> usize + Send>;

/// A running switch, which ends when it is dropped.
pub struct Switch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    /// A switch between two hosts, with the drivers of each; `rules` give the queue of what comes to each.
    pub fn start(mut rules: [Rule; 2]) -> (Switch, [Vec<MemoryDriver>; 2]) {
        let mut ends: [Vec<MemoryDriver>; 2] = [Vec::new(), Vec::new()];
        let mut hosts: [Vec<MemoryDriver>; 2] = [Vec::new(), Vec::new()];
        for (ends, hosts) in ends.iter_mut().zip(&mut hosts) {
            for _ in 0..QUEUES {
                let (end, host) = memory::link(4_096, 1_024);
                ends.push(end);
                hosts.push(host);
            }
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let [left, right] = &mut ends;
                let [to_left, to_right] = &mut rules;
                let any = forward(left, right, to_right) | forward(right, left, to_left);
                if !any {
                    std::thread::sleep(std::time::Duration::from_micros(50));
                }
            }
        });
        (Switch { stop, thread: Some(thread) }, hosts)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Carries what one host sent to the other; what finds no room is lost.
fn forward(from: &mut [MemoryDriver], to: &mut [MemoryDriver], rule: &mut Rule) -> bool {
    let mut burst = Vec::new();
    for end in &mut *from {
        end.receive(&mut burst, 64);
        for frame in burst.drain(..) {
            let out = &mut to[rule(frame.bytes())];
            if let Some(mut copy) = out.alloc() {
                copy.buffer()[..frame.bytes().len()].copy_from_slice(frame.bytes());
                copy.set_len(frame.bytes().len());
                if let Err(copy) = out.send(copy) {
                    out.release(copy);
                }
            }
            end.release(frame);
        }
    }
    let mut any = false;
    for end in from.iter_mut().chain(to) {
        any |= end.census().held > 0;
        end.flush().unwrap();
    }
    any
}

/// The 4-tuple of a TCP frame, seen by its receiver.
fn tuple_of(frame: &[u8]) -> Option<FourTuple> {
    match parse(frame, VerifyChecksum::No) {
        Ok(Incoming::Tcp { tuple, .. }) => Some(tuple),
        _ => None,
    }
}

/// As a NIC with this key and table: what is no TCP goes to queue 0.
pub fn by_rss(rss: &Rss) -> Rule {
    let (toeplitz, table) = (Toeplitz::new(&rss.key).unwrap(), rss.table.clone());
    Box::new(move |frame| {
        tuple_of(frame).map_or(0, |tuple| table[toeplitz.hash(&tuple) as usize % table.len()] as usize)
    })
}

/// Another queue for each frame.
pub fn at_random(mut seed: u64) -> Rule {
    println!("seed {seed}");
    Box::new(move |_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % QUEUES
    })
}
