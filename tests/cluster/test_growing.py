"""A heap that grows while it is indexed: the snapshot is what was there at the start, insert catches up."""
import os
import signal
import sys
import time

import numpy as np
from ranktape_cli import LAUNCHER, PROGRAM, check, clustered, end, fail, ok, run, write_bin
import subprocess

ROWS, MORE, DIM = 3000, 500, 12
rows = clustered(ROWS + MORE, DIM, seed=21).astype(np.float32)
write_bin("queries.fbin", rows[-5:])


def vecs(part):
    head = np.full((len(part), 1), DIM, "<i4").view("<f4")
    return np.hstack([head, part]).astype("<f4").tobytes()


def stopped():
    """The process of ours that a fault has stopped."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/exe") == os.path.realpath(PROGRAM) and os.readlink(f"/proc/{pid}/cwd") == os.getcwd():
                    with open(f"/proc/{pid}/stat") as f:
                        if f.read().rsplit(")", 1)[1].split()[0] == "T":
                            return int(pid)
            except OSError:
                pass
        time.sleep(0.01)
    fail("nothing has stopped")


def while_building(grow, *options):
    """A build that is halted before it reads its rows to the end, while grow() happens; its exit status and words."""
    job = subprocess.Popen(LAUNCHER + ["-n", "2", PROGRAM, "build", *options, "--lists", "10", "--force"], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           env=dict(os.environ, RANKTAPE_FAULT="insert:1:1:stop"))
    pid = stopped()
    grow()
    os.kill(pid, signal.SIGCONT)
    out, err = job.communicate(timeout=120)
    return job.returncode, out + err


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
catches_up("vecs.rt", "heap.fvecs")
# without it the change is refused, and named
os.truncate("heap.fvecs", ROWS * (DIM + 1) * 4)
code, text = while_building(lambda: append("heap.fvecs"), "heap.fvecs", "other.rt")
check(code == 2 and "heap.fvecs" in text, f"a heap that changed: exit {code}: {text}")
check(not os.path.exists("other.rt/CURRENT"), "an index over a heap that changed")
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
check(result.code == 2 and len(result.message()) == 1 and "snapshot have changed" in result.err, f"other rows: exit {result.code}: {result.err}")
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
    heap.close()
    catches_up("h5.rt", "heap.h5:/train")
# what cannot grow says so
write_bin("fixed.fbin", rows[:ROWS])
result = run("build", "fixed.fbin", "fixed.rt", "--concurrent", ranks=2)
check(result.code == 2 and len(result.message()) == 1, f"a bin file with --concurrent: exit {result.code}: {result.err}")
check(not os.path.exists("fixed.rt"), "a refused build has left a directory")
end()
