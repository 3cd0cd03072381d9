"""Installs the violation handler, with faulthandler for the Python stack.

The report of a violation shows the Python stack of the thread that made it. The
only public means to print one from a signal handler is ``faulthandler.register``:
it is registered for a real-time signal nobody uses, and the SIGSEGV handler sends
that signal to its own thread.
"""

import faulthandler
import signal

from . import _core

_STDERR = 2
_stack_signal = 0


def _free_signal() -> int:
    """A real-time signal with its default action; 0 where all are taken."""
    for number in range(signal.SIGRTMAX - 3, signal.SIGRTMIN, -1):
        if signal.getsignal(number) is signal.SIG_DFL:
            return number
    return 0


def install() -> None:
    """Puts the handler on top of any that was installed since; cheap.

    Raises:
        OSError: the kernel refused to install a signal handler.
    """
    global _stack_signal
    if not _stack_signal:
        _stack_signal = _free_signal()
        if _stack_signal:
            faulthandler.register(_stack_signal, file=_STDERR, all_threads=False, chain=False)
    _core.install_handler(_stack_signal)
