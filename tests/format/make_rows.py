"""Golden files by numpy and h5py: what the readers see in them, and what these see in ours. argv[1]: format_probe."""
import os
import subprocess
import sys

try:
    import h5py
    import numpy as np
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

PROBE = sys.argv[1]
INPUT = 3  # RT_INPUT
VALUES = np.arange(1, 16).reshape(3, 5)
NAMES = {"f32": "<f4", "f16": "<f2", "u8": "|u1", "i8": "|i1"}
n_failed = n_checked = 0


def check(good, what):
    global n_failed, n_checked
    n_checked += 1
    if not good:
        n_failed += 1
        print("FAILED", what)


def probe(*arguments):
    run = subprocess.run([PROBE, *arguments], capture_output=True, timeout=60)
    text = run.stdout.decode("utf-8", "replace")
    check(run.returncode in (0, 1, 2) and not run.stderr, f"{arguments}: {run.returncode} {run.stderr[:2000]}")
    return text.splitlines() or [""]


def expect_rows(name, values, element, converted=0, hdf5=0, asked=None):
    lines = probe("rows", name, *([asked] if asked else []))
    head = f"rows {values.shape[0]} {values.shape[1]} {element} {converted} {hdf5}"
    check(lines[0] == head, f"{name}: '{lines[0]}', not '{head}'")
    if lines[0] == head:
        check(lines[1] == values.astype(NAMES[element]).tobytes().hex(), f"{name}: other values")


def expect_refused(what, name, *words, argument=None, status=INPUT):
    lines = probe(what, name, *([argument] if argument else []))
    check(len(lines) == 1 and lines[0].startswith(f"{status} "), f"{name}: '{lines[0]}' is no refusal")
    for word in words + (os.path.basename(name.split(":")[0]),):
        check(word in lines[0], f"{name}: no '{word}' in '{lines[0]}'")


def write_bin(name, values, dtype):
    with open(name, "wb") as file:
        np.array(values.shape, "<u4").tofile(file)
        values.astype(dtype).tofile(file)


def write_vecs(name, values, dtype):
    with open(name, "wb") as file:
        for row in values:
            np.array([len(row)], "<i4").tofile(file)
            row.astype(dtype).tofile(file)


def cut_everywhere(name, must_fail=True):
    """Shorter files (test_rows.c cuts at every byte): a message, never a crash (a signal would be a negative return code)."""
    whole = open(name, "rb").read()
    short = "cut-" + os.path.basename(name)
    for n in range(0, len(whole), 7 if len(whole) < 400 else 61):
        with open(short, "wb") as file:
            file.write(whole[:n])
        lines = probe("rows", short)
        if must_fail:
            check(lines[0].startswith(f"{INPUT} ") and short in lines[0], f"{short} at {n}: '{lines[0]}'")


def rows_of_flat_files():
    for element, dtype in NAMES.items():
        write_bin(f"a.{element}bin".replace("f32bin", "fbin"), VALUES, dtype)
        expect_rows(f"a.{element}bin".replace("f32bin", "fbin"), VALUES, element)
        np.save(f"{element}.npy", VALUES.astype(dtype))
        expect_rows(f"{element}.npy", VALUES, element)
        cut_everywhere(f"{element}.npy")
        for version in ((1, 0), (2, 0), (3, 0)):
            with open("v.npy", "wb") as file:
                np.lib.format.write_array(file, VALUES.astype(dtype), version)
            expect_rows("v.npy", VALUES, element)
    write_bin("b.bin", VALUES, "i1")
    expect_rows("b.bin", VALUES, "i8", asked="i8")
    write_vecs("a.fvecs", VALUES, "<f4")
    write_vecs("a.bvecs", VALUES, "u1")
    expect_rows("a.fvecs", VALUES, "f32")
    expect_rows("a.bvecs", VALUES, "u8")
    cut_everywhere("a.fvecs", must_fail=False)
    np.save("f64.npy", VALUES / 3)
    expect_rows("f64.npy", (VALUES / 3).astype("f4"), "f32", converted=1)
    np.save("column.npy", np.asfortranarray(VALUES[:, :1].astype("f4")))
    expect_rows("column.npy", VALUES[:, :1], "f32")


