#!/usr/bin/env bash
# clang-tidy with the checks of .clang-tidy over every source that is compiled here (tests are left out).
set -euo pipefail
command -v clang-tidy >/dev/null || { echo 'no clang-tidy'; exit 77; }
[[ -f $BUILD_DIR/compile_commands.json ]] || { echo 'no compile_commands.json in this build'; exit 77; }
sed -n 's/^ *"file": "\(.*\)",\{0,1\}$/\1/p' "$BUILD_DIR/compile_commands.json" |
    grep -E "^$SOURCE_DIR/(core|mpi|io|kmeans|jobs|api|man)/" | sort -u >list
mapfile -t files <list
# One file a process, two at a time; what a file is fine about is not worth a line.
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P 2 clang-tidy --quiet -p "$BUILD_DIR" 2>errors || {
    grep -vE '^[0-9]+ warnings? generated|^Suppressed|^Use -' errors || true
    exit 1
}
