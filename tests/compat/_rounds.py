"""What the compat tests share: the data, plain and frozen, and the rounds that read it.

A compat test is a function that lets a library loose on data and returns what came of it:

    @rounds
    def test_dumps(d):
        return orjson.dumps(d.config)

It runs in a forked child: once on plain data, for the answer, then 20,000 times on frozen data in
a protected pool, where a store by the library kills the child. PMALLOC_COMPAT_ROUNDS says otherwise
how often. The answers have to be equal. What a library starts (threads, worker pools) dies with
the child.

`apart` gives the plain data a child of its own, for libraries that are set up once a process.
Where an operation is dear, `count` is smaller and a comment says how many frozen objects a round
reads. `answer` turns a result into something that `==` compares, once at the end. An extension
that writes reference counts of frozen objects is let pass and named in a warning: only where
`counts`, a part of its file's name, says so is that expected.
"""

import functools
import os
import pickle
import re
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from _data import FROZEN, PLAIN  # (the tests import them from here)
from child import in_child

FULL = 20_000
# `make matrix` has fewer of them on every Python: the libraries are what takes the time.
ROUNDS = int(os.environ.get("PMALLOC_COMPAT_ROUNDS", FULL))
WARNING = re.compile(r"^pmalloc: (\S+) writes reference counts of frozen objects", re.MULTILINE)


def with_stderr(work: Callable[[], object]) -> str:
    """Runs work() in a forked child that must end well; what it wrote to stderr."""
    with tempfile.TemporaryFile() as file:

        def redirected() -> None:
            os.dup2(file.fileno(), 2)
            work()

        try:
            with warnings.catch_warnings():
                # A library's idle threads (OpenBLAS has some) hold no lock that a child wants.
                warnings.simplefilter("ignore", DeprecationWarning)
                in_child(redirected)
        except AssertionError as error:
            file.seek(0)
            raise AssertionError(
                f"{error}\nstderr:\n{file.read().decode(errors='replace')}"
            ) from None
        file.seek(0)
        return file.read().decode(errors="replace")


def of_child(work: Callable[[], Any]) -> Any:
    """What work() returns in a forked child."""
    with tempfile.TemporaryFile() as file:

        def kept() -> None:
            pickle.dump(work(), file)
            file.flush()

        with_stderr(kept)
        file.seek(0)
        return pickle.load(file)


def rounds(
    group: Callable[[Any], Any] | None = None,
    *,
    count: int = FULL,
    answer: Callable[[Any], Any] = lambda result: result,
    counts: str | None = None,
    apart: bool = False,
) -> Any:
    """A test that runs group(d) on plain and on frozen data."""
    if group is None:
        return functools.partial(rounds, count=count, answer=answer, counts=counts, apart=apart)

    def test() -> None:
        before = [of_child(lambda: answer(group(PLAIN)))] if apart else []

        def work() -> None:
            expected = before[0] if apart else answer(group(PLAIN))
            result = None
            for _ in range(max(1, count * ROUNDS // FULL)):
                result = group(FROZEN)
            result = answer(result)
            assert result == expected, f"{result!r} for frozen data, {expected!r} for plain data"

        named = WARNING.findall(with_stderr(work))
        assert named == [] or (counts and len(named) == 1 and counts in named[0]), (
            f"{named} write reference counts"
        )

    test.__name__ = test.__qualname__ = group.__name__
    test.__doc__ = group.__doc__
    test.__module__ = group.__module__
    return test


def refused(group: Callable[[Any], Any], error: type[Exception], message: str) -> None:
    """Every one of the rounds on frozen data ends in this error; on plain data none does."""

    def work() -> None:
        group(PLAIN)
        for _ in range(ROUNDS):
            with pytest.raises(error, match=message):
                group(FROZEN)

    with_stderr(work)
