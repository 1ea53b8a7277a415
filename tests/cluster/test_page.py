"""The page of --report FILE.html: it tells what the JSON tells, whatever files and hosts are called, and looks as it should."""
import json
import os
import sys

import numpy as np

from pages import read, rows, words
from ranktape_cli import check, clustered, end, ok, run, write_bin

PART = sys.argv[1]
HOSTILE = "r\"'><img src=x onerror=alert(1)>&amp;{}\x07%s%n.fbin"
INDEX = "<svg onload=alert(2)>&#34;\u00e4.rt"


def build(name, *options, ranks=3, index=INDEX):
    ok("build", HOSTILE, index, "--report", f"{name}.json", "--report", f"{name}.html", "--force", *options, ranks=ranks)
    with open(f"{name}.json") as f:
        return json.load(f), read(f"{name}.html")


def content():
    record, page = build("build", "--lists", "40")
    text = words(page)
    check(HOSTILE.replace("\x07", "\ufffd") in text, "the name of the rows is not there as it is")
    check(f"ranktape build: {INDEX}" == words(page.find("body/main/h1")), f"heading: {words(page.find('body/main/h1'))}")
    check(f"3,000 rows of 16 f32 went into 40 lists on 3 ranks" in text and record["digest"] in text, "the sentence")
    bars = [g for g in page.iter("g") if g.find("title") is not None]
    check(len(bars) == 3 * len(record["phases"]) == 12, f"{len(bars)} bars")
    for phase in record["phases"]:
        check(len(phase["busy_seconds_ranks"]) == 3 and phase["start_seconds"] >= 0, f"times of {phase['name']}: {phase}")
        busy = phase["busy_seconds_ranks"]
        check(max(busy) == phase["busy_seconds_slowest"] == busy[phase["slowest_rank"]], f"slowest of {phase['name']}")
        check(min(busy) == phase["busy_seconds_fastest"] == busy[phase["fastest_rank"]], f"fastest of {phase['name']}")
        check(sorted(busy)[1] == phase["busy_seconds_quartiles"][1], f"middle of {phase['name']}")
        check(0 <= phase["file_seconds"] <= phase["seconds"], f"calls for files of {phase['name']}: {phase}")
        check(max(busy) <= phase["seconds"] + 1e-6, f"{phase['name']} works longer than it takes: {phase}")
        check(phase["planned"]["seconds"] is not None, f"{phase['name']}: no time planned, though limits are known")
    check(all(limit > 0 for limit in record["limits"].values()), f"limits: {record['limits']}")
    histogram = record["list_rows"]["histogram"]
    check(sum(bin["lists"] for bin in histogram) == 40, f"histogram: {histogram}")
    check(histogram[0]["from"] <= record["list_rows"]["smallest"] <= histogram[0]["to"] and
          histogram[-1]["from"] <= record["list_rows"]["largest"] <= histogram[-1]["to"], f"histogram: {histogram}")
    check([row[2] for row in rows(page, "stage")] == [f"{step['moved']:,}" for step in record["training"]["log"]], "moved rows")
    check([row[0] for row in rows(page, "option")] == [f"--{name}" for name in record["options"]], "options")
    check(["--lists", "[40]", "given"] in rows(page, "option"), "--lists is not told")
    check(record["hosts"] == [os.uname().nodename] and record["nodes"] == 1, f"hosts: {record['hosts']}")
    check(dict(rows(page, "made of")) == record["versions"], "versions")

    for job, *arguments in (("insert", INDEX, "more.fbin"), ("delete", INDEX, "--ids", "gone.u64"), ("vacuum", INDEX, "--full")):
        ok(job, *arguments, "--report", f"{job}.json", "--report", f"{job}.html", ranks=2)
        with open(f"{job}.json") as f:
            record = json.load(f)
        page = read(f"{job}.html")
        check(record["phases"] and all(len(p["busy_seconds_ranks"]) == 2 for p in record["phases"]), f"{job}: {record['phases']}")
        check(len([g for g in page.iter("g")]) == 2 * len(record["phases"]), f"{job}: bars")
        told = {row[0]: row[1] for row in rows(page, "what")}
        key = {"insert": "inserted", "delete": "deleted", "vacuum": "lists_touched"}[job]
        check(told.get(key.replace("_", " ")) == f"{record[key]:,}" and record[key] > 0, f"{job}: {told}")


