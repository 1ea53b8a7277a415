"""Exports: files for other programs, made of the live rows of a published index."""
import os
import signal
import sys

import h5py
import numpy as np

from ranktape_cli import check, clustered, digest, end, ok, run, write_bin

sys.path.insert(0, os.path.join(os.environ["SOURCE_DIR"], "tests", "fault"))
from faults import finish, start, stopped_process  # noqa: E402

N, DIM = 4000, 20


def same_bytes(*paths):
    first = open(paths[0], "rb").read()
    return all(open(path, "rb").read() == first for path in paths[1:])


def lists_of(index):
    """The list of each id, by the vectors file of a build."""
    with h5py.File(f"{index}/vectors-1.h5") as f:
        ids, lists = f["ids"][:], f["lists"][:]
    used = ids != 2**64 - 1
    order = np.argsort(ids[used])
    return lists[used][order]


def centroids():
    """What export writes is what build --centroids takes: rows come into the same lists."""
    write_bin("rows.fbin", clustered(N, DIM, seed=1))
    for metric, levels in (("l2", "50"), ("ip", "5,40"), ("cosine", "3,12,48"), ("l2", "1")):
        name = f"{metric}-{levels}"
        build = ("--metric", metric, "--seed", "3")
        ok("build", "rows.fbin", f"{name}.rt", "--lists", levels, *build, ranks=0)
        for ranks in (0, 3):
            ok("export", f"{name}.rt", f"{name}-{ranks}.h5", "--format", "centroids", ranks=ranks)
        check(same_bytes(f"{name}-0.h5", f"{name}-3.h5"), f"{name}: other bytes on other ranks")
        ok("build", "rows.fbin", f"{name}-again.rt", "--centroids", f"{name}-0.h5", *build, ranks=0)
        again = ok("info", f"{name}-again.rt", "--json", ranks=0).json()["levels"]
        check(again == [int(n) for n in levels.split(",")], f"{name}: levels {again}")
        moved = (lists_of(f"{name}.rt") != lists_of(f"{name}-again.rt")).sum()
        check(moved <= N // 1000, f"{name}: {moved} of {N} rows lie in another list")
        for suffix in ("npy", "fbin"):
            ok("export", f"{name}.rt", f"{name}.{suffix}", "--format", "centroids", ranks=0)
        with h5py.File(f"{name}-0.h5") as f:
            leaves = f["vector"][: int(levels.split(",")[-1])]
            check(f.attrs["metric"] == metric and f.attrs["space"] == "original", f"{name}: attributes")
        check((np.load(f"{name}.npy") == leaves).all(), f"{name}: other leaves in .npy")
        flat = np.fromfile(f"{name}.fbin", dtype="<f4", offset=8).reshape(-1, DIM)
        check((flat == leaves).all(), f"{name}: other leaves in .fbin")
    # cells without leaves are not told: as leaves of another depth nobody could take them
    write_bin("three.fbin", np.repeat(np.eye(3, DIM, dtype=np.float32), 40, axis=0))
    ok("build", "three.fbin", "three.rt", "--lists", "8,9", ranks=0)
    ok("export", "three.rt", "three.h5", "--format", "centroids", ranks=2)
    with h5py.File("three.h5") as f:
        parents = set(f["parent"][:].tolist()) - {-1}
        inner = set(range(9, len(f["id"])))
        check(len(f["id"]) < 9 + 8 + 1 and inner == parents, f"cells {inner}, those with children {parents}")
    ok("build", "three.fbin", "three-again.rt", "--centroids", "three.h5", ranks=0)


def calls():
    """What cannot be exported is refused by one line, and nothing is left behind."""
    write_bin("rows.fbin", clustered(N, DIM, seed=1))
    ok("build", "rows.fbin", "a.rt", "--lists", "5,20", ranks=0)
    before = digest("a.rt")
    os.mkdir("folder")
    os.mkfifo("pipe.npy")
    with open("there.npy", "w") as f:
        f.write("of somebody else")
    left = sorted(os.listdir("."))
    for arguments, text in (
            (("a.rt", "new.npy"), "which --format"),
            (("a.rt", "new.bin", "--format", "centroids"), "'new.bin': centroids go to"),
            (("a.rt", "new.u8bin", "--format", "centroids"), "'new.u8bin': centroids go to"),
            (("a.rt", "there.npy", "--format", "centroids"), "'there.npy' exists already (--force replaces it)"),
            (("a.rt", "folder", "--format", "centroids", "--force"), "'folder'"),
            (("a.rt", "pipe.npy", "--format", "centroids", "--force"), "is no file"),
            (("a.rt", "a.rt/tree-1.h5", "--format", "centroids", "--force"), "lies in the index itself"),
            (("a.rt", "nowhere/new.npy", "--format", "centroids"), "there is no directory 'nowhere'"),
            (("none.rt", "new.npy", "--format", "centroids"), "none.rt"),
            (("a.rt", "new.npy", "--format", "centroids", "--heap", "0=rows.fbin"), "reads no heap")):
        result = run("export", *arguments, ranks=2 if "nowhere/new.npy" in arguments else 0)
        message = result.message()
        check(result.code == 2 and len(message) == 1 and text in message[0], f"{arguments}: {result.code}, {message}")
    check(sorted(os.listdir(".")) == left, f"left behind: {sorted(os.listdir('.'))}")
    check(open("there.npy").read() == "of somebody else", "a file that was there has changed")
    told = ok("export", "a.rt", "there.npy", "--format", "centroids", "--force", "--json", "--report", "report.json", ranks=2).json()
    check(told["rows"] == N and told["digest"] == before and told["files"][0]["bytes"] == os.path.getsize("there.npy"), f"{told}")
    check(np.load("there.npy").shape == (20, DIM), "--force does not replace")
    check(sorted(os.listdir(".")) == sorted(left + ["report.json"]), f"left behind: {sorted(os.listdir('.'))}")
    check(digest("a.rt") == before, "an export changes the index")


def faults():
    """Whatever fails on whichever rank: one line, exit 1, OUT as it was, nothing beside it; the next call succeeds."""
    write_bin("rows.fbin", clustered(N, DIM, seed=1))
    ok("build", "rows.fbin", "a.rt", "--lists", "5,20", ranks=0)
    for name, arguments in (("a.h5", ("--format", "centroids")), ("a.faiss", ("--format", "faiss", "--faiss", "rabitq"))):
        with open(name, "w") as f:
            f.write("of before")
        left = sorted(os.listdir("."))
        for fault in ("write:1", "fsync:all", "rename:0", "read:all:60", "malloc:1:60"):
            result = run("export", "a.rt", name, *arguments, "--force", ranks=2, environment={"RANKTAPE_FAULT": fault})
            if result.code == 0 and fault.startswith(("read", "malloc")):  # not so many passages
                with open(name, "w") as f:
                    f.write("of before")
                continue
            check(result.code == 1 and len(result.message()) == 1, f"{name}, {fault}: {result.code}, {result.err}")
            check(sorted(os.listdir(".")) == left, f"{name}, {fault}: left behind {sorted(os.listdir('.'))}")
            check(open(name, "rb").read() == b"of before", f"{name}, {fault}: OUT has changed")
        proven(name, arguments)
        stopped(name, arguments)
        ok("export", "a.rt", name, *arguments, "--force", ranks=2)
        os.rename(name, "before")
        meanwhile(name, arguments)


def proven(name, arguments):
    """What changes between writing and reading back is noticed, wherever it is (HDF5 has gaps that nobody reads)."""
    for share in (0.0, "vector") if name.endswith(".h5") else (0.0, 0.3, 0.9):
        job = start("export", "a.rt", name, *arguments, "--force", "--verify-writes", ranks=1,
                    environment={"RANKTAPE_FAULT": "prove:0:1:stop"})
        halted = stopped_process()
        if share == "vector":
            with h5py.File(f".partial-{name}") as f:
                at = f["vector"].id.get_offset() + 10
        else:
            at = int(os.path.getsize(f".partial-{name}") * share)
        with open(f".partial-{name}", "r+b") as f:
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ 0x10]))
        os.kill(halted, signal.SIGCONT)
        result = finish(job)
        check(result.code == 1 and len(result.message()) == 1, f"{name} at {share}: {result.code}, {result.err}")
        check(open(name, "rb").read() == b"of before" and not os.path.exists(f".partial-{name}"), f"{name} at {share}: published")


