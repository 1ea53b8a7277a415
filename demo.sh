#!/usr/bin/env bash
# Installs what is missing (Debian), builds ranktape, makes rows, builds an index over them with 2 ranks, and searches it.
set -euo pipefail
root=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
"$root/tools/setup.sh" build

open=()
if command -v mpicc.openmpi >/dev/null; then
    open=("-DMPI_C_COMPILER=$(command -v mpicc.openmpi)" "-DMPIEXEC_EXECUTABLE=$(command -v mpiexec.openmpi)")
fi
cmake -S "$root" --preset release -DRANKTAPE_TESTS=OFF "${open[@]}" >"$root/.demo.log" || { cat "$root/.demo.log"; exit 1; }
rm -f "$root/.demo.log"
cmake --build "$root/build" -j "$(nproc)"

# Open MPI asks twice before it runs as root.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mpirun=$(sed -n 's/^MPIEXEC_EXECUTABLE:.*=//p' "$root/build/CMakeCache.txt")
mkdir -p "$root/build/demo"
cd "$root/build/demo" # so that the commands read as one would type them
PATH=$root/build:$PATH

# Shows a command and runs it.
run() {
    printf '\n$ %s\n' "$*" | sed 's|^[$] [^ ]*/mpi[^ ]* --oversubscribe --bind-to none|$ mpirun|'
    "$@" </dev/null
}
run ranktape synth rows.u8bin --rows 100000 --dim 128 --queries queries.u8bin --truth truth.ibin --force
run "$mpirun" --oversubscribe --bind-to none -n 2 ranktape build rows.u8bin index.rt --force
run ranktape search index.rt queries.u8bin --truth truth.ibin
