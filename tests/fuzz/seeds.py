"""seeds.py TARGET FOLDER: sound inputs of a fuzz target, one of each kind, from which libFuzzer makes its own."""
import pathlib
import struct
import sys


def u32(*values):
    return struct.pack(f"<{len(values)}I", *values)


def u64(*values):
    return struct.pack(f"<{len(values)}Q", *values)


def f32(*values):
    return struct.pack(f"<{len(values)}f", *values)


def npy(descr, shape, data, fortran=False, version=1):
    text = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    length = struct.pack("<H", len(text) + 1) if version == 1 else u32(len(text) + 1)
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + b"\n" + data


def rows():
    return {
        "fbin": b"\0\1" + u32(3, 2) + f32(1, 2, 3, 4, 5, 6),
        "u8bin": b"\1\2" + u32(2, 3) + bytes(range(6)),
        "i8bin": b"\2\0" + u32(2, 3) + bytes(range(250, 256)),
        "f16bin": b"\3\1" + u32(2, 2) + struct.pack("<4e", 1, 2, -3, 4),
        "bin": b"\4\1" + u32(1, 2) + f32(1, 2),
        "crop": b"\5\1" + u32(9, 1) + f32(1, 2, 3),
        "fvecs": b"\6\1" + (u32(2) + f32(1, 2)) * 3,
        "fvecs_mixed": b"\6\1" + u32(1) + f32(1) + u32(2) + f32(2),
        "bvecs": b"\7\2" + (u32(3) + bytes(3)) * 4,
        "npy_f4": b"\x08\1" + npy("<f4", (2, 3), f32(*range(6))),
        "npy_f8": b"\x08\1" + npy("<f8", (2, 1), struct.pack("<2d", 1, 2), version=2),
        "npy_u1": b"\x09\1" + npy("|u1", (2, 3), bytes(6)),
        "npy_fortran": b"\x08\1" + npy("<f2", (3, 1), bytes(6), fortran=True, version=3),
        "growing_fbin": b"\x0a\1" + u32(2, 1) + f32(1, 2, 3),
        "growing_fvecs": b"\x0b\1" + u32(1) + f32(1) + u32(1),
    }


def ids():
    return {
        "raw": b"\0\1" + u64(5, 7, 2**63),
        "npy_u8": b"\1\1" + npy("<u8", "(3,)", u64(1, 2, 3)),
        "npy_i8": b"\1\2" + npy("<i8", "(2, 1)", struct.pack("<2q", 1, -1)),
        "npy_u4": b"\1\0" + npy("<u4", "(2,)", u32(1, 2), version=2),
        "npy_i4": b"\1\0" + npy("<i4", "(1,)", u32(2**31)),
    }


def neighbours():
    return {
        "ivecs": b"\0" + (u32(2, 5, 2**32 - 1)) * 2,
        "ibin": b"\1" + u32(2, 2, 1, 2, 3, 2**32 - 1),
        "knn": b"\2" + u32(1, 2, 1, 2) + f32(0.5, 1),
        "range": b"\2" + u32(3, 2, 1, 0, 1, 5, 6) + f32(1, 2),
        "none": b"\1" + u32(0, 3),
    }


def centroids():
    return {
        "npy": b"\0" + npy("<f4", (2, 2), f32(1, 2, 3, 4)),
        "fbin": b"\1" + u32(2, 2) + f32(1, 2, 3, 4),
        "flat": b"\2\1" + bytes([1, 255, 64, 2, 255, 65]),
        "rooted": b"\2\0" + bytes([0, 255, 64, 1, 0, 65, 2, 0, 66]),
        "tree": b"\2\2" + bytes([9, 255, 0, 1, 9, 64, 2, 9, 65, 3, 1, 66, 4, 2, 67, 5, 1, 68]),
        "cycle": b"\2\2" + bytes([9, 255, 0, 1, 2, 64, 2, 1, 65, 3, 9, 66]),
    }


def heap():
    return {
        "files": b"a.fbin\n# said\n\n  c.bin \t\na.fbin",
        "vecs": b"b.fvecs\r\nempty.fvecs\nb.fvecs\n",
        "missing": b"a.fbin\nx.npy\n",
        "dataset": b"a.fbin:/train\nx.h5:/a/b\n",
        "folder": b".\n./a.fbin\n",
    }


