"""The audit trail of rare writes."""

from __future__ import annotations

import os
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING, Literal

from . import _core

if TYPE_CHECKING:
    import logging


_LOGGER = "pmalloc.rare_write"
_INFO = 20  # logging.INFO, without logging
_SHOWN = 16  # ranges of bytes in one line

# Offset, length, and the first bytes of each, before and after.
type Change = tuple[int, int, bytes, bytes]

_PASSED = (os.path.dirname(__file__) + os.sep, os.path.dirname(os.__file__) + "/contextlib.py")  # noqa: PTH120
_sink: _Sink | None = None


def _caller() -> FrameType:
    """The innermost frame that is neither pmalloc's nor contextlib's."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(_PASSED) and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _name_of(target: object, offset: int) -> str:
    """What lies at that offset of a target: Switches.limit, or the type."""
    cls = type(target)
    if isinstance(target, _core.Record):
        at = offset + cls.__basicsize__
        for base in cls.__mro__:
            for name, field in vars(base).items():
                if isinstance(field, _core.Field) and 0 <= at - field.offset < field.size:
                    return f"{cls.__name__}.{name}"
    return cls.__name__


class _Sink:
    def __init__(self, logger: logging.Logger, level: int) -> None:
        self.logger = logger
        self.level = level

    def write(
        self, what: str, pool: str, address: int, stored: int, n_changes: int, changes: list[Change]
    ) -> None:
        if not self.logger.isEnabledFor(self.level):
            return
        frame = _caller()
        code, line = frame.f_code, frame.f_lineno or 0
        parts = [
            f"+{offset}: {old.hex(' ')}{'...' * (n > len(old))} -> "
            f"{new.hex(' ')}{'...' * (n > len(new))}"
            for offset, n, old, new in changes[:_SHOWN]
        ]
        if n_changes > len(parts):
            parts.append(f"and {n_changes - len(parts)} more")
        record = self.logger.makeRecord(
            self.logger.name,
            self.level,
            code.co_filename,
            line,
            "pool '%s': %d byte%s of %s at 0x%x, by %s at %s:%d: %s",
            (
                *(pool, stored, "" if stored == 1 else "s", what, address),
                *(threading.current_thread().name, code.co_filename, line, "; ".join(parts)),
            ),
            None,
            code.co_name,
            {
                "pmalloc_pool": pool,
                "pmalloc_target": what,
                "pmalloc_address": address,
                "pmalloc_bytes": stored,
                "pmalloc_changes": changes,
            },
        )
        self.logger.handle(record)

    def committed(
        self,
        target: object,
        pool: str,
        address: int,
        stored: int,
        n_changes: int,
        changes: list[Change],
    ) -> None:
        """What the extension calls after a block of rare_write()."""
        names = dict.fromkeys(_name_of(target, change[0]) for change in changes)
        self.write(", ".join(names), pool, address, stored, n_changes, changes)


def note(pool: str, address: int, what: str, before: bytes, after: bytes) -> None:
    """A rare write that was none of rare_write()'s: a Cell's pointer."""
    if _sink is not None:
        stored = sum(old != new for old, new in zip(before, after, strict=True))
        _sink.write(what, pool, address, stored, 1, [(0, len(after), before, after)])


def log_rare_writes(
    logger: logging.Logger | str | Literal[False] | None = None, level: int = _INFO
) -> None:
    """Logs every rare write of Python code from now on: who, where, and which bytes.

    One line for each block of `rare_write` that changed something, and for each publish of a
    `Cell`, after it was stored::

        pool 'flags': 2 bytes of Switches.limit at 0x7f5a12c3c018, by MainThread at app.py:12: \
+4: 64 00 -> f4 01

    The record's `pathname` and `lineno` are those of the with-statement; `pmalloc_pool`,
    `pmalloc_target`, `pmalloc_address` (of the target's first byte), `pmalloc_bytes` (how many
    changed) and `pmalloc_changes`, a list of (offset, length, before, after), are attributes of it.
    At most 64 ranges are told of, with 64 bytes each; the line shows 16 ranges. Secrets that are
    written so are in the log. Rare writes of C code are not logged; ``pool.stats()`` counts them.

    An exception of a handler does not undo the write; it goes to `sys.unraisablehook`. Switched
    off, as at first, it costs nothing.

    Args:
        logger: a Logger or the name of one; None: "pmalloc.rare_write". False: log no more.
        level: of the records; logging.INFO.
    """
    global _sink
    if logger is False:
        _sink = None
        _core.set_rare_log(None)
        return
    import logging

    if logger is None or isinstance(logger, str):
        logger = logging.getLogger(logger or _LOGGER)
    _sink = _Sink(logger, level)
    _core.set_rare_log(_sink.committed)
