"""Installs the violation handler, with faulthandler for the Python stack.

The report of a violation shows the Python stack of the thread that made it. The
only public means to print one from a signal handler is ``faulthandler.register``:
it is registered for a real-time signal nobody uses, and the SIGSEGV handler sends
that signal to its own thread. What faulthandler prints goes to a descriptor of our
own, which the handler lets stand for a pipe that it reads: the report on stderr wants
the stack, and the one in JSON, the log and a warning do.
"""

from __future__ import annotations

import faulthandler
import os
import signal

from . import _core, _watch

_OFF_ONLY = 1 << 4  # PMALLOC_OFF
_stack_signal = 0
_stack_fd = -1
_stack_file = (0, 0)  # device and inode: the number may be closed, and become another file


def free_signal() -> int:
    """A real-time signal with its default action; 0 where all are taken."""
    for number in range(signal.SIGRTMAX - 3, signal.SIGRTMIN, -1):
        if signal.getsignal(number) is signal.SIG_DFL and number != _stack_signal:
            return number
    return 0


def _is_open() -> bool:
    try:
        status = os.fstat(_stack_fd)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == _stack_file


def _register() -> None:
    """Lets faulthandler answer the signal, through a pipe that nobody reads yet."""
    global _stack_signal, _stack_fd, _stack_file
    _stack_signal = _stack_signal or free_signal()
    if not _stack_signal:
        return
    try:
        reader, _stack_fd = os.pipe()
    except OSError:  # no descriptor is left: reports come without this stack
        _stack_fd = -1
        return
    os.close(reader)
    status = os.fstat(_stack_fd)
    _stack_file = (status.st_dev, status.st_ino)
    faulthandler.register(_stack_signal, file=_stack_fd, all_threads=False, chain=False)


def install() -> bool:
    """Puts the handler on top of any that was installed since; cheap.

    Returns:
        False where nothing is installed, since no pool wants it: all are ``off``.

    Raises:
        OSError: the kernel refused to install a signal handler.
    """
    if _core.policies_in_use() == _OFF_ONLY:
        return False
    if not _is_open():
        _register()
    _core.install_handler(_stack_signal, _stack_fd)
    _watch.start(install)
    return True
