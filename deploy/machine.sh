# What the scripts of deploy/ and benches/ share: finding cargo, and installing what is missing. Read by `.`, in the top folder.

say() {
    echo "$(basename "$0"): $*" >&2
}

# "" as root, "sudo" where that works (it may ask for the password on a terminal), "none" otherwise.
root_by() {
    if [ "$(id -u)" = 0 ]; then
        echo ""
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }; }; then
        echo sudo
    else
        echo none
    fi
}
AS_ROOT=$(root_by)

lists_are_fresh=

# need PROGRAM-OR-FILE PACKAGE: installs the package unless the program or file is there; says what it does.
# Its exit code says whether it is there in the end.
need() {
    if command -v "$1" >/dev/null || [ -e "$1" ]; then
        return 0
    fi
    if [ "$AS_ROOT" = none ] || ! command -v apt-get >/dev/null; then
        say "$1 is missing and cannot be installed from here; \`apt-get install $2\` as root does it"
        return 1
    fi
    say "$1 is missing: installing $2"
    if [ -z "$lists_are_fresh" ]; then
        $AS_ROOT apt-get update -qq </dev/null >&2 || say "apt-get update failed; trying with the lists that are there"
        lists_are_fresh=yes
    fi
    # The variable goes by `env`, which sudo would drop.
    if ! $AS_ROOT env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$2" </dev/null >&2; then
        say "$2 could not be installed; going on without"
        return 1
    fi
}

# The version of Rust that Cargo.toml asks for.
rust_version() {
    sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml
}

# The version of the cargo that would be called; nothing when there is none.
cargo_version() {
    cargo --version 2>/dev/null | sed -n 's/^cargo \([0-9.]*\).*/\1/p'
}

# is_new_enough VERSION: whether it is the one that is needed, or a later one.
is_new_enough() {
    [ "$(printf '%s\n' "$(rust_version)" "$1" | sort -V | head -n 1)" = "$(rust_version)" ]
}

# Rust's own installer puts cargo in the home of the user, where `sudo` does not look; that one is taken also when the
# distribution's, which comes first, is too old.
find_cargo() {
    found=$(cargo_version)
    [ -n "$found" ] && is_new_enough "$found" && return
    for home in "${HOME:-/root}" "$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)"; do
        if [ -x "$home/.cargo/bin/cargo" ]; then
            export CARGO_HOME="${CARGO_HOME:-$home/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-$home/.rustup}"
            PATH=$home/.cargo/bin:$PATH
            found=$(cargo_version)
            break
        fi
    done
    if [ -z "$found" ]; then
        say "cargo is missing; https://rustup.rs installs Rust"
        exit 2
    fi
    if ! is_new_enough "$found"; then
        say "cargo is $found, Handfast needs $(rust_version): \`rustup update\` (https://rustup.rs installs rustup)"
        exit 2
    fi
}

# What building and running need. Without ip and ethtool there is no network to make, only the in-memory link.
prepare() {
    find_cargo
    if ! command -v cc >/dev/null && ! need cc build-essential; then
        say "Rust needs a linker: install build-essential"
        exit 2
    fi
    need ip iproute2 || say "without ip, everything runs over the in-memory link"
    need ethtool ethtool || say "without ethtool, everything runs over the in-memory link"
}

# veth_bench WHAT [ARGUMENT ...]: builds the measurements over veth, and runs one of them as root.
veth_bench() {
    prepare
    need taskset util-linux
    need sysctl procps
    cargo bench --locked --bench veth --no-run
    if [ "$AS_ROOT" = sudo ]; then
        sudo -E env "PATH=$PATH" cargo bench --locked --bench veth -- "$@"
    else
        cargo bench --locked --bench veth -- "$@"
    fi
}
