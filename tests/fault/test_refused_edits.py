"""Inserts and deletes that are refused: one line, exit 2, and not a byte of the index another."""
import json
import os
import shutil
import signal
import sys
import time

import numpy as np

from faults import (LAUNCHER, all_gone, check, clustered, end, finish, gone, halted, held_to, ok, run, start, stopped_process,
                    write_bin)
from ranktape_cli import digest, vecs

which = sys.argv[1]
rows = clustered(600, 8, seed=4)
write_bin("rows.fbin", rows)
write_bin("more.fbin", clustered(40, 8, seed=5))
ok("build", "rows.fbin", "index", "--lists", "3,12", ranks=2)
ok("insert", "index", "more.fbin", ranks=2)  # ids 600 .. 639
ok("build", "rows.fbin", "cosine", "--lists", "6", "--metric", "cosine", ranks=1)


def ids_file(name, ids):
    np.array(ids, "<u8").tofile(name)
    return name


ids_file("dead.u64", [7, 8, 9])
ok("delete", "index", "--ids", "dead.u64", ranks=1)


def tree(index):
    found = {}
    for name in os.listdir(index):
        path = f"{index}/{name}"
        if os.path.isdir(path):  # checkpoint/: of a job of more than a second, as all are on a busy machine
            found[name] = sorted(os.listdir(path))
            continue
        with open(path, "rb") as f:
            found[name] = f.read()
    return found


def unchanged(what, index, before):
    after = tree(index)
    names = sorted(set(before) ^ set(after) | {name for name in before if before[name] != after.get(name)})
    check(not names, f"{what}: '{index}' has changed: {names}")


def refuses(what, words, job, index, *arguments, code=2, ranks=(0, 3), **more):
    """The same line on one process and on three, and not a byte of the index another."""
    before = tree(index) if os.path.isdir(index) else None
    for n in ranks:
        held_to(f"{what} ({n} ranks)", run(job, index, *arguments, ranks=n, **more), code, words, job=job)
        if before is None:
            gone(what, index)
        else:
            unchanged(what, index, before)


def calls():
    refuses("no rows given", ["ROWS"], "insert", "index")
    refuses("no such rows", ["nowhere.fbin"], "insert", "index", "nowhere.fbin")
    refuses("no such index", ["nowhere", "no index"], "insert", "nowhere", "more.fbin")
    refuses("delete in no index", ["nowhere", "no index"], "delete", "nowhere", "--ids", "dead.u64")
    refuses("neither", ["--ids", "--keep"], "delete", "index")
    refuses("both", ["--ids", "--keep"], "delete", "index", "--ids", "dead.u64", "--keep", "dead.u64")
    refuses("no such ids", ["nowhere.u64"], "delete", "index", "--ids", "nowhere.u64")
    refuses("beyond the end", ["--from-row 41", "more.fbin", "40"], "insert", "index", "more.fbin", "--from-row", 41)
    refuses("another job's option", ["--lists"], "insert", "index", "more.fbin", "--lists", 4)
    refuses("an option of insert", ["--replace"], "delete", "index", "--ids", "dead.u64", "--replace")
    os.mkdir("unfinished")
    shutil.copy("index/tree-1.h5", "unfinished/tree-1.h5")
    for job, arguments in (("insert", ("more.fbin",)), ("delete", ("--ids", "dead.u64"))):
        refuses("unfinished", ["unfinished build", "--force"], job, "unfinished", *arguments)
    os.remove("unfinished/tree-1.h5")
    with open("unfinished/cat.jpg", "w") as f:
        f.write("meow")
    refuses("no index", ["unfinished", "no index"], "insert", "unfinished", "more.fbin")


