"""Index files of FAISS read by the tables of docs/exports.md alone: no FAISS needed, and none of our code."""
import struct

import numpy as np


class Wrong(Exception):
    pass


def expect(condition, text):
    if not condition:
        raise Wrong(text)


class FaissFile:
    """rows: one dict a list with ids and either vectors (flat, fp16, u8) or bits and f0, f1."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.bytes = f.read()
        self.at, self.rotation, self.refine, self.ids, self.names = 0, None, None, None, []
        self.normalizes, self.lists = False, []
        self.index()
        expect(self.at == len(self.bytes), f"{len(self.bytes) - self.at} bytes behind the index")

    def take(self, form):
        values = struct.unpack_from("<" + form, self.bytes, self.at)
        self.at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def array(self, dtype, n):
        values = np.frombuffer(self.bytes, dtype, n, self.at)
        self.at += values.nbytes
        return values

    def vector(self, dtype):
        return self.array(dtype, self.take("Q"))

    def fourcc(self):
        name = self.take("4s").decode()
        self.names.append(name)
        return name

    def header(self):
        dim, n, a, b, trained, metric = self.take("iqqqBi")
        expect(a == b == 1048576 and trained == 1 and metric in (0, 1), f"header of {self.names[-1]}")
        return dim, n, metric

    def flat(self):
        name = self.fourcc()
        dim, n, metric = self.header()
        expect(name == ("IxF2" if metric else "IxFI"), f"{name} with metric {metric}")
        values = self.vector("<f4")
        expect(len(values) == n * dim, f"{name}: {len(values)} values")
        return values.reshape(n, dim), metric

    def transform(self):
        name = self.fourcc()
        if name == "VNrm":
            expect(self.take("f") == 2.0, "norm")
            self.normalizes = True
        else:
            expect(name == "LTra" and self.take("B") == 0, f"{name} with bias")
            matrix = self.vector("<f4")
            expect(len(self.vector("<f4")) == 0, "bias")
            self.rotation = matrix.reshape(self.dim, self.dim)
        expect(self.take("iiB") == (self.dim, self.dim, 1), f"end of {name}")

    def index(self):
        name = self.fourcc()
        self.dim, self.n, self.metric = self.header()
        if name == "IxPT":
            for _ in range(self.take("i")):
                self.transform()
            self.index()
        elif name == "IxM2":
            self.index()
            self.ids = self.vector("<i8")
            expect(len(self.ids) == self.n, "count of ids")
        elif name == "IxRF":
            self.index()
            self.refine, metric = self.flat()
            expect(len(self.refine) == self.n and metric == self.metric, "refine")
            self.k_factor = self.take("f")
        else:
            self.ivf(name)

    def ivf(self, name):
        n_lists, self.n_probes = self.take("QQ")
        self.centroids, self.quantizer_metric = self.flat()
        expect(len(self.centroids) == n_lists, "count of centroids")
        expect(self.take("BQ") == (0, 0), "direct map")
        if name == "IwFl":
            code_size = 4 * self.dim
        elif name == "IwSq":
            self.qtype, _, _, d, code_size, trained = self.take("iifQQQ")
            expect(d == self.dim and trained == 0 and self.take("QB") == (code_size, 0), "scalar quantizer")
        else:
            expect(name in ("Iwrq", "Iwrn"), name)
            d, code_size, metric = self.take("QQi")
            expect((d, code_size, metric) == (self.dim, (self.dim + 7) // 8 + 8, self.metric), name)
        if name == "Iwrq":
            expect(self.take("QBB") == (code_size, 1, 8), name)
        if name == "Iwrn":
            expect(self.take("QBQiQQiBB") == (1, 1, code_size, 32, 0, 2 * ((self.dim + 7) // 8), 0, 8, 0), name)
            self.blocks(n_lists)
        else:
            self.plain_lists(name, n_lists, code_size)
        expect(sum(len(rows["ids"]) for rows in self.lists) == self.n, "rows in lists")

    def plain_lists(self, name, n_lists, code_size):
        expect(self.fourcc() == "ilar" and self.take("QQ") == (n_lists, code_size), "ilar")
        form = self.take("4s")
        words = self.vector("<u8")
        sizes = np.zeros(n_lists, int)
        if form == b"full":
            expect(len(words) == n_lists, "sizes")
            sizes[:] = words
        else:
            expect(form == b"sprs", "sizes")
            sizes[words[0::2].astype(int)] = words[1::2]
        for size in sizes:
            codes = self.array("u1", size * code_size).reshape(size, code_size)
            rows = {"ids": self.array("<i8", size)}
            if name == "IwFl":
                rows["vectors"] = codes.copy().view("<f4")
            elif name == "IwSq":
                rows["vectors"] = codes.copy().view({4: "<f2", 5: "u1"}[self.qtype])
            else:
                n = (self.dim + 7) // 8
                bits = np.unpackbits(codes[:, :n], axis=1, bitorder="little")
                expect(not bits[:, self.dim:].any(), "spare bits")
                rows["bits"] = bits[:, :self.dim]
                rows["f0"], rows["f1"] = codes[:, n:].copy().view("<f4").T
            self.lists.append(rows)

    def blocks(self, n_lists):
        pairs = (self.dim + 7) // 8
        block_size = pairs * 32 + 8 * 32
        expect(self.fourcc() == "ilbl" and self.take("QQQQ") == (n_lists, 2**64 - 1, 32, block_size), "ilbl")
        for _ in range(n_lists):
            rows = {"ids": self.vector("<i8")}
            size = len(rows["ids"])
            blocks = self.vector("u1").reshape(-1, block_size)
            expect(len(blocks) == -(-size // 32), "blocks of a list")
            bits = np.zeros((len(blocks) * 32, 8 * pairs), np.uint8)
            factors = blocks[:, pairs * 32:].copy().view("<f4").reshape(-1, 2)
            for r in range(32):
                for g in range(2 * pairs):
                    byte = blocks[:, g // 2 * 32 + 16 * (g % 2) + 2 * (r % 8) + r % 16 // 8]
                    nibble = byte & 15 if r < 16 else byte >> 4
                    for j in range(4):
                        bits[r::32, 4 * g + j] = nibble >> j & 1
            expect(not bits[size:].any() and not factors[size:].any() and not bits[:, self.dim:].any(), "padding")
            rows["bits"] = bits[:size, :self.dim]
            rows["f0"], rows["f1"] = factors[:size].T
            self.lists.append(rows)

    def rows(self):
        """(list, position, id, its dict and place in it) of every row, ids as a user sees them."""
        for number, rows in enumerate(self.lists):
            for i, inner in enumerate(rows["ids"]):
                yield number, int(inner), int(self.ids[inner]) if self.ids is not None else int(inner), rows, i
