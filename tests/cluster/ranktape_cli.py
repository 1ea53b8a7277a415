"""Runs the program from tests: rows made with numpy, jobs on any number of ranks, answers against brute force.

The environment names the program (RANKTAPE) and the launcher (MPIEXEC); each test runs in an empty folder of its own."""
import json
import os
import subprocess
import sys
import time

import numpy as np

PROGRAM = os.environ["RANKTAPE"]
LAUNCHER = os.environ.get("MPIEXEC", "mpirun --oversubscribe --timeout 60").split()
TYPES = {"f32": (np.float32, "fbin"), "f16": (np.float16, "f16bin"), "u8": (np.uint8, "u8bin"), "i8": (np.int8, "i8bin")}


class Result:
    def __init__(self, code, out, err, seconds):
        self.code, self.out, self.err, self.seconds = code, out, err, seconds

    def json(self):
        return json.loads(self.out)

    def message(self):
        """The program's own error lines (mpirun adds a banner)."""
        return [line for line in self.err.splitlines() if line.startswith("ranktape: ") and ": warning: " not in line]

    def warnings(self):
        return [line for line in self.err.splitlines() if ": warning: " in line]


def exit_code(code, err):
    """That of the job. A rank waits two seconds for the launcher to take leave of it (PMIx); on a machine with so much to do
    that the launcher misses that, it calls the end of a job that is done improper."""
    if code == 1 and "exiting improperly" in " ".join(err.split()) and os.getloadavg()[0] > 2 * os.cpu_count():
        print(f"a launcher was late, load {os.getloadavg()[0]:.0f}", flush=True)
        return 0
    return code


def run(*arguments, ranks=1, environment=None, timeout=120, launcher=None):
    """One job. ranks 0: without the launcher."""
    command = [PROGRAM] + [a if isinstance(a, bytes) else str(a) for a in arguments]
    if ranks:
        command = (launcher or LAUNCHER) + ["-n", str(ranks)] + command
    env = dict(os.environ, **(environment or {}))
    begin = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, env=env,
                          errors="replace")
    return Result(exit_code(done.returncode, done.stderr), done.stdout, done.stderr, time.monotonic() - begin)


def ok(*arguments, **options):
    result = run(*arguments, **options)
    if result.code != 0:
        fail(f"{' '.join(map(str, arguments))}: exit {result.code}\n{result.out}{result.err}")
    return result


def digest(index):
    text = ok("info", index, "--digest", ranks=0).out
    check(len(text) == 33 and text.endswith("\n"), f"digest of {index}: {text!r}")
    return text.strip()


failures = 0


def check(condition, text):
    global failures
    if not condition:
        failures += 1
        print(f"FAILED {text}", file=sys.stderr, flush=True)
    return condition


def fail(text):
    check(False, text)
    sys.exit(1)


def end():
    print("ok" if not failures else f"{failures} checks failed")
    sys.exit(1 if failures else 0)


def write_bin(path, rows):
    rows = np.ascontiguousarray(rows)
    with open(path, "wb") as f:
        np.array(rows.shape, "<u4").tofile(f)
        rows.tofile(f)
    return path


def vecs(rows):
    """Bytes of an fvecs file of these rows, or of a part of one."""
    head = np.full((len(rows), 1), rows.shape[1], "<i4").view("<f4")
    return np.hstack([head, rows]).astype("<f4").tobytes()


def read_ibin(path):
    header = np.fromfile(path, "<u4", 2)
    return np.fromfile(path, "<i4", offset=8)[:int(header[0]) * int(header[1])].reshape(header)


def clustered(n, dim, clusters=20, seed=0, spread=0.3, offset=0.0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((clusters, dim))
    return (centers[rng.integers(0, clusters, n)] + spread * rng.standard_normal((n, dim)) + offset).astype(np.float32)


def distances(rows, query, metric):
    """Exact distances in f64; smaller is nearer."""
    rows, query = rows.astype(np.float64), query.astype(np.float64)
    if metric == "l2":
        return ((rows - query) ** 2).sum(1)
    if metric == "ip":
        return -(rows @ query)
    return 1 - (rows @ query) / (np.linalg.norm(rows, axis=1) * np.linalg.norm(query))


def same_neighbours(rows, queries, found, metric, k, tolerance=1e-5):
    """found must be k nearest rows of each query, up to ties within the rounding of f32. Returns the first difference."""
    for q, query in enumerate(queries):
        d = distances(rows, query, metric)
        want = np.sort(d)[:k]
        ids = found[q][:len(want)]
        if (ids < 0).any() or len(set(ids)) != len(ids):
            return f"query {q}: ids {ids}"
        got = np.sort(d[ids])
        scale = np.abs(want).max() + np.abs((query.astype(np.float64) ** 2).sum()) * (metric != "l2") + 1e-30
        if np.abs(got - want).max() > tolerance * scale:
            return f"query {q}: distances {got} instead of {want}"
    return None
