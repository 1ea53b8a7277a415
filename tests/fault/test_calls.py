"""Calls and inputs that are wrong: options, plans, launchers, queries, truth and the recall gate."""
import os
import sys

import numpy as np

from faults import PROGRAM, check, clustered, end, gone, held_to, ok, refuses, run, unpublished, write_bin

which = sys.argv[1]
rows = clustered(3000, 16, seed=4)
write_bin("rows.fbin", rows)
write_bin("query.fbin", rows[:20])
n_cases = 0


def wrong(words, *arguments, job="build", ranks=0, code=2, environment=None):
    return held_to(" ".join(map(str, arguments)), run(*arguments, ranks=ranks, environment=environment), code, words, job=job)


if which == "options":
    build = ("build", "rows.fbin", "index")
    for option, values in (("--lists", ("0", "-1", "x", "8,4", "4,4,4,4,4,4,4,4,4", "1.5", "", "4,", "99999999999")),
                           ("--metric", ("l1", "", "L2")), ("--sample-per-list", ("0", "1025", "x")),
                           ("--iterations", ("1025", "-1", "ten")), ("--refinements", ("1025",)),
                           ("--kmeans-dimension", ("0", "17", "-4")), ("--beam", ("0", "x")), ("--seed", ("-1", "x", "2e3")),
                           ("--bad-rows", ("keep",)), ("--type", ("f64", "x")), ("--tapes", ("0", "65537")),
                           ("--chooser", ("best",)), ("--memory", ("10", "x", "4Q", "-1G", "1K")), ("--io", ("posix",)),
                           ("--block-rows", ("0", "-3")), ("--min-recall", ("1.1", "-0.1", "x", "0.5,0", "nan", "0.5,1,2")),
                           ("--stall-timeout", ("0", "x", "-5")), ("--training", ("fast",)), ("--progress", ("sometimes",)),
                           ("--max-list-rows", ("0", "x")), ("--centroids", ("nowhere.npy",)), ("--ids", ("nowhere.u64",))):
        for value in values:
            wrong([option if not option.endswith("s") or "nowhere" not in value else value], *build, f"{option}={value}")
            gone(f"{option} {value}", "index")
    wrong(["--epsilon", "search"], *build, "--epsilon", "2")
    wrong(["--full", "verify"], *build, "--full")
    wrong(["--no-such-thing"], *build, "--no-such-thing")
    wrong(["--lists"], *build, "--lists")
    wrong([], "build", "rows.fbin")
    wrong([], "build")
    wrong(["more"], *build, "more")
    wrong(["'fly'"], "fly", job="")
    wrong([], job="")
    wrong(["--lists"], "search", "index", "query.fbin", "--lists", "4", job="search")
    wrong([], "info", job="info")
    wrong([], "verify", "a", "b", job="verify")
    for option in ("--k=0", "--k=x", "--probes=0", "--probes=x", "--epsilon=-1", "--epsilon=nan", "--epsilon=1e99", "--threads=0",
                   "--threads=99999", "--k=99999999"):
        wrong([option.split("=")[0]], "search", "index", "query.fbin", option, job="search")
    wrong(["--lists"], *build, "--lists", "0", ranks=3)  # one line on any number of ranks
    wrong(["--dim"], "plan", "--rows", "10", job="plan")
    wrong([], "plan", "rows.fbin", "--rows", "10", job="plan")
    wrong([], "synth", "out.fbin", "--rows", "10", job="synth")
    # what cannot fit is refused before any work, with what would help; plan says so and succeeds
    wrong(["--memory"], *build, "--memory", "1M", ranks=2)
    gone("--memory 1M", "index")
    write_bin("wide.fbin", np.zeros((3000, 2000), np.float32))
    result = wrong(["needs", "a rank"], "build", "wide.fbin", "index", "--memory", "40M", "--lists", "1000", ranks=2)
    gone("--memory 40M", "index")
    plan = ok("plan", "wide.fbin", "--memory", "40M", "--lists", "1000", "--json", ranks=2).json()
    check(plan["fits"] is False, f"plan: fits {plan['fits']}")
    # ranks that do not know of each other
    for variables in ({"PMI_SIZE": "2", "PMI_RANK": "0"}, {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0"}):
        wrong(["MPI was not started by this launcher", "each is alone"], *build, environment=variables)
        gone(f"{variables}", "index")
    second = run(*build, ranks=0, environment={"PMI_SIZE": "2", "PMI_RANK": "1"})
    check(second.code == 2 and not second.message(), f"the second lone rank: exit {second.code}: {second.err}")
    gone("the second lone rank", "index")
    # JSON says how it ended as well, whatever bytes the names are of
    for job, arguments in (("build", (b"nowhere\xff.fbin", "index")), ("info", (b"nowhere\xff",)), ("verify", (b"nowhere\xff",)),
                           ("search", (b"nowhere\xff", "query.fbin"))):
        result = run(job, *arguments, "--json", ranks=2)
        said = result.json()
        check(result.code == 2 and "nowhere?" in said["error"], f"{job} --json: exit {result.code}, {result.out}")
        check(said["status"] == "failed" and said["exit_status"] == 2, f"{job} --json: {result.out}")
        check(job != "verify" or said["errors"] == [said["error"]], f"verify --json: {result.out}")
elif which == "queries":
    ok("build", "rows.fbin", "index", "--lists", "4,30", ranks=2)
    ok("build", "rows.fbin", "cosine", "--lists", "30", "--metric", "cosine", ranks=1)

    def asked(words, queries, *options, index="index", ranks=2):
        wrong(words, "search", index, queries, *options, job="search", ranks=ranks)

    asked(["dimensions", "17", "16"], write_bin("wide.fbin", clustered(5, 17)))
    bad = rows[:20].copy()
    bad[7, 3] = np.nan
    asked(["bad.fbin", "7", "not finite"], write_bin("bad.fbin", bad))
    bad[7] = 0
    asked(["zero.fbin", "7", "zero"], write_bin("zero.fbin", bad), index="cosine")
    asked(["none.fbin", "no queries"], write_bin("none.fbin", rows[:0]))
    asked(["absent.fbin"], "absent.fbin")
    wrong(["which queries"], "search", "index", job="search")
    for probes in ("1,2,3", "2,3,4,5"):
        asked(["numbers of probes", "2 levels"], "query.fbin", "--probes", probes)
    asked(["--k", "5", "truth.ibin"], "query.fbin", "--truth", write_bin("truth.ibin", np.zeros((20, 5), "<i4")), "--k", 10)
    asked(["short.ibin", "19", "20"], "query.fbin", "--truth", write_bin("short.ibin", np.zeros((19, 10), "<i4")))
    asked(["below.ibin"], "query.fbin", "--truth", write_bin("below.ibin", np.full((20, 10), -7, "<i4")))
    with open("cut.ibin", "wb") as f:
        f.write(open("truth.ibin", "rb").read()[:-3])
    asked(["cut.ibin"], "query.fbin", "--truth", "cut.ibin")
    asked(["absent.ibin"], "query.fbin", "--truth", "absent.ibin")
    asked(["out.xyz"], "query.fbin", "--out", "out.xyz")
    gone("--out of an unknown kind", "out.xyz")
    wrong(["no directory 'no/such'"], "search", "index", "query.fbin", "--out", "no/such/out.ibin", job="search", ranks=2)
    os.mkdir("folder.ibin")
    wrong(["'folder.ibin' is a directory"], "search", "index", "query.fbin", "--out", "folder.ibin", job="search", ranks=2)
    wrong(["--heap '0=rows.fbin'", "keeps its vectors"], "search", "index", "query.fbin", "--heap", "0=rows.fbin", job="search")
    wrong(["--heap '0=rows.fbin'", "keeps its vectors"], "verify", "index", "--heap", "0=rows.fbin", job="verify", ranks=2)
    os.symlink("loop.fbin", "loop.fbin")
    asked(["loop.fbin"], "loop.fbin")
    asked(["absent.u64"], "query.fbin", "--filter", "absent.u64")
    with open("odd.u64", "wb") as f:
        f.write(b"12345")
    asked(["odd.u64"], "query.fbin", "--filter", "odd.u64")
    asked(["--truth", "--sample-truth"], "query.fbin", "--truth", "truth.ibin", "--sample-truth", 5)
    asked(["--sample-truth"], "query.fbin", "--sample-truth", 5)
    # recall that is not reached: nothing is published; reached: it is
    for ranks in (1, 3):
        words = ["recall@", "--min-recall 1.0"]
        result = held_to("gate", run("build", "rows.fbin", f"gate{ranks}", "--lists", "400", "--min-recall", "1,10",
                                     ranks=ranks), 1, words)
        unpublished("gate", f"gate{ranks}")
        ok("build", "rows.fbin", f"gate{ranks}", "--lists", "30", "--min-recall", "0.5", "--force", ranks=ranks)
        ok("verify", f"gate{ranks}", "--full", ranks=1)
    # no row drawn is good: that is said, and no recall made up
    none = np.full_like(rows, np.nan)
    none[7] = rows[7]
    write_bin("none_good.fbin", none)
    held_to("gate without queries", run("build", "none_good.fbin", "none_good", "--lists", "1", "--bad-rows", "skip",
                                        "--min-recall", "0.1", ranks=2), 1, ["--min-recall", "every row drawn", "bad"])
    unpublished("gate without queries", "none_good")
    # a heap that has changed since, where vectors are read from it
    ok("build", "rows.fbin", "heap", "--lists", "30", "--rerank-in-heap", ranks=2)
    ok("search", "heap", "query.fbin", ranks=2)
    os.rename("rows.fbin", "moved.fbin")
    asked(["rows.fbin", "heap file 0", "--heap 0="], "query.fbin", index="heap")
    ok("search", "heap", "query.fbin", "--heap", "0=moved.fbin", ranks=2)
    wrong(["--heap"], "search", "heap", "query.fbin", "--heap", "7=moved.fbin", job="search")
    wrong(["--heap"], "search", "heap", "query.fbin", "--heap", "moved.fbin", job="search")
    write_bin("rows.fbin", rows[::-1])
    asked(["rows.fbin", "changed"], "query.fbin", index="heap")
end()
