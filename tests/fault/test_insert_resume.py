"""An insert that was interrupted goes on with --resume, on other ranks too, and ends in the index of an undisturbed one."""
import os
import random
import shutil
import signal
import sys
import time

import numpy as np
from faults import all_gone, check, clustered, end, finish, held_to, ok, processes, run, start, stopped_process, write_bin
from ranktape_cli import digest, vecs

try:
    import h5py
except ImportError:
    h5py = None

which = sys.argv[1]
OFTEN = ("--checkpoint-interval", "0.1")
N = 200000  # four chunks, two for each of two ranks


def prepare():
    """An index that has lived, so that rows of an older pair go along, and rows to put in."""
    write_bin("old.fbin", clustered(2000, 8, seed=1))
    write_bin("pair.fbin", clustered(500, 8, seed=2))
    write_bin("rows.fbin", clustered(N, 8, clusters=100, seed=3))
    np.arange(N, dtype="<u8")[::-1].tofile("ids.u64")  # not ascending, and the first are there
    np.arange(100, 1500, 3, dtype="<u8").tofile("dead.u64")
    ok("build", "old.fbin", "start", "--lists", "20", ranks=2)
    ok("insert", "start", "pair.fbin", ranks=1)


def copy(index, of="start"):
    shutil.rmtree(index, ignore_errors=True)
    shutil.copytree(of, index)
    return index


def release(index):
    """The lock of a dead process is taken over, which takes its time and is tested elsewhere."""
    if os.path.exists(f"{index}/LOCK"):
        os.remove(f"{index}/LOCK")


def kept(index):
    return sorted(n for n in os.listdir(f"{index}/checkpoint") if n != "progress.json") if os.path.exists(f"{index}/checkpoint") else []


def halt(index, *options, rows="rows.fbin", then=""):
    """Two ranks, of which one is held in its rows until the other's are durable. The job and the rank that is held."""
    job = start("insert", index, rows, *options, *OFTEN, ranks=2, environment={"RANKTAPE_FAULT": "write:1:4:stop" + then})
    pid = stopped_process()
    until = time.monotonic() + 30
    while "insert-1-0" not in kept(index) and time.monotonic() < until:
        time.sleep(0.02)
    check("insert-1-0" in kept(index) and "job" in kept(index), f"{index}: nothing is kept: {kept(index)}")
    return job, pid


def interrupt(index, *options, rows="rows.fbin"):
    """Killed half way."""
    job, _ = halt(copy(index), *options, rows=rows)
    for pid in processes():
        os.kill(pid, signal.SIGKILL)
    finish(job)
    all_gone(index)
    release(index)
    return index


def same_files(name, one, other):
    names = [sorted(n for n in os.listdir(i) if not n.startswith("manifest")) for i in (one, other)]
    check(names[0] == names[1], f"{name}: {names}")
    for file in names[0]:
        if file.endswith(".h5"):
            with open(f"{one}/{file}", "rb") as a, open(f"{other}/{file}", "rb") as b:
                check(a.read() == b.read(), f"{name}: {file} differs")


def finished(name, index, want, *options, ranks=3, rows="rows.fbin", goes_on=True):
    """--resume ends in the wanted digest, leaves nothing behind, and verifies."""
    result = ok("insert", index, rows, *options, "--resume", ranks=ranks)
    check(("goes on" in result.out) == goes_on, f"{name}: {result.out}")
    check(digest(index) == want, f"{name}: another digest")
    left = [n for n in os.listdir(index) if n.endswith(".partial") or n in ("LOCK", "checkpoint")]
    check(not left, f"{name}: left {left}")
    ok("verify", index, "--full", ranks=2)
    return result


