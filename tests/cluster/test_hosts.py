"""Several hosts that differ: made of this one by mpirun's remote agent, each with a name and a /dev/shm of its own."""
import os
import subprocess
import sys

from ranktape_cli import LAUNCHER, check, clustered, digest, end, ok, write_bin

AGENT = """#!/usr/bin/env bash
set -eu
while [[ $1 == -* ]]; do shift; done
host=$1
shift
exec unshare --uts --mount bash -c 'hostname "$0"; mount -t tmpfs -o size="$1" tmpfs /dev/shm; shift; eval "$*"' \\
    "$host" "$([[ $host == small ]] && echo 18m || echo 200m)" "$@"
"""


def can(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


if not can("unshare", "--uts", "--mount", "true") or not can("ompi_info"):
    print("needs unshare and Open MPI")
    sys.exit(77)
with open("agent", "w") as f:
    f.write(AGENT)
os.chmod("agent", 0o755)


def over(*hosts):
    """A launcher for two ranks on each of these hosts; their messages go over the loopback."""
    mca = {"plm_rsh_agent": os.path.abspath("agent"), "oob_tcp_if_include": "lo", "btl_tcp_if_include": "lo",
           "btl": "self,vader,tcp", "mpi_yield_when_idle": "1"}
    return LAUNCHER + [word for name, value in mca.items() for word in ("--mca", name, value)] + [
        "--host", ",".join(f"{host}:2" for host in hosts)]


write_bin("rows.fbin", clustered(3000, 24, seed=1))
ok("build", "rows.fbin", "alone", "--lists", "4,40")
for hosts, n_copied in ((("large", "small"), 1), (("large", "larger"), 0), (("small", "large"), 1)):
    index = "-".join(hosts)
    built = ok("build", "rows.fbin", index, "--lists", "4,40", ranks=4, launcher=over(*hosts))
    told = [line for line in built.warnings() if "once a rank" in line]
    check(len(told) == n_copied, f"{hosts}: {built.err}")
    for line in told:
        check("1 of 2 nodes" in line and "(small: /dev/shm has" in line, f"{hosts}: {line}")
    check(digest(index) == digest("alone"), f"{hosts}: another digest")
    ok("search", index, "rows.fbin", "--probes", 2, ranks=4, launcher=over(*hosts))
end()
