"""Reads what `ranktape export INDEX OUT.h5 --format hdf5` writes, with h5py alone: docs/format.md, "The exported file".

read_export.py OUT.h5 [ID ...]   what it holds, and of each ID its list, the cells above it, its code and its vector"""
import sys

import h5py
import numpy as np

with h5py.File(sys.argv[1]) as f:
    about = {name: value.decode() if isinstance(value, bytes) else int(value) for name, value in f.attrs.items()}
    n_levels, dim = about["levels"], about["dimension"]
    n_lists = about[f"level_{n_levels - 1}"]
    print(f"{about['rows']} rows of {dim} {about['element']}, {about['metric']}, in {n_lists} lists; digest {about['digest']}")
    offsets = f["list_offsets"][:]  # list l holds rows offsets[l] to offsets[l + 1] - 1, ascending by id
    print(f"rows of a list: {np.diff(offsets).min()} to {np.diff(offsets).max()}")
    ids = f["ids"][:]
    for wanted in sys.argv[2:]:
        found = np.flatnonzero(ids == np.uint64(wanted))
        if len(found) == 0:
            sys.exit(f"no row has the id {wanted}")
        row = int(found[0])
        path = [int(f["lists"][row])]
        for level in range(n_levels - 1, 0, -1):  # from the leaf up; levels are numbered from the coarsest
            path.insert(0, int(f[f"parents_{level}"][path[0]]))
        code = np.unpackbits(f["codes"][row], bitorder="little")[:dim]  # 1: the rotated coordinate is not negative
        length = f["factors"][row][0] ** 0.5
        print(f"id {wanted}: row {row}, cells {path}, {code.sum()} of {dim} bits set, {length:.6g} long, vector {f['vectors'][row]}")
