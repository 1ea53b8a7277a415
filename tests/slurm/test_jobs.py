"""The job scripts on a real Slurm of virtual nodes: a build that is stopped goes on by itself, jobs follow each other, and what
cannot run says so."""
import os
import sys
import time

import virtual_cluster

virtual_cluster.enter()
from jobs import SCRIPTS, SRUN, cluster, field, go_on, halted, out, over, profile, said, starts_again, submit, try_submit, until  # noqa: E402
from ranktape_cli import check, clustered, digest, end, ok, write_bin  # noqa: E402
import numpy as np  # noqa: E402

which = sys.argv[1]
MPIRUN = os.environ["MPIEXEC"].split()[0]  # without flags: Slurm tells it the ranks
LISTS = ("--lists", "4,40", "--iterations", "2")
write_bin("rows.fbin", clustered(20000, 16, seed=4))
write_bin("queries.fbin", clustered(50, 16, seed=5))
ok("build", "rows.fbin", "alone", *LISTS, ranks=0)
want = digest("alone")


def rows_of(index):
    return ok("info", index, "--json", ranks=0).json()["rows"]


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
    # (every rank says so itself: none is ended for another's exit)
    profile(launcher="srun --mpi=none --kill-on-bad-exit=0")
    wrong, never = submit("-N2", "-n4", "build", "rows.fbin", "wrong", *LISTS, "then", "verify", "wrong")
    over(wrong, "FAILED", 1)
    check(not os.path.exists("wrong"), "a launcher that is none has built an index")
    over(never, "CANCELLED", 0)
elif which == "mpich":
    # another MPI, another plugin of srun; with the wrong one each rank would be alone
    cluster(2)
    profile(launcher="srun --mpi=pmi2 --kill-on-bad-exit=1")
    build, = submit("-N2", "-n2", "build", "rows.fbin", "index", *LISTS)
    check("2 ranks" in over(build), f"MPICH:\n{said(build)}")
    same("MPICH", "index")
    profile(launcher="srun --mpi=pmix --kill-on-bad-exit=0")
    wrong, = submit("-N2", "-n2", "build", "rows.fbin", "wrong", *LISTS)
    check("each is alone; try srun" in over(wrong, "FAILED", 2), f"MPICH with pmix:\n{said(wrong)}")
    check(not os.path.exists("wrong"), "two lone builds")
elif which == "launchers":
    # every script with srun and with mpirun, on 2 and on 4 nodes
    cluster(4)
    for name, launcher in (("srun", SRUN), ("mpirun", MPIRUN)):
        profile(launcher=launcher)
        for nodes in (2, 4):
            build, verify = submit(f"-N{nodes}", f"-n{2 * nodes}", "build", "rows.fbin", f"{name}{nodes}", *LISTS, "then",
                                   f"-N{nodes}", "verify", f"{name}{nodes}")
            check(f"{2 * nodes} ranks" in over(build), f"{name} on {nodes} nodes:\n{said(build)}")
            over(verify)
            same(f"{name} on {nodes} nodes", f"{name}{nodes}")
        index = f"{name}4"
        insert, vacuum, search = submit("-N2", "-n4", "insert", index, "queries.fbin", "then", "-N2", "vacuum", index, "--full", "then",
                                        "-N2", "search", index, "queries.fbin", "--out", f"{name}.ivecs", "--k", 1)
        over(insert)
        over(vacuum)
        over(search)
        export, = submit("-N2", "-n4", "export", index, f"{name}.npy", "--format", "centroids")
        over(export)
        check(np.load(f"{name}.npy").shape == (40, 16), f"{name}: export")
        refused, = submit("export", index, f"{name}.npy", "--format", "centroids")
        check("exists already" in over(refused, "FAILED", 2), f"{name}: export over a file:\n{said(refused)}")
        out("scontrol", "requeue", export)
        starts_again(export)
        check("an earlier start of this job has written it" in over(export), f"{name}: export again:\n{said(export)}")
        found = np.fromfile(f"{name}.ivecs", "<i4").reshape(-1, 2)[:, 1]
        check((found == np.arange(20000, 20050)).all(), f"{name}: rows that were inserted are not found: {found}")
        np.arange(20000, 20050, dtype="<u8").tofile("gone.u64")
        delete, = submit("-n2", "delete", index, "--ids", "gone.u64")
        over(delete)
        check(rows_of(index) == 20000, f"{name}: {rows_of(index)} rows after a delete")
        # a job that starts again after it was done inserts nothing twice
        out("scontrol", "requeue", insert)
        starts_again(insert)
        check("an earlier start of this job has inserted these rows" in over(insert), f"{name}: insert again:\n{said(insert)}")
        check(rows_of(index) == 20000, f"{name}: {rows_of(index)} rows: the insert was done twice")
        # a warning goes through to the ranks
        profile(launcher=launcher, first_start="export RANKTAPE_FAULT=compact:1:1:stop")
        build, = submit("-N2", "-n3", "build", "rows.fbin", f"{name}-stopped", *LISTS)
        pid = halted()
        out("scancel", "-s", "USR1", "-b", build)
        time.sleep(0.5)
        go_on(pid)
        starts_again(build)
        check("stopped by SIGUSR1" in over(build), f"{name}: stopped:\n{said(build)}")
        same(f"{name}, stopped", f"{name}-stopped")