def npy_that_is_refused():
    np.save("big.npy", VALUES.astype(">f4"))
    expect_refused("rows", "big.npy", "big-endian")
    np.save("object.npy", np.array([[1, "a"], [2, None]], object))
    expect_refused("rows", "object.npy", "pickled")
    np.save("fields.npy", np.zeros(3, [("a", "f4"), ("b", "i4")]))
    expect_refused("rows", "fields.npy", "fields")
    np.save("fortran.npy", np.asfortranarray(VALUES.astype("f4")))
    expect_refused("rows", "fortran.npy", "Fortran")
    np.save("flat.npy", np.zeros(15, "f4"))
    expect_refused("rows", "flat.npy", "one axis")
    np.save("cube.npy", np.zeros((3, 5, 2), "f4"))
    expect_refused("rows", "cube.npy", "3 axes")
    np.save("scalar.npy", np.float32(3))
    expect_refused("rows", "scalar.npy", "0 axes")
    np.save("complex.npy", VALUES.astype("c8"))
    expect_refused("rows", "complex.npy", "<c8")
    np.save("bool.npy", VALUES > 3)
    expect_refused("rows", "bool.npy", "|b1")
    np.save("int.npy", VALUES.astype("i4"))
    expect_refused("rows", "int.npy", "signed integers of 4 bytes")
    np.save("wide.npy", np.zeros((1, 65536), "u1"))
    expect_refused("rows", "wide.npy", "65,536")
    np.save("widest.npy", np.ones((1, 65535), "u1"))
    expect_rows("widest.npy", np.ones((1, 65535)), "u8")
    with open("twice.npy", "wb") as file:
        np.save(file, VALUES.astype("f4"))
        np.save(file, VALUES.astype("f4"))
    expect_refused("rows", "twice.npy", "longer")


def rows_of_hdf5():
    for element, dtype in NAMES.items():
        with h5py.File(f"{element}.h5", "w") as file:
            file["train"] = VALUES.astype(dtype)
            file["test"] = VALUES[:1].astype(dtype)
            file.attrs["type"] = "dense"
            file.attrs["distance"] = np.bytes_("euclidean")
        expect_rows(f"{element}.h5", VALUES, element)
        expect_rows(f"{element}.h5:/test", VALUES[:1], element)
        with h5py.File("c.h5", "w") as file:
            file.create_dataset("deep/train", data=VALUES.astype(dtype), chunks=(2, 2), compression="gzip", shuffle=True,
                                fletcher32=True)
        expect_rows("c.h5:/deep/train", VALUES, element, hdf5=1)
        with h5py.File("big.hdf5", "w") as file:
            file.create_dataset("train", data=VALUES.astype(dtype), dtype=np.dtype(dtype).newbyteorder(">"))
        expect_rows("big.hdf5", VALUES, element, hdf5=int(dtype[2] != "1"))
    cut_everywhere("f32.h5")
    os.rename("f32.h5", "strange name")
    expect_rows("strange name:/train", VALUES, "f32")
    with h5py.File("f64.h5", "w") as file:
        file["train"] = VALUES / 3
        file.create_dataset("big", data=VALUES / 3, dtype=">f8")
        file.create_dataset("unwritten", (4, 3), "f4")
        file.create_dataset("none", (0, 3), "f4")
    expect_rows("f64.h5", (VALUES / 3).astype("f4"), "f32", converted=1)
    expect_rows("f64.h5:/big", (VALUES / 3).astype("f4"), "f32", converted=1, hdf5=1)
    expect_rows("f64.h5:/unwritten", np.zeros((4, 3)), "f32", hdf5=1)
    expect_rows("f64.h5:/none", np.zeros((0, 3)), "f32", hdf5=1)
    rows = np.random.default_rng(1).standard_normal((30000, 300)).astype("f4")  # more than one step of 32 MiB
    with h5py.File("large.h5", "w", libver="latest") as file:
        file.create_dataset("train", data=rows, chunks=(4096, 300))
    expect_rows("large.h5", rows, "f32", hdf5=1)
    os.remove("large.h5")


