"""Offsets and counts above 2^31: row files are sparse, so that only what is read of them costs."""
import os
import struct
import sys

import numpy as np

from faults import check, clustered, end, held_to, ok, refuses, run, write_bin
from ranktape_cli import digest, read_ibin

which = sys.argv[1]


def sparse(name, header, n_bytes, pieces=()):
    """A file of header and zeros, with (offset, bytes) put in."""
    with open(name, "wb") as f:
        f.write(header)
        f.truncate(n_bytes)
        for offset, data in pieces:
            f.seek(offset)
            f.write(data)
    return name


def npy_header(n, dim, descr):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({n}, {dim}), }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode()


if which == "headers":
    # counts over 2^31 and 2^32 rows, bytes over 2^33
    n = 4_200_000_000
    plan = ok("plan", sparse("count.u8bin", struct.pack("<II", n, 1), 8 + n), "--json", ranks=1).json()
    check(plan["phases"] and plan["lists"] == min(int(16 * n ** 0.5), n // 256), f"plan of {n} rows: {plan['lists']} lists")
    n = 2**33 + 5
    header = npy_header(n, 1, "|u1")
    sparse("count.npy", header, len(header) + n)
    plan = ok("plan", "count.npy", "--json", ranks=2).json()
    check(plan["lists"] == min(int(16 * n ** 0.5), n // 256), f"plan of {n} rows: {plan['lists']} lists")
    refuses("one byte less", sparse("short.npy", header, len(header) + n - 1), ["short.npy", f"{n + len(header) - 1:,}"])
    refuses("rows taken for a list", "@count.npy", ["count.npy", "list of files"])
    refuses("one byte more", sparse("more.u8bin", struct.pack("<II", 2**31 + 7, 3), 8 + 3 * (2**31 + 7) + 1), ["more.u8bin"])
    refuses("2^32-1 x 65,535", sparse("product.fbin", struct.pack("<II", 2**32 - 1, 65535), 2**20), ["product.fbin"])
elif which == "heap":
    # 131,200 rows of 16 KiB: the last ones lie behind byte 2^31
    dim, n = 4096, 131200
    row_bytes = 4 * dim
    last = clustered(100, dim, seed=3)
    place = 8 + (n - 100) * row_bytes
    check(place > 2**31, "the file is too small for this test")
    sparse("rows.fbin", struct.pack("<II", n, dim), 8 + n * row_bytes, [(place, last.tobytes())])
    write_bin("query.fbin", last[[0, 57, 99]])
    options = ("--rerank-in-heap", "--lists", "8", "--sample-per-list", 64)
    ok("build", "rows.fbin", "index", *options, ranks=2)
    ok("verify", "index", ranks=2)
    for ranks in (1, 2):
        ok("search", "index", "query.fbin", "--k", 1, "--probes", 8, "--out", "found.ibin", ranks=ranks)
        found = read_ibin("found.ibin")[:, 0]
        check((found == [n - 100, n - 43, n - 1]).all(), f"found {found} behind byte 2^31")
    bad = last.copy()
    bad[98, 5] = np.nan
    sparse("bad.fbin", struct.pack("<II", n, dim), 8 + n * row_bytes, [(place, bad.tobytes())])
    refuses("NaN behind byte 2^31", "bad.fbin", ["bad.fbin", f"{n - 2:,}"], *options)
    cut = place + 99 * row_bytes
    os.truncate("bad.fbin", cut)
    refuses("cut behind byte 2^31", "bad.fbin", ["bad.fbin", f"{cut:,}", f"{n - 1:,} whole rows"])
elif which == "records":
    # 80 million rows of 2 bytes: tape and frozen lists grow past 2^31 bytes, and more than that changes ranks
    n = 80_000_000
    values = np.random.default_rng(1).integers(0, 255, (n, 2), dtype=np.uint8)
    write_bin("rows.u8bin", values)
    ok("build", "rows.u8bin", "index", "--lists", "64", "--sample-per-list", 1024, ranks=3, timeout=1500)
    check(max(os.path.getsize(f"index/{name}") for name in os.listdir("index")) > 2**31, "no file of the index is over 2^31 bytes")
    info = ok("info", "index", "--json", ranks=0).json()
    check(info["rows"] == n, f"{info['rows']} rows")
    ok("verify", "index", ranks=3, timeout=1500)
end()
