#!/usr/bin/env bash
# Another build of the program (RANKTAPE_PEER: another compiler, another MPI) makes the same index of the same rows.
set -euo pipefail
[[ -n ${RANKTAPE:-} && -x ${PEER:-} ]] || { echo 'needs two programs'; exit 1; }
read -ra launch <<<"$MPIEXEC"

"$RANKTAPE" synth rows.fbin --rows 20000 --dim 48
"$PEER" synth peer.fbin --rows 20000 --dim 48
cmp rows.fbin peer.fbin

# same NAME [build options]: the peer alone, this program with 1 and 2 ranks.
same() {
    local name=$1 expected digest ranks
    shift
    "$PEER" build rows.fbin "$name.peer" "$@" >/dev/null
    expected=$("$PEER" info "$name.peer" --digest)
    [[ $expected =~ ^[0-9a-f]{32}$ ]]
    for ranks in 1 2; do
        "${launch[@]}" -n "$ranks" "$RANKTAPE" build rows.fbin "$name.$ranks" "$@" >/dev/null
        digest=$("$RANKTAPE" info "$name.$ranks" --digest)
        printf '%-8s %d ranks %s, peer %s\n' "$name" "$ranks" "$digest" "$expected"
        [[ $digest == "$expected" ]]
    done
}
same l2 --lists 8,64
same ip --lists 64 --metric ip
same cosine --lists 8,64 --metric cosine --training hierarchical
