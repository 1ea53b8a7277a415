#!/usr/bin/env bash
# The C library built anew with the thread sanitizer: threads search and one refreshes while rows die and are vacuumed away.
set -euo pipefail
printf 'int main(void) { return 0; }\n' >empty.c
if ! "$CC" -fsanitize=thread empty.c -o empty || ! ./empty; then
    echo 'no thread sanitizer'
    exit 77
fi
cmake -S "$SOURCE_DIR" -B build -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_FLAGS=-fsanitize=thread -DCMAKE_C_COMPILER="$CC" \
    -DMPI_C_COMPILER="$MPI_C_COMPILER" -DMPIEXEC_EXECUTABLE="${MPIEXEC%% *}" >log 2>&1 || { cat log; exit 1; }
cmake --build build --target api_probe -j 2 >log 2>&1 || { tail -n 30 log; exit 1; }

"$RANKTAPE" synth rows.fbin --rows 6000 --dim 16 --queries queries.fbin --query-count 40
"$RANKTAPE" build rows.fbin index --lists 40
"$RANKTAPE" insert index queries.fbin # beside themselves: the nearest rows stay, whichever others die
build/tests/api/api_probe load index queries.fbin 8 >said &
probe=$!
until grep -q ready said; do kill -0 "$probe" && sleep 0.1; done
"$RANKTAPE" vacuum index --full
: >none.u64
"$RANKTAPE" delete index --ids none.u64
"$RANKTAPE" vacuum index --full
sleep 1
touch stop
wait "$probe"
cat said
