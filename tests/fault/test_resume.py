"""A build that was interrupted goes on with --resume, on other ranks too, and ends in the index of an undisturbed run."""
import os
import random
import shutil
import signal
import sys
import time

import h5py
import numpy as np
from faults import all_gone, check, clustered, end, finish, gone, held_to, ok, processes, run, start, stopped_process, write_bin
from ranktape_cli import digest, vecs

which = sys.argv[1]
OFTEN = ("--checkpoint-interval", "0.1")


def interrupt(index, fault, *options, ranks=2, rows="rows.fbin", environment=None):
    """A build that a fault kills; the lock of a dead process is taken over, which takes its time and is tested elsewhere."""
    job = start("build", rows, index, *options, *OFTEN, ranks=ranks, environment={"RANKTAPE_FAULT": fault, **(environment or {})})
    result = finish(job)
    all_gone(fault)
    check(result.code not in (0, 2, 75), f"{fault}: exit {result.code}: {result.out}{result.err}")
    check(not os.path.exists(f"{index}/CURRENT"), f"{fault}: published")
    if os.path.exists(f"{index}/LOCK"):
        os.remove(f"{index}/LOCK")


def interrupt_later(index, pause, fault, *options):
    """As interrupt, but rank 1 is held in its writing for so long that the phase's end is worth a state."""
    job = start("build", "rows.fbin", index, *options, *OFTEN, ranks=2, environment={"RANKTAPE_FAULT": f"{pause},{fault}"})
    pid = stopped_process()
    time.sleep(1.5)
    os.kill(pid, signal.SIGCONT)
    finish(job)
    all_gone(fault)
    os.remove(f"{index}/LOCK")


def interrupt_refinement(index, *options):
    """A build killed behind its refinement, but without the state that tells that training is over."""
    job = start("build", "rows.fbin", index, *options, *OFTEN, ranks=2, environment={"RANKTAPE_FAULT": "insert:1:1:stop"})
    stopped_process()
    for pid in processes():
        os.kill(pid, signal.SIGKILL)
    finish(job)
    all_gone(index)
    for name in os.listdir(f"{index}/checkpoint"):
        if name.startswith("trained"):
            os.remove(f"{index}/checkpoint/{name}")
    os.remove(f"{index}/LOCK")


def finished(name, index, want, *options, ranks=3, rows="rows.fbin"):
    """--resume ends in the wanted digest, leaves nothing behind, and verifies."""
    result = ok("build", rows, index, *options, *OFTEN, "--resume", ranks=ranks)
    check(digest(index) == want, f"{name}: another digest")
    generation = max(int(n.split("-")[1].split(".")[0]) for n in os.listdir(index) if n.startswith("manifest-"))
    check(sorted(os.listdir(index)) == ["CURRENT"] + [f"{k}-{generation}.{e}" for k, e in (
        ("frozen", "h5"), ("manifest", "json"), ("tree", "h5"), ("vectors", "h5"))], f"{name}: {sorted(os.listdir(index))}")
    ok("verify", index, "--full", ranks=2)
    return result


def same_files(name, one, other, kinds):
    for kind in kinds:
        with open(f"{one}/{kind}-1.h5", "rb") as a, open(f"{other}/{kind}-1.h5", "rb") as b:
            check(a.read() == b.read(), f"{name}: {kind} differs")


def record(index):
    """What a run could go on with: not what watch reads of the last one."""
    return sorted(n for n in os.listdir(f"{index}/checkpoint") if n != "progress.json" and not n.endswith(".before"))


def flip(path, dataset, row):
    """Another bit in that row, as a disk or a lost page would leave it."""
    with h5py.File(path, "r") as file:
        of = file[dataset]
        at = of.id.get_offset() + row * (of.nbytes // of.shape[0])
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 4]))


