"""Data that hurts must succeed: verify --full is clean, and search over all lists with every vector measured equals brute
force."""
import os
import sys

import numpy as np

from ranktape_cli import check, clustered, digest, end, ok, read_ibin, same_neighbours, write_bin

rng = np.random.default_rng(7)
n_cases = 0


def case(name, rows, *options, metric="l2", k=5, queries=None, ranks=2, tolerance=1e-5):
    global n_cases
    n_cases += 1
    index, source, asked, found = (f"{n_cases}.{x}" for x in ("index", "fbin", "query.fbin", "found.ibin"))
    rows = np.atleast_2d(rows).astype(np.float32)
    if queries is None:
        picked = rows[rng.integers(0, len(rows), 5)]
        queries = picked + 0.1 * np.abs(picked).mean() * rng.standard_normal(picked.shape)
    queries = np.atleast_2d(queries).astype(np.float32)
    write_bin(source, rows)
    write_bin(asked, queries)
    built = ok("build", source, index, "--metric", metric, *options, ranks=ranks)
    ok("verify", index, "--full", ranks=ranks)
    info = ok("info", index, "--json", ranks=0).json()
    check(info["rows"] == len(rows), f"{name}: {info['rows']} rows of {len(rows)}")
    lists = info["lists"]
    for epsilon in ("1.9", "1e6"):
        ok("search", index, asked, "--k", k, "--probes", lists, "--epsilon", epsilon, "--out", found, ranks=ranks)
        ids = read_ibin(found)
        check(ids.shape == (len(queries), k), f"{name}: {ids.shape}")
        check((ids[:, :min(k, len(rows))] >= 0).all() and (ids[:, len(rows):] == -1).all(), f"{name}: missing places")
        if epsilon == "1e6":
            difference = same_neighbours(rows, queries, ids, metric, min(k, len(rows)), tolerance)
            check(difference is None, f"{name} ({metric}): {difference}")
    return index, built


which = sys.argv[1]
if which == "shapes":
    case("one row", clustered(1, 16), ranks=3)
    case("k over the rows", clustered(3, 16), "--lists", "1", k=10)
    index, built = case("fewer rows than lists", clustered(10, 16), "--lists", "50")
    check(len(built.warnings()) == 1, f"leaves cut: warnings {built.warnings()}")
    case("more ranks than rows", clustered(2, 8), "--lists", "1", ranks=4)
    for dim in (1, 2, 3, 127, 960, 2000, 4097):
        for metric in ("l2", "ip"):
            case(f"dimension {dim}", clustered(300, dim), "--lists", "4", metric=metric)
elif which == "values":
    base = clustered(2000, 32, seed=2)
    same_rows = np.repeat(base[:1], 500, axis=0)
    for metric in ("l2", "ip", "cosine"):
        case("identical rows", same_rows, "--lists", "8", metric=metric)
    zeros = base.copy()
    zeros[::7] = 0
    for metric in ("l2", "ip"):
        case("zero rows", zeros, "--lists", "3,12", metric=metric)
        case("all rows zero", np.zeros((200, 16)), "--lists", "4", metric=metric, queries=np.ones((2, 16)))
    for metric in ("l2", "cosine"):
        case("offset by 1e4", base + 1e4, "--lists", "3,12", metric=metric, tolerance=1e-4)
    huge = base.copy()
    huge[1234] = 1e17
    case("one row of 1e17", huge, "--lists", "16", queries=base[:5] + 0.1)
    scales = (base * 10.0 ** rng.uniform(-6, 6, (2000, 1)))
    for metric in ("l2", "ip", "cosine"):
        case("magnitudes 1e-6 to 1e6", scales, "--lists", "3,12", metric=metric)
    ordered = base[np.argsort(base[:, 0])]
    case("sorted rows", ordered, "--lists", "4,30")
    far = np.random.default_rng(1).standard_normal((40000, 8))
    far[::2000] += 50
    os.environ["MALLOC_PERTURB_"] = "165"  # no row may be without a leaf: what is not written is no list's number
    case("a few rows far from all others", far, "--lists", "150", "--training", "hierarchical")
    del os.environ["MALLOC_PERTURB_"]
    half = np.concatenate([base[:1000], np.repeat(base[:1], 1000, axis=0) + 1e-4 * rng.standard_normal((1000, 32))])
    case("half of all rows in one list", half, "--lists", "4,30")
    signed = base.copy()
    signed[:, ::3] = -0.0
    case("negative zeros", signed, "--lists", "12")
    case("denormals", base * 1e-40, "--lists", "8", metric="ip")
elif which == "rows":
    # digests of the same hurt data on other numbers of ranks (K2)
    base = clustered(2000, 32, seed=2)
    huge = base.copy()
    huge[77] = 1e17
    sets = {"offset": base + 1e4, "huge": huge, "mixed": base * 10.0 ** rng.uniform(-6, 6, (2000, 1)),
            "same": np.repeat(base[:1], 500, axis=0), "dim1": base[:, :1], "dim4097": clustered(300, 4097)}
    for name, rows in sets.items():
        write_bin(f"{name}.fbin", rows.astype(np.float32))
        digests = set()
        for ranks in (1, 2, 3, 7):
            ok("build", f"{name}.fbin", f"{name}.{ranks}", "--lists", "3,12", ranks=ranks)
            digests.add(digest(f"{name}.{ranks}"))
        check(len(digests) == 1, f"{name}: {digests}")
end()