def refusals():
    """What cannot be written is found before any work, alike in all jobs; what fails then is exit 1, the work done."""
    jobs = {"build": (HOSTILE, "fresh.rt"), "insert": (INDEX, "more.fbin"), "delete": (INDEX, "--ids", "gone.u64"),
            "vacuum": (INDEX, "--full")}
    build("first", ranks=1)
    os.symlink("/dev/full", "full.json")
    os.symlink("/dev/full", "full.html")
    os.mkdir("folder.html")
    generation = 1
    for job, arguments in jobs.items():
        for name, word in (("nowhere/r.html", "nowhere"), ("folder.html", "directory"), ("r.txt", ".json or .html")):
            result = run(job, *arguments, "--report", "other.json", "--report", name, ranks=2 if name == "r.txt" else 0)
            check(result.code == 2 and len(result.message()) == 1 and word in result.message()[0], f"{job} {name}: {result.err}")
            check(not os.path.exists("other.json"), f"{job}: a report of a refused one")
        check(not os.path.exists("fresh.rt"), "a refused build has begun")
        for name in ("full.json", "full.html"):
            if job == "build":
                arguments = (HOSTILE, f"{name}.rt")
            result = run(job, *arguments, "--report", name, ranks=2 if name == "full.json" else 0)
            check(result.code == 1 and len(result.message()) == 1 and "is done" in result.message()[0] and
                  name in result.message()[0], f"{job} {name}: exit {result.code} {result.err}")
            if job in ("insert", "vacuum", "build"):
                ok("verify", arguments[1] if job == "build" else INDEX, ranks=0)
            if job == "insert":
                generation += 1
        if job == "insert":
            info = ok("info", INDEX, "--json", ranks=0).json()
            check(info["generation"] == generation, f"generation {info['generation']}, not {generation}")
    # a failure has a page as well
    result = run("build", HOSTILE, INDEX, "--report", "failed.html", ranks=0)
    page = words(read("failed.html"))
    check(result.code == 2 and "failed (exit status 2)" in page and "--force" in page, f"page of a failure: {page}")


def render():
    from browser import overhangs, picture, print_pages, share_of
    build("build", "--lists", "40")
    ok("insert", INDEX, "more.fbin", "--report", "insert.html", ranks=2)
    with open("build.html", encoding="utf-8") as f:
        text = f.read()
    with open("broken.html", "w", encoding="utf-8") as f:
        f.write(text.replace("<main>", '<main><p style="width:1500px">wide</p>'))
    found = overhangs(["build.html", "insert.html", "broken.html"], [390, 1280])
    check(found[0] == [0, 0] and found[1] == [0, 0], f"something sticks out of the page: {found}")
    check(found[2][0] > 1000 and found[2][1] > 0, f"this test does not see what sticks out: {found}")
    colours = {False: ("#ffffff", "#3b6fd4", "#e08a00", "#1b1f24"), True: ("#14181d", "#6b9cff", "#f2a93b", "#e6edf3")}
    for dark, (paper, first, second, ink) in colours.items():
        image = picture("build.html", 700, 1000, dark)
        check(image.shape == (1000, 700, 3), f"a picture of {image.shape}")
        check(0.5 < share_of(image, paper) < 0.99, f"dark {dark}: {share_of(image, paper)} of the page is {paper}")
        for colour, least in ((first, 3e-3), (second, 5e-5), (ink, 1e-4)):
            check(share_of(image, colour) > least, f"dark {dark}: {share_of(image, colour)} of the page is {colour}")
        other = colours[not dark][0]
        check(share_of(image, other) < 1e-3, f"dark {dark}: {share_of(image, other)} of the page is {other}")
    check(2 <= print_pages("build.html") <= 9, f"{print_pages('build.html')} pages of paper")


write_bin(HOSTILE, clustered(3000, 16, seed=5))
write_bin("more.fbin", clustered(300, 16, seed=6))
np.arange(0, 200, dtype="<u8").tofile("gone.u64")
{"content": content, "refusals": refusals, "render": render}[PART]()
end()
