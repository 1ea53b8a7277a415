#!/usr/bin/env bash
# The README's two commands as they stand, in a fresh Debian 12: debootstrap, then ./demo.sh and ./test.sh inside it.
set -euo pipefail
# shellcheck source=/dev/null
source "$SOURCE_DIR/tests/house/debian_tree.sh"
tree=$PWD/bookworm
make_debian "$tree"

# Only what is committed, as a clone would have it.
mkdir "$tree/ranktape"
git -C "$SOURCE_DIR" -c safe.directory='*' archive HEAD | tar -x -C "$tree/ranktape"
in_debian "$tree" bash -c 'cd /ranktape && ./demo.sh && ./test.sh'
rm -rf --one-file-system "$tree"
