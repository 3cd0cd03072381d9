#!/bin/sh
# Builds libpmalloc's allocator with fault injection and runs its tests.
#   tests/c/run.sh [CC] [sanitize]
# Without "sanitize" as the second argument they run plain; with it, under
# AddressSanitizer and UndefinedBehaviorSanitizer.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
source=$here/../../src/libpmalloc
cc=${1:-cc}
flags="-std=c11 -O1 -g -Wall -Wextra -Wshadow -Wconversion -Werror -pthread -DPMALLOC_FAULT_INJECTION"
if [ "${2:-}" = sanitize ]; then
  flags="$flags -fsanitize=address,undefined -fno-sanitize-recover=undefined"
  # The tests want the real SIGSEGV, fork in the midst of everything, and limits.
  export ASAN_OPTIONS="handle_segv=0:handle_sigbus=0:detect_leaks=0:allocator_may_return_null=1"
fi
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
for part in status pages registry siphash cold chunk blocks alloc region root pool; do
  $cc $flags -c "$source/$part.c" -o "$build/$part.o"
done
failed=0
for test in pages registry pool pool_oom pool_threads pool_model; do
  $cc $flags -I"$source" "$here/test_$test.c" "$build"/*.o -o "$build/test_$test"
  "$build/test_$test" || failed=1
done
exit $failed
