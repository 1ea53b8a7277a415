"""ranktape watch: what it tells of a job at work, of one that is gone, and of none; on a real terminal (tmux) as well."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

from ranktape_cli import LAUNCHER, PROGRAM, check, clustered, end, ok, run, write_bin

PART = sys.argv[1]
NONCE = "0123456789abcdef" * 2


def lock(index, pid=None, **other):
    """A lock of a process of this machine; of this one, where none is named."""
    pid = pid or os.getpid()
    try:
        with open(f"/proc/{pid}/stat") as f:
            start = int(f.read().rsplit(")", 1)[1].split()[19])
    except OSError:
        start = 1
    with open("/proc/sys/kernel/random/boot_id") as f:
        boot = f.read().strip()
    owner = {"host": os.uname().nodename, "boot_id": boot, "pid_space": os.readlink("/proc/self/ns/pid"), "pid": pid,
             "start_time": start, "job_id": "", "restart_count": 0, "since": int(time.time()), "nonce": NONCE, **other}
    with open(f"{index}/LOCK", "w") as f:
        json.dump(owner, f)


def progress(index, **other):
    os.makedirs(f"{index}/checkpoint", exist_ok=True)
    state = {"job": "vacuum", "state": "running", "phase": "fold", "unit": "rows", "done": 412000, "total": 1000000,
             "fraction": 0.412, "rate": 52000.0, "seconds": 8.0, "seconds_left": 11.0, "bytes_read": 1 << 20, "bytes_written": 2 << 20,
             "bytes_sent": 3 << 20, "skipped": 0, "ranks": 4, "note": "", "slowest_rank": 3, "slowest_done": 90000,
             "memory_bytes": 398 << 20, "job_seconds": 9.0, "lock": NONCE, "updated": int(time.time()),
             "finished": [{"phase": "survey", "unit": "lists", "seconds": 1.5, "done": 3120, "rate": 2080.0}], **other}
    with open(f"{index}/checkpoint/progress.json.partial", "w") as f:
        json.dump(state, f)
    os.rename(f"{index}/checkpoint/progress.json.partial", f"{index}/checkpoint/progress.json")


def clear(index):
    shutil.rmtree(f"{index}/checkpoint", ignore_errors=True)
    if os.path.exists(f"{index}/LOCK"):
        os.remove(f"{index}/LOCK")


def tells(name, code, *words, index="index", options=("--once",)):
    result = run("watch", index, *options, ranks=0)
    text = result.out + result.err
    check(result.code == code, f"{name}: exit {result.code}, not {code}: {text}")
    for word in words:
        check(word in text, f"{name}: '{word}' is not in {text}")
    check(all(c == "\n" or " " <= c <= "~" for c in text), f"{name}: {text!r}")
    return text


def states():
    tells("nothing", 2, "there is no index 'nowhere'", index="nowhere")
    os.mkdir("photos")
    open("photos/cat.jpg", "w").close()
    tells("a folder", 2, "is no index", index="photos")
    idle = tells("no job", 0, "no job is running; generation 1 is published, 500 rows")
    tells("no job, live", 0, idle.strip(), options=())
    before = sorted(os.listdir("index"))

    lock("index")
    tells("a job that has told nothing", 0, f"process {os.getpid()}", "has just begun", "generation 1")
    progress("index", lock="f" * 32)
    tells("news of a job before", 0, "has just begun")
    progress("index")
    text = tells("a job", 0, "vacuum", "41 %", "0:11 left", "412,000 of 1,000,000 rows, 52,000 rows/s", "398.0 MiB private",
                 "rank 3: 90,000 rows of 103,000 on average", "survey", "3,120 lists", "running")
    check(text.index("survey") < text.index("fold") < text.index("memory"), f"order: {text}")
    answer = ok("watch", "index", "--json", ranks=0).json()
    check(answer["state"] == "running" and answer["progress"]["done"] == 412000 and answer["process"] == os.getpid() and
          answer["generation"] == 1, f"--json: {answer}")
    progress("index", updated=int(time.time()) - 125)
    tells("a silent one", 0, "none for 2:")
    for key, value in (("note", "\x1b[2J\x07\u00e4" + 300 * "x"), ("phase", 7), ("fraction", 1e308), ("done", -5), ("ranks", 10**12),
                       ("finished", [7, {"phase": "\x1b"}, None] * 50), ("seconds_left", "soon"), ("memory_bytes", 1e300)):
        progress("index", **{key: value})
        tells(f"{key} of another kind", 0, "index")
    with open("index/checkpoint/progress.json", "w") as f:
        f.write('{"job": "vac')
    tells("half a file", 0, "has just begun")

    gone = subprocess.Popen(["true"])
    gone.wait()
    progress("index")
    lock("index", gone.pid)
    tells("a dead job", 1, f"process {gone.pid}", "has died; run it again")
    check(run("watch", "index", "--json", ranks=0).json()["state"] == "dead", "a dead job in --json")
    lock("index", gone.pid, host="elsewhere")
    tells("a job elsewhere", 0, f"process {gone.pid} on elsewhere")
    os.remove("index/LOCK")
    for state, code in (("stopped", 75), ("failed", 1)):
        progress("index", state=state, text="no \x1b space")
        tells(state, code, f"the last vacuum has {state}", "no ? space")
    progress("index")
    tells("news nobody stands behind", 0, "no job is running")
    clear("index")
    check(sorted(os.listdir("index")) == before, "watch has written")
    os.mkdir("begun")
    lock("begun")
    tells("a build that begins", 0, "has just begun", index="begun")
    os.remove("begun/LOCK")
    progress("begun")
    tells("half a build", 1, "an unfinished build", index="begun")


def jobs():
    """Real jobs keep the file while they are at work, and leave nothing behind."""
    write_bin("many.fbin", clustered(250000, 64, clusters=300, seed=4))
    command = LAUNCHER + ["-n", "2", PROGRAM, "build", "many.fbin", "big", "--lists", "40,1600", "--iterations", "40", "--quiet"]
    build = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    found = None
    while build.poll() is None and not found:
        try:
            with open("big/checkpoint/progress.json") as f:
                found = json.load(f)  # whole at every time
        except FileNotFoundError:
            time.sleep(0.02)
    if check(found, "a build of more than a second keeps no progress"):
        check(found["job"] == "build" and found["phase"] in ("train", "insert", "compact") and found["ranks"] == 2 and
              found["memory_bytes"] > 0 and found["slowest_rank"] in (0, 1), f"progress: {found}")
        told = run("watch", "big", "--json", ranks=0).json()
        check(told["state"] == "running" or build.poll() is not None or os.path.exists("big/CURRENT"), f"watch: {told}")
    out, _ = build.communicate(timeout=120)
    check(build.returncode == 0, f"build: {build.returncode} {out}")
    check(sorted(os.listdir("big")) == ["CURRENT", "frozen-1.h5", "manifest-1.json", "tree-1.h5", "vectors-1.h5"],
          f"left: {sorted(os.listdir('big'))}")
    build = subprocess.Popen([PROGRAM, "build", "many.fbin", "dead", "--lists", "40,1600", "--iterations", "40", "--quiet"],
                             stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while build.poll() is None and not os.path.exists("dead/checkpoint/progress.json"):
        time.sleep(0.02)
    build.send_signal(signal.SIGKILL)
    build.wait()
    tells("a killed build", 1, f"the build of process {build.pid}", "has died", "--resume", index="dead")
    ok("build", "many.fbin", "dead", "--lists", "40,1600", "--iterations", "40", "--quiet", "--resume", ranks=0)
    tells("resumed", 0, "no job is running; generation 1", index="dead")


class Terminal:
    """A shell in tmux, and what it shows."""

    def __init__(self, columns, lines):
        self.socket = os.path.abspath("tmux-socket")
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(lines), "env PS1='$ ' LC_ALL=C.UTF-8 sh")

    def tmux(self, *arguments):
        return subprocess.run(["tmux", "-S", self.socket, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=30, check=True).stdout

    def type(self, text):
        self.tmux("send-keys", "-l", text)
        self.tmux("send-keys", "Enter")

    def shows(self, name, *words, without=(), seconds=30):
        until = time.monotonic() + seconds
        while True:
            text = self.tmux("capture-pane", "-p")
            if all(word in text for word in words) and not any(word in text for word in without):
                return text
            if time.monotonic() > until:
                check(False, f"{name}: not {words} or {without} in\n{text}")
                return text
            time.sleep(0.05)


def terminal():
    if not shutil.which("tmux"):
        print("skipped: no tmux here (tools/setup.sh test)")
        sys.exit(77)
    lock("index")
    progress("index")
    t = Terminal(96, 24)
    try:
        t.type("stty -a > before; echo OLD' 'TEXT")
        t.shows("a shell", "OLD TEXT\n")
        t.type(f"'{PROGRAM}' watch index; echo CODE $?")
        text = t.shows("the screen", "41 %", "fold", "\u2501", "\u2500", "0:11 left", "q quits", without=("OLD TEXT",))
        check(text.startswith("index") and len([line for line in text.split("\n") if line.startswith("fold")]) == 1, f"screen:\n{text}")
        progress("index", done=900000, fraction=0.9, note="round 2")
        t.shows("what is new", "90 %", "round 2", without=("41 %",))
        t.tmux("resize-window", "-x", "44", "-y", "9")
        text = t.shows("a small one", "90 %", without=("private in the rank that holds most",))
        check(all(len(line) <= 44 for line in text.split("\n")) and len(text.rstrip("\n").split("\n")) <= 9, f"narrow:\n{text}")
        t.tmux("resize-window", "-x", "96", "-y", "24")
        t.shows("a large one again", "private in the rank that holds most")
        t.tmux("send-keys", "q")
        t.shows("after q", "OLD TEXT", "CODE 0", without=("fold",))
        for name, code in (("TERM", 143), ("HUP", 129), ("INT", 130)):
            t.type(f"clear; '{PROGRAM}' watch index; echo CODE $?")
            t.shows(f"before {name}", "fold", "q quits")
            shell = t.tmux("display-message", "-p", "#{pane_pid}").strip()
            pids = subprocess.run(["ps", "-o", "pid=", "--ppid", shell], capture_output=True, text=True).stdout.split()
            check(len(pids) == 1, f"{name}: processes {pids}")
            os.kill(int(pids[0]), getattr(signal, f"SIG{name}"))
            # a shell leaves the rest of a line that SIGINT has ended
            t.shows(f"after {name}", f"CODE {code}" if name != "INT" else "$", without=("fold",))
        t.type(f"clear; '{PROGRAM}' watch index; echo CODE $?")
        t.shows("before the end", "fold", "q quits")
        clear("index")
        t.shows("the end", "no job is running; generation 1", "CODE 0", without=("fold",))
        t.type("stty -a > after; echo COMP''ARED")
        t.shows("the shell", "COMPARED\n")
        with open("before") as a, open("after") as b:
            check([line for line in a.read().split("\n") if "rows" not in line] ==
                  [line for line in b.read().split("\n") if "rows" not in line], "the terminal is not what it was")
    finally:
        t.tmux("kill-server")


write_bin("rows.fbin", clustered(500, 8, seed=2))
if PART != "jobs":
    ok("build", "rows.fbin", "index", "--lists", "4", ranks=0)
{"states": states, "jobs": jobs, "terminal": terminal}[PART]()
end()
