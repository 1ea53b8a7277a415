"""search --sweep: recall and rate over probes and epsilon, the same recall on any number of ranks, a front that none beats."""
import csv
import os
import sys

import numpy as np

from pages import read, rows, words
from ranktape_cli import check, clustered, end, ok, run, write_bin

INDEX = "a&b<i>.rt"
data = clustered(4000, 24, clusters=60, seed=1)
queries = clustered(40, 24, clusters=60, seed=1, spread=0.5)
truth = np.argsort(((data[None] - queries[:, None]) ** 2).sum(2), axis=1)[:, :10].astype("<i4")
write_bin("rows.fbin", data)
write_bin("queries.fbin", queries)
with open("truth.ivecs", "wb") as f:
    for row in truth:
        np.concatenate(([10], row)).astype("<i4").tofile(f)
ok("build", "rows.fbin", INDEX, "--lists", "8,64", ranks=0)


def sweep(base, *options, ranks):
    answer = ok("search", INDEX, *options, "--sweep", base, "--json", ranks=ranks).json()
    with open(f"{base}.csv") as f:
        table = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(f)]
    return answer, table


answer, table = sweep("one", "queries.fbin", "--truth", "truth.ivecs", ranks=0)
_, three = sweep("three", "queries.fbin", "--truth", "truth.ivecs", ranks=3)
work = ("probes", "epsilon", "recall", "lists_scanned", "rows_scanned", "reranked")
check([[row[key] for key in work[:5]] for row in table] == [[row[key] for key in work[:5]] for row in three], "ranks change answers")
probes = sorted({row["probes"] for row in table})
check(probes == [2.0 ** i for i in range(len(probes))] and len(probes) >= 4, f"probes {probes}")
check({row["epsilon"] for row in table} == {0, 1, 1.4, 1.9, 3} and len(table) == 5 * len(probes), "epsilons")
best = [max(row["recall"] for row in table if row["probes"] == p and row["epsilon"] == 3) for p in probes]
check(best[-1] > 0.99 and best[0] < best[2], f"recall by probes: {best}")
check(probes[-1] == 64 or best[-1] - best[-2] < 1e-3, f"ends too soon: {best}")
single = ok("search", INDEX, "queries.fbin", "--truth", "truth.ivecs", "--probes", 4, "--epsilon", "1.4", "--json", ranks=0).json()
point = [row for row in table if row["probes"] == 4 and row["epsilon"] == 1.4][0]
check(all(abs(single[key] - point[key]) < 1e-3 for key in work[2:]), f"one search alone: {single}, {point}")
for row in table:
    beaten = [o for o in table if o["recall"] >= row["recall"] and o["queries_per_second"] >= row["queries_per_second"] and
              (o["recall"] > row["recall"] or o["queries_per_second"] > row["queries_per_second"])]
    check(not beaten or row["front"] == 0, f"{row} is on the front, though {beaten[:1]} beats it")
check(any(row["front"] for row in table) and any(not row["front"] for row in table), "no front")
check(len(answer["sweep"]) == len(table) and answer["queries"] == 40, "--json")

page = read("one.html")
check(f"ranktape search --sweep: {INDEX}" == words(page.find("body/main/h1")), "heading")
shown = rows(page, "probes")
check([[float(row[0]), float(row[1])] for row in shown] == [[row["probes"], row["epsilon"]] for row in table], "table")
check(all(f"{row['recall']:.4f}" == cells[2] for row, cells in zip(table, shown)), "recalls of the page")
check(len([p for p in page.iter("path") if p.find("title") is not None]) == len(table), "points")

sampled, _ = sweep("sampled", "--sample-truth", 30, ranks=2)
check(sampled["queries"] == 30, "--sample-truth")
for options, word in ((("queries.fbin",), "--truth"), (("queries.fbin", "--truth", "truth.ivecs", "--probes", "3"), "--probes"),
                      (("queries.fbin", "--truth", "truth.ivecs", "--epsilon", "1"), "--epsilon")):
    result = run("search", INDEX, *options, "--sweep", "refused", ranks=0)
    check(result.code == 2 and word in result.err, f"{options}: {result.code} {result.err}")
result = run("search", INDEX, "queries.fbin", "--truth", "truth.ivecs", "--sweep", "nowhere/base", ranks=2)
check(result.code == 2 and "nowhere" in result.err, f"{result.code} {result.err}")
check(not [n for n in os.listdir(".") if n.startswith("refused")], "a refused sweep has written")
end()
