#!/bin/busybox sh
# The first process of the guest: sets up its two NICs, runs the checks of one kind of machine, says how they went, and ends
# the machine. What is to be checked stands on the kernel's command line as hf.kind=KIND.
#
# eth0 is Handfast's. eth1 is in a namespace of its own, where the guest's kernel is the peer.
/bin/busybox mkdir -p /proc /sys /dev /tmp /bin /sbin /usr/bin /usr/sbin /www
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
kind=$(tr ' ' '\n' </proc/cmdline | sed -n 's/^hf.kind=//p')

SERVER=10.9.0.2
PEER=10.9.0.1
failed=

say() {
    echo "guest: $*"
}

# check NAME COMMAND...: runs it, and says how it went.
check() {
    name=$1
    shift
    if "$@" >/tmp/said 2>&1; then
        say "good: $name"
    else
        say "BAD: $name"
        sed 's/^/guest:     /' /tmp/said | tail -n 30
        failed=yes
    fi
}

end() {
    [ -z "$failed" ] && echo "GUEST-RC=0" || echo "GUEST-RC=1"
    sync
    poweroff -f
    exit
}

for module in /modules/*.ko; do
    insmod "$module" || say "$module does not load"
done
for _ in $(seq 100); do
    [ -e /sys/class/net/eth0 ] && [ -e /sys/class/net/eth1 ] && break
    sleep 0.1
done

# A link may be down for a while after a program is attached.
wait_for_link() {
    for _ in $(seq 100); do
        [ "$(cat /sys/class/net/eth0/carrier 2>/dev/null)" = 1 ] && return 0
        sleep 0.1
    done
    say "eth0 has no carrier"
    return 1
}

unshare -n sleep 100000 &
PEER_PID=$!
sleep 0.2
peer() {
    nsenter -t "$PEER_PID" -n "$@"
}
ip link set lo up
ip link set eth0 up
ip link set eth1 netns "$PEER_PID"
peer ip link set lo up
peer ip addr add $PEER/24 dev eth1
peer ip link set eth1 up
wait_for_link
# Only now: a driver may settle how many when the link is set up.
queues=$(ls -d /sys/class/net/eth0/queues/rx-* | wc -l)
say "kernel $(uname -r), $queues queues, driver $(basename "$(readlink /sys/class/net/eth0/device/driver)")"

serve() {
    handfast serve --interface eth0 --address $SERVER/24 --service echo@7 --service http@80 --http-body 64K \
        --admin /tmp/admin "$@" >/tmp/served 2>/tmp/served.log &
    SERVE_PID=$!
    for _ in $(seq 300); do
        grep -q '^serving' /tmp/served && break
        kill -0 $SERVE_PID 2>/dev/null || break
        sleep 0.1
    done
    grep -q '^serving' /tmp/served || { cat /tmp/served.log; return 1; }
    wait_for_link
}

stop_serving() {
    kill -TERM $SERVE_PID
    wait $SERVE_PID
    rc=$?
    cat /tmp/served /tmp/served.log
    [ $rc = 0 ] && grep -q 'ledger: exact' /tmp/served
}

# every_queue_is WORD: each worker's driver says so.
every_queue_is() {
    handfast stats --admin /tmp/admin --json >/tmp/stats || return 1
    found=$(grep -o '"driver": *"[^"]*"' /tmp/stats | grep -c " $1\"")
    grep -o '"driver": *"[^"]*"' /tmp/stats
    [ "$found" = "$queues" ]
}

# What the stack received came through the rings.
frames_came() {
    received=$(grep -o '"received": *[0-9]*' /tmp/stats | head -n 1 | tr -dc 0-9)
    echo "frames received: $received"
    [ "${received:-0}" -gt 100 ]
}

page() {
    peer timeout 30 wget -q -O /tmp/page "http://$SERVER/" && [ "$(wc -c </tmp/page)" -ge 65536 ]
}

pages() {
    for _ in $(seq 20); do page || return 1; done
}

echo_a_file() {
    dd if=/dev/urandom of=/tmp/sent bs=1k count=256 2>/dev/null
    peer timeout 60 nc -w 20 $SERVER 7 </tmp/sent >/tmp/back
    ls -l /tmp/sent /tmp/back
    [ "$(sha256sum </tmp/sent)" = "$(sha256sum </tmp/back)" ]
}

# load_from INTERFACE ADDRESS TARGET COUNT [PREFIX COMMAND...]: every connection stands and closes, all of it zero-copy, and
# every reply comes in on the queue whose worker asked for it.
load_from() {
    flags="--interface $1 --address $2/24 --target $3 --connections $4 --zero-copy force"
    count=$4
    shift 4
    # shellcheck disable=SC2086
    timeout 300 "$@" handfast load $flags --concurrency 8 --connect-timeout 20s --json >/tmp/load 2>/tmp/load.log
    rc=$?
    cat /tmp/load /tmp/load.log
    [ $rc = 0 ] && grep -q "\"closed\": *$count," /tmp/load && grep -q '"ledger_exact": *true' /tmp/load &&
        [ "$(grep -o 'queue [0-9]*: af_xdp[^"]* zero-copy' /tmp/load | wc -l)" = "$queues" ] &&
        grep -q '"handed_over": *0$' /tmp/load
}

# How many frames of the last load came in where they were predicted to.
predicted() {
    received=$(grep -o '"received": *[0-9]*' /tmp/load | tail -n 1 | tr -dc 0-9)
    elsewhere=$(grep -o '"handed_over": *[0-9]*' /tmp/load | tail -n 1 | tr -dc 0-9)
    # What was handed over is counted once more where it was taken.
    came=$((received - elsewhere))
    say "frames on the queue that was predicted: $((came - elsewhere)) of $came, $queues queues"
}

# The driver takes its rings down and sets them up anew.
down_and_up() {
    ip link set eth0 down
    sleep 1
    ip link set eth0 up
    wait_for_link && page || { cat /tmp/served.log; handfast stats --admin /tmp/admin; return 1; }
}

# followed WORDS COMMAND...: the command changes eth0, whose driver may set itself up anew, and serve goes on with that.
followed() {
    words=$1
    shift
    "$@" || return 1
    for _ in $(seq 100); do
        grep -q "$words now, and we follow" /tmp/served.log && break
        sleep 0.1
    done
    wait_for_link && page && grep "$words now, and we follow" /tmp/served.log || {
        cat /tmp/served.log
        handfast stats --admin /tmp/admin
        return 1
    }
}

with_kernel_peer() {
    mode=$1
    shift
    check "serve starts ($mode)" serve "$@"
    check "the kernel's TCP fetches pages" pages
    check "256 KiB come back as they were sent" echo_a_file
    check "stats says $mode for each of $queues queues" every_queue_is "$mode"
    check "frames came through the rings" frames_came
    check "the link goes down and up, and it serves on" down_and_up
    check "a smaller MTU is followed" followed "MTU of 1000" ip link set eth0 mtu 1000
    check "the larger one is followed again" followed "MTU of 1500" ip link set eth0 mtu 1500
    check "another Ethernet address is followed" followed "52:54:00:09:00:77" ip link set eth0 address 52:54:00:09:00:77
    check "serve ends in order, its ledger exact" stop_serving
}

opens_to_the_kernel() {
    echo hello >/www/index.html
    peer httpd -p $PEER:8080 -h /www
    load_from eth0 $SERVER $PEER:8080 200 env
}

against_itself() {
    serve --zero-copy force || return 1
    load_from eth1 10.9.0.3 $SERVER:7 "$1" nsenter -t "$PEER_PID" -n || return 1
    every_queue_is zero-copy && ! grep -q '"handed_over": *[1-9]' /tmp/stats && stop_serving
}

refused_without_zero_copy() {
    handfast serve --interface eth0 --address $SERVER/24 --service echo@7 --zero-copy force --admin /tmp/admin
    rc=$?
    [ $rc = 2 ]
}

handfast doctor --interface eth0 2>&1 | sed 's/^/guest: /'
case $kind in
no-iommu)
    # The control: this NIC has no zero-copy, so what the others show is no accident.
    check "zero-copy by force is refused" refused_without_zero_copy
    with_kernel_peer copy
    ;;
*)
    lives=300
    # With RSS, as many as make 20,000 replies.
    [ "$kind" != virtio-rss ] || lives=10000
    with_kernel_peer zero-copy --zero-copy force
    check "200 connections to the kernel's TCP" opens_to_the_kernel
    predicted
    check "$lives connections from Handfast to Handfast" against_itself $lives
    predicted
    ;;
esac
end
