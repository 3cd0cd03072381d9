"""ro_after_init() and mark_rodata_ro(): what is registered, and is read-only at once.

Init ends once a process: every test that ends it does so in a forked child.
"""

import ctypes

import pytest
from child import in_child

import pmalloc

try:
    import numpy as np
except ImportError:
    np = None

needs_numpy = pytest.mark.skipif(np is None, reason="needs NumPy")


def test_a_dict_is_ordinary_until_the_end_and_the_same_after_it():
    def work() -> None:
        settings = pmalloc.ro_after_init({"a": [1]}, name="settings")
        assert type(settings) is dict
        elsewhere = settings
        settings["b"] = {"c": {"d"}}
        report = pmalloc.mark_rodata_ro()
        assert elsewhere is settings
        assert isinstance(settings, pmalloc.FrozenDict)
        assert settings == {"a": [1], "b": {"c": {"d"}}}
        assert isinstance(settings["b"]["c"], pmalloc.FrozenSet)
        with pytest.raises(TypeError, match="FrozenDict"):
            settings["e"] = 1
        assert pmalloc.is_protected(settings)
        assert pmalloc.pool_of(settings) is pmalloc.global_pool()
        assert pmalloc.root("global")["settings"] is settings
        assert report.entries == ("settings",)
        assert report.pools == ("global",)
        assert report.objects >= 5
        assert report.bytes == pmalloc.global_pool().stats()["used_bytes"]
        assert not report.held and not report.externals and not report.failures

    in_child(work)


def test_a_list_too():
    def work() -> None:
        hosts = pmalloc.ro_after_init(["a"])
        hosts += ["b", ["c"]]
        pmalloc.mark_rodata_ro()
        assert isinstance(hosts, pmalloc.FrozenList)
        assert hosts == ["a", "b", ["c"]]
        with pytest.raises(TypeError):
            hosts[2].append("d")

    in_child(work)


def test_what_was_registered_twice_is_one():
    def work() -> None:
        first = pmalloc.ro_after_init({}, name="first")
        assert pmalloc.ro_after_init(first) is first
        assert pmalloc.ro_after_init(first, name="first") is first
        assert pmalloc.ro_after_init(first, name="second") is first
        frozen = pmalloc.freeze({"x": 1})
        assert pmalloc.ro_after_init(frozen, name="frozen") is frozen
        report = pmalloc.mark_rodata_ro()
        assert report.entries == ("first", "second", "frozen")
        assert pmalloc.root("global")["frozen"] is frozen

    in_child(work)


def test_a_name_that_is_taken():
    def work() -> None:
        pmalloc.ro_after_init({}, name="x")
        with pytest.raises(ValueError, match=r"'x' for module test_init_phase.*already"):
            pmalloc.ro_after_init({}, name="x")
        with pytest.raises(ValueError, match="empty"):
            pmalloc.ro_after_init({}, name="")
        with pytest.raises(TypeError, match="str, not int"):
            pmalloc.ro_after_init({}, name=1)  # type: ignore[arg-type]

    in_child(work)


def test_entries_without_a_name_are_called_after_the_module():
    def work() -> None:
        pmalloc.ro_after_init({}, name="test_init_phase-1")
        pmalloc.ro_after_init({})
        pmalloc.ro_after_init([])
        names = pmalloc.mark_rodata_ro().entries
        assert names == tuple(f"test_init_phase-{n}" for n in (1, 2, 3))

    in_child(work)


class Counter(dict):
    pass


