#!/usr/bin/env bash
# Every shell script is shellcheck clean and stops at its first failure.
set -euo pipefail
command -v shellcheck >/dev/null || { echo 'no shellcheck'; exit 77; }
find "$SOURCE_DIR" -path "$SOURCE_DIR/build*" -prune -o -path '*/.git' -prune -o -type f \
    \( -name '*.sh' -o -name '*.sbatch' -o -path '*/.ci/run' \) -print >list
mapfile -t scripts <list
shellcheck "${scripts[@]}"
if grep -L 'set -euo pipefail' "${scripts[@]}" | grep .; then
    echo "these lack 'set -euo pipefail'"
    exit 1
fi
