"""A rank that is slower than the others, for longer than --stall-timeout, is waited for: it works, and nobody hangs. And of
another's failure it hears at once."""
import os
import signal
import time

import numpy as np
from faults import check, clustered, end, finish, halted, held_to, ok, start, write_bin
from ranktape_cli import digest

STALL = 3 * float(os.environ.get("RANKTAPE_TEST_SLOWNESS", "1"))
CRAWL = 2 * STALL + 2
N, DIM = 400000, 64


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # it has ended meanwhile
        pass


def crawls(name, phase, *call, fault=""):
    """Rank 1, from the phase's begin on, gets a thirtieth of its time for longer than a watchdog is patient. How the job ends, and
    after how many seconds of that."""
    job = start(*call, "--stall-timeout", STALL, ranks=2, environment={"RANKTAPE_FAULT": f"{phase}:1:1:stop{fault}"})
    pid = halted(job)
    check(pid is not None, f"{name}: there was no {phase}")
    began = time.monotonic()
    while pid and job.poll() is None and time.monotonic() < began + CRAWL:
        send(pid, signal.SIGCONT)
        time.sleep(0.005)
        send(pid, signal.SIGSTOP)
        time.sleep(0.15)
    crawled = time.monotonic() - began
    if pid:
        send(pid, signal.SIGCONT)
    return finish(job), crawled


rows = clustered(N, DIM, seed=7).astype(np.float32)
write_bin("rows.fbin", rows)
np.random.default_rng(8).permutation(np.arange(N, 2 * N, dtype="<u8")).tofile("ids.u64")
np.arange(1, N, 2, dtype="<u8").tofile("odd.u64")
BUILD = ("build", "rows.fbin", "index", "--lists", 500, "--force")
ok(*BUILD, ranks=2)
want = digest("index")
JOBS = (("build", "insert", *BUILD), ("compact", "compact", *BUILD),
        ("insert", "insert", "insert", "index", "rows.fbin", "--ids", "ids.u64"),
        ("delete", "delete", "delete", "index", "--ids", "odd.u64"),
        ("vacuum", "fold", "vacuum", "index", "--full"))
for name, *job in JOBS:
    is_long = name in ("build", "insert", "vacuum")
    failed, heard = crawls(name, *job, fault=",write:0:12") if is_long else (None, 0)
    result, crawled = crawls(name, *job)
    check(result.code == 0, f"{name}: {result.out}{result.err}")
    check(name not in ("build", "compact") or digest("index") == want, f"{name}: another digest")
    if is_long:
        check(crawled > STALL + 2, f"{name}: {crawled:.1f} s of work, not longer than a watchdog is patient")
        held_to(f"{name}, another rank fails", failed, 1, ["No space left on device"], job=job[1])
        check(heard < CRAWL, f"{name}: of another's failure a rank had not heard after {heard:.1f} s")
ok("verify", "index", "--full", ranks=2)
end()
