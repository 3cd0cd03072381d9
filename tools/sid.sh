#!/usr/bin/env bash
# Runs a command in a small Debian sid, which carries the Pythons that this machine has not:
# the newest 3.13, 3.14, a debug build of 3.14, and 3.15.
#
#   tools/sid.sh make PYTHON=/usr/bin/python3.15 py-test
#   tools/sid.sh --make              make it, where it is not there yet, and no more
#
# It is made once by debootstrap (half a minute to some minutes, 700 MB) in $PMALLOC_SID
# (default ~/.cache/pmalloc/sid). The command sees this folder under its own path, the
# environment, /proc and /dev; environments that it makes are .venv/sid-VERSION. All mounts are
# those of a private namespace, and go away with the command.
#
# Exit status 77: it cannot be had here, and why is on stderr.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=python3.13-dev,python3.13-venv,python3.14-dev,python3.14-dbg,python3.14-venv
packages+=,python3.15-dev,python3.15-venv,gcc,g++,libc6-dev,make,ca-certificates
sid=${PMALLOC_SID:-${XDG_CACHE_HOME:-$HOME/.cache}/pmalloc/sid}

cannot() {
  echo "sid: $1" >&2
  exit 77
}

[ "$(id -u)" = 0 ] || cannot "it takes root to make a Debian sid in $sid and to run programs there."
unshare --mount true 2>/dev/null || cannot "it takes mount namespaces (CAP_SYS_ADMIN) to run programs in $sid."

# One at a time makes it; another list of packages makes it anew.
mkdir -p "$(dirname "$sid")"
exec 8>"$sid.lock"
flock 8
if [ "$(cat "$sid/.pmalloc-packages" 2>/dev/null)" != "$packages" ]; then
  if ! command -v debootstrap >/dev/null 2>&1; then
    tools/apt.sh debootstrap || cannot "debootstrap is not here."
  fi
  # The mirror that this machine uses, where it is a Debian; else debootstrap's own.
  mirror=$(apt-get indextargets --format '$(ORIGIN) $(SITE)' 2>/dev/null | sed -n 's/^Debian //p' |
    grep -v -- '-security' | head -n 1 || true)
  echo "sid: making a Debian sid in $sid (once, some minutes)" >&2
  rm -rf "$sid.part"
  if ! debootstrap --variant=minbase --include="$packages" \
    sid "$sid.part" ${mirror:+"$mirror"} >"$sid.log" 2>&1 </dev/null; then
    tail -n 5 "$sid.log" >&2
    cannot "debootstrap failed; its log is $sid.log."
  fi
  rm -rf "$sid.part/var/cache/apt/archives"/*.deb "$sid"
  mv "$sid.part" "$sid"
  echo "$packages" >"$sid/.pmalloc-packages"
fi
flock -u 8
exec 8>&-

[ "${1:-}" != --make ] || exit 0
[ $# -gt 0 ] || { sed -n 's/^# \{0,1\}//; 2,/^$/p' "$0" >&2; exit 2; }

# The certificates of this machine, for pip: a company's own may be among them.
exec unshare --mount --propagation private bash -euo pipefail -c '
  sid=$1 here=$2
  shift 2
  mount --rbind /proc "$sid/proc"
  mount --rbind /dev "$sid/dev"
  mount -t tmpfs -o mode=1777 pmalloc "$sid/tmp"
  mkdir -p "$sid$here"
  mount --bind "$here" "$sid$here"
  for shared in /etc/ssl/certs /etc/resolv.conf; do
    if [ -e "$shared" ] && [ -e "$sid$shared" ]; then mount --bind "$shared" "$sid$shared"; fi
  done
  exec chroot "$sid" /usr/bin/env --chdir="$here" -u TMPDIR -u CC -u PYTHONPATH HOME=/root LC_ALL=C.UTF-8 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PMALLOC_SYSTEM=sid "$@"
' bash "$sid" "$PWD" "$@"
