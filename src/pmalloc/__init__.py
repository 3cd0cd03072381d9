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
from ._core import (
    Allocation,
    FrozenDict,
    FrozenInstance,
    FrozenList,
    FrozenSet,
    SharedPool,
    rare_write,
)
from ._errors import (
    CorruptionError,
    DestroyedError,
    InitError,
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
    from ._init import (
        after_mark_rodata_ro,
        before_mark_rodata_ro,
        init,
        late_init,
        mark_rodata_ro,
        ro_after_init,
    )
    from ._init_phase import InitPhase
    from ._init_report import InitFailures, InitReport
    from ._library import get_include, get_library_dir, get_link_args, get_linker_script
    from ._preview import Preview, preview
    from ._rare import log_rare_writes
    from ._record import Record, f32, f64, i8, i16, i32, i64, size, u8, u16, u32, u64
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
    "InitError",
    "InitFailures",
    "InitPhase",
    "InitReport",
    "PmallocError",
    "Pool",
    "Preview",
    "ProtectedError",
    "ProtectionWarning",
    "Record",
    "Reference",
    "SealedError",
    "SharedPool",
    "UnfreezableError",
    "Violation",
    "Write",
    "after_mark_rodata_ro",
    "before_mark_rodata_ro",
    "check_object_size",
    "f32",
    "f64",
    "freeze",
    "get_include",
    "get_library_dir",
    "get_link_args",
    "get_linker_script",
    "global_pool",
    "i8",
    "i16",
    "i32",
    "i64",
    "init",
    "is_protected",
    "late_init",
    "log_rare_writes",
    "mark_rodata_ro",
    "open_shared",
    "pool_of",
    "pools",
    "preview",
    "rare_write",
    "register",
    "ro_after_init",
    "root",
    "size",
    "thaw",
    "u8",
    "u16",
    "u32",
    "u64",
    "violations",
]

# Of what most programs never ask for, the modules are loaded when somebody does: they, and what
# they take of the standard library, would be half of what importing pmalloc costs.
_LATER = {
    "Cell": "_cell",
    "CellVersion": "_cell",
    "Frame": "_violations",
    "InitFailures": "_init_report",
    "InitPhase": "_init_phase",
    "InitReport": "_init_report",
    "Preview": "_preview",
    "ProtectionWarning": "_violations",
    "Record": "_record",
    "Reference": "_references",
    "Violation": "_violations",
    "Write": "_violations",
    "after_mark_rodata_ro": "_init",
    "before_mark_rodata_ro": "_init",
    "get_include": "_library",
    "get_library_dir": "_library",
    "get_link_args": "_library",
    "get_linker_script": "_library",
    "init": "_init",
    "late_init": "_init",
    "log_rare_writes": "_rare",
    "mark_rodata_ro": "_init",
    "preview": "_preview",
    "ro_after_init": "_init",
    "size": "_record",
    "violations": "_violations",
    **dict.fromkeys(("f32", "f64"), "_record"),
    **dict.fromkeys(("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"), "_record"),
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
