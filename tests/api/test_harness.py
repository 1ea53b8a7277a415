"""The classes for ann-benchmarks and big-ann-benchmarks, found, made and called as the harnesses do it, by their own config
files: over real rows where RANKTAPE_DATA names their folder, else over rows that the program makes."""
import importlib
import itertools
import json
import os
import shutil
import sys

import numpy as np

SOURCE = os.environ["SOURCE_DIR"]
sys.path[:0] = [os.getcwd(), os.path.join(SOURCE, "python"), os.path.join(SOURCE, "tests/cluster")]
from ranktape_cli import check, distances, end, ok, read_ibin, write_bin

try:
    import yaml
except ImportError:
    print("no yaml: skipped")
    sys.exit(77)

K = 10
STUBS = {"ann_benchmarks/algorithms/base/module.py": "class BaseANN:\n    def done(self):\n        pass\n",
         "benchmark/algorithms/base.py": "class BaseANN:\n    def track(self):\n        raise NotImplementedError\n",
         "benchmark/datasets.py": "DATASETS = {}\n",
         "neurips23/filter/base.py": "class BaseFilterANN:\n    def filtered_query(self, X, filter, k):\n        raise NotImplementedError\n",
         "neurips23/streaming/base.py": "class BaseStreamingANN:\n    def insert(self, X, ids):\n        raise NotImplementedError\n"}


def harness():
    """The part of the harnesses that the classes see, with our folders where they belong."""
    shutil.copytree(f"{SOURCE}/python/harness", ".", dirs_exist_ok=True)
    for path, text in STUBS.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)


def real_or_made(name, kind, rows, dim):
    """(rows, queries, truth); truth is exact whichever it is."""
    folder, suffix = os.environ.get("RANKTAPE_DATA", ""), {"uint8": "u8bin", "float32": "fbin"}[kind]
    path, query, truth = (f"{folder}/{name}.{part}" for part in (suffix, f"query.{suffix}", "truth.ibin"))
    if not os.path.isfile(path):
        path, query, truth = f"{name}.{suffix}", f"{name}.query.{suffix}", f"{name}.truth.ibin"
        ok("synth", path, "--rows", rows, "--dim", dim, "--queries", query, "--query-count", 200, "--truth", truth, ranks=0)
    read = [np.fromfile(p, kind, offset=8).reshape(np.fromfile(p, "<u4", 2)) for p in (path, query)]
    return path, *read, read_ibin(truth)


def recall(found, truth, k=K):
    return np.mean([len(set(map(int, f)) & set(map(int, t[:k]))) / k for f, t in zip(found, truth)])


def in_contract(name, ids, k, n_rows, exact_width):
    for found in ids:
        found = [int(id) for id in found]
        check(len(found) == k if exact_width else len(found) <= k, f"{name}: {len(found)} ids for k {k}")
        check(len(set(found)) == len(found) and min(found, default=0) >= 0 and max(found, default=0) < n_rows, f"{name}: ids {found}")


def ann():
    """As ann_benchmarks/runner.py does: a definition from config.yml, fit, query groups, queries one by one."""
    harness()
    with open("ann_benchmarks/algorithms/ranktape/config.yml") as f:
        definition = yaml.safe_load(f)["float"]["any"][0]
    # its modules are packages with module.py in them
    constructor = getattr(importlib.import_module(f"{definition['module']}.module"), definition["constructor"])
    _, rows, queries, truth = real_or_made("bigann10k", "uint8", 9000, 64)
    groups = definition["run_groups"]["base"]
    for metric in ("euclidean", "angular"):
        X, Q = rows.astype(np.float32), queries[:100].astype(np.float32)
        if metric == "angular":
            X[17] = 0  # has no direction, and is nobody's neighbour
            with np.errstate(invalid="ignore"):
                truth = [np.argsort(distances(X, q, "cosine"), kind="stable")[:K] for q in Q]
        args = next(itertools.product(*groups["args"]))
        algo = constructor(*[metric if a == "@metric" else a for a in definition["base_args"]], *args)
        algo.fit(X)
        curve, names = [], set()
        for query_args in [q for q in itertools.product(*groups["query_args"]) if q[0] in (1, 20, 200)]:
            algo.set_query_arguments(*query_args)
            singles = [algo.query(q, K) for q in Q]
            in_contract(f"{algo}", singles, K, len(X), False)
            algo.batch_query(Q, K)
            check(all(np.array_equal(a, b) for a, b in zip(singles, algo.get_batch_results())), f"{algo}: a batch has other answers")
            algo.prepare_query(Q[0], K)
            algo.run_prepared_query()
            check(np.array_equal(algo.get_prepared_query_results(), singles[0]), f"{algo}: a prepared query has another answer")
            check(algo.get_additional()["dist_comps"] > K * len(Q), f"{algo}: {algo.get_additional()}")
            names.add(str(algo))
            curve.append(round(float(recall(singles, truth)), 4))
        print(f"{metric}: {curve} at {sorted(names)}")
        check(curve[-1] >= 0.99 and curve[0] < curve[-1], f"{metric}: recall {curve}")
        check(len(names) == len(curve), f"names do not tell the parameters: {names}")
        check(len(algo.query(Q[0], len(X) + 5)) <= len(X), f"{algo}: more neighbours than rows")
        folder = algo._folder
        algo.done()
        algo.done()
        check(not os.path.exists(folder), f"'{folder}' is left behind")
    try:
        constructor("hamming", 10)
        check(False, "a metric that there is not was taken")
    except ValueError:
        pass


