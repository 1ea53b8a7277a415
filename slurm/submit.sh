#!/usr/bin/env bash
# Submits jobs, each to begin when the one before it has succeeded; prints a job id and a name for each.
#   submit.sh [SBATCH OPTION]... JOB ARGUMENT... [then [SBATCH OPTION]... JOB ARGUMENT...]...
# JOB is build, insert, delete, vacuum, search, verify, export or each (see JOB.sbatch); an sbatch option is one word, as in
# -N4 or --time=2:00:00. The site's options stand in the profile (profile.example). When a job fails, those behind it are cancelled.
#   submit.sh -N8 --ntasks-per-node=32 build rows.fbin index.rt then verify index.rt then export index.rt out.h5 --format hdf5
#   submit.sh each @texts.list ./embed.py {} then build vectors/ index.rt
# shellcheck disable=SC2154 # values of the profile
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=/dev/null
source "$here/common.sh"

# Into $job_folder, what FILES (a directory, @LIST with paths relative to it, or a file) means now; sets `list`.
make_list() {
    local files=$1 line folder
    [[ -r ${files#@} ]] || fail "each: cannot read '${files#@}'"
    list=$(mktemp "$job_folder/each.XXXXXX")
    if [[ $files == @* ]]; then
        folder=$(dirname "${files#@}")
        while IFS= read -r line || [[ -n $line ]]; do
            [[ -z $line ]] && continue
            [[ $line == /* ]] || line=$folder/$line
            printf '%s\n' "$line"
        done <"${files#@}" >"$list"
    elif [[ -d $files ]]; then
        find -L "$files" -maxdepth 1 -type f ! -name '.*' | LC_ALL=C sort >"$list"
    else
        printf '%s\n' "$files" >"$list"
    fi
    [[ -s $list ]] || fail "no files in '$files'"
}

# submit [SBATCH OPTION]... JOB ARGUMENT...
submit() {
    local job list n options=("${sbatch_options[@]}") typed=() output='%x.%j.out'
    while [[ ${1-} == -* ]]; do
        typed+=("$1")
        shift
    done
    job=${1-}
    case $job in
    build | insert | delete | vacuum | search | verify | export) shift ;;
    each)
        (($# > 1)) || fail "each: which files?"
        make_list "$2"
        n=$(wc -l <"$list")
        options+=(--array="1-$((n < most_tasks ? n : most_tasks))")
        output='%x.%A_%a.out'
        shift 2
        set -- "$list" "$@"
        ;;
    *) fail "'$job' is no job: build, insert, delete, vacuum, search, verify, export, each (options before it are one word: -N4)" ;;
    esac
    declare -n of_job=${job}_options
    options+=(--output="$job_folder/$output" "${of_job[@]}" "${typed[@]}")
    if ((${#submitted[@]} > 0)); then
        options+=(--dependency="afterok:${submitted[-1]}" --kill-on-invalid-dep=yes)
    fi
    n=$(sbatch --parsable "${options[@]}" "$here/$job.sbatch" "$@") || fail "sbatch refuses '$job $*'"
    submitted+=("${n%%;*}") # ID;CLUSTER
    printf '%s %s\n' "${n%%;*}" "$job"
}

if [[ ${1-} == -h || ${1-} == --help || $# == 0 ]]; then
    sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
fi
read_profile
mkdir -p "$job_folder"
# Half a chain is of no use.
undo() {
    ((${#submitted[@]} == 0)) || scancel "${submitted[@]}"
    say "nothing stays in the queue"
}
submitted=() words=()
trap undo EXIT
for word in "$@" 'then'; do
    if [[ $word == 'then' ]]; then
        submit "${words[@]}"
        words=()
    else
        words+=("$word")
    fi
done
trap - EXIT
