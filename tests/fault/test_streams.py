"""Standard streams that are closed, full or no longer read: nothing is printed into other files, no job ends half-way for it, and
what is said tells whether the index has changed."""
import json
import os
import signal
import subprocess

from faults import PROGRAM, check, clustered, end, finish, held_to, ok, run, start, stopped_process, write_bin

write_bin("rows.fbin", clustered(600, 8, seed=4))
write_bin("more.fbin", clustered(5, 8, seed=5))
LISTS = ("--lists", "6")
DONE = ["standard output", "the job itself is done"]


def generation(index):
    return ok("info", index, "--json", ranks=0).json()["generation"]


def shell(line):
    """One process; the line names the program as $0."""
    return run(launcher=["sh", "-c", f"exec $0 {line}", PROGRAM], ranks=1)


def full_and_closed():
    ok("build", "rows.fbin", "index", *LISTS, ranks=2)
    for number, to in enumerate((">/dev/full", ">&-")):
        held_to(f"insert {to}", shell(f"insert index more.fbin {to} #"), 1, DONE, job="insert")
        check(generation("index") == 2 + number, f"insert {to}: generation {generation('index')}")
    result = held_to("info >&-", shell("info index >&- #"), 1, ["standard output"], job="info")
    check("is done" not in result.err, f"a job that changes nothing: {result.err}")


def numbers_of_streams():
    """While a job is at work, no file of its own has a number that is printed to."""
    for closed in ([0], [1], [2], [0, 1, 2]):
        job = start("insert", "index", "more.fbin", launcher=["sh", "-c", "shift 2; " + "exec \"$@\" " + " ".join(
            ("<&-", ">&-", "2>&-")[fd] for fd in closed), "sh"], environment={"RANKTAPE_FAULT": "publish:0:1:stop"})
        pid = stopped_process()
        behind = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in closed]
        check(set(behind) == {"/dev/null"}, f"streams {closed} are {behind}")
        os.kill(pid, signal.SIGCONT)
        result = finish(job)
        check(result.code == (1 if 1 in closed else 0), f"streams {closed} closed: exit {result.code}: {result.err}")
    ok("verify", "index", "--full", ranks=1)


def reader_gone():
    """As in `ranktape build .. | head -1`."""
    there, here = os.pipe()
    os.close(there)
    job = subprocess.run([PROGRAM, "build", "rows.fbin", "piped", *LISTS], stdin=subprocess.DEVNULL, stdout=here,
                         stderr=subprocess.PIPE, text=True)
    os.close(here)
    check(job.returncode == 1 and all(word in job.stderr for word in DONE), f"no reader: {job.returncode} {job.stderr}")
    ok("verify", "piped", "--full", ranks=1)


def refused_in_json():
    for ranks in (0, 2):
        for arguments in (("insert", "index"), ("insert", "index", "more.fbin", "--no-such"), ("delete", "index", "more", "rest"),
                          ("vacuum", "index", "--dead-fraction", "7"), ("nothing",)):
            result = run(*arguments, "--json", ranks=ranks)
            said = json.loads(result.out)
            check(result.code == 2 and said["status"] == "failed" and said["exit_status"] == 2 and said["error"] in result.err,
                  f"{arguments}: exit {result.code}: {result.out}{result.err}")


full_and_closed()
numbers_of_streams()
reader_gone()
refused_in_json()
end()
