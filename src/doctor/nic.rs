//! How the NIC shares out what it receives: RSS, the sizes of its rings, the cores of its interrupts.

use super::interface::change_queues;
use super::{Finding, State, core_count};
use crate::host::{self, InterfaceFacts, QueueInterrupt, ReceiveSteering, RingSizes};
use std::collections::BTreeSet;
use std::fs;

/// Descriptors that a ring in the NIC should have where it can: a burst of a thousand frames while the worker is away.
const RING_WANTED: u32 = 1024;

/// What is known of it, asked of the driver.
pub(super) fn examine(facts: &InterfaceFacts) -> Vec<Finding> {
    let name = &facts.name;
    vec![
        steering(facts, host::receive_steering(name).ok().as_ref()),
        rings(name, host::ring_sizes(name).ok()),
        placement(facts.rx_queues, &host::queue_interrupts(name), irqbalance_runs()),
    ]
}

/// Whether a flow's owner is the worker of the queue that it comes in on.
fn steering(facts: &InterfaceFacts, told: Option<&ReceiveSteering>) -> Finding {
    let topic = "RSS";
    let (name, queues) = (&facts.name, facts.rx_queues);
    if queues <= 1 {
        return Finding::good(topic, "one queue: nothing to share out");
    }
    let handed_over =
        |why: &str| format!("{why}: frames are handed over to the owners of their flows, which costs a copy");
    let Some(told) = told.filter(|told| !told.table.is_empty() && !told.key.is_empty()) else {
        let one_queue = change_queues(facts, 1);
        // Over a veth the sender's core chooses the queue, anew with each retransmission.
        let cure = match facts.driver.as_str() {
            "veth" => format!("it works so; {one_queue} leaves nothing to hand over"),
            _ => format!(
                "it works so; `serve --sharding arrival` serves each flow that keeps to its queue there, and {one_queue} leaves \
                 nothing to hand over"
            ),
        };
        return Finding::lack(topic, State::Warn, handed_over("the driver tells no key and table"), cure);
    };
    if let Some(why) = told.unforeseeable() {
        return Finding::lack(topic, State::Warn, handed_over(why), steering_cure(name, told));
    }
    let used: BTreeSet<_> = told.table.iter().filter(|&&queue| queue < queues).collect();
    let found = format!(
        "Toeplitz, a key of {} octets, a table of {} entries over {} of {queues} queues",
        told.key.len(),
        told.table.len(),
        used.len()
    );
    if used.len() < queues as usize {
        return Finding::lack(topic, State::Warn, handed_over(&found), format!("`ethtool -X {name} equal {queues}`"));
    }
    Finding::good(topic, found)
}

/// The command for the first thing that makes the queue of a flow unforeseeable.
fn steering_cure(name: &str, told: &ReceiveSteering) -> String {
    match told.by_four_tuple {
        _ if !told.toeplitz => format!("`ethtool -X {name} hfunc toeplitz`"),
        _ if told.symmetric => format!("`ethtool -X {name} xfrm none`"),
        [Some(false), _] => format!("`ethtool -N {name} rx-flow-hash tcp4 sdfn`"),
        _ => format!("`ethtool -N {name} rx-flow-hash tcp6 sdfn`"),
    }
}

fn rings(name: &str, sizes: Option<RingSizes>) -> Finding {
    let topic = "rings of the NIC";
    let Some(RingSizes { rx, rx_max, tx, tx_max }) = sizes else {
        return Finding::good(topic, "it has none of its own");
    };
    let found = format!("rx {rx} of {rx_max}, tx {tx} of {tx_max} descriptors");
    let wanted = |max: u32| RING_WANTED.min(max);
    if rx < wanted(rx_max) || tx < wanted(tx_max) {
        let cure = format!("`ethtool -G {name} rx {} tx {}`", rx.max(wanted(rx_max)), tx.max(wanted(tx_max)));
        return Finding::lack(topic, State::Warn, format!("{found}: a burst may be lost"), cure);
    }
    Finding::good(topic, found)
}

