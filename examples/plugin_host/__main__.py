"""Fixed plugins, a late one that is loaded and unloaded, and a rogue. `make plugins` runs this."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
import traceback
from collections.abc import Callable

import pmalloc
from plugin_host import host

FIXED = "plugin_host.plugins.roles", "plugin_host.plugins.secret"
CURFEW = "plugin_host.plugins.curfew"
ROGUE = "plugin_host.plugins.rogue"
REQUESTS = (
    ("alice", "write", "/srv/ledger"),
    ("bob", "read", "/srv/ledger"),
    ("bob", "write", "/srv/ledger"),
    ("root", "write", "/etc/shadow"),
)
FORBIDDEN = REQUESTS[-1]


def start() -> pmalloc.InitReport:
    """All that is fixed, and the end of init."""
    host.install(*FIXED)
    return pmalloc.mark_rodata_ro(strict=True)


def in_child(work: Callable[[], object]) -> tuple[str, int]:
    """What work() and a question after it come to in a forked child, and how that ended."""
    sys.stdout.flush()
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.dup2(writing, 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            try:
                work()
            except Exception as error:
                os.write(2, traceback.format_exception_only(error)[0].encode())
            os.write(2, f"refused: {host.authorize(*FORBIDDEN)}\n".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8", errors="replace") as pipe:
        said = pipe.read()
    return said, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def short(said: str, ended: int) -> list[str]:
    """Of a report, the lines that say what it was about."""
    if ended == 0:
        return said.splitlines()
    kept = re.findall(r"^(pmalloc: .*|  (?:object|path|store) .*)$", said, re.MULTILINE)
    return [*kept, f"ended by signal {-ended}"]


def ask() -> None:
    for user, action, path in REQUESTS:
        answer = host.authorize(user, action, path)
        print(f"  {user:6} {action:6} {path:12} {'yes' if answer is None else 'no: ' + answer}")


def main() -> None:
    print(f"pmalloc {pmalloc.__version__}, CPython {platform.python_version()}\n")
    print(start())
    print("\nFixed plugins")
    ask()
    print("\nA late one: curfew")
    print(host.load(CURFEW))
    ask()
    print("\nA rogue: may root write /etc/shadow afterwards?")
    host.load(ROGUE)
    from plugin_host.plugins import rogue

    for attempt in (*rogue.STOPPED, *rogue.FATAL, *rogue.WITHOUT_EFFECT, rogue.rewrite_code):
        print(f"  {attempt.__name__}")
        print(*(f"      {line}" for line in short(*in_child(attempt))), sep="\n")
    print("\nWithout curfew again")
    del rogue, attempt  # a variable is a user, too
    host.unload(ROGUE)
    host.unload(CURFEW)
    ask()
    print("pools:", *pmalloc.pools(), sep="\n  ")


if __name__ == "__main__":
    main()