if which == "stops":
    # killed, stopped, out of space: on other ranks it ends in the same index, and where the parts are the same in the same files
    prepare()
    KINDS = {"plain": (), "replace": ("--ids", "ids.u64", "--replace", "--tapes", "3", "--chooser", "id")}
    want = {}
    for kind, options in KINDS.items():
        ok("insert", copy(f"whole.{kind}"), "rows.fbin", *options, ranks=2)
        want[kind] = digest(f"whole.{kind}")
    for kind, ranks in (("plain", 3), ("replace", 1)):
        interrupt("killed", *KINDS[kind])
        finished(f"killed, {kind}", "killed", want[kind], *KINDS[kind], ranks=ranks)
        same_files(f"killed, {kind}", f"whole.{kind}", "killed")
    # a signal to the launcher, while rank 1 is held in its rows
    job, pid = halt(copy("asked"))
    job.send_signal(signal.SIGUSR1)
    time.sleep(0.5)
    os.kill(pid, signal.SIGCONT)
    held_to("SIGUSR1", finish(job), 75, ["stopped", "--resume"], job="insert")
    check(not os.path.exists("asked/LOCK") and "job" in kept("asked"), f"after SIGUSR1: {kept('asked')}")
    told = ok("verify", "asked", "--json", ranks=0).json()
    check((told["orphans"], told["interrupted"]) == (0, "insert"), f"what --resume goes on with: {told}")
    check("an insert, which --resume goes on with" in ok("verify", "asked", ranks=1).out, "verify does not tell of an interrupted insert")
    finished("SIGUSR1", "asked", want["plain"], ranks=2)
    # the disk is full, once something is kept; then there is room again
    job, pid = halt(copy("full"))
    os.kill(pid, signal.SIGKILL)
    finish(job)
    all_gone("full")
    release("full")
    held_to("full disk", run("insert", "full", "rows.fbin", "--resume", *OFTEN, ranks=2,
                             environment={"RANKTAPE_FAULT": "write:1:3"}), 1, ["No space left"], job="insert")
    check("job" in kept("full"), f"after a full disk: {kept('full')}")
    finished("full disk", "full", want["plain"], ranks=1)
    # at the end of its time; and killed while it publishes
    job, pid = halt(copy("limit"), "--time-limit", "6", "--grace", "5")
    time.sleep(3)
    os.kill(pid, signal.SIGCONT)
    held_to("--time-limit", finish(job), 75, ["stopped at the time limit", "--resume"], job="insert")
    finished("--time-limit", "limit", want["plain"])
    job, pid = halt(copy("named"), then=",publish:0:1:kill")
    os.kill(pid, signal.SIGCONT)
    finish(job)
    all_gone("publish")
    release("named")
    check(run("insert", "named", "rows.fbin", "--resume", ranks=2, environment={"RANKTAPE_FAULT": "rename:0:4:kill"}).code != 0,
          "a rename that kills")
    release("named")
    said = finished("publish", "named", want["plain"]).out
    check("all of them by the run before" in said and " 0.00 rows/s" not in said, f"nothing was left to put in: {said}")
    # all rows are bad: nothing to publish, and nothing to go on with, now and when it is asked again
    rows = clustered(N, 8, seed=3)
    rows[:, 2] = np.nan
    write_bin("bad.fbin", rows)
    interrupt("bad", "--bad-rows", "skip", rows="bad.fbin")
    for goes_on in (True, False):
        finished("all rows are bad", "bad", digest("start"), "--bad-rows", "skip", rows="bad.fbin", goes_on=goes_on)
    same_files("all rows are bad", "start", "bad")
