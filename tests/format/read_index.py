"""A reader of a ranktape index written from docs/format.md alone: h5py, numpy and the xxHash library, nothing of ranktape.

read_index.py INDEX checks every hash and checksum, walks tree, lists, records and places, unpacks the blocks, and
recomputes fingerprint, tree hash, rows hash and digest. Exit 0 and one line if all is as the document says.
"""

import ctypes
import ctypes.util
import json
import os
import sys

import h5py
import numpy as np

NO_ID = 2**64 - 1
NO_LIST = 2**32 - 1
NO_ROW = 2**64 - 1
ELEMENTS = {"f32": ("<f4", 0), "f16": ("<f2", 1), "u8": ("u1", 2), "i8": ("i1", 3)}
METRICS = {"l2": 0, "ip": 1, "cosine": 2}


class Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


xxh = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0")
xxh.XXH3_64bits.restype = ctypes.c_uint64
xxh.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
xxh.XXH3_128bits.restype = Hash128
xxh.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def hash64(data):
    return xxh.XXH3_64bits(data, len(data))


def hash128(data):
    value = xxh.XXH3_128bits(data, len(data))
    return value.high << 64 | value.low


def hex128(value):
    return "%032x" % value


def check(condition, message):
    if not condition:
        sys.exit("read_index: " + message)


def u64(*words):
    return np.array(words, "<u8").tobytes()


