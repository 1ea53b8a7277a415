"""A rank that is slower than the others, for longer than --stall-timeout, is waited for: it works, and nobody hangs. And
where another fails meanwhile, that is what is told."""
import math
import os
import signal
import time

import numpy as np
from faults import check, clustered, end, finish, halted, held_to, ok, start, write_bin
from ranktape_cli import digest

STALL = 5 * float(os.environ.get("RANKTAPE_TEST_SLOWNESS", "1"))
N, DIM = 800000, 64


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # it has ended meanwhile
        pass


def seconds_of(pid):
    """Processor time of a process."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
    except OSError:
        return math.inf
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def step(pid):
    """Lets a process that is held have about a hundredth of a second of a processor, however busy that is."""
    before, until = seconds_of(pid), time.monotonic() + 1
    send(pid, signal.SIGCONT)
    while seconds_of(pid) <= before and time.monotonic() < until:
        time.sleep(0.002)
    send(pid, signal.SIGSTOP)


def crawls(name, phase, *call, fault=""):
    """Rank 1, from the phase's begin on, gets a fortieth of its time for longer than a watchdog is patient. How the job ends, and
    after how many seconds of that."""
    job = start(*call, "--stall-timeout", STALL, ranks=2, environment={"RANKTAPE_FAULT": f"{phase}:1:1:stop{fault}"})
    pid = halted(job)
    check(pid is not None, f"{name}: there was no {phase}")
    began = time.monotonic()
    while pid and job.poll() is None and time.monotonic() < began + 2 * STALL:
        step(pid)
        time.sleep(0.4)
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
    if name == "build":
        failed, _ = crawls(name, *job, fault=",write:0:12")
        held_to("another rank fails", failed, 1, ["No space left on device"], job=name)
    result, crawled = crawls(name, *job)
    check(result.code == 0, f"{name}: {result.out}{result.err}")
    check(name not in ("build", "compact") or digest("index") == want, f"{name}: another digest")
    check(name in ("compact", "delete") or crawled > STALL + 1, f"{name}: {crawled:.1f} s, and a watchdog is patient for {STALL}")
ok("verify", "index", "--full", ranks=2)
end()
