"""docs/operations.md, done as it says: its plans, its tutorial, its conversions."""
import importlib.util
import json
import os
import re
import shlex
import struct
import subprocess
import sys

import h5py
import numpy as np

from ranktape_cli import PROGRAM, check, end, ok, run

PAGE = open(os.path.join(os.environ["SOURCE_DIR"], "docs/operations.md")).read()


def blocks():
    """Each fenced block with what the comment above it says of it."""
    for note, kind, text in re.findall(r"(?:<!-- (.*?) -->\n)?```(\w*)\n(.*?)```", PAGE, flags=re.S):
        yield note, kind, text


def block(name):
    found = [text for note, _, text in blocks() if note == f"test: {name}"]
    check(len(found) == 1, f"docs/operations.md has {len(found)} blocks '{name}'")
    return found[0]


def command(line):
    words = shlex.split(line.removeprefix("$ "))
    ranks = 0
    if words[0] == "mpirun":
        ranks, words = int(words[2]), words[3:]
    check(words[0] == "ranktape", f"what is '{line}'?")
    return ok(*words[1:], ranks=ranks)


def python(name, *arguments):
    with open(f"{name}.py", "w") as file:
        file.write(block(name))
    done = subprocess.run([sys.executable, f"{name}.py", *arguments], capture_output=True, text=True)
    check(done.returncode == 0, f"{name}.py: {done.stderr}")
    return done.stdout


def plans():
    lines = [line for note, _, text in blocks() if not note for line in text.splitlines() if line.startswith("$ ranktape plan")]
    check(len(lines) == 5, f"{len(lines)} plans in docs/operations.md")
    verdicts = [json.loads(command(line + " --json").out)["fits"] for line in lines]
    check(verdicts == [True] * 4 + [False], f"which plans fit: {verdicts}")


def safetensors():
    rng = np.random.default_rng(3)
    f32, f16 = rng.normal(size=(40, 7)).astype("<f4"), rng.normal(size=(30, 7)).astype("<f2")
    bf16 = (rng.normal(size=(20, 7)).astype("<f4").view("<u4") >> 16).astype("<u2")
    arrays = {"a.rows": ("F32", f32), "half": ("F16", f16), "b/brain": ("BF16", bf16), "bias": ("F32", f32[0])}
    head, at = {"__metadata__": {"by": "a test"}}, 0
    for name, (kind, array) in arrays.items():
        head[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(head).encode()
    with open("model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(array.tobytes() for _, array in arrays.values()))
    os.mkdir("tensors")
    python("safetensors", "model.safetensors", "tensors")
    check(sorted(os.listdir("tensors")) == ["a.rows.npy", "b_brain.npy", "half.npy"], f"tensors: {os.listdir('tensors')}")
    check(np.array_equal(np.load("tensors/a.rows.npy"), f32) and np.array_equal(np.load("tensors/half.npy"), f16), "other values")
    check(np.array_equal(np.load("tensors/b_brain.npy").view("<u4") >> 16, bf16.astype("<u4")), "bf16 is not what it was")
    os.remove("tensors/half.npy") # a heap is of one type
    ok("build", "tensors", "tensors.rt")


def tutorial():
    rng = np.random.default_rng(11)
    centres = rng.normal(size=(40, 20))
    rows = (centres[rng.integers(40, size=4000)] + 0.5 * rng.normal(size=(4000, 20))).astype("<f4")
    queries = (centres[rng.integers(40, size=60)] + 0.5 * rng.normal(size=(60, 20))).astype("<f4")
    unit = lambda a: a / np.linalg.norm(a, axis=1, keepdims=True)
    distances = 1 - unit(queries.astype(float)) @ unit(rows.astype(float)).T
    order = np.argsort(distances, axis=1)[:, :100]
    with h5py.File("glove.hdf5", "w") as file:
        file.attrs.update({"distance": "angular", "type": "dense", "dimension": 20, "point_type": "float"})
        file["train"], file["test"], file["neighbors"] = rows, queries, order
        file["distances"] = np.take_along_axis(distances, order, axis=1)
    recall = None
    for line in block("tutorial").splitlines():
        said = command(line).out
        found = re.search(r"^recall@10\s+([0-9.]+)", said, re.M)
        recall = float(found[1]) if found else recall
    check(recall is not None and recall > 0.9, f"recall of the tutorial: {recall}")
    check(json.load(open("glove.json"))["status"] == "done", "no report")
    if importlib.util.find_spec("faiss"):
        served = re.match(r"recall@10 ([0-9.]+)", python("serve"))
        check(served and abs(float(served[1]) - recall) < 0.02, f"FAISS serves recall {served and served[1]}, search had {recall}")


plans()
safetensors()
if "export" in run("--help", ranks=0).out:
    tutorial()
end()