def rows_and_ids():
    refuses("dimension", ["wide.fbin", "9 dimensions", "8"], "insert", "index", write_bin("wide.fbin", clustered(4, 9)))
    refuses("type", ["whole.u8bin", "u8", "f32"], "insert", "index", write_bin("whole.u8bin", np.ones((4, 8), np.uint8)))
    bad = clustered(300, 8)
    bad[280, 3] = np.nan
    refuses("not a number", ["bad.fbin", "row 280", "not finite"], "insert", "index", write_bin("bad.fbin", bad))
    refuses("not a number, numbered in the heap", ["bad.fbin", "row 280"], "insert", "index", "bad.fbin", "--from-row", 100,
            "--ids", ids_file("high.u64", range(10**6, 10**6 + 300)))
    bad[280] = 0
    refuses("zero", ["zero.fbin", "row 280", "zero"], "insert", "cosine", write_bin("zero.fbin", bad))
    five = write_bin("five.fbin", clustered(5, 8))
    for what, ids, words in (("there already", [5000, 4, 6000, 639, 7000], ["id 4", "row 1", "--replace"]),
                             ("the last that is there", [5000, 5001, 6000, 639, 7000], ["id 639", "row 3", "--replace"]),
                             ("twice", [900, 800, 801, 802, 900], ["id 900", "row 0", "row 4"]),
                             ("twice, one of many", [900, 800, 901, 800, 800], ["id 800", "row 1", "row 3"]),
                             ("too few", [900, 801], ["ids.u64", "2", "5"]), ("too many", range(900, 906), ["ids.u64", "6", "5"]),
                             ("no id", [900, 901, 2**64 - 1, 902, 903], ["ids.u64", "2"])):
        refuses(f"ids: {what}", words, "insert", "index", five, "--ids", ids_file("ids.u64", ids))
    refuses("twice, with --replace", ["id 4", "row 0", "row 1"], "insert", "index", five, "--replace",
            "--ids", ids_file("ids.u64", [4, 4, 900, 901, 902]))
    # vectors that stay in the heap: --from-row says that ROWS is that heap, grown
    ok("build", "rows.fbin", "heap", "--lists", "6", "--rerank-in-heap", ranks=2)
    refuses("another heap", ["other.fbin", "is not the row", "--from-row"], "insert", "heap",
            write_bin("other.fbin", clustered(700, 8, seed=9)), "--from-row", 600)
    ok("insert", "heap", "more.fbin", ranks=2)
    more, late = clustered(40, 8, seed=5), clustered(100, 8, seed=7)
    high = ("--ids", "high.u64")
    for what, heap, words in (("too short", (rows, late[:10]), ["610 rows", "640"]),
                              ("without what came between", (rows, late), ["is not the row"])):
        grown = write_bin("grown.fbin", np.concatenate(heap))
        ids_file("high.u64", range(10**6, 10**6 + sum(map(len, heap))))
        refuses(f"a heap grown otherwise: {what}", ["grown.fbin", *words], "insert", "heap", grown, "--from-row", 600, *high)
    ok("insert", "heap", write_bin("grown.fbin", np.concatenate((rows, more, late))), "--from-row", 640, ranks=2)
    ok("verify", "heap", "--full", ranks=2)
    ok("insert", "heap", write_bin("alone.fbin", clustered(60, 8, seed=8)), ranks=2)
    ok("vacuum", "heap", "--full", ranks=2)
    grown = write_bin("grown.fbin", np.concatenate((rows, more, late, clustered(90, 8, seed=9))))
    ids_file("high.u64", range(10**6, 10**6 + 830))
    refuses("a heap without a file between", ["grown.fbin", "is not the row"], "insert", "heap", grown, "--from-row", 800, *high)
    os.mkdir("parts")
    for n in range(1, 10):
        write_bin(f"parts/part-{n}.fbin", clustered(300, 8, seed=40 + n))
    ok("build", "parts", "of_parts", "--lists", "6", "--rerank-in-heap", ranks=2)
    write_bin("parts/part-10.fbin", clustered(300, 8, seed=50))  # its name comes after part-1's
    refuses("a heap that has grown in its middle", ["parts", "is not the row"], "insert", "of_parts", "parts", "--from-row", 2700)
    # another heap may not grow, and may have empty files
    with open("grows.fvecs", "wb") as f:
        f.write(vecs(clustered(60, 8, seed=8)))
    ok("build", "rows.fbin", "beside", "--lists", "6", "--rerank-in-heap", ranks=2)
    refuses("another heap that grows", ["--concurrent", "'grows.fvecs'", "--from-row"], "insert", "beside", "grows.fvecs",
            "--concurrent")
    os.mkdir("gaps")
    for name, part in (("a", 50), ("b", 0), ("c", 50), ("d", 0)):
        with open(f"gaps/{name}.fvecs", "wb") as f:
            f.write(vecs(clustered(part, 8, seed=51) if part else np.zeros((0, 8), np.float32)))
    ok("insert", "beside", "gaps", ranks=2)
    ok("build", "gaps", "of_gaps", "--lists", "2", "--rerank-in-heap", ranks=2)
    for index in ("beside", "of_gaps"):
        ok("search", index, "five.fbin", ranks=2)
        ok("verify", index, "--full", ranks=2)
    # the same where the index keeps its vectors: they would come again under other numbers
    os.remove("parts/part-10.fbin")
    ok("build", "parts", "with_vectors", "--lists", "6", ranks=2)
    write_bin("parts/part-10.fbin", clustered(300, 8, seed=50))
    refuses("a heap that has grown in its middle, in the index", ["rows 300 to 2,699", "'parts'", "--from-row"], "insert",
            "with_vectors", "parts", "--from-row", 2700)
    with open("in_turn.txt", "w", encoding="ascii") as f:
        f.write("".join(f"parts/part-{n}.fbin\n" for n in range(1, 11)))
    ok("insert", "with_vectors", "@in_turn.txt", "--from-row", 2700, ranks=2)
    ok("insert", "with_vectors", write_bin("whole.fbin", np.concatenate([clustered(300, 8, seed=40 + n) for n in range(1, 12)])),
       "--from-row", 3000, ranks=2)
    refuses("what came by --from-row counts as well", ["rows", "'in_turn.fbin'", "--from-row"], "insert", "with_vectors",
            write_bin("in_turn.fbin", clustered(3301, 8, seed=9)), "--from-row", 3300)
    refuses("without its last rows", ["id 2999", "row 2,999"], "insert", "with_vectors", "whole.fbin", "--from-row", 2999)
    ok("insert", "with_vectors", "in_turn.fbin", "--from-row", 3300, "--ids",
       ids_file("far.u64", range(10**6, 10**6 + 3301)), ranks=2)  # rows that have ids of their own may be any
    ok("verify", "with_vectors", "--full", ranks=2)
    # rows of another heap under numbers that are free: not the index's own from then on
    own = ("build", "rows.fbin", "numbered", "--lists", "6", "--ids", ids_file("own.u64", range(10**6, 10**6 + 600)), "--resume")
    ok(*own, ranks=2)
    ok("insert", "numbered", "other.fbin", "--from-row", 0, ranks=2)
    check("already" in ok(*own, ranks=2).out, "another heap has become the index's own")
    # but where no row is left it is
    ok("delete", "numbered", "--keep", ids_file("none.u64", []), ranks=2)
    ok("insert", "numbered", "whole.fbin", "--from-row", 0, ranks=2)
    ok("insert", "numbered", write_bin("longer.fbin", np.concatenate([clustered(300, 8, seed=40 + n) for n in range(1, 13)])),
       "--from-row", 3300, ranks=2)
    # not refused, since all may be meant; but said
    shutil.copytree("index", "emptied")
    for ids, said in ((range(100), False), ([10**6], True)):
        result = ok("delete", "emptied", "--keep", ids_file("kept.u64", ids), ranks=2)
        check(("names no row" in result.err) == said, f"delete --keep {ids}: {result.err}")
    check(ok("info", "emptied", "--json", ranks=0).json()["rows"] == 0, "delete --keep of no row of the index")
    with open("odd.u64", "wb") as f:
        f.write(b"12345")
    refuses("an odd file", ["odd.u64"], "delete", "index", "--ids", "odd.u64")
    refuses("no id to delete", ["none.u64"], "delete", "index", "--ids", ids_file("none.u64", [3, 2**64 - 1]))
    refuses("negative", ["negative.npy"], "delete", "index", "--ids", "negative.npy")
    # an id that has died is free
    ok("insert", "index", five, "--ids", ids_file("again.u64", [9, 7, 8, 10**9, 10**9 + 1]), ranks=3)
    refuses("there again", ["id 7", "row 1"], "insert", "index", five, "--ids", "again.u64")


