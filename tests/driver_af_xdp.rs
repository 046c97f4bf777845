//! The AF_XDP driver on a veth pair: what the kernel sends arrives, what we send leaves, and nothing is lost from the count.

mod common;

use handfast::Ownership;
use handfast::driver::af_xdp::{AfXdp, ChecksumOffload, Port, PortConfig, ZeroCopy, open};
use handfast::driver::{AttachMode, Driver, Frame};
use handfast::lab::{LEFT, Lab, LabConfig, Namespace, RIGHT};
use handfast::wire::frame::{Envelope, Link, TxChecksum, emit_tcp};
use handfast::wire::tcp::Header;
use handfast::wire::{Addr, FourTuple, MacAddr};
use rustix::net::{
    AddressFamily, Protocol, RawProtocol, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, socket_with,
};
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const OURS: [u8; 4] = [10, 77, 0, 2];
/// Set in the process that a test starts to hold a queue.
const HOLDER: &str = "HANDFAST_TEST_HOLDER";

fn config() -> PortConfig {
    PortConfig { addresses: vec![Addr::from_v4(OURS)], ownership: Ownership::Exclusive, ..PortConfig::new(RIGHT) }
}

fn check_census(driver: &AfXdp) {
    let c = driver.census();
    assert_eq!(c.total, c.free + c.receiving + c.sending + c.held, "{c:?}");
}

/// Runs `f` inside a namespace.
fn inside<T: Send>(namespace: &Namespace, f: impl FnOnce() -> T + Send) -> T {
    namespace.inside(f).unwrap()
}

/// Answers ARP requests for [`OURS`] and pings to it, and sends every other IPv4 frame back with its Ethernet addresses
/// exchanged; all in place.
fn answer(frame: &mut impl Frame, mac: [u8; 6]) -> bool {
    let f = frame.buffer();
    match (f[12], f[13]) {
        (0x08, 0x06) if f[20..22] == [0, 1] && f[38..42] == OURS => {
            f.copy_within(22..32, 32);
            f[21] = 2;
            f[22..28].copy_from_slice(&mac);
            f[28..32].copy_from_slice(&OURS);
        }
        (0x08, 0x00) => {
            if f[23] == 1 && f[34] == 8 {
                // An echo reply differs by its type, and its checksum (RFC 1624) by the same.
                f[34] = 0;
                let sum = u32::from(u16::from_be_bytes([f[36], f[37]])) + 0x0800;
                f[36..38].copy_from_slice(&((sum + (sum >> 16)) as u16).to_be_bytes());
            }
            let (source, destination): ([u8; 4], [u8; 4]) =
                (f[26..30].try_into().unwrap(), f[30..34].try_into().unwrap());
            f[26..30].copy_from_slice(&destination);
            f[30..34].copy_from_slice(&source);
        }
        _ => return false,
    }
    f.copy_within(6..12, 0);
    f[6..12].copy_from_slice(&mac);
    true
}

/// Answers on one queue until `stop`; returns how many frames came and how many were answered.
fn serve(driver: &mut AfXdp, mac: [u8; 6], stop: &AtomicBool) -> (u64, u64) {
    let (mut burst, mut counts) = (Vec::new(), (0, 0));
    while !stop.load(Ordering::Relaxed) {
        driver.wait(Some(Duration::from_millis(20))).unwrap();
        counts.0 += driver.receive(&mut burst, 64) as u64;
        check_census(driver);
        for mut frame in burst.drain(..) {
            if !answer(&mut frame, mac) {
                driver.release(frame);
            } else if let Err(frame) = driver.send(frame) {
                driver.release(frame);
            } else {
                counts.1 += 1;
            }
        }
        driver.flush().unwrap();
        check_census(driver);
    }
    counts
}

