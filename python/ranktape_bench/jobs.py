"""Runs the program ranktape: RANKTAPE names it (default: ranktape in PATH), RANKTAPE_LAUNCHER starts it on many ranks
(e.g. `mpirun -n 8`; default: one process)."""
import json
import os
import shlex
import subprocess

import numpy as np

SUFFIXES = {"float32": "fbin", "float16": "f16bin", "uint8": "u8bin", "int8": "i8bin"}
METRICS = {"euclidean": "l2", "angular": "cosine", "ip": "ip"}  # as both harnesses name them


def metric_of(name):
    if name not in METRICS:
        raise ValueError(f"ranktape has no metric '{name}', only {', '.join(METRICS)}")
    return METRICS[name]


def run(*arguments):
    """One job; what it says as JSON. Fails with the program's own message."""
    command = shlex.split(os.environ.get("RANKTAPE_LAUNCHER", "")) + [os.environ.get("RANKTAPE", "ranktape")]
    command += [*map(str, arguments), "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ranktape:")]
        raise RuntimeError(lines[-1] if lines else f"{shlex.join(command)}: exit {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def build(rows, index, metric, *options):
    """Rows that no index can hold (zeros under cosine) are left out, as they are nobody's neighbours."""
    return run("build", rows, index, "--metric", metric, "--bad-rows", "skip", *options)


def write_rows(folder, rows):
    """Rows as a file of the bin family; its path."""
    kind = rows.dtype.name if rows.dtype.name in SUFFIXES else "float32"
    path = os.path.join(folder, f"rows.{SUFFIXES[kind]}")
    with open(path, "wb") as f:
        np.array(rows.shape, "<u4").tofile(f)
        for begin in range(0, len(rows), 65536):
            np.ascontiguousarray(rows[begin:begin + 65536], kind).tofile(f)
    return path


def write_ids(folder, ids):
    path = os.path.join(folder, "ids.u64")
    np.ascontiguousarray(ids, "<u8").tofile(path)
    return path