if which == "phases":
    # killed at the begin of each phase, and while insert and compact write
    write_bin("rows.fbin", clustered(20000, 16, seed=4))
    LISTS = ("--lists", "4,30", "--iterations", "2")
    ok("build", "rows.fbin", "whole", *LISTS, ranks=2)
    want = digest("whole")
    for n, (fault, ranks) in enumerate((("train:1:1:kill", 3), ("insert:0:1:kill", 1), ("write:1:9:kill", 3),
                                        ("compact:0:1:kill", 3), ("publish:1:1:kill", 1), ("rename:0:4:kill", 3))):
        interrupt(f"index{n}", fault if n % 2 else f"{fault},past_cache:all", *LISTS)
        finished(fault, f"index{n}", want, *LISTS, ranks=ranks)
        same_files(fault, "whole", f"index{n}", ("tree", "frozen", "vectors"))
elif which == "flips":
    # what a checkpoint tells of is not on the disk as it was written: told, and put in anew by the next run
    write_bin("rows.fbin", clustered(20000, 16, seed=4))
    LISTS = ("--lists", "4,30", "--iterations", "2")
    ok("build", "rows.fbin", "whole", *LISTS, ranks=2)
    want = digest("whole")
    for n, (phase, pause, fault, kind, dataset, row, words) in enumerate((
            ("insert", "write:1:9:stop", "compact:0:1:kill", "appendable", "codes", 300, ["records", "put in"]),
            ("insert", "write:1:9:stop", "compact:0:1:kill", "appendable", "lists", 300, ["put in"]),
            ("insert", "write:1:9:stop", "compact:0:1:kill", "vectors", "vectors", 300, ["dataset vectors", "rows 256 to 511"]),
            ("compact", "write:1:20:stop", "publish:0:1:kill", "frozen", "factors", 9, ["dataset factors"]))):
        interrupt_later(f"index{n}", pause, fault, *LISTS)
        check(any(name.startswith(phase) for name in record(f"index{n}")), f"{phase}: nothing is kept: {record(f'index{n}')}")
        flip(f"index{n}/{kind}-1.h5.partial", dataset, row)
        result = run("build", "rows.fbin", f"index{n}", *LISTS, *OFTEN, "--resume", ranks=3)
        held_to(f"{kind}, {dataset}", result, 1, [f"{kind}-1.h5.partial", "--resume", *words])
        check("goes on" in result.out, f"{kind}: did not go on: {result.out}")
        check(not any(name.startswith(("insert", "compact")) for name in record(f"index{n}")), f"{kind}: {record(f'index{n}')}")
        check("trained" in record(f"index{n}"), f"{kind}: nothing is left of training: {record(f'index{n}')}")
        finished(f"{kind}, {dataset}", f"index{n}", want, *LISTS)
    # nor a file that is gone, or another tree
    for kind, pause, fault in (("appendable", "write:1:9:stop", "compact:0:1:kill"), ("vectors", "write:1:9:stop", "compact:0:1:kill"),
                               ("frozen", "write:1:20:stop", "publish:0:1:kill"), ("tree", "write:1:9:stop", "compact:0:1:kill"),
                               (None, "write:1:9:stop", "compact:0:1:kill")):
        index = f"lost_{kind}"
        interrupt_later(index, pause, fault, *LISTS)
        if kind:
            os.remove(f"{index}/{kind}-1.h5.partial")
        else:
            flip(f"{index}/tree-1.h5.partial", "centroids_1", 20)
        held_to(index, run("build", "rows.fbin", index, *LISTS, *OFTEN, "--resume", ranks=3), 1,
                [f"{kind or 'tree'}-1.h5.partial", "of which the checkpoint tells, is gone" if kind else "tree", "--resume"])
        check(("trained" in record(index)) == (kind not in (None, "tree")), f"{index}: {record(index)}")
        finished(index, index, want, *LISTS)
