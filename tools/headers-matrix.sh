#!/usr/bin/env bash
# Compiles the extension against the headers of the newest Pythons, then builds it there,
# imports it (which runs its self-test of object layouts) and freezes something.
#
# Those Pythons live in a small Debian sid, made once by debootstrap in
# $PMALLOC_SID (default ~/.cache/pmalloc/sid). Without root or debootstrap this is
# skipped with a sentence; under CI=true it fails instead.
set -euo pipefail
cd "$(dirname "$0")/.."

sid=${PMALLOC_SID:-${XDG_CACHE_HOME:-$HOME/.cache}/pmalloc/sid}
export PMALLOC_SID=$sid
arch=$(uname -m)-linux-gnu

skip() {
  echo "headers matrix skipped: $1" >&2
  [ "${CI:-}" = true ] && exit 1
  exit 0
}

if [ ! -x "$sid/usr/bin/python3.15" ]; then
  [ "$(id -u)" = 0 ] || skip "it takes root to make a Debian sid in $sid."
  if ! command -v debootstrap >/dev/null 2>&1; then
    { apt-get update -qq && apt-get install -y -qq debootstrap; } >/dev/null 2>&1 </dev/null ||
      skip "debootstrap is not here and could not be installed."
  fi
  # The mirror that this machine uses, where it is a Debian; else debootstrap's own.
  mirror=$(apt-get indextargets --format '$(ORIGIN) $(SITE)' 2>/dev/null | sed -n 's/^Debian //p' |
    grep -v -- '-security' | head -n 1 || true)
  echo "headers matrix: making a Debian sid in $sid (once, some minutes)"
  mkdir -p "$(dirname "$sid")"
  part=$sid.part
  rm -rf "$part"
  log=$sid.log
  if ! debootstrap --variant=minbase \
    --include=python3.14-dev,python3.14-dbg,python3.15-dev,gcc,libc6-dev \
    sid "$part" ${mirror:+"$mirror"} >"$log" 2>&1 </dev/null; then
    tail -n 5 "$log" >&2
    skip "debootstrap failed; its log is $log."
  fi
  mv "$part" "$sid"
fi

# Python's headers only: the C library's are those of the compiler.
only=$(mktemp -d)
trap 'rm -rf "$only"' EXIT
ln -s "$sid/usr/include/$arch" "$only/$arch"

cc=${CC:-gcc}
failed=0
for flavour in python3.14 python3.14d python3.15; do
  bad=
  for source in src/_core/*.c; do
    $cc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only \
      -Iinclude -Isrc/libpmalloc -Isrc/_core \
      -isystem "$sid/usr/include/$flavour" -isystem "$only" "$source" || bad="$bad ${source##*/}"
  done
  if [ -z "$bad" ]; then
    echo "headers matrix: $flavour compiles"
  else
    echo "headers matrix: $flavour FAILS in$bad"
    failed=1
  fi
done
[ $failed = 0 ] || exit 1

[ "$(id -u)" = 0 ] || skip "it takes root to run Python inside $sid; the headers were tried."
for version in 3.14 3.14-dbg 3.15; do
  if tools/sid-build.sh "$version" -X faulthandler -c '
import gc, sys, pmalloc
data = {"cities": [{"name": "Zürich", "at": (47.4, 8.5), "big": 1 << 80, "tags": {"lake", b"zh"}}] * 3}
frozen = pmalloc.freeze(data, name="matrix")
assert frozen == data and pmalloc.is_protected(frozen) and pmalloc.thaw(frozen) == data
hash(frozen["cities"][0]["at"]); repr(frozen); gc.collect()
try:
    frozen["new"] = 1
except TypeError:
    pass
else:
    raise SystemExit("a frozen dict took a new key")
'; then
    echo "headers matrix: python$version imports and freezes"
  else
    echo "headers matrix: python$version FAILS to import or to freeze"
    failed=1
  fi
done
exit $failed
