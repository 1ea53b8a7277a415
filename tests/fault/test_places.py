"""Where an index may be made and what may be replaced: directories, locks, full and read-only disks."""
import json
import os
import shutil
import subprocess
import sys
import time

from faults import (LAUNCHER, PROGRAM, all_gone, check, clustered, end, finish, gone, held_to, ok, processes, refuses, run,
                    start, stopped_process, unpublished, write_bin)
from ranktape_cli import digest

which = sys.argv[1]
rows = clustered(600, 8, seed=4)
write_bin("rows.fbin", rows)
write_bin("other.fbin", rows[::-1])
write_bin("query.fbin", rows[:2])
LISTS = ("--lists", "6")


def tree(folder):
    """Every file with what is in it: nothing of it may change."""
    found = {}
    for at, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(at, name), "rb") as f:
                found[os.path.join(at, name)] = f.read()
    return found


def files_of(*generations):
    """What an index of these builds, the published one and those kept for readers, has in its directory."""
    kinds = ("frozen-{}.h5", "manifest-{}.json", "tree-{}.h5", "vectors-{}.h5")
    return sorted(["CURRENT"] + [kind.format(g) for kind in kinds for g in generations])


def can(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


if which == "directories":
    ok("build", "rows.fbin", "index", *LISTS, ranks=2)
    before, first = tree("index"), digest("index")
    refuses("an index is there", "rows.fbin", ["index", "--force"], *LISTS, index="index", ranks=(1, 2))
    check(tree("index") == before, "a refused build has changed the index that was there")
    # a build over it that fails on its rows, or on its disk, leaves it as it was
    bad = rows.copy()
    bad[300] = float("nan")
    write_bin("bad.fbin", bad)
    refuses("bad rows over an index", "bad.fbin", ["row 300"], *LISTS, "--force", index="index")
    check(tree("index") == before, "a build with bad rows has changed the index it was to replace")
    refuses("a failing disk over an index", "rows.fbin", ["index/"], *LISTS, "--force", index="index", code=1,
            environment={"RANKTAPE_FAULT": "write:1:3"})
    after = tree("index")
    check({name: after.get(name) for name in before} == before, "a failed build has changed the index it was to replace")
    check(digest("index") == first, "a failed build has replaced the index")
    left = run("build", "rows.fbin", "index", *LISTS, "--force", ranks=2, environment={"RANKTAPE_FAULT": "write:1:3"})
    check(left.code == 1 and {name: tree("index").get(name) for name in before} == before, "failed twice over an index")
    ok("verify", "index", "--clean", ranks=1)
    check(tree("index") == before, "--clean has left something of a failed build")
    # replaced: readable until then, all new after that, and no file of the old one left
    job = start("build", "other.fbin", "index", *LISTS, "--force", ranks=2,
                environment={"RANKTAPE_FAULT": "publish:0:1:stop"})
    pid = stopped_process()
    check(digest("index") == first, "the index that is being replaced has another digest")
    ok("search", "index", "query.fbin", ranks=2)
    held_to("locked while it is replaced", run("build", "rows.fbin", "index", *LISTS, "--force", ranks=2), 2,
            ["index", "being written", f"process {pid}"])
    refuses("locked, --clean", "rows.fbin", ["index"], *LISTS, "--force", index="index")
    held_to("--clean beside a writer", run("verify", "index", "--clean", ranks=1), 2, ["index", f"process {pid}"],
            job="verify")
    os.kill(pid, 18)
    replaced = finish(job)
    check(replaced.code == 0, f"--force: exit {replaced.code}: {replaced.err}")
    check(digest("index") != first, "--force has not replaced the index")
    info = ok("info", "index", "--json", ranks=0).json()
    check(info["generation"] == 2, f"generation {info['generation']}")
    check(sorted(os.listdir("index")) == files_of(1, 2), f"after --force: {sorted(os.listdir('index'))}")
    ok("verify", "index", "--full", ranks=2)
    # a report that cannot be written is told before anything is done
    held_to("a report without a folder",
            run("build", "rows.fbin", "index", *LISTS, "--force", "--report", "nowhere/report.json", ranks=2), 2,
            ["nowhere/report.json"])
    check(ok("info", "index", "--json", ranks=0).json()["generation"] == 2, "a build without a report has begun")
    ok("verify", "index", "--full", ranks=2)
    # a report tells of a failure as well
    held_to("a report of a refusal", run("build", "rows.fbin", "index", *LISTS, "--report", "report.json", ranks=2), 2,
            ["--force"])
    with open("report.json") as f:
        report = json.load(f)
    check(report["status"] == "failed" and report["exit_status"] == 2 and "--force" in report["error"], f"report: {report}")
    # what no generation names goes
    for orphan in ("tree-9.h5.partial", "manifest-9.json"):
        with open(f"index/{orphan}", "w") as f:
            f.write("left behind")
    for n in (0, 2):
        told = ok("verify", "index", ranks=n)
        check("2 files that none of the last 2 generations names; --clean" in told.out, f"orphans are not told: {told.out}")
        check(ok("verify", "index", "--json", ranks=n).json()["orphans"] == 2, "orphans in JSON")
    ok("verify", "index", "--clean", ranks=2)
    told = ok("verify", "index", "--json", ranks=0).json()
    check(told["orphans"] == 0 and told["errors"] == [], f"after --clean: {told}")
    check(sorted(os.listdir("index")) == files_of(1, 2), f"after --clean: {sorted(os.listdir('index'))}")
    ok("verify", "index", "--clean", "--keep-generations", 1, ranks=1)
    check(sorted(os.listdir("index")) == files_of(2), f"after --clean of all but one: {sorted(os.listdir('index'))}")
    # not an index: never replaced
    os.mkdir("photos")
    with open("photos/cat.jpg", "w") as f:
        f.write("meow")
    kept = tree("photos")
    for options in ((), ("--force",), ("--force", "--break-lock")):
        refuses("a directory that is no index", "rows.fbin", ["photos", "no index"], *LISTS, *options, index="photos",
                ranks=(1, 2))
        refuses("a file", "rows.fbin", ["query.fbin", "no index"], *LISTS, *options, index="query.fbin")
    check(tree("photos") == kept and os.listdir("photos") == ["cat.jpg"], "what is no index was touched")
    for job_name in ("info", "verify"):
        held_to("no index", run(job_name, "photos", ranks=1), 2, ["photos", "no index"], job=job_name)
        held_to("nothing", run(job_name, "nowhere", ranks=1), 2, ["nowhere", "no index"], job=job_name)
        held_to("a file", run(job_name, "query.fbin", ranks=1), 2, ["query.fbin", "no index"], job=job_name)
    held_to("search in no index", run("search", "photos", "query.fbin", ranks=2), 2, ["photos", "no index"], job="search")
    os.mkdir("empty")
    ok("build", "rows.fbin", "empty", *LISTS, ranks=2)  # an empty directory is as good as none
    check(digest("empty") == first, "an index in a directory that was there")
    refuses("no parent", "rows.fbin", ["no/such", "no directory"], *LISTS, index="no/such/index")
    refuses("a file as parent", "rows.fbin", ["query.fbin"], *LISTS, index="query.fbin/index")
    long = "x" * 300
    refuses("too long a name", "rows.fbin", [], *LISTS, index=long, code=(1, 2))
    refuses("too long a path", "rows.fbin", [], *LISTS, index="y/" * 3000 + "z")
    os.symlink("nowhere", "dangling")
    refuses("a link to nothing", "rows.fbin", ["dangling"], *LISTS, index="dangling", code=(1, 2))
    if can("unshare", "-m", "true"):
        inside = ("mkdir -p shut && mount -t tmpfs -o size=1m,ro none shut && exec " + " ".join(LAUNCHER) +
                  f" -n 2 {PROGRAM} build rows.fbin shut/index --lists 6")
        result = run(launcher=["unshare", "-m", "sh", "-c", inside, "sh"], ranks=2)
        held_to("a read-only file system", result, 1, ["shut/index", "Read-only file system"])
elif which == "locks":
    ok("build", "rows.fbin", "index", *LISTS, ranks=2)
    first = digest("index")
    # one that lives
    job = start("build", "rows.fbin", "held", *LISTS, ranks=2, environment={"RANKTAPE_FAULT": "insert:0:1:stop"})
    pid = stopped_process()
    for options in ((), ("--force",)):
        result = run("build", "rows.fbin", "held", *LISTS, *options, ranks=2)
        held_to(f"a lock that is held {options}", result, 2, ["held", "being written", f"process {pid}", "host"])
        check(os.path.exists("held/LOCK"), "the lock of another build was removed")
    result = run("info", "held", ranks=0)
    check(result.code == 2 and "unfinished build" in result.err, f"info while it is built: {result.code} {result.err}")
    os.kill(pid, 18)
    result = finish(job)
    check(result.code == 0, f"the build that was there first: exit {result.code}: {result.err}")
    check(digest("held") == first and not os.path.exists("held/LOCK"), "the build that was there first")
    ok("verify", "held", "--full", ranks=1)
    # one whose process was killed: unfinished, then taken over at once
    job = start("build", "rows.fbin", "stale", *LISTS, ranks=2, environment={"RANKTAPE_FAULT": "insert:0:1:kill"})
    check(finish(job).code != 0, "a killed build succeeds")
    all_gone("rank 0 killed")
    check(os.path.exists("stale/LOCK"), "a killed build has left no lock")
    unpublished("a killed build", "stale")
    refuses("an unfinished build", "rows.fbin", ["stale", "unfinished build", "--force"], *LISTS, index="stale")
    result = ok("build", "rows.fbin", "stale", *LISTS, "--force", ranks=2)
    check(digest("stale") == first, "a build over a killed one has another digest")
    check("LOCK" not in os.listdir("stale") and not [n for n in os.listdir("stale") if n.endswith(".partial")],
          f"after a build over a killed one: {os.listdir('stale')}")
    # several at once: one of them has it
    for number in range(3):
        jobs = [start("build", "rows.fbin", f"race{number}", *LISTS, ranks=1) for _ in range(3)]
        results = [finish(job) for job in jobs]
        codes = sorted(result.code for result in results)
        check(codes == [0, 2, 2], f"builds at once: {codes}: {[r.err for r in results]}")
        check(digest(f"race{number}") == first and not os.path.exists(f"race{number}/LOCK"), "builds at once")
        ok("verify", f"race{number}", "--full", ranks=1)
    # one of another host cannot be judged: named, and taken only when asked
    lock = {"host": "elsewhere", "boot_id": "another", "pid": 4711, "start_time": 1, "job_id": "99", "restart_count": 0,
            "nonce": "0" * 32, "since": int(time.time()), "pid_space": "pid:[1]"}
    # what a taker there has left of its name goes with time, also where its clock runs ahead
    names = {f"index/LOCK.{digit * 32}": offset for digit, offset in (("1", 0), ("2", -3600), ("3", 3600))}
    for name, offset in names.items():
        with open(name, "w") as f:
            json.dump(lock, f)
        os.utime(name, (time.time() + offset,) * 2)
    ok("verify", "index", "--clean", ranks=1)
    check([os.path.exists(name) for name in names] == [True, False, False], f"names of takers: {os.listdir('index')}")
    os.remove(next(iter(names)))
    os.mkdir("far")
    with open("far/LOCK", "w") as f:
        json.dump(lock, f)
    refuses("a lock of another host", "rows.fbin", ["far", "elsewhere", "4711", "--break-lock"], *LISTS, "--force",
            index="far")
    check(os.path.exists("far/LOCK"), "the lock of another host was removed")
    ok("build", "rows.fbin", "far", *LISTS, "--force", "--break-lock", ranks=2)
    check(digest("far") == first, "a build that broke a lock")
    for content in (b"", b"garbage", b'{"host": 7, "pid": "x"}', b"x" * 100000):
        shutil.rmtree("odd", ignore_errors=True)
        os.mkdir("odd")
        with open("odd/LOCK", "wb") as f:
            f.write(content)
        refuses("a lock that cannot be read", "rows.fbin", ["odd", "--break-lock"], *LISTS, "--force", index="odd")
elif which == "disk":
    if not can("unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"):
        print("no mount of our own can be made here: skipped")
        sys.exit(77)
    write_bin("large.fbin", clustered(60000, 32, seed=5))  # 7.3 MiB; its index takes some 12
    full = ("mkdir -p disk && mount -t tmpfs -o size=SIZEk none disk; " + " ".join(LAUNCHER) +
            f" -n RANKS {PROGRAM} build large.fbin disk/index --lists 20 --io IO; code=$?; ls -A disk/index 2>/dev/null; "
            f"{PROGRAM} info disk/index --digest; exit $code")
    # tree, tape, vectors and frozen file: each is the first that does not fit
    for size in (100, 2000, 6000, 11500):
        for io in ("direct", "mpio"):
            if io == "mpio" and size == 6000:
                continue
            ranks = 2 if size != 6000 else 3
            command = full.replace("SIZE", str(size)).replace("RANKS", str(ranks)).replace("IO", io)
            name = f"{size} KiB, {io}"
            result = run(launcher=["unshare", "-m", "sh", "-c", command, "sh"], ranks=ranks)
            info = [line for line in result.message() if line.startswith("ranktape: info")]
            check(len(info) == 1 and ("no index" in info[0] or "unfinished build" in info[0]), f"{name}: {result.err}")
            result.err = "\n".join(line for line in result.err.splitlines() if not line.startswith("ranktape: info"))
            held_to(name, result, 1, ["disk/index", "No space left on device" if io == "direct" else " free there"])
            check("CURRENT" not in result.out, f"{name}: published: {result.out}")
    # a disk that has room again is built on
    command = ("mkdir -p disk && mount -t tmpfs -o size=60m none disk && head -c 45000000 /dev/zero >disk/ballast; " +
               " ".join(LAUNCHER) + f" -n 2 {PROGRAM} build large.fbin disk/index --lists 20; rm disk/ballast; " +
               " ".join(LAUNCHER) + f" -n 3 {PROGRAM} build large.fbin disk/index --lists 20 HOW && {PROGRAM} "
               f"verify disk/index --full && exec {PROGRAM} info disk/index --digest")
    digests = set()
    for how in ("--force", "--resume"):  # anew, or with what was done on another number of ranks
        result = run(launcher=["unshare", "-m", "sh", "-c", command.replace("HOW", how), "sh"], ranks=2)
        check(result.code == 0, f"a build after a full disk, {how}: exit {result.code}: {result.out}{result.err}")
        digests.add(result.out.split()[-1])
    check(len(digests) == 1, f"builds after a full disk: {digests}")
    # what is printed may meet a full disk too: that is no success
    ok("build", "rows.fbin", "small", *LISTS, ranks=2)
    held_to("a full disk behind stdout", run(launcher=["sh", "-c", f"exec {PROGRAM} info small >/dev/full", "sh"], ranks=1), 1,
            ["standard output"], job="info")
end()
