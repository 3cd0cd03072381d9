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
    "PmallocError",
    "ProtectedError",
    "SealedError",
    "UnfreezableError",
]