/// Serves every queue of the port while `f` runs in the other namespace.
fn served<T>(lab: &Lab, config: &PortConfig, f: impl FnOnce(&Port) -> T) -> (T, Vec<(u64, u64)>) {
    let mut port = inside(&lab.right, || open(config)).unwrap();
    let mut drivers = std::mem::take(&mut port.drivers);
    let (stop, mac) = (AtomicBool::new(false), port.mac.0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = drivers.iter_mut().map(|driver| scope.spawn(|| serve(driver, mac, &stop))).collect();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f(&port)));
        stop.store(true, Ordering::Relaxed);
        let counts = threads.into_iter().map(|t| t.join().unwrap()).collect();
        (result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), counts)
    })
}

/// Pings [`OURS`] `count` times from [`LEFT`]'s namespace, by the kernel's ARP and IP; returns how many answers came.
fn ping(lab: &Lab, count: u8) -> usize {
    inside(&lab.left, || {
        let fd = rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(rustix::net::ipproto::ICMP)).unwrap();
        rustix::net::sockopt::set_socket_timeout(
            &fd,
            rustix::net::sockopt::Timeout::Recv,
            Some(Duration::from_secs(2)),
        )
        .unwrap();
        let to = std::net::SocketAddr::from((OURS, 0));
        let answered = (0..count).filter(|&sequence| {
            let sum = !(0x0800u16 + u16::from(sequence));
            let echo = [8, 0, (sum >> 8) as u8, sum as u8, 0, 0, 0, sequence];
            rustix::net::sendto(&fd, &echo, SendFlags::empty(), &to).unwrap();
            let mut buffer = [0u8; 128];
            match rustix::net::recv(&fd, &mut buffer, RecvFlags::empty()) {
                Ok((n, _)) => n == 28 && buffer[20] == 0 && buffer[27] == sequence,
                Err(_) => false,
            }
        });
        answered.count()
    })
}

#[test]
fn a_kernel_ping_is_answered_natively() {
    let Some(lab) = common::lab("ping", &LabConfig::default()) else { return };
    let (answered, counts) = served(&lab, &config(), |_| ping(&lab, 5));
    assert_eq!(answered, 5);
    assert!(counts[0].1 >= 6, "five pings and a question by ARP, not {counts:?}");
}

#[test]
fn generic_mode_and_several_queues_answer_as_well() {
    let Some(lab) = common::lab("generic", &LabConfig { queues: 2, ..Default::default() }) else { return };
    for attach in [AttachMode::Native, AttachMode::Generic] {
        let (answered, counts) = served(&lab, &PortConfig { attach, ..config() }, |_| ping(&lab, 20));
        assert_eq!((answered, counts.len()), (20, 2), "{attach:?}");
    }
}

#[test]
fn what_was_got_is_told() {
    let Some(lab) = common::lab("describe", &LabConfig::default()) else { return };
    inside(&lab.right, || {
        let port = open(&config()).unwrap();
        assert_eq!(port.drivers[0].describe(), "af_xdp native copy");
        assert_eq!(port.mtu, 1500);
        drop(port);
        let port = open(&PortConfig { attach: AttachMode::Generic, ..config() }).unwrap();
        assert_eq!(port.drivers[0].describe(), "af_xdp generic copy");
        drop(port);
        let error = open(&PortConfig { zero_copy: ZeroCopy::Force, ..config() }).err().unwrap().to_string();
        assert!(error.contains("with zero-copy to hf-b queue 0: its driver has none"), "{error}");
    });
}

