"""An index leaves as one HDF5 file and comes back: the same bytes from any ranks and files, the same digest and answers."""
import filecmp
import os
import shutil
import subprocess
import sys

import numpy as np

from ranktape_cli import TYPES, check, clustered, digest, end, fail, ok, run, write_bin

try:
    import h5py
except ImportError:
    print("no h5py: skipped")
    sys.exit(77)

sys.path.insert(0, os.path.join(os.environ["SOURCE_DIR"], "tests", "format"))
sys.path.insert(0, os.path.join(os.environ["SOURCE_DIR"], "tests", "fault"))
import check_export  # noqa: E402
from forge import hash64  # noqa: E402


def same(a, b):
    return filecmp.cmp(a, b, shallow=False)


def export(index, out, ranks=0, *options):
    ok("export", index, out, "--format", "hdf5", *options, ranks=ranks)
    return out


class Lived:
    """An index with a history, and what lives in it."""

    def __init__(self, name, element, dim, metric, *options, n=9000):
        self.name, self.index, self.element = name, f"{name}.index", element
        dtype, suffix = TYPES[element]
        rows = clustered(n + 700, dim, seed=dim)
        rows = np.clip(rows * 40 + 100, 1, 255).astype(dtype) if element == "u8" else rows.astype(dtype)
        ids = np.random.default_rng(dim).permutation(len(rows)).astype("<u8") * 977 + 5
        ids.tofile(f"{name}.u64")
        ids[:n].tofile(f"{name}.first.u64")
        ids[n:].tofile(f"{name}.more.u64")
        self.more = write_bin(f"{name}.more.{suffix}", rows[n:])
        self.queries = write_bin(f"{name}.queries.{suffix}", rows[::400])
        ok("build", write_bin(f"{name}.{suffix}", rows[:n]), self.index, "--metric", metric, "--ids", f"{name}.first.u64",
           *options, ranks=2)
        self.change(self.index)
        dead = np.concatenate([ids[3:n:7], ids[n + 1:n + 50]])
        self.live = {int(i): row for i, row in zip(ids, rows) if i not in set(dead.tolist())}

    def change(self, index):
        ids = np.fromfile(f"{self.name}.first.u64", "<u8")[3::7]
        np.concatenate([ids, np.fromfile(f"{self.name}.more.u64", "<u8")[1:50]]).tofile(f"{self.name}.dead.u64")
        ok("insert", index, self.more, "--ids", f"{self.name}.more.u64", ranks=0)
        ok("delete", index, "--ids", f"{self.name}.dead.u64", ranks=0)

    def answers(self, index):
        ok("search", index, self.queries, "--k", 10, "--probes", 5, "--out", f"{index}.h5", ranks=0)
        return f"{index}.h5"


KINDS = (("l2", "f32", 20, "l2", "--lists", "4,24"), ("ip", "u8", 12, "ip", "--lists", "30", "--residual", "off"),
         ("cosine", "f16", 33, "cosine", "--lists", "2,5,25", "--rerank-in-heap"))


def there_and_back(ranks, kind):
    lived = Lived(*kind)
    name, index = lived.name, lived.index
    out = export(index, f"{name}.h5")
    for n in ranks:
        check(same(out, export(index, f"{name}.{n}.h5", n)), f"{name}: other bytes from {n} ranks")
    attributes, rows, record = check_export.read(out)
    check(attributes["digest"] == digest(index), f"{name}: digest")
    check(rows.keys() == lived.live.keys(), f"{name}: {len(rows)} rows, {len(lived.live)} live")
    check(all((rows[i][1] == lived.live[i]).all() for i in rows), f"{name}: vectors by id")
    check([line["job"] for line in record["history"]] == ["build", "insert", "delete"], f"{name}: history")
    back = f"{name}.back"
    result = ok("import", out, back, "--json", ranks=ranks[-1]).json()
    check(result["digest"] == digest(index) == digest(back) and result["rows"] == len(rows), f"{name}: digest of the import")
    check(ok("verify", back, "--full", "--json", ranks=2).json()["rows_recomputed"] == len(rows), f"{name}: verify")
    check(same(lived.answers(index), lived.answers(back)), f"{name}: other answers after import")
    ok("vacuum", index, "--full", ranks=2)
    check(same(out, export(index, f"{name}.vacuumed.h5")), f"{name}: other bytes after vacuum")
    with h5py.File(out) as a, h5py.File(export(back, f"{name}.again.h5")) as b:
        different = [x for x in a if not x.startswith("record") and not np.array_equal(a[x][()], b[x][()])]
        check(not different, f"{name}: exported again, {different} differ")
    return lived, back


def goes_on(lived, back):
    """What was imported lives as the index it came from."""
    some = np.array(list(lived.live)[::5], "<u8")
    some.tofile("some.u64")
    write_bin("new.fbin", clustered(40, 20, seed=77))
    digests = set()
    for index in (lived.index, back):
        ok("delete", index, "--ids", "some.u64", ranks=0)
        ok("insert", index, "new.fbin", ranks=2)
        ok("vacuum", index, "--full", ranks=0)
        ok("verify", index, "--full", ranks=0)
        digests.add(digest(index))
    check(len(digests) == 1, "the import went another way")


