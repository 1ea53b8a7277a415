"""Three hosts on a network. `answers`: a build and a search give what one host gives; `jobs`: so do all jobs that change an
index (slow); `cuts`: a host's cable is cut in the middle of each job (slow): every process ends, with one line, the index is
whole, and the job run again reaches what it would have reached undisturbed."""
import os
import shutil
import signal
import sys
import time

import numpy as np
import separate_hosts

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fault"))
from faults import SECONDS, all_gone, check, clustered, end, finish, ok, run, start, stopped_process, write_bin  # noqa: E402
from ranktape_cli import digest  # noqa: E402

which = sys.argv[1]
separate_hosts.begin("east", "north", "west")
EAST = {"east": 2, "north": 2, "west": 1}  # rank 0 is east's
HOSTS = separate_hosts.over(**EAST)
LISTS = ("--lists", "4,40")
STALL = 8  # s: more than mpirun needs to miss a host

rows = clustered(3300, 24, seed=1)
write_bin("rows.fbin", rows[:3000])
write_bin("more.fbin", rows[3000:])
write_bin("query.fbin", rows[::30])
np.arange(5, 3000, 7, dtype="<u8").tofile("dead.u64")
JOBS = {"insert": ("insert", "INDEX", "more.fbin"), "delete": ("delete", "INDEX", "--ids", "dead.u64"),
        "vacuum": ("vacuum", "INDEX", "--full")}


def job_on(index, job):
    return [index if word == "INDEX" else word for word in JOBS[job]]


def answers(index, **where):
    ok("search", index, "query.fbin", "--probes", 5, "--out", "out.ibin", **where)
    with open("out.ibin", "rb") as f:
        return f.read()


def same(what, one, many):
    check(digest(one) == digest(many), f"{what}: another digest")
    check(answers(one, ranks=1) == answers(many, ranks=5, launcher=HOSTS), f"{what}: other answers")


def all_jobs():
    for job in ("insert", "delete", "vacuum"):
        ok(*job_on("one", job), ranks=2)
        ok(*job_on("many", job), ranks=5, launcher=HOSTS)
        same(job, "one", "many")
        ok("verify", "many", "--full", ranks=5, launcher=HOSTS)


def cut_in(name, host, point, *arguments, stop_rank):
    """The job, its host lost while one of its ranks is held at the point; ends in time, with a line that says why."""
    job = start(*arguments, "--stall-timeout", STALL, ranks=5, launcher=HOSTS,
                environment={"RANKTAPE_FAULT": f"{point}:{stop_rank}:1:stop"})
    pid = stopped_process()
    separate_hosts.cut(host)
    os.kill(pid, signal.SIGCONT)
    began = time.monotonic()
    result = finish(job, timeout=STALL + 2 * SECONDS)
    all_gone(name)
    daemons = os.popen("ps -C orted -o pid=,stat=,args= | awk '$2 !~ /Z/'").read()
    check(not daemons, f"{name}: left of mpirun: {daemons}")
    separate_hosts.mend(host)
    check(result.code != 0, f"{name}: exit 0")
    check(time.monotonic() - began < STALL + SECONDS, f"{name}: took {time.monotonic() - began:.0f} s")
    said = [line for line in result.err.splitlines() if "--stall-timeout" in line or "ORTE has lost communication" in line]
    check(1 <= len(said) <= 2, f"{name}: {len(said)} lines: {result.err}")
    print(f"{name}: exit {result.code} after {time.monotonic() - began:.1f} s: {' | '.join(said)}", flush=True)


def cuts():
    ok("build", "rows.fbin", "one", *LISTS, ranks=2)
    for host, rank in (("west", 4), ("north", 2), ("east", 0)):  # the host of rank 0 as well
        for phase in ("train", "insert", "compact", "publish"):
            name = f"{host} lost in {phase} of a build"
            index = f"{host}-{phase}"
            cut_in(name, host, phase, "build", "rows.fbin", index, *LISTS, stop_rank=rank)
            check(not os.path.exists(f"{index}/CURRENT"), f"{name}: published")
            ok("build", "rows.fbin", index, *LISTS, "--resume", "--break-lock", ranks=3)
            same(name, "one", index)
            ok("verify", index, "--full", ranks=2)
    for job, points in (("insert", ("insert", "publish")), ("delete", ("fsync",)), ("vacuum", ("fold", "publish"))):
        ok("build", "rows.fbin", f"{job}.before", *LISTS, ranks=2)
        if job == "vacuum":
            ok(*job_on(f"{job}.before", "insert"), ranks=2)
            ok(*job_on(f"{job}.before", "delete"), ranks=2)
        shutil.copytree(f"{job}.before", f"{job}.after")
        ok(*job_on(f"{job}.after", job), ranks=2)
        for point in points:
            for host, rank in (("north", 2), ("east", 0)):
                if point == "fsync" and rank:
                    continue  # only rank 0 writes a tombstone file this small
                name = f"{host} lost at {point} of {job}"
                shutil.copytree(f"{job}.before", "index")
                cut_in(name, host, point, *job_on("index", job), stop_rank=rank)
                check(digest("index") in (digest(f"{job}.before"), digest(f"{job}.after")), f"{name}: another digest")
                ok("verify", "index", "--full", ranks=1)
                again = run(*job_on("index", job), "--break-lock", ranks=3)
                check(again.code == 0 or "in the index already" in again.err, f"{name}: again: {again.code} {again.err}")
                same(name, f"{job}.after", "index")
                shutil.rmtree("index")


if which == "cuts":
    cuts()
else:
    ok("build", "rows.fbin", "one", *LISTS, ranks=2)
    ok("build", "rows.fbin", "many", *LISTS, ranks=5, launcher=HOSTS)
    same("build", "one", "many")
    if which == "jobs":
        all_jobs()
end()
