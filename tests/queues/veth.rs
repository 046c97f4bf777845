//! Four workers on a veth pair with four queues, whose kernel sockets choose a queue at random and keep it until they
//! have to send again.

use crate::common;
use crate::common::server::{HANDFAST, SERVER, Server};
use crate::party::Echo;
use handfast::driver::af_xdp::PortConfig;
use handfast::engine::{Ended, Engine, EngineConfig};
use handfast::lab::{LEFT, Lab, LabConfig, RIGHT};
use handfast::stack::LocalAddr;
use handfast::stack::steering::Sharding;
use handfast::time::Duration;
use handfast::wire::Addr;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

const QUEUES: u32 = 4;
/// Longer than a few retransmissions.
const PATIENCE: Duration = Duration::from_secs(20);

fn lab(test: &str) -> Option<Lab> {
    common::lab(test, &LabConfig { queues: QUEUES, ..LabConfig::default() })
}

fn serve(lab: &Lab, sharding: Sharding) -> Engine<Echo> {
    let mut config = EngineConfig::new(vec![LocalAddr { addr: Addr::from_v4(SERVER), prefix_len: 24 }]);
    config.sharding = sharding;
    config.listen = vec![7];
    lab.right.inside(|| Engine::start(config, PortConfig::new(RIGHT), |_| Echo)).unwrap().unwrap()
}

/// A connection of the kernel that says something in several pieces and hears it again, with `pause` between them.
fn converse(number: u32, pause: Duration) {
    let to: SocketAddr = (SERVER, 7).into();
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap_or_else(|e| panic!("connection {number}: {e}"));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let fail = |what: &str, e: std::io::Error| panic!("connection {number}, {what}: {e}");
    let mut heard = Vec::new();
    for piece in 0..4u8 {
        let said: Vec<u8> = (0..700).map(|i| (i as u8) ^ piece ^ number as u8).collect();
        stream.write_all(&said).unwrap_or_else(|e| fail("writing", e));
        heard.resize(said.len(), 0);
        stream.read_exact(&mut heard).unwrap_or_else(|e| fail("reading", e));
        assert_eq!(heard, said, "connection {number}");
        heard.clear();
        std::thread::sleep(pause);
    }
    stream.shutdown(Shutdown::Write).unwrap_or_else(|e| fail("closing", e));
    stream.read_to_end(&mut heard).map(drop).unwrap_or_else(|e| fail("reading the end", e));
    assert!(heard.is_empty(), "connection {number}");
}

/// So many conversations, eight at a time; `meanwhile` runs beside them until they are over.
fn conversations(lab: &Lab, count: u32, pause: Duration, meanwhile: impl FnMut() + Send) {
    const AT_ONCE: u32 = 8;
    let over = AtomicBool::new(false);
    let (over, mut meanwhile) = (&over, meanwhile);
    std::thread::scope(|scope| {
        let beside = scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                meanwhile();
            }
        });
        let talk = || {
            std::thread::scope(|scope| {
                for first in 0..AT_ONCE {
                    scope.spawn(move || (first..count).step_by(AT_ONCE as usize).for_each(|n| converse(n, pause)));
                }
            });
        };
        let talked = lab.left.inside(|| std::panic::catch_unwind(std::panic::AssertUnwindSafe(talk))).unwrap();
        over.store(true, Ordering::Relaxed);
        beside.join().unwrap();
        talked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// Ends the server; every connection was closed in order, and every frame is accounted for.
fn end(server: Engine<Echo>, connections: u64) -> Ended<Echo> {
    server.drain(Duration::from_secs(5));
    let ended = server.join().unwrap();
    let c = &ended.snapshot.connections;
    assert_eq!((c.passive, c.closed, c.reset), (connections, connections, 0), "{c:?}");
    assert!(ended.snapshot.ledger.exact, "{}", ended.snapshot.ledger);
    let crossed = ended.snapshot.handed_over.expect("there are several workers");
    assert!(crossed.given > 0 && crossed.given == crossed.taken + crossed.left, "{crossed:?}");
    ended
}

#[test]
fn each_connection_is_served_whatever_queue_its_frames_come_in_on() {
    const COUNT: u32 = 400;
    let Some(lab) = lab("each_connection_is_served") else { return };
    let server = serve(&lab, Sharding::Hash);
    conversations(&lab, COUNT, Duration::ZERO, || std::thread::sleep(Duration::from_millis(20)));
    let ended = end(server, COUNT.into());
    for worker in &ended.snapshot.workers {
        assert!(worker.received > 0 && worker.handed_over > 0 && worker.taken > 0, "{worker:?}");
    }
    for worker in &ended.workers {
        assert!(worker.snapshot.connections.passive > u64::from(COUNT / QUEUES / 3), "{:?}", worker.snapshot);
    }
}

