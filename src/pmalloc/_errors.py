"""The exceptions of the package, all below PmallocError."""

from ._core import (
    CorruptionError,
    DestroyedError,
    PmallocError,
    ProtectedError,
    SealedError,
    UnfreezableError,
)

__all__ = [
    "CorruptionError",
    "DestroyedError",
    "InitError",
    "PmallocError",
    "ProtectedError",
    "SealedError",
    "UnfreezableError",
]


class InitError(PmallocError):
    """Something that belongs to init, after its end; or an end of init that is refused.

    An init function was called, data or a function registered, after `mark_rodata_ro`. Or that
    was called with `strict`, and something stood against it; or where it can't be called: by a
    hook of its own, or while the interpreter is finalised.
    """


InitError.__module__ = "pmalloc"