/// An interface that finishes checksums is one for which the kernel has nothing to do, and a veth only says that it is one.
#[test]
fn a_checksum_left_to_the_kernel_is_right_on_the_wire_unless_the_veth_says_that_it_finishes_it() {
    let Some(lab) = common::lab("checksum offload", &LabConfig::default()) else { return };
    let config = PortConfig { tx_checksum: ChecksumOffload::Offload, ..config() };
    let (mut port, heard) = (inside(&lab.right, || open(&config)).unwrap(), inside(&lab.left, || packet_socket(LEFT)));
    let driver = &mut port.drivers[0];
    assert_eq!(
        (driver.describe().as_str(), driver.tx_checksum()),
        ("af_xdp native copy, checksum offload", TxChecksum::PseudoHeaderOnly)
    );
    let (ours, theirs) = (Addr::from_v4(OURS), Addr::from_v4([10, 77, 0, 1]));
    let tuple = FourTuple { local_addr: ours, remote_addr: theirs, local_port: 7, remote_port: 8 };
    let link = Link { src: port.mac, dst: MacAddr([2, 0, 0, 0, 0, 9]), vlan: None };
    let write = |buffer: &mut [u8], checksum| {
        let envelope = Envelope { link, tuple, hop_limit: 64, traffic_class: 0, checksum };
        emit_tcp(buffer, &envelope, &Header::default(), 33, |text| text.fill(b'x'))
    };
    rustix::net::sockopt::set_socket_timeout(&heard, rustix::net::sockopt::Timeout::Recv, Some(Duration::from_secs(2)))
        .unwrap();
    for (veth, expected) in [("on", TxChecksum::PseudoHeaderOnly), ("off", TxChecksum::Full)] {
        lab.right.run("ethtool", &["-K", RIGHT, "tx", veth]).unwrap();
        let mut frame = driver.alloc().unwrap();
        let len = write(frame.buffer(), TxChecksum::PseudoHeaderOnly);
        frame.set_len(len);
        driver.send(frame).unwrap();
        driver.flush().unwrap();
        let (mut on_the_wire, mut wanted) = ([0; 2048], [0; 2048]);
        let (received, _) = rustix::net::recv(&heard, &mut on_the_wire, RecvFlags::empty()).unwrap();
        assert_eq!((received, write(&mut wanted, expected)), (len, len), "tx {veth}");
        assert_eq!(on_the_wire[..len], wanted[..len], "tx {veth}");
    }
}

#[test]
fn a_hundred_thousand_frames_come_back_and_are_counted() {
    const FRAMES: u64 = 100_000;
    const WINDOW: u64 = 256;
    let Some(lab) = common::lab("reflect", &LabConfig::default()) else { return };
    let ((), counts) = served(&lab, &config(), |port| {
        let mac = port.mac.0;
        inside(&lab.left, || {
            let fd = packet_socket(LEFT);
            let mut frame = udp_frame(mac);
            let mut buffer = [0u8; 2048];
            let (mut sent, mut back, start) = (0u64, 0u64, Instant::now());
            while back < FRAMES && start.elapsed() < Duration::from_secs(60) {
                while sent < FRAMES && sent - back < WINDOW {
                    frame[42..50].copy_from_slice(&sent.to_be_bytes());
                    rustix::net::send(&fd, &frame, SendFlags::empty()).unwrap();
                    sent += 1;
                }
                while let Ok((n, _)) = rustix::net::recv(&fd, &mut buffer, RecvFlags::DONTWAIT) {
                    // The socket hears what it sends as well: only frames from our side count.
                    if n >= 50 && buffer[26..30] == OURS {
                        assert_eq!(buffer[42..50], back.to_be_bytes(), "in order");
                        back += 1;
                    }
                }
            }
            assert_eq!((sent, back), (FRAMES, FRAMES));
            let seconds = start.elapsed().as_secs_f64();
            eprintln!("reflected {FRAMES} frames in {seconds:.2} s, {:.0} a second", FRAMES as f64 / seconds);
        })
    });
    assert_eq!(counts, [(FRAMES, FRAMES)]);
}

