"""The public API as a type checker sees it. Checked, never run."""

import array
import ctypes
import logging
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, assert_type

import pmalloc


class Limits(ctypes.Structure):
    """Of two numbers."""

    _fields_: ClassVar = [("least", ctypes.c_int), ("most", ctypes.c_int)]


def pools() -> None:
    pool = pmalloc.Pool("rates", chunk_size=1 << 20)
    assert_type(pool, pmalloc.Pool)
    assert_type(pool.name, str)
    assert_type(pool.state, Literal["open", "protected", "sealed", "immutable", "destroyed"])

    allocation = pool.alloc(100, align=64)
    assert_type(allocation, pmalloc.Allocation)
    assert_type(allocation.address, int)
    assert_type(allocation.size, int)
    assert_type(allocation.pool, pmalloc.Pool)
    assert_type(allocation.freed, bool)
    assert_type(len(allocation), int)
    with memoryview(allocation) as view:
        view[0] = 1
    assert_type(bytes(allocation), bytes)

    assert_type(allocation.shared_index, int | None)
    assert_type(pool.copy(b"bytes"), pmalloc.Allocation)
    assert_type(pool.array(100, 8), pmalloc.Allocation)
    assert_type(pool.array("d", [1.5]), memoryview[Any])
    assert_type(pool.array(array.array("i", [1])), memoryview[Any])
    assert_type(pool.struct(Limits, 1, most=2), Limits)
    with pool.numpy() as same:
        assert_type(same, pmalloc.Pool)

    assert_type(
        pmalloc.check_object_size(allocation.address, 8), Literal["not ours", "good", "bad"]
    )
    assert_type(pmalloc.check_object_size(b"buffer"), Literal["not ours", "good", "bad"])
    guarded = pmalloc.Pool("guarded", redzones=True, hardened=False)
    assert_type(guarded.check(), None)
    assert_type(guarded.references(10), list[pmalloc.Reference])
    assert_type(guarded.ndarray((2, 3), "f8", order="F").nbytes, int)
    assert_type(guarded.copy_array(guarded.ndarray(3)).nbytes, int)

    assert_type(pool.prealloc(1 << 16), None)
    assert_type(pool.free(allocation), None)
    assert_type(pool.freeze({"a": [1]}), pmalloc.FrozenDict[str, list[int]])
    assert_type(pool.protect(revoke=True), None)
    used: object = pool.stats()["used_bytes"]
    assert_type(pmalloc.get_include(), str)
    assert_type(pmalloc.get_library_dir(), str)
    assert_type(pmalloc.get_link_args(), list[str])
    assert_type(pmalloc.get_linker_script(), str)
    print(used, pool.root)
    assert_type(pool.destroy(force=True), None)

    with pmalloc.Pool("table") as table:
        assert_type(table, pmalloc.Pool)
    assert_type(pmalloc.global_pool(), pmalloc.Pool)
    pmalloc.Pool("plans").protect(seal=True)


def cells() -> None:
    cell = pmalloc.Cell({"hosts": ["a", "b"]}, name="cell", seal=False, on_violation="oops")
    assert_type(cell, pmalloc.Cell[dict[str, list[str]]])
    assert_type(cell.get(), dict[str, list[str]])
    assert_type(cell.get_versioned(), tuple[int, dict[str, list[str]]])
    assert_type(cell.version, int)
    assert_type(cell.name, str)
    changed = dict(cell.get())
    changed["hosts"] = ["c"]
    assert_type(cell.publish(changed), int)
    assert_type(cell.publish(cell.get(), compact=True), int)
    assert_type(cell.versions(), list[pmalloc.CellVersion])
    assert_type(cell.versions()[0].shares_with, tuple[int, ...])
    assert_type(cell.retire(1), None)
    assert_type(cell.retire(2, force=True), None)

    @cell.on_publish
    def tell(which: pmalloc.Cell[dict[str, list[str]]], old: int, new: int) -> None:
        print(which.get(), old, new)

    cell.remove_on_publish(tell)
    optional: pmalloc.Cell[int | None] = pmalloc.Cell(None, externals=(Path,))
    assert_type(optional.get(), int | None)
    optional.publish(3)


