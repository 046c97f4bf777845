//! Which interrupt tells of which queue, and on which core it comes: read from /proc/interrupts, /proc/irq and the PCI
//! device in /sys, which no network namespace hides.

use super::ethtool::bus_address;
use std::fs;
use std::io;
use std::path::PathBuf;

/// Where PCI devices are.
const PCI: &str = "/sys/bus/pci/devices";

/// The interrupt of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueInterrupt {
    /// The rx queue.
    pub queue: u32,
    /// The interrupt's number.
    pub irq: u32,
    /// The core that it comes on, as far as that is told.
    pub core: Option<usize>,
}

/// The interrupts of the interface's rx queues, as far as their names tell; none for an interface without hardware.
pub fn queue_interrupts(interface: &str) -> Vec<QueueInterrupt> {
    let Ok(bus) = bus_address(interface) else { return Vec::new() };
    let of_device = |irq: u32| PathBuf::from(format!("{PCI}/{bus}/msi_irqs/{irq}")).exists();
    let table = fs::read_to_string("/proc/interrupts").unwrap_or_default();
    let mut found: Vec<_> = interrupts(&table)
        .filter(|(irq, _)| !bus.is_empty() && of_device(*irq))
        .filter_map(|(irq, name)| Some(QueueInterrupt { queue: rx_queue(name)?, irq, core: core_of(irq) }))
        .collect();
    found.sort_by_key(|found| found.queue);
    found.dedup_by_key(|found| found.queue);
    found
}

/// Has an interrupt come on one core: a write to /proc/irq, which needs root.
///
/// # Errors
/// Without the privilege, or where the driver manages the interrupt by itself (EIO).
pub fn move_interrupt(irq: u32, core: usize) -> io::Result<()> {
    fs::write(format!("/proc/irq/{irq}/smp_affinity_list"), core.to_string())
}

/// The cores that are near the interface's device, all on its NUMA node; `None` where nothing is told.
pub fn near_cores(interface: &str) -> Option<Vec<usize>> {
    let bus = bus_address(interface).ok().filter(|bus| !bus.is_empty())?;
    Some(core_list(&fs::read_to_string(format!("{PCI}/{bus}/local_cpulist")).ok()?))
}

fn core_of(irq: u32) -> Option<usize> {
    // Where it may come is no answer: the kernel chooses one of these.
    let effective = fs::read_to_string(format!("/proc/irq/{irq}/effective_affinity_list")).ok()?;
    core_list(&effective).first().copied()
}

/// Number and name of each interrupt in the text of /proc/interrupts.
fn interrupts(table: &str) -> impl Iterator<Item = (u32, &str)> {
    table.lines().filter_map(|line| {
        let (irq, rest) = line.split_once(':')?;
        Some((irq.trim().parse().ok()?, rest.split_whitespace().last()?))
    })
}

/// The rx queue that an interrupt of this name tells of. Drivers write `eth0-TxRx-3`, `eth0-rx-3`, `virtio2-input.3`,
/// `mlx5_comp3@pci:0000:01:00.0`, `ice-eth0-TxRx-3`, `eth0-Tx-Rx-3`.
fn rx_queue(name: &str) -> Option<u32> {
    let name = name.split('@').next()?.to_ascii_lowercase();
    let words = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let queue = name[words.len()..].parse().ok()?;
    ["rx", "input", "comp"].iter().any(|word| words.trim_end_matches(['-', '.', '_']).ends_with(word)).then_some(queue)
}

/// A list as the kernel writes it: `0-3,8`.
fn core_list(text: &str) -> Vec<usize> {
    let ranges = text.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_drivers_give_tell_the_queue() {
        for (name, queue) in [
            ("eth0-TxRx-3", Some(3)),
            ("ice-eth0-TxRx-12", Some(12)),
            ("eth0-Tx-Rx-0", Some(0)),
            ("eth0-rx-1", Some(1)),
            ("virtio2-input.7", Some(7)),
            ("mlx5_comp5@pci:0000:01:00.0", Some(5)),
            ("eth0-tx-1", None),
            ("virtio2-output.7", None),
            ("virtio2-config", None),
            ("mlx5_async0@pci:0000:01:00.0", None),
            ("eth0", None),
        ] {
            assert_eq!(rx_queue(name), queue, "{name}");
        }
    }

    #[test]
    fn the_table_of_interrupts_is_read() {
        let table = "           CPU0       CPU1       \n 38:          0       5735 PCI-MSIX-0000:00:03.0   1-edge      \
                     virtio2-input.0\nNMI:          0          0   Non-maskable interrupts\nERR:          0\n";
        assert_eq!(interrupts(table).collect::<Vec<_>>(), [(38, "virtio2-input.0")]);
    }

    #[test]
    fn lists_of_cores_are_read_as_the_kernel_writes_them() {
        assert_eq!(core_list("0-2,8\n"), [0, 1, 2, 8]);
        assert_eq!(core_list("5"), [5]);
        assert_eq!(core_list("\n"), Vec::<usize>::new());
    }

    #[test]
    fn an_interface_without_hardware_has_none() {
        assert_eq!((queue_interrupts("lo"), near_cores("lo")), (Vec::new(), None));
    }
}
