"""The power goes at any sync or change of a name: what was synced is there, of the rest nothing, all or some. The index is
the old one or the new one, whole; the job run again gets there; and what a job that said it was done has made stays.

power_loss.c keeps what was synced. `alone`: jobs of one rank, each in milliseconds; a job's name: that one, of one to three
ranks, many times (slow)."""
import ctypes
import os
import random
import shutil
import subprocess
import sys
import time

import numpy as np
from faults import check, clustered, end, ok, run, write_bin
from ranktape_cli import digest

which = sys.argv[1]
LIBRARY = os.environ["RANKTAPE_POWER_LOSS"]
keeper = ctypes.CDLL(LIBRARY)
DISK, STATE = os.path.abspath("disk"), os.path.abspath("state")
PAGE = 4096

rows = clustered(700, 8, seed=11)
write_bin("rows.fbin", rows[:600])
write_bin("more.fbin", rows[600:650])
write_bin("new.fbin", rows[650:])
write_bin("query.fbin", rows[:3])
np.arange(1000, 1050, dtype="<u8").tofile("new.u64")
np.arange(5, 600, 9, dtype="<u8").tofile("dead.u64")
np.arange(590, 640, dtype="<u8").tofile("again.u64")
np.arange(3, 600, 20, dtype="<u8").tofile("first.u64")
BUILD = ("build", "rows.fbin", "disk/index", "--lists", "2,6", "--checkpoint-interval", "0.1")
JOBS = {
    "build": BUILD,
    "insert": ("insert", "disk/index", "new.fbin", "--ids", "new.u64"),
    "replace": ("insert", "disk/index", "new.fbin", "--ids", "again.u64", "--replace"),
    "delete": ("delete", "disk/index", "--ids", "dead.u64"),
    "vacuum": ("vacuum", "disk/index"),
    "full": ("vacuum", "disk/index", "--full"),
}


def key_of(path):
    key = ctypes.create_string_buffer(64)
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    keeper.power_key(fd, key)
    os.close(fd)
    return key.value.decode()


def keep_all():
    """What is on the disk now has been there for long."""
    shutil.rmtree(STATE, ignore_errors=True)
    os.mkdir(STATE)
    for folder, _, files in os.walk(DISK):
        for path in [folder] + [os.path.join(folder, name) for name in files]:
            fd = os.open(path, os.O_RDONLY)
            keeper.power_keep(fd, STATE.encode())
            os.close(fd)


def kept(kind, key):
    try:
        with open(f"{STATE}/{kind}-{key}", "rb") as f:
            return f.read()
    except FileNotFoundError:
        return b""


def names_now(folder):
    return {} if folder is None else {
        name: ("d" if os.path.isdir(f"{folder}/{name}") else "f", key_of(f"{folder}/{name}")) for name in os.listdir(folder)}


def names_kept(key):
    lines = [line.split(" ", 2) for line in kept("names", key).decode().splitlines()]
    return {name: (kind, key) for kind, key, name in lines}


def bytes_after(key, alive, draw, how):
    """A file's: at its last sync, now, or some pages of each."""
    before = kept("data", key)
    if key not in alive or how == "synced":
        return before
    with open(alive[key], "rb") as f:
        now = f.read()
    if how == "written":
        return now
    size = draw.choice((len(before), len(now)))
    return b"".join(draw.choice((before, now))[at:min(at + PAGE, size)].ljust(min(PAGE, size - at), b"\0")
                    for at in range(0, size, PAGE))


def fill(folder, key, to, alive, draw, how):
    """A directory after the power is back, and what is in it."""
    where = {"synced": names_kept(key), "written": names_now(folder)}
    names = where[how if how in where else draw.choice(("synced", "written"))]
    for name, (kind, its_key) in sorted(names.items()):
        if kind == "d":
            os.mkdir(f"{to}/{name}")
            fill(alive.get(its_key), its_key, f"{to}/{name}", alive, draw, how)
        else:
            with open(f"{to}/{name}", "wb") as f:
                f.write(bytes_after(its_key, alive, draw, how))


def power_is_back(draw, how=None):
    """The disk as a power loss leaves it; returns what of the rest is there."""
    alive = {}
    for folder, _, files in os.walk(DISK):
        for path in [folder] + [f"{folder}/{name}" for name in files]:
            alive[key_of(path)] = path
    shutil.rmtree("after", ignore_errors=True)
    os.mkdir("after")
    how = how or draw.choice(("synced", "synced", "some", "written"))
    fill(DISK, key_of(DISK), "after", alive, draw, how)
    for key, path in alive.items():
        there = "after" + path[len(DISK):]
        check(how != "synced" or not kept("names", key) or os.path.isdir(there), f"'{there}' was synced, but not its name")
    shutil.rmtree(DISK)
    os.rename("after", DISK)
    return how


