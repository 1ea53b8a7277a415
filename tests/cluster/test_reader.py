"""h5py, by docs/format.md alone, reads what build has written and finds the same rows and lists; both ways of writing give
the same bytes."""
import filecmp
import json
import os
import subprocess
import sys

import numpy as np

from ranktape_cli import check, clustered, end, ok, write_bin

try:
    import h5py
except ImportError:
    print("no h5py: skipped")
    sys.exit(77)

READER = os.path.join(os.environ["SOURCE_DIR"], "tests", "format", "read_index.py")
rows = clustered(3000, 33, seed=9)
rows[17] = np.nan
write_bin("rows.fbin", rows)
np.random.default_rng(1).permutation(np.arange(3000, dtype="<u8") + 10**12).tofile("ids")
for name, options in (("plain", ("--lists", "5,40")), ("ip", ("--metric", "ip", "--lists", "30", "--residual", "off")),
                      ("heap", ("--lists", "30", "--rerank-in-heap")), ("ids", ("--lists", "2,6,50", "--ids", "ids"))):
    for way in ("direct", "mpio"):
        index = f"{name}.{way}"
        ok("build", "rows.fbin", index, "--bad-rows", "skip", "--io", way, *options, ranks=3)
        done = subprocess.run([sys.executable, READER, index], capture_output=True, text=True)
        check(done.returncode == 0, f"{index}: {done.stdout}{done.stderr}")
    for file in os.listdir(f"{name}.direct"):
        if file.endswith(".h5"):
            check(filecmp.cmp(f"{name}.direct/{file}", f"{name}.mpio/{file}", shallow=False), f"{name}: {file} differs by way")
# rows and ids, from the files alone
with h5py.File("ids.direct/vectors-1.h5") as f:
    held = f["ids"][:]
    used = held != 2**64 - 1
    order = np.fromfile("ids", "<u8")
    back = {int(i): row for row, i in enumerate(order)}
    vectors = f["vectors"][:]
    check(used.sum() == 2999, f"{used.sum()} rows")
    check(all((vectors[s] == rows[back[int(held[s])]]).all() for s in np.flatnonzero(used)), "vectors by id")
end()
