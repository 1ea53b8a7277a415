"""Insert, delete and vacuum that fail or are killed: the index is what it was, or what it should become, and a second
run gets there. `kills`: at fault points of one rank or all; `fails`: a call of the system that fails; with a job, every point
of that one (slow); `times`: at random times (slow); `readers`: a search that all this happens beside."""
import json
import os
import random
import shutil
import signal
import sys
import time

import numpy as np
from faults import (SECONDS, all_gone, check, clustered, end, finish, held_to, ok, run, start, stopped_process,
                    write_bin)
from ranktape_cli import digest

which = sys.argv[1]
thorough = len(sys.argv) > 2
rows = clustered(700, 8, seed=11)
write_bin("rows.fbin", rows[:600])
write_bin("more.fbin", rows[600:650])
write_bin("new.fbin", rows[650:])
write_bin("query.fbin", rows[:3])
many = clustered(40000, 8, seed=12)
write_bin("many.fbin", many)
write_bin("like.fbin", many[::20])
np.arange(0, 40000, 50, dtype="<u8").tofile("many.u64")
np.arange(1, 40000, 50, dtype="<u8").tofile("odd.u64")
np.arange(1000, 1050, dtype="<u8").tofile("new.u64")
np.arange(5, 600, 9, dtype="<u8").tofile("dead.u64")
np.arange(590, 640, dtype="<u8").tofile("again.u64")
np.arange(3, 600, 20, dtype="<u8").tofile("first.u64")

JOBS = {
    "insert": ("insert", "index", "new.fbin", "--ids", "new.u64"),
    "replace": ("insert", "index", "new.fbin", "--ids", "again.u64", "--replace"),
    "delete": ("delete", "index", "--ids", "dead.u64"),
    "vacuum": ("vacuum", "index"),
    "full": ("vacuum", "index", "--full"),
}


def prepare():
    """An index that has lived: lists, a pair, tombstones."""
    ok("build", "rows.fbin", "start", "--lists", "6", ranks=2)
    ok("insert", "start", "more.fbin", ranks=2)
    ok("delete", "start", "--ids", "first.u64", ranks=1)


def afresh():
    shutil.rmtree("index", ignore_errors=True)
    shutil.copytree("start", "index")


def answers():
    ok("search", "index", "query.fbin", "--k", "5", "--probes", "6", "--out", "out.ibin", ranks=1)
    with open("out.ibin", "rb") as f:
        return f.read()


def generation():
    with open("index/CURRENT") as f:
        return int(f.read().split()[0].split("-")[1].split(".")[0])


def outcome(job):
    """Digest and answers after an undisturbed run."""
    afresh()
    ok(*JOBS[job], ranks=2)
    return digest("index"), answers()


def published_unsynced():
    """Where only the last fsync of the folder fails the new generation is there, and the message says so."""
    told = 0
    for n in range(1, 40):
        result = run_with("insert", f"fsync:0:{n}")
        if result.code == 0:
            break
        is_new = digest("index") == wanted["insert"][0]
        check(("is published" in result.err) == is_new, f"insert, fsync {n} fails: published {is_new}, {result.err}")
        told += is_new
    check(told == 1 and n > 3, f"{told} of {n} failures of fsync leave a new generation")


def is_whole(name, wanted):
    """Old or new, and nothing else; returns whether it is new."""
    now = digest("index")
    check(now in (wanted[0], before[0]), f"{name}: digest {now}")
    result = run("verify", "index", "--full", ranks=1)
    check(result.code == 0, f"{name}: verify afterwards: {result.out}{result.err}")
    if thorough and now in (wanted[0], before[0]):
        check(answers() == (wanted if now == wanted[0] else before)[1], f"{name}: other answers")
    return now == wanted[0]