def definition_of(track):
    """As benchmark/algorithms/definitions.py: args and query-args are JSON text."""
    with open(f"neurips23/{track}/ranktape/config.yaml") as f:
        found = yaml.safe_load(f)["any"]["ranktape"]
    group = found["run-groups"]["base"]
    constructor = getattr(importlib.import_module(found["module"]), found["constructor"])
    check(found["docker-tag"] == f"neurips23-{track}-ranktape", f"tag {found['docker-tag']}")
    return constructor, json.loads(group["args"])[0], json.loads(group["query-args"])


class Words:
    """What scipy's CSR offers of a 0-1 matrix."""

    def __init__(self, has):
        self.shape = has.shape
        self.indices = np.nonzero(has)[1].astype(np.int32)
        self.indptr = np.concatenate([[0], np.cumsum(has.sum(1))])


class Dataset:
    def __init__(self, path, rows, queries, words=None, nb=None):
        self.path, self.rows, self.queries, self.words = path, rows, queries, words
        self.nb, self.d, self.dtype = nb or len(rows), rows.shape[1], rows.dtype.name

    def get_dataset_fn(self):
        return self.path

    def get_dataset(self):
        return self.rows[:self.nb].astype(np.float32)

    def get_dataset_metadata(self):
        return self.words

    def search_type(self):
        return "knn" if self.words is None else "knn_filtered"


def register(name, dataset):
    importlib.import_module("benchmark.datasets").DATASETS[name] = lambda: dataset


def whole():
    harness()
    path, rows, queries, truth = real_or_made("bigann10k", "uint8", 9000, 64)
    register("whole", Dataset(path, rows, queries))
    register("part", Dataset(path, rows, queries, nb=5000))
    constructor, params, query_args = definition_of("ood")
    params = {"lists": 100, "threads": 2}  # the file's are for millions of rows
    for name, n, expected in (("whole", len(rows), truth), ("part", 5000, None)):
        algo = constructor("euclidean", params)
        check(not algo.load_index(name), f"{name}: an index that nobody has built")
        algo.fit(name)
        folder, prefix, files = algo.index_files_to_store(name)
        check(prefix == "" and "CURRENT" in files and folder.startswith("data/indices/ood/"), f"{folder} {files}")
        algo.done()
        algo = constructor("euclidean", params)
        check(algo.load_index(name), f"{name}: the index is not found again")
        algo.set_query_arguments(query_args[1])
        algo.query(queries.astype(np.float32), K)
        found = algo.get_results()
        check(found.shape == (len(queries), K) and found.dtype.kind == "i", f"{name}: {found.shape} {found.dtype}")
        in_contract(str(algo), found, K, n, True)
        if expected is None:
            expected = [np.argsort(distances(rows[:n], q, "l2"), kind="stable")[:K] for q in queries[:50]]
        got = recall(found, expected)
        print(f"{algo} on {name}: recall {got:.4f}")
        check(got >= 0.97, f"{name}: recall {got}")
        within(algo, rows[:n], queries[:20])
        algo.done()


def within(algo, rows, queries):
    """Range: every row within the radius, in ragged rows."""
    exact = np.array([distances(rows, q, "l2") for q in queries])
    radius = float(np.sort(exact, axis=1)[:, 300].mean())
    algo.set_query_arguments({"probes": 1000, "epsilon": 4})
    algo.range_query(queries.astype(np.float32), radius)
    lims, far, ids = algo.get_range_results()
    check(len(lims) == len(queries) + 1 and lims[-1] == len(ids) == len(far), f"range: {lims}")
    for q in range(len(queries)):
        want, got = np.flatnonzero(exact[q] <= radius), ids[lims[q]:lims[q + 1]]
        check(len(np.setdiff1d(want, got)) <= 0.02 * len(want) and len(np.setdiff1d(got, want)) == 0, f"range of query {q}: {len(got)} of {len(want)}")