/// A packet socket of one interface: IPv4 frames of it are received, and sends go out of it.
fn packet_socket(interface: &str) -> OwnedFd {
    let protocol = RawProtocol::new(u32::from(libc::ETH_P_IP as u16).to_be() >> 16).map(Protocol::from_raw);
    let fd = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, protocol).unwrap();
    let index = netdevice::name_to_index(&fd, interface).unwrap();
    // SAFETY: the structure holds integers only, for which zero is a value.
    let mut addr = unsafe { std::mem::zeroed::<libc::sockaddr_ll>() };
    addr.sll_family = libc::AF_PACKET as u16;
    addr.sll_protocol = 0x0800u16.to_be();
    addr.sll_ifindex = index as i32;
    // SAFETY: the address and its length belong together.
    let result = unsafe {
        libc::bind(
            std::os::fd::AsRawFd::as_raw_fd(&fd),
            (&raw const addr).cast(),
            size_of_val(&addr) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    fd
}

/// 60 octets of UDP from the kernel's address to ours.
fn udp_frame(to: [u8; 6]) -> [u8; 60] {
    let mut f = [0u8; 60];
    f[..6].copy_from_slice(&to);
    f[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    f[12..14].copy_from_slice(&[8, 0]);
    f[14..24].copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17]);
    f[26..30].copy_from_slice(&[10, 77, 0, 1]);
    f[30..34].copy_from_slice(&OURS);
    let sum: u32 = (14..34).step_by(2).map(|i| u32::from(u16::from_be_bytes([f[i], f[i + 1]]))).sum();
    f[24..26].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    f[34..40].copy_from_slice(&[0x1f, 0x90, 0x1f, 0x91, 0, 26]);
    f
}

#[test]
fn a_full_ring_gives_frames_back_and_every_chunk_comes_home() {
    let Some(lab) = common::lab("full ring", &LabConfig::default()) else { return };
    let mut port = inside(&lab.right, || open(&PortConfig { chunks: 512, ring: 128, ..config() })).unwrap();
    let driver = &mut port.drivers[0];
    assert_eq!(driver.census().receiving, 128);
    for round in 0..50 {
        let (mut accepted, mut refused) = (0, 0);
        while let Some(mut frame) = driver.alloc() {
            let written = udp_frame([0xff; 6]);
            frame.buffer()[..60].copy_from_slice(&written);
            frame.set_len(60);
            match driver.send(frame) {
                Ok(()) => accepted += 1,
                Err(frame) => {
                    refused += 1;
                    driver.release(frame);
                    break;
                }
            }
        }
        assert_eq!((accepted, refused), (128, 1), "round {round}");
        check_census(driver);
        driver.flush().unwrap();
        let start = Instant::now();
        while driver.census().sending > 0 && start.elapsed() < Duration::from_secs(2) {
            driver.flush().unwrap();
        }
        let census = driver.census();
        assert_eq!((census.sending, census.held, census.free), (0, 0, 384), "round {round}");
    }
}

#[test]
fn a_waker_ends_a_sleep() {
    let Some(lab) = common::lab("waker", &LabConfig::default()) else { return };
    let mut port = inside(&lab.right, || open(&config())).unwrap();
    let driver = &mut port.drivers[0];
    let waker = driver.waker();
    let start = Instant::now();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        waker.wake();
    });
    driver.wait(Some(Duration::from_millis(900))).unwrap();
    let slept = start.elapsed();
    thread.join().unwrap();
    assert!(slept >= Duration::from_millis(40) && slept < Duration::from_millis(500), "{slept:?}");
    // An idle ring must not make the poll return at once.
    let start = Instant::now();
    driver.wait(Some(Duration::from_millis(60))).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(55), "{:?}", start.elapsed());
}

#[test]
fn a_link_that_goes_down_is_waited_for_without_spinning() {
    let Some(lab) = common::lab("down and up", &LabConfig::default()) else { return };
    let mut port = inside(&lab.right, || open(&config())).unwrap();
    let (driver, fd) = (&mut port.drivers[0], inside(&lab.left, || packet_socket(LEFT)));
    lab.right.run("ip", &["link", "set", RIGHT, "down"]).unwrap();
    let mut frame = driver.alloc().unwrap();
    frame.buffer()[..60].copy_from_slice(&udp_frame([0xff; 6]));
    frame.set_len(60);
    driver.send(frame).unwrap();
    driver.flush().unwrap();
    assert_eq!(driver.census().sending, 1);
    let start = Instant::now();
    for _ in 0..5 {
        driver.wait(Some(Duration::from_millis(100))).unwrap();
        driver.flush().unwrap();
    }
    assert!(start.elapsed() >= Duration::from_millis(40), "spinning: {:?}", start.elapsed());
    lab.right.run("ip", &["link", "set", RIGHT, "up"]).unwrap();
    let start = Instant::now();
    while driver.census().sending > 0 && start.elapsed() < Duration::from_secs(3) {
        driver.wait(Some(Duration::from_millis(100))).unwrap();
        driver.flush().unwrap();
    }
    assert_eq!(driver.census().sending, 0);
    assert_eq!(rustix::net::recv(&fd, &mut [0u8; 64], RecvFlags::DONTWAIT).unwrap().0, 60);
}

