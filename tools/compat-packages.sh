#!/usr/bin/env bash
# Installs what tests/compat reads frozen data with: each package of the extra `compat` that
# has a wheel for this Python. Prints those that have none; their tests skip.
#
#   tools/compat-packages.sh PYTHON      PYTHON: of a virtual environment, as tools/setup.sh prints
#
# Nothing is compiled here. Done once a list of packages; what had no wheel is printed each time.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${1:?usage: tools/compat-packages.sh PYTHON}
stamp=$("$python" -c 'import sys; print(sys.prefix)')/.compat
log=$(mktemp)
trap 'rm -f "$log"' EXIT

mapfile -t packages < <("$python" -c '
import tomllib
with open("pyproject.toml", "rb") as f:
    print("\n".join(tomllib.load(f)["project"]["optional-dependencies"]["compat"]))')
[ ${#packages[@]} -gt 0 ] || { echo "compat: pyproject.toml has no extra compat." >&2; exit 1; }

install() { "$python" -m pip --disable-pip-version-check install -q --only-binary=:all: "$@" >"$log" 2>&1 </dev/null; }

# Says no wheel, of the package or of something that it needs. Anything else is no answer: a
# network that is away must not pass for a list of packages without wheels.
has_none() {
  grep -q -E "No matching distribution found|ResolutionImpossible" "$log" &&
    ! grep -q -E "NewConnectionError|ConnectTimeout|ReadTimeout|SSLError|Max retries" "$log"
}

# The first line of the stamp is what was asked for, the second what had no wheel.
if [ "$(head -n 1 "$stamp" 2>/dev/null)" != "${packages[*]}" ]; then
  missing=() left=("${packages[@]}")
  # All at once, less what pip names as missing. Where that is no package of ours but one that
  # some of them need, one by one.
  while ! install "${left[@]}"; do
    has_none || { cat "$log" >&2; exit 1; }
    name=$(sed -n 's/.*No matching distribution found for \([A-Za-z0-9._-]*\).*/\1/p' "$log" | head -n 1)
    rest=()
    for package in "${left[@]}"; do
      if [ "${package%%[<>=!~ ]*}" = "$name" ]; then missing+=("$package"); else rest+=("$package"); fi
    done
    if [ ${#rest[@]} = ${#left[@]} ]; then
      for package in "${left[@]}"; do
        install "$package" && continue
        has_none || { cat "$log" >&2; exit 1; }
        missing+=("$package")
      done
      break
    fi
    left=("${rest[@]}")
  done
  printf '%s\n%s\n' "${packages[*]}" "${missing[*]-}" >"$stamp"
fi

version=$("$python" -c 'import sys; print(sys.version.split()[0] + (" debug" if "d" in sys.abiflags else ""))')
missing=$(sed -n 2p "$stamp")
if [ -n "$missing" ]; then
  echo "compat: no wheel for Python $version: $missing"
else
  echo "compat: all ${#packages[@]} packages have a wheel for Python $version"
fi
