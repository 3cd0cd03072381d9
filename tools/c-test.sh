#!/usr/bin/env bash
# Runs the C tests of libpmalloc: every tests/c/test_*.c is a program of its own, linked
# with all of libpmalloc, that exits 0 when it is content.
#
#   tools/c-test.sh             all of them
#   tools/c-test.sh pool fault  tests/c/test_pool.c and tests/c/test_fault.c
#   tools/c-test.sh --soak SEED STEPS
#                               tests/c/test_*_model.c, under sanitizers, so long, from that seed
#
# With each compiler there is (or $CC), plain, under AddressSanitizer and
# UndefinedBehaviorSanitizer, and test_*threads.c under ThreadSanitizer too. What this
# machine cannot link or run is left out, and said.
set -euo pipefail
cd "$(dirname "$0")/.."

tests=() soak=()
if [ "${1:-}" = --soak ]; then
  soak=("${2:?a seed}" "${3:?how many steps}")
  tests=(tests/c/test_*_model.c)
elif [ $# -gt 0 ]; then
  for name in "$@"; do tests+=("tests/c/test_$name.c"); done
else
  tests=(tests/c/test_*.c)
fi

out=build/c-test
mkdir -p "$out"
jobs=$(nproc 2>/dev/null || echo 2)
flags=(-std=c11 -D_GNU_SOURCE -DPMALLOC_FAULT_INJECTION -g -Wall -Wextra -Wshadow -Werror -pthread
  -Iinclude -Isrc/libpmalloc -Itests/c)
passed=0 failed=0

# The tests want the real SIGSEGV, and to be told when memory runs out.
export ASAN_OPTIONS=handle_segv=0:handle_sigbus=0:detect_leaks=0:allocator_may_return_null=1
export TSAN_OPTIONS=handle_segv=0:handle_sigbus=0
export UBSAN_OPTIONS=handle_segv=0:handle_sigbus=0:print_stacktrace=1

# Can a program be built with these flags, and does it run?
works() {
  echo 'int main(void) { return 0; }' | "$@" -x c -o "$out/probe" - 2>/dev/null && "$out/probe" 2>/dev/null
}

# gcc says which sanitizer is on, older clangs do not: say it for them.
told() { # told SANITIZER COMPILER FLAGS...
  local sanitizer=$1
  shift
  echo | "$@" -E -dM -x c - 2>/dev/null | grep -q "__SANITIZE_" || echo "-D__SANITIZE_${sanitizer}__=1"
}

# suite KIND TESTS... -- COMPILER FLAGS...
suite() {
  local kind=$1 sources=() objects=() folder source binary
  shift
  while [ "$1" != -- ]; do sources+=("$1") && shift; done
  shift
  [ ${#sources[@]} -gt 0 ] && [ -e "${sources[0]}" ] || return 0
  local flags=("${flags[@]}")
  [ "$kind" != thread ] || flags+=(-Wno-unused-function) # it leaves some tests out
  if ! works "$@"; then
    echo "c-test: $1 $kind: skipped, programs so built do not link or run here"
    return 0
  fi
  folder=$out/${1//[^A-Za-z0-9]/-}-$kind
  rm -rf "$folder"
  mkdir -p "$folder"
  if ! printf '%s\n' src/libpmalloc/*.c |
    xargs -P "$jobs" -I{} sh -c 'file=$1 folder=$2; shift 2; exec "$@" -c "$file" -o "$folder/$(basename "$file" .c).o"' \
      sh {} "$folder" "$@" "${flags[@]}"; then
    echo "c-test: $1 $kind: libpmalloc does not compile" >&2
    failed=$((failed + ${#sources[@]}))
    return 0
  fi
  objects=("$folder"/*.o)
  for source in "${sources[@]}"; do
    binary=$folder/$(basename "$source" .c)
    if "$@" "${flags[@]}" "$source" "${objects[@]}" -Wl,-T,include/pmalloc.ld -o "$binary" >"$binary.log" 2>&1 &&
      timeout 300 "$binary" ${soak[@]+"${soak[@]}"} >>"$binary.log" 2>&1 </dev/null; then
      passed=$((passed + 1))
      [ ${#soak[@]} = 0 ] || echo "c-test: $(basename "$source") $1 $kind: ${soak[1]} steps from seed ${soak[0]}"
    else
      failed=$((failed + 1))
      echo "c-test: $(basename "$source") FAILED ($1 $kind):" >&2
      tail -n 40 "$binary.log" >&2
    fi
  done
  echo "c-test: $1 $kind: done"
}

compilers=()
if [ -n "${CC:-}" ]; then
  compilers=("$CC")
else
  for cc in gcc clang cc; do
    # `cc` is one of the other two by another name: only where it stands alone.
    [ "$cc" != cc ] || [ ${#compilers[@]} -eq 0 ] || continue
    if command -v "$cc" >/dev/null 2>&1 && works "$cc"; then compilers+=("$cc"); fi
  done
fi
if [ ${#compilers[@]} -eq 0 ]; then
  echo "c-test: no C compiler works here: install one (Debian, Ubuntu: apt install gcc libc6-dev)." >&2
  exit 1
fi

threads=()
for source in "${tests[@]}"; do
  case $source in *threads.c) threads+=("$source") ;; esac
done
for cc in "${compilers[@]}"; do
  read -r -a command <<<"$cc" # CC may carry arguments
  address=(-O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined)
  thread=(-O1 -fsanitize=thread)
  [ ${#soak[@]} -gt 0 ] || suite plain "${tests[@]}" -- "${command[@]}" -O2
  suite address-undefined "${tests[@]}" -- "${command[@]}" "${address[@]}" \
    $(told ADDRESS "${command[@]}" "${address[@]}")
  suite thread ${threads[@]+"${threads[@]}"} -- "${command[@]}" "${thread[@]}" \
    $(told THREAD "${command[@]}" "${thread[@]}")
done

echo "c-test: $passed passed, $failed failed"
[ $failed = 0 ]
