#!/usr/bin/env bash
# Runs the C tests, the attack table among them, on kernels that this machine has not, in qemu.
#
#   tools/kernels.sh                     all of them, side by side
#   tools/kernels.sh 6.12-amd64          this one
#   TESTS="fault seal" tools/kernels.sh  tests/c/test_fault.c, test_seal.c, the attack table and
#                                        what the last two kernels run only
#
#   6.1-amd64     Debian 12: no mseal, no guard markers, memfds without MFD_NOEXEC_SEAL
#   6.12-amd64    Debian 13: mseal, no guard markers
#   6.1-arm64     Debian 12, aarch64, for which everything is cross-compiled
#   6.12-amd64-never, 6.12-amd64-ptrace
#                 the second once more, where /proc/self/mem goes around no page's protection
#                 (proc_mem.force_override=never, =ptrace): rare writes take another way
#
# Each boots in seconds into tests/kernels/init.c, which runs all tests/c/test_*.c (the last two:
# what such a kernel is for), and is gone. The attack table must come out as in
# tests/kernels/VERSION.md. Logs are build/kernels/NAME.log.
#
# The kernels are fetched once, by apt, from the mirror that this machine uses ($PMALLOC_MIRROR for
# another), into $PMALLOC_KERNELS (default ~/.cache/pmalloc/kernels, 50 MB; delete it for newer
# ones). qemu and the compiler for aarch64 are installed where we are root. The CPU is emulated
# where KVM does not work.
#
# Exit status 77: it cannot be done here, and why is on stderr; under CI=true that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

names=("$@")
[ $# -gt 0 ] || names=(6.1-arm64 6.12-amd64 6.1-amd64 6.12-amd64-never 6.12-amd64-ptrace)
cache=${PMALLOC_KERNELS:-${XDG_CACHE_HOME:-$HOME/.cache}/pmalloc/kernels}
tests=(tests/c/test_*.c)
if [ -n "${TESTS:-}" ]; then
  tests=(tests/c/test_attacks.c tests/c/test_rare_write_never.c)
  for name in $TESTS; do tests+=("tests/c/test_$name.c"); done
fi
mapfile -t tests < <(printf '%s\n' "${tests[@]}" | sort -u)
programs=("${tests[@]##*/}")
programs=("${programs[@]%.c}")
out=build/kernels
jobs=$(nproc 2>/dev/null || echo 2)
seconds=1500 # for a machine
mkdir -p "$cache" "$out"
cache=$(cd "$cache" && pwd)

cannot() {
  echo "kernels: $1" >&2
  [ "${CI:-}" != true ] || exit 1
  exit 77
}

suite_of() {
  case $1 in
  6.1-amd64 | 6.1-arm64) echo bookworm ;;
  6.12-amd64 | 6.12-amd64-never | 6.12-amd64-ptrace) echo trixie ;;
  *) echo "kernels: $1 is none of those above; see tools/kernels.sh" >&2 && exit 2 ;;
  esac
}

# As the compiler and qemu call it.
cpu_of() {
  case $1 in
  *-amd64*) echo x86_64 ;;
  *-arm64) echo aarch64 ;;
  esac
}

# What is booted, and what it is told; the programs that run then, NONE: all; the attack table.
kernel_of() { cut -d - -f 1,2 <<<"$1"; }
override_of() { cut -d - -f 3 <<<"$1"; }
programs_of() {
  if [ -z "$(override_of "$1")" ]; then
    printf '%s\n' "${programs[@]}"
  else
    printf '%s\n' test_attacks test_rare_write_never
  fi
}
table_of() { echo "tests/kernels/${1%%-*}$([ -z "$(override_of "$1")" ] || echo -never).md"; }

# ---- what it takes ----

packages=()
need() { command -v "$1" >/dev/null 2>&1 || packages+=("${@:2}"); }
need cpio cpio
need readelf binutils
for name in "${names[@]}"; do
  suite_of "$name" >/dev/null
  case $(cpu_of "$name") in
  x86_64)
    need qemu-system-x86_64 qemu-system-x86
    case $(uname -m) in
    x86_64) need x86_64-linux-gnu-gcc gcc libc6-dev ;;
    *) need x86_64-linux-gnu-gcc gcc-x86-64-linux-gnu libc6-dev-amd64-cross ;;
    esac
    ;;
  aarch64)
    need qemu-system-aarch64 qemu-system-arm
    case $(uname -m) in
    aarch64) need aarch64-linux-gnu-gcc gcc libc6-dev ;;
    *) need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross ;;
    esac
    ;;
  esac
