#!/usr/bin/env bash
# The README's two commands as they stand, in a fresh Debian 12: debootstrap, then ./demo.sh and ./test.sh inside it.
set -euo pipefail
command -v debootstrap >/dev/null || { echo 'no debootstrap'; exit 77; }
((EUID == 0)) || { echo 'needs root'; exit 77; }
unshare --mount --pid --fork true 2>/dev/null || { echo 'may not unshare'; exit 77; }
# The mirror that apt here uses for this release, or one that is named.
# shellcheck disable=SC2016 # apt expands it
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' \
    2>/dev/null | sed -n 1p)}
[[ -n $mirror ]] || { echo 'apt knows no mirror of Debian 12 here, and DEBIAN_MIRROR names none'; exit 77; }
tree=$PWD/bookworm
rm -rf --one-file-system "$tree"
debootstrap --variant=minbase bookworm "$tree" "$mirror" >debootstrap.log 2>&1 || {
    tail -n 5 debootstrap.log
    echo 'no Debian mirror in reach'
    exit 77
}
# What this machine needs to reach its mirror, the new one needs as well.
cp -r /etc/apt/apt.conf.d/. "$tree/etc/apt/apt.conf.d/"
cp /etc/resolv.conf /etc/hosts "$tree/etc/" 2>/dev/null || true
[[ ! -d /usr/local/share/ca-certificates ]] || cp -r /usr/local/share/ca-certificates "$tree/usr/local/share/"

# Only what is committed, as a clone would have it.
mkdir "$tree/ranktape"
git -C "$SOURCE_DIR" -c safe.directory='*' archive HEAD | tar -x -C "$tree/ranktape"
cat >"$tree/try" <<'TRY'
set -euo pipefail
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/shm
mount -t tmpfs -o size=1g tmpfs /dev/shm
cd /ranktape
./demo.sh
./test.sh
TRY
# The root must be a mount of its own: tests make mounts below it.
# shellcheck disable=SC2016 # the inner shell expands them
unshare --mount --pid --fork bash -c 'mount --bind "$1" "$1" && exec chroot "$@"' - "$tree" /usr/bin/env -i HOME=/root TERM=dumb LC_ALL=C.UTF-8 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} bash /try
rm -rf --one-file-system "$tree"
