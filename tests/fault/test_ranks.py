"""One rank fails, is killed, or is asked to stop: all ranks end within seconds, with one message, and nothing is published."""
import os
import random
import signal
import sys
import time

from faults import (LAUNCHER, all_gone, beside, check, clustered, end, finish, gone, held_to, ok, processes, run, start,
                    stopped_process, unpublished, write_bin)
from ranktape_cli import digest

which = sys.argv[1]
rows = clustered(3000, 16, seed=4)
write_bin("rows.fbin", rows)
LISTS = ("--lists", "4,30")
n_cases = 0


def faulty(fault, words, *options, ranks=3, code=1, seconds=None):
    """A build with this fault in one rank fails; without it, over what is left, it succeeds."""
    global n_cases
    n_cases += 1
    index = f"index{n_cases}"
    name = f"{fault} {' '.join(map(str, options))} ({ranks} ranks)"
    result = held_to(name, run("build", "rows.fbin", index, *LISTS, *options, ranks=ranks,
                               environment={"RANKTAPE_FAULT": fault}), code, words, seconds=seconds)
    if result.code == 2:
        gone(name, index)
    else:
        unpublished(name, index)
    return index


def reaches(fault, *options, ranks=3):
    """Whether a build comes as far as this fault's point."""
    return run("build", "rows.fbin", "probe", *LISTS, "--force", *options, ranks=ranks,
               environment={"RANKTAPE_FAULT": fault}).code != 0


if which == "points":
    # every point, early and late, on the rank that leads and on one that does not
    for point, words in (("open", ["cannot open"]), ("read", ["rows.fbin"]), ("write", ["No space left", "index"]),
                         ("fsync", ["sync of"]), ("rename", ["cannot rename", "index"]),
                         ("malloc", ["out of memory"]), ("map", ["cannot map", "index"])):
        for rank in (0, 2):
            if point == "rename" and rank != 0:
                continue
            who = [] if rank == 0 else [f"rank {rank} on node "]
            faulty(f"{point}:{rank}", who + words if point != "open" or rank else words)
    ok("build", "rows.fbin", "index1", *LISTS, "--force", ranks=3)
    ok("verify", "index1", "--full", ranks=2)
elif which == "everywhere":
    # the n-th passage, whichever phase it falls into: a seeded choice, so that runs can be repeated
    seed = int(os.environ.get("RANKTAPE_TEST_SEED", "1"))
    print(f"seed {seed}")
    draw = random.Random(seed)
    for io in ("direct", "mpio"):
        for point, most in (("malloc", 220), ("write", 30), ("read", 8), ("open", 12), ("fsync", 6), ("map", 3)):
            for _ in range(2):
                rank = draw.randrange(3)
                fault = f"{point}:{rank}:{draw.randint(1, most)}"
                if reaches(fault, "--io", io):
                    faulty(fault, [], "--io", io)
elif which == "mpio":
    for point in ("write", "malloc", "open", "fsync", "read"):
        for rank in (0, 1):
            faulty(f"{point}:{rank}", [], "--io", "mpio", ranks=2)
    for n in (2, 5, 9):
        faulty(f"write:1:{n}", ["index", "write to"], "--io", "mpio", ranks=3)
    faulty("read:0:2", ["rows.fbin"], "--scatter", ranks=3)
    faulty("malloc:1:40", ["out of memory"], "--scatter", ranks=3)
    faulty("malloc:2:60", ["out of memory"], "--pin", "off", ranks=3)
elif which == "others":
    # the other jobs: a seeded choice of points, on each kind of rank
    seed = int(os.environ.get("RANKTAPE_TEST_SEED", "1"))
    print(f"seed {seed}")
    draw = random.Random(seed)
    ok("build", "rows.fbin", "index", *LISTS, ranks=2)
    ok("build", "rows.fbin", "heap", *LISTS, "--rerank-in-heap", ranks=2)
    write_bin("query.fbin", rows[:50])
    jobs = [("search", "index", "query.fbin", "--out", "found.ibin", "--threads", 2), ("search", "index", "--sample-truth", 20),
            ("search", "heap", "query.fbin"), ("verify", "index", "--full"), ("verify", "heap", "--full"),
            ("info", "index", "--lists"), ("plan", "rows.fbin"),
            ("synth", "new.fbin", "--rows", 2000, "--dim", 8, "--queries", "q.fbin", "--truth", "t.ibin", "--force")]
    for job in jobs:
        for point, most in (("malloc", 40), ("read", 6), ("open", 5), ("map", 3), ("write", 4), ("fsync", 3), ("rename", 2)):
            rank = draw.randrange(3)
            fault = f"{point}:{rank}:{draw.randint(1, most)}"
            result = run(*job, ranks=3, environment={"RANKTAPE_FAULT": fault})
            if result.code == 0:  # it does not come so far
                all_gone(f"{job} {fault}")
                continue
            held_to(f"{job[0]} {fault}", result, 1, [], job=job[0])
            left = [name for name in os.listdir(".") if name.endswith(".partial")]
            check(not left, f"{job} {fault}: {left} are left")
    for job in jobs:
        ok(*job, ranks=3)
    for job in jobs[:2] + jobs[3:4]:  # killed: mpirun ends all, and the index is as it was
        job = start(*job, ranks=3, environment={"RANKTAPE_FAULT": "map:1:2:kill"})
        result = finish(job)
        check(result.code not in (0, 2), f"{job.args}, rank 1 killed: exit {result.code}")
        check(result.seconds < 30, f"{job.args}, rank 1 killed: took {result.seconds:.1f} s")
        all_gone("rank 1 killed")
    ok("verify", "index", "--full", ranks=1)
