"""What ann-benchmarks calls (harness/ann_benchmarks): an index built by the program, searched through the C library."""
import shutil
import tempfile

import numpy as np

from ranktape_bench import jobs
from ranktape_bench.library import NO_ID, Index, SearchOptions


def _found(ids):
    """The ids of one query; places that no row fills are left out: the harness would take an id of -1 for the last row."""
    return ids[ids != NO_ID]


class Ranktape:
    def __init__(self, metric, n_lists):
        self._metric, self._n_lists = jobs.metric_of(metric), n_lists
        self._index = self._folder = None
        self._probes, self._epsilon = None, 1.9
        self._new_query_group()

    def _new_query_group(self):
        self._options, self._n_measured, self._results = {}, 0, []
        self.name = f"ranktape(lists={self._n_lists}, probes={self._probes}, epsilon={self._epsilon})"

    def fit(self, X):
        self._folder = tempfile.mkdtemp(prefix="ranktape-")
        rows = jobs.write_rows(self._folder, X)
        jobs.build(rows, f"{self._folder}/index", self._metric, "--lists", self._n_lists)
        self._index = Index(f"{self._folder}/index")

    def set_query_arguments(self, probes, epsilon=1.9):
        self._probes, self._epsilon = probes, epsilon
        self._new_query_group()

    def _search(self, queries, n):
        options = self._options.get(n)
        if options is None:
            options = self._options[n] = SearchOptions(n, self._probes, self._epsilon)
        ids, _, cost = self._index.search(queries, options, with_distances=False)
        self._n_measured += cost["reranked"]
        return ids

    def query(self, v, n):
        return _found(self._search(v, n)[0])

    def batch_query(self, X, n):
        self._results = self._search(X, n)

    def get_batch_results(self):
        return [_found(ids) for ids in self._results]

    def prepare_query(self, v, n):
        self._prepared = np.ascontiguousarray(v, np.float32), n

    def run_prepared_query(self):
        self._results = self._search(*self._prepared)

    def get_prepared_query_results(self):
        return _found(self._results[0])

    def get_additional(self):
        return {"dist_comps": self._n_measured}

    def done(self):
        if self._index:
            self._index.close()
        if self._folder:
            shutil.rmtree(self._folder)
        self._index = self._folder = None

    def __str__(self):
        return self.name
