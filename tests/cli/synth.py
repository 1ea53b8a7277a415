"""synth: the same bytes on any number of ranks in every format; the truth is the truth; refusals."""
import os
import subprocess
import sys
import time

import h5py
import numpy as np

RANKTAPE, MPIEXEC = os.environ["RANKTAPE"], os.environ["MPIEXEC"].split()
failures = 0


def check(condition, what):
    global failures
    if not condition:
        failures += 1
        print("not so:", what)


def run(words, ranks=0, status=0):
    command = (MPIEXEC + ["-n", str(ranks)] if ranks else []) + [RANKTAPE] + words.split()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != status:
        check(False, f"{command} gave {done.returncode}, not {status}: {done.stderr}")
    return done


def ours(done):
    """The program's own lines of stderr: MPI and the launcher may have some as well."""
    return [line for line in done.stderr.splitlines() if line.startswith("ranktape: ")]


def content(path):
    with open(path, "rb") as file:
        return file.read()


def rows_of(path):
    suffix = path.rsplit(".", 1)[1]
    if suffix == "npy":
        return np.load(path)
    if suffix == "h5":
        with h5py.File(path) as file:
            return file[list(file.keys())[0]][:]
    raw = content(path)
    if suffix in ("fvecs", "bvecs"):
        dim = int(np.frombuffer(raw, "<i4", 1)[0])
        kind = "<f4" if suffix == "fvecs" else "u1"
        stride = 4 + dim * np.dtype(kind).itemsize
        table = np.frombuffer(raw, np.uint8).reshape(-1, stride)
        return table[:, 4:].copy().view(kind)
    kind = {"fbin": "<f4", "f16bin": "<f2", "u8bin": "u1", "i8bin": "i1"}[suffix]
    n, dim = np.frombuffer(raw, "<u4", 2)
    return np.frombuffer(raw, kind, offset=8).reshape(n, dim)


def test_formats():
    same = {}
    for suffix in ("fbin", "f16bin", "u8bin", "i8bin", "fvecs", "bvecs", "npy", "h5"):
        # shares and borders are those of one writer, files of two kinds: two ranks for one format of each
        for ranks in (0, 2, 3) if suffix in ("fbin", "h5") else (0, 3):
            run(f"synth r{ranks}.{suffix} --rows 1001 --dim 19 --queries q{ranks}.{suffix} --query-count 70 --seed 7", ranks)
        for kind in "rq":
            one = content(f"{kind}0.{suffix}")
            check(all(one == content(f"{kind}{n}.{suffix}") for n in (2, 3) if os.path.exists(f"{kind}{n}.{suffix}")),
                  f"{kind}.{suffix} on 1, 2, 3 ranks")
        rows = rows_of(f"r0.{suffix}")
        check(rows.shape == (1001, 19) and rows_of(f"q0.{suffix}").shape == (70, 19), f"shape of {suffix}")
        check(same.setdefault(rows.dtype.str, rows).tobytes() == rows.tobytes(), f"{suffix} holds other rows")
    run("synth other.fbin --rows 1001 --dim 19 --seed 8")
    check(not np.array_equal(rows_of("other.fbin"), rows_of("r0.fbin")), "another seed gives other rows")
    for kind in ("u8", "f16"):
        run(f"synth typed-{kind}.npy --rows 1001 --dim 19 --seed 7 --type {kind}")
        check(rows_of(f"typed-{kind}.npy").tobytes() == rows_of(f"r0.{kind}bin").tobytes(), f"--type {kind}")
    check(not [name for name in os.listdir() if name.endswith(".partial")], "nothing half-written is left")


def distances(metric, rows, queries):
    rows, queries = rows.astype("f8"), queries.astype("f8")
    if metric == "ip":
        return -(queries @ rows.T)
    if metric == "cosine":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        return 1 - queries @ rows.T
    return ((queries[:, None, :] - rows[None, :, :]) ** 2).sum(2)


def test_truth():
    for metric in ("l2", "ip", "cosine"):
        for suffix in ("fbin", "u8bin"):
            for ranks in (0, 3):
                run(f"synth t{ranks}-{metric}.{suffix} --rows 3000 --dim 24 --metric {metric} --queries tq.{suffix} "
                    f"--query-count 40 --truth {ranks}-{metric}-{suffix}.ivecs --truth-k 20 --force", ranks)
            check(content(f"0-{metric}-{suffix}.ivecs") == content(f"3-{metric}-{suffix}.ivecs"), "truth on 1 and 3 ranks")
            truth = np.frombuffer(content(f"0-{metric}-{suffix}.ivecs"), "<i4").reshape(40, 21)[:, 1:]
            exact = distances(metric, rows_of(f"t0-{metric}.{suffix}"), rows_of(f"tq.{suffix}"))
            found = np.take_along_axis(exact, truth.astype("i8"), 1)
            best = np.sort(exact, 1)[:, :20]
            check(np.allclose(found, best, rtol=1e-5, atol=1e-5), f"truth of {metric} {suffix}")
            if suffix == "u8bin" and metric == "l2":  # exact in f32: equal distances by row number
                order = np.argsort(exact, 1, kind="stable")[:, :20]
                check(np.array_equal(order, truth), "ties by row number")
    run("synth small.fbin --rows 3 --dim 4 --queries sq.fbin --query-count 2 --truth small.ivecs --truth-k 5")
    truth = np.frombuffer(content("small.ivecs"), "<i4").reshape(2, 6)
    check((truth[:, 4:] == -1).all() and (np.sort(truth[:, 1:4], 1) == [0, 1, 2]).all(), "more neighbours than rows")


