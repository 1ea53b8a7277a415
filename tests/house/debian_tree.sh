#!/usr/bin/env bash
# A Debian 12 with nothing in it but what debootstrap puts there, for tests to source. Exits 77 where that cannot be had.
set -euo pipefail

# make_debian TREE: from the mirror that apt here uses for this release, or that DEBIAN_MIRROR names.
make_debian() {
    local tree=$1 mirror
    command -v debootstrap >/dev/null || { echo 'no debootstrap'; exit 77; }
    ((EUID == 0)) || { echo 'needs root'; exit 77; }
    unshare --mount --pid --fork true 2>/dev/null || { echo 'may not unshare'; exit 77; }
    # shellcheck disable=SC2016 # apt expands it
    mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' \
        2>/dev/null | sed -n 1p)}
    [[ -n $mirror ]] || { echo 'apt knows no mirror of Debian 12 here, and DEBIAN_MIRROR names none'; exit 77; }
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
}

# in_debian TREE COMMAND..: as root inside, with mounts and processes of its own that end with it.
in_debian() {
    local tree=$1
    shift
    # The root must be a mount of its own: tests make mounts below it.
    # shellcheck disable=SC2016 # the inner shell expands them
    unshare --mount --pid --fork bash -c '
        mount --bind "$1" "$1"
        mount -t proc proc "$1/proc"
        mount -t sysfs sysfs "$1/sys"
        mkdir -p "$1/dev/shm"
        mount -t tmpfs -o size=1g tmpfs "$1/dev/shm"
        exec chroot "$@"' - "$tree" /usr/bin/env -i HOME=/root TERM=dumb LC_ALL=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} "$@"
}
