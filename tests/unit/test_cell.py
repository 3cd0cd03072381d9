"""Cell: get, publish, versions, retire, callbacks."""

import copy
import gc
import logging
import pickle
import subprocess
import sys
import threading
import weakref

import pytest

import pmalloc
from pmalloc import Cell

ROUNDS = 12_000


def drop_old(cell: "Cell[object]") -> None:
    """Ends the pools of all versions that are not current, at once."""
    old = {version.pool for version in cell.versions() if not version.current}
    for pool in pmalloc.pools():
        if pool.name in old:
            pool.destroy(force=True)


def policy() -> dict[str, dict[str, list[int]]]:
    return {f"role-{n}": {"uids": [n, n + 1], "gids": [1000 + n]} for n in range(50)}


def test_get_returns_the_frozen_object(name: str) -> None:
    cell = Cell(policy(), name=name)
    assert cell.get() == policy()
    assert type(cell.get()) is pmalloc.FrozenDict
    assert cell.get() is cell.get()
    assert (cell.version, cell.name) == (1, name)
    assert cell.get_versioned() == (1, policy())
    assert pmalloc.is_protected(cell)
    assert pmalloc.is_protected(cell.get())
    assert pmalloc.root(name) is cell
    own, first = pmalloc.pool_of(cell), pmalloc.pool_of(cell.get())
    assert own is not None
    assert first is not None
    assert (own.name, own.mode, own.state) == (name, "wr", "protected")
    assert (first.name, first.mode, first.state) == (f"{name}@1", "ro", "protected")


def test_many_rounds_with_pages_protected(name: str) -> None:
    cell = Cell({"n": 0, "text": "a" * 100}, name=name)
    for n in range(ROUNDS):
        assert cell.get()["n"] == 0
        assert cell.version == 1
        assert cell.get_versioned()[0] == 1
        if n % 1000 == 0:
            gc.collect()
            assert repr(cell).startswith(f"<pmalloc.Cell {name!r}: version 1, 1 kept, ")
    assert hash(cell) == hash(cell)
    assert cell == cell
    assert sys.getsizeof(cell) > 0
    assert isinstance(cell, Cell)


def test_publish_shares_what_is_frozen(name: str) -> None:
    cell = Cell(policy(), name=name)
    old = cell.get()
    changed = dict(old)
    changed["role-7"] = {"uids": [7777], "gids": []}
    assert cell.publish(changed) == 2
    new = cell.get()
    assert cell.version == 2
    assert new == changed
    assert old == policy()
    for key, value in new.items():
        assert (value is old[key]) is (key != "role-7")
    first, second = cell.versions()
    assert (first.number, first.pool, first.current, first.retired) == (
        1,
        f"{name}@1",
        False,
        False,
    )
    assert (second.number, second.pool, second.current) == (2, f"{name}@2", True)
    assert first.shares_with == ()
    assert second.shares_with == (1,)
    assert second.shares_with_pools == ()
    assert first.bytes > second.bytes > 0
    assert first.objects > second.objects > 0


def test_compact_shares_nothing(name: str) -> None:
    cell = Cell(policy(), name=name)
    changed = dict(cell.get())
    changed["role-7"] = {"uids": [7777], "gids": []}
    cell.publish(changed)
    assert cell.publish(cell.get(), compact=True) == 3
    assert cell.get() == changed
    assert [version.shares_with for version in cell.versions()] == [(), (1,), ()]
    del changed
    cell.retire(2, force=True)
    cell.retire(1, force=True)
    first, second, third = cell.versions()
    assert (first.retired, first.bytes, first.objects) == (True, 0, 0)
    assert second.retired
    assert not third.retired
    for _ in range(ROUNDS):
        assert cell.get()["role-7"]["uids"] == [7777]
    assert cell.get() == {**policy(), "role-7": {"uids": [7777], "gids": []}}


@pytest.mark.parametrize(
    "value", [None, True, 0, 7, 10**30, 1.5, "", "text", b"", (), "é" * 9, frozenset({1}), 2j]
)
def test_scalars(value: object) -> None:
    cell: Cell[object] = Cell(value)
    assert cell.get() == value
    assert type(cell.get()) is type(value)
    assert cell.publish("between") == 2
    assert cell.publish(value, compact=True) == 3
    assert cell.get() == value
    assert [version.shares_with for version in cell.versions()] == [(), (), ()]


