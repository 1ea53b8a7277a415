#!/usr/bin/env bash
# Builds ranktape where nobody is root: from modules or libraries in CMAKE_PREFIX_PATH. Installs into PREFIX and runs a small
# build with 2 ranks there.
#   tools/site_build.sh PREFIX [cmake options]
# SITE_LAUNCHER starts 2 ranks for the last step (default: the mpiexec found, -n 2); 'none' leaves it out, for login nodes
# that must not run MPI.
set -euo pipefail
root=$(dirname "$(dirname "$(realpath "${BASH_SOURCE[0]}")")")
prefix=${1:?usage: tools/site_build.sh PREFIX [cmake options]}
shift
build=$(mktemp -d "${TMPDIR:-/tmp}/ranktape-build.XXXXXX")
trap 'rm -rf "$build"' EXIT

for tool in cmake mpicc; do
    command -v "$tool" >/dev/null || { echo "site_build: no $tool in PATH; load its module" >&2; exit 1; }
done

# configure [options]: into a fresh folder, so that nothing of a failed try is remembered.
configure() {
    cmake -S "$root" -B "$build/tree" -DCMAKE_BUILD_TYPE=Release -DRANKTAPE_TESTS=OFF "$@" >"$build/log" 2>&1
}
if ! configure "$@"; then
    grep -q 'this HDF5 is serial' "$build/log" || { cat "$build/log" >&2; exit 1; }
    echo "site_build: the HDF5 here is serial: --io direct only"
    rm -rf "$build/tree"
    configure -DRANKTAPE_MPIO=OFF "$@" || { cat "$build/log" >&2; exit 1; }
fi
cmake --build "$build/tree" -j 4
cmake --install "$build/tree" --prefix "$prefix" >/dev/null

ranktape=$prefix/bin/ranktape
"$ranktape" --version
mpiexec=$(sed -n 's/^MPIEXEC_EXECUTABLE:.*=//p' "$build/tree/CMakeCache.txt")
read -ra launch <<<"${SITE_LAUNCHER:-$mpiexec -n 2}"
if [[ ${launch[0]} == none ]]; then
    exit 0
fi
"$ranktape" synth "$build/rows.fbin" --rows 5000 --dim 32
"${launch[@]}" "$ranktape" build "$build/rows.fbin" "$build/index.rt" </dev/null
"$ranktape" verify "$build/index.rt"
