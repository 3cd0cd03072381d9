"""Signals: a violation is made, in a child, and what comes of it is read."""

from __future__ import annotations

import faulthandler
import mmap
import os
import platform
import re
import resource
import select
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NoReturn, cast

from pmalloc import Pool, _handler_state, violations
from pmalloc.cli.attacks import arena, calls
from pmalloc.cli.attacks.calls import FORGED, PAGE

from .finding import BROKEN, MISSING, NOTE, OK, Finding, tried

if TYPE_CHECKING:
    from pmalloc._handler_state import HandlerState

_SECONDS = 5.0
_HUNG = 0  # in the place of a signal: it had to be killed
# pushfq; or the trap flag into it; popfq; nop; ret
_STEP = bytes.fromhex("9c 81 0c 24 00 01 00 00 9d 90 c3")


def _violate(prepare: Callable[[], object]) -> NoReturn:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.disable()
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGSEGV})
    pool = Pool("probe", chunk_size=PAGE, on_violation="oops")
    target = pool.alloc(PAGE)
    pool.protect()
    prepare()
    calls.store(target.address, FORGED)
    os._exit(0)


def _violation(prepare: Callable[[], object] = lambda: None) -> tuple[int | None, str]:
    """What a violation did to a child, and what stood on its stderr.

    Args:
        prepare: runs in the child between protect() and the store.

    Returns:
        The signal it died of; _HUNG; None where it lived on.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(writing, 2)
            _violate(prepare)
        finally:
            os._exit(1)
    os.close(writing)
    told, deadline, hung = b"", time.monotonic() + _SECONDS, False
    while True:
        if not select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
            os.kill(child, signal.SIGKILL)
            hung = True
            break
        part = os.read(reading, 1 << 16)
        if not part:
            break
        told = (told + part)[-(1 << 20) :]
    os.close(reading)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return (_HUNG if hung else -status if status < 0 else None), told.decode(errors="replace")


def _after_protect() -> HandlerState | None:
    """Who has SIGSEGV in a child that has protected a pool; None where that can't be told."""

    def told() -> dict[str, object]:
        Pool("probe").protect()
        return {**_handler_state.state()}

    said = arena.in_arena(told)
    return cast("HandlerState", said) if "top" in said else None


def _lacks(died: int | None, text: str) -> str:
    """What is wrong with how the child ended and what it said; "": nothing."""
    if died == _HUNG:
        return f"the process hung, and was killed after {_SECONDS:.0f} s"
    if died is None:
        return "the process lived on"
    if died != signal.SIGSEGV:
        return f"the process died of {signal.Signals(died).name}"
    for part, line in (
        ("report", r"^pmalloc: write to protected pool 'probe'$"),
        ("address in the report", r"^  address +0x"),
        ("instruction in the report", r"^  instruction +0x"),
        ("Python stack in the report", r'^  File ".*signals\.py", line \d+ in _violate$'),
    ):
        if not re.search(line, text, re.MULTILINE):
            return f"SIGSEGV, and no {part}"
    return ""


def report() -> Finding:
    """Without this, nothing says who wrote."""
    died, text = _violation()
    wrong = _lacks(died, text)
    if not wrong:
        return Finding("report", OK, "a violation was reported, with the Python stack, and fatal")
    return Finding(
        "report",
        MISSING if died == signal.SIGSEGV else BROKEN,
        f"after a violation: {wrong}",
        "a violation may pass without a word about who made it",
        "an emulator, a sandbox or a preloaded library is in the way of SIGSEGV, tgkill or stderr",
    )


def _after_a_write(policy: Literal["warn", "audit"]) -> str:
    """In a child: "emulated", "stepped" or "open", as the page was written; else what is wrong."""
    pool = Pool("probe", chunk_size=PAGE, on_violation=policy)
    target = pool.alloc(PAGE)
    pool.protect()
    if (meant := pool.stats()["policy"]) != policy:
        return f"it is {meant} here"
    calls.store(target.address, FORGED)
    stats = pool.stats()
    if calls.load(target.address, len(FORGED)) != FORGED:
        return "the write had no effect"
    if stats["violations"] < 1 or not violations():
        return "the write was not recorded"
    return "open" if stats["tainted"] else "stepped" if stats["violations_stepped"] else "emulated"


def warn() -> Finding:
    """The policy: one write is reported, and the page opened."""
    wrong = tried(lambda: _after_a_write("warn"))
    if wrong == "open":
        return Finding("policy warn", OK, "a write was reported and took effect")
    return Finding(
        "policy warn",
        MISSING,
        f"after a write: {wrong}",
        "a violation under PMALLOC_RODATA=warn ends the process, or says nothing",
        "see the row of the report",
    )


