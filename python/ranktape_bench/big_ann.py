"""What big-ann-benchmarks calls (harness/neurips23): whole data sets, filters, and rows that come and go. The program builds and
changes an index, the C library searches it. A harness class adds `dataset(name)`, which gives the harness's own object."""
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ranktape_bench import jobs
from ranktape_bench.library import NO_ID, Index, SearchOptions

MOST_IN_RANGE = 1 << 20


def _as_numbers(ids):
    """int32 where the harness's files hold them, -1 where no row fills a place."""
    return np.where(ids == NO_ID, -1, ids.astype(np.int64)).astype(np.int32)


class _Searching:
    """Queries shared out over threads. index_params: lists (a number, or text coarse,..,leaf; default: the program's choice),
    threads (default: all). query arguments: probes, epsilon."""

    def __init__(self, metric, index_params):
        self._metric, self._params = jobs.metric_of(metric), dict(index_params)
        self._threads = int(self._params.get("threads") or len(os.sched_getaffinity(0)))
        self._index = None
        self.set_query_arguments({})

    def set_query_arguments(self, query_args):
        self._probes, self._epsilon = query_args.get("probes"), query_args.get("epsilon", 1.9)
        self._n_measured, self._n_rows, self.res = 0, 0, None
        self.name = f"ranktape({self._params}, {query_args})"

    def _lists(self):
        return ["--lists", self._params["lists"]] if "lists" in self._params else []

    def _over_threads(self, call, parts):
        """call(part) for each part, in order of parts."""
        if self._threads == 1 or len(parts) == 1:
            return [call(part) for part in parts]
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(call, parts))

    def _search(self, X, options):
        """(ids, distances) of all queries, in parts that the threads share."""
        if self._index is None:  # nothing was inserted yet
            return np.full((len(X), options.k), NO_ID, np.uint64), np.full((len(X), options.k), np.inf, np.float32)
        n_parts = max(1, min(len(X), max(self._threads, len(X) // 256)))
        found = self._over_threads(lambda part: self._index.search(part, options), np.array_split(X, n_parts))
        for _, _, cost in found:
            self._n_measured += cost["reranked"]
            self._n_rows += cost["rows"]
        return np.concatenate([ids for ids, _, _ in found]), np.concatenate([distances for _, distances, _ in found])

    def query(self, X, k):
        self.res = _as_numbers(self._search(X, SearchOptions(k, self._probes, self._epsilon))[0])

    def range_query(self, X, radius):
        """Rows within radius (l2: squared): the k nearest, of twice as many wherever the k-th is still within."""
        ids, distances = [None] * len(X), [None] * len(X)
        open_queries, k = np.arange(len(X)), 128
        most = min(self._index.info()["rows"], MOST_IN_RANGE) if self._index else 1
        while len(open_queries):
            k = max(1, min(k, most))
            found, far = self._search(X[open_queries], SearchOptions(k, self._probes, self._epsilon))
            for q, i, d in zip(open_queries, found, far):
                ids[q], distances[q] = _as_numbers(i[d <= radius]), d[d <= radius]
            open_queries = open_queries[far[:, -1] <= radius] if k < most else open_queries[:0]
            k *= 4
        lims = np.cumsum([0] + [len(i) for i in ids])
        self.res = lims, np.concatenate(distances or [[]]), np.concatenate(ids or [[]])

    def get_results(self):
        return self.res

    def get_range_results(self):
        return self.res

    def get_additional(self):
        return {"dist_comps": self._n_measured, "codes_scanned": self._n_rows}

    def done(self):
        if self._index:
            self._index.close()
        self._index = None

    def __str__(self):
        return self.name


class Knn(_Searching):
    """Track T1 and ood: an index over the data set's own file, kept under data/indices."""

    def _folder(self, dataset):
        lists = str(self._params.get("lists", "auto")).replace(",", "x")
        return os.path.join(self._params.get("folder", "data/indices"), self.track(), f"ranktape.{lists}", dataset)

    def track(self):
        return "T1"

    def _rows_file(self, ds, folder):
        """The data set's file under a name that tells its type, or a copy where the file holds more rows than the set."""
        path = ds.get_dataset_fn()
        if int(np.fromfile(path, "<u4", 1)[0]) != ds.nb:
            return jobs.write_rows(folder, np.memmap(path, ds.dtype, "r", 8, (ds.nb, ds.d)))
        name = os.path.join(folder, f"rows.{jobs.SUFFIXES[np.dtype(ds.dtype).name]}")
        if not os.path.islink(name):
            os.symlink(os.path.abspath(path), name)
        return name

    def fit(self, dataset):
        folder = self._folder(dataset)
        os.makedirs(folder, exist_ok=True)
        rows = self._rows_file(self.dataset(dataset), folder)
        index = os.path.join(folder, "index")
        jobs.build(rows, index, self._metric, *self._lists(), *(["--force"] if os.path.exists(index) else []))
        if not self.load_index(dataset):
            raise RuntimeError(f"no index in '{index}' after it was built")

    def load_index(self, dataset):
        index = os.path.join(self._folder(dataset), "index")
        if not os.path.exists(os.path.join(index, "CURRENT")):
            return False
        self.done()
        self._index = Index(index)
        return True

    def index_files_to_store(self, dataset):
        folder = os.path.join(self._folder(dataset), "index")
        return folder, "", sorted(name for name in os.listdir(folder) if os.path.isfile(os.path.join(folder, name)))


class Filtered(Knn):
    """Each query names one or two words that a row must have. Rows that have them are a list of ids to the library; where they
    are few (index_params few_rows, default 5,000) they are measured one and all."""

    def track(self):
        return "filter"

    def load_index(self, dataset):
        if not super().load_index(dataset):
            return False
        ds = self.dataset(dataset)
        if ds.search_type() == "knn_filtered":
            self._rows = ds.get_dataset()
            self._read_words(ds.get_dataset_metadata())
        return True

    def _read_words(self, metadata):
        """From the words of a row (CSR) to the rows of a word, ascending."""
        rows = np.repeat(np.arange(metadata.shape[0], dtype=np.uint64), np.diff(metadata.indptr))
        self._rows_of_words = rows[np.argsort(metadata.indices, kind="stable")]
        self._first_row = np.concatenate([[0], np.cumsum(np.bincount(metadata.indices, minlength=metadata.shape[1]))])

    def _rows_with(self, words):
        """Rows that have all the words; None: no word was named."""
        common = None
        for word in words:
            rows = self._rows_of_words[self._first_row[word]:self._first_row[word + 1]]
            common = rows if common is None else np.intersect1d(common, rows, assume_unique=True)
        return common

    def _measure_all(self, query, rows, k):
        """The k nearest of a few rows, missing places NO_ID."""
        ids = np.full(k, NO_ID, np.uint64)
        values, query = self._rows[rows.astype(np.int64)].astype(np.float32), query.astype(np.float32)
        if self._metric == "l2":
            distances = ((values - query) ** 2).sum(1)
        else:
            distances = -(values @ query)
            if self._metric == "cosine":
                distances = distances / np.maximum(np.linalg.norm(values, axis=1), 1e-30)
        nearest = rows[np.lexsort((rows, distances))[:k]]
        ids[:len(nearest)] = nearest
        return ids

    def _one(self, query, words, k):
        rows, few = self._rows_with(words), self._params.get("few_rows", 5000)
        if rows is not None and len(rows) <= few:
            self._n_measured += len(rows)
            return self._measure_all(query, rows, k)
        ids, _, cost = self._index.search(query, SearchOptions(k, self._probes, self._epsilon, wanted=rows), False)
        self._n_measured += cost["reranked"]
        self._n_rows += cost["rows"]
        return ids[0]

    def filtered_query(self, X, filter, k):
        def words(q):
            return filter.indices[filter.indptr[q]:filter.indptr[q + 1]]

        found = self._over_threads(lambda part: [self._one(X[q], words(q), k) for q in part],
                                   np.array_split(np.arange(len(X)), max(1, min(len(X), 4 * self._threads))))
        self.res = _as_numbers(np.array([ids for part in found for ids in part], np.uint64).reshape(len(X), k))


class Streaming(_Searching):
    """Rows come and go: the first ones train the tree, later ones are insert, delete and insert --replace; vacuum runs when
    what has changed since the last one is more than vacuum_share (default 0.3) of the rows."""

    def track(self):
        return "streaming"

    def setup(self, dtype, max_pts, ndims):
        self.done()
        self._dtype, self._max_rows, self._dim = np.dtype(dtype), max_pts, ndims
        self._folder = tempfile.mkdtemp(prefix="ranktape-", dir=self._params.get("folder"))
        self._index_path = os.path.join(self._folder, "index")
        self._n_changed = 0

    def _lists(self):
        """As many as max_pts rows ask for, as far as the first rows can train them."""
        if "lists" in self._params:
            return super()._lists()
        return ["--lists", max(1, min(int(16 * self._max_rows ** 0.5), self._max_rows // 256, self._n_first // 39))]

    def _change(self, job, *arguments):
        said = jobs.run(job, self._index_path, *arguments)
        self._n_changed += said.get("deleted", 0) + said.get("inserted", 0)
        self._index.refresh()
        if self._n_changed > self._params.get("vacuum_share", 0.3) * max(1, self._index.info()["rows"]):
            jobs.run("vacuum", self._index_path, "--keep-generations", 1)
            self._index.refresh()
            self._n_changed = 0

    def insert(self, X, ids, *options):
        rows = jobs.write_rows(self._folder, np.ascontiguousarray(X, self._dtype))
        ids = jobs.write_ids(self._folder, ids)
        if self._index is None:
            self._n_first = len(X)
            jobs.build(rows, self._index_path, self._metric, "--ids", ids, *self._lists())
            self._index = Index(self._index_path)
        elif len(X):
            self._change("insert", rows, "--ids", ids, "--bad-rows", "skip", *options)

    def replace(self, X, ids):
        self.insert(X, ids, "--replace")

    def delete(self, ids):
        if self._index and len(ids):
            self._change("delete", "--ids", jobs.write_ids(self._folder, ids))

    def done(self):
        super().done()
        if getattr(self, "_folder", None):
            shutil.rmtree(self._folder)
            self._folder = None