def shared() -> None:
    pool = pmalloc.Pool("weights", backing="memfd")
    pool.protect(immutable=True)
    assert_type(pool.fileno(), int)
    for fd in (pool, pool.fileno()):
        weights = pmalloc.open_shared(fd, verify=False, seal=False)
        assert_type(weights, pmalloc.SharedPool)
    weights = pmalloc.open_shared(pool)
    assert_type(weights.name, str)
    assert_type(weights.nbytes, int)
    assert_type(weights.sealed, bool)
    assert_type(weights.closed, bool)
    assert_type(weights.views, tuple[memoryview, ...])
    assert_type(weights[0], memoryview)
    assert_type(len(weights), int)
    for view in weights:
        assert_type(view, memoryview)
    assert_type(weights.close(), None)


def frozen() -> None:
    config = pmalloc.freeze({"hosts": ["a", "b"]}, name="config")
    assert_type(config, pmalloc.FrozenDict[str, list[str]])
    assert_type(config["hosts"], list[str])
    as_dict: dict[str, list[str]] = config

    assert_type(pmalloc.freeze([1, 2]), pmalloc.FrozenList[int])
    as_list: list[int] = pmalloc.freeze([1, 2])
    assert_type(pmalloc.freeze({1, 2}), pmalloc.FrozenSet[int])
    as_set: frozenset[int] = pmalloc.freeze({1, 2})
    assert_type(pmalloc.freeze(frozenset({1})), frozenset[int])
    pair: tuple[int, str] = pmalloc.freeze((1, "a"))
    # Frozen already: the same object, the same type.
    assert_type(pmalloc.freeze(config), pmalloc.FrozenDict[str, list[str]])

    assert_type(pmalloc.thaw(config), dict[str, list[str]])
    assert_type(pmalloc.thaw(pmalloc.freeze([1])), list[int])
    assert_type(pmalloc.thaw(pmalloc.freeze({1})), set[int])
    assert_type(pmalloc.is_protected(config), bool)
    assert_type(pmalloc.pool_of(config), pmalloc.Pool | None)
    assert_type(pmalloc.pools(), list[pmalloc.Pool])
    print(pmalloc.root("config"), as_dict, as_list, as_set, pair)


class Route:
    path = "/"


def instances() -> None:
    route = pmalloc.freeze(Route(), name="route", externals=(Path,), seal=True)
    assert_type(route, Route)
    assert_type(pmalloc.thaw(route), Route)
    print(isinstance(route, pmalloc.FrozenInstance))
    assert_type(pmalloc.register(Route, omit=("path",)), None)
    pmalloc.register(Route, replace=lambda route: route.path)
    pmalloc.register(Route, external=True)
    told = pmalloc.preview(route, externals=Path, limit=5)
    assert_type(told, pmalloc.Preview)
    assert_type(told.freezes, bool)
    assert_type(told.saved_per_worker, int)
    assert_type([found.path for found in told.refused], list[str])


def references() -> None:
    for found in pmalloc.Pool("scanned").references(limit=10):
        assert_type(found, pmalloc.Reference)
        assert_type(found.address, int)


def policies() -> None:
    frozen = pmalloc.freeze([1], name="audited", on_violation="audit")
    pool = pmalloc.Pool("warned", on_violation="warn")
    assert_type(pool.stats()["tainted"], bool)
    for violation in pmalloc.violations():
        assert_type(violation, pmalloc.Violation)
        assert_type(violation.writes, tuple[pmalloc.Write, ...])
        assert_type(violation.frames, tuple[pmalloc.Frame, ...])
        assert_type(violation.count, int)
    category: type[RuntimeWarning] = pmalloc.ProtectionWarning
    print(frozen, category)


