"""Hosts with addresses, names and shared memory of their own, joined by cables that can be cut: network namespaces.

begin() starts the calling script anew inside namespaces of its own (network, processes, mounts), so that nothing is left of
hosts, bridges and jobs whatever ends the script, SIGKILL too."""
import os
import shutil
import subprocess
import sys

from ranktape_cli import LAUNCHER

NETWORK = "10.77.0.0/24"
# mpirun notices a cut cable after 5 s, instead of 480; where it has something to say to the lost host, it waits as long as TCP
# does: some 6 s, instead of 15 minutes.
RETRIES = "echo 4 >/proc/sys/net/ipv4/tcp_retries2"
KEEPALIVE = {"oob_tcp_keepalive_time": "2", "oob_tcp_keepalive_intvl": "1", "oob_tcp_keepalive_probes": "3"}
AGENT = """#!/usr/bin/env bash
# Stands in for ssh: runs a command on one of the hosts.
set -eu
while [[ $1 == -* ]]; do shift; done
host=$1
shift
exec ip netns exec "$host" unshare --uts --mount bash -c 'hostname "$0"; mount -t tmpfs -o size=200m tmpfs /dev/shm; eval "$*"' \\
    "$host" "$@"
"""


def skip(reason):
    print(reason)
    sys.exit(77)


def call(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


def begin(*names):
    """Goes on in namespaces of its own, where each name is a host; skips the test where that is not allowed."""
    if os.environ.get("RANKTAPE_TEST_INSIDE") != "yes":
        for tool in ("ip", "unshare", "ompi_info"):
            if not shutil.which(tool):
                skip(f"no {tool}: skipped")
        inside = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        try:
            call(*inside, "true")
        except OSError as refused:
            skip(f"no namespaces: skipped ({refused})")
        os.environ["RANKTAPE_TEST_INSIDE"] = "yes"
        os.execvp(inside[0], inside + [sys.executable, "-B"] + sys.argv)
    try:
        plug(names)
    except OSError as refused:
        skip(f"no network of our own: skipped ({refused})")
    with open("agent", "w") as f:
        f.write(AGENT)
    os.chmod("agent", 0o755)


def plug(names):
    call("mount", "-t", "tmpfs", "tmpfs", "/run")  # where ip keeps the names of namespaces
    call("ip", "link", "set", "lo", "up")
    call("ip", "link", "add", "switch", "type", "bridge")
    call("ip", "addr", "add", NETWORK.replace(".0/", ".254/"), "dev", "switch")
    call("ip", "link", "set", "switch", "up")
    call("sh", "-c", RETRIES)
    for number, name in enumerate(names, 1):
        call("ip", "netns", "add", name)
        call("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        call("ip", "link", "set", f"to-{name}", "master", "switch", "up")
        call("ip", "-n", name, "addr", "add", NETWORK.replace(".0/", f".{number}/"), "dev", "eth0")
        call("ip", "-n", name, "link", "set", "eth0", "up")
        call("ip", "-n", name, "link", "set", "lo", "up")
        call("ip", "netns", "exec", name, "sh", "-c", RETRIES)


def cut(name):
    call("ip", "link", "set", f"to-{name}", "down")


def mend(name):
    call("ip", "link", "set", f"to-{name}", "up")


def over(**slots):
    """A launcher for so many ranks on each of these hosts, which talk over their cables alone."""
    mca = {"plm_rsh_agent": os.path.abspath("agent"), "oob_tcp_if_include": NETWORK, "btl_tcp_if_include": NETWORK,
           "btl": "self,vader,tcp", "mpi_yield_when_idle": "1", **KEEPALIVE}
    return LAUNCHER + [word for name, value in mca.items() for word in ("--mca", name, value)] + [
        "--host", ",".join(f"{name}:{count}" for name, count in slots.items())]