elif which == "refusals":
    prepare()
    IDS = ("--ids", "ids.u64", "--from-row", "2000", "--replace")
    ok("insert", copy("whole"), "rows.fbin", *IDS, ranks=2)
    want = digest("whole")
    # what cannot be gone on with is not left behind
    with open(f"{copy('shut')}/checkpoint", "w") as f:
        f.write("not ours")
    job = start("insert", "shut", "rows.fbin", *OFTEN, ranks=2, environment={"RANKTAPE_FAULT": "write:1:4:stop"})
    pid = stopped_process()
    time.sleep(1)  # in which a state is due
    os.kill(pid, signal.SIGCONT)
    held_to("no first state", finish(job), 1, ["shut/checkpoint"], job="insert")
    os.remove("shut/checkpoint")
    same_files("no first state", "start", "shut")
    # where nothing is there it begins; where the same insert is there it is done; on purpose twice it is not
    finished("nothing there", copy("first"), want, *IDS, ranks=2, goes_on=False)
    first = ok("insert", "first", "rows.fbin", *IDS, "--resume", "--json", ranks=2).json()
    check((first["status"], first["inserted"]) == ("done", N - 2000) and digest("first") == want, f"the same insert again: {first}")
    ok("vacuum", "first", ranks=2)
    check("already" in ok("insert", "first", "rows.fbin", *IDS, "--resume", ranks=1).out, "the same insert after a vacuum")
    check(digest("first") == want, "the same insert again")
    held_to("twice", run("insert", "first", "rows.fbin", *IDS[:4], ranks=1), 2, ["id"], job="insert")
    held_to("twice, on", run("insert", "first", "rows.fbin", *IDS[:4], "--resume", ranks=1), 2, ["id"], job="insert")
    ok("delete", "first", "--ids", "dead.u64", ranks=1)
    check("already" not in ok("insert", "first", "rows.fbin", *IDS, "--resume", ranks=2).out, "rows that have died since are not there")
    check(digest("first") == want, "inserted again after a delete")
    # options that decide the result and files, by name; what was refused can still go on
    interrupt("index", *IDS)
    before = kept("index"), sorted(os.listdir("index"))
    for options, words in ((IDS[:4], ["--replace", "on", "off"]), ((*IDS[:3], "2001", IDS[4]), ["--from-row", "2000", "2001"]),
                           (IDS[2:], ["--ids", "ids.u64"]), ((*IDS, "--bad-rows", "skip"), ["--bad-rows", "fail", "skip"])):
        held_to(f"resume with {options}", run("insert", "index", "rows.fbin", *options, "--resume", ranks=1), 2,
                ["index", "without --resume", *words], job="insert")
    held_to("other rows", run("insert", "index", "old.fbin", *IDS, "--resume", ranks=1), 2, ["old.fbin", "changed"], job="insert")
    for name in ("rows.fbin", "ids.u64"):
        then = os.stat(name)
        os.utime(name, ns=(1, 1))
        held_to(f"touched {name}", run("insert", "index", "rows.fbin", *IDS, "--resume", ranks=1), 2, [name, "changed"], job="insert")
        os.utime(name, ns=(then.st_atime_ns, then.st_mtime_ns))
    np.array([10 ** 6], dtype="<u8").tofile("one.u64")
    held_to("a refused job", run("insert", "index", "pair.fbin", "--ids", "one.u64", ranks=1), 2, ["one.u64"], job="insert")
    check("already" in ok("build", "old.fbin", "index", "--lists", "20", "--resume", ranks=1).out, "the build before it, queued again")
    check((kept("index"), sorted(os.listdir("index"))) == before, "refusals have changed what is there to go on with")
    shutil.copytree("index/checkpoint", "checkpoint")
    os.rename("rows.fbin", "moved.fbin")
    finished("moved rows", "index", want, *IDS, "--tapes", "1", "--block-rows", "64", rows="moved.fbin", ranks=2)
    os.rename("moved.fbin", "rows.fbin")
    # not to say --from-row is no row 0
    interrupt("plain")
    held_to("resume with --from-row 0", run("insert", "plain", "rows.fbin", "--from-row", "0", "--resume", ranks=1), 2,
            ["plain", "--from-row", "0"], job="insert")
    # what cannot be read any more goes with --clean as well
    with open("plain/checkpoint/job", "r+b") as f:
        f.seek(8)
        f.write(b"\x09")
    ok("verify", "plain", "--clean", ranks=1)
    same_files("a checkpoint of another version", "start", "plain")
    # ids of an HDF5 file are looked at as any
    if h5py:
        for first in (10 ** 6, 2 * 10 ** 6):
            with h5py.File("ids.h5", "w") as f:
                f["a"] = np.arange(N, dtype="<u8") + first
            if first == 10 ** 6:
                interrupt("column", "--ids", "ids.h5:/a")
        held_to("other ids in HDF5", run("insert", "column", "rows.fbin", "--ids", "ids.h5:/a", "--resume", ranks=1), 2,
                ["ids.h5", "changed"], job="insert")
    # another writer has published: void, and both say so
    interrupt("passed", *IDS)
    result = ok("delete", "passed", "--ids", "dead.u64", ranks=1)
    check("void" in result.err and not kept("passed"), f"a delete past an interrupted insert: {result.err} {kept('passed')}")
    shutil.copytree("checkpoint", "passed/checkpoint")  # as if it had been killed before it could remove that
    result = finished("void", "passed", want, *IDS, goes_on=False)
    check("anew" in result.err, f"a checkpoint of another generation: {result.err}")
    # a heap that grows: the rows there at the first start
    with open("rows.fvecs", "wb") as f:
        f.write(vecs(clustered(N, 8, clusters=100, seed=3)))
    interrupt("grown", "--concurrent", rows="rows.fvecs")
    with open("rows.fvecs", "ab") as f:
        f.write(vecs(clustered(1000, 8, seed=5)))
    result = ok("insert", "grown", "rows.fvecs", "--concurrent", "--resume", "--json", ranks=3).json()
    check(result["inserted"] == N, f"a heap that has grown: {result}")
    # what is left behind goes with verify --clean, and what that leaves behind when it is killed can still be gone on with
    shutil.copytree(interrupt("cleaned", *IDS), "left")
    for n in range(1, 20):
        result = run("verify", copy("cleaned", "left"), "--clean", ranks=1, environment={"RANKTAPE_FAULT": f"remove:0:{n}:kill"})
        release("cleaned")
        if result.code == 0:
            break
        ok("insert", "cleaned", "rows.fbin", *IDS, "--resume", ranks=2)
        check(digest("cleaned") == want, f"verify --clean that is killed at removal {n}: another digest")
    check(4 < n < 19, f"verify --clean removes {n - 1} files")
    check("what an interrupted insert could go on from" in result.out, f"verify --clean does not tell what goes: {result.out}")
    same_files("verify --clean", "start", "cleaned")
    check(ok("verify", "cleaned", "--json", ranks=0).json()["interrupted"] is None, "an interrupted insert after verify --clean")
    finished("verify --clean", "cleaned", want, *IDS, goes_on=False)