def example(out):
    program = os.path.join(os.environ["SOURCE_DIR"], "docs", "read_export.py")
    with h5py.File(out) as f:
        row_id, vector = int(f["ids"][7]), f["vectors"][7]
        text = f.attrs["digest"].decode()
    done = subprocess.run([sys.executable, program, out, str(row_id)], capture_output=True, text=True)
    check(done.returncode == 0 and text in done.stdout and f"id {row_id}: row 7" in done.stdout
          and str(vector) in done.stdout, f"read_export.py: {done.stdout}{done.stderr}")


def part_same():
    lived, back = there_and_back((1, 2, 3), KINDS[0])
    goes_on(lived, back)
    example(f"{lived.name}.h5")
    there_and_back((3,), KINDS[1])
    heap = there_and_back((2,), KINDS[2])[0]
    ok("delete", heap.index, "--keep", write_nothing(), ranks=0)
    empty = export(heap.index, "empty.h5", 2)
    ok("import", empty, "empty.back", ranks=2)
    check(digest("empty.back") == digest(heap.index), "an index of no rows")
    ok("verify", "empty.back", "--full", ranks=0)


def write_nothing():
    np.zeros(1, "<u8").tofile("none.u64")  # no row has the id 0
    return "none.u64"


# ---- files that lie ----


def sign(f, name):
    sums = f[name + ".xxh3"]
    unit, data = int(sums.attrs["unit_rows"]), f[name][()]
    for i in range(len(sums)):
        sums[i] = hash64(np.ascontiguousarray(data[i * unit:(i + 1) * unit]).tobytes())


def put(name, at, value):
    """One value of a dataset, which is signed again."""
    def change(f):
        data = f[name][()]
        data[at] = value(data) if callable(value) else value
        f[name][...] = data
        sign(f, name)
    return change


def attribute(name, value):
    def change(f):
        f.attrs.modify(name, np.bytes_(value) if isinstance(value, str) else np.uint64(value))
    return change


def both(*changes):
    def change(f):
        for each in changes:
            each(f)
    return change


def unsigned(f):
    f["vectors"][5] = f["vectors"][5] + 1


def recount(f):
    """The hashes of what stands there, as somebody would write them who wants to be believed."""
    rows = zip(f["lists"][()], f["ids"][()], f["codes"][()], f["factors"][()])
    name_hash(f, sum(check_export.row_hash(*row) for row in rows) % 2**128)


def name_hash(f, rows_hash):
    mask, tree_hash = 2**64 - 1, int(f.attrs["tree_hash"].decode(), 16)
    all_words = check_export.u64(tree_hash & mask, tree_hash >> 64, rows_hash & mask, rows_hash >> 64)
    attribute("rows_hash", check_export.hex128(rows_hash))(f)
    attribute("digest", check_export.hex128(check_export.hash128(all_words)))(f)


LIES = {  # what the message must say
    "a bit of a vector": (unsigned, "checksum|does not match"),
    "a code": (put("codes", (11, 0), lambda d: d[11, 0] ^ 1), "not those of its vector"),
    "another digest": (lambda f: name_hash(f, 5), "do not add up to the digest"),
    "a code, hashed": (both(put("codes", (11, 0), lambda d: d[11, 0] ^ 1), recount), "not those of its vector"),
    "a vector": (put("vectors", (11, 3), 9.0), "not those of its vector"),
    "a vector of no numbers": (put("vectors", (11, 3), np.nan), "none that can be indexed"),
    "a factor": (both(put("factors", (11, 1), np.inf), recount), "a factor is no number"),
    "padding bits": (both(put("codes", (11, 2), 0xFF), recount), "beyond its dimensions"),
    "a list": (put("lists", 11, lambda d: d[11] + 1), "not the one it lies in"),
    "order of ids": (both(put("ids", slice(0, 2), lambda d: d[1::-1]), recount), "do not ascend"),
    "an id twice": (both(put("ids", -1, lambda d: d[0]), put("list_offsets", -2, lambda d: d[-1] - 1),
                         put("lists", -1, lambda d: d.max()), recount), "twice|not those|do not ascend"),
    "an id too large": (attribute("largest_id", 3), "above largest_id"),
    "offsets back": (put("list_offsets", 2, 10**6), "do not add up to"),
    "offsets short": (put("list_offsets", -1, lambda d: d[-1] - 1), "do not add up to"),
    "a parent": (put("parents_1", 0, 3), "do not ascend|children"),
    "a parent too large": (put("parents_1", -1, 99), "do not ascend|children"),
    "a centroid": (put("centroids_1", (0, 0), 7.0), "not its tree's"),
    "a centroid of no numbers": (put("centroids_0", (0, 0), np.nan), "finite"),
    "statistics": (put("leaf_radius", 0, np.nan), "statistics of leaf 0"),
    "a record": (put("record", 0, ord("[")), "its record is no JSON"),
    "more rows": (attribute("rows", 10**9), "expected"),
    "absurd rows": (attribute("rows", 2**63), "'rows' is"),
    "dimension 0": (attribute("dimension", 0), "'dimension' is 0"),
    "levels": (attribute("levels", 9), "'levels' is 9"),
    "metric": (attribute("metric", "l1"), "metric 'l1'"),
    "digest": (attribute("digest", "0" * 32), "'digest'"),
    "fingerprint": (attribute("fingerprint", "0" * 32), "not its tree's"),
    "a newer version": (attribute("format_version", 2), "reads up to 1"),
    "format": (attribute("format", "something else"), "is not what ranktape export"),
    "a dataset more": (lambda f: f.create_dataset("more", data=np.zeros(3)), "more in it than"),
    "a dataset less": (lambda f: f.__delitem__("factors"), "damaged"),
}


