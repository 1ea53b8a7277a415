"""plan's figure for the memory of a rank against what builds take, both ways (J1): what a rank counts of its own, and what
the system sees of it, stay below; and plan promises no more than is needed. With a fixed sample it does not grow with rows.

`few`: four small shapes. `grid`: rows, dimensions, lists and ranks against each other (slow). `edits`, `all_edits` (slow):
insert, delete and vacuum of an index, against what `plan insert`, `plan delete` and `plan vacuum` say of them."""
import json
import os
import subprocess
import sys
import time

import numpy as np
from ranktape_cli import LAUNCHER, PROGRAM, check, end, ok, write_bin

which = sys.argv[1]
SPARE = (8 if which == "few" else 16) << 20  # bytes that a figure may be off, or a twentieth of it, whichever is more
UNCOUNTED = 4 << 20  # of small arrays, stacks and what malloc needs itself, or a twentieth likewise
QUICK = ("--iterations", "2", "--refinements", "1")


def rows_of(n, dim):
    name = f"{n}x{dim}.fbin"
    if not os.path.exists(name):
        random = np.random.default_rng(n + dim)
        centres = random.normal(size=(200, dim))
        write_bin(name, (centres[random.integers(200, size=n)] + random.normal(size=(n, dim))).astype(np.float32))
    return name


def private_bytes():
    """Of each rank that runs in this folder now; pages that nobody has touched do not count."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/cwd") != os.getcwd() or os.readlink(f"/proc/{pid}/exe") != os.path.realpath(PROGRAM):
                continue
            with open(f"/proc/{pid}/status") as f:
                yield next(int(line.split()[1]) << 10 for line in f if line.startswith("RssAnon:"))
        except (OSError, StopIteration):
            continue


def watched(ranks, *words):
    """The report of a job, and the most private bytes of a rank that were seen."""
    command = [PROGRAM, *map(str, words), "--quiet", "--report", "report.json"]
    job = subprocess.Popen(LAUNCHER + ["-n", str(ranks)] + command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    seen = 0
    while job.poll() is None:
        seen = max([seen, *private_bytes()])
        time.sleep(0.005)
    check(job.returncode == 0, f"{' '.join(command)}: exit {job.returncode}")
    with open("report.json") as f:
        return json.load(f), seen


def build(n, dim, ranks, *options):
    return watched(ranks, "build", rows_of(n, dim), "index", "--force", *QUICK, *options)


def is_near(bytes, planned):
    return abs(bytes - planned) <= max(planned // 20, SPARE)


def hold(n, dim, ranks, *options):
    report, seen = build(n, dim, ranks, *options)
    taken, planned = report["memory_bytes"], report["memory_bytes_planned"]
    what = f"{n} x {dim}, {ranks} ranks, {' '.join(options)}"
    print(f"{what}: {taken / 2**20:.1f} MiB of {planned / 2**20:.1f}, the system has seen {seen / 2**20:.1f}", flush=True)
    check(is_near(taken, planned), f"{what}: {taken} bytes, planned {planned}")
    check(0 < seen <= taken + max(taken // 20, UNCOUNTED), f"{what}: the system has seen {seen} bytes, counted {taken}")
    for phase in report["phases"]:
        own, most = phase["memory_bytes"], phase["planned"]["memory_bytes"]
        check(own <= most * 1.01, f"{what}: {phase['name']} took {own} bytes, planned {most}")
    return taken


def flat_in_rows(few, many, dim, ranks, *options):
    """More rows, the same sample: the same memory, but for 8 bytes a checksum unit and a bit a chunk, where they fill the
    writers' buffers. Compaction takes its windows from --memory (F4), so that is small here."""
    peaks = [hold(n, dim, ranks, *options) for n in (few, many)]
    check(abs(peaks[1] - peaks[0]) <= 1 << 20, f"{few} and {many} rows with one sample: {peaks} bytes")


def new_bytes(before):
    return sum(os.path.getsize(f"index/{name}") for name in set(os.listdir("index")) - before if name.endswith(".h5"))