elif which == "same":
    # what the rows are tells whether they are the same, not what their files are called
    prepare()
    copy("plain")
    # rows of the same size and time are others
    for n in (0, 1):
        os.utime(write_bin(f"part-{n}.fbin", clustered(300, 8, seed=30 + n)), ns=(1, 1))
    for number, name in enumerate(("part-0.fbin", "part-1.fbin", "part-1.fbin"), 1):
        result = ok("insert", "plain", name, "--resume", "--json", ranks=1).json()
        rows = ok("info", "plain", "--json", ranks=0).json()["rows"]
        check((result["inserted"], rows) == (300, 2500 + 300 * min(number, 2)), f"part {number}: {result}, {rows} rows")
    # a copy of the rows, their type said, a heap that might grow: the same rows
    shutil.copy("part-1.fbin", "again.fbin")
    for name, options in (("again.fbin", ()), ("part-1.fbin", ("--type", "f32"))):
        result = ok("insert", "plain", name, *options, "--resume", ranks=1)
        check("already" in result.out, f"{name} {options}: inserted again: {result.out}")
    with open("part.fvecs", "wb") as f:
        f.write(vecs(clustered(300, 8, seed=35)))
    for options in ((), ("--concurrent",), ()):
        result = ok("insert", "plain", "part.fvecs", *options, "--resume", ranks=1)
    check("already" in result.out and ok("info", "plain", "--json", ranks=0).json()["rows"] == 3400, "the same rows with --concurrent")
    # beyond the history's beginning nobody knows
    write_bin("one.fbin", clustered(1, 8, seed=36))
    for n in range(100):
        result = ok("insert", "plain", "one.fbin", ranks=0)
    for name, is_warned in (("one.fbin", False), ("part.fvecs", True)):
        result = ok("insert", "plain", name, "--resume", ranks=1)
        check(("goes back no further" in result.err) == is_warned, f"{name}, after 100 inserts: {result.err}")
    # rows before it that are others now: the checkpoint is of the new ones alone
    with open("heap.fvecs", "wb") as f:
        f.write(vecs(np.concatenate((clustered(2000, 8, seed=1), clustered(N, 8, clusters=100, seed=3)))))
    with open("few.fvecs", "wb") as f:
        f.write(vecs(clustered(2000, 8, seed=1)))
    for place in ((), ("--rerank-in-heap",)):
        shutil.rmtree("of_heap", ignore_errors=True)
        ok("build", "few.fvecs", "of_heap", "--lists", "20", *place, ranks=2)
        shutil.move("of_heap", "before_heap")
        job, _ = halt(copy("of_heap", "before_heap"), "--from-row", "2000", "--concurrent", rows="heap.fvecs")
        for pid in processes():
            os.kill(pid, signal.SIGKILL)
        finish(job)
        all_gone("of_heap")
        release("of_heap")
        for whole in (False, True):
            with open("heap.fvecs", "r+b") as f:
                f.write(vecs(clustered(600, 8, seed=77) if not whole else clustered(2000, 8, seed=1)[:600]))
            call = ("insert", "of_heap", "heap.fvecs", "--from-row", "2000", "--concurrent", "--resume")
            if whole:
                check("goes on" in ok(*call, ranks=3).out, f"{place}: rows before it that are there again")
                ok("verify", "of_heap", "--full", ranks=2)
            else:
                held_to(f"{place}: other rows before it", run(*call, ranks=2), 2, ["'heap.fvecs'", "--from-row"], job="insert")
        shutil.rmtree("before_heap")
