"""Remembers where and when pools were created and protected, for the report of a violation."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    from ._core import SharedPool
    from ._pools import Pool

_HERE = os.path.dirname(__file__) + os.sep  # noqa: PTH120 - pathlib is heavy to import
_LONG_LINE = 2**32 - 1


def _caller() -> tuple[bytes, int]:
    """File and line of the innermost frame that is not pmalloc's."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename.startswith(_HERE) and frame.f_back is not None:
        frame = frame.f_back
    name = frame.f_code.co_filename.split("\0", 1)[0]
    return name.encode("utf-8", "backslashreplace"), min(frame.f_lineno or 0, _LONG_LINE)


def created(pool: Pool | SharedPool) -> None:
    """The pool was created just now; one of another process, opened."""
    _core.note_origin(pool._id, 0, *_caller(), time.time_ns())


def protected(pool: Pool) -> None:
    """The pool was protected just now."""
    _core.note_origin(pool._id, 1, *_caller(), time.time_ns())


def destroyed(pool: Pool) -> None:
    """What is known of the pool is kept until its place is needed."""
    _core.expire_origin(pool._id)