def hold_edit(ranks, spare, job, *words):
    """One job on the index, and plan before it. What MPI and the libraries hold from the start is left out on both sides: a plan
    allows for more of it than one machine shows."""
    planned = ok("plan", job, *words, "--ranks", ranks, "--ranks-per-node", ranks, "--json", ranks=0).json()
    before = set(os.listdir("index"))
    report, seen = watched(ranks, job, *words)
    taken, most = (of["memory_bytes"] - of["base_bytes"] for of in (report, planned))
    what = f"{job} {' '.join(map(str, words[1:]))}, {ranks} ranks"
    print(f"{what}: {taken / 2**20:.2f} MiB of {most / 2**20:.2f}, the system has seen {seen / 2**20:.1f}", flush=True)
    check(abs(taken - most) <= max(most // 20, spare), f"{what}: {taken} bytes, planned {most}")
    check(0 < seen <= report["memory_bytes"] + max(taken // 20, UNCOUNTED), f"{what}: the system has seen {seen} bytes, counted {taken}")
    check(report["memory_bytes"] <= planned["memory_bytes"] * 1.05, f"{what}: more than planned")
    check(abs(report["memory_bytes_planned"] - planned["memory_bytes"]) <= 1 << 20, f"{what}: {report['memory_bytes_planned']} bytes "
          f"planned by itself, {planned['memory_bytes']} before")
    check(report["options"]["memory"]["value"] == planned["options"]["memory"]["value"], f"{what}: another budget")
    own = {phase["name"]: phase["memory_bytes"] - planned["base_bytes"] for phase in planned["phases"]}
    for phase in report["phases"]:
        took = phase["memory_bytes"] - report["base_bytes"]
        print(f"    {phase['name']} {took / 2**20:.2f} MiB of {own.get(phase['name'], 0) / 2**20:.2f}")
        check(took <= own.get(phase["name"], 0) * 1.01 + (64 << 10), f"{what}: {phase['name']} took {took} bytes, planned {own}")
    written, most = new_bytes(before), planned["disk_bytes_more"]
    print(f"    disk {written / 2**20:.2f} MiB of {most / 2**20:.2f}")
    check(abs(written - most) <= most // 4 + (1 << 20), f"{what}: wrote {written} bytes, planned {most}")


def edit(n, dim, ranks, spare, *options):
    """An index of n rows is changed, by more of them than its lists take as they are."""
    random = np.random.default_rng(n)
    ids = random.permutation(n).astype("<u8")
    more = rows_of(n // 4, dim)
    build(n, dim, ranks, *options)
    hold_edit(ranks, spare, "insert", "index", rows_of(10, dim))
    hold_edit(ranks, spare, "insert", "index", more)
    ids[:n // 4].tofile("some.u64")
    hold_edit(ranks, spare, "insert", "index", more, "--ids", "some.u64", "--replace")
    ids[n // 4:n // 4 + n // 5].tofile("dead.u64")
    hold_edit(ranks, spare, "delete", "index", "--ids", "dead.u64")
    hold_edit(ranks, spare, "vacuum", "index")
    np.concatenate([ids[:n // 4], ids[n // 2:3 * n // 4]]).tofile("kept.u64")
    # in the plan all that a rank sorts may die
    hold_edit(ranks, 6 * spare, "delete", "index", "--keep", "kept.u64")
    hold_edit(ranks, spare, "vacuum", "index", "--full")


if which == "edits":
    edit(60000, 32, 2, 512 << 10)
    build(280000, 8, 4, "--lists", "64")
    hold_edit(4, 512 << 10, "insert", "index", rows_of(70000, 8))
    hold_edit(4, 512 << 10, "vacuum", "index", "--full")
elif which == "all_edits":
    for n, dim in ((200000, 64), (1000000, 16)):
        for ranks in (1, 2, 4):
            edit(n, dim, ranks, 2 << 20)
    edit(200000, 64, 2, 8 << 20, "--rerank-in-heap")  # files stay apart, and dead rows may lie in any of them
    edit(400000, 16, 2, 2 << 20, "--memory", "64M")
elif which == "few":
    hold(12000, 32, 3)
    hold(4000, 768, 2, "--lists", "6,120")
    hold(20000, 128, 1, "--lists", "16", "--sample-per-list", "1024")
    hold(16000, 64, 2, "--lists", "10,1100", "--sample-per-list", "12")
    flat_in_rows(350000, 900000, 8, 1, "--lists", "16", "--memory", "32M", "--block-rows", "4096")
    said = [ok("plan", "--rows", n, "--dim", 32, "--lists", 64, "--memory", "64M", "--json", ranks=0).json()["memory_bytes"]
            for n in (10**6, 10**9)]
    check(said[1] - said[0] < 4 << 20, f"plan for 1e6 and 1e9 rows with one sample: {said} bytes")
else:
    for n, dim in ((20000, 32), (20000, 128), (20000, 768), (100000, 128), (100000, 768), (300000, 128), (1000000, 32)):
        for ranks in (1, 2, 3):
            for lists in ((), ("--lists", "64"), ("--lists", "40,1600")):
                hold(n, dim, ranks, *lists)
        hold(n, dim, 2, "--lists", "64", "--memory", "96M")
        os.remove(rows_of(n, dim))
    hold(50000, 96, 2, "--metric", "cosine", "--rerank-in-heap")
    hold(50000, 96, 2, "--chooser", "rng", "--tapes", "5")
    hold(50000, 96, 2, "--pin", "off", "--lists", "40,1600")
    flat_in_rows(600000, 1000000, 32, 2, "--lists", "64", "--memory", "64M")
end()
