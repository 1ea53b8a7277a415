"""Exports for FAISS: what FAISS (where it is installed) finds in them, and what their bytes say (where it cannot read them)."""
import os
import sys

import h5py
import numpy as np

from faiss_files import FaissFile
from ranktape_cli import check, clustered, end, ok, run, write_bin

try:
    import faiss
except ImportError:
    faiss = None

sys.path.insert(0, os.path.join(os.environ["SOURCE_DIR"], "tests", "format"))
import read_index  # noqa: E402

N, K = 3000, 10


def export(index, name, *options, ranks=0):
    ok("export", index, name, "--format", "faiss", *options, ranks=ranks)
    return name


def exports_alike(index, name, *options):
    """The same file on one rank and on three."""
    export(index, name, *options, "--verify-writes")
    export(index, name + "3", *options, ranks=3)
    check(open(name, "rb").read() == open(name + "3", "rb").read(), f"{name}: other bytes on three ranks")
    return name


def searched(index, queries):
    """Our neighbours at the default probes, no bound narrowing them."""
    ok("search", index, queries, "--k", K, "--epsilon", "1e6", "--out", "found.h5", ranks=0)
    with h5py.File("found.h5") as f:
        return f["neighbors"][:]


def same_answers(index, path, queries, rows, suffix="fbin", least=0.995):
    """FAISS finds what we find, at the probes the file names; and writes the file back as it was."""
    found = faiss.read_index(path)
    faiss.write_index(found, "back")
    check(open("back", "rb").read() == open(path, "rb").read(), f"{path}: FAISS writes other bytes")
    ours = searched(index, write_bin(f"queries.{suffix}", queries))
    _, theirs = found.search(queries.astype(np.float32), K)
    common = np.mean([len(set(a) & set(b)) / K for a, b in zip(ours.tolist(), theirs.tolist())])
    check(common >= least, f"{path}: FAISS finds {common:.4f} of what we find")
    check(found.ntotal == rows, f"{path}: {found.ntotal} rows of {rows}")


def answers():
    """flat, fp16 and u8 for every metric, with and without refine, custom ids: what FAISS 1.7 opens."""
    if not faiss:
        print("python3-faiss is not installed")
        sys.exit(77)
    rows, queries = clustered(N, 20, seed=1), clustered(50, 20, seed=1)
    write_bin("rows.fbin", rows)
    ids = np.random.default_rng(5).permutation(N).astype("<u8") * 7 + 2**40
    ids.tofile("ids.u64")
    for metric, more in (("l2", ()), ("ip", ()), ("ip", ("--spherical", "off")), ("cosine", ())):
        index = f"{metric}{len(more)}.rt"
        ok("build", "rows.fbin", index, "--metric", metric, "--lists", "40", "--ids", "ids.u64", *more, ranks=0)
        for kind, refine in (("flat", "off"), ("fp16", "on"), ("fp16", "off")):
            # halves reorder what is nearly as near
            least = 0.97 if kind == "fp16" and refine == "off" else 0.99
            name = exports_alike(index, f"{index}-{kind}-{refine}", "--faiss", kind, "--refine", refine) \
                if metric == "cosine" else export(index, f"{index}-{kind}-{refine}", "--faiss", kind, "--refine", refine)
            same_answers(index, name, queries, N, least=least)
            FaissFile(name)
    whole = np.rint((rows - rows.min()) / (rows.max() - rows.min()) * 255).astype(np.uint8)
    write_bin("rows.u8bin", whole)
    for metric in ("l2", "ip"):
        ok("build", "rows.u8bin", f"u8-{metric}.rt", "--metric", metric, "--lists", "40", ranks=0)
        for refine in ("off", "on"):
            name = exports_alike(f"u8-{metric}.rt", f"u8-{metric}-{refine}", "--faiss", "u8", "--refine", refine)
            same_answers(f"u8-{metric}.rt", name, whole[:50], N, "u8bin", least=0.98)  # whole numbers tie