elif which == "anytime":
    # killed again and again, at any time, each time on other ranks, until one run comes to the end
    seed = int(os.environ.get("RANKTAPE_TEST_SEED", "1"))
    print(f"seed {seed}")
    draw = random.Random(seed)
    prepare()
    write_bin("rows.fbin", clustered(600000, 8, clusters=100, seed=3))
    np.arange(600000, dtype="<u8")[::-1].tofile("ids.u64")
    for options in ((), ("--ids", "ids.u64", "--replace"), ("--chooser", "id", "--tapes", "5"), ("--io", "mpio"), ("--scatter",)):
        ok("insert", copy("whole"), "rows.fbin", *options, ranks=2)
        want = digest("whole")
        for trial in range(3):
            copy("index")
            kills = 0
            while True:
                ranks = draw.randint(1, 4)
                job = start("insert", "index", "rows.fbin", *options, *OFTEN, "--resume", ranks=ranks)
                if kills < 6:
                    while len(processes()) < ranks and job.poll() is None:
                        time.sleep(0.01)
                    time.sleep(draw.uniform(0.2, 2.5))
                    for pid in processes() if draw.random() < 0.5 else processes()[:1]:
                        try:
                            os.kill(pid, signal.SIGKILL)
                        except ProcessLookupError:
                            pass
                result = finish(job, 120)
                all_gone(f"{options} {trial}")
                release("index")
                kills += 1
                if result.code == 0 or not check(result.code not in (1, 2) or kills <= 6, f"{options}: {result.out}{result.err}"):
                    break
                check("damaged" not in result.err, f"{options} after {kills} kills: {result.err}")
            print(f"{options}: {kills - 1} kills")
            finished(f"{options}, seed {seed}, trial {trial}", "index", want, *options, goes_on=False)  # once more: it is there
end()
