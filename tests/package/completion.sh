#!/usr/bin/env bash
# Completion in a real bash, by what bash itself would call: words typed so far, what is offered.
set -euo pipefail
# shellcheck source=/dev/null
source "$BUILD_DIR/share/completions/ranktape"
failed=0
# shellcheck disable=SC2317 # called by the completion; it works only while bash completes
compopt() { :; }
touch rows.fbin rows.u8bin
mkdir index.rt

# offers EXPECTED WORD..: what is offered for the last word, in order.
offers() {
    local expected=$1
    shift
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _ranktape
    if [[ ${COMPREPLY[*]} != "$expected" ]]; then
        printf "'%s' offers '%s', not '%s'\n" "$*" "${COMPREPLY[*]}" "$expected"
        failed=1
    fi
}
[[ $(complete -p ranktape) == *'-F _ranktape ranktape' ]] || { echo 'bash does not know it'; failed=1; }
offers 'build' ranktape bu
offers '--version' ranktape --v
offers '--iterations' ranktape build --it
offers '--sample-per-list' ranktape plan rows.fbin --sample-
offers '--sample-truth' ranktape search index.rt --sample-
offers 'l2 ip cosine' ranktape build --metric ''
offers 'cosine' ranktape build --metric c
offers 'cosine' ranktape build -m c
offers 'cosine' ranktape build --metric '=' c
offers 'l2 ip cosine' ranktape build --metric '='
offers 'lloyd hierarchical auto' ranktape build --training ''
offers 'on off' ranktape build --pin ''
offers '--lists' ranktape info index.rt --li
offers 'index.rt' ranktape info --lists in
offers '' ranktape build --lists in
offers 'rows.fbin' ranktape build rows.f
offers 'rows.u8bin' ranktape insert index.rt --ids rows.u
offers '' ranktape knit --a
offers 'index.rt' ranktape build rows.fbin --resume in
offers 'insert' ranktape plan ins
offers 'rows.fbin' ranktape plan rows.f
offers '--sample-per-list' ranktape plan --sample-
offers '--ranks --ranks-per-node' ranktape plan vacuum --ran
offers '--dead-fraction' ranktape plan vacuum index.rt --dead
offers '' ranktape plan delete index.rt --dead
offers 'index.rt' ranktape plan insert in
# Every job and all its options, as --help has them.
for job in $("$RANKTAPE" --help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
    offers "$job" ranktape "$job"
    "$RANKTAPE" "$job" --help | sed -n 's/^  \(-., \|    \)\(--[a-z-]*\).*/\2/p' | sort >expected
    COMP_WORDS=(ranktape "$job" -) COMP_CWORD=2
    _ranktape
    printf '%s\n' "${COMPREPLY[@]}" | sort | diff expected - || failed=1
    [[ -s expected ]] || { echo "no option of $job"; failed=1; }
done
exit $failed