def stands_still_while_publishing(point):
    """An insert that stands still at each step of its publishing, while its lock is broken and rows are deleted: what either says
    it has done is done."""
    delete = ("delete", "slow", "--ids", ids_file("first.u64", [0, 1]), "--break-lock")
    n = 0
    while True:
        n += 1
        shutil.rmtree("slow", ignore_errors=True)
        shutil.copytree("index", "slow")
        job = start("insert", "slow", "more.fbin", environment={"RANKTAPE_FAULT": f"{point}:0:{n}:stop"})
        pid = halted(job)
        if pid is None:
            check(finish(job).code == 0 and n > 2, f"{point} {n}: not reached")
            break
        with open("slow/CURRENT") as f:
            is_published = "manifest-4" in f.read()
        if is_published:  # what it tidies up must not be what its taker has written meanwhile
            taker = start(*delete, environment={"RANKTAPE_FAULT": "publish:0:1:stop"})
            taker_pid = halted(taker, pid)
        elif os.path.exists("slow/vectors-4.h5"):
            ok(*delete, ranks=0)
        else:
            os.kill(pid, signal.SIGCONT)
            finish(job)
            continue
        os.kill(pid, signal.SIGCONT)
        result = finish(job)
        what = f"an insert that stood still at {point} {n}"
        check(result.code == 0 if is_published else result.code in (1, 2), f"{what}: exit {result.code}: {result.err}")
        if is_published:
            os.kill(taker_pid, signal.SIGCONT)
            result = finish(taker)
            check(result.code == 0, f"{what}: its taker: exit {result.code}: {result.err}")
        result = run("info", "slow", "--json", ranks=0)
        check(result.code == 0 and result.json()["rows"] == (675 if is_published else 635), f"{what}: {result.out}{result.err}")
        ok("verify", "slow", "--full", ranks=0)
    all_gone("a job that stood still")


