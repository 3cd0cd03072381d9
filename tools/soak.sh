#!/usr/bin/env bash
# Drives the state machines for long: pools and frozen objects beside a model of them.
#
#   tools/soak.sh                20,000 steps each, from a new seed, which it prints
#   tools/soak.sh SEED [STEPS]   again
#
# tests/c/test_*_model.c drive the C library under AddressSanitizer and
# UndefinedBehaviorSanitizer; tests/unit/test_*_model.py (hypothesis) the Python face, on the
# debug build of Python 3.14 in Debian's sid. Without root it is the Python at hand, and said.
set -euo pipefail
cd "$(dirname "$0")/.."

seed=${1:-$((RANDOM << 15 | RANDOM | 1))}
steps=${2:-20000}
echo "soak: seed $seed, $steps steps each; again: tools/soak.sh $seed $steps"

tools/c-test.sh --soak "$seed" "$steps"

status=0
inside=(tools/sid.sh)
tools/sid.sh --make || status=$?
if [ $status = 77 ]; then
  [ "${CI:-}" != true ] || exit 1
  inside=() base=$(tools/find-python.sh)
elif [ $status != 0 ]; then
  exit $status
else
  base=/usr/bin/python3.14d
fi
python=$(${inside[@]+"${inside[@]}"} env PYTHON="$base" tools/setup.sh test)
echo "soak: $(${inside[@]+"${inside[@]}"} "$python" -c 'import sys; print("Python", sys.version, "debug build" if hasattr(sys, "gettotalrefcount") else "no debug build")')"
${inside[@]+"${inside[@]}"} env PMALLOC_SOAK="$steps" "$python" -m pytest -q -s --hypothesis-seed="$seed" \
  tests/unit/test_*_model.py