class Rows(list):
    pass


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("text", "put it into a dict or a list"),
        (b"bytes", "put it into a dict or a list"),
        (1, "put it into a dict or a list"),
        (None, "put it into a dict or a list"),
        ({1, 2}, "put it into a dict or a list"),
        ((1, 2), "put it into a dict or a list"),
        (object(), "pmalloc.freeze"),
        (Counter(), r"register dict\(...\) of it"),
        (Rows(), r"register list\(...\) of it"),
        (bytearray(3), r"pmalloc.global_pool\(\).copy\(value\)"),
        (memoryview(b"abc"), r"pmalloc.global_pool\(\).copy\(value\)"),
        ((ctypes.c_int * 3)(), r"pmalloc.global_pool\(\).copy\(value\)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_registered_says_what_to_do(value, advice):
    def work() -> None:
        with pytest.raises(TypeError, match=advice):
            pmalloc.ro_after_init(value, name="x")
        assert pmalloc.mark_rodata_ro().entries == ()

    in_child(work)


def test_allocations_and_pools_are_protected_where_they_are():
    def work() -> None:
        mine, theirs = pmalloc.Pool("mine"), pmalloc.Pool("theirs")
        allocation = mine.alloc(100)
        assert pmalloc.ro_after_init(allocation, name="key") is allocation
        assert pmalloc.ro_after_init(theirs) is theirs
        numbers = (ctypes.c_int * 4).from_address(theirs.alloc(16).address)
        assert pmalloc.ro_after_init(numbers) is numbers
        with memoryview(allocation) as view:
            view[0] = 7
        report = pmalloc.mark_rodata_ro()
        assert mine.state == theirs.state == "protected"
        assert bytes(allocation)[0] == 7
        assert sorted(report.pools) == ["global", "mine", "theirs"]

    in_child(work)


@needs_numpy
def test_a_registered_array_in_a_table_has_no_copy():
    def work() -> None:
        tables = pmalloc.ro_after_init(pmalloc.Pool("tables"))
        with tables.numpy():
            squares = np.arange(5) ** 2
            strings = np.array(["a", object()], dtype=object)
        weights = pmalloc.ro_after_init(np.ones(3), name="weights")
        other = np.zeros(2)
        model = pmalloc.ro_after_init(
            {"weights": weights, "view": weights[1:], "squares": [squares], "s": strings,
             "other": other}, name="model")  # fmt: skip
        pmalloc.mark_rodata_ro()
        assert model["weights"] is weights
        assert model["squares"][0] is squares
        assert model["s"] is strings
        assert model["view"].base is weights
        assert model["other"] is not other
        for array in (weights, model["view"], squares, strings, model["other"]):
            assert pmalloc.is_protected(array)
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 7
        other[0] = 1
        assert model["other"][0] == 0

    in_child(work)


@needs_numpy
def test_arrays():
    def work() -> None:
        pool = pmalloc.Pool("mine")
        there = pool.ndarray(3)
        assert pmalloc.ro_after_init(there) is there
        elsewhere = np.arange(4)
        copy = pmalloc.ro_after_init(elsewhere)
        assert copy is not elsewhere and (copy == elsewhere).all()
        assert pmalloc.pool_of(copy) is pmalloc.global_pool()
        copy[0] = 7
        with pytest.raises(TypeError):
            pmalloc.ro_after_init(np.array([object()]))
        pmalloc.mark_rodata_ro()
        assert not copy.flags.writeable and not there.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            copy[0] = 8

    in_child(work)


def test_a_pool_that_is_protected_already():
    def work() -> None:
        pool = pmalloc.Pool("mine")
        allocation = pool.alloc(8)
        pmalloc.ro_after_init(allocation)
        pool.protect()
        assert pmalloc.ro_after_init(pool) is pool
        assert "mine" in pmalloc.mark_rodata_ro().pools

    in_child(work)


def test_a_pool_that_was_destroyed_meanwhile():
    def work() -> None:
        pool = pmalloc.ro_after_init(pmalloc.Pool("mine"))
        pool.destroy()
        assert pmalloc.mark_rodata_ro().pools == ("global",)

    in_child(work)


def test_after_the_end():
    def work() -> None:
        report = pmalloc.mark_rodata_ro()
        assert pmalloc.mark_rodata_ro() is report
        assert pmalloc.mark_rodata_ro(strict=True) is report
        message = (
            r"cannot register 'x' for module test_init_phase: init is over; import the module "
            r"before pmalloc.mark_rodata_ro\(\), or in a block `with pmalloc.late_init"
        )
        with pytest.raises(pmalloc.InitError, match=message):
            pmalloc.ro_after_init({}, name="x")
        with pytest.raises(pmalloc.InitError, match="a dict for module test_init_phase"):
            pmalloc.ro_after_init({})
        with pytest.raises(pmalloc.InitError, match="hook"):
            pmalloc.before_mark_rodata_ro(lambda: None)
        with pytest.raises(pmalloc.InitError, match="hook"):
            pmalloc.after_mark_rodata_ro(lambda: None)
        with pytest.raises(pmalloc.ProtectedError):
            pmalloc.global_pool().alloc(8)

    in_child(work)


def test_what_cannot_be_frozen_stays_outside_and_is_told_of():
    def work() -> None:
        settings = pmalloc.ro_after_init({"log": [(n for n in [])]}, name="settings")
        with pytest.raises(pmalloc.InitError, match=r"global\['settings'\]\['log'\]\[0\]: gener"):
            pmalloc.mark_rodata_ro(strict=True)
        settings["late"] = 1
        with pytest.raises(pmalloc.InitFailures, match="init is over, but not all") as caught:
            pmalloc.mark_rodata_ro()
        (error,) = caught.value.exceptions
        assert isinstance(error, pmalloc.UnfreezableError)
        assert str(error).startswith("cannot freeze generator at global['settings']['log'][0]: it")
        assert error.path == "global['settings']['log'][0]"
        assert pmalloc.is_protected(settings)
        report = caught.value.report
        assert len(report.failures) == 1
        again = pmalloc.mark_rodata_ro()
        assert not again.failures
        assert again.externals == report.externals
        (external,) = report.externals
        assert external.path == "global['settings']['log'][0]"
        assert "generator" in external.type
        assert external.reason
        assert next(settings["log"][0], None) is None

    in_child(work)


def test_the_report_as_text():
    def work() -> None:
        roles = ["admin"]
        pmalloc.ro_after_init({"roles": roles, "log": (n for n in [])}, name="settings")
        with pytest.raises(pmalloc.InitFailures) as caught:
            pmalloc.mark_rodata_ro()
        report = caught.value.report
        lines = str(report).splitlines()
        assert lines[0].startswith(
            f"init is over: 1 entry, {report.objects} objects and {report.bytes:,} bytes in 1 "
            "pool read-only, in "
        )
        where = f"{__file__}:{work.__code__.co_firstlineno + 4}"
        assert lines[1] == "originals that are held elsewhere: 1"
        assert lines[2] == (
            "  global['settings']['roles']: local variable roles of "
            f"test_the_report_as_text.<locals>.work() at {where}"
        )
        assert lines[3] == "outside, and writable: 1"
        assert lines[4].startswith("  global['settings']['log']: generator: ")
        assert lines[5] == "failed: 1"
        assert lines[6].startswith("  UnfreezableError: cannot freeze generator at global['sett")

    in_child(work)