def halted_at(phase, name, arguments):
    job = start("export", "a.rt", name, *arguments, "--force", ranks=1, environment={"RANKTAPE_FAULT": f"{phase}:0:1:stop"})
    return job, stopped_process()


def stopped(name, arguments):
    """A stop is obeyed: exit 75, and nothing is left."""
    job, halted = halted_at("prove", name, arguments)
    os.kill(halted, signal.SIGUSR1)
    os.kill(halted, signal.SIGCONT)
    result = finish(job)
    check(result.code == 75 and "nothing is exported" in "".join(result.message()), f"{name} stopped: {result.code}, {result.err}")
    check(open(name, "rb").read() == b"of before" and not os.path.exists(f".partial-{name}"), f"{name} stopped: left behind")


def meanwhile(name, arguments):
    """An export keeps its generation while others are published and its files go."""
    job, halted = halted_at("write", name, arguments)
    first = 0 if name.endswith(".h5") else 50
    np.arange(first, first + 50, dtype="<u8").tofile("dead.u64")
    check(ok("delete", "a.rt", "--ids", "dead.u64", "--json", ranks=0).json()["deleted"] == 50, "nothing deleted")
    ok("vacuum", "a.rt", "--full", "--keep-generations", "1", ranks=0)
    os.kill(halted, signal.SIGCONT)
    result = finish(job)
    check(result.code == 0 and same_bytes(name, "before"), f"{name}, while the index changes: {result.code}, {result.err}")


{"centroids": centroids, "calls": calls, "faults": faults}[sys.argv[1]]()
end()