def live_ids(index):
    f = FaissFile(export(index, "live", "--force"))
    return sorted(row for _, _, row, _, _ in f.rows()), f


def lives():
    """Rows inserted and not yet folded, deleted ones, after a vacuum, with vectors in the heap: the live rows, all, once."""
    rows = clustered(N, 20, seed=1)
    write_bin("rows.fbin", rows[:2000])
    write_bin("more.fbin", rows[2000:])
    ok("build", "rows.fbin", "a.rt", "--lists", "6,30", ranks=0)
    ok("insert", "a.rt", "more.fbin", ranks=2)
    np.arange(0, N, 3, dtype="<u8").tofile("dead.u64")
    ok("delete", "a.rt", "--ids", "dead.u64", ranks=0)
    left = [i for i in range(N) if i % 3]
    for state in ("with tombstones", "after a vacuum"):
        ids, f = live_ids("a.rt")
        check(ids == left, f"{state}: other rows than live ones")
        for _, _, row, of_list, i in f.rows():
            if not (of_list["vectors"][i] == rows[row]).all():
                check(False, f"{state}: row {row} has another vector")
                break
        exports_alike("a.rt", f"a-{state[:4]}", "--faiss", "rabitq")
        exports_alike("a.rt", f"b-{state[:4]}", "--faiss", "rabitq-fastscan", "--refine", "off")
        if state == "with tombstones":
            ok("vacuum", "a.rt", "--full", ranks=0)
    first, second = (open(f"a-{state}", "rb").read() for state in ("with", "afte"))
    check(first == second, "a vacuum changes what is exported")
    if faiss:
        same_answers("a.rt", export("a.rt", "flat"), clustered(50, 20, seed=1), len(left), least=0.95)  # no beam there
    ok("build", "rows.fbin", "heap.rt", "--lists", "30", "--rerank-in-heap", ranks=0)
    ok("build", "rows.fbin", "own.rt", "--lists", "30", ranks=0)
    for kind in ("flat", "rabitq"):
        export("heap.rt", f"heap-{kind}", "--faiss", kind)
        export("own.rt", f"own-{kind}", "--faiss", kind)
        check(open(f"heap-{kind}", "rb").read() == open(f"own-{kind}", "rb").read(), f"{kind}: other bytes from the heap")


def records(index):
    """Code bits and factors of every row of a build, by id, by docs/format.md."""
    bits, factors, lists = {}, {}, {}
    with h5py.File(f"{index}/frozen-1.h5") as f:
        dim = int(f.attrs["dimension"])
        first, sizes = f["list_first_block"][:], f["list_rows"][:]
        codes, factor, ids = f["codes"][:], f["factors"][:], f["ids"][:]
    for number, size in enumerate(sizes):
        for i in range(int(size)):
            block, r = int(first[number]) + i // 32, i % 32
            if r == 0:
                unpacked = read_index.unpack(codes[block], dim)
            row = int(ids[block][r])
            bits[row] = np.unpackbits(np.asarray(unpacked[r], np.uint8), bitorder="little")[:dim]
            factors[row], lists[row] = factor[block][:, r], number
    return bits, factors, lists


