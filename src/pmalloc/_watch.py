"""Sees ``signal.signal(SIGSEGV, ...)`` after us, so that no violation ends in an endless loop.

CPython's own handler only notes the signal and returns, and the store that faulted is tried
again, for ever. It comes to stand above ours by one road: ``signal.signal``, which raises no audit
event. So we ask ``sys.monitoring`` (PEP 669) to be told when the code of that one function
returns, and then put our handler back on top; the new one is called after the report. Nothing is
patched, other code runs as fast as before, and a call of signal.signal costs one system call more.

What was weighed besides:

- a wrapper in the place of ``signal.signal``: changes a module of somebody else, and who has done
  ``from signal import signal`` does not see it;
- an audit hook that looks at every event: a system call for each, and the gap remains;
- a CPU-time timer whose signal looks who is on top: ends a loop, but interrupts other people's
  system calls, is lost in forked children, and comes too late for handlers that end the process;
- a handler that is made to hand over by patching the linker's tables: not with full RELRO.

What this does not see: ``_signal.signal`` called by its private name, ``faulthandler.disable()``,
and C libraries. Pool(), protect(), freeze() and open_shared() look at those, each time.
"""

import signal
import sys
from collections.abc import Callable
from types import CodeType

_NAME = "pmalloc"
_FREE = (4, 3, 5, 0, 1, 2)  # those with a use of their own in sys.monitoring come last

_watching = False


def start(install: Callable[[], object]) -> bool:
    """From now on the handler is put back on top after each signal.signal().

    Args:
        install: does that.

    Returns:
        Whether that works: not where other tools took all six places of sys.monitoring, or
        somebody put something in the place of signal.signal that is not written in Python.
    """
    global _watching
    if _watching:
        return True
    code = getattr(signal.signal, "__code__", None)
    if not isinstance(code, CodeType):
        return False

    def returned(code: CodeType, offset: int, value: object) -> None:
        del code, offset, value
        install()

    monitoring = sys.monitoring
    for tool in _FREE:
        if monitoring.get_tool(tool) is None:
            monitoring.use_tool_id(tool, _NAME)
            event = monitoring.events.PY_RETURN
            monitoring.register_callback(tool, event, returned)
            monitoring.set_local_events(tool, code, event)
            _watching = True
            break
    return _watching


def is_watching() -> bool:
    """Whether the last start() worked."""
    return _watching