elif which == "ends":
    # ended from outside: scancel is for good, and the same submitted again goes on; requeue goes on by itself
    cluster(2)
    profile(first_start="export RANKTAPE_FAULT=compact:1:1:stop")
    build, never = submit("-N2", "-n4", "build", "rows.fbin", "index", *LISTS, "then", "verify", "index")
    pid = halted()
    out("scancel", build)
    until(lambda: field(build, "JobState") == "CANCELLED", "cancelled", job=build)
    over(never, "CANCELLED")
    until(lambda: not out("squeue", "-h"), "an empty queue")
    check(field(build, "Restarts") == "0" and not os.path.exists("index/CURRENT"), "a cancelled build has gone on")
    if os.path.exists("index/LOCK"):  # its rank was killed on a node whose processes others cannot see
        refused, = submit("build", "rows.fbin", "index", *LISTS)
        check("is being written by job " + build in over(refused, "FAILED", 2), f"after scancel:\n{said(refused)}")
    profile()
    build, = submit("-n3", "build", "rows.fbin", "index", *LISTS, "--break-lock")
    check("goes on" in over(build), f"after scancel:\n{said(build)}")
    same("cancelled and submitted again", "index")
    profile(first_start="export RANKTAPE_FAULT=compact:1:1:stop")
    build, = submit("-N2", "-n4", "build", "rows.fbin", "queued", *LISTS)
    halted()
    out("scontrol", "requeue", build)
    starts_again(build)
    check("goes on" in over(build), f"requeue:\n{said(build)}")
    same("requeued", "queued")
    # stopped again and again before anything is saved: not for ever
    profile(every_start="export RANKTAPE_FAULT=train:1:1:stop", more="most_fruitless=2")
    build, = submit("-N2", "-n4", "build", "rows.fbin", "fruitless", *LISTS, "--time-limit", 1, "--grace", 1)
    for n in (1, 2, 3):  # the first one has at least begun
        starts_again(build, n)
    text = over(build, "FAILED", 1)
    check("2 runs have come no further" in text and text.count("queued again") == 3, f"fruitless:\n{text}")
    # more urgent jobs take its nodes: it waits for them, and goes on
    profile(first_start="export RANKTAPE_FAULT=compact:1:1:stop")
    build, = submit("-N2", "-n8", "build", "rows.fbin", "preempted", *LISTS)
    halted()
    urgent = out("sbatch", "--parsable", "-p", "urgent", "-N2", "-n8", "-t", "1", "-o", "urgent", "--wrap", "sleep 1")
    starts_again(build)
    until(lambda: field(urgent, "JobState") == "COMPLETED", "the urgent job done", job=urgent)
    check("goes on" in over(build), f"preempted:\n{said(build)}")
    same("preempted", "preempted")
    # a vacuum that is stopped has published what it has done, and does the rest
    ok("insert", "preempted", "rows.fbin", ranks=0)
    profile(first_start="export RANKTAPE_FAULT=fold:0:2:stop")
    vacuum, = submit("vacuum", "preempted", "--full", "--memory", "1M")
    pid = halted()
    out("scancel", "-s", "USR1", "-b", vacuum)
    time.sleep(0.5)
    go_on(pid)
    starts_again(vacuum)
    text = over(vacuum)
    check("stopped by SIGUSR1" in text and "start 2" in text and rows_of("preempted") == 40000, f"vacuum:\n{text}")
    again = ok("vacuum", "preempted", "--dry-run", ranks=0).out
    check("write 0 of 40 lists" in again, f"a vacuum that went on has left something: {again}")