def codes():
    """1-bit codes: equal to those an encoder in numpy makes, estimates equal to ours, blocks equal to plain lists."""
    for dim, metric, residual in ((20, "l2", "on"), (37, "ip", "on"), (64, "cosine", "on"), (37, "l2", "off"), (20, "ip", "off")):
        name = f"{metric}-{dim}-{residual}"
        rows = clustered(N + 20, dim, seed=2)
        rows, queries = rows[:N], rows[N:]
        write_bin("rows.fbin", rows)
        ok("build", "rows.fbin", f"{name}.rt", "--metric", metric, "--lists", "24", "--residual", residual, ranks=0)
        plain = FaissFile(export(f"{name}.rt", name, "--faiss", "rabitq"))
        blocked = FaissFile(export(f"{name}.rt", f"{name}-fast", "--faiss", "rabitq-fastscan", "--refine", "off"))
        bare = FaissFile(export(f"{name}.rt", f"{name}-bare", "--faiss", "rabitq", "--refine", "off"))
        check(plain.n == N and plain.normalizes == (metric == "cosine") and plain.k_factor > 1, f"{name}: {plain.names}")
        same_codes(name, plain, blocked, bare)
        exact = rows.astype(np.float64)
        if metric == "cosine":
            exact /= np.linalg.norm(exact, axis=1)[:, None]
        encoder_agrees(name, plain, exact, metric, f"{name}.rt" if residual == "on" else None, queries)
        finds(name, plain, exact, queries, metric)


def same_codes(name, plain, blocked, bare):
    for number, (a, b, c) in enumerate(zip(plain.lists, blocked.lists, bare.lists)):
        ids = plain.ids[a["ids"]]
        check((ids == b["ids"]).all() and (ids == c["ids"]).all(), f"{name}: other ids in list {number}")
        for key in ("bits", "f0", "f1"):
            check((a[key] == b[key]).all() and (a[key] == c[key]).all(), f"{name}: other {key} in list {number}")


def encoder_agrees(name, f, exact, metric, index, queries):
    rotation, dim = f.rotation.astype(np.float64), f.dim
    check(np.abs(rotation @ rotation.T - np.eye(dim)).max() < 1e-5, f"{name}: the rotation is not orthogonal")
    rotated = exact @ rotation.T
    q = queries.astype(np.float64)
    if metric == "cosine":
        q /= np.linalg.norm(q, axis=1)[:, None]
    q = q @ rotation.T
    ours = records(index) if index else None
    worst = {"f0": 0.0, "f1": 0.0, "refine": 0.0, "estimate": 0.0}
    wrong_bits = 0
    for number, position, row, of_list, i in f.rows():
        c = f.centroids[number].astype(np.float64)
        u = rotated[row] - c
        sure = np.abs(u) > 1e-5 * (1 + np.abs(rotated[row]))
        wrong_bits += int((of_list["bits"][i] != (u > 0))[sure].sum())
        norm2, scale = (u * u).sum(), (exact[row] ** 2).sum() + (c * c).sum()
        f0 = norm2 if metric == "l2" else norm2 - (exact[row] ** 2).sum()
        f1 = norm2 * np.sqrt(dim) / np.abs(u).sum()
        worst["f0"] = max(worst["f0"], abs(of_list["f0"][i] - f0) / scale)
        worst["f1"] = max(worst["f1"], abs(of_list["f1"][i] - f1) / np.sqrt(scale))
        worst["refine"] = max(worst["refine"], np.abs(f.refine[position] - exact[row]).max())
        if ours and row % 7 == 0:
            theirs = estimates(f, of_list, i, q, c, metric)
            mine = our_estimates(ours, row, q, c, metric)
            check(ours[2][row] == number, f"{name}: row {row} in list {number}")
            worst["estimate"] = max(worst["estimate"], np.abs(theirs - mine).max() / scale)
    check(wrong_bits == 0, f"{name}: {wrong_bits} bits differ")
    check(all(value < 1e-5 for value in worst.values()), f"{name}: {worst}")


def estimates(f, of_list, i, q, c, metric):
    """FAISS's, of one row for every query; squared distance, or inner product negated."""
    v = q - c
    signs = of_list["bits"][i] * 2.0 - 1
    pre = of_list["f0"][i] + (v * v).sum(1) - 2 * of_list["f1"][i] * (v @ signs) / np.sqrt(f.dim)
    return pre if metric == "l2" else (pre - (q * q).sum(1)) / 2


