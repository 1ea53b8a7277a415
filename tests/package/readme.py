"""The commands with which README.md installs ranktape, as they stand, in a checkout: those of its blocks that bear the name of this
test. Where a cluster has its own (module, srun, /scratch), stand-ins take their place."""
import os
import re
import subprocess
import sys

ROOT = os.environ["SOURCE_DIR"]
STAND_INS = """set -euo pipefail
module() { :; }
srun() {
    shift 2
    mpirun -n 2 "$@"
}
"""
os.mkdir("checkout")
subprocess.run(f"git -C '{ROOT}' -c safe.directory='*' archive HEAD | tar -x -C checkout", shell=True, check=True)
readme = open("checkout/README.md").read()
blocks = re.findall(r"^<!-- test: package.readme -->\n```sh\n(.*?)^```$", readme, flags=re.S | re.M)
if len(blocks) != 2:
    sys.exit(f"{len(blocks)} blocks of README.md are for this test")

os.mkdir("bin")
with open("bin/mpirun", "w") as file:
    file.write(f"#!/bin/sh\nexec {os.environ['MPIEXEC']} \"$@\" </dev/null\n")
os.chmod("bin/mpirun", 0o755)
os.makedirs("scratch/rows")
subprocess.run([os.environ["RANKTAPE"], "synth", "scratch/rows/a.fbin", "--rows", "3000", "--dim", "16"], check=True)
here = os.getcwd()
for number, block in enumerate(blocks):
    home = f"{here}/home{number}"
    os.mkdir(home)
    environment = dict(os.environ, HOME=home, PATH=f"{here}/bin:{os.environ['PATH']}", SITE_LAUNCHER="mpirun -n 2")
    script = STAND_INS + block.replace("/scratch", f"{here}/scratch")
    done = subprocess.run(["bash", "-c", script], cwd="checkout", env=environment, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        sys.exit(f"{block}\nexit {done.returncode}\n{done.stdout[-4000:]}")
    version = subprocess.run([f"{home}/ranktape/bin/ranktape", "--version"], capture_output=True, text=True, check=True).stdout
    print(version.splitlines()[0], "installed by", block.splitlines()[-1])
digest = subprocess.run([f"{home}/ranktape/bin/ranktape", "info", "scratch/index.rt", "--digest"], capture_output=True, text=True)
if not re.fullmatch("[0-9a-f]{32}\n", digest.stdout):
    sys.exit(f"no index was built: {digest.stderr}")
