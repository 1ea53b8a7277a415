"""Jobs on the virtual cluster: submitted as users do, by slurm/submit.sh, and looked at as they do, by scontrol and output."""
import glob
import os
import signal
import subprocess
import sys
import time

import virtual_cluster
from virtual_cluster import field, out

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))
from ranktape_cli import PROGRAM, check, fail  # noqa: E402

SCRIPTS = os.path.join(os.environ["SOURCE_DIR"], "slurm")
OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "DEADLINE", "OUT_OF_MEMORY")
SLOWNESS = float(os.environ.get("RANKTAPE_TEST_SLOWNESS", "1"))


SRUN = "srun --mpi=pmix --kill-on-bad-exit=1"


def profile(launcher=SRUN, first_start="", every_start="", more=""):
    """The site's file; first_start is bash that only the first start of a job runs."""
    with open("profile", "w") as f:
        f.write(f"ranktape='{PROGRAM}'\nlauncher=({launcher})\nsbatch_options=(--time=10)\n{more}\n"
                f"load_environment() {{\n    {every_start}\n    if ((${{SLURM_RESTART_COUNT:-0}} == 0)); then\n        :\n        {first_start}\n"
                "    fi\n}\n")
    os.environ["RANKTAPE_PROFILE"] = os.path.abspath("profile")


def try_submit(*words):
    return subprocess.run([f"{SCRIPTS}/submit.sh", *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True)


def submit(*words):
    """The numbers of the jobs, in order."""
    done = try_submit(*words)
    if done.returncode != 0:
        fail(f"submit.sh {words}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return [line.split()[0] for line in done.stdout.splitlines()]


def said(job):
    """All that a job has written."""
    return "".join(open(name, errors="replace").read() for name in sorted(glob.glob(f"ranktape-jobs/*.{job}*.out")))


def until(condition, what, seconds=60, job=None):
    end = time.monotonic() + seconds * SLOWNESS
    while not condition():
        if time.monotonic() > end:
            log = f"{out('scontrol', 'show', 'job', job)}\n{said(job)}" if job else ""
            fail(f"not {what} after {seconds} s\n{out('squeue')}\n{log}")
        time.sleep(0.05)


def over(job, state="COMPLETED", code=0, seconds=120):
    """Waits for the end of a job, which must be this one."""
    until(lambda: field(job, "JobState") in OVER, f"job {job} over", seconds, job)
    found = field(job, "JobState"), field(job, "ExitCode")
    check(found == (state, f"{code}:0"), f"job {job}: {found}, not {state} {code}\n{said(job)}")
    return said(job)


def steps_of(job):
    """Slurm's own processes for a job: until they are gone its next start could meet them."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline") as f:
                found += [pid] if f.read().startswith(f"slurmstepd: [{job}.") else []
        except OSError:
            pass
    return found


def starts_again(job, count=1, seconds=60):
    """Waits until a job waits to be started for the count-th time again, and sees to it that this is soon (Slurm: 2 minutes)."""
    until(lambda: field(job, "Restarts") == str(count), f"job {job} queued again", seconds, job)
    until(lambda: not steps_of(job), f"job {job} gone from its nodes", seconds, job)
    time.sleep(2)  # a start within the second of the end would be taken for the one that was ended
    out("scontrol", "update", f"jobid={job}", "StartTime=now")


def halted(seconds=60):
    """The rank that a `stop` fault has halted."""
    found = []

    def look():
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as f:
                    is_halted = f.read().rsplit(")", 1)[1].split()[0] == "T"
                if is_halted and os.readlink(f"/proc/{pid}/exe") == os.path.realpath(PROGRAM):
                    found.append(int(pid))
            except OSError:
                pass
        return found

    until(look, "a rank halted", seconds)
    return found[0]


def go_on(pid):
    os.kill(pid, signal.SIGCONT)


def cluster(n_nodes):
    return virtual_cluster.Cluster(n_nodes, "cluster", keep=[os.environ["SOURCE_DIR"], os.environ["BUILD_DIR"]])
