"""plan's figure for the memory of a rank against what builds take, both ways (J1): what a rank counts of its own, and what
the system sees of it, stay below; and plan promises no more than is needed. With a fixed sample it does not grow with rows.

`few`: four small shapes. `grid`: rows, dimensions, lists and ranks against each other (slow)."""
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


def build(n, dim, ranks, *options):
    """The report of a build, and the most private bytes of a rank that were seen."""
    command = [PROGRAM, "build", rows_of(n, dim), "index", "--force", "--quiet", "--report", "report.json", *QUICK, *options]
    job = subprocess.Popen(LAUNCHER + ["-n", str(ranks)] + command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    seen = 0
    while job.poll() is None:
        seen = max([seen, *private_bytes()])
        time.sleep(0.005)
    check(job.returncode == 0, f"{' '.join(command)}: exit {job.returncode}")
    with open("report.json") as f:
        return json.load(f), seen


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


if which == "few":
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
