"""A damaged index: one broken file for each defect. verify ends with 1 and says where; info and search end with 0, 1 or 2 and
never crash."""
import json
import os
import re
import shutil
import sys

import numpy as np

from faults import all_gone, check, clustered, end, ok, run, write_bin

which = sys.argv[1]
rows = clustered(3000, 16, seed=4)
write_bin("rows.fbin", rows)
write_bin("other.fbin", rows[::-1] + 1)
write_bin("query.fbin", rows[:20])
ok("build", "rows.fbin", "good", "--lists", "4,30", ranks=2)
ok("build", "other.fbin", "other", "--lists", "4,30", ranks=2)
H5 = ("tree-1.h5", "frozen-1.h5", "vectors-1.h5")
n_cases = 0


def read(name, index="good"):
    with open(f"{index}/{name}", "rb") as f:
        return f.read()


def write(index, name, content):
    with open(f"{index}/{name}", "wb") as f:
        f.write(content)


def damaged(what, change, words=(), verify_code=1, searches=True, edits=()):
    """change(index) breaks a fresh copy; words must all be in what verify says."""
    global n_cases
    n_cases += 1
    index = f"broken{n_cases}"
    shutil.copytree("good", index)
    change(index)
    result = run("verify", index, "--full", ranks=2 if n_cases % 4 == 0 else 0)
    check(result.code == verify_code, f"{what}: verify: exit {result.code}: {result.out}{result.err}")
    check(len(result.message()) == (1 if verify_code else 0), f"{what}: verify: {result.err}")
    for word in words:
        check(word in result.out + result.err, f"{what}: verify does not say '{word}': {result.out}{result.err}")
    if os.environ.get("RANKTAPE_TEST_TALK"):
        print(f"{what}: {[line.strip() for line in result.out.splitlines() if 'amaged' in line][:1]} {result.message()}")
    calls = [("info", index, "--lists")]
    if searches:
        calls += [("search", index, "query.fbin", "--probes", 30, "--epsilon", "1e6")]
        calls += [("search", index, "--sample-truth", 5)] if n_cases % 3 == 0 else []
    calls += [(job, index, *arguments) for job, *arguments in edits]
    for call in calls:
        result = run(*call, ranks=2 if n_cases % 4 == 0 else 0)
        check(result.code in (0, 1, 2), f"{what}: {call[0]}: exit {result.code}: {result.err}")
        check(len(result.message()) == (0 if result.code == 0 else 1), f"{what}: {call[0]}: {result.err}")
    all_gone(what)
    shutil.rmtree(index)


def cut(name, n_bytes):
    return lambda index: os.truncate(f"{index}/{name}", n_bytes)


def flip(name, at, bit=0):
    def change(index):
        content = bytearray(read(name))
        content[at] ^= 1 << bit
        write(index, name, content)
    return change


def replace(name, old, new, count=1):
    def change(index):
        content = read(name)
        check(old in content, f"{name} holds no {old}")
        write(index, name, content.replace(old, new, count))
    return change


def ranges(name):
    """{dataset: (offset, bytes)} of a file, and of its checksums, as HDF5 tells them."""
    import h5py
    found = {}
    with h5py.File(f"good/{name}", "r") as f:
        def visit(path, item):
            if isinstance(item, h5py.Dataset) and item.id.get_offset() is not None:
                found[path] = (item.id.get_offset(), item.size * item.dtype.itemsize)
        f.visititems(visit)
    return found


