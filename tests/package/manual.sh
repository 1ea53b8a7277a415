#!/usr/bin/env bash
# A manual page for the program and every job: mandoc has nothing to object to, each option of --help is there, each section too.
set -euo pipefail
command -v mandoc >/dev/null || { echo 'no mandoc'; exit 77; }
failed=0
complain() {
    echo "$*"
    failed=1
}
"$RANKTAPE" --help | sed -n 's/^  \([a-z]*\) .*/\1/p' >names
mapfile -t jobs <names
((${#jobs[@]} >= 9)) || complain "--help names ${#jobs[@]} jobs"

printf '.Dd today\n.Dt A 1\n.Os\n.Sh NAME\n.Nm a\n.Nd a\n.Foo\n' >bad.1
! mandoc -T lint -W warning bad.1 >/dev/null || complain 'mandoc finds nothing'

pages=$BUILD_DIR/share/man1
mandoc -T lint -W warning "$pages"/*.1 || complain 'mandoc objects'
# mandoc writes bold and underlined letters with backspaces.
mandoc -T utf8 "$pages/ranktape.1" | sed 's/.\x08//g' >program
for job in "${jobs[@]}"; do
    page=$pages/ranktape-$job.1
    [[ -f $page ]] || { complain "no page of $job"; continue; }
    for section in NAME SYNOPSIS DESCRIPTION OPTIONS ENVIRONMENT 'EXIT STATUS' EXAMPLES 'SEE ALSO'; do
        grep -qx "[.]Sh $section" "$page" || complain "ranktape-$job(1) has no $section (man/$job.mdoc)"
    done
    mandoc -T utf8 "$page" | sed 's/.\x08//g' >text
    "$RANKTAPE" "$job" --help | sed -n 's/^  \(-., \|    \)\(--[a-z-]*\).*/\2/p' >options
    [[ -s options ]] || complain "no option of $job"
    while read -r option; do
        grep -qe "^ .*$option\b" text || complain "ranktape-$job(1) has no $option"
    done <options
    grep -q "ranktape-$job(1)" program || complain "ranktape(1) does not name $job"
done

# Nothing of the day or the place: written again, the pages are the same; a builder of packages can name another day.
grep -q '^[.]Dd [A-Z][a-z]* [0-9]*, 20[0-9][0-9]$' "$pages/ranktape.1" || complain 'no date'
! grep -l "$SOURCE_DIR\|$BUILD_DIR" "$pages"/*.1 || complain 'names a folder of this build'
exit $failed
