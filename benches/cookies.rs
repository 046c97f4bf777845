//! A SYN flood on one core: what a SYN answered with a cookie costs, and what an acknowledgement costs that holds none.
//!
//! Frames lie in memory as a driver's rings would hold them, 64 at a time; each is parsed, its checksums verified, its
//! tuple looked up, and the answer written in its place with checksums made. Making the frames is not measured.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use handfast::stack::{
    App, ConnId, CookieKeys, Cx, DefenceConfig, Disposition, LocalAddr, Secrets, Stack, StackConfig, SynDefence,
};
use handfast::time::{Duration, Instant};
use handfast::wire::frame::{self, Envelope, Link, TxChecksum};
use handfast::wire::tcp::{Flags, Header, Options, Timestamps};
use handfast::wire::{Addr, FourTuple, MacAddr, SeqNum};
use std::hint::black_box;
use std::time::Instant as Clock;

const BURST: usize = 64;
const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn addr(v4: bool, host: u32) -> Addr {
    let [a, b, c, d] = host.to_be_bytes();
    match v4 {
        true => Addr::from_v4([10, b, c, d]),
        false => Addr::from_v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]),
    }
}

struct Quiet;

impl App for Quiet {
    type Message = ();
    fn on_readable(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
    fn on_half_close(&mut self, _cx: &mut Cx<'_>, _conn: ConnId) {}
}

fn server() -> Stack<Quiet> {
    let config = StackConfig {
        listen: vec![7],
        ephemeral_ports: (1024, 65535),
        defence: DefenceConfig { mode: SynDefence::Cookie, ..DefenceConfig::default() },
        ..StackConfig::new(
            OURS,
            [(true, 8), (false, 64)].map(|(v4, prefix_len)| LocalAddr { addr: addr(v4, 1), prefix_len }).into(),
            Secrets { isn: [1; 16], flow_hash: [2; 16], cookie: CookieKeys::alone([3; 16]) },
        )
    };
    Stack::new(config, Quiet, Instant::from_millis(1_000))
}

/// Writes a segment from the `number`-th stranger; gives its length.
fn write(buffer: &mut [u8], v4: bool, number: u32, flags: Flags) -> usize {
    let tuple = FourTuple {
        local_addr: addr(v4, 2 + number % 0xff_0000),
        remote_addr: addr(v4, 1),
        local_port: 1024 + (number.wrapping_mul(0x9e37_79b9) >> 17) as u16,
        remote_port: 7,
    };
    let timestamps = Some(Timestamps { tsval: number, tsecr: number });
    let mut options = Options { timestamps, ..Options::default() };
    if flags == Flags::SYN {
        options = Options { mss: Some(1460), window_scale: Some(7), sack_permitted: true, ..options };
    }
    let ack = SeqNum(if flags == Flags::SYN { 0 } else { number.wrapping_mul(0x85eb_ca6b) });
    let header = Header { seq: SeqNum(number), ack, flags, wnd: 64_000, urgent: 0, options };
    let link = Link { src: MacAddr([2, 0, 0, 0, 0, 9]), dst: OURS, vlan: None };
    let envelope = Envelope { link, tuple, hop_limit: 64, traffic_class: 0, checksum: TxChecksum::Full };
    frame::emit_tcp(buffer, &envelope, &header, 0, |_| {})
}

fn flood(v4: bool, flags: Flags, frames: u64) -> std::time::Duration {
    let mut server = server();
    let mut now = Instant::from_millis(2_000);
    let mut ring: Vec<Box<[u8; 2048]>> = (0..BURST).map(|_| Box::new([0; 2048])).collect();
    let mut measured = std::time::Duration::ZERO;
    let mut sent = 0u32;
    while u64::from(sent) < frames {
        let lens: Vec<usize> = ring
            .iter_mut()
            .map(|buffer| {
                sent += 1;
                write(&mut buffer[..], v4, sent, flags)
            })
            .collect();
        now = now + Duration::from_micros(15);
        let start = Clock::now();
        for (buffer, len) in ring.iter_mut().zip(&lens) {
            if let Disposition::Reply(len) = server.on_frame(now, black_box(&mut buffer[..]), *len) {
                server.on_sent(Some(len));
            }
        }
        server.on_timers(now);
        measured += start.elapsed();
    }
    let cookies = server.snapshot().defence.cookies;
    let (counted, other) = if flags == Flags::SYN { ("sent", "forged") } else { ("forged", "sent") };
    let expired = cookies["expired"];
    assert_eq!((cookies[counted] + expired, cookies[other], cookies["accepted"]), (u64::from(sent), 0, 0));
    measured.mul_f64(frames as f64 / f64::from(sent))
}

fn benchmark(c: &mut Criterion) {
    let mut group = c.benchmark_group("cookies");
    group.throughput(Throughput::Elements(1));
    for (family, v4) in [("IPv4", true), ("IPv6", false)] {
        group.bench_function(format!("SYN answered, {family}"), |b| b.iter_custom(|n| flood(v4, Flags::SYN, n)));
        group.bench_function(format!("forged ACK refused, {family}"), |b| b.iter_custom(|n| flood(v4, Flags::ACK, n)));
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
