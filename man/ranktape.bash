# Completion of ranktape for bash, made from its table of options.

# _ranktape_options JOB: the options of a job; planned: those that plan adds to the ones of a job that it plans
_ranktape_options()
{
    case $1 in
@option_names@
    esac
}

# _ranktape_values JOB OPTION: the words an option takes; FILE for a file, ANY for what cannot be listed, nothing for none
_ranktape_values()
{
    case $1:$2 in
@option_values@
    esac
}

# Offers what compgen finds. (No <(..): it needs /dev/fd.)
_ranktape_offer()
{
    local words
    if words=$(compgen "$@"); then
        mapfile -t COMPREPLY <<<"$words"
    fi
}

_ranktape()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} job=${COMP_WORDS[1]} values=''
    COMPREPLY=()
@job_names@
@planned_names@
    if ((COMP_CWORD == 1)); then
        _ranktape_offer -W "$jobs --help --version" -- "$current"
        return
    fi
    local options=("$job")
    if [[ $job == plan ]] && ((COMP_CWORD == 2)); then
        compopt -o filenames 2>/dev/null
        _ranktape_offer -W "$planned" -f -- "$current"
        [[ $current == -* ]] || return 0
    elif [[ $job == plan && " $planned " == *" ${COMP_WORDS[2]} "* ]]; then
        job=${COMP_WORDS[2]} options=("$job" planned)
    fi
    # '--option=value' comes as three words.
    if [[ $current == '=' ]]; then
        current='' values=$(_ranktape_values "$job" "$previous")
    elif [[ $previous == '=' ]]; then
        values=$(_ranktape_values "$job" "${COMP_WORDS[COMP_CWORD - 2]}")
    elif [[ $previous == -* ]]; then
        values=$(_ranktape_values "$job" "$previous")
    fi
    if [[ $values == FILE ]]; then
        compopt -o filenames 2>/dev/null
        _ranktape_offer -f -- "$current"
    elif [[ -n $values && $values != ANY ]]; then
        _ranktape_offer -W "$values" -- "$current"
    elif [[ -z $values && $current == -* ]]; then
        _ranktape_offer -W "$(for job in "${options[@]}"; do _ranktape_options "$job"; done)" -- "$current"
    elif [[ -z $values ]]; then
        compopt -o filenames 2>/dev/null
        _ranktape_offer -f -- "$current"
    fi
} && complete -F _ranktape ranktape