def hdf5_that_is_refused():
    with h5py.File("x.h5", "w") as file:
        file["flat"] = np.zeros(15, "f4")
        file["cube"] = np.zeros((3, 5, 2), "f4")
        file["scalar"] = np.float32(3)
        file["bool"] = VALUES > 3
        file["int"] = VALUES.astype("i4")
        file["text"] = np.array([[b"a", b"b"]])
        file["fields"] = np.zeros((3, 2), [("a", "f4"), ("b", "i4")])
        file["wide"] = np.zeros((1, 65536), "u1")
        file["empty"] = h5py.Empty("f4")
        file.create_dataset("huge", (2**62, 5), "f4", chunks=(1024, 5))
        file.create_dataset("outside", (3, 5), "f4", external=[("other.bin", 0, 60)])
        layout = h5py.VirtualLayout((3, 5), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "train", (3, 5))
        file.create_virtual_dataset("virtual", layout)
        file["linked"] = h5py.ExternalLink("nowhere.h5", "/train")
    for name, word in (("flat", "one axis"), ("cube", "3 axes"), ("scalar", "0 axes"), ("bool", "bool"),
                       ("int", "holds i32"), ("text", "strings"), ("fields", "records"), ("wide", "65,536"),
                       ("empty", "axes"), ("huge", "more than any file holds"), ("outside", "other files"),
                       ("virtual", "other files"), ("linked", "no dataset"), ("nope", "/bool, /cube")):
        expect_refused("rows", f"x.h5:/{name}", word)
    expect_refused("rows", "x.h5", "/train")
    expect_refused("rows", "u8.h5", "holds u8", "--type says f32", argument="f32")
    for kind in ("sparse", np.bytes_("sparse")):
        with h5py.File("sparse.h5", "w") as file:
            file["train"] = np.zeros(15, "f4")
            file["size_train"] = np.array([5, 10])
            file.attrs["type"] = kind
        expect_refused("rows", "sparse.h5", "sparse")
    with h5py.File("sparse.h5", "a") as file:
        del file.attrs["type"]
    expect_refused("rows", "sparse.h5", "sparse")
    with open("text.h5", "w") as file:
        file.write("this is no HDF5 file\n" * 50)
    expect_refused("rows", "text.h5", "HDF5")


def ids():
    values = np.array([5, 2**31, 2**62], "u8")
    expected = ["ids 3", " ".join(map(str, values)) + " "]
    values.tofile("raw")
    check(probe("ids", "raw", "3") == expected, "raw ids")
    for dtype in ("<u8", "<i8"):
        np.save("ids.npy", values.astype(dtype)[:, None])
        check(probe("ids", "ids.npy", "3") == expected, f"npy ids {dtype}")
    np.save("ids.npy", values.astype(">u8"))
    expect_refused("ids", "ids.npy", "big-endian", argument="3")
    with h5py.File("ids.h5", "w") as file:
        for dtype in ("<u8", "<i8", ">u8", ">i8"):
            file.create_dataset("ids" + dtype, data=values.astype(dtype), chunks=(2,), compression="gzip")
        file["small"] = np.array([1, 255], "u1")
        file["below"] = np.array([1, -1], "i2")
    for dtype in ("<u8", "<i8", ">u8", ">i8"):
        check(probe("ids", f"ids.h5:/ids{dtype}", "3") == expected, f"HDF5 ids {dtype}")
    check(probe("ids", "ids.h5:/small", "2") == ["ids 2", "1 255 "], "HDF5 ids u1")
    expect_refused("ids", "ids.h5:/below", "row 1", "-1 is negative", argument="2")


def truth():
    truths = np.array([[1, 2, 3], [4, 5, -1]])
    expected = ["truth 2 3", "1 2 3 4 5 -1 "]
    write_vecs("t.ivecs", truths, "<i4")
    write_bin("t.ibin", truths, "<i4")
    write_bin("knn.ibin", truths, "<i4")
    with open("knn.ibin", "ab") as file:
        np.zeros(6, "<f4").tofile(file)
    for name in ("t.ivecs", "t.ibin", "knn.ibin"):
        check(probe("truth", name) == expected, name)
    for dtype in ("<i4", "<i8", ">i4", "<i2"):
        with h5py.File("t.h5", "w") as file:
            file["neighbors"] = truths.astype(dtype)
            file["other"] = truths.astype(dtype)
        check(probe("truth", "t.h5") == expected, f"truth of HDF5 {dtype}")
        check(probe("truth", "t.h5:/other") == expected, f"truth of HDF5 {dtype}, named")
    expect_refused("truth", "t.h5:/none", "/neighbors")
    with h5py.File("f.h5", "w") as file:
        file["neighbors"] = truths.astype("f4")
    expect_refused("truth", "f.h5", "integers")


