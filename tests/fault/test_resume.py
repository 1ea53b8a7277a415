"""A build that was interrupted goes on with --resume, on other ranks too, and ends in the index of an undisturbed run."""
import os
import random
import shutil
import signal
import sys
import time

from faults import all_gone, check, clustered, end, finish, gone, held_to, ok, processes, run, start, stopped_process, write_bin
from ranktape_cli import digest

which = sys.argv[1]
OFTEN = ("--checkpoint-interval", "0.1")


def interrupt(index, fault, *options, ranks=2, rows="rows.fbin"):
    """A build that a fault kills; the lock of a dead process is taken over, which takes its time and is tested elsewhere."""
    job = start("build", rows, index, *options, *OFTEN, ranks=ranks, environment={"RANKTAPE_FAULT": fault})
    result = finish(job)
    all_gone(fault)
    check(result.code not in (0, 2, 75), f"{fault}: exit {result.code}: {result.out}{result.err}")
    check(not os.path.exists(f"{index}/CURRENT"), f"{fault}: published")
    if os.path.exists(f"{index}/LOCK"):
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


if which == "phases":
    # killed at the begin of each phase, and while insert and compact write
    write_bin("rows.fbin", clustered(20000, 16, seed=4))
    LISTS = ("--lists", "4,30", "--iterations", "2")
    ok("build", "rows.fbin", "whole", *LISTS, ranks=2)
    want = digest("whole")
    for n, (fault, ranks) in enumerate((("train:1:1:kill", 3), ("insert:0:1:kill", 1), ("write:1:9:kill", 3),
                                        ("compact:0:1:kill", 3), ("publish:1:1:kill", 1), ("rename:0:4:kill", 3))):
        interrupt(f"index{n}", fault, *LISTS)
        finished(fault, f"index{n}", want, *LISTS, ranks=ranks)
        same_files(fault, "whole", f"index{n}", ("tree", "frozen", "vectors"))
end()
