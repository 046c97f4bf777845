#!/bin/sh
# Builds the XDP program: xdp/handfast.bpf.c to xdp/handfast.bpf.o, which is committed so that `cargo build` needs no
# clang. The octets are the same in every directory, so that `--check` can compare them.
#
#   xdp/build.sh           builds and replaces the committed object
#   xdp/build.sh --check   builds beside it and compares; exit code 1 when they differ
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "xdp/build.sh: $*" >&2
    exit 2
}

command -v clang-14 >/dev/null || fail "clang-14 is missing; \`apt-get install clang-14\` installs it"
strip=$(command -v llvm-strip-14 || command -v llvm-strip) || fail "llvm-strip is missing; \`apt-get install llvm-14\` installs it"
[ -e /usr/include/bpf/bpf_helpers.h ] || fail "bpf/bpf_helpers.h is missing; \`apt-get install libbpf-dev\` installs it"

# The architecture's <asm/types.h>, of which only types of fixed size are used.
arch_headers=/usr/include/$(clang-14 -print-multiarch 2>/dev/null || echo x86_64-linux-gnu)
[ -e "$arch_headers/asm/types.h" ] || fail "asm/types.h is missing; \`apt-get install linux-libc-dev\` installs it"

# Writes the object to $1. The relative path and the prefix map keep this directory out of it; -g makes the BTF that
# the maps need, and the strip leaves the BTF and takes the rest of the debug information away.
build() {
    clang-14 -O2 -g -Wall -Wextra -Werror -target bpf -mcpu=v3 "-ffile-prefix-map=$PWD=." "-I$arch_headers" \
        -c xdp/handfast.bpf.c -o "$1"
    "$strip" -g "$1"
}

case "${1-}" in
"")
    build xdp/handfast.bpf.o
    echo "xdp/handfast.bpf.o: $(wc -c <xdp/handfast.bpf.o) octets"
    ;;
--check)
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    build "$scratch/handfast.bpf.o"
    if ! cmp "$scratch/handfast.bpf.o" xdp/handfast.bpf.o; then
        echo "xdp/build.sh: xdp/handfast.bpf.o is not what its sources make; run xdp/build.sh and commit the object" >&2
        exit 1
    fi
    echo "xdp/handfast.bpf.o is what its sources make"
    ;;
*)
    fail "unknown argument \`$1\`; use no argument, or --check"
    ;;
esac