#[test]
fn a_deleted_interface_ends_the_driver() {
    let Some(lab) = common::lab("interface gone", &LabConfig::default()) else { return };
    let mut port = inside(&lab.right, || open(&config())).unwrap();
    lab.left.run("ip", &["link", "del", LEFT]).unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        if let Err(e) = port.drivers[0].wait(None) {
            eprintln!("told: {e}");
            return;
        }
    }
    panic!("nobody noticed");
}

#[test]
fn a_second_program_is_told_who_holds_the_queue() {
    let Some(lab) = common::lab("busy", &LabConfig { queues: 2, ..Default::default() }) else { return };
    inside(&lab.right, || {
        let port = open(&config()).unwrap();
        // The program gone, the queues are still ours.
        drop(port.program);
        let error = open(&config()).err().expect("a queue that is taken").to_string();
        assert_eq!(
            error,
            "binding AF_XDP to hf-b queue 0: busy (EBUSY): another program holds this queue; `handfast doctor` shows which"
        );
        drop(port.drivers);
        assert!(open(&config()).is_ok(), "free again");
    });
}

#[test]
fn a_queue_that_is_just_let_go_is_waited_for() {
    let Some(lab) = common::lab("let go", &LabConfig::default()) else { return };
    let port = inside(&lab.right, || open(&config())).unwrap();
    drop(port.program);
    let drivers = port.drivers;
    let former = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        drop(drivers);
    });
    assert!(inside(&lab.right, || open(&config())).is_ok());
    former.join().unwrap();
}

#[test]
fn too_few_workers_are_refused_with_the_cure() {
    let Some(lab) = common::lab("workers", &LabConfig { queues: 2, ..Default::default() }) else { return };
    inside(&lab.right, || {
        let error = open(&PortConfig { workers: Some(1), ..config() }).err().unwrap().to_string();
        assert!(error.contains("2 rx queues") && error.contains("ethtool -L hf-b"), "{error}");
        lab.right.run("ip", &["link", "set", RIGHT, "down"]).unwrap();
        let error = open(&config()).err().unwrap().to_string();
        assert!(error.contains("is down; `ip link set hf-b up`"), "{error}");
        let error = open(&PortConfig::new("hf-none")).err().unwrap().to_string();
        assert!(error.contains("hf-none: there is no such interface"), "{error}");
    });
}

/// Not a test of its own: the process that the next test starts and kills.
#[test]
fn holder() {
    if std::env::var_os(HOLDER).is_none() {
        return;
    }
    let port = open(&config()).unwrap();
    println!("holding {}", port.drivers.len());
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_killed_holder_leaves_an_ordinary_interface() {
    let Some(lab) = common::lab("kill -9", &LabConfig { queues: 2, ..Default::default() }) else { return };
    for round in 0..3 {
        let mut holder = Command::new("ip")
            .args(["netns", "exec", lab.right.name()])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "holder", "--nocapture"])
            .env(HOLDER, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
        assert!(lines.by_ref().any(|line| line.unwrap().contains("holding 2")), "the holder holds");
        // `ip netns exec` has become the holder itself.
        holder.kill().unwrap();
        holder.wait().unwrap();
        inside(&lab.right, || {
            let facts = handfast::host::interface(RIGHT).unwrap();
            assert_eq!(facts.xdp_program, None, "detached at once, round {round}");
            let start = Instant::now();
            drop(open(&config()).unwrap());
            eprintln!("bound again after {:?}", start.elapsed());
        });
    }
}
