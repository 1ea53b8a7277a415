#!/usr/bin/env bash
# An installed tree: what is in it, that it knows nothing of where it was built, and that it works after it has been moved, for
# people and for programs built outside with CMake or pkg-config.
set -euo pipefail
fail() {
    echo "$*"
    exit 1
}
cmake --install "$BUILD_DIR" --prefix "$PWD/first" --strip >log || { cat log; exit 1; }
wanted=(bin/ranktape share/man/man1/ranktape.1 share/man/man1/ranktape-build.1 share/bash-completion/completions/ranktape
    share/doc/ranktape/LICENSE share/doc/ranktape/README.md share/doc/ranktape/format.md share/ranktape/slurm/build.sbatch
    "share/modulefiles/ranktape/$VERSION.lua")
[[ -z $HAS_LIBRARY ]] || wanted+=(include/ranktape.h lib/libranktape.so lib/pkgconfig/ranktape.pc
    lib/cmake/ranktape/ranktapeConfig.cmake share/doc/ranktape/example/nearest.c)
for file in "${wanted[@]}"; do
    [[ -e first/$file ]] || fail "not installed: $file"
done
[[ -x first/share/ranktape/slurm/submit.sh ]] || fail 'submit.sh is no program'
! grep -rlF -e "$PWD" -e "$BUILD_DIR" -e "$SOURCE_DIR" first || fail 'these name the place they were built or installed in'
# shellcheck disable=SC2016 # the loader expands it
readelf -d first/bin/ranktape | grep -q 'R.*PATH.*\[$ORIGIN/../lib[]:]' || fail 'the program does not look for libraries beside it'

DESTDIR=$PWD/staged cmake --install "$BUILD_DIR" --prefix /opt/ranktape --component program >log || { cat log; exit 1; }
[[ -x staged/opt/ranktape/bin/ranktape && ! -e staged/opt/ranktape/include ]] || fail 'DESTDIR and components do not do'

mv first moved
[[ $(moved/bin/ranktape --version | head -n 1) == "ranktape $VERSION" ]] || fail 'the moved program says another version'
moved/bin/ranktape synth rows.fbin --rows 600 --dim 8
moved/bin/ranktape build rows.fbin index.rt --quiet >log
[[ $(man -M moved/share/man -w ranktape-build 2>/dev/null) == */man1/ranktape-build.1 ]] || ! command -v man >/dev/null ||
    fail 'man does not find the pages'
[[ -n $HAS_LIBRARY ]] || exit 0

# A program of somebody else, which knows only where the tree is now.
mkdir outside
cat >outside/rows.c <<'C'
#include <inttypes.h>
#include <ranktape.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    char error[RANKTAPE_ERROR_BYTES];
    struct ranktape_index *index;
    struct ranktape_info info = {sizeof info};
    if (argc != 2 || ranktape_open(argv[1], NULL, &index, error) != RANKTAPE_OK)
        return 1;
    ranktape_get_info(index, &info);
    printf("%s %" PRIu64 "\n", ranktape_version(), info.rows);
    ranktape_close(index);
    return 0;
}
C
cat >outside/CMakeLists.txt <<'C'
cmake_minimum_required(VERSION 3.25)
project(outside LANGUAGES C)
find_package(ranktape ${WANTED} REQUIRED)
add_executable(rows rows.c)
target_link_libraries(rows PRIVATE ranktape::ranktape)
C
unset CMAKE_C_COMPILER_LAUNCHER
outside() {
    cmake -S outside -B "$1" -DCMAKE_C_COMPILER="$CC" -DCMAKE_PREFIX_PATH="$PWD/moved" -DWANTED="$2" >log 2>&1
}
outside with_cmake "$VERSION" || { cat log; exit 1; }
cmake --build with_cmake >log || { cat log; exit 1; }
[[ $(with_cmake/rows index.rt) == "$VERSION 600" ]] || fail 'built by CMake: a wrong answer'
! outside too_new 999.0 || fail 'version 999 is found'
grep -q 'version: 999.0\|version "999.0"' log || { cat log; exit 1; }

command -v pkg-config >/dev/null || exit 0
export PKG_CONFIG_PATH=$PWD/moved/lib/pkgconfig
[[ $(pkg-config --modversion ranktape) == "$VERSION" ]] || fail 'pkg-config says another version'
# shellcheck disable=SC2046 # words
"$CC" outside/rows.c -o with_pkg_config $(pkg-config --cflags --libs ranktape)
[[ $(LD_LIBRARY_PATH=$PWD/moved/lib ./with_pkg_config index.rt) == "$VERSION 600" ]] || fail 'built by pkg-config: a wrong answer'
