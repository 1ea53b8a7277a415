#!/usr/bin/env bash
# Installs what is missing (Debian), then builds and runs the tests. Ends with one line, 'N passed, N failed'.
#   ./test.sh                 every test but the slow ones
#   ./test.sh --slow          all
#   ./test.sh STAGE [..]      only these: dev asan clang fuzz mpich aarch64 slow
set -euo pipefail
root=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
results=$root/build-dev/results
jobs=$(nproc)

# build PRESET [cmake options]
build() {
    local preset=$1
    shift
    cmake -S "$root" --preset "$preset" "$@" >"$results/$preset.configure" 2>&1 || {
        cat "$results/$preset.configure"
        return 1
    }
    cmake --build "$root/build-$preset" -j "$jobs" -- --quiet
}

# run_tests PRESET [ctest options]: verbose only about what fails.
run_tests() {
    local preset=$1
    shift
    # Launchers wait far more than they compute: four tests of two ranks leave two cores half idle.
    ctest --test-dir "$root/build-$preset" -j $((4 * jobs)) --output-on-failure --no-tests=error \
        --output-junit "$results/$stage.xml" "$@" </dev/null
}

cannot_run=77 # exit code of such a stage

has_libfuzzer() {
    printf 'int LLVMFuzzerTestOneInput(const char *d, long n) { return n < 0 && *d; }\n' |
        clang -fsanitize=fuzzer,address,undefined -x c - -o "$results/fuzz.probe" 2>"$results/fuzz.configure"
}

run_stage() {
    local peer=$root/build-dev/ranktape open=()
    # Where Open MPI and MPICH stand side by side, whichever is the default, Open MPI is meant.
    if command -v mpicc.openmpi >/dev/null; then
        open=("-DMPI_C_COMPILER=$(command -v mpicc.openmpi)" "-DMPIEXEC_EXECUTABLE=$(command -v mpiexec.openmpi)")
    fi
    case $stage in
    clang | mpich) [[ -x $peer ]] || build dev "${open[@]}" ;;
    esac
    case $stage in
    dev)
        build dev "${open[@]}"
        run_tests dev -LE slow
        ;;
    asan)
        # Whole builds by the dozen (cluster, most of fault) and many ranks are slow here and show nothing that
        # few do not; plan's memory is another one under the sanitizer.
        build asan "${open[@]}"
        run_tests asan -LE 'slow|house|cluster|slurm|package' -E '[.]np([4-9]|..)|cli.plan|fault.(ranks|places|rows|large|calls|edits|refused_edits|resume|insert_resume|slow_rank|beside.(builds|edits)|damage.(bits|lies|lived))|cli.documents'
        ;;
    clang)
        build clang "${open[@]}" "-DRANKTAPE_PEER=$peer"
        run_tests clang -L 'unit|peer' -LE slow
        ;;
    fuzz)
        # RT_FUZZ_SECONDS for each target: a few here, 30 with --slow and in continuous integration.
        if ! has_libfuzzer; then
            echo "test.sh: clang has no libFuzzer here (Debian: libclang-rt-14-dev); stage fuzz is skipped" >&2
            return $cannot_run
        fi
        build fuzz "${open[@]}"
        run_tests fuzz -L fuzz
        ;;
    mpich)
        # More ranks than cores would spin: Debian's MPICH does not yield.
        build mpich "-DRANKTAPE_PEER=$peer"
        run_tests mpich -L 'mpi|peer' -LE slow -E '[.]np([3-9]|..)'
        ;;
    aarch64)
        build aarch64
        run_tests aarch64 -LE slow
        ;;
    slow)
        build dev "${open[@]}"
        run_tests dev -L slow
        ;;
    *)
        echo "test.sh: no stage '$stage' (dev asan clang fuzz mpich aarch64 slow)" >&2
        return 2
        ;;
    esac
}

# attribute NAME: of the stage's junit file, 0 where there is none.
attribute() {
    local value
    value=$(sed -n "s/.*[[:space:]]$1=\"\([0-9]*\)\".*/\1/p" "$results/$stage.xml" 2>/dev/null | head -n 1)
    printf '%s' "${value:-0}"
}

if [[ ${1:-} == --run-stage ]]; then
    stage=$2
    run_stage
    exit
fi

stages=()
level='test'
for argument in "$@"; do
    case $argument in
    --slow)
        stages+=(dev asan clang fuzz mpich aarch64 slow) level=slow
        export RT_FUZZ_SECONDS=${RT_FUZZ_SECONDS:-30}
        ;;
    -h | --help)
        sed -n '2,5s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    -*)
        echo "test.sh: no option '$argument' (see --help)" >&2
        exit 2
        ;;
    slow) stages+=(slow) level=slow ;;
    *) stages+=("$argument") ;;
    esac
done
((${#stages[@]})) || stages=(dev asan clang fuzz mpich aarch64)

"$root/tools/setup.sh" "$level"
mkdir -p "$results"
table='stage      seconds  passed  failed  skipped'
passed=0 failed=0 skipped=0
for stage in "${stages[@]}"; do
    printf '\n== %s\n' "$stage"
    rm -f "$results/$stage.xml"
    begin=$SECONDS
    # A process of its own: in a function tested by 'if' the shell would not stop at the first failure.
    code=0
    bash "$0" --run-stage "$stage" || code=$?
    if ((code == cannot_run)); then
        table+=$(printf '\n%-9s %8d %7s %7s %8s' "$stage" $((SECONDS - begin)) - - all)
        skipped=$((skipped + 1))
        continue
    fi
    bad=$(attribute failures) skip=$(attribute skipped) all=$(attribute tests)
    good=$((all - bad - skip))
    if ((code != 0 && bad == 0)); then
        bad=1 # it did not even build
    fi
    table+=$(printf '\n%-9s %8d %7d %7d %8d' "$stage" $((SECONDS - begin)) "$good" "$bad" "$skip")
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + skip))
done
printf '\n%s\n\n' "$table"
((skipped == 0)) || printf '%d skipped\n' "$skipped"
printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
