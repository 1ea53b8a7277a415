"""A system that does less than it is asked for, or fails, beneath the program and its libraries (bad_calls.c).

`parts`: reads and writes that transfer a part, calls that are interrupted: every job makes the same bytes. `fails`: the n-th
call of one rank fails, n drawn: all ranks end, one line, exit 1, and the index is what it was or what it should become.
A job's name: both, of that job, many more of them (slow)."""
import hashlib
import os
import random
import shutil
import sys
import time

import numpy as np
from faults import all_gone, check, clustered, end, held_to, ok, run, write_bin
from ranktape_cli import digest

which = sys.argv[1]
LIBRARY = os.environ["RANKTAPE_BAD_CALLS"]
HERE = os.getcwd()

rows = clustered(700, 8, seed=11)
write_bin("rows.fbin", rows[:600])
write_bin("more.fbin", rows[600:650])
write_bin("new.fbin", rows[650:])
write_bin("query.fbin", rows[:20])
np.arange(1000, 1050, dtype="<u8").tofile("new.u64")
np.arange(5, 600, 9, dtype="<u8").tofile("dead.u64")
np.arange(3, 600, 20, dtype="<u8").tofile("first.u64")
JOBS = {
    "build": ("build", "rows.fbin", "built", "--lists", "2,6"),
    "mpio": ("build", "rows.fbin", "built", "--lists", "2,6", "--io", "mpio", "--stall-timeout", "5"),
    "insert": ("insert", "index", "new.fbin", "--ids", "new.u64"),
    "delete": ("delete", "index", "--ids", "dead.u64"),
    "vacuum": ("vacuum", "index", "--full"),
    "search": ("search", "index", "query.fbin", "--probes", "6", "--out", "out.ibin"),
    "verify": ("verify", "index", "--full"),
}


def afresh():
    for name in ("index", "built"):
        shutil.rmtree(name, ignore_errors=True)
    shutil.copytree("start", "index")


def badly(job, calls, ranks):
    afresh()
    for r in range(ranks):
        if os.path.exists(f"counts.{r}"):
            os.remove(f"counts.{r}")
    return run(*JOBS[job], ranks=ranks, environment={"LD_PRELOAD": LIBRARY, "BAD_ROOT": HERE, "BAD_CALLS": calls,
                                                     "BAD_COUNTS": f"{HERE}/counts"})


def counted(rank):
    with open(f"counts.{rank}", encoding="ascii") as f:
        return {call: int(n) for call, n in (line.split() for line in f)}


def made():
    """Every byte that a job may have made, but for what says when and where."""
    sums = {}
    for folder in ("index", "built"):
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            if name.endswith(".h5"):
                with open(f"{folder}/{name}", "rb") as f:
                    sums[f"{folder}/{name}"] = hashlib.sha256(f.read()).hexdigest()
    with open("out.ibin", "rb") as f:
        sums["out"] = hashlib.sha256(f.read()).hexdigest()
    return sums


def parts(jobs, all_ranks):
    for ranks in all_ranks:
        for job in jobs:
            afresh()
            ok(*JOBS[job], ranks=ranks)
            want = made()
            for calls in ("short", "eintr"):
                result = badly(job, calls, ranks)
                if job == "mpio" and result.code != 0:  # Open MPI does not go on after such a call: that is said
                    held_to(f"mpio, {calls}, {ranks} ranks", result, 1, [], job="build")
                    continue
                check(result.code == 0, f"{job}, {calls}, {ranks} ranks: exit {result.code}: {result.err}")
                check(made() == want, f"{job}, {calls}, {ranks} ranks: other bytes")
                check(sum(counted(0)[call] for call in ("read", "write", "fsync", "open")) > 5, f"{job}, {calls}: no call counted")


def whole(name, job):
    """The index is the old one or the new one; a build's is there or not."""
    at = "built" if job in ("build", "mpio") else "index"
    if at == "built" and not os.path.exists("built/CURRENT"):
        return
    result = run("verify", at, "--full", ranks=1)
    check(result.code == 0, f"{name}: verify afterwards: {result.out}{result.err}")
    check(digest(at) in (wanted[job], before), f"{name}: another digest")


def fail_once(job, ranks, draw):
    call, rank = draw.choice(("read", "write", "space", "fsync", "rename", "open", "malloc", "malloc", "mmap")), draw.randrange(ranks)
    n = counts[job, ranks][rank]["write" if call == "space" else call]
    if n == 0:
        return
    fault = f"{call}:{rank}:{draw.randint(1, n)}{draw.choice(('', '+'))}"
    name = f"{job} on {ranks} ranks, {fault} of {n}"
    result = badly(job, fault, ranks)
    if result.code == 0:  # it does without, or comes by later
        all_gone(name)
        whole(name, job)
        return
    if job == "mpio" and "--stall-timeout" in result.err:  # Open MPI leaves the others waiting where one rank's call fails
        all_gone(name)
    else:
        held_to(name, result, 1, [], job=JOBS[job][0])
    whole(name, job)


def full_disks():
    """From some write of a build on nothing can be written: also where HDF5 cannot close its file, and crashes at the end."""
    check(badly("build", "none", 2).code == 0, "build with calls counted")
    for n in range(6, counted(0)["write"] + 1, 8):
        held_to(f"build, no write from {n} on", badly("build", f"write:0:{n}+", 2), 1, [], job="build")
        check(not os.path.exists("built/CURRENT"), f"no write from {n} on: published")


def outcome(job):
    afresh()
    ok(*JOBS[job], ranks=1)
    return digest("built" if job in ("build", "mpio") else "index")


ok("build", "rows.fbin", "start", "--lists", "2,6", ranks=1)
ok("insert", "start", "more.fbin", ranks=1)
ok("delete", "start", "--ids", "first.u64", ranks=1)
before = digest("start")
wanted = {job: outcome(job) for job in JOBS}
if which == "parts":
    parts(JOBS, (2,))
else:
    seed = int(os.environ.get("RANKTAPE_TEST_SEED", time.time()))
    print(f"seed {seed}", flush=True)
    draw = random.Random(seed)
    jobs, all_ranks, times = (JOBS, (2,), 1) if which == "fails" else ((which,), (1, 2, 3), 60)
    if "build" in jobs:
        full_disks()
    counts = {}
    for job in jobs:
        for ranks in all_ranks:
            check(badly(job, "none", ranks).code == 0, f"{job} on {ranks} ranks with calls counted")
            counts[job, ranks] = [counted(r) for r in range(ranks)]
            for _ in range(times):
                fail_once(job, ranks, draw)
    if which in JOBS:
        parts(jobs, (1, 3))
end()
