#!/bin/sh
# Installs what is missing, builds Handfast and runs its demo; the arguments are those of `handfast demo`, as `--duration 10s`.
#
# The network of the demo is made of namespaces of its own; the machine's interfaces are not touched. Without root it runs
# over a link in memory instead.
set -eu
cd "$(dirname "$0")/.."
. deploy/machine.sh

prepare
cargo build --release --locked
handfast=${CARGO_TARGET_DIR:-target}/release/handfast
if [ "$AS_ROOT" = sudo ]; then
    exec sudo "$handfast" demo "$@"
fi
exec "$handfast" demo "$@"
