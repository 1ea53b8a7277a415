"""Changes an index as somebody would who can compute checksums, by docs/format.md: every hash fits what was changed."""
import ctypes
import ctypes.util
import json

import h5py
import numpy as np


class Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


xxh = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0")
xxh.XXH3_64bits.restype = ctypes.c_uint64
xxh.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
xxh.XXH3_128bits.restype = Hash128
xxh.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def hash64(data):
    return xxh.XXH3_64bits(bytes(data), len(data))


def hash128(data):
    value = xxh.XXH3_128bits(bytes(data), len(data))
    return f"{value.high:016x}{value.low:016x}"


def manifest_name(index):
    with open(f"{index}/CURRENT") as f:
        return f.read().split()[0]


def write_manifest(index, manifest):
    text = json.dumps(manifest).encode()
    name = manifest_name(index)
    with open(f"{index}/{name}", "wb") as f:
        f.write(text)
    with open(f"{index}/CURRENT", "w") as f:
        f.write(f"{name} {hash128(text)}\n")


def read_manifest(index):
    with open(f"{index}/{manifest_name(index)}") as f:
        return json.load(f)


def sign(index, name, content):
    """Writes the file, and a manifest that believes it."""
    manifest = read_manifest(index)
    entry = next(e for e in manifest["files"] if e["name"] == name)
    outside, sums, at = bytearray(), bytearray(), 0
    for offset, n_bytes in entry["outside"]:
        outside += content[at:offset]
        at = offset + n_bytes
    entry["structure"] = hash128(outside + content[at:])
    with h5py.File(f"{index}/{name}", "r") as f:
        places = sorted((d.id.get_offset(), d.size * 8) for n, d in f.items() if n.endswith(".xxh3") and d.size)
    for offset, n_bytes in places:
        sums += content[offset:offset + n_bytes]
    entry["checksums"] = hash128(sums)
    with open(f"{index}/{name}", "wb") as f:
        f.write(content)
    write_manifest(index, manifest)


def forge(index, name, dataset, value, everywhere):
    """One value of the dataset, a third in (where slots are in use), or all of them."""
    def change(values):
        flat = values.reshape(-1)
        flat[slice(None) if everywhere else flat.size // 3] = np.array(value).astype(values.dtype)
    rewrite(index, name, dataset, change)


def rewrite(index, name, dataset, change):
    """change(values) in place, of the whole dataset."""
    with open(f"{index}/{name}", "rb") as f:
        content = bytearray(f.read())
    with h5py.File(f"{index}/{name}", "r") as f:
        item = f[dataset]
        start, values = item.id.get_offset(), item[()]
        change(values)
        content[start:start + values.nbytes] = values.tobytes()
        if dataset + ".xxh3" in f:
            sums = f[dataset + ".xxh3"]
            unit = int(sums.attrs["unit_rows"])
            new = [hash64(np.ascontiguousarray(values[i * unit:(i + 1) * unit]).tobytes()) for i in range(sums.size)]
            content[sums.id.get_offset():sums.id.get_offset() + 8 * sums.size] = np.array(new, "<u8").tobytes()
    sign(index, name, content)


def forge_manifest(index, path, value):
    """The value under the path of keys and numbers."""
    manifest = read_manifest(index)
    at = manifest
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    write_manifest(index, manifest)
