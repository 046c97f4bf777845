#!/bin/sh
# Sets a NIC up for Handfast; run it before `handfast serve`, as root. What the driver cannot do is said and passed over.
#   deploy/nic.sh INTERFACE [QUEUES]        (as many queues as there are cores, if none are named, and no more than it has)
# With DRY_RUN=yes the commands are printed and not run. Exit code 2: there is no such interface, no ethtool, or we are not root.
set -eu

say() {
    echo "nic.sh: $*" >&2
}

interface=${1:-}
queues=${2:-$(nproc)}
case $queues in
*[!0-9]* | "" | 0)
    say "QUEUES must be a number from 1 on, and is '$queues'"
    exit 2
    ;;
esac
if ! [ -e "/sys/class/net/$interface" ] || [ -z "$interface" ]; then
    say "there is no interface '$interface'; \`ip -br link\` shows what there is"
    exit 2
fi
command -v ethtool >/dev/null || { say "ethtool is missing; \`apt-get install ethtool\`"; exit 2; }
if [ -z "${DRY_RUN:-}" ] && [ "$(id -u)" != 0 ]; then
    say "only root may set a NIC up: \`sudo $0 $*\`; DRY_RUN=yes shows what it would do"
    exit 2
fi
driver=$(ethtool -i "$interface" | sed -n 's/^driver: //p')

# try WHY COMMAND...
try() {
    why=$1
    shift
    echo "$*   # $why"
    [ -z "${DRY_RUN:-}" ] || return 0
    told=$("$@" 2>&1) || say "passed over, $driver cannot: $* ($(echo "$told" | tail -n 1))"
}

# --- queues ---
# The pre-set maximum: of combined queues where there are such, else the lesser of rx and tx, as a worker needs one of each.
most=$(ethtool -l "$interface" 2>/dev/null | awk '
    /^Current/ { exit }
    /^(RX|TX|Combined):/ && $2 + 0 > 0 { most[$1] = $2 + 0 }
    END {
        if ("Combined:" in most) print most["Combined:"]
        else if (most["RX:"] && most["TX:"]) print (most["RX:"] < most["TX:"] ? most["RX:"] : most["TX:"])
    }')
if [ -n "$most" ] && [ "$queues" -gt "$most" ]; then
    say "$interface has $most queues at most, so it gets $most instead of $queues"
    queues=$most
fi
case $driver in
veth) try "a worker for each queue" ethtool -L "$interface" rx "$queues" tx "$queues" ;;
*) try "a worker for each queue, a core for each worker: more queues would make workers share cores" \
    ethtool -L "$interface" combined "$queues" ;;
esac
try "a burst waits in the NIC while the worker is elsewhere for a moment; more would only push it out of the cache" \
    ethtool -G "$interface" rx 1024 tx 1024

# --- which queue a flow comes in on ---
try "the queue of a flow can then be foretold, so frames come in at their owner" ethtool -X "$interface" hfunc toeplitz
for flow in tcp4 tcp6; do
    try "ports as well as addresses: clients behind one address spread" ethtool -N "$interface" rx-flow-hash $flow sdfn
done
try "each queue has the same share of flows" ethtool -X "$interface" equal "$queues"
try "rules that send flows elsewhere would take them from their owner" ethtool -K "$interface" ntuple off

# --- offloads ---
try "XDP wants frames as they were on the wire" ethtool -K "$interface" lro off
try "the NIC must not put frames together for us" ethtool -K "$interface" rx-gro-hw off
try "tags stay in the frame, where the stack reads them" ethtool -K "$interface" rxvlan off
try "a full receiver drops and counts; it does not stop the switch's port for everybody" \
    ethtool -A "$interface" rx off tx off

# --- interrupts ---
try "under load the worker polls; a fixed short delay beats one that hunts for the right one" \
    ethtool -C "$interface" adaptive-rx off adaptive-tx off
try "8 us gather a burst at a million frames a second, and cost no handshake more than that" \
    ethtool -C "$interface" rx-usecs 8 tx-usecs 8

device=/sys/class/net/$interface/device
number=0
for folder in "$device/msi_irqs" "$device/../msi_irqs"; do
    [ -d "$folder" ] || continue
    for interrupt in $(ls "$folder" | sort -n); do
        # An interrupt that nobody asked for, or that is no queue's, has no such line.
        grep -Eiq "^ *$interrupt:.*(rx|input|comp|$interface-[0-9])" /proc/interrupts || continue
        core=$((number % $(nproc)))
        echo "echo $core >/proc/irq/$interrupt/smp_affinity_list   # queue $number's interrupt beside its worker"
        if [ -z "${DRY_RUN:-}" ] && ! echo $core 2>/dev/null >"/proc/irq/$interrupt/smp_affinity_list"; then
            say "passed over, the kernel keeps interrupt $interrupt where it is"
        fi
        number=$((number + 1))
    done
    break
done
for process in /proc/[0-9]*/comm; do
    if [ "$(cat "$process" 2>/dev/null)" = irqbalance ]; then
        say "irqbalance runs and will move the interrupts again; \`systemctl disable --now irqbalance\`"
        break
    fi
done
if [ "$driver" = virtio_net ]; then
    say "virtio_net forgets its table when an XDP program is attached: once Handfast serves, \`ethtool -X $interface equal $queues\`"
fi
