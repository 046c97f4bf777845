//! What the XDP program costs a frame, by `BPF_PROG_TEST_RUN`: nanoseconds, less those of the run itself.
//!
//! A SYN that was answered is no SYN any more, so it cannot be run again by `repeat`: each is one run, and the time of as
//! many single runs of the shortest path is taken off. What leaves the frame as it was is repeated a million times by the
//! kernel. Needs CAP_BPF and CAP_NET_ADMIN; says so and ends without.

use handfast::clock;
use handfast::driver::{ProgramConfig, XdpProgram};
use handfast::engine::defence_of;
use handfast::outpost::Outpost;
use handfast::stack::{CookieKeys, DefenceConfig, LocalAddr, Ownership, Secrets, StackConfig, SynDefence};
use handfast::wire::frame::{self, Envelope, Link, TxChecksum};
use handfast::wire::tcp::{Flags, Header, Options, Timestamps};
use handfast::wire::{Addr, FourTuple, MacAddr, SeqNum};
use std::os::fd::AsRawFd;

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const RUNS: u32 = 200_000;
const REPEAT: u32 = 1_000_000;
/// `XDP_DROP`, `XDP_PASS` and `XDP_TX`.
const DROP: u32 = 1;
const PASS: u32 = 2;
const TX: u32 = 3;

fn addr(v4: bool, last: u16) -> Addr {
    let [a, b] = last.to_be_bytes();
    match v4 {
        true => Addr::from_v4([10, 77, a, b]),
        false => Addr::from_v6([0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b]),
    }
}

fn config() -> StackConfig {
    StackConfig {
        listen: vec![80],
        defence: DefenceConfig { mode: SynDefence::Xdp, ..DefenceConfig::default() },
        ..StackConfig::new(
            OURS,
            [(true, 16), (false, 64)].map(|(v4, prefix_len)| LocalAddr { addr: addr(v4, 2), prefix_len }).into(),
            Secrets { isn: [1; 16], flow_hash: [2; 16], cookie: CookieKeys::alone([3; 16]) },
        )
    }
}

/// The program, ready to answer for so many workers, none of which has a flow.
fn program(workers: u32) -> Result<XdpProgram, handfast::SetupError> {
    let config = config();
    let addresses = u32::try_from(config.addresses.len()).ok();
    let mut program = XdpProgram::load_for(&ProgramConfig { answers_for: workers, addresses, own_flood: None })?;
    for local in &config.addresses {
        program.own_address(local.addr, Ownership::Exclusive)?;
    }
    program.set_defence(&defence_of(&config))?;
    program.answer_port(80)?;
    let socket = rustix::net::socket(rustix::net::AddressFamily::XDP, rustix::net::SocketType::RAW, None);
    let socket = socket.expect("an AF_XDP socket");
    program.set_socket(0, socket.as_raw_fd())?;
    std::mem::forget(socket); // the map holds sockets only while they are open
    for worker in 0..workers {
        let mut outpost = Outpost::new(program.outpost(worker).expect("it was loaded for this worker"));
        while !outpost.prepare() {}
        outpost.complete();
        outpost.answer(true);
    }
    Ok(program)
}

fn segment(v4: bool, from: u16, header: &Header) -> Vec<u8> {
    let tuple = FourTuple { local_addr: addr(v4, from), remote_addr: addr(v4, 2), local_port: 40_000, remote_port: 80 };
    let link = Link { src: MacAddr([2, 0, 0, 0, 0, 2]), dst: OURS, vlan: None };
    let envelope = Envelope { link, tuple, hop_limit: 64, traffic_class: 0, checksum: TxChecksum::Full };
    let mut buffer = vec![0; 200];
    let len = frame::emit_tcp(&mut buffer, &envelope, header, 0, |_| {});
    buffer.truncate(len);
    buffer
}

fn syn(options: Options) -> Header {
    Header { seq: SeqNum(77), flags: Flags::SYN, wnd: 64_240, options, ..Header::default() }
}

fn usual() -> Options {
    let timestamps = Some(Timestamps { tsval: 1, tsecr: 0 });
    Options { mss: Some(1460), window_scale: Some(7), sack_permitted: true, timestamps, ..Options::default() }
}

/// Mean of many runs of one, in nanoseconds; frames of 1,000 sources take turns.
fn single(program: &XdpProgram, action: u32, frame: impl Fn(u16) -> Vec<u8>) -> f64 {
    let frames: Vec<_> = (0..1_000).map(|n| frame(300 + n)).collect();
    let run = |at: u32| {
        let seen = program.run(&frames[at as usize % frames.len()], 1).expect("it runs");
        assert_eq!(seen.action, action);
        seen.mean.as_nanos() as u64
    };
    (0..RUNS / 10).for_each(|at| _ = run(at));
    // The median is not moved by what the scheduler does meanwhile.
    let mut times: Vec<u64> = (0..RUNS).map(run).collect();
    times.sort_unstable();
    let middle = &times[times.len() / 4..times.len() * 3 / 4];
    middle.iter().sum::<u64>() as f64 / middle.len() as f64
}

fn repeated(program: &XdpProgram, action: u32, frame: &[u8]) -> f64 {
    let seen = program.run(frame, REPEAT).expect("it runs");
    assert_eq!(seen.action, action);
    seen.mean.as_nanos() as f64
}

fn main() {
    let one = match program(1) {
        Ok(program) => program,
        Err(e) => return eprintln!("SKIPPED: {e}"),
    };
    let began = clock::now();
    let no_ip = [&[2; 12][..], &[0x88, 0xcc], &[0; 60]].concat();
    let base = single(&one, PASS, |_| no_ip.clone());
    println!(
        "a frame that is not IP: {:.0} ns repeated, {base:.0} ns in a run of its own",
        repeated(&one, PASS, &no_ip)
    );
    for (workers, program) in [(1, one), (4, program(4).expect("the first one was loaded"))] {
        for (family, v4) in [("IPv4", true), ("IPv6", false)] {
            let usual = single(&program, TX, |from| segment(v4, from, &syn(usual()))) - base;
            let bare = single(&program, TX, |from| segment(v4, from, &syn(Options::default()))) - base;
            let options = Options { timestamps: Some(Timestamps { tsval: 1, tsecr: 2 }), ..Options::default() };
            let ack = Header { ack: SeqNum(3), flags: Flags::ACK, ..syn(options) };
            let refused = repeated(&program, DROP, &segment(v4, 300, &ack));
            println!(
                "{workers} workers, {family}: SYN answered {usual:.0} ns (without options {bare:.0} ns), ACK refused {refused:.0} ns"
            );
        }
    }
    eprintln!("took {:.1} s", clock::now().since(began).as_secs_f64());
}
