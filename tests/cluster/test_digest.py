"""One result on any number of ranks, tapes, block sizes, BLAS kernels, instruction sets and row formats; another seed gives
another."""
import os
import shutil
import subprocess
import sys

import numpy as np

from ranktape_cli import check, clustered, digest, end, ok, write_bin

which = sys.argv[1]
n_built = 0


def build(rows, *options, ranks=1, environment=None):
    global n_built
    n_built += 1
    index = f"index{n_built}"
    ok("build", rows, index, *options, ranks=ranks, environment=environment)
    if n_built % 4 == 1:
        ok("verify", index, "--full", ranks=1 + n_built % 3)
    return digest(index)


def used(key, expected):
    """The setting took effect: the last index was built with it."""
    record = ok("info", f"index{n_built}", "--json", ranks=0).json()["build"]
    check(expected in record[key], f"{key} is {record[key]}, {expected} was asked for")


def same(name, expected, got):
    check(got == expected, f"{name}: {got} instead of {expected}")


write_bin("rows.fbin", clustered(3000, 24, seed=1))
if which == "ranks":
    for metric in ("l2", "ip", "cosine"):
        for lists in ("20", "4,40", "2,6,50"):
            for residual in ("on", "off"):
                options = ("--metric", metric, "--lists", lists, "--residual", residual)
                one = build("rows.fbin", *options)
                for ranks in (2, 3, 4, 7) if (residual, lists) == ("on", "4,40") else (3,):
                    same(f"{metric} {lists} residual {residual} on {ranks} ranks", one,
                         build("rows.fbin", *options, ranks=ranks))
elif which == "layout":
    options = ("--lists", "4,40")
    one = build("rows.fbin", *options)
    for tapes, chooser in ((1, "id"), (2, "rng"), (5, "rng"), (3, "id"), (1, "zero")):
        same(f"{tapes} tapes, {chooser}", one, build("rows.fbin", *options, "--tapes", tapes, "--chooser", chooser, ranks=3))
    for block in (1, 7, 100, 100000):
        same(f"blocks of {block} rows", one, build("rows.fbin", *options, "--block-rows", block, ranks=2))
    for more in (("--scatter",), ("--pin", "off"), ("--rerank-in-heap",), ("--io", "mpio"), ("--verify-writes",)):
        same(" ".join(more), one, build("rows.fbin", *options, *more, ranks=3))
    same("records sent", one, build("rows.fbin", *options, ranks=3, environment={"RANKTAPE_FAULT": "near:all"}))
    same("past the page cache", one, build("rows.fbin", *options, ranks=3, environment={"RANKTAPE_FAULT": "past_cache:all"}))
    ok("verify", f"index{n_built}", "--full", ranks=2)
    check(build("rows.fbin", *options, "--seed", "5") != one, "another seed gives the same digest")
elif which == "machine":
    options = ("--lists", "4,40")
    one = build("rows.fbin", *options)
    with open("/proc/cpuinfo") as f:
        flags = f.read()
    has_openblas = "OpenBLAS" in ok("--version", ranks=0).out
    flag_of = {"avx512": "avx512bw", "avx512_amx": "amx_int8"}
    for isa in ("portable", "avx2", "avx512", "avx512_vnni", "avx512_amx"):
        if isa == "portable" or flag_of.get(isa, isa) in flags:
            same(isa, one, build("rows.fbin", *options, ranks=2, environment={"RANKTAPE_ISA": isa}))
            used("kernel", isa)
    for core, needs in (("Haswell", "avx2"), ("Zen", "avx2"), ("SkylakeX", "avx512bw")):
        if not has_openblas or needs not in flags:
            continue
        same(core, one, build("rows.fbin", *options, ranks=2, environment={"OPENBLAS_CORETYPE": core}))
        used("blas", f"({core})")
    for proposer in ("int8", "sgemm", "none"):  # test builds know this variable
        same(proposer, one, build("rows.fbin", *options, ranks=2, environment={"RANKTAPE_PROPOSER": proposer}))
        if has_openblas or proposer != "sgemm":  # without a BLAS there is none
            used("proposer", proposer)
    # a library linked with fast math turns denormals off as it loads
    if shutil.which("gcc"):
        with open("ftz.c", "w") as f:
            f.write("int ranktape_test_nothing;")
        subprocess.run(["gcc", "-Ofast", "-shared", "-fPIC", "ftz.c", "-o", "ftz.so"], check=True)
        write_bin("tiny.fbin", clustered(1000, 24, seed=1) * np.float32(1e-20))
        same("with flushing to zero", build("tiny.fbin", *options),
             build("tiny.fbin", *options, ranks=2, environment={"LD_PRELOAD": os.path.abspath("ftz.so")}))
elif which == "formats":
    import h5py
    whole = np.random.default_rng(3).integers(0, 100, (2000, 20)).astype(np.uint8)
    write_bin("w.u8bin", whole)
    write_bin("w.i8bin", whole.astype(np.int8))
    write_bin("w.f16bin", whole.astype(np.float16))
    write_bin("w.fbin", whole.astype(np.float32))
    np.save("w8.npy", whole)
    np.save("w64.npy", whole.astype(np.float64))
    for name, dtype in (("w.fvecs", "<f4"), ("w.bvecs", "u1")):
        with open(name, "wb") as f:
            for row in whole:
                np.array([20], "<i4").tofile(f)
                row.astype(dtype).tofile(f)
    with h5py.File("w.h5", "w") as f:
        f["train"] = whole.astype(np.float32)
        f.create_dataset("packed", data=whole, chunks=(64, 20), compression=1)
    os.mkdir("parts")
    for i in range(7):
        write_bin(f"parts/part-{i}.u8bin", whole[i * 300:(i + 1) * 300])
    with open("list", "w") as f:
        f.write("".join(f"parts/part-{i}.u8bin\n" for i in range(7)))
    one = build("w.u8bin", "--lists", "30")
    for rows in ("w.i8bin", "w.f16bin", "w.fbin", "w8.npy", "w64.npy", "w.fvecs", "w.bvecs", "w.h5", "w.h5:/packed",
                 "parts", "@list"):
        same(rows, one, build(rows, "--lists", "30", ranks=2))
end()
