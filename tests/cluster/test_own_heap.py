"""Which rows are the index's own heap, grown, and which are another's: --from-row, and jobs that are queued again."""
import os
import shutil

import numpy as np
from ranktape_cli import check, clustered, end, ok, run, vecs, write_bin

DIM = 8
rows = clustered(1300, DIM, seed=4).astype(np.float32)
other = clustered(1300, DIM, seed=5).astype(np.float32)


def write(name, *parts):
    with open(name, "wb") as f:
        f.write(vecs(np.concatenate(parts)) if parts and len(parts[0]) else b"")
    return name


def ids(name, begin, n):
    np.arange(begin, begin + n, dtype="<u8").tofile(name)
    return name


def count(index):
    return ok("info", index, "--json", ranks=0).json()["rows"]


def refused(what, words, *call):
    result = run(*call, ranks=2)
    check(result.code == 2 and len(result.message()) == 1 and all(word in result.err for word in words),
          f"{what}: exit {result.code}: {result.out}{result.err}")


def inserted(n, *call):
    said = ok("insert", *call, "--json", ranks=2).json()
    check(said["inserted"] == n, f"insert {' '.join(map(str, call))}: {said}")


def answers(index):
    """Every row is found as itself, wherever its vector lies."""
    ok("verify", index, "--full", ranks=2)
    ok("search", index, "some.fbin", "--probes", 5, ranks=2)


write_bin("some.fbin", rows[::50])
write("heap.fvecs", rows[:1000])
# some of it in place of what was: it stays that heap, with all of its rows
os.mkdir("parts")
write("parts/a.fvecs", rows[:700])
write("parts/c.fvecs", rows[700:1000])
built = ("build", "parts", "of_parts", "--lists", 5, "--resume")
ok(*built, ranks=2)
inserted(100, "of_parts", write("first.fvecs", rows[:700]), "--from-row", 600, "--replace")
check("already" in ok(*built, ranks=2).out, "a part of its rows has become the index's own heap")
write("parts/b.fvecs", rows[1000:1100])
refused("a file between, after a part was replaced", ["rows 700 to 999", "'parts'"], "insert", "of_parts", "parts", "--from-row", 1000)
# other rows in place of a part: known as what they are
inserted(200, "of_parts", write("first.fvecs", rows[:500], other[:200]), "--from-row", 500, "--replace")
refused("rows that were replaced since", ["rows 497 to 699"], "insert", "of_parts", "heap.fvecs", "--from-row", 1000)
inserted(50, "of_parts", write("first.fvecs", rows[:500], other[:200], rows[700:1050]), "--from-row", 1000)
answers("of_parts")
# other rows in place of all
ok("build", "heap.fvecs", "anew", "--lists", 5, ranks=2)
inserted(1100, "anew", write("new.fvecs", other[:1100]), "--from-row", 0, "--replace")
inserted(100, "anew", write("new.fvecs", other[:1200]), "--from-row", 1100)
refused("the heap before", ["rows", "'longer.fvecs'"], "insert", "anew", write("longer.fvecs", rows), "--from-row", 1200)
answers("anew")
# ids of their own: any rows, and its heap where they are that
numbered = ("build", "heap.fvecs", "numbered", "--lists", 5, "--ids", ids("far.u64", 10**6, 1000), "--resume")
ok(*numbered, ranks=2)
inserted(100, "numbered", write("any.fvecs", other[:900]), "--from-row", 800, "--ids", ids("any.u64", 3 * 10**6, 900))
check("already" in ok(*numbered, ranks=2).out, "rows with ids of their own have become the index's heap")
write("heap.fvecs", rows[:1100])
inserted(100, "numbered", "heap.fvecs", "--from-row", 1000, "--ids", ids("more.u64", 10**6, 1100))
shutil.copy("far.u64", "kept.u64")
check("already" in ok(*numbered, ranks=2).out, "its heap has grown by rows with ids")
# files beside the rows: other ids, and other centroids, are another build
ids("far.u64", 5 * 10**6, 1000)
refused("other ids", ["far.u64", "numbered"], *numbered)
shutil.copy2("kept.u64", "far.u64")
np.save("c.npy", rows[:5])
given = ("build", "heap.fvecs", "given", "--lists", 5, "--centroids", "c.npy", "--resume")
ok(*given, ranks=2)
check("already" in ok(*given, ranks=2).out, "the same centroids")
np.save("c.npy", rows[5:10])
refused("other centroids", ["c.npy", "given"], *given)
# rows that begin as another insert's did are that insert's, grown, only where it took a heap that grows
ok("build", "some.fbin", "bits", "--lists", 2, ranks=2)
for options in ((), ("--concurrent",)):
    begin = count("bits")
    ok("insert", "bits", write("one.fvecs", other[begin:begin + 1]), *options, ranks=2)
    inserted(1 if options else 400, "bits", write("many.fvecs", other[begin:begin + 400]), "--concurrent", "--resume")
    check(count("bits") == begin + (1 if options else 401), f"{options}: {count('bits')} rows of {begin}")