elif which == "training":
    # killed in its training: after a state of iterations, of refinement over few and over many leaves, and with some cells done
    write_bin("rows.fbin", clustered(60000, 48, clusters=300, seed=9))
    for n, options in enumerate((("--lists", "500", "--training", "lloyd", "--iterations", "20"),
                                 ("--lists", "900", "--training", "hierarchical", "--refinements", "5"),
                                 ("--lists", "8300", "--training", "hierarchical", "--refinements", "3", "--iterations", "2"),
                                 ("--lists", "3000", "--training", "hierarchical", "--refinements", "1", "--iterations", "20"))):
        options = (*options, "--sample-per-list", "1024")
        ok("build", "rows.fbin", f"whole{n}", *options, ranks=2)
        if n in (1, 2):
            interrupt_refinement(f"index{n}", *options)
        else:  # of the portable kernels, so that cells take a while
            interrupt(f"index{n}", "rename:0:4:kill" if n == 0 else "rename:0:3:kill", *options,
                      environment={"RANKTAPE_ISA": "portable"} if n else None)
        kept = record(f"index{n}")
        check(any(name.startswith("cells-") for name in kept) if n == 3 else "training" in kept, f"{options}: no state of training: {kept}")
        check(n == 3 or not any(name.startswith("cells-") for name in kept), f"{options}: cells are left: {kept}")
        finished(str(options), f"index{n}", digest(f"whole{n}"), *options, ranks=(1, 3, 3, 3)[n])
        same_files(str(options), f"whole{n}", f"index{n}", ("tree",))
elif which == "anytime":
    # killed again and again, at any time, each time on other ranks, until one run comes to the end
    seed = int(os.environ.get("RANKTAPE_TEST_SEED", "1"))
    print(f"seed {seed}")
    draw = random.Random(seed)
    write_bin("rows.fbin", clustered(120000, 48, clusters=300, seed=9))
    for n, options in enumerate((("--lists", "400", "--iterations", "4"), ("--lists", "1200", "--refinements", "3"),
                                 ("--lists", "40,300", "--chooser", "rng", "--tapes", "5", "--memory", "120M"),
                                 ("--lists", "300", "--rerank-in-heap"), ("--lists", "300", "--io", "mpio"),
                                 ("--lists", "300", "--min-recall", "0.5", "--scatter"))):
        ok("build", "rows.fbin", f"whole{n}", *options, ranks=2)
        for trial in range(3):
            index = f"index{n}.{trial}"
            kills = 0
            while True:
                ranks = draw.randint(1, 4)
                job = start("build", "rows.fbin", index, *options, *OFTEN, "--resume", ranks=ranks)
                if kills < 6:
                    while len(processes()) < ranks and job.poll() is None:
                        time.sleep(0.01)
                    time.sleep(draw.uniform(0.2, 2.5))
                    for pid in processes() if draw.random() < 0.5 else processes()[:1]:  # all, or one that takes the others along
                        try:
                            os.kill(pid, signal.SIGKILL)
                        except ProcessLookupError:
                            pass
                result = finish(job)
                all_gone(f"{options} {trial}")
                if os.path.exists(f"{index}/LOCK"):
                    os.remove(f"{index}/LOCK")
                kills += 1
                if result.code == 0 or not check(result.code not in (1, 2) or kills <= 6, f"{options}: {result.out}{result.err}"):
                    break
                check("damaged" not in result.err, f"{options} after {kills} kills: {result.err}")
            print(f"{options}: {kills - 1} kills")
            finished(f"{options}, seed {seed}, trial {trial}", index, digest(f"whole{n}"), *options)  # once more: it is there