elif which == "limit":
    # the real time limit, of a minute: warned by Slurm, and, where no warning comes, by the end that the script has told
    cluster(2)
    profile(first_start="export RANKTAPE_FAULT=compact:1:1:stop")
    warned, = submit("-N2", "-n2", "--time=1", "build", "rows.fbin", "warned", *LISTS)
    late, = submit("-N2", "-n2", "--time=1", "--signal=B:CONT@1", "build", "rows.fbin", "late", *LISTS, "--grace", 20)
    for job, index, words in ((warned, "warned", "stopped by SIGUSR1"), (late, "late", "stopped at the time limit")):
        starts_again(job, seconds=120)
        check(words in over(job), f"{index}: no '{words}':\n{said(job)}")
        same(index, index)
elif which == "lost":
    # the node of rank 0, which holds LOCK, is lost: the job starts again on others and takes its own lock over, nobody else does
    nodes = cluster(3)
    profile(first_start="export RANKTAPE_FAULT=compact:0:1:stop")
    build, verify = submit("-N2", "-n4", "build", "rows.fbin", "index", *LISTS, "then", "verify", "index")
    halted()
    batch_host = field(build, "BatchHost")
    nodes.lose_node(batch_host)
    profile()
    other, = submit("build", "rows.fbin", "index", *LISTS)
    check("is being written by job " + build in over(other, "FAILED", 2, seconds=180), f"another job meanwhile:\n{said(other)}")
    starts_again(build, seconds=180)
    text = over(build, seconds=180)
    check("goes on" in text and field(build, "BatchHost") != batch_host, f"after a lost node:\n{text}")
    over(verify)
    same("after a lost node", "index")
elif which == "array":
    # a command once a file, and one build over what it has made; a file that fails cancels the build
    cluster(2)
    os.mkdir("texts")
    os.mkdir("vectors")
    rows = np.fromfile("rows.fbin", "<f4", offset=8).reshape(-1, 16)
    for n, part in enumerate(np.split(rows, 5)):
        write_bin(f"texts/part {n}", part)
    with open("embed", "w") as f:
        f.write("#!/bin/sh\ntest ! -e fails || test \"$1\" != 'texts/part 3' || exit 4\ncp \"$1\" \"vectors/${1#texts/}.fbin\"\n")
    os.chmod("embed", 0o755)
    for most in (1000, 2):  # a task a file, and tasks of several
        profile(more=f"most_tasks={most}")
        each, build = submit("each", "texts", "./embed", "{}", "then", "build", "vectors", f"index{most}", *LISTS)
        over(build)
        same(f"array, {most} tasks", f"index{most}")
    with open("vectors.list", "w") as f:
        f.writelines(f"vectors/{name}\n" for name in sorted(os.listdir("vectors")))
    look, verify = submit("each", "@vectors.list", "then", "verify", "index2")
    over(verify)
    check(said(look).count("4,000 x 16 f32") == 5, f"plan of each:\n{said(look)}")
    # without submit.sh, and on Lustre, for which a stand-in notes what it is asked
    os.mkdir("bin")
    with open("bin/lfs", "w") as f:
        f.write("#!/bin/sh\nls \"$6\" && echo \"$@\" >striped\n")
    os.chmod("bin/lfs", 0o755)
    profile(every_start="PATH=$PWD/bin:$PATH", more="stripe=(--stripe-count 16 --stripe-size 16M)")
    direct = out("sbatch", "--parsable", "--time=10", os.path.relpath(SCRIPTS) + "/build.sbatch", "vectors", "direct", *LISTS)
    until(lambda: field(direct, "JobState") == "COMPLETED", "built", job=direct)
    same("sbatch", "direct")
    check(open("striped").read() == "setstripe --stripe-count 16 --stripe-size 16M direct\n", f"stripes: {open('striped').read()}")
    open("fails", "w").close()
    each, build = submit("each", "texts", "./embed", "{}", "then", "build", "vectors", "never")
    over(build, "CANCELLED")
    check("failed for 'texts/part 3' with exit status 4" in said(each), f"a file that fails:\n{said(each)}")
    for words, message in ((("-N", "2", "build", "vectors", "x"), "'2' is no job"), (("each", "@nowhere"), "cannot read"),
                           (("--partition=none", "verify", "x"), "nothing stays"),
                           (("--hold", "verify", "index2", "then", "--partition=none", "verify", "x"), "nothing stays"),
                           (("--hold", "verify", "index2", "then", "each", "nowhere/"), "nothing stays")):
        refused = try_submit(*words)
        check(refused.returncode == 2 and message in refused.stderr, f"{words}: {refused.returncode} {refused.stderr}")
    check(not out("squeue", "-h", "-t", "PD"), f"left in the queue: {out('squeue')}")
end()
