"""What a failed job leaves behind, held to what it must: one line, an exit status, no process, nothing half-written."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))
import ranktape_cli  # noqa: E402
from ranktape_cli import LAUNCHER, PROGRAM, Result, check, clustered, end, ok, run, write_bin  # noqa: E402,F401

SECONDS = 30 * float(os.environ.get("RANKTAPE_TEST_SLOWNESS", "1"))  # far less on a free machine


def processes():
    """Ours that are still there: the program's, in this folder."""
    found = []
    here = os.getcwd()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/exe") == os.path.realpath(PROGRAM) and os.readlink(f"/proc/{pid}/cwd") == here:
                with open(f"/proc/{pid}/stat") as f:
                    if f.read().rsplit(")", 1)[1].split()[0] != "Z":
                        found.append(int(pid))
        except OSError:
            pass
    return found


beside = []  # ranks of a job that a test keeps waiting meanwhile


def all_gone(name):
    """A rank that mpirun has just sent away may need a moment."""
    for _ in range(50):
        left = [pid for pid in processes() if pid not in beside]
        if not left:
            return
        time.sleep(0.1)
    check(False, f"{name}: processes {left} are left")


def gone(name, index):
    check(not os.path.lexists(index), f"{name}: '{index}' is left: {os.listdir(index) if os.path.isdir(index) else 'a file'}")


def unpublished(name, index):
    check(not os.path.exists(f"{index}/CURRENT"), f"{name}: '{index}' has CURRENT")
    result = run("info", index, ranks=0)
    message = " ".join(result.message())
    check(result.code == 2 and ("unfinished build" in message or "there is no index" in message),
          f"{name}: info afterwards: exit {result.code}, {result.err}")


def held_to(name, result, code, words, job="build", seconds=None):
    """The status, exactly one line that says all of `words`, in time, and every rank gone."""
    codes = code if isinstance(code, tuple) else (code,)
    lines = result.message()
    check(result.code in codes, f"{name}: exit {result.code}, not {code}: {result.out}{result.err}")
    check(len(lines) == 1, f"{name}: {len(lines)} lines: {result.err}")
    if lines:
        line = lines[0]
        check(line.startswith(f"ranktape: {job}: ") if job else line.startswith("ranktape: "), f"{name}: {line}")
        for word in words:
            check(word in line, f"{name}: no '{word}' in: {line}")
        if os.environ.get("RANKTAPE_TEST_TALK"):
            print(f"{name}: {line}", flush=True)
    check(result.seconds < (seconds or SECONDS), f"{name}: took {result.seconds:.1f} s")
    all_gone(name)
    return result


n_cases = 0


def refuses(name, rows, words, *options, ranks=(2,), code=2, index=None, environment=None):
    """A build of `rows` that must fail, on each number of ranks; exit 2 leaves no trace, exit 1 no CURRENT."""
    global n_cases
    for n in ranks:
        n_cases += 1
        to = index or f"index{n_cases}"
        what = f"{name}, {n} ranks"
        result = held_to(what, run("build", rows, to, *options, ranks=n, environment=environment), code, words)
        if index is None:
            gone(what, to) if result.code == 2 else unpublished(what, to)


def start(*arguments, ranks=1, environment=None, launcher=None):
    """A job that goes on beside the test; finish() waits for it."""
    command = (launcher or LAUNCHER) + ["-n", str(ranks), PROGRAM] + [str(a) for a in arguments]
    job = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           errors="replace", env=dict(os.environ, **(environment or {})))
    job.began = time.monotonic()
    return job


def finish(job, timeout=60):
    try:
        out, err = job.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        job.terminate()
        out, err = job.communicate()
        check(False, f"{job.args}: not over after {timeout} s")
    beside.clear()
    return Result(ranktape_cli.exit_code(job.returncode, err), out, err, time.monotonic() - job.began)


def halted(job=None, *others, timeout=None):
    """The rank, none of the others, that a `stop` fault has halted; None: the job came to its end, or there was none in time."""
    until = time.monotonic() + (timeout or SECONDS)
    while (job is None or job.poll() is None) and time.monotonic() < until:
        for pid in set(processes()) - set(others):
            try:
                with open(f"/proc/{pid}/stat") as f:
                    if f.read().rsplit(")", 1)[1].split()[0] == "T":
                        return pid
            except OSError:
                pass
        time.sleep(0.01)
    return None


def stopped_process(timeout=None, other=None):
    """The same where there must be one, and all that runs now may go on beside what follows."""
    pid = halted(None, *([other] if other else []), timeout=timeout)
    if pid is None:
        ranktape_cli.fail("no rank has stopped at its fault point")
    beside[:] = processes()
    return pid
