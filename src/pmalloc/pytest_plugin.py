"""For tests of pmalloc's users: who writes to protected memory fails; data to be written to.

pytest finds it by way of pytest_pmalloc.py, and pmalloc itself never imports it: pytest is no
dependency.

**Watching.** Before and after each phase of a test (setup, call, teardown) the log of violations
is read. What is new was written by that phase, by its thread or by another one that ran meanwhile.

**Lifetime.** Frozen objects are immortal and nothing counts their users, so `protected` cannot
know when the last one is gone: a test may leave one in a module, a cache, a traceback. A pool is
destroyed when a search through all memory finds no word that leads into it. Such a search takes
about a second for a gigabyte, so pools wait until there are many, or they are large.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import itertools
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import _pytest
import pluggy
import pytest

import pmalloc

from . import _violations

_POOLS_THAT_WAIT = 256
_BYTES_THAT_WAIT = 64 << 20
_NAME_BYTES = 200  # of the 255 that a pool's name may have

_numbers = itertools.count(1)
_waiting: list[pmalloc.Pool] = []


# ---- the fixture ----


class Protect:
    """What the fixture `protected` is: freezes objects, each into a pool of its own."""

    def __init__(self, test: str) -> None:
        self._test = test.encode()[-_NAME_BYTES:].decode(errors="ignore")
        self._pools: list[pmalloc.Pool] = []

    def __call__[T](self, obj: T, /) -> T:
        """A frozen copy of an object, protected. What is frozen already is returned as it is.

        Args:
            obj: anything that `pmalloc.freeze` takes.

        Raises:
            UnfreezableError: something in it cannot be frozen.
            MemoryError: out of memory, address space or mappings.
        """
        with pmalloc.Pool(f"{self._test} #{next(_numbers)}") as pool:
            frozen: T = pool.freeze(obj)
        self._pools.append(pool)
        return frozen

    def finish(self) -> None:
        """The test is over: its pools may go, when nothing refers to their objects."""
        _waiting.extend(self._pools)
        self._pools.clear()
        reserved = sum(pool.stats()["reserved_bytes"] for pool in _waiting)
        if len(_waiting) > _POOLS_THAT_WAIT or reserved > _BYTES_THAT_WAIT:
            sweep()


def sweep() -> int:
    """Destroys the pools of past tests that nothing refers to; answers how many.

    Those that something refers to stay for the life of the process.
    """
    gc.collect()
    destroyed = 0
    while _waiting:
        pool = _waiting.pop()
        with contextlib.suppress(BufferError, OSError, pmalloc.PmallocError):
            if not pool.references(limit=1):
                pool.destroy(force=True)
                destroyed += 1
    return destroyed


# ---- the option ----

_FOLDERS = tuple(
    f'  File "{Path(module.__file__ or "?").parent}{os.sep}' for module in (_pytest, pluggy)
)


def _without_pytest(report: str) -> str:
    """The report, without the thirty frames of Python that are the same in every test."""
    lines = (line for line in report.splitlines() if not line.startswith(_FOLDERS))
    return "\n".join(lines)


class Watch:
    """Fails what wrote to protected memory. Registered under `audit` and `warn`."""

    def __init__(self) -> None:
        self._seen: list[int] = []  # writes of each writer, in the order of the log
        self._dropped = 0
        self._outside: list[str] = []

    def _news(self) -> str:
        """What was written since the last call, with the report of each new writer; "": nothing."""
        told: list[str] = []
        for number, record in enumerate(_violations.all_writers()):
            if number == len(self._seen):
                self._seen.append(0)
            if new := record.count - self._seen[number]:
                told.append(str(dataclasses.replace(record, count=new)))
                if not self._seen[number] and record.report:
                    told.append(_without_pytest(record.report))
                self._seen[number] = record.count
        dropped = sum(pool.stats()["violations_dropped"] for pool in pmalloc.pools())
        if dropped > self._dropped and not told:
            told.append("writes to protected memory, and the log of violations is full")
        self._dropped = dropped
        return "\n".join(told)

    def _flush(self) -> None:
        if text := self._news():
            self._outside.append(text)

    def _phase(self, item: pytest.Item, when: str) -> Generator[None, Any, Any]:
        self._flush()
        try:
            result = yield
        except (KeyboardInterrupt, pytest.exit.Exception):
            raise
        except pytest.skip.Exception:
            if text := self._news():
                raise pytest.fail.Exception(text, pytrace=False) from None
            raise
        except BaseException:
            if text := self._news():
                item.add_report_section(when, "pmalloc", text)
            raise
        if text := self._news():
            pytest.fail(text, pytrace=False)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Fixtures, before the test."""
        return (yield from self._phase(item, "setup"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """The test."""
        return (yield from self._phase(item, "call"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Fixtures, after the test."""
        return (yield from self._phase(item, "teardown"))

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self,
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """A module of tests that writes while it is imported is an error of collection."""
        self._flush()
        report = yield
        if text := self._news():
            if report.passed:
                report.outcome = "failed"
                report.longrepr = text
            else:
                report.sections.append(("pmalloc", text))
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """What no test did fails the run, too."""
        self._flush()
        if self._outside and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Shows what no test did."""
        if self._outside:
            terminalreporter.section("writes to protected memory outside of tests", red=True)
            for text in self._outside:
                terminalreporter.line(text)
