"""README.md and docs/*.md: every command is one that the program takes, and runs; what it prints has the form that is shown.

A fenced block without a kind is a picture, or a transcript, whose commands begin with '$ '; a block of kind sh is commands. Above a
block may stand '<!-- not run: reason -->', or '<!-- test: NAME -->' for what the test NAME runs instead of this one.
  documents.py parse    every command against the table of options
  documents.py run      the transcripts, in order, in one folder; what they print, up to numbers"""
import glob
import os
import re
import shlex
import stat
import subprocess
import sys

import numpy as np

ROOT = os.environ["SOURCE_DIR"]
PAGES = ["README.md", "CONTRIBUTING.md", "python/README.md"] + sorted(os.path.relpath(p, ROOT) for p in glob.glob(f"{ROOT}/docs/*.md"))
LOOKS_LIKE_A_COMMAND = re.compile(r"^\$ |^(\./|tools/|slurm/|cmake |ctest |ranktape |mpirun |srun |module |cp |pip )")
ELSEWHERE = {"./demo.sh": "tests/house/bare_debian.sh", "./test.sh": "tests/house/bare_debian.sh"}
failures = 0


def check(condition, text):
    global failures
    if not condition:
        failures += 1
        print(f"FAILED {text}", flush=True)
    return condition


def read(name):
    with open(os.path.join(ROOT, name)) as file:
        return file.read()


def blocks(page):
    """(note, kind, lines) of each fenced block."""
    for note, kind, text in re.findall(r"(?:^<!-- (.*?) -->\n)?^```(\w*)\n(.*?)^```$", read(page), flags=re.S | re.M):
        yield note, kind, text.replace("\\\n", " ").splitlines()


def commands(kind, lines):
    """[(command, what it is shown to print)]"""
    if kind == "sh":
        return [(line.split(" #")[0].strip(), []) for line in lines if line.strip() and not line.startswith("#")]
    found = []
    for line in lines:
        if line.startswith("$ "):
            found.append((line[2:].split(" #")[0].strip(), []))
        elif found:
            found[-1][1].append(line)
    return found


def calls_of(command):
    """The words behind 'ranktape' in each part of a command line."""
    for part in re.split(r"\s*(?:&&|\|\||;)\s*", command):
        words = shlex.split(part)
        if words and words[0] in ("mpirun", "srun"):
            words = words[3:] # -n N
        if words and os.path.basename(words[0]) == "ranktape" and not words[1].startswith("-"):
            yield words[1:]


def spans_of(page, text):
    """What stands behind 'ranktape' in code inside sentences, and behind 'submit.sh' or its 'then': the names there must be right."""
    for span in re.findall(r"`([^`\n]*)`", re.sub(r"```.*?```", "", text, flags=re.S)):
        yield from re.findall(r"(?:^|[ /])ranktape ([a-z]+ .*)", span)
    for _, _, lines in blocks(page):
        for line in lines:
            if "submit.sh " in line:
                for job in line.split("submit.sh ")[1].split(" then "):
                    job = re.sub(r"^(-\S+ )*", "", job)
                    if not job.startswith("each "):
                        yield job


