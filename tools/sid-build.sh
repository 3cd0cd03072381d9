#!/usr/bin/env bash
# Builds pmalloc for a Python of the Debian sid in $PMALLOC_SID and runs it there.
#
#   tools/sid-build.sh 3.15 -c 'import pmalloc'        VERSION: 3.14, 3.14-dbg or 3.15
#
# The package lies in /opt/pmalloc/VERSION of the sid. No meson: one line of gcc, inside.
# tests/ lies beside it; anything else that a script needs is handed in by -c or stdin.
set -euo pipefail
cd "$(dirname "$0")/.."

sid=${PMALLOC_SID:-${XDG_CACHE_HOME:-$HOME/.cache}/pmalloc/sid}
version=${1:?usage: tools/sid-build.sh VERSION [PYTHON ARGUMENTS]}
shift
[ "$(id -u)" = 0 ] || { echo "sid-build: it takes root to chroot into $sid." >&2; exit 1; }
[ -x "$sid/usr/bin/python$version" ] || { echo "sid-build: $sid has no python$version; run tools/headers-matrix.sh first." >&2; exit 1; }

home=/opt/pmalloc/$version
rm -rf "${sid:?}$home/src"
mkdir -p "$sid$home/src" "$sid$home/tests" "$sid$home/pmalloc"
cp -r src/libpmalloc src/_core src/pmalloc "$sid$home/src/"
[ ! -d include ] || cp -r include "$sid$home/src/"
cp -r tests "$sid$home/"
find "$sid$home/pmalloc" -name '*.py' -delete
cp -r src/pmalloc/. "$sid$home/pmalloc/"

# A mount namespace of our own, so that /proc and /dev are there and go away by themselves.
inside() {
  if unshare --mount true 2>/dev/null; then
    unshare --mount bash -c 'mount --rbind /proc "$0/proc" && mount --rbind /dev "$0/dev"
      exec chroot "$0" "$@"' "$sid" "$@"
  else
    chroot "$sid" "$@"
  fi
}

inside /bin/bash -euo pipefail -c '
  home=$1 python=python$2
  cd "$home"
  read -r include config suffix <<<"$($python -c "
import os, sysconfig
print(sysconfig.get_path(\"include\"), os.path.dirname(sysconfig.get_config_h_filename()),
      sysconfig.get_config_var(\"EXT_SUFFIX\"))")"
  now=$(find src -name "*.[ch]" | LC_ALL=C sort | xargs sha256sum | sha256sum)
  if [ "$(cat .built 2>/dev/null)" != "$now" ]; then
    gcc -std=c11 -D_GNU_SOURCE -O2 -g -fPIC -shared -pthread -fvisibility=hidden -fno-strict-aliasing \
      -Isrc/include -Isrc/libpmalloc -Isrc/_core -isystem "$include" -isystem "$config" \
      -Wl,-z,relro,-z,now src/libpmalloc/*.c src/_core/*.c -o "pmalloc/_core$suffix"
    echo "$now" >.built
  fi
' bash "$home" "$version" </dev/null

inside /usr/bin/env PYTHONPATH="$home" PYTHONDONTWRITEBYTECODE=1 \
  "python$version" "$@"