def filtered():
    harness()
    path, rows, queries, _ = real_or_made("bigann10k", "uint8", 9000, 64)
    rng = np.random.default_rng(5)
    has = rng.random((len(rows), 12)) < np.geomspace(0.6, 0.004, 12)
    asked = np.zeros((60, 12), bool)
    for q in range(60):
        asked[q, rng.choice(12, 1 + q % 2, replace=False)] = True
    queries = queries[:60].astype(np.float32)
    register("words", Dataset(path, rows, queries, Words(has)))
    constructor, _, query_args = definition_of("filter")
    algo = constructor("euclidean", {"lists": 60, "threads": 3, "few_rows": 400})
    algo.fit("words")
    algo.set_query_arguments(query_args[1])
    algo.filtered_query(queries, Words(asked), K)
    found, n_right, n_wanted = algo.get_results(), 0, 0
    check(found.shape == (60, K), f"filter: {found.shape}")
    for q in range(60):
        may = np.flatnonzero(has[:, asked[q]].all(1))
        want, got = may[np.argsort(distances(rows[may], queries[q], "l2"), kind="stable")[:K]], found[q][found[q] >= 0]
        check(np.isin(got, may).all() and len(set(got)) == len(got), f"filter: query {q} has ids {got}")
        check(len(got) == min(K, len(may)), f"filter: query {q} has {len(got)} ids of {len(may)} that may be")
        n_right, n_wanted = n_right + len(np.intersect1d(want, got)), n_wanted + len(want)
    print(f"{algo}: recall {n_right / n_wanted:.4f}, {algo.get_additional()}")
    check(n_right >= 0.97 * n_wanted, f"filter: {n_right} of {n_wanted}")
    check(0 < algo.get_additional()["codes_scanned"] < 60 * len(rows), "both ways were not taken")
    algo.done()


def streaming():
    """A runbook: rows come in parts, go, come back with other values, and are searched between."""
    harness()
    _, rows, queries, _ = real_or_made("bigann10k", "uint8", 9000, 64)
    data, queries = rows.astype(np.float32), queries[:50].astype(np.float32)  # as get_dataset() has them
    constructor, params, query_args = definition_of("streaming")
    algo = constructor("euclidean", params)
    algo.setup("uint8", 6000, data.shape[1])
    algo.set_query_arguments(query_args[1])
    algo.query(queries, K)
    check((algo.get_results() == -1).all(), "an answer before the first row")
    values = {}
    runbook = [("insert", 0, 3000), ("search",), ("delete", 500, 2000), ("insert", 3000, 5000), ("search",), ("insert", 600, 900),
               ("replace", 0, 100), ("search",), ("delete", 2500, 4800), ("search",)]
    recalls = []
    for operation, *span in runbook:
        ids = np.arange(*span, dtype=np.uint32) if span else None
        if operation == "delete":
            algo.delete(ids)
            for id in ids:
                values.pop(int(id), None)
        elif operation in ("insert", "replace"):
            X = data[ids] if operation == "insert" else data[ids + 7000]
            (algo.insert if operation == "insert" else algo.replace)(X, ids)
            values.update((int(id), x) for id, x in zip(ids, X))
        else:
            algo.query(queries, K)
            found = algo.get_results()
            in_contract(str(algo), found, K, len(data), True)
            live, matrix = np.array(list(values)), np.array(list(values.values()))
            truth = [live[np.lexsort((live, distances(matrix, q, "l2")))[:K]] for q in queries]
            check(np.isin(found, live).all(), "rows that are not there were found")
            recalls.append(round(float(recall(found, truth)), 4))
    print(f"{algo}: recall {recalls}, changes since vacuum {algo._n_changed}, generation {algo._index.info()['generation']}")
    check(min(recalls) >= 0.97, f"streaming: recall {recalls}")
    check(algo._index.info()["rows"] == len(values), f"{algo._index.info()['rows']} rows, {len(values)} live")
    check(algo._index.info()["generation"] > 7, "no vacuum has run")
    folder = algo._folder
    algo.done()
    check(not os.path.exists(folder), f"'{folder}' is left behind")


{"ann": ann, "whole": whole, "filtered": filtered, "streaming": streaming}[sys.argv[1]]()
end()
