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
from ._objects import freeze, is_protected, root, thaw
from ._pools import Pool, global_pool, pool_of, pools
from ._shared import open_shared
from ._usercopy import check_object_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._cell import Cell, CellVersion
    from ._library import get_include, get_library_dir
    from ._preview import Preview, preview
    from ._references import Reference
    from ._violations import Frame, ProtectionWarning, Violation, Write, violations

__version__ = "0.1.0"

__all__ = [
    "Allocation",
    "Cell",
    "CellVersion",
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

# Of what most programs never ask for, the modules are loaded when somebody does: they, and what
# they take of the standard library, would be half of what importing pmalloc costs.
_LATER = {
    "Cell": "_cell",
    "CellVersion": "_cell",
    "Frame": "_violations",
    "Preview": "_preview",
    "ProtectionWarning": "_violations",
    "Reference": "_references",
    "Violation": "_violations",
    "Write": "_violations",
    "get_include": "_library",
    "get_library_dir": "_library",
    "preview": "_preview",
    "violations": "_violations",
}

if not TYPE_CHECKING:  # a checker would take it that every name is there

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        found = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
