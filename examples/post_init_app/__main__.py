"""What the workers share, and what becomes of writes. `make app` runs this."""

from __future__ import annotations

import platform
import re
import signal
import sys

import pmalloc

from .serve import Server, private_dirty, until

MB = 1e6


def dirtied(server: Server) -> dict[int, tuple[int, int]]:
    """Of each worker: bytes it copied while it looked at everything, and those of the pool."""
    before = {pid: private_dirty(pid) for pid in server.ask_all("/")}
    server.ask_all("/look")
    found = {}
    for pid in before:
        pools = [pool for pool in server.pools(pid) if pool["state"] == "protected"]
        found[pid] = private_dirty(pid) - before[pid], sum(private_dirty(pid, one) for one in pools)
    return found


def show_memory(title: str, server: Server) -> None:
    print(title)
    for pid, (all_of_it, of_the_pool) in dirtied(server).items():
        print(
            f"  worker {pid}: copied {all_of_it / MB:.1f} MB, of the pool {of_the_pool / MB:.1f} MB"
        )


def main(population: int, workers: int = 3) -> None:
    settings = {"population": population, "attacks": 1}
    print(f"pmalloc {pmalloc.__version__}, CPython {platform.python_version()}")
    with Server(workers=workers, ends_init=False, **settings) as server:
        show_memory(f"\n{workers} workers look at everything, ordinary objects", server)
    with Server(workers=workers, **settings) as server:
        print("\nThe end of init, in the master")
        print(*re.findall(r"\[INFO\] (.*(?:\n(?!\[).*)*)", server.log())[3:4])
        show_memory("\nThe same, post-init", server)
        print("\nA change from Python")
        print("  status", server.attack("change_a_setting"))
        print(*re.findall(r"^(TypeError: .*)$", server.log(), re.MULTILINE)[-1:])
        print("\nA stray write from C")
        before = server.workers()
        print("  status", server.attack("stray_write"), "(0: no answer)")
        new = until(lambda: server.workers() - before, "no new worker")
        print(server.log()[server.log().index("pmalloc: write to") :].partition("  native")[0])
        print(f"  gunicorn started {new}; Zürich:", server.get("/city/Z%C3%BCrich"))
        print("\nHUP")
        before = server.workers()
        server.process.send_signal(signal.SIGHUP)
        until(lambda: len(server.workers() - before) == workers, "no new workers")
        show_memory(f"  {len(before)} new workers", server)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 15_000)