/// Whether the interrupts of several queues are on several cores, and stay there.
fn placement(queues: u32, interrupts: &[QueueInterrupt], balanced: bool) -> Finding {
    let topic = "interrupts";
    if interrupts.is_empty() {
        return Finding::good(topic, "no rx queue has one that is told");
    }
    let listed = interrupts.iter().map(|QueueInterrupt { queue, irq, core }| match core {
        Some(core) => format!("queue {queue}: {irq} on core {core}"),
        None => format!("queue {queue}: {irq}, on a core that is not told"),
    });
    let listed = listed.collect::<Vec<_>>().join(", ");
    let cores: BTreeSet<_> = interrupts.iter().map(|i| i.core).collect();
    if queues > 1 && core_count() > 1 && interrupts.len() > 1 && cores.len() == 1 {
        let commands = interrupts
            .iter()
            .map(|i| format!("echo {} > /proc/irq/{}/smp_affinity_list", i.queue as usize % core_count(), i.irq));
        let cure = format!("`{}`", commands.collect::<Vec<_>>().join("; "));
        return Finding::lack(topic, State::Warn, format!("all come on the same core: {listed}"), cure);
    }
    if balanced {
        let cure = "`systemctl stop irqbalance`, or ban these interrupts in its configuration";
        return Finding::lack(
            topic,
            State::Warn,
            format!("irqbalance moves them away from the workers: {listed}"),
            cure,
        );
    }
    Finding::good(topic, listed)
}

/// Whether the daemon that moves interrupts about runs.
fn irqbalance_runs() -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    let name = |process: fs::DirEntry| fs::read_to_string(process.path().join("comm")).unwrap_or_default();
    processes.filter_map(Result::ok).any(|process| name(process).trim_end() == "irqbalance")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(rx_queues: u32) -> InterfaceFacts {
        InterfaceFacts { name: "eth0".into(), rx_queues, ..Default::default() }
    }

    #[test]
    fn what_the_nic_shares_out_badly_has_the_command_that_mends_it() {
        let good = ReceiveSteering {
            toeplitz: true,
            key: vec![1; 40],
            table: vec![0, 1, 0, 1],
            by_four_tuple: [Some(true); 2],
            ..Default::default()
        };
        let of = |told: &ReceiveSteering| steering(&facts(2), Some(told));
        assert_eq!(of(&good).found, "Toeplitz, a key of 40 octets, a table of 4 entries over 2 of 2 queues");
        for (bad, cure) in [
            (ReceiveSteering { toeplitz: false, ..good.clone() }, "hfunc toeplitz"),
            (ReceiveSteering { symmetric: true, ..good.clone() }, "xfrm none"),
            (ReceiveSteering { by_four_tuple: [Some(false), None], ..good.clone() }, "rx-flow-hash tcp4"),
            (ReceiveSteering { by_four_tuple: [Some(true), Some(false)], ..good.clone() }, "rx-flow-hash tcp6"),
            (ReceiveSteering { table: vec![0; 4], ..good.clone() }, "-X eth0 equal 2"),
            (ReceiveSteering { key: vec![], ..good.clone() }, "combined 1"),
        ] {
            let finding = of(&bad);
            assert!(finding.state == State::Warn && finding.cure.unwrap().contains(cure), "{bad:?}");
        }
        assert_eq!(steering(&facts(2), None).state, State::Warn);
        let by_arrival = |driver: &str| {
            let facts = InterfaceFacts { driver: driver.into(), ..facts(2) };
            steering(&facts, None).cure.unwrap().contains("--sharding arrival")
        };
        assert_eq!((by_arrival("ena"), by_arrival("veth")), (true, false), "a flow does not keep to a queue over veth");
        assert_eq!(steering(&facts(1), None).state, State::Good);
    }

    #[test]
    fn a_small_ring_is_made_as_large_as_is_wanted_or_as_it_can_be() {
        let of = |rx, rx_max| rings("eth0", Some(RingSizes { rx, rx_max, tx: 1024, tx_max: 4096 }));
        assert_eq!(of(256, 4096).cure.unwrap(), "`ethtool -G eth0 rx 1024 tx 1024`");
        assert_eq!(of(64, 128).cure.unwrap(), "`ethtool -G eth0 rx 128 tx 1024`");
        assert_eq!((of(256, 256).state, of(2048, 4096).state), (State::Good, State::Good));
        assert_eq!(rings("eth0", None).state, State::Good);
    }

    #[test]
    fn interrupts_on_one_core_and_those_that_move_are_told() {
        let on = |queue: u32, core: usize| QueueInterrupt { queue, irq: 40 + queue, core: Some(core) };
        let apart = [on(0, 0), on(1, 1)];
        assert_eq!(placement(2, &apart, false).found, "queue 0: 40 on core 0, queue 1: 41 on core 1");
        assert!(placement(2, &apart, true).cure.unwrap().contains("irqbalance"));
        assert_eq!(placement(1, &[], true).state, State::Good);
        if core_count() > 1 {
            let cure = placement(2, &[on(0, 0), on(1, 0)], false).cure.unwrap();
            assert!(cure.contains("echo 1 > /proc/irq/41/smp_affinity_list"), "{cure}");
        }
    }
}
