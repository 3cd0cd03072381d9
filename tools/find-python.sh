#!/usr/bin/env bash
# Prints the path of a Python that pmalloc can be built for: CPython 3.12 to 3.15,
# a GIL build, with venv, pip and C headers.
#
#   tools/find-python.sh           any supported version
#   tools/find-python.sh 3.12      that version only
#   PYTHON=/path/to/python ...     that interpreter only
#
# Every candidate is run, because a name on PATH may be a shim that leads nowhere.
# Why one was passed over goes to stderr when none is left (or with VERBOSE=1).
set -euo pipefail

wanted=${1:-}
reasons=()

# Asks one candidate; prints its real path, or the reason against it and fails.
probe() {
  PMALLOC_WANTED=$wanted "$@" -c '
import os, sys
want = os.environ["PMALLOC_WANTED"]
have = "%d.%d" % sys.version_info[:2]
def no(reason):
    print("no: " + reason)
    sys.exit(0)
if sys.implementation.name != "cpython":
    no("it is %s, not CPython" % sys.implementation.name)
if want and have != want:
    no("it is Python %s" % have)
if not (3, 12) <= sys.version_info[:2] <= (3, 15):
    no("it is Python %s" % have)
import sysconfig
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    no("it is a free-threaded build")
try:
    import ensurepip, venv
except ImportError:
    no("it has no venv and pip (Debian: apt install python%s-venv)" % have)
include = sysconfig.get_path("include", vars={"base": sys.base_prefix,
    "installed_base": sys.base_prefix, "platbase": sys.base_exec_prefix})
for header in (os.path.join(include, "Python.h"), sysconfig.get_config_h_filename()):
    if not os.path.exists(header):
        no("it has no C headers (Debian: apt install python%s-dev)" % have)
print("yes: " + os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable))
' 2>/dev/null </dev/null || echo "no: it does not run"
}

try() {
  local answer
  answer=$(probe "$@" | tail -n 1)
  case $answer in
  "yes: "*)
    [ -z "${VERBOSE:-}" ] || { [ ${#reasons[@]} -eq 0 ] || printf '  %s\n' "${reasons[@]}" >&2; }
    echo "${answer#yes: }"
    exit 0
    ;;
  *) reasons+=("$*: ${answer#no: }") ;;
  esac
}

on_path() {
  if command -v "$1" >/dev/null 2>&1; then
    try "$1"
  else
    reasons+=("$1: not on PATH")
  fi
}

give_up() {
  printf '  %s\n' "${reasons[@]}" >&2
  echo "$1" >&2
  exit 1
}

if [ -n "${PYTHON:-}" ]; then
  try "$PYTHON"
  give_up "PYTHON=$PYTHON cannot build pmalloc: it takes a CPython 3.12 to 3.15 (no free-threaded build) with venv, pip and C headers."
fi

if [ -n "$wanted" ]; then
  names=("python$wanted" python3)
else
  names=(python3 python3.13 python3.12 python3.14 python3.15)
fi
for name in "${names[@]}"; do
  on_path "$name"
done

# pyenv keeps more than it has shims for.
for root in "${PYENV_ROOT:-}" "${HOME:-}/.pyenv"; do
  [ -n "$root" ] || continue
  for version in ${wanted:-3.13 3.12 3.14 3.15}; do
    for candidate in "$root/versions/$version".*/bin/python3; do
      [ ! -x "$candidate" ] || try "$candidate"
    done
  done
done

if command -v uv >/dev/null 2>&1; then
  version=${wanted:-3.13}
  echo "  asking uv for Python $version" >&2
  found=$(uv python find --no-project "$version" 2>/dev/null) ||
    { uv python install "$version" >&2 && found=$(uv python find --no-project "$version" 2>/dev/null); } ||
    found=
  if [ -n "$found" ]; then
    try "$found"
  else
    reasons+=("uv: it has no Python $version and could not install one")
  fi
else
  reasons+=("uv: not on PATH")
fi

give_up "pmalloc needs CPython ${wanted:-3.12 to 3.15} with headers, venv and pip: install it (Debian, Ubuntu: apt install python${wanted:-3} python${wanted:-3}-dev python${wanted:-3}-venv), or install uv."