done
if [ ${#packages[@]} -gt 0 ]; then
  tools/apt.sh "${packages[@]}" || cannot "${packages[*]} are not here."
fi

# ---- the kernels ----

# apt with lists and a state of its own: any release and any architecture, nothing installed.
fetch() { # fetch NAME
  local name=$1 suite arch mirror part=$cache/$1.part package
  suite=$(suite_of "$name") arch=${name#*-}
  [ ! -e "$cache/$name/vmlinuz" ] || return 0
  command -v apt-get >/dev/null 2>&1 || cannot "without apt there is nobody to fetch Debian's kernels."
  mirror=${PMALLOC_MIRROR:-$(apt-get indextargets --format '$(ORIGIN) $(SITE)' 2>/dev/null |
    sed -n 's/^Debian //p' | grep -v -- '-security' | head -n 1 || true)}
  [ -n "$mirror" ] || cannot "apt knows no mirror of Debian here: say which, in PMALLOC_MIRROR."
  echo "kernels: fetching $name (once)" >&2
  rm -rf "$part"
  mkdir -p "$part/lists/partial" "$part/archives/partial"
  : >"$part/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$part/sources.list"
  cat >"$part/apt.conf" <<CONF
Dir::State "$part";
Dir::State::status "$part/status";
Dir::Cache "$part";
Dir::Etc::sourcelist "$part/sources.list";
Dir::Etc::sourceparts "-";
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Sandbox::User "";
Acquire::Languages "none";
CONF
  ( # chained: left of || nothing stops by itself
    export APT_CONFIG=$part/apt.conf
    cd "$part" && apt-get update -qq &&
      package=$(apt-cache depends "linux-image-cloud-$arch" | sed -n 's/^ *Depends: //p' | head -n 1) &&
      apt-get download -qq "$package" &&
      dpkg-deb --fsys-tarfile "$package"_*.deb | tar -x --wildcards './boot/vmlinuz-*' &&
      mv boot/vmlinuz-* vmlinuz &&
      rm -rf lists archives boot ./*.deb ./*.bin
  ) >"$cache/$name.log" 2>&1 </dev/null ||
    { tail -n 5 "$cache/$name.log" >&2 && cannot "$name could not be fetched; the log is $cache/$name.log."; }
  rm -rf "${cache:?}/$name"
  mv "$part" "$cache/$name"
}

exec 8>"$cache/lock"
flock 8
for name in $(for name in "${names[@]}"; do kernel_of "$name"; done | sort -u); do fetch "$name"; done
flock -u 8
exec 8>&-

# ---- what runs in them ----

# A root file system: init, the tests, and the C library that they were linked with.
build() { # build CPU
  local cpu=$1 cc=$1-linux-gnu-gcc folder=$out/$1 loader
  local flags=(-std=c11 -D_GNU_SOURCE -DPMALLOC_FAULT_INJECTION -DPMALLOC_EMULATED -O2 -Wall -Wextra
    -Wshadow -Werror -pthread -Iinclude -Isrc/libpmalloc -Itests/c)
  rm -rf "$folder"
  mkdir -p "$folder"/{objects,root/{tests,lib,lib64}}
  printf '%s\n' src/libpmalloc/*.c | xargs -P "$jobs" -I{} sh -c \
    'file=$1 folder=$2; shift 2; exec "$@" -c "$file" -o "$folder/objects/$(basename "$file" .c).o"' \
    sh {} "$folder" "$cc" "${flags[@]}"
  printf '%s\n' "${tests[@]}" | xargs -P "$jobs" -I{} sh -c \
    'file=$1 folder=$2; shift 2; exec "$@" "$file" "$folder"/objects/*.o -Wl,--strip-debug,-T,include/pmalloc.ld -o "$folder/root/tests/$(basename "$file" .c)"' \
    sh {} "$folder" "$cc" "${flags[@]}"
  "$cc" -std=c11 -O2 -Wall -Wextra -Wshadow -Werror -static -s tests/kernels/init.c -o "$folder/root/init"
  loader=$(readelf -lW "$folder/root/tests/test_attacks" | sed -n 's/.*interpreter: \(.*\)]/\1/p')
  cp "$("$cc" -print-file-name="$(basename "$loader")")" "$folder/root$loader"
  cp "$("$cc" -print-file-name=libc.so.6)" "$folder/root/lib/"
  (cd "$folder/root" && find . | LC_ALL=C sort | cpio -o -H newc --quiet | gzip -1) >"$folder/initrd"
}

for cpu in $(for name in "${names[@]}"; do cpu_of "$name"; done | sort -u); do build "$cpu"; done

# ---- the machines ----

# Becomes qemu: call it in a process of its own.
boot() { # boot NAME ACCELERATOR
  local name=$1 cpu console machine model=max options= override
  ulimit -c 0 # where KVM is of no use, qemu may abort
  cpu=$(cpu_of "$name")
  case $cpu in
  # Where the host is busy, no timer may tick while the kernel looks whether it does: it panics.
  # Linux 6.12 died in its allocator behind a cmpxchg16b that qemu 7.2 emulated: it does without.
  x86_64) machine=q35 console=ttyS0 options=no_timer_check && [ "$2" = kvm ] || model=max,-cx16 ;;
  # Pointers are authenticated by a cipher that is not slow to emulate.
  aarch64) machine=virt console=ttyAMA0 && [ "$2" = kvm ] || model=max,pauth-impdef=on ;;
  esac
  override=$(override_of "$name")
  # Of what the kernel does not know, init gets the words without a dot as variables.
  [ -z "$override" ] ||
    options+=" proc_mem.force_override=$override only=$(programs_of "$name" | paste -sd ,)"
  exec timeout "$seconds" "qemu-system-$cpu" -M "$machine" -cpu "$model" -accel "$2" -smp 2 -m 1024 \
    -nodefaults -display none -serial stdio -no-reboot \
    -kernel "$cache/$(kernel_of "$name")/vmlinuz" -initrd "$out/$cpu/initrd" \
    -append "console=$console quiet loglevel=1 panic=-1 nowatchdog $options" >"$out/$name.log" 2>&1 </dev/null
}

# What each program did, from a log: "NAME N", checks that passed; "NAME skipped WHY". Nothing of one
# that said neither.
results() { # results NAME
  awk '
    /^[a-z0-9_ ]*[0-9]+ passed, 0 failed$/ { for (i = 2; i <= NF; i++) if ($i == "passed,") sum += $(i - 1) }
    /^test_[a-z0-9_]*: skipped, / { why = $0; sub(/^[^,]*, /, "", why) }
    /^kernels: test_[a-z0-9_]*: exit status 0, / {
      sub(/:$/, "", $2)
      if (sum > 0) print $2, sum; else if (why != "") print $2, "skipped", why
    }
    /^kernels: / { sum = 0; why = "" }
  ' "$out/$1.log"
}

# What is wrong with a log; nothing, if nothing is.
complaints() { # complaints NAME
  local log=$out/$1.log version=${1%%-*} program results wanted
  mapfile -t wanted < <(programs_of "$1")
  grep -q "^kernels: Linux ${version//./\\.}\." "$log" || echo "Linux $version did not start"
  grep -qE "^kernels: ${#wanted[@]} programs passed, 0 failed$" "$log" || echo "not every program passed"
  results=$(results "$1")
  for program in "${wanted[@]}"; do
    grep -q "^$program " <<<"$results" || echo "$program did not pass, nor say why it cannot"
  done
  diff "$(table_of "$1")" <(sed -n '/^| attack |/,/^$/{/^|/p}' "$log") ||
    echo "the attack table is not that of $(table_of "$1") (<)"
}

machine() { # machine NAME
  local name=$1 start=$SECONDS accelerator=tcg wrong i
  rm -f "$out/$name.log"
  if [ -w /dev/kvm ] && [ "$(uname -m)" = "$(cpu_of "$name")" ]; then
    # There, it may still be of no use: inside of another machine, for instance.
    accelerator=kvm
    {
      boot "$name" kvm &
      for ((i = 0; i < 30; i++)); do
        ! grep -q '^kernels: Linux' "$out/$name.log" 2>/dev/null || break
        kill -0 $! 2>/dev/null || break
        sleep 1
      done
      if ! grep -q '^kernels: Linux' "$out/$name.log"; then
        accelerator=tcg
        kill $! 2>/dev/null || true
      fi
      wait $! || true
    } 2>/dev/null # this shell would tell when it aborts
  fi
  # Emulated processors that patch each other's code trip now and then while the kernel starts
  # ("int3" in an initcall): it has three tries to get as far as our first program.
  for ((i = 0; i < 3; i++)); do
    [ $accelerator = tcg ] && ! grep -q '^kernels: Linux' "$out/$name.log" 2>/dev/null || break
    (boot "$name" tcg,thread=multi) || true
  done
  sed -i 's/\r//g' "$out/$name.log"
  wrong=$(complaints "$name")
  if [ -n "$wrong" ]; then
    printf '%s\n' "kernels: $name FAILED ($accelerator):" "$(cat "$out/$name.log")" "$wrong"
    return 1
  fi
  sed -n "s/^kernels: \(Linux .*\)/kernels: $name: \1/p" "$out/$name.log"
  # What a program leaves out, and what the CPU has not.
  sed -n "/^test_[a-z0-9_]*: .*skipped, \|^test_[a-z0-9_]*: .* not run, /s/^/kernels: $name: /p" "$out/$name.log"
  results "$name" | awk -v name="$name" -v seconds=$((SECONDS - start)) -v accelerator="$accelerator" '
    $2 == "skipped" { skipped++; next }
    { passed++; checks += $2 }
    END { printf "kernels: %s: %d programs passed, %d skipped; %d checks; %d s (%s)\n",
          name, passed, skipped, checks, seconds, accelerator }'
}

running=() failed=0
for name in "${names[@]}"; do
  machine "$name" >"$out/$name.told" 2>&1 &
  running+=("$!")
done
for i in "${!names[@]}"; do
  wait "${running[$i]}" || failed=$((failed + 1))
  cat "$out/${names[$i]}.told"
done
echo "kernels: $((${#names[@]} - failed)) passed, $failed failed"
[ $failed = 0 ]
