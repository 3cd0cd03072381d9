#!/usr/bin/env bash
# Runs the C tests of libpmalloc: every tests/c/test_*.c is a program of its own, linked
# with all of libpmalloc, that exits 0 when it is content.
#
#   tests/c/run.sh             all, plain and under sanitizers, with each compiler there is
#   tests/c/run.sh test_pool   that one
#
# Each runs plain, under AddressSanitizer + UndefinedBehaviorSanitizer, and under
# ThreadSanitizer, where the compiler here can link those. A test that a sanitizer cannot
# bear says so in a line: `not under: thread`.
set -euo pipefail
cd "$(dirname "$0")/../.."

out=build/c-test
mkdir -p "$out"
tests=(tests/c/test_*.c)
[ $# -eq 0 ] || tests=("${@/#/tests/c/}") && tests=("${tests[@]/%.c/}") && tests=("${tests[@]/%/.c}")

common=(-std=c11 -D_GNU_SOURCE -DPMALLOC_FAULT_INJECTION -g -Wall -Wextra -Werror -Wshadow -pthread
  -Iinclude -Isrc/libpmalloc -Itests/c)
passed=0 failed=0

# Can this compiler build and run a program with these flags?
works() {
  echo 'int main(void) { return 0; }' | "$@" -x c -o "$out/probe" - 2>/dev/null && "$out/probe"
}

one() { # one LABEL SOURCE COMPILER FLAGS...
  local label=$1 source=$2 binary log
  shift 2
  binary=$out/$(basename "$source" .c)-${label//[^a-z0-9]/-}
  log=$binary.log
  if "$@" "${common[@]}" "$source" src/libpmalloc/*.c -o "$binary" >"$log" 2>&1 &&
    ASAN_OPTIONS=detect_leaks=0:allow_user_segv_handler=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
      timeout 300 "$binary" >>"$log" 2>&1 </dev/null; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "c-test: $(basename "$source") FAILED ($label); its output:" >&2
    tail -n 40 "$log" >&2
  fi
}

compilers=()
if [ -n "${CC:-}" ]; then
  compilers=("$CC")
else
  for cc in gcc clang cc; do
    # `cc` is one of the other two under another name: only where it stands alone.
    [ "$cc" != cc ] || [ ${#compilers[@]} -eq 0 ] || continue
    if command -v "$cc" >/dev/null 2>&1 && works "$cc"; then compilers+=("$cc"); fi
  done
fi
if [ ${#compilers[@]} -eq 0 ]; then
  echo "c-test: no C compiler works here: install one (Debian, Ubuntu: apt install gcc libc6-dev)." >&2
  exit 1
fi

for cc in "${compilers[@]}"; do
  while IFS='|' read -r kind flags; do
    read -r -a flags <<<"$flags"
    if ! works $cc "${flags[@]}"; then
      echo "c-test: $cc cannot link -fsanitize=$kind here: skipped"
      continue
    fi
    echo "c-test: $cc, $kind"
    for source in "${tests[@]}"; do
      if grep -q "not under:.*\b${kind%%,*}\b" "$source"; then continue; fi
      one "$cc $kind" "$source" $cc "${flags[@]}"
    done
  done <<'KINDS'
plain|-O2
address,undefined|-O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
thread|-O1 -fno-omit-frame-pointer -fsanitize=thread
KINDS
done

echo "c-test: $passed passed, $failed failed"
[ $failed = 0 ]