/// Conversations while `ethtool -L` changes the peer's queues again and again. (At our own end the kernel takes no queue away
/// that a socket is bound to.)
fn converse_while_queues_change(test: &str, sharding: Sharding) {
    const COUNT: u32 = 160;
    let Some(lab) = lab(test) else { return };
    let server = serve(&lab, sharding);
    let mut queues = [1u32, 3, 2, 4].into_iter().cycle();
    conversations(&lab, COUNT, Duration::from_millis(20), || {
        let count = queues.next().unwrap().to_string();
        lab.left.run("ethtool", &["-L", LEFT, "tx", &count]).unwrap();
        std::thread::sleep(Duration::from_millis(30));
    });
    end(server, COUNT.into());
}

#[test]
fn changing_the_queues_that_send_under_load_loses_no_connection() {
    converse_while_queues_change("changing_the_queues_that_send", Sharding::Hash);
}

/// Where each worker owns what came to it: kernel sockets choose another queue when they send again.
#[test]
fn by_arrival_no_connection_is_lost_when_its_queue_changes() {
    converse_while_queues_change("by_arrival_no_connection_is_lost", Sharding::Arrival);
}

/// What `load` sends on a queue of a veth comes in on the same queue of its peer, and so do the answers.
#[test]
fn by_arrival_load_and_serve_hand_nothing_over_on_a_veth() {
    let Some(lab) = lab("by_arrival_load_and_serve") else { return };
    let server = Server::start(&lab, "--service discard@9 --sharding arrival");
    let args = ["load", "--interface", LEFT, "--address", "10.77.0.3/24", "--target", "10.77.0.2:9", "--json"];
    let loaded = lab.left.run(HANDFAST, &[&args[..], &["--connections", "20000"]].concat());
    let stats = server.stats();
    let ledger = server.end();

    let report: Value = serde_json::from_str(&loaded.unwrap()).unwrap();
    assert_eq!((&report["opened"], &report["closed"]), (&20_000.into(), &20_000.into()), "{report}");
    assert!(ledger.contains("frames handed over = taken + left"), "{ledger}");
    for worker in stats["workers"].as_array().unwrap() {
        assert!(worker["received"].as_u64() > Some(1_000) && worker["handed_over"] == 0, "{worker}");
    }
}

/// Several workers at both ends, as processes: what `load` opened, `serve` has seen, and both can account for it.
#[test]
fn load_with_many_queues_meets_a_server_with_many_queues() {
    let Some(lab) = lab("load_with_many_queues") else { return };
    let server = Server::start(&lab, "--service discard@9");
    assert!(server.greeting().contains("queue 3"), "{}", server.greeting());
    let args = ["load", "--interface", LEFT, "--address", "10.77.0.3/24", "--target", "10.77.0.2:9", "--json"];
    let loaded = lab.left.run(HANDFAST, &[&args[..], &["--connections", "20000"]].concat());
    let (stats, ledger) = (server.stats(), server.end());

    let report: Value = serde_json::from_str(&loaded.unwrap()).unwrap();
    assert_eq!((&report["opened"], &report["closed"]), (&20_000.into(), &20_000.into()), "{report}");
    assert_eq!(report["ledger_exact"], true, "{report}");
    assert!(ledger.contains("frames handed over = taken + left"), "{ledger}");
    let workers = stats["workers"].as_array().unwrap();
    assert_eq!(workers.len(), QUEUES as usize);
    for worker in workers {
        assert!(worker["taken"].as_u64() > Some(1_000) && worker["handed_over"].as_u64() > Some(1_000), "{worker}");
        assert_eq!(worker["refused"], 0, "{worker}");
    }
}

/// A veth has no interrupts: whoever wants them moved is told so, before anything is attached.
#[test]
fn interrupts_that_are_not_there_cannot_be_moved() {
    let Some(lab) = lab("interrupts_that_are_not_there") else { return };
    let args = ["serve", "--interface", RIGHT, "--address", "10.77.0.2/24", "--service", "echo@7", "--irq"];
    let error = lab.right.run(HANDFAST, &args).unwrap_err().to_string();
    assert!(error.contains("moving the interrupts of hf-b") && error.contains("leave `--irq` away"), "{error}");
}
