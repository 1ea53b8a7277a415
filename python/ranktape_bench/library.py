"""libranktape (api/ranktape.h) by ctypes: an index opened in this process, searched with numpy arrays.

Calls let other Python threads run; any number of them may search one Index. The library is found by RANKTAPE_LIBRARY, else as
the system finds libranktape.so.0."""
import ctypes
import os

import numpy as np

ERROR_BYTES = 512
NO_ID = 2**64 - 1
METRICS = ("l2", "ip", "cosine")
ELEMENTS = ("f32", "f16", "u8", "i8")
STATUS = ("ok", "usage", "input", "damaged", "io", "no memory")

_Filter = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint64)


class _Info(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("rows", ctypes.c_uint64), ("generation", ctypes.c_uint64),
                ("largest_id", ctypes.c_uint64), ("dim", ctypes.c_uint32), ("lists", ctypes.c_uint32),
                ("metric", ctypes.c_uint32), ("element", ctypes.c_uint32), ("n_levels", ctypes.c_uint32),
                ("levels", ctypes.c_uint32 * 8), ("digest", ctypes.c_char * 36)]


class _OpenOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("heaps", ctypes.POINTER(ctypes.c_char_p)), ("n_heaps", ctypes.c_size_t)]


class _SearchOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("k", ctypes.c_uint32), ("epsilon", ctypes.c_float),
                ("probes", ctypes.POINTER(ctypes.c_uint64)), ("n_probes", ctypes.c_size_t), ("filter", _Filter),
                ("filter_context", ctypes.c_void_p), ("wanted", ctypes.c_void_p), ("n_wanted", ctypes.c_size_t)]


class _Cost(ctypes.Structure):
    _fields_ = [("lists", ctypes.c_uint64), ("rows", ctypes.c_uint64), ("reranked", ctypes.c_uint64)]


class Error(Exception):
    """What the library says of a failure; `status` is one of STATUS."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = STATUS[status]


def _load(path):
    library = ctypes.CDLL(path)
    pointer, error = ctypes.c_void_p, ctypes.c_char_p
    library.ranktape_version.restype = ctypes.c_char_p
    library.ranktape_open.argtypes = [ctypes.c_char_p, ctypes.POINTER(_OpenOptions), ctypes.POINTER(pointer), error]
    library.ranktape_close.argtypes = [pointer]
    library.ranktape_close.restype = None
    library.ranktape_refresh.argtypes = [pointer, ctypes.POINTER(ctypes.c_int), error]
    library.ranktape_get_info.argtypes = [pointer, ctypes.POINTER(_Info)]
    library.ranktape_get_info.restype = None
    library.ranktape_search.argtypes = [pointer, ctypes.POINTER(_SearchOptions), pointer, ctypes.c_size_t, pointer, pointer,
                                        ctypes.POINTER(_Cost), error]
    return library


_library = None


def library():
    global _library
    if _library is None:
        _library = _load(os.environ.get("RANKTAPE_LIBRARY", "libranktape.so.0"))
    return _library


class SearchOptions:
    """k, probes (one number, or one a level; None: the library's choice), epsilon, and which rows may be found: a filter
    (id -> bool) or `wanted` (ids, ascending). Making them once keeps that out of every query."""

    def __init__(self, k=10, probes=None, epsilon=1.9, filter=None, wanted=None):
        numbers = [] if probes is None else list(np.atleast_1d(probes))
        self._probes = (ctypes.c_uint64 * len(numbers))(*map(int, numbers))
        self._filter = _Filter(lambda _, id: bool(filter(id))) if filter else _Filter()
        self._wanted = None if wanted is None else np.ascontiguousarray(wanted, np.uint64)
        self.k = k
        self.c = _SearchOptions(ctypes.sizeof(_SearchOptions), k, epsilon, self._probes, len(numbers), self._filter, None,
                                None if wanted is None else self._wanted.ctypes.data, 0 if wanted is None else len(wanted))


class Index:
    """An opened index. Use as a context manager, or call close()."""

    def __init__(self, path, heaps=()):
        self._lib, self._index = library(), ctypes.c_void_p()
        names = (ctypes.c_char_p * len(heaps))(*map(os.fsencode, heaps))
        options = _OpenOptions(ctypes.sizeof(_OpenOptions), names, len(heaps))
        error = ctypes.create_string_buffer(ERROR_BYTES)
        self._check(self._lib.ranktape_open(os.fsencode(path), options, self._index, error), error)
        self.dim = self.info()["dim"]

    @staticmethod
    def _check(status, error):
        if status:
            raise Error(status, error.value.decode(errors="replace"))

    def info(self):
        info = _Info(size=ctypes.sizeof(_Info))
        self._lib.ranktape_get_info(self._index, info)
        return {"rows": info.rows, "generation": info.generation, "largest_id": info.largest_id, "dim": info.dim,
                "lists": info.lists, "metric": METRICS[info.metric], "element": ELEMENTS[info.element],
                "levels": list(info.levels[:info.n_levels]), "digest": info.digest.decode()}

    def refresh(self):
        """Takes the newest generation; whether there was a new one."""
        is_new, error = ctypes.c_int(), ctypes.create_string_buffer(ERROR_BYTES)
        self._check(self._lib.ranktape_refresh(self._index, is_new, error), error)
        return bool(is_new.value)

    def search(self, queries, options=None, with_distances=True):
        """(ids uint64, distances f32 or None, cost), each n x k; queries: one row or n rows, of any number type."""
        options = options or SearchOptions()
        queries = np.ascontiguousarray(np.atleast_2d(queries), dtype=np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.dim:
            raise ValueError(f"queries of shape {queries.shape}, the index has {self.dim} dimensions")
        ids = np.empty((len(queries), options.k), np.uint64)
        distances = np.empty(ids.shape, np.float32) if with_distances else None
        cost, error = _Cost(), ctypes.create_string_buffer(ERROR_BYTES)
        self._check(self._lib.ranktape_search(self._index, options.c, queries.ctypes.data, len(queries), ids.ctypes.data,
                                              distances.ctypes.data if with_distances else None, cost, error), error)
        return ids, distances, {"lists": cost.lists, "rows": cost.rows, "reranked": cost.reranked}

    def close(self):
        if self._index:
            self._lib.ranktape_close(self._index)
            self._index = ctypes.c_void_p()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        self.close()