def fails_late():
    """A vacuum that takes its time over the first name of its files, and fails at the second: the progress that it has told of in the
    index meanwhile is gone with the rest."""
    before = tree("index")
    job = start("vacuum", "index", "--full", environment={"RANKTAPE_FAULT": "rename:0:1:stop,rename:0:2"})
    pid = stopped_process()
    time.sleep(1.2)
    os.kill(pid, signal.SIGCONT)
    held_to("a vacuum that fails late", finish(job), 1, ["cannot rename", "index/"], job="vacuum")
    unchanged("a vacuum that fails late", "index", before)


def slow():
    fails_late()
    for point in ("write", "fsync", "rename"):
        stands_still_while_publishing(point)


def locks():
    before = tree("index")
    for job, arguments in (("insert", ("more.fbin",)), ("delete", ("--keep", "dead.u64"))):
        writer = start(job, "index", *arguments, ranks=2, environment={"RANKTAPE_FAULT": "publish:0:1:stop"})
        pid = stopped_process()
        check(digest("index") and "LOCK" in os.listdir("index"), "a writer without a lock")
        held_to("locked, insert", run("insert", "index", "more.fbin", ranks=3), 2, ["index", f"process {pid}"], job="insert")
        held_to("locked, delete", run("delete", "index", "--ids", "dead.u64", ranks=1), 2, ["index", f"process {pid}"], job="delete")
        os.kill(writer.pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        finish(writer)
        all_gone("a killed writer")
        # its lock is taken over, and what it left is no part of the index
        after = tree("index")
        check({name: after[name] for name in before} == before, f"{job} killed: the index has changed")
        ok("verify", "index", "--clean", ranks=1)
        unchanged(f"{job} killed, then cleaned", "index", before)
    # one whose lock was broken while it stood still writes nothing of its taker's, and publishes nothing
    shutil.copytree("index", "broken")
    job = start("insert", "broken", "more.fbin", ranks=2, environment={"RANKTAPE_FAULT": "insert:0:1:stop"})
    pid = stopped_process()
    ok("insert", "broken", "rows.fbin", "--break-lock", ranks=2)
    taken = digest("broken")
    os.kill(pid, signal.SIGCONT)
    held_to("its lock was broken", finish(job), 2, ["broken", "nothing is published"], job="insert")
    check(digest("broken") == taken, "an insert has published without its lock")
    ok("verify", "broken", "--full", "--clean", ranks=2)
    # what it says last of its progress is not said in its taker's place
    elsewhere = {"host": "elsewhere", "boot_id": "another", "pid": 4711, "start_time": 1, "job_id": "", "restart_count": 0,
                 "nonce": "0" * 32, "since": 1, "pid_space": "pid:[1]"}
    shutil.copytree("index", "taken")
    job = start("vacuum", "taken", "--full", ranks=2, environment={"RANKTAPE_FAULT": "fold:0:1:stop"})
    pid = stopped_process()
    with open("taken/LOCK", "w") as f:
        json.dump(elsewhere, f)
    os.makedirs("taken/checkpoint", exist_ok=True)
    with open("taken/checkpoint/progress.json", "w") as f:
        json.dump({"job": "the taker"}, f)
    os.kill(pid, signal.SIGCONT)
    held_to("its lock was taken", finish(job), 2, ["taken", "process 4711", "nothing is published"], job="vacuum")
    with open("taken/checkpoint/progress.json") as f:
        check(json.load(f) == {"job": "the taker"}, "a job has told of itself in its taker's progress")
    # a dry run is a reader; and --clean can break a lock as it says
    with open("index/LOCK", "w") as f:
        json.dump(elsewhere, f)
    locked = tree("index")
    for n in (0, 3):
        said = ok("vacuum", "index", "--dry-run", "--json", ranks=n).json()
        check(said["rows_removed"] == 3 and said["bytes_freed"] is None, f"a dry run beside a writer: {said}")
        unchanged("a dry run", "index", locked)
    held_to("locked, --clean", run("verify", "index", "--clean", ranks=1), 2, ["elsewhere", "--break-lock"], job="verify")
    ok("verify", "index", "--clean", "--break-lock", ranks=1)
    unchanged("cleaned", "index", before)
    os.chmod("index", 0o555)
    launcher = LAUNCHER
    if os.geteuid() == 0:
        os.chmod(".", 0o777)
        launcher = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] + LAUNCHER
    can_look = run("info", "index", ranks=1, launcher=launcher).code == 0
    for job, arguments in (("insert", ("more.fbin",)), ("delete", ("--ids", "dead.u64"))):
        if can_look:  # the folder above may be closed to others
            refuses("read-only", ["index", "ermission"], job, "index", *arguments, code=(1, 2), ranks=(1, 3), launcher=launcher)
    print("read-only: " + ("seen" if can_look else "not seen, the folder is closed to other users"))
    os.chmod("index", 0o755)