def parse():
    tool = os.environ["PARSE_OPTIONS"]
    ask = lambda lines: subprocess.run([tool], input="".join(lines), capture_output=True, text=True, check=True).stdout.splitlines()
    names = set(subprocess.run([tool, "names"], capture_output=True, text=True, check=True).stdout.splitlines())
    check(ask(["build\ta\tb\t--k\t3\n", "info\n", "info\ta\t--lists\n"])[2] == "ok", "this test refuses what is right")
    check("ok" not in ask(["build\ta\tb\t--k\t3\n", "info\n", "knit\ta\n"]), "this test takes what is wrong")
    found = []
    for page in PAGES:
        for note, kind, lines in blocks(page):
            check(re.match("(not run|test): .|$", note), f"{page}: what does '<!-- {note} -->' mean?")
            if kind == "" and not any(line.startswith("$ ") for line in lines):
                picture = [line for line in lines if LOOKS_LIKE_A_COMMAND.match(line)]
                check(not picture, f"{page}: commands in a block that is neither sh nor a transcript: {picture}")
            if kind in ("", "sh"):
                if not note.startswith("test: "):
                    found += [(page, call) for command, _ in commands(kind, lines) for call in calls_of(command)]
            elif kind:
                check(note or kind in ("c", "json"), f"{page}: nothing says how a block of {kind} is tested")
            if note.startswith("test: "):
                mentions = [p for p in glob.glob(f"{ROOT}/tests/**/*", recursive=True) if os.path.isfile(p) and not p.endswith("documents.py")
                            and re.search(rf"\b{re.escape(note[6:])}\b", open(p, errors="replace").read())]
                check(mentions, f"{page}: no test knows '{note[6:]}'")
        for span in spans_of(page, read(page)):
            job = span.split()[0]
            options = re.findall(r"(?<!\S)--[a-z][a-z-]*", span)
            check(not options or any(name.startswith(job + " ") for name in names), f"{page}: '{job}' is no job")
            for option in options:
                check(f"{job} {option}" in names, f"{page}: {job} has no {option}")
    check(len(found) >= 10, f"only {len(found)} commands found")
    for (page, call), answer in zip(found, ask("\t".join(call) + "\n" for _, call in found)):
        check(answer == "ok", f"{page}: ranktape {shlex.join(call)}: {answer}")


def form(line):
    """A line of output without its numbers, and without what differs from machine to machine."""
    line = re.sub(r"kernel \w+", "kernel", re.sub(r"\b[0-9a-f]{32}\b", "#", line))
    line = re.sub(r"[-+]?\d[\d,.]*(e[-+]?\d+)?", "#", line)
    line = re.sub(r"\b[KMGT]iB\b|\bbytes\b", "B", line)
    return re.sub(r"\s+", " ", line).strip()


def prepare(folder):
    """The files that the transcripts take as given, and mpirun as this build's launcher."""
    os.mkdir("bin")
    with open("bin/mpirun", "w") as file:
        file.write(f"#!/bin/sh\nexec {os.environ['MPIEXEC']} \"$@\"\n")
    os.chmod("bin/mpirun", os.stat("bin/mpirun").st_mode | stat.S_IXUSR)
    program = os.environ["RANKTAPE"]
    os.environ["PATH"] = f"{folder}/bin:{os.path.dirname(program)}:{os.environ['PATH']}"
    demo = re.search(r"^run (ranktape synth .*) --force$", read("demo.sh"), re.M)[1]
    for command in (demo, "ranktape synth night.u8bin --rows 2000 --dim 128 --seed 1"):
        subprocess.run(command, shell=True, check=True, capture_output=True)
    np.arange(0, 100000, 50, dtype="<u8").tofile("gone.u64")


def run():
    prepare(os.getcwd())
    n = 0
    for page in PAGES:
        for note, kind, lines in blocks(page):
            if note or kind:
                check(note or kind != "sh", f"{page}: nothing runs {lines[:1]}")
                continue
            for command, shown in commands(kind, lines):
                if command in ELSEWHERE:
                    check(command in read(ELSEWHERE[command]), f"{ELSEWHERE[command]} does not run {command}")
                    continue
                done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, stdin=subprocess.DEVNULL)
                n += 1
                if not check(done.returncode == 0, f"{page}: {command}: exit {done.returncode}\n{done.stdout}{done.stderr}"):
                    continue
                printed = done.stdout.splitlines()
                if shown:
                    check([form(line) for line in shown] == [form(line) for line in printed],
                          f"{page}: {command} prints\n" + "\n".join(printed) + "\nand is shown to print\n" + "\n".join(shown))
    check(n >= 8, f"only {n} commands run")


{"parse": parse, "run": run}[sys.argv[1]]()
print("ok" if not failures else f"{failures} checks failed")
sys.exit(failures != 0)
