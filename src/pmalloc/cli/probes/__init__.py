"""What this machine allows: each thing is tried, in a child of its own, not looked up.

A version number says little: distributions leave features out, and sandboxes forbid them.
"""

from __future__ import annotations

from collections.abc import Callable

from . import memory, process, python, rare_write, signals
from .finding import BROKEN, MISSING, NOTE, OK, Finding

PROBES: tuple[Callable[[], Finding], ...] = (
    *(python.version, python.environment),
    *(memory.protect, memory.seal, memory.immutable),
    *(signals.report, signals.alternate_stack, signals.other_handlers, signals.mask),
    *(signals.warn, signals.audit, memory.proc_mem, signals.single_step),
    *(rare_write.private, rare_write.memfd, rare_write.window, rare_write.key),
    *(memory.guards, memory.mappings, memory.huge_pages, memory.names, memory.vm_readv),
    *(process.address_space, process.core_dumps, process.debugger, process.ptrace),
    *(process.sandbox, process.emulation, process.preloads, process.cpu),
    *(memory.io_uring, python.start_method),
)

__all__ = ["BROKEN", "MISSING", "NOTE", "OK", "PROBES", "Finding", "run"]


def run() -> list[Finding]:
    """All of them, in the order of their weight."""
    return [probe() for probe in PROBES]