def changes():
    """ROWS or ids change while they are read."""
    before = tree("index")
    for ranks, number in ((1, 32), (3, 24)):  # the rows are one chunk, read by the last rank
        for change in ("cut", "write", "replace"):
            new = clustered(3000, 8, seed=6)
            name = write_bin(f"{change}{ranks}.fbin", new)
            job = start("insert", "index", name, "--block-rows", 100, ranks=ranks,
                        environment={"RANKTAPE_FAULT": f"read:{ranks - 1}:{number}:stop"})
            pid = stopped_process()
            if change == "cut":
                os.truncate(name, os.path.getsize(name) // 2)
            elif change == "write":
                with open(name, "r+b") as f:
                    f.seek(8)
                    f.write(b"\0" * 640)
            else:
                os.rename(write_bin("new.fbin", new[::-1]), name)
            os.kill(pid, signal.SIGCONT)
            held_to(f"rows: {change} ({ranks} ranks)", finish(job), 2, [name, "shrank" if change == "cut" else "changed"],
                    job="insert")
            unchanged(f"rows: {change}", "index", before)


np.save("negative.npy", np.array([3, -4]))
{"calls": calls, "rows": rows_and_ids, "locks": locks, "slow": slow, "changes": changes}[which]()
ok("verify", "index", "--full", ranks=2)
end()
