#!/usr/bin/env bash
# run.sh TARGET PROGRAM: seeds and the inputs that are kept (corpus/TARGET), then, where PROGRAM is built with libFuzzer
# (FUZZER=1), inputs of its own making for RT_FUZZ_SECONDS (5). With RT_FUZZ_CORPUS=DIR, DIR/TARGET begins with what earlier
# runs found there and keeps what this one finds. An input that fails is left in DIR, else where the test ran. RT_FUZZ_SEED
# begins the same walk again (the clock).
set -euo pipefail
target=$1 program=$2
kept=$SOURCE_DIR/tests/fuzz/corpus/$target
found=${RT_FUZZ_CORPUS:-$PWD}

# In memory where there is some: writers sync what they write.
base=/dev/shm
[[ -w $base ]] || base=${TMPDIR:-/tmp}
folder=$(mktemp -d "$base/rt-fuzz-XXXXXX")
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/files" "$found/$target"
"$PYTHON" -B "$SOURCE_DIR/tests/fuzz/seeds.py" "$target" "$folder/seeds"
corpus=("$folder/seeds")
[[ ! -d $kept ]] || corpus+=("$kept")

# Each allocation is quick to trace here, but for leaks of MPI, which are not ours to find: index and import look at our arrays alone.
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:fast_unwind_on_malloc=1
[[ $target != index && $target != import ]] || ASAN_OPTIONS+=:detect_leaks=0

if [[ -z ${FUZZER:-} ]]; then
    find "${corpus[@]}" -type f -print0 | RT_FUZZ_FOLDER=$folder/files xargs -0 -- "$program"
    exit
fi
# An input takes milliseconds; a loaded machine may stand still for a minute, a hang goes on.
# (Its own exit code for a failure, 77, means a skipped test here.)
echo "seed ${RT_FUZZ_SEED:=$(date +%s)} (RT_FUZZ_SEED)"
RT_FUZZ_FOLDER=$folder/files "$program" -seed="$RT_FUZZ_SEED" -max_total_time="${RT_FUZZ_SECONDS:-5}" -timeout=120 -rss_limit_mb=2048 \
    -malloc_limit_mb=256 -max_len=8192 -len_control=0 -error_exitcode=1 -timeout_exitcode=1 -artifact_prefix="$found/$target-" \
    "$found/$target" "${corpus[@]}"