def audit() -> Finding:
    """The policy: each write is recorded and takes effect."""
    wrong = tried(lambda: _after_a_write("audit"))
    if wrong == "emulated":
        return Finding(
            "policy audit", OK, "a write was recorded, and made by way of /proc/self/mem"
        )
    if wrong == "stepped":
        return Finding(
            "policy audit",
            NOTE,
            "a write was recorded, and single-stepped: /proc/self/mem does not write here",
            "each write opens its page for a moment: another thread may write there unseen; slower",
            "a kernel or sandbox that lets /proc/self/mem be opened and written, on x86-64",
        )
    return Finding(
        "policy audit",
        MISSING,
        f"after a write: {wrong}",
        "a violation under PMALLOC_RODATA=audit ends the process, or says nothing",
        "see the rows of the report, of /proc and of single-stepping",
    )


def alternate_stack() -> Finding:
    """Where faulthandler is on, reports are written on the small stack that it made."""

    def prepare() -> None:
        faulthandler.enable()
        Pool("second")  # on top again

    wrong = _lacks(*_violation(prepare))
    name = "alternate stack"
    frame = f"a report needs {_handler_state.state()['stack_needed']:,} bytes of one"
    if not wrong:
        return Finding(name, OK, f"a report fits on faulthandler's; {frame}")
    return Finding(
        name,
        MISSING,
        f"with faulthandler enabled, after a violation: {wrong}; {frame}",
        "a violation on a thread with a small alternate stack may have no report",
        "do not enable faulthandler: pmalloc prints the Python stack without it",
    )


def other_handlers() -> Finding:
    """Who else has SIGSEGV: before pmalloc's handler, and after the last protect()."""

    def ignore(number: int, frame: object) -> None:
        del number, frame

    def by_signal() -> None:
        signal.signal(signal.SIGSEGV, ignore)

    told: list[str] = []
    state = _after_protect()
    if state is not None and not state["on_top"]:
        told.append(f"after protect() {state['top']} gets SIGSEGV")
    if state is not None and not state["watching"]:
        told.append("signal.signal() goes unnoticed: nothing of sys.monitoring is free")
    for what, prepare in (
        ("faulthandler.enable()", faulthandler.enable),
        ("signal.signal(SIGSEGV, ...)", by_signal),
    ):
        if wrong := _lacks(*_violation(prepare)):
            told.append(f"{what} after protect(): {wrong}")
    if not told:
        here = _handler_state.state()
        others = {here["top"], *here["below"]} - {"pmalloc", "default", "ignored"}
        passed = f"; after a report comes {', '.join(sorted(others))}" if others else ""
        return Finding(
            "other handlers",
            OK,
            "faulthandler and signal.signal after protect() did not keep the report away" + passed,
        )
    return Finding(
        "other handlers",
        MISSING,
        "; ".join(told),
        "the handler that was installed last gets the violation first, and may not pass it on",
        "install handlers of SIGSEGV before the first pool is made",
    )


def mask() -> Finding:
    """What whoever started this process left blocked or ignored."""
    state = _handler_state.state()
    shut = [signal.SIGSEGV.name] if state["blocked"] or state["blocked_threads"] else []
    if "ignored" in [state["top"], *state["below"]]:
        shut.append(signal.SIGSEGV.name)
    if signal.SIGTRAP in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        shut.append(signal.SIGTRAP.name)
    if not shut:
        return Finding("signal mask", OK, "SIGSEGV is neither blocked nor ignored at the start")
    names = ", ".join(sorted(set(shut)))
    return Finding(
        "signal mask",
        MISSING,
        f"whoever started this process had blocked or ignored {names}",
        "a thread in which SIGSEGV is blocked dies of a violation without a report",
        "unblock it before the program is started, or first thing: signal.pthread_sigmask",
    )


def single_step() -> Finding:
    """The trap flag: what audit does with instructions that it can't decode."""
    name = "single-stepping"
    if platform.machine() != "x86_64":
        return Finding(
            name,
            MISSING,
            f"not on {platform.machine()}",
            "under audit, a store of a form that pmalloc does not know is handled as under oops",
            "none",
        )

    def work() -> str:
        address = calls.mmap_at(0, PAGE, fixed=False)
        calls.store(address, _STEP)
        calls.must(calls.libc.mprotect(address, PAGE, mmap.PROT_READ | mmap.PROT_EXEC))
        signal.signal(signal.SIGTRAP, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTRAP})
        calls.call(address)
        return "no SIGTRAP came"

    wrong = tried(work)
    if wrong == "killed by SIGTRAP":
        return Finding(name, OK, "the trap flag works: one instruction, and SIGTRAP")
    return Finding(
        name,
        MISSING,
        f"trap flag: {wrong}",
        "under audit, a store of a form that pmalloc does not know is handled as under oops",
        "run without debugger, valgrind or emulator",
    )