def finish_it(name, job, wanted):
    """A second run gets there, however far the first one came; what the first has left goes, but not the generation that
    readers may have open."""
    is_new = is_whole(name, wanted)
    found = generation()
    result = run(*JOBS[job], ranks=2)
    kept = sorted(int(n.split("-")[1].split(".")[0]) for n in os.listdir("index") if n.startswith("manifest"))
    check(generation() == found or kept == [found, generation()], f"{name}: of {found} and {generation()}, {kept} are kept")
    if is_new and job == "insert":
        check(result.code == 2 and "in the index already" in result.err, f"{name}: again: {result.code} {result.err}")
    else:
        check(result.code == 0, f"{name}: again: exit {result.code}: {result.err}")
    check(digest("index") == wanted[0] or job == "replace", f"{name}: again: another digest")
    ok("verify", "index", "--clean", ranks=1)
    unwritten = [n for n in os.listdir("index") if n.startswith("LOCK.") and os.path.getsize(f"index/{n}") == 0]
    for taker in unwritten:  # whose owner cannot be asked for: stays while it may be a job's that is just taking the lock
        os.utime(f"index/{taker}", (0, 0))
    if unwritten:
        ok("verify", "index", "--clean", ranks=1)
    left = [n for n in os.listdir("index") if n.endswith(".partial") or n.startswith("LOCK")]
    check(not left, f"{name}: {left} left")


