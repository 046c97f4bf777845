#!/bin/sh
# Runs Handfast on zero-copy queues without a NIC of one's own: in a QEMU guest under plain emulation, with drivers that real
# servers use. Handshakes, data and closes against the guest kernel's TCP on the other NIC, and against itself; the lane
# fails when a queue did not say "zero-copy".
#   deploy/guest.sh [virtio|virtio-rss|no-iommu|igb ...]     (without a kind: virtio virtio-rss no-iommu, igb when it is cached)
#
# virtio      two virtio NICs with one queue each
# virtio-rss  two virtio NICs with two queues each and RSS (needs root and /dev/net/tun, for taps in a namespace of their own)
# no-iommu    the control: a NIC that has no zero-copy must fall back to copying, and refuse it by force
# igb         two emulated Intel 82576, whose driver is that of real cards
#
# QEMU, busybox and the guest's kernel are Debian packages, downloaded from the machine's own mirror and unpacked into a
# cache folder ($HANDFAST_GUEST_CACHE, else ~/.cache/handfast-guest): nothing is installed. Rates under emulation say nothing.
# Exit code 0: every kind went well; 1: one did not; 3: it could not be tried, said aloud.
set -eu
cd "$(dirname "$0")/.."
. deploy/machine.sh

QEMU=1:10.0.2+ds-2+deb13u1~bpo12+1
SEABIOS=1.16.3-2~bpo12+1
KERNEL=7.3.4+deb13
KERNEL_REVISION=7.3.4-1~bpo13+1
cache=${HANDFAST_GUEST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/handfast-guest}
# What boots in a namespace of its own is this script once more, with the same folder.
work=${GUEST_WORK:-$(mktemp -d)}
[ -n "${GUEST_WORK:-}" ] || trap 'rm -rf "$work"' EXIT

cannot() {
    say "SKIPPED: the zero-copy guest: $*"
    exit 3
}

# --- packages ---

# apt_root NAME SUITE...: a scratch root of apt's, with these suites of the mirror that this machine uses.
apt_root() {
    name=$1
    shift
    root=$cache/apt-$name
    mkdir -p "$root/etc/sources.list.d" "$root/etc/preferences.d" "$root/lists/partial" "$root/cache/archives/partial"
    for suite; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
    done >"$root/etc/sources.list"
}

# apt_in NAME COMMAND...
apt_in() {
    root=$cache/apt-$1
    shift
    apt-get -qq -o Dir::Etc="$root/etc" -o Dir::State::lists="$root/lists" -o Dir::Cache="$root/cache" \
        -o APT::Sandbox::User=root -o Acquire::Languages=none -o Debug::NoLocking=1 \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@" </dev/null >&2
}

# unpack STAMP DEB...: into the system of the cache, once.
unpack() {
    stamp=$1
    shift
    for deb; do
        dpkg-deb -x "$deb" "$cache/system"
    done
    touch "$cache/$stamp"
}