elif which == "stops":
    # asked to stop: exit 75 in time, with one line, and --resume ends in the same index
    write_bin("rows.fbin", clustered(60000, 48, seed=9))
    LISTS = ("--lists", "60", "--iterations", "1")
    ok("build", "rows.fbin", "whole", *LISTS, ranks=2)
    want = digest("whole")
    # a signal to the launcher, while rank 1 is held in its rows
    job = start("build", "rows.fbin", "asked", *LISTS, ranks=2, environment={"RANKTAPE_FAULT": "write:1:6:stop"})
    pid = stopped_process()
    job.send_signal(signal.SIGUSR1)
    time.sleep(0.5)
    os.kill(pid, signal.SIGCONT)
    held_to("SIGUSR1", finish(job), 75, ["stopped", "--resume"])
    check(not os.path.exists("asked/LOCK") and "trained" in record("asked"), f"after SIGUSR1: {record('asked')}")
    finished("SIGUSR1", "asked", want, *LISTS)
    # a rank that does not come to its next look in time: the job ends all the same
    job = start("build", "rows.fbin", "late", *LISTS, "--grace", 2, ranks=2, environment={"RANKTAPE_FAULT": "compact:1:1:stop"})
    pid = stopped_process()
    asked = time.monotonic()
    job.send_signal(signal.SIGUSR1)
    held_to("--grace", finish(job), 75, ["stopped by SIGUSR1", "--grace", "--resume"])
    check(time.monotonic() - asked < 2 + 10, f"--grace 2: took {time.monotonic() - asked:.1f} s")
    if os.path.exists("late/LOCK"):
        os.remove("late/LOCK")
    finished("--grace", "late", want, *LISTS, ranks=1)
    # the end that the batch system tells of, or an option
    limit = 10  # stops at half of it: a busy machine has trained by then, too
    for name, options, variable in (("limit", ("--time-limit", limit), None), ("batch", (), "RANKTAPE_END"),
                                    ("slurm", (), "SLURM_JOB_END_TIME")):
        begin = time.monotonic()
        environment = {variable: str(int(time.time()) + limit)} if variable else {}
        job = start("build", "rows.fbin", name, *LISTS, *options, ranks=2,
                    environment=dict(environment, RANKTAPE_FAULT="insert:1:1:stop"))
        pid = stopped_process()
        time.sleep(max(0, begin + limit / 2 + 1 - time.monotonic()))
        os.kill(pid, signal.SIGCONT)
        held_to(name, finish(job), 75, ["stopped at the time limit", "--resume"])
        finished(name, name, want, *LISTS)
    held_to("RANKTAPE_END", run("build", "rows.fbin", "end", *LISTS, ranks=2, environment={"RANKTAPE_END": "soon"}), 2,
            ["RANKTAPE_END", "soon"])
    gone("RANKTAPE_END", "end")
