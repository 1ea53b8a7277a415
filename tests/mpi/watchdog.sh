#!/usr/bin/env bash
# A job in which one rank hangs must end by itself within seconds, with one clear line and a failure.
set -euo pipefail
program=$BUILD_DIR/tests/mpi/test_watchdog

fail() {
  echo "FAILED: $*" >&2
  cat err >&2
  exit 1
}

for ranks in 2 3; do
  for way in sleep stop barrier; do
    began=$SECONDS
    status=0
    $MPIEXEC -n "$ranks" "$program" "$way" >out 2>err </dev/null || status=$?
    [ "$status" -ne 0 ] || fail "$way on $ranks ranks: exit 0"
    [ $((SECONDS - began)) -lt 40 ] || fail "$way on $ranks ranks: took $((SECONDS - began)) s"
    grep -q "ranktape: rank [0-9]* on node .* (--stall-timeout) in insert; the job is ended" err || fail "$way on $ranks ranks: no line"
    if [ "$way" = sleep ]; then
      grep -q "ranktape: rank $((ranks - 1)) on node" err || fail "$way on $ranks ranks: the rank that hangs was not named"
    fi
  done
  $MPIEXEC -n "$ranks" "$program" none >out 2>err </dev/null || fail "a slow job was ended on $ranks ranks"
done

# Where many wait for one, one speaks for them. On a busy machine another may come before the launcher has ended it.
for ((trial = 1; ; trial++)); do
  ! $MPIEXEC -n 4 "$program" freeze >out 2>err </dev/null || fail "freeze on 4 ranks: exit 0"
  lines=$(grep -c -e --stall-timeout err || true)
  [ "$lines" -ne 1 ] || break
  [ "$trial" -lt 4 ] || fail "$lines ranks speak for one that hangs"
done
