#!/usr/bin/env bash
# A1: whatever reaches an index takes nothing from libm but sqrt, fabs, floor, rint, ldexp and frexp (and lrint, llrint), since
# log, exp, cos and pow give other bits on another CPU. Reads the undefined symbols of core, kmeans and synth.
set -euo pipefail

# fe* sets and reads the rounding mode; it computes nothing.
allowed='^(sqrt|fabs|floor|rint|ldexp|frexp|lrint|llrint)f?$|^fe(get|set|clear|test|hold|update|raise)'

# forbidden FILE..: prints 'file: symbol' for each symbol of libm that is not allowed.
forbidden() {
    local file symbol
    for file in "$@"; do
        "$NM" -u "$file" | awk 'NF == 2 && $1 == "U" {print $2}' | sed 's/@.*//' | sort -u | comm -12 - libm |
            { grep -vE "$allowed" || true; } | while read -r symbol; do printf '%s: %s\n' "${file##*/}" "$symbol"; done
    done
}

"$NM" -D --defined-only "$("$CC" -print-file-name=libm.so.6)" | awk '{print $3}' | sed 's/@.*//' | sort -u >libm
grep -qx cosf libm

# The test must be able to fail.
printf 'float cosf(float); double sqrt(double);\nfloat f(float x) { return cosf(x) + (float)sqrt(x); }\n' >bad.c
"$CC" -O0 -c bad.c -o bad.o
[[ $(forbidden bad.o) == 'bad.o: cosf' ]] || { echo 'this test does not find cosf'; exit 1; }

# Not the whole build: the folders of other tests come and go in it while find walks.
find "$BUILD_DIR"/{core,kmeans,jobs} \( -path '*/core/*.o' -o -path '*/kmeans/*.o' -o -name 'synth*.o' \) >list
mapfile -t objects <list
((${#objects[@]} > 0)) || { echo "no objects under $BUILD_DIR"; exit 1; }
found=$(forbidden "${objects[@]}")
[[ -z $found ]] || printf '%s\n' "$found"
echo "${#objects[@]} objects read"
[[ -z $found ]]
