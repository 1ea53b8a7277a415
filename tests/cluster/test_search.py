"""Answers do not depend on ranks, threads or where vectors lie; what search prints, writes and refuses."""
import os
import shutil
import subprocess
import sys
import time

import numpy as np

from ranktape_cli import LAUNCHER, PROGRAM, check, clustered, distances, end, ok, read_ibin, run, write_bin

rows = clustered(4000, 40, seed=5)
queries = clustered(60, 40, seed=6)
write_bin("rows.fbin", rows)
write_bin("queries.fbin", queries)
KEYS = {"recall", "k", "queries", "seconds", "queries_per_second", "lists_scanned", "rows_scanned", "reranked"}


write_bin("few.fbin", queries[:7])


def search(index, *options, ranks=1, queries="queries.fbin", **more):
    ok("search", index, queries, "--out", "found.ibin", *options, ranks=ranks, **more)
    return open("found.ibin", "rb").read()


def memory_of_ranks(*arguments, ranks):
    """A search's most private bytes and most address space of each rank, looked at while it runs."""
    job = subprocess.Popen(LAUNCHER + ["-n", str(ranks), PROGRAM, "search"] + [str(a) for a in arguments],
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    private, space = {}, {}
    while job.poll() is None:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/cwd") != os.getcwd() or os.readlink(f"/proc/{pid}/exe") != os.path.realpath(PROGRAM):
                    continue
                with open(f"/proc/{pid}/environ") as f:
                    known = dict(line.split("=", 1) for line in f.read().split("\0") if "=" in line)
                with open(f"/proc/{pid}/status") as f:
                    held = {line.split(":")[0]: int(line.split()[1]) << 10 for line in f if line.endswith("kB\n")}
            except (OSError, ValueError):
                continue
            rank = int(known.get("OMPI_COMM_WORLD_RANK", known.get("PMI_RANK", -1)))
            if rank < 0:
                continue # between two programs: while one takes the other's place there is no environment to read
            private[rank] = max(private.get(rank, 0), held.get("RssAnon", 0))
            space[rank] = max(space.get(rank, 0), held.get("VmPeak", 0))
        time.sleep(0.01)
    check(job.returncode == 0 and set(space) == set(range(ranks)), f"{arguments}: exit {job.returncode}, ranks {set(space)}")
    return private, space


which = sys.argv[1]
if which == "answers":
    for metric in ("l2", "ip", "cosine"):
        for spherical in ("on", "off"):
            index = f"{metric}.{spherical}"
            options = ("--metric", metric, "--lists", "5,40", "--spherical", spherical)
            ok("build", "rows.fbin", index, *options, ranks=2)
            ok("build", "rows.fbin", index + ".heap", *options, "--rerank-in-heap", ranks=3)
            for asked in (("--probes", "6"), ("--probes", "2,9", "--k", "25"), ("--epsilon", "0.3"), ("--probes", "40")):
                one = search(index, *asked)
                for ranks, threads in ((2, 1), (3, 1), (1, 3), (2, 2)):
                    check(search(index, *asked, "--threads", threads, ranks=ranks) == one,
                          f"{index} {asked}: other answers on {ranks} ranks x {threads} threads")
                check(search(index + ".heap", *asked, ranks=2) == one, f"{index} {asked}: other answers from the heap")
        many = search(f"{metric}.off", queries="rows.fbin")  # more pieces than threads
        for ranks, threads in ((1, 3), (2, 2)):
            check(search(f"{metric}.off", "--threads", threads, ranks=ranks, queries="rows.fbin") == many,
                  f"{metric}: other answers to many queries on {ranks} ranks x {threads} threads")
        here = search(f"{metric}.off.heap", ranks=2)
        os.makedirs("elsewhere", exist_ok=True)
        os.chdir("elsewhere")  # the heap is found from any folder
        check(search(f"../{metric}.off.heap", ranks=2, queries="../queries.fbin") == here, f"{metric}: other answers from another folder")
        os.chdir("..")
        few = search(f"{metric}.off", queries="few.fbin")
        for ranks, threads in ((2, 1), (3, 2)):  # so few are shared by blocks, not by queries
            check(search(f"{metric}.off", "--threads", threads, ranks=ranks, queries="few.fbin") == few,
                  f"{metric}: other answers to few queries on {ranks} ranks x {threads} threads")
        for isa in ("portable", "avx2"):
            check(search(f"{metric}.on", environment={"RANKTAPE_ISA": isa}) == search(f"{metric}.on"), f"{metric}: {isa}")
elif which == "options":
    ok("build", "rows.fbin", "index", "--lists", "5,40", ranks=2)
    # recall of rows drawn from the index
    drawn = ok("search", "index", "--sample-truth", "50", "--probes", "40", "--json", ranks=2).json()
    check(KEYS <= set(drawn) and drawn["queries"] == 50 and drawn["recall"] > 0.98, f"sample: {drawn}")
    # a filter: only those ids, and still the nearest of them
    allowed = np.arange(0, 4000, 7, dtype="<u8")
    allowed.tofile("filter")
    ok("search", "index", "queries.fbin", "--filter", "filter", "--probes", "40", "--epsilon", "1e6", "--k", "5", "--out",
       "found.ibin", ranks=2)
    for query, ids in zip(queries, read_ibin("found.ibin")):
        want = allowed[np.argsort(distances(rows[allowed], query, "l2"), kind="stable")[:5]]
        check(set(ids) == set(want), f"filter: {ids} instead of {want}")
    timed = ok("search", "index", "queries.fbin", "--latency", "--json").json()
    check(0 < timed["latency_p50_seconds"] <= timed["latency_p99_seconds"], f"latency: {timed}")
    # every kind of file says the same
    ok("search", "index", "queries.fbin", "--out", "a.ibin")
    ok("search", "index", "queries.fbin", "--out", "a.ivecs")
    ok("search", "index", "queries.fbin", "--out", "a.h5", ranks=2)
    ids = read_ibin("a.ibin")
    check((np.fromfile("a.ivecs", "<i4").reshape(60, 11)[:, 1:] == ids).all(), "ivecs differs")
    try:
        import h5py
        with h5py.File("a.h5") as f:
            check((f["neighbors"][:] == ids).all() and f.attrs["distance"] in ("euclidean", b"euclidean"), "HDF5 differs")
            want = np.sqrt(((rows[ids] - queries[:, None]).astype(np.float64) ** 2).sum(2))
            check(np.allclose(f["distances"][:], want, rtol=1e-5), "distances in HDF5")
    except ImportError:
        print("no h5py: HDF5 not compared")
    for truth in ("a.ibin", "a.ivecs", "a.h5"):
        check(ok("search", "index", "queries.fbin", "--truth", truth, "--json").json()["recall"] == 1, f"recall of {truth}")
    # a moved heap
    ok("build", "rows.fbin", "heap", "--lists", "5,40", "--rerank-in-heap", "--chooser", "rng", "--tapes", 3, ranks=2)
    before = search("heap")
    os.mkdir("elsewhere")
    shutil.move("rows.fbin", "elsewhere/rows.fbin")
    check(run("search", "heap", "queries.fbin").code == 2, "a heap that is gone")
    check(search("heap", "--heap", "0=elsewhere/rows.fbin", ranks=2) == before, "a moved heap")
    ok("verify", "heap", "--full", "--heap", "0=elsewhere/rows.fbin", ranks=2)
    try:  # its dataset goes along
        import h5py
        with h5py.File("rows.h5", "w") as f:
            f["vec"] = rows
        ok("build", "rows.h5:/vec", "h5heap", "--lists", "5,40", "--rerank-in-heap", ranks=2)
        shutil.move("rows.h5", "elsewhere/rows.h5")
        for name in ("elsewhere/rows.h5", "elsewhere/rows.h5:/vec"):
            check(search("h5heap", "--heap", f"0={name}", ranks=2) == before, f"a moved heap {name}")
    except ImportError:
        print("no h5py: a moved heap of HDF5 not looked at")
    # a heap of more files than a process may have open
    with open("files", "w", encoding="ascii") as f:
        for i in range(200):
            f.write(write_bin(f"part{i}.fbin", rows[i * len(rows) // 200:(i + 1) * len(rows) // 200]) + "\n")
    ok("build", "@files", "parts", "--lists", "5,40", "--rerank-in-heap", ranks=2)
    few_open = ["sh", "-c", 'ulimit -n 64; shift 2; exec "$@"', "sh"]
    ok("search", "parts", "queries.fbin", "--k", 10, "--out", "parts.ibin", launcher=few_open)
    ok("search", "heap", "queries.fbin", "--k", 10, "--out", "whole.ibin", "--heap", "0=elsewhere/rows.fbin")
    check((read_ibin("parts.ibin") == read_ibin("whole.ibin")).all(), "a heap of many files: other answers")
    os.rename("part7.fbin", "moved.fbin")
    check("part7.fbin' is not there" in run("search", "parts", "queries.fbin", "--probes", 40, "--epsilon", "1e6").err, "a part is gone")
    ok("verify", "parts", "--full", "--heap", "7=moved.fbin", ranks=2)
    # only rank 0 keeps the answers to all queries, and the ranks of a node one filter
    write_bin("many.fbin", np.repeat(queries, 100, 0))
    _, space = memory_of_ranks("index", "many.fbin", "--k", 2000, "--probes", 1, ranks=2)
    answers = 6000 * 2000 * 16
    check(space[0] - space[1] > 0.8 * answers, f"address space of ranks {space}, answers {answers} bytes")
    np.arange(6_000_000, dtype="<u8").tofile("wide.u64")
    few, _ = memory_of_ranks("index", "many.fbin", "--filter", "filter", ranks=2)
    many, _ = memory_of_ranks("index", "many.fbin", "--filter", "wide.u64", ranks=2)
    check(many[1] - few[1] < 24e6, f"private bytes of rank 1: {few[1]} with a short filter, {many[1]} with 48 MB")
    # wrong calls
    for wrong in (("--probes", "1,2,3"), ("--k", "0"), ("--probes", "0"), ("--lists", "4"), ("--sample-truth", "5"),
                  ("--truth", "a.ibin", "--k", "11"), ("--threads", "0"), ("--epsilon", "-1")):
        result = run("search", "index", "queries.fbin", *wrong, ranks=2)
        check(result.code == 2 and len(result.message()) == 1, f"{wrong}: exit {result.code}, {result.message()}")
    check(run("search", "index").code == 2, "no queries")
    shown = ok("info", "index", "--lists", "--history", "--json", ranks=0).json()
    for key in ("rows", "dimension", "metric", "element", "lists", "levels", "generation", "tombstones", "digest"):
        check(key in shown, f"info lacks {key}")
    check(shown["levels"] == [5, 40] and shown["lists"] == 40 and len(shown["history"]) == 1, f"info: {shown}")
    check(ok("verify", "index", "--json", ranks=2).json()["errors"] == [], "errors of a whole index")
end()
