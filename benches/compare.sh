#!/bin/sh
# Handfast beside the kernel's TCP over a veth pair, in one run: connections a second in every pairing of the two, the
# ceiling that bare AF_XDP frames set, medians and spread of interleaved rounds. The arguments are those of
#   cargo bench --bench veth -- compare --help
# as in `sudo benches/compare.sh --rounds 5 --json compare.json --plot compare.svg`. Needs root for the namespaces, and two cores that do
# nothing else: figures of a busy machine are figures of its other work.
set -eu
cd "$(dirname "$0")/.."
. deploy/machine.sh
veth_bench compare "$@"
