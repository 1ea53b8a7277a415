"""What a rank sends, gets and holds does not grow with the ranks but as docs/performance.md says: a library loaded before MPI
counts the calls and bytes of every rank, in each job on few ranks and on many, over the same small rows.

test_growth.py --table prints what it sees."""
import os
import sys

import numpy as np

from ranktape_cli import check, end, ok, write_bin

LIBRARY = os.environ["RANKTAPE_COUNT_MESSAGES"]
FEW, MANY = 4, 16
LISTS, DIMENSION, ROWS = 1200, 16, 19200
SLACK = 16 << 10  # bytes; a number for each list from each rank would be 4 * LISTS * MANY = 75 KiB
SENDING = ("send", "bcast", "reduce", "scan", "reduce_scatter", "allgather", "alltoall")


def counted(ranks, *arguments):
    """What each rank of a job has seen: [{kind: (calls, in, out, most)}]."""
    ok(*arguments, "--quiet", ranks=ranks, environment={"LD_PRELOAD": LIBRARY, "MESSAGES": os.path.abspath("messages")})
    seen = []
    for rank in range(ranks):
        lines = open(f"messages.{rank}").read().split("\n")[:-1]
        os.remove(f"messages.{rank}")
        seen.append({kind: tuple(map(int, numbers)) for kind, *numbers in map(str.split, lines)})
    check(len(seen) == ranks and all(one["reduce"][0] for one in seen), "the library counts nothing")
    return seen


def rows():
    random = np.random.default_rng(7)
    centers = random.normal(size=(300, DIMENSION))
    values = (centers[random.integers(0, 300, ROWS)] + 0.2 * random.normal(size=(ROWS, DIMENSION))).astype(np.float32)
    write_bin("rows.fbin", values)
    write_bin("queries.fbin", values[:64])
    write_bin("more.fbin", values[:640])
    np.arange(100, 900, dtype="<u8").tofile("dead.u64")


def lifecycle(ranks):
    """The jobs of an index's life on so many ranks: {job: what each rank saw}."""
    index = f"{ranks}.rt"
    return {
        "build": counted(ranks, "build", "rows.fbin", index, "--lists", f"30,{LISTS}", "--refinements", 4, "--beam", 8,
                         "--tapes", 4),
        "search": counted(ranks, "search", index, "queries.fbin"),
        "insert": counted(ranks, "insert", index, "more.fbin"),
        "delete": counted(ranks, "delete", index, "--ids", "dead.u64"),
        "vacuum": counted(ranks, "vacuum", index, "--full"),
        "verify": counted(ranks, "verify", index, "--full"),
    }


def total(one, column, kinds=SENDING):
    return sum(one[kind][column] for kind in kinds)


def show(few, many):
    print(f"{'job':8}{'':14}{f'{FEW} ranks':>14}{f'{MANY} ranks':>14}  (a rank, the most of all)")
    for job in few:
        for name, column in (("calls", 0), ("bytes in", 1), ("bytes out", 2)):
            print(f"{job:8}{name:14}" + "".join(f"{max(total(one, column) for one in seen[job]):14,}" for seen in (few, many)))
        for kind in SENDING + ("receive",):
            print(f"{'':8}{kind:14}" + "".join(f"{max(one[kind][0] for one in seen[job]):6}{max(one[kind][3] for one in seen[job]):8,}"
                                               for seen in (few, many)))


def hold(job, few, many):
    for kind in SENDING:
        before, now = (max(one[kind][3] for one in seen) for seen in (few, many))
        check(now <= before + SLACK, f"{job}: one {kind} takes {now} bytes on {MANY} ranks, {before} on {FEW}")
    for column, name in ((1, "gives"), (2, "gets")):
        before, now = (max(total(one, column) for one in seen) for seen in (few, many))
        most = before * FEW / (FEW - 1) + SLACK  # of what ranks share, all but a rank's own part leaves it
        check(now <= most, f"{job}: a rank {name} {now} bytes on {MANY} ranks, {before} on {FEW}")
    for kind in ("send", "receive"):
        first, rest = many[0][kind][0], sorted(one[kind][0] for one in many[1:])
        check(first <= 1.5 * rest[len(rest) // 2] + 8, f"{job}: rank 0 has {first} {kind}s, others {rest[len(rest) // 2]}")


rows()
few, many = lifecycle(FEW), lifecycle(MANY)
if "--table" in sys.argv:
    show(few, many)
for job in few:
    hold(job, few[job], many[job])
end()
