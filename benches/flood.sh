#!/bin/sh
# Honest connections beside a SYN flood over a veth pair, in one run: Handfast in each step of its defence and the kernel
# with SYN cookies, under floods of 0, 10, 50 and 100 % of what this machine can make. The arguments are those of
#   cargo bench --bench veth -- flood --help
# as in `sudo benches/flood.sh --rounds 3 --json flood.json --plot flood.svg`. Needs root for the namespaces, and two cores that do nothing
# else. The flood never leaves the namespaces made for it.
set -eu
cd "$(dirname "$0")/.."
. deploy/machine.sh
veth_bench flood "$@"
