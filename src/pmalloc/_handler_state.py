"""Who gets SIGSEGV in this process, and what would keep a report from coming."""

import os
import signal
import warnings

from . import _core, _watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._core import CoreHandlerState

    class HandlerState(CoreHandlerState):
        """See state()."""

        blocked_threads: list[tuple[int, str]]
        watching: bool


_HERE = os.path.dirname(__file__) + os.sep  # noqa: PTH120 - pathlib is heavy to import


def warn_if_blocked() -> None:
    """Warns where this thread has SIGSEGV blocked: nobody would be called. Cheap."""
    if _core.segv_blocked():
        warnings.warn(
            "SIGSEGV is blocked in this thread: should it write to protected memory, the process "
            "dies without a report; unblock it: "
            "signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGSEGV})",
            RuntimeWarning,
            skip_file_prefixes=(_HERE,),
        )


def _blocked_threads() -> list[tuple[int, str]]:
    """Number and name of each thread that has SIGSEGV blocked; none where /proc is away."""
    found: list[tuple[int, str]] = []
    try:
        threads = sorted(map(int, os.listdir("/proc/self/task")))  # noqa: PTH208 - the same
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/self/task/{thread}/status", errors="replace") as f:  # noqa: PTH123
                fields = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        except OSError:
            continue  # it ended in the meantime
        if int(fields.get("SigBlk", "0"), 16) >> (signal.SIGSEGV - 1) & 1:
            found.append((thread, fields.get("Name", "")))
    return found


def state() -> "HandlerState":
    """Who gets SIGSEGV in this process, and what could keep it from us.

    Returns:
        A dict. ``top``: the handler that the kernel calls, "pmalloc", "default", "ignored" or
        library+offset (function); ``on_top``: whether that is ours; ``below``: those we pass on
        to, newest first; ``blocked``: SIGSEGV is, in this thread; ``blocked_threads``: number and
        name of all threads where it is; ``stack``: bytes of this thread's alternate stack, 0 where
        it has none; ``stack_needed``: what such a stack must have for a report; ``watching``:
        whether signal.signal() would be noticed.
    """
    return {
        **_core.handler_state(),
        "blocked_threads": _blocked_threads(),
        "watching": _watch.is_watching(),
    }