if which == "files":
    for name in ("CURRENT", "manifest-1.json") + H5:
        size = len(read(name))
        for n_bytes in sorted({0, 7, size // 2, size - 1}):
            damaged(f"{name} cut to {n_bytes} bytes", cut(name, n_bytes), [name if name != "CURRENT" else "CURRENT"])
        damaged(f"{name} longer", lambda index, name=name: write(index, name, read(name) + b"\0" * 100), [name])
        missing = 2 if name == "CURRENT" else 1
        damaged(f"{name} missing", lambda index, name=name: os.remove(f"{index}/{name}"), [] if missing == 2 else [name],
                verify_code=missing)
        damaged(f"{name} of another index", lambda index, name=name: write(index, name, read(name, "other")),
                [name if name != "CURRENT" else "manifest-1.json"])
        damaged(f"{name} is a directory", lambda index, name=name: (os.remove(f"{index}/{name}"), os.mkdir(f"{index}/{name}")),
                [name])
        damaged(f"{name} is a pipe", lambda index, name=name: (os.remove(f"{index}/{name}"), os.mkfifo(f"{index}/{name}")),
                [name])
    for name in H5:
        other = H5[(H5.index(name) + 1) % len(H5)]
        damaged(f"{name} is {other}", lambda index, name=name, other=other: write(index, name, read(other)), [name])
    damaged("all files of another index, but CURRENT and manifest",
            lambda index: [write(index, name, read(name, "other")) for name in H5], ["-1.h5"])
elif which == "bits":
    seed = int(os.environ.get("RANKTAPE_TEST_SEED", "1"))
    print(f"seed {seed}")
    draw = np.random.default_rng(seed)
    for name in ("CURRENT", "manifest-1.json"):
        for at in draw.integers(0, len(read(name)), 6):
            damaged(f"{name}, bit at {at}", flip(name, at, int(draw.integers(0, 8))), [name])
    for name in H5:
        size = len(read(name))
        known = ranges(name)
        covered = np.zeros(size, bool)
        for path, (offset, n_bytes) in known.items():
            covered[offset:offset + n_bytes] = True
            places = {n_bytes // 2} if path.endswith(".xxh3") else {0, n_bytes // 2, n_bytes - 1}
            for at in sorted(places) if n_bytes else ():
                damaged(f"{name}, {path} byte {at}", flip(name, offset + at, int(draw.integers(0, 8))), [name],
                        searches=at == n_bytes // 2 and not path.endswith(".xxh3"))
        outside = np.flatnonzero(~covered)
        for at in [0, 40] + [int(x) for x in draw.choice(outside, 2)]:
            damaged(f"{name}, structure byte {at}", flip(name, at, int(draw.integers(0, 8))), [name], searches=at == 40)
elif which == "copied":
    # what a job takes over from older files is held to their checksums: damage is not given new ones
    def ids(name, values):
        np.array(values, "<u8").tofile(name)
        return name

    write_bin("more.fbin", rows[:200] + 1)
    write_bin("pair.fbin", rows[:20] + 2)
    write_bin("last.fbin", rows[:30] + 3)
    ok("delete", "good", "--ids", ids("dead.u64", np.arange(0, 3000, 3)), ranks=1)
    ok("vacuum", "good", "--dead-fraction", 0, ranks=1)  # vectors without the dead: bitmaps
    ok("insert", "good", "pair.fbin", "--ids", ids("pair.u64", 5000 + np.arange(20) * 7 % 20), ranks=1)
    ok("delete", "good", "--ids", ids("late.u64", [1, 5003]), ranks=1)
    insert, vacuum = ("insert", "last.fbin"), ("vacuum", "--dead-fraction", 0)
    delete, frozen = ("delete", "--ids", ids("one.u64", [5005])), ("delete", "--ids", ids("two.u64", np.arange(2, 3000, 3)))
    keep = ("delete", "--keep", ids("keep.u64", np.arange(100)))
    again = ("insert", "last.fbin", "--ids", ids("again.u64", [2, *range(9000, 9029)]))  # id 2 is there, in slot 1
    first, second = 0, 8
    for name, dataset, at, jobs in (
            ("appendable-4.h5", "lists", None, (insert, vacuum)), ("appendable-4.h5", "ids", None, (insert, vacuum)),
            ("appendable-4.h5", "codes", None, (insert, vacuum, delete)), ("appendable-4.h5", "factors", None, (insert, vacuum, delete)),
            ("appendable-4.h5", "places", None, (insert, vacuum)), ("vectors-4.h5", "vectors", None, (insert,)),
            ("vectors-4.h5", "ids", None, (insert, keep)), ("vectors-4.h5", "lists", None, (insert, delete)),
            ("vectors-4.h5", "sorted", None, (delete,)), ("vectors-3.h5", "kept", None, (vacuum,)),
            ("vectors-3.h5", "ids", None, (vacuum, keep)), ("vectors-3.h5", "ids", first, (("vacuum",),)),
            ("vectors-3.h5", "ids", second, (again, frozen)), ("vectors-3.h5", "lists", None, (frozen,)),
            ("frozen-3.h5", "codes", None, (frozen,)), ("frozen-3.h5", "factors", None, (frozen,)),
            ("tombstones-5.h5", "tombstones", None, (insert, delete, vacuum, keep))):
        offset, n_bytes = ranges(name)[dataset]
        for job, *arguments in jobs:
            shutil.copytree("good", "broken")
            flip(name, offset + (n_bytes // 2 if at is None else at))("broken")
            result = run(job, "broken", *arguments, ranks=2)
            what = f"{job} {arguments} of a damaged {name}, {dataset}, {at}"
            check(result.code == 1 and len(result.message()) == 1 and name in result.message()[0],
                  f"{what}: exit {result.code}: {result.out}{result.err}")
            check(read("CURRENT", "broken") == read("CURRENT"), f"{what}: published")
            shutil.rmtree("broken")
elif which == "lies":
    # files that were changed by somebody who can compute checksums: every value is still checked before use
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from forge import forge, forge_manifest
    for what, name, path, value in (
            ("parents out of range", "tree-1.h5", "parents_1", 2**32 - 1), ("a parent beyond its level", "tree-1.h5", "parents_1", 4),
            ("children", "tree-1.h5", "first_child_0", 2**31), ("centroids that are no numbers", "tree-1.h5", "centroids_1", np.nan),
            ("other centroids", "tree-1.h5", "centroids_0", 1.0),
            ("rows of a list", "frozen-1.h5", "list_rows", 2**63), ("rows of a list, too many", "frozen-1.h5", "list_rows", 10**6),
            ("rows of a list, too few", "frozen-1.h5", "list_rows", 0), ("first block", "frozen-1.h5", "list_first_block", 2**40),
            ("one block for two lists", "frozen-1.h5", "list_first_block", 1), ("no such file", "frozen-1.h5", "list_file", 77),
            ("ids twice", "frozen-1.h5", "ids", 5), ("no id", "frozen-1.h5", "ids", 2**64 - 1),
            ("factors that are no numbers", "frozen-1.h5", "factors", np.nan), ("infinite factors", "frozen-1.h5", "factors", np.inf),
            ("codes", "frozen-1.h5", "codes", 255), ("places", "frozen-1.h5", "places", 2**32 - 1),
            ("tapes", "vectors-1.h5", "tapes", 2**40), ("segments", "vectors-1.h5", "segments", 2**40),
            ("ids of slots", "vectors-1.h5", "ids", 1), ("lists of slots", "vectors-1.h5", "lists", 4 * 10**9),
            ("vectors that are no numbers", "vectors-1.h5", "vectors", np.nan), ("other vectors", "vectors-1.h5", "vectors", 3.5)):
        for everywhere in (False, True):
            damaged(f"{what}, {'all' if everywhere else 'one'}",
                    lambda index, name=name, path=path, value=value, everywhere=everywhere:
                    forge(index, name, path, value, everywhere), ["broken"])
    manifest = json.loads(read("manifest-1.json"))

    def leaves(value, path=()):
        if isinstance(value, dict):
            for key, inner in value.items():
                yield path + (key,), inner
                if path[:1] not in (("options",), ("build",)) and key not in ("options", "build", "history"):
                    yield from leaves(inner, path + (key,))
        elif isinstance(value, list):
            for number, inner in enumerate(value[:2]):
                yield path + (number,), inner
                yield from leaves(inner, path + (number,))

    seed = int(os.environ.get("RANKTAPE_TEST_SEED", "1"))
    print(f"seed {seed}")
    draw = np.random.default_rng(seed)
    for path, value in leaves(manifest):
        hurts = [None, -1, 2**31, "x" * 300, [], {}] if isinstance(value, (int, float)) else ["", "zz", 7, None, {}]
        hurt = hurts[int(draw.integers(0, len(hurts)))]
        index = f"manifest{'.'.join(map(str, path))}"
        shutil.copytree("good", index)
        forge_manifest(index, path, hurt)
        for call in (("verify", index, "--full"), ("info", index), ("search", index, "query.fbin")):
            result = run(*call, ranks=0)
            check(result.code in (0, 1, 2), f"{index} = {hurt!r}: {call[0]}: exit {result.code}: {result.err[:500]}")
            check(len(result.message()) == (0 if result.code == 0 else 1), f"{index} = {hurt!r}: {call[0]}: {result.err[:500]}")
        shutil.rmtree(index)
elif which == "lived":
    # the same of what an index that lives has besides: tombstones, sorted ids, bitmaps of kept slots, records
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from forge import read_manifest, rewrite

    def ids(name, values):
        np.array(values, "<u8").tofile(name)
        return name

    write_bin("more.fbin", rows[:200] + 1)
    shutil.rmtree("good")
    ok("build", "rows.fbin", "good", "--lists", "4,30", ranks=2)
    ok("insert", "good", "more.fbin", "--ids", ids("new.u64", 10**6 - np.arange(200) * 7 % 200), ranks=2)
    ok("delete", "good", "--ids", ids("dead.u64", np.arange(0, 3000, 3)), ranks=1)
    ok("vacuum", "good", "--dead-fraction", 0, ranks=2)  # vectors without the dead: bitmaps
    write_bin("last.fbin", rows[:150] + 2)
    ok("insert", "good", "last.fbin", "--ids", ids("last.u64", 10**7 + np.arange(150) * 7 % 150), ranks=2)
    ok("delete", "good", "--ids", ids("late.u64", np.arange(1, 1000, 3)), ranks=1)
    ok("verify", "good", "--full", ranks=2)
    newest = {}
    for entry in read_manifest("good")["files"]:
        newest[entry["kind"]] = entry["name"]
    with_kept = next(e["name"] for e in read_manifest("good")["files"] if e["kind"] == "vectors" and "kept" in ranges(e["name"]))

    edits = (("delete", "--ids", ids("one.u64", [2, 10**6, 10**7])), ("insert", "query.fbin", "--replace"), ("vacuum", "--full"))

    def swap(values):
        values[[5, 6]] = values[[6, 5]]

    def twice(values):
        values[6, 0] = values[5, 0]

    def set_to(place, value):
        def change(values):
            values[place] = np.array(value).astype(values.dtype)
        return change

    def add(place, value):
        def change(values):
            values[place] += np.array(value).astype(values.dtype)
        return change

    for what, name, dataset, change in (
            ("tombstones out of order", newest["tombstones"], "tombstones", swap),
            ("a tombstone twice", newest["tombstones"], "tombstones", twice),
            ("a tombstone of a generation to come", newest["tombstones"], "tombstones", set_to((7, 1), 99)),
            ("a tombstone of no generation", newest["tombstones"], "tombstones", set_to((7, 1), 0)),
            ("a tombstone for a living row", newest["tombstones"], "tombstones", add((7, 0), 1)),
            ("sorted ids out of order", newest["vectors"], "sorted", swap),
            ("a sorted id that names another's slot", newest["vectors"], "sorted", add((9, 1), 1)),
            ("a sorted id that names no slot", newest["vectors"], "sorted", set_to((9, 1), 2**63)),
            ("a sorted id that no slot has", newest["vectors"], "sorted", set_to((149, 0), 10**8)),
            ("a sorted id that is missing", newest["vectors"], "sorted", set_to(149, 2**64 - 1)),
            ("kept slots before, too many", with_kept, "kept", add((3, 1), 1)),
            ("kept slots before, far too many", with_kept, "kept", set_to((3, 1), 2**63)),
            ("a slot that is not kept", with_kept, "kept", add((3, 0), 1)),
            ("kept words elsewhere", with_kept, "segments", set_to((0, 4), 10**9)),
            ("a segment of another age", with_kept, "segments", set_to((0, 5), 99)),
            ("a record of another list", newest["appendable"], "lists", add(0, 1)),
            ("a record of no list", newest["appendable"], "lists", set_to(0, 10**6)),
            ("a record of another id", newest["appendable"], "ids", add(11, 10**6)),
            ("a record's place", newest["appendable"], "places", set_to((11, 1), 2**32 - 1)),
            ("chunks beyond the records", newest["appendable"], "chunks", set_to((0, 1), 2**40))):
        damaged(what, lambda index, name=name, dataset=dataset, change=change: rewrite(index, name, dataset, change), ["broken"],
                edits=edits)
end()
