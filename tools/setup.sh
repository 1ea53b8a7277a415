#!/usr/bin/env bash
# Installs with apt-get what is missing of the packages that Debian 12 offers for ranktape; nothing is touched where all
# are there.
#   tools/setup.sh build   what building and running needs
#   tools/setup.sh test    that, and what the tests need
#   tools/setup.sh slow    that, and what the slow tests need
set -euo pipefail
# (No <(..) here nor in demo.sh and test.sh: a bare chroot has no /dev/fd.)

for_build=(cmake ninja-build gcc libc6-dev pkg-config openmpi-bin libopenmpi-dev libhdf5-openmpi-dev libhdf5-dev libopenblas-dev
    libjansson-dev libxxhash-dev)
for_test=("${for_build[@]}" python3 python3-numpy python3-h5py python3-faiss python3-yaml hdf5-tools procps
    chromium fonts-dejavu-core tmux iproute2 postgresql
    valgrind clang clang-format clang-tidy libclang-rt-14-dev shellcheck
    mandoc lmod slurmctld slurmd slurm-client slurm-wlm-basic-plugins
    mpich libmpich-dev qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
for_slow=("${for_test[@]}" debootstrap lintian git g++ libfaiss-dev)

# Prints those of its arguments that are not installed.
missing_packages() {
    local package
    for package in "$@"; do
        # shellcheck disable=SC2016 # dpkg-query's own variable
        [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || printf '%s\n' "$package"
    done
}

# apt-get with nobody there to answer questions.
apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 "$@" </dev/null
}

case ${1:-build} in
build) wanted=("${for_build[@]}") ;;
test) wanted=("${for_test[@]}") ;;
slow) wanted=("${for_slow[@]}") ;;
*)
    echo "usage: tools/setup.sh [build|test|slow]" >&2
    exit 2
    ;;
esac

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "setup: no apt-get here; what is needed stands in README.md, 'On a cluster'" >&2
    exit 0
fi
read -ra missing <<<"$(missing_packages "${wanted[@]}" | tr '\n' ' ')"
if ((${#missing[@]} == 0)); then
    exit 0
fi
as_root=()
if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
        echo "setup: neither root nor sudo; to be installed: ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "setup: installing ${missing[*]}"
# Package lists may be absent (a fresh image) or older than the archive (a cached one).
apt install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1 || {
    apt update >/dev/null
    apt install -y --no-install-recommends "${missing[@]}" >/dev/null
}
