"""Recall: at epsilon 1.9 at most half a point below exact search of the same lists at every probe count; trained lists
within a point of flat Lloyd's at equal rows scanned. On synthetic rows, and on real sets where RANKTAPE_DATA names their
folder."""
import math
import os
import sys

from ranktape_cli import check, end, ok, run


def search(index, queries, truth, *options, ranks=1, k=10):
    return ok("search", index, queries, "--truth", truth, "--k", k, "--json", *options, ranks=ranks).json()


def sweep(name, index, queries, truth, leaves, ranks=1):
    """(rows scanned, recall) at several probe counts."""
    curve = []
    probes = 1
    while probes <= leaves:
        fast = search(index, queries, truth, "--probes", probes, ranks=ranks)
        exact = search(index, queries, truth, "--probes", probes, "--epsilon", "1e6", ranks=ranks)
        print(f"{name}: probes {probes}: rows {fast['rows_scanned']:.0f}, recall {fast['recall']:.4f}, "
              f"exact {exact['recall']:.4f}, reranked {fast['reranked']:.0f}")
        # Half a point, and two standard errors of such a share: small sets have few neighbours to find.
        allowed = 0.005 + 2 * math.sqrt(0.005 / (fast["queries"] * fast["k"]))
        check(fast["recall"] >= exact["recall"] - allowed,
              f"{name}: probes {probes}: {fast['recall']} against {exact['recall']}")
        curve.append((fast["rows_scanned"], fast["recall"]))
        probes *= 4
    return curve


def recall_at(curve, rows):
    """Linear in the logarithm of the rows between the points of a curve, each four times as many as the one before."""
    for (r0, a), (r1, b) in zip(curve, curve[1:]):
        if r0 <= rows <= r1:
            return a + (b - a) * math.log(rows / r0) / math.log(r1 / r0)
    return curve[-1][1]


which = sys.argv[1]
if which == "synthetic":
    for metric in ("l2", "ip", "cosine"):
        ok("synth", f"{metric}.fbin", "--rows", 30000, "--dim", 64, "--metric", metric, "--queries", f"{metric}.q.fbin",
           "--query-count", 1000, "--truth", f"{metric}.ibin", "--truth-k", 10, ranks=2)
        curves = {}
        for training in ("lloyd", "hierarchical"):
            index = f"{metric}.{training}"
            ok("build", f"{metric}.fbin", index, "--metric", metric, "--lists", "16,256", "--training", training, ranks=2)
            curves[training] = sweep(index, index, f"{metric}.q.fbin", f"{metric}.ibin", 256)
        least = curves["hierarchical"][0][0]
        for rows, recall in ((r, a) for r, a in curves["lloyd"] if r >= least):
            got = recall_at(curves["hierarchical"], rows)
            check(got >= recall - 0.01, f"{metric}: hierarchical {got:.4f} against lloyd {recall:.4f} at {rows:.0f} rows")
else:
    data = os.environ.get("RANKTAPE_DATA", "")
    if not os.path.isdir(data):
        print("RANKTAPE_DATA names no folder of real rows: skipped")
        sys.exit(77)
    sets = {"sift": ("u8bin", "l2"), "bigann10k": ("u8bin", "l2"), "mnist": ("u8bin", "l2"), "lsa768": ("f16bin", "cosine"),
            "bge1024": ("f16bin", "cosine"), "cohere1024": ("i8bin", "cosine")}
    for name, (suffix, metric) in sets.items():
        lists = ("--lists", "16,256") if name == "sift" else ()
        ok("build", f"{data}/{name}.{suffix}", name, "--metric", metric, *lists, ranks=2)
        leaves = ok("info", name, "--json", ranks=0).json()["lists"]
        sweep(name, name, f"{data}/{name}.query.{suffix}", f"{data}/{name}.truth.ibin", leaves, ranks=2)
end()
