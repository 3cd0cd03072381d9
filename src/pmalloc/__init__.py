"""Protectable memory for Python processes.

Data that is written while a program starts and must not change afterwards goes
into pages of its own, and the MMU makes them read-only: raw memory and live
Python objects. ::

    import pmalloc

    CONFIG = pmalloc.freeze(load_config(), name="config")
    CONFIG["db"]["host"]          # read as any dict, from any worker, uncopied
    CONFIG["db"]["host"] = "x"    # TypeError; from C: SIGSEGV, with a report

After the Linux kernel's protectable memory allocator (smalloc, then pmalloc,
2017-2018) and ``__ro_after_init``.
"""

from ._classes import register
from ._core import Allocation, FrozenDict, FrozenInstance, FrozenList, FrozenSet, SharedPool
from ._errors import (
    CorruptionError,
    DestroyedError,
    PmallocError,
    ProtectedError,
    SealedError,
    UnfreezableError,
)
from ._library import get_include, get_library_dir
from ._objects import freeze, is_protected, root, thaw
from ._pools import Pool, global_pool, pool_of, pools
from ._preview import Preview, preview
from ._references import Reference
from ._shared import open_shared
from ._usercopy import check_object_size
from ._violations import Frame, ProtectionWarning, Violation, Write, violations

__version__ = "0.1.0"

__all__ = [
    "Allocation",
    "CorruptionError",
    "DestroyedError",
    "Frame",
    "FrozenDict",
    "FrozenInstance",
    "FrozenList",
    "FrozenSet",
    "PmallocError",
    "Pool",
    "Preview",
    "ProtectedError",
    "ProtectionWarning",
    "Reference",
    "SealedError",
    "SharedPool",
    "UnfreezableError",
    "Violation",
    "Write",
    "check_object_size",
    "freeze",
    "get_include",
    "get_library_dir",
    "global_pool",
    "is_protected",
    "open_shared",
    "pool_of",
    "pools",
    "preview",
    "register",
    "root",
    "thaw",
    "violations",
]
