"""The C library: the answers of the program to the last bit, whatever state an index is in; threads under changes; errors."""
import os
import shutil
import subprocess
import sys
import time

import numpy as np

sys.path[:0] = [os.path.join(os.environ["SOURCE_DIR"], folder) for folder in ("python", "tests/cluster")]
from ranktape_cli import LAUNCHER, TYPES, check, clustered, end, ok, write_bin

try:
    import h5py
except ImportError:
    print("no h5py: skipped")
    sys.exit(77)

K = 7


def job(*arguments):
    return ok(*arguments, ranks=0)


def say(*arguments):
    job(*arguments, "--quiet")


def answers_of_program(index, queries, *options):
    job("search", index, queries, "--k", K, "--out", "found.h5", *options)
    with h5py.File("found.h5") as f:
        return f["neighbors"][:], f["distances"][:]


def same_answers(what, opened, queries, expected, options):
    """The same of one query at a time, of some and of all. The file shows roots of l2, as ann-benchmarks wants them."""
    for n_parts in (len(queries), 9, 1):
        parts = [opened.search(part, options)[:2] for part in np.array_split(queries, n_parts)]
        ids, distances = (np.concatenate(arrays) for arrays in zip(*parts))
        shown = distances.astype(np.float64)
        if opened.info()["metric"] == "l2":
            shown = np.sqrt(shown)
        check(np.array_equal(ids.astype(np.int64), expected[0]), f"{what}: ids differ in {n_parts} parts")
        check(np.array_equal(shown, expected[1]), f"{what}: distances differ in {n_parts} parts")


def answers(metric, element, *build):
    """As an index is built, gets rows, loses rows and is vacuumed."""
    dtype, suffix = TYPES[element]
    values = clustered(3400, 24, seed=len(metric))
    rows = (np.round(20 * values + 128) if element == "u8" else values).astype(dtype)
    queries = rows[:3000:75].astype(np.float32) + np.float32(0.1)
    index = f"{metric}.{element}"
    say("build", write_bin(f"{index}.rows.{suffix}", rows[:3000]), index, "--metric", metric, *build)
    write_bin("query.fbin", queries)
    np.arange(0, 3400, 3, dtype="<u8").tofile("third.u64")
    with Index(index) as opened:
        info, said = opened.info(), job("info", index, "--json").json()
        for key in ("rows", "lists", "levels", "generation", "metric", "element", "digest"):
            check(info[key] == said[key], f"{index}: {key} {info[key]}, the program says {said[key]}")
        np.unique(opened.search(queries, SearchOptions(1))[0])[::2].tofile("dead.u64")
        levels = [2] * len(info["levels"])
        ways = [((), SearchOptions(K)), (("--probes", 3, "--epsilon", "0.5"), SearchOptions(K, 3, 0.5)),
                (("--probes", ",".join(map(str, levels))), SearchOptions(K, levels)),
                (("--filter", "third.u64", "--probes", 30), SearchOptions(K, 30, filter=lambda id: id % 3 == 0)),
                (("--filter", "third.u64"), SearchOptions(K, wanted=np.arange(0, 3400, 3)))]
        changes = [(), ("insert", index, write_bin(f"{index}.more.{suffix}", rows[3000:])), ("delete", index, "--ids", "dead.u64"),
                   ("vacuum", index, "--full")]
        for number, change in enumerate(changes):
            before = opened.search(queries)[0]
            if change:
                say(*change)
                check(np.array_equal(before, opened.search(queries)[0]), f"{index}: {change[0]} changed what was open")
                check(opened.refresh() and not opened.refresh(), f"{index}: refresh after {change[0]}")
            for options, same in (ways[0], ways[1 + (number + len(metric)) % 4]):
                found = answers_of_program(index, "query.fbin", *options)
                same_answers(f"{index} {change} {options}", opened, queries, found, same)
        n_dead = os.path.getsize("dead.u64") // 8
        check(opened.info()["rows"] == 3400 - n_dead, f"{index}: {opened.info()['rows']} rows at the end")
        ids, distances, _ = opened.search(queries[:2], SearchOptions(3400, 10**6))
        check((ids[:, -n_dead:] == NO_ID).all() and np.isinf(distances[:, -n_dead:]).all() and NO_ID not in ids[:, :-n_dead],
              f"{index}: more neighbours than rows")