class File:
    """One HDF5 file of the index, its structure hash, checksums and attributes checked."""

    def __init__(self, folder, entry, manifest):
        self.path = os.path.join(folder, entry["name"])
        self.bytes = open(self.path, "rb").read()
        check(len(self.bytes) == entry["size"], f"{self.path}: size")
        outside, at = b"", 0
        for offset, n in entry["outside"]:
            check(at <= offset, f"{self.path}: ranges")
            outside += self.bytes[at:offset]
            at = offset + n
        outside += self.bytes[at:]
        check(hex128(hash128(outside)) == entry["structure"], f"{self.path}: structure hash")
        self.h5 = h5py.File(self.path, "r")
        self.attributes = {k: v.decode() if isinstance(v, bytes) else int(v) for k, v in self.h5.attrs.items()}
        a = self.attributes
        check(a["format"] == "ranktape index" and a["format_version"] == 1, f"{self.path}: format")
        check(a["kind"] == entry["kind"] and a["generation"] == entry["number"], f"{self.path}: kind")
        check(a["fingerprint"] == manifest["fingerprint"], f"{self.path}: fingerprint")
        self.check_units(entry)

    def check_units(self, entry):
        places = []
        for name in self.h5:
            if not name.endswith(".xxh3"):
                continue
            sums = self.h5[name]
            data = self.h5[name[: -len(".xxh3")]][()]
            unit = int(sums.attrs["unit_rows"])
            n_units = -(-len(data) // unit)
            check(len(sums) == n_units, f"{self.path}: units of {name}")
            for i in range(n_units):
                piece = np.ascontiguousarray(data[i * unit : (i + 1) * unit])
                check(hash64(piece.tobytes()) == int(sums[i]), f"{self.path}: {name} unit {i}")
            if n_units:
                places.append((sums.id.get_offset(), sums[()].tobytes()))
        sums = b"".join(data for _, data in sorted(places))
        check(hex128(hash128(sums)) == entry["checksums"], f"{self.path}: checksums hash")

    def __getitem__(self, name):
        return self.h5[name][()]


def read_manifest(folder):
    line = open(os.path.join(folder, "CURRENT"), "rb").read().decode()
    name, digest = line.rstrip("\n").split(" ")
    text = open(os.path.join(folder, name), "rb").read()
    check(hex128(hash128(text)) == digest, "CURRENT: hash of the manifest")
    manifest = json.loads(text)
    check(manifest["format"] == "ranktape index" and manifest["version"] == 1, "manifest: version")
    check(name == f"manifest-{manifest['generation']}.json", "manifest: generation")
    return manifest


def hash_tree(words, tree, n_levels):
    data = u64(*words)
    for level in range(n_levels):
        centroids = tree[f"centroids_{level}"]
        data += u64(len(centroids)) + centroids.tobytes()
        if level:
            data += tree[f"parents_{level}"].tobytes()
    return hash128(data)


def check_tree(tree, manifest):
    a, n_levels = tree.attributes, len(manifest["levels"])
    check([a[f"level_{i}"] for i in range(n_levels)] == manifest["levels"], "tree: levels")
    check(a["levels"] == n_levels and a["rotation_seed"] == int(manifest["rotation_seed"]), "tree: attributes")
    for level in range(1, n_levels):
        first, parents = tree[f"first_child_{level - 1}"], tree[f"parents_{level}"]
        check(first[0] == 0 and first[-1] == len(parents), "tree: children")
        check((np.repeat(np.arange(len(first) - 1), np.diff(first.astype("i8"))) == parents).all(), "tree: parents")
    for level in range(n_levels):
        check(np.isfinite(tree[f"centroids_{level}"]).all(), "tree: centroids")
    kind = [METRICS[manifest["metric"]], int(manifest["residual"]), manifest["dimension"]]
    rotation = [int(manifest["rotation_seed"]), manifest["rotation_version"], n_levels]
    element = ELEMENTS[manifest["element"]][1]
    check(hex128(hash_tree(kind + [element] + rotation, tree, n_levels)) == manifest["fingerprint"], "fingerprint")
    check(hex128(hash_tree([1] + kind + rotation, tree, n_levels)) == manifest["tree_hash"], "tree hash")
    check(a["tree_hash"] == manifest["tree_hash"], "tree: tree hash")


def unpack(block, dim):
    """32 codes of (dim + 7) // 8 bytes from one packed block (groups x 16 bytes)."""
    row = np.arange(32)
    byte, shift = 2 * (row % 8) + (row % 16) // 8, 4 * (row // 16)
    nibbles = block[:, byte] >> shift & 15  # groups x 32
    bits = nibbles[:, :, None] >> np.arange(4) & 1  # groups x 32 x 4
    bits = bits.transpose(1, 0, 2).reshape(32, -1)
    check(not bits[:, dim:].any(), "padding bits of a code")
    return np.packbits(bits[:, :dim].astype("u1"), axis=1, bitorder="little")


class Places:
    """Where vectors lie: (segment, slot) to id, list, vector."""

    def __init__(self, files, manifest, is_live):
        self.by_segment, self.in_heap = {}, manifest["rerank_in_heap"]
        self.n_live = 0
        for entry, file in files:
            ids, lists, tapes = file["ids"], file["lists"], file["tapes"]
            vectors = None if self.in_heap else file["vectors"]
            check(("vectors" in file.h5) != self.in_heap, "vectors: in the heap or not")
            if vectors is not None:
                check(vectors.dtype == np.dtype(ELEMENTS[manifest["element"]][0]), "vectors: type")
                check(vectors.shape == (len(ids), manifest["dimension"]), "vectors: shape")
            check((lists[ids == NO_ID] == NO_LIST).all(), "vectors: list of an unused slot")
            self.check_ids(file, ids, tapes)
            self.n_live += sum(is_live(int(row_id), entry["number"]) for row_id in ids[ids != NO_ID])
            check(len(file["segments"]) == file.attributes["segments"], "vectors: segments")
            for number, tape, first, n, row, word, born in file["segments"].tolist():
                begin, slots = tapes[tape].tolist()
                kept = np.arange(n)
                if word != NO_ROW:
                    words = file["kept"][word : word + -(-n // 64)]
                    bits = (words[:, :1] >> np.arange(64, dtype="u8") & np.uint64(1)).astype("i8").reshape(-1)
                    check((words[:, 1] == np.cumsum(bits.reshape(-1, 64).sum(1)) - bits.reshape(-1, 64).sum(1)).all(), "vectors: kept")
                    kept = np.where(bits == 1, np.cumsum(bits) - bits, -1)[:n]
                stored = int((kept >= 0).sum())
                check(begin <= first and first + stored <= begin + slots and n <= 2**20, "vectors: segment in its tape")
                check((row == NO_ROW) != self.in_heap and born <= entry["number"], "vectors: heap row, birth of a segment")
                check(number not in self.by_segment and number < manifest["segments"], "vectors: segment number")
                self.by_segment[number] = (ids, lists, first, kept)

    @staticmethod
    def check_ids(file, ids, tapes):
        if file.attributes["ids_ascend"]:
            for begin, slots in tapes.tolist():
                used = ids[begin : begin + slots]
                used = used[used != NO_ID]
                check((used[:-1] < used[1:]).all(), "vectors: ids ascend")
            return
        entries = file["sorted"]
        check(len(entries) == file.attributes["sorted_ids"], "vectors: sorted ids")
        used = entries[entries[:, 0] != NO_ID]
        check((entries[len(used) :] == NO_ID).all() and (used[:-1, 0] < used[1:, 0]).all(), "vectors: sorted ids ascend")
        check(len(used) == (ids != NO_ID).sum() and (ids[used[:, 1]] == used[:, 0]).all(), "vectors: sorted ids and slots")

    def check(self, row_id, list_number, segment, slot):
        ids, lists, first, kept = self.by_segment[int(segment)]
        check(slot < len(kept) and kept[slot] >= 0, f"row {row_id}: slot")
        slot = first + kept[slot]
        check(ids[slot] == row_id and lists[slot] == list_number, f"row {row_id}: its place")


def row_hash(list_number, row_id, code, factors):
    return hash128(np.array(list_number, "<u4").tobytes() + u64(row_id) + code.tobytes() + factors.tobytes())


class Tombstones:
    def __init__(self, files):
        self.of_id, self.n = {}, 0
        for entry, file in files:
            entries = file["tombstones"]
            check(len(entries) == file.attributes["entries"], "tombstones: entries")
            check((entries[:-1, 0] < entries[1:, 0]).all(), "tombstones: order")
            check((entries[:, 1] >= 1).all() and (entries[:, 1] <= entry["number"]).all(), "tombstones: generations")
            for row_id, generation in entries.tolist():
                self.of_id[row_id] = max(generation, self.of_id.get(row_id, 0))
            self.n += len(entries)

    def is_live(self, row_id, generation):
        return self.of_id.get(row_id, 0) <= generation


class Live:
    """Live rows met so far: no id twice."""

    def __init__(self):
        self.ids, self.hash = set(), 0

    def add(self, list_number, row_id, code, factors):
        check(row_id not in self.ids, f"id {row_id} lives twice")
        self.ids.add(row_id)
        self.hash += row_hash(list_number, row_id, code, factors)


def check_lists(frozen, manifest, places, is_live, live):
    """Frozen rows: their number; the live ones are added up."""
    directory, dim = frozen[max(frozen)], manifest["dimension"]
    n_factors = 4 if manifest["metric"] == "ip" else 3
    count, used = 0, set()
    for number, (g, first, n) in enumerate(zip(*(directory["list_" + x] for x in ("file", "first_block", "rows")))):
        if n == 0:  # nothing of an older file, perhaps gone, is needed
            continue
        file, n, first = frozen[int(g)], int(n), int(first)
        for b in range(first, first + -(-n // 32)):
            check((g, b) not in used, f"block {b} in two lists")
            used.add((g, b))
            ids, factors, places_of = file.h5["ids"][b], file.h5["factors"][b], file.h5["places"][b]
            check(factors.shape == (n_factors, 32) and np.isfinite(factors).all(), "factors")
            codes = unpack(file.h5["codes"][b], dim)
            rows = min(n - 32 * (b - first), 32)
            check((ids[rows:] == NO_ID).all() and not codes[rows:].any() and not factors[:, rows:].any()
                  and not places_of[rows:].any(), f"list {number}: padding")
            for r in range(rows):
                check(ids[r] != NO_ID, f"list {number}: a row without id")
                if not is_live(int(ids[r]), int(g)):
                    continue
                live.add(number, int(ids[r]), codes[r], np.ascontiguousarray(factors[:, r]))
                places.check(ids[r], number, *places_of[r])
        count += n
    return count


def check_appendable(files, list_file, manifest, places, is_live, live):
    count = 0
    for entry, file in files:
        g = entry["number"]
        lists, ids, codes, factors, where = (file[x] for x in ("lists", "ids", "codes", "factors", "places"))
        seen = np.zeros(len(ids), bool)
        for first, n in file["chunks"].tolist():
            part = slice(first, first + n)
            check(first + n <= len(ids) and not seen[part].any(), "chunks")
            check((np.diff(lists[part].astype("i8")) >= 0).all(), "records of a chunk in order of lists")
            seen[part] = True
        check((ids[~seen] == NO_ID).all() and (lists[~seen] == NO_LIST).all(), "records outside chunks")
        for i in np.flatnonzero(ids != NO_ID):
            check(lists[i] < manifest["levels"][-1], "list of a record")
            if list_file[lists[i]] > g:
                continue  # it lies in the list by now
            count += 1
            if not is_live(int(ids[i]), g):
                continue
            live.add(lists[i], int(ids[i]), codes[i], factors[i])
            places.check(ids[i], lists[i], *where[i])
    return count


def main(folder):
    manifest = read_manifest(folder)
    files = [(entry, File(folder, entry, manifest)) for entry in manifest["files"]]
    names = ("tree", "frozen", "appendable", "vectors", "tombstones")
    kinds = {kind: [(e, f) for e, f in files if e["kind"] == kind] for kind in names}
    check(len(kinds["tree"]) == 1 and kinds["frozen"], "manifest: files")
    check_tree(kinds["tree"][0][1], manifest)
    tombstones, live = Tombstones(kinds["tombstones"]), Live()
    check(tombstones.n == manifest["tombstones"], "manifest: tombstones")
    places = Places(kinds["vectors"], manifest, tombstones.is_live)
    frozen = {e["number"]: f for e, f in kinds["frozen"]}
    n_frozen = check_lists(frozen, manifest, places, tombstones.is_live, live)
    list_file = frozen[max(frozen)]["list_file"]
    n_tape = check_appendable(kinds["appendable"], list_file, manifest, places, tombstones.is_live, live)
    check(n_frozen == manifest["rows_frozen"] and n_tape == manifest["rows_appendable"], "manifest: rows")
    check(manifest["rows"] == len(live.ids) == places.n_live, "manifest: live rows")
    rows_hash = live.hash % 2**128
    check(hex128(rows_hash) == manifest["rows_hash"], "rows hash")
    mask = 2**64 - 1
    tree_hash = int(manifest["tree_hash"], 16)
    digest = hash128(u64(tree_hash & mask, tree_hash >> 64, rows_hash & mask, rows_hash >> 64))
    check(hex128(digest) == manifest["digest"], "digest")
    print(f"{folder}: generation {manifest['generation']}, {manifest['rows']} rows, digest {manifest['digest']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
