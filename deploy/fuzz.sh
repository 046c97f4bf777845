#!/bin/sh
# Runs each fuzz target for so many seconds (60 unless told), from the seeds of tests/fuzz/seeds on:
#   deploy/fuzz.sh [seconds] [target ...]
#
# Needs cargo-fuzz, which it does not install by itself: `cargo install cargo-fuzz`. What the fuzzer finds new stays in
# tests/fuzz/corpus; an input that fails is kept in tests/fuzz/artifacts, and the fuzzer prints the command that runs it.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- parse connection stack

if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "fuzz.sh: cargo-fuzz is missing; \`cargo install cargo-fuzz\` builds it in a minute" >&2
    exit 2
fi
# Coverage is one of the compiler's unstable flags: a stable compiler takes it when asked so. There is no unsafe code in
# what is fuzzed, so no sanitizer is needed.
export RUSTC_BOOTSTRAP=1
for target; do
    mkdir -p "tests/fuzz/corpus/$target"
    cargo fuzz run --fuzz-dir tests/fuzz --sanitizer none "$target" "tests/fuzz/corpus/$target" "tests/fuzz/seeds/$target" \
        -- -max_total_time="$seconds" -max_len=1500 -print_final_stats=1
done