def all_answers():
    answers("l2", "u8", "--lists", "4,30")
    answers("ip", "f32", "--lists", "20")
    answers("cosine", "f16", "--lists", "25", "--rerank-in-heap")
    os.rename("cosine.f16.rows.f16bin", "moved.f16bin")
    try:
        Index("cosine.f16")
        check(False, "an index without its heap was opened")
    except Error as error:
        check(error.status == "input" and "f16bin" in str(error), f"no heap: {error.status}, {error}")
    Index("cosine.f16", heaps=["0=moved.f16bin"]).close()


def a_library():
    """MPI is neither linked nor wanted; what is exported is what the header declares."""
    path = os.environ["RANKTAPE_LIBRARY"]
    needed = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
    check("not found" not in needed and "libmpi" not in needed and "openblas" not in needed, f"it needs:\n{needed}")
    symbols = subprocess.run([os.environ["NM"], "-D", path], capture_output=True, text=True, check=True).stdout.split("\n")
    wanted = [line.split()[-1] for line in symbols if " U " in line]
    check(not [name for name in wanted if name.startswith(("MPI_", "ompi_", "cblas_"))], f"it wants {wanted}")
    given = {line.split()[-1].split("@")[0] for line in symbols if " T " in line or " D " in line or " B " in line}
    header = open(os.path.join(os.environ["SOURCE_DIR"], "api/ranktape.h")).read()
    declared = {name for name in given if f"{name}(" in header}
    check(given == declared and len(given) == 6, f"exported: {given}")