def test_publishing_what_is_current_makes_a_version(name: str) -> None:
    cell = Cell([1, 2], name=name)
    frozen = cell.get()
    assert cell.publish(frozen) == 2
    assert cell.get() is frozen
    assert cell.versions()[1].shares_with == (1,)
    assert cell.versions()[1].objects == 0
    with pytest.raises(pmalloc.PmallocError, match="version 2 still points into it"):
        cell.retire(1, force=True)


def test_a_graph_that_was_frozen_elsewhere_is_shared(name: str) -> None:
    elsewhere = pmalloc.freeze({"a": [1]}, name=f"{name}-elsewhere")
    cell: Cell[object] = Cell(elsewhere, name=name)
    assert cell.get() is elsewhere
    assert cell.versions()[0].shares_with_pools == (f"{name}-elsewhere",)
    cell.publish({"part": elsewhere["a"], "own": [2]})
    assert cell.versions()[1].shares_with_pools == (f"{name}-elsewhere",)
    cell.publish(cell.get(), compact=True)
    assert cell.versions()[2].shares_with_pools == ()
    # its pool is nobody's of the cell: it does not go with a version
    cell.retire(1, force=True)
    cell.retire(2, force=True)
    assert elsewhere == {"a": [1]}


def test_parts_of_an_open_pool_are_refused(name: str) -> None:
    pool = pmalloc.Pool(f"{name}-open")
    part = pool.freeze({"a": [1]})
    cell: Cell[object] = Cell(0, name=name)
    with pytest.raises(pmalloc.PmallocError, match=f"'{name}-open', which is open; protect it"):
        cell.publish([part])
    with pytest.raises(pmalloc.PmallocError, match=f"'{name}-open', which is open"):
        Cell(part, name=f"{name}-other")
    assert [pool.name for pool in pmalloc.pools() if pool.name.startswith(name)] == [
        f"{name}-open",
        name,
        f"{name}@1",
    ]
    pool.protect()
    assert cell.publish([part]) == 2


def test_a_failed_publish_changes_nothing(name: str) -> None:
    cell: Cell[object] = Cell({"a": 1}, name=name)
    before = cell.get()
    names = [pool.name for pool in pmalloc.pools()]
    with pytest.raises(pmalloc.UnfreezableError) as raised:
        cell.publish({"a": [1, threading.Lock()]})
    assert raised.value.path == "['a'][1]"
    with pytest.raises(pmalloc.UnfreezableError):
        cell.publish({"a": [1, threading.Lock()]}, compact=True)
    assert cell.get() is before
    assert cell.version == 1
    assert [pool.name for pool in pmalloc.pools()] == names
    assert len(cell.versions()) == 1
    assert cell.publish({"a": 2}) == 2


def test_a_failed_constructor_leaves_nothing(name: str) -> None:
    names = [pool.name for pool in pmalloc.pools()]
    with pytest.raises(pmalloc.UnfreezableError):
        Cell([threading.Lock()], name=name)
    with pytest.raises(ValueError, match="at most 235 bytes"):
        Cell(1, name="n" * 236)
    with pytest.raises(ValueError, match="on_violation"):
        Cell(1, name=name, on_violation="never")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert [pool.name for pool in pmalloc.pools()] == names
    cell = Cell(1, name=name)
    with pytest.raises(ValueError, match=f"the name {name!r} already"):
        Cell(1, name=name)
    assert cell.get() == 1
    assert len(Cell(1, name="n" * 235).name) == 235


def test_a_number_whose_name_is_taken_is_left_out(name: str) -> None:
    cell = Cell(1, name=name)
    other = pmalloc.Pool(f"{name}@2")
    assert cell.publish(2) == 3
    assert [version.number for version in cell.versions()] == [1, 3]
    other.destroy()
    assert cell.publish(3) == 4


