//! What the kernel tells of a veth in another namespace, where /sys would tell of the wrong one.

mod common;

use handfast::host::{Route, interface, neighbour_watch, neighbours, resolve, routes};
use handfast::lab::{LEFT, LabConfig, RIGHT};
use handfast::wire::{Addr, MacAddr};
use std::time::Duration;

#[test]
fn facts_routes_and_neighbours_of_a_veth() {
    let config = LabConfig { queues: 3, ..Default::default() };
    let Some(lab) = common::lab("facts", &config) else { return };
    let inside = || {
        let facts = interface(LEFT).unwrap();
        let kernel = Addr::from_v4([10, 77, 0, 1]);
        assert_eq!((facts.driver.as_str(), facts.rx_queues, facts.tx_queues), ("veth", 3, 3));
        assert_eq!((facts.mtu, facts.up, facts.xdp_program), (1500, true, None));
        assert!(facts.addresses.contains(&(kernel, 24)), "{facts:?}");
        assert_ne!(facts.mac, MacAddr::default());
        assert!(interface(RIGHT).is_err(), "the other end is elsewhere");

        for route in [
            "default via 10.77.0.253 metric 7",
            "default via 10.77.0.254 metric 5",
            "10.79.0.0/16 nexthop dev lo nexthop via 10.77.0.252 dev hf-a",
            "10.80.0.0/16 via inet6 fe80::9 dev hf-a",
            "blackhole 10.81.0.0/16",
            "10.82.0.0/16 dev lo",
        ] {
            let args: Vec<&str> = ["route", "add"].into_iter().chain(route.split_whitespace()).collect();
            lab.left.run("ip", &args).unwrap();
        }
        let of = |destination, prefix_len, gateway| Route { destination, prefix_len, gateway: Some(gateway) };
        let v4 = |octets| Addr::from_v4(octets);
        let link_local: Addr = "fe80::9".parse::<std::net::Ipv6Addr>().unwrap().into();
        let all: Vec<Route> = routes(facts.index).unwrap().into_iter().filter(|r| r.destination.is_v4()).collect();
        let defaults: Vec<_> = all.iter().filter(|r| r.prefix_len == 0).map(|r| r.gateway).collect();
        assert_eq!(defaults, [Some(v4([10, 77, 0, 254])), Some(v4([10, 77, 0, 253]))], "the lower metric comes first");
        for route in [
            Route { destination: v4([10, 77, 0, 0]), prefix_len: 24, gateway: None },
            of(v4([10, 79, 0, 0]), 16, v4([10, 77, 0, 252])),
            of(v4([10, 80, 0, 0]), 16, link_local),
        ] {
            assert!(all.contains(&route), "{route:?} in {all:?}");
        }
        assert_eq!(all.len(), 5, "those of other interfaces and to nowhere are left out: {all:?}");
    };
    lab.left.inside(inside).unwrap();
}

#[test]
fn a_neighbour_is_resolved_by_the_kernel_and_its_changes_are_heard() {
    let Some(lab) = common::lab("neighbours", &LabConfig::default()) else { return };
    lab.right.run("ip", &["addr", "add", "10.77.0.2/24", "dev", RIGHT]).unwrap();
    let inside = || {
        let index = interface(LEFT).unwrap().index;
        let (heard_by, heard) = std::sync::mpsc::channel();
        let watch = neighbour_watch(index, move |addr, mac| {
            let _ = heard_by.send((addr, mac));
        })
        .unwrap();

        let peer = Addr::from_v4([10, 77, 0, 2]);
        assert_eq!(neighbours(index).unwrap(), []);
        let mac = resolve(index, peer, Duration::from_secs(3)).unwrap().expect("an answer by ARP");
        assert_eq!(neighbours(index).unwrap(), [(peer, mac)]);
        assert_eq!(heard.recv_timeout(Duration::from_secs(3)).unwrap(), (peer, mac));

        let nobody = Addr::from_v4([10, 77, 0, 99]);
        assert_eq!(resolve(index, nobody, Duration::from_millis(50)).unwrap(), None);

        let other = MacAddr([2, 0, 0, 0, 0, 9]);
        lab.left.run("ip", &["neigh", "replace", "10.77.0.2", "lladdr", &other.to_string(), "dev", LEFT]).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(3);
        while heard.recv_timeout(deadline.duration_since(std::time::Instant::now())).unwrap() != (peer, other) {}
        drop(watch);
    };
    lab.left.inside(inside).unwrap();
}
