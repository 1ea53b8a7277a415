#!/usr/bin/env bash
# What job scripts and submit.sh share; sourced by them. `here` is the folder of the scripts.
# shellcheck disable=SC2154 # values of the profile
set -euo pipefail

say() {
    printf 'ranktape job: %s\n' "$*" >&2
}

fail() {
    say "$*"
    exit 2
}

# The site's values over ours.
read_profile() {
    local file
    # shellcheck source=/dev/null
    source "$here/profile.example"
    if [[ -n ${RANKTAPE_PROFILE-} && ! -r $RANKTAPE_PROFILE ]]; then
        fail "cannot read RANKTAPE_PROFILE '$RANKTAPE_PROFILE'"
    fi
    for file in "${RANKTAPE_PROFILE-}" "${HOME-}/.config/ranktape/profile" "$here/profile"; do
        if [[ -n $file && -r $file ]]; then
            # shellcheck source=/dev/null
            source "$file"
            return
        fi
    done
}

# begin_job: what every job does first.
begin_job() {
    local end
    step='' asked='' woken=''
    # The warning before the time limit is for the ranks. Of scancel and preemption Slurm tells them itself.
    trap 'asked=USR1 woken=yes; pass_on' USR1
    trap 'asked=TERM woken=yes' TERM
    read_profile
    load_environment
    mkdir -p "$job_folder"
    report=$job_folder/$SLURM_JOB_NAME.$SLURM_JOB_ID.json
    # srun no longer takes this from the job by itself
    if [[ -n ${SLURM_CPUS_PER_TASK-} ]]; then
        export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
    fi
    end=$(SLURM_TIME_FORMAT=%s squeue -h -j "$SLURM_JOB_ID" -o %e || true)
    if [[ $end =~ ^[0-9]+$ ]]; then
        export RANKTAPE_END=$end
    fi
    command -v "$ranktape" >/dev/null || fail "no program '$ranktape': see load_environment and ranktape in the profile"
    say "$SLURM_JOB_NAME $SLURM_JOB_ID, start $((${SLURM_RESTART_COUNT:-0} + 1)), ${SLURM_NTASKS:-1} tasks on $SLURM_JOB_NODELIST," \
        "$(date '+%Y-%m-%d %H:%M:%S')"
}

# Exit status that ranktape tells in its report; nothing where it has not come to that.
told() {
    [[ ! -r $report ]] ||
        sed -n -e 's/^  "status": "done".*/0/p' -e 's/^  "exit_status": \([0-9]*\).*/\1/p' "$report" | head -n 1
}

# Exit status of a run: its own word, since a launcher has codes of its own for a rank that fails or is killed. One that was
# asked to stop and did not come to tell has its checkpoints.
judge() { # CODE
    local status
    status=$(told)
    if [[ -n $status ]]; then
        printf '%s' "$status"
    elif (($1 == 0 || $1 == 1 || $1 == 2 || $1 == 75)); then
        printf '%s' "$1"
    elif [[ -n $asked ]]; then
        printf 75
    else
        printf 1
    fi
}

pass_on() {
    [[ -z $step ]] || kill -USR1 "$step" 2>/dev/null || true
}

# run JOB ARGUMENTS..: ranktape on all tasks. Sets `outcome` to its exit status, `asked` to the signal that came meanwhile.
run() {
    local code=0 again reports=()
    case $1 in build | insert | delete | vacuum | export)
        rm -f "$report"
        reports=(--report "$report")
        ;;
    esac
    "${launcher[@]}" "$ranktape" "$@" "${reports[@]}" </dev/null &
    step=$!
    [[ $asked != USR1 ]] || pass_on
    wait "$step" || code=$?
    while [[ -n $woken ]]; do # a signal may have ended the wait, not the step
        woken='' again=0
        wait "$step" || again=$?
        ((again == 127)) || code=$again # 127: it was over already
    done
    step=''
    outcome=$(judge "$code")
}

# What a job on INDEX has come to, as a text that changes with every step forward.
progress_of() {
    local file
    for file in "$1/CURRENT" "$1"/checkpoint/*; do
        case $file in
        */progress.json | *.before) ;;
        *) [[ ! -f $file ]] || cksum <"$file" ;;
        esac
    done | cksum
}

# require_progress INDEX: ends a job that starts again and again where it began, so that it cannot go on for ever.
require_progress() {
    local runs=$job_folder/$SLURM_JOB_NAME.$SLURM_JOB_ID.runs
    if ((${SLURM_RESTART_COUNT:-0} == 0)); then
        rm -f "$runs"
    fi
    progress_of "$1" >>"$runs"
    if (($(wc -l <"$runs") > most_fruitless && $(tail -n $((most_fruitless + 1)) "$runs" | sort -u | wc -l) == 1)); then
        say "$most_fruitless runs have come no further; more time, nodes or memory is needed, then submit it again"
        exit 1
    fi
}

# end_job: exits with `outcome`; a job that has stopped with its progress saved is queued again first.
end_job() {
    if ((outcome == 75)) && [[ $asked != TERM ]]; then # after TERM Slurm knows what it wants
        # requeueing sends SIGTERM to all of the job, scontrol too
        if (trap '' TERM; exec scontrol requeue "$SLURM_JOB_ID"); then
            say "stopped with its progress saved; queued again"
        else
            say "stopped with its progress saved; it cannot be queued again from here: submit the same once more"
        fi
    fi
    exit "$outcome"
}
