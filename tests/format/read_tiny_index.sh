#!/usr/bin/env bash
# Indexes of every metric, element type and shape, written by io/ alone, are read by docs/format.md alone.
set -euo pipefail
write=$BUILD_DIR/tests/format/write_tiny_index
read_index=$SOURCE_DIR/tests/format/read_index.py
n=0
check() {
    "$write" "index$n" "$@"
    "$PYTHON" -B "$read_index" "index$n"
    n=$((n + 1))
}
#     metric element dim lists rows appendable tapes in_heap
check l2     f32     7   5     700  60         3     0
check ip     f16     33  5     700  60         2     0
check cosine i8      100 3     300  0          1     0
check l2     u8      1   1     1    0          1     0
check ip     f32     130 40    3000 300        4     1
# damage must not pass
printf 'x' | dd of=index0/frozen-1.h5 bs=1 seek=9000 conv=notrunc status=none
if "$PYTHON" -B "$read_index" index0 2>/dev/null; then
    echo "damage was not noticed" >&2
    exit 1
fi
