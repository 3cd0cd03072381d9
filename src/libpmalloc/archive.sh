#!/bin/sh
# Makes a static library of one object, in which all names but the public ones are local, so that
# it shares a program with anything.
#
#   archive.sh OUTPUT SYMBOLS OBJCOPY AR OBJECTS... -- COMPILER...
set -eu
output=$1 symbols=$2 objcopy=$3 ar=$4
shift 4
one=$(dirname "$output")/pmalloc.o
# The objects go behind the compiler: "a b -- cc -m64" becomes "cc -m64 -r ... a b".
count=0
for argument in "$@"; do
  [ "$argument" != -- ] || break
  count=$((count + 1))
done
while [ $count -gt 0 ]; do
  set -- "$@" "$1"
  shift
  count=$((count - 1))
done
shift # the --
first=$1
shift
# With link-time optimisation gcc would write its own intermediate code, names and all: not here.
"$first" -flinker-output=nolto-rel -r -nostdlib -o "$one" "$@" 2>/dev/null ||
  "$first" -r -nostdlib -o "$one" "$@"
"$objcopy" --keep-global-symbols="$symbols" "$one"
rm -f "$output"
"$ar" rcs "$output" "$one"
rm -f "$one"