def passages(point):
    """Which passages through a point to try, until the job gets through: all of them, drawn ever fewer where there are
    hundreds, or a few."""
    n = 1
    while True:
        yield n
        n = 8 * n if not thorough else n + draw.randint(1, 1 + n // 5) if point == "malloc" else n + 1


def run_with(job, fault):
    afresh()
    return run(*JOBS[job], ranks=2, environment={"RANKTAPE_FAULT": fault})


def stop_between_rounds():
    """A request to stop between two rounds: what is done stays, inserts leave it alone, the next vacuum goes on."""
    ok("build", "many.fbin", "rounds", "--lists", "40", ranks=2)
    ok("insert", "rounds", "like.fbin", ranks=2)
    ok("delete", "rounds", "--ids", "many.u64", ranks=1)
    kept = digest("rounds")
    job = start("vacuum", "rounds", "--memory", "1M", ranks=2, environment={"RANKTAPE_FAULT": "fold:0:2:stop"})
    pid = stopped_process()
    os.kill(pid, signal.SIGUSR1)
    os.kill(pid, signal.SIGCONT)
    result = finish(job)
    held_to("a vacuum that is asked to stop", result, 75, ["stopped by SIGUSR1", "run again"], job="vacuum")
    info = ok("info", "rounds", "--json", ranks=0).json()
    check(info["generation"] == 4 and digest("rounds") == kept, f"after a stop: generation {info['generation']}")
    ok("verify", "rounds", "--full", ranks=2)
    shutil.copytree("rounds", "grown")
    ok("insert", "grown", "like.fbin", ranks=2)
    ok("verify", "grown", "--full", ranks=2)
    rest = ok("vacuum", "rounds", "--json", ranks=2).json()
    check(0 < rest["lists_touched"] < 40 and rest["rows_removed"] > 0, f"the vacuum after it: {rest}")
    check(digest("rounds") == kept, "vacuums in rounds have changed the digest")
    # under --full, too, what is done stays done, and in the end nothing is left to do
    ok("delete", "rounds", "--ids", "odd.u64", ranks=1)
    kept = digest("rounds")
    full = ("vacuum", "rounds", "--full", "--memory", "1M", "--json")
    for runs in range(8):
        result = run(*full, ranks=2, environment={"RANKTAPE_FAULT": "fold:0:2:kill"})
        if result.code == 0:
            break
        os.remove("rounds/LOCK")
    check(0 < runs < 7, f"a full vacuum that is killed in its second round came to its end after {runs} runs")
    check(ok(*full, ranks=2).json()["rounds"] < 2, "a second full vacuum has begun again")
    check(digest("rounds") == kept, "full vacuums in rounds have changed the digest")
    ok("verify", "rounds", "--full", ranks=2)


def search_beside():
    """A search keeps the generation it began with, whose files go meanwhile; and nothing of the index waits for it."""
    afresh()
    call = ("search", "index", "rows.fbin", "--k", "20", "--probes", "6", "--out")
    ok(*call, "want.ibin", ranks=2)
    held = sorted(os.listdir("index"))
    job = start(*call, "got.ibin", ranks=2, environment={"RANKTAPE_FAULT": "search:1:1:stop"})
    pid = stopped_process()
    for what in ("replace", "delete", "full"):
        ok(*JOBS[what], *(() if what == "delete" else ("--keep-generations", "1")), ranks=2)
    check(not set(held) & set(os.listdir("index")) - {"CURRENT", "tree-1.h5"}, f"of {held} not all is gone: {os.listdir('index')}")
    check(ok("info", "index", "--json", ranks=0).json()["tombstones"] == 0, "tombstones after a full vacuum")
    os.kill(pid, signal.SIGCONT)
    result = finish(job)
    check(result.code == 0, f"a search beside a vacuum: exit {result.code}: {result.err}")
    with open("want.ibin", "rb") as want, open("got.ibin", "rb") as got:
        check(want.read() == got.read(), "a vacuum beside a search has changed its answers")
    ok("verify", "index", "--full", ranks=2)
    lived = answers()
    afresh()
    for what in ("replace", "delete"):
        ok(*JOBS[what], ranks=2)
    check(answers() == lived, "a search beside a vacuum has changed the index")


def opened_beside():
    """Ranks of a job that reads see one generation, though one is published between the first rank's look and the last's."""
    for call in (("verify", "index", "--full"), ("vacuum", "index", "--dry-run"), ("search", "index", "query.fbin")):
        afresh()
        job = start(*call, ranks=2, environment={"RANKTAPE_FAULT": "open:1:1:stop"})
        pid = stopped_process()
        time.sleep(0.2)  # the other rank opens what is there
        ok(*JOBS["insert"], ranks=1)
        os.kill(pid, signal.SIGCONT)
        result = finish(job)
        check(result.code == 0, f"{call}, an insert beside: exit {result.code}: {result.out}{result.err}")


seed = int(os.environ.get("RANKTAPE_TEST_SEED", time.time()))
print(f"seed {seed}", flush=True)
draw = random.Random(seed)
prepare()
if which == "readers":
    search_beside()
    opened_beside()
    end()
afresh()
before = (digest("index"), answers())
wanted = {job: outcome(job) for job in JOBS}
check(wanted["vacuum"] == before and wanted["full"] == before, "vacuum has changed digest or answers")

chosen = sys.argv[2:] if thorough else ("replace", "delete", "full")
if which == "kills":
    for job in chosen:
        for point in ("write", "fsync", "rename"):
            for rank in ("0", "1", "all") if thorough else (("1",) if point == "write" else ("0",)):
                for n in passages(point):
                    name = f"{job} killed at {point} {n} of rank {rank}"
                    result = run_with(job, f"{point}:{rank}:{n}:kill")
                    all_gone(name)
                    if result.code == 0:
                        check(digest("index") == wanted[job][0], f"{name}: not reached, and another digest")
                        break
                    finish_it(name, job, wanted[job])
    if not thorough:
        stop_between_rounds()
elif which == "fails":
    if not thorough:
        published_unsynced()
    for job in chosen:
        for point in ("open", "write", "fsync", "rename", "map", "malloc") if thorough else ("write", "fsync", "malloc"):
            for rank in ("0", "1") if thorough else (("0",) if point == "fsync" else ("1",)):
                for n in passages(point):
                    name = f"{job}, {point} {n} of rank {rank} fails"
                    result = run_with(job, f"{point}:{rank}:{n}")
                    if result.code == 0:
                        check(digest("index") == wanted[job][0], f"{name}: not reached, and another digest")
                        break
                    held_to(name, result, 1, [], job=JOBS[job][0])
                    left = [f for f in os.listdir("index") if f.endswith(".partial") or f.startswith("LOCK")]
                    # whose files can be neither opened nor renamed any more cannot clean up either
                    check(not left or point not in ("write", "map") or rank == "0", f"{name}: {left} left")
                    finish_it(name, job, wanted[job])
elif which == "times":
    for i in range(200):
        job = draw.choice(list(JOBS))
        afresh()
        started = start(*JOBS[job], ranks=2)
        time.sleep(draw.uniform(0.2, 0.8) * SECONDS / 30)
        started.kill()
        finish(started)
        all_gone(f"{job} {i}")
        finish_it(f"{job} {i} killed at a random time (seed {seed})", job, wanted[job])
else:
    sys.exit(f"no part '{which}'")
end()