def test_shapes():
    run("synth one.fbin --rows 1 --dim 1", 3)
    check(rows_of("one.fbin").shape == (1, 1), "one row, three ranks")
    run("synth wide.u8bin --rows 5 --dim 4097 --clusters 3 --skew 0", 2)
    check(rows_of("wide.u8bin").shape == (5, 4097), "4097 dimensions")
    done = run("synth j.fbin --rows 10 --dim 4 --json")
    import json
    answer = json.loads(done.stdout)
    check(answer["rows"] == 10 and answer["clusters"] == 1 and ours(done) == [], "json")
    check(answer["options"]["clusters"] == {"value": 1, "source": "auto"}, "the cluster count says where it is from")


def test_progress():
    import json
    said = 0
    for ranks in (0, 3):
        run("synth p.fbin --rows 20000 --dim 32 --queries pq.fbin --query-count 50 --truth pt.ibin --force --progress-file p.json", ranks)
        with open("p.json") as file:
            last = json.load(file)
        check((last["job"], last["state"], last["phase"], last["done"], last["total"]) == ("synth", "done", "truth", 20000, 20000),
              f"the last progress of {ranks} ranks: {last}")
    # and while it goes on: of some phase, with a rate
    job = subprocess.Popen([RANKTAPE] + "synth p.fbin --rows 2000000 --dim 64 --force --progress-file live.json".split(),
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while job.poll() is None:
        time.sleep(0.02)
        try:
            with open("live.json") as file:
                now = json.load(file)
        except (OSError, ValueError):
            continue
        said += now["state"] == "running" and 0 < now["done"] < now["total"] == 2000000
    check(job.returncode == 0 and said > 0, "progress is told while rows are made")


def refused(words, says, ranks=0):
    done = run(words, ranks, status=2)
    lines = ours(done)
    check(len(lines) == 1 and lines[0].startswith("ranktape: synth: ") and says in lines[0],
          f"'{words}' says {lines or done.stderr}, not '{says}'")
    check(done.stdout == "", f"'{words}' prints nothing else")


def test_refusals():
    open("there.fbin", "w").close()
    refused("synth there.fbin --rows 5 --dim 4", "'there.fbin' exists already (--force replaces it)")
    check(content("there.fbin") == b"", "an existing file is left alone")
    refused("synth new.fbin --rows 5 --dim 4 --queries there.fbin", "exists already", ranks=2)
    refused("synth a.fbin --dim 4", "--rows and --dim are needed")
    refused("synth a.fbin --rows 4", "--rows and --dim are needed")
    refused("synth a.fbin --rows 4 --dim 4 --truth t.ivecs", "--truth needs --queries")
    refused("synth a.fbin --rows 4 --dim 4 --queries a.fbin", "named twice")
    refused("synth a.fbin --rows 4 --dim 4 --queries q.u8bin", "holds f32 rows, 'q.u8bin' u8 queries")
    refused("synth a.txt --rows 4 --dim 4", "a.txt")
    refused("synth a.fbin --rows 4 --dim 4 --type u8", "a.fbin")
    refused("synth a.fbin --rows 4 --dim 4 --queries q.fbin --truth t.txt", "t.txt")
    refused("synth a.fbin --rows 5000000000 --dim 4", "a.fbin")
    refused("synth a.fbin --rows 4 --dim 65536", "--dim takes a whole number from 1 to 65535")
    refused("synth no/such/folder/a.fbin --rows 4 --dim 4", "there is no directory 'no/such/folder'", ranks=2)
    refused("synth a.fbin --rows 4 --dim 4 --queries a.q.fbin --truth no/such/t.ibin", "there is no directory 'no/such'")
    os.mkdir("folder.fbin")
    refused("synth folder.fbin --rows 4 --dim 4 --force", "'folder.fbin' is a directory")
    left = [name for name in os.listdir() if name.startswith("a.") or name == "new.fbin" or name.endswith(".partial")]
    check(not left, f"a refused call leaves nothing behind, but {left}")


for test in (test_formats, test_truth, test_shapes, test_progress, test_refusals):
    before = failures
    test()
    print("ok    " if failures == before else "FAILED", test.__name__)
sys.exit(failures != 0)
