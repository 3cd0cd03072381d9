#!/usr/bin/env bash
# Prints the path of a file that holds Debian's SELinux policy as setools prints it, one statement a
# line: types with their attributes, booleans (`seinfo -t -b`), allow rules (`sesearch -A`). Debian 12
# has 104,302 of the latter.
#
#   tools/selinux-policy.sh
#
# Debian ships its policy as 331 modules. The package's postinst compiles and links them, but for
# 17 that are off by default. Here an ordinary user does that in a folder of its own, once, in
# a minute: nothing is installed, and the policy of this machine, if it has one, is not looked at.
# The result is kept in $PMALLOC_SELINUX (default ~/.cache/pmalloc/selinux), 9 MB.
#
# Exit status 77: it cannot be done here, and why is on stderr.
set -euo pipefail

cache=${PMALLOC_SELINUX:-${XDG_CACHE_HOME:-$HOME/.cache}/pmalloc/selinux}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
policy=$cache/policy.txt part=$cache/part log=$cache/log

exec 8>"$cache/lock"
if command -v flock >/dev/null 2>&1; then flock 8; fi
if [ -e "$policy" ]; then
  echo "$policy"
  exit
fi
if ! { command -v apt-get && command -v dpkg-deb; } >/dev/null 2>&1; then
  echo "selinux-policy: without apt and dpkg there is nobody to fetch Debian's policy." >&2
  exit 77
fi
echo "selinux-policy: fetching and linking Debian's SELinux policy (once)" >&2

# What is not installed here of the tools and the policy, each package unpacked into $part/root. apt
# has the sources of this machine and knows what is installed, but lists of its own.
fetch() {
  local package
  mkdir -p "$part"/{lists,archives}/partial "$part/root"
  cat >"$part/apt.conf" <<CONF
Dir::State::lists "$part/lists";
Dir::Cache "$part";
APT::Sandbox::User "";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::Languages "none";
Debug::NoLocking "true";
CONF
  export APT_CONFIG=$part/apt.conf
  apt-get update -qq
  # selinux-policy-default even where it is installed; the rest where it is not.
  (cd "$part/archives" && apt-get download -qq selinux-policy-default policycoreutils setools python3-setools)
  apt-get install -qq -y -d --no-install-recommends selinux-policy-default setools
  for package in "$part"/archives/*.deb; do dpkg-deb -x "$package" "$part/root"; done
}

# What the package's postinst does, for a system in $part/system.
link() {
  local modules=$part/root/usr/share/selinux/default store=$part/system/etc/selinux arguments=() name
  mkdir -p "$store" "$part/system/var/lib/selinux/default"
  cp -r "$part/root/etc/selinux/default" "$store/"
  # No check of the files' labels: it would ask for the users of this machine.
  cat >"$store/semanage.conf" <<CONF
module-store = direct
expand-check = 0
disable-genhomedircon = true
compiler-directory = $(dirname "$(find "$part/root" -path '*/selinux/hll/pp')")
[setfiles]
path = /bin/true
args = -r
[end]
[sefcontext_compile]
path = /bin/true
args = -r
[end]
CONF
  while read -r name; do arguments+=("-i$modules/$name.pp.bz2"); done <"$modules/.modules"
  dpkg-deb -I "$part"/archives/selinux-policy-default_*.deb postinst >"$part/postinst"
  for name in $(sed -n 's/^notdefault="\(.*\)"$/\1/p' "$part/postinst"); do arguments+=("-d$name"); done
  "$part/root/usr/sbin/semodule" -p "$part/system" -n -s default -X 100 "${arguments[@]}"
}

show() {
  local python=/usr/bin/python3 # setools is compiled for that one
  local tools=$part/root/usr/bin binary=($part/system/etc/selinux/default/policy/policy.*)
  [ -x $python ] || python=$part/root$python
  export PYTHONPATH=$part/root/usr/lib/python3/dist-packages
  "$python" -s "$tools/seinfo" --flat -t -x "${binary[0]}"
  "$python" -s "$tools/seinfo" --flat -b -x "${binary[0]}"
  "$python" -s "$tools/sesearch" -A "${binary[0]}"
}

make() {
  local libraries
  unset PYTHONHOME
  fetch
  libraries=$(find "$part/root" -name '*.so.*' -printf '%h\n' | sort -u | paste -s -d :)
  export LD_LIBRARY_PATH=$libraries
  link
  show >"$part/policy.txt"
  grep -q '^allow ' "$part/policy.txt"
}

rm -rf "$part"
mkdir -p "$part"
make >"$log" 2>&1 </dev/null & # left of || nothing would stop by itself
if ! wait $!; then
  tail -n 5 "$log" >&2
  echo "selinux-policy: it could not be had; the log is $log." >&2
  exit 77
fi
mv "$part/policy.txt" "$policy"
rm -rf "$part"
echo "$policy"