elif which == "killed":
    for phase in ("train", "insert", "compact", "publish"):
        for rank in (0, 2):
            n_cases += 1
            index = f"index{n_cases}"
            job = start("build", "rows.fbin", index, *LISTS, ranks=3, environment={"RANKTAPE_FAULT": f"{phase}:{rank}:1:kill"})
            result = finish(job)
            name = f"rank {rank} killed in {phase}"
            check(result.code not in (0, 2, 75), f"{name}: exit {result.code}")
            check(result.seconds < 30, f"{name}: took {result.seconds:.1f} s")
            all_gone(name)
            unpublished(name, index)
            held_to(name + ", then search", run("search", index, "rows.fbin", ranks=1), 2, ["unfinished build", "--force"],
                    job="search")
            if rank == 2:
                ok("build", "rows.fbin", index, *LISTS, "--force", ranks=2)
                check(not [f for f in os.listdir(index) if f.endswith(".partial") or f == "LOCK"],
                      f"{name}: {os.listdir(index)}")
    ok("verify", index, "--full", ranks=2)
    # a rank that hangs is noticed
    for rank in (0, 1):
        job = start("build", "rows.fbin", "hung", *LISTS, "--force", "--stall-timeout", 3, ranks=3,
                    environment={"RANKTAPE_FAULT": f"insert:{rank}:1:stop"})
        result = finish(job)
        check(result.code != 0 and "--stall-timeout" in result.err, f"rank {rank} hangs: exit {result.code}: {result.err}")
        check(result.seconds < 30, f"rank {rank} hangs: took {result.seconds:.1f} s")
        all_gone(f"rank {rank} hangs")
        unpublished(f"rank {rank} hangs", "hung")
    # at any time, over an index that must stay what it is until the new one is published
    write_bin("more.fbin", clustered(60000, 48, seed=9))
    ok("build", "more.fbin", "new", "--lists", "60", ranks=2)
    ok("build", "rows.fbin", "old", *LISTS, ranks=2)
    first, second = digest("old"), digest("new")
    seed = int(os.environ.get("RANKTAPE_TEST_SEED", "1"))
    print(f"seed {seed}")
    draw = random.Random(seed)
    for _ in range(4):
        job = start("build", "more.fbin", "old", "--lists", "60", "--force", ranks=3)
        while len(processes()) < 3 and job.poll() is None:
            time.sleep(0.01)
        time.sleep(draw.uniform(0.2, 2))
        ours = processes()
        if ours:
            os.kill(draw.choice(ours), signal.SIGKILL)
        result = finish(job)
        all_gone("killed at any time")
        now = digest("old")
        check(now == second if result.code == 0 else now in (first, second),  # a rank may die after CURRENT has its new name
              f"a killed build, exit {result.code}, has changed the index that was there")
        ok("verify", "old", "--full", ranks=1)
        if now == second:
            ok("build", "rows.fbin", "old", *LISTS, "--force", ranks=2)
