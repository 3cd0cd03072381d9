#!/usr/bin/env bash
# Runs the whole Python test-suite on every build of Python that pmalloc is for.
#
#   tools/matrix.sh                     all of them, two side by side
#   tools/matrix.sh sid-3.15 3.12       these
#   ARGS="-k crime" tools/matrix.sh     with arguments for pytest
#
#   3.12, 3.13                          what tools/find-python.sh finds here: with pyenv and
#                                       .python-version, the oldest 3.13 there is
#   sid-3.13 sid-3.14 sid-3.14d sid-3.15   Debian sid's (tools/sid.sh), d: the debug build
#
# What tests/compat reads 20,000 times on one Python (make compat) is read 1,000 times on each here.
# A warning of the compiler is an error here. Without root the Pythons of sid are left out
# with a sentence; under CI=true that is a failure. Logs are build/matrix/NAME.log.
set -euo pipefail
cd "$(dirname "$0")/.."

builds=("$@")
# The longest first: two at a time, they end together.
[ $# -gt 0 ] || builds=(sid-3.14d sid-3.15 sid-3.14 sid-3.13 3.13 3.12)
read -r -d '' -a arguments <<<"${ARGS:-}" || true
at_once=$(($(nproc) < 2 ? 1 : 2))
logs=build/matrix
mkdir -p "$logs"

chosen=() left_out=
for build in "${builds[@]}"; do
  case $build in
  sid-*)
    status=0
    if [ -z "$left_out" ]; then tools/sid.sh --make || status=$?; else status=77; fi
    if [ $status = 77 ]; then
      left_out+="${left_out:+, }$build"
    elif [ $status != 0 ]; then
      exit $status
    else
      chosen+=("$build")
    fi
    ;;
  *) chosen+=("$build") ;;
  esac
done
if [ -n "$left_out" ]; then
  echo "matrix: left out, for the reason above: $left_out" >&2
  [ "${CI:-}" != true ] || exit 1
fi

# One build: its environment, what tests/compat reads with, and the tests.
suite() {
  local build=$1 base python inside=()
  if [ "${build#sid-}" != "$build" ]; then
    inside=(tools/sid.sh)
    base=/usr/bin/python${build#sid-}
  else
    base=$(env -u PYTHON tools/find-python.sh "$build")
  fi
  python=$(${inside[@]+"${inside[@]}"} env PYTHON="$base" PMALLOC_WERROR=1 tools/setup.sh test numpy)
  # Half a gigabyte: only for those who read with it.
  case ${ARGS:-tests/compat} in
  *tests/compat*) ${inside[@]+"${inside[@]}"} tools/compat-packages.sh "$python" ;;
  esac
  ${inside[@]+"${inside[@]}"} env PMALLOC_COMPAT_ROUNDS="${PMALLOC_COMPAT_ROUNDS:-1000}" \
    "$python" -m pytest -q --durations=5 \
    ${arguments[@]+"${arguments[@]}"}
}

# Waits for any one; says how it went, and all of it where it went wrong.
running=() failed=0 passed=0
reap() {
  local one pid build log
  while :; do
    for one in "${!running[@]}"; do
      pid=${running[$one]%%:*} build=${running[$one]#*:}
      log=$logs/$build.log
      ! kill -0 "$pid" 2>/dev/null || continue
      unset "running[$one]"
      if wait "$pid"; then
        passed=$((passed + 1))
        grep -E "^(SKIPPED|XFAIL|compat: )" "$log" | sed "s/^/matrix: $build: /" || true
        echo "matrix: $build: $(tail -n 1 "$log")"
      else
        failed=$((failed + 1))
        echo "matrix: $build FAILED:"
        tail -n 300 "$log"
      fi
      return
    done
    sleep 0.2
  done
}

for build in ${chosen[@]+"${chosen[@]}"}; do
  [ ${#running[@]} -lt "$at_once" ] || reap
  (suite "$build") >"$logs/$build.log" 2>&1 </dev/null &
  running+=("$!:$build")
done
while [ ${#running[@]} -gt 0 ]; do reap; done

echo "matrix: $passed passed, $failed failed"
[ $failed = 0 ]
