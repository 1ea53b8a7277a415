"""How a bench starts ranks: the launcher that the program was built for, on a machine of its own."""
import os
import subprocess


def words(build):
    """The command line before `-n N PROGRAM`; `build` is the folder of the build. Ranks may be more than cores, use one
    thread each for BLAS, and let each other work."""
    cache = (build / "CMakeCache.txt").read_text().splitlines()
    launcher = next(line.split("=", 1)[1] for line in cache if line.startswith("MPIEXEC_EXECUTABLE:"))
    told = subprocess.run([launcher, "--version"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True).stdout
    os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OPENBLAS_NUM_THREADS="1",
                      OMPI_MCA_mpi_yield_when_idle="1")
    is_open_mpi = "MPICH" not in told and "HYDRA" not in told
    return [launcher] + (["--oversubscribe", "--bind-to", "none"] if is_open_mpi else [])
