"""Rows and ids that no index can be made of: refused with the file, the row and the cause."""
import os
import struct
import sys

import numpy as np

from faults import check, clustered, end, gone, held_to, ok, refuses, run, write_bin
from ranktape_cli import digest

which = sys.argv[1]
N, DIM = 600, 8
rows = clustered(N, DIM, seed=4)


def with_row(row, value, column=None):
    changed = rows.copy()
    changed[row, slice(None) if column is None else column] = value
    return changed


if which == "values":
    write_bin("empty.fbin", rows[:0])
    refuses("no rows", "empty.fbin", ["no rows", "empty.fbin"], ranks=(0, 1, 2))
    open("nothing.fvecs", "wb").close()
    refuses("an empty fvecs", "nothing.fvecs", ["nothing.fvecs"])
    np.save("empty.npy", rows[:0])
    refuses("an empty npy", "empty.npy", ["empty.npy"])
    for name, bad, metric, words in (
            ("nan", with_row(577, np.nan, 3), "l2", ["577", "not finite"]),
            ("infinity", with_row(3, np.inf, 7), "ip", ["row 3 ", "not finite"]),
            ("minus_infinity", with_row(599, -np.inf, 0), "cosine", ["row 599 ", "not finite"]),
            ("zero", with_row(301, 0), "cosine", ["301", "zero"]),
            ("overflow", with_row(450, 3e38), "l2", ["450", "longer than 2^60"]),
            ("overflow_ip", with_row(0, 1e30), "ip", ["row 0 ", "longer than 2^60"])):
        write_bin(f"{name}.fbin", bad)
        options = ("--metric", metric, "--lists", "6")
        refuses(name, f"{name}.fbin", [f"{name}.fbin", "row", "--bad-rows skip"] + words, *options, ranks=(1, 3))
        digests = set()
        for ranks in (1, 3):
            index = f"{name}{ranks}"
            ok("build", f"{name}.fbin", index, *options, "--bad-rows", "skip", ranks=ranks)
            info = ok("info", index, "--json", ranks=0).json()
            check(info["rows"] == N - 1 and info["rows_skipped"] == 1, f"{name}: {info['rows']} + {info['rows_skipped']}")
            ok("verify", index, "--full", ranks=ranks)
            digests.add(digest(index))
        check(len(digests) == 1, f"{name}: skipped rows give {digests}")
    many = rows.copy()
    many[::2] = np.nan
    write_bin("many.fbin", many)
    refuses("many bad rows, the first is named", "many.fbin", ["row 0"], ranks=(1,))
    ok("build", "many.fbin", "many", "--bad-rows", "skip", "--lists", "6", ranks=2)
    info = ok("info", "many", "--json", ranks=0).json()
    check(info["rows"] == N // 2 and info["rows_skipped"] == N // 2, f"many: {info['rows']} + {info['rows_skipped']}")
    ok("verify", "many", "--full", ranks=2)
    write_bin("query.fbin", rows[1:2])
    ok("search", "many", "query.fbin", "--probes", 6, "--k", 300, "--epsilon", "1e6", "--out", "found.ivecs", ranks=2)
    found = np.fromfile("found.ivecs", "<i4")[1:]
    check(sorted(found) == list(range(1, N, 2)), f"ids of skipped rows are found: {sorted(found)[:5]}")
    write_bin("all.fbin", rows * np.nan)
    refuses("every row bad, skipped", "all.fbin", ["all.fbin", "600"], "--bad-rows", "skip", ranks=(1, 2))
elif which == "files":
    good = write_bin("good.fbin", rows)
    whole = open(good, "rb").read()

    def file(name, content):
        with open(name, "wb") as f:
            f.write(content)
        return name

    def header(n, dim):
        return np.array([n, dim], "<u4").tobytes()

    refuses("missing file", "nowhere.fbin", ["nowhere.fbin", "No such file"])
    refuses("cut short", file("short.fbin", whole[:-100]), ["short.fbin", "bytes", f"{len(whole) - 100:,}"])
    refuses("too long", file("long.fbin", whole + b"x" * 12), ["long.fbin", "bytes"])
    refuses("huge n x d", file("huge.fbin", header(2**32 - 1, 60000) + whole[8:]), ["huge.fbin", "bytes"])
    refuses("dimension 0", file("flat.fbin", header(600, 0)), ["flat.fbin", "dimension"])
    refuses("dimension 2^32-1", file("wide.fbin", header(1, 2**32 - 1) + whole), ["wide.fbin"])
    refuses("header cut", file("stub.fbin", b"\1\2\3"), ["stub.fbin"])
    refuses("no bytes", file("none.fbin", b""), ["none.fbin"])
    refuses("unknown suffix", file("rows.dat", whole), ["rows.dat"])
    os.mkfifo("pipe.fbin")
    refuses("a pipe", "pipe.fbin", ["pipe.fbin", "regular file"], ranks=(1,))
    vecs = np.zeros((N, 1 + DIM), "<f4")
    vecs[:, 1:] = rows
    vecs.view("<i4")[:, 0] = DIM
    vecs.tofile("good.fvecs")
    torn = vecs.copy()
    torn.view("<i4")[400, 0] = DIM - 2
    torn.tofile("torn.fvecs")
    refuses("fvecs with another d in the middle", "torn.fvecs", ["torn.fvecs", "400", f"{DIM - 2}"], "--lists", "5",
            ranks=(1, 2, 3))
    refuses("the same, --bad-rows skip", "torn.fvecs", ["torn.fvecs", "400"], "--lists", "5", "--bad-rows", "skip")
    negative = vecs.copy()
    negative.view("<i4")[0, 0] = -4
    negative.tofile("negative.fvecs")
    refuses("fvecs with a negative d", "negative.fvecs", ["negative.fvecs"])
    refuses("fvecs cut", file("cut.fvecs", vecs.tobytes()[:-5]), ["cut.fvecs", "bytes"])
    import h5py
    with h5py.File("rows.h5", "w") as f:
        f["train"] = rows
        f["cube"] = rows.reshape(N, 2, DIM // 2)
        f["text"] = [b"a", b"b"]
        f.create_group("group")
        f["wide"] = rows.astype(np.int64)
    refuses("no such dataset", "rows.h5:/absent", ["rows.h5", "absent"])
    refuses("a group", "rows.h5:/group", ["rows.h5", "group"])
    refuses("three axes", "rows.h5:/cube", ["rows.h5", "cube"])
    refuses("text", "rows.h5:/text", ["rows.h5", "text"])
    refuses("64-bit integers", "rows.h5:/wide", ["rows.h5", "wide"])
    refuses("no HDF5", file("noise.h5", np.random.default_rng(1).bytes(4000)), ["noise.h5"])
    refuses("HDF5 cut", file("cut.h5", open("rows.h5", "rb").read()[:3000]), ["cut.h5"])
    with h5py.File("packed.h5", "w") as f:
        f.create_dataset("train", data=np.ones((100000, 16), "<f4"), chunks=(32, 16), compression="gzip")
        f.create_dataset("lzf", data=rows, compression="lzf")
        f.create_dataset("rounded", data=rows, scaleoffset=3)
    for name in ("lzf", "rounded"):
        refuses(f"filter {name}", f"packed.h5:/{name}", [f"packed.h5:/{name}", "is packed by filter", "h5repack"])
    # chunks that say they are larger than what was packed into them: HDF5 reads on behind it
    packed = open("packed.h5", "rb").read()
    chunks = struct.pack("<3I", 32, 16, 4)
    check(packed.count(chunks) == 1, "the chunks of packed.h5 stand in it once")
    for n, code, words in ((100001, 2, ["is damaged: chunks of 100,001"]), (100000, 1, ["HDF5 crashed"])):
        name = file(f"chunks{n}.h5", packed.replace(chunks, struct.pack("<3I", n, 16, 4)))
        result = run("build", name, name + ".index", "--lists", 4, ranks=2)
        lines = [line for line in result.err.splitlines() if line.startswith("ranktape: ")]
        check(result.code == code and 1 <= len(lines) <= 2 and all(name in line for line in lines), f"{name}: {result.err}")
        check(all(word in lines[0] for word in words), f"{name}: {lines}")
    np.save("complex.npy", rows.astype(np.complex64))
    refuses("complex npy", "complex.npy", ["complex.npy"])
    np.save("columns.npy", np.asfortranarray(rows))
    refuses("npy by columns", "columns.npy", ["columns.npy"])
    refuses("npy cut", file("cut.npy", open("columns.npy", "rb").read()[:-3]), ["cut.npy"])
    refuses("npy header", file("noise.npy", b"\x93NUMPY\1\0\xff\xff{'descr': '<f4', 'shape': (9999999"), ["noise.npy"])
    refuses("another type than the suffix says", "good.fbin", ["good.fbin"], "--type", "u8")
    os.mkdir("mixed")
    write_bin("mixed/a.fbin", rows)
    write_bin("mixed/b.u8bin", np.ones((5, DIM), np.uint8))
    refuses("mixed types", "mixed", ["mixed/b.u8bin", "u8"])
    os.mkdir("dims")
    write_bin("dims/a.fbin", rows)
    write_bin("dims/b.fbin", rows[:, :5])
    refuses("mixed dimensions", "dims", ["dims/b.fbin", "5"])
    os.mkdir("bare")
    file("bare/readme.txt", b"hello")
    refuses("a directory without rows", "bare", ["bare"])
    os.mkdir("parts")
    write_bin("parts/1.fbin", rows[:300])
    write_bin("parts/2.fbin", with_row(500, np.nan)[300:])
    refuses("NaN in the second file", "parts", ["parts/2.fbin", "200"], "--lists", "5", ranks=(1, 2, 3))
    refuses("list of nothing", "@" + file("list", b"\n\n"), ["list"])
    refuses("list of what is not there", "@" + file("list2", b"good.fbin\ngone.fbin\n"), ["gone.fbin"])
    refuses("list that is rows", "@good.fbin", ["good.fbin", "@"])
    refuses("no such list", "@nolist", ["nolist"])
elif which == "ids":
    write_bin("rows.fbin", rows)

    def ids(name, values, dtype="<u8"):
        np.asarray(values).astype(dtype).tofile(name)
        return name

    rng = np.random.default_rng(11)
    ascending = np.arange(N, dtype=np.uint64) * 3
    repeated = ascending.copy()
    repeated[451] = repeated[450]
    far = rng.permutation(ascending)
    far[599] = far[12]
    for name, values, first, second, value in (
            ("ascending", repeated, 450, 451, repeated[450]),
            ("descending", repeated[::-1], 148, 149, repeated[450]),
            ("random", far, 12, 599, far[12])):
        words = [f"id {value} ", f"row {first} ", f"row {second}"]
        refuses(f"duplicate, {name}", "rows.fbin", words, "--ids", ids(f"{name}.u64", values), ranks=(1, 2, 3, 7))
    refuses("one id for all", "rows.fbin", ["id 5 ", "row 0 ", "row 1"], "--ids", ids("one.u64", np.full(N, 5)),
            ranks=(1, 3))
    write_bin("many.u8bin", np.arange(400000, dtype=np.uint32).view(np.uint8).reshape(-1, 4))
    same = np.full(400000, 7, np.uint64)
    same[200000:] = np.arange(200000) * 5 + 1  # 6 stands at row 200,001 too
    same[399999] = 6
    refuses("half of all ids the same", "many.u8bin", ["id 6 ", "row 200,001 ", "row 399,999"], "--ids",
            ids("same.u64", same), "--lists", "4", ranks=(1, 3))
    none = ascending.copy()
    none[433] = 2**64 - 1
    refuses("2^64-1", "rows.fbin", ["none.u64", "433", "no id"], "--ids", ids("none.u64", none), ranks=(1, 2, 3))
    refuses("too few ids", "rows.fbin", ["few.u64", "599", "600"], "--ids", ids("few.u64", ascending[:-1]))
    refuses("too many ids", "rows.fbin", ["more.u64", "601", "600"], "--ids", ids("more.u64", np.arange(N + 1)))
    with open("torn.u64", "wb") as f:
        f.write(ascending.tobytes()[:-3])
    refuses("ids cut", "rows.fbin", ["torn.u64", "bytes"], "--ids", "torn.u64")
    refuses("no such ids", "rows.fbin", ["absent.u64"], "--ids", "absent.u64")
    np.save("negative.npy", np.arange(N, dtype=np.int64) - 1)
    refuses("a negative id", "rows.fbin", ["negative.npy", "row 0", "-1"], "--ids", "negative.npy")
    np.save("floats.npy", rows[:, 0])
    refuses("ids that are no integers", "rows.fbin", ["floats.npy"], "--ids", "floats.npy")
    refuses("no such dataset of ids", "rows.fbin", ["rows.h5"], "--ids", "rows.h5:/ids")
    # ids in any order are well, and a row's own id is what is found
    ok("build", "rows.fbin", "good", "--ids", ids("good.u64", rng.permutation(ascending) + 2**40), "--lists", "5", ranks=3)
    ok("verify", "good", "--full", ranks=2)
    write_bin("query.fbin", rows[:4])
    for out in ("found.ibin", "found.ivecs"):
        held_to("an id over 2^31-1 in 32 bits", run("search", "good", "query.fbin", "--out", out, ranks=2), 2,
                [out, "2^31-1"], job="search")
        gone("an id over 2^31-1 in 32 bits", out)
    one = ascending.copy()
    one[3] = 2**31  # not among what is found: told before any work all the same
    ok("build", "rows.fbin", "one", "--ids", ids("one_large.u64", one), "--lists", "5", ranks=2)
    write_bin("far.fbin", rows[4:5])
    held_to("one id over 2^31-1", run("search", "one", "far.fbin", "--k", 1, "--out", "far.ibin", ranks=1), 2,
            ["2,147,483,648"], job="search")
    one[3] = 2**31 - 1
    ok("build", "rows.fbin", "one", "--ids", ids("one_less.u64", one), "--lists", "5", "--force", ranks=2)
    ok("search", "one", "far.fbin", "--k", 1, "--out", "far.ibin", ranks=1)
    ok("search", "good", "query.fbin", "--out", "found.h5", "--k", 1, "--probes", 5, ranks=2)
    import h5py
    with h5py.File("found.h5") as f:
        found = f["neighbors"][:, 0]
    check((found == np.fromfile("good.u64", "<u8")[:4]).all(), f"ids found: {found}")
end()
