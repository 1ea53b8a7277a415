"""A real Slurm made of this one machine: slurmctld and one slurmd a node, each with a host name, /tmp and /dev/shm of its own.

The test runs itself again inside namespaces of its own (processes, mounts, network), so that the kernel ends every daemon and
every rank with it, however it ends, and neither ports nor process numbers meet those of others."""
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import time

INSIDE = "RANKTAPE_TEST_INSIDE"
DAEMONS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "unshare")
NAMESPACES = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"]
# pid 1 of the namespace reaps what the daemons leave behind; bash does so while it waits
INIT = ["bash", "-c", '"$@" & wait "$!"', "init"]

# One key a word; the recipe needs neither munge nor a user but root, and sees a lost node after seconds.
CONFIGURATION = """ClusterName=t SlurmctldHost={host}(10.77.0.1) SlurmctldPort=17017 SlurmUser=root SlurmdUser=root
AuthType=auth/none CredType=cred/none StateSaveLocation={folder}/state SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/ctld.pid SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/log/ctld SlurmdLogFile={folder}/log/slurmd.%n
ProctrackType=proctrack/linuxproc TaskPlugin=task/none JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none SwitchType=switch/none MpiDefault=pmix
SelectType=select/cons_tres SelectTypeParameters=CR_Core SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0 SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio PreemptMode=REQUEUE
ReturnToService=2 KillWait=5 SlurmdTimeout=4 MessageTimeout=10"""

# Private folders; what the job needs below /tmp ("$@" after name, configuration and number of folders) is bound again there.
NODE = r"""
set -eu
name=$1 configuration=$2
shift 2
fd=10
for folder in "$@"; do eval "exec $fd<\"\$folder\""; fd=$((fd + 1)); done
mount -t tmpfs -o size=512m tmpfs /tmp
mount -t tmpfs -o size=1g tmpfs /dev/shm
fd=10
for folder in "$@"; do mkdir -p "$folder"; mount --no-canonicalize --bind "/proc/self/fd/$fd" "$folder"; eval "exec $fd<&-"; fd=$((fd + 1)); done
hostname "$name"
exec slurmd -D -N "$name" -f "$configuration"
"""


def can(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def bring_up_loopback():
    """With a second address: where 10.77.0.1 is all there is, getaddrinfo() finds nothing to listen on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14s", b"lo", 0x1 | 0x40, b""))  # SIOCSIFFLAGS: up, running
        fcntl.ioctl(any_socket, 0x8916, struct.pack("16sHH4s8s", b"lo", socket.AF_INET, 0,  # SIOCSIFADDR
                                                    socket.inet_aton("10.77.0.1"), b""))


def enter():
    """Goes on inside namespaces, or skips the test where there can be no cluster."""
    if os.environ.get(INSIDE):
        bring_up_loopback()
        return
    missing = [name for name in DAEMONS if not shutil.which(name)]
    if missing:
        skip(f"no {missing[0]} (tools/setup.sh test)")
    if not can(*NAMESPACES, "mount", "-t", "tmpfs", "tmpfs", "/mnt"):
        skip("virtual nodes need root and namespaces (unshare)")
    sys.stdout.flush()
    os.environ[INSIDE] = "1"
    os.execvp(NAMESPACES[0], NAMESPACES + INIT + [sys.executable, "-B", *sys.argv])


class Cluster:
    """Daemons with a fresh folder below `folder`, which every node sees."""

    def __init__(self, n_nodes, folder, keep=()):
        self.folder = os.path.abspath(folder)
        self.nodes = {}
        for name in ["state", "log"] + [f"spool/n{i + 1}" for i in range(n_nodes)]:
            os.makedirs(f"{self.folder}/{name}")
        self.configuration = f"{self.folder}/slurm.conf"
        os.environ["SLURM_CONF"] = self.configuration
        # ranks of different nodes talk over the loopback, and there are more of them than cores
        os.environ.update(OMPI_MCA_btl_tcp_if_include="lo", OMPI_MCA_oob_tcp_if_include="lo", OMPI_MCA_btl="self,vader,tcp")
        self.write_configuration(n_nodes)
        self.keep = [os.path.realpath(k) for k in (self.folder, os.getcwd(), *keep) if os.path.realpath(k).startswith("/tmp/")]
        subprocess.Popen(["slurmctld", "-D", "-c", "-f", self.configuration], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for i in range(n_nodes):
            self.start_node(f"n{i + 1}")
        self.wait_for(lambda: out("sinfo", "-h", "-p", "p", "-t", "idle", "-o", "%D") == str(n_nodes), 60, "idle nodes")

    def write_configuration(self, n_nodes):
        host = socket.gethostname()
        lines = CONFIGURATION.format(host=host, folder=self.folder).split()
        for i in range(n_nodes):
            lines.append(f"NodeName=n{i + 1} NodeHostname={host} NodeAddr=10.77.0.1 Port={17101 + i} CPUs=4 "
                         "CoresPerSocket=4 RealMemory=4000")
        lines.append(f"PartitionName=p Nodes=n[1-{n_nodes}] Default=YES MaxTime=60 State=UP GraceTime=3")
        lines.append(f"PartitionName=urgent Nodes=n[1-{n_nodes}] MaxTime=60 State=UP PriorityTier=10")  # takes nodes from p
        with open(self.configuration, "w") as f:
            f.write("\n".join(lines) + "\n")

    def start_node(self, name):
        self.nodes[name] = subprocess.Popen(
            ["unshare", "--mount", "--uts", "bash", "-c", NODE, "node", name, self.configuration, *self.keep],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def lose_node(self, name):
        """slurmd and all that runs there die at once, as when the power goes."""
        lost = os.readlink(f"/proc/{self.nodes[name].pid}/ns/uts")
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/ns/uts") == lost:
                    os.kill(int(pid), 9)
            except OSError:
                pass
        self.nodes[name].wait()

    def wait_for(self, condition, seconds, what):
        until = time.monotonic() + seconds * float(os.environ.get("RANKTAPE_TEST_SLOWNESS", "1"))
        while not condition():
            if time.monotonic() > until:
                print(f"FAILED no {what} within {seconds} s\n{out('sinfo')}\n{out('squeue')}", file=sys.stderr)
                sys.exit(1)
            time.sleep(0.05)


def out(*command):
    """What a command prints; nothing where it fails."""
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout.strip()


def field(job, name):
    """One word of what Slurm knows of a job: "COMPLETED", "0:0"; empty where it knows none."""
    for word in out("scontrol", "-o", "show", "job", str(job)).split():
        if word.startswith(name + "="):
            return word[len(name) + 1:]
    return ""