def centroids():
    table = {"id": [3, 20, 10, 4, 100, 1], "parent": [20, 100, 100, 10, -1, 20]}
    vectors = np.arange(12, dtype="f4").reshape(6, 2)
    levels = [("2", vectors[[2, 1]]), ("3 0 1 1", vectors[[3, 5, 0]])]
    for integer, real in (("<i4", "<f4"), ("<i8", "<f8"), (">i4", "<f2")):
        with h5py.File("tree.h5", "w") as file:
            for name, column in table.items():
                file[name] = np.array(column, integer)
            file["vector"] = vectors.astype(real)
            file.attrs["metric"] = "ip"
            file.attrs["spherical"] = True
            file.attrs["space"] = "original"
        lines = probe("centroids", "tree.h5", "2")
        check(lines[0] == "centroids 2 2 1 1", f"tree.h5: {lines[0]}")
        for i, (head, values) in enumerate(levels):
            check(lines[1 + 2 * i:3 + 2 * i] == [head, values.tobytes().hex()], f"tree.h5: level {i}: {lines}")
    np.save("leaves.npy", vectors.astype("f8"))
    check(probe("centroids", "leaves.npy", "2") == ["centroids 1 2 -1 -1", "6", vectors.tobytes().hex()], "leaves.npy")
    vectors[4, 1] = np.inf
    np.save("leaves.npy", vectors)
    expect_refused("centroids", "leaves.npy", "row 4", argument="2")


def files_of_ours():
    """Read with numpy and h5py."""
    for element, dtype in NAMES.items():
        check(probe("write-rows", "ours.npy", element) == [""], "ours.npy")
        ours = np.load("ours.npy")
        check(ours.dtype == np.dtype(dtype) and (ours == VALUES).all(), f"ours.npy {element}")
        np.save("theirs.npy", VALUES.astype(dtype))
        check(open("ours.npy", "rb").read() == open("theirs.npy", "rb").read(), f"ours.npy {element}: other bytes")
        check(probe("write-rows", "ours.h5", element) == [""], "ours.h5")
        with h5py.File("ours.h5", "r") as file:
            ours = file["train"]
            check(ours.dtype == np.dtype(dtype) and (ours[()] == VALUES).all(), f"ours.h5 {element}")
            check(dict(file.attrs) == {"dimension": 5, "distance": "euclidean", "point_type": "float", "type": "dense"},
                  f"ours.h5: {dict(file.attrs)}")
        name = f"ours.{element}bin".replace("f32bin", "fbin")
        check(probe("write-rows", name) == [""], name)
        write_bin("theirs", VALUES, dtype)
        check(open(name, "rb").read() == open("theirs", "rb").read(), name)
    for name, dtype in (("ours.fvecs", "<f4"), ("ours.bvecs", "u1")):
        check(probe("write-rows", name) == [""], name)
        write_vecs("theirs", VALUES, dtype)
        check(open(name, "rb").read() == open("theirs", "rb").read(), name)
    found = np.array([[0, 1, 2], [3, 4, -1]])
    for metric, name, distances in (("l2", "euclidean", [[0, 1, 2], [3, 4, np.inf]]),
                                    ("cosine", "angular", [[0, 1, 4], [9, 16, np.inf]])):
        check(probe("write-truth", "found.h5", metric) == [""], "found.h5")
        with h5py.File("found.h5", "r") as file:
            check(file["neighbors"].dtype == "<i8" and (file["neighbors"][()] == found).all(), "neighbors")
            check(file["distances"].dtype == "<f8" and (file["distances"][()] == distances).all(), "distances")
            check(file.attrs["distance"] == name and file.attrs["dimension"] == 5, f"{metric}: attributes")
    check(probe("write-truth", "found.ivecs", "l2") == [""], "found.ivecs")
    write_vecs("theirs", found, "<i4")
    check(open("found.ivecs", "rb").read() == open("theirs", "rb").read(), "found.ivecs")
    check(probe("write-truth", "found.ibin", "l2") == [""], "found.ibin")
    write_bin("theirs", found, "<i4")
    check(open("found.ibin", "rb").read() == open("theirs", "rb").read(), "found.ibin")


for part in (rows_of_flat_files, npy_that_is_refused, rows_of_hdf5, hdf5_that_is_refused, ids, truth, centroids,
             files_of_ours):
    part()
print(n_checked, "checked,", n_failed, "failed")
sys.exit(n_failed != 0)
