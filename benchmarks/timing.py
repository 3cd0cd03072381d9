"""Interleaved measurement: medians, and code that is specialised for one operand only."""

from __future__ import annotations

import ctypes
import gc
import mmap
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from statistics import median
from time import perf_counter
from typing import Any, Self

Timed = Callable[[], object]


@contextmanager
def collector_off() -> Iterator[None]:
    """The garbage collector would run at random, in whoever allocates next."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def own_copy(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function with a code object, and globals, of its own.

    The interpreter specialises bytecode in place for the types it meets. Were one
    function called with a dict and a FrozenDict in turn, both would run code that
    was specialised for the other, or for neither. A copy made by `code.replace()`
    starts unspecialised, and meets one kind of operand only, as in a program.
    Its globals are its own so that a recursive call finds the copy.
    """
    assert isinstance(function, types.FunctionType)
    namespace = dict(function.__globals__)
    copy = types.FunctionType(
        function.__code__.replace(),
        namespace,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    namespace[function.__name__] = copy
    return copy


def seconds(call: Timed) -> float:
    """The time of one call; what it returns is dropped after the clock stopped."""
    start = perf_counter()
    result = call()
    elapsed = perf_counter() - start
    del result
    return elapsed


def interleaved(calls: dict[str, Timed], rounds: int) -> dict[str, float]:
    """Median seconds of each call. Every round runs all, in turning order."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    with collector_off():
        for turn in range(rounds):
            shift = turn % len(names)
            for name in names[shift:] + names[:shift]:
                samples[name].append(seconds(calls[name]))
    return {name: median(of) for name, of in samples.items()}


def adjusted(call: Timed, target: float) -> tuple[Timed, int]:
    """The call, repeated as often as takes about `target` seconds, and how often that is."""
    call()
    once = max(min(seconds(call) for _ in range(2)), 1e-7)
    times = max(1, round(target / once))
    if times == 1:
        return call, 1

    def repeated() -> None:
        for _ in range(times):
            call()

    return repeated, times


class Supply:
    """Free memory that the machine really has, the same for everyone.

    A virtual machine gives free memory back to its host, and the next touch of it
    costs ten times as much. Who takes new pages after a while would pay for that, and
    whose allocator keeps old ones would not. So this holds pages in pairs of huge
    pages, and right before each measurement gives back one of each pair: what
    the kernel hands out next is what was used a moment ago.
    """

    HUGE = 2 << 20

    def __init__(self, size: int) -> None:
        pairs = size // self.HUGE
        self._pages = mmap.mmap(-1, (2 * pairs + 1) * self.HUGE, flags=mmap.MAP_PRIVATE)
        with suppress(OSError):  # a kernel without huge pages
            self._pages.madvise(mmap.MADV_HUGEPAGE)
        here = ctypes.c_char.from_buffer(self._pages)
        start = -ctypes.addressof(here) % self.HUGE
        del here
        self._ours = [start + 2 * n * self.HUGE for n in range(pairs)]
        for offset in self._ours:
            self._touch(offset + self.HUGE)

    def _touch(self, offset: int) -> None:
        for page in range(offset, offset + self.HUGE, mmap.PAGESIZE):
            self._pages[page] = 1

    def renew(self) -> None:
        """Frees what was held for the next measurement; collects garbage first."""
        gc.collect()
        for offset in self._ours:
            self._touch(offset)
        for offset in self._ours:
            self._pages.madvise(mmap.MADV_DONTNEED, offset, self.HUGE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pages.close()
