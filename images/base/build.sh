#!/bin/sh
# Makes the root file system of the from-packages Debian base image as a tar archive.
#
#   build.sh WORK OUT CACHE [CA_DIR]
#
#   WORK     an empty directory to work in; the caller deletes it
#   OUT      the archive to write (written beside it first, then renamed)
#   CACHE    where downloaded packages are kept, so that a second try is quick
#   CA_DIR   certificates (*.crt) of the machine that Debian does not ship, for companies with a CA of their own
#
# Environment: SUITE (default bookworm); MIRROR and SECURITY_MIRROR (the machine's own apt sources; debootstrap's
# default without them); APT_PROXY (the machine's apt proxy).
# Needs root. The caller runs it in a mount and a process namespace of its own, so that nothing stays mounted or
# running whenever it is killed.
set -eu

WORK=$1
OUT=$2
CACHE=$3
CA_DIR=${4:-}
SUITE=${SUITE:-bookworm}
MIRROR=${MIRROR:-}
SECURITY_MIRROR=${SECURITY_MIRROR:-}
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
ROOT=$WORK/root

export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
if [ -n "${APT_PROXY:-}" ]; then
    export http_proxy="$APT_PROXY"
fi

mkdir -p "$CACHE"
# shellcheck disable=SC2086  # an empty mirror must vanish: debootstrap then takes its own default
debootstrap --variant=minbase --force-check-gpg --include=ca-certificates --cache-dir="$CACHE" "$SUITE" "$ROOT" $MIRROR

echo "I: Applying security updates"
install -m 0644 "$HERE/dpkg-excludes" "$ROOT/etc/dpkg/dpkg.cfg.d/slim"
install -m 0644 "$HERE/apt-slim.conf" "$ROOT/etc/apt/apt.conf.d/90slim"
if [ -n "${APT_PROXY:-}" ]; then
    printf 'Acquire::http::Proxy "%s";\n' "$APT_PROXY" >"$ROOT/etc/apt/apt.conf.d/91machine-proxy"
fi
if [ -z "$MIRROR" ]; then
    MIRROR=$(awk '$1 == "deb" { print $2; exit }' "$ROOT/etc/apt/sources.list")
fi
MIRROR=${MIRROR%/}
if [ -z "$SECURITY_MIRROR" ]; then
    SECURITY_MIRROR=${MIRROR%/debian}/debian-security
fi
{
    echo "deb $MIRROR $SUITE main"
    echo "deb $MIRROR $SUITE-updates main"
    echo "deb $SECURITY_MIRROR $SUITE-security main"
} >"$ROOT/etc/apt/sources.list"
# No service may start while packages are configured, here and in images built on top.
printf '#!/bin/sh\nexit 101\n' >"$ROOT/usr/sbin/policy-rc.d"
chmod 0755 "$ROOT/usr/sbin/policy-rc.d"
chroot "$ROOT" apt-get update -qq
chroot "$ROOT" apt-get upgrade -qq --no-install-recommends

if [ -n "$CA_DIR" ]; then
    echo "I: Adding the machine's certificates"
    mkdir -p "$ROOT/usr/local/share/ca-certificates"
    cp "$CA_DIR"/*.crt "$ROOT/usr/local/share/ca-certificates/"
    chroot "$ROOT" update-ca-certificates >/dev/null 2>&1
fi

echo "I: Slimming"
find "$ROOT/usr/share/doc" -mindepth 1 ! -type d ! -name copyright -delete
find "$ROOT/usr/share/doc" -mindepth 1 -type d -empty -delete
for path in usr/share/man usr/share/info usr/share/groff usr/share/lintian usr/share/linda usr/share/locale \
    var/lib/apt/lists var/cache/apt var/cache/debconf var/log debootstrap; do
    find "$ROOT/${path:?}" -mindepth 1 -delete 2>/dev/null || true
done
# Names and addresses of this machine that debootstrap copied, and files that differ at every run.
rm -f "$ROOT/etc/resolv.conf" "$ROOT/etc/hostname" "$ROOT/etc/machine-id" "$ROOT/var/lib/dbus/machine-id"
rm -f "$ROOT"/var/lib/dpkg/*-old "$ROOT"/etc/*- "$ROOT/var/cache/ldconfig/aux-cache"
find "$ROOT/dev" "$ROOT/proc" "$ROOT/sys" "$ROOT/run" "$ROOT/tmp" -xdev -mindepth 1 -delete 2>/dev/null || true

echo "I: Packing"
tar --create --file="$OUT.part" --numeric-owner --one-file-system --sort=name --directory="$ROOT" .
mv "$OUT.part" "$OUT"
