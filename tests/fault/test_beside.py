"""A job whose lock is broken while it lives, or that took its time before it had it: one of two publishes, the other says so."""
import os
import shutil
import signal
import sys

from faults import check, clustered, end, finish, held_to, ok, run, start, stopped_process, write_bin
from ranktape_cli import digest

OFTEN = ("--checkpoint-interval", "0.1")
LISTS = ("--lists", "4,30", "--iterations", "2")
LOST = ["LOCK", "nothing is published"]


def names(index):
    return sorted(os.listdir(index))


def alone(name, index, want, before):
    """What the taker has published, and nothing of the other's."""
    check(digest(index) == want, f"{name}: another digest")
    check(names(index) == before, f"{name}: {names(index)} instead of {before}")
    ok("verify", index, "--full", ranks=2)


def overtaken(name, index, want, fault, *job, resume=True, ranks=3):
    """The job stands still at the fault, another takes its lock and is done with it, and the first goes on."""
    living = start(*job, ranks=2, environment={"RANKTAPE_FAULT": fault})
    pid = stopped_process()
    ok(*job, *(["--resume"] if resume else []), "--break-lock", ranks=ranks)
    before = names(index)
    os.kill(pid, signal.SIGCONT)
    held_to(f"{name} {fault}", finish(living), 2, LOST, job=job[0])
    alone(f"{name} {fault}", index, want, before)


def overtaking(name, index, want, fault, *job):
    """The taker stands still, the one that lives comes to its end; then the taker goes on."""
    living = start(*job, ranks=2, environment={"RANKTAPE_FAULT": "insert:1:1:stop"})
    pid = stopped_process()
    taker = start(*job, "--resume", "--break-lock", ranks=3, environment={"RANKTAPE_FAULT": fault})
    halted = stopped_process(other=pid)
    os.kill(pid, signal.SIGCONT)
    result = finish(living)
    check(result.code == 2 and all(word in result.err for word in [*LOST, "taken over"]), f"{name}, taken over: {result.err}")
    os.kill(halted, signal.SIGCONT)
    taken = finish(taker)
    check(taken.code == 0, f"{name}, taker: exit {taken.code}: {taken.err}")
    check(digest(index) == want, f"{name}: another digest")
    check(not [n for n in names(index) if n.endswith(".partial") or n in ("LOCK", "checkpoint")], f"{name}: {names(index)}")
    ok("verify", index, "--full", ranks=2)


def builds():
    write_bin("rows.fbin", clustered(20000, 16, seed=4))
    ok("build", "rows.fbin", "whole", *LISTS, ranks=2)
    want = digest("whole")
    for n, fault in enumerate(("train:0:1:stop", "insert:1:1:stop", "compact:0:1:stop", "publish:1:1:stop", "publish:0:1:stop")):
        overtaken("build", f"index{n}", want, fault, "build", "rows.fbin", f"index{n}", *LISTS, *OFTEN)
    overtaking("build", "other", want, "compact:2:1:stop", "build", "rows.fbin", "other", *LISTS, *OFTEN)


def edits():
    write_bin("rows.fbin", clustered(6000, 16, seed=4))
    write_bin("more.fbin", clustered(9000, 16, seed=5))
    ok("build", "rows.fbin", "whole", *LISTS, ranks=2)
    shutil.copytree("whole", "grown")
    ok("insert", "grown", "more.fbin", ranks=2)
    for n, fault in enumerate(("insert:0:1:stop", "publish:0:1:stop")):
        shutil.copytree("whole", f"insert{n}")
        overtaken("insert", f"insert{n}", digest("grown"), fault, "insert", f"insert{n}", "more.fbin", *OFTEN)
    for n, fault in enumerate(("fold:1:1:stop", "publish:0:1:stop")):
        shutil.copytree("grown", f"vacuum{n}")
        overtaken("vacuum", f"vacuum{n}", digest("grown"), fault, "vacuum", f"vacuum{n}", resume=False)


def meanwhile(name, job, other):
    """The job has looked at the directory, and is about to take the lock, when another comes and is done."""
    slow = start(*job, ranks=2, environment={"RANKTAPE_FAULT": "fsync:0:1:stop"})
    pid = stopped_process()
    ok(*other, ranks=2)
    os.kill(pid, signal.SIGCONT)
    return finish(slow)


def begins():
    write_bin("rows.fbin", clustered(6000, 16, seed=4))
    write_bin("more.fbin", clustered(3000, 16, seed=5))
    ok("build", "rows.fbin", "index", *LISTS, ranks=2)
    again = ("build", "more.fbin", "index", *LISTS, "--force")
    result = meanwhile("replaced", again, ("insert", "index", "more.fbin"))
    check(result.code == 0, f"a build over what was published meanwhile: exit {result.code}: {result.err}")
    check("manifest-3.json" in names("index"), f"a build has written under the names of another's generation: {names('index')}")
    ok("verify", "index", "--full", ranks=2)
    for options, code in (((), 2), (("--force",), 0)):
        shutil.rmtree("new", ignore_errors=True)
        result = meanwhile("new", ("build", "more.fbin", "new", *LISTS, *options), ("build", "rows.fbin", "new", *LISTS, "--force"))
        check(result.code == code, f"two builds of one index {options}: exit {result.code}: {result.err}")
        want = ok("info", "new", "--json", ranks=0).json()
        check((want["rows"], want["generation"]) == ((6000, 1) if code else (3000, 2)), f"two builds of one index {options}: {want}")
        ok("verify", "new", "--full", ranks=2)
    check(len(result.message()) == 0, result.err)


{"builds": builds, "edits": edits, "begins": begins}[sys.argv[1]]()
end()