elif which == "refusals":
    write_bin("rows.fbin", clustered(3000, 16, seed=4))
    LISTS = ("--lists", "4,30", "--seed", "5")
    ok("build", "rows.fbin", "whole", *LISTS, ranks=2)
    want = digest("whole")
    # where nothing is there it begins; where the same build is there it is done
    finished("nothing there", "first", want, *LISTS, ranks=2)
    for again in ((), ("--force",)):
        result = ok("build", "rows.fbin", "first", *LISTS, "--resume", *again, ranks=3)
        check("already" in result.out, f"the same build again: {result.out}")
    answer = ok("build", "rows.fbin", "first", *LISTS, "--resume", "--json", ranks=1).json()
    check(answer["digest"] == want and answer["status"] == "done", f"--json of a build that is there: {answer}")
    held_to("another build is there", run("build", "rows.fbin", "first", "--lists", "20", "--resume", ranks=2), 2,
            ["first", "--lists", "4,30", "20", "--force"])
    check(digest("first") == want, "a refused --resume has changed the index")
    # other rows, though of the same size and time
    rows, then = clustered(3000, 16, seed=4), os.stat("rows.fbin")
    write_bin("rows.fbin", np.concatenate((rows[:2000], rows[:1000])))
    os.utime("rows.fbin", ns=(then.st_atime_ns, then.st_mtime_ns))
    held_to("other rows, queued again", run("build", "rows.fbin", "first", *LISTS, "--resume", ranks=2), 2,
            ["rows 1,975 to 2,999", "'rows.fbin' have changed", "first"])
    write_bin("rows.fbin", rows)
    os.utime("rows.fbin", ns=(then.st_atime_ns, then.st_mtime_ns))
    # heaps that inserts have added are none of the build's business; an empty file at the end of its own is
    write_bin("more.fbin", clustered(100, 16, seed=6))
    os.mkdir("parts")
    for name, part in (("a", rows[:1]), ("b", rows[1:]), ("c", rows[:0])):
        with open(f"parts/{name}.fvecs", "wb") as f:
            f.write(vecs(part))
    for heap, place in (("rows.fbin", ()), ("rows.fbin", ("--rerank-in-heap",)), ("parts", ("--rerank-in-heap",)),
                        ("parts", ("--rerank-in-heap", "--concurrent"))):
        call = ("build", heap, "since", *LISTS, *place, "--resume")
        ok(*call, ranks=2)
        ok("insert", "since", "more.fbin", ranks=2)
        check("already" in ok(*call, ranks=2).out, f"{place}: the build before an insert, queued again")
        shutil.rmtree("since")
    # and where they have taken what its heap has gained, it is that heap
    with open("grows.fvecs", "wb") as f:
        f.write(vecs(rows))
    call = ("build", "grows.fvecs", "since", *LISTS, "--resume")
    ok(*call, ranks=2)
    with open("grows.fvecs", "ab") as f:
        f.write(vecs(clustered(100, 16, seed=6)))
    held_to("a heap that has grown, queued again", run(*call, ranks=2), 2, ["grows.fvecs", "changed"])
    ok("insert", "since", "grows.fvecs", "--from-row", 3000, ranks=2)
    check("already" in ok(*call, ranks=2).out, "the build before --from-row, queued again")
    # options that decide the result, by name; layout is taken from the first run, the rest is free
    interrupt("index", "insert:0:1:kill", *LISTS, "--tapes", "2")
    before = sorted(os.listdir("index")), record("index")
    for options, words in ((("--lists", "30", "--seed", "5"), ["--lists", "4,30", "30"]),
                           (("--lists", "4,30"), ["--seed", "5", "0"]),
                           ((*LISTS, "--metric", "ip"), ["--metric", "l2", "ip"]),
                           ((*LISTS, "--iterations", "3"), ["--iterations", "10", "3"]),
                           ((*LISTS, "--beam", "2"), ["--beam", "auto", "2"]),
                           ((*LISTS, "--residual", "off"), ["--residual", "on", "off"]),
                           ((*LISTS, "--rerank-in-heap"), ["--rerank-in-heap", "off", "on"])):
        held_to(f"resume with {options}", run("build", "rows.fbin", "index", *options, "--resume", ranks=2), 2,
                ["index", "--force", *words])
    held_to("without --resume", run("build", "rows.fbin", "index", *LISTS, ranks=2), 2, ["index", "--resume", "--force"])
    # a row file that is not what it was
    shutil.copy2("rows.fbin", "kept.fbin")
    os.utime("rows.fbin", ns=(1, 1))
    held_to("touched rows", run("build", "rows.fbin", "index", *LISTS, "--resume", ranks=2), 2, ["rows.fbin", "changed"])
    write_bin("rows.fbin", clustered(3001, 16, seed=4))
    held_to("longer rows", run("build", "rows.fbin", "index", *LISTS, "--resume", ranks=2), 2, ["rows.fbin", "changed"])
    os.replace("kept.fbin", "rows.fbin")
    after = sorted(os.listdir("index")), record("index")
    check(after == before, f"refusals have changed what is there to go on with: {before} to {after}")
    # files moved elsewhere are the same files; other run and layout options do not matter
    os.rename("rows.fbin", "moved.fbin")
    finished("moved rows", "index", want, *LISTS, "--tapes", "1", "--block-rows", "64", rows="moved.fbin")
    os.rename("moved.fbin", "rows.fbin")
    # over an index that is there: the old one is read until the new one is published
    ok("build", "rows.fbin", "old", "--lists", "9", ranks=2)
    first = digest("old")
    job = start("build", "rows.fbin", "old", *LISTS, *OFTEN, "--force", ranks=2, environment={"RANKTAPE_FAULT": "compact:1:1:kill"})
    finish(job)
    all_gone("killed over an index")
    check(digest("old") == first, "a killed build over an index")
    ok("search", "old", "rows.fbin", ranks=2)
    result = ok("build", "rows.fbin", "old", *LISTS, "--force", "--resume", ranks=3)  # the lock of a dead process is taken over
    check("goes on" in result.out and digest("old") == want, f"--resume over an index: {result.out}")
    check(not os.path.exists("old/LOCK") and not os.path.exists("old/checkpoint"), f"left: {os.listdir('old')}")
    # a checkpoint with a flipped bit is none: the one before it, or the beginning
    interrupt("bits", "publish:0:1:kill", *LISTS)
    for name in os.listdir("bits/checkpoint"):
        if name.startswith(("insert", "trained", "compact")) and not name.endswith(".before"):
            with open(f"bits/checkpoint/{name}", "r+b") as f:
                f.seek(-3, 2)
                byte = f.read(1)
                f.seek(-3, 2)
                f.write(bytes([byte[0] ^ 16]))
    finished("flipped bits", "bits", want, *LISTS)
end()
