#!/usr/bin/env bash
# The installed module: Lua, loaded by Lmod from where the tree has been moved to, and unloaded without a trace.
set -euo pipefail
init=/usr/share/lmod/lmod/init/bash
[[ -f $init ]] || { echo 'no lmod'; exit 77; }
cmake --install "$BUILD_DIR" --prefix "$PWD/first" --component site >log || { cat log; exit 1; }
cmake --install "$BUILD_DIR" --prefix "$PWD/first" --component program --strip >log || { cat log; exit 1; }
mv first moved
file=moved/share/modulefiles/ranktape/$VERSION.lua
! command -v luac >/dev/null || luac -p "$file"
! grep -n '@' "$file" || { echo 'not filled in'; exit 1; }

set +eu # Lmod's shell functions stop at neither
# shellcheck source=/dev/null
source "$init"
module use "$PWD/moved/share/modulefiles"
module load ranktape
set -eu
[[ $(command -v ranktape) == "$PWD/moved/bin/ranktape" ]] || { echo "PATH: $PATH"; exit 1; }
ranktape --version | grep -qx "ranktape $VERSION"
[[ :$MANPATH: == *":$PWD/moved/share/man:"* && :$CMAKE_PREFIX_PATH: == *":$PWD/moved:"* ]] || { echo "MANPATH: $MANPATH"; exit 1; }
[[ -f $RANKTAPE_SLURM/build.sbatch ]] || { echo "RANKTAPE_SLURM: $RANKTAPE_SLURM"; exit 1; }
set +eu
module unload ranktape
set -eu
[[ $PATH != *"$PWD/moved"* && -z ${RANKTAPE_SLURM:-} ]] || { echo "left behind: $PATH"; exit 1; }
