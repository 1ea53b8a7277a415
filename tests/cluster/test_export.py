"""Exports: files for other programs, made of the live rows of a published index."""
import os
import sys

import h5py
import numpy as np

from ranktape_cli import check, clustered, digest, end, ok, run, write_bin

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


{"centroids": centroids, "calls": calls}[sys.argv[1]]()
end()
