#!/usr/bin/env bash
# Valgrind over one small build of 2 ranks and one search: no invalid access, no leak of ours.
set -euo pipefail
command -v valgrind >/dev/null || { echo 'no valgrind'; exit 77; }
[[ -n ${RANKTAPE:-} ]] || { echo 'no ranktape in this build'; exit 77; }

read -ra launch <<<"$MPIEXEC"
check=(valgrind -q --leak-check=full --num-callers=40 --errors-for-leak-kinds=definite --error-exitcode=42
    --suppressions="$SOURCE_DIR/tests/mpi.supp")
system=/usr/share/openmpi/openmpi-valgrind.supp
[[ ! -f $system ]] || check+=(--suppressions="$system")

"$RANKTAPE" synth rows.fbin --rows 600 --dim 24 --queries queries.fbin --query-count 5 --truth truth.ibin --truth-k 10
"${launch[@]}" -n 2 "${check[@]}" "$RANKTAPE" build rows.fbin small.rt --lists 2,12 --tapes 2
"${check[@]}" "$RANKTAPE" search small.rt queries.fbin --k 10 --truth truth.ibin
