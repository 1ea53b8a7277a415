#!/usr/bin/env bash
# The Debian packages in a fresh Debian 12, which knows nothing of a compiler: they install with what they depend on, and an
# index is made and searched there. lintian has no error to tell.
set -euo pipefail
command -v cpack >/dev/null || { echo 'no cpack'; exit 77; }
# shellcheck source=/dev/null
source "$SOURCE_DIR/tests/house/debian_tree.sh"
make_debian "$PWD/bookworm"

cmake -S "$SOURCE_DIR" -B tree -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr -DRANKTAPE_TESTS=OFF \
    "-DMPI_C_COMPILER=$(command -v mpicc.openmpi)" >log 2>&1 || { cat log; exit 1; }
cmake --build tree >log || { cat log; exit 1; }
(cd tree && cpack -G DEB -B "$OLDPWD/packages") >log 2>&1 || { cat log; exit 1; }
mkdir bookworm/packages
cp packages/*.deb bookworm/packages
if command -v lintian >/dev/null; then
    lintian --allow-root --fail-on error packages/*.deb
else
    echo 'no lintian: form not checked'
fi

cat >bookworm/try <<'TRY'
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OPENBLAS_NUM_THREADS=1
export UCX_LOG_LEVEL=fatal
apt-get -q update >/dev/null
apt-get -qy --no-install-recommends install /packages/*.deb openmpi-bin >log 2>&1 || { cat log; exit 1; }
! command -v gcc
mkdir /work && cd /work
ranktape --version
ranktape synth rows.u8bin --rows 20000 --dim 32 --queries queries.u8bin --truth truth.ibin
mpirun --oversubscribe -n 2 ranktape build rows.u8bin index.rt </dev/null
ranktape search index.rt queries.u8bin --truth truth.ibin
ranktape verify index.rt --full
ldconfig -p | grep -q libranktape
apt-get -qy purge ranktape libranktape0 libranktape-dev >log 2>&1 || { cat log; exit 1; }
! find / -xdev -path /packages -prune -o -name '*ranktape*' -print | grep .
TRY
in_debian "$PWD/bookworm" bash /try
rm -rf --one-file-system bookworm
