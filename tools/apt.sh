#!/usr/bin/env bash
# Installs packages of Debian, quietly unless that fails.
#
#   tools/apt.sh PACKAGE...
#
# One at a time: apt does not wait for another one that reads its lists, and jobs of .ci/run run
# side by side. Exit status 77: it cannot be done here, and why is on stderr.
set -euo pipefail

[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || {
  echo "apt: this needs $*, and only root on a Debian can have them installed here." >&2
  exit 77
}
if command -v flock >/dev/null 2>&1; then
  exec 9>"${TMPDIR:-/tmp}/pmalloc-apt.lock"
  flock 9
fi
log=$(mktemp)
if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends "$@"; } >"$log" 2>&1 </dev/null; then
  tail -n 5 "$log" >&2
  echo "apt: $* could not be installed." >&2
  rm -f "$log"
  exit 77
fi
rm -f "$log"
