"""A heap that grows while it is indexed: the snapshot is what was there at the start, insert catches up."""
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
from ranktape_cli import check, clustered, digest, end, ok, run, vecs, write_bin

sys.path.insert(0, os.path.join(os.environ["SOURCE_DIR"], "tests", "fault"))
from faults import finish, start, stopped_process  # noqa: E402

ROWS, MORE, DIM = 3000, 500, 12
rows = clustered(ROWS + MORE, DIM, seed=21).astype(np.float32)
write_bin("queries.fbin", rows[-5:])


def while_building(grow, *options):
    return meanwhile(grow, 1, "build", *options, "--lists", "10", "--force")


def meanwhile(grow, rank, *call):
    """A job that is halted before it reads its rows to the end, while grow() happens; its exit status and words."""
    job = start(*call, ranks=2, environment={"RANKTAPE_FAULT": f"insert:{rank}:1:stop"})
    pid = stopped_process()
    grow()
    os.kill(pid, signal.SIGCONT)
    result = finish(job, timeout=120)
    return result.code, result.out + result.err


def holds(index, n):
    info = ok("info", index, "--json", ranks=0).json()
    check(info["rows"] == n, f"{index} holds {info['rows']} rows, not {n}")
    ok("verify", index, "--full", ranks=2)


def catches_up(index, heap):
    """The rows that came meanwhile, under their row numbers."""
    result = ok("insert", index, heap, "--from-row", ROWS, "--json", ranks=2).json()
    check(result["inserted"] == MORE, f"{heap}: {result}")
    holds(index, ROWS + MORE)
    ok("search", index, "queries.fbin", "--k", 1, "--probes", 10, "--out", "found.ivecs", ranks=1)
    found = np.fromfile("found.ivecs", "<i4").reshape(-1, 2)[:, 1]
    check((found == np.arange(ROWS + MORE - 5, ROWS + MORE)).all(), f"{heap}: the last rows are found as {found}")


def append(path):
    with open(path, "ab") as f:
        f.write(vecs(rows[ROWS:]))


# a vecs file
with open("heap.fvecs", "wb") as f:
    f.write(vecs(rows[:ROWS]))