def outside():
    """A project of its own finds the installed library by CMake and by pkg-config, wherever it was moved to."""
    build, example = os.environ["BUILD_DIR"], os.path.join(os.environ["SOURCE_DIR"], "api/example")

    def call(*command, **environment):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=dict(os.environ, **environment))
        check(done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
        return done.stdout

    for component in ("library", "development"):
        call("cmake", "--install", build, "--prefix", os.path.abspath("installed"), "--component", component)
    os.rename("installed", "moved")
    files = {name: folder for folder, _, names in os.walk("moved") for name in names}
    prefix, folder = os.path.abspath("moved"), os.path.abspath(files["libranktape.so.0"])
    call("cmake", "-S", example, "-B", "project", f"-DCMAKE_PREFIX_PATH={prefix}")
    call("cmake", "--build", "project")
    flags = call("pkg-config", "--cflags", "--libs", "ranktape", PKG_CONFIG_PATH=os.path.abspath(files["ranktape.pc"])).split()
    check(not [flag for flag in flags if "mpi" in flag or "hdf5" in flag], f"pkg-config says {flags}")
    call(os.environ["CC"], "-std=c99", "-Wall", "-Wextra", "-Werror", f"{example}/nearest.c", "-o", "by_pkg_config", *flags)
    call(os.environ["CC"], "-x", "c++", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", f"{files['ranktape.h']}/ranktape.h")

    rows = clustered(500, 16, seed=5)
    write_bin("query.fbin", rows[:5])
    say("build", write_bin("rows.fbin", rows), "index")
    ids, _ = answers_of_program("index", "query.fbin")
    for program in ("project/nearest", "./by_pkg_config"):
        said = call(program, "index", "query.fbin", K, LD_LIBRARY_PATH=folder)
        found = [[int(hit.split(":")[0]) for hit in line.split()] for line in said.splitlines()]
        check(np.array_equal(found, ids), f"{program} finds {found}, not {ids}")


def probe(*arguments):
    return subprocess.Popen([os.environ["API_PROBE"], *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def load():
    """Threads search while rows that no query finds die and are vacuumed away: no answer changes."""
    rows = clustered(6000, 16, seed=9)
    write_bin("query.fbin", rows[:60])
    say("build", write_bin("rows.fbin", rows), "index", "--lists", "40")
    with Index("index") as opened:
        found = np.unique(opened.search(rows[:60])[0])
    others = np.setdiff1d(np.arange(6000), found).astype("<u8")
    running = probe("load", "index", "query.fbin", 8)
    check(running.stdout.readline() == "ready\n", "the probe did not begin")
    for step in range(3):
        others[step::7][:200].tofile("dead.u64")
        say("delete", "index", "--ids", "dead.u64")
        say("vacuum", "index", *(["--full"] if step == 2 else []))
    time.sleep(0.2)
    open("stop", "w").close()
    said = running.communicate(timeout=60)[0].split()
    print(" ".join(said))
    check(running.returncode == 0, f"the probe ended with {running.returncode}")
    check(int(said[0]) >= 3 and int(said[2]) > 100, f"too little happened: {said}")


def calls():
    rows = clustered(2000, 16, seed=5)
    write_bin("query.fbin", rows[:50])
    say("build", write_bin("rows.fbin", rows), "index", "--lists", "3,20")
    say("insert", "index", write_bin("more.fbin", rows[:100] + 0.5))
    for mode in ("calls", "modes"):
        check(probe(mode, "index", "query.fbin").wait() == 0, f"{mode} have failed")
    if shutil.which("valgrind") and not os.environ.get("IS_SANITIZED"):  # which knows no AVX-512
        done = subprocess.run(["valgrind", "-q", "--leak-check=full", "--errors-for-leak-kinds=definite", "--error-exitcode=42",
                               os.environ["API_PROBE"], "calls", "index", "query.fbin"],
                              env=dict(os.environ, RANKTAPE_ISA="avx2"), capture_output=True, text=True)
        check(done.returncode == 0, f"valgrind: {done.stderr[-3000:]}")


def beside():
    rows = clustered(2000, 16, seed=5)
    write_bin("query.fbin", rows[:5])
    say("build", write_bin("rows.fbin", rows), "index")
    command = [*LAUNCHER, "-n", "2", os.environ["API_BESIDE_MPI"], "index", "query.fbin"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    check(done.returncode == 0, f"beside MPI: {done.returncode} {done.stdout} {done.stderr}")


def write(path, content):
    with open(path, "wb") as f:
        f.write(content)


def damage():
    """Every byte may be wrong: an error or some answer, never a crash."""
    rows = clustered(1500, 16, seed=3)
    say("build", write_bin("rows.fbin", rows), "index", "--lists", "3,15")
    say("insert", "index", write_bin("more.fbin", rows[:60] + 0.5))
    np.arange(0, 40, dtype="<u8").tofile("dead.u64")
    say("delete", "index", "--ids", "dead.u64")
    rng = np.random.default_rng(0)
    outcomes = {}
    options = SearchOptions(10, 15)

    def attempt(what):
        try:
            with Index("index") as opened:
                opened.search(rows[::50], options)
            outcome = "ok"
        except Error as error:
            outcome = error.status
            check("index" in str(error) or "query" in str(error), f"{what}: {error}")
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        return outcome

    for name in sorted(os.listdir("index")):
        path = f"index/{name}"
        if not os.path.isfile(path):
            continue
        with open(path, "rb") as f:
            good = f.read()
        os.remove(path)
        if attempt(f"{name} missing") == "ok":
            write(path, good)  # of an older generation
            continue
        places = np.concatenate([np.arange(0, min(len(good), 64), 4), rng.integers(0, len(good), 60)])
        for place in places:
            bad = bytearray(good)
            bad[place] ^= 1 << int(rng.integers(0, 8))
            write(path, bad)
            attempt(f"{name}, byte {place}")
        for size in (0, 1, len(good) // 2, len(good) - 1):
            write(path, good[:size])
            check(attempt(f"{name} cut to {size}") != "ok", f"{name} cut to {size} bytes was not noticed")
        write(path, good)
    check(attempt("whole again") == "ok", "the index is not whole again")
    print(outcomes)
    check(outcomes.get("damaged", 0) > 100, f"outcomes {outcomes}")


part = sys.argv[1]
if part not in ("calls", "beside"):
    from ranktape_bench.library import NO_ID, Error, Index, SearchOptions
{"answers": all_answers, "library": a_library, "load": load, "calls": calls, "damage": damage, "outside": outside,
 "beside": beside}[part]()
end()