def test_retire_says_who_points_into_the_version(name: str) -> None:
    cell: Cell[object] = Cell({"a": [1], "b": [2]}, name=name)
    first = cell.get()
    assert isinstance(first, dict)
    cell.publish({"a": first["a"]})
    cell.publish({"b": first["b"]})
    cell.publish({"c": 1})
    with pytest.raises(pmalloc.PmallocError, match="versions 2 and 3 still point into it"):
        cell.retire(1, force=True)
    cell.retire(2, force=True)
    with pytest.raises(pmalloc.PmallocError, match="version 3 still points into it"):
        cell.retire(1)
    kept = pmalloc.freeze([first["b"]], name=f"{name}-kept")
    del first
    cell.retire(3, force=True)
    with pytest.raises(pmalloc.PmallocError, match=f"pool '{name}-kept' still points into it"):
        cell.retire(1, force=True)
    pool = pmalloc.pool_of(kept)
    assert pool is not None
    del kept
    pool.destroy(force=True)
    cell.retire(1, force=True)
    with pytest.raises(pmalloc.DestroyedError, match="was retired before"):
        cell.retire(1)
    with pytest.raises(pmalloc.PmallocError, match="it is the current one"):
        cell.retire(4, force=True)
    with pytest.raises(ValueError, match=r"has no version 5; it has versions 1, 2, 3 and 4"):
        cell.retire(5)


def test_retire_looks_for_references_first(name: str) -> None:
    cell: Cell[object] = Cell({"a": [1]}, name=name)
    held = [cell.get()]
    cell.publish(2)
    with pytest.raises(pmalloc.PmallocError, match=r"words in ordinary memory .* \(list\)"):
        cell.retire(1)
    assert held[0] == {"a": [1]}
    assert not cell.versions()[0].retired


RETIRED_UNFORCED = """
import pmalloc
cell = pmalloc.Cell({"a": [1]}, name="quiet")
for n in range(100):
    cell.publish({"a": [n]})
for number in range(1, 100):
    try:
        cell.retire(number)
    except pmalloc.PmallocError:
        pass  # a word that looks like it was left over somewhere
print(sum(version.retired for version in cell.versions()) > 50)
"""


def test_what_nobody_refers_to_is_retired_without_force() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RETIRED_UNFORCED], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_frozen_sets_do_not_keep_a_version_from_retiring(name: str) -> None:
    cell: Cell[object] = Cell({"a": frozenset({"x"}), "b": {1, 2}}, name=name)
    cell.publish(2)
    cell.retire(1, force=True)
    assert cell.get() == 2


def test_sealed(name: str) -> None:
    try:
        cell: Cell[object] = Cell({"a": [1]}, name=name, seal=True)
    except OSError:
        assert not [pool for pool in pmalloc.pools() if pool.name.startswith(name)]
        pytest.skip("this kernel can't seal")
    own = pmalloc.pool_of(cell)
    assert own is not None
    assert own.state == "sealed"
    for n in range(10):
        assert cell.publish({"a": [n]}) == n + 2
        assert cell.get() == {"a": [n]}
    with pytest.raises(pmalloc.SealedError, match="cannot retire version 1"):
        cell.retire(1)


def test_off(name: str) -> None:
    cell: Cell[object] = Cell({"a": [1]}, name=name, on_violation="off")
    assert not pmalloc.is_protected(cell)
    assert cell.publish({"b": cell.get()["a"]}) == 2  # type: ignore[index]
    assert cell.get() == {"b": [1]}
    assert cell.versions()[1].shares_with == (1,)
    cell.publish(1, compact=True)
    cell.retire(2, force=True)
    cell.retire(1, force=True)


def test_what_a_cell_refuses(name: str) -> None:
    cell = Cell([1], name=name)
    for refused in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot copy or pickle a Cell: it is one place"):
            refused(cell)
    with pytest.raises(pmalloc.ProtectedError, match="cannot set attribute 'x' of a Cell"):
        cell.x = 1  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(pmalloc.ProtectedError, match="cannot delete attribute 'name' of a Cell"):
        del cell.name  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError, match="weak reference"):
        weakref.ref(cell)
    with pytest.raises(TypeError, match="can't be subclassed"):
        type("Sub", (Cell,), {})
    with pytest.raises(TypeError, match="a version is needed, not list"):
        cell._swap([1])
    assert cell.get() == [1]
    assert Cell[int].__origin__ is Cell  # type: ignore[attr-defined]


