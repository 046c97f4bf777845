//! What it costs that a frame comes in at another worker than the owner of its flow.
//!
//! * `owner of a flow`: which worker that is, for a flow that the receiving worker does not know.
//! * `handed over and taken`: the copy into the owner's inbox, and back out, a burst at a time; both ends on one core, so
//!   without the cache lines' way between cores.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use handfast::driver::{Driver, memory};
use handfast::stack::steering::{LEAST_KEY, Search, Share, Steering};
use handfast::wire::{Addr, FourTuple};
use handfast::worker::Exchange;
use std::hint::black_box;
use std::sync::Arc;

const BURST: usize = 64;

fn owner(c: &mut Criterion) {
    let key: [u8; LEAST_KEY] = std::array::from_fn(|i| (i as u8).wrapping_mul(151) ^ 0x35);
    let share = Share::new(&Arc::new(Steering::of_our_own(&key, 4)), 0);
    let mut group = c.benchmark_group("owner of a flow");
    for (family, addr) in [("IPv4", Addr::from_v4([10, 0, 0, 1])), ("IPv6", Addr::from_v6([0x20; 16]))] {
        let mut tuple = FourTuple { local_addr: addr, remote_addr: addr, local_port: 80, remote_port: 0 };
        group.bench_function(family, |b| {
            b.iter(|| {
                tuple.remote_port = tuple.remote_port.wrapping_add(1);
                share.next(black_box(&tuple), true, None)
            });
        });
    }
}

fn hand_over(c: &mut Criterion) {
    let drivers: Vec<_> = (0..2).map(|_| memory::link(4, 2).0).collect();
    let exchange = Exchange::new(drivers.iter().map(Driver::waker));
    let (mut giver, mut owner) = (exchange.desk(0), exchange.desk(1));
    let mut group = c.benchmark_group("handed over and taken");
    group.throughput(Throughput::Elements(BURST as u64));
    for octets in [60, 1514] {
        let frame = vec![7u8; octets];
        group.bench_function(BenchmarkId::from_parameter(octets), |b| {
            b.iter(|| {
                for _ in 0..BURST {
                    assert!(giver.give(Search::begin(0, 1), black_box(&frame)));
                }
                giver.wake_others();
                while let Some(mut parcel) = owner.take() {
                    black_box(parcel.buffer());
                    owner.put_back(parcel);
                }
            });
        });
    }
}

criterion_group!(benches, owner, hand_over);
criterion_main!(benches);
