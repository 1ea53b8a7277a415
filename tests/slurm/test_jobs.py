"""The job scripts on a real Slurm of virtual nodes: a build that is stopped goes on by itself, jobs follow each other, and what
cannot run says so."""
import os
import sys
import time

import virtual_cluster

virtual_cluster.enter()
from jobs import cluster, field, go_on, halted, out, over, profile, said, starts_again, submit, try_submit, until  # noqa: E402
from ranktape_cli import check, clustered, digest, end, ok, write_bin  # noqa: E402

which = sys.argv[1]
LISTS = ("--lists", "4,40", "--iterations", "2")
write_bin("rows.fbin", clustered(20000, 16, seed=4))
write_bin("queries.fbin", clustered(50, 16, seed=5))
ok("build", "rows.fbin", "alone", *LISTS, ranks=0)
want = digest("alone")


def same(name, index):
    check(os.path.exists(f"{index}/CURRENT") and digest(index) == want, f"{name}: another digest, or none")
    left = [n for n in os.listdir(index) if n == "checkpoint" or n.startswith("LOCK") or n.endswith(".partial")]
    check(not left, f"{name}: left: {left}")


if which == "chain":
    cluster(2)
    # the warning before the time limit: stopped with a checkpoint, queued again, gone on, and those behind it have waited
    profile(first_start="export RANKTAPE_FAULT=write:1:6:stop")
    build, verify, search = submit("-N2", "-n4", "build", "rows.fbin", "index", *LISTS, "then", "verify", "index", "--full", "then",
                                   "search", "index", "queries.fbin", "--out", "found.ivecs")
    pid = halted()
    twice, = submit("build", "rows.fbin", "index", *LISTS)  # the same once more meanwhile: the lock is named
    check("is being written by job " + build in over(twice, "FAILED", 2), f"a second build meanwhile:\n{said(twice)}")
    out("scancel", "-s", "USR1", "-b", build)
    time.sleep(0.5)
    go_on(pid)
    starts_again(build)
    check(field(verify, "JobState") == "PENDING", f"verify is {field(verify, 'JobState')} before the build is done")
    text = over(build)
    for words in ("stopped by SIGUSR1", "queued again", "start 2", "goes on with what a build on 4 ranks has left"):
        check(words in text, f"build: no '{words}' in:\n{text}")
    over(verify)
    over(search)
    same("stopped and gone on", "index")
    check(os.path.getsize("found.ivecs") == 50 * 4 * 11, "search has written no neighbours")
    # the same once more: it is there
    profile()
    again, = submit("build", "rows.fbin", "index", *LISTS)
    check("holds this build already" in over(again), f"once more:\n{said(again)}")
    # a launcher of another MPI: refused, not four builds side by side; what waits for it never runs
    profile(launcher="srun --mpi=none --kill-on-bad-exit=1")
    wrong, never = submit("-N2", "-n4", "build", "rows.fbin", "wrong", *LISTS, "then", "verify", "wrong")
    over(wrong, "FAILED", 1)
    check(not os.path.exists("wrong"), "a launcher that is none has built an index")
    over(never, "CANCELLED", 0)
end()