def test_cells_in_frozen_graphs(name: str) -> None:
    inner = Cell([1], name=f"{name}-inner")
    outer = Cell({"inner": inner}, name=name)
    assert outer.get()["inner"] is inner
    inner.publish([2])
    assert outer.get()["inner"].get() == [2]
    assert pmalloc.thaw(outer.get())["inner"] is inner
    assert copy.deepcopy(outer.get())["inner"] is inner
    assert outer.publish(outer.get(), compact=True) == 2
    assert outer.get()["inner"] is inner
    cyclic: Cell[object] = Cell(0, name=f"{name}-cyclic")
    cyclic.publish([cyclic])
    assert cyclic.get()[0] is cyclic  # type: ignore[index]
    assert cyclic.publish(cyclic.get(), compact=True) == 3
    assert pmalloc.freeze(cyclic) is cyclic
    with pytest.raises(TypeError, match="cannot copy or pickle a Cell"):
        pickle.dumps(outer.get())


def test_externals_hold_for_all_versions(name: str) -> None:
    class Handle:
        pass

    handle = Handle()
    cell: Cell[object] = Cell({"h": handle}, name=name, externals=(Handle,))
    cell.publish({"h": handle, "n": 2})
    assert cell.get()["h"] is handle  # type: ignore[index]
    with pytest.raises(pmalloc.UnfreezableError):
        Cell({"h": threading.Lock()}, externals=Handle)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="no dicts share a key table")
def test_changed_records_use_the_table_of_the_old_ones(name: str) -> None:
    cell = Cell([{"id": n, "name": str(n), "tags": n} for n in range(100)], name=name)
    cell.publish([{**record, "id": 7} for record in cell.get()])
    cell.publish([{**record, "id": 8} for record in cell.get()], compact=True)
    # 48 bytes of a dict, 40 of its values, 24 in front; a table of its own would be 88 more
    assert cell.versions()[1].bytes < 100 * 125
    drop_old(cell)  # type: ignore[arg-type]
    for _ in range(100):
        assert [record["id"] for record in cell.get()] == [8] * 100
        assert [{**record, "more": 1}["name"] for record in cell.get()][99] == "99"


def test_equal_keys_of_changed_records_share_a_table(name: str) -> None:
    records = {n: {"id": n, "name": f"n{n}", "tags": [n]} for n in range(1000)}
    cell = Cell(records, name=name)
    changed = dict(cell.get())
    for n in range(0, 1000, 50):
        changed[n] = {**changed[n], "name": "new"}
    cell.publish(changed)
    assert cell.get() == changed
    cell.publish(cell.get(), compact=True)
    del changed
    cell.retire(2, force=True)
    cell.retire(1, force=True)
    for _ in range(20):
        assert [record["id"] for record in cell.get().values()] == list(range(1000))
        assert cell.get()[50] == {"id": 50, "name": "new", "tags": [50]}


def test_each_publish_is_logged(name: str, caplog: pytest.LogCaptureFixture) -> None:
    cell: Cell[object] = Cell(1, name=name)
    pmalloc.log_rare_writes()
    try:
        with caplog.at_level("INFO", "pmalloc.rare_write"):
            cell.publish(2)
            cell.publish(3)
    finally:
        pmalloc.log_rare_writes(False)
    cell.publish(4)
    first, second = (vars(record) for record in caplog.records)
    for told, number in (first, 2), (second, 3):
        assert told["pmalloc_pool"] == name
        assert told["pmalloc_target"] == f"Cell.current (version {number})"
        assert told["pmalloc_address"] == id(cell) + object.__basicsize__
        assert told["pathname"] == __file__
    ((_, size, before, after),) = first["pmalloc_changes"]
    assert size == 8
    assert before != after == second["pmalloc_changes"][0][2]


def test_a_log_that_raises_does_not_undo(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise LookupError(record.name)

    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: unraisable.append(args.exc_value))
    cell: Cell[object] = Cell(1, name=name)
    called: list[int] = []
    cell.on_publish(lambda _, __, new: called.append(new))
    logger = logging.Logger("broken", logging.INFO)
    logger.addHandler(Handler())
    pmalloc.log_rare_writes(logger)
    try:
        assert cell.publish(2) == 2
    finally:
        pmalloc.log_rare_writes(False)
    assert (cell.get(), called) == (2, [2])
    assert [type(error) for error in unraisable] == [LookupError]
