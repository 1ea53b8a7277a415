# A Spack package for ranktape. In a Spack repository of your own it lies as packages/ranktape/package.py; the sources are a
# checkout: `spack dev-build ranktape@0.1.0` in it, or `spack develop --path CHECKOUT ranktape@0.1.0` in an environment.
from spack.package import *


class Ranktape(CMakePackage):
    """Builds and looks after vector indexes on a cluster: an MPI batch job that makes inverted files of 1-bit codes, on any
    number of ranks."""

    license("Apache-2.0")

    version("0.1.0")

    variant("mpio", default=True, description="Offer --io mpio, with a parallel HDF5; off: a serial one, and the C library as well")
    variant("blas", default=True, description="Let OpenBLAS propose centroids")

    depends_on("c", type="build")
    depends_on("cmake@3.25:", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("xxhash@0.8:", type="build")
    depends_on("mpi@3.1:")
    depends_on("hdf5@1.10:+mpi", when="+mpio")
    depends_on("hdf5@1.10:~mpi", when="~mpio")
    depends_on("openblas", when="+blas")
    depends_on("jansson@2.10:")

    def cmake_args(self):
        return [
            self.define_from_variant("RANKTAPE_MPIO", "mpio"),
            self.define_from_variant("RANKTAPE_BLAS", "blas"),
            self.define("RANKTAPE_TESTS", False),
            self.define("MPI_C_COMPILER", self.spec["mpi"].mpicc),
        ]