# half a row where others follow would be a row between them one day
os.mkdir("halves")
write("halves/a.fvecs", rows[:200])
write("halves/b.fvecs", rows[200:300])
for place in ((), ("--rerank-in-heap",)):
    shutil.rmtree("of_halves", ignore_errors=True)
    with open("halves/a.fvecs", "ab") as f:
        f.write(b"half")
    refused("half a row between", ["a.fvecs", "truncated after 200"], "build", "halves", "of_halves", "--lists", 3, "--concurrent", *place)
    os.truncate("halves/a.fvecs", 200 * (DIM + 1) * 4)
    with open("halves/b.fvecs", "ab") as f:
        f.write(b"half")
    ok("build", "halves", "of_halves", "--lists", 3, "--concurrent", *place, ranks=2)
    answers("of_halves")
    write("halves/c.fvecs", rows[300:310])
    refused("half a row between, later", ["b.fvecs", "truncated"], "insert", "of_halves", "halves", "--from-row", 300, "--concurrent")
    os.truncate("halves/b.fvecs", 100 * (DIM + 1) * 4)
    inserted(10, "of_halves", "halves", "--from-row", 300, "--concurrent")
    answers("of_halves")
    os.remove("halves/c.fvecs")
# vectors that stay in it: files that have changed are read from then on, also without a row that is new and good
write_bin("n.fbin", rows[:1000])
ok("build", "n.fbin", "in_heap", "--lists", 3, "--rerank-in-heap", "--bad-rows", "skip", ranks=2)
write_bin("n.fbin", np.concatenate((rows[:1000], np.full((1, DIM), np.nan, np.float32))))
for n in (1000, 1001):
    inserted(0, "in_heap", "n.fbin", "--from-row", n, "--bad-rows", "skip")
    answers("in_heap")
generation = ok("info", "in_heap", "--json", ranks=0).json()["generation"]
inserted(0, "in_heap", "n.fbin", "--from-row", 1001, "--bad-rows", "skip")
check(ok("info", "in_heap", "--json", ranks=0).json()["generation"] == generation == 2, "the same files are another generation")
left = [name for name in os.listdir("in_heap") if name.endswith(".partial") or name.startswith("appendable")]
check(not left, f"left without a row: {left}")
write_bin("n.fbin", np.concatenate((rows[:1000], np.full((1, DIM), np.nan, np.float32), rows[1001:1100])))
inserted(99, "in_heap", "n.fbin", "--from-row", 1001)
answers("in_heap")
# and where nothing is left to be read any heap will do, and the others need not be there
ok("delete", "in_heap", "--keep", ids("none.u64", 0, 0), ranks=2)
ok("vacuum", "in_heap", "--full", ranks=2)
os.remove("n.fbin")
inserted(200, "in_heap", write("fresh.fvecs", other[:200]), "--from-row", 0, "--concurrent")
write("fresh.fvecs", other[:250])
answers("in_heap")
inserted(50, "in_heap", "fresh.fvecs", "--from-row", 200, "--concurrent")
answers("in_heap")
end()