code, text = while_building(lambda: append("heap.fvecs"), "heap.fvecs", "vecs.rt", "--concurrent")
check(code == 0, f"--concurrent: exit {code}: {text}")
holds("vecs.rt", ROWS)
shutil.copytree("vecs.rt", "late.rt")
shutil.copytree("vecs.rt", "first.rt")
catches_up("vecs.rt", "heap.fvecs")
# without it the change is refused, and named
os.truncate("heap.fvecs", ROWS * (DIM + 1) * 4)
code, text = while_building(lambda: append("heap.fvecs"), "heap.fvecs", "other.rt")
check(code == 2 and "heap.fvecs" in text, f"a heap that changed: exit {code}: {text}")
check(not os.path.exists("other.rt/CURRENT"), "an index over a heap that changed")
# rows that are written over, size and time as before: refused, with the range
def write_over(path, number):
    before = os.stat(path)
    with open(path, "r+b") as f:
        f.seek(number * (DIM + 1) * 4)
        f.write(vecs(rows[:200]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


os.truncate("heap.fvecs", ROWS * (DIM + 1) * 4)
for options in ((), ("--concurrent",)):
    code, text = while_building(lambda: write_over("heap.fvecs", 700), "heap.fvecs", "other.rt", *options)
    check(code == 2 and "changed while it was read: rows 659 to 939 are others" in text, f"rows written over {options}: exit {code}: {text}")
    check(not os.path.exists("other.rt/CURRENT"), "an index over rows that changed")
    with open("heap.fvecs", "wb") as f:
        f.write(vecs(rows[:ROWS]))
# an insert of what has come, while more comes, by half a row too; and one that is refused
tail = vecs(rows[ROWS:])
with open("heap.fvecs", "ab") as f:
    f.write(tail[:300 * (DIM + 1) * 4 + 17])


def append_rest():
    with open("heap.fvecs", "ab") as f:
        f.write(tail[300 * (DIM + 1) * 4 + 17:])


late = ("insert", "late.rt", "heap.fvecs", "--from-row", ROWS)
result = run(*late, ranks=2)
check(result.code == 2 and "no multiple" in result.err, f"half a row, without --concurrent: exit {result.code}: {result.err}")
code, text = meanwhile(append_rest, 0, *late, "--concurrent")
check(code == 0, f"insert --concurrent: exit {code}: {text}")
holds("late.rt", ROWS + 300)
code, text = meanwhile(lambda: append("heap.fvecs"), 0, *late[:-1], ROWS + 300)
check(code == 2 and "heap.fvecs' changed while it was read: it had" in text, f"insert over a heap that grows: exit {code}: {text}")
holds("late.rt", ROWS + 300)
os.truncate("heap.fvecs", (ROWS + MORE) * (DIM + 1) * 4)
check(ok(*late[:-1], ROWS + 300, "--json", ranks=2).json()["inserted"] == MORE - 300, "insert --from-row of the rest")
check(digest("late.rt") == digest("vecs.rt"), "rows that came in two inserts make another index")
# a job that is queued again finds its rows in the index, however the heap has grown since
np.arange(10 ** 6, 10 ** 6 + 5, dtype="<u8").tofile("high.u64")
for options in (("--from-row", ROWS), ()):
    with open("heap.fvecs", "wb") as f:
        f.write(vecs(rows[:ROWS + 100]))
    shutil.rmtree("queued.rt", ignore_errors=True)
    shutil.copytree("first.rt", "queued.rt")
    queued = ("insert", "queued.rt", "heap.fvecs", *options, "--concurrent", "--resume")
    ok(*queued, ranks=2)
    ok("insert", "queued.rt", "queries.fbin", "--ids", "high.u64", ranks=1)
    want = digest("queued.rt")
    with open("heap.fvecs", "ab") as f:
        f.write(vecs(rows[ROWS + 100:]))
    result = run(*queued, ranks=2)
    check(result.code == 0 and "already" in result.out and f"rows from {ROWS + 100} on have come since" in result.out,
          f"queued again {options}: exit {result.code}: {result.out}{result.err}")
    check(digest("queued.rt") == want, f"rows that are there come again {options}")
    if options:  # and what another insert has taken is not told as new
        ok("insert", "queued.rt", "heap.fvecs", "--from-row", ROWS + 100, "--concurrent", ranks=2)
        check("have come since" not in ok(*queued, ranks=2).out, "rows that are there are told to have come")
# a writer that never rests: each build holds what was there when it began, each insert catches up
WRITER = """
import os, time
rows = open("all.fvecs", "rb").read()
with open("busy.fvecs", "wb", buffering=0) as f:
    for at in range(0, len(rows), 1009):  # never a whole number of rows
        f.write(rows[at:at + 1009])
        if at > len(rows) // 3 and not os.path.exists("enough"):
            os.path.exists("ready") or open("ready", "w").close()
            time.sleep(0.02)
            while at > len(rows) * 9 // 10 and not os.path.exists("enough"):
                time.sleep(0.02)
"""
with open("all.fvecs", "wb") as f:
    f.write(vecs(rows))
writer = subprocess.Popen([sys.executable, "-c", WRITER])
while not os.path.exists("ready"):
    time.sleep(0.01)
ok("build", "busy.fvecs", "busy.rt", "--lists", 10, "--concurrent", ranks=2)
began = ok("info", "busy.rt", "--json", ranks=0).json()["rows"]
inserted = ok("insert", "busy.rt", "busy.fvecs", "--from-row", began, "--concurrent", "--json", ranks=2).json()["inserted"]
open("enough", "w").close()
writer.wait()
ok("insert", "busy.rt", "busy.fvecs", "--from-row", began + inserted, ranks=2)
holds("busy.rt", ROWS + MORE)
check(ROWS // 4 < began < ROWS + MORE and inserted > 0, f"{began} rows at the start, {inserted} more")
# interrupted, grown, and gone on with: the snapshot is that of the first run, and its rows must be what they were
os.truncate("heap.fvecs", ROWS * (DIM + 1) * 4)
again = ("build", "heap.fvecs", "again.rt", "--lists", "10", "--concurrent")
killed = run(*again, ranks=2, environment={"RANKTAPE_FAULT": "compact:0:1:kill"})
check(killed.code != 0 and os.path.exists("again.rt/checkpoint/job"), f"a build that is killed: {killed.out}{killed.err}")
os.path.exists("again.rt/LOCK") and os.remove("again.rt/LOCK")
append("heap.fvecs")
with open("heap.fvecs", "r+b") as f:
    whole = f.read()
    f.seek(100 * (DIM + 1) * 4)
    f.write(vecs(rows[:100]))
result = run(*again, "--resume", ranks=2)
check(result.code == 2 and len(result.message()) == 1 and "rows 95 to 234 of 'heap.fvecs' have changed" in result.err, f"other rows: exit {result.code}: {result.err}")
with open("heap.fvecs", "wb") as f:
    f.write(whole)
result = run(*again[:-1], "--resume", ranks=2)
check(result.code == 2 and "heap.fvecs" in result.err, f"grown, without --concurrent: exit {result.code}: {result.err}")
check("goes on" in ok(*again, "--resume", ranks=3).out, "a grown heap is not gone on with")
holds("again.rt", ROWS)
check("already" in ok(*again, "--resume", ranks=1).out, "a build that is published over a grown heap")
catches_up("again.rt", "heap.fvecs")
# a directory that gains a file
os.mkdir("folder")
write_bin("folder/a.fbin", rows[:2000])
write_bin("folder/b.fbin", rows[2000:ROWS])
code, text = while_building(lambda: write_bin("folder/c.fbin", rows[ROWS:]), "folder", "folder.rt", "--concurrent")
check(code == 0, f"a folder: exit {code}: {text}")
holds("folder.rt", ROWS)
catches_up("folder.rt", "folder")
# a list that gains a line
def write_list(names):
    with open("heap.txt", "w", encoding="ascii") as f:
        f.write("".join(f"folder/{name}\n" for name in names))


write_list(("b.fbin", "a.fbin"))
code, text = while_building(lambda: write_list(("b.fbin", "a.fbin", "c.fbin")), "@heap.txt", "list.rt", "--concurrent")
check(code == 0, f"a list: exit {code}: {text}")
holds("list.rt", ROWS)
catches_up("list.rt", "@heap.txt")
# HDF5 written with SWMR
try:
    import h5py
except ImportError:
    h5py = None
if h5py:
    heap = h5py.File("heap.h5", "w", libver="latest")
    data = heap.create_dataset("train", data=rows[:ROWS], maxshape=(None, DIM), chunks=(256, DIM))
    heap.swmr_mode = True

    def grow():
        data.resize(ROWS + MORE, axis=0)
        data[ROWS:] = rows[ROWS:]
        data.flush()

    code, text = while_building(grow, "heap.h5:/train", "h5.rt", "--concurrent")
    check(code == 0, f"SWMR: exit {code}: {text}")
    holds("h5.rt", ROWS)
    shutil.copytree("h5.rt", "h5b.rt")
    ok("insert", "h5b.rt", "heap.h5:/train", "--from-row", ROWS, "--concurrent", ranks=2)  # its writer still has it open
    holds("h5b.rt", ROWS + MORE)
    heap.close()
    catches_up("h5.rt", "heap.h5:/train")
# vectors that stay in a heap that grows: read there all the time, for its rows are what they were
write_bin("exact.fbin", rows[ROWS - 5:ROWS])


def searched(index):
    ok("search", index, "exact.fbin", "--k", 1, "--probes", 10, "--out", "found.ivecs", ranks=2)
    found = np.fromfile("found.ivecs", "<i4").reshape(-1, 2)[:, 1]
    check((found == np.arange(ROWS - 5, ROWS)).all(), f"{index}: rows in the heap are found as {found}")


# a build that was killed goes on where its writer has taken back half a row, or has filled room that was there
with open("cut.fvecs", "wb") as f:
    f.write(vecs(rows[:ROWS]) + b"half")
shrink = {"cut.fvecs": lambda: os.truncate("cut.fvecs", ROWS * (DIM + 1) * 4)}
if h5py:
    room = h5py.File("room.h5", "w", libver="latest")
    inside = room.create_dataset("train", data=rows[:ROWS], maxshape=(None, DIM), chunks=(2 * ROWS, DIM))
    room.swmr_mode = True

    def fill():
        inside.resize(ROWS + 10, axis=0)
        inside[ROWS:] = rows[ROWS:ROWS + 10]
        inside.flush()

    shrink["room.h5:/train"] = fill
for number, (heap, change) in enumerate(shrink.items()):
    call = ("build", heap, f"cut{number}.rt", "--lists", 10, "--concurrent")
    killed = run(*call, ranks=2, environment={"RANKTAPE_FAULT": "compact:0:1:kill"})
    os.path.exists(f"cut{number}.rt/LOCK") and os.remove(f"cut{number}.rt/LOCK")
    size = os.stat(heap.split(":")[0]).st_size
    change()
    check(killed.code != 0 and os.stat(heap.split(":")[0]).st_size <= size, f"{heap} has grown")
    check("goes on" in ok(*call, "--resume", ranks=2).out, f"{heap}: not gone on with")
    check("already" in ok(*call, "--resume", ranks=1).out, f"{heap}: published, and not known again")
    holds(f"cut{number}.rt", ROWS)
heaps = {"kept.fvecs": lambda: append("kept.fvecs"), "kept": lambda: append("kept/b.fvecs")}
with open("kept.fvecs", "wb") as f:
    f.write(vecs(rows[:ROWS]) + b"half")
os.mkdir("kept")
for name, part in (("a", rows[:2000]), ("b", rows[2000:ROWS])):
    with open(f"kept/{name}.fvecs", "wb") as f:
        f.write(vecs(part))
if h5py:
    writer = h5py.File("kept.h5", "w", libver="latest")
    column = writer.create_dataset("train", data=rows[:ROWS], maxshape=(None, DIM), chunks=(256, DIM))
    writer.swmr_mode = True

    def grow_column():
        column.resize(ROWS + MORE, axis=0)
        column[ROWS:] = rows[ROWS:]
        column.flush()

    heaps["kept.h5:/train"] = grow_column
for number, (heap, grow_heap) in enumerate(heaps.items()):
    index = f"kept{number}.rt"
    ok("build", heap, index, "--lists", 10, "--concurrent", "--rerank-in-heap", ranks=2)
    if heap == "kept.fvecs":
        os.truncate(heap, ROWS * (DIM + 1) * 4)  # the half row becomes a whole one
    grow_heap()
    searched(index)
    ok("verify", index, "--full", ranks=2)
    ok("insert", index, heap, "--from-row", ROWS, "--concurrent", ranks=2)
    searched(index)
    holds(index, ROWS + MORE)
# in a folder only the last file grows
then = os.stat("kept/a.fvecs")
with open("kept/a.fvecs", "r+b") as f:
    f.write(vecs(rows[100:101]))
result = run("search", "kept1.rt", "exact.fbin", ranks=2)
check(result.code == 2 and "a.fvecs' has changed since it was indexed" in result.err, f"a file before the last: exit {result.code}: {result.err}")
with open("kept/a.fvecs", "r+b") as f:
    f.write(vecs(rows[:1]))
os.utime("kept/a.fvecs", ns=(then.st_atime_ns, then.st_mtime_ns))
searched("kept1.rt")
write_over("kept.fvecs", ROWS - 300)
result = run("search", "kept0.rt", "exact.fbin", ranks=2)
check(result.code == 0, f"rows written over, the stamp as it was: exit {result.code}: {result.err}")
append("kept.fvecs")
result = run("search", "kept0.rt", "exact.fbin", ranks=2)
check(result.code == 2 and len(result.message()) == 1 and "'kept.fvecs" in result.err.replace(os.getcwd() + "/", "") and "have changed" in result.err,
      f"rows of a growing heap written over: exit {result.code}: {result.err}")
# what cannot grow says so
write_bin("fixed.fbin", rows[:ROWS])
result = run("build", "fixed.fbin", "fixed.rt", "--concurrent", ranks=2)
check(result.code == 2 and len(result.message()) == 1, f"a bin file with --concurrent: exit {result.code}: {result.err}")
check(not os.path.exists("fixed.rt"), "a refused build has left a directory")
end()