def begin_disk(job):
    shutil.rmtree(DISK, ignore_errors=True)
    if job == "build":
        os.mkdir(DISK)
    else:
        shutil.copytree("start", DISK)
    keep_all()


def powered(job, ranks, at=None):
    environment = {"LD_PRELOAD": LIBRARY, "POWER_ROOT": DISK, "POWER_STATE": STATE, "RANKTAPE_FAULT": "past_cache:all",  # as large files
                   **({"POWER_AT": str(at)} if at else {})}
    return run(*JOBS[job], ranks=ranks, environment=environment)


def events():
    with open(f"{STATE}/events", encoding="ascii") as f:
        return int(f.read())


def answers():
    ok("search", "disk/index", "query.fbin", "--k", "5", "--probes", "6", "--out", "out.ibin", ranks=0)
    with open("out.ibin", "rb") as f:
        return f.read()


def is_there():
    return os.path.exists("disk/index/CURRENT")


def holds(name, job, is_done):
    """Old or new, and whole; new where the job had said so."""
    if job == "build" and not is_there():
        return check(not is_done, f"{name}: the index that was built is gone")
    now = (digest("disk/index"), answers())
    result = run("verify", "disk/index", "--full", ranks=0)
    check(result.code == 0, f"{name}: verify: {result.out}{result.err}")
    check(now == wanted[job] or (now == before and not is_done and job != "build"), f"{name}: digest {now[0]}")
    return now == wanted[job]


def unlock():
    """Whoever breaks a lock waits for 5 s."""
    if os.path.exists("disk/index/LOCK"):
        os.remove("disk/index/LOCK")


def again(name, job, is_new, ranks):
    """A second run gets there."""
    more = ("--resume",) if job == "build" else ()
    result = run(*JOBS[job], *more, "--break-lock", ranks=ranks)
    said = "in the index already" in result.err
    check(result.code == 0 or (job == "insert" and is_new and said), f"{name}: again: exit {result.code}: {result.err}")
    check(job == "replace" or (digest("disk/index"), answers()) == wanted[job], f"{name}: again: another digest")
    ok("verify", "disk/index", "--full", ranks=0)


def lose_power(job, ranks, draw, n_events):
    at = draw.randint(1, n_events + 1)
    begin_disk(job)
    result = powered(job, ranks, at)
    how = power_is_back(draw)
    name = f"{job} on {ranks or 1} ranks, power lost at {at} of {n_events}, {how}"
    if os.environ.get("RANKTAPE_TEST_TALK"):
        print(f"{name}: exit {result.code}", flush=True)
    check(at > n_events or result.code != 0 or ranks, f"{name}: exit 0")  # ranks do not always sync equally often
    is_new = holds(name, job, result.code == 0)
    if which == "alone" or draw.random() < 0.9:
        unlock()
    again(name, job, is_new, draw.choice((0, 0, 2)) if ranks else 0)


def undisturbed(job):
    begin_disk(job)
    ok(*JOBS[job], ranks=0)
    return digest("disk/index"), answers()


seed = int(os.environ.get("RANKTAPE_TEST_SEED", time.time()))
print(f"seed {seed}", flush=True)
os.mkdir(DISK)
ok(*BUILD, ranks=0)
ok("insert", "disk/index", "more.fbin", ranks=0)
ok("delete", "disk/index", "--ids", "first.u64", ranks=0)
before = (digest("disk/index"), answers())
os.rename(DISK, "start")
wanted = {job: undisturbed(job) for job in JOBS}
draw = random.Random(seed)
jobs, n_trials, all_ranks = (JOBS, 2, (0,)) if which == "alone" else ((which,), 60, (0, 2, 3))
for job in jobs:
    for ranks in all_ranks:
        begin_disk(job)
        result = powered(job, ranks)
        check(result.code == 0 and events() > 2, f"{job} with syncs kept: exit {result.code}: {result.err}")
        n_events = events()
        power_is_back(draw, "synced")
        holds(f"{job}, done", job, True)
        for _ in range(n_trials):
            lose_power(job, ranks, draw, n_events)
end()
