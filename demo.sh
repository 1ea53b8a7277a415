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
demo=$root/build/demo
mkdir -p "$demo"

# Shows a command as one would type it, and runs it.
run() {
    printf '\n$ %s\n' "$(printf '%s ' "$@" | sed "s|$root/||g; s|^[^ ]*/mpiexec[^ ]*|mpirun|")"
    "$@" </dev/null
}
run "$root/build/ranktape" synth "$demo/rows.u8bin" --rows 100000 --dim 128 --force \
    --queries "$demo/queries.u8bin" --query-count 1000 --truth "$demo/truth.ibin"
run "$mpirun" --oversubscribe --bind-to none -n 2 "$root/build/ranktape" build "$demo/rows.u8bin" "$demo/index.rt" --force
run "$root/build/ranktape" search "$demo/index.rt" "$demo/queries.u8bin" --k 10 --truth "$demo/truth.ibin"
