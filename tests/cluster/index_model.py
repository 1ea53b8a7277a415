"""A model of an index that lives: a dictionary of id to row, changed beside the index by the same random steps and held against
what the program, and a reader of its files, then say."""
import json
import os
import shutil
import sys
import threading

import h5py
import numpy as np

from ranktape_cli import TYPES, distances, run, write_bin

sys.path.insert(0, os.path.join(os.environ["SOURCE_DIR"], "tests", "format"))
import read_index  # noqa: E402

reading = threading.Lock()  # HDF5 works for one thread at a time


class Wrong(Exception):
    """The index is not what the model says."""


def manifest_of(index):
    with open(f"{index}/CURRENT") as f:
        name = f.read().split()[0]
    with open(f"{index}/{name}") as f:
        return json.load(f)


def write_ids(path, ids):
    ids = np.asarray(ids, "<u8")
    if path.endswith(".npy"):
        np.save(path, ids)
    elif path.endswith(".h5"):
        with reading, h5py.File(path, "w") as f:
            f["ids"] = ids
        return path + ":/ids"
    else:
        ids.tofile(path)
    return path


class Model:
    def __init__(self, folder, seed, says=lambda line: None):
        self.draw = np.random.default_rng(seed)
        self.folder, self.seed, self.says = folder, seed, says
        os.mkdir(folder)
        self.index = f"{folder}/index"
        self.n_files = 0
        self.live, self.dead = {}, set()  # id to row; ids that have lived
        self.next_row = self.n_skipped = self.generation = 0
        self.heap = None  # all rows of ROWS so far, one behind the other
        self.metric = self.one_of("l2", "ip", "cosine")
        self.element = self.one_of("f32", "f32", "u8", "f16", "i8")
        self.dim = int(self.one_of(1, 5, 12, 33, 64))
        self.in_heap = self.chance(0.25)
        self.residual = self.one_of("on", "off")

    # ---- choices ----

    def one_of(self, *values):
        return values[self.draw.integers(len(values))]

    def chance(self, probability):
        return self.draw.random() < probability

    def ranks(self):
        return int(self.one_of(0, 0, 1, 2, 3, 4))

    def path(self, suffix):
        self.n_files += 1
        return f"{self.folder}/{self.n_files}.{suffix}"

    def rows(self, n):
        dtype = TYPES[self.element][0]
        if np.issubdtype(dtype, np.integer):
            return (self.draw.integers(0, 100, (n, self.dim)) + 1).astype(dtype)
        return (self.draw.integers(-3, 4, (n, 1)) + self.draw.standard_normal((n, self.dim))).astype(dtype)

    def fresh_ids(self, n):
        top = int(self.one_of(1000, 10**6, 2**40, 2**62))
        ids = set()
        while len(ids) < n:
            new = int(self.draw.integers(0, top))
            if new not in self.live and new not in self.dead:
                ids.add(new)
        return list(ids)

    def some(self, ids, most):
        ids = sorted(ids)
        return [int(i) for i in self.draw.choice(np.array(ids, "u8"), min(len(ids), most), replace=False)] if ids else []

    # ---- jobs ----

    def expect(self, condition, text):
        if not condition:
            raise Wrong(text)

    def job(self, *arguments, code=0, ranks=None):
        ranks = self.ranks() if ranks is None else ranks
        self.says(f"{' '.join(map(str, arguments))} ({ranks} ranks)")
        result = run(*arguments, ranks=ranks, timeout=400)  # four at once, on a machine that may be busy
        self.expect(result.code == code, f"exit {result.code}, not {code}: {result.out}{result.err}")
        return result

    def centroids(self):
        """Leaves alone, or a tree of three cells."""
        n = int(self.draw.integers(3, 20))
        leaves = self.rows(n).astype(np.float32)
        if self.chance(0.5):
            path = self.path("npy")
            np.save(path, leaves)
            return path
        path = self.path("h5")
        with reading, h5py.File(path, "w") as f:
            f["id"] = np.arange(n + 4, dtype="i4")
            f["parent"] = np.concatenate([[-1, 0, 0, 0], np.sort(np.arange(n) % 3) + 1]).astype("i4")
            f["vector"] = np.concatenate([self.rows(4).astype(np.float32), leaves])
        return path

    def build(self):
        n = int(self.one_of(1, 40, 40, 300))
        rows, self.n_leaves = self.rows(n), 0
        self.options = ["--centroids", self.centroids(), "--metric", self.metric, "--residual", self.residual, "--beam", 2]
        ids = list(range(n))
        options = []
        if self.chance(0.5):
            ids = self.fresh_ids(n)
            options = ["--ids", write_ids(self.path("u64"), ids)]
        path = self.path(TYPES[self.element][1])
        write_bin(path, rows)
        self.job("build", path, self.index, *self.options, *options, *self.some_options(),
                 *(["--rerank-in-heap"] if self.in_heap else []))
        self.live = dict(zip(ids, rows))
        self.heap, self.next_row, self.generation = rows, n, 1
        self.n_leaves = manifest_of(self.index)["levels"][-1]

    def hurt(self, rows, share):
        """Some rows are made bad. Returns which, as a mask."""
        bad = self.draw.random(len(rows)) < share
        if self.element in ("f32", "f16"):
            rows[bad] = self.one_of(np.nan, np.inf)
        elif self.metric == "cosine":
            rows[bad] = 0
        else:
            bad[:] = False
        return bad

    def some_options(self):
        options = []
        for words, share in ((["--tapes", int(self.draw.integers(1, 5))], 0.4), (["--chooser", self.one_of("id", "rng", "zero")], 0.4),
                             (["--block-rows", int(self.draw.integers(1, 9))], 0.3), (["--io", "mpio"], 0.2),
                             (["--scatter"], 0.2), (["--pin", "off"], 0.2), (["--verify-writes"], 0.2)):
            options += words if self.chance(share) else []
        return options

    def source(self, rows):
        """ROWS, and how many rows of it are old."""
        old = 0
        options = []
        if self.chance(0.2):
            old, rows = len(self.heap), np.concatenate([self.heap, rows])
            options = ["--from-row", old]
        path = self.path(TYPES[self.element][1])
        write_bin(path, rows)
        return path, old, options

    def insert(self):
        n = int(self.one_of(0, 1, 1, 1, 2, 5, 20, 60))
        rows = self.rows(n)
        replaces = self.chance(0.3)
        path_rows = rows.copy()
        bad = self.hurt(path_rows, 0.3 if self.chance(0.3) else 0)
        path, old, options = self.source(path_rows)
        options += self.some_options() + (["--replace"] if replaces else []) + (["--bad-rows", "skip"] if bad.any() else [])
        first = old if "--from-row" in options else self.next_row
        ids = list(range(first, first + n))
        if self.chance(0.6):
            known = self.some(self.live, n // 2) if replaces else []
            known += self.some(self.dead - set(self.live), n // 4)
            ids = known + self.fresh_ids(n - len(known))
            self.draw.shuffle(ids)
            ids = [int(i) for i in ids]
            if n == 60 and self.chance(0.5):
                ids.sort()
            options += ["--ids", write_ids(self.path(self.one_of("u64", "npy", "h5")), list(range(old)) + ids)]
        if n == 0 and not old:
            self.expect("holds no rows" in self.job("insert", self.index, path, *options, code=2).err, "no rows, not said")
            return
        clash = [i for i in ids if i in self.live]
        if clash and not replaces:
            result = self.job("insert", self.index, path, *options, code=2)
            self.expect(str(min(clash)) in result.err and "in the index already" in result.err, f"not named: {result.err}")
            return
        said = self.job("insert", self.index, path, *options, "--json").json()
        good = [(i, row) for i, row, is_bad in zip(ids, rows, bad) if not is_bad]
        want = {"inserted": len(good), "skipped": int(bad.sum()), "replaced": sum(i in self.live for i, _ in good)}
        self.expect({key: said[key] for key in want} == want, f"{said} instead of {want}")
        takes_heap = self.in_heap and "--from-row" in options  # a file is never the one before: vectors are read there from now on
        if not good and not takes_heap:  # nothing has come of it
            return
        self.live.update(good)
        self.dead.update(i for i, _ in good)
        self.generation += 1
        self.expect(said["generation"] == self.generation, f"{said}, not generation {self.generation}")
        self.n_skipped += want["skipped"]
        self.next_row = max(self.next_row, first + n)
        self.heap = np.concatenate([self.heap, path_rows])

    def delete(self):
        ids = self.some(self.live, int(self.one_of(1, 1, 3, 20, 500)))
        unknown = self.fresh_ids(2) + self.some(self.dead - set(self.live), 2) if self.chance(0.5) else []
        given = ids + unknown
        given = given + [int(i) for i in self.draw.choice(np.array(given, "u8"), 3)] if given and self.chance(0.3) else given
        self.draw.shuffle(given)
        path = write_ids(self.path(self.one_of("u64", "npy", "h5")), [int(i) for i in given])
        keeps = self.chance(0.15)
        said = self.job("delete", self.index, "--keep" if keeps else "--ids", path, "--json",
                        *(["--io", "mpio"] if self.chance(0.2) else [])).json()
        die = [i for i in self.live if (i in ids) != keeps]
        want = {"deleted": len(die), "unknown": len(unknown)}
        self.expect({key: said[key] for key in want} == want, f"{said} instead of {want}")
        for i in die:
            del self.live[i]
        self.dead.update(die)
        self.generation += bool(die)
        self.expect(said["generation"] == self.generation, f"{said}, not generation {self.generation}")

    def ask(self, name, queries, k):
        """The bytes of the answers."""
        found = f"{self.folder}/{name}.h5"
        self.job("search", self.index, queries, "--k", k, "--out", found)
        with open(found, "rb") as f:
            return f.read()

    def vacuum(self):
        before = manifest_of(self.index)
        queries = self.path(TYPES[self.element][1])
        write_bin(queries, self.rows(3))
        k = int(self.draw.integers(1, 20))
        answers = self.ask("before", queries, k)
        dead = before["rows_frozen"] + before["rows_appendable"] - before["rows"]
        full = self.chance(0.4)
        options = ["--full"] if full else ["--dead-fraction", self.one_of(0, 0.1, 0.5, 1)]
        options += ["--io", "mpio"] if self.chance(0.2) else []
        if self.chance(0.3):
            said = self.job("vacuum", self.index, *options, "--dry-run", "--json").json()
            self.expect(manifest_of(self.index) == before, "--dry-run has done something")
            self.expect(not full or said["rows_removed"] == dead, f"{said}, but {dead} rows are dead")
        said = self.job("vacuum", self.index, *options, "--json").json()
        self.generation += said["rounds"]
        self.expect(said["generation"] == self.generation, f"{said}, not generation {self.generation}")
        after = manifest_of(self.index)
        self.expect(after["digest"] == before["digest"], "vacuum has changed the digest")
        self.expect(self.ask("after", queries, k) == answers, "vacuum has changed answers")
        if full:
            self.expect(said["rows_removed"] == dead, f"{said}, but {dead} rows were dead")
            held = [after[key] for key in ("rows_frozen", "rows_appendable", "tombstones")]
            self.expect(held == [len(self.live), 0, 0], f"after vacuum --full: {held}")
            again = self.job("vacuum", self.index, "--full", "--json").json()
            self.expect((again["rows_removed"], again["lists_touched"]) == (0, 0), f"--full twice: {again}")
            self.generation += again["rounds"]  # files of vectors that have become alike in size are brought together

    # ---- what must hold ----

    def check_names(self):
        """Files of this generation and the one before, and no others."""
        manifests = [name for name in os.listdir(self.index) if name.startswith("manifest-")]
        self.expect(len(manifests) <= 2, f"{manifests}")
        known = {"CURRENT", *manifests}
        for name in manifests:
            with open(f"{self.index}/{name}") as f:
                known |= {entry["name"] for entry in json.load(f)["files"]}
        self.expect(set(os.listdir(self.index)) == known, f"{sorted(os.listdir(self.index))} instead of {sorted(known)}")

    def check_files(self):
        """As an independent reader of the files sees them: every hash, place and count, and the digest."""
        manifest = manifest_of(self.index)
        want = {"rows": len(self.live), "generation": self.generation, "next_row": self.next_row, "rows_skipped": self.n_skipped}
        found = {key: manifest[key] for key in want}
        self.expect(found == want, f"the manifest has {found} instead of {want}")
        self.check_names()
        try:
            with reading:
                read_index.main(self.index)
        except SystemExit as refusal:
            raise Wrong(str(refusal)) from None

    def check_info(self):
        said = self.job("info", self.index, "--json", ranks=0).json()
        self.expect(said["rows"] == len(self.live) and said["generation"] == self.generation, f"info: {said}")
        self.job("verify", self.index, "--full")

    def check_answers(self):
        """All lists, all rows measured: ids and distances are those of brute force."""
        queries = self.rows(3)
        path, found = self.path(TYPES[self.element][1]), self.path("h5")
        write_bin(path, queries)
        k = max(1, len(self.live) + 2) if self.chance(0.5) else int(self.draw.integers(1, 30))
        self.job("search", self.index, path, "--k", k, "--probes", self.n_leaves, "--epsilon", "1e6", "--out", found)
        with reading, h5py.File(found) as f:
            ids, measured = f["neighbors"][:], f["distances"][:]
        known = np.array(sorted(self.live), "i8")
        rows = np.array([self.live[int(i)] for i in known]).reshape(len(known), self.dim)
        n = min(k, len(known))
        for query, got, far in zip(queries, ids, measured):
            self.expect((got[n:] == -1).all() and np.isinf(far[n:]).all(), f"missing places: {got}")
            if n == 0:
                continue
            d = distances(rows, query, self.metric)
            self.expect(set(got[:n]) <= set(known) and len(set(got[:n])) == n, f"unknown or repeated ids: {got}")
            scale = np.abs(d).max() + float((query.astype(np.float64) ** 2).sum()) + 1
            true = d[np.searchsorted(known, got[:n])]
            self.expect(np.abs(true - np.sort(d)[:n]).max() <= 1e-5 * scale, f"not the nearest: {got}")
            self.expect(np.abs((far[:n] ** 2 if self.metric == "l2" else far[:n]) - true).max() <= 1e-4 * scale, f"distances: {far}")

    def check_digest(self):
        """The same digest as an index that was built of what is alive."""
        if len(self.live) < self.n_leaves:
            return
        ids = self.some(self.live, len(self.live))
        path, other = self.path(TYPES[self.element][1]), self.path("index")
        write_bin(path, np.array([self.live[i] for i in ids]))
        self.job("build", path, other, *self.options, "--ids", write_ids(self.path("u64"), ids))
        built, lived = manifest_of(other), manifest_of(self.index)
        for key in ("tree_hash", "rows_hash", "digest"):
            self.expect(built[key] == lived[key], f"{key} {lived[key]}, but {built[key]} when built of what is alive")
        shutil.rmtree(other)

    def step(self):
        self.one_of(*[self.insert] * 6, *[self.delete] * 3, self.vacuum)()
        self.check_files()
        if self.chance(0.2):
            self.check_info()
        if self.chance(0.4):
            self.check_answers()
        if self.chance(0.1):
            self.check_digest()

    def finish(self):
        self.check_info()
        self.check_answers()
        self.check_digest()
        shutil.rmtree(self.folder)
