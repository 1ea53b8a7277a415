#!/usr/bin/env bash
# canary.sh PROGRAM: libFuzzer and the sanitizers find what is there to be found, and say so by their exit code.
set -euo pipefail
if "$1" -runs=2000000 -error_exitcode=1 2>log; then
    echo 'found nothing'
    exit 1
fi
grep -q 'heap-buffer-overflow' log || { cat log; exit 1; }
