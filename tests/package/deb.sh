#!/usr/bin/env bash
# Debian packages of this build: three, with the files each should have, the dependencies its binaries ask for, compressed pages,
# no conffiles and no folder of this build.
set -euo pipefail
for tool in cpack dpkg-deb dpkg-shlibdeps; do
    command -v $tool >/dev/null || { echo "no $tool"; exit 77; }
done
[[ -n $HAS_LIBRARY ]] || { echo 'no libranktape in this build'; exit 77; }
fail() {
    echo "$*"
    exit 1
}
(cd "$BUILD_DIR" && cpack -G DEB -B "$OLDPWD") >log 2>&1 || { cat log; exit 1; }
shopt -s nullglob
packages=(*.deb)
((${#packages[@]} == 3)) || fail "packages: ${packages[*]}"
major=${VERSION%%.*}

# field PACKAGE NAME
field() {
    dpkg-deb -f "$1"_"$VERSION"-1_*.deb "$2"
}
[[ $(field ranktape Version) == "$VERSION-1" ]] || fail 'another version'
for library in libc6 libhdf5-openmpi libjansson4 libopenblas0 libopenmpi; do
    [[ $(field ranktape Depends) == *"$library"* ]] || fail "ranktape does not depend on $library: $(field ranktape Depends)"
done
[[ $(field "libranktape$major" Depends) == *libhdf5-1* && $(field "libranktape$major" Depends) != *mpi* ]] ||
    fail "the library depends on $(field "libranktape$major" Depends)"
[[ $(field libranktape-dev Depends) == "libranktape$major (= $VERSION-1)"* ]] || fail 'the header depends on no library'
[[ $(field ranktape Description | head -n 1) == MPI* ]] || fail 'no description'

for package in "${packages[@]}"; do
    dpkg-deb -x "$package" all
    dpkg-deb -e "$package" control
    [[ ! -e control/conffiles ]] || fail "$package has conffiles"
    rm -r control
done
for file in bin/ranktape share/man/man1/ranktape.1.gz share/man/man1/ranktape-build.1.gz include/ranktape.h \
    "lib/libranktape.so.$VERSION" share/ranktape/slurm/submit.sh share/bash-completion/completions/ranktape \
    share/doc/{ranktape,libranktape-dev,"libranktape$major"}/{copyright,changelog.Debian.gz}; do
    [[ -f all/usr/$file || -f $(echo all/usr/lib/*/"${file#lib/}") ]] || fail "in no package: $file"
done
! find all/usr/share/man -name '*.1' | grep . || fail 'pages are not compressed'
gzip -dc all/usr/share/man/man1/ranktape.1.gz | grep -q '^[.]Dt RANKTAPE 1' || fail 'a page that is none'
! grep -rlF -e "$PWD" -e "$BUILD_DIR" -e "$SOURCE_DIR" all || fail 'these name the place they were built in'
LD_LIBRARY_PATH=$PWD/all/usr/lib all/usr/bin/ranktape --version | grep -q "^ranktape $VERSION$" || fail 'does not run'
rm -rf _CPack_Packages
