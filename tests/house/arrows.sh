#!/usr/bin/env bash
# The arrows between the rooms go down only: jobs -> kmeans, io -> mpi -> core; api -> io. Includes are written from the root,
# <mpi.h>, <hdf5.h> and <cblas.h> stay in their rooms, and a file's stem occurs once in the tree.
set -euo pipefail

declare -A may_include=(
    [core]='core'
    [mpi]='core mpi'
    [io]='core mpi io'
    [kmeans]='core mpi kmeans'
    [api]='core io api'
    [jobs]='core mpi io kmeans jobs'
    [man]='core man'
)
declare -A rooms_of=([mpi.h]='mpi io kmeans jobs' [hdf5.h]='io' [cblas.h]='core' [jansson.h]='io jobs' [xxhash.h]='core')

# wrong_includes TREE: prints one line for each include that breaks a rule.
wrong_includes() {
    local tree=$1 room file line number name
    for room in "${!may_include[@]}"; do
        [[ -d $tree/$room ]] || continue
        grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]' --include='*.[ch]' "$tree/$room" >includes || true
        while IFS=: read -r file number line; do
            name=${line#*[\"<]}
            name=${name%%[\">]*}
            if [[ $line == *\"* ]]; then
                [[ " ${may_include[$room]} " == *" ${name%%/*} "* && $name == */* ]] ||
                    printf '%s:%s: "%s" is no include for %s/\n' "$file" "$number" "$name" "$room"
            elif [[ -n ${rooms_of[$name]:-} && " ${rooms_of[$name]} " != *" $room "* ]]; then
                printf '%s:%s: <%s> does not belong in %s/\n' "$file" "$number" "$name" "$room"
            fi
        done <includes
    done
}

# twice TREE: prints the stems that lie in more than one folder.
twice() {
    local tree=$1 room
    for room in "${!may_include[@]}"; do
        [[ ! -d $tree/$room ]] || find "$tree/$room" -name '*.[ch]' -printf '%f %h\n'
    done | sed 's/[.][ch] / /' | sort -u | cut -d ' ' -f 1 | uniq -d
}

# The rules must be able to fail: a tree with one wrong line each.
mkdir -p bad/core bad/io bad/kmeans bad/api bad/mpi
printf '#include "mpi/agree.h"\n' >bad/core/a.c
printf '  #  include <mpi.h>\n' >bad/core/b.c
printf '#include "kmeans/lloyd.h"\n' >bad/io/c.c
printf '#include "io/rows.h"\n' >bad/kmeans/d.c
printf '#include <hdf5.h>\n' >bad/kmeans/e.c
printf '#include "mpi/agree.h"\n' >bad/api/f.h
printf '#include "agree.h"\n' >bad/mpi/g.c
printf '#include "mpi/agree.h"\n#include <mpi.h>\n' >bad/mpi/a.h
[[ $(wrong_includes bad | wc -l) == 7 ]] || { echo "this test finds $(wrong_includes bad | wc -l) of 7 wrong includes"; exit 1; }
[[ $(twice bad) == a ]] || { echo "this test does not find a stem that occurs twice"; exit 1; }

found=$(wrong_includes "$SOURCE_DIR")
again=$(twice "$SOURCE_DIR")
[[ -z $found ]] || printf '%s\n' "$found"
[[ -z $again ]] || printf 'occurs twice: %s\n' "$again"
[[ -z $found && -z $again ]]