elif which == "signals":
    write_bin("more.fbin", clustered(60000, 48, seed=9))

    def waits_for_signal(pid, number):
        """Halted still, and the signal has not come."""
        try:
            with open(f"/proc/{pid}/status") as f:
                state = dict(line.split(":", 1) for line in f.read().splitlines())
        except OSError:
            return False
        return state["State"].strip().startswith("T") and not int(state["ShdPnd"], 16) >> (number - 1) & 1

    for phase in ("train", "insert", "compact", "publish"):
        for number in (signal.SIGTERM, signal.SIGUSR1):
            n_cases += 1
            index = f"index{n_cases}"
            name = f"{number.name} in {phase}"
            job = start("build", "more.fbin", index, "--lists", "60", ranks=2,
                        environment={"RANKTAPE_FAULT": f"{phase}:1:1:stop"})
            pid = stopped_process()
            asked = time.monotonic()
            os.kill(pid, number)
            os.kill(pid, signal.SIGCONT)
            result = held_to(name, finish(job), 75, ["stopped"])
            check(time.monotonic() - asked < 10, f"{name}: took {time.monotonic() - asked:.1f} s")
            unpublished(name, index)
    # to mpirun, which passes SIGUSR1 on, and gives ranks a second after SIGTERM
    for number, codes in ((signal.SIGUSR1, (75,)), (signal.SIGTERM, (1, 75, 143))):
        n_cases += 1
        index = f"index{n_cases}"
        job = start("build", "more.fbin", index, "--lists", "60", ranks=2, environment={"RANKTAPE_FAULT": "insert:1:1:stop"})
        pid = stopped_process()
        os.kill(job.pid, number)
        for _ in range(300):
            if not waits_for_signal(pid, number):
                break
            time.sleep(0.01)
        os.kill(pid, signal.SIGCONT)
        result = finish(job)
        check(result.code in codes, f"{number.name} to mpirun: exit {result.code}: {result.err}")
        all_gone(f"{number.name} to mpirun")
        if number == signal.SIGTERM and os.path.exists(f"{index}/CURRENT"):
            ok("verify", index, "--full", ranks=2)  # mpirun wakes the ranks first: they may have been done by then
        else:
            unpublished(f"{number.name} to mpirun", index)
    # in the middle of any phase
    seed = int(os.environ.get("RANKTAPE_TEST_SEED", "1"))
    print(f"seed {seed}")
    draw = random.Random(seed)
    for lists in ("300", "20,1200"):
        for _ in range(3):
            n_cases += 1
            index = f"index{n_cases}"
            job = start("build", "more.fbin", index, "--lists", lists, "--sample-per-list", 1024, ranks=2)
            while len(processes()) < 2 and job.poll() is None:
                time.sleep(0.01)
            time.sleep(draw.uniform(0.3, 2.5))
            asked = time.monotonic()
            for pid in processes()[-1:]:
                os.kill(pid, signal.SIGUSR1)
            result = finish(job)
            # before the handler stands a signal ends the process
            check(result.code in (0, 75, 138), f"SIGUSR1 at any time, {lists}: exit {result.code}: {result.err}")
            check(time.monotonic() - asked < 10, f"SIGUSR1 at any time, {lists}: took {time.monotonic() - asked:.1f} s")
            all_gone("SIGUSR1 at any time")
            if result.code != 0:
                unpublished("SIGUSR1 at any time", index)
            print(f"{lists}: exit {result.code}, {time.monotonic() - asked:.1f} s after the signal")
elif which == "changes":
    # the row file changes while rank 1 stands in the middle of its part
    def halted(name, number, *options):
        job = start("build", name, f"{name}.index", "--lists", "30", "--block-rows", 100, *options, ranks=2,
                    environment={"RANKTAPE_FAULT": f"read:1:{number}:stop"})
        return job, stopped_process()

    def change_cut(name):
        os.truncate(name, os.path.getsize(name) // 2)

    def change_grow(name):
        with open(name, "ab") as f:
            f.write(b"x" * 640)

    def change_write(name):
        with open(name, "r+b") as f:
            f.seek(8)
            f.write(b"\0" * 640)

    def change_remove(name):
        os.remove(name)

    def change_replace(name):
        write_bin("new.fbin", rows[::-1])
        os.rename("new.fbin", name)

    for number in (1, 6):  # of the sample, of the rows
        for change in (change_cut, change_grow, change_write, change_remove, change_replace):
            name = f"{change.__name__}{number}.fbin"
            write_bin(name, rows)
            job, pid = halted(name, number)
            change(name)
            os.kill(pid, signal.SIGCONT)
            words = [name] + (["shrank"] if change == change_cut else ["changed"])
            held_to(f"{change.__name__} at read {number}", finish(job), 2, words)
            gone(change.__name__, f"{name}.index")
    # so do the centroids, between plan and training
    write_bin("given.fbin", rows[:30])
    job = start("build", "rows.fbin", "given", "--centroids", "given.fbin", ranks=2, environment={"RANKTAPE_FAULT": "train:0:1:stop"})
    pid = stopped_process()
    write_bin("given.fbin", rows[1:31])
    os.kill(pid, signal.SIGCONT)
    held_to("other centroids", finish(job), 2, ["given.fbin", "changed"])
    gone("other centroids", "given")
    # an index that is cut under a reader, which has it mapped: one line a rank, no crash
    ok("build", "rows.fbin", "mapped", *LISTS, ranks=2)
    job = start("search", "mapped", "rows.fbin", "--probes", 30, ranks=2, environment={"RANKTAPE_FAULT": "search:1:1:stop"})
    pid = stopped_process()
    for name in ("frozen-1.h5", "vectors-1.h5"):
        os.truncate(f"mapped/{name}", 4096)
    os.kill(pid, signal.SIGCONT)
    result = finish(job)
    check(result.code == 1 and "bus error in" in result.err, f"cut under a reader: exit {result.code}: {result.err}")
    all_gone("cut under a reader")
end()
