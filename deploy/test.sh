#!/bin/sh
# Installs what is missing and runs every check: format, lints, the XDP object, the demo, a simulation of a million
# connections under a fresh seed (a failure names the command that replays it), the benchmarks, zero-copy queues in a QEMU
# guest, all tests.
#
# It takes long; the README's Working on it has the few tests that one runs while working.
#
# Tests that need network namespaces need root, and skip aloud without. Every check runs also when one before it failed;
# the exit code is 0 when none did.
set -eu
cd "$(dirname "$0")/.."
. deploy/machine.sh

failed=
step() {
    name=$1
    shift
    say "--- $name: $*"
    start=$(date +%s)
    if "$@" </dev/null; then
        say "$name: good, $(($(date +%s) - start)) s"
    else
        say "$name: FAILED"
        failed="$failed $name"
    fi
}

skip() {
    say "SKIPPED: $*"
}

prepare
need curl curl || skip "the tests that call curl"
need nc netcat-openbsd || skip "the tests that call nc"
need strace strace || skip "the comparison of the systemd unit's filter with the system calls that serving makes"
need ping iputils-ping || skip "the tests that call ping"
[ "$(id -u)" = 0 ] || skip "what needs root; \`sudo ./deploy/test.sh\` runs it as well"

if cargo fmt --version >/dev/null 2>&1; then
    step format cargo fmt --check
else
    skip "the format: rustfmt is missing (\`rustup component add rustfmt\`)"
fi
if cargo clippy --version >/dev/null 2>&1; then
    step lints cargo clippy --locked --all-targets --quiet -- -D warnings
else
    skip "the lints: clippy is missing (\`rustup component add clippy\`)"
fi
if need clang-14 clang-14 && need llvm-strip-14 llvm-14 && need /usr/include/bpf/bpf_helpers.h libbpf-dev; then
    step xdp-object xdp/build.sh --check
else
    skip "the comparison of xdp/handfast.bpf.o with its sources, which needs clang-14, llvm-14 and libbpf-dev"
fi

step build cargo build --release --locked
step demo "${CARGO_TARGET_DIR:-target}/release/handfast" demo --duration 2s
step simulation "${CARGO_TARGET_DIR:-target}/release/handfast" sim --connections 1000000
step benchmarks cargo bench --locked --bench '*' -- --quick
# 3: it could not be tried, which it has said itself.
zero_copy() {
    deploy/guest.sh || [ $? = 3 ]
}
step zero-copy-guest zero_copy
step doc-tests cargo test --locked --doc --quiet

[ -z "$failed" ] || say "FAILED so far:$failed"
# Last, so that the log ends with the runner's summary. The tests that make networks run one after another.
if cargo nextest --version >/dev/null 2>&1; then
    step tests cargo nextest run --locked --no-fail-fast
else
    RUST_TEST_THREADS=1 step tests cargo test --locked --no-fail-fast --all-targets
fi
[ -z "$failed" ] || { say "FAILED:$failed"; exit 1; }