find_mirror() {
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || cannot "there is no apt to fetch QEMU with"
    [ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" = bookworm ] || cannot "its packages are pinned for Debian 12"
    mirror=$(cat /etc/apt/sources.list.d/*.sources 2>/dev/null | sed -n 's/^URIs: *\([^ ]*\).*/\1/p' | grep '/debian/*$' | head -n 1)
    [ -n "$mirror" ] || mirror=$(sed -n 's/^deb  *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\).*/\2/p' /etc/apt/sources.list 2>/dev/null |
        grep '/debian/*$' | head -n 1)
    [ -n "$mirror" ] || cannot "the machine's Debian mirror is not to be found in its apt configuration"
}

fetch_qemu() {
    [ -e "$cache/qemu-$QEMU" ] && return
    find_mirror
    say "fetching QEMU and busybox into $cache"
    apt_root qemu bookworm bookworm-backports
    apt_in qemu update || cannot "the mirror cannot be reached"
    apt_in qemu install -y -d --no-install-recommends qemu-system-x86="$QEMU" qemu-system-common="$QEMU" \
        qemu-system-data="$QEMU" seabios="$SEABIOS" busybox-static || cannot "QEMU $QEMU is not to be had"
    unpack "qemu-$QEMU" "$cache"/apt-qemu/cache/archives/*.deb
}

# fetch_kernel FLAVOUR: cloud-amd64, or amd64, which has drivers of real cards.
fetch_kernel() {
    [ -e "$cache/kernel-$KERNEL-$1" ] && return
    find_mirror
    say "fetching the guest's kernel $KERNEL-$1 into $cache"
    apt_root kernel trixie-backports
    apt_in kernel update || cannot "the mirror cannot be reached"
    mkdir -p "$cache/kernel-$1"
    (cd "$cache/kernel-$1" &&
        apt_in kernel download "linux-binary-$KERNEL-$1=$KERNEL_REVISION" "linux-modules-$KERNEL-$1=$KERNEL_REVISION") ||
        cannot "Linux $KERNEL-$1 is not to be had"
    unpack "kernel-$KERNEL-$1" "$cache/kernel-$1"/*.deb
}

# --- the guest ---

build() {
    # Without a library beside it the binary runs in a guest that has none.
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target x86_64-unknown-linux-gnu
    handfast=${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-gnu/release/handfast
}

# initramfs FLAVOUR MODULE...: busybox, handfast, the modules in the order in which they are loaded, and the first process.
initramfs() {
    flavour=$1
    shift
    modules=$cache/system/usr/lib/modules/$KERNEL-$flavour
    rm -rf "$work/root"
    mkdir -p "$work/root/bin" "$work/root/modules"
    cp "$cache/system/bin/busybox" "$handfast" "$work/root/bin/"
    cp deploy/guest/init.sh "$work/root/init"
    number=10
    for module; do
        found=$(find "$modules" -name "$module.ko.xz")
        [ -n "$found" ] || cannot "the kernel has no module $module"
        xz -dc "$found" >"$work/root/modules/$number-$module.ko"
        number=$((number + 1))
    done
    (cd "$work/root" && find . | "$cache/system/bin/busybox" cpio -o -H newc 2>/dev/null) | gzip -1 >"$work/initramfs"
    kernel=$modules/vmlinuz
}

# boot KIND QEMU-ARGUMENT...: runs the guest to its end; whether it went well.
boot() {
    kind=$1
    shift
    log=$work/$kind.log
    # KVM is not asked for: where it is nested it may hang.
    timeout 480 env LD_LIBRARY_PATH="$cache/system/usr/lib/x86_64-linux-gnu:$cache/system/lib/x86_64-linux-gnu" \
        "$cache/system/usr/bin/qemu-system-x86_64" -L "$cache/system/usr/share/qemu" -L "$cache/system/usr/share/seabios" \
        -accel tcg,thread=multi -machine q35 -cpu max -smp 2 -m 384 -nodefaults -nographic -no-reboot -serial stdio \
        -kernel "$kernel" -initrd "$work/initramfs" -append "console=ttyS0 panic=-1 quiet hf.kind=$kind" \
        "$@" </dev/null >"$log" 2>&1 || true
    tr -d '\r' <"$log" | sed -n "s/.*guest:/$kind:/p" >&2
    if tr -d '\r' <"$log" | grep -aq '^GUEST-RC=0$'; then
        say "$kind: good"
    else
        say "$kind: FAILED; its console ends with"
        tail -n 30 "$log" >&2
        return 1
    fi
}

hub() {
    echo "-netdev hubport,id=n0,hubid=0 -netdev hubport,id=n1,hubid=0"
}

# virtio_nics EXTRA: the two NICs on n0 and n1.
virtio_nics() {
    for number in 0 1; do
        echo "-device virtio-net-pci,netdev=n$number,mac=52:54:00:09:00:0$((number + 1)),romfile=,disable-legacy=on$1"
    done
}

run() {
    # The arguments are words without blanks.
    # shellcheck disable=SC2046
    case $1 in
    virtio)
        initramfs cloud-amd64 failover net_failover virtio_net
        boot virtio $(hub) $(virtio_nics ,iommu_platform=on)
        ;;
    no-iommu)
        initramfs cloud-amd64 failover net_failover virtio_net
        boot no-iommu $(hub) $(virtio_nics "")
        ;;
    virtio-rss)
        if [ "$(id -u)" != 0 ] || [ ! -e /dev/net/tun ]; then
            say "SKIPPED: virtio-rss: its taps need root and /dev/net/tun"
            return 0
        fi
        initramfs cloud-amd64 failover net_failover virtio_net
        boot_with_taps $(virtio_nics ,iommu_platform=on,mq=on,vectors=6,rss=on)
        ;;
    igb)
        fetch_kernel amd64
        initramfs amd64 dca i2c-algo-bit igb
        boot igb $(hub) \
            -device pcie-root-port,id=p0,chassis=1 -device igb,netdev=n0,bus=p0,mac=52:54:00:09:00:01,romfile= \
            -device pcie-root-port,id=p1,chassis=2 -device igb,netdev=n1,bus=p1,mac=52:54:00:09:00:02,romfile=
        ;;
    *)
        say "there is no kind $1: virtio, virtio-rss, no-iommu or igb"
        exit 2
        ;;
    esac
}

# Two taps of two queues on a bridge, in a namespace that goes with this process.
boot_with_taps() {
    export kernel
    GUEST_WORK=$work unshare -n sh -c '
        ip link add br0 type bridge && ip link set br0 up
        for tap in t0 t1; do
            ip tuntap add "$tap" mode tap multi_queue && ip link set "$tap" master br0 up || exit 1
        done
        exec "$@"' taps deploy/guest.sh --boot-virtio-rss "$@"
}

if [ "${1:-}" = --boot-virtio-rss ]; then
    shift
    boot virtio-rss -netdev tap,id=n0,ifname=t0,script=no,downscript=no,queues=2,vhost=off \
        -netdev tap,id=n1,ifname=t1,script=no,downscript=no,queues=2,vhost=off "$@"
    exit
fi

[ "$(uname -m)" = x86_64 ] || cannot "it is made for x86-64"
need xz xz-utils || cannot "xz is missing"
prepare
fetch_qemu
fetch_kernel cloud-amd64
build
if [ $# -eq 0 ]; then
    set -- virtio virtio-rss no-iommu
    [ -e "$cache/kernel-$KERNEL-amd64" ] && set -- "$@" igb
fi
failed=
for kind; do
    run "$kind" || failed="$failed $kind"
done
[ -z "$failed" ] || { say "FAILED:$failed"; exit 1; }
