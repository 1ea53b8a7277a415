"""What a build reports of itself: bytes that are read, written and exchanged, beside what was planned."""
import json

import numpy as np

from ranktape_cli import check, clustered, end, ok, write_bin

N, DIM = 6000, 32
write_bin("rows.fbin", clustered(N, DIM, seed=3))
(np.arange(N, dtype="<u8") * 7 + 3).tofile("ids.u64")


def phases(index, *options, ranks):
    ok("build", "rows.fbin", index, "--report", f"{index}.json", *options, ranks=ranks)
    with open(f"{index}.json") as f:
        return {phase["name"]: phase for phase in json.load(f)["phases"]}


flat, tall = ("--training", "lloyd", "--lists", "60"), ("--training", "hierarchical", "--lists", "60")
for name, options in (("flat", flat), ("tall", tall)):
    alone = phases(f"{name}1", *options, ranks=1)
    check(all(phase["bytes_exchanged"] == 0 for phase in alone.values()), f"{name}: one rank exchanges: {alone}")
    three = phases(f"{name}3", *options, ranks=3)
    for phase in ("train", "compact"):
        planned, done = three[phase]["planned"]["bytes_exchanged"], three[phase]["bytes_exchanged"]
        check(0.2 * planned < done < 3 * planned, f"{name}, {phase}: {done} bytes exchanged, {planned} planned")
    sums = three["insert"]["bytes_exchanged"]  # of lists
    check(sums < 3 * 60 * 200, f"{name}: insert exchanges {sums} bytes")
plain = phases("plain", *flat, ranks=2)["insert"]["bytes_read"]
check(plain == N * DIM * 4, f"insert reads {plain} bytes")
ids = phases("ids", *flat, "--ids", "ids.u64", ranks=2)["insert"]["bytes_read"]
check(ids == plain + 8 * N, f"insert reads {ids} bytes with ids, {plain} without")
scattered = phases("scattered", *flat, "--scatter", ranks=2)
others = scattered["insert"]["bytes_exchanged"]
check(0.4 * plain < others < 0.6 * plain, f"{others} bytes scattered to one of two ranks, of {plain}")
end()