def refused(file, says, *options, codes=(1, 2), ranks=0):
    result = run("import", file, "new.index", *options, ranks=ranks)
    what = f"{file}: exit {result.code}, {result.message()}"
    check(result.code in codes, what)
    check(len(result.message()) == 1 and any(s in result.message()[0] for s in says.split("|")), f"{what}; expected {says!r}")
    check(not os.path.exists("new.index"), f"{file}: an index was left behind")


def part_refused():
    ok("build", write_bin("rows.fbin", clustered(1500, 20, seed=3)), "index", "--lists", "4,12", ranks=0)
    export("index", "good.h5")
    good = open("good.h5", "rb").read()
    for number, (name, (change, says)) in enumerate(LIES.items()):
        file = f"{name.replace(' ', '_')}.h5"
        with open(file, "wb") as f:
            f.write(good)
        with h5py.File(file, "r+") as f:
            change(f)
        refused(file, says, ranks=2 if number % 8 == 1 else 0)
    for n_bytes in (0, 7, 100, len(good) // 2, len(good) - 1):
        with open("cut.h5", "wb") as f:
            f.write(good[:n_bytes])
        refused("cut.h5", "cut.h5")
    # a wrong argument, as anywhere else
    refused("rows.fbin", "no HDF5 file", codes=(2,))
    refused("nowhere.h5", "nowhere.h5", codes=(2,), ranks=2)
    refused(".", "directory", codes=(2,))
    refused("format.h5", "is not what ranktape export", codes=(2,))
    with h5py.File("other.h5", "w") as f:
        f["train"] = np.zeros((3, 4), "<f4")
    refused("other.h5", "is not what ranktape export", codes=(2,))
    # where the index shall lie
    says_existing = run("import", "good.h5", "index", ranks=0)
    check(says_existing.code == 2 and "--force" in says_existing.err, f"an index is there: {says_existing.err}")
    os.mkdir("foreign")
    open("foreign/file", "w").close()
    check(run("import", "good.h5", "foreign", "--force", ranks=0).code == 2 and os.listdir("foreign") == ["file"], "foreign")
    ok("import", "good.h5", "index", "--force", "--keep-generations", 1, ranks=0)
    ok("verify", "index", "--full", ranks=0)
    before = digest("index")
    result = run("import", "a_code.h5", "index", "--force", ranks=2)
    check(result.code == 1 and digest("index") == before, "a failed --force leaves the index as it was")
    ok("verify", "index", ranks=0)
    check(not any(name.endswith(".partial") for name in os.listdir("index")), f"left: {os.listdir('index')}")


def part_faults():
    """Whatever fails on the way, and wherever: one message, and nothing is left."""
    ok("build", write_bin("rows.fbin", clustered(1500, 20, seed=3)), "index", "--lists", "4,12", ranks=0)
    export("index", "good.h5")
    for job, file, out in (("export", "index", "new.h5"), ("import", "good.h5", "new.index")):
        options = ("--format", "hdf5") if job == "export" else ()
        for point, step in (("write", 7), ("fsync", 2), ("rename", 1)):  # not what cleaning up needs: faults last
            n, code = 1, 1
            while code:
                before = sorted(os.listdir())
                result = run(job, file, out, *options, ranks=0, environment={"RANKTAPE_FAULT": f"{point}:0:{n}"})
                code = result.code
                if code:
                    what = f"{job}, {point} {n}: exit {code}, {result.message()}"
                    check(code in (1, 2) and len(result.message()) == 1, what)
                    published = point == "fsync" and os.path.exists(f"{out}/CURRENT")
                    check(published or sorted(os.listdir()) == before, f"{what}; left: {set(os.listdir()) - set(before)}")
                shutil.rmtree(out) if os.path.isdir(out) else os.path.exists(out) and os.remove(out)
                n += step
            check(n > 1 + step, f"{job}: no {point} that could fail")


if sys.argv[1] == "same":
    part_same()
elif sys.argv[1] == "faults":
    part_faults()
elif sys.argv[1] == "refused":
    part_refused()
else:
    fail(f"no part {sys.argv[1]}")
end()
