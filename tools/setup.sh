#!/usr/bin/env bash
# Makes a virtual environment ready to work in and prints its Python.
#
#   tools/setup.sh EXTRA...        e.g. `tools/setup.sh demo`, `tools/setup.sh dev`
#
# The environment is .venv/VERSION, one a Python; inside another system, as tools/sid.sh
# is, .venv/$PMALLOC_SYSTEM-VERSION. Dependencies are installed once, pmalloc again whenever
# its sources changed. Steps are told on stderr.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "pmalloc: $*" >&2; }

[ "$(uname -s)" = Linux ] || { say "this is $(uname -s), and pmalloc runs on Linux only."; exit 1; }

base=$(tools/find-python.sh)
tag=$("$base" -c 'import sys; print("%d.%d%s" % (*sys.version_info[:2], sys.abiflags))')
tag=${PMALLOC_SYSTEM:+$PMALLOC_SYSTEM-}$tag
venv=.venv/$tag
python=$PWD/$venv/bin/python
mkdir -p .venv

# One at a time: two makes may want the same environment.
if command -v flock >/dev/null 2>&1; then
  exec 9>".venv/$tag.lock"
  flock 9
fi

compiler() {
  local cc
  for cc in ${CC:+"$CC"} cc gcc clang; do
    # Unquoted: CC may carry arguments, as in CC="ccache gcc".
    if echo '#include <stdio.h>
int main(void) { return puts("") < 0; }' | $cc -x c -o /dev/null - 2>/dev/null; then
      return 0
    fi
    [ "$cc" != "${CC:-}" ] || return 1
  done
  return 1
}

# Runs a command whose output matters only when it fails.
quietly() {
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

pip() { quietly "$python" -m pip --disable-pip-version-check install -q "$@"; }

# Another interpreter of the same version, or one that went away: start again.
if [ "$(cat "$venv/.base" 2>/dev/null)" != "$base" ] || ! "$python" -c pass 2>/dev/null; then
  say "making $venv with $base"
  rm -rf "$venv" "build/python-$tag"
  quietly "$base" -m venv "$venv"
  echo "$base" >"$venv/.base"
fi

requirements() {
  "$python" - "$@" <<'PY'
import sys, tomllib
with open("pyproject.toml", "rb") as f:
    project = tomllib.load(f)
extras = project["project"]["optional-dependencies"]
def needs(extra):  # "pmalloc[test]" among them are those of that extra
    for one in extras[extra]:
        if one.startswith("pmalloc["):
            for other in one[len("pmalloc["):-1].split(","):
                yield from needs(other)
        else:
            yield one
wanted = list(project["build-system"]["requires"])
for extra in sys.argv[1:]:
    wanted += needs(extra)
print("\n".join(sorted(set(wanted) | {"ninja"})))
PY
}

needed=$(requirements "$@")
stamp=$venv/.requirements-$(IFS=-; echo "$*")
if [ "$(cat "$stamp" 2>/dev/null)" != "$needed" ]; then
  say "installing what ${*:-the build} needs"
  mapfile -t packages <<<"$needed"
  pip "${packages[@]}"
  echo "$needed" >"$stamp"
fi

# Everything that ends up in the package, and how it is built.
fingerprint() {
  {
    find src $([ ! -d include ] || echo include) meson.build meson.options pyproject.toml README.md LICENSE -type f \
      ! -path '*/__pycache__/*' 2>/dev/null | LC_ALL=C sort | xargs -d '\n' sha256sum
    echo "${CC:-} ${CFLAGS:-} ${LDFLAGS:-} ${PMALLOC_WERROR:-}"
  } | sha256sum
}

now=$(fingerprint)
if [ "$(cat "$venv/.installed" 2>/dev/null)" != "$now" ]; then
  compiler || {
    say "no C compiler works here${CC:+ (CC=$CC)}: install one (Debian, Ubuntu: apt install gcc libc6-dev)."
    exit 1
  }
  say "building pmalloc for Python $tag"
  rm -f "$venv/.installed"
  PATH=$PWD/$venv/bin:$PATH pip --no-build-isolation --no-deps --force-reinstall \
    -Cbuild-dir="$PWD/build/python-$tag" ${PMALLOC_WERROR:+-Csetup-args=-Dwerror=true} .
  echo "$now" >"$venv/.installed"
fi

echo "$python"