def options():
    lines = [
        "build rows.fbin out.rt --lists 4,100 --metric cosine --type f32 --memory 4G --min-recall 0.9,10 --seed 7",
        "build --rows 1e3 --time-limit 1:02:03 --report a.json --report b.json -vv -- -rows out.rt",
        "search index queries.fbin --k 5 --probes 3,50 --epsilon 1.5 --threads 2 --exact --no-pin --json",
        "synth a.fbin --rows 1000 --dim 16 --skew 1.2 --queries q.fbin --query-count 5 --truth t.ibin",
        "plan rows.fbin --lists auto --max-memory 1.5T",
        "info index --help",
        "insert index more.fbin --ids ids.npy --bad-rows skip --io=mpio",
        "delete index ids.u64 --break-lock",
        "vacuum index --keep 2 --progress never",
        "verify index --sample 5",
    ]
    return {line.split()[0] + str(i): line.replace(" ", "\0").encode() for i, line in enumerate(lines)}


def notes():
    lock = b"""{"host": "n1", "boot_id": "b", "pid_space": "pid:[1]", "pid": 7, "start_time": 9,
 "job_id": "5", "restart_count": 1, "since": 1700000000, "nonce": "00112233445566778899aabbccddeeff"}"""
    head = b"rtcheck\n" + u32(1, 0) + u64(2) + bytes(16) + b"state".ljust(40, b"\0")
    return {
        "current": b"\0manifest-1.json 00112233445566778899aabbccddeeff\n",
        "lock": b"\1" + lock,
        "checkpoint_file": b"\2" + head + b"ab",
        "checkpoint": b"\3some bytes",
    }


def manifest():
    digest = "0123456789abcdef" * 2
    entry = """{"name": "%s-1.h5", "kind": "%s", "number": 1, "size": 9000, "rows": 3, "structure": "%s",
 "checksums": "%s", "outside": [[4096, 100], [8192, 8]], "pair": false}"""
    files = ", ".join(entry % (kind, kind, digest, digest)
                      for kind in ("tree", "frozen", "appendable", "vectors", "tombstones"))
    text = f"""{{"format": "ranktape index", "version": 1, "generation": 1, "fingerprint": "{digest}",
 "tree_hash": "{digest}", "rows_hash": "{digest}", "digest": "{digest}", "dimension": 8, "metric": "l2",
 "element": "f32", "residual": true, "spherical": false, "rerank_in_heap": false, "rotation_seed": "1",
 "rotation_version": 1, "beam": 4, "levels": [2, 5], "rows": 3, "rows_frozen": 3, "rows_appendable": 0,
 "rows_skipped": 0, "tombstones": 1, "largest_id": "18446744073709551614", "next_row": 3, "segments": 1,
 "files": [{files}],
 "heaps": [{{"path": "a.h5", "dataset": "/train", "first_row": 0, "rows": 3, "size": 99, "mtime_ns": -5}},
  {{"path": {{"bytes": "2fff"}}, "first_row": 3, "rows": 1, "size": 9, "mtime_ns": 1}}],
 "own_heaps": 1, "sample": [[0, 1, "{digest}"], [1, 3, "{digest}"]],
 "options": {{"seed": {{"value": "1", "source": "given"}}}}, "build": {{}}, "history": [{{}}]}}"""
    return {"whole": text.encode()}


def lie(file, what, which, where, how, value):
    return struct.pack("<BBBHBQ", file, what, which, where, how, value)


def index():
    sound = {f"sound_{job}_{kind}": bytes([job, kind]) for job in range(10) for kind in range(3)}
    return sound | {
        "value": b"\1\0" + lie(1, 0, 3, 5, 0, 99),
        "directory": b"\3\2" + lie(1, 0, 5, 2, 2, 0) + lie(2, 1, 2, 1, 4, 3),
        "attribute": b"\4\1" + lie(2, 5, 7, 0, 1, 129),
        "shape": b"\0\2" + lie(3, 6, 0, 0, 1, 127),
        "dropped": b"\3\2" + lie(3, 7, 1, 1, 0, 0),
        "manifest": b"\7\2" + lie(5, 0, 3, 0, 1, 129),
        "infinite": b"\1\0" + lie(0, 0, 0, 4, 5, 0),
    }


def import_():
    sound = {f"sound_{kind}": bytes([kind, 0]) for kind in range(3)}
    values = {f"value_{adds_up}_{dataset}": bytes([1, adds_up]) + lie(0, 0, dataset, 5, 4, 3) for adds_up in (0, 1) for dataset in range(16)}
    numbers = {f"attribute_{i}": bytes([0, 0]) + lie(0, 5, i, 3, 1, 129) for i in range(25)}
    return sound | values | numbers | {
        "huge": b"\0\0" + lie(0, 5, 19, 0, 7, 62),
        "shape": b"\0\0" + lie(0, 6, 8, 0, 1, 127),
        "dropped": b"\1\0" + lie(0, 7, 4, 1, 0, 0),
        "id_twice": b"\0\1" + lie(0, 0, 6, 149, 3, 1),
    }


def main():
    target, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in globals()[target + "_" * (target == "import")]().items():
        (folder / name).write_bytes(data)


main()