class Switches(pmalloc.Record):
    enabled: bool = True
    limit: pmalloc.u32 = 100
    signed_8: pmalloc.i8
    signed_16: pmalloc.i16 = -1
    signed_32: pmalloc.i32
    signed_64: pmalloc.i64
    unsigned_8: pmalloc.u8
    unsigned_16: pmalloc.u16
    unsigned_64: pmalloc.u64
    ratio: pmalloc.f32 = 0.5
    exact: pmalloc.f64
    count: int
    name: Annotated[str, pmalloc.size(32)]
    key: Annotated[bytes, pmalloc.size(16)] = bytes(16)
    policy: pmalloc.FrozenDict[str, int] | None
    kind: ClassVar[str] = "switches"

    def is_open(self) -> bool:
        return self.enabled and self.limit > 0


class Table(pmalloc.Record):
    rows: int

    def __init__(self, rows: int) -> None:
        super().__init__(rows=rows)


def rare_writes() -> None:
    pool = pmalloc.Pool("switches", mode="wr")
    switches = pool.new(Switches, limit=250)
    assert_type(switches, Switches)
    assert_type(pool.new(Switches), Switches)
    assert_type(pool.new(Table, 3), Table)
    assert_type(switches.limit, int)
    assert_type(switches.name, str)
    assert_type(switches.policy, pmalloc.FrozenDict[str, int] | None)
    assert_type(switches.snapshot(), Switches)
    assert_type(switches.is_open(), bool)
    with pmalloc.rare_write(switches) as staged:
        assert_type(staged, Switches)
        staged.limit = 500
    allocation = pool.copy(b"bytes")
    with pmalloc.rare_write(allocation) as view:
        assert_type(view, memoryview)
        view[0] = 1
    array = pool.ndarray((2, 3), "f8")
    with pmalloc.rare_write(array) as copy:
        copy[0] = 1.0
    assert_type(pool.make_ro(), None)
    pmalloc.log_rare_writes()
    pmalloc.log_rare_writes("audit", logging.WARNING)
    pmalloc.log_rare_writes(logging.getLogger(__name__))
    assert_type(pmalloc.log_rare_writes(False), None)


def errors() -> str:
    try:
        pmalloc.freeze(Path())
    except pmalloc.UnfreezableError as error:
        as_type_error: TypeError = error
        print(as_type_error)
        assert_type(error.path, str)
        return error.path
    except (pmalloc.ProtectedError, pmalloc.SealedError) as error:
        as_base: pmalloc.PmallocError = error
        return str(as_base)
    except (pmalloc.DestroyedError, pmalloc.CorruptionError) as error:
        as_base = error
        return str(as_base)
    return pmalloc.__version__


def init_phase() -> None:
    settings = pmalloc.ro_after_init({"debug": False}, name="settings")
    assert_type(settings, dict[str, bool])
    assert_type(pmalloc.ro_after_init(pmalloc.Pool("registered")), pmalloc.Pool)

    @pmalloc.init
    def load(path: Path) -> int:
        return len(str(path))

    assert_type(load(Path()), int)

    @pmalloc.init(drop=True)
    class Loader:
        def load(self) -> str:
            return ""

    assert_type(Loader().load(), str)

    @pmalloc.before_mark_rodata_ro
    def before() -> None: ...

    @pmalloc.after_mark_rodata_ro
    def after() -> None: ...

    before()
    after()
    with pmalloc.late_init("plugin", strict=True) as phase:
        assert_type(phase, pmalloc.InitPhase)
        assert_type(phase.pool, pmalloc.Pool)
    assert_type(phase.report, pmalloc.InitReport | None)
    try:
        report = pmalloc.mark_rodata_ro(strict=True)
    except pmalloc.InitError as error:
        print(error)
    except pmalloc.InitFailures as failures:
        assert_type(failures.report, pmalloc.InitReport)
        assert_type(failures.exceptions[0], Exception | ExceptionGroup[Exception])
    else:
        assert_type(report, pmalloc.InitReport)
        assert_type(report.entries, tuple[str, ...])
        assert_type(report.held[0].holders, tuple[str, ...])
        assert_type(report.seconds, float)
