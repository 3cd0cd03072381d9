"""The SELinux policy of Debian behind an access vector cache. `make avc` runs this.

    python -m selinux_avc POLICY

POLICY is what `tools/selinux-policy.sh` makes. All figures are of this run.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import platform
import random
import resource
import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter

import pmalloc

from .avc import AVC, new_booleans
from .load import reloaded, some_domains, type_like, under_load
from .policy import Policy, Vector, parse

BOOLEAN = "allow_cvs_read_shadow"
# The name service cache may ask for the size of /etc/shadow, and no more.
SHADOW = "nscd_t", "shadow_t", "file"
TABLES = 32, 40  # of a dict in CPython: where its pointers to keys and to values lie
WORD = ctypes.sizeof(ctypes.c_size_t)


def timed[T](call: Callable[[], T]) -> tuple[T, float]:
    start = perf_counter()
    return call(), perf_counter() - start


def say(what: str, figure: str = "") -> None:
    print(f"  {what:58}{figure:>16}")


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.2f} ms"


def bytes_of(policy: Policy) -> int:
    """What the pool of this version has in use."""
    pool = pmalloc.pool_of(policy)
    assert pool is not None
    used: int = pool.stats()["used_bytes"]
    return used


# ---- how fast it answers ----


def show_queries(ordinary: Policy, cell: pmalloc.Cell[Policy], avc: AVC) -> None:
    """1,000 questions about rules at random, put 20 times: without the cache and with it."""
    chance = random.Random(1)
    rules = [
        (source, target, tclass)
        for source, row in ordinary.rules.items()
        for target, classes in row.items()
        for tclass in classes
        if source in ordinary.types
    ]
    places = [
        (source, type_like(ordinary, target), tclass)
        for source, target, tclass in chance.choices(rules, k=1000)
    ]
    truth = avc.flush().truth
    answers = {place: ordinary.vector(truth, *place) for place in places}

    def plain() -> None:
        for place in places:
            _ = "read" in answers[place]

    def in_dicts() -> None:
        for place in places:
            _ = "read" in ordinary.vector(truth, *place)

    def in_cell() -> None:
        for place in places:
            _ = "read" in cell.get().vector(truth, *place)

    def in_cache() -> None:
        for place in places:
            avc.allowed(*place, "read")

    for what, ask in (
        ("all rules of both types, policy of ordinary dicts", in_dicts),
        ("all rules of both types, cell.get()", in_cell),
        ("the cache: avc.allowed()", in_cache),
        ("a plain dict of the answers, unprotected", plain),
    ):
        ask()
        seconds = min(timed(ask)[1] for _ in range(20)) / len(places)
        say(what, f"{1 / seconds:,.0f} /s")


# ---- what changes ----


def show_boolean(avc: AVC) -> None:
    question = "cvs_t", "shadow_t", "file", "read"
    say("may cvs_t read shadow_t?", str(avc.allowed(*question)))
    try:
        setattr(avc.booleans, BOOLEAN, True)
    except pmalloc.ProtectedError as error:
        print(f"  booleans.{BOOLEAN} = True\n    ProtectedError: {error}")
    _, seconds = timed(partial(avc.set_booleans, **{BOOLEAN: True}))
    say(f"avc.set_booleans({BOOLEAN}=True)", milliseconds(seconds))
    say("may cvs_t read shadow_t?", str(avc.allowed(*question)))
    avc.set_booleans(**{BOOLEAN: False})


def show_reload(cell: pmalloc.Cell[Policy]) -> None:
    base = cell.get()
    domains = some_domains(base)
    whole = [timed(partial(pmalloc.freeze, pmalloc.thaw(base)))[1] for _ in range(3)]
    parts = [
        timed(partial(cell.publish, reloaded(base, domains, number)))[1] for number in range(1, 11)
    ]
    say(f"publish, the rules of {len(domains)} domains changed (1%)", milliseconds(median(parts)))
    say("freeze all of it", milliseconds(median(whole)))
    say("that is", f"{median(whole) / median(parts):.0f} times more")
    say("bytes of such a version", f"{bytes_of(cell.get()):,}")
    cell.publish(base)


def show_load(cell: pmalloc.Cell[Policy], avc: AVC) -> None:
    load = under_load(cell, avc)
    say(f"{load.reloads} reloads under 4 threads that ask", f"{load.seconds:.1f} s")
    say("publish, until it returns", milliseconds(median(load.publish)))
    say("questions", f"{load.asked:,}")
    say("questions without an answer", f"{load.asked - load.answered:,}")
    say("answers that neither policy would give", f"{len(load.wrong):,}")
    kept = cell.versions()
    say(f"bytes of the {len(kept)} versions that are kept", f"{sum(each.bytes for each in kept):,}")
    if load.wrong or load.failed or load.asked != load.answered:
        sys.exit(f"This is not as it should be: {load.wrong[:3]} {load.failed}")


# ---- what must not change ----


def rogue_write(policy: Policy) -> None:
    """As a bug in C code would: a pointer in a dict is made to point to another vector.

    Then nscd_t may do to shadow_t what passwd_t may.
    """
    source, target, tclass = SHADOW
    classes = policy.rules[source][target]
    more: Vector = policy.rules["passwd_t"][target][tclass]
    for table in TABLES:
        start = ctypes.c_size_t.from_address(id(classes) + table).value
        for address in range(start, start + 32 * WORD, WORD) if start else ():
            word = ctypes.c_size_t.from_address(address)
            if word.value == id(classes[tclass]):
                word.value = id(more)
                return


def in_child(policy: Policy) -> tuple[str, str]:
    """A fork makes the rogue write and asks. What it says, and how it ended."""
    sys.stdout.flush()
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.dup2(writing, 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            rogue_write(policy)
            answer = "write" in policy.vector(dict.fromkeys(policy.conditions, False), *SHADOW)
            os.write(2, f"may nscd_t write shadow_t? {answer}\n".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8", errors="replace") as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return said, f"exit status {status}" if status >= 0 else f"signal {-status}"


def show_rogue_write(ordinary: Policy, frozen: Policy) -> None:
    said, ended = in_child(ordinary)
    say(f"ordinary dicts: {said.strip()}", ended)
    said, ended = in_child(frozen)
    lines = itertools.takewhile(lambda line: "native stack" not in line, said.splitlines())
    say("in the cell:", ended)
    print(*(f"    {line}" for line in lines), sep="\n")


def main() -> None:
    print(
        f"pmalloc {pmalloc.__version__}, CPython {platform.python_version()}, "
        f"Linux {platform.release()}"
    )
    print("\nThe policy")
    with open(sys.argv[1], encoding="utf-8") as file:
        ordinary, seconds = timed(partial(parse, file))
    say("types", f"{len(ordinary.types):,}")
    say("booleans", f"{len(ordinary.booleans):,}")
    say("allow rules", f"{ordinary.count():,}")
    say("parse", milliseconds(seconds))
    cell, seconds = timed(lambda: pmalloc.Cell(ordinary, name="policy"))
    say('pmalloc.Cell(policy, name="policy")', milliseconds(seconds))
    say("bytes of it", f"{bytes_of(cell.get()):,}")
    pool = pmalloc.Pool("booleans", mode="wr")
    booleans = new_booleans(pool, ordinary)
    pool.protect()
    avc = AVC(cell, booleans)

    print("\nMay this type do that to this one? (questions a second)")
    show_queries(ordinary, cell, avc)
    print("\nA boolean")
    show_boolean(avc)
    print("\nA reload")
    show_reload(cell)
    print("\nReloads under load")
    show_load(cell, avc)
    print("\nA rogue write: nscd_t's vector for shadow_t becomes that of passwd_t")
    show_rogue_write(ordinary, cell.get())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