def our_estimates(ours, row, q, c, metric):
    """docs/rabitq.md: rough, without its bound. Cosine is measured as l2 on unit rows."""
    bits, factors, _ = ours
    v = q - c
    estimate = v @ (bits[row] * 2.0 - 1) * factors[row][1]
    if metric == "ip":
        return -(q @ c) - estimate + factors[row][3]
    rough = factors[row][0] + (v * v).sum(1) - 2 * estimate
    return rough if metric == "l2" else rough / 2 - 1


def finds(name, f, exact, queries, metric):
    """Refined, the codes find the true neighbours, as FAISS would search them over all lists."""
    q = queries.astype(np.float64)
    if metric == "cosine":
        q /= np.linalg.norm(q, axis=1)[:, None]
    rotated = q @ f.rotation.T.astype(np.float64)
    table = [(estimates(f, of_list, i, rotated, f.centroids[number], metric), row) for number, _, row, of_list, i in f.rows()]
    estimate, order = np.array([e for e, _ in table]), np.array([row for _, row in table])
    recall = 0.0
    for at, query in enumerate(q):
        truth = ((exact - query) ** 2).sum(1) if metric == "l2" else -(exact @ query)
        near = order[np.argsort(estimate[:, at])[:int(K * f.k_factor)]]
        near = near[np.argsort(truth[near])[:K]]
        recall += len(set(near.tolist()) & set(np.argsort(truth)[:K].tolist())) / K / len(q)
    check(recall > 0.85, f"{name}: recall {recall:.3f} over all lists")


def calls():
    """What FAISS cannot hold is refused by name, and nothing is left behind."""
    rows = clustered(500, 8, seed=1)
    write_bin("rows.fbin", rows)
    write_bin("large.fbin", rows * np.float32(1e5))
    np.arange(2**63 - 100, 2**63 + 400, dtype="<u8").tofile("ids.u64")
    ok("build", "rows.fbin", "ids.rt", "--lists", "4", "--ids", "ids.u64", ranks=0)
    ok("build", "large.fbin", "large.rt", "--lists", "4", ranks=0)
    write_bin("rows.u8bin", np.abs(rows * 50).astype(np.uint8) + np.uint8(1))
    ok("build", "rows.u8bin", "cosine.rt", "--lists", "4", "--metric", "cosine", ranks=0)
    left = sorted(os.listdir("."))
    for arguments, text in ((("large.rt", "--faiss", "fp16"), "fp16 ends at 65504"), (("large.rt", "--faiss", "u8"), "these are f32"),
                            (("cosine.rt", "--faiss", "u8"), "scaled to length 1"),
                            (("ids.rt",), "is over 2^63-1"), (("large.rt", "--faiss", "pq"), "flat|fp16|u8|rabitq|rabitq-fastscan")):
        result = run("export", arguments[0], "new", "--format", "faiss", *arguments[1:], ranks=2 if "ids.rt" in arguments else 0)
        check(result.code == 2 and len(result.message()) == 1 and text in result.message()[0],
              f"{arguments}: {result.code}, {result.message()}")
        check(sorted(os.listdir(".")) == left, f"{arguments}: left behind {sorted(os.listdir('.'))}")
    export("large.rt", "flat")
    # damage of what is copied is noticed, not handed on
    name = next(n for n in os.listdir("large.rt") if n.startswith("vectors"))
    with h5py.File(f"large.rt/{name}") as f:
        offset = f["vectors"].id.get_offset()
    with open(f"large.rt/{name}", "r+b") as f:
        f.seek(offset + 100)
        f.write(b"\x55\x55\x55\x55")
    result = run("export", "large.rt", "new", "--format", "faiss", ranks=2)
    check(result.code == 1 and "damaged" in "".join(result.message()), f"damage: {result.code}, {result.err}")
    check(not os.path.exists("new") and not os.path.exists(".partial-new"), "a damaged index is exported")


{"answers": answers, "lives": lives, "codes": codes, "calls": calls}[sys.argv[1]]()
end()
