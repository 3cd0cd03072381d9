"""check_object_size, for code that copies by address and length."""

from __future__ import annotations

from collections.abc import Buffer
from typing import Literal

from . import _core


def check_object_size(
    obj: int | Buffer, size: int | None = None, /
) -> Literal["not ours", "good", "bad"]:
    """Says of `size` bytes whether they lie within one allocation or one frozen object.

    For code that is about to copy by address and length: an overflow is found before
    it happens. Every buffer that an `Allocation` exports is checked so.

    Args:
        obj: an address, or an object with the buffer protocol: then its first byte counts.
        size: bytes; of a buffer its own length where it is left out.

    Returns:
        ``"good"``: all of them are within one allocation, as large as it was asked for, or
        within one frozen object. ``"bad"``: they cross an end, or lie in free space, in a guard
        page, in metadata or in a destroyed pool. ``"not ours"``: no pool's memory; nothing is
        known of it.

    Raises:
        TypeError: neither an address nor a buffer; an address without a size.
        ValueError, OverflowError: a size or an address that cannot be one.

    Idea: ``check_object_size()`` of the Linux kernel's hardened usercopy (2016), after PaX.
    """
    return _core.check_object_size(obj, size)
