"""A reader of an exported file written from docs/format.md alone: checksums, rules, and the hashes computed again.

check_export.py OUT.h5; or check_export.read(path), which gives attributes, {id: (list, vector)} and the record."""
import json
import sys

import h5py
import numpy as np

from read_index import ELEMENTS, METRICS, check, hash64, hash128, hash_tree, hex128, row_hash, u64



def check_sums(f):
    names = [name for name in f if not name.endswith(".xxh3")]
    check(len(f) == 2 * len(names), "each dataset has its checksums")
    for name in names:
        data, sums = f[name][()], f[name + ".xxh3"]
        unit = int(sums.attrs["unit_rows"])
        check(f[name].chunks is None and len(sums) == -(-len(data) // unit), f"{name}: layout")
        for i in range(len(sums)):
            piece = np.ascontiguousarray(data[i * unit:(i + 1) * unit]).tobytes()
            check(hash64(piece) == int(sums[i]), f"{name}: unit {i}")
    return set(names)


def check_tree(f, a):
    levels = [a[f"level_{i}"] for i in range(a["levels"])]
    tree = {name: f[name][()] for name in f if name.startswith(("centroids_", "parents_"))}
    for level, n in enumerate(levels):
        check(tree[f"centroids_{level}"].shape == (n, a["dimension"]), "centroids")
        check(np.isfinite(tree[f"centroids_{level}"]).all(), "centroids are finite")
        if level:
            parents = tree[f"parents_{level}"].astype("i8")
            check((np.diff(parents) >= 0).all() and parents.max() < levels[level - 1], "parents")
    kind = [METRICS[a["metric"]], a["residual"], a["dimension"]]
    rotation = [a["rotation_seed"], a["rotation_version"], a["levels"]]
    check(hex128(hash_tree(kind + [ELEMENTS[a["element"]][1]] + rotation, tree, a["levels"])) == a["fingerprint"], "fingerprint")
    check(hex128(hash_tree([1] + kind + rotation, tree, a["levels"])) == a["tree_hash"], "tree hash")
    return levels[-1]


def read(path):
    with h5py.File(path) as f:
        a = {k: v.decode() if isinstance(v, bytes) else int(v) for k, v in f.attrs.items()}
        check(a["format"] == "ranktape export" and a["format_version"] == 1, "format")
        names = check_sums(f)
        n_lists, n, dim = check_tree(f, a), a["rows"], a["dimension"]
        trees = {f"{stem}_{i}" for i in range(a["levels"]) for stem in ("centroids", "parents") if stem == "centroids" or i}
        check(names == trees | {"leaf_rows", "leaf_radius", "leaf_spread", "list_offsets", "ids", "lists", "codes", "factors",
                                "vectors", "record"}, f"datasets {sorted(names)}")
        ids, lists, codes, factors, vectors = (f[x][()] for x in ("ids", "lists", "codes", "factors", "vectors"))
        offsets, record = f["list_offsets"][()].astype("i8"), f["record"][()].tobytes()
    check(all(len(x) == n for x in (ids, lists, codes, factors, vectors)), "rows")
    check(len(offsets) == n_lists + 1 and offsets[0] == 0 and offsets[-1] == n and (np.diff(offsets) >= 0).all(), "offsets")
    check((np.repeat(np.arange(n_lists), np.diff(offsets)) == lists).all(), "lists")
    check((np.lexsort((ids, lists)) == np.arange(n)).all() and len(set(ids.tolist())) == n, "order by (list, id)")
    check(codes.shape == (n, (dim + 7) // 8) and factors.shape == (n, 4 if a["metric"] == "ip" else 3), "shapes")
    check(vectors.dtype == np.dtype(ELEMENTS[a["element"]][0]) and vectors.shape == (n, dim), "vectors")
    rows_hash = sum(row_hash(*row) for row in zip(lists, ids, codes, factors)) % 2**128
    check(hex128(rows_hash) == a["rows_hash"], "rows hash")
    mask, tree_hash = 2**64 - 1, int(a["tree_hash"], 16)
    check(hex128(hash128(u64(tree_hash & mask, tree_hash >> 64, rows_hash & mask, rows_hash >> 64))) == a["digest"], "digest")
    check(len(record) == a["record_bytes"], "record")
    return a, {int(i): (int(l), v) for i, l, v in zip(ids, lists, vectors)}, json.loads(record)


if __name__ == "__main__":
    attributes, rows, _ = read(sys.argv[1])
    print(f"{sys.argv[1]}: {len(rows)} rows, digest {attributes['digest']}")
